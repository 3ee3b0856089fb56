//! One conversation as a function of bytes: what has come, what is answered. No socket, no timer, no waiting.

use super::ahead;
use super::batch::batch;
use super::call::{Carried, bind, decide};
use super::greeting::{self, Access, Granted, Greeted, Greeting, Rejected, Room};
use super::outbox::Outbox;
use super::promise;
use super::query::{pong, query, stats};
use super::receipt::{report, settle};
use super::refused::{Refused, put_failure};
use super::server::Server;
use super::telemetry::Tally;
use super::together::together;
use crate::engine::{Moment, Scope, Ticket};
use crate::listener::{Guest, Link};
use crate::model::promise::Promise;
use crate::model::time::UnixMillis;
use crate::wire::{
    Call, Challenge, FRAME_MAX_DEFAULT, Flags, Frame, Goodbye, Header, Hello, Items, OPENING, Operation,
    Proof, Status, split,
};

/// The widest window that is granted: at depth 64 nothing more is gained, and each request may wait for the disk.
pub const WINDOW_MAX: u32 = 1024;

/// Bytes of answers that are not written; beyond them nothing more is decided.
pub(super) const READY_BYTES_MAX: usize = 256 << 10;

const UNKNOWN: Refused = Refused::new(Status::UNKNOWN_OPERATION, "no such operation");

/// All operations of version 1.
const KNOWN: [Operation; 15] = [
    Operation::AUTHREP,
    Operation::AUTHORIZE,
    Operation::CHECK,
    Operation::REPORT,
    Operation::BATCH,
    Operation::BIND,
    Operation::RESERVE,
    Operation::COMMIT,
    Operation::CANCEL,
    Operation::QUERY,
    Operation::PING,
    Operation::STATS,
    Operation::HELLO,
    Operation::PROOF,
    Operation::GOAWAY,
];

enum Phase {
    /// The eight bytes, then HELLO.
    Opening,
    Hello,
    Proof(Box<Greeted>),
    Open(Box<Access>),
    /// Nothing more is read.
    Over,
}

/// One conversation.
pub(super) struct Session {
    guest: Guest,
    phase: Phase,
    frame_max: u32,
    window: u32,
    /// The catalog version under which the access was last found to hold.
    checked: u64,
    _room: Option<Room>,
}

/// All requests that came together.
pub(super) struct Turn<'s> {
    pub(super) server: &'s Server,
    pub(super) moment: Moment<'s>,
    pub(super) wall: UnixMillis,
    pub(super) scope: Scope,
    /// Of the connection.
    pub(super) frame_max: u32,
    /// What the listener is set to.
    pub(super) listener: Option<Promise>,
    /// The node is behind in writing to disk.
    pub(super) degraded: bool,
    pub(super) tally: Tally,
}

/// What became of the bytes that had come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Step {
    /// How many of them are done with.
    pub(super) used: usize,
    /// Whether what is left has to wait until answers are written, not for more bytes.
    pub(super) is_full: bool,
}

impl Session {
    pub(super) fn new(guest: Guest) -> Session {
        let (frame_max, window) = (FRAME_MAX_DEFAULT, WINDOW_MAX);
        Session { guest, phase: Phase::Opening, frame_max, window, checked: 0, _room: None }
    }

    /// Whether the client is let in.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether all that is left is to write what is ready, and to close.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Bytes of the longest frame that may come.
    pub(super) fn frame_max(&self) -> usize {
        self.frame_max as usize
    }

    /// Answers what is whole of `input`.
    pub(super) fn advance(&mut self, server: &Server, input: &[u8], outbox: &mut Outbox) -> Step {
        let mut step = Step::default();
        while !matches!(self.phase, Phase::Open(_) | Phase::Over) {
            let used = self.greet(server, &input[step.used..], outbox);
            step.used += used;
            if used == 0 {
                return step;
            }
        }
        let scope = match &self.phase {
            Phase::Open(access) if step.used < input.len() => access.scope,
            _ => return step,
        };
        let wall = (server.clock)();
        let degraded = server.engine.flush_health().unflushed_age > server.config.behind_after;
        let moment = server.engine.moment(wall);
        let listener = match self.guest.link {
            Link::Unix { .. } => server.config.unix_promise,
            Link::Plain | Link::Tls => server.config.tcp_promise,
        };
        let (frame_max, tally) = (self.frame_max, Tally::new());
        let mut turn = Turn { server, moment, wall, scope, frame_max, listener, degraded, tally };
        self.converse(&mut turn, input, outbox, &mut step);
        server.telemetry.add(&turn.tally);
        step
    }

    /// Answers frames one after the other.
    fn converse(&mut self, turn: &mut Turn<'_>, input: &[u8], outbox: &mut Outbox, step: &mut Step) {
        let mut seen = 0;
        while !self.is_over() {
            if step.used >= seen {
                seen = step.used + ahead::frames(turn, &input[step.used..], self.frame_max);
            }
            if outbox.ready.len() >= READY_BYTES_MAX {
                step.is_full = true;
                return;
            }
            match split(&input[step.used..], self.frame_max) {
                Ok(None) => return,
                Ok(Some((header, body))) => {
                    if !self.still_holds(turn, outbox) {
                        return;
                    }
                    step.used += header.length as usize;
                    self.answer(turn, header, body, outbox);
                }
                Err(error) => {
                    turn.server.telemetry.broken.increment(1);
                    self.end(outbox, Goodbye::BROKEN_PROTOCOL, &error.to_string());
                }
            }
        }
    }

    /// Whether the client still has what it was let in for. Looked at when the catalog or the secrets may have changed.
    fn still_holds(&mut self, turn: &Turn<'_>, outbox: &mut Outbox) -> bool {
        let Phase::Open(access) = &self.phase else { return false };
        let catalog = turn.moment.catalog();
        let now = catalog.version.wrapping_add(turn.server.secrets.edition());
        if now == self.checked || access.holds(turn.server, catalog) {
            self.checked = now;
            return true;
        }
        self.end(
            outbox,
            Goodbye::BROKEN_PROTOCOL,
            "the token or secret of this connection is not valid any more",
        );
        false
    }

    /// Answers one request.
    fn answer(&mut self, turn: &mut Turn<'_>, header: Header, body: &[u8], outbox: &mut Outbox) {
        let begin = outbox.ready.len();
        let answered = if outbox.unanswered() >= self.window as usize {
            Err(Refused::BUSY)
        } else {
            self.carry_out(turn, header, body, outbox)
        };
        turn.tally.answered();
        match answered {
            Ok(Some(ticket)) => outbox.defer(begin, ticket),
            Ok(None) => outbox.answered(),
            Err(refused) => {
                turn.tally.refused(refused.status == Status::OVERLOADED);
                outbox.ready.truncate(begin);
                refused.put_frame(&mut outbox.ready, header.operation, header.id);
                outbox.answered();
            }
        }
    }

    /// Carries out one request and writes its answer; the ticket if that has to wait for the disk.
    fn carry_out(
        &mut self,
        turn: &mut Turn<'_>,
        header: Header,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<Option<Ticket>, Refused> {
        let Header { operation, flags, id, .. } = header;
        if !KNOWN.contains(&operation) {
            return Err(UNKNOWN);
        }
        flags.check(operation)?;
        let items = if operation == Operation::BATCH { Some(self.items(body)?) } else { None };
        let terms = promise::terms(turn, operation, flags, items);
        promise::admit(turn, operation, terms, outbox)?;
        turn.moment.on(terms);
        let mut frame = Frame::answer(&mut outbox.ready, operation, Status::OK, id);
        let out = frame.body();
        let (mut promised, mut status) = (None, Status::OK);
        match operation {
            Operation::AUTHREP | Operation::AUTHORIZE | Operation::CHECK => {
                let mut call = Call::default();
                call.fill(body)?;
                if operation != Operation::AUTHREP {
                    call.has_no_id()?;
                }
                Carried { promised, status } = decide(turn, operation, flags, &call, out)?;
            }
            Operation::RESERVE => {
                Carried { promised, status } =
                    decide(turn, operation, flags, &Call::read_longer(body)?, out)?;
            }
            Operation::REPORT => {
                Carried { promised, status } = report(turn, flags, &Call::read(body)?, out)?;
            }
            Operation::BIND => bind(turn, &Call::read_bind(body)?.without_id()?, out)?,
            Operation::BATCH => {
                if let Some(items) = items {
                    promised = if flags.has(Flags::ALL) {
                        together(turn, items, out)?.then(|| turn.moment.promised())
                    } else {
                        batch(turn, items, out)
                    };
                }
            }
            Operation::COMMIT | Operation::CANCEL => {
                settle(turn, operation, flags, &Call::read_longer(body)?.without_id()?, out)?;
                promised = Some(turn.moment.promised());
            }
            Operation::QUERY => query(turn, &Call::read(body)?.without_id()?, out)?,
            Operation::PING => pong(turn, out),
            Operation::STATS => stats(turn, out)?,
            Operation::HELLO | Operation::PROOF | Operation::GOAWAY => {
                return Err(Refused::new(Status::OUT_OF_PLACE, "not here"));
            }
            _ => return Err(UNKNOWN),
        }
        frame.status(status);
        if frame.end() > self.frame_max as usize {
            // Only the limits that a decision shows can be so many; one that counts has looked before.
            return Err(Refused::TOO_LARGE);
        }
        Ok((promised == Some(Promise::Durable)).then(|| turn.server.engine.ticket()))
    }

    fn items<'a>(&self, body: &'a [u8]) -> Result<Items<'a>, Refused> {
        let items = Items::read(body)?;
        if items.len() > Items::max(self.frame_max) {
            return Err(Refused::new(Status::TOO_LARGE, "the answer to so many items does not fit a frame"));
        }
        Ok(items)
    }

    /// What comes before WELCOME; how many bytes of it are done with.
    fn greet(&mut self, server: &Server, input: &[u8], outbox: &mut Outbox) -> usize {
        if matches!(self.phase, Phase::Opening) {
            let begun = OPENING.get(..input.len()).unwrap_or(&OPENING);
            if !input.starts_with(begun) {
                server.telemetry.broken.increment(1);
                self.end(outbox, Goodbye::BROKEN_PROTOCOL, "this is the binary protocol of Tollgate");
                return 0;
            }
            if input.len() < OPENING.len() {
                return 0;
            }
            self.phase = Phase::Hello;
            return OPENING.len();
        }
        // Whoever is not let in yet has few answers to wait for.
        if outbox.ready.len() >= READY_BYTES_MAX {
            return 0;
        }
        match split(input, self.frame_max) {
            Ok(None) => 0,
            Ok(Some((header, body))) => {
                self.introduce(server, header, body, outbox);
                header.length as usize
            }
            Err(error) => {
                server.telemetry.broken.increment(1);
                self.end(outbox, Goodbye::BROKEN_PROTOCOL, &error.to_string());
                0
            }
        }
    }

    /// One frame before WELCOME.
    fn introduce(&mut self, server: &Server, header: Header, body: &[u8], outbox: &mut Outbox) {
        let Header { operation, id, .. } = header;
        outbox.answered();
        let out = &mut outbox.ready;
        let greeted = match (&self.phase, operation) {
            (Phase::Hello, Operation::HELLO) => match Hello::read(body) {
                Ok(hello) => greeting::greet(server, self.guest, &hello),
                Err(error) => {
                    Refused::from(error).put_frame(out, operation, id);
                    self.reject(server);
                    return;
                }
            },
            (Phase::Proof(greeted), Operation::PROOF) => match Proof::read(body) {
                Ok(Proof { proof }) => {
                    let granted = greeted.prove(server, self.guest.peer, &proof);
                    granted.map(|granted| Greeting::Welcome(Box::new(granted)))
                }
                Err(error) => {
                    Refused::from(error).put_frame(out, operation, id);
                    self.reject(server);
                    return;
                }
            },
            _ => {
                let early = Refused::new(Status::OUT_OF_PLACE, "WELCOME comes first");
                early.put_frame(out, operation, id);
                return;
            }
        };
        match greeted {
            Ok(Greeting::Prove(greeted)) => {
                let mut frame = Frame::answer(out, operation, Status::CHALLENGE, id);
                Challenge { nonce: greeted.node_nonce }.put(frame.body());
                frame.end();
                self.phase = Phase::Proof(greeted);
            }
            Ok(Greeting::Welcome(granted)) => self.welcome(server, *granted, header, outbox),
            Err(Rejected { status, retry_after_ms, message }) => {
                put_failure(out, operation, id, status, retry_after_ms, message);
                tracing::debug!(peer = %self.guest.peer, message, "a client was not let in");
                self.reject(server);
            }
        }
    }

    fn reject(&mut self, server: &Server) {
        server.telemetry.rejected.increment(1);
        self.phase = Phase::Over;
    }

    fn welcome(&mut self, server: &Server, granted: Granted, header: Header, outbox: &mut Outbox) {
        server.telemetry.welcomed.increment(1);
        (self.frame_max, self._room) = greeting::frame_max(server, granted.frame_max);
        self.window = granted.window.clamp(1, WINDOW_MAX);
        let welcome = greeting::welcome(server, &granted, self.frame_max, self.window, server.next_session());
        let mut frame = Frame::answer(&mut outbox.ready, header.operation, Status::OK, header.id);
        welcome.put(frame.body());
        frame.end();
        self.phase = Phase::Open(Box::new(granted.access));
    }

    /// Says goodbye; nothing more is read.
    pub(super) fn end(&mut self, outbox: &mut Outbox, reason: u16, message: &str) {
        Goodbye { reason, grace_ms: 0 }.put_frame(&mut outbox.ready, message);
        self.phase = Phase::Over;
    }
}
