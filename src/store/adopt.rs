//! Taking over copies: checkpoints as another node's, and shelves while they are in use.

use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, ReadableTable, TableHandle};

use super::checkpoint::{CURRENT, MANIFEST, is_finished};
use super::error::StoreError;
use super::files;
use super::generation;
use super::manifest::{Manifest, parse_current, render_current};
use super::shelf::{Shelf, ShelfError, create_file, definition_of};
use super::tree::FileSystem;
use crate::journal::NodeId;

/// Makes every finished generation in `root` one of `node_id`, whose journal continues it.
///
/// # Errors
/// A manifest is damaged, or storage errors.
pub fn adopt_checkpoints(root: &Path, node_id: NodeId) -> Result<(), StoreError> {
    if !root.is_dir() {
        return Ok(());
    }
    let current = std::fs::read(root.join(CURRENT)).ok().and_then(|text| parse_current(&text));
    for number in generation::list(&FileSystem, root)? {
        if !is_finished(root, number) {
            continue;
        }
        let dir = generation::path_of(root, number);
        let path = dir.join(MANIFEST);
        let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
        let mut manifest = Manifest::decode(&path, number, &bytes)?;
        manifest.meta.node_id = node_id;
        let bytes = manifest.encode();
        files::replace(&FileSystem, &dir, MANIFEST, &bytes)?;
        if current.is_some_and(|(current, _)| current == number) {
            files::replace(&FileSystem, root, CURRENT, render_current(number, &bytes).as_bytes())?;
        }
    }
    Ok(())
}

impl Shelf {
    /// Copies everything in it, as it is at one moment, to a new file at `path`; it may be written meanwhile.
    ///
    /// # Errors
    /// The shelf cannot be read, or the copy not be made.
    pub fn copy_to(&self, path: &Path) -> Result<(), ShelfError> {
        self.copy_tables(path).map_err(|source| ShelfError::new(path, source))
    }

    fn copy_tables(&self, path: &Path) -> Result<(), redb::Error> {
        let target = Database::builder().create_with_backend(FileBackend::new(create_file(path)?)?)?;
        copy_tables(&self.transaction()?, &target)
    }
}

/// Copies all tables, as one moment has them, to a new database, and syncs it.
pub(super) fn copy_tables(from: &redb::ReadTransaction, target: &Database) -> Result<(), redb::Error> {
    let to = target.begin_write()?;
    for table in from.list_tables()? {
        let definition = definition_of(table.name());
        let source = from.open_table(definition)?;
        let mut copy = to.open_table(definition)?;
        for row in source.iter()? {
            let (key, value) = row?;
            copy.insert(key.value(), value.value())?;
        }
    }
    to.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Sequence;
    use crate::store::Table;

    #[test]
    fn a_shelf_in_use_is_copied_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        let put = |key: u8| {
            shelf.write(|writing| {
                writing.put(Table("rows"), &[key], &[key; 100])?;
                writing.set_position(Sequence(u64::from(key)))
            })
        };
        (1..=9).for_each(|key| put(key).unwrap());
        let path = dir.path().join("copy");
        shelf.copy_to(&path).unwrap();
        put(10).unwrap();
        let copy = Shelf::open(&path).unwrap();
        assert_eq!(copy.position().unwrap(), Sequence(9));
        let get = |key: u8| copy.read(|reading| reading.get(Table("rows"), &[key])).unwrap();
        assert!((1..=9).all(|key| get(key) == Some(vec![key; 100])) && get(10).is_none());
        assert!(shelf.copy_to(&path).is_err(), "what is there is not overwritten");
    }
}
