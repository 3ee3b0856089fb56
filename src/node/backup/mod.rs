//! Backup and restore: a copy of everything a node holds, of one moment, and a new node from it.
//!
//! # What a backup is
//! A directory, or a tar file of the same content:
//!
//! ```text
//! BACKUP               JSON: what it is of, and each file's length and sum; written last
//! node-secret          as in the data directory
//! checkpoints/...      the finished generations and CURRENT
//! journal/...          the segments, up to and with the backup's sequence
//! ids/...              the slices of idempotency ids, as far as the sequence
//! shelves/...          a copy of each plugin's shelf, derived no further than that
//! ```
//!
//! It has no FORMAT, so no node starts on it by mistake. It is made beside its place, under a name that ends in
//! `.partial`, checked (every sum is read back, and checkpoint and journal are put together), and then renamed: what has
//! the name that was asked for is whole, and what has no BACKUP is refused by a restore. It holds credentials: files are
//! 0600, directories 0700.
//!
//! Segments are mostly zeros: their length is kept, the zeros are not (holes in a directory, left out in a tar file).
//!
//! # Of a running node
//! The control socket is asked to hold still (see `hold`): no checkpoint is made and so nothing is pruned or removed until
//! the copy is done; decisions and flushes go on. The node copies its shelves, flushes, and names the last sequence that
//! is on disk then. So everything that was acknowledged before the backup began is in it, and nothing that was sent
//! after it ended. The extra disk is the shelves' copy, and the journal that grows meanwhile. A backup that takes longer
//! than an hour is given up by the node, and says so.
//!
//! # Restoring
//! Into an empty directory, FORMAT last. The restored node has a node id of its own ([`crate::journal::as_written_by`]),
//! as its original may still run, and its first start begins a new term. The two are then nodes of the same catalog and
//! credentials that know nothing of each other: each counts what it is sent, so limits hold for each alone, and both
//! tell of what they have in common, each once. Counts cannot be brought together again; what one has counted can be
//! carried over with `tollgate counters`.

mod copy;
pub(super) mod hold;
mod manifest;
mod restore;
pub mod tar;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::RecoveryError;
use super::data_dir::{self, DataDirError};
use super::recovery;
use super::scratch::Scratch;
use crate::journal::{JournalError, NodeId, ReadOnlyDirectory, Recovery};
use crate::listener::Clock;
use crate::model::time::UnixMillis;
use crate::store::ids::{IdsError, Slices};
use crate::store::{StoreError, open_latest_in};

pub use copy::backup;
pub use manifest::{FileRow, Manifest};
pub use restore::restore;

/// The file that says what a backup is.
const BACKUP: &str = "BACKUP";

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Restored {
    /// The last sequence.
    pub sequence: u64,
    /// The term that its first start begins.
    pub next_term: u64,
    /// Its node id, in hex.
    pub node_id: String,
    /// When the backup began, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Why there is no backup, or no restored node.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no node's data.
    #[error("{0} is not a tollgate data directory (it has no FORMAT file)")]
    NotANode(PathBuf),
    /// What is to be made is there already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// What an interrupted backup left, or one that is being made.
    #[error("{0} is there: a backup that was interrupted, or is being made; remove it if it was interrupted")]
    Partial(PathBuf),
    /// A restored node needs room of its own.
    #[error("{0} is not empty: restore into a directory that is empty, or is not there yet")]
    NotEmpty(PathBuf),
    /// The running node said no, or has let go.
    #[error("the running node says: {0}")]
    Refused(String),
    /// A node has the directory but cannot be asked.
    #[error("a node has {0} but does not answer there: it is starting or ending, or has no control socket")]
    Silent(PathBuf),
    /// It is not a whole backup.
    #[error("{} is not a whole backup: {reason}", path.display())]
    NotWhole {
        /// What was to be restored, or was just made.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The data is damaged.
    #[error("the state cannot be put together: {0}")]
    State(#[from] RecoveryError),
    /// The system refuses.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<JournalError> for BackupError {
    fn from(error: JournalError) -> Self {
        BackupError::State(error.into())
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        BackupError::State(error.into())
    }
}

fn system(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::System { what, path: path.to_owned(), source }
}

/// Puts together what lies in `root`, in memory, as a start would; what it found, and whose it is.
fn put_together(root: &Path, clock: &Clock) -> Result<(Recovery, NodeId), BackupError> {
    let scratch = Scratch::new().map_err(system("make", &std::env::temp_dir()))?;
    let checkpoint = open_latest_in(&data_dir::checkpoints(root), &scratch.join("checkpoint"))?;
    let disk = Box::new(ReadOnlyDirectory::new(&data_dir::journal(root)));
    let replayed = recovery::replay(checkpoint, disk, clock())?;
    let found = replayed.found().clone();
    let node_id = replayed.finish()?.journal().node_id();
    if let Some(slices) = slices(&data_dir::ids(root), node_id, found.engine_time)? {
        slices.verify().map_err(|error| ids_error(root, &error))?;
    }
    Ok((found, node_id))
}

/// The slices of ids at `path`, for reading; `None` if there are none.
fn slices(path: &Path, node_id: NodeId, now: UnixMillis) -> Result<Option<Slices>, BackupError> {
    if !path.exists() {
        return Ok(None);
    }
    let opened = Slices::open_on(Arc::new(ReadOnlyDirectory::new(path)), node_id, now);
    let (slices, _) = opened.map_err(|error| ids_error(path, &error))?;
    Ok(Some(slices))
}

fn ids_error(path: &Path, error: &IdsError) -> BackupError {
    BackupError::NotWhole { path: path.to_owned(), reason: error.to_string() }
}

/// A node id in hex.
fn hex(node_id: NodeId) -> String {
    node_id.iter().map(|byte| format!("{byte:02x}")).collect()
}
