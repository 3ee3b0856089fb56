//! One generation's directory and its sled database, with sled's panics contained.
//!
//! ```text
//! checkpoints/CURRENT              names the generation to open
//! checkpoints/NNNNNNNN/MANIFEST    what makes it whole
//! checkpoints/NNNNNNNN/sled/       the database; never opened again once it is sealed
//! checkpoints/reading/             a copy that is being read
//! ```

use super::error::StoreError;
use super::piece::PIECE_BYTES_MAX;
use super::tree::Tree;
use std::fmt::Debug;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// sled's own default is 1 GiB. A checkpoint is written and read once, in order.
const CACHE_BYTES: u64 = 16 << 20;
/// How long sled's threads may hold the database after it was closed: 500 steps of 10 ms.
const CLOSE_STEPS: u32 = 500;
const CLOSE_STEP: Duration = Duration::from_millis(10);

/// The directory of a generation in the `checkpoints` directory `root`.
#[must_use]
pub fn path_of(root: &Path, generation: u64) -> PathBuf {
    root.join(format!("{generation:08}"))
}

/// The generations that have a directory, highest first.
pub(super) fn list(tree: &dyn Tree, root: &Path) -> Result<Vec<u64>, StoreError> {
    let mut generations = Vec::new();
    for (name, _) in tree.list(root).map_err(StoreError::io("list", root))? {
        let number = name.to_str().filter(|name| name.len() >= 8).and_then(|name| name.parse::<u64>().ok());
        generations.extend(number.filter(|number| path_of(root, *number).ends_with(&name)));
    }
    generations.sort_unstable_by(|a, b| b.cmp(a));
    Ok(generations)
}

/// A key and a piece.
pub(crate) type Row = (sled::IVec, sled::IVec);

/// An open database of a generation: pieces by key.
pub(crate) trait Database: Send + Sync + Debug {
    /// Its directory.
    fn path(&self) -> &Path;
    /// Puts a piece, of at most [`PIECE_BYTES_MAX`].
    fn put(&self, key: &str, piece: &[u8]) -> Result<(), StoreError>;
    /// All pieces with their keys, by ascending key. Nothing comes after an error.
    fn pieces(&self) -> Box<dyn Iterator<Item = Result<Row, StoreError>> + '_>;
    /// Writes everything out, which does not sync it, and waits until nothing has the files open any more.
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

/// The real thing.
#[derive(Debug)]
pub(super) struct Sled {
    path: PathBuf,
    db: sled::Db,
}

impl Sled {
    /// Opens, or makes, the database in the directory `path`.
    pub(super) fn open(path: &Path) -> Result<Sled, StoreError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = contained("open", path, || config.open())?;
        Ok(Sled { path: path.to_owned(), db })
    }
}

impl Database for Sled {
    fn path(&self) -> &Path {
        &self.path
    }

    fn put(&self, key: &str, piece: &[u8]) -> Result<(), StoreError> {
        if piece.len() > PIECE_BYTES_MAX {
            return Err(StoreError::TooLong { len: piece.len(), max: PIECE_BYTES_MAX });
        }
        contained("write to", &self.path, || self.db.insert(key, piece)).map(|_| ())
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = Result<Row, StoreError>> + '_> {
        // In its order sled reads each of its nodes once; a lookup by key goes through its index each time.
        let mut rows = Some(self.db.iter());
        Box::new(std::iter::from_fn(move || {
            let iter = rows.as_mut()?;
            let row = contained("read from", &self.path, || iter.next().transpose()).transpose();
            if !matches!(row, Some(Ok(_))) {
                rows = None;
            }
            row
        }))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        let Sled { path, db } = *self;
        contained("flush", &path, || db.flush())?;
        contained("close", &path, || {
            drop(db);
            Ok(())
        })?;
        let lock = path.join("db");
        let file = File::open(&lock).map_err(StoreError::io("open", &lock))?;
        for _ in 0..CLOSE_STEPS {
            // sled holds this lock for as long as any thread of it can write.
            if file.try_lock().is_ok() {
                return Ok(());
            }
            std::thread::sleep(CLOSE_STEP);
        }
        let reason = "its threads do not let go of it".to_owned();
        Err(StoreError::Sled { verb: "close", file: path.display().to_string(), reason })
    }
}

/// Runs a step of sled's, and makes an error of its panic. After a panic the database is only dropped.
fn contained<T>(
    verb: &'static str,
    path: &Path,
    step: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let reason = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("it panicked: {}", text.unwrap_or("without a word"))
        }
    };
    Err(StoreError::Sled { verb, file: path.display().to_string(), reason })
}
