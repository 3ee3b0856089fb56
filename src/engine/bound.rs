//! Calls by handle: the subject is met first, and what is noted beside its counters tells the rest.

use super::authorize::{Ask, Decided, Scratch, answer_of, settle};
use super::handle::{Handle, Scope};
use super::moment::Moment;
use super::request::{Answer, Call};
use super::resolve::{Case, Unresolved};
use super::validate;
use crate::counter::Met;
use crate::model::amount::Effect;
use crate::model::decision::Refusal;
use crate::model::id::MetricSlot;
use crate::model::metric::MetricTree;
use crate::model::record::Service;
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

impl Moment<'_> {
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
        let mut scratch = Scratch::default();
        loop {
            let unresolved = match self.decide_bound(handle, scope, request, &mut scratch) {
                Ok((case, decided)) => {
                    return Ok(answer(&answer_of(self.catalog(), &case, &decided, &scratch, self.now())));
                }
                Err(unresolved) => unresolved,
            };
            self.start_again(unresolved)?;
        }
    }

    pub(super) fn decide_bound<'r>(
        &self,
        handle: Handle,
        scope: Scope,
        request: &BoundRequest<'r>,
        scratch: &mut Scratch,
    ) -> Result<(Case<'_>, Decided<'r>), Unresolved<Refusal<'r>>> {
        let (service, Met { subject, facts, .. }) = self.meet_bound(handle, scope)?;
        let reads_application = service.referrer_filters_required && request.call != Call::Check;
        let case = Case::of(self.catalog(), service, facts, reads_application);
        let case = case.ok_or(Unresolved::Final(Refusal::StaleHandle))?;
        scratch.effects.clear();
        slot_effects(&mut scratch.effects, request.usage, &service.metrics).map_err(Unresolved::Final)?;
        propagate(&mut scratch.effects, &service.metrics, request.flat_usage);
        let denial = match request.call {
            Call::Check => None,
            Call::Authorize | Call::Authrep | Call::Reserve { .. } => {
                validate::denial_when_bound(request.referrer, &case)
            }
        };
        let BoundRequest { call, log_code, all_reports, .. } = *request;
        let ask = Ask { call, log_code, all_reports, now: self.now() };
        self.promise(call, service).map_err(Unresolved::Final)?;
        let decided = settle(&ask, &case, denial, subject, scratch).map_err(Unresolved::Final)?;
        Ok((case, decided))
    }

    /// Whom a handle leads to, and the service.
    pub(super) fn meet_bound<'r>(
        &self,
        handle: Handle,
        scope: Scope,
    ) -> Result<(&Service, Met<'_>), Unresolved<Refusal<'r>>> {
        let catalog = self.catalog();
        let stale = Unresolved::Final(Refusal::StaleHandle);
        let Some(met) = self.meet(handle.index())? else { return Err(stale) };
        let plan = catalog.plans.get(met.facts.plan.0);
        match plan.and_then(|plan| catalog.services.get(plan.service.0)) {
            Some(service) if handle.fits(met.pass, service) && scope.includes(service) => {
                if catalog.is_suspended(service.tenant) {
                    return Err(Unresolved::Final(Refusal::TenantSuspended));
                }
                Ok((service, met))
            }
            _ => Err(stale),
        }
    }
}

/// What usage by slots does to those metrics.
pub(super) fn slot_effects<'r>(
    effects: &mut Effects,
    usage: &[(MetricSlot, Effect)],
    tree: &MetricTree,
) -> Result<(), Refusal<'r>> {
    for (slot, effect) in usage {
        tree.get(*slot).ok_or(Refusal::SlotInvalid { slot: *slot })?;
        push_effect(effects, *slot, *effect);
    }
    Ok(())
}
