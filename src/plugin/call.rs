//! A call of a plugin's routes, and the answer: HTTP without its transport.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::engine::Ticket;

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Method {
    /// GET, and HEAD, whose answer is the same without a body.
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// HTTP's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A call, its parameters read.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does.
    pub method: Method,
    /// The path as it was sent, not decoded: a segment may have an encoded slash in it.
    pub path: String,
    /// Query and body together, as a tree.
    pub parameters: Map<String, Value>,
    /// User and password of basic authentication.
    pub basic: Option<(String, String)>,
    /// What the client accepts, if it says so.
    pub accept: Option<String>,
    /// The version of the answer that the client has (`If-None-Match`).
    pub etag: Option<String>,
    /// The host that the client called.
    pub host: Option<String>,
    /// `https` or `http`: how the client reached the listener.
    pub scheme: &'static str,
}

/// What a call is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body; nothing without a body.
    pub content_type: Option<&'static str>,
    /// Where what was created is.
    pub location: Option<String>,
    /// The version of what is shown.
    pub etag: Option<String>,
    /// The body.
    pub body: Bytes,
    /// The answer waits until this is on disk.
    pub durable: Option<Ticket>,
    /// The credentials are wrong: whoever sends many such is made to wait.
    pub is_stranger: bool,
}

impl Answer {
    /// An answer with a body of a type, or without any.
    #[must_use]
    pub fn new(status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Answer {
        Answer {
            status,
            content_type,
            location: None,
            etag: None,
            body: body.into(),
            durable: None,
            is_stranger: false,
        }
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Answer {
        Answer::new(status, Some("application/json; charset=utf-8"), body.to_string())
    }
}
