//! History against a plain model, whatever comes between: writes that fail, crashes, deletions.

mod live;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::engine::Recovery;
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::journal::entry::{Command, Entry, Kind, Set};
use crate::journal::rows::Rows;
use crate::journal::usage::{Usage, UsageItem};
use crate::journal::{Follower, Journal, Options, Sequence};
use crate::model::draft::{NewApplication, NewService};
use crate::model::id::PlanId;
use crate::model::record::BackendVersion;
use crate::model::time::{Minute, UnixMillis};
use crate::plugin::follower::Derive;
use crate::store::shelf::Writing;

/// A day's first hour.
const FIRST: u32 = 20_000 * HOURS;
const SLOTS: u32 = 3;

struct World {
    engine: Arc<Engine>,
    shelf: Arc<Shelf>,
    plans: Vec<(ServiceId, PlanId)>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(services: usize) -> World {
        World::on(&MemoryDisk::default(), services)
    }

    fn on(disk: &MemoryDisk, services: usize) -> World {
        let dir = tempfile::tempdir().unwrap();
        let nothing = |_, _, _| Ok::<(), Infallible>(());
        let journal = dir.path().join("journal");
        let (journal, _) = Journal::open(&journal, Options::default(), Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
        let (tenant, _) = engine.change(|draft| draft.create_tenant("t", "pkey")).unwrap();
        let plan = |at: usize| {
            let name = format!("s{at}");
            let backend_version = BackendVersion::AppId;
            let new = NewService { tenant, external_id: None, name: &name, backend_version };
            let build = |draft: &mut crate::model::draft::Draft<'_>| {
                let service = draft.create_service(&new)?;
                draft.create_metric(service, "hits", None)?;
                Ok((service, draft.create_plan(service, None, "p")?))
            };
            engine.change(build).unwrap().0
        };
        let plans = (0..services).map(plan).collect();
        let shelf = Arc::new(Shelf::open_on(disk.clone(), "shelf").unwrap());
        World { engine, shelf, plans, _dir: dir }
    }

    fn application(&self, plan: usize, name: &str) -> (ServiceId, ApplicationId) {
        let (service, plan) = self.plans[plan];
        let new = NewApplication { service, account: None, app_id: name, name, plan };
        (service, self.engine.change(|draft| draft.create_application(&new)).unwrap().0)
    }
}

/// Follows nothing: the test takes its place.
struct Nobody;

impl Derive for Nobody {
    fn wants(_: Kind) -> bool {
        false
    }
    fn entry(&mut self, _: UnixMillis, _: Entry) {}
    fn is_empty(&self) -> bool {
        true
    }
    fn write(&mut self, _: &mut Writing<'_>) -> Result<(), ShelfError> {
        Ok(())
    }
    fn written(&mut self) {}
    fn forget(&mut self) {}
}

/// A deriver in the hands of a test, and what it should have made.
struct Game {
    world: World,
    analytics: Analytics,
    thread: Option<JoinHandle<()>>,
    deriver: Deriver,
    applications: Vec<(ServiceId, ApplicationId)>,
    /// Entries that were taken in and not written.
    taken: Vec<Entry>,
    /// What the engine did and the deriver has not seen.
    ahead: VecDeque<Entry>,
    commands: Follower,
    /// By service, application, slot and hour; in the order of the entries.
    model: BTreeMap<(u64, u64, u32, u32), i64>,
}

impl Drop for Game {
    fn drop(&mut self) {
        self.analytics.following.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Game {
    fn new() -> Game {
        Game::on(&MemoryDisk::default())
    }

    fn on(disk: &MemoryDisk) -> Game {
        let world = World::on(disk, 2);
        let applications: Vec<_> = (0..4).map(|at| world.application(at % 2, &format!("a{at}"))).collect();
        let layer = Arc::new(RwLock::new(Layer::new(1)));
        let deriver = Deriver::new(Arc::clone(&world.engine), Arc::clone(&layer));
        let (following, thread) =
            Following::start("nobody", Arc::clone(&world.engine), Arc::clone(&world.shelf), Nobody).unwrap();
        let analytics = Analytics { shelf: Arc::clone(&world.shelf), layer, following };
        let mut game = Game {
            world,
            analytics,
            thread: Some(thread),
            deriver,
            applications,
            taken: Vec::new(),
            ahead: VecDeque::new(),
            commands: Follower::after(Sequence(0)),
            model: BTreeMap::new(),
        };
        game.look_at_commands();
        game.catch_up();
        game
    }

    /// Queues the commands that the engine carried out.
    fn look_at_commands(&mut self) {
        self.world.engine.flush(UnixMillis(1)).unwrap();
        let ahead = &mut self.ahead;
        let take = |_, _, entry| ahead.push_back(entry);
        self.world
            .engine
            .journal()
            .read_on(&mut self.commands, u64::MAX, |it| it == Kind::Command, take)
            .unwrap();
    }

    fn take(&mut self, entry: Entry) {
        self.deriver.entry(UnixMillis(1), entry.clone());
        self.taken.push(entry);
    }

    fn catch_up(&mut self) {
        while let Some(entry) = self.ahead.pop_front() {
            self.take(entry);
        }
    }

    fn add(&mut self, (service, application): (ServiceId, ApplicationId), slot: u32, hour: u32, amount: i64) {
        let contract = self.world.engine.catalog().version;
        let minute = Minute((FIRST + hour) * 60 + 59);
        let item =
            UsageItem { application, minute, counted: minute, deltas: vec![(MetricSlot(slot), amount)] };
        self.ahead.push_back(Entry::Usage(Usage { contract, items: vec![item] }));
        *self.model.entry((service.0, application.0, slot, FIRST + hour)).or_default() += amount;
    }

    fn set(&mut self, (service, application): (ServiceId, ApplicationId), slot: u32, hour: u32, value: u64) {
        let contract = self.world.engine.catalog().version;
        let minute = Minute((FIRST + hour) * 60);
        let values = vec![(MetricSlot(slot), value)];
        self.ahead.push_back(Entry::Set(Set { contract, application, minute, counted: minute, values }));
        self.model.insert((service.0, application.0, slot, FIRST + hour), i64::try_from(value).unwrap());
    }

    fn past(&mut self, (service, application): (ServiceId, ApplicationId), slot: u32, day: u32, amount: i64) {
        let mut rows = Rows::default();
        let mut hours = [None; HOURS as usize];
        (hours[2], hours[5]) = (Some(amount), Some(0));
        past::set(&mut rows, application, MetricSlot(slot), FIRST / HOURS + day, &hours);
        let parts = vec![("other".to_owned(), vec![1]), (past::PLUGIN.to_owned(), rows.encode())];
        self.ahead.push_back(Entry::Command(Command { version: 1, core: Vec::new(), parts }));
        for (hour, amount) in [(2, amount), (5, 0)] {
            self.model.insert((service.0, application.0, slot, FIRST + day * HOURS + hour), amount);
        }
    }

    /// Writes to a shelf that fails after all of it is on disk, and tries again.
    fn write_twice(&mut self) {
        for _ in 0..2 {
            let deriver = &mut self.deriver;
            self.world.shelf.write(|writing| deriver.write(writing)).unwrap();
        }
        self.deriver.written();
        self.taken.clear();
    }

    /// Panics after all of it is on disk, or before.
    fn panic(&mut self, after: bool) {
        if after {
            let deriver = &mut self.deriver;
            self.world.shelf.write(|writing| deriver.write(writing)).unwrap();
            self.taken.clear();
        }
        self.deriver.forget();
        for entry in self.taken.clone() {
            self.deriver.entry(UnixMillis(1), entry);
        }
    }

    fn replace(&mut self, (_, application): (ServiceId, ApplicationId), slot: u32, hour: u32, value: u64) {
        let contract = self.world.engine.catalog().version;
        let minute = Minute((FIRST + hour) * 60);
        let values = vec![(MetricSlot(slot), value)];
        self.ahead.push_back(Entry::Replace(Set { contract, application, minute, counted: minute, values }));
    }

    fn write(&mut self, fails: bool) {
        let deriver = &mut self.deriver;
        let shelf = &self.world.shelf;
        let written = shelf.write(|writing| {
            deriver.write(writing)?;
            if fails { Err(shelf.outdated()) } else { Ok(()) }
        });
        assert_eq!(written.is_err(), fails);
        if !fails {
            self.deriver.written();
            self.taken.clear();
        }
    }

    /// Begins anew from what was written.
    fn crash(&mut self) {
        let epoch = epoch_in(&self.world.shelf.reading().unwrap()).unwrap() + 1;
        let layer = Arc::new(RwLock::new(Layer::new(epoch)));
        self.deriver = Deriver::new(Arc::clone(&self.world.engine), Arc::clone(&layer));
        self.analytics.layer = layer;
        for entry in self.taken.clone() {
            self.deriver.entry(UnixMillis(1), entry);
        }
    }

    fn check(&self, bounds: &[u32]) {
        let bounds: Vec<_> = bounds.iter().map(|hour| FIRST + hour).collect();
        let sum = |of: &dyn Fn(u64, u64) -> bool, slot: u32, hours: Range<u32>| -> i64 {
            let all = self.model.iter();
            all.filter(|((service, application, at, hour), _)| {
                of(*service, *application) && *at == slot && hours.contains(hour)
            })
            .map(|(_, amount)| amount)
            .sum()
        };
        for slot in 0..SLOTS {
            let expected = |of: &dyn Fn(u64, u64) -> bool| -> Vec<i64> {
                bounds.windows(2).map(|window| sum(of, slot, window[0]..window[1])).collect()
            };
            let sums = |of| self.analytics.sums(of, MetricSlot(slot), &bounds).unwrap();
            for (service, application) in &self.applications {
                let of = |_, id| id == application.0;
                assert_eq!(sums(Subject::Application(*service, *application)), expected(&of));
            }
            for (service, _) in &self.world.plans {
                assert_eq!(sums(Subject::Service(*service)), expected(&|id, _| id == service.0));
                let whole = bounds[0]..bounds[bounds.len() - 1];
                let mut by =
                    self.analytics.by_application(*service, MetricSlot(slot), whole.clone()).unwrap();
                by.sort_unstable_by_key(|(id, _)| id.0);
                let all = self.applications.iter().filter(|(of, _)| of == service).map(|(_, id)| *id);
                let expected = all.map(|id| (id, sum(&|_, it| it == id.0, slot, whole.clone())));
                assert_eq!(by, expected.filter(|(_, sum)| *sum != 0).collect::<Vec<_>>());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    Add { application: usize, slot: u32, hour: u32, amount: i64 },
    Set { application: usize, slot: u32, hour: u32, value: u64 },
    Past { application: usize, slot: u32, day: u32, amount: i64 },
    CatchUp,
    Write,
    FailToWrite,
    WriteTwice,
    Panic(bool),
    Replace { application: usize, slot: u32, hour: u32, value: u64 },
    Crash,
    Create(usize),
    Delete(usize),
}

fn moves() -> impl Strategy<Value = Move> {
    let place = || (0..6_usize, 0..SLOTS, 0..72_u32);
    prop_oneof![
        8 => (place(), -3..20_i64)
            .prop_map(|((application, slot, hour), amount)| Move::Add { application, slot, hour, amount }),
        2 => (place(), 0..9_u64)
            .prop_map(|((application, slot, hour), value)| Move::Set { application, slot, hour, value }),
        1 => (place(), 0..9_i64)
            .prop_map(|((application, slot, hour), amount)| Move::Past { application, slot, day: hour % 3, amount }),
        3 => Just(Move::CatchUp),
        3 => Just(Move::Write),
        1 => Just(Move::FailToWrite),
        1 => Just(Move::WriteTwice),
        1 => any::<bool>().prop_map(Move::Panic),
        1 => (place(), 0..9_u64)
            .prop_map(|((application, slot, hour), value)| Move::Replace { application, slot, hour, value }),
        1 => Just(Move::Crash),
        1 => (0..2_usize).prop_map(Move::Create),
        1 => (0..6_usize).prop_map(Move::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn history_is_what_was_used_whatever_comes_between(
        moves in prop::collection::vec(moves(), 1..60),
        mut bounds in prop::collection::vec(0..80_u32, 2..9),
    ) {
        bounds.sort_unstable();
        let mut game = Game::new();
        let mut deleted = std::collections::HashSet::new();
        for (at, one) in moves.into_iter().enumerate() {
            let of = |application: usize| game.applications[application % game.applications.len()];
            match one {
                Move::Add { application, slot, hour, amount } if !deleted.contains(&of(application)) => {
                    game.add(of(application), slot, hour, amount);
                }
                Move::Set { application, slot, hour, value } if !deleted.contains(&of(application)) => {
                    game.set(of(application), slot, hour, value);
                }
                Move::Past { application, slot, day, amount } if !deleted.contains(&of(application)) => {
                    game.past(of(application), slot, day, amount);
                }
                Move::CatchUp => game.catch_up(),
                Move::Write => game.write(false),
                Move::FailToWrite => game.write(true),
                Move::WriteTwice => game.write_twice(),
                Move::Panic(after) => game.panic(after),
                Move::Replace { application, slot, hour, value } => {
                    game.replace(of(application), slot, hour, value);
                }
                Move::Crash => game.crash(),
                Move::Create(plan) => {
                    let created = game.world.application(plan, &format!("n{at}"));
                    game.applications.push(created);
                    game.look_at_commands();
                }
                Move::Delete(application) if deleted.insert(of(application)) => {
                    let id = of(application).1;
                    game.world.engine.change(|draft| draft.delete_application(id)).unwrap();
                    game.look_at_commands();
                }
                _ => {}
            }
            if game.ahead.is_empty() && game.deriver.has_found_all() {
                game.check(&bounds);
            }
        }
        game.catch_up();
        game.write(false);
        game.check(&bounds);
        game.check(&[0, 100]);
        let rows = |table| game.world.shelf.read(|reading| reading.len(table)).unwrap();
        prop_assert_eq!(rows(APPLICATIONS), (game.applications.len() - deleted.len()) as u64);
    }
}

#[test]
fn whichever_step_of_a_write_fails_each_amount_is_there_once() {
    for at in 0.. {
        let disk = MemoryDisk::default();
        let mut game = Game::on(&disk);
        let of = game.applications[0];
        game.add(of, 0, 1, 5);
        game.catch_up();
        game.write(false);
        game.add(of, 0, 1, 7);
        game.add(of, 1, 30, 2);
        game.catch_up();
        let disk = disk.with_fault(Some(Fault::Once(at)));
        let shelf = Arc::clone(&game.world.shelf);
        let mut tries = 0;
        while shelf.write(|writing| game.deriver.write(writing)).is_err() {
            tries += 1;
            assert!(tries < 3, "{at}: it stays failed");
        }
        game.deriver.written();
        game.check(&[0, 1, 2, 30, 31]);
        if !disk.has_failed() {
            assert!(at > 3, "a write has hardly any steps");
            return;
        }
    }
}

#[test]
fn a_deleted_service_leaves_nothing_and_others_all() {
    let mut game = Game::new();
    let [first, second, third, _] = game.applications[..] else { unreachable!() };
    for day in 0..3 {
        for of in [first, second, third] {
            game.add(of, 0, day * HOURS, 5);
        }
    }
    game.catch_up();
    game.write(false);
    let rows = |game: &Game, service: ServiceId| {
        let prefix = service.0.to_be_bytes();
        game.world.shelf.read(|it| it.rows(HISTORY, &Scan::first(&prefix, 100))).unwrap().len()
    };
    assert_eq!((rows(&game, first.0), rows(&game, second.0)), (9, 6));
    game.add(first, 0, 1, 7);
    game.world.engine.change(|draft| draft.delete_service(first.0)).unwrap();
    game.look_at_commands();
    game.catch_up();
    // What came before the command is of nobody now.
    game.write(false);
    assert_eq!((rows(&game, first.0), rows(&game, second.0)), (0, 6));
    assert_eq!(game.world.shelf.read(|it| it.len(GONE)).unwrap(), 0);
    assert!(game.deriver.is_empty());
    assert_eq!(game.analytics.days(first.0).unwrap(), None);
    assert_eq!(game.analytics.days(second.0).unwrap(), Some((20_000, 20_002)));
}

#[test]
fn what_a_deleted_service_had_goes_a_few_rows_at_a_time() {
    let mut game = Game::new();
    let service = game.applications[0].0;
    let other = game.applications[1].0;
    let count = derive::REMOVED_AT_ONCE as u32 + 1;
    let fill = |writing: &mut Writing<'_>| {
        let mut rows = writing.open(HISTORY)?;
        rows.put(&key_of(other, 1, WHOLE), &[1])?;
        (0..count).try_for_each(|day| rows.put(&key_of(service, day, WHOLE), &[1]))
    };
    game.world.shelf.write(fill).unwrap();
    game.world.engine.change(|draft| draft.delete_service(service)).unwrap();
    game.look_at_commands();
    game.catch_up();
    for (left, is_done) in [(2, false), (1, true)] {
        assert!(game.deriver.is_due());
        game.write(false);
        let rows = game.world.shelf.read(|it| it.len(HISTORY)).unwrap();
        assert_eq!((rows, game.deriver.is_empty()), (left, is_done));
    }
    // A crash between goes on with it.
    game.crash();
    assert!(!game.deriver.is_empty());
    game.write(false);
    assert!(game.deriver.is_empty());
}

#[test]
fn a_shelf_that_begins_late_knows_the_applications_that_there_are() {
    let world = World::new(1);
    let (service, application) = world.application(0, "a");
    begin(&world.shelf, &world.engine.catalog()).unwrap();
    let stored = world.shelf.read(|it| it.get(APPLICATIONS, &application.0.to_be_bytes())).unwrap();
    assert_eq!(stored, Some(service.0.to_le_bytes().to_vec()));
    // Only then: afterwards the journal tells.
    world.application(0, "b");
    world.shelf.write(|writing| writing.set_position(Sequence(1))).unwrap();
    begin(&world.shelf, &world.engine.catalog()).unwrap();
    assert_eq!(world.shelf.read(|it| it.len(APPLICATIONS)).unwrap(), 1);
}

#[test]
fn so_many_rows_are_gone_through_and_no_more() {
    let mut game = Game::new();
    let (service, one) = game.applications[0];
    for hour in [0, 24, 48] {
        game.add((service, one), 0, hour, 1);
    }
    game.catch_up();
    game.write(false);
    let of = |rows_max| {
        let hours = FIRST..FIRST + 72;
        game.analytics.by_application_of(service, MetricSlot(0), hours, rows_max).map_err(|it| it.to_string())
    };
    assert_eq!(of(3), Ok(vec![(one, 3)]));
    assert_eq!(of(2), Err(TooMany::Rows.to_string()));
}
