//! Checkpoints: write-once generations, of which the newest whole one is opened ([`super::open`]).
//!
//! Writing generation g: a fresh sled database takes all pieces and is closed; every file and directory of it is
//! synced and summed, and so is the name of its directory; `MANIFEST` is written with the sums; `CURRENT` is replaced by one that names g; then all but
//! g and the generation known to be whole (the one opened, or written by this node before) go. Whatever step the power fails at, `CURRENT` names a whole generation.

use super::error::StoreError;
use super::files;
use super::generation::{self, Database};
use super::manifest::{Manifest, Meta, render_current};
use super::piece::{Packer, Stream, seal};
use super::pressed::{Press, Pressed};
use super::tree::{FileSystem, Tree};
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const CURRENT: &str = "CURRENT";
pub(super) const MANIFEST: &str = "MANIFEST";
pub(super) const DATABASE: &str = "sled";

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
    /// How far the catalog and the counters can be pressed, as seen so far.
    presses: [Press; 2],
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
        }
        if !on.is_file(&root.join(CURRENT)) {
            // Until a checkpoint was finished, nothing says that this was ever done.
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.map_or(Ok(()), |parent| files::sync_dir(on, parent))?;
        }
        let generations = generation::list(on, root)?;
        for old in &generations {
            let path = generation::path_of(root, *old);
            if !on.is_file(&path.join(MANIFEST)) {
                // It may have had one whose removal is not on disk yet, and must not look whole without the rest.
                files::sync_dir(on, &path)?;
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
            presses: Default::default(),
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
        while self.catalog.len() >= self.presses[0].goal() {
            self.press_catalog()?;
        }
        Ok(())
    }

    /// Puts as much of the catalog as a piece holds; it may be cut anywhere.
    fn press_catalog(&mut self) -> Result<(), StoreError> {
        let Pressed { body, taken } = self.presses[0].press(&self.catalog, |at| at.max(1))?;
        self.catalog.drain(..taken);
        self.put(Stream::Catalog, &body)
    }

    /// Adds the counters of some subjects, copied under one lock hold; they include the journal up to `stamp`.
    ///
    /// # Errors
    /// Storage errors; the writer is of no use after one.
    pub fn put_counters(&mut self, stamp: Sequence, images: &[SubjectImage]) -> Result<(), StoreError> {
        let base = images.iter().flat_map(|image| &image.cells).map(|cell| cell.minute).max();
        let mut press = std::mem::take(&mut self.presses[1]);
        let mut packer = Packer::new(&mut press, stamp, base.unwrap_or_default());
        for image in images {
            packer.push(image, |body| self.put(Stream::Counters, &body))?;
        }
        packer.flush(|body| self.put(Stream::Counters, &body))?;
        self.presses[1] = press;
        Ok(())
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
        while !self.catalog.is_empty() {
            self.press_catalog()?;
        }
        let CheckpointWriter { tree, root, generation, whole, db, catalog_pieces, counter_pieces, .. } = self;
        let tree = tree.as_ref();
        let database = db.path().to_owned();
        db.close()?;
        let files = files::seal_tree(tree, &database)?;
        let path = generation::path_of(&root, generation);
        // The database's own name, too, before a manifest says that it is there.
        files::sync_dir(tree, &path)?;
        let manifest = Manifest { generation, meta, catalog_pieces, counter_pieces, files }.encode();
        files::replace(tree, &path, MANIFEST, &manifest)?;
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

/// Whether a generation was ever finished.
pub(super) fn is_finished(root: &Path, generation: u64) -> bool {
    generation::path_of(root, generation).join(MANIFEST).exists()
}

/// Reads a manifest; its bytes' sum beside it.
pub(super) fn read_manifest(
    tree: &dyn Tree,
    root: &Path,
    generation: u64,
) -> Result<(Manifest, u32), StoreError> {
    let path = generation::path_of(root, generation).join(MANIFEST);
    let bytes = files::read(tree, &path)
        .map_err(|error| StoreError::damaged(&path, format!("it cannot be read: {error}")))?;
    Ok((Manifest::decode(&path, generation, &bytes)?, crc32fast::hash(&bytes)))
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
