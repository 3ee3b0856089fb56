//! The control socket: how another process of the same machine and user speaks to a running node.
//!
//! A Unix socket, `control.sock` in the data directory, 0600 in 0700. Whoever can open it can read the data as well,
//! so it needs no credential; the peer's user is checked all the same. It serves `tollgate inspect`, `tollgate explain`,
//! `tollgate backup`, `tollgate counters` and the hand-over of the listening sockets to a new version (`hand_over`).
//!
//! # Protocol
//! One request per connection: a line of JSON, at most [`REQUEST_BYTES_MAX`] bytes with its newline, sent within
//! [`REQUEST_TIMEOUT`]. The answer is one line of JSON, `{"ok": ...}` or `{"error": "..."}`, and then the end of the
//! connection, but for a hand-over, a backup and an import of counters, which go on from there.

pub(super) mod client;
pub(super) mod descriptors;
mod path;
pub(super) mod server;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backup::hold::Wish;
use super::counters::{HowToImport, Wanted};
use super::explain::Question;
use super::hand_over::TakeOver;
use super::inspect::Query;
pub(super) use path::SocketPath;

/// The most bytes a request has: an app id of the greatest length, escaped, and its service.
const REQUEST_BYTES_MAX: usize = 8192;

/// How long a peer may take to send its request: it sits on the same machine and has one thing to say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The most peers at once; more wait in the socket's backlog.
const PEERS_MAX: usize = 16;

/// What a peer may ask for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// What the catalog and the counters hold.
    Inspect(Query),
    /// How a call would be decided.
    Explain(Question),
    /// What applications have counted, as lines.
    ExportCounters(Wanted),
    /// To take lines in.
    ImportCounters(HowToImport),
    /// To hold still while a backup is made.
    Backup(Wish),
    /// The listening sockets.
    TakeOver(TakeOver),
}

/// What the node says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer<T> {
    /// As asked.
    Ok(T),
    /// Not, and why.
    Error(String),
}

impl<T: Serialize> Answer<T> {
    /// The line that is sent.
    pub(super) fn line(&self) -> Vec<u8> {
        let unwritable = |_| br#"{"error":"the answer cannot be written"}"#.to_vec();
        let mut line = serde_json::to_vec(self).unwrap_or_else(unwritable);
        line.push(b'\n');
        line
    }
}
