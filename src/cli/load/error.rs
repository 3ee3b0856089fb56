//! What keeps a load from being measured.

use std::io;
use std::time::Duration;

use crate::wire::WireError;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody is there.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Where.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// A connection broke.
    #[error("the connection to the node: {0}")]
    Connection(#[from] io::Error),
    /// The other side has closed a connection.
    #[error("the node closed a connection")]
    Closed,
    /// The node said that it closes.
    #[error("the node closes a connection: {0}")]
    SentAway(String),
    /// Who is there speaks something else.
    #[error("{target} does not speak {protocol}: {what}")]
    Foreign {
        /// Where.
        target: String,
        /// What was wanted.
        protocol: &'static str,
        /// What was noticed.
        what: String,
    },
    /// The node refused who we are, or something that was needed before the load.
    #[error("the node refuses {what}: {why}")]
    Refused {
        /// What.
        what: String,
        /// Why, in its words.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("an answer that cannot be read: {0}")]
    Wire(#[from] WireError),
    /// An answer that nobody asked for.
    #[error("an answer to no request of ours: {0}")]
    Unasked(String),
    /// An HTTP answer that cannot be read.
    #[error("an HTTP answer that cannot be read: {0}")]
    Http(&'static str),
    /// Something of the load does not fit a frame.
    #[error("{0}")]
    TooMuch(String),
    /// A file cannot be used.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// The throw-away node did not start.
    #[error("cannot start a node: {0}")]
    Node(String),
    /// The system gave something that is needed no chance.
    #[error("cannot start {what}: {source}")]
    System {
        /// What was to be started.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// No answer to anything for a long time.
    #[error("{unanswered} requests were not answered within {} s", within.as_secs())]
    Silent {
        /// How many.
        unanswered: usize,
        /// After how long.
        within: Duration,
    },
    /// Somebody asked to stop before there was anything to measure.
    #[error("stopped before anything was measured")]
    Stopped,
    /// What the node counted is not what it said yes to.
    #[error("the node did not count what it said yes to: {0}")]
    NotExact(String),
}
