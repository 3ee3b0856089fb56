//! Looking at a journal's files one by one: what each holds, and where it is not whole.
//!
//! Opening stops at the first damage. This goes on, so that an operator sees all of it; how the files fit together
//! (supersession, gaps between files) is for opening to say.

use std::io;

use super::Sequence;
use super::disk::Disk;
use super::error::JournalError;
use super::format::{NodeId, parse_segment_name};
use super::segment::{headless, is_blank, read_header, scan};
use crate::model::time::UnixMillis;

/// What one file of a journal holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentSurvey {
    /// Its name.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The term in its name.
    pub term: u64,
    /// Who wrote it; `None` if it has no whole header.
    pub node_id: Option<NodeId>,
    /// The sequence it begins with, as its name says.
    pub first: Sequence,
    /// The sequence after the last entry that was read.
    pub next: Sequence,
    /// Whole groups before its end, or before the damage.
    pub groups: u64,
    /// The entries in them.
    pub entries: u64,
    /// The engine time of the first and the last of them.
    pub times: Option<(UnixMillis, UnixMillis)>,
    /// What comes after them.
    pub state: SegmentState,
}

/// How a segment ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SegmentState {
    /// With nothing but zeros.
    Whole,
    /// It never came to have a header or a group: it was being made when the node died.
    Blank,
    /// With a write that was not finished, and never acknowledged.
    Torn {
        /// Where that begins.
        offset: u64,
        /// How many bytes there are, up to the last that is not zero.
        bytes: u64,
    },
    /// With something that was synced once and is not whole any more, or that this release does not understand.
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// The names of a journal's segments, in the order they were made.
///
/// # Errors
/// The directory cannot be listed.
pub fn segment_names(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.retain(|name| parse_segment_name(name).is_some());
    names.sort_unstable();
    Ok(names)
}

/// All bytes of a segment.
///
/// # Errors
/// It cannot be read.
pub fn read_whole(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Looks at one segment's bytes. No content makes it panic.
#[must_use]
pub fn survey_segment(name: &str, bytes: &[u8]) -> SegmentSurvey {
    let (term, first) = parse_segment_name(name).unwrap_or_default();
    let mut survey = SegmentSurvey {
        file: name.to_owned(),
        bytes: bytes.len() as u64,
        term,
        node_id: None,
        first,
        next: first,
        groups: 0,
        entries: 0,
        times: None,
        state: SegmentState::Whole,
    };
    survey.state = match look(name, bytes, &mut survey) {
        Ok(state) => state,
        Err(error) => {
            let (offset, reason) = place_of(error);
            SegmentState::Damaged { offset, reason }
        }
    };
    survey
}

fn look(name: &str, bytes: &[u8], survey: &mut SegmentSurvey) -> Result<SegmentState, JournalError> {
    let Some(header) = read_header(name, bytes)? else {
        return if is_blank(bytes) { Ok(SegmentState::Blank) } else { Err(headless(name)) };
    };
    survey.node_id = Some(header.0.node_id);
    let end = scan(name, header, bytes, |group| {
        for (offset, entry) in group.entries(name)? {
            entry.open(name, offset)?;
        }
        survey.groups += 1;
        survey.entries += u64::from(group.header.count);
        survey.next = group.header.last().next();
        let time = group.header.engine_time;
        survey.times = Some((survey.times.map_or(time, |(from, _)| from), time));
        Ok::<_, JournalError>(())
    })?;
    Ok(match end.torn_bytes {
        0 => SegmentState::Whole,
        bytes => SegmentState::Torn { offset: end.offset, bytes },
    })
}

/// Where the error lies within its file, and what it is.
fn place_of(error: JournalError) -> (u64, String) {
    match error {
        JournalError::Damaged { offset, reason, .. } => (offset, reason),
        JournalError::Entry { offset, sequence, source, .. } => {
            (offset, format!("entry {sequence}: {source}"))
        }
        JournalError::Format { version, .. } => {
            (0, format!("it has format {version}, which this release does not know"))
        }
        other => (0, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::MemoryDisk;
    use crate::journal::entry::{Command, Kind};
    use crate::journal::{Journal, Options};

    fn journal() -> MemoryDisk {
        let disk = MemoryDisk::default();
        let options = Options { segment_bytes: 4096, ..Options::default() };
        let visit = |_, _, _| Ok::<_, JournalError>(());
        let (journal, _) = Journal::open_on(Box::new(disk.clone()), options, Sequence(0), visit).unwrap();
        for number in 1..=20 {
            let command = Command { version: number, core: vec![7; 300], parts: Vec::new() };
            journal.append(Kind::Command, |out| command.encode(out)).unwrap();
            journal.flush(UnixMillis(1000 + number)).unwrap();
        }
        disk
    }

    #[test]
    fn whole_files_are_counted_and_connect() {
        let disk = journal();
        let names = segment_names(&disk).unwrap();
        assert!(names.len() > 1);
        let mut next = Sequence(1);
        for name in &names {
            let survey = survey_segment(name, &read_whole(&disk, name).unwrap());
            assert_eq!((survey.first, &survey.state), (next, &SegmentState::Whole));
            assert_eq!(survey.entries, survey.next.0 - survey.first.0);
            assert_eq!(survey.times.unwrap().1, UnixMillis(1000 + survey.next.0 - 1));
            next = survey.next;
        }
        assert_eq!(next, Sequence(21));
    }

    #[test]
    fn damage_and_torn_tails_are_told_apart_and_placed() {
        let disk = journal();
        let name = &segment_names(&disk).unwrap()[0];
        let bytes = read_whole(&disk, name).unwrap();
        let whole = survey_segment(name, &bytes);
        // The second group is lost, and the third says that it was synced.
        let mut damaged = bytes.clone();
        let group = 56 + u32::from_le_bytes(bytes[64 + 12..64 + 16].try_into().unwrap()) as usize;
        damaged[64 + group + 60] ^= 1;
        let survey = survey_segment(name, &damaged);
        assert!(matches!(survey.state, SegmentState::Damaged { offset, .. } if offset == 64 + group as u64));
        assert_eq!((survey.groups, survey.next), (1, Sequence(2)));
        // Nobody speaks for the last one.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let mut torn = bytes.clone();
        torn[end] ^= 1;
        let survey = survey_segment(name, &torn);
        assert!(matches!(survey.state, SegmentState::Torn { .. }), "{survey:?}");
        assert_eq!(survey.groups, whole.groups - 1);
        // Nothing at all, and a file that was cut short.
        assert_eq!(survey_segment(name, &[0; 4096]).state, SegmentState::Blank);
        let short = survey_segment(name, &bytes[..4000]);
        assert!(matches!(short.state, SegmentState::Damaged { offset: 4000, .. }), "{short:?}");
    }
}
