//! Ending a journal earlier than it does, on an operator's word: what that takes away, and what is left.
//!
//! The journal is cut at a sequence S, which is the first of a batch, as batches count as a whole. From each file goes
//! what is of S or later, superseded or not: a superseded group that came back to life would say what was never so.
//! A file that begins at S or later goes as a whole. The highest term stays taken by an empty file of its name
//! ([`Shortening::mark`]), as an opening counts the names of files: else the next one would begin a term that has given
//! out S already, and (term, sequence) would name two entries. The next opening but one has removed it.
//!
//! Here nothing is changed: [`Shortening::plan`] says what would go, and [`Shortening::disk`] shows the journal as it
//! would be, to be opened for a trial.

mod ids;
mod rows;
#[cfg(test)]
mod tests;

pub use ids::{CutIds, Fate};
pub use rows::{CutRow, CutRows, RowName, RowValue};

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::Sequence;
use super::disk::{Disk, DiskFile};
use super::entry::{Entry, Kind};
use super::format::{
    GROUP_HEADER_LEN, GroupHeader, SEGMENT_HEADER_LEN, SegmentHeader, parse_segment_name, segment_name,
};
use super::segment::Group;
use super::survey::{read_whole, segment_names};
use crate::model::id::ApplicationId;
use crate::model::time::UnixMillis;

/// Where to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndAt {
    /// Before the batch at this place, or around it.
    Place {
        /// A segment's name.
        file: String,
        /// Bytes from its beginning.
        offset: u64,
    },
    /// Before the batch that has this sequence.
    Sequence(Sequence),
}

/// Why a journal cannot be ended there.
#[derive(Debug, thiserror::Error)]
pub enum ShortenError {
    /// The directory or a file cannot be read.
    #[error("journal: {0}")]
    Io(#[from] io::Error),
    /// No such file.
    #[error("journal: there is no segment {0}")]
    NoSuchFile(String),
    /// The journal ends before that.
    #[error("journal: nothing is to be found at sequence {0} or after it")]
    NothingThere(Sequence),
}

/// What goes when a journal is ended earlier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shortening {
    /// The first sequence that goes.
    pub from: Sequence,
    /// The files that go as a whole, latest first.
    pub whole: Vec<String>,
    /// The files of which the beginning stays, and how many bytes that is; the rest becomes zeros.
    pub partly: Vec<(String, u64)>,
    /// The name of the empty file that keeps the highest term taken.
    pub mark: String,
    /// What is in what goes.
    pub lost: Lost,
}

/// What is in what goes, as far as it can be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// How many entries can be read.
    pub entries: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Whose counters they change.
    pub applications: BTreeSet<ApplicationId>,
    /// The engine's clock at the first and the last of them.
    pub times: Option<(UnixMillis, UnixMillis)>,
    /// Bytes other than zero that are not part of any whole group.
    pub unreadable_bytes: u64,
    /// The last sequence that any file says was on disk for good, whether or not it can be read.
    pub synced: Sequence,
}

/// One file, as far as it can be read.
struct Segment {
    name: String,
    term: u64,
    first: Sequence,
    bytes: Vec<u8>,
    /// Its whole batches, one after the other without a gap, and where the last one ends.
    chain: Vec<Batch>,
    end: usize,
    /// Whole groups after that.
    strays: Vec<(usize, GroupHeader)>,
}

/// A whole batch.
struct Batch {
    at: usize,
    end: usize,
    first: Sequence,
    last: Sequence,
    groups: Vec<(usize, GroupHeader)>,
}

impl Segment {
    fn read(disk: &dyn Disk, name: &str) -> Result<Segment, ShortenError> {
        let bytes = read_whole(disk, name)?;
        let (term, first) = parse_segment_name(name).unwrap_or_default();
        let mut segment = Segment {
            name: name.to_owned(),
            term,
            first,
            bytes,
            chain: Vec::new(),
            end: 0,
            strays: Vec::new(),
        };
        if let Ok((header, crc)) = SegmentHeader::decode(&segment.bytes) {
            segment.find_groups(header.first, crc);
        }
        Ok(segment)
    }

    fn find_groups(&mut self, first: Sequence, crc: u32) {
        let whole = |at: usize| {
            let rest = self.bytes.get(at..)?;
            let header = GroupHeader::decode(crc, rest)?;
            header.body(rest).map(|body| (header, at + GROUP_HEADER_LEN + body.len()))
        };
        let (mut at, mut next) = (SEGMENT_HEADER_LEN, first);
        let (mut chain, mut groups, mut begin) = (Vec::new(), Vec::new(), (at, first));
        while let Some((header, end)) =
            whole(at).filter(|(header, _)| header.first == next && header.count > 0)
        {
            groups.push((at, header));
            (at, next) = (end, header.last().next());
            if !header.goes_on() {
                let groups = std::mem::take(&mut groups);
                chain.push(Batch { at: begin.0, end, first: begin.1, last: header.last(), groups });
                begin = (at, next);
            }
        }
        let (mut at, mut strays) = (begin.0, Vec::new());
        let end = at;
        while at < self.bytes.len() {
            at = match whole(at) {
                Some((header, end)) => {
                    strays.push((at, header));
                    end
                }
                None => at + 8,
            };
        }
        (self.chain, self.end, self.strays) = (chain, end, strays);
    }

    /// Its whole groups, those of whole batches first.
    fn groups(&self) -> impl Iterator<Item = &(usize, GroupHeader)> {
        self.chain.iter().flat_map(|batch| &batch.groups).chain(&self.strays)
    }

    /// The sequence after its last whole batch that is not behind a hole.
    fn next(&self) -> Sequence {
        self.chain.last().map_or(self.first, |batch| batch.last.next())
    }

    /// How many bytes stay if the journal ends before `from`; `None` if all do.
    fn kept(&self, from: Sequence) -> Option<usize> {
        let cut = self.chain.iter().find(|batch| batch.last >= from).map(|batch| batch.at);
        let rest = || self.bytes[self.end.min(self.bytes.len())..].iter().any(|byte| *byte != 0);
        cut.or_else(|| (self.next() == from && rest()).then_some(self.end))
    }
}

impl Shortening {
    /// What would go of the journal on `disk` if it ended there. Changes nothing.
    ///
    /// # Errors
    /// [`ShortenError`].
    pub fn plan(disk: &dyn Disk, at: &EndAt) -> Result<Shortening, ShortenError> {
        let names = segment_names(disk)?;
        let segments =
            names.iter().map(|name| Segment::read(disk, name)).collect::<Result<Vec<_>, ShortenError>>()?;
        let from = first_to_go(&segments, at)?;
        let term = segments.iter().map(|segment| segment.term).max().unwrap_or(0);
        let mut plan = Shortening {
            from,
            whole: Vec::new(),
            partly: Vec::new(),
            mark: segment_name(term, from),
            lost: Lost::default(),
        };
        let mut entries = BTreeMap::new();
        for segment in &segments {
            plan.lost.note_synced(segment);
            if segment.first >= from {
                plan.whole.push(segment.name.clone());
                plan.lost.take(segment, 0, &mut entries);
            } else if let Some(kept) = segment.kept(from) {
                plan.partly.push((segment.name.clone(), kept as u64));
                plan.lost.take(segment, kept, &mut entries);
            }
        }
        plan.whole.reverse();
        plan.lost.count(entries);
        if plan.whole.is_empty() && plan.partly.is_empty() {
            return Err(ShortenError::NothingThere(from));
        }
        Ok(plan)
    }

    /// The journal on `inner` as it would be; for reading.
    #[must_use]
    pub fn disk(&self, inner: Box<dyn Disk>) -> Box<dyn Disk> {
        Box::new(Shortened { inner, plan: self.clone() })
    }
}

fn first_to_go(segments: &[Segment], at: &EndAt) -> Result<Sequence, ShortenError> {
    match at {
        EndAt::Place { file, offset } => {
            let segment = segments.iter().find(|segment| segment.name == *file);
            let segment = segment.ok_or_else(|| ShortenError::NoSuchFile(file.clone()))?;
            if *offset < SEGMENT_HEADER_LEN as u64 {
                return Ok(segment.first);
            }
            let around = segment.chain.iter().find(|batch| batch.end as u64 > *offset);
            Ok(around.map_or(segment.next(), |batch| batch.first))
        }
        EndAt::Sequence(sequence) => {
            // The latest file that has it is the one that counts.
            let of = |segment: &Segment| {
                let mut batches = segment.chain.iter();
                let batch = batches.find(|batch| batch.first <= *sequence && *sequence <= batch.last);
                batch.map(|batch| batch.first)
            };
            let found = segments.iter().rev().find_map(of);
            // It may be lost in a hole: then the journal ends before the hole, or as a file begins.
            let is_next = || segments.iter().any(|it| it.next() == *sequence || it.first == *sequence);
            found.or_else(|| is_next().then_some(*sequence)).ok_or(ShortenError::NothingThere(*sequence))
        }
    }
}

/// What an entry that goes was.
type Gone = (u8, UnixMillis, BTreeSet<ApplicationId>);

impl Lost {
    fn note_synced(&mut self, segment: &Segment) {
        let said = segment.groups().map(|(_, header)| header.synced).max().unwrap_or_default();
        self.synced = self.synced.max(said).max(if segment.chain.is_empty() && segment.end == 0 {
            Sequence(0)
        } else {
            segment.first.previous()
        });
    }

    /// Takes in what is at `kept` or after it in a file. A later file's word on a sequence counts.
    fn take(&mut self, segment: &Segment, kept: usize, entries: &mut BTreeMap<Sequence, Gone>) {
        let mut read = 0;
        for (at, header) in segment.groups().filter(|(at, _)| *at >= kept) {
            let Some(body) = header.body(&segment.bytes[*at..]) else { continue };
            read += GROUP_HEADER_LEN + body.len();
            let group = Group { header: *header, offset: *at, body, batch: header.first };
            for (offset, raw) in group.entries(&segment.name).unwrap_or_default() {
                let whose = raw.open(&segment.name, offset).map(|entry| applications(&entry));
                entries.insert(raw.sequence, (raw.kind, header.engine_time, whose.unwrap_or_default()));
            }
        }
        let begin = kept.max(SEGMENT_HEADER_LEN).min(segment.bytes.len());
        let last = segment.bytes[begin..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.unreadable_bytes += last.saturating_sub(read) as u64;
    }

    fn count(&mut self, entries: BTreeMap<Sequence, Gone>) {
        for (kind, time, whose) in entries.into_values() {
            self.entries += 1;
            let name = Kind::from_number(kind)
                .map_or_else(|| format!("kind {kind}"), |kind| format!("{kind:?}").to_lowercase());
            *self.kinds.entry(name).or_default() += 1;
            self.applications.extend(whose);
            self.times = Some((self.times.map_or(time, |(from, _)| from), time));
        }
    }
}

/// Whose counters or reservations an entry is about.
fn applications(entry: &Entry) -> BTreeSet<ApplicationId> {
    match entry {
        Entry::Usage(usage) => usage.items.iter().map(|item| item.application).collect(),
        Entry::Set(set) | Entry::Replace(set) => [set.application].into(),
        Entry::Reservation(all) => all.items.iter().map(|item| item.application).collect(),
        _ => BTreeSet::new(),
    }
}

/// A journal without what goes, and with the mark that keeps its highest term taken.
#[derive(Debug)]
struct Shortened {
    inner: Box<dyn Disk>,
    plan: Shortening,
}

impl Disk for Shortened {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.inner.list()?;
        names.retain(|name| !self.plan.whole.contains(name));
        names.push(self.plan.mark.clone());
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == self.plan.mark {
            return Ok(Box::new(Mark));
        }
        let file = self.inner.open(name)?;
        match self.plan.partly.iter().find(|(partly, _)| partly == name) {
            Some((_, kept)) => Ok(Box::new(Beginning { file, kept: *kept })),
            None => Ok(file),
        }
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.inner.create(name, len)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if name == self.plan.mark { Ok(()) } else { self.inner.remove(name) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

/// An empty file that is only looked at.
#[derive(Debug)]
struct Mark;

impl DiskFile for Mark {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file whose first bytes count, with zeros after them.
#[derive(Debug)]
struct Beginning {
    file: Box<dyn DiskFile>,
    kept: u64,
}

impl DiskFile for Beginning {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)?;
        let kept = usize::try_from(self.kept.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(gone) = buffer.get_mut(kept..) {
            gone.fill(0);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
