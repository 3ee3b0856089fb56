//! The directory: from the texts by which the outside world names things to their ids.
//!
//! The texts are credentials and what strangers send, so they are never the key of a map themselves: the key is
//! a 128-bit SipHash-2-4 of kind, scope and text under a secret drawn at start. A stranger cannot make two texts
//! collide, and how long a lookup takes says nothing about how much of a credential was right.
//!
//! Keys of applications are many and come and go one by one: they lie in a sharded map. All others are few, change
//! seldom, and are read by every request: they lie in a map that is replaced whole, so that readers write nothing,
//! not even a lock word.
//!
//! An application's key leads to its place among the counters, where all that nearly every decision needs of the record
//! is noted too: with a hundred thousand applications a record is seldom in a cache, and neither is the catalog's path to
//! it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use siphasher::sip128::{Hash128, Hasher128, SipHasher24};
use smallvec::SmallVec;

use crate::counter::WARM_MAX;
use crate::model::catalog::{Catalog, Change, Key};
use crate::model::id::Subject;
use crate::model::record::Application;

/// What stands for a [`Key`] in the directory. Two halves, so that an entry is no larger than what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint([u64; 2]);

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Keys that lead somewhere else from now on; `None` is nowhere.
#[derive(Default)]
pub(super) struct Leads {
    applications: HashMap<Fingerprint, Option<Subject>, Spread>,
    others: HashMap<Fingerprint, Option<u64>, Spread>,
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
        unreachable!("a fingerprint is hashed as one u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Finds records by [`Key`], for any number of readers while a command changes it.
pub(super) struct Directory {
    seed: [u8; 16],
    applications: DashMap<Fingerprint, Subject, Spread>,
    others: ArcSwap<HashMap<Fingerprint, u64, Spread>>,
}

/// Shards of the map of applications: so many that one which grows keeps those who look for something waiting for a few
/// dozen microseconds only, with a million applications.
const SHARDS: usize = 1024;

impl Directory {
    /// With room for so many keys of applications.
    pub(super) fn new(seed: [u8; 16], keys: usize) -> Self {
        let applications =
            DashMap::with_capacity_and_hasher_and_shard_amount(keys, Spread::default(), SHARDS);
        Directory { seed, applications, others: ArcSwap::default() }
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
            Key::ExternalService(text) => (7, 0, text, ""),
        };
        // The length of the first text tells where the second begins: ("ab", "c") is not ("a", "bc").
        let mut head = [kind; 17];
        head[1..9].copy_from_slice(&u64::to_le_bytes(scope));
        head[9..].copy_from_slice(&u64::to_le_bytes(first.len() as u64));
        hasher.write(&head);
        hasher.write(first.as_bytes());
        hasher.write(second.as_bytes());
        let Hash128 { h1, h2 } = hasher.finish128();
        Fingerprint([h1, h2])
    }

    /// A number that is another after each start, and tells nothing of the secret.
    pub(super) fn number(&self) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        // No key is of this kind.
        hasher.write(&[0]);
        hasher.finish128().h1
    }

    /// Adds to `leads` where the keys of the record that `change` names lead, as the record is in `catalog`;
    /// or, unless it `stays`, that they lead nowhere.
    pub(super) fn leads_of(&self, leads: &mut Leads, catalog: &Catalog, change: &Change, stays: bool) {
        let subject = match change {
            Change::PutApplication(application) => Some(application.subject),
            _ => None,
        };
        catalog.keys_of(change, |key, id| {
            let fingerprint = self.fingerprint(key);
            if is_application(key) {
                leads.applications.insert(fingerprint, subject.filter(|_| stays));
            } else {
                leads.others.insert(fingerprint, stays.then_some(id));
            }
        });
    }

    /// Makes the keys of an application lead to it that lead nowhere yet: before anybody looks for it.
    pub(super) fn lead_to(&self, application: &Application) {
        application.keys(|key| {
            self.applications.insert(self.fingerprint(key), application.subject);
        });
    }

    /// Makes keys lead elsewhere.
    pub(super) fn put(&self, leads: Leads) {
        for (fingerprint, subject) in leads.applications {
            match subject {
                Some(subject) => self.applications.insert(fingerprint, subject),
                None => self.applications.remove(&fingerprint).map(|(_, subject)| subject),
            };
        }
        if leads.others.is_empty() {
            return;
        }
        let mut others = HashMap::clone(&self.others.load());
        for (fingerprint, id) in leads.others {
            match id {
                Some(id) => others.insert(fingerprint, id),
                None => others.remove(&fingerprint),
            };
        }
        self.others.store(others.into());
    }

    /// Where a key of an application leads.
    pub(super) fn application(&self, key: Key<'_>) -> Option<Subject> {
        self.applications.get(&self.fingerprint(key)).map(|subject| *subject)
    }

    /// Looks at all of `keys` before it waits for any of them to come from memory, and appends where they lead. A hint:
    /// a part of the map that is being written is left out.
    pub(super) fn warm(&self, keys: &[Key<'_>], indices: &mut SmallVec<[u32; WARM_MAX]>) {
        // Locks are barriers for the processor, so they come first.
        let locked: SmallVec<[_; WARM_MAX]> = keys
            .iter()
            .filter_map(|key| {
                let fingerprint = self.fingerprint(*key);
                let hash = self.applications.hash_usize(&fingerprint);
                let shard = &self.applications.shards()[self.applications.determine_shard(hash)];
                Some((fingerprint, hash as u64, shard.try_read()?))
            })
            .collect();
        for (fingerprint, hash, shard) in &locked {
            let found = shard.get(*hash, |(known, _)| known == fingerprint);
            indices.extend(found.map(|(_, subject)| subject.get().index));
        }
    }

    /// The id of the record that any other key leads to.
    pub(super) fn other(&self, key: Key<'_>) -> Option<u64> {
        self.others.load().get(&self.fingerprint(key)).copied()
    }
}

pub(super) fn is_application(key: Key<'_>) -> bool {
    matches!(key, Key::AppId { .. } | Key::UserKey { .. })
}
