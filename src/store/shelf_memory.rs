//! The disk in memory as the file of a shelf: redb itself, over a disk that fails when it is told to.

use std::io;

use redb::StorageBackend;

use crate::journal::disk_memory::MemoryDisk;

/// A shelf's file on a disk in memory.
#[derive(Debug)]
pub(crate) struct ShelfFile {
    disk: MemoryDisk,
    id: usize,
}

impl MemoryDisk {
    /// The file of that name, made if it is not there: its name is there for good once its directory was synced.
    pub(crate) fn file_of_shelf(&self, name: &str) -> io::Result<ShelfFile> {
        let mut state = self.lock();
        let id = match state.file(name) {
            Ok(id) => id,
            Err(_) => state.create(name, 0)?,
        };
        drop(state);
        Ok(ShelfFile { disk: self.clone(), id })
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("the files of tests are small")
}

impl StorageBackend for ShelfFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().bytes(self.id).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.reading()?;
        let start = place(offset);
        let bytes = state.bytes(self.id).get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().set_len(self.id, place(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync(self.id)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.lock().write(self.id, place(offset), data)
    }
}
