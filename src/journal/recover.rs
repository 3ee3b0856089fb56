//! Weighing the segments of a journal against each other; the rules are in the [module](super) documentation.

use super::Sequence;
use super::batch::Batch;
use super::disk::{Disk, DiskFile};
use super::entry::Entry;
use super::error::{JournalError, OpenError};
use super::format::{
    GROUP_HEADER_LEN, GroupHeader, NodeId, SEGMENT_HEADER_LEN, SegmentHeader, parse_segment_name,
};
use super::ledger::Ledger;
use super::open::Torn;
use super::segment::{Group, SegmentEnd, headless, is_blank, read_header, scan};
use crate::model::time::UnixMillis;

/// What a journal directory holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) node_id: Option<NodeId>,
    /// The highest term of any file.
    pub(super) term: u64,
    pub(super) first: Sequence,
    pub(super) next: Sequence,
    /// The last sequence that something says was synced.
    pub(super) synced: Sequence,
    /// The entries after `synced`.
    pub(super) tail: Batch,
    /// The highest engine time of a group in the tail.
    pub(super) tail_time: UnixMillis,
    pub(super) entries: u64,
    /// The highest engine time of a group that has an entry after `after`.
    pub(super) engine_time: UnixMillis,
    pub(super) ledger: Ledger,
    /// Files that hold no synced group: blank, superseded, or with nothing but the tail.
    pub(super) useless: Vec<String>,
    pub(super) torn: Option<Torn>,
}

/// A segment with a whole header.
struct Segment {
    name: String,
    file: Box<dyn DiskFile>,
    header: SegmentHeader,
    crc: u32,
    /// Its first batch is whole.
    has_batch: bool,
}

/// Reads all segments and shows the entries after `after` to `visit`.
pub(super) fn recover<E>(
    disk: &dyn Disk,
    node_id: Option<NodeId>,
    after: Sequence,
    visit: impl FnMut(Sequence, UnixMillis, Entry) -> Result<(), E>,
) -> Result<Found, OpenError<E>> {
    let (segments, mut useless, term) = peek_all(disk)?;
    let first = segments.first().map_or(after.next(), |segment| segment.header.first);
    if after.next() < first {
        let last = segments.last().map_or(first, |segment| segment.header.first).previous();
        return Err(JournalError::NotConnected { first, last, after }.into());
    }
    let mut replay =
        Replay { after, visit, first, next: first, synced: first.previous(), found: Totals::default() };
    for (at, segment) in segments.iter().enumerate() {
        check_order(node_id, segments[..at].last(), segment)?;
        let bound =
            segments[at + 1..].iter().filter(|later| later.has_batch).map(|later| later.header.first).min();
        replay.segment(segment, bound, at + 1 == segments.len())?;
    }
    let Replay { first, next, synced, found, .. } = replay;
    if after >= next {
        return Err(JournalError::NotConnected { first, last: next.previous(), after }.into());
    }
    useless
        .extend(segments.iter().filter(|segment| !found.ledger.holds(&segment.name)).map(|s| s.name.clone()));
    let mut tail = Batch::new(synced.next());
    let mut tail_time = UnixMillis::default();
    for group in &found.tail {
        tail_time = tail_time.max(group.header.engine_time);
        tail.push_group(&group.body, group.header.last().next());
    }
    Ok(Found {
        node_id: segments.first().map(|segment| segment.header.node_id),
        term,
        first,
        next,
        synced,
        tail,
        tail_time,
        entries: found.entries,
        engine_time: found.engine_time,
        ledger: found.ledger,
        useless,
        torn: found.torn,
    })
}

/// All segments in the order they were made, the files that never came to be one, and the highest term of either.
fn peek_all(disk: &dyn Disk) -> Result<(Vec<Segment>, Vec<String>, u64), JournalError> {
    let mut names = disk.list().map_err(JournalError::io("list", "the journal's directory"))?;
    names.retain(|name| parse_segment_name(name).is_some());
    names.sort_unstable();
    let term = names.iter().filter_map(|name| parse_segment_name(name)).map(|(term, _)| term).max();
    let mut segments = Vec::new();
    let mut blank = Vec::new();
    for name in names {
        match peek(disk, &name)? {
            Some(segment) => segments.push(segment),
            None => blank.push(name),
        }
    }
    Ok((segments, blank, term.unwrap_or(0)))
}

/// Opens a file and reads its header and first batch; `None` if it never came to have a header.
fn peek(disk: &dyn Disk, name: &str) -> Result<Option<Segment>, JournalError> {
    let file = disk.open(name).map_err(JournalError::io("open", name))?;
    let len = file.len().map_err(JournalError::io("read the length of", name))?;
    let start = read(name, file.as_ref(), len.min(SEGMENT_HEADER_LEN as u64))?;
    let Some((header, crc)) = read_header(name, &start)? else {
        let bytes = read(name, file.as_ref(), len)?;
        return if is_blank(&bytes) { Ok(None) } else { Err(headless(name)) };
    };
    let has_batch = begins_whole(name, file.as_ref(), crc, len)?;
    Ok(Some(Segment { name: name.to_owned(), file, header, crc, has_batch }))
}

/// Whether the first batch of a segment is whole: every group up to one that does not go on.
fn begins_whole(name: &str, file: &dyn DiskFile, crc: u32, len: u64) -> Result<bool, JournalError> {
    let mut at = SEGMENT_HEADER_LEN as u64;
    loop {
        if len - at < GROUP_HEADER_LEN as u64 {
            return Ok(false);
        }
        let Some(group) = GroupHeader::decode(crc, &read_at(name, file, at, GROUP_HEADER_LEN as u64)?) else {
            return Ok(false);
        };
        let group_len = GROUP_HEADER_LEN as u64 + u64::from(group.body_len);
        if len - at < group_len || group.body(&read_at(name, file, at, group_len)?).is_none() {
            return Ok(false);
        }
        if !group.goes_on() {
            return Ok(true);
        }
        at += group_len;
    }
}

fn read(name: &str, file: &dyn DiskFile, len: u64) -> Result<Vec<u8>, JournalError> {
    read_at(name, file, 0, len)
}

fn read_at(name: &str, file: &dyn DiskFile, offset: u64, len: u64) -> Result<Vec<u8>, JournalError> {
    let too_long = || JournalError::damaged(name, len, "the file is longer than memory");
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_long())?];
    file.read_at(offset, &mut bytes).map_err(JournalError::io("read", name))?;
    Ok(bytes)
}

/// What must hold between a segment, the one before it, and the node.
fn check_order(
    node_id: Option<NodeId>,
    before: Option<&Segment>,
    segment: &Segment,
) -> Result<(), JournalError> {
    let expected = before.map(|before| before.header.node_id).or(node_id);
    if expected.is_some_and(|node_id| node_id != segment.header.node_id) {
        return Err(JournalError::OtherNode { file: segment.name.clone() });
    }
    match before {
        Some(before) if segment.header.first < before.header.first => {
            let reason = format!("it begins before {}, which is older", before.name);
            Err(JournalError::damaged(&segment.name, 0, reason))
        }
        _ => Ok(()),
    }
}

/// The pass over all groups in order.
struct Replay<V> {
    after: Sequence,
    visit: V,
    /// The first sequence after the last gap.
    first: Sequence,
    next: Sequence,
    synced: Sequence,
    found: Totals,
}

#[derive(Default)]
struct Totals {
    entries: u64,
    engine_time: UnixMillis,
    ledger: Ledger,
    /// Groups after the last that is known to be synced.
    tail: Vec<TailGroup>,
    torn: Option<Torn>,
    /// The last file read, and where its groups end: the place of a gap before the next file.
    end: Option<(String, u64)>,
}

struct TailGroup {
    file: String,
    header: GroupHeader,
    /// The first sequence of its batch.
    batch: Sequence,
    body: Vec<u8>,
}

impl<V> Replay<V> {
    /// Reads one segment, up to `bound`, from where on later segments supersede it.
    fn segment<E>(
        &mut self,
        segment: &Segment,
        bound: Option<Sequence>,
        is_last: bool,
    ) -> Result<(), OpenError<E>>
    where
        V: FnMut(Sequence, UnixMillis, Entry) -> Result<(), E>,
    {
        let Segment { name, file, header, crc, .. } = segment;
        self.check_begin(name, header.first)?;
        self.next = self.next.max(header.first);
        self.vouch(name, 0, header.first.previous())?;
        let len = file.len().map_err(JournalError::io("read the length of", name))?;
        let bytes = read(name, file.as_ref(), len)?;
        let SegmentEnd { offset, torn_bytes, .. } = scan(name, (*header, *crc), &bytes, |group| {
            self.vouch(name, group.offset, group.header.synced)?;
            match bound {
                Some(bound) if group.batch >= bound => Ok(()),
                Some(bound) if group.header.last() >= bound => {
                    let reason = format!("sequence {bound}, where a later segment begins, is inside a batch");
                    Err(JournalError::damaged(name, group.offset as u64, reason).into())
                }
                _ => self.group(name, &group),
            }
        })?;
        // Whoever made a later segment knew of this tail.
        if is_last && torn_bytes > 0 {
            self.found.torn = Some(Torn { file: name.clone(), offset, bytes: torn_bytes });
        }
        self.found.end = Some((name.clone(), offset));
        Ok(())
    }

    /// A segment may begin at what is next, or before it, but after everything that was synced; or later, if the
    /// caller has what is between.
    fn check_begin(&mut self, name: &str, first: Sequence) -> Result<(), JournalError> {
        if first > self.next && first.previous() > self.after {
            let (file, offset) = self.found.end.as_ref().map_or((name, 0), |(file, offset)| (file, *offset));
            let missing =
                format!("sequences {} to {}, once synced, are missing here", self.next, first.0 - 1);
            return Err(JournalError::damaged(file, offset, missing));
        }
        if first > self.next {
            self.first = first;
        }
        if first <= self.synced {
            let reason = format!("it begins with sequence {first}, though {} was synced before", self.synced);
            return Err(JournalError::damaged(name, 0, reason));
        }
        Ok(())
    }

    /// Takes note that everything up to `synced` was synced.
    fn vouch(&mut self, name: &str, offset: usize, synced: Sequence) -> Result<(), JournalError> {
        if synced >= self.next {
            let reason = format!("it says that {synced} was synced, but {} is missing", self.next);
            return Err(JournalError::damaged(name, offset as u64, reason));
        }
        self.synced = self.synced.max(synced);
        let known = self.found.tail.partition_point(|group| group.header.last() <= synced);
        if self.found.tail.get(known).is_some_and(|group| group.batch <= synced) {
            let reason = format!("it says that {synced}, inside a batch, was synced last");
            return Err(JournalError::damaged(name, offset as u64, reason));
        }
        for group in self.found.tail.drain(..known) {
            let len = (GROUP_HEADER_LEN + group.body.len()) as u64;
            self.found.ledger.note(&group.file, group.header.last(), len);
        }
        Ok(())
    }

    fn group<E>(&mut self, name: &str, group: &Group<'_>) -> Result<(), OpenError<E>>
    where
        V: FnMut(Sequence, UnixMillis, Entry) -> Result<(), E>,
    {
        for (offset, raw) in group.entries(name)? {
            if raw.sequence > self.after {
                let entry = raw.open(name, offset)?;
                (self.visit)(raw.sequence, group.header.engine_time, entry)
                    .map_err(|error| OpenError::Visit { sequence: raw.sequence, error })?;
                self.found.entries += 1;
            }
        }
        self.next = group.header.last().next();
        // Not of what the caller has already: it may have set the clock back since.
        if group.header.last() > self.after {
            self.found.engine_time = self.found.engine_time.max(group.header.engine_time);
        }
        self.found.tail.push(TailGroup {
            file: name.to_owned(),
            header: group.header,
            batch: group.batch,
            body: group.body.to_vec(),
        });
        Ok(())
    }
}
