//! Ids by place: which record of the tenant a record of the document is.

use std::collections::HashMap;

use crate::document::diff::At;

/// A record's place: what it is and what it is called, below its owner's place.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Place(String);

impl Place {
    /// The place of what belongs to this one. Names have no control characters.
    pub(super) fn below(&self, kind: &str, name: &str) -> Place {
        Place(format!("{}\u{1d}{kind}\u{1e}{name}", self.0))
    }

    /// Of a record of a change.
    pub(super) fn of(at: &[At]) -> Place {
        at.iter().fold(Place::default(), |place, at| place.below(&at.kind, &at.key))
    }
}

/// Ids by place.
#[derive(Default, Debug)]
pub(super) struct Places(HashMap<Place, u64>);

impl Places {
    pub(super) fn put(&mut self, place: Place, id: u64) {
        self.0.insert(place, id);
    }

    pub(super) fn get(&self, place: &Place) -> Option<u64> {
        self.0.get(place).copied()
    }

    pub(super) fn remove(&mut self, place: &Place) {
        self.0.remove(place);
    }

    /// A metric or method of an owner.
    pub(super) fn metric(&self, owner: &Place, name: &str) -> Option<u64> {
        let own = self.get(&owner.below("metric", name));
        own.or_else(|| self.get(&owner.below("metric", super::super::metrics::HITS).below("method", name)))
    }
}
