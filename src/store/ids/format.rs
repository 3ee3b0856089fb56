//! The bytes of a slice. Everything is little-endian, but for the order of keys.
//!
//! ```text
//! slice file   header | blocks | fences | filter
//!
//! header, 4096 bytes at offset 0
//!    0  magic "TGIDSLCE"        8  format version u16      10  zero u16
//!   12  crc32 u32 over all other bytes of the header
//!   16  node id, 16 bytes      32  from u64                40  to u64: the sequences it covers
//!   48  ids u64                56  oldest ms u64           64  newest ms u64: when its ids were counted
//!   72  before ms u64: when the newest id of all earlier slices was counted; 0 without one
//!   80  filter cells u64       88  length of the file u64
//!   96  crc32 u32 over fences and filter, begun with the seal
//!  100  zeros
//!
//! block, 4096 bytes; all but the last are full
//!    0  up to 102 records, in ascending order of their keys, then zeros
//! 4080  records u16          4082  zeros, 10 bytes         4092  crc32 u32 over the rest and the block's number u64,
//!                                                                begun with the seal
//! record, 40 bytes
//!    0  key, 16 bytes          16  body hash u64           24  outcome u64         32  counted at ms u64
//!
//! fences       per block: the first 8 bytes of its first key
//! filter       cells of 32 bytes, see the `filter` module
//!
//! seal         crc32 u32 over node id, from and to
//! ```
//!
//! Keys are compared byte by byte, as big-endian numbers are. Checksums begin with the seal, so that no block of another
//! slice passes for one of this. How many blocks there are follows from the number of ids, and the length of the file
//! from that and the number of cells: it is held against the true length before anything is allocated.

use std::ops::Range;

use crc32fast::Hasher;

use super::error::IdsError;
use super::filter::CELL_LEN;
use crate::journal::{NodeId, Sequence};
use crate::model::idempotency::{BodyHash, IdKey, Known, Remembered};
use crate::model::time::UnixMillis;

pub(super) const HEADER_LEN: usize = 4096;
pub(super) const BLOCK_LEN: usize = 4096;
pub(super) const FENCE_LEN: usize = 8;
/// How many records a block takes.
pub(super) const BLOCK_RECORDS: usize = 102;

const RECORD_LEN: usize = 40;
const MAGIC: [u8; 8] = *b"TGIDSLCE";
const FORMAT_VERSION: u16 = 1;
const HEADER_CRC: Range<usize> = 12..16;
const COUNT: Range<usize> = BLOCK_RECORDS * RECORD_LEN..BLOCK_RECORDS * RECORD_LEN + 2;
const BLOCK_CRC: Range<usize> = BLOCK_LEN - 4..BLOCK_LEN;

/// The `N` bytes at `at`. Callers have checked the length; beyond the end there are zeros, never a panic.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The first 8 bytes of a key: what fences hold, and where in a slice the key lies.
#[expect(clippy::big_endian_bytes, reason = "keys are ordered byte by byte, and so are their beginnings")]
pub(super) fn prefix(key: &IdKey) -> u64 {
    u64::from_be_bytes(array_at(&key.0, 0))
}

/// The other 8 bytes of a key.
#[expect(clippy::big_endian_bytes, reason = "keys are ordered byte by byte, and so are their beginnings")]
pub(super) fn suffix(key: &IdKey) -> u64 {
    u64::from_be_bytes(array_at(&key.0, 8))
}

/// Which sequences a slice covers, and whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) node_id: NodeId,
    pub(super) from: Sequence,
    pub(super) to: Sequence,
}

impl Identity {
    /// What the checksums of its blocks begin with.
    pub(super) fn seal(&self) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.node_id);
        hasher.update(&self.from.0.to_le_bytes());
        hasher.update(&self.to.0.to_le_bytes());
        hasher.finalize()
    }
}

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) ids: u64,
    pub(super) oldest: UnixMillis,
    pub(super) newest: UnixMillis,
    pub(super) before: UnixMillis,
    pub(super) cells: u64,
    pub(super) index_crc: u32,
}

impl Header {
    pub(super) fn blocks(&self) -> u64 {
        self.ids.div_ceil(BLOCK_RECORDS as u64)
    }

    /// Where fences and filter begin, and where they, and the file, end; `None` if no file is that long.
    pub(super) fn index(&self) -> Option<Range<u64>> {
        let start = self.blocks().checked_mul(BLOCK_LEN as u64)?.checked_add(HEADER_LEN as u64)?;
        let fences = self.blocks().checked_mul(FENCE_LEN as u64)?;
        let filter = self.cells.checked_mul(CELL_LEN as u64)?;
        Some(start..start.checked_add(fences)?.checked_add(filter)?)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.identity.node_id);
        let len = self.index().map_or(u64::MAX, |index| index.end);
        let numbers = [
            self.identity.from.0,
            self.identity.to.0,
            self.ids,
            self.oldest.0,
            self.newest.0,
            self.before.0,
            self.cells,
            len,
        ];
        for (number, at) in numbers.iter().zip((32..).step_by(8)) {
            put(&mut bytes, at, &number.to_le_bytes());
        }
        put(&mut bytes, 96, &self.index_crc.to_le_bytes());
        let crc = header_crc(&bytes);
        put(&mut bytes, HEADER_CRC.start, &crc.to_le_bytes());
        bytes
    }

    /// The header of a file of `len` bytes. `file` is named in errors.
    pub(super) fn decode(file: &str, bytes: &[u8], len: u64) -> Result<Header, IdsError> {
        if bytes.len() != HEADER_LEN || bytes[..8] != MAGIC {
            return Err(IdsError::damaged(file, 0, "it does not begin as a slice does"));
        }
        if u32_at(bytes, HEADER_CRC.start) != header_crc(bytes) {
            return Err(IdsError::damaged(file, 0, "the header's checksum differs"));
        }
        let version = u16_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(IdsError::Format { file: file.to_owned(), version });
        }
        let header = Header {
            identity: Identity {
                node_id: array_at(bytes, 16),
                from: Sequence(u64_at(bytes, 32)),
                to: Sequence(u64_at(bytes, 40)),
            },
            ids: u64_at(bytes, 48),
            oldest: UnixMillis(u64_at(bytes, 56)),
            newest: UnixMillis(u64_at(bytes, 64)),
            before: UnixMillis(u64_at(bytes, 72)),
            cells: u64_at(bytes, 80),
            index_crc: u32_at(bytes, 96),
        };
        let says = header.index().map(|index| index.end);
        if says != Some(len) || u64_at(bytes, 88) != len {
            return Err(IdsError::damaged(file, 0, "it is not as long as its header says"));
        }
        Ok(header)
    }
}

fn header_crc(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..HEADER_CRC.start]);
    hasher.update(&bytes[HEADER_CRC.end..]);
    hasher.finalize()
}

fn block_crc(seal: u32, number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seal);
    hasher.update(&number.to_le_bytes());
    hasher.update(&bytes[..BLOCK_CRC.start]);
    hasher.finalize()
}

/// Appends the block of that number; `records` are at most [`BLOCK_RECORDS`].
pub(super) fn encode_block(seal: u32, number: u64, records: &[Known], out: &mut Vec<u8>) {
    let start = out.len();
    for Known { key, remembered } in records {
        out.extend_from_slice(&key.0);
        for number in [remembered.body.0, remembered.outcome, remembered.at.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.resize(start + BLOCK_LEN, 0);
    let block = &mut out[start..];
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    put(block, COUNT.start, &count.to_le_bytes());
    let crc = block_crc(seal, number, block);
    put(block, BLOCK_CRC.start, &crc.to_le_bytes());
}

/// A block whose checksum fits.
pub(super) struct Block<'a> {
    records: &'a [[u8; RECORD_LEN]],
}

impl Block<'_> {
    /// Checks the block of that number, which has as many records as `header` leaves for it. The error is a reason.
    pub(super) fn check<'a>(
        header: &Header,
        seal: u32,
        number: u64,
        bytes: &'a [u8; BLOCK_LEN],
    ) -> Result<Block<'a>, &'static str> {
        if u32_at(bytes, BLOCK_CRC.start) != block_crc(seal, number, bytes) {
            return Err("the block's checksum differs");
        }
        let left = header.ids.saturating_sub(number.saturating_mul(BLOCK_RECORDS as u64));
        let count = usize::from(u16_at(bytes, COUNT.start));
        if count == 0 || count as u64 != left.min(BLOCK_RECORDS as u64) {
            return Err("the block has not as many records as it should");
        }
        let (records, _) = bytes[..count * RECORD_LEN].as_chunks();
        Ok(Block { records })
    }

    /// What is remembered of `key`.
    pub(super) fn find(&self, key: &IdKey) -> Option<Remembered> {
        let at = self.records.binary_search_by(|record| record[..16].cmp(&key.0)).ok()?;
        Some(decode_record(&self.records[at]).remembered)
    }

    /// All records.
    pub(super) fn records(&self) -> impl Iterator<Item = Known> {
        self.records.iter().map(decode_record)
    }
}

fn decode_record(record: &[u8; RECORD_LEN]) -> Known {
    Known {
        key: IdKey(array_at(record, 0)),
        remembered: Remembered {
            body: BodyHash(u64_at(record, 16)),
            outcome: u64_at(record, 24),
            at: UnixMillis(u64_at(record, 32)),
        },
    }
}

/// The name of the slice that covers these sequences.
pub(super) fn slice_name(from: Sequence, to: Sequence) -> String {
    format!("{:020}-{:020}{SUFFIX}", from.0, to.0)
}

const SUFFIX: &str = ".slice";

/// What is added to a slice's name until it is whole.
pub(super) const UNFINISHED: &str = ".new";

/// The sequences that a slice of that name covers; `None` if it is no slice's name.
pub(super) fn parse_name(name: &str) -> Option<(Sequence, Sequence)> {
    let (from, to) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let (from, to) = (Sequence(from.parse().ok()?), Sequence(to.parse().ok()?));
    (from <= to && slice_name(from, to) == name).then_some((from, to))
}
