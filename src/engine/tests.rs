//! The engine in process: exactness under concurrency, commands between usage, recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::request::{AuthRequest, Call, Credentials, ReportRequest, Transaction, Usage, UsageParameter};
use super::{Engine, Recovery};
use crate::journal::{Journal, Options, Sequence};
use crate::model::decision::{Denial, Refusal};
use crate::model::draft::{Draft, NewApplication, NewService};
use crate::model::id::{ApplicationId, MetricId, MetricSlot, PlanId, ServiceId};
use crate::model::promise::Terms;
use crate::model::record::{ApplicationState, BackendVersion, Secret};
use crate::model::time::{Period, UnixMillis};

/// 2026-11-22 13:45:30 UTC.
pub(super) const NOW: UnixMillis = UnixMillis(1_795_355_130_000);

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) dir: tempfile::TempDir,
    pub(super) service: ServiceId,
    pub(super) plan: PlanId,
    pub(super) hits: MetricId,
    pub(super) search: MetricId,
    pub(super) applications: Vec<ApplicationId>,
}

/// As nodes do, each start has a seed of its own.
fn open(dir: &std::path::Path, seed: u8) -> Engine {
    let mut recovery = Recovery::default();
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let (journal, _) = Journal::open(&dir.join("journal"), Options::default(), Sequence(0), visit).unwrap();
    recovery.finish(journal, [seed; 16])
}

pub(super) fn credentials() -> Credentials<'static> {
    Credentials { provider_key: Some("pkey"), ..Credentials::default() }
}

impl World {
    pub(super) fn new(applications: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path(), 7);
        let build = |draft: &mut Draft<'_>| {
            let tenant = draft.create_tenant("acme", "pkey")?;
            let backend_version = BackendVersion::UserKey;
            let new = NewService { tenant, external_id: None, name: "api", backend_version };
            let service = draft.create_service(&new)?;
            let hits = draft.create_metric(service, "hits", None)?;
            let search = draft.create_metric(service, "search", Some(hits))?;
            let plan = draft.create_plan(service, None, "Basic")?;
            let mut ids = Vec::new();
            for number in 0..applications {
                let app_id = format!("app{number}");
                let new = NewApplication { service, account: None, app_id: &app_id, name: &app_id, plan };
                let id = draft.create_application(&new)?;
                let key = Secret::new(&format!("key{number}"));
                draft.edit_application(id, |application| application.user_keys.push(key))?;
                ids.push(id);
            }
            Ok((service, plan, hits, search, ids))
        };
        let ((service, plan, hits, search, applications), _) = engine.change(build).unwrap();
        World { engine, dir, service, plan, hits, search, applications }
    }

    pub(super) fn limit(&self, metric: MetricId, period: Period, max: u64) {
        self.engine.change(|draft| draft.set_limit(self.plan, metric, period, max)).unwrap();
    }

    pub(super) fn count(&self, number: usize, slot: u32, period: Period) -> u64 {
        count(&self.engine, self.applications[number], slot, period)
    }

    pub(super) fn reopen(mut self) -> Self {
        self.reopen_at(NOW);
        self
    }

    pub(super) fn reopen_at(&mut self, now: UnixMillis) {
        self.engine.flush(now).unwrap();
        self.engine = open(self.dir.path(), 8);
    }
}

fn count(engine: &Engine, application: ApplicationId, slot: u32, period: Period) -> u64 {
    let image = engine.counters_of(application, NOW).unwrap();
    let cell = image.cells.iter().find(|cell| cell.slot == MetricSlot(slot));
    cell.map_or(0, |cell| cell.counts[period as usize])
}

/// An authrep by the tenant's key.
pub(super) fn request<'a>(user_key: Option<&'a str>, usage: &'a [UsageParameter<'a>]) -> AuthRequest<'a> {
    AuthRequest {
        call: Call::Authrep,
        oauth: false,
        credentials: credentials(),
        app_id: None,
        user_key,
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Texts(usage),
        log_code: None,
        flat_usage: false,
        no_body: false,
    }
}

pub(super) fn authrep<'r>(
    engine: &Engine,
    user_key: &'r str,
    usage: &'r [UsageParameter<'r>],
) -> Result<bool, Refusal<'r>> {
    engine.authorize(&request(Some(user_key), usage), NOW, |answer| {
        assert!(matches!(answer.denial, None | Some(Denial::LimitsExceeded | Denial::ApplicationNotActive)));
        answer.denial.is_none()
    })
}

/// As it comes over HTTP without any options.
pub(super) fn report_of<'r>(transactions: &'r [Transaction<'r>]) -> ReportRequest<'r> {
    ReportRequest { credentials: credentials(), transactions, flat_usage: false, terms: Terms::REPORT }
}

fn report(engine: &Engine, user_keys: &[&str], usage: &[UsageParameter<'_>]) {
    let transactions: Vec<_> = user_keys
        .iter()
        .map(|key| Transaction { user_key: Some(key), usage: Usage::Texts(usage), ..Transaction::default() })
        .collect();
    let request = report_of(&transactions);
    engine.report(&request, NOW).unwrap();
}

pub(super) const THREADS: usize = 8;

#[test]
fn a_limit_of_n_admits_exactly_n_whatever_comes_at_once() {
    let world = World::new(1);
    world.limit(world.hits, Period::Hour, 1000);
    world.limit(world.search, Period::Minute, 700);
    world.limit(world.hits, Period::Eternity, 5000);
    let admitted = AtomicU64::new(0);
    let flushing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while flushing.load(Ordering::Relaxed) {
                world.engine.flush(NOW).unwrap();
            }
        });
        let callers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (world, admitted) = (&world, &admitted);
                // Half of them use the parent metric, half the method below it: both count for the parent.
                let metric = if number % 2 == 0 { "hits" } else { "search" };
                scope.spawn(move || {
                    for _ in 0..500 {
                        if authrep(&world.engine, "key0", &[(metric, Some("1"))]).unwrap() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        flushing.store(false, Ordering::Relaxed);
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 1000);
    assert_eq!(world.count(0, 0, Period::Hour), 1000);
    assert!(world.count(0, 1, Period::Minute) <= 700);
    let before = world.count(0, 1, Period::Minute);
    let world = world.reopen();
    assert_eq!((world.count(0, 0, Period::Hour), world.count(0, 1, Period::Minute)), (1000, before));
}

#[test]
fn reports_authreps_and_commands_at_once_lose_nothing() {
    let world = World::new(4);
    let admitted = AtomicU64::new(0);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                world.engine.flush(NOW).unwrap();
            }
        });
        scope.spawn(|| {
            // Limits that never bind, suspensions that pass, and other applications that come and go.
            for round in 0_u64.. {
                if !running.load(Ordering::Relaxed) {
                    break;
                }
                world.limit(world.hits, Period::Day, 1_000_000 + round);
                let (service, plan) = (world.service, world.plan);
                let new = NewApplication { service, account: None, app_id: "passing", name: "p", plan };
                let (id, _) = world.engine.change(|draft| draft.create_application(&new)).unwrap();
                world.engine.change(|draft| draft.delete_application(id)).unwrap();
                let id = world.applications[3];
                for state in [ApplicationState::Suspended, ApplicationState::Active] {
                    world.engine.change(|draft| draft.edit_application(id, |it| it.state = state)).unwrap();
                }
            }
        });
        let callers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (world, admitted) = (&world, &admitted);
                scope.spawn(move || {
                    for round in 0..300 {
                        if number % 2 == 0 {
                            report(&world.engine, &["key0", "key1", "key2"], &[("search", Some("2"))]);
                        } else {
                            let key = if round % 2 == 0 { "key0" } else { "key3" };
                            let ok = authrep(&world.engine, key, &[("hits", Some("1"))]).unwrap();
                            admitted.fetch_add(u64::from(ok), Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    let reported = 4 * 300 * 2;
    let expect = |world: &World| {
        assert_eq!(world.count(0, 1, Period::Day), reported);
        assert_eq!(world.count(1, 0, Period::Minute), reported);
        assert_eq!(world.count(2, 0, Period::Year), reported);
        let authreps = world.count(0, 0, Period::Day) - reported + world.count(3, 0, Period::Day);
        assert_eq!(authreps, admitted.load(Ordering::Relaxed));
    };
    expect(&world);
    expect(&world.reopen());
}

#[test]
fn usage_decided_under_a_catalog_comes_before_the_command_that_replaced_it() {
    let world = World::new(1);
    let engine = Arc::new(world.engine);
    let application = world.applications[0];
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) {
                    authrep(&engine, "key0", &[("hits", Some("1"))]).unwrap();
                }
            });
        }
        for _ in 0..200 {
            for state in [ApplicationState::Suspended, ApplicationState::Active] {
                engine.change(|draft| draft.edit_application(application, |it| it.state = state)).unwrap();
            }
        }
        running.store(false, Ordering::Relaxed);
    });
    engine.flush(NOW).unwrap();
    // Read the journal as a biller would: what counts must have been active at the time.
    let mut version = 0;
    let visit = |_, _, entry| {
        match entry {
            crate::journal::entry::Entry::Command(command) => version = command.version,
            crate::journal::entry::Entry::Usage(usage) => {
                assert_eq!(usage.contract, version);
                // Version 1 made the world; odd versions left the application active.
                assert_eq!(version % 2, 1, "counted while suspended");
            }
            crate::journal::entry::Entry::Traffic(_) => {}
            other => unreachable!("{other:?}"),
        }
        Ok::<_, std::convert::Infallible>(())
    };
    Journal::open(&world.dir.path().join("journal"), Options::default(), Sequence(0), visit).unwrap();
}

#[test]
fn sets_and_future_usage_survive_a_restart_in_order() {
    let world = World::new(1);
    report(&world.engine, &["key0"], &[("search", Some("5"))]);
    report(&world.engine, &["key0"], &[("search", Some("#3"))]);
    report(&world.engine, &["key0"], &[("hits", Some("4"))]);
    let ahead = i64::try_from(NOW.secs()).unwrap() + 3600;
    let usage = [("hits", Some("10"))];
    let transaction = Transaction {
        user_key: Some("key0"),
        usage: Usage::Texts(&usage),
        timestamp: Some(ahead),
        log_code: Some("404"),
        ..Transaction::default()
    };
    let transactions = [transaction];
    let request = report_of(&transactions);
    world.engine.report(&request, NOW).unwrap();
    let world = world.reopen();
    assert_eq!((world.count(0, 1, Period::Hour), world.count(0, 0, Period::Hour)), (3, 7));
    assert_eq!(world.count(0, 0, Period::Day), 17);
    assert_eq!(world.engine.waiting(), 3);
    let later = UnixMillis(NOW.0 + 3_600_000);
    let image = world.engine.counters_of(world.applications[0], later).unwrap();
    assert_eq!(image.cells[0].counts[Period::Hour as usize], 10);
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn an_id_that_was_taken_for_something_else_is_given_to_nothing_after_a_restart() {
    let world = World::new(1);
    let version = world.engine.catalog().version;
    let (id, _) = world.engine.change(|draft| Ok(draft.take_id())).unwrap();
    assert_eq!(world.engine.catalog().version, version + 1);
    let metric = MetricId(id);
    let put = world.engine.change(|draft| draft.put_metric(world.service, metric, "hits.1", None));
    put.unwrap();
    let (last, _) = world.engine.change(|draft| Ok(draft.take_id())).unwrap();
    assert_eq!(last, id + 1);
    let world = world.reopen();
    assert_eq!(world.engine.catalog().next_id, last + 1);
    let (next, _) = world.engine.change(|draft| Ok(draft.take_id())).unwrap();
    assert_eq!(next, last + 1);
    assert_eq!(world.engine.catalog().applications_of(world.service.0).len(), 1);
    assert_eq!(world.engine.catalog().plans_of(world.service).iter().next(), Some(world.plan.0));
}

#[test]
fn a_copy_with_the_journal_after_it_gives_the_same_counters() {
    let world = World::new(200);
    let running = AtomicBool::new(true);
    let mut pieces = Vec::new();
    let (mut begin, mut catalog, mut at) = (Sequence(0), None, Sequence(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, running) = (&world, &running);
            scope.spawn(move || {
                let mut round = thread;
                while running.load(Ordering::Relaxed) {
                    let key = format!("key{}", round % 200);
                    let answer = authrep(&world.engine, &key, &[("search", Some("1"))]);
                    // The last application is deleted below, and unknown after that.
                    if round % 200 != 199 {
                        answer.unwrap();
                        let usage = [("hits", Some("#9")), ("search", Some("1"))];
                        report(&world.engine, &[&key, "key0"], &usage);
                    }
                    round += 7;
                }
            });
        }
        for _ in 0..5 {
            pieces.clear();
            begin = world
                .engine
                .copy_counters(|stamp, images| {
                    pieces.extend(images.iter().cloned().map(|image| (stamp, image)));
                    Ok::<_, std::convert::Infallible>(())
                })
                .unwrap();
            let (copied, sequence) = world.engine.copy_catalog();
            (catalog, at) = (Some(copied), sequence);
            world.engine.change(|draft| draft.delete_application(world.applications[199])).ok();
        }
        running.store(false, Ordering::Relaxed);
    });
    world.engine.flush(NOW).unwrap();

    let catalog = catalog.unwrap();
    let mut recovery = Recovery::default();
    let mut records = Vec::new();
    crate::journal::catalog::encode(&catalog.changes().collect::<Vec<_>>(), catalog.next_id, &mut records);
    recovery.catalog(&records, catalog.version, at).unwrap();
    for (stamp, image) in &pieces {
        recovery.counters(*stamp, image);
    }
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let (journal, _) =
        Journal::open(&world.dir.path().join("journal"), Options::default(), begin, visit).unwrap();
    let recovered = recovery.finish(journal, [1; 16]);
    for id in &world.applications[..199] {
        let [live, recovered] =
            [&world.engine, &recovered].map(|engine| engine.counters_of(*id, NOW).unwrap());
        assert_eq!(live.cells, recovered.cells, "application {id}");
    }
    assert!(recovered.counters_of(world.applications[199], NOW).is_none());
    assert_eq!(recovered.catalog().next_id, world.engine.catalog().next_id);
}

#[test]
fn sets_between_commands_replay_in_the_order_in_which_they_counted() {
    for _ in 0..20 {
        let world = World::new(4);
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (world, running) = (&world, &running);
                scope.spawn(move || {
                    let key = format!("key{}", thread % 4);
                    let value = format!("#{thread}");
                    while running.load(Ordering::Relaxed) {
                        authrep(&world.engine, &key, &[("search", Some(&value))]).unwrap();
                        authrep(&world.engine, &key, &[("hits", Some("3"))]).unwrap();
                        report(&world.engine, &[&key], &[("search", Some("2"))]);
                    }
                });
            }
            for round in 0..30 {
                world.limit(world.hits, Period::Year, u64::MAX - round);
            }
            running.store(false, Ordering::Relaxed);
        });
        let counts =
            |world: &World| [0, 1, 2, 3].map(|app| [0, 1].map(|slot| world.count(app, slot, Period::Day)));
        let live = counts(&world);
        assert_eq!(counts(&world.reopen()), live);
    }
}

#[test]
fn a_key_that_moves_is_always_somebodys() {
    let world = World::new(0);
    let (service, plan) = (world.service, world.plan);
    let create = |draft: &mut Draft<'_>, round: u64| {
        let name = format!("holder{round}");
        let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new("moving")))?;
        Ok(id)
    };
    let (mut holder, _) = world.engine.change(|draft| create(draft, 0)).unwrap();
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) {
                    assert_eq!(authrep(&world.engine, "moving", &[("hits", Some("1"))]), Ok(true));
                }
            });
        }
        for round in 1..300 {
            let moved = world.engine.change(|draft| {
                draft.delete_application(holder)?;
                create(draft, round)
            });
            holder = moved.unwrap().0;
        }
        running.store(false, Ordering::Relaxed);
    });
}

#[test]
fn nobody_waits_for_a_flusher_that_has_ended() {
    let world = World::new(1);
    world.engine.stop_flusher();
    world.engine.run_flusher(|| NOW, |_| ()).unwrap();
    assert!(world.engine.durable_blocking(world.engine.ticket()).is_err());
}

#[test]
fn time_never_goes_back() {
    let world = World::new(1);
    assert_eq!(world.engine.now(NOW), NOW);
    assert_eq!(world.engine.now(UnixMillis(5)), NOW);
    let world = world.reopen();
    assert_eq!(world.engine.now(UnixMillis(5)), NOW);
}

#[test]
fn a_refused_command_changes_nothing() {
    let world = World::new(2);
    let before = world.engine.catalog().version;
    let (service, plan) = (world.service, world.plan);
    let taken = world.engine.change(|draft| {
        draft.edit_application(world.applications[0], |it| it.name = "renamed".into())?;
        draft.create_application(&NewApplication { service, account: None, app_id: "app1", name: "x", plan })
    });
    assert!(taken.is_err());
    let catalog = world.engine.catalog();
    assert_eq!(catalog.version, before);
    assert_eq!(&*catalog.applications.get(world.applications[0].0).unwrap().name, "app0");
}

#[test]
fn saturated_counts_replay_to_the_same() {
    let world = World::new(1);
    for _ in 0..3 {
        report(&world.engine, &["key0"], &[("hits", Some("9223372036854775000"))]);
    }
    let live = world.count(0, 0, Period::Day);
    assert_eq!(live, crate::model::amount::COUNT_MAX);
    assert_eq!(world.reopen().count(0, 0, Period::Day), live);
}
