//! What a shelf has at one moment.

use std::cell::RefCell;
use std::collections::HashMap;

use redb::{ReadOnlyTable, TableError};

use super::{Row, Scan, Shelf, ShelfError, Table, definition_of, range};

/// A table of bytes by bytes.
type ReadOnly = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// What is read at one moment.
pub struct Reading<'s> {
    shelf: &'s Shelf,
    transaction: redb::ReadTransaction,
    /// Tables that were read before, by name; none of one that there is not. Opening one takes longer than finding a row in it.
    opened: RefCell<HashMap<String, Option<ReadOnly>>>,
}

impl<'s> Reading<'s> {
    pub(super) fn new(shelf: &'s Shelf, transaction: redb::ReadTransaction) -> Reading<'s> {
        Reading { shelf, transaction, opened: RefCell::default() }
    }

    /// The shelf that is read.
    #[must_use]
    pub fn shelf(&self) -> &'s Shelf {
        self.shelf
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.get_in(table.0, key)
    }

    /// As [`Reading::get`], in the table of that name.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn get_in(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        let found = self.read(table, |table| Ok(table.get(key)?.map(|value| value.value().to_vec())))?;
        Ok(found.flatten())
    }

    /// The rows that `scan` asks for, by ascending key; or, from the end of the prefix, by descending key.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn rows(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>, ShelfError> {
        Ok(self.read(table.0, |table| scan.rows(table))?.unwrap_or_default())
    }

    /// The names of all tables that plugins have made.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Result<Vec<String>, ShelfError> {
        use redb::TableHandle as _;
        let all = self.transaction.list_tables().map_err(|error| self.shelf.failed(error))?;
        Ok(all.map(|table| table.name().to_owned()).filter(|name| !name.starts_with('.')).collect())
    }

    /// All keys of the table of that name.
    #[cfg(test)]
    pub(crate) fn keys(&self, table: &str) -> Result<Vec<Vec<u8>>, ShelfError> {
        let rows = self.read(table, |table| Scan::first(&[], usize::MAX).rows(table))?.unwrap_or_default();
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }

    /// Shows `visit` the keys that begin with `prefix` and are not less than `from`, by ascending key.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn each_key(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), ShelfError> {
        self.read(table.0, |table| {
            for row in range(table, from.max(prefix), prefix)? {
                visit(row?.0.value());
            }
            Ok(())
        })?;
        Ok(())
    }

    /// As [`Reading::each_key`], with the values.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn each_row(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShelfError> {
        self.read(table.0, |table| {
            for row in range(table, from.max(prefix), prefix)? {
                let (key, value) = row?;
                visit(key.value(), value.value());
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The first key of a table that is not less than `from`.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn first_key(&self, table: Table, from: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        let first = self.read(table.0, |table| {
            let first = table.range::<&[u8]>(from..)?.next().transpose()?;
            Ok(first.map(|(key, _)| key.value().to_vec()))
        })?;
        Ok(first.flatten())
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn len(&self, table: Table) -> Result<u64, ShelfError> {
        Ok(self.read(table.0, redb::ReadableTableMetadata::len)?.unwrap_or(0))
    }

    /// Reads from the table of that name, if there is one.
    fn read<R>(
        &self,
        name: &str,
        read: impl FnOnce(&ReadOnly) -> Result<R, redb::StorageError>,
    ) -> Result<Option<R>, ShelfError> {
        let mut opened = self.opened.borrow_mut();
        if !opened.contains_key(name) {
            let table = match self.transaction.open_table(definition_of(name)) {
                Ok(table) => Some(table),
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(self.shelf.failed(error)),
            };
            opened.insert(name.to_owned(), table);
        }
        let table = opened.get(name).and_then(Option::as_ref);
        table.map(read).transpose().map_err(|error| self.shelf.failed(error))
    }
}
