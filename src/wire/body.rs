//! Bodies: a fixed part, then rows or items, then fields.

use super::{Tag, WireError};

/// Reads the fixed part of a body. What a shorter one does not have is an error at the start, so no read fails.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    fixed: &'a [u8],
    /// What comes after the fixed part.
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Splits a body whose operation needs a fixed part of at least `least` bytes.
    ///
    /// # Errors
    /// It is shorter, or goes beyond the body.
    pub fn new(body: &'a [u8], least: usize) -> Result<Reader<'a>, WireError> {
        let found = body.first_chunk().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)));
        let wrong = WireError::FixedPart { found, least, room: body.len() };
        if found < least.max(2) {
            return Err(wrong);
        }
        let (fixed, rest) = body.split_at_checked(found).ok_or(wrong)?;
        Ok(Reader { fixed, rest })
    }

    /// The `N` bytes at `at`, which lies within what [`Reader::new`] was told is there.
    #[must_use]
    pub fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.fixed.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    /// The number at `at`.
    #[must_use]
    pub fn u8(&self, at: usize) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    /// The number at `at`.
    #[must_use]
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    /// The number at `at`.
    #[must_use]
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    /// The number at `at`.
    #[must_use]
    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

/// The fields of a body, one after the other. Those whose tag is not known to the caller are its to judge.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    body_len: usize,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields that `rest` is made of; `body_len` is that of the whole body, for errors.
    #[must_use]
    pub fn new(rest: &'a [u8], body_len: usize) -> Fields<'a> {
        Fields { body_len, rest }
    }

    /// The next field, if there is one.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn take(&mut self) -> Result<Option<(Tag, &'a [u8])>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let truncated = WireError::FieldTruncated { at: self.body_len - self.rest.len() };
        let ([t0, t1, l0, l1], rest) = self.rest.split_first_chunk().ok_or(truncated)?;
        let length = usize::from(u16::from_le_bytes([*l0, *l1]));
        let (value, rest) = rest.split_at_checked(length).ok_or(truncated)?;
        self.rest = rest;
        Ok(Some((Tag(u16::from_le_bytes([*t0, *t1])), value)))
    }
}

/// What becomes of a field that the reader does not know.
pub(super) fn known_or_skipped(tag: Tag) -> Result<(), WireError> {
    if tag.0 & Tag::CRITICAL == 0 { Ok(()) } else { Err(WireError::FieldUnknown { tag: tag.0 }) }
}

/// A value that is a text.
pub(super) fn text(tag: Tag, value: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(value).map_err(|_| WireError::NotText { tag: tag.0 })
}

/// Keeps a text that may come once. An empty one is an absent one.
pub(super) fn once<'a>(place: &mut Option<&'a str>, tag: Tag, value: &'a [u8]) -> Result<(), WireError> {
    let text = text(tag, value)?;
    if place.is_some() {
        return Err(WireError::FieldTwice { tag: tag.0 });
    }
    *place = Some(text).filter(|text| !text.is_empty());
    Ok(())
}

/// Appends a field. A value beyond 65,535 bytes is cut there: no field of ours comes near.
pub(super) fn put_field(out: &mut Vec<u8>, tag: Tag, parts: &[&[u8]]) {
    out.extend_from_slice(&tag.0.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.truncate(at + 2 + usize::from(u16::MAX));
    let length = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&length.to_le_bytes());
}
