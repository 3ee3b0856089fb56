//! Idempotency: requests that carry an id, or a producer's number, are counted once, however often they are sent.
//!
//! # Places of an id, newest first
//! 1. *Hot*: in one of 64 maps, each behind its lock. What was accepted since the last cut is listed beside them.
//! 2. *Frozen*: taken from the hot maps by [`freeze_ids`](super::Engine::freeze_ids), in memory until whoever seals them has them on disk.
//! 3. *Past*: sealed, behind the trait [`Past`].
//!
//! ```text
//!           cut: to the journal, in the group of its usage
//!            ^
//!            |
//!  counted ──+──> hot ── freeze ──> frozen ── sealed ──> past ── older than the horizon ──> forgotten
//!                  ^
//!                  └── replay: ids of the journal after what the past covers
//! ```
//!
//! # One request
//! 1. What it asks is hashed, and its ids are looked up in the past; no lock is held, as that may read a file.
//! 2. The gate is held, as by a report, so that a cut takes id and usage together or neither. The shards of all its ids are
//!    locked in ascending order. If the past's epoch has changed since step 1 it starts again: an id may have moved there.
//! 3. Each id is *new*, a *duplicate* or a *conflict*; hot goes before frozen, and frozen before the past. An id that is past
//!    the horizon is new. The second of two equal ids in one report is judged by the first.
//! 4. What is new is decided and counted, and is remembered if it was counted; a duplicate counts nothing and is answered as
//!    a success; a conflict refuses the whole request.
//!
//! A duplicate takes the ticket of the next cut like what is counted: when that is synced, so is the original.
//!
//! # Why an id cannot be missed
//! It moves from hot to frozen under the gate, closed, and its shard's lock. Frozen goes only after the past has it and has
//! changed its epoch, and under the shard's lock: who holds that lock and sees the old epoch still sees it frozen.
//!
//! # Producers
//! A request may carry the name of a producer and a number instead of an id ([`Window`] says what is remembered of them).
//! Producers lie in the same shards as ids, under the same locks, and are judged in the same step; they are never frozen,
//! and have no past. A cut takes what each producer counted since the last one, as one window with those numbers, in the
//! group of its usage. A checkpoint appends all windows to the journal, after the place from which it is replayed
//! ([`append_producers`](super::Engine::append_producers)): without what was not cut yet, as a number must never be on disk before its
//! usage. Replay joins windows, which may be done twice. A producer that was idle for the horizon is forgotten.
//!
//! # The bound
//! Hot, frozen and past together hold at most so many ids as are configured. A new id beyond that is refused before anything
//! is counted: it could not be remembered, or another would have to be forgotten. While ids are being sealed they may be
//! counted twice, so the bound holds a little early then, never late. Ids that are not sealed yet are bounded apart, by
//! [`MEMORY_MAX`]: while a disk takes no writes decisions go on, and what they leave in memory must not grow with traffic.
//!
//! Of producers a node remembers [`PRODUCERS_MAX`]. A new one beyond that takes the place of one that is forgotten, if
//! there is one in its shard, or is refused.
//!
//! # Locks
//! `sequencer` > `gate` > these shards, ascending > the counters' shards. The past is asked without any of them.

mod body;
mod decide;
mod past;
mod producers;
mod report;
mod seal;
mod shard;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

pub(super) use body::transaction_body;
pub use past::{Past, PastError};
pub use seal::Frozen;
use shard::Shard;

use crate::journal::Sequence;
use crate::model::decision::Refusal;
use crate::model::idempotency::{BodyHash, IdKey, IdKind, Known, Remembered, RequestId};
use crate::model::producer::Window;
use crate::model::record::Service;
use crate::model::time::UnixMillis;

/// How many locks the ids in memory lie behind.
const SHARDS: usize = 64;

/// How many ids are hot or frozen at most: 500 MB. Four times as many as are usually sealed at.
pub const MEMORY_MAX: u64 = 4 << 20;

/// How many ids a node remembers unless it is told otherwise.
pub const IDS_MAX_DEFAULT: u64 = 50_000_000;

/// How many producers a node remembers: 3 MB of memory, and as much in the journal with each checkpoint.
pub const PRODUCERS_MAX: u64 = 10_000;

/// An id or number that a request carries, and the hash of what it asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Of the id, or of the producer.
    pub(super) key: IdKey,
    /// Which of the producer's requests it is.
    pub(super) sequence: Option<u64>,
    pub(super) body: BodyHash,
}

impl Claim {
    /// What a whole request to `service` claims to be.
    pub(super) fn of_request(service: &Service, id: &RequestId<'_>, body: BodyHash) -> Claim {
        let key = |kind, name| IdKey::new(service.tenant, service.id, kind, name);
        match id {
            RequestId::Key(id) => Claim { key: key(IdKind::Request, id), sequence: None, body },
            RequestId::Numbered { producer, sequence } => {
                Claim { key: key(IdKind::Producer, producer), sequence: Some(*sequence), body }
            }
        }
    }
}

/// What an id says of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    New,
    /// The same request was counted; what came of it.
    Duplicate(u64),
    /// Another request was counted under the id.
    Conflict,
    /// The producer has counted so much since, up to this number, that it is not known.
    TooOld(u64),
}

/// How many ids there are, and how requests with ids fared since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IdNumbers {
    /// In memory and not frozen.
    pub hot: u64,
    /// Remembered: hot, frozen and past.
    pub held: u64,
    /// The most that may be.
    pub max: u64,
    /// Repetitions that were answered without being counted.
    pub duplicates: u64,
    /// Ids that came with another request.
    pub conflicts: u64,
    /// New ids and producers for which there was no room.
    pub refused: u64,
    /// Numbers of producers that were too old to be known.
    pub too_old: u64,
    /// Producers that are remembered.
    pub producers: u64,
}

/// All ids of a node.
pub(super) struct Ids {
    shards: Box<[Mutex<Shard>]>,
    past: Arc<dyn Past>,
    /// Hot and frozen, and those that a request has been promised room for.
    held: AtomicU64,
    max: u64,
    memory_max: u64,
    /// Accepted since the last cut; a cut that finds none spares itself the shards.
    uncut: AtomicU64,
    hot: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
    too_old: AtomicU64,
    producers: AtomicU64,
    pub(super) producers_max: u64,
    /// Up to where the journal's ids have left memory.
    sealed: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Ids {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            past: Arc::new(past::Nothing),
            held: zero(),
            max: IDS_MAX_DEFAULT,
            memory_max: MEMORY_MAX,
            uncut: zero(),
            hot: zero(),
            duplicates: zero(),
            conflicts: zero(),
            refused: zero(),
            too_old: zero(),
            producers: zero(),
            producers_max: PRODUCERS_MAX,
            sealed: zero(),
        }
    }
}

/// What the past says of a request's ids.
pub(super) struct LookedBack {
    epoch: u64,
    found: SmallVec<[Option<Remembered>; 2]>,
}

impl Ids {
    /// Takes ids that are in the journal up to `covered` from `past`, and remembers `max` at most.
    pub(super) fn open(&mut self, past: Arc<dyn Past>, covered: Sequence, max: u64) {
        self.past = past;
        self.max = max;
        self.sealed.store(covered.0, Ordering::Relaxed);
    }

    /// Takes an id of the journal back, unless the past has it or it is forgotten.
    pub(super) fn replay(&self, at: Sequence, known: &Known, now: UnixMillis) {
        let is_hot = at.0 > self.sealed.load(Ordering::Relaxed) && !known.remembered.is_forgotten(now);
        if is_hot && self.shard_of(&known.key).lock().put(known) {
            self.held.fetch_add(1, Ordering::Relaxed);
            self.hot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the past for what it knows of `claims`. No lock may be held.
    ///
    /// # Errors
    /// It cannot say.
    pub(super) fn look_back(&self, claims: &[Claim], now: UnixMillis) -> Result<LookedBack, PastError> {
        let epoch = self.past.epoch();
        let find = |claim: &Claim| {
            if claim.sequence.is_some() {
                return Ok(None);
            }
            let found = self.past.find(&claim.key)?;
            Ok(found.filter(|remembered| !remembered.is_forgotten(now)))
        };
        Ok(LookedBack { epoch, found: claims.iter().map(find).collect::<Result<_, PastError>>()? })
    }

    /// Locks the shards of `claims`, of which the past says `looked`. The gate must be held. `None` if the past has changed
    /// meanwhile: start again.
    pub(super) fn lock<'e>(
        &'e self,
        claims: &'e [Claim],
        looked: LookedBack,
        now: UnixMillis,
    ) -> Option<Locked<'e>> {
        let mut numbers: SmallVec<[usize; 2]> = claims.iter().map(|it| number_of(&it.key)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let guards = numbers.iter().map(|number| (*number, self.shards[*number].lock())).collect();
        let locked = Locked { ids: self, claims, looked, guards, now, promised: Promised::default() };
        (self.past.epoch() == locked.looked.epoch).then_some(locked)
    }

    /// Takes what was accepted since the last cut. The gate must be closed.
    pub(super) fn cut(&self) -> Accepted {
        let mut all = Accepted::default();
        if self.uncut.load(Ordering::Relaxed) > 0 {
            self.uncut.store(0, Ordering::Relaxed);
            for shard in &self.shards {
                let mut shard = shard.lock();
                all.ids.append(&mut shard.uncut);
                shard.cut_producers(&mut all.producers);
            }
        }
        all
    }

    pub(super) fn numbers(&self) -> IdNumbers {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        IdNumbers {
            hot: of(&self.hot),
            held: of(&self.held) + self.past.len(),
            max: self.max,
            duplicates: of(&self.duplicates),
            conflicts: of(&self.conflicts),
            refused: of(&self.refused),
            too_old: of(&self.too_old),
            producers: of(&self.producers),
        }
    }

    fn shard_of(&self, key: &IdKey) -> &Mutex<Shard> {
        &self.shards[number_of(key)]
    }
}

/// What requests with ids or numbers were counted since a cut.
#[derive(Default)]
pub(super) struct Accepted {
    pub(super) ids: Vec<Known>,
    /// Producers, and those of their numbers.
    pub(super) producers: Vec<(IdKey, Window)>,
}

fn number_of(key: &IdKey) -> usize {
    usize::from(key.0[0]) % SHARDS
}

/// The shards of a request's ids, locked, and the room it was promised: what it does not use goes back when it ends.
pub(super) struct Locked<'e> {
    ids: &'e Ids,
    claims: &'e [Claim],
    looked: LookedBack,
    guards: SmallVec<[(usize, MutexGuard<'e, Shard>); 1]>,
    now: UnixMillis,
    promised: Promised,
}

/// Room that a request was promised and has not used.
#[derive(Default)]
struct Promised {
    ids: u64,
    producers: u64,
}

impl Locked<'_> {
    /// What the id of claim `number` says, other claims of the same request aside.
    pub(super) fn judge(&self, number: usize) -> Verdict {
        let Claim { key, sequence, body } = self.claims[number];
        if let Some(sequence) = sequence {
            return self.judge_number(&key, sequence, body);
        }
        let here = self.shard(&key).and_then(|shard| shard.find(&key));
        let here = here.filter(|remembered| !remembered.is_forgotten(self.now));
        match here.or(self.looked.found[number]) {
            None => Verdict::New,
            Some(remembered) if remembered.body == body => Verdict::Duplicate(remembered.outcome),
            Some(_) => Verdict::Conflict,
        }
    }

    /// Counts how ids were judged.
    pub(super) fn tell(&self, duplicates: usize, conflicts: usize) {
        self.ids.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
        self.ids.conflicts.fetch_add(conflicts as u64, Ordering::Relaxed);
    }

    /// Counts that a number was too old; the refusal.
    pub(super) fn too_old(&self, highest: u64) -> Refusal<'static> {
        self.ids.too_old.fetch_add(1, Ordering::Relaxed);
        Refusal::SequenceTooOld { highest }
    }

    /// Promises room for those claims, which are new.
    ///
    /// # Errors
    /// There is not so much.
    pub(super) fn make_room(&mut self, new: &[usize]) -> Result<(), Refusal<'static>> {
        let mut count = 0;
        for Claim { key, sequence, .. } in new.iter().map(|number| self.claims[*number]) {
            match sequence {
                Some(_) => self.make_room_for_producer(&key)?,
                None => count += 1,
            }
        }
        let held = self.ids.held.fetch_add(count, Ordering::AcqRel) + count;
        self.promised.ids += count;
        let fits = held <= self.ids.memory_max && held.saturating_add(self.ids.past.len()) <= self.ids.max;
        if count == 0 || fits {
            return Ok(());
        }
        self.ids.refused.fetch_add(count, Ordering::Relaxed);
        Err(Refusal::IdempotencyFull)
    }

    /// Remembers claim `number`, for which room was promised: it was counted.
    pub(super) fn remember(&mut self, number: usize, outcome: u64) {
        let (Claim { key, sequence, body }, at) = (self.claims[number], self.now);
        self.ids.uncut.fetch_add(1, Ordering::Relaxed);
        if let Some(sequence) = sequence {
            return self.count_number(key, (sequence, body), outcome);
        }
        let known = Known { key, remembered: Remembered { body, outcome, at } };
        let Some(shard) = self.shard_mut(&key) else { return };
        let is_new = shard.put(&known);
        shard.uncut.push(known);
        if is_new {
            self.promised.ids -= 1;
            self.ids.hot.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn shard(&self, key: &IdKey) -> Option<&Shard> {
        let wanted = number_of(key);
        self.guards.iter().find(|(number, _)| *number == wanted).map(|(_, shard)| &**shard)
    }

    fn shard_mut(&mut self, key: &IdKey) -> Option<&mut Shard> {
        let wanted = number_of(key);
        self.guards.iter_mut().find(|(number, _)| *number == wanted).map(|(_, shard)| &mut **shard)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Promised { ids, producers } = self.promised;
        if ids > 0 {
            self.ids.held.fetch_sub(ids, Ordering::AcqRel);
        }
        if producers > 0 {
            self.ids.producers.fetch_sub(producers, Ordering::AcqRel);
        }
    }
}
