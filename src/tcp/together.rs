//! BATCH with ALL: several requests as one step; all are done, or none.

use std::sync::Arc;

use super::batch::check;
use super::call::{decision, what};
use super::refused::Refused;
use super::session::Turn;
use super::usage::{Names, Slots, asked, by_name, by_slot, service};
use crate::engine::request::AuthRequest;
use crate::engine::{BoundRequest, Handle, NotDone, Part};
use crate::model::catalog::Catalog;
use crate::model::id::ServiceId;
use crate::wire::{BatchAnswer, Call, Decision, Flags, Item, Items, Operation, Reason, Status};

const NOT_DONE: Refused = Refused::new(Status::NOT_DONE, "another item stood in the way");

/// What an item means: whom, and what it uses.
enum Meant<'a> {
    Bound(Handle, Slots),
    Named(ServiceId, Names<'a>),
}

/// How an item fared: what was decided, and whether it was so before.
type Fared = Result<(Decision, bool), Refused>;

/// Decides all items as one step, and appends the answer's body. Whether anything was counted.
pub(super) fn together(turn: &mut Turn<'_>, items: Items<'_>, out: &mut Vec<u8>) -> Result<bool, Refused> {
    let items: Vec<Item<'_>> = items.collect();
    let (fared, done) = match read(&items) {
        Ok(calls) => settle(turn, &items, &calls)?,
        Err(fared) => (fared, false),
    };
    let catalog_version = turn.moment.catalog().version;
    let mut answers = BatchAnswer::begin(out);
    for (item, fared) in items.iter().zip(fared) {
        match fared {
            Ok((decision, replayed)) => {
                let status = if replayed { Status::DUPLICATE } else { Status::OK };
                answers.item(item.operation, status, |out| {
                    Decision { catalog_version, ..decision }.put(out);
                });
            }
            Err(refused) => answers.item(item.operation, refused.status, |out| refused.put_item(out)),
        }
    }
    answers.end(done);
    let counts = items.iter().any(|item| item.operation == Operation::AUTHREP);
    Ok(done && counts)
}

/// The bodies of all items; or how all fared, if one cannot be read or has no place here.
fn read<'a>(items: &[Item<'a>]) -> Result<Vec<Call<'a>>, Vec<Fared>> {
    let read = |item: &Item<'a>| {
        check(item)?;
        let fits = [Operation::AUTHORIZE, Operation::AUTHREP, Operation::CHECK];
        if !fits.contains(&item.operation) {
            return Err(Refused::new(Status::OUT_OF_PLACE, "not in a batch with ALL"));
        }
        let call = Call::read(item.body)?;
        Ok(if item.operation == Operation::AUTHREP { call } else { call.without_id()? })
    };
    unless_refused(items.iter().map(read))
}

/// All of them; or, if some are refused, how all fared.
fn unless_refused<T>(all: impl Iterator<Item = Result<T, Refused>>) -> Result<Vec<T>, Vec<Fared>> {
    let all: Vec<_> = all.collect();
    if all.iter().all(Result::is_ok) {
        return Ok(all.into_iter().flatten().collect());
    }
    Err(all.into_iter().map(|it| Err(it.err().unwrap_or(NOT_DONE))).collect())
}

/// Decides; how each fared, and whether all are done.
fn settle(
    turn: &mut Turn<'_>,
    items: &[Item<'_>],
    calls: &[Call<'_>],
) -> Result<(Vec<Fared>, bool), Refused> {
    let catalog = turn.server.engine.catalog();
    let meant = match unless_refused(calls.iter().map(|call| mean(turn, &catalog, call))) {
        Ok(meant) => meant,
        Err(fared) => return Ok((fared, false)),
    };
    let part = |((item, call), meant)| part(item, call, meant);
    let parts: Vec<Part<'_>> = items.iter().zip(calls).zip(&meant).map(part).collect();
    let mut fared = vec![Err(NOT_DONE); items.len()];
    let Turn { moment, tally, server, scope, degraded, .. } = turn;
    let ids: Vec<_> = calls.iter().map(|call| call.id).collect();
    let done = moment.together(*scope, &parts, &ids, |number, answer| {
        let (Some(item), Some(call), Some(place)) =
            (items.get(number), calls.get(number), fared.get_mut(number))
        else {
            return;
        };
        *place = match answer {
            Ok(answer) => {
                if answer.replayed {
                    tally.replayed(item.operation);
                } else {
                    tally.decided(item.operation, answer.denial.map(Reason::from));
                    server.telemetry.note(answer);
                }
                Ok((decision(answer, what(item.operation, call), *degraded), answer.replayed))
            }
            Err(NotDone::Others) => Err(NOT_DONE),
            Err(NotDone::Refused(refusal)) => {
                tally.refused(false);
                Err(refusal.into())
            }
        };
    });
    let too_many = |_| Refused::new(Status::TOO_LARGE, "the items are of too many applications");
    Ok((fared, done.map_err(too_many)?))
}

fn mean<'a>(
    turn: &mut Turn<'_>,
    catalog: &'a Arc<Catalog>,
    call: &'a Call<'_>,
) -> Result<Meant<'a>, Refused> {
    if let Some(handle) = call.handle {
        return Ok(Meant::Bound(Handle(handle), by_slot(turn, handle, call)?));
    }
    let service = service(turn, call)?;
    let catalog = (!call.rows.is_empty()).then_some(&**catalog);
    Ok(Meant::Named(service, by_name(catalog, service, call)?))
}

fn part<'a>(item: &Item<'_>, call: &'a Call<'_>, meant: &'a Meant<'_>) -> Part<'a> {
    let flat_usage = item.flags.has(Flags::FLAT);
    let what = what(item.operation, call);
    match meant {
        Meant::Bound(handle, usage) => Part::Bound(
            *handle,
            BoundRequest {
                call: what,
                usage,
                flat_usage,
                log_code: call.log_code,
                referrer: call.referrer,
                all_reports: false,
            },
        ),
        Meant::Named(service, usage) => Part::Named(AuthRequest {
            oauth: item.flags.has(Flags::OAUTH),
            flat_usage,
            ..asked(what, *service, call, usage)
        }),
    }
}
