//! The routes of plugins: from HTTP to a [`Call`], and from an [`Answer`] back.
//!
//! Calls run on threads that may block, [`CALLS_AT_ONCE`] at a time. Others wait for their turn ([`turns`](super::turns)): first, for their
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
    IF_NONE_MATCH, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};

/// The calls that are read, and that are carried out, at a time. Bounds what parsed bodies take, and leaves threads that block to others.
const CALLS_AT_ONCE: usize = 8;

/// How many of them are one peer's, or one tenant's: there is always room for another's.
const CALLS_AT_ONCE_OF_ONE: usize = 6;

/// The calls of one that wait for others to end: a page of a dashboard makes a dozen.
const CALLS_WAITING: usize = 256;

const BOUNDS: Bounds =
    Bounds { at_once: CALLS_AT_ONCE, of_one: CALLS_AT_ONCE_OF_ONE, waiting: CALLS_WAITING };

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
        let (reading, carrying) = (Turns::new(BOUNDS), Turns::new(BOUNDS));
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
        let turn = self.reading.take((peer, shown(&self.hashing, &head))).await.map_err(|_| too_many())?;
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

/// What stands for the credential that can be seen before anything is parsed. Nobody can show another's without knowing it, so nobody comes
/// before another by it.
fn shown(hashing: &RandomState, head: &Parts) -> u64 {
    let names = ["access_token=", "provider_key=", "api_key="];
    let query = head.uri.query().unwrap_or_default();
    let parameter = query.split('&').find(|part| names.iter().any(|name| part.starts_with(name)));
    hashing.hash_one((parameter, head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)))
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
    let Answer { status, content_type, location, etag, body, .. } = answer;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers have credentials in them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=0, private, must-revalidate"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let texts = [(LOCATION, location), (ETAG, etag)];
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
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::{self, Poll};

    use hyper::body::Frame;

    use super::*;
    use crate::engine::Recovery;
    use crate::journal::{Journal, Options, Sequence};
    use crate::plugin::host::{Desk, Plugin};
    use crate::store::Shelf;

    /// A body that never ends.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    /// Answers when it is let go, but tenant 2 at once.
    struct Slow {
        go: AtomicBool,
        at_work: AtomicUsize,
    }

    impl Plugin for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn owns(&self, _: &str) -> bool {
            true
        }

        fn tenant_of(&self, call: &Call) -> Option<u64> {
            call.tenant
        }

        fn answer(&self, call: &Call) -> Answer {
            self.at_work.fetch_add(1, Ordering::Relaxed);
            while call.tenant != Some(2) && !self.go.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.at_work.fetch_sub(1, Ordering::Relaxed);
            Answer::new(200, None, "")
        }
    }

    fn routes(dir: &tempfile::TempDir, bodies: Bodies) -> (Arc<Slow>, Arc<PluginRoutes>) {
        let (journal, _) =
            Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), |_, _, _| {
                Ok::<(), std::convert::Infallible>(())
            })
            .unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [7; 16]));
        let desk = Desk::open("slow", &engine, Shelf::open(&dir.path().join("shelf")).unwrap()).unwrap();
        let slow = Arc::new(Slow { go: AtomicBool::new(false), at_work: AtomicUsize::new(0) });
        let host = Arc::new(Host::default().with(Arc::clone(&slow) as Arc<dyn Plugin>, desk));
        let guesses = Arc::new(Guesses::new(false));
        let (timeout, bodies) = (Duration::from_secs(60), Arc::new(bodies));
        (slow, Arc::new(PluginRoutes::new(host, engine, timeout, bodies, guesses)))
    }

    fn call(
        routes: &Arc<PluginRoutes>,
        body: impl Body<Data = Bytes> + Unpin + Send + 'static,
    ) -> tokio::task::JoinHandle<u16> {
        call_to(routes, "/it", body)
    }

    fn call_to(
        routes: &Arc<PluginRoutes>,
        path: &str,
        body: impl Body<Data = Bytes> + Unpin + Send + 'static,
    ) -> tokio::task::JoinHandle<u16> {
        let (routes, request) = (Arc::clone(routes), Request::get(path).body(body).unwrap());
        tokio::spawn(async move { routes.respond(request, Peer::local()).await.status().as_u16() })
    }

    async fn until(reached: impl Fn() -> bool) {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn as_many_calls_wait_as_may_and_the_next_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (slow, routes) = routes(&dir, Bodies::default());
        let empty = || Full::<Bytes>::default();
        let all = CALLS_AT_ONCE_OF_ONE + CALLS_WAITING;
        // Their bodies never end: they take nobody's place.
        let arriving: Vec<_> = (0..all).map(|_| call(&routes, Endless)).collect();
        let waiting: Vec<_> = (0..all).map(|_| call(&routes, empty())).collect();
        until(|| routes.carrying.count() == all).await;
        assert_eq!(call(&routes, empty()).await.unwrap(), 503);
        slow.go.store(true, Ordering::Relaxed);
        for one in waiting {
            assert_eq!(one.await.unwrap(), 200);
        }
        assert_eq!(call(&routes, empty()).await.unwrap(), 200);
        assert!(arriving.iter().all(|one| !one.is_finished()));
        arriving.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_tenant_whose_calls_fill_all_that_it_may_have_is_not_felt_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let (slow, routes) = routes(&dir, Bodies::default());
        let of = |path| call_to(&routes, path, Full::<Bytes>::default());
        let all = CALLS_AT_ONCE_OF_ONE + CALLS_WAITING;
        let flood: Vec<_> = (0..all).map(|_| of("/tenants/1/it?access_token=a")).collect();
        until(|| routes.carrying.count() == all).await;
        assert_eq!(of("/tenants/1/it?access_token=a").await.unwrap(), 503);
        for _ in 0..100 {
            assert_eq!(of("/tenants/2/it?access_token=b").await.unwrap(), 200);
        }
        slow.go.store(true, Ordering::Relaxed);
        for one in flood {
            assert_eq!(one.await.unwrap(), 200);
        }
    }

    #[tokio::test]
    async fn who_hangs_up_gives_back_no_place_before_the_work_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let (slow, routes) = routes(&dir, Bodies::default());
        for _ in 0..3 * CALLS_AT_ONCE {
            let gone = call(&routes, Full::<Bytes>::default());
            tokio::time::sleep(Duration::from_millis(10)).await;
            gone.abort();
            let _ = gone.await;
        }
        assert_eq!(slow.at_work.load(Ordering::Relaxed), CALLS_AT_ONCE_OF_ONE);
        slow.go.store(true, Ordering::Relaxed);
        until(|| slow.at_work.load(Ordering::Relaxed) == 0).await;
        assert_eq!(call(&routes, Full::<Bytes>::default()).await.unwrap(), 200);
    }

    #[tokio::test]
    async fn what_a_body_takes_is_accounted_for_until_its_call_is_carried_out() {
        const BYTES: usize = 128 << 10;
        let dir = tempfile::tempdir().unwrap();
        let (slow, routes) = routes(&dir, Bodies::new(BYTES, false));
        let large = || Full::new(Bytes::from(vec![b'a'; BYTES]));
        let at_work: Vec<_> =
            (0..CALLS_AT_ONCE_OF_ONE).map(|_| call(&routes, Full::<Bytes>::default())).collect();
        until(|| routes.carrying.count() == CALLS_AT_ONCE_OF_ONE).await;
        let waits = call(&routes, large());
        until(|| routes.carrying.count() == CALLS_AT_ONCE_OF_ONE + 1).await;
        assert_eq!(call(&routes, large()).await.unwrap(), 503, "there is no room for another one");
        slow.go.store(true, Ordering::Relaxed);
        for one in at_work {
            assert_eq!(one.await.unwrap(), 200);
        }
        assert_ne!(waits.await.unwrap(), 503);
        assert_ne!(call(&routes, large()).await.unwrap(), 503, "what it took is given back");
    }
}
