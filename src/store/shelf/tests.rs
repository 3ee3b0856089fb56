//! Shelves on a real disk, and on one that fails.

use std::time::Duration;

use super::*;
use crate::journal::disk_memory::{Fault, MemoryDisk};

const ROWS: Table = Table("rows");

fn keys(shelf: &Shelf, scan: &Scan<'_>) -> Vec<Vec<u8>> {
    shelf.read(|it| it.rows(ROWS, scan)).unwrap().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn rows_come_in_the_order_of_their_keys_within_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
    assert_eq!(keys(&shelf, &Scan::first(&[], 10)), Vec::<Vec<u8>>::new(), "no table yet");
    shelf
        .write(|it| {
            [[1, 0], [2, 1], [2, 255], [3, 0], [255, 255]].iter().try_for_each(|key| it.put(ROWS, key, b"v"))
        })
        .unwrap();
    assert_eq!(keys(&shelf, &Scan::first(&[2], 10)), [[2, 1], [2, 255]]);
    assert_eq!(keys(&shelf, &Scan { backwards: true, ..Scan::first(&[2], 1) }), [[2, 255]]);
    assert_eq!(keys(&shelf, &Scan { skip: 1, ..Scan::first(&[], 2) }), [[2, 1], [2, 255]]);
    assert_eq!(keys(&shelf, &Scan::first(&[255], 10)), [[255, 255]]);
    let first = |from: &[u8]| shelf.read(|it| it.first_key(ROWS, from)).unwrap();
    assert_eq!((first(&[]), first(&[2, 2])), (Some(vec![1, 0]), Some(vec![2, 255])));
    assert_eq!((first(&[2, 255]), first(&[255, 255, 0])), (Some(vec![2, 255]), None));
    assert_eq!(shelf.read(|it| it.first_key(Table("none"), &[])).unwrap(), None);
}

#[test]
fn what_was_written_is_there_after_reopening_with_its_position_and_what_failed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shelf");
    let shelf = Shelf::open(&path).unwrap();
    assert_eq!(shelf.position().unwrap(), Sequence(0));
    shelf
        .write(|it| {
            it.put(ROWS, b"a", b"1")?;
            it.set_position(Sequence(7))
        })
        .unwrap();
    let failed: Result<(), _> = shelf.write(|it| {
        it.put(ROWS, b"b", b"2")?;
        it.set_position(Sequence(8))?;
        Err(ShelfError { path: path.clone(), source: Box::new(redb::Error::Corrupted("test".into())) })
    });
    assert!(failed.is_err());
    drop(shelf);
    let shelf = Shelf::open(&path).unwrap();
    assert_eq!(shelf.position().unwrap(), Sequence(7));
    assert_eq!(keys(&shelf, &Scan::first(&[], 10)), [b"a"]);
    let (found, gone) = shelf.write(|it| Ok((it.delete(ROWS, b"a")?, it.delete(ROWS, b"a")?))).unwrap();
    assert!(found && !gone);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_shelf_that_is_let_go_in_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shelf");
    let shelf = Shelf::open(&path).unwrap();
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(shelf);
    });
    Shelf::open(&path).unwrap();
    letting_go.join().unwrap();
}

#[test]
fn a_file_that_is_no_shelf_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shelf");
    std::fs::write(&path, vec![7; 10_000]).unwrap();
    let error = Shelf::open(&path).unwrap_err().to_string();
    assert!(error.contains("shelf"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 10_000]);
}

#[test]
fn what_a_renewal_left_goes_with_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("shelf.renewed");
    std::fs::write(&left, b"half of it").unwrap();
    Shelf::open(&dir.path().join("shelf")).unwrap();
    assert!(!left.exists());
}

#[test]
fn a_new_shelf_outlives_a_power_loss_with_its_name() {
    let disk = MemoryDisk::default();
    let shelf = Shelf::open_on(disk.clone(), "shelf").unwrap();
    shelf.write(|it| it.put(ROWS, b"a", b"1")).unwrap();
    for seed in 0..30 {
        let found = Shelf::open_on(disk.crash(seed), "shelf").unwrap();
        assert_eq!(keys(&found, &Scan::first(&[], 10)), [b"a"], "seed {seed}");
    }
}

/// Alone, of all that is on the disk, an error of the shelf's.
#[test]
fn after_any_storage_error_a_shelf_is_well_again_when_its_disk_is() {
    let write = |shelf: &Shelf, key: &[u8]| shelf.write(|it| it.put(ROWS, key, &[7; 3000]));
    for at in 0.. {
        let disk = MemoryDisk::default();
        let shelf = Shelf::open_on(disk.clone(), "shelf").unwrap();
        write(&shelf, b"a").unwrap();
        let disk = disk.with_fault(Some(Fault::Once(at)));
        let failed = write(&shelf, b"b").map_err(|error| assert!(error.is_of_disk())).is_err();
        if !disk.has_failed() {
            assert!(at > 3, "a write has hardly any steps");
            return;
        }
        // Whether what failed was written is not known; what comes after is, with what was there before.
        write(&shelf, b"c").unwrap();
        for shelf in [shelf, Shelf::open_on(disk.crash(at), "shelf").unwrap()] {
            let found = keys(&shelf, &Scan::first(&[], 10));
            assert!(found.contains(&b"a".to_vec()) && found.contains(&b"c".to_vec()), "{at}: {found:?}");
            assert!(failed || found.contains(&b"b".to_vec()), "{at}: {found:?}");
        }
    }
}
