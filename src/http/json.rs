//! JSON objects from outside, bounded before they are parsed: parsed, a text can take forty times its length.

use serde_json::{Map, Value};

/// How much an object may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How deep lists and objects may nest; the object itself is the first level.
    pub(super) depth_max: usize,
    /// How many values it may have in all. An empty list or object counts as one more.
    pub(super) values_max: usize,
}

/// Why a text is no object, or none that is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Not JSON; with what the parser says of it, which names line and column but not the text.
    Syntax(String),
    /// Nested deeper than allowed.
    TooDeep,
    /// More values than allowed; with their number.
    TooMany(usize),
    /// JSON, but not an object.
    NotAnObject,
}

/// Reads an object. Blank is one without values.
pub(super) fn object(bytes: &[u8], bounds: Bounds) -> Result<Map<String, Value>, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let extent = extent(bytes);
    if extent.depth > bounds.depth_max {
        return Err(Fault::TooDeep);
    }
    if extent.values > bounds.values_max {
        return Err(Fault::TooMany(extent.values));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(_) => Err(Fault::NotAnObject),
        Err(error) => Err(Fault::Syntax(place_of(&error))),
    }
}

/// Where the parser stopped, and why, in its words.
fn place_of(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "a syntax error",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

struct Extent {
    depth: usize,
    values: usize,
}

/// How deep the brackets outside of texts nest, and how many values they hold. Of what is no JSON it may say anything: that
/// is refused anyway.
fn extent(bytes: &[u8]) -> Extent {
    let (mut depth, mut deepest, mut values) = (0_usize, 0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                values += 1;
                depth += 1;
                deepest = deepest.max(depth);
            }
            b',' => values += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Extent { depth: deepest, values }
}
