//! The gateway's sockets: one for each port, all with the same bounds.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Counter, Gauge};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Call};
use super::passage::Passage;
use super::{BODY_BYTES_MAX, GatewayError, Node, Options};
use crate::listener::{self, End, Guest, Host, Limits, Stream, Traffic};

/// The most connections of all ports together: each takes a descriptor and a buffer.
pub const CONNECTIONS_MAX: usize = 512;
/// The most calls in flight, and the most whose bodies are read or held; further ones wait. Each takes a thread, and up to twice the largest body.
pub const CALLS_MAX: usize = 64;
/// From a connection's start, or the last answer on it, to the end of a head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// For a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For calls in flight to be answered when the gateway stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n";

/// A gateway that listens, and does not serve yet.
#[derive(Debug)]
pub struct Serving {
    listeners: Vec<Bound>,
    passage: Passage,
    /// Where it listens: the first address, and the last port.
    pub first: SocketAddr,
    /// The last port.
    pub last: u16,
}

impl Serving {
    /// Asks the node where to listen, and does.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn open(options: &Options) -> Result<Serving, GatewayError> {
        let node = Node::new(options)?;
        let (host, first, last) = place(&node)?;
        let named = host.trim_matches(['[', ']']).parse().ok();
        let ip = options.bind.or(named).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !ip.is_loopback() && !options.insecure {
            return Err(GatewayError::Open(ip));
        }
        let addresses: Vec<_> = (first..=last).map(|port| SocketAddr::new(ip, port)).collect();
        let passage = Passage::new(node, options, &addresses)?;
        let bind = |address| {
            let bound = Bound::bind(address).and_then(|bound| bound.set_nonblocking(true).map(|()| bound));
            bound.map_err(|source| GatewayError::Address { address, source })
        };
        let listeners = addresses.into_iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Serving { listeners, passage, first: SocketAddr::new(ip, first), last })
    }

    /// Serves until `stop` is done; then answers what is in flight.
    ///
    /// # Errors
    /// Threads are not to be had.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<(), GatewayError> {
        // The one runtime that the node does not start: this process has no node.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(CALLS_MAX)
            .thread_name("tollgate-gateway")
            .build()?;
        let served = runtime.block_on(self.serve(stop));
        // A private API that does not answer must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), GatewayError> {
        let shutdown = CancellationToken::new();
        let passage = Arc::new(self.passage);
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (bodies, calls) = (Arc::new(Semaphore::new(CALLS_MAX)), Arc::new(Semaphore::new(CALLS_MAX)));
        let limits = Limits {
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            ..Limits::default()
        };
        let mut serving = tokio::task::JoinSet::new();
        for bound in self.listeners {
            let port = bound.local_addr()?.port();
            let listener = TcpListener::from_std(bound)?;
            let (passage, seats) = (Arc::clone(&passage), Arc::clone(&seats));
            let (bodies, calls) = (Arc::clone(&bodies), Arc::clone(&calls));
            let host = Arc::new(Door { port, passage, seats, bodies, calls });
            let served =
                listener::serve(listener.into(), host, limits.clone(), uncounted(), shutdown.clone());
            drop(serving.spawn(served));
        }
        stop.await;
        shutdown.cancel();
        while serving.join_next().await.is_some() {}
        Ok(())
    }
}

/// A test gateway has no telemetry.
fn uncounted() -> Traffic {
    Traffic {
        connections: Gauge::noop(),
        accepted: Counter::noop(),
        refused: Counter::noop(),
        cut_off: Counter::noop(),
        accept_errors: Counter::noop(),
        handshakes_failed: Counter::noop(),
    }
}

/// The host and ports that the node has for its gateway.
fn place(node: &Node) -> Result<(String, u16, u16), GatewayError> {
    let failed = |problem: String| GatewayError::Answer { node: node.url.clone(), problem };
    let answer = node.ask("gateway", None);
    let answer = answer.map_err(|source| GatewayError::Node { node: node.url.clone(), source })?;
    match answer.status {
        200 => {}
        404 => return Err(failed("has no gateway: start it with --gateway-endpoint".to_owned())),
        403 | 401 => return Err(failed(format!("answers {}: the token is not for it", answer.status))),
        status => return Err(failed(format!("answers {status}"))),
    }
    let shown: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let gateway = &shown["gateway"];
    let port = |name: &str| gateway[name].as_u64().and_then(|port| u16::try_from(port).ok());
    match (gateway["host"].as_str(), port("first_port"), port("last_port")) {
        (Some(host), Some(first), Some(last)) => Ok((host.to_owned(), first, last)),
        _ => Err(failed("does not tell where its gateway is".to_owned())),
    }
}

/// One port's.
struct Door {
    port: u16,
    passage: Arc<Passage>,
    seats: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Host for Door {
    fn busy(&self) -> &[u8] {
        BUSY
    }

    async fn converse<S: Stream>(self: Arc<Self>, mut stream: S, _: Guest, stop: CancellationToken) -> End {
        let Ok(_seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, BUSY).await;
            return End::Closed;
        };
        let door = Arc::clone(&self);
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return End::Closed,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
        End::Closed
    }
}

impl Door {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let stopping = || response(Answer::said(503, "The gateway is stopping"));
        // What waits for its turn should take little; and who sends a body slowly keeps none waiting but others with bodies.
        let _room = match body.is_end_stream() {
            true => None,
            false => match self.bodies.acquire().await {
                Ok(room) => Some(room),
                Err(_) => return stopping(),
            },
        };
        let body = Limited::new(body, BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return response(Answer::said(
                    413,
                    format!("The body is longer than {BODY_BYTES_MAX} bytes"),
                ));
            }
            Ok(Err(_)) => return response(Answer::said(400, "The body broke off")),
            Err(_) => return response(Answer::said(408, "The body did not arrive in time")),
        };
        let Ok(_turn) = self.calls.acquire().await else { return stopping() };
        let texts = head.headers.iter();
        let texts =
            texts.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let call = Call {
            port: self.port,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: texts.collect(),
            body,
        };
        let passage = Arc::clone(&self.passage);
        let answered = tokio::task::spawn_blocking(move || passage.answer(&call)).await;
        response(answered.unwrap_or_else(|_| Answer::said(500, "The gateway failed")))
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        if let Some((name, value)) = parsed {
            response.headers_mut().append(name, value);
        }
    }
    response
}
