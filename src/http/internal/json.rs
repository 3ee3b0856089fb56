//! Bodies of the internal API: JSON objects, bounded, with values read leniently.
//!
//! 3scale's portal and scripts in other languages write ids now as text, now as number, so a text may be written
//! either way; `null`, an absent name and a blank text are one.

use serde_json::{Map, Value};

use crate::http::json::{self, Fault};

/// The most bytes of a body, inflated: a kilobyte for each application of a full batch. Parsed, a body can take
/// forty times its length.
pub const JSON_BYTES_MAX: usize = 1 << 20;

/// How deep lists and objects may nest. A batch, the deepest body there is, needs four.
pub const JSON_DEPTH_MAX: usize = 8;

/// Why a body cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON; with what the parser says of it, which names line and column but not the text.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    #[error("the body nests deeper than {JSON_DEPTH_MAX} lists and objects")]
    TooDeep,
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A value is needed and absent, null or blank.
    #[error("missing parameter '{0}'")]
    Missing(&'static str),
    /// A value is there, but of no use.
    #[error("parameter '{name}' must be {wanted}")]
    Unfit {
        /// Which one.
        name: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl JsonError {
    fn unfit(name: &str, wanted: &'static str) -> JsonError {
        JsonError::Unfit { name: name.to_owned(), wanted }
    }
}

/// An object of a body.
#[derive(Clone, PartialEq, Debug)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads a body. Blank is an object without values: calls that need none are sent without a body.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(bytes: &[u8]) -> Result<Object, JsonError> {
        // Bytes bound the number of values well enough.
        let bounds = json::Bounds { depth_max: JSON_DEPTH_MAX, values_max: JSON_BYTES_MAX };
        json::object(bytes, bounds).map(Object).map_err(|fault| match fault {
            Fault::Syntax(what) => JsonError::Syntax(what),
            Fault::TooDeep => JsonError::TooDeep,
            Fault::NotAnObject | Fault::TooMany(_) => JsonError::NotAnObject,
        })
    }

    /// The names and values as they came.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, or a whole number as text; `None` if absent, null or blank.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, name: &str) -> Result<Option<String>, JsonError> {
        self.value(name).map_or(Ok(None), |value| text_of(name, value))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is not, or is something else.
    pub fn needed(&self, name: &'static str) -> Result<String, JsonError> {
        self.text(name)?.ok_or(JsonError::Missing(name))
    }

    /// A whole number, or one written as text; `None` if absent, null or blank.
    ///
    /// # Errors
    /// It is something else, negative or more than 64 bits hold.
    pub fn number(&self, name: &str) -> Result<Option<u64>, JsonError> {
        let wanted = "a whole number of at least 0";
        let Some(value) = self.value(name) else { return Ok(None) };
        match text_of(name, value).map_err(|_| JsonError::unfit(name, wanted))? {
            Some(text) => text.trim().parse().map(Some).map_err(|_| JsonError::unfit(name, wanted)),
            None => Ok(None),
        }
    }

    /// Whether a flag is set: true, 1, or either as text; `None` if absent, null or blank.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, JsonError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        if let Value::Bool(flag) = value {
            return Ok(Some(*flag));
        }
        let wanted = "true or false";
        match text_of(name, value).map_err(|_| JsonError::unfit(name, wanted))?.as_deref() {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(JsonError::unfit(name, wanted)),
        }
    }

    /// An object that must be there.
    ///
    /// # Errors
    /// It is not, or is something else.
    pub fn object(&self, name: &'static str) -> Result<Object, JsonError> {
        match self.value(name) {
            None => Err(JsonError::Missing(name)),
            Some(value) => Object::of(name, value),
        }
    }

    /// `value`, which stands under `name`, as an object.
    ///
    /// # Errors
    /// It is something else.
    pub fn of(name: &str, value: &Value) -> Result<Object, JsonError> {
        match value {
            Value::Object(values) => Ok(Object(values.clone())),
            _ => Err(JsonError::unfit(name, "an object")),
        }
    }

    /// A list; `None` if absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self, name: &str) -> Result<Option<&[Value]>, JsonError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(JsonError::unfit(name, "a list")),
        }
    }

    /// A list of texts, blank ones left out; none if absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, JsonError> {
        let values = self.list(name)?.unwrap_or_default();
        values.iter().filter_map(|value| text_of(name, value).transpose()).collect()
    }
}

fn text_of(name: &str, value: &Value) -> Result<Option<String>, JsonError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) if !number.is_f64() => Ok(Some(number.to_string())),
        _ => Err(JsonError::unfit(name, "a text or a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_and_numbers_are_one_and_blank_is_absent() {
        let body =
            object(r#"{"a":"x","b":12,"c":null,"d":" ","e":"12","f":true,"g":"0","h":1,"i":-1,"j":1.0}"#);
        let text = |name| body.text(name).unwrap();
        assert_eq!(
            ["a", "b", "c", "d", "z"].map(text),
            [Some("x".into()), Some("12".into()), None, None, None]
        );
        assert_eq!(["b", "e", "c"].map(|name| body.number(name).unwrap()), [Some(12), Some(12), None]);
        let flags = ["f", "g", "h", "c"].map(|name| body.flag(name).unwrap());
        assert_eq!(flags, [Some(true), Some(false), Some(true), None]);
        assert!(body.text("f").is_err() && body.text("j").is_err() && body.flag("a").is_err());
        assert!(body.number("i").is_err() && body.number("j").is_err() && body.number("a").is_err());
        assert_eq!(body.needed("c"), Err(JsonError::Missing("c")));
    }

    #[test]
    fn errors_say_where_and_show_nothing_of_the_body() {
        let error = |text: &str| Object::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("[1]"), "the body is not a JSON object");
        assert_eq!(error("{\"secret\":\n x}"), "the body is not JSON: a syntax error at line 2 column 2");
        assert_eq!(error("{\"secret\""), "the body is not JSON: it ends too early at line 1 column 9");
        assert_eq!(object("  \n"), object("{}"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(Object::parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(Object::parse(nested(JSON_DEPTH_MAX + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(Object::parse("[".repeat(1 << 20).as_bytes()), Err(JsonError::TooDeep));
        // Brackets in texts are no nesting.
        assert!(Object::parse(br#"{"a":"[[[[[[[[[[\"[[[[","b":"\\"}"#).is_ok());
    }

    fn depth_of(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(depth_of).max().unwrap_or(0),
            Value::Object(values) => 1 + values.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_no_deeper_than_allowed(text in r#"\{("a"|:|,|\[|\]|\{|\}|"\\""|1| ){0,40}\}"#) {
            if let Ok(Object(values)) = Object::parse(text.as_bytes()) {
                prop_assert!(depth_of(&Value::Object(values)) <= JSON_DEPTH_MAX);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes);
        }
    }
}
