//! All parameters of a request as one tree, for the routes of plugins, which speak as Rails applications do.
//!
//! Query and body are one: where both name a value the body's counts, and of two records under one name the fields of both.
//! A body is read by its `Content-Type`, whatever the method: some clients send JSON with GET and DELETE.
//!
//! - The query, and `application/x-www-form-urlencoded` or no type at all: as [`form`] reads it, with lists.
//!   Everything is a text; a name without `=` is null.
//! - `application/json`: an object. Values keep their types.
//! - `multipart/form-data`: the parts that are no files, with names as in a form.
//! - An empty body has no parameters, of whatever type it is.
//!
//! Nulls in lists are left out, as Rails does, but for those of [`IN_PLACES`]. Rails would hand on a text that is no UTF-8; here it is refused.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use serde_json::{Map, Value};

use super::body::{BodyError, Kind, kind, media_type, parse_multipart};
use super::form::{self, Builder, Entries, Form, FormError, PARAMETERS_MAX};
use super::json::{self, Bounds, Fault};

/// How deep JSON may nest, the object itself included: as deep as names in a form.
pub const JSON_DEPTH_MAX: usize = form::DEPTH_MAX;

/// How many values JSON may have, an empty list or object counted as two: as many as a form.
pub const JSON_VALUES_MAX: usize = PARAMETERS_MAX;

/// How deep the tree is at most: each level of a form's name may be a list of records.
pub const TREE_DEPTH_MAX: usize = 2 * form::DEPTH_MAX + 1;

/// A list whose values are what they are by their places, so that without the nulls between them others would be meant: hours of usage. 3scale knows no parameter of
/// this name.
pub const IN_PLACES: &str = "values";

/// The longest part of a content type that an error repeats, in bytes.
const ECHO_MAX: usize = 100;

/// Why the parameters of a request cannot be read. The texts show nothing of a value, which may be a secret, but of one
/// that cannot be decoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParamsError {
    /// Query or form break a rule or bound of forms; also a body of any type that is longer than it may be.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A text of the query or a form.
    #[error("a parameter is not valid UTF-8")]
    NotUtf8,
    /// Of a type that is not read here.
    #[error(
        "the body is of type '{0}', not application/json, application/x-www-form-urlencoded or multipart/form-data"
    )]
    ContentType(String),
    /// No multipart as its headers say.
    #[error("the body is not multipart/form-data as its headers say")]
    Multipart,
    /// Not JSON; with where, and nothing of the text.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    #[error("the body nests deeper than {JSON_DEPTH_MAX} lists and objects")]
    JsonTooDeep,
    /// More than [`JSON_VALUES_MAX`]; with their number.
    #[error("the body has {0} values, at most {JSON_VALUES_MAX} are read")]
    JsonTooMany(usize),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

/// All parameters of a request: those of its query, and those of its body, which is given as it is when inflated, and has `bytes_max`
/// at most.
///
/// # Errors
/// See [`ParamsError`].
pub fn params(head: &Parts, body: &[u8], bytes_max: usize) -> Result<Map<String, Value>, ParamsError> {
    let mut all = encoded(head.uri.query().unwrap_or_default().as_bytes())?;
    merge(&mut all, of_body(&head.headers, body, bytes_max)?);
    Ok(all)
}

fn of_body(headers: &HeaderMap, body: &[u8], bytes_max: usize) -> Result<Map<String, Value>, ParamsError> {
    if body.len() > bytes_max {
        return Err(FormError::TooLarge.into());
    }
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match kind(headers) {
        Ok(Kind::Form) => encoded(body),
        Ok(Kind::Multipart) => multipart(headers, body),
        Err(other) if media_type(&other).eq_ignore_ascii_case("application/json") => object(body),
        Err(mut other) => {
            other.truncate(other.floor_char_boundary(ECHO_MAX));
            Err(ParamsError::ContentType(other))
        }
    }
}

fn encoded(bytes: &[u8]) -> Result<Map<String, Value>, ParamsError> {
    let mut builder = Builder::keeping_lists(bytes.len());
    builder.push_encoded(bytes)?;
    tree(&builder.finish())
}

fn multipart(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, ParamsError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let builder = Builder::keeping_lists(body.len());
    match at_once(parse_multipart(content_type, Bytes::copy_from_slice(body), builder)) {
        Some(Ok(form)) => tree(&form),
        Some(Err(BodyError::Form(error))) => Err(error.into()),
        _ => Err(ParamsError::Multipart),
    }
}

/// What a future yields that waits for nothing: all it reads is in memory.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ParamsError> {
    let bounds = Bounds { depth_max: JSON_DEPTH_MAX, values_max: JSON_VALUES_MAX };
    let mut values = json::object(body, bounds).map_err(|fault| match fault {
        Fault::Syntax(what) => ParamsError::Json(what),
        Fault::TooDeep => ParamsError::JsonTooDeep,
        Fault::TooMany(count) => ParamsError::JsonTooMany(count),
        Fault::NotAnObject => ParamsError::NotAnObject,
    })?;
    values.iter_mut().filter(|(name, _)| *name != IN_PLACES).for_each(|(_, value)| leave_out_nulls(value));
    Ok(values)
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.retain(|value| !value.is_null());
            values.iter_mut().for_each(leave_out_nulls);
        }
        Value::Object(values) => values.values_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

fn tree(form: &Form) -> Result<Map<String, Value>, ParamsError> {
    if form.is_utf8() { Ok(record(form.entries())) } else { Err(ParamsError::NotUtf8) }
}

fn record(entries: Entries<'_>) -> Map<String, Value> {
    entries.map(|(name, value)| (name.to_owned(), json_of(value))).collect()
}

fn json_of(value: form::Value<'_>) -> Value {
    match value {
        form::Value::Nil => Value::Null,
        form::Value::Text(text) => Value::String(text.to_owned()),
        form::Value::Hash(entries) => Value::Object(record(entries)),
        form::Value::List(elements) => {
            Value::Array(elements.map(|(_, value)| json_of(value)).filter(|value| !value.is_null()).collect())
        }
    }
}

/// Puts `from` over `into`.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(fields)) => merge(known, fields),
            (Some(known), value) => *known = value,
            (None, value) => drop(into.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests;
