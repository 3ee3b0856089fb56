//! Interim.
use hyper::http::request::Parts;
use serde_json::{Map, Value};

/// Why.
#[derive(Debug, thiserror::Error)]
#[error("the body is no JSON object: {0}")]
pub struct ParamsError(String);

/// All.
pub fn params(head: &Parts, body: &[u8]) -> Result<Map<String, Value>, ParamsError> {
    let mut all = Map::new();
    form(head.uri.query().unwrap_or_default().as_bytes(), &mut all);
    let kind = head.headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
    if kind.contains("json") && !body.is_empty() {
        match serde_json::from_slice(body) {
            Ok(Value::Object(more)) => all.extend(more),
            Ok(_) => return Err(ParamsError("another value".into())),
            Err(error) => return Err(ParamsError(error.to_string())),
        }
    } else {
        form(body, &mut all);
    }
    Ok(all)
}

fn form(bytes: &[u8], all: &mut Map<String, Value>) {
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
    };
    for pair in String::from_utf8_lossy(bytes).split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        let (first, rest) = name.split_once('[').unwrap_or((&name, ""));
        if rest == "]" {
            let list = all.entry(first).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(value.into())
            }
        } else if let Some(inner) = rest.strip_suffix(']') {
            let map = all.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(inner.to_owned(), value.into());
            }
        } else {
            all.insert(first.to_owned(), value.into());
        }
    }
}
