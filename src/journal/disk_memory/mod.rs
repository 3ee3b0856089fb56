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

mod dice;
mod state;

use super::disk::{Disk, DiskFile};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

pub(crate) use dice::{Dice, campaign};
use state::{Node, State, parent};

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
