//! A disk in memory that keeps apart what is written and what would survive a power loss.
//!
//! A tree of directories and files, as journal and checkpoints share one. A file has its live bytes, its durable bytes
//! and the writes between them; a name (made, removed, given to another file) is durable once its directory was synced.
//! Every changing step (create, write, sync, rename, remove, directory sync) is counted, and so is every reading step; a
//! fault can be set on the n-th.
//!
//! The image that a crash leaves has all that was synced, and of the rest any choice of 512-byte sectors, lengths and
//! names, in any order. With [`MemoryDisk::record`] the disk keeps a copy of itself before each step, so that one run of
//! a workload shows what a power loss at every one of its steps would leave.

use super::disk::{Disk, DiskFile};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

const SECTOR: usize = 512;

/// What goes wrong, and at which step (counted from 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The power fails: this step and all after it.
    Freeze(u64),
    /// This step alone fails. A failed sync drops the writes it was to save, though reading still shows them.
    Once(u64),
    /// The disk is full: from one step up to another, nothing can be made, and a write that needs space is cut short.
    Full(u64, u64),
    /// This reading step alone fails.
    Read(u64),
}

/// A handle on a directory of a disk; clones share the disk.
#[derive(Clone, Default, Debug)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<State>>,
    /// The directory that the verbs of a journal's disk work in, with a slash behind it; the root has no name.
    dir: String,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct State {
    files: Vec<FileState>,
    /// By full path, in which a directory comes before what is in it.
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    fault: Option<Fault>,
    steps: u64,
    reads: u64,
    record: Option<Vec<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Clone, Default, Debug)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Its bytes up to here have their space; writing beyond needs more.
    reserved: usize,
}

/// What a step needs of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Space,
    Nothing,
}

/// A generator that gives the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

impl MemoryDisk {
    fn of(state: State) -> MemoryDisk {
        MemoryDisk { state: Arc::new(Mutex::new(state)), dir: String::new() }
    }

    /// The directory of that name on this disk, which is made for good if it is not there.
    pub(crate) fn at(&self, dir: &str) -> MemoryDisk {
        let mut state = self.state.lock();
        state.live.entry(dir.to_owned()).or_insert(Node::Directory);
        state.durable.entry(dir.to_owned()).or_insert(Node::Directory);
        MemoryDisk { state: Arc::clone(&self.state), dir: format!("{dir}/") }
    }

    pub(crate) fn with_fault(self, fault: Option<Fault>) -> MemoryDisk {
        {
            let mut state = self.state.lock();
            state.fault = fault;
            (state.steps, state.reads) = (0, 0);
        }
        self
    }

    /// Whether the fault has happened, or has begun to.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.state.lock();
        match state.fault {
            Some(Fault::Freeze(at) | Fault::Once(at) | Fault::Full(at, _)) => state.steps > at,
            Some(Fault::Read(at)) => state.reads > at,
            None => false,
        }
    }

    /// How many changing steps there have been.
    pub(crate) fn steps(&self) -> u64 {
        self.state.lock().steps
    }

    /// Keeps a copy of the disk before every step from now on.
    pub(crate) fn record(&self) {
        let mut state = self.state.lock();
        state.steps = 0;
        state.record = Some(Vec::new());
    }

    /// The disk as it was before each step since [`MemoryDisk::record`], and as it is.
    pub(crate) fn recorded(&self) -> Vec<MemoryDisk> {
        let mut state = self.state.lock();
        let mut moments = state.record.take().unwrap_or_default();
        moments.push(state.clone());
        moments.into_iter().map(MemoryDisk::of).collect()
    }

    /// A disk as a power loss leaves it; `seed` decides what of the unsynced part is there.
    pub(crate) fn crash(&self, seed: u64) -> MemoryDisk {
        let state = self.state.lock();
        let mut dice = Dice(seed);
        // In some crashes nearly all that was not synced is there, in others hardly anything.
        let odds = [1, 2, 3, 4][dice.below(4) as usize];
        let mut coin = move || dice.below(5) < odds;
        let mut after = State::default();
        let names: BTreeSet<_> = state.live.keys().chain(state.durable.keys()).collect();
        for name in names {
            let node = if coin() { state.live.get(name) } else { state.durable.get(name) };
            let is_reachable = parent(name).is_none_or(|dir| after.live.get(dir) == Some(&Node::Directory));
            match node {
                Some(Node::File(id)) if is_reachable => after.put(name, state.files[*id].crashed(&mut coin)),
                Some(Node::Directory) if is_reachable => after.put_directory(name),
                _ => {}
            }
        }
        MemoryDisk::of(after)
    }

    /// All files, for tests that damage them.
    pub(crate) fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        let bytes = |(name, node): (&String, &Node)| match node {
            Node::File(id) => Some((name.clone(), state.files[*id].live.clone())),
            Node::Directory => None,
        };
        state.live.iter().filter_map(bytes).collect()
    }

    /// A disk with these files, all synced.
    pub(crate) fn from_image(image: BTreeMap<String, Vec<u8>>) -> MemoryDisk {
        let mut state = State::default();
        for (name, bytes) in image {
            for (at, _) in name.match_indices('/') {
                state.put_directory(&name[..at]);
            }
            state.put(&name, bytes);
        }
        MemoryDisk::of(state)
    }

    /// The disk itself, for those who see it as a tree.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl FileState {
    /// The bytes that a crash leaves: of what was not synced any sectors, and any length that the file has had. Space is
    /// reserved with the length, in one step of the file system's.
    fn crashed(&self, coin: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut lengths: BTreeSet<usize> = self.unsynced.iter().map(|(at, bytes)| at + bytes.len()).collect();
        lengths.insert(self.reserved);
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
    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let node = Node::File(self.files.len());
        self.live.insert(name.to_owned(), node);
        self.durable.insert(name.to_owned(), node);
        let reserved = bytes.len();
        self.files.push(FileState { live: bytes.clone(), durable: bytes, unsynced: Vec::new(), reserved });
    }

    fn put_directory(&mut self, name: &str) {
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
        self.files.push(FileState { live: vec![0; len], reserved: len, ..FileState::default() });
        self.step(Needs::Space)?;
        Ok(id)
    }

    pub(crate) fn write(&mut self, id: usize, start: usize, bytes: &[u8]) -> io::Result<()> {
        let full = self.is_full();
        let file = &mut self.files[id];
        let needs = if start + bytes.len() > file.reserved { Needs::Space } else { Needs::Nothing };
        let written = if full && needs == Needs::Space { &bytes[..bytes.len() / 2] } else { bytes };
        let end = start + written.len();
        file.live.resize(file.live.len().max(end), 0);
        file.live[start..end].copy_from_slice(written);
        file.unsynced.push((start, written.to_vec()));
        self.step(needs)
    }

    pub(crate) fn sync(&mut self, id: usize) -> io::Result<()> {
        let result = self.step(Needs::Nothing);
        let frozen = matches!(self.fault, Some(Fault::Freeze(_)));
        let file = &mut self.files[id];
        match &result {
            Ok(()) => {
                for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                    let end = offset + bytes.len();
                    file.durable.resize(file.live.len(), 0);
                    file.durable[offset..end].copy_from_slice(&bytes);
                }
                file.durable.resize(file.live.len(), 0);
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

impl MemoryDisk {
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.dir)
    }

    fn directory(&self) -> Option<&str> {
        self.dir.strip_suffix('/')
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.reading()?;
        Ok(state.list(self.directory()).into_iter().filter(|(_, dir)| !dir).map(|(name, _)| name).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.reading()?;
        let id = state.file(&self.path(name))?;
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let path = self.path(name);
        if state.live.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.create(&path, usize::try_from(len).unwrap())?;
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.lock().remove(&self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state.lock().rename(&self.path(from), &self.path(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.state.lock().sync_dir(self.directory())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: usize,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state.lock();
        state.reading()?;
        Ok(state.bytes(self.id).len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.reading()?;
        let start = usize::try_from(offset).unwrap();
        let bytes = state.bytes(self.id).get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.state.lock().write(self.id, usize::try_from(offset).unwrap(), bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state.lock().sync(self.id)
    }
}
