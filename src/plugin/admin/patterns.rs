//! Patterns of mapping rules: a path, perhaps `$` where it must end, perhaps a query. `{name}` stands for any text.
//!
//! What is a pattern is the original's: gateways make regular expressions of them.

use serde_json::{Map, Value};

/// The longest pattern, in bytes.
pub(super) const PATTERN_LEN_MAX: usize = 255;

/// A pattern, taken apart.
pub(super) struct Pattern<'p> {
    path: &'p str,
    query: Option<&'p str>,
}

impl<'p> Pattern<'p> {
    /// Takes a pattern apart.
    pub(super) fn of(text: &'p str) -> Pattern<'p> {
        match text.split_once('?') {
            Some((path, query)) => Pattern { path, query: Some(query) },
            None => Pattern { path: text, query: None },
        }
    }

    /// What is wrong with it, in the original's words.
    pub(super) fn errors(&self) -> Vec<&'static str> {
        let path = self.path.strip_suffix('$').unwrap_or(self.path);
        let is_good = path.starts_with('/')
            && are_good(path, "-_.!~*'():@&=+,;/")
            && self.query.is_none_or(|query| are_good(query, "-_.!~*'();/?:@&=+$,[]"));
        if !is_good {
            return vec!["is invalid"];
        }
        let mut errors = Vec::new();
        let mut names = self.parameters();
        names.extend(self.pairs().map(|(key, _)| key.to_owned()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() != count {
            errors.push("Can't have repeated variable names");
        }
        if self.pairs().any(|(key, _)| key.contains('{')) {
            errors.push("Can't use variables as keys in the querystring");
        }
        errors
    }

    /// The names in braces in the path.
    pub(super) fn parameters(&self) -> Vec<String> {
        let names = self.path.split('{').skip(1).filter_map(|after| after.split_once('}'));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    /// The pairs of the query.
    pub(super) fn querystring_parameters(&self) -> Map<String, Value> {
        self.pairs().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&'p str, &'p str)> {
        let parts = self.query.into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty());
        parts.map(|part| part.split_once('=').unwrap_or((part, "")))
    }
}

/// Whether all characters are among those of words and `others`, or encoded, or variables of word characters.
fn are_good(text: &str, others: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at + 1..];
        at += 1;
        match byte {
            b'%' if rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit) => at += 2,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_original() {
        for good in ["/", "/a/b", "/a$", "/{id}/x.json", "/a?b={c}", "/a?b=1&c=d", "/%20", "/a;b=c", "/$?x=y"]
        {
            assert_eq!(Pattern::of(good).errors(), [""; 0], "{good}");
        }
        for bad in ["", "a", "$", "/a b", "/{a-b}", "/{a", "/a}", "/%2", "/a$b", "/\u{e9}", "/<x>", "/{}"] {
            assert_eq!(Pattern::of(bad).errors(), ["is invalid"], "{bad}");
        }
        assert_eq!(Pattern::of("/{a}/{a}").errors(), ["Can't have repeated variable names"]);
        assert_eq!(Pattern::of("/{a}?a=1").errors(), ["Can't have repeated variable names"]);
        assert_eq!(Pattern::of("/a?{x}=1").errors(), ["Can't use variables as keys in the querystring"]);
        let pattern = Pattern::of("/{a}/{b_2}?c={d}&e");
        assert_eq!(pattern.parameters(), ["a", "b_2"]);
        assert_eq!(Value::Object(pattern.querystring_parameters()), serde_json::json!({"c": "{d}", "e": ""}));
    }
}
