//! Which files hold which sequences, and how much there is of them: what pruning and checkpoints go by.

use super::Sequence;
use super::batch::GroupShape;
use std::collections::VecDeque;

/// How finely sizes are remembered: 16 bytes of memory for each of these.
const MARK_BYTES: u64 = 1 << 20;

/// A file with at least one synced group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) name: String,
    /// The sequence after its last that no later file supersedes.
    pub(super) end: Sequence,
}

/// All files with synced groups, oldest first, and running totals of their bytes.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    files: VecDeque<Held>,
    /// After this sequence, so many bytes had been written; ascending, one for each [`MARK_BYTES`].
    marks: VecDeque<(Sequence, u64)>,
    bytes: u64,
}

impl Ledger {
    /// Notes a synced group and its file.
    pub(super) fn record(&mut self, file: &str, group: &GroupShape) {
        self.note(file, group.last(), group.len());
    }

    /// Notes a group of `len` bytes that ends with `last`.
    pub(super) fn note(&mut self, file: &str, last: Sequence, len: u64) {
        match self.files.back_mut() {
            Some(held) if held.name == file => held.end = last.next(),
            _ => self.files.push_back(Held { name: file.to_owned(), end: last.next() }),
        }
        self.bytes += len;
        if self.marks.back().is_none_or(|(_, bytes)| self.bytes - bytes >= MARK_BYTES) {
            self.marks.push_back((last, self.bytes));
        }
    }

    pub(super) fn bytes_since(&self, sequence: Sequence) -> u64 {
        let after = self.marks.partition_point(|(last, _)| *last <= sequence);
        // Before the first mark all there is may follow.
        let before = after.checked_sub(1).map_or(0, |mark| self.marks[mark].1);
        self.bytes - before
    }

    /// The oldest file, if another follows it and all it holds is before `keep_from`.
    pub(super) fn oldest_before(&self, keep_from: Sequence) -> Option<String> {
        let oldest = self.files.front().filter(|held| held.end <= keep_from && self.files.len() > 1)?;
        Some(oldest.name.clone())
    }

    /// Whether a synced group is in that file.
    pub(super) fn holds(&self, file: &str) -> bool {
        self.files.iter().any(|held| held.name == file)
    }

    pub(super) fn files_since(&self, sequence: Sequence) -> usize {
        self.files.iter().filter(|held| held.end > sequence.next()).count()
    }

    /// The file that holds `sequence`, or the oldest if it was deleted; none if it is not synced yet.
    pub(super) fn file_with(&self, sequence: Sequence) -> Option<String> {
        self.files.iter().find(|held| held.end > sequence).map(|held| held.name.clone())
    }

    /// The sequence after the last that counts of that file.
    pub(super) fn end_of(&self, file: &str) -> Option<Sequence> {
        self.files.iter().find(|held| held.name == file).map(|held| held.end)
    }

    /// Drops a file that was deleted.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(held) = self.files.pop_front_if(|held| held.name == name) {
            while self.marks.len() > 1 && self.marks[1].0 < held.end {
                self.marks.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_known_to_the_mark() {
        let mut ledger = Ledger::default();
        for sequence in 1..=100 {
            ledger.note("a", Sequence(sequence), MARK_BYTES / 4);
        }
        assert_eq!(ledger.bytes_since(Sequence(0)), 25 * MARK_BYTES);
        let half = ledger.bytes_since(Sequence(50));
        assert!((50 * MARK_BYTES / 4..=54 * MARK_BYTES / 4).contains(&half));
        assert!(ledger.bytes_since(Sequence(100)) <= MARK_BYTES);
    }

    #[test]
    fn only_files_before_the_kept_sequence_go_and_never_the_last() {
        let mut ledger = Ledger::default();
        for (file, last) in [("a", 3), ("b", 5), ("b", 6), ("c", 9)] {
            ledger.note(file, Sequence(last), 1);
        }
        assert_eq!(ledger.oldest_before(Sequence(3)), None);
        assert_eq!(ledger.oldest_before(Sequence(4)), Some("a".into()));
        ledger.forget("a");
        assert_eq!(ledger.oldest_before(Sequence(6)), None);
        assert_eq!(ledger.oldest_before(Sequence(7)), Some("b".into()));
        ledger.forget("b");
        assert_eq!(ledger.oldest_before(Sequence(u64::MAX)), None);
    }
}
