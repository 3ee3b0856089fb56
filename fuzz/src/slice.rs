//! Slices of idempotency ids. The input is a mark and the bytes of a slice's file. These are tried as they are; then
//! their records are made a slice of their own, in order and with checksums that fit, unless the mark wants one wrong.

use std::io;
use std::sync::Arc;

use tollgate::journal::{Disk, DiskFile};
use tollgate::model::idempotency::{BodyHash, IdKey};
use tollgate::model::time::UnixMillis;
use tollgate::store::ids::Slices;

const HEADER: usize = 4096;
const BLOCK: usize = 4096;
const RECORD: usize = 40;
const RECORDS: usize = 102;
const CELL: usize = 32;

/// A directory with one file.
#[derive(Clone, Debug)]
struct One {
    name: String,
    bytes: Arc<[u8]>,
}

impl Disk for One {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![self.name.clone()])
    }

    fn open(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn create(&self, _name: &str, _len: u64) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl DiskFile for One {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..at + buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}

fn crc(from: u32, parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(from);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

fn key_of(record: &[u8]) -> IdKey {
    IdKey(record[..16].try_into().expect("16 bytes"))
}

/// Opens the file, and holds what it says to what it has. Returns whether it is whole.
fn check(bytes: &[u8]) -> bool {
    let name = format!("{:020}-{:020}.slice", u64_at(bytes, 32), u64_at(bytes, 40));
    let node = bytes.get(16..32).map_or([0; 16], |node| node.try_into().expect("16 bytes"));
    let disk = Arc::new(One { name, bytes: bytes.into() });
    let Ok((slices, _)) = Slices::open_on(disk, node, UnixMillis(u64::MAX)) else { return false };
    if slices.slices() == 0 {
        return false;
    }
    assert_eq!((slices.bytes(), slices.covered().0), (bytes.len() as u64, u64_at(bytes, 40)));
    assert!(slices.memory() <= slices.bytes());
    let ids = slices.len() as usize;
    let record = |id: usize| {
        let at = HEADER + id / RECORDS * BLOCK + id % RECORDS * RECORD;
        &bytes[at..at + RECORD]
    };
    match slices.verify() {
        Ok(read) => assert_eq!(read, ids as u64),
        Err(_) => {
            // A lookup may fail or find something, but not bring the node down.
            (0..ids.min(500)).for_each(|id| drop(slices.find(&key_of(record(id)))));
            return false;
        }
    }
    for id in 0..ids {
        let found = slices.find(&key_of(record(id))).expect("it is whole").expect("it is there");
        assert_eq!(found.body, BodyHash(u64_at(record(id), 16)));
        assert_eq!((found.outcome, found.at.0), (u64_at(record(id), 24), u64_at(record(id), 32)));
    }
    let absent = slices.find(&IdKey([0xA5; 16])).expect("it is whole");
    assert_eq!(absent.is_some(), (0..ids).any(|id| record(id)[..16] == [0xA5; 16]));
    true
}

/// The records that `bytes` would have as blocks, in order.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let blocks =
        bytes.chunks(BLOCK).flat_map(|block| block[..block.len().min(RECORDS * RECORD)].chunks_exact(RECORD));
    let mut records: Vec<_> = blocks.take(500).collect();
    records.sort_by_key(|record| key_of(record));
    records.dedup_by_key(|record| key_of(record));
    records
}

/// A slice of these records; `wrong` is what does not fit, if anything.
fn seal(head: &[u8], records: &[&[u8]], wrong: u8) -> Vec<u8> {
    let sealing = crc(0, &[&head[16..48]]);
    let sealing = u32::from_le_bytes(sealing);
    let (mut blocks, mut fences) = (Vec::new(), Vec::new());
    for (number, part) in records.chunks(RECORDS).enumerate() {
        let mut block = part.concat();
        block.resize(RECORDS * RECORD, 0);
        let count = part.len() as u16 + u16::from(wrong == 1);
        block.extend(count.to_le_bytes());
        block.resize(BLOCK - 4, 0);
        let number = number as u64 + u64::from(wrong == 2);
        let sum = crc(sealing, &[&number.to_le_bytes(), &block]);
        block.extend(sum);
        blocks.extend(block);
        fences.extend(part[0][..8].iter().rev().map(|byte| byte ^ u8::from(wrong == 3)));
    }
    let filter = vec![if wrong == 4 { head[48] } else { 0xFF }; CELL * usize::from(head[80] % 8 + 1)];
    let len = (HEADER + blocks.len() + fences.len() + filter.len()) as u64;
    let mut header = head.to_vec();
    header[..8].copy_from_slice(b"TGIDSLCE");
    header[8..12].copy_from_slice(&[1, 0, 0, 0]);
    let ids = records.len() as u64 + u64::from(wrong == 5);
    header[48..56].copy_from_slice(&ids.to_le_bytes());
    // The youngest of all slices is told to be long ago, so that none is missing.
    header[72..80].fill(0);
    header[80..88].copy_from_slice(&((filter.len() / CELL) as u64).to_le_bytes());
    header[88..96].copy_from_slice(&(len - u64::from(wrong == 6)).to_le_bytes());
    header[96..100].copy_from_slice(&crc(sealing, &[&fences, &filter]));
    let sum = crc(0, &[&header[..12], &header[16..]]);
    header[12..16].copy_from_slice(&sum);
    [header, blocks, fences, filter].concat()
}

/// One input.
pub fn run(bytes: &[u8]) {
    let [mark, bytes @ ..] = bytes else { return };
    check(bytes);
    let mut head = bytes[..bytes.len().min(HEADER)].to_vec();
    head.resize(HEADER, 0);
    let records = records(bytes.get(HEADER..).unwrap_or(bytes));
    let (from, to) = (u64_at(&head, 32), u64_at(&head, 40));
    head[32..40].copy_from_slice(&from.min(to).to_le_bytes());
    head[40..48].copy_from_slice(&from.max(to).to_le_bytes());
    let wrong = mark % 8;
    let whole = check(&seal(&head, &records, wrong));
    assert!(whole || (1..=6).contains(&wrong), "what fits is refused");
    assert!(!whole || records.is_empty() || !matches!(wrong, 1 | 2 | 3 | 5), "what does not fit passes");
    assert!(!whole || wrong != 6, "what does not fit passes");
}
