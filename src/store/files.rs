//! The file system steps of a checkpoint: summing, syncing, replacing, copying.

use super::error::StoreError;
use super::manifest::FileSum;
use super::tree::Tree;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Read and written at once.
const CHUNK: usize = 256 << 10;

/// Makes a directory that only its owner can enter.
pub(super) fn make_dir(tree: &dyn Tree, path: &Path) -> Result<(), StoreError> {
    tree.make_dir(path).map_err(StoreError::io("make", path))
}

/// Makes the names in a directory survive a power loss.
pub(super) fn sync_dir(tree: &dyn Tree, path: &Path) -> Result<(), StoreError> {
    tree.sync_dir(path).map_err(StoreError::io("sync", path))
}

/// Deletes a directory with all that is in it; one that is not there is fine.
pub(super) fn remove_tree(tree: &dyn Tree, path: &Path) -> Result<(), StoreError> {
    match tree.remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// All bytes of a file.
pub(super) fn read(tree: &dyn Tree, path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, _) = tree.open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file by one with these bytes, so that a crash leaves the old or the new one.
pub(super) fn replace(tree: &dyn Tree, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    tree.create(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync()))
        .map_err(StoreError::io("write", &new))?;
    tree.rename(&new, &path).map_err(StoreError::io("replace", &path))?;
    sync_dir(tree, dir)
}

/// Syncs and sums every file below `root`, and syncs every directory.
pub(super) fn seal_tree(tree: &dyn Tree, root: &Path) -> Result<Vec<FileSum>, StoreError> {
    let mut sums = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let path = root.join(&dir);
        for (name, is_dir) in tree.list(&path).map_err(StoreError::io("list", &path))? {
            let within = dir.join(&name);
            if is_dir {
                dirs.push(within);
            } else {
                sums.push(seal_file(tree, &path.join(&name), &within)?);
            }
        }
        sync_dir(tree, &path)?;
    }
    sums.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sums)
}

fn seal_file(tree: &dyn Tree, path: &Path, within: &Path) -> Result<FileSum, StoreError> {
    let (len, crc) = tree
        .seal(path)
        .and_then(|()| tree.open(path))
        .and_then(|(mut file, _)| pour(&mut file, &mut io::sink()).map_err(PourError::into_source))
        .map_err(StoreError::io("sync", path))?;
    let name = within.to_str().ok_or_else(|| StoreError::damaged(path, "its name is not text"))?;
    Ok(FileSum { name: name.to_owned(), len, crc })
}

/// Copies the files that `sums` names from one directory to a fresh one, and refuses any that differs.
///
/// A file that cannot be read is damaged, as an older one may serve instead; one that cannot be written is the
/// system's matter.
pub(super) fn copy_checked(
    tree: &dyn Tree,
    from: &Path,
    to: &Path,
    sums: &[FileSum],
) -> Result<(), StoreError> {
    make_dir(tree, to)?;
    for sum in sums {
        let (source, target) = (from.join(&sum.name), to.join(&sum.name));
        make_dirs_between(tree, to, &target)?;
        let unreadable =
            |error: io::Error| StoreError::damaged(&source, format!("it cannot be read: {error}"));
        let (mut file, len) = tree.open(&source).map_err(unreadable)?;
        if len != sum.len {
            return Err(StoreError::damaged(&source, format!("it has {len} bytes instead of {}", sum.len)));
        }
        let mut copy = tree.create(&target).map_err(StoreError::io("make", &target))?;
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

/// Makes the directories below `root` that lead to `path`, unless they are there.
fn make_dirs_between(tree: &dyn Tree, root: &Path, path: &Path) -> Result<(), StoreError> {
    let missing = |dir: &&Path| dir.starts_with(root) && !tree.is_dir(dir);
    let dirs: Vec<_> = path.ancestors().skip(1).take_while(missing).collect();
    dirs.into_iter().rev().try_for_each(|dir| make_dir(tree, dir))
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
fn pour(from: &mut impl Read, to: &mut impl Write) -> Result<(u64, u32), PourError> {
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
    use crate::store::tree::FileSystem;
    use std::fs::{self, File, OpenOptions};

    fn sum(name: &str, len: u64) -> FileSum {
        FileSum { name: name.into(), len, crc: 0 }
    }

    #[test]
    fn what_cannot_be_read_is_damaged_and_what_cannot_be_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make_dir(&FileSystem, &from).unwrap();
        // A directory opens and has a length, but reading it fails.
        make_dir(&FileSystem, &from.join("a")).unwrap();
        let len = fs::metadata(from.join("a")).unwrap().len();
        let error = copy_checked(&FileSystem, &from, &to, &[sum("a", len)]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let error = copy_checked(&FileSystem, &from, &to, &[]).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");

        fs::write(from.join("b"), "x").unwrap();
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = pour(&mut File::open(from.join("b")).unwrap(), &mut full).unwrap_err();
        assert!(matches!(error, PourError::Write(_)), "{error:?}");
    }
}
