//! The store against a plain model, under a manual clock.
//!
//! The model keeps one count per metric, period and window start, for ever. It knows nothing of cells, waiting
//! lists or cuts; that is the point.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::snapshot::SubjectImage;
use super::{Batch, Counters, PendingKind, SHARDS};
use crate::model::amount::{COUNT_MAX, Effect};
use crate::model::id::{ApplicationId, MetricSlot, Subject};
use crate::model::time::{Minute, Period, Windows};

#[derive(Default, Clone)]
struct Model {
    counts: HashMap<(u64, u32, Period, Minute), u64>,
}

impl Model {
    fn apply(&mut self, application: u64, slot: u32, effect: Effect, dated: Minute, now: Minute) {
        for period in Period::ALL {
            let window = Windows::at(dated).start(period);
            if window >= Windows::at(now).start(period) {
                let count = self.counts.entry((application, slot, period, window)).or_default();
                *count = effect.apply(*count).min(COUNT_MAX);
            }
        }
    }

    fn count(&self, application: u64, slot: u32, period: Period, now: Minute) -> u64 {
        let window = Windows::at(now).start(period);
        self.counts.get(&(application, slot, period, window)).copied().unwrap_or(0)
    }
}

/// What the journal would hold: each usage with the number of the cut that took it.
#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    application: u64,
    dated: Minute,
    counted: Minute,
    effects: Vec<(MetricSlot, Effect)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Usage of an application, dated so many minutes from now.
    Use {
        who: u8,
        slots: Vec<(u8, Effect)>,
        offset: i32,
    },
    /// The clock moves by minutes (a step back must change nothing).
    Clock(i32),
    /// The clock moves to just before, at or after the next start of a period's window.
    Boundary(Period, i32),
    Cut,
    Checkpoint,
    Recreate {
        who: u8,
    },
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        8 => (0..50u64).prop_map(Effect::Add),
        1 => Just(Effect::Add(u64::MAX)),
        2 => (0..50u64).prop_map(Effect::Set),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![5 => Just(0), 3 => -2..=2, 2 => -60..=60, 1 => -1440..=0, 1 => Just(-1440)];
    prop_oneof![
        10 => (0..6u8, prop::collection::vec((0..4u8, effect()), 1..4), offset)
            .prop_map(|(who, slots, offset)| Step::Use { who, slots, offset }),
        2 => (-90..90i32).prop_map(Step::Clock),
        3 => (prop::sample::select(Period::ALL.to_vec()), -1..=1).prop_map(|(p, by)| Step::Boundary(p, by)),
        2 => Just(Step::Cut),
        1 => Just(Step::Checkpoint),
        1 => (0..6u8).prop_map(|who| Step::Recreate { who }),
    ]
}

/// A live store beside what a crash would leave: the last checkpoint and the journal.
struct World {
    live: Counters,
    subjects: BTreeMap<u8, (ApplicationId, Subject)>,
    now: Minute,
    next_id: u64,
    model: Model,
    journal: Vec<Entry>,
    cut: u64,
    checkpoint: Vec<(u64, SubjectImage)>,
}

impl World {
    fn new(now: Minute) -> Self {
        World {
            live: Counters::default(),
            subjects: BTreeMap::new(),
            now,
            next_id: 1,
            model: Model::default(),
            journal: Vec::new(),
            cut: 0,
            checkpoint: Vec::new(),
        }
    }

    fn subject(&mut self, who: u8) -> (ApplicationId, Subject) {
        let World { live, subjects, next_id, .. } = self;
        *subjects.entry(who).or_insert_with(|| {
            let application = ApplicationId(*next_id);
            *next_id += 1;
            (application, live.occupy(application))
        })
    }

    fn journal(&mut self, batch: &Batch) {
        self.cut += 1;
        for usage in batch.iter() {
            let as_effect = |amount| match usage.kind {
                PendingKind::Add => Effect::Add(amount),
                PendingKind::Set | PendingKind::Replace => Effect::Set(amount),
            };
            self.journal.push(Entry {
                number: self.cut,
                application: usage.application.0,
                dated: usage.dated,
                counted: usage.counted,
                effects: usage.amounts().map(|(slot, amount)| (slot, as_effect(amount))).collect(),
            });
        }
    }

    fn cut(&mut self) {
        for number in 0..SHARDS {
            let batch = self.live.cut(number, 0, Batch::default());
            self.journal(&batch);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Use { who, slots, offset } => self.usage(*who, slots, *offset),
            Step::Clock(by) => self.now = Minute(self.now.0.max(self.now.0.saturating_add_signed(*by))),
            Step::Boundary(period, by) => {
                let windows = Windows::at(self.now);
                if let Some((_, end)) = crate::model::time::window_secs(*period, &windows) {
                    let end = u32::try_from(end / 60).unwrap().saturating_add_signed(*by);
                    self.now = self.now.max(Minute(end));
                }
            }
            Step::Cut => self.cut(),
            Step::Checkpoint => self.checkpoint(),
            Step::Recreate { who } => {
                if let Some((_, subject)) = self.subjects.remove(who) {
                    self.cut();
                    self.live.vacate(subject);
                }
            }
        }
    }

    fn usage(&mut self, who: u8, slots: &[(u8, Effect)], offset: i32) {
        let (application, subject) = self.subject(who);
        let mut effects = crate::model::usage::Effects::new();
        for (slot, effect) in slots {
            crate::model::usage::push_effect(&mut effects, MetricSlot((*slot).into()), *effect);
        }
        let dated = Minute(self.now.0.saturating_add_signed(offset));
        let claimed = if dated > self.now { effects.len() } else { 0 };
        assert!(self.live.reserve_waiting(claimed));
        let mut guard = self.live.lock(subject, 0, self.now).unwrap();
        guard.apply(Some(dated), &effects, claimed);
        for (slot, effect) in &effects {
            self.model.apply(application.0, slot.0, *effect, dated, self.now);
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoint.clear();
        for number in 0..SHARDS {
            let mut from = Some(0);
            while let Some(place) = from {
                let mut images = Vec::new();
                // One byte at most: a piece for each subject, with steps in between allowed.
                let copied = self.live.copy(number, place, 1, Batch::default(), &mut images);
                self.journal(&copied.pending);
                self.checkpoint.extend(images.into_iter().map(|image| (self.cut, image)));
                from = copied.next;
            }
        }
    }

    fn check(&self, store: &Counters, subjects: &BTreeMap<u64, Subject>, now: Minute) {
        for (application, subject) in subjects {
            let guard = store.lock(*subject, 0, now).unwrap();
            for slot in 0..4 {
                for period in Period::ALL {
                    assert_eq!(
                        guard.count(MetricSlot(slot), period),
                        self.model.count(*application, slot, period, now),
                        "application {application} slot {slot} {period:?} at {now:?}"
                    );
                }
            }
        }
    }

    /// What a crash now and a start would make of the last checkpoint and the journal.
    fn recover(&self) -> (Counters, BTreeMap<u64, Subject>) {
        let store = Counters::default();
        // Other places than before: nothing may depend on who shares a shard with whom.
        let spread = store.occupy(ApplicationId(u64::MAX));
        let live = self.subjects.values().rev();
        let subjects: BTreeMap<u64, Subject> = live.map(|(id, _)| (id.0, store.occupy(*id))).collect();
        store.vacate(spread);
        let mut stamps = HashMap::new();
        for (stamp, image) in &self.checkpoint {
            if let Some(subject) = subjects.get(&image.application.0) {
                store.restore(*subject, image);
                stamps.insert(image.application.0, *stamp);
            }
        }
        for entry in &self.journal {
            let included = stamps.get(&entry.application).is_some_and(|stamp| entry.number <= *stamp);
            if let (false, Some(subject)) = (included, subjects.get(&entry.application)) {
                store.replay(*subject, entry.dated, entry.counted, &entry.effects);
            }
        }
        (store, subjects)
    }
}

fn minute_of(text: &str) -> Minute {
    let at: jiff::Timestamp = text.parse().unwrap();
    Minute(u32::try_from(at.as_second() / 60).unwrap())
}

fn starts() -> Vec<Minute> {
    ["2026-11-22T13:45:00Z", "2028-02-28T23:58:00Z", "2026-12-31T23:50:00Z", "2027-01-03T23:59:00Z"]
        .map(minute_of)
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn counts_like_the_plain_model_and_replay_equals_live(
        start in prop::sample::select(starts()),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(start);
        for step in &steps {
            world.step(step);
            let subjects = world.subjects.values().map(|(id, subject)| (id.0, *subject)).collect();
            world.check(&world.live, &subjects, world.now);
        }
        world.cut();
        let (recovered, subjects) = world.recover();
        let later = [0, 1, 2, 59, 60, 61, 1439, 1440, 7 * 1440, 31 * 1440];
        let live = world.subjects.values().map(|(id, subject)| (id.0, *subject)).collect();
        for by in later {
            let now = Minute(world.now.0 + by);
            world.check(&recovered, &subjects, now);
            world.check(&world.live, &live, now);
        }
        prop_assert_eq!(recovered.waiting(), world.live.waiting());
    }
}

#[test]
fn reported_offsets_around_every_boundary_land_in_their_windows() {
    for start in starts() {
        for period in Period::ALL {
            let Some((_, end)) = crate::model::time::window_secs(period, &Windows::at(start)) else {
                continue;
            };
            let end = u32::try_from(end / 60).unwrap();
            for now in [end - 1, end, end + 1] {
                for seconds in [-86_400_i64, -3601, -61, 0, 1, 60, 3600] {
                    let mut world = World::new(Minute(now));
                    let dated = (i64::from(now) * 60 + 30 + seconds) / 60;
                    let offset = i32::try_from(dated - i64::from(now)).unwrap();
                    world.step(&Step::Use { who: 0, slots: vec![(0, Effect::Add(3))], offset });
                    let subjects = world.subjects.values().map(|(id, it)| (id.0, *it)).collect();
                    for later in 0..=61 {
                        world.check(&world.live, &subjects, Minute(now + later));
                    }
                }
            }
        }
    }
}

#[test]
fn a_future_dated_report_resets_nothing() {
    let store = Counters::default();
    let subject = store.occupy(ApplicationId(1));
    let now = minute_of("2026-11-22T13:59:00Z");
    let hits = MetricSlot(0);
    store.lock(subject, 0, now).unwrap().apply(None, &[(hits, Effect::Add(9))], 0);
    assert!(store.reserve_waiting(1));
    store.lock(subject, 0, now).unwrap().apply(Some(Minute(now.0 + 60)), &[(hits, Effect::Add(1))], 1);
    let guard = store.lock(subject, 0, now).unwrap();
    assert_eq!((guard.count(hits, Period::Minute), guard.count(hits, Period::Hour)), (9, 9));
    assert_eq!(guard.count(hits, Period::Day), 10);
    drop(guard);
    assert_eq!(store.waiting(), 1);
    let guard = store.lock(subject, 0, Minute(now.0 + 60)).unwrap();
    assert_eq!((guard.count(hits, Period::Minute), guard.count(hits, Period::Hour)), (1, 1));
    drop(guard);
    assert_eq!(store.waiting(), 0);
}

#[test]
fn a_stale_holder_is_told() {
    let store = Counters::default();
    let first = store.occupy(ApplicationId(1));
    store.vacate(first);
    let second = store.occupy(ApplicationId(2));
    assert_eq!(first.index, second.index);
    assert!(store.lock(first, 0, Minute(0)).is_err());
    assert!(store.lock(second, 0, Minute(0)).is_ok());
    store.cut(second.index % SHARDS, 7, Batch::default());
    assert!(store.lock(second, 6, Minute(0)).is_err());
    assert!(store.lock(second, 7, Minute(0)).is_ok());
    assert!(store.lock(Subject::NONE, 7, Minute(0)).is_err());
    // Nor may anything be decided under a newer catalog before its cut has come.
    assert!(store.lock(second, 8, Minute(0)).is_err());
}

#[test]
fn sets_of_the_same_future_counter_take_the_room_of_one() {
    let store = Counters::default();
    let subject = store.occupy(ApplicationId(1));
    for value in 0..1000 {
        assert!(store.reserve_waiting(1));
        let effects = [(MetricSlot(0), Effect::Set(value))];
        store.lock(subject, 0, Minute(600)).unwrap().apply(Some(Minute(660)), &effects, 1);
    }
    assert_eq!(store.waiting(), 1);
    let guard = store.lock(subject, 0, Minute(660)).unwrap();
    assert_eq!(guard.count(MetricSlot(0), Period::Minute), 999);
}

#[test]
fn waiting_room_is_bounded() {
    let store = Counters::default();
    assert!(store.reserve_waiting(super::WAITING_MAX));
    assert!(!store.reserve_waiting(1));
    store.release_waiting(1);
    assert!(store.reserve_waiting(1));
}
