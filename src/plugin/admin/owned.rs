//! Records that belong to an owner and are listed by it: rules of a service, usages of a backend API, users of an account.

use crate::plugin::records::{Record, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

/// A kind of record that is listed by its owner. Ids are one record's on the node, so owners of different kinds share the table.
pub(super) trait Owned: Record {
    /// Ids by owner, as keys.
    const BY_OWNER: Table;

    /// The ids of the records that own this one.
    fn owners(&self) -> Vec<u64>;

    /// What else it is found by: a table of ids, and its key there. Stays what it is.
    fn found_by(&self) -> Option<(Table, &str)> {
        None
    }

    /// Puts the record on the shelf, with what it is listed by. Owners of a record stay what they are; one that gets others is
    /// [deleted](Owned::delete) as it was before it is put.
    fn put(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for owner in self.owners() {
            records.put(Self::BY_OWNER, &pair_key(owner, id), Vec::new());
        }
        if let Some((table, key)) = self.found_by() {
            records.put(table, key.as_bytes(), id_key(id).to_vec());
        }
        records.save(id, self)
    }

    /// Takes the record away.
    fn delete(&self, id: u64, records: &mut Records<'_>) {
        for owner in self.owners() {
            records.delete(Self::BY_OWNER, &pair_key(owner, id));
        }
        if let Some((table, key)) = self.found_by() {
            records.delete(table, key.as_bytes());
        }
        records.remove::<Self>(id);
    }

    /// The records of an owner, by ascending id.
    fn of(owner: u64, records: &Records<'_>) -> Result<Vec<(u64, Self)>, ShelfError> {
        linked(Self::BY_OWNER, owner, records)
    }

    /// The record of a key that leads to it otherwise than by its id.
    fn by_key(table: Table, key: &str, records: &Records<'_>) -> Result<Option<(u64, Self)>, ShelfError> {
        let Some(id) = records.get(table, key.as_bytes())?.and_then(|id| id_of(&id)) else { return Ok(None) };
        Ok(records.find::<Self>(id)?.map(|record| (id, record)))
    }

    /// The ids of an owner's records, ascending.
    fn ids_of(owner: u64, records: &Records<'_>) -> Result<Vec<u64>, ShelfError> {
        let rows = records.all_rows(Self::BY_OWNER, &id_key(owner))?;
        Ok(rows.iter().filter_map(|(key, _)| id_of(key)).collect())
    }

    /// The ids of those of an owner's records that are so, ascending. One record is held at a time.
    fn ids_where(
        owner: u64,
        records: &Records<'_>,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<Vec<u64>, ShelfError> {
        let mut ids = Self::ids_of(owner, records)?;
        let mut failed = None;
        ids.retain(|id| match records.find::<Self>(*id) {
            Ok(found) => found.is_some_and(|record| is_so(&record)),
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(ids), Err)
    }

    /// How many records an owner has.
    fn count(owner: u64, records: &Records<'_>) -> Result<usize, ShelfError> {
        Ok(Self::ids_of(owner, records)?.len())
    }

    /// Whether an owner has any.
    fn any(owner: u64, records: &Records<'_>) -> Result<bool, ShelfError> {
        Ok(!records.rows(Self::BY_OWNER, &Scan::first(&id_key(owner), 1))?.is_empty())
    }

    /// Takes away all records of an owner.
    fn delete_all_of(owner: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for (id, record) in Self::of(owner, records)? {
            record.delete(id, records);
        }
        Ok(())
    }
}

/// The records whose ids stand after `first` in the keys of a table, by ascending id.
pub(super) fn linked<T: Record>(
    table: Table,
    first: u64,
    records: &Records<'_>,
) -> Result<Vec<(u64, T)>, ShelfError> {
    let mut found = Vec::new();
    for (key, _) in records.all_rows(table, &id_key(first))? {
        let id = id_of(&key).unwrap_or(0);
        found.extend(records.find::<T>(id)?.map(|record| (id, record)));
    }
    Ok(found)
}
