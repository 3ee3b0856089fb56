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
//! An application's key leads to more than its id: to all that nearly every decision needs of the record
//! ([`Lead`]). With a hundred thousand applications a record is seldom in a cache, and neither is the catalog's
//! path to it; what lies beside the key comes with it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::counter::Facts;
use crate::model::catalog::{Catalog, Change, Key, KeyIndex};
use crate::model::id::Subject;
use crate::model::record::Application;

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

/// Where an application's key leads: what a decision reads of its record. Every change of the record puts all its
/// keys again, so this is never older than the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) facts: Facts,
    pub(super) subject: Subject,
    /// The catalog version that brought the record as it is here. A decision whose catalog is older has met a
    /// command half-way.
    pub(super) since: u64,
}

impl Lead {
    fn to(application: &Application, since: u64) -> Lead {
        Lead { facts: Facts::of(application), subject: application.subject, since }
    }
}

/// Keys that lead somewhere else from now on; `None` is nowhere.
#[derive(Default)]
pub(super) struct Leads {
    applications: HashMap<u128, Option<Lead>, Spread>,
    others: HashMap<u128, Option<u64>, Spread>,
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
    applications: DashMap<u128, Lead, Spread>,
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
            Key::ExternalService(text) => (7, 0, text, ""),
        };
        // The length of the first text tells where the second begins: ("ab", "c") is not ("a", "bc").
        hasher.write(&[kind]);
        hasher.write(&u64::to_le_bytes(scope));
        hasher.write(&u64::to_le_bytes(first.len() as u64));
        hasher.write(first.as_bytes());
        hasher.write(second.as_bytes());
        Fingerprint { bits: hasher.finish128().as_u128(), is_application }
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
        let application = match change {
            Change::PutApplication(application) => Some(Lead::to(application, catalog.version)),
            _ => None,
        };
        catalog.keys_of(change, |key, id| {
            let Fingerprint { bits, is_application } = self.fingerprint(key);
            if is_application {
                leads.applications.insert(bits, application.filter(|_| stays));
            } else {
                leads.others.insert(bits, stays.then_some(id));
            }
        });
    }

    /// Makes keys lead elsewhere.
    pub(super) fn put(&self, leads: Leads) {
        for (bits, lead) in leads.applications {
            match lead {
                Some(lead) => self.applications.insert(bits, lead),
                None => self.applications.remove(&bits).map(|(_, lead)| lead),
            };
        }
        if leads.others.is_empty() {
            return;
        }
        let mut others = HashMap::clone(&self.others.load());
        for (bits, id) in leads.others {
            match id {
                Some(id) => others.insert(bits, id),
                None => others.remove(&bits),
            };
        }
        self.others.store(others.into());
    }

    /// Where a key of an application leads.
    pub(super) fn application(&self, key: Key<'_>) -> Option<Lead> {
        self.applications.get(&self.fingerprint(key).bits).map(|lead| *lead)
    }
}

impl KeyIndex for Directory {
    fn find(&self, key: Key<'_>) -> Option<u64> {
        let Fingerprint { bits, is_application } = self.fingerprint(key);
        if is_application {
            return self.applications.get(&bits).map(|lead| lead.facts.application.0);
        }
        self.others.load().get(&bits).copied()
    }
}
