//! The side table against a plain list of reservations, under a manual clock; and its bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Holds, Taken};
use crate::model::id::MetricSlot;
use crate::model::reservation::{
    Amounts, EXPIRED_MAX, HOLDS_MAX, REMEMBERED_S, ReservationId, TTL_MAX_S, TTL_MIN_S,
};
use crate::model::time::UnixMillis;

const PLACES: u32 = 3;
const SLOTS: u32 = 4;

fn amounts(some: &[(u32, u64)]) -> Amounts {
    some.iter().map(|(slot, amount)| (MetricSlot(*slot), *amount)).collect()
}

/// One reservation that has not been taken out.
#[derive(Clone, Debug)]
struct Made {
    id: ReservationId,
    amounts: Amounts,
}

/// Each subject's reservations in the order in which they were made; works everything out from the ids.
#[derive(Default)]
struct Model {
    made: BTreeMap<u32, Vec<Made>>,
}

impl Model {
    /// The remembered ones of a subject: those that expired within the hour, the latest so many.
    fn tidy(&mut self, place: u32, now: UnixMillis) {
        let all = self.made.entry(place).or_default();
        all.retain(|it| !it.id.is_forgotten(now));
        let mut expired: Vec<_> = all.iter().map(|it| it.id).filter(|id| id.has_expired(now)).collect();
        expired.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(first_too_many) = expired.get(EXPIRED_MAX) {
            all.retain(|it| it.id > *first_too_many);
        }
    }

    fn sum(&self, place: u32, slot: u32, now: UnixMillis) -> u128 {
        let open = self.made.get(&place).into_iter().flatten().filter(|it| !it.id.has_expired(now));
        let on_slot = open.flat_map(|it| &it.amounts).filter(|(on, _)| on.0 == slot);
        on_slot.map(|(_, amount)| u128::from(*amount)).sum()
    }

    fn open(&self, place: u32, now: UnixMillis) -> usize {
        self.made.get(&place).map_or(0, |all| all.iter().filter(|it| !it.id.has_expired(now)).count())
    }

    fn take(&mut self, place: u32, id: ReservationId, now: UnixMillis) -> Taken {
        let all = self.made.entry(place).or_default();
        match all.iter().position(|it| it.id == id).map(|at| all.remove(at)) {
            Some(it) if !id.has_expired(now) => Taken::Open(it.amounts),
            Some(_) => Taken::Expired,
            None => Taken::Unknown,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Hold {
        place: u32,
        ttl_s: u64,
        amounts: Amounts,
        times: usize,
    },
    /// Takes out the one that was made that many before the last, by whomever.
    Take {
        place: u32,
        back: usize,
    },
    Wait {
        ms: u64,
    },
    Sweep,
    /// What a checkpoint, or a journal of what was made and taken out, has of it.
    Restore {
        from_journal: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![Just(TTL_MIN_S), 1..20_u64, Just(TTL_MAX_S), 1..TTL_MAX_S];
    let amount = prop_oneof![4 => 1..9_u64, 1 => Just(u64::MAX)];
    let some = prop::collection::btree_map(0..SLOTS, amount, 0..4);
    let times = prop_oneof![6 => Just(1_usize), 1 => 2..70_usize];
    let ms = prop_oneof![3 => 0..3_000_u64, 2 => 0..30_000_u64, 1 => 0..4_000_000_u64];
    prop_oneof![
        6 => (0..PLACES, ttl, some, times).prop_map(|(place, ttl_s, some, times)| {
            let some: Vec<_> = some.into_iter().collect();
            Step::Hold { place, ttl_s, amounts: amounts(&some), times }
        }),
        5 => (0..PLACES, 0..80_usize).prop_map(|(place, back)| Step::Take { place, back }),
        4 => ms.prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Sweep),
        1 => any::<bool>().prop_map(|from_journal| Step::Restore { from_journal }),
    ]
}

/// The table beside the model, and what was written down of it.
#[derive(Default)]
struct World {
    holds: Holds,
    model: Model,
    now: UnixMillis,
    ids: Vec<ReservationId>,
    journal: Vec<(u32, ReservationId, Option<Amounts>)>,
}

impl World {
    fn expire(&mut self, place: u32) {
        let World { holds, journal, now, model, .. } = self;
        let open = holds.expire(place, *now, |id| journal.push((place, id, None)));
        model.tidy(place, *now);
        assert_eq!(open, model.open(place, *now) > 0);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Hold { place, ttl_s, amounts, times } => {
                (0..*times).for_each(|_| self.hold(*place, *ttl_s, amounts));
            }
            Step::Take { place, back } => {
                self.expire(*place);
                let Some(id) = self.ids.iter().rev().nth(*back).copied() else { return };
                let taken = self.holds.take(*place, id);
                assert_eq!(taken, self.model.take(*place, id, self.now));
                if matches!(taken, Taken::Open(_) | Taken::Expired) {
                    self.journal.push((*place, id, None));
                }
            }
            Step::Wait { ms } => self.now.0 += ms,
            Step::Sweep => {
                let mut emptied = Vec::new();
                self.holds.sweep(self.now, 2, |place| emptied.push(place));
                assert!(emptied.iter().all(|place| self.model.open(*place, self.now) == 0));
            }
            Step::Restore { from_journal } => self.restore(*from_journal),
        }
    }

    fn hold(&mut self, place: u32, ttl_s: u64, amounts: &Amounts) {
        self.expire(place);
        let id = self.holds.add(place, ttl_s, amounts.clone());
        assert_eq!(id.is_some(), self.model.open(place, self.now) < HOLDS_MAX);
        let Some(id) = id else { return };
        assert!(!self.ids.contains(&id), "an id comes again");
        assert!(id.expires_s() * 1000 >= self.now.0 + ttl_s * 1000);
        assert!(id.expires_s() * 1000 < self.now.0 + (ttl_s + 1) * 1000);
        self.ids.push(id);
        self.model.made.entry(place).or_default().push(Made { id, amounts: amounts.clone() });
        self.journal.push((place, id, Some(amounts.clone())));
    }

    fn restore(&mut self, from_journal: bool) {
        let mut holds = Holds::default();
        holds.begin_numbers(self.holds.number);
        if from_journal {
            for (place, id, held) in &self.journal {
                match held {
                    Some(amounts) => holds.put(*place, *id, amounts.clone()),
                    None => holds.remove(*place, *id),
                }
            }
        } else {
            for place in 0..PLACES {
                for image in self.holds.images(place) {
                    holds.put(place, image.id, image.amounts.as_slice().into());
                }
            }
        }
        self.holds = holds;
    }

    fn check(&mut self) {
        for place in 0..PLACES {
            self.expire(place);
            for slot in 0..SLOTS {
                let sums = self.holds.sums(place);
                let sum = sums.iter().find(|(on, _)| on.0 == slot).map_or(0, |(_, sum)| *sum);
                assert_eq!(sum, self.model.sum(place, slot, self.now), "place {place} slot {slot}");
            }
            let images = self.holds.images(place);
            let ids: Vec<_> = images.iter().map(|image| image.id).collect();
            let mut expected: Vec<_> = self.model.made[&place].iter().map(|it| it.id).collect();
            expected.sort_unstable();
            assert_eq!(ids, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn holds_like_the_plain_list(
        start in 1_795_000_000_000..1_795_000_010_000_u64,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World { now: UnixMillis(start), ..World::default() };
        for step in &steps {
            world.step(step);
            // Not after each: what nobody looks at must come to the same.
            if world.now.0.is_multiple_of(3) {
                world.check();
            }
        }
        world.check();
    }
}

#[test]
fn what_expires_at_the_same_second_expires_together_and_in_full() {
    let mut holds = Holds::default();
    let now = UnixMillis(10_000);
    holds.expire(0, now, |_| ());
    for _ in 0..HOLDS_MAX {
        holds.add(0, 5, amounts(&[(0, u64::MAX)])).unwrap();
    }
    assert_eq!(holds.add(0, 5, Amounts::new()), None);
    assert_eq!(holds.sums(0), [(MetricSlot(0), 64 * u128::from(u64::MAX))]);
    assert!(holds.expire(0, UnixMillis(14_999), |_| ()));
    assert!(!holds.expire(0, UnixMillis(15_000), |_| panic!("as many are remembered")));
    assert_eq!(holds.sums(0), []);
    // A clock that is behind brings nothing back.
    assert!(!holds.expire(0, now, |_| ()));
    assert_eq!(holds.images(0).len(), EXPIRED_MAX);
}

#[test]
fn one_more_than_is_remembered_is_forgotten() {
    let mut holds = Holds::default();
    let mut ids = Vec::new();
    let mut forgotten = Vec::new();
    for second in 0..=EXPIRED_MAX as u64 {
        holds.expire(0, UnixMillis(second * 2000), |id| forgotten.push(id));
        ids.push(holds.add(0, 1, amounts(&[(0, 1)])).unwrap());
    }
    assert_eq!(forgotten, []);
    let end = UnixMillis(EXPIRED_MAX as u64 * 2000 + 1000);
    assert!(!holds.expire(0, end, |id| forgotten.push(id)));
    assert_eq!(forgotten, [ids[0]]);
    assert_eq!(holds.take(0, ids[0]), Taken::Unknown);
    assert_eq!(holds.take(0, ids[1]), Taken::Expired);
    assert_eq!(holds.take(0, ids[1]), Taken::Unknown);
}

#[test]
fn a_sweep_gives_back_what_is_long_over_a_few_subjects_at_a_time() {
    let mut holds = Holds::default();
    holds.expire(0, UnixMillis(1000), |_| ());
    for place in 0..10 {
        holds.add(place, 1, amounts(&[(0, 1)])).unwrap();
    }
    let mut emptied = Vec::new();
    for _ in 0..3 {
        holds.sweep(UnixMillis(2000), 4, |place| emptied.push(place));
    }
    assert_eq!(emptied, (0..10).collect::<Vec<_>>());
    assert_eq!(holds.subjects.len(), 10, "they are remembered");
    for _ in 0..3 {
        holds.sweep(UnixMillis((2 + REMEMBERED_S) * 1000), 4, |_| ());
    }
    assert_eq!(holds.subjects.len(), 0);
}

#[test]
fn a_clock_that_was_set_back_drops_what_was_made_at_a_time_that_has_not_come() {
    let mut holds = Holds::default();
    holds.expire(0, UnixMillis(20_000_000), |_| ());
    let late = holds.add(0, TTL_MAX_S, amounts(&[(0, 1)])).unwrap();
    holds.rewind(UnixMillis(10_000_000));
    holds.expire(0, UnixMillis(10_000_000), |_| ());
    assert_eq!(holds.take(0, late), Taken::Unknown);
    let kept = holds.add(0, TTL_MAX_S, amounts(&[(0, 1)])).unwrap();
    holds.rewind(UnixMillis(10_000_000));
    assert_eq!(holds.take(0, kept), Taken::Open(amounts(&[(0, 1)])));
}
