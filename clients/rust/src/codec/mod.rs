//! The protocol as plain types: what each operation and each answer says, to bytes and back.
//!
//! Nothing here reads a socket, a clock or a configuration. Decoding checks every length before it is used and
//! never panics, whatever the bytes are; what it hands out borrows texts from the frame. Numbers are
//! little-endian throughout. The words are those of the specification, `proto/README.md`, which this follows
//! section by section.
//!
//! Both directions are here, requests and answers, to bytes and from bytes: a client needs half of that, tests
//! and other tools the rest.

mod batch;
mod bind;
mod call;
mod control;
mod decision;
mod fields;
mod frame;
mod hello;
mod message;
mod query;
mod reader;
mod status;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchAnswer, BatchAnswerItem, BatchItem, items_max};
pub use bind::{Bind, Bound};
pub use call::{Call, Reserve, Settle, UsageRow};
pub use control::{Goaway, GoawayReason, Pong, Stats};
pub use decision::{BindingLimit, Decision, Outcome, Reason, Receipt};
pub use fields::{Direction, Fields, MetricName, NamedUsage, Numbered};
pub use frame::{Frame, FrameCodec, FrameError, Head, put_frame};
pub use hello::{Challenge, Hello, Method, Proof, Welcome, features};
pub use message::{Answer, Refusal, Request};
pub use query::{LimitRow, Period, Standing, UsageCounts};
pub use reader::{DecodeError, EncodeError};
pub use status::{Class, Status};

/// What a client sends before its first frame. No text and no TLS begins like that.
pub const OPENING: [u8; 8] = [0xF7, 0x54, 0x47, 0x41, 0x54, 0x45, 0x0D, 0x0A];

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// Bytes of a frame before its body.
pub const HEAD_LEN: usize = 16;

/// The longest frame until WELCOME says otherwise, in bytes.
pub const FRAME_MAX_AT_FIRST: u32 = 65_536;

/// The smallest frame maximum that can be asked for, in bytes.
pub const FRAME_MAX_LOWEST: u32 = 4_096;

/// The greatest frame maximum that can be asked for, in bytes.
pub const FRAME_MAX_HIGHEST: u32 = 1_048_576;

/// In a `u64` of an answer: without bound, or not at all.
pub const NEVER: u64 = u64::MAX;

/// Metrics that one call may name, in rows and fields together.
pub const METRICS_MAX: usize = 255;

/// Bytes of an idempotency id at most.
pub const IDEMPOTENCY_LEN_MAX: usize = 64;

/// Bytes of a producer's name at most.
pub const PRODUCER_LEN_MAX: usize = 64;

/// Bytes of the text that names the client at most.
pub const CLIENT_LEN_MAX: usize = 64;

/// What a request asks for. Answers have the number of their request with [`ANSWER`] added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// The first frame: who connects, and what it would like.
    Hello = 0x01,
    /// The answer to a challenge.
    Proof = 0x02,
    /// Are you there, and what time is it?
    Ping = 0x05,
    /// Figures of the node.
    Stats = 0x06,
    /// The node is about to close the connection. Only ever sent by the node.
    Goaway = 0x07,
    /// Decides, counts nothing.
    Authorize = 0x10,
    /// Decides and counts in one step.
    Authrep = 0x11,
    /// Counts what happened, whatever limits say.
    Report = 0x12,
    /// Looks at limits alone, counts nothing.
    Check = 0x13,
    /// Credentials and metric names once, a handle after.
    Bind = 0x14,
    /// Several calls in a frame.
    Batch = 0x16,
    /// Decides, and holds amounts instead of counting them.
    Reserve = 0x17,
    /// Counts what a reservation really cost, and releases it.
    Commit = 0x18,
    /// Releases a reservation.
    Cancel = 0x19,
    /// Usage and limits of an application.
    Query = 0x1A,
}

/// The bit that makes a request's operation that of its answer.
pub const ANSWER: u8 = 0x80;

impl Operation {
    /// All operations, by number.
    pub const ALL: [Operation; 15] = [
        Operation::Hello,
        Operation::Proof,
        Operation::Ping,
        Operation::Stats,
        Operation::Goaway,
        Operation::Authorize,
        Operation::Authrep,
        Operation::Report,
        Operation::Check,
        Operation::Bind,
        Operation::Batch,
        Operation::Reserve,
        Operation::Commit,
        Operation::Cancel,
        Operation::Query,
    ];

    /// The operation of a request's number, if it is known.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.number() == number)
    }

    /// Its number in requests.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its number in answers.
    #[must_use]
    pub const fn answer(self) -> u8 {
        self as u8 | ANSWER
    }

    /// The flags that it may have.
    #[must_use]
    pub const fn flags(self) -> u8 {
        use flags::{ALL, DURABLE, FLAT, INTERVAL, LIMITS, OAUTH};
        match self {
            Operation::Authorize => FLAT | LIMITS | OAUTH,
            Operation::Authrep => FLAT | LIMITS | DURABLE | INTERVAL | OAUTH,
            Operation::Check => FLAT | LIMITS,
            Operation::Report | Operation::Commit => FLAT | DURABLE | INTERVAL,
            Operation::Reserve => FLAT | LIMITS | DURABLE | INTERVAL,
            Operation::Cancel => DURABLE | INTERVAL,
            Operation::Batch => DURABLE | INTERVAL | ALL,
            _ => 0,
        }
    }

    /// Whether a request of it may have these flags; otherwise the status with which a node refuses it.
    pub const fn check_flags(self, flags: u8) -> Result<(), Status> {
        let both = flags::DURABLE | flags::INTERVAL;
        if flags & !self.flags() != 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        if flags & both == both { Err(Status::MALFORMED) } else { Ok(()) }
    }

    /// Whether it may be an item of a BATCH.
    #[must_use]
    pub const fn is_batchable(self) -> bool {
        use Operation::{Authorize, Authrep, Cancel, Check, Commit, Report, Reserve};
        matches!(self, Authorize | Authrep | Report | Check | Reserve | Commit | Cancel)
    }
}

/// Flags of requests.
pub mod flags {
    /// Usage counts for the metrics named, not for their ancestors.
    pub const FLAT: u8 = 0x01;
    /// The answer has all limits of the plan.
    pub const LIMITS: u8 = 0x02;
    /// Answer when it is on disk.
    pub const DURABLE: u8 = 0x04;
    /// Answer at once; it is on disk a moment later.
    pub const INTERVAL: u8 = 0x08;
    /// The call of an OAuth client.
    pub const OAUTH: u8 = 0x10;
    /// All items of a BATCH or none.
    pub const ALL: u8 = 0x20;
}
