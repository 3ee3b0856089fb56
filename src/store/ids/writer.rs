//! Writes a slice: ids in ascending order, a bounded number in memory at once.
//!
//! The file has a temporary name until all of it is synced, and is then given its own. It is synced every few mebibytes:
//! all at once at the end, gigabytes of it would hold up the journal's syncs for seconds.

use crc32fast::Hasher;

use super::error::IdsError;
use super::filter::Filter;
use super::format::{
    BLOCK_LEN, BLOCK_RECORDS, HEADER_LEN, Header, Identity, UNFINISHED, encode_block, prefix, slice_name,
};
use super::slice::Slice;
use crate::journal::{Disk, DiskFile};
use crate::model::idempotency::{IdKey, Known};
use crate::model::time::UnixMillis;

/// Written at once.
const WRITE_LEN: usize = 256 << 10;

/// The most that is written and not synced.
const UNSYNCED_MAX: u64 = 8 << 20;

/// The temporary name of a slice.
pub(super) fn temporary(identity: &Identity) -> String {
    slice_name(identity.from, identity.to) + UNFINISHED
}

/// Writes and names a slice of what `next` gives, at most `ids_max`, and opens it.
///
/// After an error files with its temporary name and with its own may be there, whole or not.
pub(super) fn write(
    disk: &dyn Disk,
    identity: Identity,
    before: UnixMillis,
    ids_max: u64,
    mut next: impl FnMut() -> Result<Option<Known>, IdsError>,
) -> Result<Slice, IdsError> {
    let mut writer = Writer::create(disk, identity, before, ids_max)?;
    while let Some(known) = next()? {
        writer.push(&known)?;
    }
    let (temporary, name) = (temporary(&identity), slice_name(identity.from, identity.to));
    writer.finish()?;
    disk.rename(&temporary, &name).map_err(IdsError::io("name", &name))?;
    disk.sync_dir().map_err(IdsError::io("sync", "the directory of ids"))?;
    Slice::open(disk, &name)
}

struct Writer {
    name: String,
    file: Box<dyn DiskFile>,
    seal: u32,
    header: Header,
    filter: Filter,
    fences: Vec<u64>,
    /// What does not fill a block yet.
    records: Vec<Known>,
    last: Option<IdKey>,
    /// What is not written yet, and where it goes.
    buffer: Vec<u8>,
    offset: u64,
    unsynced: u64,
}

impl Writer {
    fn create(
        disk: &dyn Disk,
        identity: Identity,
        before: UnixMillis,
        ids_max: u64,
    ) -> Result<Writer, IdsError> {
        let name = temporary(&identity);
        let file = disk.create(&name, 0).map_err(IdsError::io("make", &name))?;
        let filter = Filter::for_keys(ids_max);
        let header = Header {
            identity,
            ids: 0,
            oldest: UnixMillis(u64::MAX),
            newest: UnixMillis(0),
            before,
            cells: filter.cells(),
            index_crc: 0,
        };
        Ok(Writer {
            name,
            file,
            seal: identity.seal(),
            header,
            filter,
            fences: Vec::new(),
            records: Vec::with_capacity(BLOCK_RECORDS),
            last: None,
            buffer: Vec::with_capacity(WRITE_LEN + BLOCK_LEN),
            offset: HEADER_LEN as u64,
            unsynced: 0,
        })
    }

    fn push(&mut self, known: &Known) -> Result<(), IdsError> {
        if self.last.is_some_and(|last| last >= known.key) {
            return Err(IdsError::Order { file: self.name.clone() });
        }
        self.last = Some(known.key);
        self.filter.insert(&known.key);
        self.header.ids += 1;
        self.header.oldest = self.header.oldest.min(known.remembered.at);
        self.header.newest = self.header.newest.max(known.remembered.at);
        self.records.push(*known);
        if self.records.len() == BLOCK_RECORDS { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), IdsError> {
        let Some(first) = self.records.first() else { return Ok(()) };
        encode_block(self.seal, self.fences.len() as u64, &self.records, &mut self.buffer);
        self.fences.push(prefix(&first.key));
        self.records.clear();
        if self.buffer.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }

    /// Writes the buffer.
    fn write(&mut self) -> Result<(), IdsError> {
        self.file.write_at(self.offset, &self.buffer).map_err(IdsError::io("write", &self.name))?;
        self.offset += self.buffer.len() as u64;
        self.unsynced += self.buffer.len() as u64;
        self.buffer.clear();
        if self.unsynced >= UNSYNCED_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), IdsError> {
        self.unsynced = 0;
        self.file.sync_data().map_err(IdsError::io("sync", &self.name))
    }

    /// Writes what the records are followed and preceded by, and syncs the file.
    fn finish(mut self) -> Result<(), IdsError> {
        self.end_block()?;
        let mut hasher = Hasher::new_with_initial(self.seal);
        for fence in std::mem::take(&mut self.fences).chunks(WRITE_LEN / 8) {
            let bytes: Vec<u8> = fence.iter().flat_map(|fence| fence.to_le_bytes()).collect();
            self.index(&mut hasher, &bytes)?;
        }
        let filter = std::mem::replace(&mut self.filter, Filter::for_keys(0));
        for bytes in filter.encode() {
            self.index(&mut hasher, &bytes)?;
        }
        self.write()?;
        self.header.index_crc = hasher.finalize();
        self.file.write_at(0, &self.header.encode()).map_err(IdsError::io("write", &self.name))?;
        self.sync()
    }

    fn index(&mut self, hasher: &mut Hasher, bytes: &[u8]) -> Result<(), IdsError> {
        hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }
}
