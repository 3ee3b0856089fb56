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
    /// The tenant whose number the path began with, `/tenants/7`: for it alone the call can be.
    pub tenant: Option<u64>,
    /// The path as it was sent, not decoded: a segment may have an encoded slash in it. Without what it says of a tenant.
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

/// What a path begins with that says for which tenant it is.
const TENANTS: &str = "/tenants/";

/// A path as it was sent, and the tenant that it says it is for: `/tenants/7/admin/api/services` is `/admin/api/services` for tenant 7.
#[must_use]
pub fn tenant_of_path(path: &str) -> (Option<u64>, &str) {
    let parts = path.strip_prefix(TENANTS).and_then(|rest| rest.find('/').map(|end| rest.split_at(end)));
    match parts.map(|(number, rest)| (number.parse(), rest)) {
        Some((Ok(tenant), rest)) => (Some(tenant), rest),
        _ => (None, path),
    }
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
    /// When what is shown was changed last, as HTTP writes times.
    pub last_modified: Option<String>,
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
            last_modified: None,
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

#[cfg(test)]
mod tests {
    use super::tenant_of_path;

    #[test]
    fn a_path_may_say_for_which_tenant_it_is() {
        assert_eq!(tenant_of_path("/tenants/7/admin/api/x"), (Some(7), "/admin/api/x"));
        assert_eq!(tenant_of_path("/tenants/7/"), (Some(7), "/"));
        for whole in [
            "/tenants/7",
            "/tenants/x/admin/api",
            "/tenants//admin",
            "/tenants/-1/a",
            "/admin/api",
            "/tenant/7/a",
        ] {
            assert_eq!(tenant_of_path(whole), (None, whole));
        }
        let too_large = "/tenants/99999999999999999999/admin/api";
        assert_eq!(tenant_of_path(too_large), (None, too_large));
    }
}
