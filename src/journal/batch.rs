//! Encoded entries in memory, with room in front for the header of the group they will be.

use super::entry::Kind;
use super::format::{ENTRY_HEADER_LEN, GROUP_HEADER_LEN, RawEntry, seal_entry};
use super::{ENTRY_BYTES_MAX, JournalError, Sequence};

/// Buffers above this are given back after the burst that made them.
const KEPT_BYTES: usize = 4 << 20;

/// Entries with consecutive sequences, ready to be written.
#[derive(Debug)]
pub(super) struct Batch {
    /// Room for a group header, then the entries. Only the first `len` bytes count: a payload writer that panicked
    /// may have left more.
    bytes: Vec<u8>,
    len: usize,
    first: Sequence,
    next: Sequence,
}

/// The shape of a group: the first entries of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupShape {
    pub(super) body_len: u32,
    pub(super) count: u32,
    pub(super) first: Sequence,
}

impl GroupShape {
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.count) - 1)
    }

    fn end(&self) -> usize {
        GROUP_HEADER_LEN + self.body_len as usize
    }
}

impl Batch {
    /// An empty batch whose first entry will have that sequence.
    pub(super) fn new(first: Sequence) -> Batch {
        Batch { bytes: vec![0; GROUP_HEADER_LEN], len: GROUP_HEADER_LEN, first, next: first }
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
        if self.len == GROUP_HEADER_LEN {
            std::mem::swap(self, later);
        } else {
            self.push_group(&later.bytes[GROUP_HEADER_LEN..later.len], later.next);
        }
        later.clear(self.next);
    }

    fn clear(&mut self, next: Sequence) {
        self.bytes.truncate(GROUP_HEADER_LEN);
        self.bytes.shrink_to(KEPT_BYTES);
        self.len = GROUP_HEADER_LEN;
        self.first = next;
        self.next = next;
    }

    /// As many of the first entries as fit `bytes_max`, but at least one; `None` if there is none.
    pub(super) fn first_group(&self, bytes_max: usize) -> Option<GroupShape> {
        let mut body_len = 0;
        let mut count = 0;
        if self.len - GROUP_HEADER_LEN <= bytes_max {
            body_len = self.len - GROUP_HEADER_LEN;
            count = self.next.0 - self.first.0;
        } else {
            let mut rest = &self.bytes[GROUP_HEADER_LEN..self.len];
            while let Some((_, len)) = RawEntry::decode(rest) {
                if count > 0 && body_len + len > bytes_max {
                    break;
                }
                body_len += len;
                count += 1;
                rest = &rest[len..];
            }
        }
        // `bytes_max` and the longest entry are far below 32 bits.
        let (body_len, count) = (u32::try_from(body_len).ok()?, u32::try_from(count).ok()?);
        (count > 0).then_some(GroupShape { body_len, count, first: self.first })
    }

    /// The bytes of that group, beginning with room for its header.
    pub(super) fn bytes_of(&mut self, group: &GroupShape) -> &mut [u8] {
        &mut self.bytes[..group.end()]
    }

    /// Drops that group, which is on disk now.
    pub(super) fn remove(&mut self, group: &GroupShape) {
        if group.end() == self.len {
            self.clear(self.next);
        } else {
            self.bytes.drain(GROUP_HEADER_LEN..group.end());
            self.len -= group.body_len as usize;
            self.first = group.last().next();
        }
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
        assert_eq!(batch.first_group(100), None);
        for len in [8, 8, 200, 8] {
            push(&mut batch, len).unwrap();
        }
        let mut counts = Vec::new();
        while let Some(group) = batch.first_group(64) {
            counts.push((group.first.0, group.count, group.body_len));
            batch.remove(&group);
        }
        assert_eq!(counts, [(5, 2, 64), (7, 1, 224), (8, 1, 32)]);
        assert_eq!(push(&mut batch, 0).unwrap(), Sequence(9));
    }

    #[test]
    fn an_entry_may_be_as_long_as_the_limit_and_no_longer() {
        let mut batch = Batch::new(Sequence(1));
        assert_eq!(push(&mut batch, ENTRY_BYTES_MAX).unwrap(), Sequence(1));
        assert!(matches!(push(&mut batch, ENTRY_BYTES_MAX + 1), Err(JournalError::TooLong { .. })));
        assert_eq!(push(&mut batch, 1).unwrap(), Sequence(2));
        let group = batch.first_group(1 << 30).unwrap();
        assert_eq!(group.count, 2);
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
        taken.absorb(&mut batch);
        assert_eq!(taken.first_group(1 << 20).map(|group| (group.count, group.body_len)), Some((1, 32)));
        assert_eq!(push(&mut batch, 8).unwrap(), Sequence(2));
        taken.absorb(&mut batch);
        assert_eq!(taken.first_group(1 << 20).map(|group| (group.count, group.body_len)), Some((2, 64)));
    }
}
