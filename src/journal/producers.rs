//! The payload of a producers entry: numbers of producers' requests that were counted.
//!
//! ```text
//! varint base                a time in milliseconds since 1970, no later than any below
//! varint number of producers, then per producer:
//!   16 bytes                 its key
//!   varint highest           the highest number that was counted, at least 1
//!   varint counted           bit i: whether highest - i was, as this entry knows
//!   varint time - base       the engine's time when the last was counted
//!   per bit that is set, from bit 0 up:
//!     4 bytes                of the hash of what was asked, little-endian
//!     varint outcome         0, or what came of it
//! ```
//!
//! Entries of the flusher have what was counted since the last cut, in the group of its usage. Those of a checkpoint have all that
//! is remembered: they come after the place from which the journal is replayed with it, so checkpoints hold nothing of
//! producers themselves. Joining windows twice, or in another order, changes nothing.

use super::entry::DecodeError;
use super::varint::{self, Reader};
use crate::model::idempotency::IdKey;
use crate::model::producer::Window;
use crate::model::time::UnixMillis;

/// The least that a producer takes in an entry.
const PRODUCER_BYTES_MIN: usize = 16 + 1 + 1 + 1;

/// The most that it takes: 64 numbers, each with an outcome of ten bytes.
pub const PRODUCER_BYTES_MAX: usize = 16 + 10 + 10 + 64 * (4 + 10) + 10;

/// Producers and numbers of theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producers {
    /// No later than any of `windows`.
    pub base: UnixMillis,
    /// In no particular order.
    pub windows: Vec<(IdKey, Window)>,
}

/// Appends the payload of [`Producers`] to `out`.
pub fn encode_producers<'a>(
    base: UnixMillis,
    windows: impl ExactSizeIterator<Item = &'a (IdKey, Window)>,
    out: &mut Vec<u8>,
) {
    varint::put(out, base.0);
    varint::put(out, windows.len() as u64);
    for (key, window) in windows {
        out.extend_from_slice(&key.0);
        varint::put(out, window.highest());
        varint::put(out, window.counted());
        varint::put(out, window.at().0.saturating_sub(base.0));
        for (_, body, outcome) in window.iter() {
            out.extend_from_slice(&body.to_le_bytes());
            varint::put(out, outcome);
        }
    }
}

impl Producers {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Producers, DecodeError> {
        let base = reader.varint()?;
        let mut windows = Vec::new();
        for _ in 0..reader.count(PRODUCER_BYTES_MIN)? {
            let key = IdKey(reader.array()?);
            let wrong = DecodeError::OutOfRange { at: reader.position() };
            let (highest, counted) = (reader.varint()?, reader.varint()?);
            let at = base.checked_add(reader.varint()?).ok_or(wrong)?;
            let rest = || Ok((u32::from_le_bytes(reader.array()?), reader.varint()?));
            let window = Window::read(highest, counted, UnixMillis(at), rest)?.ok_or(wrong)?;
            windows.push((key, window));
        }
        Ok(Producers { base: UnixMillis(base), windows })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::entry::{Entry, decode};
    use super::*;
    use crate::model::idempotency::BodyHash;
    use crate::model::producer::tests::window;
    use proptest::prelude::*;

    pub(crate) fn producers() -> impl Strategy<Value = Producers> {
        prop::collection::vec((any::<[u8; 16]>(), window()), 0..4).prop_map(|windows| Producers {
            base: windows.iter().map(|(_, window)| window.at()).min().unwrap_or(UnixMillis(0)),
            windows: windows.into_iter().map(|(key, window)| (IdKey(key), window)).collect(),
        })
    }

    #[test]
    fn golden_producers_of_version_1_stay_readable() {
        // Base 1000; one producer, whose numbers 300 and 298 were counted, the last at 1005.
        let mut bytes = vec![0xE8, 0x07, 1];
        bytes.extend([7; 16]);
        bytes.extend([0xAC, 0x02, 0b101, 5]);
        bytes.extend([1, 2, 3, 4, 9]);
        bytes.extend([5, 6, 7, 8, 0]);
        let mut window = Window::empty(298, UnixMillis(1005));
        window.count(298, BodyHash(0x0807_0605_0000_0000), 0, UnixMillis(1005));
        window.count(300, BodyHash(0x0403_0201_FFFF_FFFF), 9, UnixMillis(1005));
        let producers = Producers { base: UnixMillis(1000), windows: vec![(IdKey([7; 16]), window)] };
        let mut out = Vec::new();
        encode_producers(producers.base, producers.windows.iter(), &mut out);
        assert_eq!(out, bytes);
        assert_eq!(decode(11, 1, &bytes), Ok(Entry::Producers(producers)));
        // A number below 1.
        bytes.splice(19..21, [2]);
        assert_eq!(decode(11, 1, &bytes), Err(DecodeError::OutOfRange { at: 19 }));
    }
}
