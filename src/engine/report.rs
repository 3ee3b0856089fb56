//! Reports: what already happened is counted, whatever limits, keys and states say.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::authorize::counted;
use super::cut::Gate;
use super::dedup::transaction_body;
use super::limits::{Reports, reach, read_reports};
use super::request::{ReportError, ReportRequest, Transaction};
use super::resolve::{Unresolved, named_effects};
use super::{Engine, Reported, Ticket};
use crate::model::catalog::Catalog;
use crate::model::decision::{REPORT_AGE_MAX_S, REPORT_AHEAD_MAX_S, Refusal};
use crate::model::id::Subject;
use crate::model::idempotency::BodyHash;
use crate::model::record::Service;
use crate::model::time::{Minute, UnixMillis};
use crate::model::usage::{Effects, propagate};

/// A transaction with its names resolved.
pub(super) struct Resolved {
    subject: Subject,
    /// `None` is now.
    dated: Option<Minute>,
    effects: Effects,
}

impl Resolved {
    /// How much waiting room it may take.
    pub(super) fn claims(&self, now: UnixMillis) -> usize {
        if self.dated.is_some_and(|dated| dated > now.minute()) { self.effects.len() } else { 0 }
    }
}

pub(super) type Batch = SmallVec<[Resolved; 2]>;

/// What each transaction asks, for reports with ids.
#[derive(Default)]
pub(super) struct Bodies {
    /// In their order.
    pub(super) all: SmallVec<[BodyHash; 2]>,
    /// Transactions whose dates cannot be counted, and why. Only what is new must have a date that can be: a repetition
    /// may come so late that its date has become too old.
    pub(super) undatable: Vec<(usize, Refusal<'static>)>,
}

impl Engine {
    /// Counts all transactions of a report or none. They are in the next answer; they are on disk when
    /// [`Engine::durable`] says so for the ticket, which a durable answer waits for.
    ///
    /// # Errors
    /// [`ReportError`]; nothing was counted.
    pub fn report<'r>(
        &self,
        request: &ReportRequest<'r>,
        wall: UnixMillis,
    ) -> Result<Reported, ReportError<'r>> {
        let now = self.now(wall);
        loop {
            let seen = self.publishing.load(Ordering::Acquire);
            let catalog = self.catalog.load();
            let (service, batch) = match self.resolve_report(&catalog, request, now, None) {
                Ok(resolved) => resolved,
                Err(error) => {
                    self.start_again(Unresolved::Refused(error), seen)?;
                    continue;
                }
            };
            let promise = self.promised(request.terms, service).map_err(ReportError::Refused)?;
            let claimed = batch.iter().map(|it| it.claims(now)).sum();
            if !self.counters.reserve_waiting(claimed) {
                return Err(ReportError::Refused(Refusal::TooMuchFutureUsage));
            }
            if let Some(ticket) = self.count(&catalog, &service.alert_limits, &batch, now) {
                return Ok(Reported { ticket, promise, duplicates: 0, replayed: false });
            }
            self.counters.release_waiting(claimed);
        }
    }

    /// Counts a batch, or nothing if a command has replaced the catalog meanwhile.
    fn count(&self, catalog: &Catalog, levels: &[u16], batch: &Batch, now: UnixMillis) -> Option<Ticket> {
        // While the gate is open no cut and no command can come: the batch reaches the journal as one.
        let gate = self.gate.read();
        if catalog.version < gate.floor {
            return None;
        }
        Some(self.count_all(&gate, catalog, levels, batch.iter(), now))
    }

    /// Counts transactions, while the gate is open and the catalog known to be current.
    pub(super) fn count_all<'b>(
        &self,
        gate: &Gate,
        catalog: &Catalog,
        levels: &[u16],
        batch: impl Iterator<Item = &'b Resolved>,
        now: UnixMillis,
    ) -> Ticket {
        let mut reports = Reports::new();
        for it in batch.filter(|it| !it.effects.is_empty()) {
            let Ok(mut subject) = self.counters.lock(it.subject, catalog.version, now.minute()) else {
                // Only a command takes subjects away or moves a shard on, and the gate keeps commands out.
                tracing::error!("a transaction of a report could not be counted: its subject is gone");
                debug_assert!(false, "a subject of the current catalog is gone");
                continue;
            };
            // Most services have no alert limits, and then their reports read no limit at all.
            let plan = subject.plan().filter(|_| !levels.is_empty());
            let plan = plan.and_then(|plan| catalog.plans.get(plan.0));
            if let Some(plan) = plan {
                read_reports(&mut reports, plan, &it.effects, true, &subject);
            }
            subject.apply(it.dated, &it.effects, it.claims(now));
            subject.note_traffic(it.dated);
            if let Some(plan) = plan {
                reach(&mut subject, levels, plan, &reports);
            }
        }
        gate.next_ticket()
    }

    /// Looks up all names; what each transaction asks goes to `bodies`, if that is wanted.
    pub(super) fn resolve_report<'c, 'r>(
        &self,
        catalog: &'c Catalog,
        request: &ReportRequest<'r>,
        now: UnixMillis,
        bodies: Option<&mut Bodies>,
    ) -> Result<(&'c Service, Batch), ReportError<'r>> {
        let service = self.service(catalog, &request.credentials).map_err(ReportError::Refused)?;
        let batch = self.resolve_all(service, request, now, bodies).map_err(ReportError::Dropped)?;
        Ok((service, batch))
    }

    fn resolve_all<'r>(
        &self,
        service: &Service,
        request: &ReportRequest<'r>,
        now: UnixMillis,
        mut bodies: Option<&mut Bodies>,
    ) -> Result<Batch, Refusal<'r>> {
        let mut batch = Batch::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            let subject = match (transaction.app_id, transaction.user_key) {
                (Some(_), Some(_)) => return Err(Refusal::AppIdAndUserKey),
                (None, Some(_)) => self.by_user_key(service, transaction.user_key)?,
                (app_id, None) => self.by_app_id(service, app_id)?,
            };
            let tree = &service.metrics;
            let mut effects = Effects::new();
            named_effects(&mut effects, &transaction.usage, tree)?;
            if let Some(bodies) = &mut bodies {
                bodies.all.push(self.body_of(subject, request, transaction, &effects)?);
            }
            propagate(&mut effects, tree, request.flat_usage);
            let dated = match (dated(transaction, now), &mut bodies) {
                (Ok(dated), _) => dated,
                (Err(refusal), Some(bodies)) => {
                    bodies.undatable.push((batch.len(), refusal));
                    None
                }
                (Err(refusal), None) => return Err(refusal),
            };
            let effects = counted(&effects, transaction.log_code);
            // With ids, each has to keep its number.
            if !effects.is_empty() || bodies.is_some() {
                batch.push(Resolved { subject, dated, effects });
            }
        }
        Ok(batch)
    }

    /// What a transaction asks; `effects` are those on the metrics it names.
    fn body_of<'r>(
        &self,
        subject: Subject,
        request: &ReportRequest<'r>,
        transaction: &Transaction<'r>,
        effects: &Effects,
    ) -> Result<BodyHash, Refusal<'r>> {
        let Transaction { app_id, log_code, timestamp, .. } = *transaction;
        // Gone since it was looked up.
        let application = self.counters.application_of(subject);
        let application = application.ok_or(Refusal::ApplicationNotFound { id: app_id })?;
        Ok(transaction_body(application, effects, request.flat_usage, log_code, timestamp))
    }
}

/// The minute a transaction is dated; `None` is now.
fn dated(transaction: &Transaction<'_>, now: UnixMillis) -> Result<Option<Minute>, Refusal<'static>> {
    let Some(timestamp) = transaction.timestamp else { return Ok(None) };
    let now = i64::try_from(now.secs()).unwrap_or(i64::MAX);
    if timestamp < now.saturating_sub_unsigned(REPORT_AGE_MAX_S) {
        return Err(Refusal::TimestampTooOld);
    }
    if timestamp > now.saturating_add_unsigned(REPORT_AHEAD_MAX_S) {
        return Err(Refusal::TimestampTooNew);
    }
    Ok(Some(UnixMillis::from_secs(timestamp.unsigned_abs()).minute()))
}
