//! A listener of the binary protocol: what its connections share, and how they are conversed with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::connection;
use super::secrets::Secrets;
use super::telemetry::Telemetry;
use crate::engine::Engine;
use crate::listener::guesses::Guesses;
use crate::listener::{self, Clock, End, Guest, Host, Limits, Listener, Stream};
use crate::model::promise::Promise;
use crate::wire::Goodbye;

/// What a user's processes may call for over a Unix socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opens {
    /// As with the node secret.
    AllServices,
    /// As with a token of that service.
    Service(String),
}

/// A user that need not prove who it is over a Unix socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixUser {
    /// The user's number.
    pub uid: u32,
    /// What it may call for.
    pub opens: Opens,
}

/// The limits of the binary protocol beyond those of every listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// From a connection's start to WELCOME.
    pub greeting_timeout: Duration,
    /// Between two frames of a connection; a client that takes none of its answers has as long.
    pub idle_timeout: Duration,
    /// Usage that is older and not on disk means that the node is behind.
    pub behind_after: Duration,
    /// What answers by TCP promise unless request or service say otherwise.
    pub tcp_promise: Option<Promise>,
    /// The same of those by the Unix socket.
    pub unix_promise: Option<Promise>,
    /// Who need not prove who they are.
    pub unix_users: Vec<UnixUser>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            greeting_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            behind_after: Duration::from_millis(200),
            tcp_promise: None,
            unix_promise: None,
            unix_users: Vec::new(),
        }
    }
}

/// Answers the binary protocol. One for all listeners of a node.
pub struct Server {
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Clock,
    pub(super) guesses: Arc<Guesses>,
    pub(super) secrets: Secrets,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) config: Config,
    /// Drawn at the start: handles of another number are stale.
    pub(super) node: u64,
    pub(super) started: Instant,
    sessions: AtomicU64,
    /// What is taken of [`super::LARGE_FRAMES_BYTES_MAX`].
    pub(super) large_frames: Arc<AtomicUsize>,
    busy: Vec<u8>,
}

impl Server {
    /// Answers from `engine`.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        clock: Clock,
        guesses: Arc<Guesses>,
        secrets: Secrets,
        telemetry: Arc<Telemetry>,
        config: Config,
    ) -> Server {
        let mut node = [0; 8];
        // Without randomness (early boot of a strange machine) a client takes two starts for one, and finds its handles
        // stale one by one.
        let _ = getrandom::fill(&mut node);
        let mut busy = Vec::new();
        Goodbye { reason: Goodbye::FULL, grace_ms: 0 }.put_frame(&mut busy, "too many connections");
        Server {
            engine,
            clock,
            guesses,
            secrets,
            telemetry,
            config,
            node: u64::from_le_bytes(node),
            started: Instant::now(),
            sessions: AtomicU64::new(0),
            large_frames: Arc::default(),
            busy,
        }
    }

    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Relaxed) + 1
    }
}

/// A server on one listener.
struct Speaking {
    server: Arc<Server>,
    departure: listener::Departure,
}

impl Host for Speaking {
    fn busy(&self) -> &[u8] {
        &self.server.busy
    }

    async fn converse<S: Stream>(self: Arc<Self>, stream: S, guest: Guest, stop: CancellationToken) -> End {
        let telemetry = &self.server.telemetry;
        telemetry.open.fetch_add(1, Relaxed);
        let end = connection::converse(stream, guest, &self.server, &self.departure, &stop).await;
        telemetry.open.fetch_sub(1, Relaxed);
        end
    }
}

/// Serves a listener until `shutdown` is cancelled and every connection has ended or the drain timeout has passed. Must
/// run inside a runtime; starts none.
pub async fn serve(listener: Listener, server: Arc<Server>, limits: Limits, shutdown: CancellationToken) {
    let traffic = server.telemetry.traffic.clone();
    let host = Arc::new(Speaking { server, departure: limits.departure.clone() });
    listener::serve(listener, host, limits, traffic, shutdown).await;
}
