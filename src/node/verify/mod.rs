//! Verification: everything that a data directory holds is read, nothing in it is changed.
//!
//! Of a stopped node: every segment of the journal, every generation of checkpoints, every shelf, the node secret; then
//! checkpoint and journal are put together as a start would do it, in memory. Of a running node only what does not
//! change under the reader's hands: its segments up to where it writes, and its finished checkpoints. A hole in the
//! segment that a node writes to is looked at again, as the node may have written behind the reader's back.

mod look;

use std::path::PathBuf;

use serde::Serialize;

pub use look::verify;

use super::data_dir::DataDirError;

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verification {
    /// The directory.
    pub data_dir: PathBuf,
    /// Whether a node runs on it: then only what it does not change was verified.
    pub running: bool,
    /// What it comes to.
    pub verdict: Verdict,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// What is not wrong, and worth a line.
    pub notes: Vec<String>,
    /// The journal's files, in the order they were made.
    pub segments: Vec<SegmentRow>,
    /// The generations of checkpoints, newest first.
    pub checkpoints: Vec<CheckpointRow>,
    /// The plugins' shelves.
    pub shelves: Vec<ShelfRow>,
    /// What the state comes to, if it could be put together.
    pub state: Option<StateRow>,
}

/// What a verification comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Whole,
    /// The node died while it wrote: what it had not acknowledged is cut by the next start. Nothing is wrong.
    Torn,
    /// Something is damaged, or a start would be refused.
    Damaged,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// The file, within the data directory; empty if it is in none alone.
    pub file: String,
    /// Where in it, in bytes, if it is in one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What it is.
    pub reason: String,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// One segment of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct SegmentRow {
    pub file: String,
    pub term: u64,
    pub first: u64,
    /// The last sequence in it; one below `first` if there is none.
    pub last: u64,
    pub groups: u64,
    pub entries: u64,
    /// The engine's clock at its first and last group, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    pub to_ms: Option<u64>,
    /// `whole`, `blank`, `torn` or `damaged`.
    pub state: String,
}

/// One generation of checkpoints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct CheckpointRow {
    pub generation: u64,
    /// Whether `CURRENT` names it.
    pub current: bool,
    /// `whole`, `unfinished` or `damaged`.
    pub state: String,
    /// A replay begins after this sequence.
    pub begin: Option<u64>,
    pub term: Option<u64>,
    pub engine_time_ms: Option<u64>,
}

/// One shelf.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct ShelfRow {
    pub name: String,
    /// Up to where in the journal it is derived; 0 for one that is not.
    pub position: u64,
    pub rows: u64,
}

/// The state that checkpoint and journal come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct StateRow {
    /// The generation it begins with.
    pub checkpoint: Option<u64>,
    /// Entries that were replayed after it.
    pub entries: u64,
    /// The first sequence that the journal still has.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The term that the next start begins.
    pub next_term: u64,
    pub catalog_version: u64,
    pub services: usize,
    pub applications: usize,
    pub open_reservations: usize,
    pub engine_time_ms: u64,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The directory is not one to look into.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no node's data.
    #[error("{0} is not a tollgate data directory (it has no FORMAT file)")]
    NotANode(PathBuf),
    /// A node started or ended meanwhile, again and again.
    #[error("nodes start or stop on {0}: verify it once that is over")]
    Changing(PathBuf),
    /// The system refuses.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}
