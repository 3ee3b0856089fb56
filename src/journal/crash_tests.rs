//! What was acknowledged survives, once and in order, whatever step of a workload the power fails at.
//!
//! A workload of appends, flushes and prunings runs on a disk in memory with a fault at its n-th step, for every n
//! until it runs through. After a power loss the journal is opened on an image that has what was synced and an
//! arbitrary part of what was not; then the workload goes on there, and the power fails again. Every opening must
//! show exactly the entries that were appended, without a gap, at least up to what was acknowledged, and of what was
//! flushed together all or nothing, however many groups it took.

use super::disk_memory::{Fault, MemoryDisk};
use super::entry::{Command, Entry, Kind};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Flush,
    Prune(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => prop_oneof![0..700usize, Just(5000)].prop_map(Op::Append),
        4 => Just(Op::Flush),
        1 => (0..10u64).prop_map(Op::Prune),
    ];
    prop::collection::vec(op, 1..25)
}

/// What the node remembers beside the journal, and what it expects of it.
#[derive(Default)]
struct Expected {
    /// The content of every entry, by sequence - 1.
    appended: Vec<Vec<u8>>,
    acknowledged: u64,
    /// The last sequence of every batch that may be on disk.
    edges: BTreeSet<u64>,
    /// What checkpoints have, so that pruning may take it.
    checkpointed: u64,
    /// Terms in which the journal was opened so far.
    term: u64,
}

/// Sequences and contents, as an opening showed them.
type Seen = Vec<(u64, Vec<u8>)>;

fn options() -> Options {
    Options { segment_bytes: 4096, group_bytes_max: 2000, ..Options::default() }
}

fn open(disk: &MemoryDisk, after: Sequence) -> Result<(Journal, Recovery, Seen), JournalError> {
    let mut seen = Vec::new();
    let opened = Journal::open_on(Box::new(disk.clone()), options(), after, |sequence, _, entry| {
        let Entry::Command(command) = entry else { panic!("only commands are appended") };
        seen.push((sequence.0, command.core));
        Ok::<_, Infallible>(())
    });
    match opened {
        Ok((journal, recovery)) => Ok((journal, recovery, seen)),
        Err(OpenError::Journal(error)) => Err(error),
    }
}

impl Expected {
    /// Opens the journal and compares it; a fault may have hit the opening itself.
    fn open(&mut self, disk: &MemoryDisk) -> Option<Journal> {
        let (journal, recovery, seen) = match open(disk, Sequence(self.checkpointed)) {
            Ok(opened) => opened,
            Err(error) if disk.has_failed() && matches!(error, JournalError::Io { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let last = recovery.last.0;
        assert!(last >= self.acknowledged, "lost: {last} of {}", self.acknowledged);
        assert!(last == self.acknowledged || self.edges.contains(&last), "half a batch: {last}");
        assert!(recovery.term > self.term, "a term came twice");
        self.term = recovery.term;
        self.appended.truncate(usize::try_from(last).unwrap());
        assert_eq!(self.appended.len() as u64, last, "more than was appended");
        let from = usize::try_from(self.checkpointed).unwrap();
        let expected: Vec<_> = (self.checkpointed + 1..).zip(self.appended[from..].to_vec()).collect();
        assert_eq!(seen, expected);
        assert_eq!(journal.synced(), recovery.last);
        self.acknowledged = last;
        self.edges.clear();
        Some(journal)
    }

    fn run(&mut self, journal: &Journal, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Append(len) => {
                    let core = vec![self.appended.len() as u8 | 1; *len];
                    let command = Command { version: 1, core: core.clone(), parts: Vec::new() };
                    let sequence = journal.append(Kind::Command, |out| command.encode(out)).unwrap();
                    self.appended.push(core);
                    assert_eq!(sequence.0, self.appended.len() as u64);
                }
                Op::Flush => {
                    self.edges.insert(self.appended.len() as u64);
                    if let Ok(synced) = journal.flush(UnixMillis(1)) {
                        assert_eq!(synced.0, self.appended.len() as u64);
                    }
                    self.acknowledged = journal.synced().0;
                }
                Op::Prune(keep) => {
                    self.checkpointed = self.checkpointed.max(self.acknowledged.saturating_sub(*keep));
                    let _ = journal.prune(Sequence(self.checkpointed + 1));
                }
            }
        }
    }
}

/// Runs with that fault in the first round and later a power loss, and returns whether the fault was reached.
fn run(ops: &[Op], fault: Fault, seed: u64) -> bool {
    let mut expected = Expected::default();
    let mut disk = MemoryDisk::default().with_fault(Some(fault));
    let mut reached = false;
    for round in 0..3u64 {
        if let Some(journal) = expected.open(&disk) {
            expected.run(&journal, ops);
        }
        let has_failed = disk.has_failed();
        disk = disk.crash(seed.wrapping_add(round));
        if round == 0 {
            reached = has_failed;
            // Power fails again soon, for some seeds while the journal is being opened.
            disk = disk.with_fault(Some(Fault::Freeze(seed % 12)));
        }
    }
    assert!(expected.open(&disk).is_some());
    reached
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn power_loss_at_any_step_loses_nothing_acknowledged(ops in ops(), seed: u64) {
        let reached = (0..500).take_while(|step| run(&ops, Fault::Freeze(*step), seed ^ step)).count();
        prop_assert!(reached < 500);
    }

    #[test]
    fn a_storage_error_at_any_step_loses_nothing_acknowledged(ops in ops(), seed: u64) {
        let reached = (0..500).take_while(|step| run(&ops, Fault::Once(*step), seed ^ step)).count();
        prop_assert!(reached < 500);
    }
}

fn append(journal: &Journal, byte: u8) -> Sequence {
    let command = Command { version: 1, core: vec![byte], parts: Vec::new() };
    journal.append(Kind::Command, |out| command.encode(out)).unwrap()
}

/// An entry of which three make a group.
fn append_long(journal: &Journal, byte: u8) {
    let command = Command { version: 1, core: vec![byte; 600], parts: Vec::new() };
    journal.append(Kind::Command, |out| command.encode(out)).unwrap();
}

#[test]
fn after_a_failed_sync_the_entries_move_to_a_new_segment_in_a_new_term() {
    let disk = MemoryDisk::default();
    let (journal, recovery, _) = open(&disk, Sequence(0)).unwrap();
    append(&journal, 1);
    journal.flush(UnixMillis(1)).unwrap();
    append(&journal, 2);
    // Steps of a flush into an open segment: write the header, write the body, sync.
    let disk = disk.with_fault(Some(Fault::Once(2)));
    assert!(journal.flush(UnixMillis(2)).is_err());
    assert_eq!((journal.synced(), journal.last_appended()), (Sequence(1), Sequence(2)));
    append(&journal, 3);
    assert_eq!(journal.flush(UnixMillis(3)).unwrap(), Sequence(3));
    assert_eq!(journal.term(), recovery.term + 1);
    let names: Vec<_> = disk.image().into_keys().collect();
    assert_eq!(names, [format::segment_name(1, Sequence(1)), format::segment_name(2, Sequence(2))]);
    // The abandoned file shows entry 2 as if it were whole; the new one supersedes it.
    let (_, recovery, seen) = open(&disk, Sequence(0)).unwrap();
    assert_eq!(seen, [(1, vec![1]), (2, vec![2]), (3, vec![3])]);
    assert_eq!((recovery.term, recovery.re_appended, recovery.torn), (3, 2, None));
}

#[test]
fn of_a_batch_of_many_groups_a_crash_leaves_all_or_nothing() {
    let batch = |journal: &Journal| (1..=20).for_each(|byte| append_long(journal, byte));
    let mut outcomes = BTreeSet::new();
    for step in 0.. {
        let disk = MemoryDisk::default();
        let (journal, ..) = open(&disk, Sequence(0)).unwrap();
        append(&journal, 1);
        journal.flush(UnixMillis(1)).unwrap();
        let disk = disk.with_fault(Some(Fault::Freeze(step)));
        batch(&journal);
        let acknowledged = journal.flush(UnixMillis(2)).is_ok();
        for seed in 0..40 {
            let (_, recovery, seen) = open(&disk.crash(seed), Sequence(0)).unwrap();
            assert!(seen.len() == 21 || (seen.len() == 1 && !acknowledged), "{}", seen.len());
            // A batch of which a part is there is torn: no damage, and no entry.
            assert!(recovery.torn.is_none() || seen.len() == 1);
            outcomes.insert((seen.len(), recovery.torn.is_some()));
        }
        if acknowledged {
            break;
        }
    }
    // All of them came up, and an unacknowledged batch that was whole is written once more as one.
    assert_eq!(outcomes, BTreeSet::from([(1, false), (1, true), (21, false)]));
}

#[test]
fn a_hole_in_a_batch_that_was_synced_is_damage_and_one_at_the_end_is_a_torn_tail() {
    let disk = MemoryDisk::default();
    let (journal, ..) = open(&disk, Sequence(0)).unwrap();
    (1..=20).for_each(|byte| append_long(&journal, byte));
    journal.flush(UnixMillis(1)).unwrap();
    let image = disk.image();
    let (name, whole) = image.first_key_value().unwrap();
    let open_with_hole = |image: &BTreeMap<String, Vec<u8>>, at: usize| {
        let mut image = image.clone();
        image.get_mut(name).unwrap()[at] ^= 1;
        open(&MemoryDisk::from_image(image), Sequence(0))
    };
    let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in [format::SEGMENT_HEADER_LEN + 100, last / 2, last] {
        let (_, recovery, seen) = open_with_hole(&image, at).unwrap();
        let offset = recovery.torn.map(|torn| torn.offset);
        assert_eq!((seen.len(), offset), (0, Some(format::SEGMENT_HEADER_LEN as u64)));
    }
    append(&journal, 21);
    journal.flush(UnixMillis(1)).unwrap();
    for at in [format::SEGMENT_HEADER_LEN + 100, last / 2, last] {
        let error = open_with_hole(&disk.image(), at).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
}

#[test]
fn restarts_without_work_leave_one_file_more_at_most() {
    let disk = MemoryDisk::default();
    for _ in 0..5 {
        let (journal, _, seen) = open(&disk, Sequence(0)).unwrap();
        if seen.is_empty() {
            append(&journal, 7);
            journal.flush(UnixMillis(9)).unwrap();
        }
    }
    let (_, recovery, seen) = open(&disk, Sequence(0)).unwrap();
    assert_eq!(seen, [(1, vec![7])]);
    assert_eq!((recovery.term, recovery.engine_time), (6, UnixMillis(9)));
    assert_eq!(disk.image().len(), 1);
}

#[test]
fn a_real_directory_holds_a_journal_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for round in 1..=3u8 {
        let mut seen = Vec::new();
        let (journal, _) = Journal::open(&path, Options::default(), Sequence(0), |sequence, _, _| {
            seen.push(sequence.0);
            Ok::<_, Infallible>(())
        })
        .unwrap();
        assert_eq!(seen, (1..u64::from(round)).collect::<Vec<_>>());
        append(&journal, round);
        journal.flush(UnixMillis(u64::from(round))).unwrap();
    }
}

#[test]
fn what_is_written_once_more_keeps_its_time_though_older_groups_are_later() {
    let disk = MemoryDisk::default();
    let (journal, ..) = open(&disk, Sequence(0)).unwrap();
    append(&journal, 1);
    journal.flush(UnixMillis(9000)).unwrap();
    // An operator set the clock back, and a checkpoint has entry 1.
    append(&journal, 2);
    journal.flush(UnixMillis(50)).unwrap();
    for _ in 0..3 {
        let mut times = Vec::new();
        let visit = |sequence: Sequence, time, _| {
            times.push((sequence.0, time));
            Ok::<_, Infallible>(())
        };
        let (_, recovery) = Journal::open_on(Box::new(disk.clone()), options(), Sequence(1), visit).unwrap();
        assert_eq!(times, [(2, UnixMillis(50))]);
        assert_eq!((recovery.engine_time, recovery.re_appended), (UnixMillis(50), 1));
    }
}
