//! Records that belong to an owner and are listed by it: rules of a service, usages of a backend API.

use crate::plugin::records::{Record, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::Table;

/// A kind of record that is listed by its owner. Ids are one record's on the node, so owners of different kinds share the table.
pub(super) trait Owned: Record {
    /// Ids by owner, as keys.
    const BY_OWNER: Table;

    /// The ids of the records that own this one.
    fn owners(&self) -> Vec<u64>;

    /// Puts the record on the shelf, with what it is listed by. Owners of a record stay what they are.
    fn put(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for owner in self.owners() {
            records.put(Self::BY_OWNER, &pair_key(owner, id), Vec::new());
        }
        records.save(id, self)
    }

    /// Takes the record away.
    fn delete(&self, id: u64, records: &mut Records<'_>) {
        for owner in self.owners() {
            records.delete(Self::BY_OWNER, &pair_key(owner, id));
        }
        records.remove::<Self>(id);
    }

    /// The records of an owner, by ascending id.
    fn of(owner: u64, records: &Records<'_>) -> Result<Vec<(u64, Self)>, ShelfError> {
        let mut owned = Vec::new();
        for (key, _) in records.all_rows(Self::BY_OWNER, &id_key(owner))? {
            let id = id_of(&key).unwrap_or(0);
            owned.extend(records.find::<Self>(id)?.map(|record| (id, record)));
        }
        Ok(owned)
    }

    /// Takes away all records of an owner.
    fn delete_all_of(owner: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for (id, record) in Self::of(owner, records)? {
            record.delete(id, records);
        }
        Ok(())
    }
}
