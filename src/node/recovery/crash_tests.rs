//! The real engine, journal and checkpoints on a disk in memory: whatever step of a random workload the power fails at,
//! the disk takes no write at, or is full at, what is opened afterwards is a state that the node was in: no older than
//! what it acknowledged last, and with no part of what was flushed together without the rest.
//!
//! ```text
//! cargo test --lib crash_tests                                             a few workloads, every step of each
//! TOLLGATE_CRASH_WORKLOADS=2000 cargo test --lib node::recovery -- --nocapture    a campaign
//! TOLLGATE_CRASH_SEED=7 cargo test --lib node::recovery -- --nocapture            one seed once more
//! ```
//!
//! A state is what can be asked: the catalog's records and the counters of every application. A run keeps all it went
//! through, at which of them a flush could end, and after which step of the disk each was acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::super::checkpointer::{CheckpointError, checkpoint_into};
use super::*;
use crate::counter::snapshot::{CellImage, SubjectImage};
use crate::engine::NotDurable;
use crate::engine::request::{AuthRequest, Call, Credentials, ReportRequest, Transaction, Usage};
use crate::journal::disk_memory::{Dice, Fault, MemoryDisk};
use crate::listener::Clock;
use crate::model::amount::Effect;
use crate::model::draft::{Draft, NewApplication, NewService};
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::promise::Terms;
use crate::model::record::{BackendVersion, Secret};
use crate::model::reservation::ReservationId;
use crate::model::time::{Period, Windows};
use crate::store::{CheckpointWriter, open::open_latest_on};

/// 2026-11-22 13:45:30 UTC.
const BEGIN_MS: u64 = 1_795_355_130_000;

/// How many workloads each test takes, if nobody says.
const WORKLOADS: u64 = 4;

/// Later than anything in a workload: states are compared as they would be then.
const END_MS: u64 = BEGIN_MS + 86_400_000;

const ROOT: &str = "checkpoints";

#[derive(Clone, Copy, Debug)]
enum Op {
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

fn ops(dice: &mut Dice) -> Vec<Op> {
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

/// What can be asked of an engine.
#[derive(Clone, PartialEq, Debug)]
struct State {
    catalog: Vec<u8>,
    counters: Vec<SubjectImage>,
}

impl State {
    fn of(engine: &Engine) -> State {
        let catalog = engine.catalog();
        let changes: Vec<_> = catalog.changes().collect();
        let mut records = catalog.version.to_le_bytes().to_vec();
        crate::journal::catalog::encode(&changes, catalog.next_id, &mut records);
        let image = |id| engine.counters_of(ApplicationId(id), UnixMillis(0)).map(at_the_end);
        let counters = catalog.applications.iter().filter_map(|(_, application)| image(application.id.0));
        State { catalog: records, counters: counters.collect() }
    }
}

/// What the counters will be at the end, if nothing comes: windows close by themselves.
fn at_the_end(mut image: SubjectImage) -> SubjectImage {
    let end = UnixMillis(END_MS).minute();
    for CellImage { minute, counts, .. } in &mut image.cells {
        for period in Period::ALL {
            let has_closed = Windows::at(*minute).start(period) != Windows::at(end).start(period);
            if has_closed && period != Period::Eternity {
                counts[period as usize] = 0;
            }
        }
        *minute = end;
    }
    image
}

/// All states of a run so far.
struct History {
    states: Vec<State>,
    /// Those that a flush may have ended with.
    edges: BTreeSet<usize>,
    /// After how many steps of the disk which state was acknowledged.
    acknowledged: Vec<(u64, usize)>,
}

impl History {
    fn new(state: State) -> History {
        History { states: vec![state], edges: BTreeSet::from([0]), acknowledged: vec![(0, 0)] }
    }

    fn acknowledged_by(&self, steps: u64) -> usize {
        let before = self.acknowledged.iter().filter(|(at, _)| *at <= steps);
        before.map(|(_, index)| *index).max().unwrap_or(0)
    }

    /// Checks what was opened after a power loss at that step.
    fn check(&self, found: &State, steps: u64, what: &str) {
        let least = self.acknowledged_by(steps);
        let fits = self.edges.range(least..).any(|index| self.states[*index] == *found);
        if fits {
            return;
        }
        let known = self.states.iter().rposition(|state| state == found);
        panic!("{what}: state {known:?} of {} came back, {least} was acknowledged", self.states.len());
    }
}

fn options() -> Options {
    Options { segment_bytes: 4096, group_bytes_max: 400, ..Options::default() }
}

fn open(disk: &MemoryDisk) -> Result<(Engine, Option<u64>), RecoveryError> {
    let root = Path::new(ROOT);
    let checkpoint = open_latest_on(Arc::new(disk.clone()), root, &root.join("reading"))?;
    let replayed = replay_with(checkpoint, Box::new(disk.at("journal")), options())?;
    let generation = replayed.generation;
    Ok((replayed.finish()?, generation))
}

/// A node on a disk, and what it went through.
struct Run {
    disk: MemoryDisk,
    engine: Engine,
    whole: Option<u64>,
    history: History,
    now_ms: u64,
    place: Option<(ServiceId, PlanId)>,
    created: Vec<ApplicationId>,
    number: u64,
    open: Vec<ReservationId>,
}

impl Run {
    fn open(disk: &MemoryDisk) -> Result<Run, RecoveryError> {
        let (engine, whole) = open(disk)?;
        let history = History::new(State::of(&engine));
        let catalog = engine.catalog();
        let place = catalog.plans.iter().next().map(|(_, plan)| (plan.service, plan.id));
        let ids: Vec<_> = catalog.applications.iter().map(|(_, it)| it.id).collect();
        let open = ids.iter().filter_map(|id| engine.counters_of(*id, UnixMillis(0)));
        let open = open.flat_map(|image| image.holds).map(|hold| hold.id).collect();
        let created = ids.get(3..).unwrap_or_default().to_vec();
        let number = catalog.next_id;
        let now_ms = engine.now(UnixMillis(BEGIN_MS)).0;
        Ok(Run { disk: disk.clone(), engine, whole, history, now_ms, place, created, number, open })
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.now_ms)
    }

    /// Carries out all of `ops`; the disk may fail at any of them.
    fn run(&mut self, ops: &[Op]) {
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
    fn flush(&mut self) -> Result<(), NotDurable> {
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
        let Ok(writer) = writer else { return };
        let now = self.now();
        let clock: Clock = Arc::new(move || now);
        let needed = Arc::new(|| Sequence(u64::MAX)) as _;
        let mut acknowledged = None;
        let settle = || {
            let flushed = self.engine.flush(now).map_err(|_| NotDurable);
            acknowledged = flushed.is_ok().then(|| self.disk.steps());
            flushed.map_err(CheckpointError::from)
        };
        let made = checkpoint_into(writer, &self.engine, &clock, &needed, settle, || false);
        let last = self.history.states.len() - 1;
        self.history.acknowledged.extend(acknowledged.map(|steps| (steps, last)));
        if let Ok(made) = made {
            self.whole = made.generation;
        }
    }

    fn change<R>(
        &mut self,
        build: impl FnOnce(&mut Draft<'_>) -> Result<R, crate::model::draft::CommandError>,
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

fn prepare(draft: &mut Draft<'_>) -> Result<(ServiceId, PlanId), crate::model::draft::CommandError> {
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
) -> Result<ApplicationId, crate::model::draft::CommandError> {
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

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let _ = disk.at("journal");
    disk
}

/// Runs `test` with seeds, as many as were asked for; a panic is told with its seed.
fn campaign(name: &str, test: impl Fn(u64) -> u64) {
    let asked = |variable| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect(variable));
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    let seed = asked("TOLLGATE_CRASH_SEED");
    let first = seed.unwrap_or_else(|| u64::from_le_bytes(random) >> 16);
    let workloads = asked("TOLLGATE_CRASH_WORKLOADS").unwrap_or(if seed.is_some() { 1 } else { WORKLOADS });
    let mut runs = 0;
    for seed in first..first + workloads {
        println!("{name}: TOLLGATE_CRASH_SEED={seed}");
        runs += test(seed);
    }
    println!("{name}: {workloads} workloads from seed {first}, {runs} openings, all right");
    // The least of them opens nine files.
    assert!(runs > workloads * 4, "the workloads hardly did anything");
}

/// Opens what a power loss left, where the power may fail again on the way, and checks it; the state that is there then.
fn reopened(history: &History, moment: &MemoryDisk, steps: u64, dice: &mut Dice) -> MemoryDisk {
    let crashed = moment.crash(dice.below(u64::MAX));
    let again = crashed.with_fault(Some(Fault::Freeze(dice.below(40))));
    let first = open(&again).map(|(engine, _)| State::of(&engine));
    let crashed = again.crash(dice.below(u64::MAX));
    let (engine, _) = open(&crashed).unwrap_or_else(|error| panic!("after step {steps}: {error}"));
    let found = State::of(&engine);
    history.check(&found, steps, &format!("after step {steps}"));
    // What an opening showed it has put on disk for good.
    if let Ok(first) = first {
        assert_eq!(first, found, "after step {steps}");
    }
    crashed
}

#[test]
fn a_power_loss_at_any_step_leaves_what_was_acknowledged_and_whole_groups_only() {
    campaign("power loss", |seed| {
        let mut dice = Dice(seed);
        let ops = ops(&mut dice);
        let disk = disk();
        disk.record();
        let mut run = Run::open(&disk).unwrap();
        run.run(&ops);
        let moments = disk.recorded();
        let count = moments.len() as u64;
        for (steps, moment) in (0..).zip(moments) {
            let crashed = reopened(&run.history, &moment, steps, &mut dice);
            if dice.below(4) != 0 {
                continue;
            }
            // It goes on there, until the power fails once more.
            let crashed = crashed.with_fault(Some(Fault::Freeze(dice.below(120))));
            if let Ok(mut second) = Run::open(&crashed) {
                second.run(&ops[..10]);
                reopened(&second.history, &crashed, u64::MAX, &mut dice);
            }
        }
        count
    });
}

/// Runs a workload with a fault, goes on until the disk is well again, and opens what a power loss leaves then. Whether the
/// fault came.
fn with_fault(ops: &[Op], fault: Fault, settles: bool, dice: &mut Dice) -> bool {
    let disk = disk().with_fault(Some(fault));
    // Whoever starts the node again finds a disk that works, after a while.
    let mut run = (0..1000).find_map(|_| Run::open(&disk).ok()).expect("opens in the end");
    run.run(ops);
    let has_failed = disk.has_failed();
    if settles {
        let tries = (0..1000).take_while(|_| run.flush().is_err()).count();
        assert!(tries < 1000, "{fault:?}: no flush succeeds any more");
    }
    let last = State::of(&run.engine);
    reopened(&run.history, &disk, u64::MAX, dice);
    if settles {
        let crashed = disk.crash(dice.below(u64::MAX));
        let (engine, _) = open(&crashed).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(State::of(&engine), last, "{fault:?}");
    }
    has_failed
}

#[test]
fn a_storage_error_at_any_step_loses_nothing_and_the_next_flush_resumes() {
    campaign("storage error", |seed| {
        let mut dice = Dice(seed);
        let ops = ops(&mut dice);
        let mut at = 0;
        while with_fault(&ops, Fault::Once(at), at % 2 == 0, &mut dice) {
            at += 1;
        }
        at
    });
}

#[test]
fn a_disk_that_fills_at_any_step_and_empties_loses_nothing() {
    campaign("full disk", |seed| {
        let mut dice = Dice(seed);
        let ops = ops(&mut dice);
        let mut at = 0;
        while with_fault(&ops, Fault::Full(at, at + 1 + dice.below(30)), at % 2 == 0, &mut dice) {
            at += 1;
        }
        at
    });
}

#[test]
fn a_file_that_cannot_be_read_at_an_opening_costs_nothing_but_that_opening() {
    campaign("unreadable", |seed| {
        let mut dice = Dice(seed);
        let mut ops = ops(&mut dice);
        ops.extend([Op::Create, Op::Checkpoint, Op::Report(3), Op::Checkpoint, Op::Report(4), Op::Flush]);
        let disk = disk();
        let mut run = Run::open(&disk).unwrap();
        run.run(&ops);
        let last = State::of(&run.engine);
        let (mut at, mut openings) = (0, 0);
        loop {
            let disk = disk.crash(dice.below(u64::MAX)).with_fault(Some(Fault::Read(at)));
            let opened = open(&disk).map(|(engine, _)| State::of(&engine));
            if let Ok(state) = &opened {
                assert_eq!(*state, last, "read {at}");
            }
            openings += 1;
            if !disk.has_failed() {
                return openings;
            }
            let (engine, _) = open(&disk.with_fault(None)).unwrap();
            assert_eq!(State::of(&engine), last, "after read {at} failed");
            at += 1;
        }
    });
}
