//! All or nothing: over several applications, under concurrency, and as one call for each application.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::super::tests::{NOW, THREADS, World, credentials, request};
use super::*;
use crate::engine::BindRequest;
use crate::engine::request::{Credentials, Usage};
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;
use crate::model::time::Period;

fn key(number: usize) -> String {
    format!("key{number}")
}

fn bind(world: &World, number: usize) -> (Handle, Vec<MetricSlot>) {
    let user_key = key(number);
    let bound = world.engine.moment(NOW).bind(&BindRequest {
        credentials: Credentials { service: Some(world.service), ..Credentials::default() },
        app_id: None,
        user_key: Some(&user_key),
        app_key: None,
        metrics: &["hits", "search"],
    });
    let bound = bound.unwrap().unwrap();
    (bound.handle, bound.slots)
}

fn bound(handle: Handle, usage: &[(MetricSlot, Effect)]) -> Part<'_> {
    let call = Call::Authrep;
    let (flat_usage, log_code, referrer, all_reports) = (false, None, None, true);
    Part::Bound(handle, BoundRequest { call, usage, flat_usage, log_code, referrer, all_reports })
}

/// How each call fared, in a word.
fn fates(world: &World, parts: &[Part<'_>]) -> (bool, Vec<String>) {
    fates_with_ids(world, parts, &[])
}

fn fates_with_ids<'r>(
    world: &World,
    parts: &[Part<'r>],
    ids: &[Option<RequestId<'r>>],
) -> (bool, Vec<String>) {
    let mut fates = Vec::new();
    let done = world.engine.moment(NOW).together(Scope::Node, parts, ids, |number, fate| {
        assert_eq!(number, fates.len());
        fates.push(match fate {
            Ok(answer) if answer.replayed => "again".to_owned(),
            Ok(answer) => answer.denial.map_or("yes".to_owned(), |denial| denial.code().to_owned()),
            Err(NotDone::Refused(refusal)) => refusal.code().to_owned(),
            Err(NotDone::Others) => "not done".to_owned(),
        });
    });
    (done.unwrap(), fates)
}

#[test]
fn one_that_is_denied_or_refused_keeps_all_from_being_counted() {
    let world = World::new(3);
    world.limit(world.hits, Period::Day, 5);
    let keys = [key(0), key(1), key(2)];
    let hit = [("hits", Some("3"))];
    let call = |number: usize| Part::Named(request(Some(&keys[number]), &hit));
    assert_eq!(fates(&world, &[call(0), call(1)]), (true, vec!["yes".into(), "yes".into()]));
    let fared = fates(&world, &[call(2), call(0), call(2)]);
    // Twice three is more than five: so are the two calls of application 2 together.
    assert_eq!(fared, (false, ["limits_exceeded"; 3].map(String::from).to_vec()));
    let fared = fates(&world, &[call(2), call(0)]);
    assert_eq!(fared, (false, vec!["not done".into(), "limits_exceeded".into()]));
    let unknown = [("nothing", Some("1"))];
    let wrong = Part::Named(request(Some(&keys[0]), &unknown));
    let nobody = Part::Named(request(Some("nobody"), &hit));
    let stale = bound(Handle(1 << 40), &[]);
    let fared = fates(&world, &[call(2), wrong, nobody, stale]);
    let wanted = ["not done", "metric_invalid", "user_key_invalid", "stale_handle"];
    assert!(!fared.0 && fared.1[..3] == wanted[..3], "{fared:?}");
    assert_eq!([0, 1, 2].map(|number| world.count(number, 0, Period::Day)), [3, 3, 0]);
    let world = world.reopen();
    assert_eq!([0, 1, 2].map(|number| world.count(number, 0, Period::Day)), [3, 3, 0]);
}

#[test]
fn calls_with_ids_are_counted_once_and_together() {
    let world = World::new(2);
    world.limit(world.hits, Period::Day, 10);
    let keys = [key(0), key(1)];
    let (three, nine) = ([("hits", Some("3"))], [("hits", Some("9"))]);
    let call = |number: usize, hits| Part::Named(request(Some(&keys[number]), hits));
    let id = |id: &'static str| Some(RequestId::Key(id.as_bytes()));
    let numbered = |sequence| Some(RequestId::Numbered { producer: b"p", sequence });
    let fares = |parts: &[Part<'_>], ids: &[Option<RequestId<'static>>]| {
        let (done, fates) = fates_with_ids(&world, parts, ids);
        (done, fates.join(", "))
    };
    let hits = || [0, 1].map(|number| world.count(number, 0, Period::Day));
    let both = [call(0, &three), call(1, &three)];
    // Denied: neither is remembered.
    assert_eq!(
        fares(&[call(0, &three), call(1, &nine), call(1, &three)], &[id("a"), numbered(1), None]),
        (false, "not done, limits_exceeded, limits_exceeded".into())
    );
    assert_eq!(fares(&both, &[id("a"), numbered(1)]), (true, "yes, yes".into()));
    assert_eq!(fares(&both, &[id("a"), numbered(1)]), (true, "again, again".into()));
    assert_eq!(hits(), [3, 3]);
    // One that was counted before is no part of the step, and keeps nothing from it.
    let mixed = [call(0, &three), call(0, &three), call(1, &nine)];
    assert_eq!(
        fares(&mixed, &[id("a"), id("b"), id("c")]),
        (false, "again, not done, limits_exceeded".into())
    );
    assert_eq!(fares(&mixed[..2], &[id("a"), id("b")]), (true, "again, yes".into()));
    assert_eq!(hits(), [6, 3]);
    // Others are refused, and keep all from being done.
    assert_eq!(
        fares(&both, &[numbered(2), id("a")]),
        (false, "not done, idempotency_conflict".into()),
        "the id of another call"
    );
    let one = [call(0, &three), call(0, &three)];
    assert_eq!(fares(&one, &[id("d"), id("d")]), (true, "yes, again".into()), "twice in one");
    assert_eq!(
        fares(&[call(0, &[]), call(1, &three)], &[id("e"), id("e")]),
        (false, "not done, idempotency_conflict".into())
    );
    assert_eq!(hits(), [9, 3]);
    world.engine.flush(NOW).unwrap();
    let world = world.reopen();
    assert_eq!(
        fates_with_ids(&world, &[call(0, &three), call(1, &three)], &[id("d"), numbered(1)]),
        (true, vec!["again".to_owned(), "again".to_owned()])
    );
    assert_eq!([0, 1].map(|number| world.count(number, 0, Period::Day)), [9, 3]);
}

#[test]
fn calls_of_several_producers_each_need_room() {
    let mut world = World::new(1);
    world.engine.ids.producers_max = 3;
    let keys = [key(0)];
    let hit = [("hits", Some("1"))];
    let calls = || [Part::Named(request(Some(&keys[0]), &hit)), Part::Named(request(Some(&keys[0]), &hit))];
    let fares = |producers: [&'static [u8]; 2]| {
        let ids = producers.map(|producer| Some(RequestId::Numbered { producer, sequence: 1 }));
        fates_with_ids(&world, &calls(), &ids).1.join(", ")
    };
    assert_eq!(fares([b"a", b"b"]), "yes, yes");
    assert_eq!(world.engine.id_numbers().producers, 2);
    // Neither takes the last place, as there is not room for both.
    assert_eq!(fares([b"c", b"d"]), "idempotency_full, idempotency_full");
    assert_eq!(world.engine.id_numbers().producers, 2);
    assert_eq!(fares([b"a", b"c"]), "again, yes");
    let numbers = world.engine.id_numbers();
    assert_eq!((numbers.producers, numbers.held, world.count(0, 0, Period::Day)), (3, 0, 3));
}

#[test]
fn calls_of_64_applications_go_together_and_of_65_do_not() {
    let world = World::new(65);
    let keys: Vec<_> = (0..65).map(key).collect();
    let hit = [("hits", Some("1"))];
    let parts: Vec<_> = keys.iter().map(|key| Part::Named(request(Some(key), &hit))).collect();
    assert!(fates(&world, &parts[..64]).0);
    let answered =
        world.engine.moment(NOW).together(Scope::Node, &parts, &[], |_, _| panic!("nothing is answered"));
    assert_eq!(answered, Err(TooMany));
    assert_eq!((world.count(0, 0, Period::Day), world.count(64, 0, Period::Day)), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The calls of one application together are one call with all of their usage.
    #[test]
    fn calls_of_one_application_are_one_call(
        usage in prop::collection::vec((0..2_usize, 0..6_u64), 1..6),
        before in 0..8_u64,
        limits in (0..20_u64, 0..10_u64),
    ) {
        let world = World::new(2);
        world.limit(world.hits, Period::Day, limits.0);
        world.limit(world.search, Period::Hour, limits.1);
        let names = ["hits", "search"];
        for number in 0..2 {
            let before = before.to_string();
            let _ = super::super::tests::authrep(&world.engine, &key(number), &[("search", Some(&before))]);
        }
        let amounts: Vec<_> = usage.iter().map(|(metric, amount)| (names[*metric], Effect::Add(*amount))).collect();
        let (handle, slots) = bind(&world, 0);
        let rows: Vec<_> = usage.iter().map(|(metric, amount)| [(slots[*metric], Effect::Add(*amount))]).collect();
        let parts: Vec<_> = rows.iter().map(|row| bound(handle, row)).collect();
        let (together, _) = fates(&world, &parts);
        let one = AuthRequest {
            usage: Usage::Amounts(&amounts),
            credentials: credentials(),
            ..request(Some("key1"), &[])
        };
        let alone = world.engine.authorize(&one, NOW, |answer| answer.denial.is_none()).unwrap();
        prop_assert_eq!(together, alone);
        for slot in 0..2 {
            prop_assert_eq!(world.count(0, slot, Period::Day), world.count(1, slot, Period::Day));
        }
    }
}

/// Threads call for two of four applications at once, always the same in both; single calls, flushes and commands go on
/// meanwhile.
#[test]
fn together_stays_exact_whatever_comes_at_once() {
    let world = World::new(4);
    world.limit(world.hits, Period::Day, 700);
    let (done, alone) = ([const { AtomicU64::new(0) }; 4], [const { AtomicU64::new(0) }; 4]);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if !running.load(Ordering::Relaxed) {
                    break;
                }
                world.engine.flush(NOW).unwrap();
                world.limit(world.search, Period::Day, 1_000_000 + round);
            }
        });
        let callers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (world, done, alone) = (&world, &done, &alone);
                scope.spawn(move || {
                    let pairs = [(0, 1), (1, 0), (2, 3), (3, 0)];
                    let (first, second) = pairs[number % 4];
                    let handles = [bind(world, first), bind(world, second)];
                    let usage = [[(handles[0].1[0], Effect::Add(1))], [(handles[1].1[1], Effect::Add(1))]];
                    for _ in 0..300 {
                        let parts = [bound(handles[0].0, &usage[0]), bound(handles[1].0, &usage[1])];
                        if fates(world, &parts).0 {
                            for it in [first, second] {
                                done[it].fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        let hit = [("hits", Some("1"))];
                        if super::super::tests::authrep(&world.engine, &key(first), &hit).unwrap() {
                            alone[first].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        running.store(false, Ordering::Relaxed);
    });
    let expected =
        [0, 1, 2, 3].map(|it| done[it].load(Ordering::Relaxed) + alone[it].load(Ordering::Relaxed));
    let counted = |world: &World| [0, 1, 2, 3].map(|number| world.count(number, 0, Period::Day));
    assert_eq!(counted(&world), expected);
    assert!(expected.iter().all(|count| *count <= 700) && expected.contains(&700), "{expected:?}");
    assert_eq!(counted(&world.reopen()), expected);
}
