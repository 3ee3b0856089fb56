//! Encoded entries in memory: the batch that they will be on disk.

use super::entry::Kind;
use super::format::{ENTRY_HEADER_LEN, GROUP_HEADER_LEN, entry_len_at, seal_entry};
use super::{ENTRY_BYTES_MAX, JournalError, Sequence};

/// Buffers above this are given back after the burst that made them.
const KEPT_BYTES: usize = 4 << 20;

/// Entries with consecutive sequences, ready to be written.
#[derive(Debug)]
pub(super) struct Batch {
    /// The entries. Only the first `len` bytes count: a payload writer that panicked may have left more.
    bytes: Vec<u8>,
    len: usize,
    first: Sequence,
    next: Sequence,
}

/// The shape of a group: some entries of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupShape {
    /// Where its entries begin in the batch.
    at: usize,
    pub(super) body_len: u32,
    pub(super) count: u32,
    pub(super) first: Sequence,
}

impl GroupShape {
    /// `None` without entries. The lengths of `bytes` and of the longest entry together are far below 32 bits.
    fn new(bytes: std::ops::Range<usize>, count: u32, first: Sequence) -> Option<GroupShape> {
        let body_len = u32::try_from(bytes.len()).ok()?;
        (count > 0).then_some(GroupShape { at: bytes.start, body_len, count, first })
    }

    /// The bytes it takes on disk.
    pub(super) fn len(&self) -> u64 {
        GROUP_HEADER_LEN as u64 + u64::from(self.body_len)
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.count) - 1)
    }
}

impl Batch {
    /// An empty batch whose first entry will have that sequence.
    pub(super) fn new(first: Sequence) -> Batch {
        Batch { bytes: Vec::new(), len: 0, first, next: first }
    }

    /// Encodes one entry whose payload `write` appends.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Sequence, JournalError> {
        self.bytes.truncate(self.len);
        let payload_at = self.len + ENTRY_HEADER_LEN;
        self.bytes.resize(payload_at, 0);
        write(&mut self.bytes);
        let len = self.bytes.len().saturating_sub(payload_at);
        let too_long = JournalError::TooLong { len, max: ENTRY_BYTES_MAX };
        let payload_len = u32::try_from(len).ok().filter(|_| len <= ENTRY_BYTES_MAX).ok_or(too_long)?;
        let sequence = self.next;
        seal_entry(&mut self.bytes, self.len, sequence, kind, payload_len);
        self.len = self.bytes.len();
        self.next = sequence.next();
        Ok(sequence)
    }

    /// Appends the entries of a whole group, read back from a file.
    pub(super) fn push_group(&mut self, body: &[u8], next: Sequence) {
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(body);
        self.len = self.bytes.len();
        self.next = next;
    }

    /// Moves all entries of `later`, which follow these, to the end of these.
    pub(super) fn absorb(&mut self, later: &mut Batch) {
        if self.len == 0 {
            std::mem::swap(self, later);
        } else {
            self.push_group(&later.bytes[..later.len], later.next);
        }
        later.begin(self.next);
    }

    /// Drops all entries, which are on disk now.
    pub(super) fn clear(&mut self) {
        self.begin(self.next);
    }

    fn begin(&mut self, next: Sequence) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.len = 0;
        self.first = next;
        self.next = next;
    }

    /// The groups that it is written as: as many entries in each as fit `bytes_max`, but at least one. None without
    /// entries.
    pub(super) fn groups(&self, bytes_max: usize) -> Vec<GroupShape> {
        let mut groups = Vec::new();
        let (mut begin, mut end) = (0, 0);
        let (mut first, mut count) = (self.first, 0);
        while let Some(len) = entry_len_at(&self.bytes[end..self.len]) {
            if count > 0 && end + len - begin > bytes_max {
                groups.extend(GroupShape::new(begin..end, count, first));
                (begin, first, count) = (end, Sequence(first.0 + u64::from(count)), 0);
            }
            end += len;
            count += 1;
        }
        groups.extend(GroupShape::new(begin..end, count, first));
        groups
    }

    /// The entries of one of its groups.
    pub(super) fn bytes_of(&self, group: &GroupShape) -> &[u8] {
        &self.bytes[group.at..group.at + group.body_len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(batch: &mut Batch, len: usize) -> Result<Sequence, JournalError> {
        batch.push(Kind::Command, |out| out.resize(out.len() + len, 1))
    }

    #[test]
    fn a_batch_is_cut_into_groups_at_the_limit() {
        let mut batch = Batch::new(Sequence(5));
        assert_eq!(batch.groups(100), []);
        for len in [8, 8, 200, 8] {
            push(&mut batch, len).unwrap();
        }
        let shape = |at, body_len, count, first| GroupShape { at, body_len, count, first: Sequence(first) };
        assert_eq!(batch.groups(64), [shape(0, 64, 2, 5), shape(64, 224, 1, 7), shape(288, 32, 1, 8)]);
        assert_eq!(batch.groups(1 << 20), [shape(0, 320, 4, 5)]);
        assert_eq!(batch.bytes_of(&batch.groups(64)[2]).len(), 32);
        batch.clear();
        assert_eq!(batch.groups(64), []);
        assert_eq!(push(&mut batch, 0).unwrap(), Sequence(9));
    }

    #[test]
    fn an_entry_may_be_as_long_as_the_limit_and_no_longer() {
        let mut batch = Batch::new(Sequence(1));
        assert_eq!(push(&mut batch, ENTRY_BYTES_MAX).unwrap(), Sequence(1));
        assert!(matches!(push(&mut batch, ENTRY_BYTES_MAX + 1), Err(JournalError::TooLong { .. })));
        assert_eq!(push(&mut batch, 1).unwrap(), Sequence(2));
        let counts: Vec<_> = batch.groups(1 << 30).iter().map(|group| group.count).collect();
        assert_eq!(counts, [2]);
    }

    #[test]
    fn a_payload_writer_that_panics_leaves_nothing_behind() {
        let mut batch = Batch::new(Sequence(1));
        push(&mut batch, 8).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            batch.push(Kind::Command, |out| {
                out.push(1);
                panic!("in the middle");
            })
        }));
        assert!(panicked.is_err());
        let mut taken = Batch::new(Sequence(1));
        let shape = |batch: &Batch| batch.groups(1 << 20).first().map(|group| (group.count, group.body_len));
        taken.absorb(&mut batch);
        assert_eq!(shape(&taken), Some((1, 32)));
        assert_eq!(push(&mut batch, 8).unwrap(), Sequence(2));
        taken.absorb(&mut batch);
        assert_eq!(shape(&taken), Some((2, 64)));
    }
}
