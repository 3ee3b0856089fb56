//! The seam to the file system: the few verbs that a checkpoint needs, so that tests can stand in for a failing disk.

use super::error::StoreError;
use super::generation::{Database, Sled};
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A tree of directories and files. Every verb fails with what the operating system says.
pub(crate) trait Tree: Send + Sync + Debug {
    /// Whether there is a directory of that name.
    fn is_dir(&self, path: &Path) -> bool;
    /// Whether there is a file of that name.
    fn is_file(&self, path: &Path) -> bool;
    /// The names in a directory, in any order, and whether each is a directory itself.
    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, bool)>>;
    /// Makes a directory that only its owner can enter; it must not exist.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, removals and renamings in a directory survive a power loss.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file for reading, from its beginning; its length beside it.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;
    /// Makes an empty file that only its owner can read, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;
    /// Makes what anybody wrote to a file survive a power loss, and the file its owner's alone.
    fn seal(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name; a file that has it goes.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Deletes a directory with all that is in it.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;
    /// Opens, or makes, the database in the directory `path`.
    fn database(&self, path: &Path) -> Result<Box<dyn Database>, StoreError>;
}

/// A file being written.
pub(crate) trait NewFile: Write {
    /// Makes what was written survive a power loss.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real thing.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Tree for FileSystem {
    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), entry.file_type()?.is_dir()))
        };
        fs::read_dir(dir)?.map(name).collect()
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok((Box::new(file), len))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        // Opened anew: a sync that failed before on another handle would not be heard of again, but then the
        // checkpoint that it belonged to was given up, too.
        let file = File::open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn database(&self, path: &Path) -> Result<Box<dyn Database>, StoreError> {
        Ok(Box::new(Sled::open(path)?))
    }
}

impl NewFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
