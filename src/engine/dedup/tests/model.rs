//! Random requests with ids against a plain model, through cuts, seals, crashes and the horizon.

use proptest::prelude::*;

use super::*;
use crate::engine::tests::NOW;
use crate::model::idempotency::HORIZON_MS;
use crate::model::time::Period;

const APPLICATIONS: usize = 2;
/// Of the first application's hits: some calls are denied.
const LIMIT: u64 = 60;
const KEYS: [&str; APPLICATIONS] = ["key0", "key1"];
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Application and hits.
type Use = (usize, u64);

#[derive(Clone, Debug)]
enum Step {
    Authrep {
        id: usize,
        used: Use,
    },
    Report {
        whole: Option<usize>,
        rows: Vec<(Option<usize>, Use)>,
    },
    Flush,
    /// Freezes, and does not come to the end.
    FailToSeal,
    Seal,
    Crash,
    Wait {
        hours: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Authrep(Use),
    Report(Vec<Use>),
    Transaction(Use),
}

/// Everything that is remembered and counted.
#[derive(Clone, Default)]
struct Model {
    requests: HashMap<usize, (Asked, UnixMillis)>,
    transactions: HashMap<usize, (Asked, UnixMillis)>,
    counts: [u64; APPLICATIONS],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Counted { duplicates: usize },
    Replayed,
    Conflict,
    Denied,
}

fn known(
    ids: &HashMap<usize, (Asked, UnixMillis)>,
    id: usize,
    asked: &Asked,
    now: UnixMillis,
) -> Option<bool> {
    let (before, at) = ids.get(&id)?;
    (now.0 < at.0 + HORIZON_MS).then_some(before == asked)
}

impl Model {
    fn authrep(&mut self, id: usize, used: Use, now: UnixMillis) -> Fate {
        let asked = Asked::Authrep(used);
        match known(&self.requests, id, &asked, now) {
            Some(true) => return Fate::Replayed,
            Some(false) => return Fate::Conflict,
            None => {}
        }
        let (application, hits) = used;
        if application == 0 && self.counts[0] + hits > LIMIT {
            return Fate::Denied;
        }
        self.counts[application] += hits;
        self.requests.insert(id, (asked, now));
        Fate::Counted { duplicates: 0 }
    }

    fn report(&mut self, whole: Option<usize>, rows: &[(Option<usize>, Use)], now: UnixMillis) -> Fate {
        let all = Asked::Report(rows.iter().map(|(_, used)| *used).collect());
        if let Some(id) = whole {
            match known(&self.requests, id, &all, now) {
                Some(true) => return Fate::Replayed,
                Some(false) => return Fate::Conflict,
                None => {}
            }
        }
        let (mut next, mut duplicates) = (self.clone(), 0);
        if let Some(id) = whole {
            next.requests.insert(id, (all, now));
        }
        for (id, used) in rows {
            let asked = Asked::Transaction(*used);
            match id.and_then(|id| known(&next.transactions, id, &asked, now)) {
                Some(true) => {
                    duplicates += 1;
                    continue;
                }
                Some(false) => return Fate::Conflict,
                None => {}
            }
            next.counts[used.0] += used.1;
            if let Some(id) = id {
                next.transactions.insert(*id, (asked, now));
            }
        }
        *self = next;
        if duplicates == rows.len() { Fate::Replayed } else { Fate::Counted { duplicates } }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..NAMES.len();
    let used = || (0..APPLICATIONS, 1..4u64);
    let row = (prop::option::weighted(0.8, id()), used());
    let step = prop_oneof![
        6 => (id(), used()).prop_map(|(id, used)| Step::Authrep { id, used }),
        6 => (prop::option::weighted(0.3, id()), prop::collection::vec(row, 1..4))
            .prop_map(|(whole, rows)| Step::Report { whole, rows }),
        2 => Just(Step::Flush),
        1 => Just(Step::FailToSeal),
        1 => Just(Step::Seal),
        2 => Just(Step::Crash),
        1 => (1..14u64).prop_map(|hours| Step::Wait { hours }),
    ];
    prop::collection::vec(step, 1..60)
}

fn authrep(place: &Place, id: usize, (application, hits): Use, now: UnixMillis) -> Fate {
    match use_once(place.engine(), Call::Authrep, KEYS[application], NAMES[id], hits, now) {
        Ok(Said::Yes(None)) => Fate::Counted { duplicates: 0 },
        Ok(Said::Replayed(None)) => Fate::Replayed,
        Ok(Said::No) => Fate::Denied,
        Err(Refusal::IdempotencyConflict { .. }) => Fate::Conflict,
        other => panic!("{other:?}"),
    }
}

fn report(place: &Place, whole: Option<usize>, rows: &[(Option<usize>, Use)], now: UnixMillis) -> Fate {
    let row = |(id, (application, hits)): &(Option<usize>, Use)| {
        (id.map(|id| NAMES[id]), KEYS[*application], *hits, None)
    };
    let rows: Vec<Row<'_>> = rows.iter().map(row).collect();
    report_once(place.engine(), whole.map(|id| NAMES[id]), &rows, now, |reported| match reported {
        Ok(Reported { replayed: true, .. }) => Fate::Replayed,
        Ok(Reported { duplicates, .. }) => Fate::Counted { duplicates },
        Err(ReportError::Refused(Refusal::IdempotencyConflict { .. })) => Fate::Conflict,
        Err(other) => panic!("{other:?}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_counted_is_what_a_model_that_forgets_nothing_counts(steps in steps()) {
        let mut place = Place::new(APPLICATIONS, 1000);
        place.world.limit(place.world.hits, Period::Eternity, u64::MAX);
        let limited = place.world.applications[0];
        let (service, plan) = (place.world.service, place.world.plan);
        place.engine().change(|draft| {
            let tight = draft.create_plan(service, None, "Tight")?;
            draft.set_limit(tight, place.world.hits, Period::Eternity, LIMIT)?;
            assert_ne!(tight, plan);
            draft.edit_application(limited, |application| application.plan = tight)
        }).unwrap();
        let mut now = NOW;
        place.engine().flush(now).unwrap();
        let mut model = Model::default();
        let mut on_disk = model.clone();
        for step in steps {
            match &step {
                Step::Authrep { id, used } => {
                    prop_assert_eq!(authrep(&place, *id, *used, now), model.authrep(*id, *used, now));
                }
                Step::Report { whole, rows } => {
                    prop_assert_eq!(report(&place, *whole, rows, now), model.report(*whole, rows, now));
                }
                Step::Flush => {
                    place.engine().flush(now).unwrap();
                    on_disk = model.clone();
                }
                Step::FailToSeal => drop(place.engine().freeze_ids(now)),
                Step::Seal => {
                    place.seal(now);
                    on_disk = model.clone();
                }
                Step::Crash => {
                    place.crash();
                    model = on_disk.clone();
                }
                Step::Wait { hours } => now = UnixMillis(now.0 + hours * 3_600_000),
            }
            let counts = [0, 1].map(|application| place.world.count(application, 0, Period::Eternity));
            prop_assert_eq!(counts, model.counts, "after {:?}", step);
        }
    }
}
