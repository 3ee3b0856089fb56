//! Whatever happens to the files of a checkpoint, opening gives what was written, an older whole one, or an error.

use super::checkpoint::*;
use super::packed::pack_v1;
use super::piece::{BODY_BYTES_MAX, Joiner, Packer, Piece, PieceError, Stream, decode_piece, seal, seal_as};
use super::{Meta, StoreError};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::{Minute, UnixMillis};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn subject(application: u64, cells: u32, waiting: u32) -> SubjectImage {
    subject_with(application, cells, waiting, 0)
}

/// With reservations that hold no amount, one, two ...
fn subject_with(application: u64, cells: u32, waiting: u32, holds: u32) -> SubjectImage {
    let minute = Minute(29_000_000);
    SubjectImage {
        application: ApplicationId(application),
        cells: (0..cells)
            .map(|slot| CellImage {
                slot: MetricSlot(slot),
                minute,
                counts: [application + u64::from(slot); 7],
            })
            .collect(),
        waiting: (0..waiting)
            .map(|at| {
                let effect = if at % 2 == 0 { Effect::Add(application) } else { Effect::Set(u64::from(at)) };
                WaitingImage { slot: MetricSlot(at), dated: Minute(29_000_001), counted: minute, effect }
            })
            .collect(),
        holds: (0..holds)
            .map(|at| {
                let amounts = (0..at).map(|slot| (MetricSlot(slot), application + u64::from(at))).collect();
                HoldImage { id: ReservationId(application << 32 | u64::from(at)), amounts }
            })
            .collect(),
    }
}

#[derive(PartialEq, Debug)]
struct Content {
    meta: Meta,
    catalog: Vec<u8>,
    counters: Vec<(Sequence, SubjectImage)>,
}

fn content(round: u64) -> Content {
    let meta = Meta {
        node_id: [7; 16],
        term: round,
        begin: Sequence(round * 10),
        catalog: Sequence(round * 10 + 1),
        engine_time: UnixMillis(round),
        next_id: 100 + round,
        catalog_version: round,
    };
    let sizes = [(1, 0, 0), (0, 0, 1), (200, 3, 2), (62, 30, 0), (5, 400, 60), (3, 1, 3)];
    let counters = sizes.iter().zip(1..).map(|((cells, waiting, holds), application)| {
        let subject = subject_with(application + round, *cells, *waiting, *holds);
        (Sequence(round * 10 + application / 3), subject)
    });
    let catalog = (0..10_000u32).map(|at| (u64::from(at) % 251 + round) as u8).collect();
    Content { meta, catalog, counters: counters.collect() }
}

/// Everything up to the moment before `finish`.
fn write(root: &Path, whole: Option<u64>, content: &Content) -> CheckpointWriter {
    let mut writer = CheckpointWriter::create(root, whole).unwrap();
    for bytes in content.catalog.chunks(999) {
        writer.put_catalog(bytes).unwrap();
    }
    for chunk in content.counters.chunk_by(|(a, _), (b, _)| a == b) {
        let images: Vec<_> = chunk.iter().map(|(_, image)| image.clone()).collect();
        writer.put_counters(chunk[0].0, &images).unwrap();
    }
    writer
}

fn checkpoint(root: &Path, round: u64) -> Finished {
    checkpoint_beside(root, round, (round > 1).then(|| round - 1))
}

fn checkpoint_beside(root: &Path, round: u64, whole: Option<u64>) -> Finished {
    let content = content(round);
    write(root, whole, &content).finish(content.meta).unwrap()
}

fn read(checkpoint: &Checkpoint) -> Content {
    let catalog: Vec<_> = checkpoint.catalog().collect::<Result<_, _>>().unwrap();
    let mut counters = Vec::new();
    checkpoint
        .counters(|stamp, subject| {
            counters.push((stamp, subject));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    Content { meta: *checkpoint.meta(), catalog: catalog.concat(), counters }
}

/// Opens and compares with what that generation's round wrote; the generation and whether it was a fallback.
fn open(root: &Path) -> Result<Option<(u64, bool)>, StoreError> {
    let Some(checkpoint) = open_latest(root)? else { return Ok(None) };
    let generation = checkpoint.generation();
    assert_eq!(read(&checkpoint), content(generation));
    Ok(Some((generation, !checkpoint.passed_over().is_empty())))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn what_is_written_is_read_and_only_two_generations_stay() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("checkpoints");
    assert!(open_latest(&root).unwrap().is_none());
    for round in 1..=4 {
        let finished = checkpoint(&root, round);
        let older = round.saturating_sub(1).max(1);
        assert_eq!(finished, Finished { generation: round, keep_from: Sequence(older * 10 + 1) });
        assert_eq!(open(&root).unwrap(), Some((round, false)));
    }
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_empty_checkpoint_is_one() {
    let dir = tempfile::tempdir().unwrap();
    CheckpointWriter::create(dir.path(), None).unwrap().finish(Meta::default()).unwrap();
    let checkpoint = open_latest(dir.path()).unwrap().unwrap();
    let read = read(&checkpoint);
    assert_eq!((read.catalog.len(), read.counters.len()), (0, 0));
}

#[test]
fn an_unfinished_generation_is_ignored_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = write(dir.path(), None, &content(1));
    let killed = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path());
    drop(writer);
    assert_eq!(open(killed.path()).unwrap(), None);
    assert_eq!(checkpoint(killed.path(), 1).generation, 2);
    assert!(!killed.path().join("00000001").exists());
}

#[test]
fn a_copy_of_a_checkpoint_in_the_making_opens_as_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), 1);
    let content = content(2);
    let mut writer = CheckpointWriter::create(dir.path(), Some(1)).unwrap();
    let check = || {
        let killed = tempfile::tempdir().unwrap();
        copy(dir.path(), killed.path());
        assert_eq!(open(killed.path()).unwrap(), Some((1, false)));
        assert_eq!(checkpoint_beside(killed.path(), 3, Some(1)).generation, 3);
    };
    check();
    for bytes in content.catalog.chunks(3_000) {
        writer.put_catalog(bytes).unwrap();
        check();
    }
    for (stamp, image) in &content.counters {
        writer.put_counters(*stamp, std::slice::from_ref(image)).unwrap();
        check();
    }
    // Cut off at any place while it is being synced: what no manifest vouches for is not looked at.
    for file in all_files(&dir.path().join("00000002")) {
        let whole = fs::read(&file).unwrap();
        for len in [0, whole.len() / 2] {
            let killed = tempfile::tempdir().unwrap();
            copy(dir.path(), killed.path());
            let file = killed.path().join(file.strip_prefix(dir.path()).unwrap());
            fs::write(file, &whole[..len]).unwrap();
            assert_eq!(open(killed.path()).unwrap(), Some((1, false)));
        }
    }
    // And its database taken away altogether, finished or not.
    writer.finish(content.meta).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((2, false)));
    fs::remove_dir_all(dir.path().join("00000002/sled")).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((1, true)));
    fs::remove_dir_all(dir.path().join("00000001/sled")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::NoneWhole { .. })));
}

#[test]
fn opening_does_not_touch_a_sealed_generation() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), 1);
    let before: Vec<_> = all_files(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(open(dir.path()).unwrap(), Some((1, false)));
    let after: Vec<_> = all_files(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn a_crash_at_any_rename_leaves_a_whole_generation() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        checkpoint(dir.path(), round);
    }
    // Before CURRENT was replaced.
    let old = "tollgate-checkpoint 1 00000001 ";
    let manifest = fs::read(dir.path().join("00000001/MANIFEST")).unwrap();
    fs::write(dir.path().join("CURRENT"), format!("{old}{:08x}\n", crc32fast::hash(&manifest))).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((1, false)));
    // Before there was one.
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((2, false)));
    fs::remove_file(dir.path().join("00000002/MANIFEST")).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((1, false)));
}

#[test]
fn a_damaged_file_of_the_newest_generation_falls_back_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        checkpoint(dir.path(), round);
    }
    for file in all_files(dir.path()) {
        let relative = file.strip_prefix(dir.path()).unwrap();
        let is_older = relative.starts_with("00000001");
        let whole = fs::read(&file).unwrap();
        let middle = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[middle] ^= 1;
        for bytes in [Some(flipped), Some(whole[..middle].to_vec()), Some(Vec::new()), None] {
            match bytes {
                Some(bytes) => fs::write(&file, bytes).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let (generation, _) = open(dir.path()).unwrap().unwrap();
            let names_newest = is_older || relative == Path::new("CURRENT");
            assert_eq!(generation, if names_newest { 2 } else { 1 }, "{relative:?}");
        }
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn what_cannot_be_read_in_the_newest_generation_falls_back_too() {
    for name in ["CURRENT", "00000002/MANIFEST", "00000002/sled/db", "00000002/sled/conf"] {
        let dir = tempfile::tempdir().unwrap();
        for round in 1..=2 {
            checkpoint(dir.path(), round);
        }
        fs::remove_file(dir.path().join(name)).unwrap();
        fs::create_dir(dir.path().join(name)).unwrap();
        let expected = if name == "CURRENT" { 2 } else { 1 };
        assert_eq!(open(dir.path()).unwrap(), Some((expected, true)), "{name}");
    }
}

#[test]
fn the_generation_that_was_opened_stays_and_the_one_passed_over_goes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        checkpoint(dir.path(), round);
    }
    let newest = dir.path().join("00000002/sled/db");
    fs::write(&newest, b"nonsense").unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((1, true)));
    let finished = checkpoint_beside(dir.path(), 3, Some(1));
    assert_eq!(finished, Finished { generation: 3, keep_from: Sequence(11) });
    assert!(!dir.path().join("00000002").exists());
    fs::remove_file(dir.path().join("00000003/MANIFEST")).unwrap();
    assert_eq!(open(dir.path()).unwrap(), Some((1, true)));
}

#[test]
fn damage_in_every_generation_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), 1);
    fs::write(dir.path().join("00000001/sled/db"), b"nonsense").unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::NoneWhole { .. })));
    fs::remove_dir_all(dir.path().join("00000001")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::NoneWhole { .. })));
}

fn pack(stamp: Sequence, images: &[SubjectImage]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut emit = |body: Vec<u8>| {
        bodies.push(body);
        Ok::<_, PieceError>(())
    };
    let mut packer = Packer::new(stamp);
    images.iter().for_each(|image| packer.push(image, &mut emit).unwrap());
    packer.flush(&mut emit).unwrap();
    bodies
}

fn unpack(bodies: &[Vec<u8>]) -> Vec<SubjectImage> {
    let mut joiner = Joiner::default();
    let mut images = Vec::new();
    for (index, body) in (0..).zip(bodies) {
        let piece = decode_piece(3, index, &seal(3, Stream::Counters, index, body)).unwrap();
        let Piece::Counters { stamp, subjects, goes_on } = piece else { panic!("not counters") };
        images.extend(joiner.take(stamp, subjects, goes_on).unwrap());
    }
    joiner.finish().unwrap();
    images
}

#[test]
fn a_piece_is_filled_to_the_byte_and_no_further() {
    // 16 for the piece, 33 for the subject, 64 a cell, 21 per waiting amount, 20 per amount held and per reservation
    // that holds none: 62 cells and 3 leave 4 bytes.
    let bodies = pack(Sequence(1), &[subject(1, 62, 3)]);
    assert_eq!(bodies.iter().map(Vec::len).collect::<Vec<_>>(), [16 + 33 + 62 * 64 + 3 * 21]);
    assert!(bodies[0].len() <= BODY_BYTES_MAX);
    let held = pack(Sequence(1), &[subject_with(1, 62, 0, 3)]);
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [16 + 33 + 62 * 64 + 60, 16 + 33 + 20]);
    assert_eq!(unpack(&held), [subject_with(1, 62, 0, 3)]);
    assert_eq!(pack(Sequence(1), &[subject(1, 62, 4)]).len(), 2);
    assert_eq!(pack(Sequence(1), &[subject(1, 63, 0)]).len(), 1);
    assert_eq!(pack(Sequence(1), &[subject(1, 64, 0)]).len(), 2);
}

proptest! {
    #[test]
    fn counters_survive_packing(sizes in prop::collection::vec((0..150u32, 0..300u32, 0..40u32), 0..8)) {
        let image = |(sizes, id): (&(u32, u32, u32), u64)| subject_with(id, sizes.0, sizes.1, sizes.2);
        let images: Vec<_> = sizes.iter().zip(1..).map(image).collect();
        let bodies = pack(Sequence(9), &images);
        prop_assert!(bodies.iter().all(|body| body.len() <= BODY_BYTES_MAX));
        prop_assert_eq!(unpack(&bodies), images);
    }

    #[test]
    fn any_bytes_in_an_envelope_decode_or_fail_but_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_piece(3, 0, &body);
        let _ = decode_piece(3, 0, &seal(3, Stream::Counters, 0, &body));
        let _ = decode_piece(3, 0, &seal_as(3, [1, 2], 0, &body));
    }

    #[test]
    fn mutated_archives_decode_or_fail_but_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut body = pack(Sequence(1), &[subject_with(1, 3, 2, 3), subject(2, 1, 1)]).remove(0);
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode_piece(3, 0, &seal(3, Stream::Counters, 0, &body));
        let sealed = seal(3, Stream::Counters, 0, &body);
        prop_assert_eq!(decode_piece(4, 0, &sealed), Err(PieceError::Checksum));
        prop_assert_eq!(decode_piece(3, 1, &sealed), Err(PieceError::Checksum));
    }
}

fn golden() -> SubjectImage {
    SubjectImage {
        application: ApplicationId(7),
        cells: vec![CellImage { slot: MetricSlot(3), minute: Minute(5), counts: [1, 2, 3, 4, 5, 6, 7] }],
        waiting: vec![WaitingImage {
            slot: MetricSlot(3),
            dated: Minute(6),
            counted: Minute(5),
            effect: Effect::Set(8),
        }],
        holds: Vec::new(),
    }
}

/// Stamp 9; application 7 with one cell (slot 3, minute 5, counts 1 to 7) and one amount that waits (slot 3, dated 6,
/// counted 5, set 8).
const GOLDEN_V1: &str = "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000007000000000000\
    0000a2ffffff01000000daffffff010000000900000000000000dfffffff01000000";

#[test]
fn golden_counters_of_version_1_stay_readable() {
    let image = golden();
    let body = pack_v1(9, std::slice::from_ref(&image));
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_V1);
    let piece = decode_piece(3, 0, &seal_as(3, [1, 2], 0, &body)).unwrap();
    assert_eq!(piece, Piece::Counters { stamp: Sequence(9), subjects: vec![image], goes_on: false });
    assert_eq!(decode_piece(3, 0, &seal_as(3, [3, 2], 0, &body)), Err(PieceError::Unknown));
}

/// The same with two reservations: one that holds nothing any more, and one that holds 5 of slot 3 and 6 of slot 4.
const GOLDEN_V2: &str = "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000002000000010000\
    00ffffffff0000000000000000040000000300000003000000050000000000000004000000030000000400000006\
    0000000000000007000000000000000066ffffff010000009effffff01000000abffffff03000000090000000000\
    0000d7ffffff01000000";

#[test]
fn golden_counters_of_version_2_stay_readable() {
    let mut image = golden();
    image.holds = vec![
        HoldImage { id: ReservationId(1 << 32 | 2), amounts: Vec::new() },
        HoldImage { id: ReservationId(3 << 32 | 4), amounts: vec![(MetricSlot(3), 5), (MetricSlot(4), 6)] },
    ];
    let bodies = pack(Sequence(9), std::slice::from_ref(&image));
    let hex: String = bodies[0].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_V2);
    assert_eq!(unpack(&bodies), [image]);
}
