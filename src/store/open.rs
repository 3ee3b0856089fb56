//! Opening the newest whole checkpoint, and reading it.
//!
//! sled writes to a database by merely opening it, so the files are first copied to `reading/`, and their sums checked
//! on the way; a sealed generation is thus never written again, and sled sees only what sled wrote. If `CURRENT` or
//! what it names is damaged, the newest other whole generation is taken and the damage reported. A generation without a
//! manifest was never finished. What a newer release wrote is an error, not damage: falling back would lose what it knew.
//!
//! Each piece is then decoded once, while it is read ([`Checkpoint::read`]). The files being what was written, a piece that
//! is not means that sled, or whoever wrote the generation, went wrong. What was read up to there has to be dropped then, and
//! the next generation is taken in its place ([`Checkpoint::pass_over`]).

use super::checkpoint::{CURRENT, DATABASE, MANIFEST, read_manifest};
use super::error::StoreError;
use super::files;
use super::generation::{self, Database, Row};
use super::manifest::{Manifest, Meta, parse_current};
use super::piece::{Joiner, Piece, PieceError, Stream, decode_piece};
use super::tree::{FileSystem, Tree};
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const READING: &str = "reading";

/// A checkpoint whose files are as they were written, open for reading.
#[derive(Debug)]
pub struct Checkpoint {
    generations: Generations,
    manifest: Manifest,
    reading: Reading,
}

/// What was damaged, so that an older generation was opened.
#[derive(Debug)]
pub struct PassedOver {
    /// The generation, or `None` for `CURRENT` itself.
    pub generation: Option<u64>,
    /// What is wrong with it.
    pub error: StoreError,
}

/// What a checkpoint is read as: first all of the catalog, then all counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// The next bytes of the catalog's stream, which is cut anywhere.
    Catalog(Vec<u8>),
    /// The counters of some subjects, with the last sequence whose effects they include.
    Counters(Sequence, Vec<SubjectImage>),
}

/// Opens the newest whole checkpoint in `root`; `None` if none was ever finished.
///
/// # Errors
/// When there are generations but none is whole, when a newer release wrote them, and storage errors.
pub fn open_latest(root: &Path) -> Result<Option<Checkpoint>, StoreError> {
    open_latest_in(root, &root.join(READING))
}

/// As [`open_latest`], with the copy at `reading` instead of in `root`, where nothing is changed then. What is at
/// that place is removed.
///
/// # Errors
/// As there.
pub fn open_latest_in(root: &Path, reading: &Path) -> Result<Option<Checkpoint>, StoreError> {
    open_latest_without(root, reading, &[])
}

/// As [`open_latest_in`], as if the generations in `without` were not there.
///
/// # Errors
/// As there.
pub fn open_latest_without(
    root: &Path,
    reading: &Path,
    without: &[u64],
) -> Result<Option<Checkpoint>, StoreError> {
    open_on(Arc::new(FileSystem), root, reading, without)
}

/// As [`open_latest_without`], on any [`Tree`].
#[cfg(test)]
pub(crate) fn open_latest_on(
    tree: Arc<dyn Tree>,
    root: &Path,
    reading: &Path,
    without: &[u64],
) -> Result<Option<Checkpoint>, StoreError> {
    open_on(tree, root, reading, without)
}

fn open_on(
    tree: Arc<dyn Tree>,
    root: &Path,
    reading: &Path,
    without: &[u64],
) -> Result<Option<Checkpoint>, StoreError> {
    if !tree.is_dir(root) {
        return Ok(None);
    }
    let mut generations = Generations::of(tree, root, reading)?;
    generations.left.retain(|(it, _)| !without.contains(it));
    generations.open_next()
}

/// Opens one generation, whatever `CURRENT` names, with the copy at `reading`, and reads all of it; `crc` is what
/// `CURRENT` says of its manifest.
pub(super) fn check_generation(
    root: &Path,
    generation: u64,
    crc: Option<u32>,
    reading: &Path,
) -> Result<Meta, StoreError> {
    check_generation_on(Arc::new(FileSystem), root, generation, crc, reading)
}

/// As [`check_generation`], on any [`Tree`].
pub(super) fn check_generation_on(
    tree: Arc<dyn Tree>,
    root: &Path,
    generation: u64,
    crc: Option<u32>,
    reading: &Path,
) -> Result<Meta, StoreError> {
    let generations = Generations {
        tree,
        root: root.to_owned(),
        reading: reading.to_owned(),
        left: Vec::new(),
        passed_over: Vec::new(),
    };
    let (manifest, reading) = generations.open(generation, crc)?;
    let checkpoint = Checkpoint { generations, manifest, reading };
    checkpoint.read(|_| Ok::<_, StoreError>(()))?;
    Ok(*checkpoint.meta())
}

/// The generations that may be opened.
#[derive(Debug)]
struct Generations {
    tree: Arc<dyn Tree>,
    root: PathBuf,
    /// Where the copy of the one that is read lies.
    reading: PathBuf,
    /// Those that were not tried yet, the best at the end, with what `CURRENT` says of the manifest.
    left: Vec<(u64, Option<u32>)>,
    passed_over: Vec<PassedOver>,
}

impl Generations {
    fn of(tree: Arc<dyn Tree>, root: &Path, reading: &Path) -> Result<Generations, StoreError> {
        let on = tree.as_ref();
        let mut passed_over = Vec::new();
        let named = root.join(CURRENT);
        let damaged =
            |reason: String| PassedOver { generation: None, error: StoreError::damaged(&named, reason) };
        let current = match files::read(on, &named) {
            Ok(text) => {
                let current = parse_current(&text);
                if current.is_none() {
                    passed_over.push(damaged("it names no generation".to_owned()));
                }
                current
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                passed_over.push(damaged(format!("it cannot be read: {error}")));
                None
            }
        };
        let mut left = Vec::new();
        for generation in generation::list(on, root)?.into_iter().rev() {
            let is_current = current.is_some_and(|(current, _)| current == generation);
            if !is_current && on.is_file(&generation::path_of(root, generation).join(MANIFEST)) {
                left.push((generation, None));
            }
        }
        left.extend(current.map(|(generation, crc)| (generation, Some(crc))));
        let (root, reading) = (root.to_owned(), reading.to_owned());
        Ok(Generations { tree, root, reading, left, passed_over })
    }

    /// Opens the next that can be; `None` if there never was one.
    fn open_next(mut self) -> Result<Option<Checkpoint>, StoreError> {
        while let Some((generation, crc)) = self.left.pop() {
            match self.open(generation, crc) {
                Ok((manifest, reading)) => {
                    return Ok(Some(Checkpoint { generations: self, manifest, reading }));
                }
                Err(error) if error.is_damage() => self.pass_over(generation, error),
                Err(error) => return Err(error),
            }
        }
        match self.passed_over.into_iter().next() {
            None => Ok(None),
            Some(PassedOver { error, .. }) => Err(StoreError::NoneWhole {
                directory: self.root.display().to_string(),
                newest: Box::new(error),
            }),
        }
    }

    fn pass_over(&mut self, generation: u64, error: StoreError) {
        self.passed_over.push(PassedOver { generation: Some(generation), error });
    }

    /// Opens a copy of a generation whose files are all as its manifest says.
    fn open(&self, generation: u64, crc: Option<u32>) -> Result<(Manifest, Reading), StoreError> {
        let tree = self.tree.as_ref();
        let (manifest, sum) = read_manifest(tree, &self.root, generation)?;
        let path = generation::path_of(&self.root, generation);
        if crc.is_some_and(|crc| crc != sum) {
            return Err(StoreError::damaged(&path.join(MANIFEST), "it is not the one that CURRENT names"));
        }
        files::remove_tree(tree, &self.reading)?;
        files::copy_checked(tree, &path.join(DATABASE), &self.reading, &manifest.files)?;
        let db = Some(tree.database(&self.reading)?);
        Ok((manifest, Reading { tree: Arc::clone(&self.tree), db }))
    }
}

impl Checkpoint {
    /// What it is of.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.manifest.meta
    }

    /// Which generation it is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.manifest.generation
    }

    /// What was newer but damaged; empty unless the node should complain.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.generations.passed_over
    }

    /// Reads all of it, piece after piece, and shows it to `visit`. What was shown is of no use after an error.
    ///
    /// # Errors
    /// The visitor's, and storage errors. If those are damage ([`StoreError::is_damage`]), an older generation may
    /// serve: [`Checkpoint::pass_over`].
    pub fn read<E: From<StoreError>>(&self, mut visit: impl FnMut(Part) -> Result<(), E>) -> Result<(), E> {
        let Some(db) = self.reading.db.as_deref() else { return Ok(()) };
        let catalog = (0..self.manifest.catalog_pieces).map(|index| (Stream::Catalog, index));
        let counters = (0..self.manifest.counter_pieces).map(|index| (Stream::Counters, index));
        let mut rows = db.pieces();
        let mut joiner = Joiner::default();
        for (stream, index) in catalog.chain(counters) {
            let key = stream.key(index);
            let wrong = |error| piece_error(db, &key, error);
            let row = rows.next().transpose()?;
            match self.decode(&key, (stream, index), row).map_err(wrong)? {
                Piece::Catalog(bytes) => visit(Part::Catalog(bytes))?,
                Piece::Counters { stamp, subjects, goes_on } => {
                    let whole = joiner.take(stamp, subjects, goes_on).map_err(wrong)?;
                    visit(Part::Counters(stamp, whole))?;
                }
            }
        }
        if rows.next().is_some() || joiner.finish().is_err() {
            return Err(piece_error(db, "at the end", PieceError::Missing).into());
        }
        Ok(())
    }

    /// Decodes the piece of that place, if it is what `row` has.
    fn decode(
        &self,
        key: &str,
        (stream, index): (Stream, u32),
        row: Option<Row>,
    ) -> Result<Piece, PieceError> {
        let row = row.filter(|(found, _)| found.as_ref() == key.as_bytes());
        let (_, bytes) = row.ok_or(PieceError::Missing)?;
        let piece = decode_piece(self.manifest.generation, index, &bytes)?;
        if piece.stream() == stream { Ok(piece) } else { Err(PieceError::Missing) }
    }

    /// Opens the next best generation in place of this one, in which `error` was found.
    ///
    /// # Errors
    /// There is none that is whole, or a newer release wrote it, and storage errors.
    pub fn pass_over(self, error: StoreError) -> Result<Option<Checkpoint>, StoreError> {
        let Checkpoint { mut generations, manifest, reading } = self;
        drop(reading);
        generations.pass_over(manifest.generation, error);
        generations.open_next()
    }
}

/// The copy that is read.
#[derive(Debug)]
struct Reading {
    tree: Arc<dyn Tree>,
    /// `None` only while it is dropped.
    db: Option<Box<dyn Database>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            let path = db.path().to_owned();
            // The copy has no further use, so neither error matters; the next opening removes what is left.
            let _ = db.close();
            let _ = files::remove_tree(self.tree.as_ref(), &path);
        }
    }
}

fn piece_error(db: &dyn Database, key: &str, source: PieceError) -> StoreError {
    StoreError::Piece { file: db.path().display().to_string(), key: key.to_owned(), source }
}
