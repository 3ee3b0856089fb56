//! BATCH: several requests in one frame, and their answers in one.

use super::body::Reader;
use super::{Decision, Flags, Operation, Status, WireError};

/// Bytes before an item's body.
pub(super) const ITEM_LEN: usize = 8;

/// One request of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// What is asked.
    pub operation: Operation,
    /// How it is meant.
    pub flags: Flags,
    /// Its body, as that of a frame.
    pub body: &'a [u8],
}

/// The requests of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// Reads the body of a BATCH, all lengths of its items included, so that going through them cannot fail.
    ///
    /// # Errors
    /// It has no items, or they go beyond the body.
    pub fn read(body: &'a [u8]) -> Result<Items<'a>, WireError> {
        let fixed = Reader::new(body, 8)?;
        let items = Items { left: usize::from(fixed.u16(2)), rest: fixed.rest };
        let mut walk = items;
        if walk.left == 0 || walk.by_ref().count() != items.left {
            return Err(WireError::Truncated);
        }
        Ok(items)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The most items whose answers fit a frame.
    #[must_use]
    pub fn max(frame_max: u32) -> usize {
        (frame_max as usize - super::HEADER_LEN - 8) / (ITEM_LEN + Decision::LEN)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.left = self.left.checked_sub(1)?;
        let length = usize::from(u16::from_le_bytes(*self.rest.first_chunk()?));
        let (item, rest) = self.rest.split_at_checked(length)?;
        let [_, _, operation, flags, _, _, _, _] = *item.first_chunk::<ITEM_LEN>()?;
        self.rest = rest;
        Some(Item { operation: Operation(operation), flags: Flags(flags), body: &item[ITEM_LEN..] })
    }
}

/// The answer to a BATCH that is being written: [`BatchAnswer::begin`], then an item each.
pub struct BatchAnswer<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    count: u16,
}

/// One answer of a batch that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemAnswer<'a> {
    /// With the bit that makes it an answer.
    pub operation: Operation,
    /// How it fared.
    pub status: Status,
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> BatchAnswer<'a> {
    /// Begins the body of a batch's answer.
    pub fn begin(out: &'a mut Vec<u8>) -> BatchAnswer<'a> {
        let begin = out.len();
        out.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0]);
        BatchAnswer { out, begin, count: 0 }
    }

    /// Writes the answer to an item; `body` appends its body.
    pub fn item(&mut self, to: Operation, status: Status, body: impl FnOnce(&mut Vec<u8>)) {
        self.item_as_it_fares(to, |out| {
            body(out);
            status
        });
    }

    /// Writes the answer to an item; `body` appends its body, and says then how it fared.
    pub fn item_as_it_fares(&mut self, to: Operation, body: impl FnOnce(&mut Vec<u8>) -> Status) {
        let at = self.out.len();
        self.out.extend_from_slice(&[0, 0, to.answer().0, 0, 0, 0, 0, 0]);
        let status = body(self.out);
        let length = u16::try_from(self.out.len() - at).unwrap_or(u16::MAX);
        self.out[at..at + 2].copy_from_slice(&length.to_le_bytes());
        self.out[at + 4..at + 6].copy_from_slice(&status.0.to_le_bytes());
        self.count += 1;
    }

    /// Takes back all items, so that they can be answered otherwise.
    pub fn clear(&mut self) {
        self.out.truncate(self.begin + 8);
        self.count = 0;
    }

    /// Ends it. `done` says whether all were done (with ALL; otherwise true).
    pub fn end(self, done: bool) {
        self.out[self.begin + 2..self.begin + 4].copy_from_slice(&self.count.to_le_bytes());
        self.out[self.begin + 4] = u8::from(done);
    }

    /// Reads the body of a batch's answer: whether all were done, and each item.
    ///
    /// # Errors
    /// Items go beyond the body.
    pub fn read(body: &[u8]) -> Result<(bool, Vec<ItemAnswer<'_>>), WireError> {
        let fixed = Reader::new(body, 8)?;
        let mut rest = fixed.rest;
        let items = (0..fixed.u16(2)).map(|_| {
            let length = rest.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))?;
            let (item, after) = rest.split_at_checked(length)?;
            let [_, _, operation, _, s0, s1, _, _] = *item.first_chunk::<ITEM_LEN>()?;
            rest = after;
            let status = Status(u16::from_le_bytes([s0, s1]));
            Some(ItemAnswer { operation: Operation(operation), status, body: &item[ITEM_LEN..] })
        });
        let items = items.collect::<Option<_>>().ok_or(WireError::Truncated)?;
        Ok((fixed.u8(4) == 1, items))
    }
}

/// Appends the body of a BATCH; each of `items` appends the body of one.
pub fn put_batch<P: FnOnce(&mut Vec<u8>)>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = (Operation, Flags, P)>,
) {
    let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&[8, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for (operation, flags, body) in items.take(usize::from(count)) {
        let at = out.len();
        out.extend_from_slice(&[0, 0, operation.0, flags.0, 0, 0, 0, 0]);
        body(out);
        let length = u16::try_from(out.len() - at).unwrap_or(u16::MAX);
        out[at..at + 2].copy_from_slice(&length.to_le_bytes());
    }
}
