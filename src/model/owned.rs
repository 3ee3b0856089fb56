//! What belongs to whom: an index over the catalog's records, never written but made as records are put and deleted.

use super::id_map::{Radix, Stays};
use super::id_set::IdSet;

static NOTHING: IdSet = IdSet::new();

/// Ids of records of one kind, by the id of the record that owns them. An owner of nothing takes no room.
#[derive(Clone, Default, Debug)]
pub struct Owned(Radix<IdSet>);

impl Owned {
    /// What that record owns.
    #[must_use]
    pub fn of(&self, owner: u64) -> &IdSet {
        self.0.get(owner).unwrap_or(&NOTHING)
    }

    /// Notes that a record, which belonged to `before`, belongs to `after` from now on; `None` is nobody.
    pub(super) fn pass(&mut self, id: u64, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        if let Some(owner) = before {
            self.0.edit(owner, |set| {
                set.remove(id);
                if set.is_empty() { Stays::No } else { Stays::Yes }
            });
        }
        if let Some(owner) = after {
            self.0.edit(owner, |set| {
                set.insert(id);
                Stays::Yes
            });
        }
    }
}
