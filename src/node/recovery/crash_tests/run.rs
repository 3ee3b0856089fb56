//! A node on a disk in memory, and a random workload for it.

use std::path::Path;
use std::sync::Arc;

use super::history::{History, State};
use super::{Opened, ROOT, open};
use crate::engine::request::{AuthRequest, Call, Credentials, ReportRequest, Transaction, Usage};
use crate::engine::{Engine, NotDurable};
use crate::journal::disk_memory::{Dice, MemoryDisk};
use crate::journal::{Sequence, segment_names};
use crate::listener::Clock;
use crate::model::amount::Effect;
use crate::model::draft::{CommandError, Draft, NewApplication, NewService};
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::promise::Terms;
use crate::model::record::{BackendVersion, Secret};
use crate::model::reservation::ReservationId;
use crate::model::time::UnixMillis;
use crate::node::RecoveryError;
use crate::node::checkpointer::{CheckpointError, checkpoint_into};
use crate::store::CheckpointWriter;

/// 2026-11-22 13:45:30 UTC.
pub(super) const BEGIN_MS: u64 = 1_795_355_130_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A call of an application, for so much.
    Authrep(usize, u64),
    /// So much for every application, all or none.
    Report(u64),
    /// Counters of an application replaced.
    Set(usize, u64),
    Reserve(usize, u64),
    Commit,
    Cancel,
    /// An application more, and another name for the plan, in one command.
    Create,
    /// The application that was made last goes.
    Delete,
    Later(u64),
    Flush,
    Checkpoint,
}

pub(super) fn ops(dice: &mut Dice) -> Vec<Op> {
    let len = 10 + dice.below(20);
    let op = |dice: &mut Dice| match dice.below(24) {
        0..4 => Op::Authrep(dice.below(3) as usize, 1 + dice.below(9)),
        4..8 => Op::Report(1 + dice.below(9)),
        8 => Op::Set(dice.below(3) as usize, dice.below(50)),
        9..11 => Op::Reserve(dice.below(3) as usize, 1 + dice.below(3)),
        11 => Op::Commit,
        12 => Op::Cancel,
        13..15 => Op::Create,
        15 => Op::Delete,
        16 => Op::Later([20, 5_000, 70_000, 4_000_000][dice.below(4) as usize]),
        17..22 => Op::Flush,
        _ => Op::Checkpoint,
    };
    (0..len).map(|_| op(dice)).collect()
}

/// At the end of a workload: checkpoints, each of more journal than a segment holds.
pub(super) const CHECKPOINTS: [Op; 5] = [Op::Create, Op::Report(2), Op::Create, Op::Flush, Op::Checkpoint];

/// A node on a disk, and what it went through.
pub(super) struct Run {
    disk: MemoryDisk,
    pub(super) engine: Engine,
    whole: Option<u64>,
    pub(super) history: History,
    now_ms: u64,
    place: Option<(ServiceId, PlanId)>,
    created: Vec<ApplicationId>,
    number: u64,
    open: Vec<ReservationId>,
    /// How many segments checkpoints have made go.
    pub(super) pruned: usize,
}

impl Run {
    pub(super) fn open(disk: &MemoryDisk) -> Result<Run, RecoveryError> {
        let Opened { engine, generation: whole, .. } = open(disk)?;
        let mut history = History::new(State::of(&engine));
        history.finished.push((0, whole));
        let catalog = engine.catalog();
        let place = catalog.plans.iter().next().map(|(_, plan)| (plan.service, plan.id));
        let ids: Vec<_> = catalog.applications.iter().map(|(_, it)| it.id).collect();
        let open = ids.iter().filter_map(|id| engine.counters_of(*id, UnixMillis(0)));
        let open = open.flat_map(|image| image.holds).map(|hold| hold.id).collect();
        let created = ids.get(3..).unwrap_or_default().to_vec();
        let number = catalog.next_id;
        let now_ms = engine.now(UnixMillis(BEGIN_MS)).0;
        Ok(Run {
            disk: disk.clone(),
            engine,
            whole,
            history,
            now_ms,
            place,
            created,
            number,
            open,
            pruned: 0,
        })
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.now_ms)
    }

    /// Carries out all of `ops`; the disk may fail at any of them.
    pub(super) fn run(&mut self, ops: &[Op]) {
        if self.place.is_none() {
            self.change(prepare, |run, place| run.place = Some(place));
        }
        for op in ops {
            self.step(*op);
            let state = State::of(&self.engine);
            self.history.states.push(state);
            self.note_edge_if(matches!(op, Op::Create | Op::Delete));
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Authrep(which, amount) => self.call(Call::Authrep, which, amount),
            Op::Reserve(which, amount) => self.call(Call::Reserve { ttl_s: 80_000 }, which, amount),
            Op::Report(amount) => self.report(&[0, 1, 2], Effect::Add(amount)),
            Op::Set(which, value) => self.report(&[which], Effect::Set(value)),
            Op::Commit | Op::Cancel => self.end_reservation(matches!(op, Op::Commit)),
            Op::Create => self.create(),
            Op::Delete => {
                if let Some(id) = self.created.pop() {
                    self.change(|draft| draft.delete_application(id), |_, ()| {});
                }
            }
            Op::Later(ms) => self.now_ms += ms,
            Op::Flush => drop(self.flush()),
            Op::Checkpoint => self.checkpoint(),
        }
    }

    /// The state that is last, or comes next, is one that a flush may end with.
    fn note_edge_if(&mut self, is_edge: bool) {
        if is_edge {
            self.history.edges.insert(self.history.states.len() - 1);
        }
    }

    /// Flushes what the last state has, which nothing has changed since.
    pub(super) fn flush(&mut self) -> Result<(), NotDurable> {
        self.note_edge_if(true);
        let flushed = self.engine.flush(self.now()).map_err(|_| NotDurable);
        if flushed.is_ok() {
            self.history.acknowledged.push((self.disk.steps(), self.history.states.len() - 1));
        }
        flushed
    }

    fn checkpoint(&mut self) {
        self.note_edge_if(true);
        let writer = CheckpointWriter::create_on(Arc::new(self.disk.clone()), Path::new(ROOT), self.whole);
        let writer = match writer {
            Ok(writer) => writer,
            Err(error) => return assert!(self.disk.has_failed(), "{error}"),
        };
        let now = self.now();
        let clock: Clock = Arc::new(move || now);
        let needed = Arc::new(|| Sequence(u64::MAX)) as _;
        let mut acknowledged = None;
        let settle = || {
            // Without any there is nothing to seal but the place up to which there is none: what comes before may go.
            let ids = self.engine.freeze_ids(now);
            let flushed = self.engine.flush(now).map_err(|_| NotDurable);
            acknowledged = flushed.is_ok().then(|| self.disk.steps());
            flushed.map(|_| self.engine.ids_sealed(ids.through)).map_err(CheckpointError::from)
        };
        let segments = self.segments();
        let made = checkpoint_into(writer, &self.engine, &clock, &needed, settle, || false);
        let left = self.segments();
        self.pruned += segments.iter().filter(|name| !left.contains(name)).count();
        let last = self.history.states.len() - 1;
        self.history.acknowledged.extend(acknowledged.map(|steps| (steps, last)));
        match made {
            Ok(made) => {
                self.whole = made.generation;
                self.history.finished.push((self.disk.steps(), made.generation));
            }
            // One that can be made is made.
            Err(error) => assert!(self.disk.has_failed(), "{error}"),
        }
    }

    fn segments(&self) -> Vec<String> {
        segment_names(&self.disk.at("data/journal")).unwrap()
    }

    fn change<R>(
        &mut self,
        build: impl FnOnce(&mut Draft<'_>) -> Result<R, CommandError>,
        then: impl FnOnce(&mut Run, R),
    ) {
        // A disk that takes no writes refuses it, and nothing has changed.
        if let Ok((made, _)) = self.engine.change(build) {
            then(self, made);
        }
        let state = State::of(&self.engine);
        self.history.states.push(state);
        self.note_edge_if(true);
    }

    fn create(&mut self) {
        let Some((service, plan)) = self.place else { return };
        self.number += 1;
        let name = format!("new{}", self.number);
        let build = |draft: &mut Draft<'_>| {
            draft.rename_plan(plan, &format!("as of {name}"))?;
            application(draft, service, plan, &name)
        };
        self.change(build, |run, id| run.created.push(id));
    }

    fn call(&mut self, call: Call, which: usize, amount: u64) {
        let key = format!("app{which}");
        let usage = [("search", Effect::Add(amount))];
        let request = request(call, &key, &usage);
        if let Ok(Some(id)) = self.engine.authorize(&request, self.now(), |answer| answer.reservation) {
            self.open.push(id);
        }
    }

    fn report(&mut self, which: &[usize], effect: Effect) {
        let keys: Vec<_> = which.iter().map(|which| format!("app{which}")).collect();
        let usage = [("hits", effect)];
        let transaction = |key| Transaction {
            user_key: Some(key),
            usage: Usage::Amounts(&usage),
            ..Transaction::default()
        };
        let transactions: Vec<_> = keys.iter().map(|key| transaction(key.as_str())).collect();
        let transactions = transactions.as_slice();
        let credentials = credentials();
        let report = ReportRequest { credentials, transactions, flat_usage: false, terms: Terms::REPORT };
        // Refused while the disk takes no writes, and before there is anything.
        let _ = self.engine.report(&report, self.now());
    }

    fn end_reservation(&mut self, commits: bool) {
        let Some(id) = self.open.pop() else { return };
        for which in 0..3 {
            let key = format!("app{which}");
            let request = request(Call::Authorize, &key, &[]);
            if commits {
                let _ = self.engine.commit(&request, id, self.now());
            } else {
                let _ = self.engine.cancel(&request, id, self.now());
            }
        }
    }
}

fn prepare(draft: &mut Draft<'_>) -> Result<(ServiceId, PlanId), CommandError> {
    let tenant = draft.create_tenant("acme", "pkey")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: None, name: "api", backend_version };
    let service = draft.create_service(&new)?;
    let hits = draft.create_metric(service, "hits", None)?;
    draft.create_metric(service, "search", Some(hits))?;
    let plan = draft.create_plan(service, None, "Basic")?;
    for which in 0..3 {
        application(draft, service, plan, &format!("app{which}"))?;
    }
    Ok((service, plan))
}

fn application(
    draft: &mut Draft<'_>,
    service: ServiceId,
    plan: PlanId,
    name: &str,
) -> Result<ApplicationId, CommandError> {
    let new = NewApplication { service, account: None, app_id: name, name, plan };
    let id = draft.create_application(&new)?;
    draft.edit_application(id, |it| it.user_keys.push(Secret::new(name)))?;
    Ok(id)
}

fn credentials() -> Credentials<'static> {
    Credentials { provider_key: Some("pkey"), ..Credentials::default() }
}

fn request<'a>(call: Call, user_key: &'a str, usage: &'a [(&'a str, Effect)]) -> AuthRequest<'a> {
    AuthRequest {
        call,
        oauth: false,
        credentials: credentials(),
        app_id: None,
        user_key: Some(user_key),
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Amounts(usage),
        log_code: None,
        flat_usage: false,
        no_body: true,
    }
}
