//! The directory: from the texts by which the outside world names things to their ids.
//!
//! The texts are credentials and what strangers send, so they are never the key of a map themselves: the key is
//! a 128-bit SipHash-2-4 of kind, scope and text under a secret drawn at start. A stranger cannot make two texts
//! collide, and how long a lookup takes says nothing about how much of a credential was right.

use std::hash::{BuildHasherDefault, Hasher};

use dashmap::DashMap;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::model::catalog::{Key, KeyIndex};

/// What stands for a [`Key`] in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fingerprint(u128);

/// Fingerprints are uniform already; hashing them again would only cost.
#[derive(Default)]
pub(super) struct Truncate(u64);

impl Hasher for Truncate {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint is hashed as one u128");
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = (value & u128::from(u64::MAX)) as u64;
    }
}

/// Finds records by [`Key`], for any number of readers while a command changes it.
pub(super) struct Directory {
    seed: [u8; 16],
    ids: DashMap<Fingerprint, u64, BuildHasherDefault<Truncate>>,
}

impl Directory {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        Directory { seed, ids: DashMap::default() }
    }

    pub(super) fn fingerprint(&self, key: Key<'_>) -> Fingerprint {
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        let (kind, scope, first, second) = match key {
            Key::ProviderKey(text) => (1, 0, text, ""),
            Key::Service { tenant, text } => (2, tenant.0, text, ""),
            Key::ServiceToken { token, service } => (3, 0, token, service),
            Key::Plan { service, text } => (4, service.0, text, ""),
            Key::AppId { service, text } => (5, service.0, text, ""),
            Key::UserKey { service, text } => (6, service.0, text, ""),
        };
        // The length of the first text tells where the second begins: ("ab", "c") is not ("a", "bc").
        hasher.write(&[kind]);
        hasher.write(&u64::to_le_bytes(scope));
        hasher.write(&u64::to_le_bytes(first.len() as u64));
        hasher.write(first.as_bytes());
        hasher.write(second.as_bytes());
        Fingerprint(hasher.finish128().as_u128())
    }

    /// Makes a key lead to an id, or nowhere.
    pub(super) fn put(&self, fingerprint: Fingerprint, id: Option<u64>) {
        match id {
            Some(id) => drop(self.ids.insert(fingerprint, id)),
            None => drop(self.ids.remove(&fingerprint)),
        }
    }
}

impl KeyIndex for Directory {
    fn find(&self, key: Key<'_>) -> Option<u64> {
        self.ids.get(&self.fingerprint(key)).map(|id| *id)
    }
}
