//! Reading along: what is synced, in order, from a position that each reader keeps for itself.
//!
//! A follower reads the segment files, not the memory of the writer: it may be far behind, and costs the writer
//! nothing. It never sees what is not synced, so what it derives is never ahead of what a crash leaves. Where a
//! storage error made a later segment supersede an earlier one, the ledger says where to change over.

use super::disk::DiskFile;
use super::entry::{Entry, Kind};
use super::error::JournalError;
use super::format::{GROUP_HEADER_LEN, GroupHeader, SEGMENT_HEADER_LEN};
use super::segment::{Group, read_header};
use super::{Journal, Sequence};
use crate::model::time::UnixMillis;

/// A reader of a journal and how far it has come.
#[derive(Debug)]
pub struct Follower {
    next: Sequence,
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    name: String,
    crc: u32,
    file: Box<dyn DiskFile>,
    /// Where the next group begins.
    offset: u64,
}

/// Why a follower cannot read on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A file cannot be read, or is not as it was written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What comes next was deleted: the follower fell behind further than the journal is kept.
    #[error("the journal begins with sequence {oldest}, but {next} is next")]
    Pruned {
        /// What the follower wants.
        next: Sequence,
        /// The first there is.
        oldest: Sequence,
    },
}

impl Follower {
    /// A follower that has seen everything up to `position`.
    #[must_use]
    pub fn after(position: Sequence) -> Follower {
        Follower { next: position.next(), open: None }
    }

    /// Up to where it has seen everything.
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.next.previous()
    }
}

impl Journal {
    /// Shows `follower` what comes next, until it has seen everything that was synced when this began, or about
    /// `bytes_max` bytes; whether it has seen everything. What was shown is not shown again. Entries of kinds that are
    /// not `wanted` are passed over unread: usage is most of a journal, and not everybody's affair.
    ///
    /// # Errors
    /// [`FollowError`]; what was shown before it counts as seen.
    pub fn read_on(
        &self,
        follower: &mut Follower,
        bytes_max: u64,
        wanted: impl Fn(Kind) -> bool,
        mut visit: impl FnMut(Sequence, UnixMillis, Entry),
    ) -> Result<bool, FollowError> {
        let synced = self.synced();
        let mut bytes = 0;
        while follower.next <= synced {
            if bytes >= bytes_max {
                return Ok(false);
            }
            let mut segment = match follower.open.take() {
                Some(segment) => segment,
                None => self.segment_with(follower.next)?,
            };
            let end = self.ledger.lock().end_of(&segment.name);
            if end.is_none_or(|end| end <= follower.next) {
                // Pruned while it was open, superseded, or read to its end: the next file has what is next.
                continue;
            }
            bytes += segment.read_group(&mut follower.next, &wanted, &mut visit)?;
            follower.open = Some(segment);
        }
        Ok(true)
    }

    fn segment_with(&self, next: Sequence) -> Result<OpenSegment, FollowError> {
        let name = self.ledger.lock().file_with(next);
        let name =
            name.ok_or_else(|| JournalError::damaged("the journal", 0, "a synced sequence is in no file"))?;
        let file = self.disk.open(&name).map_err(JournalError::io("open", &name))?;
        let mut header = [0; SEGMENT_HEADER_LEN];
        file.read_at(0, &mut header).map_err(JournalError::io("read", &name))?;
        let header = read_header(&name, &header)?;
        let (header, crc) = header.ok_or_else(|| JournalError::damaged(&name, 0, "its header is gone"))?;
        if header.first > next {
            return Err(FollowError::Pruned { next, oldest: header.first });
        }
        Ok(OpenSegment { name, crc, file, offset: SEGMENT_HEADER_LEN as u64 })
    }
}

impl OpenSegment {
    /// Shows the entries of the next group from `next` on, if it has any; how many bytes were read.
    fn read_group(
        &mut self,
        next: &mut Sequence,
        wanted: &impl Fn(Kind) -> bool,
        visit: &mut impl FnMut(Sequence, UnixMillis, Entry),
    ) -> Result<u64, JournalError> {
        let damaged = |reason: &str| JournalError::damaged(&self.name, self.offset, reason);
        let mut header = [0; GROUP_HEADER_LEN];
        self.file.read_at(self.offset, &mut header).map_err(JournalError::io("read", &self.name))?;
        let group = GroupHeader::decode(self.crc, &header);
        let group = group.ok_or_else(|| damaged("a synced group is not there any more"))?;
        let len = GROUP_HEADER_LEN as u64 + u64::from(group.body_len);
        let offset = self.offset;
        if group.last() < *next {
            self.offset += len;
            return Ok(GROUP_HEADER_LEN as u64);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.file.read_at(offset, &mut bytes).map_err(JournalError::io("read", &self.name))?;
        let body = group.body(&bytes).ok_or_else(|| damaged("a synced group is not whole any more"))?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        // Only whole batches are synced, so where this one begins does not matter.
        let whole = Group { header: group, offset: at, body, batch: group.first };
        for (at, raw) in whole.entries(&self.name)? {
            if raw.sequence >= *next {
                // A kind that is not known was written by a newer release: opening it says so.
                if Kind::from_number(raw.kind).is_none_or(wanted) {
                    let entry = raw.open(&self.name, at)?;
                    visit(raw.sequence, group.engine_time, entry);
                }
                *next = raw.sequence.next();
            }
        }
        self.offset += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::{Fault, MemoryDisk};
    use crate::journal::entry::Command;
    use crate::journal::open::Options;
    use proptest::prelude::*;

    /// Opens the journal; once more if the fault comes in the middle of that.
    fn open(disk: &MemoryDisk) -> Journal {
        let options = Options { segment_bytes: 4096, group_bytes_max: 1024, ..Options::default() };
        let visit = |_, _, _| Ok::<_, JournalError>(());
        let open = || Journal::open_on(Box::new(disk.clone()), options, Sequence(0), visit);
        open().or_else(|_| open()).unwrap().0
    }

    fn append(journal: &Journal, number: u64, len: usize) {
        let command = Command { version: number, core: vec![7; len], parts: Vec::new() };
        journal.append(Kind::Command, |out| command.encode(out)).unwrap();
    }

    fn read_all(
        journal: &Journal,
        follower: &mut Follower,
        bytes_max: u64,
    ) -> Result<Vec<(u64, u64)>, FollowError> {
        let mut seen = Vec::new();
        while !journal.read_on(
            follower,
            bytes_max,
            |_| true,
            |sequence, _, entry| match entry {
                Entry::Command(command) => seen.push((sequence.0, command.version)),
                _ => panic!("only commands were appended"),
            },
        )? {}
        Ok(seen)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sees_every_synced_entry_once_and_in_order_whatever_the_disk_does(
            steps in prop::collection::vec((1..40usize, 0..900usize, any::<bool>(), 1..5000u64), 1..25),
            fault in prop::option::of(0..60u64),
            reopen_at in 0..25usize,
        ) {
            let mut disk = MemoryDisk::default();
            let mut journal = open(&disk);
            disk = disk.with_fault(fault.map(Fault::Once));
            let mut follower = Follower::after(Sequence(0));
            let (mut number, mut seen) = (0, Vec::new());
            for (at, (count, len, flushes, bytes_max)) in steps.into_iter().enumerate() {
                for _ in 0..count {
                    number += 1;
                    append(&journal, number, len);
                }
                if flushes {
                    let _ = journal.flush(UnixMillis(1));
                }
                if at == reopen_at {
                    while journal.flush(UnixMillis(1)).is_err() {}
                    journal = open(&disk);
                    follower = Follower::after(follower.position());
                }
                seen.extend(read_all(&journal, &mut follower, bytes_max).unwrap());
                prop_assert_eq!(follower.position(), journal.synced());
            }
            while journal.flush(UnixMillis(1)).is_err() {}
            seen.extend(read_all(&journal, &mut follower, 100).unwrap());
            let expected: Vec<_> = (1..=number).map(|number| (number, number)).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_follower_that_fell_behind_what_is_kept_is_told_where_the_journal_begins() {
        let disk = MemoryDisk::default();
        let journal = open(&disk);
        for number in 1..=30 {
            append(&journal, number, 500);
            journal.flush(UnixMillis(1)).unwrap();
        }
        assert!(journal.prune(Sequence(20)).unwrap() > 0);
        let mut follower = Follower::after(Sequence(0));
        let Err(FollowError::Pruned { next, oldest }) = read_all(&journal, &mut follower, 10_000) else {
            panic!("the first entry is gone");
        };
        assert!(next == Sequence(1) && oldest > Sequence(1) && oldest <= Sequence(20));
        let mut follower = Follower::after(oldest.previous());
        let seen = read_all(&journal, &mut follower, 10_000).unwrap();
        assert_eq!(seen.first().map(|(sequence, _)| *sequence), Some(oldest.0));
        assert_eq!(seen.last(), Some(&(30, 30)));
    }
}
