//! What the answer to a request promises: the terms that its flags and its listener make, and whether it may begin on them.
//!
//! A durable answer waits in the outbox, which has room for so many. What a request promises is known only when its service
//! is, which is when it is decided; by then it would be too late to turn it away. So while there is no room, whatever might
//! have to wait is turned away.

use super::outbox::Outbox;
use super::refused::Refused;
use super::session::Turn;
use crate::engine::Scope;
use crate::model::promise::{Promise, Terms};
use crate::wire::{Flags, Items, Operation};

/// What a request says of its promise.
fn asked(flags: Flags) -> Option<Promise> {
    if flags.has(Flags::DURABLE) {
        Some(Promise::Durable)
    } else {
        flags.has(Flags::INTERVAL).then_some(Promise::Interval)
    }
}

/// The terms of a request; `items` are those of a batch.
pub(super) fn terms(turn: &Turn<'_>, operation: Operation, flags: Flags, items: Option<Items<'_>>) -> Terms {
    const REPORTS: [Operation; 2] = [Operation::REPORT, Operation::COMMIT];
    let reports = match items {
        // All items are answered together, so the whole of it waits if one does.
        Some(items) => items.into_iter().any(|item| REPORTS.contains(&item.operation)),
        None => REPORTS.contains(&operation),
    };
    let usual = if reports { Terms::REPORT } else { Terms::DECISION };
    usual.asked(asked(flags), turn.listener)
}

/// Whether a request may begin on these terms.
pub(super) fn admit(
    turn: &Turn<'_>,
    operation: Operation,
    terms: Terms,
    outbox: &Outbox,
) -> Result<(), Refused> {
    // Only what counts something can be asked to be durable.
    if !operation.flags().has(Flags::DURABLE) {
        return Ok(());
    }
    // Who asks for it need not be looked up to be told.
    if terms.request == Some(Promise::Durable) && turn.server.engine.flush_health().failing {
        return Err(Refused::STORAGE);
    }
    if !outbox.has_room_to_wait() && may_wait(turn, terms) {
        return Err(Refused::BUSY);
    }
    Ok(())
}

/// Whether the answer to some request of this connection would wait on these terms.
fn may_wait(turn: &Turn<'_>, terms: Terms) -> bool {
    let services = &turn.moment.catalog().services;
    let waits = |service| terms.promise(service) == Promise::Durable;
    match turn.scope {
        Scope::Service(id) => waits(services.get(id.0).and_then(|service| service.promise)),
        Scope::Node | Scope::Tenant(_) => {
            waits(None) || services.iter().any(|(_, service)| waits(service.promise))
        }
    }
}
