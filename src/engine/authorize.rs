//! Authorize and authrep: the one step under the subject's lock, however the subject was found.

use super::Engine;
pub(super) use super::limits::Reports;
use super::limits::{Held, hold, reach, read_reports, show_effects, show_reserved};
use super::moment::Moment;
use super::request::{Answer, AuthRequest, Call};
use super::reserve::Wish;
use super::resolve::{Case, Unresolved, check_metrics, named_effects};
use super::validate;
use crate::counter::SubjectGuard;
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

/// What came out of the step.
pub(super) struct Decided<'r> {
    denial: Option<Denial<'r>>,
    would_deny: Option<Denial<'r>>,
    /// What the call does, ancestors included; empty if it was denied for another reason than limits.
    effects: Effects,
    reservation: Option<ReservationId>,
    windows: Windows,
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
    pub(super) fn decide<'r>(
        &self,
        request: &AuthRequest<'r>,
        reports: &mut Reports,
    ) -> Result<(Case<'_>, Decided<'r>), Unresolved<Refusal<'r>>> {
        let catalog = self.catalog();
        let (case, subject) = self.engine.case(catalog, request)?;
        let tree = &case.service.metrics;
        if request.no_body && !request.usage.is_empty() {
            check_metrics(&request.usage, tree)?;
        }
        let denial = validate::denial(request, &case);
        let effects = match denial {
            // Usage is looked at by the limits only, which come last.
            Some(_) if !case.in_shadow() => Effects::new(),
            _ => propagate(&named_effects(&request.usage, tree)?, tree, request.flat_usage),
        };
        let locked = self.engine.counters.lock(subject, catalog.version, self.now().minute());
        let subject = locked.map_err(|_| Unresolved::Stale)?;
        let AuthRequest { call, log_code, no_body, .. } = *request;
        let ask = Ask { call, log_code, all_reports: !no_body, now: self.now() };
        let decided = settle(&ask, &case, denial, effects, subject, reports)?;
        Ok((case, decided))
    }
}

/// Checks all limits, and counts or holds all effects if that is asked and the call goes ahead. `denial` is the reason
/// other than limits, and `effects` are of no account if it holds.
///
/// # Errors
/// What is asked for cannot be reserved; nothing was changed.
pub(super) fn settle<'r>(
    ask: &Ask<'_>,
    case: &Case<'_>,
    mut denial: Option<Denial<'r>>,
    effects: Effects,
    mut subject: SubjectGuard<'_>,
    reports: &mut Reports,
) -> Result<Decided<'r>, Refusal<'r>> {
    let in_shadow = case.in_shadow();
    let mut would_deny = if in_shadow { denial.take() } else { None };
    let windows = *subject.windows();
    subject.expire(ask.now);
    let mut reservation = None;
    if let Some(denial) = denial {
        if ask.all_reports {
            read_reports(reports, case.plan, None, &subject);
        }
        let effects = Effects::new();
        return Ok(Decided { denial: Some(denial), would_deny: None, effects, reservation, windows });
    }
    let wish = Wish::of(ask.call, &effects)?;
    let wanted = (!ask.all_reports && !effects.is_empty()).then_some(&effects);
    read_reports(reports, case.plan, wanted, &subject);
    let held = hold(reports, &effects);
    let authorized = held != Held::Not || in_shadow;
    if authorized && ask.call == Call::Authrep {
        let counted = counted(&effects, ask.log_code);
        if !counted.is_empty() {
            subject.apply(None, &counted, 0);
            subject.note_traffic(None);
            reach(&mut subject, &case.service.alert_limits, case.plan, reports);
        }
        drop(subject);
        show_effects(reports, &effects);
    } else if authorized && let Some(wish) = wish {
        reservation = Some(wish.hold(&mut subject, ask.now)?);
        show_reserved(reports, &wish.amounts);
    }
    let denial = (!authorized).then_some(Denial::LimitsExceeded);
    if authorized && held != Held::All {
        would_deny = would_deny.or(Some(Denial::LimitsExceeded));
    }
    Ok(Decided { denial, would_deny, effects, reservation, windows })
}

/// The answer that tells what was decided.
pub(super) fn answer_of<'a>(
    catalog: &'a Catalog,
    case: &Case<'a>,
    decided: &'a Decided<'a>,
    reports: &'a Reports,
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
        reports,
        effects: &decided.effects,
        now,
        in_shadow: case.in_shadow(),
    }
}

/// What is written down: effects that change something, and the counters of the response code.
pub(super) fn counted(effects: &Effects, log_code: Option<&str>) -> Effects {
    let some = effects.iter().filter(|(_, effect)| *effect != Effect::Add(0)).copied();
    some.chain(log_code.into_iter().flat_map(response_code_slots).map(|slot| (slot, Effect::Add(1))))
        .collect()
}
