//! Requests with numbers of producers: each counted once, through cuts, checkpoints, restarts and crashes.

use std::collections::BTreeMap;

use super::*;
use crate::engine::tests::NOW;
use crate::model::idempotency::{HORIZON_MS, WINDOW};
use crate::model::time::Period;
use proptest::prelude::*;

const PRODUCERS: [&[u8]; 3] = [b"one", b"two", &[0xFF, 0]];

fn use_number(place: &Place, producer: &'static [u8], sequence: u64, hits: u64, now: UnixMillis) -> Said {
    try_number(place, Call::Authrep, producer, sequence, hits, now).unwrap()
}

fn try_number(
    place: &Place,
    call: Call,
    producer: &'static [u8],
    sequence: u64,
    hits: u64,
    now: UnixMillis,
) -> Result<Said, Refusal<'static>> {
    use_known(place.engine(), call, "key0", RequestId::Numbered { producer, sequence }, hits, now)
}

fn hits(place: &Place) -> u64 {
    place.world.count(0, 0, Period::Eternity)
}

#[test]
fn a_number_is_counted_once_and_numbers_may_come_in_any_order_within_the_window() {
    let mut place = Place::new(1, 100);
    let conflict = |sequence| {
        Err(Refusal::IdempotencyConflict { id: RequestId::Numbered { producer: b"one", sequence } })
    };
    assert_eq!(use_number(&place, b"one", 7, 3, NOW), Said::Yes(None));
    assert_eq!(use_number(&place, b"one", 3, 1, NOW), Said::Yes(None));
    for _ in 0..2 {
        assert_eq!(use_number(&place, b"one", 7, 3, NOW), Said::Replayed(None));
        assert_eq!(try_number(&place, Call::Authrep, b"one", 7, 4, NOW), conflict(7));
        assert_eq!(try_number(&place, Call::Reserve { ttl_s: 60 }, b"one", 3, 1, NOW), conflict(3));
        place.engine().flush(NOW).unwrap();
        place.crash();
    }
    assert_eq!(use_number(&place, b"two", 7, 5, NOW), Said::Yes(None), "of another producer");
    let id = use_once(place.engine(), Call::Authrep, "key0", "one", 1, NOW);
    assert_eq!(id, Ok(Said::Yes(None)), "an id is not a producer's name");
    let highest = 7 + u64::from(WINDOW);
    assert_eq!(use_number(&place, b"one", highest, 10, NOW), Said::Yes(None));
    for too_old in [1, 3, 7] {
        let said = try_number(&place, Call::Authrep, b"one", too_old, 3, NOW);
        assert_eq!(said, Err(Refusal::SequenceTooOld { highest }));
    }
    assert_eq!(use_number(&place, b"one", 8, 20, NOW), Said::Yes(None));
    assert_eq!(hits(&place), 3 + 1 + 5 + 1 + 10 + 20);
    let numbers = place.engine().id_numbers();
    assert_eq!((numbers.producers, numbers.too_old, numbers.held), (2, 3, 1));
}

#[test]
fn a_denied_request_leaves_its_number_free() {
    let place = Place::new(1, 100);
    place.world.limit(place.world.hits, Period::Eternity, 10);
    assert_eq!(use_number(&place, b"one", 1, 11, NOW), Said::No);
    assert_eq!(use_number(&place, b"one", 1, 10, NOW), Said::Yes(None));
    assert_eq!(use_number(&place, b"one", 2, 1, NOW), Said::No);
    assert_eq!((hits(&place), place.engine().id_numbers().producers), (10, 1));
}

#[test]
fn a_repeated_reservation_is_the_one_that_was_made() {
    let mut place = Place::new(1, 100);
    let reserve = |place: &Place| try_number(place, Call::Reserve { ttl_s: 60 }, b"one", 5, 3, NOW).unwrap();
    let Said::Yes(made @ Some(_)) = reserve(&place) else { panic!("it was not made") };
    assert_eq!(reserve(&place), Said::Replayed(made));
    place.engine().flush(NOW).unwrap();
    place.crash();
    assert_eq!(reserve(&place), Said::Replayed(made));
}

#[test]
fn a_report_has_one_number_and_its_transactions_may_have_ids() {
    let place = Place::new(1, 100);
    let usage = [("hits", Effect::Add(2))];
    let one = Transaction { user_key: Some("key0"), usage: Usage::Amounts(&usage), ..Transaction::default() };
    let transactions = [one, one];
    let report = |sequence, ids: &[Option<&'static [u8]>]| {
        let request = Some(RequestId::Numbered { producer: b"one", sequence });
        let ids = ReportIds { request, transactions: ids };
        place.engine().report_once(&report_of(&transactions), &ids, NOW).map(|it| it.replayed).ok()
    };
    assert_eq!(report(1, &[]), Some(false));
    assert_eq!(report(1, &[]), Some(true));
    assert_eq!(report(2, &[Some(b"a"), None]), Some(false));
    assert_eq!(report(3, &[Some(b"a"), Some(b"b")]), Some(false), "one of two is new");
    assert_eq!(hits(&place), 4 + 4 + 2);
    assert_eq!(place.engine().id_numbers().held, 2);
}

#[test]
fn an_idle_producer_is_forgotten_after_the_horizon_and_makes_room() {
    let mut place = Place::new(1, 100);
    place.world.engine.ids.producers_max = 2;
    assert_eq!(use_number(&place, b"one", 100, 1, NOW), Said::Yes(None));
    let later = UnixMillis(NOW.0 + HORIZON_MS - 1);
    assert_eq!(use_number(&place, b"two", 1, 1, later), Said::Yes(None));
    assert_eq!(use_number(&place, b"one", 100, 1, later), Said::Replayed(None));
    assert_eq!(try_number(&place, Call::Authrep, PRODUCERS[2], 1, 1, later), Err(Refusal::ProducersFull));
    place.engine().flush(later).unwrap();
    let gone = UnixMillis(NOW.0 + HORIZON_MS);
    // It does not lie in the same shard, so it keeps its place; but its numbers begin anew.
    assert_eq!(use_number(&place, b"one", 5, 1, gone), Said::Yes(None));
    assert_eq!(use_number(&place, b"one", 5, 1, gone), Said::Replayed(None));
    place.engine().flush(gone).unwrap();
    place.crash();
    assert_eq!(use_number(&place, b"one", 5, 1, gone), Said::Replayed(None));
    assert_eq!(place.engine().id_numbers().producers, 2);
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Step {
    Use {
        producer: usize,
        sequence: u64,
        hits: u64,
    },
    Flush,
    /// As a checkpoint does.
    Append,
    /// What was not flushed is gone.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly numbers near one another, so that windows move and repetitions come.
    let sequence = (0..6_u64, 1..50_u64).prop_map(|(far, near)| far * 30 + near);
    let step = prop_oneof![
        12 => (0..PRODUCERS.len(), sequence, 1..3_u64)
            .prop_map(|(producer, sequence, hits)| Step::Use { producer, sequence, hits }),
        2 => Just(Step::Flush),
        1 => Just(Step::Append),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

/// All numbers that were counted, and the hits of each.
type Counted = [BTreeMap<u64, u64>; PRODUCERS.len()];

fn expected(counted: &BTreeMap<u64, u64>, sequence: u64, hits: u64) -> Result<Said, u64> {
    let highest = counted.last_key_value().map_or(0, |(highest, _)| *highest);
    match counted.get(&sequence) {
        _ if sequence + u64::from(WINDOW) <= highest => Err(highest),
        None => Ok(Said::Yes(None)),
        Some(known) if *known == hits => Ok(Said::Replayed(None)),
        Some(_) => Err(0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_number_is_counted_once_whatever_comes_between(steps in steps()) {
        let mut place = Place::new(1, 100);
        let (mut live, mut flushed) = (Counted::default(), Counted::default());
        for step in steps {
            match step {
                Step::Use { producer, sequence, hits } => {
                    let said = try_number(&place, Call::Authrep, PRODUCERS[producer], sequence, hits, NOW);
                    let said = said.map_err(|refusal| match refusal {
                        Refusal::SequenceTooOld { highest } => highest,
                        Refusal::IdempotencyConflict { .. } => 0,
                        other => panic!("{other}"),
                    });
                    prop_assert_eq!(said, expected(&live[producer], sequence, hits));
                    if said == Ok(Said::Yes(None)) {
                        live[producer].insert(sequence, hits);
                    }
                }
                Step::Flush => {
                    place.engine().flush(NOW).unwrap();
                    flushed = live.clone();
                }
                Step::Append => place.engine().append_producers(NOW),
                Step::Crash => {
                    place.crash();
                    live = flushed.clone();
                }
            }
            let total: u64 = live.iter().flat_map(BTreeMap::values).sum();
            prop_assert_eq!(hits(&place), total);
        }
    }
}
