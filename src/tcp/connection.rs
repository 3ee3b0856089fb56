//! One connection: bytes in, bytes out, and the times by which they must come.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use super::server::{Config, Server};
use super::session::Session;
use crate::engine::Ticket;
use crate::listener::{Departure, End, Guest, Stream};
use crate::wire::Goodbye;

/// How long a client has to leave after GOAWAY because the node stops or hands over.
pub const GRACE: Duration = Duration::from_secs(1);

/// What is read into at first. Grows with a read that fills it, up to what a frame may have.
const INPUT_BYTES: usize = 16 << 10;
/// What is kept of a buffer for answers that had to grow.
const READY_BYTES_KEPT: usize = 128 << 10;

/// How long a durable answer waits for the disk. A disk that hangs longer must not keep requests.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// After the last answer to a client that may have sent more: closing with unread bytes would reset the connection, and
/// the answer could be lost.
const LINGER: Duration = Duration::from_millis(250);
/// The most bytes that are taken in meanwhile.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Converses until both sides are done.
pub(super) async fn converse<S: Stream>(
    stream: S,
    guest: Guest,
    server: &Server,
    departure: &Departure,
    stop: &CancellationToken,
) -> End {
    let _stay = departure.arrive();
    let was_leaving = departure.is_on();
    let mut wire =
        Wire { stream, input: Input::new(), outbox: Outbox::default(), written: 0, unflushed: false };
    let mut session = Session::new(guest);
    let mut patience = Patience::new(&server.config);
    let mut ticks = tokio::time::interval(patience.tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut durable: Option<Durable<'_>> = None;
    let mut stopping = pin!(stop.cancelled());
    let mut departing = pin!(departure.begun());
    let mut leave = Leave::No;
    let mut grace = pin!(tokio::time::sleep(GRACE));
    let mut heard = true;
    let mut is_eof = false;
    loop {
        let mut is_full = false;
        if heard && !session.is_over() {
            let step = session.advance(server, wire.input.unread(), &mut wire.outbox);
            wire.input.consume(step.used, session.frame_max());
            is_full = step.is_full;
            patience.heard(step.used > 0, session.is_open());
        }
        heard = false;
        if durable.is_none() {
            durable = wire.outbox.awaited().map(|ticket| Durable::new(server, ticket));
        }
        let is_done = durable.is_none() && wire.is_written();
        if is_done && (session.is_over() || is_eof) || leave == Leave::Late && durable.is_none() {
            break;
        }
        let reads = !session.is_over() && !is_eof;
        let moved = tokio::select! {
            biased;
            moved = poll_fn(|cx| wire.poll(reads, cx)) => moved,
            is_durable = settled(&mut durable), if durable.is_some() => {
                if let Some(Durable { ticket, .. }) = durable.take() {
                    wire.outbox.settle(ticket, is_durable);
                }
                continue;
            }
            () = stopping.as_mut(), if leave == Leave::No => {
                wave(&mut session, &mut wire.outbox, departure);
                grace.as_mut().reset(Instant::now() + GRACE);
                leave = Leave::Asked;
                continue;
            }
            () = departing.as_mut(), if leave == Leave::No && !was_leaving => {
                wave(&mut session, &mut wire.outbox, departure);
                grace.as_mut().reset(Instant::now() + GRACE);
                leave = Leave::Asked;
                continue;
            }
            () = grace.as_mut(), if leave == Leave::Asked => {
                leave = Leave::Late;
                continue;
            }
            _ = ticks.tick() => {
                match patience.is_over(&wire, session.is_open(), durable.is_some()) {
                    None => {}
                    Some(Over::NotReading) => return End::CutOff,
                    Some(Over::Idle) => session.end(&mut wire.outbox, Goodbye::IDLE, "idle"),
                    Some(Over::NotWelcome) => {
                        session.end(&mut wire.outbox, Goodbye::HANDSHAKE_TOO_SLOW, "WELCOME took too long");
                        wire.finish().await;
                        return End::CutOff;
                    }
                }
                continue;
            }
        };
        match moved {
            Ok(Moved::Read(0)) => is_eof = true,
            Ok(Moved::Read(_)) => heard = true,
            // What had no room for its answers has it now.
            Ok(Moved::Wrote) => heard = is_full || wire.input.has_some(),
            Err(_) => return End::Closed,
        }
    }
    if !is_eof {
        wire.finish().await;
    }
    End::Closed
}

/// Whether the client was asked to leave, and its time for that is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    No,
    Asked,
    Late,
}

/// Asks the client to leave.
fn wave(session: &mut Session, outbox: &mut Outbox, departure: &Departure) {
    let (reason, message) = if departure.is_on() {
        (Goodbye::HANDING_OVER, "another process takes over: connect again")
    } else {
        (Goodbye::STOPPING, "the node stops")
    };
    if session.is_open() {
        let grace_ms = u32::try_from(GRACE.as_millis()).unwrap_or(u32::MAX);
        Goodbye { reason, grace_ms }.put_frame(&mut outbox.ready, message);
    } else if !session.is_over() {
        // Nothing was asked for yet.
        session.end(outbox, reason, message);
    }
}

/// Waits for the disk.
struct Durable<'s> {
    ticket: Ticket,
    done: Pin<Box<dyn Future<Output = bool> + Send + 's>>,
}

impl<'s> Durable<'s> {
    fn new(server: &'s Server, ticket: Ticket) -> Durable<'s> {
        let durable = tokio::time::timeout(DURABLE_TIMEOUT, server.engine.durable(ticket));
        Durable { ticket, done: Box::pin(async move { matches!(durable.await, Ok(Ok(()))) }) }
    }
}

async fn settled(durable: &mut Option<Durable<'_>>) -> bool {
    match durable {
        Some(durable) => durable.done.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Bytes that have come and are not done with.
struct Input {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Input {
    fn new() -> Input {
        Input { bytes: vec![0; INPUT_BYTES], begin: 0, end: 0 }
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    fn has_some(&self) -> bool {
        self.begin < self.end
    }

    /// Takes bytes away, and makes room for more of a frame that is not whole.
    fn consume(&mut self, used: usize, frame_max: usize) {
        self.begin += used;
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.begin > 0 && self.end == self.bytes.len() {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.end == self.bytes.len() {
            // No more than a frame at a time: what comes after it waits in the socket.
            let most = frame_max.max(self.bytes.len());
            self.bytes.resize((self.bytes.len() * 2).min(most), 0);
        }
    }

    fn is_full(&self) -> bool {
        self.end == self.bytes.len()
    }
}

/// What has moved.
enum Moved {
    /// So many bytes have come; none at the end.
    Read(usize),
    /// All that was ready is written.
    Wrote,
}

struct Wire<S> {
    stream: S,
    input: Input,
    outbox: Outbox,
    /// How much of what is ready has gone.
    written: usize,
    unflushed: bool,
}

impl<S: Stream> Wire<S> {
    fn is_written(&self) -> bool {
        self.outbox.ready.is_empty() && !self.unflushed
    }

    /// Writes what is ready; only when nothing is, reads.
    fn poll(&mut self, reads: bool, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        if !self.is_written() {
            ready!(self.poll_write(cx))?;
            return Poll::Ready(Ok(Moved::Wrote));
        }
        if !reads || self.input.is_full() {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut self.input.bytes[self.input.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        self.input.end += count;
        Poll::Ready(Ok(Moved::Read(count)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outbox.ready.len() {
            let rest = &self.outbox.ready[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        self.written = 0;
        self.outbox.written();
        if self.outbox.ready.capacity() > READY_BYTES_KEPT {
            self.outbox.ready.shrink_to(READY_BYTES_KEPT);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the last words, and takes in what the client had sent meanwhile.
    async fn finish(mut self) {
        let last = async {
            while !self.is_written() {
                if poll_fn(|cx| self.poll_write(cx)).await.is_err() {
                    return;
                }
            }
            if self.stream.shutdown().await.is_err() {
                return;
            }
            let mut taken = 0;
            while taken < LINGER_BYTES_MAX {
                match self.stream.read(&mut self.input.bytes).await {
                    Ok(count) if count > 0 => taken += count,
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, last).await;
    }
}

/// Why a client is out of time.
enum Over {
    NotWelcome,
    NotReading,
    Idle,
}

/// Decides, tick by tick, when a client had its chance.
struct Patience {
    tick: Duration,
    greeting_timeout: Duration,
    idle_timeout: Duration,
    greeting: Duration,
    quiet: Duration,
    stuck: Duration,
    /// What was written at the last tick.
    written: usize,
}

impl Patience {
    fn new(config: &Config) -> Patience {
        let Config { greeting_timeout, idle_timeout, .. } = *config;
        let tick =
            (greeting_timeout.min(idle_timeout) / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let none = Duration::ZERO;
        Patience {
            tick,
            greeting_timeout,
            idle_timeout,
            greeting: none,
            quiet: none,
            stuck: none,
            written: 0,
        }
    }

    /// Notes that something whole has come; part of a frame is nothing.
    fn heard(&mut self, whole: bool, is_open: bool) {
        if whole && is_open {
            self.quiet = Duration::ZERO;
        }
    }

    fn is_over<S: Stream>(&mut self, wire: &Wire<S>, is_open: bool, is_waiting: bool) -> Option<Over> {
        if !is_open {
            self.greeting += self.tick;
            if self.greeting > self.greeting_timeout {
                return Some(Over::NotWelcome);
            }
        }
        if wire.is_written() {
            self.stuck = Duration::ZERO;
        } else {
            let moved = self.written != wire.written;
            self.written = wire.written;
            self.stuck = if moved { Duration::ZERO } else { self.stuck + self.tick };
            return (self.stuck > self.idle_timeout).then_some(Over::NotReading);
        }
        if is_waiting || !is_open {
            self.quiet = Duration::ZERO;
            return None;
        }
        self.quiet += self.tick;
        (self.quiet > self.idle_timeout).then_some(Over::Idle)
    }
}
