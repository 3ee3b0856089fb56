//! A slice that is whole, open for looking up one id and for reading all in order.

use std::collections::VecDeque;
use std::ops::Range;

use crc32fast::Hasher;

use super::error::IdsError;
use super::filter::Filter;
use super::format::{
    BLOCK_LEN, BLOCK_RECORDS, Block, FENCE_LEN, HEADER_LEN, Header, parse_name, prefix, u64_at,
};
use crate::journal::{Disk, DiskFile};
use crate::model::idempotency::{HORIZON_MS, IdKey, Known, Remembered};
use crate::model::time::UnixMillis;

/// Read at once of what is read as a whole.
const READ_LEN: usize = 256 << 10;

/// How many blocks are read at once when all are.
const READ_BLOCKS: usize = 16;

/// One slice. Its file is never changed, and stays readable here after its name is gone.
#[derive(Debug)]
pub(super) struct Slice {
    name: String,
    file: Box<dyn DiskFile>,
    header: Header,
    seal: u32,
    /// The first 8 bytes of each block's first key.
    fences: Vec<u64>,
    filter: Filter,
}

impl Slice {
    /// Opens the slice of that name. Its blocks are checked when they are read.
    pub(super) fn open(disk: &dyn Disk, name: &str) -> Result<Slice, IdsError> {
        let file = disk.open(name).map_err(IdsError::io("open", name))?;
        let len = file.len().map_err(IdsError::io("inspect", name))?;
        let mut bytes = vec![0; HEADER_LEN];
        if len < HEADER_LEN as u64 {
            return Err(IdsError::damaged(name, 0, "it is shorter than a header"));
        }
        file.read_at(0, &mut bytes).map_err(IdsError::io("read", name))?;
        let header = Header::decode(name, &bytes, len)?;
        if parse_name(name) != Some((header.identity.from, header.identity.to)) {
            return Err(IdsError::damaged(name, 0, "its name and its header differ"));
        }
        let (fences, filter) = read_index(name, file.as_ref(), &header)?;
        let seal = header.identity.seal();
        Ok(Slice { name: name.to_owned(), file, header, seal, fences, filter })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes on disk.
    pub(super) fn len_bytes(&self) -> u64 {
        self.header.index().map_or(0, |index| index.end)
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> u64 {
        self.filter.cells() * super::filter::CELL_LEN as u64 + (self.fences.len() * FENCE_LEN) as u64
    }

    /// Whether none of its ids is to be known any more. So it is for a slice without any.
    pub(super) fn is_forgotten(&self, now: UnixMillis) -> bool {
        is_forgotten(self.header.newest, now)
    }

    /// When the newest id was counted that this slice or an earlier one has.
    pub(super) fn newest_so_far(&self) -> UnixMillis {
        self.header.before.max(self.header.newest)
    }

    /// What is remembered of `key`. For most absent keys this reads nothing, and else one block: two or more only
    /// if keys of several blocks share their first 8 bytes.
    pub(super) fn find(&self, key: &IdKey) -> Result<Option<Remembered>, IdsError> {
        if !self.filter.may_have(key) {
            return Ok(None);
        }
        let prefix = prefix(key);
        // The last block that begins before the prefix may have it, and all that begin with it.
        let first = self.fences.partition_point(|fence| *fence < prefix).saturating_sub(1);
        let mut bytes = [0; BLOCK_LEN];
        for (number, fence) in self.fences.iter().enumerate().skip(first) {
            if *fence > prefix {
                break;
            }
            let offset = block_offset(number as u64);
            self.file.read_at(offset, &mut bytes).map_err(IdsError::io("read", &self.name))?;
            if let Some(found) = self.block(number as u64, &bytes)?.find(key) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn block<'a>(&self, number: u64, bytes: &'a [u8; BLOCK_LEN]) -> Result<Block<'a>, IdsError> {
        Block::check(&self.header, self.seal, number, bytes)
            .map_err(|reason| IdsError::damaged(&self.name, block_offset(number), reason))
    }

    /// All ids in the order of their keys.
    pub(super) fn records(&self) -> Records<'_> {
        Records { slice: self, next: 0, buffer: Vec::new(), records: VecDeque::new(), last: None }
    }
}

/// Whether what was counted at `newest`, and before, is forgotten. At 0 nothing was counted.
pub(super) fn is_forgotten(newest: UnixMillis, now: UnixMillis) -> bool {
    newest.0 == 0 || now.0 >= newest.0.saturating_add(HORIZON_MS)
}

fn block_offset(number: u64) -> u64 {
    HEADER_LEN as u64 + number * BLOCK_LEN as u64
}

/// Shows the bytes of a part of the file to `take`, a bounded number at once; all but the last are a multiple of 4096.
fn read_range(
    name: &str,
    file: &dyn DiskFile,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> Result<(), IdsError> {
    let mut buffer = vec![0; READ_LEN];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).map_or(READ_LEN, |left| left.min(READ_LEN));
        file.read_at(at, &mut buffer[..len]).map_err(IdsError::io("read", name))?;
        take(&buffer[..len]);
        at += len as u64;
    }
    Ok(())
}

fn read_index(name: &str, file: &dyn DiskFile, header: &Header) -> Result<(Vec<u64>, Filter), IdsError> {
    let damaged = |reason| IdsError::damaged(name, 0, reason);
    let index = header.index().ok_or_else(|| damaged("it is longer than any file"))?;
    let middle = index.start + header.blocks() * FENCE_LEN as u64;
    let mut hasher = Hasher::new_with_initial(header.identity.seal());
    let mut fences = Vec::new();
    read_range(name, file, index.start..middle, |bytes| {
        hasher.update(bytes);
        fences.extend(bytes.chunks_exact(FENCE_LEN).map(|fence| u64_at(fence, 0)));
    })?;
    let mut filter = Filter::for_keys(0);
    read_range(name, file, middle..index.end, |bytes| {
        hasher.update(bytes);
        filter.decode(bytes);
    })?;
    if hasher.finalize() != header.index_crc {
        return Err(IdsError::damaged(name, index.start, "the checksum of fences and filter differs"));
    }
    if !fences.is_sorted() {
        return Err(IdsError::damaged(name, index.start, "the fences are not in order"));
    }
    Ok((fences, filter))
}

/// Reads a slice from its start to its end, some blocks at a time, and checks all of it.
pub(super) struct Records<'s> {
    slice: &'s Slice,
    /// The number of the block that is read next.
    next: u64,
    buffer: Vec<u8>,
    records: VecDeque<Known>,
    last: Option<IdKey>,
}

impl Records<'_> {
    /// The next id; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Known>, IdsError> {
        if self.records.is_empty() && self.next < self.slice.header.blocks() {
            self.read()?;
        }
        Ok(self.records.pop_front())
    }

    fn read(&mut self) -> Result<(), IdsError> {
        let slice = self.slice;
        let left = slice.header.blocks() - self.next;
        let blocks = usize::try_from(left).map_or(READ_BLOCKS, |left| left.min(READ_BLOCKS));
        self.buffer.resize(blocks * BLOCK_LEN, 0);
        let offset = block_offset(self.next);
        slice.file.read_at(offset, &mut self.buffer).map_err(IdsError::io("read", &slice.name))?;
        self.records.reserve(blocks * BLOCK_RECORDS);
        for bytes in self.buffer.as_chunks::<BLOCK_LEN>().0 {
            let offset = block_offset(self.next);
            let damaged = |reason| Err(IdsError::damaged(&slice.name, offset, reason));
            let first = self.records.len();
            for record in slice.block(self.next, bytes)?.records() {
                if self.last.is_some_and(|last| last >= record.key) {
                    return damaged("its ids are not in order");
                }
                if !slice.filter.may_have(&record.key) {
                    return damaged("it has an id that the filter does not know");
                }
                self.last = Some(record.key);
                self.records.push_back(record);
            }
            let fence = usize::try_from(self.next).ok().and_then(|number| slice.fences.get(number));
            if fence.copied() != self.records.get(first).map(|record| prefix(&record.key)) {
                return damaged("it does not begin with its fence");
            }
            self.next += 1;
        }
        Ok(())
    }
}
