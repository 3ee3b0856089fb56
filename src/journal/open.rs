//! Opening a journal: recover what is there, begin a new term in a new segment, tidy up.

use super::batch::Batch;
use super::disk::{Directory, Disk};
use super::error::{JournalError, OpenError};
use super::format::NodeId;
use super::recover::{Found, recover};
use super::writer::Writer;
use super::{Flusher, Journal, Sequence};
use crate::journal::entry::Entry;
use crate::model::time::UnixMillis;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// How a journal is opened and written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of a segment file. A longer group gets a longer file.
    pub segment_bytes: u64,
    /// The most bytes of entries that one group takes: what a follower reads at once. An entry that is longer makes a
    /// group of its own.
    pub group_bytes_max: usize,
    /// The node the journal must belong to, or will; without it a fresh journal draws one at random.
    pub node_id: Option<NodeId>,
    /// A term that was used already, as a checkpoint may remember it though the journal is gone.
    pub term_after: u64,
    /// The wall clock, for the segment header.
    pub now: UnixMillis,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 16 << 20,
            group_bytes_max: 64 << 20,
            node_id: None,
            term_after: 0,
            now: UnixMillis(0),
        }
    }
}

/// A shorter segment would be mostly header; tests want many, not long ones.
const SEGMENT_BYTES_MIN: u64 = if cfg!(test) { 256 } else { 4096 };
/// A group's length has to fit 32 bits, with room for one entry of the longest kind.
const GROUP_BYTES_MAX: usize = 1 << 30;

/// The end of a file that was being written when the node died, and is not used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where the part begins that is not used.
    pub offset: u64,
    /// How many bytes of it are not zero, up to the last.
    pub bytes: u64,
}

/// What an opening found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// The first sequence that the journal still has, or will have.
    pub first: Sequence,
    /// The last.
    pub last: Sequence,
    /// How many entries the visitor was shown.
    pub entries: u64,
    /// How many of them nothing said were synced, so that they were written once more.
    pub re_appended: u64,
    /// The highest engine time of a group with an entry that the visitor was shown.
    pub engine_time: UnixMillis,
    /// The term that begins now.
    pub term: u64,
    /// What was cut.
    pub torn: Option<Torn>,
}

impl Journal {
    /// Opens the journal in the directory `path`, which is made if it is missing, and shows every entry after
    /// `after` to `visit`, in order, with the engine time of its group.
    ///
    /// The caller holds a lock that keeps other processes away.
    ///
    /// # Errors
    /// Damage (see the rules in the [module](super) documentation), entries that a newer release wrote, a journal
    /// that does not connect to `after`, a storage error, or the visitor's.
    pub fn open<E>(
        path: &Path,
        options: Options,
        after: Sequence,
        visit: impl FnMut(Sequence, UnixMillis, Entry) -> Result<(), E>,
    ) -> Result<(Journal, Recovery), OpenError<E>> {
        let disk = Directory::open(path).map_err(JournalError::io("open", path.display().to_string()))?;
        Journal::open_on(Box::new(disk), options, after, visit)
    }

    /// Opens the journal on any [`Disk`].
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on<E>(
        disk: Box<dyn Disk>,
        options: Options,
        after: Sequence,
        visit: impl FnMut(Sequence, UnixMillis, Entry) -> Result<(), E>,
    ) -> Result<(Journal, Recovery), OpenError<E>> {
        let found = recover(disk.as_ref(), options.node_id, after, visit)?;
        let last = found.next.previous();
        let recovery = Recovery {
            first: found.first,
            last,
            entries: found.entries,
            re_appended: last.0 - found.synced.0,
            engine_time: found.engine_time,
            term: found.term.max(options.term_after) + 1,
            torn: found.torn.clone(),
        };
        let journal = resume(disk, options, &recovery, found)?;
        Ok((journal, recovery))
    }
}

/// Begins the new segment, with the entries that nothing says were synced, and removes files without use.
fn resume(
    disk: Box<dyn Disk>,
    options: Options,
    recovery: &Recovery,
    found: Found,
) -> Result<Journal, JournalError> {
    let node_id = match found.node_id.or(options.node_id) {
        Some(node_id) => node_id,
        None => random_node_id()?,
    };
    let segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN);
    let mut writer = Writer::new(node_id, recovery.term, segment_bytes);
    if recovery.re_appended == 0 {
        writer.begin(disk.as_ref(), found.next, 0, options.now)?;
    }
    let journal = Journal {
        disk,
        node_id,
        queue: Mutex::new(Batch::new(found.next)),
        flusher: Mutex::new(Flusher {
            pending: found.tail,
            writer,
            group_bytes_max: options.group_bytes_max.min(GROUP_BYTES_MAX),
        }),
        ledger: Mutex::new(found.ledger),
        appended: AtomicU64::new(recovery.last.0),
        synced: AtomicU64::new(found.synced.0),
        segment_bytes,
    };
    // As one batch: it supersedes what is taken over, of which a crash between two would lose the second. The time of
    // these groups alone: an older one may be later, from before an operator set the clock back.
    journal.flush(found.tail_time)?;
    for name in &found.useless {
        journal.disk.remove(name).map_err(JournalError::io("remove", name))?;
    }
    journal.disk.sync_dir().map_err(JournalError::io("sync", "the journal's directory"))?;
    Ok(journal)
}

fn random_node_id() -> Result<NodeId, JournalError> {
    let mut node_id = NodeId::default();
    getrandom::fill(&mut node_id)
        .map_err(|error| std::io::Error::other(error.to_string()))
        .map_err(JournalError::io("draw a node id for", "a fresh journal"))?;
    Ok(node_id)
}
