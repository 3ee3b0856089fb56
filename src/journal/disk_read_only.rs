//! A journal's directory that is looked at and not changed.

use super::disk::{Disk, DiskFile};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Reads a real directory; what an opening journal would write to it goes nowhere.
///
/// A journal opened on it has everything that a node would find, and must not be written to: it would believe
/// that what it appends is on disk.
#[derive(Debug)]
pub struct ReadOnlyDirectory {
    path: PathBuf,
}

impl ReadOnlyDirectory {
    /// The directory at `path`; one that is missing is empty.
    #[must_use]
    pub fn new(path: &Path) -> ReadOnlyDirectory {
        ReadOnlyDirectory { path: path.to_owned() }
    }
}

impl Disk for ReadOnlyDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn create(&self, _name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Nowhere { len }))
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is not there.
#[derive(Debug)]
struct Nowhere {
    len: u64,
}

impl DiskFile for Nowhere {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
