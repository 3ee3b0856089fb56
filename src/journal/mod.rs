//! The journal: every change, in order, on disk before it is acknowledged. It is the truth across restarts.
//!
//! A directory of segment files. An *entry* is one change with its own sequence; sequences begin at 1 and have no
//! gaps. What waited when the flusher came is one *batch*, written with one `fdatasync` and valid as a whole or not at
//! all: whoever appends several entries that belong together, before the flusher can come, finds all or none again.
//! The bytes are in the `format` module, the payloads in [`entry`], [`usage`] and [`reservation`].
//!
//! On disk a batch is one *group*, or several if it is longer than [`Options::group_bytes_max`]: then all but its last
//! group say that it goes on. It lies in one segment, whatever its length; no group of it counts unless all are whole.
//!
//! # Segments
//!
//! A segment is made with its full length in zeros, and header, length and name are synced before its first group
//! is written. It is never recycled. Only one batch at a time is written and not yet synced, and a new segment is
//! begun only at `synced + 1`; so its header alone says that everything before its first sequence was synced.
//!
//! A new segment is begun when the next batch does not fit, at each opening, and after each storage error. An
//! opening or an error also begins a new *term*, so that (term, sequence) never names two different entries, even
//! when a tail that was never acknowledged is cut and its sequences are given out again.
//!
//! # After a storage error
//!
//! A file whose write or sync failed is never touched again: after a failed fsync a second one may succeed without
//! having written anything. Entries stay in memory, and the next flush writes all that follows the last synced
//! sequence to a new segment. The abandoned file may still hold, whole or torn, what that segment begins with:
//!
//! - **Supersession**: in the order of their names (term, then first sequence), a segment that holds a whole batch
//!   supersedes in every earlier segment the batches from its own first sequence on. That sequence is at a batch's
//!   edge and after everything that any group said was synced; anything else is damage.
//!
//! # Opening
//!
//! Within a file the rules of the `segment` module hold; between files:
//!
//! - A file without a whole header and without groups was being made at the crash: it is removed. With groups
//!   after it, its header was damaged.
//! - A segment that begins after the sequence that is next proves that synced entries are missing. That is damage,
//!   unless the caller has all of them already: then they were pruned, and what is before them is a file that
//!   pruning or a storage error left behind.
//! - The whole batches at the end that nothing says were synced may be in the page cache only. They are taken, and
//!   written once more, as one batch to the new segment, and synced, before the journal is open. It supersedes them.
//! - Segments that hold nothing any more are removed after that, so restarts do not pile up files.
//!
//! What could lose or double a count, and which test would fail if it did: `HAZARDS.md`, beside this file.

mod adopt;
mod batch;
pub mod catalog;
mod disk;
#[cfg(test)]
pub(crate) mod disk_memory;
mod disk_read_only;
pub mod entry;
mod error;
mod follow;
mod format;
pub mod ids;
mod ledger;
mod open;
pub mod producers;
mod recover;
pub mod reservation;
pub mod rows;
mod segment;
mod shorten;
mod survey;
pub mod usage;
pub(crate) mod varint;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;

pub use adopt::{as_written_by, beginning};
use batch::{Batch, GroupShape};
pub use disk::{Directory, Disk, DiskFile};
pub use disk_read_only::ReadOnlyDirectory;
use entry::Kind;
pub use error::{JournalError, OpenError};
pub use follow::{FollowError, Follower};
pub use format::NodeId;
use ledger::Ledger;
pub use open::{Options, Recovery, Torn};
use parking_lot::Mutex;
pub use segment::{SegmentEnd, read_segment};
pub use shorten::{CutIds, CutRow, CutRows, EndAt, Fate, Lost, RowName, RowValue, ShortenError, Shortening};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
pub use survey::{SegmentState, SegmentSurvey, read_whole, segment_names, survey_segment};
use writer::Writer;

use crate::model::time::UnixMillis;

/// The most bytes the payload of one entry may have: a change of the catalog, with the parts of all plugins.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// The place of an entry in the journal. The first is 1; 0 is the place before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0.saturating_add(1))
    }

    /// The one before this; before the first there is 0, and nothing before that.
    #[must_use]
    pub fn previous(self) -> Sequence {
        Sequence(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An open journal. Entries are appended to memory by many and flushed to disk by one.
#[derive(Debug)]
pub struct Journal {
    disk: Box<dyn Disk>,
    node_id: NodeId,
    /// What was appended since the flusher last came. Held for the encoding of one entry, never during I/O.
    queue: Mutex<Batch>,
    /// Held for as long as a flush takes.
    flusher: Mutex<Flusher>,
    /// Which files hold what. Taken after `flusher`, never during I/O.
    ledger: Mutex<Ledger>,
    appended: AtomicU64,
    synced: AtomicU64,
    segment_bytes: u64,
}

/// The flusher's own: what it took from the queue and has not yet synced, and where to write it.
#[derive(Debug)]
struct Flusher {
    pending: Batch,
    writer: Writer,
    group_bytes_max: usize,
}

impl Journal {
    /// Appends an entry in memory and returns its sequence. `write` appends the payload to the buffer it is given,
    /// without looking at what is there.
    ///
    /// Callers that need entries in a certain order hold a lock of their own around this.
    ///
    /// # Errors
    /// [`JournalError::TooLong`]; nothing is appended then.
    pub fn append(&self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Result<Sequence, JournalError> {
        let mut queue = self.queue.lock();
        let sequence = queue.push(kind, write)?;
        self.appended.store(sequence.0, Ordering::Release);
        Ok(sequence)
    }

    /// Writes everything appended so far as one batch, syncs it, and returns the last synced sequence. Without anything
    /// to write it touches no file.
    ///
    /// For one flusher thread; `engine_time` goes into the group.
    ///
    /// # Errors
    /// The storage error. Nothing is lost: the entries stay in memory, and the next flush writes them to a new
    /// segment. How soon to try again is the caller's choice.
    pub fn flush(&self, engine_time: UnixMillis) -> Result<Sequence, JournalError> {
        self.collect();
        self.write(engine_time)
    }

    /// Takes what was appended so far for the next [`Journal::write`]: the first half of a flush, for callers whose
    /// own lock must keep others from appending in between. Waits for a write in progress.
    pub fn collect(&self) {
        self.flusher.lock().pending.absorb(&mut self.queue.lock());
    }

    /// Writes and syncs what was collected: the second half of a flush.
    ///
    /// # Errors
    /// As [`Journal::flush`].
    pub fn write(&self, engine_time: UnixMillis) -> Result<Sequence, JournalError> {
        let mut flusher = self.flusher.lock();
        let Flusher { pending, writer, group_bytes_max } = &mut *flusher;
        let groups = pending.groups(*group_bytes_max);
        if let Some(last) = groups.last().map(GroupShape::last) {
            let written = writer.write(self.disk.as_ref(), pending, &groups, engine_time, self.synced())?;
            pending.clear();
            let mut ledger = self.ledger.lock();
            groups.iter().for_each(|group| ledger.record(written, group));
            self.synced.store(last.0, Ordering::Release);
        }
        Ok(self.synced())
    }

    /// The last sequence that is on disk for good.
    #[must_use]
    pub fn synced(&self) -> Sequence {
        Sequence(self.synced.load(Ordering::Acquire))
    }

    /// The last sequence that was given out.
    #[must_use]
    pub fn last_appended(&self) -> Sequence {
        Sequence(self.appended.load(Ordering::Acquire))
    }

    /// What tells this node's journal from any other.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The term that entries are written in now. Waits for a flush in progress.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.flusher.lock().writer.term()
    }

    /// About how many bytes of synced groups follow `sequence`, up to a mebibyte and a group too many: what
    /// replaying from there would read.
    #[must_use]
    pub fn bytes_since(&self, sequence: Sequence) -> u64 {
        self.ledger.lock().bytes_since(sequence)
    }

    /// About how many bytes a segment has when the next one is begun.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// How many segments have entries after `sequence`. Each start begins one, and the next start reads them whole.
    #[must_use]
    pub fn segments_since(&self, sequence: Sequence) -> usize {
        self.ledger.lock().files_since(sequence)
    }

    /// Deletes the segments whose entries are all before `keep_from`, oldest first, but never the one being written.
    /// Returns how many.
    ///
    /// # Errors
    /// The storage error. What was not deleted is tried again by the next call or the next opening.
    pub fn prune(&self, keep_from: Sequence) -> Result<usize, JournalError> {
        // The closure lets go of the ledger before the file is touched.
        let oldest = || self.ledger.lock().oldest_before(keep_from);
        let mut pruned = 0;
        while let Some(name) = oldest() {
            match self.disk.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(JournalError::io("remove", &name)(error));
                }
                _ => self.ledger.lock().forget(&name),
            }
            pruned += 1;
        }
        if pruned > 0 {
            self.disk.sync_dir().map_err(JournalError::io("sync", "the journal's directory"))?;
        }
        Ok(pruned)
    }
}
