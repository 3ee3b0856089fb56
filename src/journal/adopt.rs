//! Taking over a copy of a journal: up to which place, and as whose.
//!
//! A copy that goes on beside its original must not be written as the same node: both would give out the same sequences
//! in the same terms, and (term, sequence) would name two entries. So a restored journal gets a node id of its own: each
//! segment's header is written anew, and with it each group's, whose checksum begins with the segment's. Bodies, terms
//! and sequences stay.

use super::Sequence;
use super::error::JournalError;
use super::format::{GROUP_HEADER_LEN, GroupHeader, NodeId, SEGMENT_HEADER_LEN, SegmentHeader};
use super::segment::{headless, is_blank, read_header, scan};

/// How many bytes of a segment hold it up to and with `last`; 0 if nothing of it does. What follows is of no use to who
/// knows that `last` was synced.
#[must_use]
pub fn beginning(name: &str, bytes: &[u8], last: Sequence) -> usize {
    let Ok(Some((header, crc))) = read_header(name, bytes) else { return 0 };
    if header.first > last {
        return 0;
    }
    // A batch that is not whole counts for nothing.
    let (mut end, mut at) = (SEGMENT_HEADER_LEN, SEGMENT_HEADER_LEN);
    while let Some(rest) = bytes.get(at..)
        && let Some(group) = GroupHeader::decode(crc, rest).filter(|group| group.last() <= last)
        && let Some(body) = group.body(rest)
    {
        at += GROUP_HEADER_LEN + body.len();
        if !group.goes_on() {
            end = at;
        }
    }
    end
}

/// A segment as `node_id` would have written it, without a torn tail; `None` for one that never came to have a header.
///
/// # Errors
/// Damage, and formats that are not known.
pub fn as_written_by(node_id: NodeId, name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
    let Some((header, crc)) = read_header(name, bytes)? else {
        return if is_blank(bytes) { Ok(None) } else { Err(headless(name)) };
    };
    let (new_header, new_crc) = SegmentHeader { node_id, ..header }.encode();
    let mut out = vec![0; bytes.len()];
    out[..SEGMENT_HEADER_LEN].copy_from_slice(&new_header);
    scan(name, (header, crc), bytes, |group| {
        let body = group.offset + GROUP_HEADER_LEN;
        out[group.offset..body].copy_from_slice(&group.header.encode(new_crc));
        out[body..body + group.body.len()].copy_from_slice(group.body);
        Ok::<_, JournalError>(())
    })?;
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::MemoryDisk;
    use crate::journal::entry::{Command, Entry, Kind};
    use crate::journal::{Journal, Options, read_whole, segment_names};
    use crate::model::time::UnixMillis;

    fn open(disk: &MemoryDisk, node_id: NodeId) -> Result<(Journal, Vec<u64>), String> {
        let mut seen = Vec::new();
        let options = Options { segment_bytes: 4096, node_id: Some(node_id), ..Options::default() };
        let visit = |_, _, entry| {
            if let Entry::Command(command) = entry {
                seen.push(command.version);
            }
            Ok::<_, JournalError>(())
        };
        let opened = Journal::open_on(Box::new(disk.clone()), options, Sequence(0), visit);
        let (journal, _) = opened.map_err(|error| error.to_string())?;
        Ok((journal, seen))
    }

    #[test]
    fn a_copy_up_to_a_sequence_is_taken_over_by_another_node() {
        let disk = MemoryDisk::default();
        let (journal, _) = open(&disk, [1; 16]).unwrap();
        for number in 1..=20 {
            let command = Command { version: number, core: vec![7; 300], parts: Vec::new() };
            journal.append(Kind::Command, |out| command.encode(out)).unwrap();
            journal.flush(UnixMillis(number)).unwrap();
        }
        let image = |last: u64| {
            let mut image = std::collections::BTreeMap::new();
            for name in segment_names(&disk).unwrap() {
                let mut bytes = read_whole(&disk, &name).unwrap();
                let kept = beginning(&name, &bytes, Sequence(last));
                bytes[kept..].fill(0);
                if let Some(bytes) = as_written_by([2; 16], &name, &bytes).unwrap() {
                    image.insert(name, bytes);
                }
            }
            MemoryDisk::from_image(image)
        };
        for last in [1, 11, 12, 20] {
            let copy = image(last);
            assert!(open(&copy, [1; 16]).is_err(), "it is another node's");
            let (taken_over, seen) = open(&copy, [2; 16]).unwrap();
            assert_eq!(seen, (1..=last).collect::<Vec<_>>());
            assert!(taken_over.node_id() == [2; 16] && taken_over.term() >= 2);
        }
    }
}
