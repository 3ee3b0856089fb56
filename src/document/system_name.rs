//! System names: what records are known by beside their ids, and what becomes of a name that people gave.

/// The longest, in bytes.
pub const LEN_MAX: usize = 255;

/// The system name that follows from a name: lower case, and one underscore for whatever else there is. May be too short to be [one](is_one).
#[must_use]
pub fn of(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(slug.trim_end_matches('_').len());
    slug
}

/// Whether a text can be a system name (3scale: `\A\w[\w\-/_]+\z`).
#[must_use]
pub fn is_one(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (2..=LEN_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'-' || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_names_follow_from_names() {
        for (name, system_name) in
            [("My API", "my_api"), ("  a--B ", "a_b"), ("\u{fc}ber", "ber"), ("x", "x"), ("???", "")]
        {
            assert_eq!(of(name), system_name);
        }
    }

    #[test]
    fn what_can_be_a_system_name() {
        for text in ["a/b-c_1", "_1", &"x".repeat(LEN_MAX)] {
            assert!(is_one(text), "{text}");
        }
        for text in ["", "x", "-x", "hits.1", "\u{fc}b", &"x".repeat(LEN_MAX + 1)] {
            assert!(!is_one(text), "{text}");
        }
    }
}
