//! The file system steps of a checkpoint: summing, syncing, replacing, copying.

use super::error::StoreError;
use super::manifest::FileSum;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Read and written at once.
const CHUNK: usize = 256 << 10;

/// Makes a directory that only its owner can enter.
pub(super) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().mode(0o700).create(path).map_err(StoreError::io("make", path))
}

/// Makes the names in a directory survive a power loss.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", path))
}

/// Deletes a directory with all that is in it; one that is not there is fine.
pub(super) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Replaces a file by one with these bytes, so that a crash leaves the old or the new one.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    written
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(StoreError::io("write", &new))?;
    fs::rename(&new, &path).map_err(StoreError::io("replace", &path))?;
    sync_dir(dir)
}

/// Syncs and sums every file below `root`, and syncs every directory.
///
/// Each file is opened anew: a sync that failed before on another handle would not be heard of again, but then the
/// checkpoint that it belonged to was given up, too.
pub(super) fn seal_tree(root: &Path) -> Result<Vec<FileSum>, StoreError> {
    let mut sums = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let path = root.join(&dir);
        for entry in fs::read_dir(&path).map_err(StoreError::io("list", &path))? {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            let within = dir.join(entry.file_name());
            if entry.file_type().map_err(StoreError::io("inspect", &entry.path()))?.is_dir() {
                dirs.push(within);
            } else {
                sums.push(seal_file(&entry.path(), &within)?);
            }
        }
        sync_dir(&path)?;
    }
    sums.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sums)
}

fn seal_file(path: &Path, within: &Path) -> Result<FileSum, StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    let (len, crc) = file
        .set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.sync_all())
        .and_then(|()| pour(&mut file, &mut io::sink()).map_err(PourError::into_source))
        .map_err(StoreError::io("sync", path))?;
    let name = within.to_str().ok_or_else(|| StoreError::damaged(path, "its name is not text"))?;
    Ok(FileSum { name: name.to_owned(), len, crc })
}

/// Copies the files that `sums` names from one directory to a fresh one, and refuses any that differs.
///
/// A file that cannot be read is damaged, as an older one may serve instead; one that cannot be written is the
/// system's matter.
pub(super) fn copy_checked(from: &Path, to: &Path, sums: &[FileSum]) -> Result<(), StoreError> {
    make_dir(to)?;
    for sum in sums {
        let (source, target) = (from.join(&sum.name), to.join(&sum.name));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("make", parent))?;
        }
        let unreadable =
            |error: io::Error| StoreError::damaged(&source, format!("it cannot be read: {error}"));
        let mut file = File::open(&source).map_err(unreadable)?;
        let len = file.metadata().map_err(unreadable)?.len();
        if len != sum.len {
            return Err(StoreError::damaged(&source, format!("it has {len} bytes instead of {}", sum.len)));
        }
        let mut copy = File::create_new(&target).map_err(StoreError::io("make", &target))?;
        let copied = pour(&mut file, &mut copy).map_err(|error| match error {
            PourError::Read(error) => unreadable(error),
            PourError::Write(error) => StoreError::io("copy to", &target)(error),
        })?;
        if copied != (sum.len, sum.crc) {
            return Err(StoreError::damaged(&source, "its checksum differs"));
        }
    }
    Ok(())
}

/// Which side of a copy failed.
#[derive(Debug)]
enum PourError {
    Read(io::Error),
    Write(io::Error),
}

impl PourError {
    fn into_source(self) -> io::Error {
        let (PourError::Read(error) | PourError::Write(error)) = self;
        error
    }
}

/// Copies all bytes and returns how many there were, and their sum.
fn pour(from: &mut File, to: &mut impl Write) -> Result<(u64, u32), PourError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        let read = from.read(&mut buffer).map_err(PourError::Read)?;
        if read == 0 {
            return Ok((len, hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(PourError::Write)?;
        len += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(name: &str, len: u64) -> FileSum {
        FileSum { name: name.into(), len, crc: 0 }
    }

    #[test]
    fn what_cannot_be_read_is_damaged_and_what_cannot_be_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make_dir(&from).unwrap();
        // A directory opens and has a length, but reading it fails.
        make_dir(&from.join("a")).unwrap();
        let len = fs::metadata(from.join("a")).unwrap().len();
        let error = copy_checked(&from, &to, &[sum("a", len)]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let error = copy_checked(&from, &to, &[]).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");

        fs::write(from.join("b"), "x").unwrap();
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = pour(&mut File::open(from.join("b")).unwrap(), &mut full).unwrap_err();
        assert!(matches!(error, PourError::Write(_)), "{error:?}");
    }
}
