//! Whatever is done to the files of a journal, opening it shows true entries or says what is wrong where.

use super::disk_memory::MemoryDisk;
use super::entry::{Command, Entry, Kind};
use super::format::{GROUP_HEADER_LEN, SEGMENT_HEADER_LEN};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

type Image = BTreeMap<String, Vec<u8>>;

/// Three segments of three groups each, with sequences 1 to 9; the third one's last group nothing vouches for.
fn image() -> Image {
    let disk = MemoryDisk::default();
    let options = Options { segment_bytes: 4096, node_id: Some([9; 16]), ..Options::default() };
    let (journal, _) =
        Journal::open_on(Box::new(disk.clone()), options, Sequence(0), |_, _, _| Ok::<_, Infallible>(()))
            .unwrap();
    for byte in 1..=9 {
        let command = Command { version: 1, core: vec![byte; 1200], parts: Vec::new() };
        journal.append(Kind::Command, |out| command.encode(out)).unwrap();
        journal.flush(UnixMillis(u64::from(byte))).unwrap();
    }
    assert_eq!(disk.image().len(), 3);
    disk.image()
}

fn group_len() -> usize {
    GROUP_HEADER_LEN + format::entry_len(1 + 2 + 1200 + 1)
}

/// Opens a journal made of those files, and returns how many entries it showed, all of them true.
fn open(image: Image, after: u64) -> Result<(u64, Recovery), JournalError> {
    let mut next = after + 1;
    let disk = MemoryDisk::from_image(image);
    let opened =
        Journal::open_on(Box::new(disk), Options::default(), Sequence(after), |sequence, time, entry| {
            let core = vec![u8::try_from(sequence.0).unwrap(); 1200];
            assert_eq!((sequence.0, time.0), (next, next));
            assert_eq!(entry, Entry::Command(Command { version: 1, core, parts: Vec::new() }));
            next += 1;
            Ok::<_, Infallible>(())
        });
    match opened {
        Ok((_, recovery)) => Ok((next - 1, recovery)),
        Err(OpenError::Journal(error)) => Err(error),
    }
}

fn nth(image: &mut Image, at: usize) -> &mut Vec<u8> {
    image.values_mut().nth(at).unwrap()
}

fn damage(image: Image) -> (String, u64) {
    match open(image, 0) {
        Err(JournalError::Damaged { file, offset, .. }) => (file, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unharmed_journal_shows_everything() {
    let (last, recovery) = open(image(), 0).unwrap();
    assert_eq!((last, recovery.re_appended, recovery.engine_time), (9, 1, UnixMillis(9)));
    assert_eq!(open(image(), 4).unwrap().1.entries, 5);
}

#[test]
fn a_torn_last_group_is_cut_and_reported() {
    let mut image = image();
    let offset = SEGMENT_HEADER_LEN + 2 * group_len();
    nth(&mut image, 2)[offset + 500] ^= 1;
    let (last, recovery) = open(image.clone(), 0).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!(last, 8);
    assert_eq!((Some(&torn.file), torn.offset), (image.keys().last(), offset as u64));
    assert_eq!(torn.bytes.next_multiple_of(8), group_len() as u64);
}

#[test]
fn a_hole_before_a_synced_group_is_damage_in_any_segment() {
    for (segment, group) in [(0, 0), (0, 2), (1, 1), (2, 0), (2, 1)] {
        let mut image = image();
        let offset = SEGMENT_HEADER_LEN + group * group_len();
        nth(&mut image, segment)[offset + 300] ^= 0x40;
        let file = image.keys().nth(segment).unwrap().clone();
        assert_eq!(damage(image), (file, offset as u64));
    }
}

#[test]
fn a_torn_header_of_a_file_with_groups_is_damage() {
    for segment in 0..3 {
        let mut image = image();
        nth(&mut image, segment)[30] ^= 1;
        let file = image.keys().nth(segment).unwrap().clone();
        assert_eq!(damage(image), (file, 0));
    }
}

#[test]
fn a_missing_file_is_damage_unless_it_was_the_first() {
    let names: Vec<_> = image().into_keys().collect();
    let mut without = image();
    without.remove(&names[1]);
    assert_eq!(damage(without), (names[0].clone(), (SEGMENT_HEADER_LEN + 3 * group_len()) as u64));
    let mut without = image();
    without.remove(&names[1]);
    assert!(matches!(open(without.clone(), 5), Err(JournalError::Damaged { .. })));
    let (last, recovery) = open(without, 6).unwrap();
    assert_eq!((last, recovery.first), (9, Sequence(7)));
    let mut without = image();
    without.remove(&names[0]);
    assert_eq!(open(without.clone(), 3).unwrap().0, 9);
    assert!(matches!(open(without, 2), Err(JournalError::NotConnected { first: Sequence(4), .. })));
}

#[test]
fn a_checkpoint_beyond_the_journal_is_refused_unless_it_is_fresh() {
    assert_eq!(open(image(), 9).unwrap().0, 9);
    assert!(matches!(open(image(), 10), Err(JournalError::NotConnected { last: Sequence(9), .. })));
    assert_eq!(open(Image::new(), 10).unwrap().1.first, Sequence(11));
}

#[test]
fn a_file_cut_short_is_damage() {
    let mut image = image();
    let file = image.keys().last().unwrap().clone();
    nth(&mut image, 2).truncate(4000);
    assert_eq!(damage(image), (file, 4000));
}

#[test]
fn a_file_that_was_being_made_is_no_damage() {
    for len in [0, 10, 4096] {
        let mut image = image();
        image.insert(format::segment_name(1, Sequence(10)), vec![0; len]);
        let (last, recovery) = open(image, 0).unwrap();
        assert_eq!((last, recovery.term), (9, 2));
    }
}

/// The files with that number as their format, and all checksums right.
fn of_format(version: u16) -> Image {
    let mut image = image();
    for bytes in image.values_mut() {
        let (_, crc_before) = format::SegmentHeader::decode(bytes).unwrap();
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        let crc = format::reseal(bytes);
        let mut at = SEGMENT_HEADER_LEN;
        while let Some(group) = format::GroupHeader::decode(crc_before, &bytes[at..]) {
            bytes[at..at + GROUP_HEADER_LEN].copy_from_slice(&group.encode(crc));
            at += GROUP_HEADER_LEN + group.body_len as usize;
        }
    }
    image
}

#[test]
fn files_of_format_1_open_and_those_of_an_unknown_one_do_not() {
    assert_eq!(of_format(2), image());
    assert_eq!(open(of_format(1), 0).unwrap().0, 9);
    for version in [0, 3] {
        let error = open(of_format(version), 0).unwrap_err();
        assert!(matches!(error, JournalError::Format { version: found, .. } if found == version), "{error}");
    }
}

#[test]
fn another_nodes_journal_and_another_format_are_refused() {
    let options = Options { node_id: Some([8; 16]), ..Options::default() };
    let disk = Box::new(MemoryDisk::from_image(image()));
    let opened = Journal::open_on(disk, options, Sequence(0), |_, _, _| Ok::<_, Infallible>(()));
    assert!(matches!(opened, Err(OpenError::Journal(JournalError::OtherNode { .. }))));
}

#[test]
fn pruning_takes_whole_segments_from_the_oldest() {
    let disk = MemoryDisk::from_image(image());
    let (journal, _) =
        Journal::open_on(Box::new(disk.clone()), Options::default(), Sequence(0), |_, _, _| {
            Ok::<_, Infallible>(())
        })
        .unwrap();
    assert_eq!(disk.image().len(), 4);
    assert!(journal.bytes_since(Sequence(0)) >= 9 * group_len() as u64);
    assert_eq!(journal.prune(Sequence(3)).unwrap(), 0);
    assert_eq!(journal.prune(Sequence(7)).unwrap(), 2);
    assert_eq!(journal.prune(Sequence(100)).unwrap(), 1);
    assert_eq!(disk.image().len(), 1);
    assert_eq!(open(disk.image(), 8).unwrap().0, 9);
}

proptest! {
    #[test]
    fn changed_bytes_show_true_entries_or_an_error(
        changes in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut image = image();
        let is_single = changes.len() == 1;
        for (segment, at, byte) in changes {
            let bytes = nth(&mut image, segment);
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Two changes can tear a group and the one header that vouches for it; the segment's own header vouches for
        // what is before the segment.
        let synced = if is_single { 8 } else { 6 };
        if let Ok((last, _)) = open(image, 0) {
            prop_assert!(last >= synced);
        }
    }

    #[test]
    fn any_bytes_in_a_segment_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300), keep_header: bool, at in 0..4000usize,
    ) {
        let (name, mut file) = image().pop_first().unwrap();
        if keep_header {
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
        } else {
            file = bytes;
        }
        let _ = read_segment(&name, &file, |sequence, _, _| assert!(sequence.0 <= 3));
    }
}
