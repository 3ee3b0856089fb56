//! Rows of plugins' shelves on both sides of a cut: what commands that go said of them, and what was said before.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::groups_that_count;
use super::{Segment, ShortenError, Shortening};
use crate::journal::catalog;
use crate::journal::disk::Disk;
use crate::journal::entry::{Command, Entry, Kind};
use crate::journal::rows::Rows;
use crate::journal::segment::Group;
use crate::journal::survey::segment_names;
use crate::journal::{JournalError, Sequence};

/// What a row is called: its table and its key.
pub type RowName = (String, Vec<u8>);

/// A value; `None` says that there is no such row.
pub type RowValue = Option<Vec<u8>>;

/// What the journal knows of a row that commands which go have changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CutRow {
    /// All that these commands said of it.
    pub gone: BTreeSet<RowValue>,
    /// The last that a command which stays said of it, if there is one.
    pub stays: Option<RowValue>,
}

/// What the journal knows of rows of plugins' shelves on both sides of a cut.
#[derive(Clone, Default, Debug)]
pub struct CutRows {
    /// By plugin.
    pub plugins: BTreeMap<String, BTreeMap<RowName, CutRow>>,
    /// Commands that go, or parts of them, that cannot be read.
    pub unreadable: u64,
    /// The journal has every entry before the cut: of what no entry says anything, there was nothing.
    pub has_all: bool,
    /// Ids below this are given out, as far as commands that go say so.
    pub next_id: u64,
}

impl Shortening {
    /// What the journal on `disk`, which is not shortened yet, knows of rows.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn rows(&self, disk: &dyn Disk) -> Result<CutRows, ShortenError> {
        let names = segment_names(disk)?;
        let segments =
            names.iter().map(|name| Segment::read(disk, name)).collect::<Result<Vec<_>, ShortenError>>()?;
        let mut rows = CutRows { has_all: self.has_all(&segments), ..CutRows::default() };
        for (file, group) in groups_that_count(&segments) {
            visit_commands(file, &group, |at, command| {
                if at >= self.from {
                    rows.take_gone(command);
                }
            });
        }
        if rows.plugins.is_empty() {
            return Ok(rows);
        }
        // They come in the order of their sequences, as what a later file supersedes does not count: the last word stays.
        for (file, group) in groups_that_count(&segments) {
            visit_commands(file, &group, |at, command| {
                if at < self.from {
                    rows.take_staying(command);
                }
            });
        }
        Ok(rows)
    }

    /// Whether all entries before the cut can be found.
    fn has_all(&self, segments: &[Segment]) -> bool {
        let groups = groups_that_count(segments).map(|(_, group)| group.header);
        let mut spans: Vec<_> = groups.map(|header| (header.first, header.last())).collect();
        spans.sort_unstable();
        let next =
            spans.into_iter().fold(
                Sequence(1),
                |next, (first, last)| {
                    if first <= next { next.max(last.next()) } else { next }
                },
            );
        next >= self.from
    }
}

/// Calls `visit` with each command of a group and its sequence, or with why it cannot be read.
fn visit_commands(
    file: &str,
    group: &Group<'_>,
    mut visit: impl FnMut(Sequence, Result<Command, JournalError>),
) {
    for (offset, raw) in group.entries(file).unwrap_or_default() {
        if raw.kind == Kind::Command as u8 {
            match raw.open(file, offset) {
                Ok(Entry::Command(command)) => visit(raw.sequence, Ok(command)),
                Ok(_) => {}
                Err(error) => visit(raw.sequence, Err(error)),
            }
        }
    }
}

impl CutRows {
    fn take_gone(&mut self, command: Result<Command, JournalError>) {
        let Ok(Command { core, parts, .. }) = command else {
            self.unreadable += 1;
            return;
        };
        // What comes of ids that cannot be read: their rows are not taken for new ones.
        let _ = catalog::decode(&core, |_, next_id| self.next_id = self.next_id.max(next_id));
        for (plugin, part) in parts {
            let Ok(part) = Rows::decode(&part) else {
                self.unreadable += 1;
                continue;
            };
            let rows = self.plugins.entry(plugin).or_default();
            for (table, key, value) in part.iter() {
                let row = rows.entry((table.to_owned(), key.to_vec())).or_default();
                row.gone.insert(value.map(<[u8]>::to_vec));
            }
        }
    }

    fn take_staying(&mut self, command: Result<Command, JournalError>) {
        // The state could not be put together with a command that stays and cannot be read; one that is older than the
        // checkpoint says nothing then.
        let parts = command.map_or_else(|_| Vec::new(), |command| command.parts);
        for (plugin, part) in parts {
            let Some(rows) = self.plugins.get_mut(&plugin) else { continue };
            let Ok(part) = Rows::decode(&part) else {
                rows.values_mut().for_each(|row| row.stays = None);
                self.has_all = false;
                continue;
            };
            for (table, key, value) in part.iter() {
                if let Some(row) = rows.get_mut(&(table.to_owned(), key.to_vec())) {
                    row.stays = Some(value.map(<[u8]>::to_vec));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::MemoryDisk;

    use crate::journal::{EndAt, Journal, Options};
    use crate::model::catalog::Change;
    use crate::model::time::UnixMillis;

    fn open(disk: &MemoryDisk) -> Journal {
        let visit = |_, _, _| Ok::<_, JournalError>(());
        let options = Options { segment_bytes: 4096, ..Options::default() };
        Journal::open_on(Box::new(disk.clone()), options, Sequence(0), visit).unwrap().0
    }

    /// A batch with one command, whose part sets one row.
    fn put(journal: &Journal, next_id: u64, key: u8, value: Option<u8>) {
        let mut rows = Rows::default();
        rows.set("rows", &[key], value.map(|value| vec![value; 400]));
        let mut core = Vec::new();
        catalog::encode(&[Change::RaiseIds(next_id)], next_id, &mut core);
        let command = Command { version: 1, core, parts: vec![("plugin".to_owned(), rows.encode())] };
        journal.append(Kind::Command, |out| command.encode(out)).unwrap();
        journal.flush(UnixMillis(1)).unwrap();
    }

    fn cut(disk: &MemoryDisk, from: u64) -> CutRows {
        let plan = Shortening::plan(disk, &EndAt::Sequence(Sequence(from))).unwrap();
        plan.rows(disk).unwrap()
    }

    #[test]
    fn what_was_said_of_a_row_before_the_cut_is_found_unless_it_was_pruned() {
        let disk = MemoryDisk::default();
        let journal = open(&disk);
        let said = |value: u8| Some(vec![value; 400]);
        let first = journal.last_appended().next().0;
        // Row 1 is put early, row 2 again and again, row 3 deleted and put; 4 comes after the cut.
        put(&journal, 10, 1, Some(1));
        (0..20).for_each(|value| put(&journal, 11, 2, Some(value)));
        put(&journal, 12, 3, None);
        let from = journal.last_appended().next().0;
        for (key, value) in [(1, Some(100)), (2, None), (2, Some(102)), (3, Some(103)), (4, Some(104))] {
            put(&journal, 20 + u64::from(key), key, value);
        }
        let rows = cut(&disk, from);
        assert_eq!((rows.unreadable, rows.has_all, rows.next_id), (0, true, 24));
        let row = |rows: &CutRows, key: u8| rows.plugins["plugin"][&("rows".to_owned(), vec![key])].clone();
        let all = |gone: Vec<RowValue>, stays| CutRow { gone: gone.into_iter().collect(), stays };
        assert_eq!(row(&rows, 1), all(vec![said(100)], Some(said(1))));
        assert_eq!(row(&rows, 2), all(vec![None, said(102)], Some(said(19))));
        assert_eq!(row(&rows, 3), all(vec![said(103)], Some(None)));
        assert_eq!(row(&rows, 4), all(vec![said(104)], None));
        // Nothing is said of rows that no command which goes has changed.
        assert_eq!(cut(&disk, from + 4).plugins["plugin"].len(), 1);
        // Without the first files.
        let pruned = journal.prune(Sequence(first + 15)).unwrap();
        assert!(pruned > 0);
        let rows = cut(&disk, from);
        assert!(!rows.has_all);
        assert_eq!(row(&rows, 1), all(vec![said(100)], None));
        assert_eq!(row(&rows, 2).stays, Some(said(19)));
    }
}
