//! Patterns of mapping rules, as the API says of them. What a pattern is, [`crate::rules`] knows, which also matches them.

use serde_json::{Map, Value};

use super::check;
use crate::rules::{Pattern, PatternError};

/// The longest pattern, in bytes: the original's.
pub(super) const PATTERN_LEN_MAX: usize = 255;

/// What is wrong with a pattern, in the original's words.
pub(super) fn errors(text: &str) -> Vec<&'static str> {
    let errors = Pattern::parse(text).err().unwrap_or_default();
    let words = |error: PatternError| match error {
        PatternError::Invalid => check::INVALID,
        PatternError::Repeated => "Can't have repeated variable names",
        PatternError::VariableKey => "Can't use variables as keys in the querystring",
    };
    errors.into_iter().map(words).collect()
}

/// The names in braces in the path.
pub(super) fn variables(text: &str) -> Vec<String> {
    Pattern::parse(text).map_or(Vec::new(), |pattern| pattern.variables().to_vec())
}

/// The pairs of the query.
pub(super) fn query(text: &str) -> Map<String, Value> {
    let Ok(pattern) = Pattern::parse(text) else { return Map::new() };
    pattern.query().iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_original() {
        assert_eq!(errors("/{a}/b$?c={d}"), [""; 0]);
        assert_eq!(errors("/a b"), ["is invalid"]);
        let both = ["Can't have repeated variable names", "Can't use variables as keys in the querystring"];
        assert_eq!(errors("/?{x}=1&{x}=2"), both);
        assert_eq!(variables("/{a}/{b_2}?c={d}&e"), ["a", "b_2"]);
        assert_eq!(Value::Object(query("/{a}?c={d}&e")), serde_json::json!({"c": "{d}", "e": ""}));
    }
}
