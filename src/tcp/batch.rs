//! BATCH: several requests in one frame, decided in order; each sees what those before it counted.

use super::ahead;
use super::call::decide;
use super::receipt::{report, settle};
use super::refused::Refused;
use super::session::Turn;
use crate::engine::WARM_MAX;
use crate::wire::{BatchAnswer, Call, Flags, Item, Items, Operation, Status, WireError};

/// Decides all items, and appends the answer's body. Whether anything was counted.
pub(super) fn batch(turn: &mut Turn<'_>, items: Items<'_>, durable: bool, out: &mut Vec<u8>) -> bool {
    let mut answers = BatchAnswer::begin(out);
    let mut counted = false;
    let mut left = items;
    for at in 0.. {
        if at % WARM_MAX == 0 {
            ahead::items(turn, left);
        }
        let Some(item) = left.next() else { break };
        answers.item_as_it_fares(item.operation, |out| {
            let begin = out.len();
            match one(turn, &item, durable, out) {
                Ok(it) => {
                    counted |= it;
                    Status::OK
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
    counted
}

/// Whether the answer to a batch waits for the disk unless it says otherwise: if it has an item that would.
pub(super) fn waits_by_itself(items: Items<'_>) -> bool {
    items.into_iter().any(|item| [Operation::REPORT, Operation::COMMIT].contains(&item.operation))
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

fn one(turn: &mut Turn<'_>, item: &Item<'_>, durable: bool, out: &mut Vec<u8>) -> Result<bool, Refused> {
    let Item { operation, flags, body } = *item;
    check(item)?;
    match operation {
        Operation::REPORT => report(turn, flags, &Call::read(body)?, durable, out).map(|_| true),
        Operation::RESERVE => decide(turn, operation, flags, &Call::read_longer(body)?, out),
        Operation::COMMIT | Operation::CANCEL => {
            settle(turn, operation, flags, &Call::read_longer(body)?, durable, out).map(|()| true)
        }
        _ => {
            let mut call = Call::default();
            call.fill(body)?;
            decide(turn, operation, flags, &call, out)
        }
    }
}
