//! The bytes of segment, group and entry headers. Everything is little-endian.
//!
//! ```text
//! segment header, 64 bytes at offset 0
//!    0  magic "TGSEGMNT"       8    format version u16    10  zero u16
//!   12  crc32 u32 over the other 60 bytes
//!   16  node id, 16 bytes      32  term u64               40  first sequence u64
//!   48  created ms u64         56  capacity u64: the length of the file, this header included
//!
//! group header, 56 bytes, at multiples of 8
//!    0  magic "TGgp"            4  crc32 u32 over bytes 8 to 56, begun with the segment's crc
//!    8  crc32 u32 of the body  12  body length u32         16  entry count u32       20  flags u32: 1 goes on
//!   24  first sequence u64     32  engine time ms u64      40  last synced sequence u64
//!   48  synced end u64: where the last synced group of this segment ends; 0 while there is none
//!
//! entry, padded with zeros to a multiple of 8
//!    0  payload length u32      4  crc32 u32 over bytes 8 to 24 and the payload
//!    8  sequence u64           16  kind u8    17  version u8    18  zero u16    20  zero u32
//!   24  payload
//! ```
//!
//! Format 2 has the flags of a group; in format 1 they were a zero. Both are read, and 2 is written: a release that knows
//! only 1 would take the groups of a batch one by one.
//!
//! A group header's checksum begins with its segment's, so that a group of another file, or bytes that a client
//! sent, never pass for a group of this one. It is apart from the body's, so that what a header says about synced
//! groups is known even when its own body is torn, and searching for headers after a hole takes one pass.

use super::Sequence;
use super::entry::Kind;
use crate::model::time::UnixMillis;
use crc32fast::Hasher;

pub(super) const SEGMENT_HEADER_LEN: usize = 64;
pub(super) const GROUP_HEADER_LEN: usize = 56;
pub(super) const ENTRY_HEADER_LEN: usize = 24;

const SEGMENT_MAGIC: [u8; 8] = *b"TGSEGMNT";
const GROUP_MAGIC: [u8; 4] = *b"TGgp";
const FORMAT_VERSION: u16 = 2;
/// The oldest format that is read.
const FORMAT_VERSION_MIN: u16 = 1;
const CRC_SEGMENT: usize = 12;
const CRC: usize = 4;
const AFTER_CRC: usize = 8;

/// The flag of a group whose batch goes on with the next group.
const GOES_ON: u32 = 1;

/// What every node of a cluster tells journals apart by.
pub type NodeId = [u8; 16];

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The `N` bytes at `at`. Callers have checked the length; beyond the end there are zeros, never a panic.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The bytes an entry takes with this payload, header and padding included.
#[cfg(test)]
pub(super) fn entry_len(payload_len: usize) -> usize {
    (ENTRY_HEADER_LEN + payload_len).next_multiple_of(8)
}

/// What the first 64 bytes of a segment say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) node_id: NodeId,
    pub(super) term: u64,
    pub(super) first: Sequence,
    pub(super) created: UnixMillis,
    pub(super) capacity: u64,
}

/// Why there is no segment header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeaderError {
    /// Never completely written, or damaged.
    Torn,
    /// Complete, of a format that is not known.
    Version(u16),
}

impl SegmentHeader {
    /// The bytes, and the checksum that the segment's groups begin with.
    pub(super) fn encode(&self) -> ([u8; SEGMENT_HEADER_LEN], u32) {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        put(&mut bytes, 0, &SEGMENT_MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.node_id);
        put(&mut bytes, 32, &self.term.to_le_bytes());
        put(&mut bytes, 40, &self.first.0.to_le_bytes());
        put(&mut bytes, 48, &self.created.0.to_le_bytes());
        put(&mut bytes, 56, &self.capacity.to_le_bytes());
        let crc = segment_crc(&bytes);
        put(&mut bytes, CRC_SEGMENT, &crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header at the start of `bytes`, and the checksum that the segment's groups begin with.
    pub(super) fn decode(bytes: &[u8]) -> Result<(SegmentHeader, u32), HeaderError> {
        let bytes: &[u8; SEGMENT_HEADER_LEN] = bytes.first_chunk().ok_or(HeaderError::Torn)?;
        let crc = segment_crc(bytes);
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, CRC_SEGMENT) != crc {
            return Err(HeaderError::Torn);
        }
        let version = u16_at(bytes, 8);
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Err(HeaderError::Version(version));
        }
        let header = SegmentHeader {
            node_id: array_at(bytes, 16),
            term: u64_at(bytes, 32),
            first: Sequence(u64_at(bytes, 40)),
            created: UnixMillis(u64_at(bytes, 48)),
            capacity: u64_at(bytes, 56),
        };
        Ok((header, crc))
    }
}

/// Puts the right checksum into a segment header that was changed, and returns it.
#[cfg(test)]
pub(super) fn reseal(bytes: &mut [u8]) -> u32 {
    let crc = bytes.first_chunk().map_or(0, segment_crc);
    put(bytes, CRC_SEGMENT, &crc.to_le_bytes());
    crc
}

fn segment_crc(bytes: &[u8; SEGMENT_HEADER_LEN]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..CRC_SEGMENT]);
    hasher.update(&bytes[CRC_SEGMENT + 4..]);
    hasher.finalize()
}

/// What the first 56 bytes of a group say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupHeader {
    pub(super) body_crc: u32,
    pub(super) body_len: u32,
    pub(super) count: u32,
    pub(super) flags: u32,
    pub(super) first: Sequence,
    pub(super) engine_time: UnixMillis,
    pub(super) synced: Sequence,
    pub(super) synced_end: u64,
}

impl GroupHeader {
    /// The bytes of this header in the segment with that checksum.
    pub(super) fn encode(&self, segment_crc: u32) -> [u8; GROUP_HEADER_LEN] {
        let mut bytes = [0; GROUP_HEADER_LEN];
        put(&mut bytes, 0, &GROUP_MAGIC);
        put(&mut bytes, 8, &self.body_crc.to_le_bytes());
        put(&mut bytes, 12, &self.body_len.to_le_bytes());
        put(&mut bytes, 16, &self.count.to_le_bytes());
        put(&mut bytes, 20, &self.flags.to_le_bytes());
        put(&mut bytes, 24, &self.first.0.to_le_bytes());
        put(&mut bytes, 32, &self.engine_time.0.to_le_bytes());
        put(&mut bytes, 40, &self.synced.0.to_le_bytes());
        put(&mut bytes, 48, &self.synced_end.to_le_bytes());
        let crc = group_crc(segment_crc, &bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if there is one of the segment with that checksum.
    pub(super) fn decode(segment_crc: u32, bytes: &[u8]) -> Option<GroupHeader> {
        let bytes: &[u8; GROUP_HEADER_LEN] = bytes.first_chunk()?;
        // The magic alone rules out nearly all places of a search, before anything is summed.
        if !bytes.starts_with(&GROUP_MAGIC) || group_crc(segment_crc, bytes) != u32_at(bytes, CRC) {
            return None;
        }
        Some(GroupHeader {
            body_crc: u32_at(bytes, 8),
            body_len: u32_at(bytes, 12),
            count: u32_at(bytes, 16),
            flags: u32_at(bytes, 20),
            first: Sequence(u64_at(bytes, 24)),
            engine_time: UnixMillis(u64_at(bytes, 32)),
            synced: Sequence(u64_at(bytes, 40)),
            synced_end: u64_at(bytes, 48),
        })
    }

    /// The body that follows this header at the start of `bytes`, if it is as it was written.
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = GROUP_HEADER_LEN.checked_add(usize::try_from(self.body_len).ok()?)?;
        let body = bytes.get(GROUP_HEADER_LEN..end)?;
        (crc32fast::hash(body) == self.body_crc).then_some(body)
    }

    /// The flags of a group, by whether its batch goes on with the next group.
    pub(super) fn flags(goes_on: bool) -> u32 {
        if goes_on { GOES_ON } else { 0 }
    }

    /// Whether the next group is of the same batch.
    pub(super) fn goes_on(&self) -> bool {
        self.flags & GOES_ON != 0
    }

    /// Whether all its flags are known.
    pub(super) fn is_known(&self) -> bool {
        self.flags & !GOES_ON == 0
    }

    /// The last sequence of the group.
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0.saturating_add(u64::from(self.count)).saturating_sub(1))
    }
}

fn group_crc(segment_crc: u32, header: &[u8; GROUP_HEADER_LEN]) -> u32 {
    let mut hasher = Hasher::new_with_initial(segment_crc);
    hasher.update(&header[AFTER_CRC..]);
    hasher.finalize()
}

/// An entry as it lies in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RawEntry<'a> {
    pub(super) sequence: Sequence,
    pub(super) kind: u8,
    pub(super) version: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> RawEntry<'a> {
    /// The entry at the start of `bytes` and its length with padding; `None` if it is not sound.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<(RawEntry<'a>, usize)> {
        let header: &[u8; ENTRY_HEADER_LEN] = bytes.first_chunk()?;
        let payload_len = usize::try_from(u32_at(header, 0)).ok()?;
        let end = ENTRY_HEADER_LEN.checked_add(payload_len)?;
        let padded = end.checked_next_multiple_of(8)?;
        let sealed = bytes.get(..end)?;
        let reserved_is_zero = header[18..].iter().all(|byte| *byte == 0);
        let padding_is_zero = bytes.get(end..padded)?.iter().all(|byte| *byte == 0);
        if !reserved_is_zero
            || !padding_is_zero
            || crc32fast::hash(&sealed[AFTER_CRC..]) != u32_at(header, CRC)
        {
            return None;
        }
        let entry = RawEntry {
            sequence: Sequence(u64_at(header, 8)),
            kind: header[16],
            version: header[17],
            payload: &sealed[ENTRY_HEADER_LEN..],
        };
        Some((entry, padded))
    }
}

/// The length, with padding, of the entry at the start of `bytes`, of whose soundness nothing is said; `None` at the end.
pub(super) fn entry_len_at(bytes: &[u8]) -> Option<usize> {
    let payload_len = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let len = ENTRY_HEADER_LEN.checked_add(payload_len)?.checked_next_multiple_of(8)?;
    (len <= bytes.len()).then_some(len)
}

/// Completes an entry whose payload was written to the end of `out`, [`ENTRY_HEADER_LEN`] bytes after `start`.
pub(super) fn seal_entry(out: &mut Vec<u8>, start: usize, sequence: Sequence, kind: Kind, payload_len: u32) {
    let entry = &mut out[start..];
    put(entry, 0, &payload_len.to_le_bytes());
    put(entry, 8, &sequence.0.to_le_bytes());
    put(entry, 16, &[kind as u8, kind.version(), 0, 0, 0, 0, 0, 0]);
    let crc = crc32fast::hash(&entry[AFTER_CRC..]);
    put(entry, CRC, &crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
}

/// The file of the segment that begins with `first` in `term`.
///
/// The term comes first so that names sort in the order in which files were made: within a term first sequences
/// only rise, while a later term may begin at a sequence that an abandoned file had reached already.
pub(super) fn segment_name(term: u64, first: Sequence) -> String {
    format!("{term:016x}-{:016x}.journal", first.0)
}

/// The term and first sequence in a segment's name; `None` for any other file.
pub(super) fn parse_segment_name(name: &str) -> Option<(u64, Sequence)> {
    let (term, first) = name.strip_suffix(".journal")?.split_once('-')?;
    let term = u64::from_str_radix(term, 16).ok()?;
    let first = Sequence(u64::from_str_radix(first, 16).ok()?);
    (segment_name(term, first) == name).then_some((term, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        node_id: [7; 16],
        term: 3,
        first: Sequence(10),
        created: UnixMillis(99),
        capacity: 4096,
    };

    #[test]
    fn a_segment_header_round_trips_and_any_flipped_bit_is_noticed() {
        let (bytes, crc) = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok((HEADER, crc)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(HeaderError::Torn));
        }
    }

    #[test]
    fn a_group_of_another_segment_does_not_pass() {
        let header = GroupHeader {
            body_crc: crc32fast::hash(&[1; 8]),
            body_len: 8,
            count: 1,
            flags: 0,
            first: Sequence(1),
            engine_time: UnixMillis(5),
            synced: Sequence(0),
            synced_end: 0,
        };
        let mut group = header.encode(77).to_vec();
        group.extend([1; 8]);
        assert_eq!(GroupHeader::decode(77, &group), Some(header));
        assert_eq!(GroupHeader::decode(78, &group), None);
        assert_eq!(header.body(&group), Some(&[1; 8][..]));
        group[60] ^= 1;
        assert_eq!(header.body(&group), None);
    }

    #[test]
    fn segment_names_sort_by_term_and_sequence_and_parse_back() {
        assert_eq!(segment_name(1, Sequence(255)), "0000000000000001-00000000000000ff.journal");
        assert!(segment_name(1, Sequence(u64::MAX)) < segment_name(2, Sequence(1)));
        assert!(segment_name(2, Sequence(9)) < segment_name(2, Sequence(16)));
        assert_eq!(parse_segment_name(&segment_name(7, Sequence(11))), Some((7, Sequence(11))));
        for other in
            ["lost+found", "1-2.journal", "0000000000000001-00000000000000FF.journal", ".journal", "-"]
        {
            assert_eq!(parse_segment_name(other), None);
        }
    }
}
