//! Whatever happens to the files of a checkpoint, opening gives what was written, an older whole one, or an error.

use super::checkpoint::*;
use super::manifest::render_current;
use super::open::*;
use super::piece::{PieceError, seal_as};
use super::tree::FileSystem;
use super::{Meta, StoreError, files, generation_path};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::{Minute, UnixMillis};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn subject(application: u64, cells: u32, waiting: u32) -> SubjectImage {
    subject_with(application, cells, waiting, 0)
}

/// With reservations that hold no amount, one, two ...
pub(super) fn subject_with(application: u64, cells: u32, waiting: u32, holds: u32) -> SubjectImage {
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
    // Bytes that hardly can be pressed, and some that can, so that there are several pieces of either kind.
    let noise = |at: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) >> 32) as u8;
    let catalog = (0..9_000).map(noise).chain((0..20_000).map(|at| (at % 251 + round) as u8)).collect();
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

fn read(checkpoint: &Checkpoint) -> Result<Content, StoreError> {
    let (mut catalog, mut counters) = (Vec::new(), Vec::new());
    checkpoint.read(|part| {
        match part {
            Part::Catalog(bytes) => catalog.extend(bytes),
            Part::Counters(stamp, subjects) => counters.extend(subjects.into_iter().map(|it| (stamp, it))),
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(Content { meta: *checkpoint.meta(), catalog, counters })
}

/// Opens and compares with what that generation's round wrote; the generation and whether it was a fallback.
fn open(root: &Path) -> Result<Option<(u64, bool)>, StoreError> {
    let mut checkpoint = open_latest(root)?;
    while let Some(candidate) = checkpoint {
        match read(&candidate) {
            Ok(found) => {
                let generation = candidate.generation();
                assert_eq!(found, content(generation));
                return Ok(Some((generation, !candidate.passed_over().is_empty())));
            }
            Err(error) if error.is_damage() => checkpoint = candidate.pass_over(error)?,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
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
    let read = read(&checkpoint).unwrap();
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
    for bytes in content.catalog.chunks(7_000) {
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

/// Changes the database of a sealed generation, and seals it again: as if it had been written so.
fn tamper(root: &Path, generation: u64, change: impl FnOnce(&sled::Db)) {
    let path = generation_path(root, generation);
    let database = path.join("sled");
    let db = sled::Config::new().path(&database).flush_every_ms(None).open().unwrap();
    change(&db);
    db.flush().unwrap();
    drop(db);
    // sled's threads hold this as long as they can write.
    fs::File::open(database.join("db")).unwrap().lock().unwrap();
    let (mut manifest, _) = read_manifest(&FileSystem, root, generation).unwrap();
    manifest.files = files::seal_tree(&FileSystem, &database).unwrap();
    let bytes = manifest.encode();
    fs::write(path.join("MANIFEST"), &bytes).unwrap();
    fs::write(root.join("CURRENT"), render_current(generation, &bytes)).unwrap();
}

#[test]
fn a_piece_that_is_not_what_was_written_falls_back_however_whole_the_files_are() {
    type Change = fn(&sled::Db);
    let changes: [(&str, Change); 7] = [
        ("nothing", |_| ()),
        ("a piece is missing", |db| drop(db.remove("a00000001"))),
        ("the last is missing", |db| drop(db.pop_max())),
        ("one too many", |db| drop(db.insert("d", b"x"))),
        ("one too many of a kind", |db| drop(db.insert("a00000001x", b"x"))),
        ("one is not itself", |db| {
            let mut piece = db.get("c00000001").unwrap().unwrap().to_vec();
            piece[40] ^= 1;
            db.insert("c00000001", piece).unwrap();
        }),
        ("one is in another's place", |db| {
            let piece = db.get("c00000001").unwrap().unwrap();
            db.insert("c00000000", piece).unwrap();
        }),
    ];
    for (what, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        for round in 1..=2 {
            checkpoint(dir.path(), round);
        }
        tamper(dir.path(), 2, change);
        let expected = if what == "nothing" { (2, false) } else { (1, true) };
        assert_eq!(open(dir.path()).unwrap(), Some(expected), "{what}");
        tamper(dir.path(), 1, |db| drop(db.pop_min()));
        fs::remove_dir_all(dir.path().join("00000002")).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::NoneWhole { .. })), "{what}");
    }
}

#[test]
fn what_a_newer_release_wrote_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        checkpoint(dir.path(), round);
    }
    tamper(dir.path(), 2, |db| drop(db.insert("c00000001", seal_as(2, [200, 2], 1, b"what comes"))));
    let unknown = open(dir.path()).unwrap_err();
    assert!(matches!(unknown, StoreError::Piece { source: PieceError::Unknown, .. }), "{unknown}");
}
