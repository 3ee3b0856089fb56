//! What is on the disk, and what would be after a power loss.

use super::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

const SECTOR: usize = 512;

#[derive(Clone, Default, Debug)]
pub(crate) struct State {
    /// Shared with the copies that a recording keeps.
    pub(super) files: Vec<Arc<FileState>>,
    /// By full path, in which a directory comes before what is in it.
    pub(super) live: BTreeMap<String, Node>,
    pub(super) durable: BTreeMap<String, Node>,
    pub(super) fault: Option<Fault>,
    pub(super) steps: u64,
    pub(super) reads: u64,
    pub(super) record: Option<Vec<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    File(usize),
    Directory,
}

#[derive(Clone, Default, Debug)]
pub(super) struct FileState {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// The lengths it was given since it was synced.
    lengths: Vec<usize>,
    /// Its bytes up to here have their space; writing beyond needs more.
    reserved: usize,
}

/// What a step needs of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Space,
    Nothing,
}

pub(super) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

impl FileState {
    /// The bytes that a crash leaves: of what was not synced any sectors, and any length that the file has had. Space is
    /// reserved with the length, in one step of the file system's.
    pub(super) fn crashed(&self, coin: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if let Some(shortest) = self.lengths.iter().min().filter(|_| coin()) {
            bytes.truncate(*shortest);
        }
        let mut lengths: BTreeSet<usize> = self.unsynced.iter().map(|(at, bytes)| at + bytes.len()).collect();
        lengths.insert(self.reserved);
        lengths.extend(&self.lengths);
        for len in lengths.into_iter().filter(|len| *len >= self.reserved) {
            if len > bytes.len() && coin() {
                bytes.resize(len, 0);
            }
        }
        for (offset, written) in &self.unsynced {
            for (at, sector) in written.chunks(SECTOR).enumerate().filter(|_| coin()) {
                let start = offset + at * SECTOR;
                // What lies beyond the length that reached the disk cannot be read.
                let end = bytes.len().min(start + sector.len());
                if let Some(place) = bytes.get_mut(start..end) {
                    place.copy_from_slice(&sector[..place.len()]);
                }
            }
        }
        bytes
    }
}

impl State {
    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let node = Node::File(self.files.len());
        self.live.insert(name.to_owned(), node);
        self.durable.insert(name.to_owned(), node);
        let reserved = bytes.len();
        let file = FileState { live: bytes.clone(), durable: bytes, reserved, ..FileState::default() };
        self.files.push(Arc::new(file));
    }

    pub(super) fn put_directory(&mut self, name: &str) {
        self.live.insert(name.to_owned(), Node::Directory);
        self.durable.insert(name.to_owned(), Node::Directory);
    }

    /// Counts a step, and fails it if its turn has come.
    fn step(&mut self, needs: Needs) -> io::Result<()> {
        if let Some(mut record) = self.record.take() {
            record.push(self.clone());
            self.record = Some(record);
        }
        let step = self.steps;
        self.steps += 1;
        match self.fault {
            Some(Fault::Freeze(at)) if step >= at => Err(io::Error::other("the fault of this test")),
            Some(Fault::Once(at)) if step == at => Err(io::Error::other("the fault of this test")),
            Some(Fault::Full(from, until)) if needs == Needs::Space && (from..until).contains(&step) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Counts a reading step, and fails it if its turn has come.
    pub(crate) fn reading(&mut self) -> io::Result<()> {
        let read = self.reads;
        self.reads += 1;
        let fails = self.fault == Some(Fault::Read(read));
        if fails { Err(io::Error::other("the fault of this test")) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        matches!(self.fault, Some(Fault::Full(from, until)) if (from..until).contains(&self.steps))
    }

    /// The file of that name.
    pub(crate) fn file(&self, path: &str) -> io::Result<usize> {
        match self.live.get(path) {
            Some(Node::File(id)) => Ok(*id),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        self.live.get(path) == Some(&Node::Directory)
    }

    /// The names directly in a directory, and whether each is a directory; of the root without one.
    pub(crate) fn list(&self, dir: Option<&str>) -> Vec<(String, bool)> {
        let within = self.live.iter().filter(|(name, _)| parent(name) == dir);
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        within.map(|(name, node)| (last(name), *node == Node::Directory)).collect()
    }

    pub(crate) fn bytes(&self, id: usize) -> &[u8] {
        &self.files[id].live
    }

    fn enter(&mut self, path: &str, node: Node) -> io::Result<()> {
        if parent(path).is_some_and(|dir| !self.is_dir(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.live.insert(path.to_owned(), node);
        Ok(())
    }

    /// Makes a file of so many zeros, whatever has its name so far.
    pub(crate) fn create(&mut self, path: &str, len: usize) -> io::Result<usize> {
        if self.is_full() {
            self.step(Needs::Space)?;
        }
        let id = self.files.len();
        self.enter(path, Node::File(id))?;
        let file = FileState { live: vec![0; len], reserved: len, ..FileState::default() };
        self.files.push(Arc::new(file));
        self.step(Needs::Space)?;
        Ok(id)
    }

    pub(crate) fn write(&mut self, id: usize, start: usize, bytes: &[u8]) -> io::Result<()> {
        let full = self.is_full();
        let file = Arc::make_mut(&mut self.files[id]);
        let needs = if start + bytes.len() > file.reserved { Needs::Space } else { Needs::Nothing };
        let written = if full && needs == Needs::Space { &bytes[..bytes.len() / 2] } else { bytes };
        let end = start + written.len();
        file.live.resize(file.live.len().max(end), 0);
        file.live[start..end].copy_from_slice(written);
        file.unsynced.push((start, written.to_vec()));
        self.step(needs)
    }

    /// Gives a file a length: what is more are zeros, which need no space until they are written.
    pub(crate) fn set_len(&mut self, id: usize, len: usize) -> io::Result<()> {
        self.step(Needs::Nothing)?;
        let file = Arc::make_mut(&mut self.files[id]);
        file.live.resize(len, 0);
        file.reserved = file.reserved.min(len);
        for (offset, written) in &mut file.unsynced {
            written.truncate(len.saturating_sub(*offset));
        }
        file.lengths.push(len);
        Ok(())
    }

    pub(crate) fn sync(&mut self, id: usize) -> io::Result<()> {
        let result = self.step(Needs::Nothing);
        let frozen = matches!(self.fault, Some(Fault::Freeze(_)));
        let file = Arc::make_mut(&mut self.files[id]);
        match &result {
            Ok(()) => {
                file.lengths.clear();
                file.durable.resize(file.live.len(), 0);
                for (offset, bytes) in
                    std::mem::take(&mut file.unsynced).into_iter().filter(|it| !it.1.is_empty())
                {
                    let end = offset + bytes.len();
                    file.durable[offset..end].copy_from_slice(&bytes);
                }
            }
            // The pages are marked clean though they never reached the disk.
            Err(_) if !frozen => file.unsynced.clear(),
            Err(_) => {}
        }
        result
    }

    pub(crate) fn make_dir(&mut self, path: &str) -> io::Result<()> {
        if self.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.step(Needs::Space)?;
        // What was in another one of that name is not in this.
        let within = format!("{path}/");
        self.durable.retain(|name, _| !name.starts_with(&within));
        self.enter(path, Node::Directory)
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = Node::File(self.file(from)?);
        self.step(Needs::Nothing)?;
        self.enter(to, node)?;
        self.live.remove(from);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.step(Needs::Nothing)?;
        self.live.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes the names directly in a directory durable; those of the root without one.
    pub(crate) fn sync_dir(&mut self, dir: Option<&str>) -> io::Result<()> {
        self.step(Needs::Nothing)?;
        self.durable.retain(|name, _| parent(name) != dir);
        let within = self.live.iter().filter(|(name, _)| parent(name) == dir);
        self.durable.extend(within.map(|(name, node)| (name.clone(), *node)));
        Ok(())
    }
}
