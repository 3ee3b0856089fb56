//! Looking at everything that is stored, one thing at a time, without changing it: each generation of checkpoints, and
//! each shelf.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableHandle};

use super::checkpoint::{CURRENT, is_finished};
use super::error::StoreError;
use super::generation;
use super::manifest::{Meta, parse_current};
use super::open::check_generation;
use super::shelf::{ShelfError, definition_of, position_in};
use super::tree::FileSystem;
use crate::journal::Sequence;

/// What a `checkpoints` directory holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckpointSurvey {
    /// The generation that `CURRENT` names; `None` if there is no such file.
    pub current: Option<u64>,
    /// What is wrong with `CURRENT`.
    pub current_damage: Option<String>,
    /// All generations, newest first.
    pub generations: Vec<GenerationSurvey>,
}

/// One generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationSurvey {
    /// Its number.
    pub generation: u64,
    /// How it is.
    pub state: GenerationState,
}

/// How a generation is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GenerationState {
    /// Every file has its sum, and every piece could be decoded.
    Whole(Meta),
    /// It was being written when the node died, or is being written.
    Unfinished,
    /// It cannot be opened.
    Damaged(String),
}

/// Opens every generation in `root`, each in a copy at `reading`, where anything is removed.
///
/// # Errors
/// The directory cannot be listed, or the copy cannot be written.
pub fn survey_checkpoints(root: &Path, reading: &Path) -> Result<CheckpointSurvey, StoreError> {
    let mut survey = CheckpointSurvey::default();
    if !root.is_dir() {
        return Ok(survey);
    }
    let mut named = None;
    match std::fs::read(root.join(CURRENT)) {
        Ok(text) => match parse_current(&text) {
            Some((generation, crc)) => {
                survey.current = Some(generation);
                named = Some((generation, crc));
            }
            None => survey.current_damage = Some("it names no generation".to_owned()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => survey.current_damage = Some(format!("it cannot be read: {error}")),
    }
    let generations = generation::list(&FileSystem, root)?;
    if let Some((missing, _)) = named.filter(|(current, _)| !generations.contains(current)) {
        survey.current_damage = Some(format!("it names generation {missing}, which is not there"));
    }
    for generation in generations {
        let crc = named.filter(|(current, _)| *current == generation).map(|(_, crc)| crc);
        let state = if is_finished(root, generation) {
            match check_generation(root, generation, crc, reading) {
                Ok(meta) => GenerationState::Whole(meta),
                Err(error @ StoreError::Io { .. }) => return Err(error),
                Err(error) => GenerationState::Damaged(error.to_string()),
            }
        } else {
            GenerationState::Unfinished
        };
        survey.generations.push(GenerationSurvey { generation, state });
    }
    Ok(survey)
}

/// What a shelf holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShelfSurvey {
    /// Up to where in the journal it is derived.
    pub position: Sequence,
    /// Rows in all its tables.
    pub rows: u64,
}

/// Checks every page of a shelf in a copy, which is made at `copy` and removed.
///
/// # Errors
/// It cannot be copied, is no shelf, or is damaged.
pub fn survey_shelf(path: &Path, copy: &Path) -> Result<ShelfSurvey, ShelfError> {
    let surveyed = copy_file(path, copy).map_err(redb::Error::from).and_then(|()| {
        // redb asserts about what it reads; in a copy that nobody else has, its panic is an error like any other.
        catch_unwind(AssertUnwindSafe(|| look(copy)))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("its content contradicts itself".to_owned())))
    });
    // The copy has no further use, and its place is one that whoever called removes.
    let _ = std::fs::remove_file(copy);
    surveyed.map_err(|source| ShelfError::new(path, source))
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    let mut target = options.write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut target).map(drop)
}

fn look(path: &Path) -> Result<ShelfSurvey, redb::Error> {
    let file = File::options().read(true).write(true).open(path)?;
    // An empty file becomes an empty shelf, as at a start.
    let mut database = Database::builder().create_with_backend(FileBackend::new(file)?)?;
    if !database.check_integrity()? {
        return Err(redb::Error::Corrupted(
            "its pages do not have the sums they were written with".to_owned(),
        ));
    }
    let transaction = database.begin_read()?;
    let names: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    let mut rows = 0;
    for name in &names {
        rows += transaction.open_table(definition_of(name))?.len()?;
    }
    Ok(ShelfSurvey { position: position_in(&transaction)?, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Shelf, Table};

    #[test]
    fn a_shelf_is_checked_without_being_touched_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("shelf"), dir.path().join("copy"));
        let shelf = Shelf::open(&path).unwrap();
        let write = |writing: &mut crate::store::shelf::Writing<'_>| {
            (0..200_u32).try_for_each(|key| writing.put(Table("rows"), &key.to_le_bytes(), &[7; 300]))?;
            writing.set_position(Sequence(9))
        };
        shelf.write(write).unwrap();
        drop(shelf);
        let bytes = std::fs::read(&path).unwrap();
        let survey = survey_shelf(&path, &copy).unwrap();
        // The position is a row of its own.
        assert_eq!(survey, ShelfSurvey { position: Sequence(9), rows: 201 });
        assert!(std::fs::read(&path).unwrap() == bytes && !copy.exists());
        let mut found = 0;
        for at in (0..bytes.len()).step_by(1021) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            std::fs::write(&path, &damaged).unwrap();
            found += usize::from(survey_shelf(&path, &copy).is_err());
            assert!(!copy.exists());
        }
        // Most of a file is free space, in which nothing is lost.
        assert!(found > 10, "{found}");
        std::fs::write(&path, b"no shelf").unwrap();
        assert!(survey_shelf(&path, &copy).is_err());
    }
}
