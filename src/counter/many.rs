//! Several subjects at once: for steps that must be all or nothing over more than one of them.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicUsize;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::shard::Shard;
use super::store::{Counters, Met, SHARDS, Stale, meet};
use crate::model::time::{Minute, Windows};

/// The most subjects of one such step: as many as there are shards, so that it is no longer than a cut.
pub const SUBJECTS_MAX: usize = SHARDS as usize;

/// A locked shard: by a guard of its own, or lent by [`Many`].
pub(super) enum Locked<'a> {
    Own(MutexGuard<'a, Shard>),
    Lent(&'a mut Shard),
}

impl Deref for Locked<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        match self {
            Locked::Own(shard) => shard,
            Locked::Lent(shard) => shard,
        }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        match self {
            Locked::Own(shard) => shard,
            Locked::Lent(shard) => shard,
        }
    }
}

/// The shards of some subjects, all locked: what is read and counted through it is one step.
pub struct Many<'a> {
    /// By ascending number.
    shards: SmallVec<[(u32, MutexGuard<'a, Shard>); 8]>,
    contract: u64,
    waiting: &'a AtomicUsize,
}

impl Counters {
    /// Locks the shards of whoever is at `indices`, in ascending order, for one step under a catalog.
    ///
    /// The caller holds at most [`SUBJECTS_MAX`] indices, and no other shard.
    ///
    /// # Errors
    /// [`Stale`]; nothing is locked.
    pub fn lock_many(
        &self,
        indices: impl Iterator<Item = u32>,
        contract: u64,
        now: Minute,
    ) -> Result<Many<'_>, Stale> {
        let mut numbers: SmallVec<[u32; 64]> = indices.map(|index| index % SHARDS).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut shards = SmallVec::new();
        for number in numbers {
            shards.push((number, self.lock_shard(number, contract, now)?));
        }
        Ok(Many { shards, contract, waiting: self.waiting_total() })
    }
}

impl Many<'_> {
    /// The windows that are open: of the latest of the shards.
    #[must_use]
    pub fn windows(&self) -> Windows {
        let latest = self.shards.iter().map(|(_, shard)| *shard.windows()).max_by_key(Windows::minute);
        latest.unwrap_or_else(|| Windows::at(Minute(0)))
    }

    /// Whoever is at `index`; `None` if nobody is there, or its shard is not among those locked.
    ///
    /// # Errors
    /// [`Stale`]: a command is about to change what leads to the subject.
    pub fn meet(&mut self, index: u32) -> Result<Option<Met<'_>>, Stale> {
        let found = self.shards.binary_search_by_key(&(index % SHARDS), |(number, _)| *number);
        let Ok(at) = found else { return Ok(None) };
        meet(Locked::Lent(&mut self.shards[at].1), index, self.contract, self.waiting)
    }
}
