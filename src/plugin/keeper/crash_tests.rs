//! Commands on a disk that loses its power at any step, or fails once: journal and shelf, redb included, on one disk in memory.
//! Whatever happened, catalog and records are of the same command, and not of one before what was flushed.

use super::tests::{NOW, World, application, note, read};
use super::*;
use crate::journal::disk_memory::{Dice, Fault, MemoryDisk, campaign};
use crate::model::id::ApplicationId;
use crate::plugin::host::Desk;

/// What a workload knows: the number of the last command, and of the last that was acknowledged.
struct Done {
    id: Option<ApplicationId>,
    given: u64,
    durable: Option<u64>,
}

/// Gives commands, flushes and settles, in an order that the seed decides, on a disk that may fail.
fn work(engine: &Engine, desk: &Desk, seed: u64) -> Done {
    let mut dice = Dice(seed);
    let mut done = Done { id: None, given: 0, durable: None };
    let id = application(engine);
    for _ in 0..40 {
        match dice.below(10) {
            0..6 => {
                // Some are long, so that a shelf's file grows.
                let filler = "x".repeat([10, 100, 200][dice.below(3) as usize]);
                done.given += u64::from(note(desk, id, &format!("{} {filler}", done.given + 1)).is_ok());
            }
            6..8 => {
                if engine.flush(NOW).is_ok() {
                    (done.id, done.durable) = (Some(id), Some(done.given));
                }
            }
            _ => {
                let flushed = engine.flush(NOW);
                let _ =
                    if desk.keeper().is_behind() { desk.keeper().catch_up() } else { desk.keeper().settle() };
                if flushed.is_ok() {
                    (done.id, done.durable) = (Some(id), Some(done.given));
                }
            }
        }
    }
    done
}

fn number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

/// What is there after a start: the same in catalog and records, and all that was acknowledged.
fn check(disk: &MemoryDisk, done: &Done) {
    let (engine, desks, _host) = World::open(disk, &[("notes", disk)]).unwrap().accompanied();
    let Some(id) = done.id else { return };
    let name =
        engine.catalog().applications.get(id.0).map(|it| it.name.to_string()).expect("it was acknowledged");
    let found = read(&desks[0], id).map_or(0, |text| {
        assert_eq!(text, name, "half of a command");
        number(&text)
    });
    if found == 0 {
        assert_eq!(name, "new", "half of a command");
    }
    assert!(
        (done.durable.unwrap()..=done.given).contains(&found),
        "{:?} <= {found} <= {}",
        done.durable,
        done.given
    );
}

/// The disk with the fault, after the workload, and what that knows.
fn run(seed: u64, fault: Option<Fault>) -> (MemoryDisk, Done, u64) {
    let disk = MemoryDisk::default();
    let (engine, desks, _host) = World::open(&disk, &[("notes", &disk)]).unwrap().accompanied();
    let disk = disk.with_fault(fault);
    let done = work(&engine, &desks[0], seed);
    let steps = disk.steps();
    // The moment of the crash: before anything is closed.
    let image = disk.crash(seed);
    if !matches!(fault, None | Some(Fault::Freeze(_))) {
        let _ = disk.clone().with_fault(None);
        recovers_by_itself(&engine, &desks[0], &done);
    }
    (image, done, steps)
}

/// A disk that is well again: the node goes on, without a start.
fn recovers_by_itself(engine: &Engine, desk: &Desk, done: &Done) {
    for _ in 0..4 {
        let _ = engine.flush(NOW);
        let _ = desk.keeper().settle();
        if desk.keeper().is_behind() {
            let _ = desk.keeper().catch_up();
        }
    }
    assert!(!desk.keeper().is_behind(), "it does not catch up");
    let Some(id) = done.id else { return };
    let name = engine.catalog().applications.get(id.0).unwrap().name.to_string();
    if done.given > 0 {
        assert_eq!(read(desk, id).unwrap(), name);
        assert_eq!(number(&name), done.given);
    }
    note(desk, id, "9999 and on").unwrap();
    engine.flush(NOW).unwrap();
    desk.keeper().settle().unwrap();
}

#[test]
fn a_power_loss_at_any_step_leaves_all_of_a_command_or_nothing() {
    campaign("commands and power loss", 3, |seed| {
        let (_, _, steps) = run(seed, None);
        let mut dice = Dice(seed);
        let moments: Vec<u64> = (0..30).map(|_| dice.below(steps)).collect();
        for at in &moments {
            let (image, done, _) = run(seed, Some(Fault::Freeze(*at)));
            check(&image, &done);
        }
        moments.len() as u64
    });
}

#[test]
fn a_disk_that_fails_once_or_is_full_for_a_while_loses_nothing_and_needs_no_start() {
    campaign("commands and storage errors", 3, |seed| {
        let (_, _, steps) = run(seed, None);
        let mut dice = Dice(seed);
        for turn in 0..20 {
            let at = dice.below(steps);
            let fault = if turn % 2 == 0 { Fault::Once(at) } else { Fault::Full(at, at + dice.below(20)) };
            let (image, done, _) = run(seed, Some(fault));
            check(&image, &done);
        }
        20
    });
}
