//! One thing at a time.

use super::*;
use crate::engine::tests::NOW;
use crate::engine::{BindRequest, BoundRequest, Scope};
use crate::model::id::MetricSlot;
use crate::model::idempotency::HORIZON_MS;
use crate::model::time::Period;

const AUTHREP: Call = Call::Authrep;
const RESERVE: Call = Call::Reserve { ttl_s: 60 };

fn hits(place: &Place, application: usize) -> u64 {
    place.world.count(application, 0, Period::Eternity)
}

#[test]
fn a_repetition_is_a_success_and_counts_nothing_wherever_its_id_is() {
    let mut place = Place::new(1, 100);
    let again = |place: &Place| use_once(place.engine(), AUTHREP, "key0", "a", 3, NOW);
    assert_eq!(again(&place), Ok(Said::Yes(None)));
    assert_eq!(again(&place), Ok(Said::Replayed(None)), "hot");
    let frozen = place.engine().freeze_ids(NOW);
    assert_eq!(frozen.ids.len(), 1);
    assert_eq!(again(&place), Ok(Said::Replayed(None)), "frozen");
    place.seal(NOW);
    assert_eq!(place.engine().id_numbers().hot, 0);
    assert_eq!(again(&place), Ok(Said::Replayed(None)), "past");
    place.crash();
    assert_eq!(again(&place), Ok(Said::Replayed(None)), "past after a restart");
    assert_eq!(hits(&place, 0), 3);
    assert_eq!(use_once(place.engine(), AUTHREP, "key0", "b", 3, NOW), Ok(Said::Yes(None)));
    place.engine().flush(NOW).unwrap();
    place.crash();
    assert_eq!(use_once(place.engine(), AUTHREP, "key0", "b", 3, NOW), Ok(Said::Replayed(None)), "replayed");
    assert_eq!(hits(&place, 0), 6);
    let numbers = place.engine().id_numbers();
    assert_eq!((numbers.hot, numbers.held, numbers.duplicates), (1, 2, 1));
}

#[test]
fn another_request_under_the_same_id_is_a_conflict_and_counts_nothing() {
    let place = Place::new(2, 100);
    let engine = place.engine();
    let conflict = Err(Refusal::IdempotencyConflict { id: RequestId::Key(b"a") });
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 3, NOW), Ok(Said::Yes(None)));
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 4, NOW), conflict);
    assert_eq!(use_once(engine, AUTHREP, "key1", "a", 3, NOW), conflict);
    assert_eq!(use_once(engine, RESERVE, "key0", "a", 3, NOW), conflict);
    place.seal(NOW);
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 4, NOW), conflict);
    assert_eq!((hits(&place, 0), hits(&place, 1)), (3, 0));
    assert_eq!(engine.id_numbers().conflicts, 4);
}

#[test]
fn what_was_denied_is_not_remembered_and_a_repetition_is_a_yes_even_when_nothing_is_left() {
    let place = Place::new(1, 100);
    place.world.limit(place.world.hits, Period::Eternity, 10);
    let engine = place.engine();
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 11, NOW), Ok(Said::No));
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 10, NOW), Ok(Said::Yes(None)));
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 10, NOW), Ok(Said::Replayed(None)));
    assert_eq!(use_once(engine, AUTHREP, "key0", "b", 1, NOW), Ok(Said::No));
    assert_eq!((hits(&place, 0), engine.id_numbers().held), (10, 1));
}

#[test]
fn a_repeated_reservation_is_the_one_that_was_made() {
    let mut place = Place::new(1, 100);
    let Ok(Said::Yes(made @ Some(_))) = use_once(place.engine(), RESERVE, "key0", "a", 3, NOW) else {
        panic!("not reserved");
    };
    assert_eq!(use_once(place.engine(), RESERVE, "key0", "a", 3, NOW), Ok(Said::Replayed(made)));
    assert_eq!(place.engine().open_reservations(), 1);
    place.seal(NOW);
    place.crash();
    assert_eq!(use_once(place.engine(), RESERVE, "key0", "a", 3, NOW), Ok(Said::Replayed(made)));
    assert_eq!(place.engine().open_reservations(), 1);
}

#[test]
fn by_handle_and_by_name_are_the_same_request() {
    let place = Place::new(1, 100);
    let engine = place.engine();
    let bind = BindRequest {
        credentials: credentials(),
        app_id: None,
        user_key: Some("key0"),
        app_key: None,
        metrics: &["hits"],
    };
    let handle = engine.moment(NOW).bind(&bind).unwrap().unwrap().handle;
    let usage = [(MetricSlot(0), Effect::Add(3))];
    let bound = |id: &'static str| {
        let request = BoundRequest {
            call: AUTHREP,
            usage: &usage,
            flat_usage: false,
            log_code: None,
            referrer: None,
            all_reports: false,
        };
        engine.moment(NOW).bound_once(
            handle,
            Scope::Node,
            &request,
            RequestId::Key(id.as_bytes()),
            |answer| answer.replayed,
        )
    };
    assert_eq!(bound("a"), Ok(false));
    assert_eq!(bound("a"), Ok(true));
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 3, NOW), Ok(Said::Replayed(None)));
    assert_eq!(use_once(engine, AUTHREP, "key0", "b", 3, NOW), Ok(Said::Yes(None)));
    assert_eq!(bound("b"), Ok(true));
    assert_eq!(hits(&place, 0), 6);
}

#[test]
fn an_id_is_forgotten_after_the_horizon_even_if_the_past_still_has_it() {
    let place = Place::new(1, 100);
    let engine = place.engine();
    let late = UnixMillis(NOW.0 + HORIZON_MS);
    let just_before = UnixMillis(late.0 - 1);
    for id in ["hot", "past"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 1, NOW), Ok(Said::Yes(None)));
        if id == "hot" {
            place.seal(NOW);
        }
    }
    for id in ["hot", "past"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 1, just_before), Ok(Said::Replayed(None)));
    }
    for id in ["hot", "past"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 2, late), Ok(Said::Yes(None)));
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 2, late), Ok(Said::Replayed(None)));
    }
    assert_eq!(hits(&place, 0), 6);
}

#[test]
fn a_report_counts_what_is_new_in_it_or_nothing_if_an_id_was_another() {
    let place = Place::new(2, 100);
    let engine = place.engine();
    let count = |whole, rows: &[Row<'_>]| {
        report_once(engine, whole, rows, NOW, |reported| match reported {
            Ok(Reported { duplicates, replayed, .. }) => Ok((duplicates, replayed)),
            Err(ReportError::Refused(Refusal::IdempotencyConflict { id })) => {
                let RequestId::Key(id) = id else { panic!("{id}") };
                Err(String::from_utf8(id.to_vec()).unwrap())
            }
            Err(other) => panic!("{other:?}"),
        })
    };
    let (a, b) = ((Some("a"), "key0", 1, None), (Some("b"), "key1", 2, None));
    assert_eq!(count(None, &[a, (None, "key0", 10, None), a]), Ok((1, false)), "twice in one");
    assert_eq!(count(None, &[a, b]), Ok((1, false)));
    assert_eq!(count(None, &[b, a]), Ok((2, true)));
    assert_eq!((hits(&place, 0), hits(&place, 1)), (11, 2));
    let other = (Some("b"), "key1", 3, None);
    assert_eq!(count(None, &[(None, "key0", 10, None), other]), Err("b".into()));
    let c = (Some("c"), "key0", 5, None);
    assert_eq!(count(None, &[c, (Some("c"), "key0", 6, None)]), Err("c".into()), "two in one");
    assert_eq!((hits(&place, 0), hits(&place, 1)), (11, 2));
    // The whole has an id of another kind, and goes first.
    assert_eq!(count(Some("a"), &[a, c]), Ok((1, false)));
    assert_eq!(count(Some("a"), &[a, c]), Ok((2, true)));
    assert_eq!(count(Some("a"), &[c, a]), Err("a".into()), "in another order it is another report");
    assert_eq!((hits(&place, 0), hits(&place, 1)), (16, 2));
}

#[test]
fn a_repetition_that_comes_when_its_date_is_too_old_is_still_a_success() {
    let place = Place::new(1, 100);
    let engine = place.engine();
    let dated = i64::try_from(NOW.secs()).unwrap() - 86_000;
    let later = UnixMillis(NOW.0 + 1_000_000);
    let rows = [(Some("a"), "key0", 1, Some(dated))];
    report_once(engine, None, &rows, NOW, |reported| assert!(!reported.unwrap().replayed));
    report_once(engine, None, &rows, later, |reported| assert!(reported.unwrap().replayed));
    let rows = [rows[0], (Some("b"), "key0", 1, Some(dated))];
    report_once(engine, None, &rows, later, |reported| {
        assert_eq!(reported, Err(ReportError::Dropped(Refusal::TimestampTooOld)));
    });
    assert_eq!(engine.id_numbers().held, 1);
}

#[test]
fn the_last_id_that_fits_is_taken_and_the_next_is_refused_but_repetitions_are_known() {
    let place = Place::new(1, 3);
    let engine = place.engine();
    for id in ["a", "b"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 1, NOW), Ok(Said::Yes(None)));
    }
    place.seal(NOW);
    assert_eq!(use_once(engine, AUTHREP, "key0", "c", 1, NOW), Ok(Said::Yes(None)));
    assert_eq!(use_once(engine, AUTHREP, "key0", "d", 1, NOW), Err(Refusal::IdempotencyFull));
    report_once(engine, None, &[(Some("e"), "key0", 1, None)], NOW, |reported| {
        assert_eq!(reported, Err(ReportError::Refused(Refusal::IdempotencyFull)));
    });
    for id in ["a", "b", "c"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 1, NOW), Ok(Said::Replayed(None)));
    }
    assert_eq!(hits(&place, 0), 3);
    let numbers = engine.id_numbers();
    assert_eq!((numbers.held, numbers.max, numbers.refused), (3, 3, 2));
}

#[test]
fn what_cannot_be_sealed_is_bounded_apart() {
    let mut place = Place::new(1, 100);
    place.world.engine.ids.memory_max = 2;
    let engine = place.engine();
    for id in ["a", "b"] {
        assert_eq!(use_once(engine, AUTHREP, "key0", id, 1, NOW), Ok(Said::Yes(None)));
    }
    assert_eq!(use_once(engine, AUTHREP, "key0", "c", 1, NOW), Err(Refusal::IdempotencyFull));
    drop(engine.freeze_ids(NOW));
    assert_eq!(
        use_once(engine, AUTHREP, "key0", "c", 1, NOW),
        Err(Refusal::IdempotencyFull),
        "frozen counts"
    );
    place.seal(NOW);
    assert_eq!(use_once(engine, AUTHREP, "key0", "c", 1, NOW), Ok(Said::Yes(None)));
}

#[test]
fn a_past_that_cannot_be_read_refuses_what_has_an_id_and_nothing_else() {
    let place = Place::new(1, 100);
    let engine = place.engine();
    place.slices.fails.store(true, Ordering::Relaxed);
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 1, NOW), Err(Refusal::StorageUnavailable));
    let rows = [(Some("e"), "key0", 1, None)];
    report_once(engine, None, &rows, NOW, |reported| {
        assert_eq!(reported, Err(ReportError::Refused(Refusal::StorageUnavailable)));
    });
    assert_eq!(hits(&place, 0), 0);
    report_once(engine, None, &[(None, "key0", 1, None)], NOW, |reported| assert!(reported.is_ok()));
    assert_eq!((hits(&place, 0), engine.id_numbers().held), (1, 0));
}

#[test]
fn a_seal_that_failed_is_made_up_for_by_the_next() {
    let place = Place::new(1, 100);
    let engine = place.engine();
    assert_eq!(use_once(engine, AUTHREP, "key0", "a", 1, NOW), Ok(Said::Yes(None)));
    let failed = engine.freeze_ids(NOW);
    assert_eq!(use_once(engine, AUTHREP, "key0", "b", 1, NOW), Ok(Said::Yes(None)));
    let next = engine.freeze_ids(NOW);
    assert_eq!((failed.ids.len(), next.ids.len()), (1, 2));
    assert_eq!(next.after, failed.after);
    assert!(next.ids.is_sorted_by_key(|known| known.key) && next.through > failed.through);
    place.seal(NOW);
    assert_eq!((place.slices.len(), engine.id_numbers().held), (2, 2));
}
