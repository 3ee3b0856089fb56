//! Whatever step of a workload the power or the disk fails at, what is covered is remembered.
//!
//! A workload of adding, merging and dropping runs on a disk in memory with a fault at its n-th step, for every n until
//! it runs through. Ids come from a journal that has everything: what is not covered is added once more, as the
//! engine does after a restart, or with the next slice after an error.

use std::cell::OnceCell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::merge::SPAN_MAX_MS;
use super::tests::{key, known, open};
use super::*;
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::model::idempotency::HORIZON_MS;

#[derive(Clone, Debug)]
enum Op {
    Count(Vec<u64>),
    Add,
    Merge,
    Expire,
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => prop::collection::vec(0..200u64, 0..120).prop_map(Op::Count),
        6 => Just(Op::Add),
        3 => Just(Op::Merge),
        1 => Just(Op::Expire),
        1 => prop_oneof![0..1000u64, 0..HORIZON_MS].prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 5..40)
}

/// The journal and the clock, which outlive every crash.
struct World {
    /// The ids of each entry; the first has sequence 1.
    journal: Vec<Vec<Known>>,
    now: u64,
    /// What was acknowledged to be covered.
    covered: Sequence,
}

impl World {
    fn step(&mut self, slices: &Slices, op: &Op) {
        let now = UnixMillis(self.now);
        match op {
            Op::Wait(ms) => self.now += ms,
            Op::Count(numbers) => {
                let body = self.journal.len() as u64;
                self.journal.push(numbers.iter().map(|number| known(*number, body, self.now)).collect());
            }
            Op::Add => {
                let ids = self.journal[slices.covered().0 as usize..].concat();
                let to = Sequence(self.journal.len() as u64);
                if slices.add(to, ids).is_ok() {
                    assert_eq!(slices.covered(), to);
                }
            }
            Op::Merge => {
                let _ = slices.merge(now, || false);
            }
            Op::Expire => {
                let _ = slices.expire(now);
            }
        }
        assert!(slices.covered() >= self.covered);
        self.covered = slices.covered();
    }

    /// Opens what is on the disk and compares it; a fault may have hit the opening itself.
    fn open(&mut self, disk: &MemoryDisk) -> Option<Slices> {
        let slices = match open(disk, self.now) {
            Ok(slices) => slices,
            Err(IdsError::Io { .. }) if disk.has_failed() => return None,
            Err(error) => panic!("{error}"),
        };
        assert!(slices.covered() >= self.covered, "{} of {}", slices.covered(), self.covered);
        self.covered = slices.covered();
        self.check(&slices);
        Some(slices)
    }

    fn check(&self, slices: &Slices) {
        let now = UnixMillis(self.now);
        let entries = &self.journal[..slices.covered().0 as usize];
        let model: HashMap<_, _> = entries.iter().flatten().map(|id| (id.key, id.remembered)).collect();
        for number in 0..200 {
            let key = key(number);
            let (found, expected) = (slices.find(&key).unwrap(), model.get(&key).copied());
            let is_lasting = |it: &Remembered| !it.is_forgotten(now);
            assert_eq!(found.filter(is_lasting), expected.filter(is_lasting), "{number}");
        }
        slices.verify().unwrap();
    }
}

/// Runs with that fault in the first round and later a power loss, and returns whether the fault was reached.
fn run(ops: &[Op], fault: Fault, seed: u64) -> bool {
    let mut world = World { journal: Vec::new(), now: 1, covered: Sequence(0) };
    let mut disk = MemoryDisk::default().with_fault(Some(fault));
    let mut reached = false;
    for round in 0..3_u64 {
        if let Some(slices) = world.open(&disk) {
            ops.iter().for_each(|op| world.step(&slices, op));
            world.check(&slices);
        }
        let has_failed = disk.has_failed();
        disk = disk.crash(seed.wrapping_add(round));
        if round == 0 {
            reached = has_failed;
            // Power fails again soon, for some seeds while the slices are being opened.
            disk = disk.with_fault(Some(Fault::Freeze(seed % 12)));
        }
    }
    assert!(world.open(&disk).is_some());
    reached
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn power_loss_at_any_step_forgets_nothing_that_is_covered(ops in ops(), seed: u64) {
        let reached = (0..1000).take_while(|step| run(&ops, Fault::Freeze(*step), seed ^ step)).count();
        prop_assert!(reached < 1000);
    }

    #[test]
    fn a_storage_error_at_any_step_forgets_nothing_that_is_covered(ops in ops(), seed: u64) {
        let reached = (0..1000).take_while(|step| run(&ops, Fault::Once(*step), seed ^ step)).count();
        prop_assert!(reached < 1000);
    }
}

/// Four slices are merged, and a fifth comes meanwhile, as a seal may. The first is too old to be merged with that one: so
/// the next merge is of the second to the fifth.
///
/// Returns whether the first merge failed, and what a merge after that did.
fn merge_twice(fault: Fault, look: impl Fn(&MemoryDisk)) -> (bool, Merged) {
    let disk = MemoryDisk::default();
    let slices = open(&disk, 1).unwrap();
    let later = 2 + SPAN_MAX_MS;
    for (number, at) in [1, 2, 2, 2].into_iter().enumerate() {
        let number = number as u64;
        slices.add(Sequence(number + 1), vec![known(number, number, at)]).unwrap();
    }
    let fifth = || slices.add(Sequence(5), vec![known(4, 4, later)]);
    let added = OnceCell::new();
    let _ = disk.clone().with_fault(Some(fault));
    let failed = slices.merge(UnixMillis(later), || {
        added.get_or_init(fifth);
        false
    });
    let has_failed = disk.has_failed();
    let _ = disk.clone().with_fault(None);
    if !matches!(added.get(), Some(Ok(()))) {
        fifth().unwrap();
    }
    disk.record();
    let merged = slices.merge(UnixMillis(later), || false).unwrap();
    disk.recorded().iter().for_each(look);
    (has_failed && failed.is_err(), merged)
}

#[test]
fn what_a_failed_merge_left_never_comes_back_beside_a_later_one_that_overlaps_it() {
    let mut overlapping = 0;
    let (once, read) = ((0..100).map(Fault::Once), (0..200).map(Fault::Read));
    for fault in once.chain(read) {
        let look = |moment: &MemoryDisk| {
            for seed in 0..24 {
                let slices = open(&moment.crash(seed), 2 + SPAN_MAX_MS);
                let slices = slices.unwrap_or_else(|error| panic!("{fault:?}, seed {seed}: {error}"));
                assert_eq!(slices.covered(), Sequence(5), "{fault:?}, seed {seed}");
                let found = (0..5).map(|number| slices.find(&key(number)).unwrap().map(|it| it.body.0));
                assert!(found.eq((0..5).map(Some)), "{fault:?}, seed {seed}");
            }
        };
        let (failed, merged) = merge_twice(fault, look);
        overlapping += u32::from(failed && matches!(merged, Merged::Done { parts: 4, .. }));
    }
    // It failed at every step of its making, and at every look at what was made.
    assert!(overlapping >= 8, "{overlapping}");
}
