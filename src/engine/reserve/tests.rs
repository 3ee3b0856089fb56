//! Reservations: exact whatever comes at once; by handle; what is refused; what else happens to them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::request::{AuthRequest, Call, Usage};
use super::super::tests::{NOW, THREADS, World, credentials};
use super::super::{BindRequest, BoundRequest, Engine, Handle, Scope};
use crate::counter::snapshot::SubjectImage;
use crate::model::amount::Effect;
use crate::model::decision::{Denial, Refusal};
use crate::model::draft::{Draft, NewApplication};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::record::ApplicationState;
use crate::model::reservation::{
    AMOUNTS_MAX, Cancelled, Committed, HOLDS_MAX, ReservationId, TTL_MAX_S, TTL_MIN_S,
};
use crate::model::time::{Period, UnixMillis};

pub(super) const HITS: MetricSlot = MetricSlot(0);
pub(super) const SEARCH: MetricSlot = MetricSlot(1);

pub(super) fn later(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

pub(super) fn request<'r>(call: Call, usage: &'r [(&'r str, Effect)]) -> AuthRequest<'r> {
    AuthRequest {
        call,
        oauth: false,
        credentials: credentials(),
        app_id: None,
        user_key: Some("key0"),
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Amounts(usage),
        log_code: None,
        flat_usage: false,
        no_body: false,
    }
}

/// What a call that holds or counts came to; `None` if limits deny it.
pub(super) fn call<'r>(
    engine: &Engine,
    call: Call,
    usage: &'r [(&'r str, Effect)],
    now: UnixMillis,
) -> Result<Option<Option<ReservationId>>, Refusal<'r>> {
    engine.authorize(&request(call, usage), now, |answer| match answer.denial {
        None => Some(answer.reservation),
        Some(Denial::LimitsExceeded) => None,
        Some(other) => panic!("{other:?}"),
    })
}

pub(super) fn reserve(
    engine: &Engine,
    metric: &str,
    amount: u64,
    ttl_s: u64,
    now: UnixMillis,
) -> Option<ReservationId> {
    let usage = [(metric, Effect::Add(amount))];
    let held = call(engine, Call::Reserve { ttl_s }, &usage, now);
    held.unwrap().map(Option::unwrap)
}

pub(super) fn commit<'r>(
    engine: &Engine,
    id: ReservationId,
    usage: &'r [(&'r str, Effect)],
    now: UnixMillis,
) -> Result<Committed, Refusal<'r>> {
    engine.commit(&request(Call::Authorize, usage), id, now)
}

pub(super) fn cancel(
    engine: &Engine,
    id: ReservationId,
    now: UnixMillis,
) -> Result<Cancelled, Refusal<'static>> {
    engine.cancel(&request(Call::Authorize, &[]), id, now)
}

pub(super) fn image(world: &World, now: UnixMillis) -> SubjectImage {
    world.engine.counters_of(world.applications[0], now).unwrap()
}

pub(super) fn count(image: &SubjectImage, slot: MetricSlot, period: Period) -> u64 {
    image.cells.iter().find(|cell| cell.slot == slot).map_or(0, |cell| cell.counts[period as usize])
}

// === at once

#[test]
fn a_limit_of_n_holds_exactly_n_whatever_comes_at_once() {
    let world = World::new(1);
    world.limit(world.hits, Period::Hour, 60);
    let held = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (world, held) = (&world, &held);
            let metric = if number % 2 == 0 { "hits" } else { "search" };
            scope.spawn(move || {
                for _ in 0..20 {
                    let id = reserve(&world.engine, metric, 1, 60, NOW);
                    held.fetch_add(u64::from(id.is_some()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(held.into_inner(), 60);
    assert_eq!(image(&world, NOW).reserved(HITS, NOW), 60);
    assert_eq!(count(&image(&world, NOW), HITS, Period::Hour), 0);
    assert_eq!(call(&world.engine, Call::Authrep, &[("hits", Effect::Add(1))], NOW), Ok(None));
}

#[test]
fn what_is_reserved_committed_and_counted_at_once_never_passes_the_limit_and_is_all_there() {
    const MAX: u64 = 3_000;
    let world = World::new(1);
    world.limit(world.hits, Period::Eternity, MAX);
    let (counted, ids) = (AtomicU64::new(0), std::sync::Mutex::new(HashSet::new()));
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                if !running.load(Ordering::Relaxed) {
                    break;
                }
                world.limit(world.search, Period::Year, 1_000_000 + round);
                world.engine.flush(NOW).unwrap();
                let image = image(&world, NOW);
                assert!(count(&image, HITS, Period::Eternity) + image.reserved(HITS, NOW) <= MAX);
            }
        });
        let callers: Vec<_> = (0..THREADS as u64)
            .map(|number| {
                let (world, counted, ids) = (&world, &counted, &ids);
                scope.spawn(move || {
                    for round in 0..400 {
                        let metric = if (number + round) % 2 == 0 { "hits" } else { "search" };
                        if round % 5 == 4 {
                            let usage = [(metric, Effect::Add(1))];
                            if call(&world.engine, Call::Authrep, &usage, NOW).unwrap().is_some() {
                                counted.fetch_add(1, Ordering::Relaxed);
                            }
                            continue;
                        }
                        let Some(id) = reserve(&world.engine, metric, 3, 60, NOW) else { continue };
                        assert!(ids.lock().unwrap().insert(id), "the same id twice");
                        if round % 3 == 0 {
                            assert_eq!(cancel(&world.engine, id, NOW), Ok(Cancelled::Released));
                        } else {
                            let used = round % 4;
                            let usage = [(metric, Effect::Add(used))];
                            assert_eq!(commit(&world.engine, id, &usage, NOW), Ok(Committed::Within));
                            counted.fetch_add(used, Ordering::Relaxed);
                        }
                        let again = commit(&world.engine, id, &[], NOW);
                        assert_eq!(again, Err(Refusal::ReservationUnknown));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    let counted = counted.into_inner();
    let expect = |world: &World| {
        let image = image(world, NOW);
        assert_eq!((count(&image, HITS, Period::Eternity), image.reserved(HITS, NOW)), (counted, 0));
    };
    expect(&world);
    expect(&world.reopen());
}

#[test]
fn of_many_who_commit_or_cancel_the_same_one_does() {
    let world = World::new(1);
    for _ in 0..50 {
        let id = reserve(&world.engine, "hits", 5, 60, NOW).unwrap();
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (world, done) = (&world, &done);
                scope.spawn(move || {
                    let ended = if number == 0 {
                        cancel(&world.engine, id, NOW).is_ok()
                    } else {
                        commit(&world.engine, id, &[("hits", Effect::Add(5))], NOW).is_ok()
                    };
                    done.fetch_add(u64::from(ended), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.into_inner(), 1);
    }
}

// === by handle

fn handle(engine: &Engine) -> Handle {
    let bind = BindRequest {
        credentials: credentials(),
        app_id: None,
        user_key: Some("key0"),
        app_key: None,
        metrics: &["hits", "search"],
    };
    engine.moment(NOW).bind(&bind).unwrap().unwrap().handle
}

fn bound(call: Call, usage: &[(MetricSlot, Effect)]) -> BoundRequest<'_> {
    BoundRequest { call, usage, flat_usage: false, log_code: None, referrer: None, all_reports: false }
}

#[test]
fn by_handle_as_by_credentials() {
    let world = World::new(1);
    world.limit(world.hits, Period::Hour, 10);
    let handle = handle(&world.engine);
    let mut moment = world.engine.moment(NOW);
    let usage = [(SEARCH, Effect::Add(6))];
    let reserved = moment.bound(handle, Scope::Node, &bound(Call::Reserve { ttl_s: 9 }, &usage), |answer| {
        let binding = answer.binding().unwrap();
        assert_eq!((binding.current, binding.remaining), (0, Some(0)));
        answer.reservation
    });
    let id = reserved.unwrap().unwrap();
    let denied =
        moment.bound(handle, Scope::Node, &bound(Call::Check, &usage), |answer| answer.denial.is_some());
    assert_eq!(denied, Ok(true));
    assert_eq!(reserve(&world.engine, "hits", 5, 9, NOW), None);
    let nowhere = moment.commit_bound(Handle(0), Scope::Node, &bound(Call::Check, &usage), id);
    assert_eq!(nowhere, Err(Refusal::StaleHandle));
    let usage = [(SEARCH, Effect::Add(7))];
    let committed = moment.commit_bound(handle, Scope::Node, &bound(Call::Check, &usage), id);
    assert_eq!(committed, Ok(Committed::Overrun));
    assert_eq!(moment.cancel_bound(handle, Scope::Node, id), Err(Refusal::ReservationUnknown));
    assert_eq!(count(&image(&world, NOW), HITS, Period::Hour), 7);
    let id = reserve(&world.engine, "hits", 3, 9, NOW).unwrap();
    assert_eq!(moment.cancel_bound(handle, Scope::Node, id), Ok(Cancelled::Released));
}

// === what is refused, and what else happens to them

#[test]
fn what_cannot_be_reserved_is_refused_and_changes_nothing() {
    let world = World::new(1);
    let refused = |ttl_s, usage: &[(&'static str, Effect)]| {
        call(&world.engine, Call::Reserve { ttl_s }, usage, NOW).map(|_| ()).map_err(|it| it.code())
    };
    let one = [("hits", Effect::Add(1))];
    assert_eq!(refused(TTL_MIN_S - 1, &one), Err("reservation_ttl_invalid"));
    assert_eq!(refused(TTL_MAX_S + 1, &one), Err("reservation_ttl_invalid"));
    assert_eq!(refused(60, &[("hits", Effect::Set(1))]), Err("reservation_usage_invalid"));
    assert_eq!(refused(60, &[("gone", Effect::Add(1))]), Err("metric_invalid"));
    assert_eq!(image(&world, NOW).holds, []);
    assert_eq!(refused(TTL_MIN_S, &one), Ok(()));
    assert_eq!(refused(TTL_MAX_S, &one), Ok(()));
    let id = image(&world, NOW).holds[0].id;
    let set = [("hits", Effect::Set(1))];
    assert_eq!(commit(&world.engine, id, &set, NOW), Err(Refusal::ReservationSets));
    assert_eq!(commit(&world.engine, id, &one, NOW), Ok(Committed::Within));
}

#[test]
fn as_many_are_open_as_may_be_and_no_more() {
    let world = World::new(2);
    let ids: Vec<_> = (0..HOLDS_MAX).map(|_| reserve(&world.engine, "hits", 1, 2, NOW).unwrap()).collect();
    let one = [("hits", Effect::Add(1))];
    let next = |now| call(&world.engine, Call::Reserve { ttl_s: 2 }, &one, now).map(|it| it.is_some());
    assert_eq!(next(NOW), Err(Refusal::TooManyReservations));
    // Another application is not concerned.
    let other = AuthRequest { user_key: Some("key1"), ..request(Call::Reserve { ttl_s: 2 }, &one) };
    assert!(world.engine.authorize(&other, NOW, |answer| answer.reservation.is_some()).unwrap());
    cancel(&world.engine, ids[0], NOW).unwrap();
    assert_eq!((next(NOW), next(NOW)), (Ok(true), Err(Refusal::TooManyReservations)));
    assert_eq!(next(later(2_999)), Ok(true));
}

#[test]
fn a_reservation_spans_as_many_counters_as_it_may_and_no_more() {
    let world = World::new(1);
    let names: Vec<_> = (0..AMOUNTS_MAX).map(|number| format!("m{number}")).collect();
    let create = |draft: &mut Draft<'_>| {
        names.iter().try_for_each(|name| draft.create_metric(world.service, name, None).map(drop))
    };
    world.engine.change(create).unwrap();
    let mut usage: Vec<_> = names.iter().map(|name| (name.as_str(), Effect::Add(1))).collect();
    let reserve = |usage: &[(&str, Effect)]| {
        let held = call(&world.engine, Call::Reserve { ttl_s: 60 }, usage, NOW);
        held.map(|_| ()).map_err(|it| it.to_string())
    };
    assert_eq!(reserve(&usage), Ok(()));
    usage.push(("hits", Effect::Add(1)));
    assert_eq!(reserve(&usage), Err(Refusal::ReservationTooWide.to_string()));
    // What is not held takes no room.
    usage.last_mut().unwrap().1 = Effect::Add(0);
    assert_eq!(reserve(&usage), Ok(()));
}

#[test]
fn a_commit_is_counted_whatever_state_and_limits_say_and_with_its_response_code() {
    let world = World::new(1);
    let id = reserve(&world.engine, "search", 5, 60, NOW).unwrap();
    world.limit(world.hits, Period::Eternity, 1);
    let application = world.applications[0];
    let suspend = |draft: &mut Draft<'_>| {
        draft.edit_application(application, |it| it.state = ApplicationState::Suspended)
    };
    world.engine.change(suspend).unwrap();
    let usage = [("search", Effect::Add(4))];
    let with_code = AuthRequest { log_code: Some("200"), ..request(Call::Authorize, &usage) };
    assert_eq!(world.engine.commit(&with_code, id, NOW), Ok(Committed::Within));
    let image = image(&world, NOW);
    assert_eq!(count(&image, HITS, Period::Eternity), 4);
    assert_eq!(count(&image, MetricSlot(MetricSlot::RESPONSE_CODES), Period::Day), 1);
}

#[test]
fn a_late_commit_counts_once_in_the_windows_of_the_commit() {
    let world = World::new(1);
    world.limit(world.hits, Period::Minute, 5);
    let id = reserve(&world.engine, "hits", 5, 1, NOW).unwrap();
    let late = later(90_000);
    assert!(reserve(&world.engine, "hits", 5, 1, late).is_some(), "it holds nothing any more");
    let world = world.reopen();
    let usage = [("hits", Effect::Add(5))];
    assert_eq!(commit(&world.engine, id, &usage, late), Ok(Committed::Expired));
    assert_eq!(commit(&world.engine, id, &usage, late), Err(Refusal::ReservationUnknown));
    let image = image(&world, late);
    assert_eq!((image.cells[0].minute, count(&image, HITS, Period::Minute)), (late.minute(), 5));
}

#[test]
fn zero_counters_leave_reservations_and_a_deletion_takes_them() {
    let world = World::new(2);
    world.limit(world.hits, Period::Day, 10);
    let id = reserve(&world.engine, "hits", 4, 60, NOW).unwrap();
    call(&world.engine, Call::Authrep, &[("hits", Effect::Add(3))], NOW).unwrap();
    assert!(world.engine.reset(world.applications[0], NOW));
    assert_eq!(
        (count(&image(&world, NOW), HITS, Period::Day), image(&world, NOW).reserved(HITS, NOW)),
        (0, 4)
    );
    assert_eq!(reserve(&world.engine, "hits", 7, 60, NOW), None);
    let world = world.reopen();
    assert_eq!(image(&world, NOW).reserved(HITS, NOW), 4);
    let first = world.applications[0];
    world.engine.change(|draft| draft.delete_application(first)).unwrap();
    let refused = commit(&world.engine, id, &[], NOW);
    assert_eq!(refused, Err(Refusal::UserKeyInvalid { key: Some("key0") }));
    assert_eq!(world.engine.open_reservations(), 0);
    // Whoever gets the place has none of them, and neither has a restart.
    let new = |draft: &mut Draft<'_>| {
        let (service, plan) = (world.service, world.plan);
        let new = NewApplication { service, account: None, app_id: "n", name: "n", plan };
        draft.create_application(&new)
    };
    let (next, _): (ApplicationId, _) = world.engine.change(new).unwrap();
    assert_eq!(world.engine.counters_of(next, NOW).unwrap().holds, []);
    let world = world.reopen();
    assert_eq!(world.engine.open_reservations(), 0);
}

#[test]
fn in_shadow_more_is_held_than_limits_allow_and_said() {
    let world = World::new(1);
    world.limit(world.hits, Period::Day, 1);
    let application = world.applications[0];
    world.engine.change(|draft| draft.edit_application(application, |it| it.shadow = true)).unwrap();
    let usage = [("hits", Effect::Add(9))];
    let answer = world.engine.authorize(&request(Call::Reserve { ttl_s: 5 }, &usage), NOW, |answer| {
        (answer.would_deny.is_some(), answer.reservation.is_some(), answer.reports[0].reserved)
    });
    assert_eq!(answer, Ok((true, true, 9)));
}

#[test]
fn an_answer_tells_what_is_left_beside_what_is_held() {
    let world = World::new(1);
    world.limit(world.hits, Period::Day, 10);
    reserve(&world.engine, "hits", 4, 60, NOW).unwrap();
    let asked = |amount, set: bool| {
        let effect = if set { Effect::Set(amount) } else { Effect::Add(amount) };
        let usage = [("hits", effect)];
        let answer = world.engine.authorize(&request(Call::Authorize, &usage), NOW, |answer| {
            let report = answer.reports[0];
            assert_eq!((report.current, report.reserved, report.left()), (0, 4, 6));
            (answer.denial.is_none(), answer.limit().remaining)
        });
        answer.unwrap()
    };
    assert_eq!((asked(6, false), asked(7, false)), ((true, Some(1)), (false, Some(0))));
    assert_eq!((asked(6, true), asked(7, true)), ((true, None), (false, Some(0))));
    let explained = world.engine.explain(&request(Call::Authrep, &[("hits", Effect::Add(7))]), NOW);
    assert_eq!(explained.decided_by, "limit hits/day: 4 reserved, 0 counted, 7 with this call, at most 10");
    assert_eq!((explained.limits[0].reserved, explained.limits[0].remaining), (4, 6));
}
