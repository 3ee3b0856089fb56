//! Writing batches to segments: which file, at which offset, in which term.

use super::batch::{Batch, GroupShape};
use super::disk::{Disk, DiskFile};
use super::format::{GroupHeader, NodeId, SEGMENT_HEADER_LEN, SegmentHeader, segment_name};
use super::{JournalError, Sequence};
use crate::model::time::UnixMillis;

/// The segment that is being written.
#[derive(Debug)]
struct Segment {
    name: String,
    file: Box<dyn DiskFile>,
    crc: u32,
    capacity: u64,
    /// Where the next batch goes.
    end: u64,
    /// Where the last synced batch ends; 0 while there is none.
    synced_end: u64,
}

/// Writes one batch after the other, each synced before the next.
#[derive(Debug)]
pub(super) struct Writer {
    node_id: NodeId,
    /// Of the segment that is open or will be next.
    term: u64,
    segment_bytes: u64,
    segment: Option<Segment>,
    /// Files left without a synced batch. They keep their term taken until a file of a later one is durable.
    spent: Vec<String>,
}

impl Writer {
    pub(super) fn new(node_id: NodeId, term: u64, segment_bytes: u64) -> Writer {
        Writer { node_id, term, segment_bytes, segment: None, spent: Vec::new() }
    }

    pub(super) fn term(&self) -> u64 {
        self.term
    }

    /// Makes a segment that will begin with `first`, with room for a batch of `batch_len` bytes.
    pub(super) fn begin(
        &mut self,
        disk: &dyn Disk,
        first: Sequence,
        batch_len: u64,
        now: UnixMillis,
    ) -> Result<(), JournalError> {
        let name = segment_name(self.term, first);
        let result = self.create(disk, &name, first, batch_len, now);
        if result.is_err() {
            // What came of the file is unknown, so the name is not used again. If it cannot be removed either, the
            // next opening removes it: it has no group.
            if !is_taken(&result) {
                let _ = disk.remove(&name);
            }
            self.term += 1;
        }
        self.segment = Some(result?);
        for name in self.spent.drain(..) {
            let _ = disk.remove(&name);
        }
        Ok(())
    }

    fn create(
        &self,
        disk: &dyn Disk,
        name: &str,
        first: Sequence,
        batch_len: u64,
        now: UnixMillis,
    ) -> Result<Segment, JournalError> {
        let capacity = self.segment_bytes.max(SEGMENT_HEADER_LEN as u64 + batch_len);
        let header = SegmentHeader { node_id: self.node_id, term: self.term, first, created: now, capacity };
        let (bytes, crc) = header.encode();
        let file = disk.create(name, capacity).map_err(JournalError::io("create", name))?;
        file.write_at(0, &bytes).map_err(JournalError::io("write", name))?;
        file.sync_data().map_err(JournalError::io("sync", name))?;
        disk.sync_dir().map_err(JournalError::io("sync the directory after creating", name))?;
        let end = SEGMENT_HEADER_LEN as u64;
        Ok(Segment { name: name.to_owned(), file, crc, capacity, end, synced_end: 0 })
    }

    /// Writes a batch as these groups of its entries and syncs it, all in one segment, which is a new one if need be.
    /// Returns the name of the file.
    pub(super) fn write(
        &mut self,
        disk: &dyn Disk,
        batch: &Batch,
        groups: &[GroupShape],
        engine_time: UnixMillis,
        synced: Sequence,
    ) -> Result<&str, JournalError> {
        let len = groups.iter().map(GroupShape::len).sum();
        if self.segment.as_ref().is_some_and(|segment| segment.capacity - segment.end < len) {
            self.leave();
        }
        if self.segment.is_none() {
            self.begin(disk, synced.next(), len, engine_time)?;
        }
        let written = self.segment.as_mut().map(|segment| segment.write(batch, groups, engine_time, synced));
        if let Some(Err(error)) = written {
            self.term += 1;
            self.leave();
            return Err(error);
        }
        Ok(self.segment.as_ref().map_or("", |segment| &segment.name))
    }

    /// Turns away from the current segment. One without a synced batch has no use, and its name, which the next
    /// would otherwise have too, is spent with its term.
    fn leave(&mut self) {
        if let Some(segment) = self.segment.take().filter(|segment| segment.synced_end == 0) {
            self.spent.push(segment.name);
            self.term += 1;
        }
    }
}

/// Whether a file of that name was there already: it is not ours to remove.
fn is_taken(result: &Result<Segment, JournalError>) -> bool {
    matches!(result, Err(JournalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists)
}

impl Segment {
    fn write(
        &mut self,
        batch: &Batch,
        groups: &[GroupShape],
        engine_time: UnixMillis,
        synced: Sequence,
    ) -> Result<(), JournalError> {
        let mut end = self.end;
        for (group, left) in groups.iter().zip((0..groups.len()).rev()) {
            let body = batch.bytes_of(group);
            let header = GroupHeader {
                body_crc: crc32fast::hash(body),
                body_len: group.body_len,
                count: group.count,
                flags: GroupHeader::flags(left > 0),
                first: group.first,
                engine_time,
                synced,
                synced_end: self.synced_end,
            };
            let header = header.encode(self.crc);
            self.file.write_at(end, &header).map_err(JournalError::io("write", &self.name))?;
            let body_at = end + header.len() as u64;
            self.file.write_at(body_at, body).map_err(JournalError::io("write", &self.name))?;
            end += group.len();
        }
        self.file.sync_data().map_err(JournalError::io("sync", &self.name))?;
        (self.end, self.synced_end) = (end, end);
        Ok(())
    }
}
