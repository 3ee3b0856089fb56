//! A disk in memory that keeps apart what is written and what would survive a power loss.
//!
//! A file has its live bytes, its durable bytes, and the writes between them; so has the directory. Every changing
//! step (create, write, sync, remove, rename, directory sync) is counted, and a fault can be set on the n-th. The image that
//! a crash leaves has all that was synced, and of the rest any choice of 512-byte sectors, lengths and names.

use super::disk::{Disk, DiskFile};
use parking_lot::Mutex;
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
}

/// Handles on one disk; clones share it.
#[derive(Clone, Default, Debug)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default, Debug)]
struct State {
    files: Vec<FileState>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    fault: Option<Fault>,
    steps: u64,
}

#[derive(Clone, Default, Debug)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// The length was not synced yet.
    is_new: bool,
}

impl MemoryDisk {
    pub(crate) fn with_fault(self, fault: Option<Fault>) -> MemoryDisk {
        {
            let mut state = self.0.lock();
            state.fault = fault;
            state.steps = 0;
        }
        self
    }

    /// Whether the fault has happened.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.0.lock();
        state.fault.is_some_and(|(Fault::Freeze(at) | Fault::Once(at))| state.steps > at)
    }

    /// A disk as a power loss leaves it; `seed` decides what of the unsynced part is there.
    pub(crate) fn crash(&self, mut seed: u64) -> MemoryDisk {
        let state = self.0.lock();
        let mut coin = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 62 != 0
        };
        let mut after = State::default();
        let names: BTreeSet<_> = state.live.keys().chain(state.durable.keys()).collect();
        for name in names {
            let (live, durable) = (state.live.get(name), state.durable.get(name));
            let Some(id) = (if coin() { live } else { durable }) else { continue };
            let file = &state.files[*id];
            let mut bytes = file.durable.clone();
            if file.is_new && coin() {
                bytes.resize(file.live.len(), 0);
            }
            for (offset, written) in &file.unsynced {
                for (at, sector) in written.chunks(SECTOR).enumerate().filter(|_| coin()) {
                    let start = offset + at * SECTOR;
                    // What lies beyond the length that reached the disk cannot be read.
                    if let Some(place) = bytes.get_mut(start..start + sector.len()) {
                        place.copy_from_slice(sector);
                    }
                }
            }
            after.put(name, bytes);
        }
        MemoryDisk(Arc::new(Mutex::new(after)))
    }

    /// All files, for tests that damage them.
    pub(crate) fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.live.iter().map(|(name, id)| (name.clone(), state.files[*id].live.clone())).collect()
    }

    /// A disk with these files, all synced.
    pub(crate) fn from_image(image: BTreeMap<String, Vec<u8>>) -> MemoryDisk {
        let mut state = State::default();
        for (name, bytes) in image {
            state.put(&name, bytes);
        }
        MemoryDisk(Arc::new(Mutex::new(state)))
    }
}

impl State {
    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.live.insert(name.to_owned(), self.files.len());
        self.durable.insert(name.to_owned(), self.files.len());
        self.files.push(FileState { live: bytes.clone(), durable: bytes, ..FileState::default() });
    }

    /// Counts a step, and fails it if its turn has come.
    fn step(&mut self) -> io::Result<()> {
        let step = self.steps;
        self.steps += 1;
        let fails = match self.fault {
            Some(Fault::Freeze(at)) => step >= at,
            Some(Fault::Once(at)) => step == at,
            None => false,
        };
        if fails { Err(io::Error::other("the fault of this test")) } else { Ok(()) }
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.live.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().live.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.0.lock().id(name)?;
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        if state.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        let live = vec![0; usize::try_from(len).unwrap()];
        state.files.push(FileState { live, is_new: true, ..FileState::default() });
        state.live.insert(name.to_owned(), id);
        state.step()?;
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.id(name)?;
        state.live.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        let id = state.id(from)?;
        state.live.remove(from);
        state.live.insert(to.to_owned(), id);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.durable = state.live.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: usize,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.id].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.disk.0.lock();
        let start = usize::try_from(offset).unwrap();
        let bytes = state.files[self.id].live.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let start = usize::try_from(offset).unwrap();
        let file = &mut state.files[self.id];
        let len = file.live.len().max(start + bytes.len());
        file.live.resize(len, 0);
        file.live[start..start + bytes.len()].copy_from_slice(bytes);
        file.unsynced.push((start, bytes.to_vec()));
        state.step()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let result = state.step();
        let frozen = matches!(state.fault, Some(Fault::Freeze(_)));
        let file = &mut state.files[self.id];
        match &result {
            Ok(()) => {
                for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                    let end = offset + bytes.len();
                    file.durable.resize(file.live.len(), 0);
                    file.durable[offset..end].copy_from_slice(&bytes);
                }
                file.durable.resize(file.live.len(), 0);
                file.is_new = false;
            }
            // The pages are marked clean though they never reached the disk.
            Err(_) if !frozen => file.unsynced.clear(),
            Err(_) => {}
        }
        result
    }
}
