//! Query strings and form bodies.

use tollgate::http::form::{DEPTH_MAX, Entries, Form, Value};

/// What a tree takes: bytes of names and texts, and its depth.
fn measure(entries: Entries<'_>) -> (usize, usize) {
    let mut total = (0, 0);
    for (name, value) in entries {
        let (bytes, depth) = match value {
            Value::Text(text) => (text.len(), 0),
            Value::Hash(entries) => measure(entries),
            Value::Nil | Value::List(_) => (0, 0),
        };
        total = (total.0 + name.len() + bytes, total.1.max(depth + 1));
    }
    total
}

/// The tree as text, to compare two.
pub(crate) fn render(entries: Entries<'_>, out: &mut String) {
    for (name, value) in entries {
        *out += &format!("{name:?}");
        match value {
            Value::Nil => *out += ";",
            Value::List(_) => *out += "[];",
            Value::Text(text) => *out += &format!("={text:?};"),
            Value::Hash(entries) => {
                *out += "{";
                render(entries, out);
                *out += "}";
            }
        }
    }
}

/// One input.
pub fn run(bytes: &[u8]) {
    let parsed = Form::parse(bytes);
    if let Ok(form) = &parsed {
        let (total, depth) = measure(form.entries());
        assert!(total <= bytes.len() && depth <= DEPTH_MAX);
    }
    // Where no byte has a meaning of its own but `&` and the first `=`, escaping all others changes nothing.
    if bytes.len() < 1 << 16 && !bytes.iter().any(|byte| matches!(byte, b'%' | b'+' | b' ')) {
        let mut escaped = Vec::new();
        for byte in bytes {
            match byte {
                b'&' | b'=' => escaped.push(*byte),
                _ => escaped.extend(format!("%{byte:02X}").bytes()),
            }
        }
        match (parsed, Form::parse(&escaped)) {
            (Ok(plain), Ok(escaped)) => {
                let (mut one, mut other) = (String::new(), String::new());
                render(plain.entries(), &mut one);
                render(escaped.entries(), &mut other);
                assert_eq!((one, plain.is_utf8()), (other, escaped.is_utf8()));
            }
            (plain, escaped) => assert_eq!(plain.err(), escaped.err()),
        }
    }
}
