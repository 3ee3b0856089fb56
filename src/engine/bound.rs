//! Calls by handle: the subject is met first, and what is noted beside its counters tells the rest.

use super::authorize::{Ask, Reports, answer_of, settle};
use super::handle::{Handle, Scope};
use super::moment::Moment;
use super::request::{Answer, Call};
use super::resolve::Case;
use super::validate;
use crate::counter::{Absent, SubjectGuard};
use crate::model::amount::Effect;
use crate::model::decision::Refusal;
use crate::model::id::MetricSlot;
use crate::model::metric::MetricTree;
use crate::model::usage::{Effects, propagate, push_effect};

/// May the bound application make this call?
#[derive(Clone, Copy, Debug)]
pub struct BoundRequest<'a> {
    /// What is asked.
    pub call: Call,
    /// What the call uses, by the slots that binding gave, in the order of the request.
    pub usage: &'a [(MetricSlot, Effect)],
    /// Count the named metrics only, not their ancestors.
    pub flat_usage: bool,
    /// Response code to count (authrep).
    pub log_code: Option<&'a str>,
    /// Where the call came from; blank is absent. Looked at only if the service requires it.
    pub referrer: Option<&'a str>,
    /// Reports of all limits are wanted, not only of those on the metrics in `usage` and their ancestors.
    pub all_reports: bool,
}

impl<'e> Moment<'e> {
    /// Decides a call of a bound application, as [`Moment::authorize`] would by its credentials, which are not checked
    /// again. `scope` is what the caller has access to.
    ///
    /// # Errors
    /// [`Refusal::StaleHandle`]: the handle died, was never given, or leads beyond `scope`. Or a slot is unknown. Nothing
    /// was counted.
    pub fn bound<'r, R>(
        &mut self,
        handle: Handle,
        scope: Scope,
        request: &BoundRequest<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        let mut reports = Reports::new();
        loop {
            let met = self.meet(handle, scope);
            let (mut case, subject) = match met {
                Ok(met) => met,
                Err(Absent::Nobody) => return Err(Refusal::StaleHandle),
                Err(absent) => {
                    self.await_command(absent);
                    continue;
                }
            };
            if case.service.referrer_filters_required && request.call != Call::Check {
                case.application = self.catalog().applications.get(case.facts.application.0).map(|it| &**it);
            }
            let tree = &case.service.metrics;
            let effects = propagate(&slot_effects(request.usage, tree)?, tree, request.flat_usage);
            let denial = match request.call {
                Call::Check => None,
                Call::Authorize | Call::Authrep | Call::Reserve { .. } => {
                    validate::denial_when_bound(request.referrer, &case)
                }
            };
            let BoundRequest { call, log_code, all_reports, .. } = *request;
            let ask = Ask { call, log_code, all_reports, now: self.now() };
            let decided = settle(&ask, &case, denial, effects, subject, &mut reports)?;
            return Ok(answer(&answer_of(self.catalog(), &case, &decided, &reports, self.now())));
        }
    }

    /// Whom a handle leads to, locked, without the application's record. A handle that leads nowhere, or beyond
    /// `scope`, is [`Absent::Nobody`]'s.
    pub(super) fn meet(&self, handle: Handle, scope: Scope) -> Result<(Case<'_>, SubjectGuard<'e>), Absent> {
        let catalog = self.catalog();
        let met = self.engine.counters.lock_at(handle.index(), catalog.version, self.now().minute());
        let (subject, facts, pass) = met?;
        let plan = catalog.plans.get(facts.plan.0).ok_or(Absent::Nobody)?;
        let service = catalog.services.get(plan.service.0).ok_or(Absent::Nobody)?;
        if !handle.fits(pass, service) || !scope.includes(service) {
            return Err(Absent::Nobody);
        }
        Ok((Case { service, plan, facts, application: None }, subject))
    }
}

/// What usage by slots does to those metrics.
pub(super) fn slot_effects<'r>(
    usage: &[(MetricSlot, Effect)],
    tree: &MetricTree,
) -> Result<Effects, Refusal<'r>> {
    let mut effects = Effects::new();
    for (slot, effect) in usage {
        tree.get(*slot).ok_or(Refusal::SlotInvalid { slot: *slot })?;
        push_effect(&mut effects, *slot, *effect);
    }
    Ok(effects)
}
