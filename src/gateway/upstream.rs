//! What becomes of calls that are let through: they go on to the private API, or are echoed.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Call};
use super::content::{Backend, Content};
use crate::outgoing::{Http, OutgoingError, Request};
use crate::rules::Path;

/// What is done with calls that are let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upstream {
    /// They are sent on to the private API, and answered what it answers.
    Proxy,
    /// They are shown to who made them, as JSON.
    Echo,
}

/// Headers that are of one connection and not of the call, beside those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers of a call that are made anew.
const MADE_ANEW: [&str; 4] = ["host", "content-length", "expect", "x-3scale-proxy-secret-token"];

/// Shows a call.
pub(super) fn echo(
    content: &Content,
    call: &Call,
    path: &Path,
    usage: &[(&str, u64)],
    patterns: &[&str],
) -> Answer {
    let mut args = Map::new();
    for pair in call.query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        args.insert(name.to_owned(), Value::from(value));
    }
    let headers: Map<_, _> =
        call.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let counted: Map<_, _> =
        usage.iter().map(|(metric, sum)| ((*metric).to_owned(), Value::from(*sum))).collect();
    let shown = json!({
        "method": call.method,
        "path": path.render(),
        "args": args,
        "headers": headers,
        "body_bytes": call.body.len(),
        "service_id": content.service,
        "environment": content.environment,
        "config_version": content.version,
        "rules": patterns,
        "usage": counted,
    });
    let body = format!("{shown:#}\n").into_bytes();
    Answer { status: 200, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
}

/// Sends a call on.
pub(super) fn proxy(http: &Http, content: &Content, call: &Call, path: &Path) -> Answer {
    let Some((backend, rest)) = content.backend(path) else {
        return Answer::said(404, "The call may pass, but no private API is at this path");
    };
    let url = url(backend, &rest, &call.query);
    let host = content.proxy.hostname_rewrite.as_deref().filter(|host| !host.is_empty());
    let secret = content.proxy.secret_token.as_deref().filter(|secret| !secret.is_empty());
    let dropped = hop_by_hop(&call.headers);
    let kept = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut headers: Vec<_> =
        kept.filter(|(name, _)| !dropped.contains(&name.to_string()) && !MADE_ANEW.contains(name)).collect();
    headers.extend(host.map(|host| ("host", host)));
    headers.extend(secret.map(|secret| ("x-3scale-proxy-secret-token", secret)));
    match http.call(&Request { method: &call.method, url: &url, headers: &headers, body: &call.body }) {
        Ok(answer) => {
            let dropped = hop_by_hop(&answer.headers);
            // What hyper counts itself, unless there is a body that is not sent.
            let is_head = call.method == "HEAD";
            let kept = answer
                .headers
                .into_iter()
                .filter(|(name, _)| !dropped.contains(name) && (is_head || name != "content-length"));
            Answer { status: answer.status, headers: kept.collect(), body: answer.body }
        }
        Err(OutgoingError::Slow(_)) => Answer::said(504, "The private API does not answer in time"),
        Err(error) => Answer::said(502, format!("The private API cannot be called: {error}")),
    }
}

fn url(backend: &Backend, rest: &Path, query: &str) -> String {
    let base = backend.url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let question = if query.is_empty() { "" } else { "?" };
    format!("{base}{}{question}{query}", rest.render())
}

/// The names of the headers that are not handed on.
fn hop_by_hop(headers: &[(String, String)]) -> Vec<String> {
    let named =
        headers.iter().filter(|(name, _)| name == "connection").flat_map(|(_, value)| value.split(','));
    let named = named.map(|name| name.trim().to_ascii_lowercase());
    HOP_BY_HOP.iter().map(|name| (*name).to_owned()).chain(named).collect()
}
