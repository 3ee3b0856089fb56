//! BATCH: several requests in one frame, decided in order; each sees what those before it counted.

use super::call::decide;
use super::receipt::report;
use super::refused::Refused;
use super::session::Turn;
use crate::wire::{BatchAnswer, Call, Flags, Item, Items, Operation, Status};

/// Decides all items, and appends the answer's body. Whether anything was counted.
pub(super) fn batch(turn: &mut Turn<'_>, items: Items<'_>, durable: bool, out: &mut Vec<u8>) -> bool {
    let mut answers = BatchAnswer::begin(out);
    let mut counted = false;
    // Bodies are written beside first: an item's head comes before it, and says how it fared.
    let mut body = Vec::with_capacity(128);
    for item in items {
        body.clear();
        let status = match one(turn, &item, durable, &mut body) {
            Ok(it) => {
                counted |= it;
                Status::OK
            }
            Err(refused) => {
                body.clear();
                refused.put_item(&mut body);
                refused.status
            }
        };
        answers.item(item.operation, status, |out| out.extend_from_slice(&body));
    }
    answers.end(true);
    counted
}

/// Whether the answer to a batch waits for the disk unless it says otherwise: if it has an item that would.
pub(super) fn waits_by_itself(items: Items<'_>) -> bool {
    items.into_iter().any(|item| [Operation::REPORT, Operation::COMMIT].contains(&item.operation))
}

fn one(turn: &mut Turn<'_>, item: &Item<'_>, durable: bool, out: &mut Vec<u8>) -> Result<bool, Refused> {
    const OF_ITEMS: u8 = Flags::FLAT.0 | Flags::OAUTH.0;
    let Item { operation, flags, body } = *item;
    if !operation.fits_batch() {
        return Err(Refused::new(Status::OUT_OF_PLACE, "not in a batch"));
    }
    let unknown = flags.0 & !(operation.flags().0 & OF_ITEMS);
    if unknown != 0 {
        return Err(crate::wire::WireError::Flags { flags: unknown }.into());
    }
    match operation {
        Operation::REPORT => report(turn, flags, &Call::read(body)?, durable, out).map(|_| true),
        Operation::RESERVE | Operation::COMMIT | Operation::CANCEL => {
            Call::read_longer(body)?;
            Err(super::session::NO_RESERVATIONS)
        }
        _ => decide(turn, operation, flags, &Call::read(body)?, out),
    }
}
