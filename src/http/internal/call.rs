//! One call of the internal API, read off its request.

use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use super::json::Object;
use crate::http::form::Form;

/// Where the internal API lies.
pub(super) const ROOT: &str = "/internal";

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    /// GET, and HEAD, whose answer is the same without a body.
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Verb> {
        match *method {
            Method::GET | Method::HEAD => Some(Verb::Get),
            Method::POST => Some(Verb::Post),
            Method::PUT => Some(Verb::Put),
            Method::DELETE => Some(Verb::Delete),
            _ => None,
        }
    }
}

/// A call whose parts are decoded.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    /// What follows [`ROOT`], split at slashes, then decoded: an id may have a slash in it. One slash at the end means
    /// nothing.
    pub(super) path: Vec<String>,
    query: Form,
    pub(super) body: Object,
}

impl Call {
    pub(super) fn read(method: &Method, uri: &Uri, body: &[u8]) -> Result<Call, Refusal> {
        let verb = Verb::of(method).ok_or(Refusal::NoSuchRoute)?;
        let path = uri.path();
        let path = path.strip_prefix(ROOT).unwrap_or(path);
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let decoded = path.split('/').map(|part| percent_decode_str(part).decode_utf8());
        let path = decoded.map(|part| part.map(|text| text.into_owned()));
        let path =
            path.collect::<Result<_, _>>().map_err(|_| Refusal::Bad("the path is not UTF-8".to_owned()))?;
        let query = Form::parse(uri.query().unwrap_or_default().as_bytes());
        let query = query.map_err(|error| Refusal::Bad(error.to_string()))?;
        Ok(Call { verb, path, query, body: Object::parse(body)? })
    }

    /// A parameter of the query that is a text.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.entries().find(|(known, _)| *known == name).and_then(|(_, value)| value.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, text: &str) -> Result<Call, Refusal> {
        Call::read(method, &text.parse().unwrap(), b"")
    }

    fn path(text: &str) -> Vec<String> {
        read(&Method::GET, text).unwrap().path
    }

    #[test]
    fn paths_are_split_and_then_decoded() {
        assert_eq!(path("/internal/services/a%2Fb%20c/"), ["services", "a/b c"]);
        assert_eq!(path("/internal/services//x"), ["services", "", "x"]);
        assert_eq!(path("/internal/a+b%"), ["a+b%"]);
        assert_eq!(path("/internal"), [""]);
        assert!(matches!(read(&Method::GET, "/internal/%ff"), Err(Refusal::Bad(_))));
        assert!(matches!(read(&Method::PATCH, "/internal/status"), Err(Refusal::NoSuchRoute)));
    }
}
