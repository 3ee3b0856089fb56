//! Shelves: small transactional tables for what plugins derive from the journal, one file per plugin.
//!
//! A shelf keeps bytes by bytes, in the order of the keys, in named tables. A [`Shelf::write`] happens whole or not at
//! all, and takes with it the journal position that it was derived from: after a crash the plugin reads on from there,
//! and each entry takes effect once. Under it lies redb, which checksums what it writes and syncs before it answers.

mod opening;
mod reading;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use redb::{Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use redb::{TableError, WriteTransaction};

pub(super) use self::opening::create_file;
use self::opening::{Opened, Place};
pub use self::reading::Reading;
use crate::journal::Sequence;

/// A table of a shelf. Names beginning with `.` are the shelf's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table(pub &'static str);

/// Where the position lies, under the empty key.
const POSITION: Table = Table(".position");

/// A shelf cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("shelf {path}: {source}")]
pub struct ShelfError {
    path: PathBuf,
    // redb's errors are large, and results of this type are handed around a lot.
    source: Box<redb::Error>,
}

/// An open shelf.
#[derive(Debug)]
pub struct Shelf {
    opened: Opened,
}

/// What is written together.
pub struct Writing<'s> {
    shelf: &'s Shelf,
    transaction: WriteTransaction,
}

/// One table, while it is written: for many rows, as opening it takes longer than finding one.
pub struct Rows<'w> {
    shelf: &'w Shelf,
    table: redb::Table<'w, &'static [u8], &'static [u8]>,
}

/// A value in a table.
type Guard<'a> = redb::AccessGuard<'a, &'static [u8]>;

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    definition_of(table.0)
}

/// The table of that name in any shelf.
pub(super) fn definition_of(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// Up to where the content is derived, as one moment has it.
pub(super) fn position_in(transaction: &redb::ReadTransaction) -> Result<Sequence, redb::Error> {
    let table = match transaction.open_table(definition(POSITION)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Sequence(0)),
        Err(error) => return Err(error.into()),
    };
    let stored = table.get(&[][..])?;
    Ok(Sequence(stored.and_then(|bytes| bytes.value().try_into().ok()).map_or(0, u64::from_le_bytes)))
}

impl ShelfError {
    /// Whether it is the disk that failed, and not what was read: it may go well when it is tried again.
    #[must_use]
    pub fn is_of_disk(&self) -> bool {
        opening::is_of_file(&self.source)
    }

    pub(super) fn new(path: &Path, source: redb::Error) -> ShelfError {
        ShelfError { path: path.to_owned(), source: Box::new(source) }
    }
}

impl Shelf {
    /// Opens the shelf at `path`, a file that is made if it is missing, for its owner's eyes only.
    ///
    /// # Errors
    /// The file cannot be opened, is no shelf, is damaged, or is in use.
    pub fn open(path: &Path) -> Result<Shelf, ShelfError> {
        Shelf::at(Place::File(path.to_owned()))
    }

    /// The shelf of that name on a disk in memory.
    #[cfg(test)]
    pub(crate) fn open_on(
        disk: crate::journal::disk_memory::MemoryDisk,
        name: &str,
    ) -> Result<Shelf, ShelfError> {
        Shelf::at(Place::Memory(disk, name.to_owned()))
    }

    fn at(place: Place) -> Result<Shelf, ShelfError> {
        let path = place.path().to_owned();
        let opened = Opened::new(place).map_err(|source| ShelfError::new(&path, source))?;
        Ok(Shelf { opened })
    }

    /// Puts a new file in place of its own, if that failed and only then: what was written for now, and is not on disk, is
    /// gone. A shelf to which nothing was written for now does that by itself.
    ///
    /// # Errors
    /// As [`Shelf::open`]; it may be tried again.
    pub fn reopen(&self) -> Result<(), ShelfError> {
        self.opened.reopen().map_err(|error| self.failed(error))
    }

    /// Up to where in the journal the shelf's content was derived; 0 for a new shelf.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn position(&self) -> Result<Sequence, ShelfError> {
        let stored = self.read(|reading| reading.get(POSITION, &[]))?;
        Ok(Sequence(stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)))
    }

    /// Reads what `read` asks for, all as it was at one moment.
    ///
    /// # Errors
    /// The shelf cannot be read, or what `read` says.
    pub fn read<R>(&self, read: impl FnOnce(&Reading<'_>) -> Result<R, ShelfError>) -> Result<R, ShelfError> {
        read(&self.reading()?)
    }

    /// Writes what `write` puts and deletes: all of it is on disk when this returns.
    ///
    /// # Errors
    /// What `write` says; nothing was changed. Or the shelf cannot be written: then it has all of it or nothing, and whoever must know which
    /// looks.
    pub fn write<R>(
        &self,
        write: impl FnOnce(&mut Writing<'_>) -> Result<R, ShelfError>,
    ) -> Result<R, ShelfError> {
        let mut writing = self.writing()?;
        let result = write(&mut writing)?;
        let settled = self.opened.is_settled_by(|| writing.transaction.commit());
        settled.map_err(|error| self.failed(error))?;
        Ok(result)
    }

    /// As [`Shelf::write`], but not on disk yet: a crash takes it back, together with all that was written so since the last
    /// [`Shelf::write`]. Closing the shelf puts it on disk.
    ///
    /// # Errors
    /// As there.
    pub fn write_for_now<R>(
        &self,
        write: impl FnOnce(&mut Writing<'_>) -> Result<R, ShelfError>,
    ) -> Result<R, ShelfError> {
        let mut writing = self.writing()?;
        writing.transaction.set_durability(Durability::None).map_err(|error| self.failed(error))?;
        let result = write(&mut writing)?;
        self.opened.is_unsettled();
        writing.transaction.commit().map_err(|error| self.failed(error))?;
        Ok(result)
    }

    pub(super) fn transaction(&self) -> Result<redb::ReadTransaction, redb::Error> {
        self.opened.begin(|database| Ok(database.begin_read()?))
    }

    fn writing(&self) -> Result<Writing<'_>, ShelfError> {
        let begun = self.opened.begin(|database| Ok(database.begin_write()?));
        Ok(Writing { shelf: self, transaction: begun.map_err(|error| self.failed(error))? })
    }

    /// What the shelf holds at this moment, for as long as it is looked at.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn reading(&self) -> Result<Reading<'_>, ShelfError> {
        Ok(Reading::new(self, self.transaction().map_err(|error| self.failed(error))?))
    }

    /// Says of a row that it is not what was written there.
    #[must_use]
    pub fn damaged(&self, table: Table, why: &dyn std::fmt::Display) -> ShelfError {
        self.failed(redb::Error::Corrupted(format!("a row of table {}: {why}", table.0)))
    }

    /// Says that what it has is not to be read for now: something failed before, and it lacks what was written since.
    #[must_use]
    pub fn outdated(&self) -> ShelfError {
        ShelfError::new(self.opened.path(), redb::Error::PreviousIo)
    }

    fn failed(&self, error: impl Into<redb::Error>) -> ShelfError {
        let error = error.into();
        self.opened.is_told_of(&error);
        ShelfError::new(self.opened.path(), error)
    }
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

impl Writing<'_> {
    /// The value of a key, with what was written in this transaction.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        let table = self.table(table)?;
        let found = table.get(key).map_err(|error| self.shelf.failed(error))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// As [`Reading::rows`], with what was written in this transaction.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn rows(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>, ShelfError> {
        scan.rows(&self.table(table)?).map_err(|error| self.shelf.failed(error))
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn len(&self, table: Table) -> Result<u64, ShelfError> {
        self.table(table)?.len().map_err(|error| self.shelf.failed(error))
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.table(table)?.insert(key, value).map_err(|error| self.shelf.failed(error))?;
        Ok(())
    }

    /// Deletes a key; whether it was there.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, ShelfError> {
        let removed = self.table(table)?.remove(key).map_err(|error| self.shelf.failed(error))?.is_some();
        Ok(removed)
    }

    /// Puts or deletes the row of a table that is named by what was written down, not by this program.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn set_row(&mut self, table: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), ShelfError> {
        let failed = |error: redb::Error| self.shelf.failed(error);
        let mut table =
            self.transaction.open_table(definition_of(table)).map_err(|error| failed(error.into()))?;
        match value {
            Some(value) => table.insert(key, value).map(drop),
            None => table.remove(key).map(drop),
        }
        .map_err(|error| failed(error.into()))
    }

    /// Notes up to where in the journal the shelf's content is derived from now on.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn set_position(&mut self, position: Sequence) -> Result<(), ShelfError> {
        self.put(POSITION, &[], &position.0.to_le_bytes())
    }

    /// Opens a table for many rows. No other of its name can be while it is.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn open(&mut self, table: Table) -> Result<Rows<'_>, ShelfError> {
        Ok(Rows { shelf: self.shelf, table: self.table(table)? })
    }

    fn table(&self, table: Table) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>, ShelfError> {
        self.transaction.open_table(definition(table)).map_err(|error| self.shelf.failed(error))
    }
}

impl Rows<'_> {
    /// As [`Writing::get`].
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        let found = self.table.get(key).map_err(|error| self.shelf.failed(error))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// As [`Writing::put`].
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.table.insert(key, value).map_err(|error| self.shelf.failed(error))?;
        Ok(())
    }

    /// As [`Writing::delete`].
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, ShelfError> {
        let removed = self.table.remove(key).map_err(|error| self.shelf.failed(error))?.is_some();
        Ok(removed)
    }

    /// As [`Shelf::damaged`].
    #[must_use]
    pub fn damaged(&self, table: Table, why: &dyn std::fmt::Display) -> ShelfError {
        self.shelf.damaged(table, why)
    }
}

/// Which rows to read.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// What the keys begin with.
    pub prefix: &'a [u8],
    /// How many rows of those to pass over.
    pub skip: usize,
    /// How many rows to return at most.
    pub rows_max: usize,
    /// From the last to the first.
    pub backwards: bool,
}

impl<'a> Scan<'a> {
    /// The first `rows_max` rows whose keys begin with `prefix`.
    #[must_use]
    pub fn first(prefix: &'a [u8], rows_max: usize) -> Scan<'a> {
        Scan { prefix, skip: 0, rows_max, backwards: false }
    }

    fn rows(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Vec<Row>, redb::StorageError> {
        let range = range(table, self.prefix, self.prefix)?;
        let row = |row: Result<(Guard<'_>, Guard<'_>), _>| {
            row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
        };
        if self.backwards {
            range.rev().skip(self.skip).take(self.rows_max).map(row).collect()
        } else {
            range.skip(self.skip).take(self.rows_max).map(row).collect()
        }
    }
}

/// The rows from `from` on whose keys begin with `prefix`.
fn range<'t>(
    table: &'t impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    prefix: &[u8],
) -> Result<redb::Range<'t, &'static [u8], &'static [u8]>, redb::StorageError> {
    match &end_of(prefix) {
        // One that begins after its end is none.
        Some(end) => table.range::<&[u8]>(from.min(end)..end.as_slice()),
        None => table.range::<&[u8]>(from..),
    }
}

/// The first key after all that begin with `prefix`; none if there is no such key.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
