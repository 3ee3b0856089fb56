//! One shard of the ids in memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::model::idempotency::{IdKey, Known, Remembered};

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

/// Ids in memory that begin alike.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) hot: Map,
    /// On its way to disk.
    pub(super) frozen: Option<Arc<Map>>,
    /// Accepted since the last cut.
    pub(super) uncut: Vec<Known>,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

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
