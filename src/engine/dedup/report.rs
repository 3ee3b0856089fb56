//! Reports with ids: of the whole, of some transactions, or both.
//!
//! The id of the whole goes first: if it is a duplicate, so is all of the report. Otherwise each transaction is judged by its
//! own id; duplicates among them are left out, and one conflict refuses the whole report. Whatever was judged new is
//! counted in one step, all or none, and remembered in the same.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::body::whole_body;
use super::{Claim, Locked, Verdict};
use crate::engine::report::{Batch, Bodies};
use crate::engine::request::{ReportError, ReportIds, ReportRequest};
use crate::engine::resolve::Unresolved;
use crate::engine::{Engine, Reported};
use crate::model::catalog::Catalog;
use crate::model::decision::Refusal;
use crate::model::idempotency::{BodyHash, IdKey, IdKind, RequestId};
use crate::model::promise::Promise;
use crate::model::record::Service;
use crate::model::time::UnixMillis;

/// A report whose names are resolved, and its ids.
struct Resolved<'c, 'r> {
    service: &'c Service,
    batch: Batch,
    claims: Claims<'r>,
    undatable: Vec<(usize, Refusal<'static>)>,
    promise: Promise,
}

/// What a report claims to be.
struct Claims<'r> {
    /// That of the whole first, if it has one.
    all: SmallVec<[Claim; 2]>,
    whole: Option<RequestId<'r>>,
    /// Which transaction each of the others is of, and its id.
    of: SmallVec<[(usize, &'r [u8]); 2]>,
}

/// What is to be done with a report, all its ids considered.
struct Plan {
    /// Numbers of claims to be remembered.
    new: SmallVec<[usize; 2]>,
    /// Numbers of transactions that are left out, ascending.
    left_out: Vec<usize>,
    /// The whole is a repetition.
    is_repeated: bool,
}

impl<'r> Claims<'r> {
    fn of(service: &Service, ids: &ReportIds<'r>, bodies: &[BodyHash]) -> Claims<'r> {
        let key = |id| IdKey::new(service.tenant, service.id, IdKind::Transaction, id);
        let mut claims = Claims { all: SmallVec::new(), whole: ids.request, of: SmallVec::new() };
        if let Some(id) = ids.request {
            let body = whole_body(bodies.iter().copied());
            claims.all.push(Claim::of_request(service, &id, body));
        }
        for (number, body) in bodies.iter().enumerate() {
            if let Some(id) = ids.of(number) {
                claims.all.push(Claim { key: key(id), sequence: None, body: *body });
                claims.of.push((number, id));
            }
        }
        claims
    }

    /// Judges all of them.
    fn judge(&self, locked: &Locked<'_>) -> Result<Plan, Refusal<'r>> {
        let mut plan = Plan { new: SmallVec::new(), left_out: Vec::new(), is_repeated: false };
        let conflict = |id| {
            locked.tell(0, 1);
            Refusal::IdempotencyConflict { id }
        };
        let first = usize::from(self.whole.is_some());
        if let Some(id) = self.whole {
            match locked.judge(0) {
                Verdict::New => plan.new.push(0),
                Verdict::Duplicate(_) => {
                    plan.is_repeated = true;
                    return Ok(plan);
                }
                Verdict::Conflict => return Err(conflict(id)),
                Verdict::TooOld(highest) => return Err(locked.too_old(highest)),
            }
        }
        // Ids that come for the first time, in this report.
        let mut here: HashMap<IdKey, BodyHash> = HashMap::new();
        for (number, (transaction, id)) in (first..).zip(&self.of) {
            let Claim { key, body, .. } = self.all[number];
            let verdict = match (locked.judge(number), here.get(&key)) {
                (Verdict::New, Some(before)) if *before == body => Verdict::Duplicate(0),
                (Verdict::New, Some(_)) => Verdict::Conflict,
                (verdict, _) => verdict,
            };
            match verdict {
                Verdict::New => {
                    here.insert(key, body);
                    plan.new.push(number);
                }
                Verdict::Duplicate(_) => plan.left_out.push(*transaction),
                Verdict::Conflict => return Err(conflict(RequestId::Key(id))),
                // Transactions have no numbers.
                Verdict::TooOld(highest) => return Err(locked.too_old(highest)),
            }
        }
        Ok(plan)
    }
}

impl Engine {
    /// Counts all transactions of a report that were not counted before, or none; as [`Engine::report`].
    ///
    /// # Errors
    /// As there; and [`Refusal::IdempotencyConflict`], [`Refusal::IdempotencyFull`], [`Refusal::ProducersFull`],
    /// [`Refusal::SequenceTooOld`], or
    /// [`Refusal::StorageUnavailable`] if it cannot be found out whether an id was used. Nothing was counted.
    pub fn report_once<'r>(
        &self,
        request: &ReportRequest<'r>,
        ids: &ReportIds<'r>,
        wall: UnixMillis,
    ) -> Result<Reported, ReportError<'r>> {
        if ids.is_empty() {
            return self.report(request, wall);
        }
        let now = self.now(wall);
        loop {
            let seen = self.publishing.load(Ordering::Acquire);
            let catalog = self.catalog.load();
            let mut bodies = Bodies::default();
            let unresolved = match self.resolve_report(&catalog, request, now, Some(&mut bodies)) {
                Ok((service, batch)) => {
                    let Bodies { all, undatable } = bodies;
                    let claims = Claims::of(service, ids, &all);
                    let promise = self.promised(request.terms, service).map_err(ReportError::Refused)?;
                    let resolved = Resolved { service, batch, claims, undatable, promise };
                    match self.count_once(&catalog, &resolved, now) {
                        Ok(reported) => return Ok(reported),
                        Err(unresolved) => unresolved,
                    }
                }
                Err(error) => Unresolved::Refused(error),
            };
            self.start_again(unresolved, seen)?;
        }
    }

    fn count_once<'r>(
        &self,
        catalog: &Catalog,
        report: &Resolved<'_, 'r>,
        now: UnixMillis,
    ) -> Result<Reported, Unresolved<ReportError<'r>>> {
        let Resolved { service, batch, claims, undatable, promise } = report;
        let reported =
            |ticket, duplicates, replayed| Reported { ticket, promise: *promise, duplicates, replayed };
        let refused = |refusal| Unresolved::Final(ReportError::Refused(refusal));
        let looked = self.ids.look_back(&claims.all, now).map_err(|error| {
            tracing::error!(%error, "it cannot be found out whether a report is a repetition");
            refused(Refusal::StorageUnavailable)
        })?;
        let gate = self.gate.read();
        if catalog.version < gate.floor {
            return Err(Unresolved::Stale);
        }
        let mut locked = self.ids.lock(&claims.all, looked, now).ok_or(Unresolved::Stale)?;
        let plan = claims.judge(&locked).map_err(refused)?;
        if plan.is_repeated {
            locked.tell(1, 0);
            return Ok(reported(gate.next_ticket(), batch.len(), true));
        }
        let is_new = |number: &usize| plan.left_out.binary_search(number).is_err();
        if let Some((_, refusal)) = undatable.iter().find(|(number, _)| is_new(number)) {
            return Err(Unresolved::Final(ReportError::Dropped(refusal.clone())));
        }
        locked.make_room(&plan.new).map_err(refused)?;
        let to_count = || (0..batch.len()).filter(is_new).map(|number| &batch[number]);
        if !self.counters.reserve_waiting(to_count().map(|it| it.claims(now)).sum()) {
            return Err(refused(Refusal::TooMuchFutureUsage));
        }
        let ticket = self.count_all(&gate, catalog, &service.alert_limits, to_count(), now);
        plan.new.iter().for_each(|number| locked.remember(*number, 0));
        let duplicates = plan.left_out.len();
        locked.tell(duplicates, 0);
        Ok(reported(ticket, duplicates, duplicates > 0 && duplicates == batch.len()))
    }
}
