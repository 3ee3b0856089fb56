//! Authorize and authrep: the one step under the subject's lock, however the subject was found.

use super::Engine;
use super::limits::{Held, Reports, reach, read_reports, show_effects, show_reserved};
use super::moment::Moment;
use super::request::{Answer, AuthRequest, Call};
use super::reserve::Wish;
use super::resolve::{Case, Unresolved, check_metrics, named_effects};
use super::validate;
use crate::counter::{Met, SubjectGuard};
use crate::model::amount::Effect;
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::reservation::ReservationId;
use crate::model::time::{UnixMillis, Windows};
use crate::model::usage::{Effects, propagate, response_code_slots};

/// What is asked about a case.
pub(super) struct Ask<'r> {
    pub(super) call: Call,
    pub(super) log_code: Option<&'r str>,
    /// Whether limits that the usage does not concern are reported too.
    pub(super) all_reports: bool,
    pub(super) now: UnixMillis,
}

/// What a decision is worked out in. Filled in place: a kilobyte is not handed from function to function.
#[derive(Default)]
pub(super) struct Scratch {
    /// What the call does, ancestors included; empty if it was denied for another reason than limits.
    pub(super) effects: Effects,
    pub(super) reports: Reports,
}

/// What came out of the step.
pub(super) struct Decided<'r> {
    pub(super) denial: Option<Denial<'r>>,
    pub(super) would_deny: Option<Denial<'r>>,
    pub(super) reservation: Option<ReservationId>,
    pub(super) windows: Windows,
}

impl Engine {
    /// Decides one request, as [`Moment::authorize`], at a moment of its own. `wall` is the caller's clock.
    ///
    /// # Errors
    /// As there.
    pub fn authorize<'r, R>(
        &self,
        request: &AuthRequest<'r>,
        wall: UnixMillis,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        self.moment(wall).authorize(request, answer)
    }
}

impl Moment<'_> {
    /// Decides one request, and counts it if it is an authorized authrep; `answer` renders what was decided.
    ///
    /// Never waits for a disk. An authrep's usage is durable after the next flush ([`Engine::ticket`]).
    ///
    /// # Errors
    /// Something in the request is missing, unknown or malformed; nothing was counted.
    pub fn authorize<'r, R>(
        &mut self,
        request: &AuthRequest<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        let mut scratch = Scratch::default();
        loop {
            let unresolved = match self.decide(request, &mut scratch) {
                Ok((case, decided)) => {
                    return Ok(answer(&answer_of(self.catalog(), &case, &decided, &scratch, self.now())));
                }
                Err(unresolved) => unresolved,
            };
            self.start_again(unresolved)?;
        }
    }

    pub(super) fn decide<'r>(
        &self,
        request: &AuthRequest<'r>,
        scratch: &mut Scratch,
    ) -> Result<(Case<'_>, Decided<'r>), Unresolved<Refusal<'r>>> {
        let catalog = self.catalog();
        let (service, found) = self.engine.whose(catalog, request)?;
        let tree = &service.metrics;
        let effects = &mut scratch.effects;
        // Names are looked up before anything is locked; what is wrong with them is told in its turn.
        effects.clear();
        let named = named_effects(effects, &request.usage, tree);
        if request.no_body && named.is_err() {
            check_metrics(&request.usage, tree)?;
        }
        let Met { subject, facts, .. } = self.meet(found.index)?.ok_or(Unresolved::Stale)?;
        let reads_application = validate::reads_application(request, service);
        let case = Case::of(catalog, service, facts, reads_application).ok_or(Unresolved::Stale)?;
        let denial = validate::denial(request, &case);
        if denial.is_none() || case.in_shadow() {
            named?;
            propagate(effects, tree, request.flat_usage);
        }
        let AuthRequest { call, log_code, no_body, .. } = *request;
        let ask = Ask { call, log_code, all_reports: !no_body, now: self.now() };
        self.promise(call, service).map_err(Unresolved::Final)?;
        let decided = settle(&ask, &case, denial, subject, scratch).map_err(Unresolved::Final)?;
        Ok((case, decided))
    }
}

/// Checks all limits, and counts or holds all effects if that is asked for and the call goes ahead. `denial` is the
/// reason other than limits.
///
/// # Errors
/// What is asked for cannot be reserved; nothing was changed.
pub(super) fn settle<'r>(
    ask: &Ask<'_>,
    case: &Case<'_>,
    mut denial: Option<Denial<'r>>,
    mut subject: SubjectGuard<'_>,
    scratch: &mut Scratch,
) -> Result<Decided<'r>, Refusal<'r>> {
    let Scratch { effects, reports } = scratch;
    let in_shadow = case.in_shadow();
    let mut would_deny = if in_shadow { denial.take() } else { None };
    let windows = *subject.windows();
    subject.expire(ask.now);
    if let Some(denial) = denial {
        // Usage is looked at by the limits only, which come last.
        effects.clear();
        reports.clear();
        if ask.all_reports {
            read_reports(reports, case.plan, effects, true, &subject);
        }
        return Ok(Decided { denial: Some(denial), would_deny: None, reservation: None, windows });
    }
    let wish = Wish::of(ask.call, effects)?;
    let mut reservation = None;
    let held = read_reports(reports, case.plan, effects, ask.all_reports, &subject);
    let authorized = held != Held::Not || in_shadow;
    if authorized && ask.call == Call::Authrep {
        count(&mut subject, effects, ask.log_code, case, reports);
        drop(subject);
        show_effects(reports);
    } else if authorized && let Some(wish) = wish {
        reservation = Some(wish.hold(&mut subject, ask.now)?);
        show_reserved(reports);
    }
    let denial = (!authorized).then_some(Denial::LimitsExceeded);
    if authorized && held != Held::All {
        would_deny = would_deny.or(Some(Denial::LimitsExceeded));
    }
    Ok(Decided { denial, would_deny, reservation, windows })
}

fn count(
    subject: &mut SubjectGuard<'_>,
    effects: &Effects,
    log_code: Option<&str>,
    case: &Case<'_>,
    reports: &Reports,
) {
    let is_plain = log_code.is_none() && effects.iter().all(|(_, effect)| *effect != Effect::Add(0));
    let altered;
    let effects = if is_plain {
        effects
    } else {
        altered = counted(effects, log_code);
        &altered
    };
    if !effects.is_empty() {
        subject.apply(None, effects, 0);
        subject.note_traffic(None);
        reach(subject, &case.service.alert_limits, case.plan, reports);
    }
}

/// The answer that tells what was decided.
pub(super) fn answer_of<'a>(
    catalog: &'a Catalog,
    case: &Case<'a>,
    decided: &'a Decided<'a>,
    scratch: &'a Scratch,
    now: UnixMillis,
) -> Answer<'a> {
    Answer {
        denial: decided.denial,
        would_deny: decided.would_deny,
        reservation: decided.reservation,
        service: case.service,
        plan: case.plan,
        catalog,
        application: case.facts.application,
        windows: &decided.windows,
        reports: &scratch.reports,
        effects: &scratch.effects,
        now,
        in_shadow: case.in_shadow(),
        replayed: false,
    }
}

/// What is written down: effects that change something, and the counters of the response code.
pub(super) fn counted(effects: &Effects, log_code: Option<&str>) -> Effects {
    let some = effects.iter().filter(|(_, effect)| *effect != Effect::Add(0)).copied();
    some.chain(log_code.into_iter().flat_map(response_code_slots).map(|slot| (slot, Effect::Add(1))))
        .collect()
}
