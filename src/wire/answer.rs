//! Answers of fixed size, written and read.

use super::body::{Fields, Reader, put_field};
use super::{Reason, Status, Tag, WireError};

/// Marks of a decision or receipt.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark(pub u8);

#[allow(missing_docs)]
impl Mark {
    /// Counted, or held.
    pub const COUNTED: Mark = Mark(0x01);
    /// What is in shadow would have said no.
    pub const WOULD_DENY: Mark = Mark(0x02);
    /// The limit's numbers mean something.
    pub const LIMIT: Mark = Mark(0x04);
    /// The node is behind in writing to disk.
    pub const DEGRADED: Mark = Mark(0x08);
    /// Of a receipt: it is on disk.
    pub const ON_DISK: Mark = Mark(0x01);

    /// Whether it is set.
    #[must_use]
    pub fn has(self, other: Mark) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other`, if `wanted`.
    #[must_use]
    pub fn with(self, other: Mark, wanted: bool) -> Mark {
        if wanted { Mark(self.0 | other.0) } else { self }
    }
}

/// The answer to AUTHORIZE, AUTHREP, CHECK and RESERVE.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Decision {
    /// Yes or no.
    pub yes: bool,
    /// See [`Mark`].
    pub marks: Mark,
    /// Why not.
    pub reason: u16,
    /// Why not, by what is in shadow.
    pub would_deny: u16,
    /// Id of the binding limit.
    pub limit: u64,
    /// Its maximum.
    pub max: u64,
    /// Its count.
    pub current: u64,
    /// How often the same call could still be made.
    pub remaining: u64,
    /// Until its window ends.
    pub reset_ms: u64,
    /// Until the same call may be made.
    pub retry_after_ms: u64,
    /// The catalog version that it was decided under.
    pub catalog_version: u64,
    /// The reservation that was made.
    pub reservation: u64,
}

impl Decision {
    /// Bytes of its fixed part.
    pub const LEN: usize = 72;

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        // One array, written once: this is the answer that counts.
        let mut bytes = [0_u8; Decision::LEN];
        bytes[0] = 72;
        bytes[2] = u8::from(self.yes);
        bytes[3] = self.marks.0;
        bytes[4..6].copy_from_slice(&self.reason.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.would_deny.to_le_bytes());
        let numbers = [
            self.limit,
            self.max,
            self.current,
            self.remaining,
            self.reset_ms,
            self.retry_after_ms,
            self.catalog_version,
            self.reservation,
        ];
        let (places, _) = bytes[8..].as_chunks_mut::<8>();
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        out.extend_from_slice(&bytes);
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<(Decision, Fields<'_>), WireError> {
        let fixed = Reader::new(body, Decision::LEN)?;
        let decision = Decision {
            yes: fixed.u8(2) == 1,
            marks: Mark(fixed.u8(3)),
            reason: fixed.u16(4),
            would_deny: fixed.u16(6),
            limit: fixed.u64(8),
            max: fixed.u64(16),
            current: fixed.u64(24),
            remaining: fixed.u64(32),
            reset_ms: fixed.u64(40),
            retry_after_ms: fixed.u64(48),
            catalog_version: fixed.u64(56),
            reservation: fixed.u64(64),
        };
        Ok((decision, Fields::new(fixed.rest, body.len())))
    }

    /// Why it was denied.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason(self.reason)
    }
}

/// How a report, commit or cancel went.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// As it was meant.
    #[default]
    Done = 0,
    /// More than was held.
    Overrun = 1,
    /// After the time to live.
    Expired = 2,
}

/// The answer to REPORT, COMMIT and CANCEL.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Receipt {
    /// How it went.
    pub outcome: Outcome,
    /// See [`Mark`].
    pub marks: Mark,
    /// The catalog version.
    pub catalog_version: u64,
}

impl Receipt {
    /// Bytes of its fixed part.
    pub const LEN: usize = 16;

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[16, 0, self.outcome as u8, self.marks.0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.catalog_version.to_le_bytes());
    }

    /// Reads it. An outcome that is not known is taken for *done*.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Receipt, WireError> {
        let fixed = Reader::new(body, Receipt::LEN)?;
        let outcome = match fixed.u8(2) {
            1 => Outcome::Overrun,
            2 => Outcome::Expired,
            _ => Outcome::Done,
        };
        Ok(Receipt { outcome, marks: Mark(fixed.u8(3)), catalog_version: fixed.u64(8) })
    }
}

/// The body of every answer that is a failure.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Failure {
    /// Milliseconds after which the request may be sent again; 0 says nothing.
    pub retry_after_ms: u32,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// Bytes of its fixed part.
    pub const LEN: usize = 8;

    /// Appends the body of a failure. Within a batch there is no `message`.
    pub fn put(out: &mut Vec<u8>, retry_after_ms: u32, message: Option<&str>) {
        out.extend_from_slice(&[8, 0, 0, 0]);
        out.extend_from_slice(&retry_after_ms.to_le_bytes());
        if let Some(message) = message {
            put_field(out, Tag::MESSAGE, &[message.as_bytes()]);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(body: &[u8]) -> Result<Failure, WireError> {
        let fixed = Reader::new(body, Failure::LEN)?;
        let mut fields = Fields::new(fixed.rest, body.len());
        let mut failure = Failure { retry_after_ms: fixed.u32(4), message: String::new() };
        while let Some((tag, value)) = fields.take()? {
            if tag == Tag::MESSAGE {
                failure.message = String::from_utf8_lossy(value).into_owned();
            }
        }
        Ok(failure)
    }
}

/// The answer to BIND, without its rows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bound {
    /// Why not; `None` if bound.
    pub reason: Option<u16>,
    /// Stands for the application from now on.
    pub handle: u64,
    /// The catalog version.
    pub catalog_version: u64,
    /// A number for each metric that was named, in order.
    pub metrics: Vec<u32>,
}

impl Bound {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let count = u16::try_from(self.metrics.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[24, 0, u8::from(self.reason.is_none()), 0]);
        out.extend_from_slice(&self.reason.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.handle.to_le_bytes());
        out.extend_from_slice(&self.catalog_version.to_le_bytes());
        for number in self.metrics.iter().take(usize::from(count)) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Bound, WireError> {
        let fixed = Reader::new(body, 24)?;
        let rows = fixed.rest.get(..usize::from(fixed.u16(6)) * 4).ok_or(WireError::Truncated)?;
        let (rows, _) = rows.as_chunks::<4>();
        Ok(Bound {
            reason: (fixed.u8(2) != 1).then(|| fixed.u16(4)),
            handle: fixed.u64(8),
            catalog_version: fixed.u64(16),
            metrics: rows.iter().map(|row| u32::from_le_bytes(*row)).collect(),
        })
    }
}

/// The answer to PING.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pong {
    /// Microseconds since 1970.
    pub time_us: u64,
    /// The catalog version.
    pub catalog_version: u64,
}

impl Pong {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[24, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.time_us.to_le_bytes());
        out.extend_from_slice(&self.catalog_version.to_le_bytes());
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Pong, WireError> {
        let fixed = Reader::new(body, 24)?;
        Ok(Pong { time_us: fixed.u64(8), catalog_version: fixed.u64(16) })
    }
}

/// The answer to STATS.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// The node is behind in writing to disk.
    pub degraded: bool,
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// Connections of this protocol.
    pub connections: u64,
    /// Frames answered.
    pub frames: u64,
    /// Decisions.
    pub decisions: u64,
    /// Of those denied.
    pub denied: u64,
    /// Applications.
    pub applications: u64,
    /// The catalog version.
    pub catalog_version: u64,
    /// Microseconds since the last flush to disk was begun.
    pub unflushed_us: u64,
}

impl Stats {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[72, 0, u8::from(self.degraded), 0, 0, 0, 0, 0]);
        let numbers = [
            self.uptime_s,
            self.connections,
            self.frames,
            self.decisions,
            self.denied,
            self.applications,
            self.catalog_version,
            self.unflushed_us,
        ];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Stats, WireError> {
        let fixed = Reader::new(body, 72)?;
        Ok(Stats {
            degraded: fixed.u8(2) == 1,
            uptime_s: fixed.u64(8),
            connections: fixed.u64(16),
            frames: fixed.u64(24),
            decisions: fixed.u64(32),
            denied: fixed.u64(40),
            applications: fixed.u64(48),
            catalog_version: fixed.u64(56),
            unflushed_us: fixed.u64(64),
        })
    }
}

/// GOAWAY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Goodbye {
    /// Why: one of the constants here, or one of a later version.
    pub reason: u16,
    /// Milliseconds until the node closes the connection.
    pub grace_ms: u32,
}

#[allow(missing_docs)]
impl Goodbye {
    pub const STOPPING: u16 = 1;
    pub const HANDING_OVER: u16 = 2;
    pub const BROKEN_PROTOCOL: u16 = 3;
    pub const IDLE: u16 = 4;
    pub const NOT_READING: u16 = 5;
    pub const HANDSHAKE_TOO_SLOW: u16 = 6;
    pub const FULL: u16 = 7;

    /// Appends the whole frame.
    pub fn put_frame(&self, out: &mut Vec<u8>, message: &str) {
        let mut frame = super::Frame::answer(out, super::Operation::GOAWAY, Status::OK, 0);
        let body = frame.body();
        body.extend_from_slice(&[8, 0]);
        body.extend_from_slice(&self.reason.to_le_bytes());
        body.extend_from_slice(&self.grace_ms.to_le_bytes());
        if !message.is_empty() {
            put_field(body, Tag::MESSAGE, &[message.as_bytes()]);
        }
        frame.end();
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Goodbye, WireError> {
        let fixed = Reader::new(body, 8)?;
        Ok(Goodbye { reason: fixed.u16(2), grace_ms: fixed.u32(4) })
    }
}
