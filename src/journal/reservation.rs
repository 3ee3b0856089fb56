//! The payload of a reservation entry: what was reserved and what was taken out, as the flusher cuts it.
//!
//! ```text
//! varint contract            the catalog version in force
//! then codes, each a varint:
//!   0                        the end
//!   1                        a reservation was made: varint application, varint id
//!   2                        one was taken out: varint application, varint id
//!   n >= 3                   an amount that the reservation just made holds: slot n - 3, then varint amount
//! ```
//!
//! The id says when it expires (see the model), so expiring is not written down. Being taken out is that it was
//! committed (then its usage is in the same group), cancelled, or forgotten for too many others. What is taken out need
//! not be there: it may have been too long ago.

use super::entry::DecodeError;
use super::varint::{self, Reader};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;

const END: u64 = 0;
const MADE: u64 = 1;
const TAKEN_OUT: u64 = 2;
const SLOTS: u64 = 3;

/// Reservations made and taken out, in that order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservations {
    /// The catalog version in force.
    pub contract: u64,
    /// One item per reservation made or taken out.
    pub items: Vec<ReservationItem>,
}

/// One reservation, made or taken out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReservationItem {
    /// Whose.
    pub application: ApplicationId,
    /// Which of the application's.
    pub id: ReservationId,
    /// What it holds by counter; `None` if it was taken out.
    pub held: Option<Vec<(MetricSlot, u64)>>,
}

/// Writes a reservation payload item by item, and at last [`finish`](Self::finish), without which the payload does
/// not decode.
#[must_use = "a payload that is not finished does not decode"]
#[derive(Debug)]
pub struct ReservationEncoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ReservationEncoder<'a> {
    /// Begins a payload at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, contract: u64) -> Self {
        varint::put(out, contract);
        ReservationEncoder { out }
    }

    /// Adds a reservation: made, with what it holds, or taken out.
    pub fn item(
        &mut self,
        application: ApplicationId,
        id: ReservationId,
        held: Option<&[(MetricSlot, u64)]>,
    ) {
        varint::put(self.out, if held.is_some() { MADE } else { TAKEN_OUT });
        varint::put(self.out, application.0);
        varint::put(self.out, id.0);
        for (slot, amount) in held.unwrap_or_default() {
            varint::put(self.out, u64::from(slot.0) + SLOTS);
            varint::put(self.out, *amount);
        }
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

impl Reservations {
    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = ReservationEncoder::new(out, self.contract);
        for item in &self.items {
            encoder.item(item.application, item.id, item.held.as_deref());
        }
        encoder.finish();
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Reservations, DecodeError> {
        let mut all = Reservations { contract: reader.varint()?, items: Vec::new() };
        loop {
            let at = reader.position();
            match reader.varint()? {
                END => return Ok(all),
                code @ (MADE | TAKEN_OUT) => all.items.push(ReservationItem {
                    application: ApplicationId(reader.varint()?),
                    id: ReservationId(reader.varint()?),
                    held: (code == MADE).then(Vec::new),
                }),
                code => {
                    let slot = u32::try_from(code - SLOTS).map_err(|_| DecodeError::OutOfRange { at })?;
                    let held = all.items.last_mut().and_then(|item| item.held.as_mut());
                    held.ok_or(DecodeError::OutOfRange { at })?.push((MetricSlot(slot), reader.varint()?));
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

    pub(crate) fn reservations() -> impl Strategy<Value = Reservations> {
        let slots = prop_oneof![0..200u32, any::<u32>()];
        let amount = (slots, any::<u64>()).prop_map(|(slot, amount)| (MetricSlot(slot), amount));
        let held = prop::option::of(prop::collection::vec(amount, 0..4));
        let item = (any::<u64>(), any::<u64>(), held).prop_map(|(application, id, held)| ReservationItem {
            application: ApplicationId(application),
            id: ReservationId(id),
            held,
        });
        (any::<u64>(), prop::collection::vec(item, 0..5))
            .prop_map(|(contract, items)| Reservations { contract, items })
    }

    #[test]
    fn golden_reservations_of_version_1_stay_readable() {
        let bytes = [7, 1, 42, 0x80, 0x01, 3, 5, 6, 0xAC, 0x02, 2, 43, 9, 1, 44, 10, 0];
        let item = |application, id, held| ReservationItem {
            application: ApplicationId(application),
            id: ReservationId(id),
            held,
        };
        let all = Reservations {
            contract: 7,
            items: vec![
                item(42, 128, Some(vec![(MetricSlot(0), 5), (MetricSlot(3), 300)])),
                item(43, 9, None),
                item(44, 10, Some(Vec::new())),
            ],
        };
        let mut out = Vec::new();
        all.encode(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(decode(6, 1, &bytes), Ok(Entry::Reservation(all)));
    }

    #[test]
    fn an_amount_of_nothing_that_was_made_is_refused() {
        assert_eq!(decode(6, 1, &[7, 3, 5, 0]), Err(DecodeError::OutOfRange { at: 1 }));
        assert_eq!(decode(6, 1, &[7, 2, 42, 9, 3, 5, 0]), Err(DecodeError::OutOfRange { at: 4 }));
        let mut bytes = vec![7, 1, 42, 9];
        varint::put(&mut bytes, u64::from(u32::MAX) + SLOTS + 1);
        bytes.extend([5, 0]);
        assert_eq!(decode(6, 1, &bytes), Err(DecodeError::OutOfRange { at: 4 }));
    }
}
