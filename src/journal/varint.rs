//! Bounded reading and writing of LEB128 integers, the alphabet of entry payloads, and of counters in checkpoints.
//!
//! ```text
//! varint   7 bits a byte, low bits first, the high bit of a byte says that another follows; 1 to 10 bytes
//! zigzag   a signed number n as the varint of (n << 1) ^ (n >> 63), so that small negatives stay short
//! bytes    a varint length, then as many bytes
//! ```
//!
//! There is one encoding per value: an encoding with needless bytes is refused, as are bits beyond the 64th.
//! Lengths and counts are held against the bytes that are left before anything is allocated for them.

use super::entry::DecodeError;

/// Appends `value` as a varint.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // Truncation is the point: seven bits and the mark.
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as a zigzag varint.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a payload from its start to its end; every step checks what is left.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// How many bytes were read: the place of the next one, for errors.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left to read.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        // Most numbers are small.
        if let Some(byte) = self.bytes.get(start).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u64::from(*byte));
        }
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated { at: start })?;
            self.at += 1;
            let bits = u64::from(byte & 0x7F);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(DecodeError::Overlong { at: start });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overlong { at: start })
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint that must fit 32 bits.
    pub(crate) fn narrow(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        u32::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange { at })
    }

    /// A 32-bit number, written as its difference to `base`.
    pub(crate) fn relative(&mut self, base: u32) -> Result<u32, DecodeError> {
        let at = self.at;
        let value = i64::from(base).checked_add(self.signed()?);
        value.and_then(|value| u32::try_from(value).ok()).ok_or(DecodeError::OutOfRange { at })
    }

    /// The number of elements that follow, each of at least `least` bytes.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.varint()?;
        let possible = self.left() / least;
        usize::try_from(count).ok().filter(|&count| count <= possible).ok_or(DecodeError::Truncated { at })
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1)?;
        let bytes = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(bytes)
    }

    /// Bytes of a length that needs not be written.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = self.bytes[self.at..].first_chunk().ok_or(DecodeError::Truncated { at: self.at })?;
        self.at += N;
        Ok(*array)
    }

    /// Refuses bytes after the end.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(DecodeError::Trailing { at: self.at }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = reader.varint()?;
        reader.finish().map(|()| value)
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, signed: i64, base: u32, other: u32) {
            let mut out = Vec::new();
            put(&mut out, value);
            put_signed(&mut out, signed);
            put_signed(&mut out, i64::from(other) - i64::from(base));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.relative(base), Ok(other));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn whatever_is_read_is_written_the_same_way(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(value) = read(&bytes) {
                let mut out = Vec::new();
                put(&mut out, value);
                prop_assert_eq!(out, bytes);
            }
        }
    }

    #[test]
    fn refuses_overlong_truncated_and_trailing() {
        assert_eq!(read(&[0x80, 0x00]), Err(DecodeError::Overlong { at: 0 }));
        assert_eq!(read(&[0xFF; 11]), Err(DecodeError::Overlong { at: 0 }));
        let mut max = vec![0xFF; 9];
        max.push(0x01);
        assert_eq!(read(&max), Ok(u64::MAX));
        max[9] = 0x02;
        assert_eq!(read(&max), Err(DecodeError::Overlong { at: 0 }));
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated { at: 0 }));
        assert_eq!(read(&[]), Err(DecodeError::Truncated { at: 0 }));
        assert_eq!(read(&[1, 1]), Err(DecodeError::Trailing { at: 1 }));
    }

    #[test]
    fn an_absurd_count_is_refused_before_it_is_allocated() {
        let mut out = Vec::new();
        put(&mut out, u64::MAX);
        assert_eq!(Reader::new(&out).count(1), Err(DecodeError::Truncated { at: 0 }));
        assert_eq!(Reader::new(&out).bytes(), Err(DecodeError::Truncated { at: 0 }));
        assert_eq!(Reader::new(&out).narrow(), Err(DecodeError::OutOfRange { at: 0 }));
    }
}
