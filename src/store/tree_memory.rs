//! The disk in memory as a tree of checkpoints, with a database of two files, one in a directory of its own.
//!
//! sled itself needs a real directory. What stands in for it writes each piece when it is put and syncs nothing, as
//! sled does; that sled's files hold what was put is covered by the tests on real directories.

use super::error::StoreError;
use super::generation::{Database, Row};
use super::tree::{NewFile, Tree};
use crate::journal::disk_memory::MemoryDisk;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// A path as the disk knows it; joined with nothing it ends in a slash.
fn name(path: &Path) -> &str {
    path.to_str().expect("the paths of tests are text").trim_end_matches('/')
}

impl Tree for MemoryDisk {
    fn is_dir(&self, path: &Path) -> bool {
        self.lock().is_dir(name(path))
    }

    fn is_file(&self, path: &Path) -> bool {
        self.lock().file(name(path)).is_ok()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let mut state = self.lock();
        state.reading()?;
        if !state.is_dir(name(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state.list(Some(name(dir))).into_iter().map(|(name, is_dir)| (name.into(), is_dir)).collect())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().make_dir(name(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().sync_dir(Some(name(path)).filter(|dir| !dir.is_empty()))
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let mut state = self.lock();
        state.reading()?;
        let bytes = state.bytes(state.file(name(path))?).to_vec();
        let len = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), len))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let id = self.lock().create(name(path), 0)?;
        Ok(Box::new(MemoryNewFile { disk: self.clone(), id, len: 0 }))
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.file(name(path))?;
        state.sync(id)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().rename(name(from), name(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().remove(name(path))
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        for (within, is_dir) in self.list(path)? {
            let within = path.join(within);
            if is_dir { self.remove_tree(&within)? } else { self.remove(&within)? }
        }
        self.remove(path)
    }

    fn database(&self, path: &Path) -> Result<Box<dyn Database>, StoreError> {
        MemoryDatabase::open(self, path).map(|it| Box::new(it) as _).map_err(StoreError::io("open", path))
    }
}

struct MemoryNewFile {
    disk: MemoryDisk,
    id: usize,
    len: usize,
}

impl Write for MemoryNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.lock().write(self.id, self.len, bytes)?;
        self.len += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for MemoryNewFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock().sync(self.id)
    }
}

/// Where pieces lie: every third in the second place, as sled keeps what is large in a directory of its own.
const FILES: [&str; 2] = ["db", "blobs/third"];

/// Pieces, each with the lengths of its key and of itself before it in a file.
struct MemoryDatabase {
    path: PathBuf,
    pieces: Mutex<BTreeMap<String, Vec<u8>>>,
    /// None of what is only read.
    files: Mutex<Vec<Box<dyn NewFile + Send>>>,
}

impl std::fmt::Debug for MemoryDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDatabase").field("path", &self.path).finish_non_exhaustive()
    }
}

impl MemoryDatabase {
    fn open(disk: &MemoryDisk, path: &Path) -> io::Result<MemoryDatabase> {
        if !disk.is_dir(path) {
            disk.make_dir(path)?;
        }
        let is_new = !disk.is_file(&path.join(FILES[0]));
        let mut pieces = BTreeMap::new();
        let mut files: Vec<Box<dyn NewFile + Send>> = Vec::new();
        if is_new {
            disk.make_dir(&path.join("blobs"))?;
        }
        for at in FILES.map(|file| path.join(file)) {
            if is_new {
                let id = disk.lock().create(name(&at), 0)?;
                files.push(Box::new(MemoryNewFile { disk: disk.clone(), id, len: 0 }));
                continue;
            }
            let mut bytes = Vec::new();
            disk.open(&at)?.0.read_to_end(&mut bytes)?;
            let mut rest = &bytes[..];
            while let Some((key, piece, after)) = split(rest) {
                pieces.insert(key, piece);
                rest = after;
            }
        }
        Ok(MemoryDatabase { path: path.to_owned(), pieces: Mutex::new(pieces), files: Mutex::new(files) })
    }
}

fn split(bytes: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let (lengths, rest) = bytes.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *lengths;
    let (key_len, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let (key, rest) = rest.split_at_checked(key_len as usize)?;
    let (piece, rest) = rest.split_at_checked(len as usize)?;
    Some((String::from_utf8(key.to_vec()).ok()?, piece.to_vec(), rest))
}

impl Database for MemoryDatabase {
    fn path(&self) -> &Path {
        &self.path
    }

    fn put(&self, key: &str, piece: &[u8]) -> Result<(), StoreError> {
        let lengths = [key.len() as u32, piece.len() as u32].map(u32::to_le_bytes).concat();
        let row = [&lengths[..], key.as_bytes(), piece].concat();
        let (mut files, mut pieces) = (self.files.lock(), self.pieces.lock());
        let which = usize::from(pieces.len() % 3 == 2);
        let file = files.get_mut(which).expect("what is read is not written");
        file.write_all(&row).map_err(StoreError::io("write to", &self.path))?;
        pieces.insert(key.to_owned(), piece.to_vec());
        Ok(())
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = Result<Row, StoreError>> + '_> {
        let row = |(key, piece): (&String, &Vec<u8>)| Ok((key.as_str().into(), piece.as_slice().into()));
        let rows: Vec<_> = self.pieces.lock().iter().map(row).collect();
        Box::new(rows.into_iter())
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
