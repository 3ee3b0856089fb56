//! A whole journal segment. The input is laid out as a segment, group and entry headers are given the magics and
//! checksums that fit, unless the input wants them wrong, and the name follows from the header.

use tollgate::journal::{Sequence, read_segment};

const HEADER: usize = 64;
const GROUP: usize = 56;
const ENTRY: usize = 24;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn crc(from: u32, parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(from);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

/// Seals the group at `at`, of the batch that begins with `batch`: as many entries as its body holds. Returns where the
/// next group begins.
fn seal_group(bytes: &mut [u8], at: usize, segment: u32, first: &mut u64, batch: &mut u64) -> usize {
    // One input byte says how much is put right; most ways put everything right.
    let wrong = bytes[at];
    let len =
        (u32_at(bytes, at + 12) as usize % 2048).next_multiple_of(8).min(bytes.len() - at - GROUP) / 8 * 8;
    let (start, end) = (at + GROUP, at + GROUP + len);
    let (mut entry, mut count) = (start, 0);
    while entry + ENTRY <= end {
        let room = end - entry - ENTRY;
        let mut payload = u32_at(bytes, entry) as usize % (room + 1);
        let rest = room - payload.next_multiple_of(8).min(room);
        if rest < ENTRY {
            payload = room - payload % 8 % (room + 1);
        }
        let padded = (ENTRY + payload).next_multiple_of(8).min(end - entry);
        put(bytes, entry, &(payload as u32).to_le_bytes());
        put(bytes, entry + 8, &first.wrapping_add(count).to_le_bytes());
        let (kind, version) = (bytes[entry + 16] % 10, bytes[entry + 17] % 16);
        put(bytes, entry + 16, &[kind, u8::from(version != 0), 0, 0, 0, 0, 0, 0]);
        bytes[entry + ENTRY + payload..entry + padded].fill(0);
        let sum = crc(0, &[&bytes[entry + 8..entry + ENTRY + payload]]);
        put(bytes, entry + 4, &sum);
        entry += padded;
        count += 1;
    }
    put(bytes, at, b"TGgp");
    let body = crc(0, &[&bytes[start..end]]);
    if wrong != 1 {
        put(bytes, at + 8, &body);
    }
    put(bytes, at + 12, &(len as u32).to_le_bytes());
    if wrong != 2 {
        put(bytes, at + 16, &(count as u32).to_le_bytes());
    }
    if wrong != 3 {
        put(bytes, at + 24, &first.to_le_bytes());
    }
    if wrong != 4 {
        put(bytes, at + 40, &batch.saturating_sub(1).to_le_bytes());
        put(bytes, at + 48, &0_u64.to_le_bytes());
    }
    // Whether the batch goes on.
    let flags = bytes[at + 20] & 1;
    if wrong != 6 {
        put(bytes, at + 20, &[flags, 0, 0, 0]);
    }
    if wrong != 5 {
        let sum = crc(segment, &[&bytes[at + 8..at + GROUP]]);
        put(bytes, at + 4, &sum);
    }
    *first = first.wrapping_add(count);
    if flags == 0 {
        *batch = *first;
    }
    end
}

fn check(name: &str, bytes: &[u8]) {
    let mut seen: Option<(Sequence, Sequence)> = None;
    let read = read_segment(name, bytes, |sequence, _, _| {
        let (begin, last) = seen.unwrap_or((sequence, sequence.previous()));
        assert_eq!(sequence, last.next(), "a gap");
        seen = Some((begin, sequence));
    });
    let Ok(Some(end)) = read else { return };
    assert!(end.offset >= HEADER as u64 && end.offset + end.torn_bytes <= bytes.len() as u64);
    let (_, first) = name.trim_end_matches(".journal").split_once('-').expect("a segment's name");
    let first = Sequence(u64::from_str_radix(first, 16).expect("a segment's name"));
    let (begin, last) = seen.unwrap_or((first, first.previous()));
    assert_eq!((begin, last.next()), (first, end.next));
}

/// One input.
pub fn run(bytes: &[u8]) {
    let name = |bytes: &[u8]| format!("{:016x}-{:016x}.journal", u64_at(bytes, 32), u64_at(bytes, 40));
    check(&name(bytes), bytes);
    if bytes.len() < HEADER {
        return;
    }
    let mut sealed = bytes.to_vec();
    put(&mut sealed, 0, b"TGSEGMNT");
    put(&mut sealed, 8, &[2, 0, 0, 0]);
    if u64_at(bytes, 56) % 8 != 1 {
        let capacity = sealed.len() as u64;
        put(&mut sealed, 56, &capacity.to_le_bytes());
    }
    let segment = crc(0, &[&sealed[..12], &sealed[16..HEADER]]);
    put(&mut sealed, 12, &segment);
    let (mut at, mut first) = (HEADER, u64_at(&sealed, 40));
    let mut batch = first;
    while at + GROUP <= sealed.len() && sealed[at..].iter().any(|byte| *byte != 0) {
        at = seal_group(&mut sealed, at, u32::from_le_bytes(segment), &mut first, &mut batch);
    }
    check(&name(&sealed), &sealed);
}
