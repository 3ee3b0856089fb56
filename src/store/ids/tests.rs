//! Slices against a plain map, and what they make of damaged and missing files.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::journal::disk_memory::MemoryDisk;
use crate::model::idempotency::{BodyHash, HORIZON_MS};

pub(super) const NODE: NodeId = [9; 16];

/// Keys of few beginnings, so that several blocks begin the same.
pub(super) fn key(number: u64) -> IdKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(number % 3).to_le_bytes());
    key[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    IdKey(key)
}

pub(super) fn known(number: u64, body: u64, at: u64) -> Known {
    Known {
        key: key(number),
        remembered: Remembered { body: BodyHash(body), outcome: number * 7, at: UnixMillis(at) },
    }
}

pub(super) fn open(disk: &MemoryDisk, now: u64) -> Result<Slices, IdsError> {
    Slices::open_on(Arc::new(disk.clone()), NODE, UnixMillis(now)).map(|(slices, _)| slices)
}

fn to_end(slices: &Slices, now: u64) -> usize {
    let mut merges = 0;
    while slices.merge(UnixMillis(now), || false).unwrap() != Merged::Nothing {
        merges += 1;
    }
    merges
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u64>),
    Merge,
    Expire,
    Wait(u64),
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => prop::collection::vec(0..400u64, 0..150).prop_map(Op::Add),
        1 => Just(Op::Add((0..400).collect())),
        2 => Just(Op::Merge),
        2 => Just(Op::Expire),
        2 => prop_oneof![0..1000u64, 0..HORIZON_MS / 2].prop_map(Op::Wait),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..40)
}

/// Nothing that is to be remembered is forgotten, and nothing is made up.
fn check(slices: &Slices, model: &HashMap<u64, Remembered>, now: u64) {
    for number in 0..410 {
        let found = slices.find(&key(number)).unwrap();
        match model.get(&number) {
            Some(expected) if !expected.is_forgotten(UnixMillis(now)) => assert_eq!(found, Some(*expected)),
            Some(_) => assert!(found.is_none_or(|found| found.is_forgotten(UnixMillis(now)))),
            None => assert_eq!(found, None),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slices_remember_what_a_map_does(ops in ops()) {
        let disk = MemoryDisk::default();
        let (mut slices, mut model) = (open(&disk, 1).unwrap(), HashMap::new());
        let (mut now, mut body) = (1, 0);
        for op in ops {
            match op {
                Op::Add(numbers) => {
                    let to = slices.covered().next();
                    let ids = numbers.iter().map(|number| { body += 1; known(*number, body, now) });
                    let ids: Vec<_> = ids.collect();
                    model.extend(numbers.iter().zip(&ids).map(|(number, id)| (*number, id.remembered)));
                    let before = slices.epoch();
                    slices.add(to, ids).unwrap();
                    prop_assert_eq!(slices.covered(), to);
                    prop_assert!(slices.epoch() != before);
                }
                Op::Merge => {
                    to_end(&slices, now);
                    prop_assert!(slices.slices() <= SLICES_MAX);
                }
                Op::Expire => {
                    slices.expire(UnixMillis(now)).unwrap();
                }
                Op::Wait(ms) => now += ms,
                Op::Reopen => {
                    let before = (slices.covered(), slices.len(), slices.bytes(), slices.memory());
                    slices = open(&disk, now).unwrap();
                    prop_assert_eq!((slices.covered(), slices.len(), slices.bytes(), slices.memory()), before);
                    prop_assert_eq!(disk.image().len(), slices.slices());
                }
            }
            check(&slices, &model, now);
        }
        prop_assert_eq!(slices.verify().unwrap(), slices.len());
    }
}

#[test]
fn a_slice_follows_what_is_covered_or_is_refused() {
    let slices = open(&MemoryDisk::default(), 1).unwrap();
    assert!(slices.is_empty() && slices.covered() == Sequence(0));
    slices.add(Sequence(5), vec![known(1, 1, 1)]).unwrap();
    slices.add(Sequence(5), Vec::new()).unwrap();
    assert_eq!((slices.slices(), slices.len()), (1, 1));
    let refused = slices.add(Sequence(5), vec![known(2, 1, 1)]);
    assert!(matches!(refused, Err(IdsError::NotAfter { covered: Sequence(5), to: Sequence(5) })));
    assert!(slices.add(Sequence(4), Vec::new()).is_err());
    slices.add(Sequence(6), Vec::new()).unwrap();
    assert_eq!((slices.slices(), slices.len(), slices.covered()), (2, 1, Sequence(6)));
}

#[test]
fn what_is_forgotten_goes_but_what_is_covered_stays_known() {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    for at in 1..=3 {
        slices.add(Sequence(at), vec![known(at, 1, at * 1000)]).unwrap();
    }
    assert_eq!(slices.expire(UnixMillis(HORIZON_MS + 1999)).unwrap(), 1);
    assert_eq!((slices.len(), disk.image().len()), (2, 2));
    assert_eq!(slices.find(&key(1)).unwrap(), None);
    assert_eq!(slices.expire(UnixMillis(u64::MAX)).unwrap(), 1);
    let slices = open(&disk, u64::MAX).unwrap();
    assert_eq!((slices.covered(), slices.len()), (Sequence(3), 1));
}

#[test]
fn slices_that_nobody_puts_ids_in_become_one() {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    for at in 1..=100 {
        slices.add(Sequence(at), Vec::new()).unwrap();
        slices.expire(UnixMillis(at)).unwrap();
        to_end(&slices, at);
        assert!(slices.slices() < 5);
    }
    assert_eq!(open(&disk, 1).unwrap().covered(), Sequence(100));
}

#[test]
fn a_merge_that_is_told_to_stop_leaves_no_file() {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    for at in 0..4 {
        let ids = (0..STOP_STEP / 2).map(|number| known(number + at * STOP_STEP, 1, 1)).collect();
        slices.add(Sequence(at + 1), ids).unwrap();
    }
    assert!(matches!(slices.merge(UnixMillis(1), || true), Err(IdsError::Stopped)));
    assert_eq!((slices.slices(), disk.image().len()), (4, 4));
    assert_eq!(to_end(&slices, 1), 1);
    assert_eq!((slices.len(), disk.image().len()), (2 * STOP_STEP, 1));
}

#[test]
fn who_looks_up_while_slices_come_and_merge_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (slices, _) = Slices::open(&dir.path().join("ids"), NODE, UnixMillis(1)).unwrap();
    let (added, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let merger = scope.spawn(|| {
            let mut merged = 0;
            while !done.load(Ordering::Acquire) {
                merged += to_end(&slices, 1);
            }
            merged + to_end(&slices, 1)
        });
        let reader = scope.spawn(|| {
            let mut looked_up = 0_u64;
            while !done.load(Ordering::Acquire) {
                for number in 0..added.load(Ordering::Acquire) {
                    assert_eq!(slices.find(&key(number)).unwrap(), Some(known(number, 1, 1).remembered));
                    looked_up += 1;
                }
            }
            looked_up
        });
        for at in 0..40 {
            slices
                .add(Sequence(at + 1), (at * 50..at * 50 + 50).map(|id| known(id, 1, 1)).collect())
                .unwrap();
            added.store(at * 50 + 50, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        assert!(merger.join().unwrap() > 0 && reader.join().unwrap() > 0);
    });
    assert_eq!((slices.len(), slices.verify().unwrap()), (2000, 2000));
}

/// Three slices, of 5, 250 and 0 ids, counted at 1000, 2000 and never.
fn three() -> BTreeMap<String, Vec<u8>> {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    slices.add(Sequence(3), (0..5).map(|number| known(number, 1, 1000)).collect()).unwrap();
    slices.add(Sequence(4), (3..253).map(|number| known(number, 2, 2000)).collect()).unwrap();
    slices.add(Sequence(9), Vec::new()).unwrap();
    disk.image()
}

fn expected(number: u64) -> Option<Remembered> {
    match number {
        0..3 => Some(known(number, 1, 1000).remembered),
        3..253 => Some(known(number, 2, 2000).remembered),
        _ => None,
    }
}

#[test]
fn damage_gives_an_error_or_the_right_answer() {
    let image = three();
    assert_eq!(image.len(), 3);
    let (mut errors, mut right) = (0, 0);
    let mut look = |image: BTreeMap<String, Vec<u8>>| {
        let Ok(slices) = open(&MemoryDisk::from_image(image), 3000) else {
            errors += 1;
            return;
        };
        for number in (0..260).step_by(3) {
            match slices.find(&key(number)) {
                Ok(found) => assert_eq!(found, expected(number)),
                Err(_) => errors += 1,
            }
            right += 1;
        }
    };
    for (name, bytes) in &image {
        // All of what is not zeros, and some of the rest.
        let places = (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 16 == 0);
        for at in places {
            let mut damaged = image.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            look(damaged);
        }
        for len in (0..bytes.len() + 4096).step_by(512) {
            let mut damaged = image.clone();
            damaged.get_mut(name).unwrap().resize(len, 0);
            look(damaged);
        }
    }
    assert!(errors > 1000 && right > 1000, "{errors} {right}");
}

#[test]
fn a_block_of_another_slice_passes_for_none_of_this() {
    let image = three();
    let names: Vec<_> = image.keys().cloned().collect();
    let mut damaged = image.clone();
    let block = image[&names[0]][format::HEADER_LEN..][..format::BLOCK_LEN].to_vec();
    damaged.get_mut(&names[1]).unwrap()[format::HEADER_LEN..][..format::BLOCK_LEN].copy_from_slice(&block);
    let slices = open(&MemoryDisk::from_image(damaged), 3000).unwrap();
    assert!(matches!(slices.verify(), Err(IdsError::Damaged { offset: 4096, .. })));
    assert!((3..253).any(|number| slices.find(&key(number)).is_err()));
}

#[test]
fn a_damaged_or_missing_slice_matters_only_within_the_horizon() {
    let image = three();
    let names: Vec<_> = image.keys().cloned().collect();
    // The newest of its ids is the last that matters.
    for (which, newest) in [(0, 1000), (1, 2000)] {
        for missing in [false, true] {
            let mut wrong = image.clone();
            if missing {
                wrong.remove(&names[which]);
            } else {
                wrong.get_mut(&names[which]).unwrap()[50] ^= 1;
            }
            let forgotten_at = newest + HORIZON_MS;
            let disk = MemoryDisk::from_image(wrong);
            let error = open(&disk, forgotten_at - 1).unwrap_err();
            assert!(matches!(error, IdsError::Damaged { .. } | IdsError::Gap { .. }), "{error}");
            assert!(missing || error.to_string().contains(&names[which]), "{error}");
            let (slices, passed_over) =
                Slices::open_on(Arc::new(disk.clone()), NODE, UnixMillis(forgotten_at)).unwrap();
            assert_eq!(slices.covered(), Sequence(9));
            assert_eq!(passed_over.len(), usize::from(which == 1 || !missing), "{passed_over:?}");
            assert_eq!(disk.image().len(), slices.slices());
        }
    }
    // The youngest tells nothing of others' ids, so it has to be whole.
    let mut wrong = image.clone();
    wrong.get_mut(&names[2]).unwrap()[50] ^= 1;
    assert!(open(&MemoryDisk::from_image(wrong), u64::MAX).is_err());
}

#[test]
fn what_another_node_or_release_wrote_is_refused_whatever_its_age() {
    let image = three();
    let other =
        Slices::open_on(Arc::new(MemoryDisk::from_image(image.clone())), [8; 16], UnixMillis(u64::MAX));
    assert!(matches!(other, Err(IdsError::OtherNode { .. })));
    let mut newer = image;
    for bytes in newer.values_mut() {
        bytes[8] = 2;
        let crc = [&bytes[..12], &bytes[16..4096]].concat();
        bytes[12..16].copy_from_slice(&crc32fast::hash(&crc).to_le_bytes());
    }
    let newer = open(&MemoryDisk::from_image(newer), u64::MAX);
    assert!(matches!(newer, Err(IdsError::Format { version: 2, .. })));
}

#[test]
fn overlapping_slices_are_refused_and_parts_of_another_are_removed() {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    for at in 1..=4 {
        slices.add(Sequence(at), vec![known(at, 1, 1)]).unwrap();
    }
    let parts = disk.image();
    assert_eq!(to_end(&slices, 1), 1);
    // As a crash before the parts were removed leaves it, and before the merged slice had its name.
    let mut both = parts.clone();
    both.extend(disk.image());
    let (name, bytes) = disk.image().pop_first().unwrap();
    let unfinished = name + format::UNFINISHED;
    both.insert(unfinished.clone(), bytes[..100].to_vec());
    both.insert("notes.txt".into(), Vec::new());
    let disk = MemoryDisk::from_image(both);
    assert_eq!(open(&disk, 1).unwrap().len(), 4);
    assert_eq!(disk.image().len(), 2);

    let overlapping =
        [(1, 3), (2, 4)].map(|(from, to)| (slice_name(Sequence(from), Sequence(to)), Vec::new()));
    let refused = open(&MemoryDisk::from_image(overlapping.into()), 1);
    assert!(matches!(refused, Err(IdsError::Overlap { .. })));
}

#[test]
fn the_bytes_of_a_slice_stay_the_same_across_releases() {
    let disk = MemoryDisk::default();
    let ids = (0..150_u64).map(|number| Known {
        key: IdKey([(number * 7 + 1) as u8; 16]),
        remembered: Remembered { body: BodyHash(number), outcome: 5, at: UnixMillis(1_000 + number) },
    });
    open(&disk, 1).unwrap().add(Sequence(77), ids.collect()).unwrap();
    let (name, bytes) = disk.image().pop_first().unwrap();
    assert_eq!(name, "00000000000000000001-00000000000000000077.slice");
    assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (3 * 4096 + 2 * 8 + 8 * 32, 3_312_736_522));
}
