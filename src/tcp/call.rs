//! AUTHORIZE, AUTHREP, CHECK and RESERVE: decisions. And BIND.

use super::refused::Refused;
use super::server::Server;
use super::session::Turn;
use super::telemetry::Tally;
use super::usage::{Slots, application, asked, by_name, put_slots, service};
use crate::engine::request::{Answer, AuthRequest, Call as Asked, Credentials, UsageReport};
use crate::engine::{BindRequest, BoundRequest, Handle};
use crate::model::promise::Promise;
use crate::model::time::{Period, UnixMillis, Windows, window_secs};
use crate::wire::{
    Bound, Call, Decision, Flags, HEADER_LEN, LimitRow, Mark, NEVER, Operation, Reason, Status,
};

/// How a request ended that was carried out.
#[derive(Clone, Copy)]
pub(super) struct Carried {
    /// What is promised, if anything was counted or held, by it or by the one that it repeats.
    pub(super) promised: Option<Promise>,
    /// OK or DUPLICATE.
    pub(super) status: Status,
}

/// Decides, and appends the decision to `out`, with all limits if the flags say so.
pub(super) fn decide(
    turn: &mut Turn<'_>,
    operation: Operation,
    flags: Flags,
    call: &Call<'_>,
    out: &mut Vec<u8>,
) -> Result<Carried, Refused> {
    let what = what(operation, call);
    let (flat_usage, all_reports) = (flags.has(Flags::FLAT), flags.has(Flags::LIMITS));
    if all_reports && counts(what) {
        // Afterwards it would be counted already.
        check_room(turn, call)?;
    }
    let begin = out.len();
    let mut render =
        Rendering { what, operation, all_reports, degraded: turn.degraded, now: turn.moment.now(), out };
    let (counted, status) = if let Some(handle) = call.handle {
        let mut usage = Slots::new();
        put_slots(turn, handle, call, &mut usage)?;
        let request = BoundRequest {
            call: what,
            usage: &usage,
            flat_usage,
            log_code: call.log_code,
            referrer: call.referrer,
            all_reports,
        };
        let (handle, scope, server) = (Handle(handle), turn.scope, turn.server);
        let tally = &mut turn.tally;
        let put = |answer: &Answer<'_>| render.put(server, tally, answer);
        match call.id {
            None => turn.moment.bound(handle, scope, &request, put)?,
            Some(id) => turn.moment.bound_once(handle, scope, &request, id, put)?,
        }
    } else {
        let service = service(turn, call)?;
        // Rows are rare here.
        let catalog = if call.rows.is_empty() { None } else { Some(turn.server.engine.catalog()) };
        let usage = by_name(catalog.as_deref(), service, call)?;
        let request = AuthRequest {
            oauth: flags.has(Flags::OAUTH),
            flat_usage,
            no_body: !all_reports,
            ..asked(what, service, call, &usage)
        };
        let (server, tally) = (turn.server, &mut turn.tally);
        let put = |answer: &Answer<'_>| render.put(server, tally, answer);
        match call.id {
            None => turn.moment.authorize(&request, put)?,
            Some(id) => turn.moment.authorize_once(&request, id, put)?,
        }
    };
    let version = turn.moment.catalog().version.to_le_bytes();
    out[begin + VERSION_AT..begin + VERSION_AT + 8].copy_from_slice(&version);
    Ok(Carried { promised: counted.then(|| turn.moment.promised()), status })
}

/// Whether a decision with all limits of the application's plan fits a frame.
fn check_room(turn: &mut Turn<'_>, call: &Call<'_>) -> Result<(), Refused> {
    let (id, _) = application(turn, call)?;
    let catalog = turn.moment.catalog();
    let plan = catalog.applications.get(id.0).and_then(|it| catalog.plans.get(it.plan.0));
    let rows = plan.map_or(0, |plan| plan.limits.len());
    let len = HEADER_LEN + Decision::LEN + rows * (FIELD_HEAD_LEN + LimitRow::LEN);
    if len > turn.frame_max as usize { Err(Refused::TOO_LARGE) } else { Ok(()) }
}

/// Bytes before a field's value.
const FIELD_HEAD_LEN: usize = 4;

/// What the engine is asked by an operation.
pub(super) fn what(operation: Operation, call: &Call<'_>) -> Asked {
    match operation {
        Operation::AUTHREP => Asked::Authrep,
        Operation::CHECK => Asked::Check,
        Operation::RESERVE => Asked::Reserve { ttl_s: call.ttl_s.into() },
        _ => Asked::Authorize,
    }
}

/// Whether a yes changes something.
fn counts(what: Asked) -> bool {
    matches!(what, Asked::Authrep | Asked::Reserve { .. })
}

/// Where in a decision the catalog version lies, which is known only when it has been made.
const VERSION_AT: usize = 56;

/// Writes a decision while what it tells of is at hand.
struct Rendering<'o> {
    what: Asked,
    operation: Operation,
    all_reports: bool,
    degraded: bool,
    now: UnixMillis,
    out: &'o mut Vec<u8>,
}

impl Rendering<'_> {
    /// Whether anything was counted, and the status.
    fn put(&mut self, server: &Server, tally: &mut Tally, answer: &Answer<'_>) -> (bool, Status) {
        if answer.replayed {
            tally.replayed(self.operation);
        } else {
            tally.decided(self.operation, answer.denial.map(Reason::from));
            server.telemetry.note(answer);
        }
        let decision = decision(answer, self.what, self.degraded);
        decision.put(self.out);
        if self.all_reports {
            put_limits(answer, self.now, self.out);
        }
        let status = if answer.replayed { Status::DUPLICATE } else { Status::OK };
        (decision.marks.has(Mark::COUNTED), status)
    }
}

pub(super) fn decision(answer: &Answer<'_>, what: Asked, degraded: bool) -> Decision {
    let yes = answer.denial.is_none();
    let binding = answer.binding();
    let marks = Mark::default()
        .with(Mark::COUNTED, yes && counts(what))
        .with(Mark::WOULD_DENY, answer.would_deny.is_some())
        .with(Mark::LIMIT, binding.is_some())
        .with(Mark::DEGRADED, degraded);
    let mut decision = Decision {
        yes,
        marks,
        reason: answer.denial.map_or(Reason::NONE, Reason::from).0,
        would_deny: answer.would_deny.map_or(Reason::NONE, Reason::from).0,
        remaining: NEVER,
        reservation: answer.reservation.map_or(0, |id| id.0),
        ..Decision::default()
    };
    if let Some(binding) = binding {
        decision.limit = binding.limit.id.0;
        decision.max = binding.limit.max;
        decision.current = binding.current;
        decision.remaining = binding.remaining.unwrap_or(NEVER);
        decision.reset_ms = binding.reset_ms.unwrap_or(NEVER);
        if answer.denial.is_some() {
            decision.retry_after_ms = binding.retry_after_ms.unwrap_or(NEVER);
        }
    }
    decision
}

fn put_limits(answer: &Answer<'_>, now: UnixMillis, out: &mut Vec<u8>) {
    for UsageReport { limit, current, reserved, .. } in answer.reports {
        let row = LimitRow {
            limit: limit.id.0,
            metric: limit.slot.0,
            period: limit.period as u8,
            shadow: limit.shadow,
            max: limit.max,
            count: *current,
            held: *reserved,
            reset_ms: reset_ms(limit.period, answer.windows, now),
        };
        row.put_field(out);
    }
}

/// Milliseconds until the window of a period ends.
pub(super) fn reset_ms(period: Period, windows: &Windows, now: UnixMillis) -> u64 {
    match window_secs(period, windows) {
        Some((_, end)) => UnixMillis::from_secs(end).0.saturating_sub(now.0),
        None => NEVER,
    }
}

/// Binds, and appends the answer.
pub(super) fn bind(turn: &mut Turn<'_>, call: &Call<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
    let service = service(turn, call)?;
    let bound = turn.moment.bind(&BindRequest {
        credentials: Credentials { service: Some(service), ..Credentials::default() },
        app_id: call.app_id,
        user_key: call.user_key,
        app_key: call.app_key,
        metrics: &call.metrics,
    })?;
    let catalog_version = turn.moment.catalog().version;
    let answer = match bound {
        Ok(bound) => Bound {
            reason: None,
            handle: bound.handle.0,
            catalog_version,
            metrics: bound.slots.iter().map(|slot| slot.0).collect(),
        },
        Err(denial) => Bound { reason: Some(Reason::from(denial).0), catalog_version, ..Bound::default() },
    };
    answer.put(out);
    Ok(())
}
