//! The protocol of checkpoints on a disk in memory: whatever step the power fails at, also after any step has failed or the
//! disk was full, and also when it goes on after that.
//!
//! ```text
//! cargo test --lib store::crash_tests
//! TOLLGATE_CRASH_WORKLOADS=5000 cargo test --lib store::crash_tests -- --nocapture    a campaign
//! ```
//!
//! Of every image that a power loss can leave:
//!
//! 1. what is opened is the last checkpoint that was finished, or one begun after it; it holds what was put into it, and
//!    nothing was passed over on the way to it: `CURRENT` names a whole generation;
//! 2. a generation with a manifest is whole;
//! 3. until another is current, the one beside the last that was finished is still there, should that be damaged.
//!
//! `HAZARDS.md` beside the journal lists what was taken out of the protocol by hand to see these tests fail.

use std::path::Path;
use std::sync::Arc;

use super::Meta;
use super::checkpoint::{CheckpointWriter, MANIFEST};
use super::error::StoreError;
use super::generation;
use super::open::{Part, check_generation_on, open_latest_on};
use super::tree::Tree;
use crate::counter::snapshot::{CellImage, SubjectImage};
use crate::journal::Sequence;
use crate::journal::disk_memory::{Dice, Fault, MemoryDisk, campaign};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::Minute;

/// How many workloads each test takes, if nobody says.
const WORKLOADS: u64 = 40;

/// The directory of checkpoints, in one that is there for good.
const ROOT: &str = "data/checkpoints";

/// What is put into a checkpoint: its number, a catalog, and counters of so many applications.
#[derive(Clone, PartialEq, Debug)]
struct Content {
    catalog: Vec<u8>,
    counters: Vec<SubjectImage>,
}

impl Content {
    fn random(dice: &mut Dice) -> Content {
        let byte = dice.below(256) as u8;
        let subject = |application| SubjectImage {
            application: ApplicationId(application),
            cells: vec![CellImage { slot: MetricSlot(0), minute: Minute(1), counts: [u64::from(byte); 7] }],
            waiting: Vec::new(),
            holds: Vec::new(),
        };
        let len = dice.below(6000) as usize;
        let counters = (0..dice.below(4)).map(subject).collect();
        Content { catalog: vec![byte; len], counters }
    }
}

/// A checkpoint that was finished.
#[derive(Clone, Copy, Debug)]
struct Finished {
    /// After so many steps of the disk.
    steps: u64,
    generation: u64,
    /// The one that stays beside it.
    kept: Option<u64>,
}

/// A disk, and what was put on it.
struct World {
    disk: MemoryDisk,
    whole: Option<u64>,
    /// By term, which tells checkpoints apart.
    contents: Vec<Content>,
    finished: Vec<Finished>,
}

impl World {
    fn on(disk: MemoryDisk) -> World {
        World { disk, whole: None, contents: Vec::new(), finished: Vec::new() }
    }

    /// Makes a checkpoint; the disk may fail at any step of it.
    fn make(&mut self, dice: &mut Dice) -> Result<(), StoreError> {
        let content = Content::random(dice);
        let term = self.contents.len() as u64;
        self.contents.push(content.clone());
        let mut writer =
            CheckpointWriter::create_on(Arc::new(self.disk.clone()), Path::new(ROOT), self.whole)?;
        writer.put_catalog(&content.catalog)?;
        writer.put_counters(Sequence(term), &content.counters)?;
        let made = writer.finish(Meta { term, begin: Sequence(term), ..Meta::default() })?;
        let finished = Finished { steps: self.disk.steps(), generation: made.generation, kept: self.whole };
        self.finished.push(finished);
        self.whole = Some(made.generation);
        Ok(())
    }

    /// Opens an image that a power loss at that step has left; the generation that serves.
    fn check(&self, image: &MemoryDisk, steps: u64) -> Option<u64> {
        let root = Path::new(ROOT);
        let reading = root.join("reading");
        let opened = open_latest_on(Arc::new(image.clone()), root, &reading, &[])
            .unwrap_or_else(|error| panic!("after step {steps}: {error}"));
        let last = self.finished.iter().rev().find(|finished| finished.steps <= steps);
        let generation = opened.map(|checkpoint| {
            assert!(
                checkpoint.passed_over().is_empty(),
                "after step {steps}: {:?}",
                checkpoint.passed_over()
            );
            let mut found = Content { catalog: Vec::new(), counters: Vec::new() };
            let visit = |part| {
                match part {
                    Part::Catalog(bytes) => found.catalog.extend(bytes),
                    Part::Counters(_, images) => found.counters.extend(images),
                }
                Ok::<_, StoreError>(())
            };
            checkpoint.read(visit).unwrap();
            assert_eq!(found, self.contents[checkpoint.meta().term as usize], "after step {steps}");
            checkpoint.generation()
        });
        assert!(
            generation >= last.map(|last| last.generation),
            "after step {steps}: {generation:?}, {last:?}"
        );
        let mut whole = Vec::new();
        if image.is_dir(root) {
            for number in generation::list(image, root).unwrap() {
                if image.is_file(&generation::path_of(root, number).join(MANIFEST)) {
                    let disk = Arc::new(image.clone());
                    check_generation_on(disk, root, number, None, &reading)
                        .unwrap_or_else(|error| panic!("after step {steps}: {error}"));
                    whole.push(number);
                }
            }
        }
        let beside = match last {
            Some(last) if generation == Some(last.generation) => last.kept,
            last => last.map(|last| last.generation),
        };
        assert!(
            beside.is_none_or(|beside| whole.contains(&beside)),
            "after step {steps}: {beside:?} is gone"
        );
        generation
    }
}

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let _ = disk.at("data");
    disk
}

/// Checks what power losses at the recorded moments from `from` on leave, or at some of them; how many.
fn check_moments(world: &World, from: u64, one_in: u64, dice: &mut Dice) -> u64 {
    let mut images = 0;
    for (steps, moment) in (0..).zip(world.disk.recorded()) {
        if steps < from || dice.below(one_in) != 0 {
            continue;
        }
        let image = moment.crash(dice.below(u64::MAX));
        let generation = world.check(&image, steps);
        images += 1;
        // It goes on there, and the power fails once more.
        let mut second = World {
            disk: image.with_fault(Some(Fault::Freeze(dice.below(60)))),
            whole: generation,
            contents: world.contents.clone(),
            finished: Vec::new(),
        };
        second.finished.extend(generation.map(|generation| Finished { steps: 0, generation, kept: None }));
        while second.contents.len() < world.contents.len() + 2 && second.make(dice).is_ok() {}
        second.check(&second.disk.crash(dice.below(u64::MAX)), u64::MAX);
        images += 1;
    }
    images
}

#[test]
fn a_power_loss_at_any_step_leaves_a_whole_checkpoint_and_the_one_beside_it() {
    campaign("checkpoints, power loss", WORKLOADS, |seed| {
        let mut dice = Dice(seed);
        let mut world = World::on(disk());
        world.disk.record();
        for _ in 0..3 + dice.below(3) {
            world.make(&mut dice).unwrap();
        }
        check_moments(&world, 0, 1, &mut dice)
    });
}

/// Makes checkpoints with a fault at that step, and checks what power losses after it leave; whether it came, and how many.
fn after_fault(fault: Fault, at: u64, dice: &mut Dice) -> (bool, u64) {
    let mut world = World::on(disk().with_fault(Some(fault)));
    world.disk.record();
    // After an error the next checkpoint is tried.
    for tries in 0.. {
        assert!(tries < 100, "{fault:?}: no checkpoint succeeds any more");
        let made = world.make(dice).is_ok();
        if made && world.finished.len() == 3 {
            break;
        }
    }
    (world.disk.has_failed(), check_moments(&world, at, 12, dice))
}

#[test]
fn after_a_storage_error_at_any_step_a_power_loss_leaves_a_whole_checkpoint() {
    campaign("checkpoints, storage error", WORKLOADS / 4, |seed| {
        let (mut dice, mut images) = (Dice(seed), 0);
        for at in 0.. {
            let (came, checked) = after_fault(Fault::Once(at), at, &mut dice);
            images += checked;
            if !came {
                break;
            }
        }
        images
    });
}

#[test]
fn after_a_full_disk_at_any_step_a_power_loss_leaves_a_whole_checkpoint() {
    campaign("checkpoints, full disk", WORKLOADS / 4, |seed| {
        let (mut dice, mut images) = (Dice(seed), 0);
        for at in 0.. {
            let until = at + 1 + dice.below(20);
            let (came, checked) = after_fault(Fault::Full(at, until), at, &mut dice);
            images += checked;
            if !came {
                break;
            }
        }
        images
    });
}
