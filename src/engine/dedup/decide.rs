//! Decisions that carry an id. Those without one do not come here, and pay nothing for it.

use super::body::{Asked, call_body};
use super::{Claim, Verdict};
use crate::counter::Met;
use crate::engine::authorize::{Decided, Scratch, answer_of};
use crate::engine::bound::{BoundRequest, slot_effects};
use crate::engine::handle::{Handle, Scope};
use crate::engine::limits::read_reports;
use crate::engine::moment::Moment;
use crate::engine::request::{Answer, AuthRequest, Call};
use crate::engine::resolve::{Case, Unresolved, named_effects};
use crate::engine::together::{Again, Part};
use crate::model::decision::Refusal;
use crate::model::id::ApplicationId;
use crate::model::idempotency::RequestId;
use crate::model::record::Service;
use crate::model::reservation::ReservationId;
use crate::model::usage::{Effects, propagate};

/// A call, by credentials or by handle.
#[derive(Clone, Copy)]
enum Asking<'a, 'r> {
    Named(&'a AuthRequest<'r>),
    Bound(Handle, Scope, &'a BoundRequest<'r>),
}

type Outcome<'c, 'r, T> = Result<T, Unresolved<Refusal<'r>>>;

impl<'r> Asking<'_, 'r> {
    fn call(&self) -> Call {
        match self {
            Asking::Named(request) => request.call,
            Asking::Bound(_, _, request) => request.call,
        }
    }

    fn flat_usage(&self) -> bool {
        match self {
            Asking::Named(request) => request.flat_usage,
            Asking::Bound(_, _, request) => request.flat_usage,
        }
    }

    fn log_code(&self) -> Option<&'r str> {
        match self {
            Asking::Named(request) => request.log_code,
            Asking::Bound(_, _, request) => request.log_code,
        }
    }

    fn all_reports(&self) -> bool {
        match self {
            Asking::Named(request) => !request.no_body,
            Asking::Bound(_, _, request) => request.all_reports,
        }
    }

    /// What it does to the metrics it names.
    fn effects(&self, effects: &mut Effects, service: &Service) -> Result<(), Refusal<'r>> {
        effects.clear();
        match self {
            Asking::Named(request) => named_effects(effects, &request.usage, &service.metrics),
            Asking::Bound(_, _, request) => slot_effects(effects, request.usage, &service.metrics),
        }
    }
}

impl Moment<'_> {
    /// Decides one request that carries `id`, as [`Moment::authorize`]: an authrep or reservation is counted or held once,
    /// however often it comes. A repetition is answered as a success, whatever limits, keys and states say now, with
    /// the limits as they are and the reservation that was made; [`Answer::replayed`] says so. A call that counts nothing
    /// needs no id; it is not looked at.
    ///
    /// # Errors
    /// As there; and [`Refusal::IdempotencyConflict`], [`Refusal::IdempotencyFull`], [`Refusal::ProducersFull`],
    /// [`Refusal::SequenceTooOld`], or
    /// [`Refusal::StorageUnavailable`] if it cannot be found out whether the id was used. Nothing was counted.
    pub fn authorize_once<'r, R>(
        &mut self,
        request: &AuthRequest<'r>,
        id: RequestId<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        self.once(Asking::Named(request), id, answer)
    }

    /// Decides a call of a bound application that carries `id`, as [`Moment::authorize_once`] and [`Moment::bound`].
    ///
    /// # Errors
    /// As there.
    pub fn bound_once<'r, R>(
        &mut self,
        handle: Handle,
        scope: Scope,
        request: &BoundRequest<'r>,
        id: RequestId<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        self.once(Asking::Bound(handle, scope, request), id, answer)
    }

    fn once<'r, R>(
        &mut self,
        asking: Asking<'_, 'r>,
        id: RequestId<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        let mut scratch = Scratch::default();
        loop {
            let unresolved = match self.decide_once(asking, id, &mut scratch) {
                Ok((case, decided, replayed)) => {
                    let told = answer_of(self.catalog(), &case, &decided, &scratch, self.now());
                    return Ok(answer(&Answer { replayed, ..told }));
                }
                Err(unresolved) => unresolved,
            };
            self.start_again(unresolved)?;
        }
    }

    /// Whether it was a repetition is the last of what is returned.
    fn decide_once<'r>(
        &self,
        asking: Asking<'_, 'r>,
        id: RequestId<'r>,
        scratch: &mut Scratch,
    ) -> Outcome<'_, 'r, (Case<'_>, Decided<'r>, bool)> {
        let engine = self.engine;
        let Some(claim) = self.claim(asking, &id, &mut scratch.effects)? else {
            return self.decide_asking(asking, scratch).map(|(case, decided)| (case, decided, false));
        };
        let claim = [claim];
        let looked = engine.ids.look_back(&claim, self.now()).map_err(|error| {
            tracing::error!(%error, "it cannot be found out whether a request is a repetition");
            Unresolved::Final(Refusal::StorageUnavailable)
        })?;
        let gate = engine.gate.read();
        if self.catalog().version < gate.floor {
            return Err(Unresolved::Stale);
        }
        let mut locked = engine.ids.lock(&claim, looked, self.now()).ok_or(Unresolved::Stale)?;
        match locked.judge(0) {
            Verdict::Duplicate(outcome) => {
                locked.tell(1, 0);
                drop(locked);
                let (case, decided) = self.repeat(asking, scratch, outcome)?;
                return Ok((case, decided, true));
            }
            Verdict::Conflict => {
                locked.tell(0, 1);
                return Err(Unresolved::Final(Refusal::IdempotencyConflict { id }));
            }
            Verdict::TooOld(highest) => {
                return Err(Unresolved::Final(locked.too_old(highest)));
            }
            Verdict::New => locked.make_room(&[0]).map_err(Unresolved::Final)?,
        }
        let (case, decided) = self.decide_asking(asking, scratch)?;
        if decided.denial.is_none() {
            locked.remember(0, decided.reservation.map_or(0, |id| id.0));
        }
        Ok((case, decided, false))
    }

    /// What a call of several that carries `id` claims to be. `None` if it counts nothing, or if it will be denied or refused
    /// for what it names: neither is remembered.
    pub(in crate::engine) fn claim_of(
        &self,
        scope: Scope,
        part: &Part<'_>,
        id: &RequestId<'_>,
    ) -> Result<Option<Claim>, Again> {
        let asking = match part {
            Part::Named(request) => Asking::Named(request),
            Part::Bound(handle, request) => Asking::Bound(*handle, scope, request),
        };
        match self.claim(asking, id, &mut Effects::new()) {
            Ok(claim) => Ok(claim),
            Err(Unresolved::Stale) => Err(Again),
            Err(_) => Ok(None),
        }
    }

    /// What a call that carries `id` claims to be; `None` as for [`Moment::claim_of`]. Leaves in `effects` what it names.
    fn claim<'r>(
        &self,
        asking: Asking<'_, 'r>,
        id: &RequestId<'_>,
        effects: &mut Effects,
    ) -> Outcome<'_, 'r, Option<Claim>> {
        let (service, application) = self.whom(asking)?;
        let named = asking.effects(effects, service);
        let (flat_usage, log_code) = (asking.flat_usage(), asking.log_code());
        let asked = Asked { application, effects, flat_usage, log_code };
        let body = if named.is_ok() { call_body(asking.call(), &asked) } else { None };
        Ok(body.map(|body| Claim::of_request(service, id, body)))
    }

    /// The service and application that are asked about.
    fn whom<'r>(&self, asking: Asking<'_, 'r>) -> Outcome<'_, 'r, (&Service, ApplicationId)> {
        match asking {
            Asking::Named(request) => {
                let (service, found) = self.engine.whose(self.catalog(), request)?;
                let application = self.engine.counters.application_of(found);
                Ok((service, application.ok_or(Unresolved::Stale)?))
            }
            Asking::Bound(handle, scope, _) => {
                let (service, Met { facts, .. }) = self.meet_bound(handle, scope)?;
                Ok((service, facts.application))
            }
        }
    }

    fn decide_asking<'r>(
        &self,
        asking: Asking<'_, 'r>,
        scratch: &mut Scratch,
    ) -> Outcome<'_, 'r, (Case<'_>, Decided<'r>)> {
        match asking {
            Asking::Named(request) => self.decide(request, scratch),
            Asking::Bound(handle, scope, request) => self.decide_bound(handle, scope, request, scratch),
        }
    }

    /// What a repetition is answered: yes, with what the limits are now. Nothing is counted.
    fn repeat<'r>(
        &self,
        asking: Asking<'_, 'r>,
        scratch: &mut Scratch,
        outcome: u64,
    ) -> Outcome<'_, 'r, (Case<'_>, Decided<'r>)> {
        let (service, met) = match asking {
            Asking::Named(request) => {
                let (service, found) = self.engine.whose(self.catalog(), request)?;
                (service, self.meet(found.index)?.ok_or(Unresolved::Stale)?)
            }
            Asking::Bound(handle, scope, _) => self.meet_bound(handle, scope)?,
        };
        self.promise(asking.call(), service).map_err(Unresolved::Final)?;
        let Met { mut subject, facts, .. } = met;
        let case = Case::of(self.catalog(), service, facts, false).ok_or(Unresolved::Stale)?;
        propagate(&mut scratch.effects, &service.metrics, asking.flat_usage());
        subject.expire(self.now());
        let all = asking.all_reports();
        read_reports(&mut scratch.reports, case.plan, &scratch.effects, all, &subject);
        let reservation = matches!(asking.call(), Call::Reserve { .. }).then_some(ReservationId(outcome));
        let windows = *subject.windows();
        Ok((case, Decided { denial: None, would_deny: None, reservation, windows }))
    }
}
