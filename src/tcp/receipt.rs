//! REPORT: what already happened is counted.

use super::refused::Refused;
use super::session::Turn;
use super::usage::{application, by_name, service};
use crate::engine::Ticket;
use crate::engine::request::{Credentials, ReportError, ReportRequest, Transaction, Usage};
use crate::wire::{Call, Flags, Mark, Outcome, Receipt};

/// Counts a report, and appends the receipt, which says that it is on disk if `durable`: then it must wait until that is so.
pub(super) fn report(
    turn: &mut Turn<'_>,
    flags: Flags,
    call: &Call<'_>,
    durable: bool,
    out: &mut Vec<u8>,
) -> Result<Ticket, Refused> {
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
    };
    let ticket = turn.server.engine.report(&request, turn.wall).map_err(|error| match error {
        ReportError::Refused(refusal) | ReportError::Dropped(refusal) => Refused::from(refusal),
    })?;
    turn.tally.reported();
    Receipt {
        outcome: Outcome::Done,
        marks: Mark::default().with(Mark::ON_DISK, durable).with(Mark::DEGRADED, turn.degraded),
        catalog_version: turn.moment.catalog().version,
    }
    .put(out);
    Ok(ticket)
}
