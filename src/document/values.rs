//! What values of records can be. The admin API refuses others, the check of a document tells of them, and a migration leaves them out: all three by what is said
//! here. Lengths are bounds of their own, as what is said of a text that is too long is something else; where nothing else is said it is
//! [`TEXT_LEN_MAX`].

use std::ops::RangeInclusive;

pub use crate::model::draft::TEXT_LEN_MAX;

/// The most keys of one application: as one is replaced by the next, two are enough.
pub const KEYS_MAX: usize = 5;
/// As above where OAuth's client secret is the key.
pub const KEYS_MAX_OAUTH: usize = 1;
/// The most referrer filters of one application.
pub const FILTERS_MAX: usize = 5;
/// The length of an application's key, in bytes.
pub const KEY_LEN: RangeInclusive<usize> = 5..=TEXT_LEN_MAX;
/// The length of an application id, in bytes.
pub const APP_ID_LEN: RangeInclusive<usize> = 4..=TEXT_LEN_MAX;
/// The length of a username, in characters.
pub const USERNAME_LEN: RangeInclusive<usize> = 3..=40;
/// The longest value of a field that a tenant has defined, in bytes.
pub const FIELD_VALUE_LEN_MAX: usize = 4096;
/// The longest path of a gateway's test call, in bytes: the original's.
pub const TEST_PATH_LEN_MAX: usize = 8192;

fn is_in(byte: u8, besides: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || besides.contains(&byte)
}

/// Whether a text may be an e-mail address: whether it is one, only a message there can tell.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let fits = text.len() <= TEXT_LEN_MAX && !text.contains(|it: char| it.is_whitespace() || it.is_control());
    fits && text
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

/// Whether a username has only what may be in one.
#[must_use]
pub fn is_username(text: &str) -> bool {
    text.chars().all(|it| it.is_alphanumeric() || matches!(it, '.' | '-' | '_' | '@' | '+' | ' '))
}

/// Whether a user key has only what may be in one: words, or base64.
#[must_use]
pub fn is_user_key(text: &str) -> bool {
    let is_base64 = || text.trim_end_matches('=').bytes().all(|byte| is_in(byte, b"+/"));
    text.bytes().all(|byte| is_in(byte, b"_-.")) || is_base64()
}

/// Whether a text is printable ASCII without blanks: an application's id, or a key.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a referrer filter has only what may be in one.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    text.bytes().all(|byte| is_in(byte, b"*.-"))
}

/// Whether a text can name a parameter or header that gateways read.
#[must_use]
pub fn is_parameter(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| is_in(byte, b"_-"))
}

/// Whether a text can be a part of what gateways answer: of headers and bodies.
#[must_use]
pub fn is_gateways_answer(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| is_in(byte, b"{}[],.;@#~%&()?_\"= /\\:-"))
}

/// Whether a text can be the host that gateways send to private APIs; an empty one is none.
#[must_use]
pub fn is_host(text: &str) -> bool {
    text.bytes().all(|byte| is_in(byte, b"-._:"))
}

/// Whether a text can be the path of a gateway's test call.
#[must_use]
pub fn is_test_path(text: &str) -> bool {
    text.starts_with('/') && is_printable(text)
}

/// Whether a text can name a field in JSON and XML.
#[must_use]
pub fn is_field_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| is_in(byte, b"_-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_and_what_cannot() {
        for (can_be, good, bad) in [
            (is_email as fn(&str) -> bool, "a@b.example", "a@b@c"),
            (is_email, "a@b", "a b@c"),
            (is_username, "ann @+._-\u{e9}", "ann!"),
            (is_user_key, "ab+/==", "a b"),
            (is_user_key, "a_b-c.d", "a_b+c"),
            (is_printable, "a!~", "a b"),
            (is_filter, "*.a-b.example", "a_b"),
            (is_parameter, "user-key_1", ""),
            (is_gateways_answer, "{\"error\": \"no\"}", "<b>"),
            (is_host, "a.example:80", "a example"),
            (is_test_path, "/status?x=1", "status"),
            (is_field_name, "_a-1", "1a"),
        ] {
            assert!(can_be(good) && !can_be(bad), "{good} {bad}");
        }
    }
}
