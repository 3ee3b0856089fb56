//! Paths and queries of calls, in the one form in which they are compared.

use std::collections::BTreeMap;

/// The longest path, in bytes as sent: gateways take heads of 8 KiB.
pub const PATH_LEN_MAX: usize = 8 * 1024;
/// The longest query, or form in a body, whose parameters rules are compared with, in bytes as sent.
pub const QUERY_LEN_MAX: usize = 64 * 1024;

/// Why a path is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// It is longer than [`PATH_LEN_MAX`], or its query than [`QUERY_LEN_MAX`].
    #[error("the path is longer than {PATH_LEN_MAX} bytes, or its query than {QUERY_LEN_MAX}")]
    TooLong,
    /// A percent sign without two hexadecimal digits after it, or an encoded NUL.
    #[error("the path has an escape that is none")]
    Escape,
    /// It leads out of the root.
    #[error("the path leads above its root")]
    AboveRoot,
}

/// The path of a call: decoded, without empty segments but perhaps the last, without `.` and `..`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Begins with a slash.
    bytes: Vec<u8>,
}

impl Path {
    /// Reads a path as it was sent, without its query.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(sent: &[u8]) -> Result<Path, PathError> {
        if sent.len() > PATH_LEN_MAX {
            return Err(PathError::TooLong);
        }
        let decoded = strictly_decoded(sent)?;
        let Some(inner) = decoded.strip_prefix(b"/") else { return Err(PathError::NotAbsolute) };
        let mut segments: Vec<&[u8]> = Vec::new();
        let mut parts = inner.split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            match part {
                b"" | b"." => {}
                b".." => {
                    segments.pop().ok_or(PathError::AboveRoot)?;
                }
                text => {
                    segments.push(text);
                    continue;
                }
            }
            if is_last {
                segments.push(b"");
            }
        }
        let mut bytes = Vec::with_capacity(decoded.len());
        for segment in segments {
            bytes.push(b'/');
            bytes.extend_from_slice(segment);
        }
        Ok(Path { bytes })
    }

    /// Its segments, at least one; the last is empty if it ends in a slash.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes[1..].split(|byte| *byte == b'/')
    }

    /// What is left of it below another, which it is or lies in: `/a/b/c` below `/a/b` (and below `/a/b/`) is `/c`.
    #[must_use]
    pub fn below(&self, other: &Path) -> Option<Path> {
        let outer = other.bytes.strip_suffix(b"/").unwrap_or(&other.bytes);
        match self.bytes.strip_prefix(outer)? {
            b"" => Some(Path { bytes: b"/".to_vec() }),
            rest if rest[0] == b'/' => Some(Path { bytes: rest.to_vec() }),
            _ => None,
        }
    }

    /// Its length in bytes, decoded.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// As it is sent on: encoded where a path needs it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        for byte in &self.bytes {
            if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte) {
                text.push(char::from(*byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        text
    }
}

fn strictly_decoded(sent: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(sent.len());
    let mut rest = sent;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let byte = match byte {
            b'%' => {
                let byte = escape(after).ok_or(PathError::Escape)?;
                rest = &after[2..];
                byte
            }
            byte => byte,
        };
        if byte == 0 {
            return Err(PathError::Escape);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

/// The byte that two hexadecimal digits stand for, if they come next.
pub(super) fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// The parameters of a call, by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Parameters(BTreeMap<Vec<u8>, Vec<u8>>);

impl Parameters {
    /// Reads a query, or a form in a body. Of a name that comes several times the last counts.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn parse(sent: &[u8]) -> Result<Parameters, PathError> {
        let mut parameters = Parameters::default();
        parameters.add(sent)?;
        Ok(parameters)
    }

    /// Adds those of a form to those of a query; they count more.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn add(&mut self, sent: &[u8]) -> Result<(), PathError> {
        if sent.len() > QUERY_LEN_MAX {
            return Err(PathError::TooLong);
        }
        let pairs = sent.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        self.0.extend(pairs.map(pair));
        Ok(())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Whether a name is there, with this value if it matters.
    pub(super) fn has(&self, name: &[u8], value: Option<&[u8]>) -> bool {
        self.get(name).is_some_and(|found| value.is_none_or(|value| value == found))
    }
}

/// A name and its value, decoded.
pub(super) fn pair(sent: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let equals = sent.iter().position(|byte| *byte == b'=');
    let (name, value) = equals.map_or((sent, &b""[..]), |at| (&sent[..at], &sent[at + 1..]));
    (decoded(name), decoded(value))
}

/// Decodes a part of a query: what is no escape stands for itself.
fn decoded(sent: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(sent.len());
    let mut rest = sent;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, escape(after)) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(sent: &str) -> Result<String, PathError> {
        Path::parse(sent.as_bytes()).map(|path| path.render())
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for (sent, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a//b///", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b//..", "/a/"),
            ("/a/..", "/"),
            ("/%61%2fb", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/...", "/..."),
            ("/a%20b", "/a%20b"),
            ("/a?b#c", "/a%3Fb%23c"),
            ("/%c3%a9", "/%C3%A9"),
            ("/\u{e9}", "/%C3%A9"),
            ("/%2561", "/%2561"),
            ("/a;b=c,d:@e", "/a;b=c,d:@e"),
        ] {
            assert_eq!(rendered(sent).as_deref(), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (sent, error) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/%", PathError::Escape),
            ("/%2", PathError::Escape),
            ("/%zz", PathError::Escape),
            ("/%00", PathError::Escape),
            ("/\0", PathError::Escape),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/b", PathError::AboveRoot),
        ] {
            assert_eq!(rendered(sent), Err(error), "{sent}");
        }
        assert!(rendered(&format!("/{}", "a".repeat(PATH_LEN_MAX - 1))).is_ok());
        assert_eq!(rendered(&format!("/{}", "a".repeat(PATH_LEN_MAX))), Err(PathError::TooLong));
    }

    #[test]
    fn a_path_is_below_one_that_it_is_or_lies_in() {
        for (path, other, expected) in [
            ("/a/b/c", "/a/b", Some("/c")),
            ("/a/b/c", "/a/b/", Some("/c")),
            ("/a/b/", "/a/b", Some("/")),
            ("/a/b", "/a/b", Some("/")),
            ("/a/b", "/a/b/", Some("/")),
            ("/a/bc", "/a/b", None),
            ("/a", "/a/b", None),
            ("/a/b", "/", Some("/a/b")),
            ("/", "/", Some("/")),
        ] {
            let [path, other] = [path, other].map(|text| Path::parse(text.as_bytes()).unwrap());
            assert_eq!(path.below(&other).map(|it| it.render()).as_deref(), expected);
        }
    }

    #[test]
    fn of_parameters_the_last_counts() {
        let parameters = Parameters::parse(b"a=1&&b&a=2&c=x+y%26%zz&=e").unwrap();
        let get = |name: &str| parameters.get(name.as_bytes());
        assert_eq!(get("a"), Some(&b"2"[..]));
        assert_eq!(get("b"), Some(&b""[..]));
        assert_eq!(get("c"), Some(&b"x y&%zz"[..]));
        assert_eq!((get(""), get("d")), (Some(&b"e"[..]), None));
        assert!(Parameters::parse(&vec![b'a'; QUERY_LEN_MAX]).is_ok());
        assert_eq!(Parameters::parse(&vec![b'a'; QUERY_LEN_MAX + 1]), Err(PathError::TooLong));
        let mut both = Parameters::parse(b"a=1&b=1").unwrap();
        both.add(b"a=3").unwrap();
        assert_eq!((both.get(b"a"), both.get(b"b")), (Some(&b"3"[..]), Some(&b"1"[..])));
    }
}
