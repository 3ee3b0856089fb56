//! Idempotency ids on both sides of a cut: whoever keeps them elsewhere must let those go whose usage goes.
//!
//! The journal says which they are, as far as it can be read. What a file has that a later one supersedes was never so, and
//! says nothing. Of an id that no entry names there is only the time at which it was counted: if that is after the last
//! batch that stays was written, the entry can only be one that goes and cannot be read. Other such ids are of entries
//! that were pruned.

use std::collections::HashSet;

use super::{Segment, ShortenError, Shortening};
use crate::journal::Sequence;
use crate::journal::disk::Disk;
use crate::journal::entry::{Entry, Kind};
use crate::journal::format::GroupHeader;
use crate::journal::segment::Group;
use crate::journal::survey::segment_names;
use crate::model::idempotency::{IdKey, Known};
use crate::model::time::UnixMillis;

/// What the journal knows of ids on both sides of a cut.
#[derive(Clone, Debug)]
pub struct CutIds {
    gone: HashSet<IdKey>,
    /// Of what stays, those that were counted later than `last`, which happens when a clock is set back.
    late: HashSet<IdKey>,
    /// The engine's time when the last batch that stays was written.
    pub last: UnixMillis,
}

/// What becomes of an id when the journal is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Its usage stays.
    Stays,
    /// Its usage goes.
    Goes,
    /// No entry names it that can be read; by the time at which it was counted its usage goes.
    GoesByTime,
}

impl CutIds {
    /// What becomes of `known`.
    #[must_use]
    pub fn fate(&self, known: &Known) -> Fate {
        if self.gone.contains(&known.key) {
            Fate::Goes
        } else if known.remembered.at > self.last && !self.late.contains(&known.key) {
            Fate::GoesByTime
        } else {
            Fate::Stays
        }
    }
}

impl Shortening {
    /// What the journal on `disk`, which is not shortened yet, knows of ids. `otherwise` is the time of what stays, if no
    /// batch of the journal does.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn ids(&self, disk: &dyn Disk, otherwise: UnixMillis) -> Result<CutIds, ShortenError> {
        let names = segment_names(disk)?;
        let segments =
            names.iter().map(|name| Segment::read(disk, name)).collect::<Result<Vec<_>, ShortenError>>()?;
        let newest = groups_that_count(&segments)
            .filter(|(_, group)| group.header.first < self.from)
            .max_by_key(|(_, group)| group.header.first);
        let last = newest.map_or(otherwise, |(_, group)| group.header.engine_time);
        let mut cut = CutIds { gone: HashSet::new(), late: HashSet::new(), last };
        for (file, group) in groups_that_count(&segments) {
            cut.take(file, &group, self.from);
        }
        Ok(cut)
    }
}

/// All groups that can be read, with the file of each, but for those that a later file supersedes.
pub(super) fn groups_that_count(segments: &[Segment]) -> impl Iterator<Item = (&str, Group<'_>)> {
    segments.iter().enumerate().flat_map(move |(at, segment)| {
        let successor = segments[at + 1..].iter().map(|later| later.first).min();
        let counts = move |header: &GroupHeader| successor.is_none_or(|first| header.first < first);
        segment.groups().filter(move |(_, header)| counts(header)).filter_map(|(at, header)| {
            let body = header.body(&segment.bytes[*at..])?;
            let group = Group { header: *header, offset: *at, body, batch: header.first };
            Some((segment.name.as_str(), group))
        })
    })
}

impl CutIds {
    fn take(&mut self, file: &str, group: &Group<'_>, from: Sequence) {
        let entries = group.entries(file).unwrap_or_default();
        for (offset, raw) in entries.into_iter().filter(|(_, raw)| raw.kind == Kind::Ids as u8) {
            let Ok(Entry::Ids(ids)) = raw.open(file, offset) else { continue };
            if raw.sequence >= from {
                self.gone.extend(ids.ids.iter().map(|known| known.key));
            } else {
                let late = ids.ids.iter().filter(|known| known.remembered.at > self.last);
                self.late.extend(late.map(|known| known.key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::MemoryDisk;
    use crate::journal::ids::encode_ids;
    use crate::journal::{EndAt, Journal, JournalError, Options};
    use crate::model::id::{ServiceId, TenantId};
    use crate::model::idempotency::{BodyHash, IdKind, Remembered};

    fn known(number: u64, at: u64) -> Known {
        let key = IdKey::new(TenantId(1), ServiceId(1), IdKind::Request, &number.to_le_bytes());
        Known { key, remembered: Remembered { body: BodyHash(number), outcome: 0, at: UnixMillis(at) } }
    }

    fn open(disk: &MemoryDisk) -> Journal {
        let visit = |_, _, _| Ok::<_, JournalError>(());
        Journal::open_on(Box::new(disk.clone()), Options::default(), Sequence(0), visit).unwrap().0
    }

    /// A batch of one id, counted and written at `10 * number`.
    fn put(journal: &Journal, number: u64) {
        let ids = [known(number, 10 * number)];
        journal.append(Kind::Ids, |out| encode_ids(UnixMillis(10 * number), ids.iter(), out)).unwrap();
        journal.flush(UnixMillis(10 * number)).unwrap();
    }

    fn cut(disk: &MemoryDisk, from: u64) -> CutIds {
        let plan = Shortening::plan(disk, &EndAt::Sequence(Sequence(from))).unwrap();
        plan.ids(disk, UnixMillis(7)).unwrap()
    }

    #[test]
    fn ids_go_with_their_entries_and_by_their_time_where_those_cannot_be_read() {
        let disk = MemoryDisk::default();
        let journal = open(&disk);
        (1..=9).for_each(|number| put(&journal, number));
        drop(journal);
        let fates = |cut: &CutIds| (1..=9).map(|number| cut.fate(&known(number, 10 * number))).collect();
        let all: Vec<Fate> = fates(&cut(&disk, 5));
        assert_eq!(all, [vec![Fate::Stays; 4], vec![Fate::Goes; 5]].concat());
        // Of what was pruned the journal knows nothing, and it was earlier.
        assert_eq!(cut(&disk, 5).fate(&known(100, 40)), Fate::Stays);
        // Whatever its time, what an entry that stays names stays, and what one that goes names goes.
        assert_eq!(cut(&disk, 5).fate(&known(7, 3)), Fate::Goes);
        // Nothing of the journal stays: the time of the state decides.
        assert_eq!(
            (cut(&disk, 1).last, cut(&disk, 1).fate(&known(100, 8))),
            (UnixMillis(7), Fate::GoesByTime)
        );

        let name = segment_names(&disk).unwrap().remove(0);
        let hole = Segment::read(&disk, &name).unwrap().chain[4].at as u64 + 60;
        disk.open(&name).unwrap().write_at(hole, &[0xAA; 8]).unwrap();
        let all: Vec<Fate> = fates(&cut(&disk, 5));
        assert_eq!(all, [vec![Fate::Stays; 4], vec![Fate::GoesByTime], vec![Fate::Goes; 4]].concat());
    }

    #[test]
    fn what_a_later_file_supersedes_says_nothing_of_ids() {
        let disk = MemoryDisk::default();
        let journal = open(&disk);
        (1..=6).for_each(|number| put(&journal, number));
        drop(journal);
        // A power loss took what follows 2; only the old file still has it. The ids came again, later.
        let name = segment_names(&disk).unwrap().remove(0);
        let old = disk.image().remove(&name).unwrap();
        let lost = Segment::read(&disk, &name).unwrap().chain[2].at;
        let mut image = disk.image();
        image.insert(name.clone(), [&old[..lost], &vec![0; old.len() - lost]].concat());
        let disk = MemoryDisk::from_image(image);
        let journal = open(&disk);
        (3..=6).rev().for_each(|number| put(&journal, number));
        drop(journal);
        let mut image = disk.image();
        image.insert(name, old);
        let disk = MemoryDisk::from_image(image);
        // Sequences 3 and 4 are those of ids 6 and 5 now.
        let cut = cut(&disk, 5);
        let fates: Vec<_> = (1..=6).map(|number| cut.fate(&known(number, 10 * number))).collect();
        let (stays, goes) = (Fate::Stays, Fate::Goes);
        assert_eq!(fates, [stays, stays, goes, goes, stays, stays]);
    }
}
