//! A listener: accepts connections up to a cap, serves each, drains when told to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{self, End};
use super::departure::Departure;
use super::routes::Routes;
use super::telemetry::Telemetry;

/// The limits of a listener. Each has a default that suits gateways on the same machine or network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Open connections; one more is answered 503 and closed. Bounds memory and file descriptors.
    pub connections_max: usize,
    /// Bytes of a request line and its headers; more is answered 431.
    pub head_bytes_max: usize,
    /// From a connection's start, or the first byte of a request, to the end of its head.
    pub head_timeout: Duration,
    /// Between two requests of a connection. Longer than gateways keep idle connections (60 s for APIcast), or
    /// they would now and then send on one that was just closed.
    pub idle_timeout: Duration,
    /// After the order to stop, for answering what is in flight.
    pub drain_timeout: Duration,
    /// Shared with whoever hands the listening socket over to another process.
    pub departure: Departure,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connections_max: 1024,
            head_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(10),
            departure: Departure::default(),
        }
    }
}

/// What a connection beyond the cap is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n";

/// How long to wait before accepting again after a failure, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a listener until `shutdown` is cancelled and every connection has ended or the drain timeout has
/// passed. Must run inside a runtime; starts none.
pub async fn serve(
    listener: TcpListener,
    routes: Arc<Routes>,
    telemetry: Arc<Telemetry>,
    config: Config,
    shutdown: CancellationToken,
) {
    let config = Arc::new(config);
    let mut open = JoinSet::new();
    // Full once is news, full for an hour is one line.
    let mut was_full = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = open.join_next() => {
                was_full = false;
                report(&telemetry, ended);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if open.len() >= config.connections_max => {
                    telemetry.refused.increment(1);
                    if !std::mem::replace(&mut was_full, true) {
                        tracing::warn!(max = config.connections_max, "refusing connections: the cap is reached");
                    }
                    refuse(&stream);
                }
                Ok((stream, _)) => {
                    let (routes, telemetry) = (Arc::clone(&routes), Arc::clone(&telemetry));
                    let (config, drain) = (Arc::clone(&config), shutdown.child_token());
                    telemetry.accepted.increment(1);
                    telemetry.connections.increment(1);
                    open.spawn(async move {
                        // Small answers must not wait for the acknowledgement of the one before.
                        let _ = stream.set_nodelay(true);
                        connection::serve(stream, routes, telemetry, &config, drain).await
                    });
                }
                Err(error) => pause(&telemetry, &error).await,
            },
        }
    }
    drop(listener);
    drain(open, &telemetry, config.drain_timeout).await;
}

/// Waits for the connections to end, and ends them itself when the time is up.
async fn drain(mut open: JoinSet<End>, telemetry: &Telemetry, timeout: Duration) {
    let all_ended = async {
        while let Some(ended) = open.join_next().await {
            report(telemetry, ended);
        }
    };
    if tokio::time::timeout(timeout, all_ended).await.is_err() {
        tracing::warn!(connections = open.len(), "ending connections that did not drain in time");
        open.abort_all();
        while let Some(ended) = open.join_next().await {
            report(telemetry, ended);
        }
    }
}

fn report(telemetry: &Telemetry, ended: Result<End, tokio::task::JoinError>) {
    telemetry.connections.decrement(1);
    match ended {
        Ok(End::CutOff) => telemetry.cut_off.increment(1),
        Ok(End::Closed) => {}
        Err(error) if error.is_panic() => tracing::error!("a connection's task panicked"),
        Err(_) => {}
    }
}

/// Tells a client that there is no room, without waiting for it.
fn refuse(stream: &TcpStream) {
    // What it has sent already is taken in first: closing with unread data would reset the connection, and the
    // answer could be lost.
    let mut unread = [0; 4096];
    let _ = stream.try_read(&mut unread);
    let _ = stream.try_write(BUSY);
}

async fn pause(telemetry: &Telemetry, error: &io::Error) {
    telemetry.accept_errors.increment(1);
    tracing::warn!(%error, "cannot accept connections");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
