//! BATCH: several calls in a frame, and their answers.

use bytes::{BufMut, BytesMut};

use super::Status;
use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};

/// Bytes that each item may cost in the answer.
const ANSWER_LEN: u32 = 80;

/// Bytes of an item before its body.
const ITEM_HEAD_LEN: usize = 8;

const LEN: u16 = 8;

/// How many items a BATCH may have, so that its answer fits a frame of `frame_max` bytes.
#[must_use]
pub fn items_max(frame_max: u32) -> usize {
    (frame_max.saturating_sub(24) / ANSWER_LEN) as usize
}

/// An item of a BATCH, its body not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The operation's number.
    pub operation: u8,
    /// FLAT or OAUTH.
    pub flags: u8,
    /// The operation's body.
    pub body: &'a [u8],
}

/// A BATCH.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Decided in order. At least one.
    pub items: Vec<BatchItem<'a>>,
}

/// The answer to an item, its body not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAnswerItem<'a> {
    /// The operation's number as in answers.
    pub operation: u8,
    /// Its own status.
    pub status: Status,
    /// The answer's body.
    pub body: &'a [u8],
}

/// The answer to a BATCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer<'a> {
    /// With ALL: whether all are done. True without.
    pub done: bool,
    /// In the order of the request.
    pub items: Vec<BatchAnswerItem<'a>>,
}

impl<'a> Batch<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Batch<'a>, DecodeError> {
        let (mut fixed, mut rest) = Reader::with_fixed(body, LEN.into())?;
        let count = usize::from(fixed.u16()?);
        if count == 0 {
            return Err(DecodeError::Value("the number of items"));
        }
        let mut items = Vec::with_capacity(count.min(rest.len() / ITEM_HEAD_LEN));
        for _ in 0..count {
            let (mut head, body) = item(&mut rest)?;
            let (operation, flags) = (head.u8()?, head.u8()?);
            items.push(BatchItem { operation, flags, body });
        }
        Fields::decode(rest, Direction::Request)?;
        Ok(Batch { items })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(LEN);
        out.put_u16_le(count(self.items.len())?);
        out.put_u32_le(0);
        for item in &self.items {
            out.put_u16_le(item_len(item.body)?);
            out.put_u8(item.operation);
            out.put_u8(item.flags);
            out.put_u32_le(0);
            out.extend_from_slice(item.body);
        }
        Ok(())
    }
}

impl<'a> BatchAnswer<'a> {
    /// Takes an answer's body apart.
    pub fn decode(body: &'a [u8]) -> Result<BatchAnswer<'a>, DecodeError> {
        let (mut fixed, mut rest) = Reader::with_fixed(body, LEN.into())?;
        let count = usize::from(fixed.u16()?);
        let done = fixed.bool("whether a batch is done")?;
        let mut items = Vec::with_capacity(count.min(rest.len() / ITEM_HEAD_LEN));
        for _ in 0..count {
            let (mut head, body) = item(&mut rest)?;
            let operation = head.u8()?;
            head.skip(1)?;
            items.push(BatchAnswerItem { operation, status: Status(head.u16()?), body });
        }
        Fields::decode(rest, Direction::Answer)?;
        Ok(BatchAnswer { done, items })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(LEN);
        out.put_u16_le(count(self.items.len())?);
        out.put_u8(u8::from(self.done));
        out.put_bytes(0, 3);
        for item in &self.items {
            out.put_u16_le(item_len(item.body)?);
            out.put_u8(item.operation);
            out.put_u8(0);
            out.put_u16_le(item.status.0);
            out.put_u16_le(0);
            out.extend_from_slice(item.body);
        }
        Ok(())
    }
}

/// Takes an item off the front: the six bytes of its head that follow the length, and its body.
fn item<'a>(rest: &mut Reader<'a>) -> Result<(Reader<'a>, &'a [u8]), DecodeError> {
    let length = usize::from(rest.u16()?);
    let inner = length.checked_sub(2).ok_or(DecodeError::Short)?;
    let mut inner = Reader::new(rest.take(inner)?);
    let head = Reader::new(inner.take(ITEM_HEAD_LEN - 2)?);
    Ok((head, inner.rest()))
}

fn item_len(body: &[u8]) -> Result<u16, EncodeError> {
    let max = usize::from(u16::MAX) - ITEM_HEAD_LEN;
    let what = "an item of a batch";
    u16::try_from(body.len() + ITEM_HEAD_LEN).map_err(|_| EncodeError::TooLong { what, max })
}

fn count(items: usize) -> Result<u16, EncodeError> {
    let max = usize::from(u16::MAX);
    u16::try_from(items).map_err(|_| EncodeError::TooMany { what: "items of a batch", max })
}
