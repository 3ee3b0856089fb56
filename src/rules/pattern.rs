//! Patterns of rules: a path, perhaps `$` where it must end, perhaps a query. `{name}` stands for any text.
//!
//! This is the only reader of patterns: what the admin API accepts is what matches.

use memchr::memmem;

use super::path::{escape, pair};

/// The longest text of a pattern, in bytes: one of 255 below a path of 255, all of it escaped.
pub const TEXT_LEN_MAX: usize = 2048;

/// What is wrong with a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// It has characters that no pattern has, or too many, or no slash at its beginning.
    #[error("the pattern is invalid")]
    Invalid,
    /// Two variables of the path, or names of the query, are the same.
    #[error("the pattern has the same variable name twice")]
    Repeated,
    /// A name in the query is a variable.
    #[error("the pattern has a variable as a key of its query")]
    VariableKey,
}

/// A pattern, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// At least one; the last is empty if the path ends in a slash.
    pub(super) segments: Vec<Segment>,
    /// Whether nothing may follow.
    pub(super) is_whole: bool,
    variables: Vec<String>,
    /// Names and values as they are written.
    query: Vec<(String, String)>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, Vec<PatternError>> {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let (path, is_whole) = path.strip_suffix('$').map_or((path, false), |path| (path, true));
        let is_good = text.len() <= TEXT_LEN_MAX
            && path.starts_with('/')
            && are_good(path, "-_.!~*'():@&=+,;/")
            && query.is_none_or(|query| are_good(query, "-_.!~*'();/?:@&=+$,[]"));
        if !is_good {
            return Err(vec![PatternError::Invalid]);
        }
        let variables: Vec<_> = variables(path).map(str::to_owned).collect();
        let parts = query.into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty());
        let query: Vec<_> = parts
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut errors = Vec::new();
        let mut names: Vec<_> = variables.iter().chain(query.iter().map(|(name, _)| name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() != count {
            errors.push(PatternError::Repeated);
        }
        if query.iter().any(|(name, _)| name.contains('{')) {
            errors.push(PatternError::VariableKey);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Pattern { segments: segments(path), is_whole, variables, query })
    }

    /// The names of the variables in the path.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// The names and values of the query, as they are written.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// What a call's query must have: names, and values unless any will do.
    pub(super) fn conditions(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let condition = |(name, value): &(String, String)| {
            let (name, wanted) = pair(format!("{name}={value}").as_bytes());
            (name, variables(value).next().is_none().then_some(wanted))
        };
        self.query.iter().map(condition).collect()
    }
}

/// The text of a pattern below a path, in which nothing has a meaning: what would have one is escaped.
#[must_use]
pub fn below(path: &str, pattern: &str) -> String {
    let mut text = String::with_capacity(path.len() + pattern.len());
    let path = path.strip_suffix('/').unwrap_or(path);
    for (at, character) in path.char_indices() {
        match character {
            '$' => text.push_str("%24"),
            '%' if escape(&path.as_bytes()[at + 1..]).is_none() => text.push_str("%25"),
            other => text.push(other),
        }
    }
    text.push_str(pattern);
    text
}

/// Whether all characters are among those of words and `others`, or encoded, or variables of word characters.
fn are_good(text: &str, others: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at + 1..];
        at += 1;
        match byte {
            b'%' if escape(rest).is_some() => at += 2,
            b'{' => {
                let Some(end) = rest.iter().position(|it| *it == b'}') else { return false };
                if end == 0 || !rest[..end].iter().all(|it| it.is_ascii_alphanumeric() || *it == b'_') {
                    return false;
                }
                at += end + 1;
            }
            byte if byte.is_ascii_alphanumeric() || others.as_bytes().contains(byte) => {}
            _ => return false,
        }
    }
    true
}

/// The names in braces of a text that is good.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|after| after.split_once('}')).map(|(name, _)| name)
}

/// The segments of a path that is good, without empty ones but perhaps the last.
fn segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = vec![Vec::new()];
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let mut byte = byte;
        match byte {
            b'{' => {
                let end = after.iter().position(|it| *it == b'}').unwrap_or(after.len() - 1);
                rest = &after[end + 1..];
                open.push(Vec::new());
                continue;
            }
            b'%' => {
                byte = escape(after).unwrap_or(byte);
                rest = &after[2..];
            }
            _ => {}
        }
        if byte == b'/' {
            segments.extend(Segment::closed(std::mem::replace(&mut open, vec![Vec::new()])));
        } else if let Some(text) = open.last_mut() {
            text.push(byte);
        }
    }
    segments.push(Segment(open));
    segments
}

/// A segment of a pattern: texts with a variable between each two of them. So it has at least one text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Segment(Vec<Vec<u8>>);

impl Segment {
    /// A segment that ends with a slash, unless it is empty.
    fn closed(texts: Vec<Vec<u8>>) -> Option<Segment> {
        (texts.len() > 1 || !texts[0].is_empty()).then_some(Segment(texts))
    }

    /// The text before the first variable.
    pub(super) fn head(&self) -> &[u8] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    /// Whether there is a variable.
    pub(super) fn has_variable(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether a segment of a path is such, or only begins so if it need not be `whole`.
    ///
    /// Each text after a variable is taken where it comes first: that leaves most to what follows.
    pub(super) fn matches(&self, segment: &[u8], whole: bool) -> bool {
        let Some(mut left) = segment.strip_prefix(self.head()) else { return false };
        let Some((last, middle)) = self.0[1..].split_last() else { return !whole || left.is_empty() };
        for text in middle {
            let Some(after) = left.get(1..) else { return false };
            let Some(at) = memmem::find(after, text) else { return false };
            left = &after[at + text.len()..];
        }
        let Some(after) = left.get(1..) else { return false };
        if whole { after.ends_with(last) } else { memmem::find(after, last).is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<PatternError> {
        Pattern::parse(text).err().unwrap_or_default()
    }

    #[test]
    fn patterns_are_those_of_the_original() {
        for good in ["/", "/a/b", "/a$", "/{id}/x.json", "/a?b={c}", "/a?b=1&c=d", "/%20", "/a;b=c", "/$?x=y"]
        {
            assert_eq!(errors(good), [], "{good}");
        }
        for bad in ["", "a", "$", "/a b", "/{a-b}", "/{a", "/a}", "/%2", "/a$b", "/\u{e9}", "/<x>", "/{}"] {
            assert_eq!(errors(bad), [PatternError::Invalid], "{bad}");
        }
        assert_eq!(errors("/{a}/{a}"), [PatternError::Repeated]);
        assert_eq!(errors("/{a}?a=1"), [PatternError::Repeated]);
        assert_eq!(errors("/a?{x}=1"), [PatternError::VariableKey]);
        assert_eq!(errors("/a?{x}=1&{x}=2"), [PatternError::Repeated, PatternError::VariableKey]);
        let pattern = Pattern::parse("/{a}/{b_2}?c={d}&e").unwrap();
        assert_eq!(pattern.variables(), ["a", "b_2"]);
        assert_eq!(pattern.query(), [("c".to_owned(), "{d}".to_owned()), ("e".to_owned(), String::new())]);
    }

    #[test]
    fn a_pattern_has_at_most_so_many_bytes() {
        assert_eq!(errors(&format!("/{}", "a".repeat(TEXT_LEN_MAX - 1))), []);
        assert_eq!(errors(&format!("/{}", "a".repeat(TEXT_LEN_MAX))), [PatternError::Invalid]);
    }

    #[test]
    fn below_a_path_a_pattern_is_one_still_and_the_path_has_no_meaning() {
        for (path, expected) in [
            ("/", "/x"),
            ("/a", "/a/x"),
            ("/a$b%", "/a%24b%25/x"),
            ("/%20%2", "/%20%252/x"),
            ("/-_.~!$&()*+,;=:@%/y", "/-_.~!%24&()*+,;=:@%25/y/x"),
        ] {
            assert_eq!(below(path, "/x"), expected);
            assert_eq!(errors(&below(path, "/x$")), []);
        }
    }
}
