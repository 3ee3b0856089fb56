//! Counts and holds of one application against a plain model that keeps everything for ever, through restarts.

use std::time::Duration;

use proptest::prelude::*;

use super::super::request::{Call, Transaction, Usage};
use super::super::tests::{NOW, World, report_of};
use super::super::{Engine, Recovery};
use super::tests::{HITS, SEARCH, call, cancel, commit, image};
use crate::counter::snapshot::SubjectImage;
use crate::journal::{Journal, Options, Sequence};
use crate::model::amount::Effect;
use crate::model::decision::Refusal;
use crate::model::id::MetricSlot;
use crate::model::reservation::{Cancelled, Committed, EXPIRED_MAX, HOLDS_MAX, ReservationId, TTL_MAX_S};
use crate::model::time::{Period, UnixMillis, Windows};

/// The limits of the model's plan.
const LIMITS: [(MetricSlot, Period, u64); 4] = [
    (HITS, Period::Eternity, 400),
    (HITS, Period::Hour, 120),
    (SEARCH, Period::Minute, 40),
    (SEARCH, Period::Day, 200),
];

#[derive(Clone, Debug)]
struct Made {
    id: ReservationId,
    /// By slot.
    amounts: [u64; 2],
}

/// Everything that was ever counted, and every reservation that was not taken out.
#[derive(Default)]
struct Model {
    counted: Vec<(UnixMillis, MetricSlot, u64)>,
    made: Vec<Made>,
}

/// What usage of a metric (0 hits, 1 search below it) does to each slot.
fn propagated(metric: usize, amount: u64) -> [u64; 2] {
    if metric == 0 { [amount, 0] } else { [amount, amount] }
}

impl Model {
    fn count(&self, slot: MetricSlot, period: Period, now: UnixMillis) -> u64 {
        let start = Windows::at(now.minute()).start(period);
        let in_window =
            |at: &UnixMillis| Windows::at(at.minute()).start(period) == start || period == Period::Eternity;
        self.counted
            .iter()
            .filter(|(at, on, _)| *on == slot && in_window(at))
            .map(|(.., amount)| amount)
            .sum()
    }

    fn held(&self, slot: MetricSlot, now: UnixMillis) -> u64 {
        let open = self.made.iter().filter(|it| !it.id.has_expired(now));
        open.map(|it| it.amounts[slot.0 as usize]).sum()
    }

    fn fits(&self, amounts: [u64; 2], now: UnixMillis) -> bool {
        LIMITS.iter().all(|(slot, period, max)| {
            let amount = amounts[slot.0 as usize];
            amount == 0 || self.count(*slot, *period, now) + self.held(*slot, now) + amount <= *max
        })
    }

    fn add(&mut self, amounts: [u64; 2], now: UnixMillis) {
        for (slot, amount) in [HITS, SEARCH].into_iter().zip(amounts) {
            self.counted.push((now, slot, amount));
        }
    }

    /// Forgets what nobody remembers.
    fn tidy(&mut self, now: UnixMillis) {
        self.made.retain(|it| !it.id.is_forgotten(now));
        let mut expired: Vec<_> = self.made.iter().map(|it| it.id).filter(|id| id.has_expired(now)).collect();
        expired.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(first_too_many) = expired.get(EXPIRED_MAX) {
            self.made.retain(|it| it.id > *first_too_many);
        }
    }

    fn take(&mut self, id: ReservationId) -> Option<Made> {
        let at = self.made.iter().position(|it| it.id == id)?;
        Some(self.made.remove(at))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        metric: usize,
        amount: u64,
        ttl_s: u64,
        times: usize,
    },
    /// Commits the one that was made that many before the last, with so much more or less than it held.
    Commit {
        back: usize,
        metric: usize,
        amount: u64,
    },
    Cancel {
        back: usize,
    },
    Authrep {
        metric: usize,
        amount: u64,
    },
    Report {
        metric: usize,
        amount: u64,
    },
    Wait {
        ms: u64,
    },
    /// A command that changes nothing here: what comes after it is of another catalog.
    Command,
    Flush,
    /// What a checkpoint copies.
    Copy,
    Restart {
        from_copy: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let metric = || 0..2_usize;
    let amount = || 0..30_u64;
    let ttl = prop_oneof![1..5_u64, 1..100_u64, Just(TTL_MAX_S)];
    let times = prop_oneof![8 => Just(1_usize), 1 => 2..70_usize];
    let ms = prop_oneof![3 => 0..3_000_u64, 3 => 0..70_000_u64, 1 => 0..4_000_000_u64];
    prop_oneof![
        8 => (metric(), amount(), ttl, times)
            .prop_map(|(metric, amount, ttl_s, times)| Step::Reserve { metric, amount, ttl_s, times }),
        8 => (prop_oneof![0..4_usize, 0..80_usize], metric(), amount())
            .prop_map(|(back, metric, amount)| Step::Commit { back, metric, amount }),
        3 => (0..4_usize).prop_map(|back| Step::Cancel { back }),
        4 => (metric(), amount()).prop_map(|(metric, amount)| Step::Authrep { metric, amount }),
        1 => (metric(), amount()).prop_map(|(metric, amount)| Step::Report { metric, amount }),
        4 => ms.prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Command),
        2 => Just(Step::Flush),
        1 => Just(Step::Copy),
        1 => any::<bool>().prop_map(|from_copy| Step::Restart { from_copy }),
    ]
}

/// What a checkpoint has.
struct Copied {
    begin: Sequence,
    pieces: Vec<(Sequence, SubjectImage)>,
    records: Vec<u8>,
    version: u64,
    at: Sequence,
}

impl Copied {
    fn of(engine: &Engine) -> Copied {
        let mut pieces = Vec::new();
        let begin = engine.copy_counters(|stamp, images| {
            pieces.extend(images.iter().cloned().map(|image| (stamp, image)));
            Ok::<_, std::convert::Infallible>(())
        });
        let (catalog, at) = engine.copy_catalog();
        let mut records = Vec::new();
        let changes: Vec<_> = catalog.changes().collect();
        crate::journal::catalog::encode(&changes, catalog.next_id, &mut records);
        Copied { begin: begin.unwrap(), pieces, records, version: catalog.version, at }
    }

    /// The engine that a start makes of it and the journal after it.
    fn open(&self, dir: &std::path::Path) -> Engine {
        let mut recovery = Recovery::default();
        recovery.catalog(&self.records, self.version, self.at).unwrap();
        for (stamp, image) in &self.pieces {
            recovery.counters(*stamp, image);
        }
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let (journal, _) =
            Journal::open(&dir.join("journal"), Options::default(), self.begin, visit).unwrap();
        recovery.finish(journal, [3; 16])
    }
}

struct Run {
    world: World,
    model: Model,
    now: UnixMillis,
    ids: Vec<ReservationId>,
    copied: Option<Copied>,
    commands: u64,
}

impl Run {
    fn new() -> Run {
        let world = World::new(1);
        for (slot, period, max) in LIMITS {
            let metric = if slot == HITS { world.hits } else { world.search };
            world.limit(metric, period, max);
        }
        Run { world, model: Model::default(), now: NOW, ids: Vec::new(), copied: None, commands: 0 }
    }

    fn step(&mut self, step: &Step) {
        self.model.tidy(self.now);
        // Without a flusher a slow machine looks like a disk that hangs, and commands and reports would be refused.
        if self.world.engine.flush_health().unflushed_age > Duration::from_secs(1) {
            self.world.engine.flush(self.now).unwrap();
        }
        match *step {
            Step::Reserve { metric, amount, ttl_s, times } => {
                (0..times).for_each(|_| self.reserve(metric, amount, ttl_s));
            }
            Step::Commit { back, metric, amount } => self.commit(back, metric, amount),
            Step::Cancel { back } => self.cancel(back),
            Step::Authrep { metric, amount } => self.authrep(metric, amount),
            Step::Report { metric, amount } => self.report(metric, amount),
            Step::Wait { ms } => self.now.0 += ms,
            Step::Command => {
                self.commands += 1;
                self.world.limit(self.world.hits, Period::Year, 1_000_000 + self.commands);
            }
            Step::Flush => self.world.engine.flush(self.now).unwrap(),
            Step::Copy => self.copied = Some(Copied::of(&self.world.engine)),
            Step::Restart { from_copy } => self.restart(from_copy),
        }
    }

    fn reserve(&mut self, metric: usize, amount: u64, ttl_s: u64) {
        let amounts = propagated(metric, amount);
        let usage = [(["hits", "search"][metric], Effect::Add(amount))];
        let answer = call(&self.world.engine, Call::Reserve { ttl_s }, &usage, self.now);
        let open = self.model.made.iter().filter(|it| !it.id.has_expired(self.now)).count();
        // Without an amount it asks no less: every limit on what it names must hold.
        let fits = self.model.fits(amounts, self.now) && (amount > 0 || self.within_all(metric));
        match answer {
            Err(refusal) => {
                assert!(fits && open == HOLDS_MAX && refusal == Refusal::TooManyReservations);
            }
            Ok(None) => assert!(!fits),
            Ok(Some(id)) => {
                assert!(fits && open < HOLDS_MAX);
                self.model.made.push(Made { id: id.unwrap(), amounts });
                self.ids.push(id.unwrap());
            }
        }
    }

    /// Whether all limits on what a metric touches hold as it is.
    fn within_all(&self, metric: usize) -> bool {
        let touched = |slot: MetricSlot| slot == HITS || metric == 1;
        LIMITS.iter().filter(|(slot, ..)| touched(*slot)).all(|(slot, period, max)| {
            self.model.count(*slot, *period, self.now) + self.model.held(*slot, self.now) <= *max
        })
    }

    fn commit(&mut self, back: usize, metric: usize, amount: u64) {
        let Some(id) = self.ids.iter().rev().nth(back).copied() else { return };
        let used = propagated(metric, amount);
        let usage = [(["hits", "search"][metric], Effect::Add(amount))];
        let expected = match self.model.take(id) {
            None => Err(Refusal::ReservationUnknown),
            Some(_) if id.has_expired(self.now) => Ok(Committed::Expired),
            Some(made) if (0..2).all(|slot| used[slot] <= made.amounts[slot]) => Ok(Committed::Within),
            Some(_) => Ok(Committed::Overrun),
        };
        assert_eq!(commit(&self.world.engine, id, &usage, self.now), expected, "{id}");
        if expected.is_ok() {
            self.model.add(used, self.now);
        }
    }

    fn cancel(&mut self, back: usize) {
        let Some(id) = self.ids.iter().rev().nth(back).copied() else { return };
        let expected = match self.model.take(id) {
            None => Err(Refusal::ReservationUnknown),
            Some(_) if id.has_expired(self.now) => Ok(Cancelled::Expired),
            Some(_) => Ok(Cancelled::Released),
        };
        assert_eq!(cancel(&self.world.engine, id, self.now), expected);
    }

    fn authrep(&mut self, metric: usize, amount: u64) {
        let amounts = propagated(metric, amount);
        let usage = [(["hits", "search"][metric], Effect::Add(amount))];
        let fits = self.model.fits(amounts, self.now) && (amount > 0 || self.within_all(metric));
        let answer = call(&self.world.engine, Call::Authrep, &usage, self.now).unwrap();
        assert_eq!(answer, fits.then_some(None));
        if fits {
            self.model.add(amounts, self.now);
        }
    }

    fn report(&mut self, metric: usize, amount: u64) {
        let usage = [(["hits", "search"][metric], Effect::Add(amount))];
        let transactions =
            [Transaction { user_key: Some("key0"), usage: Usage::Amounts(&usage), ..Transaction::default() }];
        self.world.engine.report(&report_of(&transactions), self.now).unwrap();
        self.model.add(propagated(metric, amount), self.now);
    }

    fn restart(&mut self, from_copy: bool) {
        self.world.engine.flush(self.now).unwrap();
        if let Some(copied) = self.copied.as_ref().filter(|_| from_copy) {
            self.world.engine = copied.open(self.world.dir.path());
        } else {
            self.world.reopen_at(self.now);
        }
    }

    fn check(&mut self) {
        self.model.tidy(self.now);
        let image = image(&self.world, self.now);
        let windows = Windows::at(self.now.minute());
        for slot in [HITS, SEARCH] {
            assert_eq!(image.reserved(slot, self.now), self.model.held(slot, self.now), "held of {slot:?}");
            for period in Period::ALL {
                let cell = image.cells.iter().find(|cell| cell.slot == slot);
                let count = cell.map_or(0, |cell| cell.count(period, &windows));
                assert_eq!(count, self.model.count(slot, period, self.now), "{slot:?} {period:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn counts_and_holds_like_the_plain_model_through_restarts(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.restart(false);
        run.check();
        if run.copied.is_some() {
            run.restart(true);
            run.check();
        }
    }
}
