//! Checkpoints: write-once generations, of which the newest whole one is opened.
//!
//! Writing generation g: a fresh sled database takes all pieces and is closed; every file and directory of it is
//! synced and summed; `MANIFEST` is written with the sums; `CURRENT` is replaced by one that names g; then all but
//! g and the generation known to be whole (the one opened, or written by this node before) go. Whatever step the power fails at, `CURRENT` names a whole generation.
//!
//! Opening: sled writes to a database by merely opening it, so the files are first copied to `reading/`, and their
//! sums checked on the way; a sealed generation is thus never written again, and sled sees only what sled wrote.
//! Then every piece is decoded once and counted, before anything is shown. If `CURRENT` or what it names is
//! damaged, the newest other whole generation is taken and the damage reported. A generation without a manifest was
//! never finished. What a newer release wrote is an error, not damage: falling back would lose what it knew.

use super::error::StoreError;
use super::files;
use super::generation::{self, Database};
use super::manifest::{Manifest, Meta, parse_current, render_current};
use super::piece::{BODY_BYTES_MAX, Joiner, Packer, Piece, PieceError, Stream, decode_piece, seal};
use super::tree::{FileSystem, Tree};
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const CURRENT: &str = "CURRENT";
pub(super) const MANIFEST: &str = "MANIFEST";
const DATABASE: &str = "sled";
const READING: &str = "reading";

/// A generation being written. Dropped unfinished, it leaves a directory that the next writer removes.
#[derive(Debug)]
pub struct CheckpointWriter {
    tree: Arc<dyn Tree>,
    root: PathBuf,
    generation: u64,
    /// The generation that stays beside this one.
    whole: Option<u64>,
    db: Box<dyn Database>,
    /// Catalog bytes that do not fill a piece yet.
    catalog: Vec<u8>,
    catalog_pieces: u32,
    counter_pieces: u32,
}

/// What finishing a checkpoint made of the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The generation that was written.
    pub generation: u64,
    /// The first sequence that the journal must keep for the generations that are left, the older one included.
    pub keep_from: Sequence,
}

impl CheckpointWriter {
    /// Begins a generation in `root`, the `checkpoints` directory, which is made if it is missing.
    ///
    /// `whole` is the generation that was opened or, after that, written last: it stays, and others go. What
    /// `CURRENT` names is not to be relied on, as it may have been passed over.
    ///
    /// There is one writer at a time; the caller sees to it.
    ///
    /// # Errors
    /// Storage errors.
    pub fn create(root: &Path, whole: Option<u64>) -> Result<CheckpointWriter, StoreError> {
        CheckpointWriter::create_on(Arc::new(FileSystem), root, whole)
    }

    /// As [`CheckpointWriter::create`], on any [`Tree`].
    pub(crate) fn create_on(
        tree: Arc<dyn Tree>,
        root: &Path,
        whole: Option<u64>,
    ) -> Result<CheckpointWriter, StoreError> {
        let on = tree.as_ref();
        if !on.is_dir(root) {
            files::make_dir(on, root)?;
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.map_or(Ok(()), |parent| files::sync_dir(on, parent))?;
        }
        let generations = generation::list(on, root)?;
        for old in &generations {
            let path = generation::path_of(root, *old);
            if !on.is_file(&path.join(MANIFEST)) {
                files::remove_tree(on, &path)?;
            }
        }
        let generation = generations.first().map_or(1, |newest| newest + 1);
        let path = generation::path_of(root, generation);
        files::make_dir(on, &path)?;
        let db = on.database(&path.join(DATABASE))?;
        let root = root.to_owned();
        Ok(CheckpointWriter {
            tree,
            root,
            generation,
            whole,
            db,
            catalog: Vec::new(),
            catalog_pieces: 0,
            counter_pieces: 0,
        })
    }

    /// Appends to the catalog's byte stream.
    ///
    /// # Errors
    /// Storage errors; the writer is of no use after one.
    pub fn put_catalog(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.catalog.extend_from_slice(bytes);
        let whole = self.catalog.len() - self.catalog.len() % BODY_BYTES_MAX;
        let rest = self.catalog.split_off(whole);
        for body in std::mem::replace(&mut self.catalog, rest).chunks(BODY_BYTES_MAX) {
            self.put(Stream::Catalog, body)?;
        }
        Ok(())
    }

    /// Adds the counters of some subjects, copied under one lock hold; they include the journal up to `stamp`.
    ///
    /// # Errors
    /// Storage errors; the writer is of no use after one.
    pub fn put_counters(&mut self, stamp: Sequence, images: &[SubjectImage]) -> Result<(), StoreError> {
        let mut packer = Packer::new(stamp);
        for image in images {
            packer.push(image, |body| self.put(Stream::Counters, &body))?;
        }
        packer.flush(|body| self.put(Stream::Counters, &body))
    }

    fn put(&mut self, stream: Stream, body: &[u8]) -> Result<(), StoreError> {
        let count = match stream {
            Stream::Catalog => &mut self.catalog_pieces,
            Stream::Counters => &mut self.counter_pieces,
        };
        self.db.put(&stream.key(*count), &seal(self.generation, stream, *count, body))?;
        *count += 1;
        Ok(())
    }

    /// Makes the generation whole and current, and removes those that are not needed any more.
    ///
    /// The journal must have synced every stamp that was put: a checkpoint ahead of its journal cannot be opened.
    ///
    /// # Errors
    /// Storage errors. `CURRENT` is left as it was until the new generation is safe.
    pub fn finish(mut self, meta: Meta) -> Result<Finished, StoreError> {
        let rest = std::mem::take(&mut self.catalog);
        if !rest.is_empty() {
            self.put(Stream::Catalog, &rest)?;
        }
        let CheckpointWriter { tree, root, generation, whole, db, catalog_pieces, counter_pieces, .. } = self;
        let tree = tree.as_ref();
        let database = db.path().to_owned();
        db.close()?;
        let files = files::seal_tree(tree, &database)?;
        let manifest = Manifest { generation, meta, catalog_pieces, counter_pieces, files }.encode();
        files::replace(tree, &generation::path_of(&root, generation), MANIFEST, &manifest)?;
        files::sync_dir(tree, &root)?;
        files::replace(tree, &root, CURRENT, render_current(generation, &manifest).as_bytes())?;

        let before = whole.and_then(|whole| read_manifest(tree, &root, whole).ok());
        let kept = before.as_ref().map(|(manifest, _)| manifest.generation);
        for old in generation::list(tree, &root)? {
            if old != generation && Some(old) != kept {
                remove(tree, &root, old)?;
            }
        }
        let older = before.map_or(meta.begin, |(manifest, _)| manifest.meta.begin);
        Ok(Finished { generation, keep_from: older.min(meta.begin).next() })
    }
}

/// Removes a generation, its manifest first, so that what a crash leaves of it does not look whole.
fn remove(tree: &dyn Tree, root: &Path, generation: u64) -> Result<(), StoreError> {
    let path = generation::path_of(root, generation);
    let manifest = path.join(MANIFEST);
    if tree.is_file(&manifest) {
        tree.remove(&manifest).map_err(StoreError::io("remove", &manifest))?;
        files::sync_dir(tree, &path)?;
    }
    files::remove_tree(tree, &path)
}

/// A checkpoint that is whole, open for reading.
#[derive(Debug)]
pub struct Checkpoint {
    tree: Arc<dyn Tree>,
    manifest: Manifest,
    passed_over: Vec<PassedOver>,
    /// `None` only while it is dropped.
    db: Option<Box<dyn Database>>,
}

/// What was damaged, so that an older generation was opened.
#[derive(Debug)]
pub struct PassedOver {
    /// The generation, or `None` for `CURRENT` itself.
    pub generation: Option<u64>,
    /// What is wrong with it.
    pub error: StoreError,
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

/// As [`open_latest_in`], on any [`Tree`].
#[cfg(test)]
pub(crate) fn open_latest_on(
    tree: Arc<dyn Tree>,
    root: &Path,
    reading: &Path,
) -> Result<Option<Checkpoint>, StoreError> {
    open_on(tree, root, reading, &[])
}

fn open_on(
    tree: Arc<dyn Tree>,
    root: &Path,
    reading: &Path,
    without: &[u64],
) -> Result<Option<Checkpoint>, StoreError> {
    let on = tree.as_ref();
    if !on.is_dir(root) {
        return Ok(None);
    }
    let mut passed_over = Vec::new();
    let current = match files::read(on, &root.join(CURRENT)) {
        Ok(text) => {
            let current = parse_current(&text);
            if current.is_none() {
                let error = StoreError::damaged(&root.join(CURRENT), "it names no generation");
                passed_over.push(PassedOver { generation: None, error });
            }
            current
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let error = StoreError::damaged(&root.join(CURRENT), format!("it cannot be read: {error}"));
            passed_over.push(PassedOver { generation: None, error });
            None
        }
    };
    let mut candidates: Vec<_> =
        current.map(|(generation, crc)| (generation, Some(crc))).into_iter().collect();
    for generation in generation::list(on, root)? {
        let is_current = current.is_some_and(|(current, _)| current == generation);
        if !is_current && on.is_file(&generation::path_of(root, generation).join(MANIFEST)) {
            candidates.push((generation, None));
        }
    }
    for (generation, crc) in candidates.into_iter().filter(|(it, _)| !without.contains(it)) {
        match open(on, root, generation, crc, reading) {
            Ok((manifest, db)) => return Ok(Some(Checkpoint { tree, manifest, passed_over, db: Some(db) })),
            // What cannot be read is damaged; this is the copy that cannot be written, whatever it is a copy of.
            Err(error @ (StoreError::Format { .. } | StoreError::Io { .. })) => return Err(error),
            Err(error) => passed_over.push(PassedOver { generation: Some(generation), error }),
        }
    }
    match passed_over.into_iter().next() {
        None => Ok(None),
        Some(PassedOver { error, .. }) => {
            Err(StoreError::NoneWhole { directory: root.display().to_string(), newest: Box::new(error) })
        }
    }
}

/// Opens one generation, whatever `CURRENT` names, with the copy at `reading`; `crc` is what `CURRENT` says of its
/// manifest.
pub(super) fn open_generation(
    root: &Path,
    generation: u64,
    crc: Option<u32>,
    reading: &Path,
) -> Result<Checkpoint, StoreError> {
    let (manifest, db) = open(&FileSystem, root, generation, crc, reading)?;
    Ok(Checkpoint { tree: Arc::new(FileSystem), manifest, passed_over: Vec::new(), db: Some(db) })
}

/// Whether a generation was ever finished.
pub(super) fn is_finished(root: &Path, generation: u64) -> bool {
    generation::path_of(root, generation).join(MANIFEST).exists()
}

/// Reads a manifest; its bytes' sum beside it.
fn read_manifest(tree: &dyn Tree, root: &Path, generation: u64) -> Result<(Manifest, u32), StoreError> {
    let path = generation::path_of(root, generation).join(MANIFEST);
    let bytes = files::read(tree, &path)
        .map_err(|error| StoreError::damaged(&path, format!("it cannot be read: {error}")))?;
    Ok((Manifest::decode(&path, generation, &bytes)?, crc32fast::hash(&bytes)))
}

/// Opens a copy of a generation and decodes all of it once.
fn open(
    tree: &dyn Tree,
    root: &Path,
    generation: u64,
    crc: Option<u32>,
    copy: &Path,
) -> Result<(Manifest, Box<dyn Database>), StoreError> {
    let (manifest, sum) = read_manifest(tree, root, generation)?;
    let path = generation::path_of(root, generation);
    if crc.is_some_and(|crc| crc != sum) {
        return Err(StoreError::damaged(&path.join(MANIFEST), "it is not the one that CURRENT names"));
    }
    files::remove_tree(tree, copy)?;
    files::copy_checked(tree, &path.join(DATABASE), copy, &manifest.files)?;
    let db = tree.database(copy)?;
    let mut joiner = Joiner::default();
    for index in 0..manifest.catalog_pieces {
        read_piece(&manifest, db.as_ref(), Stream::Catalog, index)?;
    }
    for index in 0..manifest.counter_pieces {
        read_counters(&manifest, db.as_ref(), index, &mut joiner)?;
    }
    let pieces = u64::from(manifest.catalog_pieces) + u64::from(manifest.counter_pieces);
    if db.count()? as u64 != pieces || joiner.finish().is_err() {
        return Err(piece_error(db.as_ref(), "at the end".into(), PieceError::Missing));
    }
    Ok((manifest, db))
}

fn piece_error(db: &dyn Database, key: String, source: PieceError) -> StoreError {
    StoreError::Piece { file: db.path().display().to_string(), key, source }
}

fn read_piece(
    manifest: &Manifest,
    db: &dyn Database,
    stream: Stream,
    index: u32,
) -> Result<Piece, StoreError> {
    let key = stream.key(index);
    let bytes = db.get(&key)?;
    let decoded = bytes.ok_or(PieceError::Missing).and_then(|b| decode_piece(manifest.generation, index, &b));
    match (stream, decoded) {
        (Stream::Catalog, Ok(piece @ Piece::Catalog(_))) => Ok(piece),
        (Stream::Counters, Ok(piece @ Piece::Counters { .. })) => Ok(piece),
        (_, Ok(_)) => Err(piece_error(db, key, PieceError::Unknown)),
        (_, Err(error)) => Err(piece_error(db, key, error)),
    }
}

/// Reads a piece of counters and returns the subjects that are complete with it.
fn read_counters(
    manifest: &Manifest,
    db: &dyn Database,
    index: u32,
    joiner: &mut Joiner,
) -> Result<(Sequence, Vec<SubjectImage>), StoreError> {
    match read_piece(manifest, db, Stream::Counters, index)? {
        Piece::Counters { stamp, subjects, goes_on } => {
            let whole = joiner.take(stamp, subjects, goes_on);
            let whole = whole.map_err(|error| piece_error(db, Stream::Counters.key(index), error))?;
            Ok((stamp, whole))
        }
        Piece::Catalog(_) => Err(piece_error(db, Stream::Counters.key(index), PieceError::Unknown)),
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
        &self.passed_over
    }

    /// The catalog's byte stream, in pieces cut anywhere.
    pub fn catalog(&self) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> {
        let indexes = 0..self.manifest.catalog_pieces;
        indexes.zip(self.db.iter().cycle()).filter_map(|(index, db)| {
            match read_piece(&self.manifest, db.as_ref(), Stream::Catalog, index) {
                Ok(Piece::Catalog(bytes)) => Some(Ok(bytes)),
                Ok(Piece::Counters { .. }) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Shows every subject's counters to `visit`, with the last sequence whose effects they include.
    ///
    /// # Errors
    /// The visitor's, and storage errors.
    pub fn counters<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(Sequence, SubjectImage) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut joiner = Joiner::default();
        for (index, db) in (0..self.manifest.counter_pieces).zip(self.db.iter().cycle()) {
            let (stamp, subjects) = read_counters(&self.manifest, db.as_ref(), index, &mut joiner)?;
            for subject in subjects {
                visit(stamp, subject)?;
            }
        }
        Ok(())
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            let path = db.path().to_owned();
            // The copy has no further use, so neither error matters; the next opening removes what is left.
            let _ = db.close();
            let _ = files::remove_tree(self.tree.as_ref(), &path);
        }
    }
}
