//! One connection: a task that owns the socket, takes calls from a queue, writes all that wait at once, and hands out
//! answers by id.

mod ask;
mod handshake;
mod outbox;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::codec::Decoder;

pub(crate) use self::ask::{Answered, Ask, Fate, Lost, Origin, Reply};
use self::handshake::Handshake;
use self::outbox::{Outbox, ROUND_LEN_MAX, give_up};
use self::waiting::{Sent, Wait, Waiting};
use crate::access::Access;
use crate::address::{Address, Stream};
use crate::codec::{ANSWER, BatchAnswer, Frame, FrameCodec, Goaway, GoawayReason, Operation, Status};
use crate::counters::Tally;
use crate::error::ConnectError;
use crate::options::Options;

/// How often a connection looks at its clock.
const TICK: Duration = Duration::from_millis(250);

/// What WELCOME said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// A random number that the node drew at its start.
    pub node: u64,
    /// The connection's number in the node's log.
    pub number: u64,
    /// The longest frame, in bytes.
    pub frame_max: u32,
    /// Requests that may be unanswered at a time.
    pub window: u32,
    /// After so many milliseconds of silence the node would close the connection. The client sees to it that there is none.
    pub idle_ms: u32,
    /// Features of the node, as bits of [`features`](crate::codec::features).
    pub features: u64,
    /// The catalog's version when the connection was opened.
    pub catalog_version: u64,
    /// Name and version of the node.
    pub software: String,
}

/// Why a connection takes no more calls.
pub(crate) enum End {
    /// The client was closed, and everything is answered.
    Closed,
    /// The node will stop: what is under way is to be awaited for so long, by [`Connection::finish`].
    Draining(Box<Connection>, Duration),
    /// It broke.
    Broken,
}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) session: Session,
    origin: Arc<Origin>,
    stream: Stream,
    inbox: BytesMut,
    frames: FrameCodec,
    outbox: Outbox,
    waiting: Waiting,
    unflushed: bool,
    last_read: Instant,
    last_written: Instant,
    unanswered_max: Duration,
    tally: Arc<Tally>,
}

/// What woke the task.
enum Event {
    Asked(Ask),
    Closed,
    Wrote(std::io::Result<usize>),
    Read(std::io::Result<usize>),
    Tick,
}

/// Whether to go on.
enum Step {
    On,
    Goaway(Duration),
    Broken,
}

impl Connection {
    pub(crate) async fn open(
        address: &Address,
        access: &Access,
        options: &Options,
        tally: Arc<Tally>,
    ) -> Result<Connection, ConnectError> {
        let open = async {
            let mut stream = address.connect().await?;
            let mut inbox = BytesMut::with_capacity(8 * 1024);
            let session = Handshake { access, options }.run(&mut stream, &mut inbox).await?;
            Ok((stream, inbox, session))
        };
        let (stream, inbox, session) = tokio::time::timeout(options.connect_timeout, open)
            .await
            .unwrap_or(Err(ConnectError::TooSlow))?;
        let now = Instant::now();
        Ok(Connection {
            frames: FrameCodec { frame_max: session.frame_max },
            origin: Arc::new(Origin { node: session.node, condemned: AtomicBool::new(false) }),
            session,
            stream,
            inbox,
            outbox: Outbox::new(options.coalesce),
            waiting: Waiting::default(),
            unflushed: false,
            last_read: now,
            last_written: now,
            unanswered_max: options.unanswered_max,
            tally,
        })
    }

    /// Serves calls of `queue` until the client is closed or gone, or the node or the network ends it.
    pub(crate) async fn run(
        mut self: Box<Self>,
        queue: &mut mpsc::Receiver<Ask>,
        closed: &mut watch::Receiver<bool>,
    ) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        // A GOAWAY may have come together with the WELCOME.
        let mut step = self.read_frames();
        loop {
            match step {
                Step::On => {}
                Step::Goaway(closes) => {
                    self.outbox.held.drain(..).for_each(Ask::refuse);
                    return End::Draining(self, closes);
                }
                Step::Broken => {
                    self.give_up();
                    return End::Broken;
                }
            }
            self.gather(queue);
            if !open && self.is_done() && queue.is_empty() {
                let _ = self.stream.writer.shutdown().await;
                return End::Closed;
            }
            let sources = open.then_some((&mut *queue, &mut *closed));
            let event = self.next(sources, &mut tick).await;
            step = match event {
                Event::Asked(ask) => {
                    self.outbox.held.push_back(ask);
                    Step::On
                }
                Event::Closed => {
                    open = false;
                    Step::On
                }
                other => self.handle(other),
            };
        }
    }

    /// Waits for the answers of what is under way, `within` at most. Takes no new calls.
    pub(crate) async fn finish(mut self: Box<Self>, within: Duration) {
        let until = Instant::now() + within;
        let mut tick = tokio::time::interval(TICK);
        // Answers may have come together with the GOAWAY.
        let mut step = self.read_frames();
        while !self.is_done() && !matches!(step, Step::Broken) {
            let Ok(event) = timeout_at(until, self.next(None, &mut tick)).await else { break };
            step = self.handle(event);
        }
        self.give_up();
        // What is not read any more shall not look like a break to the node.
        let _ = self.stream.writer.shutdown().await;
    }

    fn is_done(&self) -> bool {
        self.waiting.len() == 0
            && self.outbox.held.is_empty()
            && self.outbox.bytes.is_empty()
            && !self.unflushed
    }

    /// Takes what waits in the queue, and makes frames of it.
    fn gather(&mut self, queue: &mut mpsc::Receiver<Ask>) {
        let mut taken = self.outbox.held.len();
        while taken < ROUND_LEN_MAX && self.outbox.has_room(&self.waiting, &self.session) {
            let Ok(ask) = queue.try_recv() else { break };
            self.outbox.held.push_back(ask);
            taken += 1;
        }
        let frames = self.outbox.fill(&mut self.waiting, &self.session);
        self.tally.frames.add(frames);
    }

    async fn next(
        &mut self,
        sources: Option<(&mut mpsc::Receiver<Ask>, &mut watch::Receiver<bool>)>,
        tick: &mut tokio::time::Interval,
    ) -> Event {
        let has_room = self.outbox.has_room(&self.waiting, &self.session);
        let Stream { reader, writer, .. } = &mut self.stream;
        let bytes = &mut self.outbox.bytes;
        let to_write = !bytes.is_empty() || self.unflushed;
        let asked = async {
            let Some((queue, closed)) = sources else { return std::future::pending().await };
            tokio::select! {
                biased;
                ask = queue.recv(), if has_room => ask.map_or(Event::Closed, Event::Asked),
                // An error: the client is gone.
                _ = closed.wait_for(|closed| *closed) => Event::Closed,
            }
        };
        let write = async {
            if bytes.is_empty() { writer.flush().await.map(|()| 0) } else { writer.write_buf(bytes).await }
        };
        tokio::select! {
            event = asked => event,
            wrote = write, if to_write => Event::Wrote(wrote),
            read = reader.read_buf(&mut self.inbox) => Event::Read(read),
            _ = tick.tick() => Event::Tick,
        }
    }

    fn handle(&mut self, event: Event) -> Step {
        match event {
            Event::Wrote(Ok(count)) => {
                // Nothing left to write, and nothing written: that was the flush.
                self.unflushed = self.stream.buffers && count > 0;
                self.outbox.written += count as u64;
                self.last_written = Instant::now();
                self.tally.writes.add(usize::from(count > 0));
                Step::On
            }
            Event::Read(Ok(count)) if count > 0 => {
                self.last_read = Instant::now();
                self.read_frames()
            }
            Event::Tick => self.look_at_clock(),
            Event::Asked(_) | Event::Closed => Step::On,
            Event::Wrote(Err(_)) | Event::Read(_) => Step::Broken,
        }
    }

    /// Keeps the connection alive, and notices when it is dead.
    fn look_at_clock(&mut self) -> Step {
        if self.origin.condemned.load(Ordering::Relaxed) {
            return Step::Broken;
        }
        let now = Instant::now();
        let too_old = |since: Instant| now.duration_since(since) > self.unanswered_max;
        if self.waiting.oldest().is_some_and(too_old) {
            return Step::Broken;
        }
        let quiet_max = Duration::from_millis(self.session.idle_ms.into()) / 3;
        let quiet = now.duration_since(self.last_written.max(self.last_read));
        if !quiet_max.is_zero() && quiet > quiet_max && self.waiting.len() < self.session.window as usize {
            self.outbox.put_ping(&mut self.waiting, &self.session);
        }
        Step::On
    }

    fn read_frames(&mut self) -> Step {
        loop {
            match self.frames.decode(&mut self.inbox) {
                Ok(Some(frame)) => match self.answer(frame) {
                    Step::On => {}
                    other => return other,
                },
                Ok(None) => return Step::On,
                Err(_) => return Step::Broken,
            }
        }
    }

    fn answer(&mut self, frame: Frame) -> Step {
        if frame.head.operation == Operation::Goaway.answer() {
            return said_goodbye(&frame);
        }
        let Some(sent) = self.waiting.take(frame.head.id) else {
            // What a later version says without being asked has no request, and is none of this one's business. But an
            // answer to nothing shows that the two sides do not mean the same.
            return if frame.head.id == 0 { Step::On } else { Step::Broken };
        };
        let (status, body, origin) = (frame.head.status, frame.body, Arc::clone(&self.origin));
        match sent.wait {
            Wait::Nobody => {}
            Wait::One(ask) if frame.head.operation == ask.operation | ANSWER => {
                ask.answer(Ok(Answered { status, body, origin }));
            }
            Wait::Batch(asks) if frame.head.operation == Operation::Batch.answer() => {
                return share(asks, status, &body, &origin);
            }
            wait => {
                give_up(Sent { wait, ..sent }, Lost::Nonsense);
                return Step::Broken;
            }
        }
        Step::On
    }

    /// Tells all that wait that there will be no answer.
    fn give_up(&mut self) {
        let written = self.outbox.written;
        for sent in self.waiting.drain() {
            // A frame of which the end was not written cannot have been acted on.
            let lost = if sent.ends_at > written { Lost::NotSent } else { Lost::Unanswered };
            give_up(sent, lost);
        }
        self.outbox.held.drain(..).for_each(Ask::refuse);
        self.outbox.bytes.clear();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn said_goodbye(frame: &Frame) -> Step {
    match Goaway::decode(&frame.body) {
        Ok(Goaway { reason: GoawayReason::Stops | GoawayReason::HandsOver, closes_ms, .. }) => {
            Step::Goaway(Duration::from_millis(closes_ms.into()))
        }
        _ => Step::Broken,
    }
}

/// Gives each item of a BATCH its part of the answer.
fn share(asks: Vec<Ask>, status: Status, body: &Bytes, origin: &Arc<Origin>) -> Step {
    let part = |status, body| Ok(Answered { status, body, origin: Arc::clone(origin) });
    if !status.is_done() {
        asks.into_iter().for_each(|ask| ask.answer(part(status, body.clone())));
        return Step::On;
    }
    let items = BatchAnswer::decode(body).map(|answer| answer.items).unwrap_or_default();
    let fits = items.len() == asks.len()
        && items.iter().zip(&asks).all(|(item, ask)| item.operation == ask.operation | ANSWER);
    if !fits {
        asks.into_iter().for_each(|ask| ask.answer(Err(Lost::Nonsense)));
        return Step::Broken;
    }
    for (ask, item) in asks.into_iter().zip(items) {
        ask.answer(part(item.status, body.slice_ref(item.body)));
    }
    Step::On
}
