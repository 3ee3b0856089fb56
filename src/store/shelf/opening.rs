//! A shelf's database, which gets a new file after its file failed.
//!
//! Once a read, write or sync of its file failed, redb refuses everything, even when the disk is well again. Opening the
//! file once more is not enough: after a sync that failed, what is read of it may be in the system's memory alone, and no
//! later sync writes it. So all that is in it is copied to a new file, which is synced and takes its name:
//!
//! 1. `NAME.renewed` is made, whatever was there from an earlier attempt is removed;
//! 2. all tables are copied to it, and it is synced;
//! 3. it is renamed to `NAME`, and the directory is synced.
//!
//! A step that fails leaves the old file as it was, and all is begun anew with the next attempt. What the new file has is what
//! the old one would have had when opened: the last that was put on disk. Where all that was committed is on disk,
//! nothing is lost by that, and it is done when something is wanted next. Where something was committed for now only,
//! whoever did that has to say so, as he has to bring it again; he is the only one who writes then.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RecursiveRwLock;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase};

use crate::store::adopt::copy_tables;

/// How much of a shelf redb keeps in memory. Its default is a gibibyte; shelves are small and seldom read.
const CACHE_BYTES: usize = 4 << 20;

/// How long a shelf may still be in use when it is opened: a node that ends lets go of its directory with its last
/// thread, and of the files of a thread that answers a last question a moment later.
const IN_USE_MAX: Duration = Duration::from_secs(2);

/// Where a shelf lies.
#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    #[cfg(test)]
    Memory(crate::journal::disk_memory::MemoryDisk, String),
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        match self {
            Place::File(path) => path,
            #[cfg(test)]
            Place::Memory(_, name) => Path::new(name),
        }
    }

    fn open(&self) -> Result<Database, redb::Error> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = match self {
            Place::File(path) => {
                let mut options = OpenOptions::new();
                let file =
                    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
                builder.create_with_backend(FileBackend::new(file)?)?
            }
            #[cfg(test)]
            Place::Memory(disk, name) => builder.create_with_backend(disk.file_of_shelf(name)?)?,
        };
        // Else a power loss could take the name of a new one, and with it the file.
        self.sync_folder()?;
        Ok(database)
    }

    /// The place of a file that is to take this one's.
    fn renewed(&self) -> Place {
        match self {
            Place::File(path) => Place::File(path.with_extension("renewed")),
            #[cfg(test)]
            Place::Memory(disk, name) => Place::Memory(disk.clone(), format!("{name}.renewed")),
        }
    }

    fn remove(&self) -> std::io::Result<()> {
        let removed = match self {
            Place::File(path) => std::fs::remove_file(path),
            #[cfg(test)]
            Place::Memory(disk, name) => disk.lock().remove(name),
        };
        removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Gives this file's place to the one at `other`, for good.
    fn take_over(&self, other: &Place) -> std::io::Result<()> {
        match (self, other) {
            (Place::File(path), Place::File(other)) => std::fs::rename(other, path)?,
            #[cfg(test)]
            (Place::Memory(disk, name), Place::Memory(_, other)) => disk.lock().rename(other, name)?,
            #[cfg(test)]
            _ => return Err(ErrorKind::Unsupported.into()),
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        match self {
            Place::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
            }
            #[cfg(test)]
            Place::Memory(disk, _) => disk.lock().sync_dir(None),
        }
    }

    /// Puts what the file has into a new one, which takes its place.
    fn renew(&self) -> Result<(), redb::Error> {
        let renewed = self.renewed();
        renewed.remove()?;
        let from = self.open_when_free()?;
        let to = renewed.open()?;
        copy_tables(&from.begin_read()?, &to)?;
        // Closed first, which puts down that they are whole, and frees the name.
        drop((from, to));
        renewed.sync()?;
        Ok(self.take_over(&renewed)?)
    }

    /// Puts on disk what closing it has written.
    fn sync(&self) -> std::io::Result<()> {
        match self {
            Place::File(path) => File::open(path)?.sync_all(),
            #[cfg(test)]
            Place::Memory(disk, name) => {
                let mut state = disk.lock();
                let id = state.file(name)?;
                state.sync(id)
            }
        }
    }

    fn open_when_free(&self) -> Result<Database, redb::Error> {
        let deadline = Instant::now() + IN_USE_MAX;
        loop {
            match self.open() {
                Err(redb::Error::DatabaseAlreadyOpen) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened,
            }
        }
    }
}

/// A new file for its owner's eyes only.
pub(in crate::store) fn create_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Whether the file failed.
pub(super) fn is_of_file(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed)
}

/// The database at a place.
#[derive(Debug)]
pub(super) struct Opened {
    place: Place,
    /// Nothing, if it could not be opened again.
    database: RecursiveRwLock<Option<Database>>,
    /// The file failed.
    has_failed: AtomicBool,
    /// Something was committed that is not on disk.
    unsettled: AtomicBool,
}

impl Opened {
    pub(super) fn new(place: Place) -> Result<Opened, redb::Error> {
        // What a renewal that was cut short has left.
        place.renewed().remove()?;
        let database = RecursiveRwLock::new(Some(place.open_when_free()?));
        Ok(Opened { place, database, has_failed: false.into(), unsettled: false.into() })
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Begins something with the database.
    pub(super) fn begin<T>(
        &self,
        begin: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        if self.has_failed.load(Ordering::Acquire) && !self.unsettled.load(Ordering::Acquire) {
            self.reopen()?;
        }
        // Recursive: one that waits to open it must not keep back who writes already, and reads.
        match self.database.read().as_ref() {
            Some(database) => begin(database),
            None => Err(redb::Error::PreviousIo),
        }
    }

    /// Puts a new file in its place, if it failed.
    pub(super) fn reopen(&self) -> Result<(), redb::Error> {
        let mut database = self.database.write();
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // First: it holds the file's lock.
        *database = None;
        self.place.renew()?;
        *database = Some(self.place.open_when_free()?);
        self.unsettled.store(false, Ordering::Release);
        self.has_failed.store(false, Ordering::Release);
        Ok(())
    }

    /// Takes note of an error: after one of the file's, redb is of no use any more.
    pub(super) fn is_told_of(&self, error: &redb::Error) {
        if is_of_file(error) {
            self.has_failed.store(true, Ordering::Release);
        }
    }

    /// Something is committed that is not on disk.
    pub(super) fn is_unsettled(&self) {
        self.unsettled.store(true, Ordering::Release);
    }

    /// Carries out a commit that puts all on disk that was committed before, too.
    pub(super) fn is_settled_by<E>(&self, commit: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        commit()?;
        self.unsettled.store(false, Ordering::Release);
        Ok(())
    }
}
