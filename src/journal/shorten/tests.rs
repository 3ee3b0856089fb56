//! Ending a journal at any place of any history.

use super::*;
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::journal::entry::Command;
use crate::journal::error::JournalError;
use crate::journal::{Journal, Options};
use proptest::prelude::*;

fn snapshot(disk: &MemoryDisk) -> MemoryDisk {
    MemoryDisk::from_image(disk.image())
}

fn open(disk: Box<dyn Disk>) -> Result<(Journal, Vec<(u64, u64)>), String> {
    let mut seen = Vec::new();
    let options = Options { segment_bytes: 4096, group_bytes_max: 1024, ..Options::default() };
    let visit = |sequence: Sequence, _, entry| {
        if let Entry::Command(command) = entry {
            seen.push((sequence.0, command.version));
        }
        Ok::<_, JournalError>(())
    };
    let (journal, _) =
        Journal::open_on(disk, options, Sequence(0), visit).map_err(|error| error.to_string())?;
    Ok((journal, seen))
}

/// Applies a plan to a disk, as an operator's command does to a directory.
fn apply(disk: &MemoryDisk, plan: &Shortening) {
    for (name, kept) in &plan.partly {
        let bytes = read_whole(disk, name).unwrap();
        disk.remove(name).unwrap();
        let file = disk.create(name, bytes.len() as u64).unwrap();
        file.write_at(0, &bytes[..usize::try_from(*kept).unwrap()]).unwrap();
        file.sync_data().unwrap();
    }
    plan.whole.iter().for_each(|name| disk.remove(name).unwrap());
    disk.create(&plan.mark, 0).unwrap();
    disk.sync_dir().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_before_the_cut_stays_and_no_term_gives_a_sequence_out_twice(
        steps in prop::collection::vec((1..30_u64, 0..700_usize), 1..12),
        fault in prop::option::of(0..40_u64),
        reopen_at in 0..12_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut disk = MemoryDisk::default();
        let (mut journal, _) = open(Box::new(disk.clone())).unwrap();
        disk = disk.with_fault(fault.map(Fault::Once));
        let mut number = 0;
        for (at, (count, len)) in steps.into_iter().enumerate() {
            for _ in 0..count {
                number += 1;
                let command = Command { version: number, core: vec![7; len], parts: Vec::new() };
                journal.append(Kind::Command, |out| command.encode(out)).unwrap();
            }
            while journal.flush(UnixMillis(number)).is_err() {}
            if at == reopen_at {
                journal = open(Box::new(disk.clone())).or_else(|_| open(Box::new(disk.clone()))).unwrap().0;
            }
        }
        let term = journal.term();
        drop(journal);
        let wanted = Sequence(cut.index(usize::try_from(number).unwrap()) as u64 + 1);
        let plan = Shortening::plan(&disk, &EndAt::Sequence(wanted)).unwrap();
        prop_assert!(plan.from <= wanted);
        prop_assert_eq!(plan.lost.entries, number + 1 - plan.from.0);
        let expected: Vec<_> = (1..plan.from.0).map(|number| (number, number)).collect();
        let disk = disk.with_fault(None);
        let trial = open(plan.disk(Box::new(snapshot(&disk)))).unwrap();
        prop_assert_eq!(&trial.1, &expected);
        apply(&disk, &plan);
        let (journal, seen) = open(Box::new(disk.clone())).unwrap();
        prop_assert_eq!(seen, expected);
        prop_assert!(journal.term() > term);
    }
}

#[test]
fn a_hole_is_cut_where_it_begins_and_what_follows_it_is_counted_as_lost() {
    let disk = MemoryDisk::default();
    let (journal, _) = open(Box::new(disk.clone())).unwrap();
    for number in 1..=10 {
        let command = Command { version: number, core: vec![7; 200], parts: Vec::new() };
        journal.append(Kind::Command, |out| command.encode(out)).unwrap();
        journal.flush(UnixMillis(number)).unwrap();
    }
    drop(journal);
    let name = segment_names(&disk).unwrap().remove(0);
    let bytes = read_whole(&disk, &name).unwrap();
    let segment = Segment::read(&disk, &name).unwrap();
    let hole = segment.chain[4].at;
    disk.open(&name).unwrap().write_at(hole as u64 + 70, &[bytes[hole + 70] ^ 1]).unwrap();
    let error = open(Box::new(snapshot(&disk))).unwrap_err();
    assert_damage(&error, &name, hole);
    let at = EndAt::Place { file: name.clone(), offset: hole as u64 };
    let plan = Shortening::plan(&disk, &at).unwrap();
    assert_eq!((plan.from, &plan.partly, &plan.whole), (Sequence(5), &vec![(name, hole as u64)], &vec![]));
    // One group of the ten cannot be read.
    assert_eq!((plan.lost.entries, plan.lost.synced), (5, Sequence(9)));
    assert!(plan.lost.unreadable_bytes > 200);
    apply(&disk, &plan);
    assert_eq!(open(Box::new(disk)).unwrap().1.len(), 4);
}

fn assert_damage(error: &str, name: &str, hole: usize) {
    assert!(error.contains(&format!("{name} is damaged at offset {hole}")), "{error}");
}
