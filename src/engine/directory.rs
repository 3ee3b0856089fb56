//! The directory: from the texts by which the outside world names things to their ids.
//!
//! The texts are credentials and what strangers send, so they are never the key of a map themselves: the key is
//! a 128-bit SipHash-2-4 of kind, scope and text under a secret drawn at start. A stranger cannot make two texts
//! collide, and how long a lookup takes says nothing about how much of a credential was right.
//!
//! Keys of applications are many and come and go one by one: they lie in a sharded map. All others are few, change
//! seldom, and are read by every request: they lie in a map that is replaced whole, so that readers write nothing,
//! not even a lock word.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::model::catalog::{Key, KeyIndex};

/// What stands for a [`Key`] in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint {
    bits: u128,
    /// Whether it is an application's.
    is_application: bool,
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.bits);
    }
}

/// Maps keyed by fingerprints.
pub(super) type Spread = BuildHasherDefault<Truncate>;

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
    applications: DashMap<u128, u64, Spread>,
    others: ArcSwap<HashMap<u128, u64, Spread>>,
}

impl Directory {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        Directory { seed, applications: DashMap::default(), others: ArcSwap::default() }
    }

    pub(super) fn fingerprint(&self, key: Key<'_>) -> Fingerprint {
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        let is_application = matches!(key, Key::AppId { .. } | Key::UserKey { .. });
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
        Fingerprint { bits: hasher.finish128().as_u128(), is_application }
    }

    /// Makes keys lead to ids, or nowhere.
    pub(super) fn put(&self, keys: impl IntoIterator<Item = (Fingerprint, Option<u64>)>) {
        let mut others = None;
        for (Fingerprint { bits, is_application }, id) in keys {
            if is_application {
                match id {
                    Some(id) => self.applications.insert(bits, id),
                    None => self.applications.remove(&bits).map(|(_, id)| id),
                };
                continue;
            }
            let others = others.get_or_insert_with(|| HashMap::clone(&self.others.load()));
            match id {
                Some(id) => others.insert(bits, id),
                None => others.remove(&bits),
            };
        }
        if let Some(others) = others {
            self.others.store(others.into());
        }
    }
}

impl KeyIndex for Directory {
    fn find(&self, key: Key<'_>) -> Option<u64> {
        let Fingerprint { bits, is_application } = self.fingerprint(key);
        if is_application {
            return self.applications.get(&bits).map(|id| *id);
        }
        self.others.load().get(&bits).copied()
    }
}
