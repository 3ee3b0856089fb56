//! Requests with ids in process: each counted once, through cuts, seals, restarts and crashes.

mod model;
mod numbered;
mod one;
mod threads;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Past, PastError};
use crate::engine::request::{AuthRequest, Call, ReportError, ReportIds, Transaction, Usage};
use crate::engine::tests::{World, credentials, report_of, request};
use crate::engine::{Engine, Recovery, Reported};
use crate::journal::{Journal, Options, Sequence};
use crate::model::amount::Effect;
use crate::model::decision::{Denial, Refusal};
use crate::model::idempotency::{IdKey, Remembered, RequestId};
use crate::model::reservation::ReservationId;
use crate::model::time::UnixMillis;

/// A past in memory, which outlives engines as files do.
#[derive(Default)]
struct Slices {
    ids: Mutex<HashMap<IdKey, Remembered>>,
    epoch: AtomicU64,
    covered: AtomicU64,
    fails: AtomicBool,
}

impl Past for Slices {
    fn find(&self, key: &IdKey) -> Result<Option<Remembered>, PastError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(PastError("a test says so".into()));
        }
        Ok(self.ids.lock().get(key).copied())
    }

    fn len(&self) -> u64 {
        self.ids.lock().len() as u64
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// A world whose engine has a past.
struct Place {
    world: World,
    slices: Arc<Slices>,
    max: u64,
}

impl Place {
    fn new(applications: usize, max: u64) -> Place {
        let world = World::new(applications);
        let mut place = Place { world, slices: Arc::default(), max };
        place.world.engine.flush(UnixMillis(1)).unwrap();
        place.crash();
        place
    }

    fn engine(&self) -> &Engine {
        &self.world.engine
    }

    /// Goes on from what is on disk.
    fn crash(&mut self) {
        let mut recovery = Recovery::default();
        let covered = Sequence(self.slices.covered.load(Ordering::Relaxed));
        recovery.past(Arc::clone(&self.slices) as Arc<dyn Past>, covered, self.max);
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let path = self.world.dir.path().join("journal");
        let (journal, _) = Journal::open(&path, Options::default(), Sequence(0), visit).unwrap();
        self.world.engine = recovery.finish(journal, [7; 16]);
    }

    /// Moves all ids to the past, as a checkpointer does.
    fn seal(&self, now: UnixMillis) {
        let frozen = self.engine().freeze_ids(now);
        self.engine().flush(now).unwrap();
        self.engine().durable_blocking(frozen.ticket).unwrap();
        let ids = frozen.ids.iter().map(|known| (known.key, known.remembered));
        self.slices.ids.lock().extend(ids);
        self.slices.covered.store(frozen.through.0, Ordering::Relaxed);
        self.slices.epoch.fetch_add(1, Ordering::AcqRel);
        self.engine().ids_sealed(frozen.through);
    }
}

/// How a decision with an id ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Yes(Option<ReservationId>),
    Replayed(Option<ReservationId>),
    No,
}

fn call_once<'r>(
    engine: &Engine,
    request: &AuthRequest<'r>,
    id: RequestId<'r>,
    now: UnixMillis,
) -> Result<Said, Refusal<'r>> {
    engine.moment(now).authorize_once(request, id, |answer| match answer.denial {
        None if answer.replayed => Said::Replayed(answer.reservation),
        None => Said::Yes(answer.reservation),
        Some(Denial::LimitsExceeded) => Said::No,
        Some(other) => panic!("{other}"),
    })
}

/// Uses `hits` of an application.
fn use_once<'r>(
    engine: &Engine,
    call: Call,
    user_key: &'r str,
    id: &'r str,
    hits: u64,
    now: UnixMillis,
) -> Result<Said, Refusal<'r>> {
    use_known(engine, call, user_key, RequestId::Key(id.as_bytes()), hits, now)
}

fn use_known<'r>(
    engine: &Engine,
    call: Call,
    user_key: &'r str,
    id: RequestId<'r>,
    hits: u64,
    now: UnixMillis,
) -> Result<Said, Refusal<'r>> {
    let amounts = [("hits", Effect::Add(hits))];
    let request = AuthRequest { call, usage: Usage::Amounts(&amounts), ..request(Some(user_key), &[]) };
    // What is refused here names nothing but the id.
    call_once(engine, &request, id, now).map_err(|refusal| match refusal {
        Refusal::IdempotencyConflict { .. } => Refusal::IdempotencyConflict { id },
        Refusal::SequenceTooOld { highest } => Refusal::SequenceTooOld { highest },
        Refusal::IdempotencyFull => Refusal::IdempotencyFull,
        Refusal::ProducersFull => Refusal::ProducersFull,
        Refusal::StorageUnavailable => Refusal::StorageUnavailable,
        other => panic!("{other}"),
    })
}

/// A transaction of a report: its id, the application's key, hits, and when it is dated.
type Row<'a> = (Option<&'a str>, &'a str, u64, Option<i64>);

fn report_once<R>(
    engine: &Engine,
    whole: Option<&str>,
    rows: &[Row<'_>],
    now: UnixMillis,
    read: impl FnOnce(Result<Reported, ReportError<'_>>) -> R,
) -> R {
    let usages: Vec<_> = rows.iter().map(|(_, _, hits, _)| [("hits", Effect::Add(*hits))]).collect();
    let mut transactions = Vec::new();
    for ((_, key, _, timestamp), usage) in rows.iter().zip(&usages) {
        transactions.push(Transaction {
            user_key: Some(*key),
            usage: Usage::Amounts(usage),
            timestamp: *timestamp,
            ..Transaction::default()
        });
    }
    let ids: Vec<_> = rows.iter().map(|(id, ..)| id.map(str::as_bytes)).collect();
    let request = report_of(&transactions);
    let ids = ReportIds { request: whole.map(|id| RequestId::Key(id.as_bytes())), transactions: &ids };
    read(engine.report_once(&request, &ids, now))
}
