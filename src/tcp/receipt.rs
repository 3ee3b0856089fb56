//! REPORT, COMMIT and CANCEL: what already happened is counted, and what was held is released.

use super::call::Carried;
use super::refused::Refused;
use super::session::Turn;
use super::usage::{Slots, application, asked, by_name, by_slot, service};
use crate::engine::request::{
    AuthRequest, Call as Asked, Credentials, ReportError, ReportIds, ReportRequest, Transaction, Usage,
};
use crate::engine::{BoundRequest, Handle, Reported};
use crate::model::idempotency::RequestId;
use crate::model::promise::Promise;
use crate::model::reservation::{Cancelled, Committed, ReservationId};
use crate::wire::{Call, Flags, Mark, Operation, Outcome, Receipt, Status};

/// Counts a report, and appends the receipt. It says that it is on disk if that is promised: then it must wait until it
/// is so.
pub(super) fn report(
    turn: &mut Turn<'_>,
    flags: Flags,
    call: &Call<'_>,
    out: &mut Vec<u8>,
) -> Result<Carried, Refused> {
    let catalog;
    let app_id;
    let (service, transaction) = if call.handle.is_some() {
        let (id, service) = application(turn, call)?;
        catalog = turn.server.engine.catalog();
        let record = catalog.applications.get(id.0).ok_or(Refused::STALE)?;
        app_id = record.app_id.clone();
        (service, Transaction { app_id: Some(&app_id), ..Transaction::default() })
    } else {
        catalog = turn.server.engine.catalog();
        let (app_id, user_key) = (call.app_id, call.user_key);
        (service(turn, call)?, Transaction { app_id, user_key, ..Transaction::default() })
    };
    let usage = by_name(Some(&catalog), service, call)?;
    let transactions = [Transaction {
        usage: Usage::Amounts(&usage),
        timestamp: call.timestamp,
        log_code: call.log_code,
        ..transaction
    }];
    let request = ReportRequest {
        credentials: Credentials { service: Some(service), ..Credentials::default() },
        transactions: &transactions,
        flat_usage: flags.has(Flags::FLAT),
        terms: turn.moment.terms(),
    };
    let (request_id, transaction_id) = match call.id {
        Some(RequestId::Key(id)) => (None, Some(id)),
        numbered => (numbered, None),
    };
    let ids = ReportIds { request: request_id, transactions: &[transaction_id] };
    let reported = turn.server.engine.report_once(&request, &ids, turn.wall);
    let Reported { promise, replayed, .. } = reported.map_err(|error| match error {
        ReportError::Refused(refusal) | ReportError::Dropped(refusal) => Refused::from(refusal),
    })?;
    if replayed {
        turn.tally.replayed(Operation::REPORT);
    } else {
        turn.tally.reported();
    }
    put(turn, Outcome::Done, promise, out);
    Ok(Carried { promised: Some(promise), status: if replayed { Status::DUPLICATE } else { Status::OK } })
}

/// Commits or cancels a reservation, and appends the receipt, which says that it is on disk if that is promised.
pub(super) fn settle(
    turn: &mut Turn<'_>,
    operation: Operation,
    flags: Flags,
    call: &Call<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let id = ReservationId(call.reservation);
    let flat_usage = flags.has(Flags::FLAT);
    let is_commit = operation == Operation::COMMIT;
    let outcome = if let Some(handle) = call.handle {
        let usage = if is_commit { by_slot(turn, handle, call)? } else { Slots::new() };
        let (handle, scope) = (Handle(handle), turn.scope);
        let request = BoundRequest {
            call: Asked::Check,
            usage: &usage,
            flat_usage,
            log_code: call.log_code,
            referrer: None,
            all_reports: false,
        };
        if is_commit {
            committed(turn.moment.commit_bound(handle, scope, &request, id)?)
        } else {
            cancelled(turn.moment.cancel_bound(handle, scope, id)?)
        }
    } else {
        let service = service(turn, call)?;
        let catalog = if call.rows.is_empty() { None } else { Some(turn.server.engine.catalog()) };
        let usage = by_name(catalog.as_deref(), service, call)?;
        let request = AuthRequest { flat_usage, ..asked(Asked::Check, service, call, &usage) };
        if is_commit {
            committed(turn.moment.commit(&request, id)?)
        } else {
            cancelled(turn.moment.cancel(&request, id)?)
        }
    };
    if is_commit {
        turn.tally.reported();
    }
    put(turn, outcome, turn.moment.promised(), out);
    Ok(())
}

fn committed(how: Committed) -> Outcome {
    match how {
        Committed::Within => Outcome::Done,
        Committed::Overrun => Outcome::Overrun,
        Committed::Expired => Outcome::Expired,
    }
}

fn cancelled(how: Cancelled) -> Outcome {
    match how {
        Cancelled::Released => Outcome::Done,
        Cancelled::Expired => Outcome::Expired,
    }
}

fn put(turn: &Turn<'_>, outcome: Outcome, promise: Promise, out: &mut Vec<u8>) {
    let durable = promise == Promise::Durable;
    let marks = Mark::default().with(Mark::ON_DISK, durable).with(Mark::DEGRADED, turn.degraded);
    Receipt { outcome, marks, catalog_version: turn.moment.catalog().version }.put(out);
}
