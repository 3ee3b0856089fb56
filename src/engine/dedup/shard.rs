//! One shard of the ids in memory, and of the producers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::model::idempotency::{BodyHash, IdKey, Known, Remembered};
use crate::model::producer::Window;
use crate::model::time::UnixMillis;

/// Keys are hashes already, and nobody can choose them: eight bytes of one are as good as a hash of it.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The first bytes choose the shard, so the last ones say more.
        if let Some(last) = bytes.last_chunk() {
            self.0 ^= u64::from_le_bytes(*last);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length, which is always the same.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) type Map = HashMap<IdKey, Remembered, BuildHasherDefault<KeyHasher>>;

/// A producer in memory.
pub(super) struct Producer {
    pub(super) window: Window,
    /// Which numbers of the window were counted since the last cut: its bits.
    uncut: u64,
}

/// Ids in memory that begin alike, and producers whose keys do.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) hot: Map,
    /// On its way to disk.
    pub(super) frozen: Option<Arc<Map>>,
    /// Accepted since the last cut.
    pub(super) uncut: Vec<Known>,
    producers: HashMap<IdKey, Producer, BuildHasherDefault<KeyHasher>>,
    /// Producers with numbers that were counted since the last cut.
    uncut_producers: Vec<IdKey>,
}

impl Shard {
    /// What is remembered of an id, forgotten or not.
    pub(super) fn find(&self, key: &IdKey) -> Option<Remembered> {
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.get(key));
        self.hot.get(key).or_else(frozen).copied()
    }

    /// Makes an id hot. Whether it was not before.
    pub(super) fn put(&mut self, known: &Known) -> bool {
        self.hot.insert(known.key, known.remembered).is_none()
    }

    /// A producer that is not forgotten.
    pub(super) fn window(&self, key: &IdKey, now: UnixMillis) -> Option<&Window> {
        self.producers.get(key).map(|it| &it.window).filter(|window| !window.is_forgotten(now))
    }

    /// Whether there is room for what a producer counts without another one: it is here, forgotten or not.
    pub(super) fn has_producer(&self, key: &IdKey) -> bool {
        self.producers.contains_key(key)
    }

    /// Drops producers that are forgotten; how many.
    pub(super) fn drop_idle(&mut self, now: UnixMillis) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, it| it.uncut != 0 || !it.window.is_forgotten(now));
        before - self.producers.len()
    }

    /// Remembers that a producer's number was counted. Whether the producer is new.
    pub(super) fn count(
        &mut self,
        key: IdKey,
        (sequence, body): (u64, BodyHash),
        outcome: u64,
        now: UnixMillis,
    ) -> bool {
        let mut is_new = false;
        let producer = self.producers.entry(key).or_insert_with(|| {
            is_new = true;
            Producer { window: Window::empty(sequence, now), uncut: 0 }
        });
        if producer.window.is_forgotten(now) {
            // What was cut of it is in the journal; what was not, cannot be so old.
            *producer = Producer { window: Window::empty(sequence, now), uncut: 0 };
        }
        let before = producer.window.highest();
        producer.window.count(sequence, body, outcome, now);
        if producer.uncut == 0 {
            self.uncut_producers.push(key);
        }
        // The window may have moved up.
        let by = u32::try_from(producer.window.highest() - before).unwrap_or(u32::MAX);
        producer.uncut = producer.uncut.checked_shl(by).unwrap_or(0);
        producer.uncut |= producer.window.bit(sequence).unwrap_or(0);
        is_new
    }

    /// Joins what the journal has of a producer. Whether the producer is new.
    pub(super) fn join(&mut self, key: IdKey, window: &Window) -> bool {
        let mut is_new = false;
        let producer = self.producers.entry(key).or_insert_with(|| {
            is_new = true;
            Producer { window: Window::empty(window.highest(), window.at()), uncut: 0 }
        });
        producer.window.join(window);
        is_new
    }

    /// Takes what was counted of producers since the last cut.
    pub(super) fn cut_producers(&mut self, out: &mut Vec<(IdKey, Window)>) {
        for key in self.uncut_producers.drain(..) {
            if let Some(producer) = self.producers.get_mut(&key) {
                out.push((key, producer.window.only(std::mem::take(&mut producer.uncut))));
            }
        }
    }

    /// What is remembered of producers, without what was counted since the last cut, and without those that are forgotten.
    pub(super) fn copy_producers(&self, now: UnixMillis, out: &mut Vec<(IdKey, Window)>) {
        let live = self.producers.iter().filter(|(_, it)| !it.window.is_forgotten(now));
        out.extend(live.map(|(key, it)| (*key, it.window.only(!it.uncut))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    #[test]
    fn a_copy_of_producers_has_nothing_that_was_not_cut() {
        let (key, now) = (IdKey([1; 16]), UnixMillis(5));
        let numbers = |all: &[(IdKey, Window)]| -> Vec<u64> {
            all.iter().flat_map(|(_, window)| window.iter().map(|(sequence, ..)| sequence)).collect()
        };
        let mut shard = Shard::default();
        let (mut cut, mut copy) = (Vec::new(), Vec::new());
        assert!(shard.count(key, (70, BodyHash(1)), 0, now));
        shard.cut_producers(&mut cut);
        assert!(!shard.count(key, (3, BodyHash(1)), 0, now), "too far below to be remembered");
        assert!(!shard.count(key, (72, BodyHash(1)), 0, now));
        shard.copy_producers(now, &mut copy);
        assert_eq!((numbers(&cut), numbers(&copy)), (vec![70], vec![70]));
        cut.clear();
        shard.cut_producers(&mut cut);
        assert_eq!(numbers(&cut), [72]);
        copy.clear();
        shard.copy_producers(now, &mut copy);
        assert_eq!(numbers(&copy), [72, 70]);
        cut.clear();
        shard.cut_producers(&mut cut);
        assert!(cut.is_empty());
    }

    #[test]
    fn keys_that_differ_at_their_ends_hash_differently() {
        let hash = |key: [u8; 16]| {
            let mut hasher = KeyHasher::default();
            IdKey(key).hash(&mut hasher);
            hasher.finish()
        };
        let mut other = [1; 16];
        other[15] = 2;
        assert_eq!(hash([1; 16]), 0x0101_0101_0101_0101);
        assert_ne!(hash([1; 16]), hash(other));
    }
}
