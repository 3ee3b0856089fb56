//! PING, STATS and GOAWAY.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};

/// The answer to PING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The node's time in microseconds since 1970.
    pub time_us: u64,
    /// The catalog's version.
    pub catalog_version: u64,
}

impl Pong {
    const LEN: u16 = 24;

    pub(super) fn decode(body: &[u8]) -> Result<Pong, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        Fields::decode(rest, Direction::Answer)?;
        fixed.skip(6)?;
        Ok(Pong { time_us: fixed.u64()?, catalog_version: fixed.u64()? })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u16_le(Self::LEN);
        out.put_bytes(0, 6);
        out.put_u64_le(self.time_us);
        out.put_u64_le(self.catalog_version);
    }
}

/// The answer to STATS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether the node is behind in writing to disk.
    pub behind: bool,
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// Connections of this protocol that are open.
    pub connections: u64,
    /// Frames answered.
    pub frames: u64,
    /// Decisions made.
    pub decisions: u64,
    /// Of those: denied.
    pub denied: u64,
    /// Applications.
    pub applications: u64,
    /// The catalog's version.
    pub catalog_version: u64,
    /// Microseconds since the last flush to disk was begun: the most that a crash can take.
    pub unflushed_us: u64,
}

impl Stats {
    const LEN: u16 = 72;

    pub(super) fn decode(body: &[u8]) -> Result<Stats, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        Fields::decode(rest, Direction::Answer)?;
        let behind = fixed.bool("whether the node is behind")?;
        fixed.skip(5)?;
        Ok(Stats {
            behind,
            uptime_s: fixed.u64()?,
            connections: fixed.u64()?,
            frames: fixed.u64()?,
            decisions: fixed.u64()?,
            denied: fixed.u64()?,
            applications: fixed.u64()?,
            catalog_version: fixed.u64()?,
            unflushed_us: fixed.u64()?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u16_le(Self::LEN);
        out.put_u8(u8::from(self.behind));
        out.put_bytes(0, 5);
        for figure in [self.uptime_s, self.connections, self.frames, self.decisions] {
            out.put_u64_le(figure);
        }
        for figure in [self.denied, self.applications, self.catalog_version, self.unflushed_us] {
            out.put_u64_le(figure);
        }
    }
}

/// Why the node closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoawayReason {
    /// The node stops.
    Stops,
    /// Another process takes over.
    HandsOver,
    /// The client broke the protocol.
    ProtocolBroken,
    /// Nothing was said for too long.
    Idle,
    /// The client does not read its answers.
    NotRead,
    /// The handshake took too long.
    HandshakeTooSlow,
    /// The node has no room for more connections.
    NoRoom,
    /// One that this version does not know, by its number.
    Other(u16),
}

impl GoawayReason {
    fn from_number(number: u16) -> GoawayReason {
        match number {
            1 => GoawayReason::Stops,
            2 => GoawayReason::HandsOver,
            3 => GoawayReason::ProtocolBroken,
            4 => GoawayReason::Idle,
            5 => GoawayReason::NotRead,
            6 => GoawayReason::HandshakeTooSlow,
            7 => GoawayReason::NoRoom,
            other => GoawayReason::Other(other),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            GoawayReason::Stops => 1,
            GoawayReason::HandsOver => 2,
            GoawayReason::ProtocolBroken => 3,
            GoawayReason::Idle => 4,
            GoawayReason::NotRead => 5,
            GoawayReason::HandshakeTooSlow => 6,
            GoawayReason::NoRoom => 7,
            GoawayReason::Other(number) => number,
        }
    }

    /// Whether the node still answers what it got. After other reasons it closes at once.
    #[must_use]
    pub fn still_answers(self) -> bool {
        matches!(self, GoawayReason::Stops | GoawayReason::HandsOver)
    }
}

impl fmt::Display for GoawayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoawayReason::Stops => f.write_str("the node stops"),
            GoawayReason::HandsOver => f.write_str("another process takes over"),
            GoawayReason::ProtocolBroken => f.write_str("the protocol was broken"),
            GoawayReason::Idle => f.write_str("nothing was said for too long"),
            GoawayReason::NotRead => f.write_str("answers were not read"),
            GoawayReason::HandshakeTooSlow => f.write_str("the handshake took too long"),
            GoawayReason::NoRoom => f.write_str("the node has no room for more connections"),
            GoawayReason::Other(number) => write!(f, "reason {number}"),
        }
    }
}

/// The node is about to close the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goaway {
    /// Why.
    pub reason: GoawayReason,
    /// Milliseconds until it does.
    pub closes_ms: u32,
    /// A sentence for people.
    pub message: Option<String>,
}

impl Goaway {
    const LEN: u16 = 8;

    /// Takes a GOAWAY's body apart.
    pub fn decode(body: &[u8]) -> Result<Goaway, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        let message = Fields::decode(rest, Direction::Answer)?.message.map(str::to_owned);
        Ok(Goaway { reason: GoawayReason::from_number(fixed.u16()?), closes_ms: fixed.u32()?, message })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(Self::LEN);
        out.put_u16_le(self.reason.number());
        out.put_u32_le(self.closes_ms);
        Fields { message: self.message.as_deref(), ..Fields::default() }.encode(out)
    }
}
