//! What a plugin keeps beside the catalog, as one moment has it, and what a command puts over that.

use std::ops::Bound;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::journal::rows::Rows;
use crate::store::shelf::{Reading, Row, Scan, Shelf, ShelfError, Table};

/// A kind of record: a table of its own, by id, as JSON. Fields that a record does not have take their defaults, and
/// fields that this version does not know are passed over, so that kinds can grow.
pub trait Record: Serialize + DeserializeOwned {
    /// Where records of this kind lie.
    const TABLE: Table;
}

/// The records of a shelf. A command's puts and deletes lie over what the shelf has, and are seen through it.
pub struct Records<'s> {
    shelf: &'s Shelf,
    /// Nothing, while what the shelf has is not what it should have.
    reading: Option<Reading<'s>>,
    rows: Rows,
}

/// A row that a command puts or deletes.
#[derive(Debug)]
pub struct Changed<'r> {
    /// The name of its table.
    pub table: &'r str,
    /// Its key.
    pub key: &'r [u8],
    /// What the shelf has.
    pub before: Option<Vec<u8>>,
    /// What it will have; nothing, if the row is deleted.
    pub after: Option<&'r [u8]>,
}

/// The key of a record: ids in the order of their numbers.
#[must_use]
pub fn id_key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The id that a key ends with.
#[must_use]
pub fn id_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().copied().map(u64::from_be_bytes)
}

/// A key of two ids: the first owns the second.
#[must_use]
pub fn pair_key(owner: u64, id: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&owner.to_be_bytes());
    key[8..].copy_from_slice(&id.to_be_bytes());
    key
}

impl<'s> Records<'s> {
    /// What `reading` has, with `rows` over it.
    #[must_use]
    pub fn over(reading: Reading<'s>, rows: Rows) -> Records<'s> {
        Records { shelf: reading.shelf(), reading: Some(reading), rows }
    }

    /// Only `rows`, over what cannot be read at present: whatever asks for more is an error, and nobody takes what was there once for
    /// what is there. Rows can be put and deleted.
    #[must_use]
    pub fn unread(shelf: &'s Shelf, rows: Rows) -> Records<'s> {
        Records { shelf, reading: None, rows }
    }

    fn reading(&self) -> Result<&Reading<'s>, ShelfError> {
        self.reading.as_ref().ok_or_else(|| self.shelf.outdated())
    }

    /// What was put and deleted so far, with what the shelf has in its place.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn changed(&self) -> Result<Vec<Changed<'_>>, ShelfError> {
        let reading = self.reading()?;
        let changed = |(table, key, after)| {
            let before = reading.get_in(table, key)?;
            Ok(Changed { table, key, before, after })
        };
        self.rows.iter().map(changed).collect()
    }

    /// Looks at the records as they were before anything was put or deleted.
    pub fn before<R>(&mut self, look: impl FnOnce(&Records<'_>) -> R) -> R {
        let rows = std::mem::take(&mut self.rows);
        let seen = look(self);
        self.rows = rows;
        seen
    }

    /// What was put and deleted.
    #[must_use]
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        match self.rows.get(table.0, key) {
            Some(said) => Ok(said.map(<[u8]>::to_vec)),
            None => self.reading()?.get(table, key),
        }
    }

    /// The rows that `scan` asks for; see [`Reading::rows`].
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn rows(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>, ShelfError> {
        let Some(over) = self.rows.table(table.0) else { return self.reading()?.rows(table, scan) };
        let from = (Bound::Included(scan.prefix.to_vec()), Bound::Unbounded);
        let over: Vec<_> =
            over.range::<Vec<u8>, _>(from).take_while(|(key, _)| key.starts_with(scan.prefix)).collect();
        if over.is_empty() {
            return self.reading()?.rows(table, scan);
        }
        // A command touches few rows, and reads short lists.
        let all = Scan { skip: 0, rows_max: usize::MAX, backwards: false, ..*scan };
        let mut rows: std::collections::BTreeMap<_, _> =
            self.reading()?.rows(table, &all)?.into_iter().collect();
        for (key, value) in over {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        let in_order: Box<dyn Iterator<Item = Row>> =
            if scan.backwards { Box::new(rows.into_iter().rev()) } else { Box::new(rows.into_iter()) };
        Ok(in_order.skip(scan.skip).take(scan.rows_max).collect())
    }

    /// All rows whose keys begin with `prefix`.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn all_rows(&self, table: Table, prefix: &[u8]) -> Result<Vec<Row>, ShelfError> {
        self.rows(table, &Scan::first(prefix, usize::MAX))
    }

    /// The ids that the keys end with which begin with `prefix` and are not less than `from`, in the order of the keys.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn ids(&self, table: Table, prefix: &[u8], from: &[u8]) -> Result<Vec<u64>, ShelfError> {
        let mut ids = Vec::new();
        if self.rows.table(table.0).is_some() {
            let keys = self.all_rows(table, prefix)?.into_iter().map(|(key, _)| key);
            ids.extend(keys.filter(|key| key.as_slice() >= from).filter_map(|key| id_of(&key)));
        } else {
            self.reading()?.each_key(table, prefix, from, |key| ids.extend(id_of(key)))?;
        }
        Ok(ids)
    }

    /// Puts a value under a key.
    pub fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.rows.set(table.0, key, Some(value));
    }

    /// Deletes a key.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.rows.set(table.0, key, None);
    }

    /// The record of an id.
    ///
    /// # Errors
    /// The shelf cannot be read, or what lies there is no such record.
    pub fn find<T: Record>(&self, id: u64) -> Result<Option<T>, ShelfError> {
        self.get(T::TABLE, &id_key(id))?.map(|bytes| self.parse(&bytes)).transpose()
    }

    /// All records of a kind, by ascending id.
    ///
    /// # Errors
    /// As [`Records::find`].
    pub fn all<T: Record>(&self) -> Result<Vec<(u64, T)>, ShelfError> {
        let rows = self.all_rows(T::TABLE, &[])?;
        let record = |(key, bytes): (Vec<u8>, Vec<u8>)| Ok((id_of(&key).unwrap_or(0), self.parse(&bytes)?));
        rows.into_iter().map(record).collect()
    }

    /// Records of a kind that lie under other keys than their id, by these keys.
    ///
    /// # Errors
    /// As [`Records::find`].
    pub fn scan<T: Record>(&self, scan: &Scan<'_>) -> Result<Vec<(Vec<u8>, T)>, ShelfError> {
        let record = |(key, bytes): (Vec<u8>, Vec<u8>)| Ok((key, self.parse(&bytes)?));
        self.rows(T::TABLE, scan)?.into_iter().map(record).collect()
    }

    /// As [`Records::scan`], of records that lie in a table of their own beside others of their kind.
    ///
    /// # Errors
    /// As [`Records::find`].
    pub fn scan_in<T: DeserializeOwned>(
        &self,
        table: Table,
        scan: &Scan<'_>,
    ) -> Result<Vec<(Vec<u8>, T)>, ShelfError> {
        let record = |(key, bytes): (Vec<u8>, Vec<u8>)| {
            let read = serde_json::from_slice(&bytes);
            Ok((key, read.map_err(|error| self.shelf.damaged(table, &error))?))
        };
        self.rows(table, scan)?.into_iter().map(record).collect()
    }

    /// Puts a record into a table of its own beside others of its kind.
    ///
    /// # Errors
    /// It cannot be written as JSON: a defect.
    pub fn save_in(&mut self, table: Table, key: &[u8], record: &impl Serialize) -> Result<(), ShelfError> {
        let bytes = serde_json::to_vec(record);
        let bytes = bytes.map_err(|error| self.shelf.damaged(table, &error))?;
        self.put(table, key, bytes);
        Ok(())
    }

    /// Puts a record under a key of its own.
    ///
    /// # Errors
    /// It cannot be written as JSON: a defect.
    pub fn save_at<T: Record>(&mut self, key: &[u8], record: &T) -> Result<(), ShelfError> {
        let bytes = serde_json::to_vec(record);
        let bytes = bytes.map_err(|error| self.shelf.damaged(T::TABLE, &error))?;
        self.put(T::TABLE, key, bytes);
        Ok(())
    }

    /// Puts a record.
    ///
    /// # Errors
    /// It cannot be written as JSON: a defect.
    pub fn save<T: Record>(&mut self, id: u64, record: &T) -> Result<(), ShelfError> {
        self.save_at(&id_key(id), record)
    }

    /// Deletes a record.
    pub fn remove<T: Record>(&mut self, id: u64) {
        self.delete(T::TABLE, &id_key(id));
    }

    fn parse<T: Record>(&self, bytes: &[u8]) -> Result<T, ShelfError> {
        serde_json::from_slice(bytes).map_err(|error| self.shelf.damaged(T::TABLE, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::Shelf;

    const ROWS: Table = Table("rows");

    #[test]
    fn ids_are_read_from_a_key_on_with_what_a_command_changed() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        let keys = [pair_key(1, 5), pair_key(2, 3), pair_key(2, 4), pair_key(2, 9), pair_key(3, 1)];
        shelf.write(|writing| keys.iter().try_for_each(|key| writing.put(ROWS, key, &[]))).unwrap();
        let mut records = Records::over(shelf.reading().unwrap(), Rows::default());
        let ids = |records: &Records<'_>, from: &[u8]| records.ids(ROWS, &id_key(2), from).unwrap();
        let all = |records: &Records<'_>| {
            let froms = [id_key(2).to_vec(), pair_key(2, 4).into(), pair_key(2, 10).into(), id_key(7).into()];
            froms.map(|from| ids(records, &from))
        };
        assert_eq!(all(&records), [vec![3, 4, 9], vec![4, 9], vec![], vec![]]);
        assert_eq!(ids(&records, &[]), [3, 4, 9], "what comes before the prefix is not asked for");
        records.put(ROWS, &pair_key(2, 8), Vec::new());
        records.delete(ROWS, &pair_key(2, 9));
        assert_eq!(all(&records), [vec![3, 4, 8], vec![4, 8], vec![], vec![]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Looking through a command's rows is looking at the shelf as it will be.
        #[test]
        fn what_is_seen_through_rows_is_what_the_shelf_will_have(
            below in proptest::collection::btree_map(proptest::collection::vec(0u8..3, 1..4), 0u8.., 0..12),
            over in proptest::collection::vec((proptest::collection::vec(0u8..3, 1..4), proptest::option::of(0u8..)), 0..12),
            prefix in proptest::collection::vec(0u8..3, 0..3),
            skip in 0usize..4, rows_max in 0usize..6, backwards: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
            shelf.write(|writing| below.iter().try_for_each(|(key, value)| writing.put(ROWS, key, &[*value]))).unwrap();
            let mut records = Records::over(shelf.reading().unwrap(), Rows::default());
            let mut model: BTreeMap<_, _> = below.into_iter().map(|(key, value)| (key, vec![value])).collect();
            for (key, value) in over {
                match value {
                    Some(value) => { records.put(ROWS, &key, vec![value]); model.insert(key, vec![value]); }
                    None => { records.delete(ROWS, &key); model.remove(&key); }
                }
            }
            let scan = Scan { prefix: &prefix, skip, rows_max, backwards };
            let mut expected: Vec<_> = model.clone().into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
            if backwards { expected.reverse(); }
            let expected: Vec<_> = expected.into_iter().skip(skip).take(rows_max).collect();
            prop_assert_eq!(records.rows(ROWS, &scan).unwrap(), expected.clone());
            for (key, value) in &model { prop_assert_eq!(records.get(ROWS, key).unwrap(), Some(value.clone())); }
            let rows = records.into_rows();
            shelf.write(|writing| rows.iter().try_for_each(|(table, key, value)| writing.set_row(table, key, value))).unwrap();
            prop_assert_eq!(shelf.read(|reading| reading.rows(ROWS, &scan)).unwrap(), expected);
        }
    }
}
