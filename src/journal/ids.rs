//! The payload of an ids entry: idempotency ids of requests that were counted, as the flusher cuts them.
//!
//! ```text
//! varint base                a time in milliseconds since 1970, no later than any below
//! varint number of ids, then per id:
//!   16 bytes                 the id's key
//!   8 bytes                  the hash of what was asked, little-endian
//!   varint outcome           0, or what came of it
//!   varint time - base       the engine's time when it was counted
//! ```
//!
//! Keys and hashes are those of the model. They stand in the same group as the usage of their requests: what a crash
//! leaves of a request is usage and id, or neither.

use super::entry::DecodeError;
use super::varint::{self, Reader};
use crate::model::idempotency::{BodyHash, IdKey, Known, Remembered};
use crate::model::time::UnixMillis;

/// The least that an id takes in an entry.
const ID_BYTES_MIN: usize = 16 + 8 + 1 + 1;

/// Ids of requests that were counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ids {
    /// No later than any of `ids`.
    pub base: UnixMillis,
    /// In no particular order.
    pub ids: Vec<Known>,
}

/// Appends the payload of [`Ids`] to `out`.
pub fn encode_ids<'a>(base: UnixMillis, ids: impl ExactSizeIterator<Item = &'a Known>, out: &mut Vec<u8>) {
    varint::put(out, base.0);
    varint::put(out, ids.len() as u64);
    for Known { key, remembered: Remembered { body, outcome, at } } in ids {
        out.extend_from_slice(&key.0);
        out.extend_from_slice(&body.0.to_le_bytes());
        varint::put(out, *outcome);
        varint::put(out, at.0.saturating_sub(base.0));
    }
}

impl Ids {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Ids, DecodeError> {
        let base = reader.varint()?;
        let mut ids = Vec::new();
        for _ in 0..reader.count(ID_BYTES_MIN)? {
            let key = IdKey(reader.array()?);
            let body = BodyHash(u64::from_le_bytes(reader.array()?));
            let outcome = reader.varint()?;
            let position = reader.position();
            let at = base.checked_add(reader.varint()?).ok_or(DecodeError::OutOfRange { at: position })?;
            ids.push(Known { key, remembered: Remembered { body, outcome, at: UnixMillis(at) } });
        }
        Ok(Ids { base: UnixMillis(base), ids })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::entry::{Entry, decode};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn ids() -> impl Strategy<Value = Ids> {
        let id = (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), any::<u32>());
        (0..u64::MAX / 2, prop::collection::vec(id, 0..4)).prop_map(|(base, ids)| {
            let known = |(key, body, outcome, later): ([u8; 16], u64, u64, u32)| Known {
                key: IdKey(key),
                remembered: Remembered {
                    body: BodyHash(body),
                    outcome,
                    at: UnixMillis(base + u64::from(later)),
                },
            };
            Ids { base: UnixMillis(base), ids: ids.into_iter().map(known).collect() }
        })
    }

    #[test]
    fn golden_ids_of_version_1_stay_readable() {
        let mut bytes = vec![0xE8, 0x07, 1];
        bytes.extend([7; 16]);
        bytes.extend([1, 2, 0, 0, 0, 0, 0, 0]);
        bytes.extend([9, 5]);
        let remembered = Remembered { body: BodyHash(0x201), outcome: 9, at: UnixMillis(1005) };
        let ids = Ids { base: UnixMillis(1000), ids: vec![Known { key: IdKey([7; 16]), remembered }] };
        let mut out = Vec::new();
        encode_ids(ids.base, ids.ids.iter(), &mut out);
        assert_eq!(out, bytes);
        assert_eq!(decode(10, 1, &bytes), Ok(Entry::Ids(ids)));
    }

    #[test]
    fn a_time_beyond_all_times_is_refused() {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, u64::MAX);
        bytes.push(1);
        bytes.extend([7; 24]);
        bytes.extend([0, 1]);
        assert_eq!(decode(10, 1, &bytes), Err(DecodeError::OutOfRange { at: bytes.len() - 1 }));
    }
}
