//! BATCH: several requests in one frame, decided in order; each sees what those before it counted.

use super::ahead;
use super::call::{Carried, decide};
use super::receipt::{report, settle};
use super::refused::Refused;
use super::session::Turn;
use crate::engine::WARM_MAX;
use crate::model::promise::Promise;
use crate::wire::{BatchAnswer, Call, Flags, Item, Items, Operation, Status, WireError};

/// Decides all items, and appends the answer's body. What is promised if anything was counted.
pub(super) fn batch(turn: &mut Turn<'_>, items: Items<'_>, out: &mut Vec<u8>) -> Option<Promise> {
    let mut answers = BatchAnswer::begin(out);
    let mut promised = None;
    let mut left = items;
    for at in 0.. {
        if at % WARM_MAX == 0 {
            ahead::items(turn, left);
        }
        let Some(item) = left.next() else { break };
        answers.item_as_it_fares(item.operation, |out| {
            let begin = out.len();
            match one(turn, &item, out) {
                Ok(it) => {
                    promised = promised.max(it.promised);
                    it.status
                }
                Err(refused) => {
                    out.truncate(begin);
                    refused.put_item(out);
                    refused.status
                }
            }
        });
    }
    answers.end(true);
    promised
}

/// Whether an item is one that a batch may have.
pub(super) fn check(item: &Item<'_>) -> Result<(), Refused> {
    const OF_ITEMS: u8 = Flags::FLAT.0 | Flags::OAUTH.0;
    if !item.operation.fits_batch() {
        return Err(Refused::new(Status::OUT_OF_PLACE, "not in a batch"));
    }
    match item.flags.0 & !(item.operation.flags().0 & OF_ITEMS) {
        0 => Ok(()),
        flags => Err(WireError::Flags { flags }.into()),
    }
}

/// Decides an item.
fn one(turn: &mut Turn<'_>, item: &Item<'_>, out: &mut Vec<u8>) -> Result<Carried, Refused> {
    let Item { operation, flags, body } = *item;
    check(item)?;
    match operation {
        Operation::REPORT => report(turn, flags, &Call::read(body)?, out),
        Operation::RESERVE => decide(turn, operation, flags, &Call::read_longer(body)?, out),
        Operation::COMMIT | Operation::CANCEL => {
            settle(turn, operation, flags, &Call::read_longer(body)?.without_id()?, out)?;
            Ok(Carried { promised: Some(turn.moment.promised()), status: Status::OK })
        }
        _ => {
            let mut call = Call::default();
            call.fill(body)?;
            if operation != Operation::AUTHREP {
                call.has_no_id()?;
            }
            decide(turn, operation, flags, &call, out)
        }
    }
}
