//! Reservations: holding, and what ends it.
//!
//! A reservation is asked for like any decision, as [`Call::Reserve`], by credentials or by handle. It ends with a
//! commit, which counts what it really was, like a report: neither key nor referrer, state or limits are looked at; or
//! with a cancellation, or by itself. Its states are in [`crate::model::reservation`].
//!
//! - *Deleting the application* forgets its reservations.
//! - *Setting its counters to zero* does not: what they hold is in no counter, and is counted when it is committed.
//! - *A change of plan, limits or metrics* leaves them as they are: they hold amounts of counters, whoever limits those.

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use super::Engine;
use super::authorize::counted;
use super::bound::{BoundRequest, slot_effects};
use super::handle::{Handle, Scope};
use super::limits::{Reports, reach, read_reports};
use super::moment::Moment;
use super::request::{AuthRequest, Call};
use super::resolve::{Case, Unresolved, named_effects};
use crate::counter::{Met, SubjectGuard, Taken};
use crate::model::decision::Refusal;
use crate::model::record::Service;
use crate::model::reservation::{
    AMOUNTS_MAX, Amounts, Cancelled, Committed, ReservationId, TTL_MAX_S, TTL_MIN_S, amounts_of, is_within,
};
use crate::model::time::UnixMillis;
use crate::model::usage::{Effects, propagate};

/// What a reservation is to hold, and for how long.
pub(super) struct Wish {
    pub(super) amounts: Amounts,
    ttl_s: u64,
}

impl Wish {
    /// What a call with `effects` wants held; `None` if it is not one that reserves.
    pub(super) fn of<'r>(call: Call, effects: &Effects) -> Result<Option<Wish>, Refusal<'r>> {
        let Call::Reserve { ttl_s } = call else { return Ok(None) };
        if !(TTL_MIN_S..=TTL_MAX_S).contains(&ttl_s) {
            return Err(Refusal::ReservationTtlInvalid);
        }
        let amounts = amounts_of(effects).ok_or(Refusal::ReservationSets)?;
        if amounts.len() > AMOUNTS_MAX {
            return Err(Refusal::ReservationTooWide);
        }
        Ok(Some(Wish { amounts, ttl_s }))
    }

    /// Holds it.
    pub(super) fn hold<'r>(
        &self,
        subject: &mut SubjectGuard<'_>,
        now: UnixMillis,
    ) -> Result<ReservationId, Refusal<'r>> {
        subject.hold(now, self.ttl_s, self.amounts.clone()).ok_or(Refusal::TooManyReservations)
    }
}

impl Engine {
    /// Commits a reservation, as [`Moment::commit`], at a moment of its own. `wall` is the caller's clock.
    ///
    /// # Errors
    /// As there.
    pub fn commit<'r>(
        &self,
        request: &AuthRequest<'r>,
        id: ReservationId,
        wall: UnixMillis,
    ) -> Result<Committed, Refusal<'r>> {
        self.moment(wall).commit(request, id)
    }

    /// Cancels a reservation, as [`Moment::cancel`], at a moment of its own. `wall` is the caller's clock.
    ///
    /// # Errors
    /// As there.
    pub fn cancel<'r>(
        &self,
        request: &AuthRequest<'r>,
        id: ReservationId,
        wall: UnixMillis,
    ) -> Result<Cancelled, Refusal<'r>> {
        self.moment(wall).cancel(request, id)
    }

    /// How many reservations of all applications are open, or were when they were last looked at.
    #[must_use]
    pub fn open_reservations(&self) -> usize {
        self.counters.open_reservations()
    }
}

impl Moment<'_> {
    /// Counts what a reserved call really used, now and in full, and releases what was held for it. Of the request only
    /// credentials, application, usage and response code are looked at. Durable after the next flush
    /// ([`Engine::ticket`]).
    ///
    /// # Errors
    /// [`Refusal::ReservationUnknown`], [`Refusal::ReservationSets`], or something in the request is missing, unknown or
    /// malformed; nothing was counted, and the reservation is as it was.
    pub fn commit<'r>(
        &mut self,
        request: &AuthRequest<'r>,
        id: ReservationId,
    ) -> Result<Committed, Refusal<'r>> {
        loop {
            match self.try_commit(request, id) {
                Ok(committed) => return Ok(committed),
                Err(unresolved) => self.start_again(unresolved)?,
            }
        }
    }

    fn try_commit<'r>(
        &self,
        request: &AuthRequest<'r>,
        id: ReservationId,
    ) -> Result<Committed, Unresolved<Refusal<'r>>> {
        let (service, found) = self.engine.whose(self.catalog(), request)?;
        self.promise_change(service).map_err(Unresolved::Final)?;
        let tree = &service.metrics;
        let mut effects = Effects::new();
        named_effects(&mut effects, &request.usage, tree)?;
        propagate(&mut effects, tree, request.flat_usage);
        let met = self.meet(found.index)?.ok_or(Unresolved::Stale)?;
        let used = Used { effects, log_code: request.log_code };
        self.settle_commit(service, met, &used, id)
    }

    /// Commits a reservation of a bound application, as [`Moment::commit`].
    ///
    /// # Errors
    /// As there, and [`Refusal::StaleHandle`].
    pub fn commit_bound<'r>(
        &mut self,
        handle: Handle,
        scope: Scope,
        request: &BoundRequest<'r>,
        id: ReservationId,
    ) -> Result<Committed, Refusal<'r>> {
        loop {
            match self.try_commit_bound(handle, scope, request, id) {
                Ok(committed) => return Ok(committed),
                Err(unresolved) => self.start_again(unresolved)?,
            }
        }
    }

    fn try_commit_bound<'r>(
        &self,
        handle: Handle,
        scope: Scope,
        request: &BoundRequest<'r>,
        id: ReservationId,
    ) -> Result<Committed, Unresolved<Refusal<'r>>> {
        let (service, met) = self.meet_bound(handle, scope)?;
        self.promise_change(service).map_err(Unresolved::Final)?;
        let mut effects = Effects::new();
        slot_effects(&mut effects, request.usage, &service.metrics).map_err(Unresolved::Final)?;
        propagate(&mut effects, &service.metrics, request.flat_usage);
        let used = Used { effects, log_code: request.log_code };
        self.settle_commit(service, met, &used, id)
    }

    /// Takes the reservation out and counts, under the subject's lock.
    fn settle_commit<'r>(
        &self,
        service: &Service,
        met: Met<'_>,
        used: &Used<'_>,
        id: ReservationId,
    ) -> Result<Committed, Unresolved<Refusal<'r>>> {
        let Met { mut subject, facts, .. } = met;
        let case = Case::of(self.catalog(), service, facts, false).ok_or(Unresolved::Stale)?;
        commit(used, &case, &mut subject, id, self.now()).map_err(Unresolved::Final)
    }

    /// Releases what a reservation holds; nothing is counted. Of the request only credentials and application are looked
    /// at. Durable after the next flush ([`Engine::ticket`]).
    ///
    /// # Errors
    /// [`Refusal::ReservationUnknown`], or something in the request is missing or unknown.
    pub fn cancel<'r>(
        &mut self,
        request: &AuthRequest<'r>,
        id: ReservationId,
    ) -> Result<Cancelled, Refusal<'r>> {
        loop {
            match self.try_cancel(request, id) {
                Ok(cancelled) => return Ok(cancelled),
                Err(unresolved) => self.start_again(unresolved)?,
            }
        }
    }

    fn try_cancel<'r>(
        &self,
        request: &AuthRequest<'r>,
        id: ReservationId,
    ) -> Result<Cancelled, Unresolved<Refusal<'r>>> {
        let (service, found) = self.engine.whose(self.catalog(), request)?;
        self.promise_change(service).map_err(Unresolved::Final)?;
        let mut met = self.meet(found.index)?.ok_or(Unresolved::Stale)?;
        cancel(&mut met.subject, id, self.now()).map_err(Unresolved::Final)
    }

    /// Cancels a reservation of a bound application, as [`Moment::cancel`].
    ///
    /// # Errors
    /// As there, and [`Refusal::StaleHandle`].
    pub fn cancel_bound(
        &mut self,
        handle: Handle,
        scope: Scope,
        id: ReservationId,
    ) -> Result<Cancelled, Refusal<'static>> {
        loop {
            match self.try_cancel_bound(handle, scope, id) {
                Ok(cancelled) => return Ok(cancelled),
                Err(unresolved) => self.start_again(unresolved)?,
            }
        }
    }

    fn try_cancel_bound(
        &self,
        handle: Handle,
        scope: Scope,
        id: ReservationId,
    ) -> Result<Cancelled, Unresolved<Refusal<'static>>> {
        let (service, mut met) = self.meet_bound(handle, scope)?;
        self.promise_change(service).map_err(Unresolved::Final)?;
        cancel(&mut met.subject, id, self.now()).map_err(Unresolved::Final)
    }
}

/// What a reserved call really did.
struct Used<'a> {
    effects: Effects,
    log_code: Option<&'a str>,
}

fn commit<'r>(
    it: &Used<'_>,
    case: &Case<'_>,
    subject: &mut SubjectGuard<'_>,
    id: ReservationId,
    now: UnixMillis,
) -> Result<Committed, Refusal<'r>> {
    let used = amounts_of(&it.effects).ok_or(Refusal::ReservationSets)?;
    let committed = match subject.take(now, id) {
        Taken::Open(held) if is_within(&used, &held) => Committed::Within,
        Taken::Open(_) => Committed::Overrun,
        Taken::Expired => Committed::Expired,
        Taken::Unknown => return Err(Refusal::ReservationUnknown),
    };
    let counted = counted(&it.effects, it.log_code);
    if !counted.is_empty() {
        let levels = &case.service.alert_limits;
        let mut reports = Reports::new();
        if !levels.is_empty() {
            read_reports(&mut reports, case.plan, &it.effects, true, subject);
        }
        subject.apply(None, &counted, 0);
        subject.note_traffic(None);
        reach(subject, levels, case.plan, &reports);
    }
    Ok(committed)
}

fn cancel<'r>(
    subject: &mut SubjectGuard<'_>,
    id: ReservationId,
    now: UnixMillis,
) -> Result<Cancelled, Refusal<'r>> {
    match subject.take(now, id) {
        Taken::Open(_) => Ok(Cancelled::Released),
        Taken::Expired => Ok(Cancelled::Expired),
        Taken::Unknown => Err(Refusal::ReservationUnknown),
    }
}
