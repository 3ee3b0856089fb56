//! Requests that carry a producer's number.

use std::sync::atomic::Ordering;

use super::{Ids, Locked, Verdict};
use crate::engine::Engine;
use crate::journal::entry::Kind;
use crate::journal::producers::{PRODUCER_BYTES_MAX, encode_producers};
use crate::model::decision::Refusal;
use crate::model::idempotency::{BodyHash, IdKey};
use crate::model::producer::{Numbered, Window};
use crate::model::time::UnixMillis;

/// The most producers in one entry: 4 MB at most, which is far from the journal's bound.
const PRODUCERS_PER_ENTRY: usize = (4 << 20) / PRODUCER_BYTES_MAX;

impl Ids {
    /// Joins what the journal has of a producer, unless it is forgotten.
    pub(in crate::engine) fn replay_producer(&self, key: IdKey, window: &Window, now: UnixMillis) {
        if !window.is_forgotten(now) && self.shard_of(&key).lock().join(key, window) {
            self.producers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Locked<'_> {
    pub(super) fn judge_number(&self, key: &IdKey, sequence: u64, body: BodyHash) -> Verdict {
        let window = self.shard(key).and_then(|shard| shard.window(key, self.now));
        let Some(window) = window else { return Verdict::New };
        match window.judge(sequence, body) {
            Numbered::New => Verdict::New,
            Numbered::Counted(outcome) => Verdict::Duplicate(outcome),
            Numbered::Other => Verdict::Conflict,
            Numbered::TooOld => Verdict::TooOld(window.highest()),
        }
    }

    /// Promises room for what a producer counts.
    pub(super) fn make_room_for_producer(&mut self, key: &IdKey) -> Result<(), Refusal<'static>> {
        let (ids, now) = (self.ids, self.now);
        let Some(shard) = self.shard_mut(key) else { return Ok(()) };
        if shard.has_producer(key) {
            return Ok(());
        }
        let mut all = ids.producers.fetch_add(1, Ordering::AcqRel) + 1;
        if all > ids.producers_max {
            let dropped = shard.drop_idle(now) as u64;
            all = ids.producers.fetch_sub(dropped, Ordering::AcqRel) - dropped;
        }
        self.promised.producers += 1;
        if all <= ids.producers_max {
            return Ok(());
        }
        ids.refused.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::ProducersFull)
    }

    /// Remembers that a producer's number was counted.
    pub(super) fn count_number(&mut self, key: IdKey, request: (u64, BodyHash), outcome: u64) {
        let now = self.now;
        if self.shard_mut(&key).is_some_and(|shard| shard.count(key, request, outcome, now)) {
            self.promised.producers -= 1;
        }
    }
}

impl Engine {
    /// Appends all that is remembered of producers to the journal, for a checkpoint: after the place from which it is
    /// replayed. Requests wait for the copying of a 64th of it at most, the next flush and the next command for all of it.
    pub fn append_producers(&self, wall: UnixMillis) {
        let now = self.now(wall);
        // No cut may come between the copy and the entry: the entry would be without what the cut has.
        let _sequencer = self.sequencer.lock();
        let mut windows = Vec::new();
        for shard in &self.ids.shards {
            shard.lock().copy_producers(now, &mut windows);
        }
        self.append_windows(&windows);
    }

    /// Appends windows, as many to an entry as it may have.
    pub(in crate::engine) fn append_windows(&self, windows: &[(IdKey, Window)]) {
        for part in windows.chunks(PRODUCERS_PER_ENTRY) {
            let base = part.iter().map(|(_, window)| window.at()).min().unwrap_or(UnixMillis(0));
            let appended =
                self.journal.append(Kind::Producers, |out| encode_producers(base, part.iter(), out));
            debug_assert!(appended.is_ok(), "the length is bounded by PRODUCERS_PER_ENTRY");
        }
    }
}
