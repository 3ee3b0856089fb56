//! Sealing: ids leave memory for the past.
//!
//! 1. [`Engine::freeze_ids`] cuts as a flush does, and in the same closing of the gate makes all hot ids frozen: they are
//!    exactly those of the journal after what was sealed before, up to the sequence it returns.
//! 2. The caller waits until that is synced, writes the ids, and lets the past have them.
//! 3. [`Engine::ids_sealed`] drops what is frozen.
//!
//! If step 2 fails, what is frozen stays, and the next freezing adds what has become hot meanwhile. One thread seals.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shard::Map;
use crate::engine::{Engine, Ticket};
use crate::journal::Sequence;
use crate::model::idempotency::Known;
use crate::model::time::UnixMillis;

/// Ids to be sealed.
pub struct Frozen {
    /// Of the journal's entries after this sequence.
    pub after: Sequence,
    /// Up to this one.
    pub through: Sequence,
    /// Stands for them: they may be sealed when [`Engine::durable`] says so.
    pub ticket: Ticket,
    /// In ascending order of their keys, each once; without those that are forgotten.
    pub ids: Vec<Known>,
}

impl Engine {
    /// Takes all ids that are in memory, to be sealed. For one thread only.
    #[must_use]
    pub fn freeze_ids(&self, wall: UnixMillis) -> Frozen {
        let (maps, through, ticket) = {
            let mut sequencer = self.sequencer.lock();
            let mut maps = Vec::new();
            let cut = self.cut_and_publish(&mut sequencer, 0, Vec::new(), || maps = self.ids.freeze());
            let through = self.append_usage(&cut);
            // It is flushed with what the next cut takes.
            let ticket = Ticket(cut.number + 1);
            sequencer.recycle(cut);
            (maps, through, ticket)
        };
        let now = self.now(wall);
        let known = |map: &Arc<Map>| {
            let known = |(key, remembered): (&_, &_)| Known { key: *key, remembered: *remembered };
            map.iter().map(known).collect::<Vec<_>>()
        };
        let mut ids: Vec<Known> =
            maps.iter().flat_map(known).filter(|known| !known.remembered.is_forgotten(now)).collect();
        ids.sort_unstable_by_key(|known| known.key);
        let after = Sequence(self.ids.sealed.load(Ordering::Relaxed));
        Frozen { after, through, ticket, ids }
    }

    /// Drops what was frozen last: the past has it. `through` is what [`Engine::freeze_ids`] returned with it.
    pub fn ids_sealed(&self, through: Sequence) {
        self.ids.sealed.store(through.0, Ordering::Relaxed);
        self.ids.thaw();
    }

    /// Up to where the journal's ids are sealed: entries after that are still needed.
    #[must_use]
    pub fn ids_sealed_through(&self) -> Sequence {
        Sequence(self.ids.sealed.load(Ordering::Relaxed))
    }

    /// How many ids there are, and how requests with ids fared.
    #[must_use]
    pub fn id_numbers(&self) -> super::IdNumbers {
        self.ids.numbers()
    }
}

impl super::Ids {
    /// Makes all hot ids frozen. The gate must be closed.
    fn freeze(&self) -> Vec<Arc<Map>> {
        let freeze = |shard: &parking_lot::Mutex<super::Shard>| {
            let mut shard = shard.lock();
            let hot = std::mem::take(&mut shard.hot);
            self.hot.fetch_sub(hot.len() as u64, Ordering::Relaxed);
            let frozen = match shard.frozen.take() {
                None => Arc::new(hot),
                // The last sealing failed. Nobody else has it, unless a caller kept it: then it is copied.
                Some(mut frozen) => {
                    let map = Arc::make_mut(&mut frozen);
                    let before = map.len() + hot.len();
                    map.extend(hot);
                    self.held.fetch_sub((before - map.len()) as u64, Ordering::AcqRel);
                    frozen
                }
            };
            shard.frozen = Some(Arc::clone(&frozen));
            frozen
        };
        self.shards.iter().map(freeze).collect()
    }

    fn thaw(&self) {
        for shard in &self.shards {
            let frozen = shard.lock().frozen.take();
            self.held.fetch_sub(frozen.map_or(0, |frozen| frozen.len() as u64), Ordering::AcqRel);
        }
    }
}
