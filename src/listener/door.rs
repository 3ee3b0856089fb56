//! The door: accepts connections up to its caps, sees them through their handshake, and closes when told to.
//!
//! What is said on a connection is the [`Host`]'s business. A connection has its seat for as long as its conversation
//! runs, its handshake included, so that half-open ones count as what they are.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::departure::Departure;
use super::peer::{Peer, Seat, Seats};
use super::tls::Certificates;

/// The limits of a listener. Each has a default that suits gateways on the same machine or network.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; one more is told so and closed. Bounds memory and file descriptors.
    pub connections_max: usize,
    /// Open connections of one [`Peer`], which otherwise could take all there are. Loopback is not bounded by this.
    pub connections_per_peer_max: usize,
    /// From a connection's start to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// After the order to stop, for answering what is in flight.
    pub drain_timeout: Duration,
    /// The certificate to show; without one the listener speaks in the clear.
    pub tls: Option<Arc<Certificates>>,
    /// Loopback addresses are peers like others: each of 127.0.0.0/8 stands for a machine, in tests for one.
    pub local_counts: bool,
    /// Shared with whoever hands the listening socket over to another process.
    pub departure: Departure,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 1024,
            connections_per_peer_max: 512,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            tls: None,
            local_counts: false,
            departure: Departure::default(),
        }
    }
}

/// What a listener counts of its connections. Handles of the protocol's own names.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Traffic {
    pub connections: Gauge,
    pub accepted: Counter,
    pub refused: Counter,
    pub cut_off: Counter,
    pub accept_errors: Counter,
    pub handshakes_failed: Counter,
}

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// How a connection came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// By TCP, where others may read along.
    Plain,
    /// By TLS; with a certificate of a known authority, if the listener wants one.
    Tls,
    /// By a Unix socket, from a process of this user.
    Unix {
        /// The user's number.
        uid: u32,
    },
}

/// Who came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guest {
    /// From where.
    pub peer: Peer,
    /// By which way.
    pub link: Link,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Both sides were done, or the client broke off or sent what cannot be read.
    Closed,
    /// The client was too slow.
    CutOff,
}

/// Who converses with those that come in.
pub trait Host: Send + Sync + 'static {
    /// What a connection beyond the caps is told, if it came in the clear.
    fn busy(&self) -> &[u8];

    /// Converses until both sides are done. Once `stop` is cancelled, what is in flight is still answered.
    fn converse<S: Stream>(
        self: Arc<Self>,
        stream: S,
        guest: Guest,
        stop: CancellationToken,
    ) -> impl Future<Output = End> + Send;
}

/// Which users' processes a Unix socket is for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Admitted(pub Vec<u32>);

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// For whoever can reach the address.
    Tcp(TcpListener),
    /// For the processes of some users.
    Unix(UnixListener, Admitted),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

enum Arrived {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// The next connection; `None` for one that this is not for, which is closed already.
    async fn accept(&self) -> io::Result<Option<(Arrived, Guest)>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let guest = Guest { peer: Peer::of(address.ip()), link: Link::Plain };
                Ok(Some((Arrived::Tcp(stream), guest)))
            }
            Listener::Unix(listener, Admitted(uids)) => {
                let (stream, _) = listener.accept().await?;
                // Who has gone already has no user any more.
                let Ok(uid) = stream.peer_cred().map(|user| user.uid()) else { return Ok(None) };
                if !uids.contains(&uid) {
                    tracing::debug!(uid, "a process of another user was turned away");
                    return Ok(None);
                }
                Ok(Some((Arrived::Unix(stream), Guest { peer: Peer::local(), link: Link::Unix { uid } })))
            }
        }
    }
}

/// How long to wait before accepting again after a failure, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a listener until `shutdown` is cancelled and every connection has ended or the drain timeout has
/// passed. Must run inside a runtime; starts none.
pub async fn serve<H: Host>(
    listener: Listener,
    host: Arc<H>,
    limits: Limits,
    traffic: Traffic,
    shutdown: CancellationToken,
) {
    let limits = Arc::new(limits);
    let seats = Seats::new(limits.connections_per_peer_max, limits.local_counts);
    let mut open = JoinSet::new();
    // Full once is news, full for an hour is one line.
    let mut was_full = false;
    loop {
        let (arrived, guest) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = open.join_next() => {
                was_full = false;
                report(&traffic, ended);
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => {
                    traffic.refused.increment(1);
                    continue;
                }
                Err(error) => {
                    traffic.accept_errors.increment(1);
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let seat = if open.len() < limits.connections_max { seats.take(guest.peer) } else { None };
        let Some(seat) = seat else {
            traffic.refused.increment(1);
            if !std::mem::replace(&mut was_full, true) {
                let (open, max) = (open.len(), limits.connections_max);
                tracing::warn!(peer = %guest.peer, open, max, "refusing connections: a cap is reached");
            }
            refuse(&arrived, host.busy(), &limits);
            continue;
        };
        traffic.accepted.increment(1);
        traffic.connections.increment(1);
        let stop = shutdown.child_token();
        match arrived {
            Arrived::Tcp(stream) => {
                let (host, limits, traffic) = (Arc::clone(&host), Arc::clone(&limits), traffic.clone());
                drop(open.spawn(receive(stream, seat, guest, host, limits, traffic, stop)));
            }
            Arrived::Unix(stream) => {
                let host = Arc::clone(&host);
                drop(open.spawn(async move {
                    let _seat = seat;
                    host.converse(stream, guest, stop).await
                }));
            }
        }
    }
    drop(listener);
    drain(open, &traffic, limits.drain_timeout).await;
}

/// One connection by TCP, from its first byte on.
async fn receive<H: Host>(
    stream: TcpStream,
    _seat: Seat,
    guest: Guest,
    host: Arc<H>,
    limits: Arc<Limits>,
    traffic: Traffic,
    stop: CancellationToken,
) -> End {
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = &limits.tls else {
        return host.converse(stream, guest, stop).await;
    };
    let handshake = tokio::time::timeout(limits.handshake_timeout, certificates.acceptor().accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = limits.departure.last_chance(&stop) => return End::Closed,
    };
    match shaken {
        // Apart, so that plain connections do not carry its size.
        Ok(Ok(stream)) => Box::pin(host.converse(stream, Guest { link: Link::Tls, ..guest }, stop)).await,
        Ok(Err(error)) => {
            traffic.handshakes_failed.increment(1);
            tracing::debug!(peer = %guest.peer, %error, "a TLS handshake failed");
            End::Closed
        }
        Err(_) => End::CutOff,
    }
}

/// Waits for the connections to end, and ends them itself when the time is up.
async fn drain(mut open: JoinSet<End>, traffic: &Traffic, timeout: Duration) {
    let all_ended = async {
        while let Some(ended) = open.join_next().await {
            report(traffic, ended);
        }
    };
    if tokio::time::timeout(timeout, all_ended).await.is_err() {
        tracing::warn!(connections = open.len(), "ending connections that did not drain in time");
        open.abort_all();
        while let Some(ended) = open.join_next().await {
            report(traffic, ended);
        }
    }
}

fn report(traffic: &Traffic, ended: Result<End, tokio::task::JoinError>) {
    traffic.connections.decrement(1);
    match ended {
        Ok(End::CutOff) => traffic.cut_off.increment(1),
        Ok(End::Closed) => {}
        Err(error) if error.is_panic() => tracing::error!("a connection's task panicked"),
        Err(_) => {}
    }
}

/// Tells a client that there is no room, without waiting for it. By TLS there is nothing that it would understand.
fn refuse(arrived: &Arrived, busy: &[u8], limits: &Limits) {
    // What it has sent already is taken in first: closing with unread data would reset the connection, and the
    // answer could be lost.
    let mut unread = [0; 4096];
    match arrived {
        Arrived::Tcp(_) if limits.tls.is_some() => {}
        Arrived::Tcp(stream) => {
            let _ = stream.try_read(&mut unread);
            let _ = stream.try_write(busy);
        }
        Arrived::Unix(stream) => {
            let _ = stream.try_read(&mut unread);
            let _ = stream.try_write(busy);
        }
    }
}
