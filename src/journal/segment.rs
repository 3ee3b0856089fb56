//! Reading one segment from its bytes, by the rules that hold within a file.
//!
//! - Batches follow one another without gaps from offset 64; the first place where no whole batch begins is the
//!   *end*: a batch is whole if all its groups are. Zeros from there on are the unused rest of the file.
//! - Anything else after the end is a *torn tail*, unless a group header further on says that the place was synced:
//!   then it is *damage*. A header says so even when its own body is torn.
//! - What is whole but contradicts itself (a sequence out of turn, a group without entries, an unknown flag) is damage:
//!   it was not a power loss that wrote it.
//! - A file shorter than its header says was cut by something else than a power loss, since its length was synced
//!   before its first group.

use super::Sequence;
use super::entry::{Entry, decode};
use super::error::JournalError;
use super::format::parse_segment_name;
use super::format::{
    GROUP_HEADER_LEN, GroupHeader, HeaderError, RawEntry, SEGMENT_HEADER_LEN, SegmentHeader,
};
use crate::model::time::UnixMillis;

/// A whole group, where it lies in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) header: GroupHeader,
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
    /// The first sequence of its batch.
    pub(super) batch: Sequence,
}

/// What was found in a segment besides its groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// The sequence after the last whole batch's.
    pub next: Sequence,
    /// Where that batch ends.
    pub offset: u64,
    /// How many bytes of a torn tail follow; 0 if only zeros do.
    pub torn_bytes: u64,
}

/// The header of the segment `name`, checked against the name; `None` for a file that never came to have one.
///
/// `bytes` is the start of the file, at least [`SEGMENT_HEADER_LEN`] of it if it is that long.
pub(super) fn read_header(name: &str, bytes: &[u8]) -> Result<Option<(SegmentHeader, u32)>, JournalError> {
    let (header, crc) = match SegmentHeader::decode(bytes) {
        Ok(decoded) => decoded,
        Err(HeaderError::Torn) => return Ok(None),
        Err(HeaderError::Version(version)) => {
            return Err(JournalError::Format { file: name.to_owned(), version });
        }
    };
    if parse_segment_name(name) != Some((header.term, header.first)) {
        return Err(JournalError::damaged(name, 0, "its header belongs to a file of another name"));
    }
    // Sequence 0 means "before the first entry", so that no arithmetic below can pass it.
    if header.first.0 == 0 {
        return Err(JournalError::damaged(name, 0, "it begins with sequence 0"));
    }
    Ok(Some((header, crc)))
}

/// Whether there is nothing but zeros after the header's place.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().skip(SEGMENT_HEADER_LEN).all(|byte| *byte == 0)
}

/// Shows every group of the whole batches of a segment to `visit`, in order.
pub(super) fn scan<'a, E: From<JournalError>>(
    name: &str,
    (header, crc): (SegmentHeader, u32),
    bytes: &'a [u8],
    mut visit: impl FnMut(Group<'a>) -> Result<(), E>,
) -> Result<SegmentEnd, E> {
    if (bytes.len() as u64) < header.capacity {
        return Err(JournalError::damaged(name, bytes.len() as u64, "the file was cut short").into());
    }
    // Where the batch begins that is being read, and its groups so far.
    let (mut next, mut offset) = (header.first, SEGMENT_HEADER_LEN);
    let mut batch = Vec::new();
    let (mut first, mut at) = (next, offset);
    while let Some(found) = bytes.get(at..).and_then(|rest| GroupHeader::decode(crc, rest)) {
        check(&found, first, next, offset)
            .map_err(|reason| JournalError::damaged(name, at as u64, reason))?;
        let Some(body) = found.body(&bytes[at..]) else { break };
        batch.push(Group { header: found, offset: at, body, batch: next });
        first = found.last().next();
        at += GROUP_HEADER_LEN + body.len();
        if !found.goes_on() {
            batch.drain(..).try_for_each(&mut visit)?;
            (next, offset) = (first, at);
        }
    }
    let torn_bytes = torn_bytes(bytes, offset);
    if torn_bytes > 0 && is_vouched_for(crc, bytes, offset, next) {
        let reason = format!("what follows sequence {} was synced but is not whole any more", next.0 - 1);
        return Err(JournalError::damaged(name, offset as u64, reason).into());
    }
    Ok(SegmentEnd { next, offset: offset as u64, torn_bytes })
}

/// What no writer writes, whether or not the body is whole: `first` is the sequence that is next, `batch` the first of
/// its batch, which begins at `offset`.
fn check(group: &GroupHeader, first: Sequence, batch: Sequence, offset: usize) -> Result<(), &'static str> {
    if !group.is_known() {
        return Err("a group has flags that this release does not know");
    }
    if group.first != first {
        return Err("a group begins with another sequence than the one that is next");
    }
    if group.count == 0 || group.first.0.checked_add(u64::from(group.count)).is_none() {
        return Err("a group has no entries, or more than there are sequences");
    }
    if !group.body_len.is_multiple_of(8) {
        return Err("a group's length is not a multiple of 8");
    }
    if group.synced >= batch || group.synced_end > offset as u64 {
        return Err("a group says that it was synced before it was written");
    }
    Ok(())
}

/// How many bytes there are from `offset` to the last that is not zero.
fn torn_bytes(bytes: &[u8], offset: usize) -> u64 {
    let rest = bytes.get(offset..).unwrap_or_default();
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Whether a group header after the hole at `offset` says that the hole, or the sequence lost in it, was synced.
fn is_vouched_for(crc: u32, bytes: &[u8], offset: usize, lost: Sequence) -> bool {
    (offset..bytes.len())
        .step_by(8)
        .filter_map(|at| GroupHeader::decode(crc, &bytes[at..]))
        .any(|group| group.synced >= lost || group.synced_end > offset as u64)
}

impl<'a> Group<'a> {
    /// The entries with the offset of each, as many as the header says and nothing else.
    pub(super) fn entries(&self, name: &str) -> Result<Vec<(u64, RawEntry<'a>)>, JournalError> {
        let mut entries = Vec::new();
        let mut sequence = self.header.first;
        let mut rest = self.body;
        while !rest.is_empty() {
            let offset = (self.offset + GROUP_HEADER_LEN + self.body.len() - rest.len()) as u64;
            let (entry, len) = RawEntry::decode(rest)
                .filter(|(entry, _)| entry.sequence == sequence)
                .ok_or_else(|| JournalError::damaged(name, offset, "a whole group holds an unsound entry"))?;
            entries.push((offset, entry));
            sequence = sequence.next();
            rest = &rest[len..];
        }
        if entries.len() as u64 != u64::from(self.header.count) {
            let reason = "a group has another number of entries than it says";
            return Err(JournalError::damaged(name, self.offset as u64, reason));
        }
        Ok(entries)
    }
}

impl RawEntry<'_> {
    /// The entry, decoded; `name` and `offset` say where it lies if it cannot be.
    pub(super) fn open(&self, name: &str, offset: u64) -> Result<Entry, JournalError> {
        decode(self.kind, self.version, self.payload).map_err(|source| JournalError::Entry {
            file: name.to_owned(),
            offset,
            sequence: self.sequence,
            source,
        })
    }
}

/// Reads the bytes of one segment file, whose name says what its header must, and shows every entry to `visit`
/// with the engine time of its group. `None` if the file never came to have a header.
///
/// For inspection and fuzzing; opening a journal also weighs its segments against each other.
///
/// # Errors
/// Damage, unknown formats and unknown entries, as opening would report them. No content makes it panic.
pub fn read_segment(
    name: &str,
    bytes: &[u8],
    mut visit: impl FnMut(Sequence, UnixMillis, Entry),
) -> Result<Option<SegmentEnd>, JournalError> {
    let Some(header) = read_header(name, bytes)? else {
        return if is_blank(bytes) { Ok(None) } else { Err(headless(name)) };
    };
    scan(name, header, bytes, |group| {
        for (offset, entry) in group.entries(name)? {
            visit(entry.sequence, group.header.engine_time, entry.open(name, offset)?);
        }
        Ok(())
    })
    .map(Some)
}

/// The error for groups without a segment header: it was synced before them, so it was whole once.
pub(super) fn headless(name: &str) -> JournalError {
    JournalError::damaged(name, 0, "the header is not whole, though groups follow it")
}
