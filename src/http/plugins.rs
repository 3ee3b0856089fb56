//! The routes of plugins: from HTTP to a [`Call`], and from an [`Answer`] back.
//!
//! Calls run on threads that may block, some more than there are cores at a time. Others wait for their turn ([`turns`](super::turns)): first, for their
//! parameters to be read, the calls with each credential, as far as that can be told; then, to be carried out, those of each tenant. Whoever has [`CALLS_WAITING`] waiting and
//! brings one more is refused at once (503): so a slow plugin piles nothing up, and no tenant feels how many calls another makes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::bodies::Bodies;
use super::body::Received;
use super::params::params;
use super::routes::{Answering, Extension};
use super::turns::{Bounds, Turns};
use super::{Response, body};
use crate::engine::Engine;
use crate::listener::Peer;
use crate::listener::guesses::{Attempt, Guesses, Target};
use crate::plugin::call::{Answer, Call, Method, tenant_of_path};
use crate::plugin::host::Host;
use ::metrics::{Counter, counter, describe_counter};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};

/// The calls of one that wait for others to end: a page of a dashboard makes a dozen.
const CALLS_WAITING: usize = 256;

/// How many calls run at once, and how many of them are one peer's, or one tenant's: there is always room for another's, and one who floods the
/// node leaves a core to everybody else, decisions first of all. More than there are cores would only take turns on them.
fn bounds() -> Bounds {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Bounds { at_once: (cores + 2).min(8), of_one: (cores - 1).clamp(1, 6), waiting: CALLS_WAITING }
}

/// The most bytes of a body, where its plugin says nothing else: an OpenAPI document is the largest thing that is sent.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How long a change waits for the disk.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The plugins of a node, over HTTP.
pub struct PluginRoutes {
    host: Arc<Host>,
    engine: Arc<Engine>,
    body_timeout: Duration,
    bodies: Arc<Bodies>,
    guesses: Arc<Guesses>,
    /// Of those who show the same credential, to have their calls read.
    reading: Arc<Turns<(Peer, u64)>>,
    /// What credentials are hashed with for that.
    hashing: RandomState,
    /// Of tenants, to have their calls carried out; those of whoever is no tenant's are nobody's.
    carrying: Arc<Turns<Option<u64>>>,
    is_encrypted: bool,
    calls: Calls,
}

/// How calls ended, for telemetry.
struct Calls {
    done: Counter,
    refused: Counter,
    denied: Counter,
    unavailable: Counter,
}

impl Calls {
    fn new() -> Calls {
        describe_counter!("tollgate_plugin_calls_total", "Calls of plugins' routes, by result");
        let result = |result: &'static str| counter!("tollgate_plugin_calls_total", "result" => result);
        Calls {
            done: result("done"),
            refused: result("refused"),
            denied: result("denied"),
            unavailable: result("unavailable"),
        }
    }

    fn count(&self, status: StatusCode) {
        match status.as_u16() {
            401 | 403 | 429 => &self.denied,
            500.. => &self.unavailable,
            400.. => &self.refused,
            _ => &self.done,
        }
        .increment(1);
    }
}

impl PluginRoutes {
    /// The routes of `host`'s plugins. A body that takes longer than `body_timeout` to arrive is given up. `bodies` and `guesses` are
    /// the node's.
    #[must_use]
    pub fn new(
        host: Arc<Host>,
        engine: Arc<Engine>,
        body_timeout: Duration,
        bodies: Arc<Bodies>,
        guesses: Arc<Guesses>,
    ) -> PluginRoutes {
        let (reading, carrying) = (Turns::new(bounds()), Turns::new(bounds()));
        let hashing = RandomState::new();
        let calls = Calls::new();
        let is_encrypted = false;
        PluginRoutes {
            host,
            engine,
            body_timeout,
            bodies,
            guesses,
            reading,
            hashing,
            carrying,
            is_encrypted,
            calls,
        }
    }

    /// The same behind a listener that speaks TLS: links say `https`.
    #[must_use]
    pub fn encrypted(self, is_encrypted: bool) -> PluginRoutes {
        PluginRoutes { is_encrypted, ..self }
    }

    async fn respond<B>(&self, request: Request<B>, peer: Peer) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let response = self.outcome(request, peer).await.unwrap_or_else(|refused| refused);
        self.calls.count(response.status());
        response
    }

    async fn outcome<B>(&self, request: Request<B>, peer: Peer) -> Result<Response, Response>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let bytes_max = self.host.body_bytes_max(tenant_of_path(head.uri.path()).1).unwrap_or(BODY_BYTES_MAX);
        let room = self.bodies.hold(peer);
        let body = body::read_bytes(&head.headers, body, self.body_timeout, bytes_max, room).await;
        let Received { bytes: body, room } = body.map_err(|error| unread(&error))?;
        // Not before: else whoever sends bodies slowly would take the places of those who wait.
        let who = (peer, shown(&self.hashing, &head, &body));
        let turn = self.reading.take(who).await.map_err(|_| too_many())?;
        let (host, scheme) = (Arc::clone(&self.host), if self.is_encrypted { "https" } else { "http" });
        // Place and room go with the work: who hangs up meanwhile gives neither back.
        let reading = tokio::task::spawn_blocking(move || {
            let call = call_of(&head, (&body, bytes_max), scheme);
            let read = call.map(|call| (host.tenant_of(&call), call));
            drop(turn);
            (read, room)
        });
        let (read, room) = reading.await.map_err(failed)?;
        let (tenant, call) = read.map_err(|refused| *refused)?;
        let turn = self.carrying.take(tenant).await.map_err(|_| too_many())?;
        let (host, guesses) = (Arc::clone(&self.host), Arc::clone(&self.guesses));
        let answering = tokio::task::spawn_blocking(move || {
            let answered = answer(&host, &guesses, peer, &call);
            drop((turn, room));
            answered
        });
        let answer = answering.await.map_err(failed)?.map_err(|refused| *refused)?;
        if let Some(ticket) = answer.durable {
            let durable = tokio::time::timeout(DURABLE_TIMEOUT, self.engine.durable(ticket)).await;
            if !matches!(durable, Ok(Ok(()))) {
                return Err(busy(
                    "the change is made, but the journal cannot be written at present: it may be lost\n",
                ));
            }
        }
        Ok(response_of(answer))
    }
}

/// How much of a body is looked at for a credential before the body has its turn.
const GLANCE_BYTES: usize = 4096;

/// What stands for the credential that can be seen before anything is parsed. Nobody can show another's without knowing it, so nobody comes
/// before another by it.
fn shown(hashing: &RandomState, head: &Parts, body: &[u8]) -> u64 {
    const NAMES: [&str; 3] = ["access_token", "provider_key", "api_key"];
    let query = head.uri.query().unwrap_or_default();
    let named = |part: &&str| NAMES.iter().any(|name| part.starts_with(name));
    let parameter = query.split('&').find(named);
    let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let in_body = || {
        let glance = body.get(..GLANCE_BYTES).unwrap_or(body);
        let at =
            NAMES.iter().find_map(|name| glance.windows(name.len()).position(|it| it == name.as_bytes()))?;
        // To where a value ends in a form, and in JSON.
        glance.get(at..)?.split(|it| matches!(it, b'&' | b',' | b'}')).next()
    };
    let is_shown = parameter.is_some() || authorization.is_some();
    hashing.hash_one((parameter, authorization, if is_shown { None } else { in_body() }))
}

fn too_many() -> Response {
    busy("too many calls are waiting\n")
}

fn failed(_: tokio::task::JoinError) -> Response {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "failed\n")
}

/// Answers one call, unless whoever makes it has been wrong too often. On a thread that may block.
fn answer(host: &Host, guesses: &Guesses, peer: Peer, call: &Call) -> Result<Answer, Box<Response>> {
    let credential = credential(call);
    let attempt = Attempt { peer, target: Target::Admin, credential: credential.as_bytes() };
    let mut answer = None;
    let mut ask = || answer.insert(host.answer(call)).as_ref().is_some_and(|it| !it.is_stranger);
    // Who gives nothing guesses nothing.
    if credential.is_empty() {
        ask();
    } else if let Err(wait) = guesses.check(&attempt, &mut ask) {
        return Err(Box::new(super::answer::wait(wait)));
    }
    answer.flatten().ok_or_else(|| Box::new(plain(StatusCode::NOT_FOUND, "not found\n")))
}

/// What may be a guess.
fn credential(call: &Call) -> String {
    // All of them: which one a plugin looks at is its own to say.
    let parameter = |name: &str| match call.parameters.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    };
    let basic = call.basic.as_ref().map(|(user, password)| format!("{user}:{password}"));
    let given = ["access_token", "provider_key", "api_key"].into_iter().filter_map(parameter).chain(basic);
    given.collect::<Vec<_>>().join("\n")
}

fn call_of(
    head: &Parts,
    (body, bytes_max): (&[u8], usize),
    scheme: &'static str,
) -> Result<Call, Box<Response>> {
    let method = match head.method {
        hyper::Method::GET | hyper::Method::HEAD => Method::Get,
        hyper::Method::POST => Method::Post,
        hyper::Method::PUT => Method::Put,
        hyper::Method::PATCH => Method::Patch,
        hyper::Method::DELETE => Method::Delete,
        _ => return Err(Box::new(plain(StatusCode::METHOD_NOT_ALLOWED, "this method is not known here\n"))),
    };
    let parameters = params(head, body, bytes_max).map_err(|error| {
        let body = serde_json::json!({"error": error.to_string()});
        Box::new(response_of(Answer::json(400, &body)))
    })?;
    let (tenant, path) = tenant_of_path(head.uri.path());
    Ok(Call {
        method,
        tenant,
        path: path.to_owned(),
        parameters,
        basic: basic(&head.headers),
        accept: text(&head.headers, ACCEPT),
        etag: text(&head.headers, IF_NONE_MATCH),
        host: text(&head.headers, HOST),
        scheme,
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (kind, encoded) = given.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
    Some((user.to_owned(), password.to_owned()))
}

fn response_of(answer: Answer) -> Response {
    let Answer { status, content_type, location, etag, last_modified, body, .. } = answer;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers have credentials in them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=0, private, must-revalidate"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let texts = [(LOCATION, location), (ETAG, etag), (LAST_MODIFIED, last_modified)];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    if status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    super::answer::text(status, text)
}

fn busy(text: &'static str) -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer to a body that could not be read.
fn unread(error: &body::BodyError) -> Response {
    use body::BodyError;
    use hyper::header::CONNECTION;
    let status = match error {
        BodyError::Form(_) | BodyError::Inflates => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken => StatusCode::BAD_REQUEST,
        BodyError::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = super::answer::text(status, format!("{error}\n"));
    // What else of the body the client sends would be misread.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Extension for PluginRoutes {
    fn owns(&self, path: &str) -> bool {
        self.host.owns(tenant_of_path(path).1)
    }

    fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answering<'_> {
        Box::pin(self.respond(request, peer))
    }
}

#[cfg(test)]
mod tests;
