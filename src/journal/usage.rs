//! The payload of a usage entry: what many applications used, as the flusher cuts it from the counters.
//!
//! ```text
//! varint contract            the catalog version in force
//! then codes, each a varint:
//!   0                        the end
//!   1                        an item begins: varint application, zigzag minute - the item before's minute
//!                            (the first item: - 0), zigzag counted - minute
//!   n >= 2                   an amount of the current item: slot n - 2, then zigzag delta
//! ```
//!
//! Codes instead of counts let the flusher write while it walks the counters, without knowing what is to come.

use super::entry::DecodeError;
use super::varint::{self, Reader};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::Minute;

const END: u64 = 0;
const ITEM: u64 = 1;
const SLOTS: u64 = 2;

/// Amounts added to the counters of some applications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// The catalog version in force.
    pub contract: u64,
    /// One item per application and minute.
    pub items: Vec<UsageItem>,
}

/// What one application used in one minute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageItem {
    /// Whose counters.
    pub application: ApplicationId,
    /// The minute it is dated.
    pub minute: Minute,
    /// The engine's minute when it was counted.
    pub counted: Minute,
    /// The amount per metric.
    pub deltas: Vec<(MetricSlot, i64)>,
}

/// Writes a usage payload piece by piece: items with [`item`](Self::item), the amounts of the latest with
/// [`delta`](Self::delta), and at last [`finish`](Self::finish), without which the payload does not decode.
#[must_use = "a payload that is not finished does not decode"]
#[derive(Debug)]
pub struct UsageEncoder<'a> {
    out: &'a mut Vec<u8>,
    minute: Minute,
}

impl<'a> UsageEncoder<'a> {
    /// Begins a payload at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, contract: u64) -> Self {
        varint::put(out, contract);
        UsageEncoder { out, minute: Minute(0) }
    }

    /// Begins an item.
    pub fn item(&mut self, application: ApplicationId, minute: Minute, counted: Minute) {
        varint::put(self.out, ITEM);
        varint::put(self.out, application.0);
        varint::put_signed(self.out, i64::from(minute.0) - i64::from(self.minute.0));
        varint::put_signed(self.out, i64::from(counted.0) - i64::from(minute.0));
        self.minute = minute;
    }

    /// Adds an amount to the item that was begun last. An amount before any item does not decode.
    pub fn delta(&mut self, slot: MetricSlot, delta: i64) {
        varint::put(self.out, u64::from(slot.0) + SLOTS);
        varint::put_signed(self.out, delta);
    }

    /// How long the buffer is by now, with what was in it before.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it holds at least the contract")]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Ends the payload.
    pub fn finish(self) {
        varint::put(self.out, END);
    }
}

impl Usage {
    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = UsageEncoder::new(out, self.contract);
        for item in &self.items {
            encoder.item(item.application, item.minute, item.counted);
            for (slot, delta) in &item.deltas {
                encoder.delta(*slot, *delta);
            }
        }
        encoder.finish();
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Usage, DecodeError> {
        let mut usage = Usage { contract: reader.varint()?, items: Vec::new() };
        let mut last = 0;
        loop {
            let at = reader.position();
            match reader.varint()? {
                END => return Ok(usage),
                ITEM => {
                    let application = ApplicationId(reader.varint()?);
                    last = reader.relative(last)?;
                    let counted = Minute(reader.relative(last)?);
                    usage.items.push(UsageItem {
                        application,
                        minute: Minute(last),
                        counted,
                        deltas: Vec::new(),
                    });
                }
                code => {
                    let slot = u32::try_from(code - SLOTS).map_err(|_| DecodeError::OutOfRange { at })?;
                    let item = usage.items.last_mut().ok_or(DecodeError::OutOfRange { at })?;
                    item.deltas.push((MetricSlot(slot), reader.signed()?));
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::entry::{Entry, decode};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn usages() -> impl Strategy<Value = Usage> {
        let slots = prop_oneof![0..200u32, Just(MetricSlot::RESPONSE_CODES + 200), any::<u32>()];
        let deltas = prop::collection::vec((slots, prop_oneof![-9..9i64, any::<i64>()]), 0..5);
        let minutes = || prop_oneof![29_000_000..29_000_100u32, any::<u32>()];
        let items = prop::collection::vec((any::<u64>(), minutes(), minutes(), deltas), 0..5);
        (any::<u64>(), items).prop_map(|(contract, items)| Usage {
            contract,
            items: items
                .into_iter()
                .map(|(application, minute, counted, deltas)| UsageItem {
                    application: ApplicationId(application),
                    minute: Minute(minute),
                    counted: Minute(counted),
                    deltas: deltas.into_iter().map(|(slot, delta)| (MetricSlot(slot), delta)).collect(),
                })
                .collect(),
        })
    }

    #[test]
    fn golden_usage_of_version_1_stays_readable() {
        let bytes = [7, 1, 42, 200, 1, 1, 5, 6, 3, 1, 1, 43, 0, 0, 2, 2, 0];
        let item = |application, counted, deltas| UsageItem {
            application: ApplicationId(application),
            minute: Minute(100),
            counted: Minute(counted),
            deltas,
        };
        let usage = Usage {
            contract: 7,
            items: vec![
                item(42, 99, vec![(MetricSlot(3), 3), (MetricSlot(1), -1)]),
                item(43, 100, vec![(MetricSlot(0), 1)]),
            ],
        };
        let mut out = Vec::new();
        usage.encode(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(decode(1, 1, &bytes), Ok(Entry::Usage(usage)));
    }

    #[test]
    fn an_amount_before_any_item_is_refused() {
        assert_eq!(decode(1, 1, &[7, 2, 2, 0]), Err(DecodeError::OutOfRange { at: 1 }));
    }

    #[test]
    fn a_slot_beyond_32_bits_is_refused() {
        let mut bytes = vec![7, 1, 42, 0, 0];
        varint::put(&mut bytes, u64::from(u32::MAX) + SLOTS);
        bytes.extend([2, 0]);
        assert!(decode(1, 1, &bytes).is_ok());
        let mut bytes = vec![7, 1, 42, 0, 0];
        varint::put(&mut bytes, u64::from(u32::MAX) + SLOTS + 1);
        bytes.extend([2, 0]);
        assert_eq!(decode(1, 1, &bytes), Err(DecodeError::OutOfRange { at: 5 }));
    }
}
