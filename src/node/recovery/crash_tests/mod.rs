//! The real engine, journal and checkpoints on a disk in memory: whatever step of a random workload the power fails at,
//! the disk takes no write at, or is full at, what is opened afterwards is a state that the node was in: no older than
//! what it acknowledged last, and with no part of what was flushed together without the rest.
//!
//! ```text
//! cargo test --lib crash_tests                                             a few workloads, every step of each
//! TOLLGATE_CRASH_WORKLOADS=2000 cargo test --lib node::recovery -- --nocapture    a campaign
//! TOLLGATE_CRASH_SEED=7 cargo test --lib node::recovery -- --nocapture            one seed once more
//! ```
//!
//! A state is what can be asked: the catalog's records and the counters of every application. A run keeps all it went
//! through, at which of them a flush could end, and after which step of the disk each was acknowledged. After a power loss the
//! checkpoint that is opened is the newest that was finished, or a newer one, and none is passed over.
//!
//! Each checkpoint prunes the journal, by the code that a node runs; segments are so short that some go. What is left must
//! serve the checkpoint that is opened, and the one beside it: opened as if the newest were not there, the same state comes
//! back. Half of the workloads end with checkpoints enough that segments surely go, and it is asserted that some did.
//!
//! `history` has the states, `run` the node that goes through them.

mod history;
mod run;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::journal::disk_memory::{Dice, Fault, MemoryDisk, campaign};
use crate::store::open::open_latest_on;
use history::{History, State};
use run::{CHECKPOINTS, Op, Run, ops};

/// How many workloads each test takes, if nobody says.
const WORKLOADS: u64 = 8;

/// The directory of checkpoints, in one that is there for good.
const ROOT: &str = "data/checkpoints";

fn options() -> Options {
    Options { segment_bytes: 512, group_bytes_max: 300, ..Options::default() }
}

/// A node that was started, and the checkpoint that it read.
struct Opened {
    engine: Engine,
    generation: Option<u64>,
    /// Checkpoints that were damaged.
    passed_over: Vec<String>,
}

fn open(disk: &MemoryDisk) -> Result<Opened, RecoveryError> {
    open_from(disk, open_checkpoint(disk, &[])?)
}

/// The newest checkpoint, as if those in `without` were not there.
fn open_checkpoint(disk: &MemoryDisk, without: &[u64]) -> Result<Option<Checkpoint>, StoreError> {
    let root = Path::new(ROOT);
    open_latest_on(Arc::new(disk.clone()), root, &root.join("reading"), without)
}

fn open_from(disk: &MemoryDisk, checkpoint: Option<Checkpoint>) -> Result<Opened, RecoveryError> {
    let mut replayed = replay_with(checkpoint, Box::new(disk.at("data/journal")), options())?;
    let (generation, passed_over) = (replayed.generation, std::mem::take(&mut replayed.passed_over));
    Ok(Opened { engine: replayed.finish()?, generation, passed_over })
}

/// Whether a workload ends with checkpoints enough that segments go.
fn surely_prunes(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn workload(seed: u64, dice: &mut Dice) -> Vec<Op> {
    let mut ops = ops(dice);
    if surely_prunes(seed) {
        ops.extend(CHECKPOINTS.repeat(3));
    }
    ops
}

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let _ = (disk.at("data"), disk.at("data/journal"));
    disk
}

/// Opens `disk`, which `opened` was opened from, without the checkpoint that served then. If another is there, it serves as
/// well; the first that there ever was has none beside it.
fn check_the_one_beside(disk: &MemoryDisk, opened: &Opened, found: &State, what: &str) -> bool {
    let checkpoint = open_checkpoint(disk, opened.generation.as_slice());
    let Some(checkpoint) = checkpoint.unwrap_or_else(|error| panic!("{what}, the one beside: {error}"))
    else {
        return false;
    };
    let other = open_from(disk, Some(checkpoint));
    let other = other.unwrap_or_else(|error| panic!("{what}, from the one beside: {error}"));
    assert_ne!(other.generation, opened.generation, "{what}");
    assert_eq!(State::of(&other.engine), *found, "{what}: the one beside gives another state");
    true
}

// Opens what a power loss left, where the power may fail again on the way, and checks it; the state that is there then.
fn reopened(history: &History, moment: &MemoryDisk, steps: u64, dice: &mut Dice) -> MemoryDisk {
    let crashed = moment.crash(dice.below(u64::MAX));
    let again = crashed.with_fault(Some(Fault::Freeze(dice.below(40))));
    let first = open(&again).map(|opened| State::of(&opened.engine));
    let crashed = again.crash(dice.below(u64::MAX));
    let aside = crashed.crash(0);
    let opened = open(&crashed).unwrap_or_else(|error| panic!("after step {steps}: {error}"));
    assert!(opened.passed_over.is_empty(), "after step {steps}: {:?}", opened.passed_over);
    assert!(opened.generation >= history.finished_by(steps), "after step {steps}: an older checkpoint");
    let found = State::of(&opened.engine);
    history.check(&found, steps, &format!("after step {steps}"));
    // A checkpoint may turn out to be damaged: then it is the older one that needs the journal, from further back.
    if dice.below(4) == 0 {
        check_the_one_beside(&aside, &opened, &found, &format!("after step {steps}"));
    }
    // What an opening showed it has put on disk for good.
    if let Ok(first) = first {
        assert_eq!(first, found, "after step {steps}");
    }
    crashed
}

#[test]
fn a_power_loss_at_any_step_leaves_what_was_acknowledged_and_whole_groups_only() {
    let (checkpoints, pruned) = (Cell::new(0), Cell::new(0));
    campaign("power loss", WORKLOADS, |seed| {
        let mut dice = Dice(seed);
        let ops = workload(seed, &mut dice);
        let disk = disk();
        disk.record();
        let mut run = Run::open(&disk).unwrap();
        run.run(&ops);
        checkpoints.set(checkpoints.get() + run.history.finished.len() - 1);
        assert!(run.pruned > 0 || !surely_prunes(seed), "no segment went");
        pruned.set(pruned.get() + run.pruned);
        let moments = disk.recorded();
        let mut images = 0;
        for (steps, moment) in (0..).zip(moments) {
            let crashed = reopened(&run.history, &moment, steps, &mut dice);
            images += 2;
            if dice.below(4) != 0 {
                continue;
            }
            // It goes on there, until the power fails once more.
            let crashed = crashed.with_fault(Some(Fault::Freeze(dice.below(120))));
            if let Ok(mut second) = Run::open(&crashed) {
                second.run(&ops[..10]);
                reopened(&second.history, &crashed, u64::MAX, &mut dice);
                images += 3;
            }
        }
        images
    });
    let (checkpoints, pruned) = (checkpoints.get(), pruned.get());
    println!("power loss: {checkpoints} checkpoints, which pruned {pruned} segments");
}

/// Runs a workload with a fault, goes on until the disk is well again, and opens what a power loss leaves then. Whether the
/// fault came.
fn with_fault(ops: &[Op], fault: Fault, settles: bool, dice: &mut Dice, pruned: &mut usize) -> bool {
    let disk = disk().with_fault(Some(fault));
    // Whoever starts the node again finds a disk that works, after a while.
    let mut run = (0..1000).find_map(|_| Run::open(&disk).ok()).expect("opens in the end");
    run.run(ops);
    *pruned += run.pruned;
    let has_failed = disk.has_failed();
    if settles {
        let tries = (0..1000).take_while(|_| run.flush().is_err()).count();
        assert!(tries < 1000, "{fault:?}: no flush succeeds any more");
    }
    let last = State::of(&run.engine);
    reopened(&run.history, &disk, u64::MAX, dice);
    if settles {
        let crashed = disk.crash(dice.below(u64::MAX));
        let opened = open(&crashed).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(State::of(&opened.engine), last, "{fault:?}");
    }
    has_failed
}

#[test]
fn a_storage_error_at_any_step_loses_nothing_and_the_next_flush_resumes() {
    campaign("storage error", WORKLOADS, |seed| {
        let mut dice = Dice(seed);
        let ops = workload(seed, &mut dice);
        let (mut at, mut pruned) = (0, 0);
        while with_fault(&ops, Fault::Once(at), at % 2 == 0, &mut dice, &mut pruned) {
            at += 1;
        }
        assert!(pruned > 0 || !surely_prunes(seed), "no segment went");
        at
    });
}

#[test]
fn a_disk_that_fills_at_any_step_and_empties_loses_nothing() {
    campaign("full disk", WORKLOADS, |seed| {
        let mut dice = Dice(seed);
        let ops = workload(seed, &mut dice);
        let (mut at, mut pruned) = (0, 0);
        while with_fault(&ops, Fault::Full(at, at + 1 + dice.below(30)), at % 2 == 0, &mut dice, &mut pruned)
        {
            at += 1;
        }
        assert!(pruned > 0 || !surely_prunes(seed), "no segment went");
        at
    });
}

#[test]
fn a_file_that_cannot_be_read_at_an_opening_costs_nothing_but_that_opening() {
    campaign("unreadable", WORKLOADS, |seed| {
        let mut dice = Dice(seed);
        let mut ops = ops(&mut dice);
        ops.extend([Op::Create, Op::Checkpoint, Op::Report(3), Op::Checkpoint, Op::Report(4), Op::Flush]);
        let disk = disk();
        let mut run = Run::open(&disk).unwrap();
        run.run(&ops);
        let last = State::of(&run.engine);
        let (mut at, mut openings) = (0, 0);
        loop {
            let disk = disk.crash(dice.below(u64::MAX)).with_fault(Some(Fault::Read(at)));
            let opened = open(&disk).map(|opened| State::of(&opened.engine));
            if let Ok(state) = &opened {
                assert_eq!(*state, last, "read {at}");
            }
            openings += 1;
            if !disk.has_failed() {
                return openings;
            }
            let opened = open(&disk.with_fault(None)).unwrap();
            assert_eq!(State::of(&opened.engine), last, "after read {at} failed");
            at += 1;
        }
    });
}
