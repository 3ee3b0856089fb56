//! Slices: the idempotency ids of the past, on disk, looked up without reading for nearly all that are absent.
//!
//! An id that was counted is remembered for a day, and there may be 50 million. The engine keeps the youngest in memory;
//! at a seal it hands over those of a stretch of the journal, and they become a *slice*: one immutable file with all
//! ids of the entries `from..=to`, in the order of their keys. What slices cover the journal need not keep for
//! the sake of ids.
//!
//! ```text
//! ids/<from>-<to>.slice        sequences in 20 decimal digits; bytes in the `format` module
//! ids/<from>-<to>.slice.new    one that is being written
//! ```
//!
//! # In memory
//! Of each slice its *filter* (12 bits an id) and its *fences* (the beginning of each block's first key, 0.6 bits an
//! id): 50 million ids take 80 MB. [`Slices::find`] asks the slices from the youngest to the oldest. A filter answers for 199
//! of 200 absent ids; for the rest, and for ids that are there, one block of 4 KiB is read and checked.
//!
//! # Writing
//! A slice is written under its temporary name, synced, renamed, and the directory synced; then readers see it. One
//! that has its name is whole. Adding, merging and dropping are for one background thread or several; readers hold no
//! lock, they take the list of slices that is published, and its *epoch* tells whether there is another by now.
//!
//! Slices of similar sizes that follow each other are merged (see `merge`), so that their number stays at
//! [`SLICES_MAX`] or below. All are read at once, in order, some blocks of each: a merge takes the memory of the
//! slice it makes, and 130 KiB for each that it reads. What is forgotten by then is left out; of an id in several,
//! the youngest counts. The parts are removed when the whole has its name; on opening, a slice inside the range of
//! another is removed. A whole slice goes when all its ids are forgotten and all older ones are gone. The youngest
//! stays: it says what is covered.
//!
//! # Files of failed steps
//! After an error in making a slice its files may or may not be there, also after a power loss. A later slice may
//! overlap them, so they are removed, and the directory is synced, before anything else is written.
//!
//! # Opening
//! Slices must follow each other without a gap, and headers, fences and filters must be whole: without that ids would be
//! forgotten silently. Each slice knows when the youngest id before it was counted; if that is longer ago than
//! the horizon, then what is damaged or missing before it does not matter. Blocks are checked when they are read:
//! a lookup in a damaged one is an error, never a wrong answer.
//!
//! # Locks
//! `merging` is held by a merge for as long as it takes, and by dropping; `publishing` by adding, and when the list of
//! slices is replaced: in that order.

mod adopt;
mod chain;
mod error;
mod filter;
mod format;
mod merge;
mod shorten;
mod slice;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use adopt::slice_ends;
pub use error::IdsError;
pub use shorten::{Beyond, visit_slice};

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::journal::{Directory, Disk, NodeId, Sequence};
use crate::model::idempotency::{IdKey, Known, Remembered};
use crate::model::time::UnixMillis;
use format::{Identity, slice_name};
use merge::{Merging, Shape};
use slice::Slice;

/// The most slices there are once merging has caught up: each lookup of an absent id asks all of their filters.
pub const SLICES_MAX: usize = 32;

/// How many ids are merged between two looks at whether to stop.
const STOP_STEP: u64 = if cfg!(test) { 4 } else { 64 << 10 };

/// All slices of one directory.
#[derive(Debug)]
pub struct Slices {
    disk: Arc<dyn Disk>,
    node_id: NodeId,
    list: ArcSwap<List>,
    merging: Mutex<()>,
    publishing: Mutex<()>,
    /// Names that failed steps may have left. Held while they are removed, and by nothing else for long.
    strays: Mutex<Vec<String>>,
}

/// What readers see.
#[derive(Debug, Default)]
struct List {
    /// Oldest first, without a gap between them.
    slices: Vec<Arc<Slice>>,
    epoch: u64,
    ids: u64,
}

impl List {
    fn new(slices: Vec<Arc<Slice>>, epoch: u64) -> List {
        let ids = slices.iter().map(|slice| slice.header().ids).sum();
        List { slices, epoch, ids }
    }

    fn covered(&self) -> Sequence {
        self.slices.last().map_or(Sequence(0), |slice| slice.header().identity.to)
    }
}

/// What [`Slices::merge`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// There is nothing to merge now.
    Nothing,
    /// Some slices became one.
    Done {
        /// How many.
        parts: usize,
        /// The ids in it.
        ids: u64,
        /// Its bytes on disk.
        bytes: u64,
    },
}

impl Slices {
    /// Opens the slices in the directory `path`, which is made if it is missing, and removes files that are of no use.
    /// Returns also what is damaged or missing and does not matter any more.
    ///
    /// `now` is the engine's time: what is forgotten by then need not be whole.
    ///
    /// # Errors
    /// Storage errors; damage, gaps, and slices of another node or release.
    pub fn open(path: &Path, node_id: NodeId, now: UnixMillis) -> Result<(Slices, Vec<IdsError>), IdsError> {
        let directory = Directory::open(path).map_err(IdsError::io("open", &path.display().to_string()))?;
        Slices::open_on(Arc::new(directory), node_id, now)
    }

    /// As [`Slices::open`], on any disk. On one that is read-only nothing is removed.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        node_id: NodeId,
        now: UnixMillis,
    ) -> Result<(Slices, Vec<IdsError>), IdsError> {
        let chain = chain::read(disk.as_ref(), node_id, now)?;
        let slices = Slices {
            disk,
            node_id,
            list: ArcSwap::from_pointee(List::new(chain.slices.into_iter().map(Arc::new).collect(), 0)),
            merging: Mutex::new(()),
            publishing: Mutex::new(()),
            strays: Mutex::new(chain.needless),
        };
        slices.clear()?;
        Ok((slices, chain.passed_over))
    }

    /// The last sequence whose ids the slices have; 0 before the first slice.
    #[must_use]
    pub fn covered(&self) -> Sequence {
        self.list.load().covered()
    }

    /// How many ids the slices have. Ids that are forgotten count until their slice goes, an eighth of the horizon
    /// later, or more if very few are added; so does an id twice that was forgotten and counted again.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.list.load().ids
    }

    /// Whether there are no ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another number whenever slices have come or gone. Who has looked an id up and finds the number it read
    /// before has seen all that is published now.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.list.load().epoch
    }

    /// How many slices there are.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.list.load().slices.len()
    }

    /// Bytes that the slices take on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.list.load().slices.iter().map(|slice| slice.len_bytes()).sum()
    }

    /// Bytes that filters and fences take in memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.list.load().slices.iter().map(|slice| slice.memory()).sum()
    }

    /// What is remembered of `key`, be it forgotten by now or not. May read blocks of 4 KiB, seldom more than one.
    ///
    /// # Errors
    /// Storage errors, and damage: what is remembered is not known then.
    pub fn find(&self, key: &IdKey) -> Result<Option<Remembered>, IdsError> {
        for slice in self.list.load().slices.iter().rev() {
            if let Some(found) = slice.find(key)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Writes a slice of what follows [`Slices::covered`] up to `to`, and publishes it. Of an id that comes twice,
    /// the last counts. Without ids, the slice says only that there were none.
    ///
    /// The journal must have synced `to`.
    ///
    /// # Errors
    /// [`IdsError::NotAfter`], and storage errors; then nothing is covered that was not before, and it may be tried
    /// again, with more ids if it goes further.
    pub fn add(&self, to: Sequence, mut ids: Vec<Known>) -> Result<(), IdsError> {
        let _publishing = self.publishing.lock();
        let list = self.list.load_full();
        let covered = list.covered();
        if to <= covered {
            let nothing_new = to == covered && ids.is_empty();
            return if nothing_new { Ok(()) } else { Err(IdsError::NotAfter { covered, to }) };
        }
        // The sort is stable, so the last of equal keys is the first from behind.
        ids.sort_by_key(|known| known.key);
        ids.reverse();
        ids.dedup_by_key(|known| known.key);
        let count = ids.len() as u64;
        let before = list.slices.last().map_or(UnixMillis(0), |slice| slice.newest_so_far());
        let slice = self.make(covered.next(), to, before, count, || Ok(ids.pop()))?;
        let slices = list.slices.iter().cloned().chain([Arc::new(slice)]).collect();
        self.list.store(Arc::new(List::new(slices, list.epoch + 1)));
        Ok(())
    }

    /// Merges some slices into one, if there are any that are worth it. For a background thread, again and again until
    /// there is nothing to merge. It is given up when `stopping` says so, which is looked at now and then.
    ///
    /// # Errors
    /// [`IdsError::Stopped`], storage errors, and damage in what is merged. The slices stay as they were; or they are merged
    /// and it is only their files that could not be removed, which the next step that works does.
    pub fn merge(&self, now: UnixMillis, stopping: impl Fn() -> bool) -> Result<Merged, IdsError> {
        let _merging = self.merging.lock();
        let list = self.list.load_full();
        let shapes: Vec<_> = list.slices.iter().map(|slice| Shape::of(slice)).collect();
        let Some(parts) = merge::choose(&shapes).map(|run| &list.slices[run]) else {
            return Ok(Merged::Nothing);
        };
        let [first, .., last] = parts else { return Ok(Merged::Nothing) };
        let (from, to) = (first.header().identity.from, last.header().identity.to);
        let ids_max = parts.iter().map(|part| part.header().ids).sum();
        let mut merging = Merging::new(parts, now)?;
        let mut taken = 0_u64;
        let slice = self.make(from, to, first.header().before, ids_max, || {
            taken += 1;
            if taken.is_multiple_of(STOP_STEP) && stopping() {
                return Err(IdsError::Stopped);
            }
            merging.next()
        })?;
        let done = Merged::Done { parts: parts.len(), ids: slice.header().ids, bytes: slice.len_bytes() };
        self.replace(parts, Some(slice))?;
        Ok(done)
    }

    /// Drops the oldest slices whose ids are all forgotten at `now`, but never the youngest. Returns how many.
    ///
    /// # Errors
    /// Storage errors. The slices are not looked at any more; their files go with the next step that works.
    pub fn expire(&self, now: UnixMillis) -> Result<usize, IdsError> {
        let _merging = self.merging.lock();
        let list = self.list.load_full();
        let but_last = list.slices.len().saturating_sub(1);
        let forgotten = list.slices.iter().take(but_last).take_while(|slice| slice.is_forgotten(now)).count();
        if forgotten > 0 {
            self.replace(&list.slices[..forgotten], None)?;
        }
        Ok(forgotten)
    }

    /// Reads and checks every block of every slice. Returns the number of ids.
    ///
    /// # Errors
    /// Storage errors, and the first damage that is found.
    pub fn verify(&self) -> Result<u64, IdsError> {
        let mut ids = 0;
        for slice in &self.list.load_full().slices {
            let mut records = slice.records();
            while records.next()?.is_some() {
                ids += 1;
            }
        }
        Ok(ids)
    }

    /// Makes a slice, and cleans up if that fails.
    fn make(
        &self,
        from: Sequence,
        to: Sequence,
        before: UnixMillis,
        ids_max: u64,
        next: impl FnMut() -> Result<Option<Known>, IdsError>,
    ) -> Result<Slice, IdsError> {
        self.clear()?;
        let identity = Identity { node_id: self.node_id, from, to };
        let made = writer::write(self.disk.as_ref(), identity, before, ids_max, next);
        if made.is_err() {
            self.strays.lock().extend([writer::temporary(&identity), slice_name(from, to)]);
            // What cannot be removed now will be before the next step.
            let _ = self.clear();
        }
        made
    }

    /// Publishes a list with `whole` in the place of `parts`, which follow each other in it, and removes their files.
    fn replace(&self, parts: &[Arc<Slice>], whole: Option<Slice>) -> Result<(), IdsError> {
        let publishing = self.publishing.lock();
        let list = self.list.load_full();
        let is_part = |slice: &Arc<Slice>| parts.iter().any(|part| Arc::ptr_eq(part, slice));
        let mut slices: Vec<_> = list.slices.iter().filter(|slice| !is_part(slice)).cloned().collect();
        if let Some(whole) = whole {
            let from = whole.header().identity.from;
            let at = slices.partition_point(|slice| slice.header().identity.from < from);
            slices.insert(at, Arc::new(whole));
        }
        self.list.store(Arc::new(List::new(slices, list.epoch + 1)));
        drop(publishing);
        self.strays.lock().extend(parts.iter().map(|part| part.name().to_owned()));
        self.clear()
    }

    /// Removes the files of failed steps and of slices that are gone, for good.
    fn clear(&self) -> Result<(), IdsError> {
        let mut strays = self.strays.lock();
        if strays.is_empty() {
            return Ok(());
        }
        for name in strays.iter() {
            match self.disk.remove(name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IdsError::io("remove", name)(error));
                }
                _ => {}
            }
        }
        self.disk.sync_dir().map_err(IdsError::io("sync", "the directory of ids"))?;
        strays.clear();
        Ok(())
    }
}
