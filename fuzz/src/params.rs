//! All parameters of a request. The first byte says of what type the body is, the second where the query ends.

use hyper::Request;
use serde_json::{Map, Value};
use tollgate::http::form::BYTES_MAX;
use tollgate::http::params::{ParamsError, TREE_DEPTH_MAX, params};

const TYPES: [&str; 4] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=X",
    "text/plain",
];

/// The parameters of a request, if its query can be one at all.
fn read(query: &[u8], content_type: &str, body: &[u8]) -> Option<Result<Map<String, Value>, ParamsError>> {
    if query.contains(&b'#') {
        // There a fragment begins, which is none of the query.
        return None;
    }
    let uri = [b"/?", query].concat();
    let request = Request::builder().uri(&uri[..]).header("content-type", content_type).body(()).ok()?;
    Some(params(&request.into_parts().0, body, BYTES_MAX))
}

/// How deep a tree is.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// One input.
pub fn run(bytes: &[u8]) {
    let [content_type, cut, rest @ ..] = bytes else { return };
    let (query, body) = rest.split_at(usize::from(*cut).min(rest.len()));
    let content_type = TYPES[usize::from(*content_type) % TYPES.len()];
    let Some(Ok(tree)) = read(query, content_type, body) else { return };
    let tree = Value::Object(tree);
    assert!(depth(&tree) <= TREE_DEPTH_MAX);
    // What was read is the same as JSON, unless it is beyond the bounds of that.
    if let Some(Ok(again)) = read(b"", TYPES[1], tree.to_string().as_bytes()) {
        assert_eq!(Value::Object(again), tree);
    }
    // A query is read as a body of a form is.
    if let (true, Some(Ok(of_query))) = (body.is_empty(), read(query, TYPES[0], b"")) {
        let of_body = read(b"", TYPES[0], query).expect("without a query").expect("what was read once");
        assert_eq!(of_body, of_query);
    }
}
