//! An HTTP listener: its limits, and how its connections are conversed with.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::connection;
use super::routes::Routes;
use super::telemetry::Telemetry;
use crate::listener::{self, End, Guest, Host, Limits, Listener, Stream};

/// The most header lines of a request; more is answered 431. It is hyper's own limit, which costs nothing: any other
/// would be an allocation with each request. Gateways send about ten.
pub const HEADERS_MAX: usize = 100;

/// The limits of an HTTP listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that every listener has.
    pub limits: Limits,
    /// Bytes of a request line and its headers; more is answered 431.
    pub head_bytes_max: usize,
    /// From a connection's start, or the first byte of a request, to the end of its head.
    pub head_timeout: Duration,
    /// Between two requests of a connection. Longer than gateways keep idle connections (60 s for APIcast), or
    /// they would now and then send on one that was just closed. A client that does not take its answers has as
    /// long: nothing more of it is read until it does.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            head_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

/// What a connection beyond the cap is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n";

/// Answers requests on the connections of a listener.
struct Server {
    routes: Arc<Routes>,
    telemetry: Arc<Telemetry>,
    config: Config,
}

impl Host for Server {
    fn busy(&self) -> &[u8] {
        BUSY
    }

    async fn converse<S: Stream>(self: Arc<Self>, stream: S, guest: Guest, stop: CancellationToken) -> End {
        let (routes, telemetry) = (Arc::clone(&self.routes), Arc::clone(&self.telemetry));
        connection::serve(stream, guest.peer, routes, telemetry, &self.config, stop).await
    }
}

/// Serves a listener until `shutdown` is cancelled and every connection has ended or the drain timeout has
/// passed. Must run inside a runtime; starts none.
pub async fn serve(
    listener: impl Into<Listener>,
    routes: Arc<Routes>,
    telemetry: Arc<Telemetry>,
    config: Config,
    shutdown: CancellationToken,
) {
    let (limits, traffic) = (config.limits.clone(), telemetry.traffic.clone());
    let server = Arc::new(Server { routes, telemetry, config });
    listener::serve(listener.into(), server, limits, traffic, shutdown).await;
}
