//! A listener: accepts connections up to its caps, serves each, plain or by TLS, drains when told to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{self, End};
use super::departure::Departure;
use super::peer::{Peer, Seat, Seats};
use super::routes::Routes;
use super::telemetry::Telemetry;
use super::tls::Certificates;

/// The most header lines of a request; more is answered 431. It is hyper's own limit, which costs nothing: any other
/// would be an allocation with each request. Gateways send about ten.
pub const HEADERS_MAX: usize = 100;

/// The limits of a listener. Each has a default that suits gateways on the same machine or network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Open connections; one more is answered 503 and closed. Bounds memory and file descriptors.
    pub connections_max: usize,
    /// Open connections of one [`Peer`], which otherwise could take all there are. Loopback is not bounded by this.
    pub connections_per_peer_max: usize,
    /// Bytes of a request line and its headers; more is answered 431.
    pub head_bytes_max: usize,
    /// From a connection's start, or the first byte of a request, to the end of its head.
    pub head_timeout: Duration,
    /// Between two requests of a connection. Longer than gateways keep idle connections (60 s for APIcast), or
    /// they would now and then send on one that was just closed. A client that does not take its answers has as
    /// long: nothing more of it is read until it does.
    pub idle_timeout: Duration,
    /// From a connection's start to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// After the order to stop, for answering what is in flight.
    pub drain_timeout: Duration,
    /// The certificate to show; without one the listener speaks plain HTTP.
    pub tls: Option<Arc<Certificates>>,
    /// Loopback addresses are peers like others: each of 127.0.0.0/8 stands for a machine, in tests for one.
    pub local_counts: bool,
    /// Shared with whoever hands the listening socket over to another process.
    pub departure: Departure,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connections_max: 1024,
            connections_per_peer_max: 512,
            head_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            tls: None,
            local_counts: false,
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
    let seats = Seats::new(config.connections_per_peer_max, config.local_counts);
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
                Ok((stream, address)) => {
                    let peer = Peer::of(address.ip());
                    let seat = if open.len() < config.connections_max { seats.take(peer) } else { None };
                    let Some(seat) = seat else {
                        telemetry.refused.increment(1);
                        if !std::mem::replace(&mut was_full, true) {
                            let (open, max) = (open.len(), config.connections_max);
                            tracing::warn!(%peer, open, max, "refusing connections: a cap is reached");
                        }
                        refuse(&stream, &config);
                        continue;
                    };
                    telemetry.accepted.increment(1);
                    telemetry.connections.increment(1);
                    let (routes, telemetry) = (Arc::clone(&routes), Arc::clone(&telemetry));
                    open.spawn(converse(
                        stream,
                        seat,
                        routes,
                        telemetry,
                        Arc::clone(&config),
                        shutdown.child_token(),
                    ));
                }
                Err(error) => pause(&telemetry, &error).await,
            },
        }
    }
    drop(listener);
    drain(open, &telemetry, config.drain_timeout).await;
}

/// One connection, from its first byte on. It has its seat for as long as this runs, its handshake included.
async fn converse(
    stream: TcpStream,
    seat: Seat,
    routes: Arc<Routes>,
    telemetry: Arc<Telemetry>,
    config: Arc<Config>,
    drain: CancellationToken,
) -> End {
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = &config.tls else {
        return connection::serve(stream, seat.peer, routes, telemetry, &config, drain).await;
    };
    let handshake = tokio::time::timeout(config.handshake_timeout, certificates.acceptor().accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = connection::last_chance(&drain, &config.departure) => return End::Closed,
    };
    match shaken {
        // Apart, so that plain connections do not carry its size.
        Ok(Ok(stream)) => {
            Box::pin(connection::serve(stream, seat.peer, routes, telemetry, &config, drain)).await
        }
        Ok(Err(error)) => {
            telemetry.handshakes_failed.increment(1);
            tracing::debug!(peer = %seat.peer, %error, "a TLS handshake failed");
            End::Closed
        }
        Err(_) => End::CutOff,
    }
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

/// Tells a client that there is no room, without waiting for it. By TLS there is nothing that it would understand.
fn refuse(stream: &TcpStream, config: &Config) {
    if config.tls.is_some() {
        return;
    }
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
