//! What can go wrong. A denial is no error, but a value.

use std::io;
use std::sync::Arc;

use crate::codec::{DecodeError, EncodeError, FrameError, GoawayReason, Reason, Refusal};

/// Why a call has no answer of the kind that was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The node is away, and the policy says that this is an error (or the call is none that a policy decides).
    #[error(transparent)]
    Away(#[from] Away),
    /// The node refused the request; nothing was counted, unless the status is `NOT_DURABLE`.
    #[error("the node refused: {0}")]
    Refused(#[from] Refusal),
    /// BIND: the credentials do not fit the application.
    #[error("not bound: {0}")]
    NotBound(Reason),
    /// The call cannot be said in this protocol: a text too long, too many metrics. Nothing was sent.
    #[error("the call cannot be sent: {0}")]
    Call(#[from] EncodeError),
    /// The node's answer makes no sense. Whether the call was counted is not known.
    #[error("the node's answer makes no sense: {0}")]
    Answer(#[from] DecodeError),
    /// An option has a value that it cannot have.
    #[error("option {name}: {problem}")]
    Options {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Error {
    /// Whether the call may have been counted although it failed. What surely was not may be sent again.
    #[must_use]
    pub fn may_have_counted(&self) -> bool {
        match self {
            Error::Away(away) => away.may_have_counted(),
            Error::Refused(refusal) => counted_perhaps(refusal),
            Error::Answer(_) => true,
            Error::NotBound(_) | Error::Call(_) | Error::Options { .. } => false,
        }
    }
}

fn counted_perhaps(refusal: &Refusal) -> bool {
    use crate::codec::{Class, Status};
    matches!(refusal.status, Status::INTERNAL | Status::NOT_DURABLE)
        || refusal.status.class() == Class::Unknown
        || (refusal.status.class() == Class::Node && refusal.status.name().is_none())
}

/// Why the node could not decide.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Away {
    /// There is no connection, and why the last attempt failed. Nothing was counted.
    #[error("no connection to the node{}", because(.0.as_deref()))]
    NoConnection(Option<Arc<ConnectError>>),
    /// The deadline passed before the call was sent. Nothing was counted, and nothing will be.
    #[error("the deadline passed before the call was sent")]
    NotSent,
    /// The call was sent, and the deadline passed or the connection broke before the answer came. It may have been
    /// counted.
    #[error("the call was sent, but not answered")]
    Unanswered,
    /// The node says that it cannot now, and would not before the deadline. Nothing was counted, unless the status is
    /// `INTERNAL`.
    #[error("the node cannot answer: {0}")]
    Cannot(Refusal),
}

impl Away {
    /// Whether the call may have been counted all the same.
    #[must_use]
    pub fn may_have_counted(&self) -> bool {
        match self {
            Away::NoConnection(_) | Away::NotSent => false,
            Away::Unanswered => true,
            Away::Cannot(refusal) => counted_perhaps(refusal),
        }
    }
}

fn because(error: Option<&ConnectError>) -> String {
    error.map(|error| format!(": {error}")).unwrap_or_default()
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be reached, or the connection broke during the handshake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took longer than the option `connect_timeout` allows.
    #[error("connecting took too long")]
    TooSlow,
    /// The node refused the connection.
    #[error("the node refused the connection: {0}")]
    Refused(Refusal),
    /// The other side could not prove that it knows the secret, so it cannot answer for the node.
    #[error("the other side does not know the secret: it is not the node")]
    NotTheNode,
    /// The node said goodbye before the connection was open.
    #[error("the node said goodbye: {0}")]
    Goaway(GoawayReason),
    /// What came is not the protocol.
    #[error("the other side does not speak the protocol: {0}")]
    Protocol(&'static str),
    /// What came cannot be taken apart.
    #[error("the handshake makes no sense: {0}")]
    Handshake(#[from] DecodeError),
    /// The random numbers that a handshake needs could not be had.
    #[error("no random numbers")]
    Random,
    /// The secret, service or name does not fit a HELLO.
    #[error(transparent)]
    Hello(#[from] EncodeError),
}

impl From<FrameError> for ConnectError {
    fn from(error: FrameError) -> ConnectError {
        match error {
            FrameError::Io(error) => ConnectError::Io(error),
            FrameError::Length { .. } => ConnectError::Protocol("a frame of an impossible length"),
        }
    }
}
