//! The binary protocol: frames, requests, answers, codes. No sockets.
//!
//! `proto/README.md` is the specification, and this its reading: numbers, layouts and words are explained there and not
//! again here. Everything borrows from the bytes that were received; nothing is allocated for a request with up to eight
//! metrics. No bytes make a reader panic.
//!
//! Both directions are here: what the node reads and writes, and the other side of it for the load generator and tests.

mod answer;
mod batch;
mod body;
mod call;
mod code;
mod frame;
mod handshake;
mod query;
#[cfg(test)]
mod tests;

pub use answer::{Bound, Decision, Failure, Goodbye, Mark, Outcome, Pong, Receipt, Stats};
pub use batch::{BatchAnswer, Item, ItemAnswer, Items, put_batch};
pub use body::{Fields, Reader};
pub use call::{Call, Peek, Row, Rows, UsageNames, put_bind, put_call};
pub use code::{Feature, Flags, Method, Operation, Reason, Status, Tag};
pub use frame::{FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST, FRAME_MAX_LEAST, Frame, HEADER_LEN, Header, split};
pub use handshake::{
    Challenge, Hello, NONCE_LEN, OPENING, Proof, VERSION, Welcome, proof_text, server_proof_text,
};
pub use query::{LimitRow, QueryAnswer, UsageRow};

/// Stands for "never" and "without bound" in numbers of 64 bits.
pub const NEVER: u64 = u64::MAX;

/// The most metrics that a request names, in rows and fields together.
pub const USAGE_MAX: usize = 255;

/// Why bytes are not what their operation prescribes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The length of a frame is impossible.
    #[error("a frame of {length} bytes, where 16 to {max} are possible")]
    FrameLength {
        /// What it says.
        length: u32,
        /// The connection's maximum.
        max: u32,
    },
    /// The fixed part is too short, or longer than the body.
    #[error(
        "the fixed part has {found} bytes, where the body has room for {room} and at least {least} are needed"
    )]
    FixedPart {
        /// What it says.
        found: usize,
        /// The least that the operation needs.
        least: usize,
        /// What the body has.
        room: usize,
    },
    /// Rows or items go beyond the body.
    #[error("the body ends within its rows or items")]
    Truncated,
    /// A field goes beyond the body.
    #[error("the body ends within a field, at byte {at}")]
    FieldTruncated {
        /// Where in the body the field begins.
        at: usize,
    },
    /// A field has a value of an impossible length or content.
    #[error("field {tag} has an impossible value")]
    FieldValue {
        /// Which.
        tag: u16,
    },
    /// A field that may come once came again.
    #[error("field {tag} comes twice")]
    FieldTwice {
        /// Which.
        tag: u16,
    },
    /// A field that must be understood and is not.
    #[error("field {tag:#06x} is not supported")]
    FieldUnknown {
        /// Which.
        tag: u16,
    },
    /// A text is not UTF-8.
    #[error("field {tag} is not UTF-8")]
    NotText {
        /// Which.
        tag: u16,
    },
    /// More metrics than [`USAGE_MAX`].
    #[error("more than {USAGE_MAX} metrics")]
    TooManyMetrics,
    /// Flags that the operation does not have.
    #[error("flags {flags:#04x} are not supported here")]
    Flags {
        /// Those.
        flags: u8,
    },
    /// DURABLE and INTERVAL at once.
    #[error("a request cannot be durable and interval at once")]
    FlagsContradict,
}

impl WireError {
    /// The status that such a request is answered.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            WireError::FieldUnknown { .. } | WireError::Flags { .. } => Status::NOT_SUPPORTED,
            WireError::NotText { .. } => Status::NOT_VALID_DATA,
            _ => Status::MALFORMED,
        }
    }
}
