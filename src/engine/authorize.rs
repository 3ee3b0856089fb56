//! Authorize and authrep.

use super::Engine;
use std::sync::atomic::Ordering;

use super::limits::{Held, Reports, hold, reach, read_reports, show_effects, status};
use super::request::{Answer, AuthRequest, Call, LimitStatus};
use super::resolve::{Case, check_metrics, named_effects};
use super::validate;
use crate::counter::Stale;
use crate::model::amount::Effect;
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::time::{UnixMillis, Windows};
use crate::model::usage::{Effects, propagate, response_code_slots};

/// What came out of the one step under the subject's lock.
struct Decided<'r> {
    denial: Option<Denial<'r>>,
    would_deny: Option<Denial<'r>>,
    limit: LimitStatus,
    windows: Windows,
}

const NO_LIMIT: LimitStatus = LimitStatus { remaining: None, reset_s: None, max: None };

impl Engine {
    /// Decides one request, and counts it if it is an authorized authrep. `wall` is the caller's clock, read
    /// once for all requests that came together; `answer` renders what was decided.
    ///
    /// Never waits for a disk. An authrep's usage is durable after the next flush ([`Engine::ticket`]).
    ///
    /// # Errors
    /// Something in the request is missing, unknown or malformed; nothing was counted.
    pub fn authorize<'r, R>(
        &self,
        request: &AuthRequest<'r>,
        wall: UnixMillis,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        let now = self.now(wall);
        // Filled in place: half a kilobyte is not handed from function to function.
        let mut reports = Reports::new();
        loop {
            let seen = self.publishing.load(Ordering::Acquire);
            let catalog = self.catalog.load();
            let case = match self.case(&catalog, request) {
                Ok(case) => case,
                Err(unresolved) => {
                    self.start_again(unresolved, seen)?;
                    continue;
                }
            };
            if let Ok(decided) = self.decide(&catalog, &case, request, now, &mut reports)? {
                return Ok(answer(&Answer {
                    denial: decided.denial,
                    would_deny: decided.would_deny,
                    service: case.service,
                    plan: case.plan,
                    catalog: &catalog,
                    application: case.lead.application,
                    windows: &decided.windows,
                    reports: &reports,
                    limit: decided.limit,
                    request,
                    now,
                    in_shadow: case.in_shadow(),
                }));
            }
            // A command has just replaced the catalog; the next load sees it.
            std::hint::spin_loop();
        }
    }

    fn decide<'r>(
        &self,
        catalog: &Catalog,
        case: &Case<'_>,
        request: &AuthRequest<'r>,
        now: UnixMillis,
        reports: &mut Reports,
    ) -> Result<Result<Decided<'r>, Stale>, Refusal<'r>> {
        let tree = &case.service.metrics;
        if request.no_body && !request.usage.is_empty() {
            check_metrics(request.usage, tree)?;
        }
        let mut denial = validate::denial(request, case);
        let in_shadow = case.in_shadow();
        let mut would_deny = if in_shadow { denial.take() } else { None };
        let effects = match denial {
            // Usage is looked at by the limits only, which come last.
            Some(_) => Effects::new(),
            None => propagate(&named_effects(request.usage, tree)?, tree, request.flat_usage),
        };
        let locked = self.counters.lock(case.lead.subject, catalog.version, now.minute());
        let Ok(mut subject) = locked else { return Ok(Err(Stale)) };
        let windows = *subject.windows();
        if let Some(denial) = denial {
            if !request.no_body {
                read_reports(reports, case.plan, None, &subject);
            }
            return Ok(Ok(Decided { denial: Some(denial), would_deny: None, limit: NO_LIMIT, windows }));
        }
        let wanted = (request.no_body && !effects.is_empty()).then_some(&effects);
        read_reports(reports, case.plan, wanted, &subject);
        let held = hold(reports, &effects);
        let authorized = held != Held::Not || in_shadow;
        if authorized && request.call == Call::Authrep {
            let counted = counted(&effects, request.log_code);
            if !counted.is_empty() {
                subject.apply(None, &counted, 0);
                subject.note_traffic(None);
                reach(&mut subject, &case.service.alert_limits, case.plan, reports);
            }
            drop(subject);
            show_effects(reports, &effects);
        }
        let denial = (!authorized).then_some(Denial::LimitsExceeded);
        if authorized && held != Held::All {
            would_deny = would_deny.or(Some(Denial::LimitsExceeded));
        }
        let limit = if in_shadow { NO_LIMIT } else { status(reports, &effects, &windows, now) };
        Ok(Ok(Decided { denial, would_deny, limit, windows }))
    }
}

/// What is written down: effects that change something, and the counters of the response code.
pub(super) fn counted(effects: &Effects, log_code: Option<&str>) -> Effects {
    let some = effects.iter().filter(|(_, effect)| *effect != Effect::Add(0)).copied();
    some.chain(log_code.into_iter().flat_map(response_code_slots).map(|slot| (slot, Effect::Add(1))))
        .collect()
}
