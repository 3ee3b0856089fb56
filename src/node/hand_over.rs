//! Hand-over: a new process takes the listening sockets over from a running one, and no request fails.
//!
//! `SO_REUSEPORT` would not do: closing one of several sockets on a port resets the connections in its accept queue.
//! So the sockets themselves go to the new process, over the control socket; connections wait in their backlog
//! while nobody accepts.
//!
//! # Protocol
//! The new process (N) has read its configuration and found the directory's FORMAT to be one that it knows.
//!
//! 1. N connects to `control.sock` and sends `{"take_over": {"protocol": 1, "version": "..."}}`.
//! 2. The old process (O) answers `{"ok": {"listeners": ["data", "admin", "tcp"], "within_s": 25}}`, the sockets' descriptors
//!    attached in the same order. Or it refuses with an error, and N ends.
//! 3. N keeps the sockets whose addresses it is configured for, binds what else it needs, and sends `go`.
//! 4. O sends its clients away ([`Departure`]): it goes on accepting and answering, but each
//!    answer ends its connection, until every connection from before has had one, at most [`LAME_DUCK`] long. Then
//!    it accepts no more, answers what is in flight, and closes what is idle.
//! 5. O flushes, releases the data directory, sends `released` and ends.
//! 6. N takes the directory, recovers, and accepts from the very same sockets.
//!
//! # When something goes wrong
//! - **N ends or says nothing before `go`** (a bad address, for one): O goes on as if nobody had asked.
//! - **N ends before O has released the directory**: O lets clients stay, serves its sockets again, and goes on.
//! - **O cannot write its journal**: it keeps what it holds in memory, and refuses or goes on as above.
//! - **O dies**: the end of the connection tells N, and the directory's lock goes with O. N recovers what O had
//!   flushed, as after any crash. The sockets and their backlog are N's already.
//! - **O hangs**: `within_s` after `go` N gives up and ends, and says so. O ends itself within that time.
//! - **N ends after the directory was released** (its data cannot be recovered): nobody serves. Its exit code and
//!   log say why, and a service manager starts it again. Only this one step cannot be taken back.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::control::descriptors::{self, DESCRIPTORS_MAX};
use super::control::{Answer, Request, SocketPath, client};
use super::front::{Front, Role, Socket, Sockets};
use super::{Node, NodeError};
use crate::config::Config;
use crate::listener::Departure;

/// The version of the protocol; another one is refused.
const PROTOCOL: u32 = 1;

/// How long clients are sent away one by one. Whoever is silent for longer finds its connection closed, as it would
/// at any idle timeout.
pub const LAME_DUCK: Duration = Duration::from_secs(2);

/// How often it is looked whether they have gone.
const LAME_DUCK_STEP: Duration = Duration::from_millis(5);

/// How long each side waits for the next word of the other while both have only small things to do.
const WORD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the old process may take for its last flush, on a slow disk.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// What the new process waits beyond the time that the old one has said.
const SLACK: Duration = Duration::from_secs(5);

const GO: &[u8; 3] = b"go\n";
const RELEASED: &[u8; 9] = b"released\n";

/// What the new process says first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct TakeOver {
    protocol: u32,
    version: String,
}

/// What the old process answers, its sockets attached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Offer {
    listeners: Vec<Role>,
    /// How long it may take from `go` until the directory is released.
    within_s: u64,
}

/// A process that wants to take over from this one.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
    version: String,
    pid: Option<i32>,
}

/// How a hand-over ended.
pub enum HandOver {
    /// The data directory is released: tell the successor ([`Successor::release`]) and end.
    Done(Successor),
    /// The node goes on, for this reason.
    Stays(Box<Node>, String),
}

impl Successor {
    /// A peer that asked for the sockets; given back if this node cannot speak with it.
    pub(super) fn new(
        stream: UnixStream,
        asked: TakeOver,
        pid: Option<i32>,
    ) -> Result<Successor, (UnixStream, String)> {
        let TakeOver { protocol, version } = asked;
        if protocol != PROTOCOL {
            let reason = format!("hand-over protocol {protocol} is not known here, only {PROTOCOL}");
            return Err((stream, reason));
        }
        Ok(Successor { stream, version, pid })
    }

    pub(super) fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Its version of Tollgate.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its process, as this one sees it.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Sends the sockets and waits for its word.
    async fn agree(&mut self, front: &Front, within: Duration) -> io::Result<()> {
        let (listeners, sockets) = front.descriptors();
        let line = Answer::Ok(Offer { listeners, within_s: within.as_secs() }).line();
        let send = || descriptors::send(&self.stream, &line, &sockets);
        self.stream.async_io(Interest::WRITABLE, send).await?;
        let mut word = [0; GO.len()];
        timeout(WORD_TIMEOUT, self.stream.read_exact(&mut word)).await??;
        if word == *GO { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Waits until it has ended. It says nothing more after its word, so anything that can be read is the end.
    async fn ended(&self) {
        let mut byte = [0];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    /// Tells it that the data directory is its own now. The last thing to do before the process ends.
    pub async fn release(mut self) {
        // If it is gone, nobody is left to tell.
        let _ = self.stream.write_all(RELEASED).await;
    }
}

impl Node {
    /// Waits for a process that wants to take over.
    pub async fn successor(&mut self) -> Successor {
        match self.successors.recv().await {
            Some(successor) => successor,
            // Without a control socket nobody comes.
            None => std::future::pending().await,
        }
    }

    /// How long a hand-over may take; a process that is still at it then should end.
    #[must_use]
    pub fn hand_over_within(&self) -> Duration {
        LAME_DUCK + self.drain_deadline + 2 * LAST_FLUSH
    }

    /// Hands listening sockets and data directory over to `successor`; see the module's documentation.
    ///
    /// # Errors
    /// The node has ended, and not cleanly.
    pub async fn hand_over(self, mut successor: Successor) -> Result<HandOver, NodeError> {
        if self.engine.flush_health().failing {
            let reason = "the journal cannot be written at present";
            let refused = Answer::<Offer>::Error(reason.to_owned()).line();
            let _ = successor.stream.write_all(&refused).await;
            return Ok(self.stays(reason));
        }
        let within = self.hand_over_within();
        if let Err(error) = successor.agree(&self.front, within).await {
            return Ok(self.stays(format!("the new process did not get going: {error}")));
        }
        self.departure.begin();
        let gone = tokio::select! {
            () = clients_left(&self.departure) => false,
            () = successor.ended() => true,
        };
        if gone {
            return Ok(self.stays("the new process ended"));
        }
        self.front.close().await;
        let flushed = timeout(LAST_FLUSH, self.engine.durable(self.engine.ticket())).await;
        if !matches!(flushed, Ok(Ok(()))) {
            return self.reopened("the journal cannot be written at present");
        }
        if timeout(Duration::ZERO, successor.ended()).await.is_ok() {
            return self.reopened("the new process ended");
        }
        self.end().await?;
        Ok(HandOver::Done(successor))
    }

    fn stays(self, reason: impl Into<String>) -> HandOver {
        self.departure.cancel();
        HandOver::Stays(Box::new(self), reason.into())
    }

    fn reopened(mut self, reason: &str) -> Result<HandOver, NodeError> {
        // Before those are accepted who have waited: they may stay.
        self.departure.cancel();
        self.front.open()?;
        Ok(self.stays(reason))
    }
}

/// Waits until every client that came before has gone, or has had its time to.
async fn clients_left(departure: &Departure) {
    let all = async {
        while departure.settled() > 0 {
            tokio::time::sleep(LAME_DUCK_STEP).await;
        }
    };
    // The rest says nothing for so long that it is closed like any idle connection.
    let _ = timeout(LAME_DUCK, all).await;
}

/// Takes the sockets over from the node that runs on the configured directory, and waits until it has released that.
/// `None` if no node runs there.
pub(super) async fn take(config: &Config) -> Result<Option<Sockets>, NodeError> {
    let failed = |error: io::Error| NodeError::HandOver(error.to_string());
    let connected = match SocketPath::of(&config.data_dir) {
        Ok(path) => UnixStream::connect(&path).await,
        Err(error) => Err(error),
    };
    let Some(mut stream) = client::none_if_nobody(connected).map_err(failed)? else { return Ok(None) };
    let Some((offer, inherited)) = asked(&mut stream).await? else { return Ok(None) };
    let sockets = Sockets::open(config, inherited)?;
    stream.write_all(GO).await.map_err(failed)?;
    let within = Duration::from_secs(offer.within_s) + SLACK;
    let mut word = [0; RELEASED.len()];
    match timeout(within, stream.read_exact(&mut word)).await {
        Ok(Ok(_)) => tracing::info!("the running node has released its data directory"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the running node ended without a word: recovering what it had written");
        }
        Err(_) => {
            let reason =
                format!("the running node does not let go of its data within {} s", within.as_secs());
            return Err(NodeError::HandOver(reason));
        }
    }
    Ok(Some(sockets))
}

/// Asks for the sockets; `None` if the node ended instead of answering.
async fn asked(stream: &mut UnixStream) -> Result<Option<(Offer, Vec<(Role, Socket)>)>, NodeError> {
    let failed = |error: io::Error| NodeError::HandOver(error.to_string());
    let ask = TakeOver { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut request = serde_json::to_vec(&Request::TakeOver(ask)).map_err(|error| failed(error.into()))?;
    request.push(b'\n');
    stream.write_all(&request).await.map_err(failed)?;
    let receive = stream.async_io(Interest::READABLE, || descriptors::receive(&*stream));
    let received = timeout(WORD_TIMEOUT, receive).await;
    let (line, descriptors) = received.map_err(|error| failed(error.into()))?.map_err(failed)?;
    if line.is_empty() {
        return Ok(None);
    }
    let answer: Answer<Offer> = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
    let offer = match answer {
        Answer::Ok(offer) if offer.listeners.len() == descriptors.len() => offer,
        Answer::Ok(_) => return Err(NodeError::HandOver("its sockets did not arrive".to_owned())),
        Answer::Error(reason) => return Err(NodeError::HandOver(reason)),
    };
    let received = offer.listeners.iter().copied().zip(descriptors);
    let received = received.map(|(role, descriptor)| Ok((role, Socket::received(role, descriptor)?)));
    let inherited = received.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    Ok(Some((offer, inherited)))
}

const _: () = assert!(DESCRIPTORS_MAX >= 4);
