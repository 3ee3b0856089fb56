//! Shadow: what is in it denies nothing, is reported all the same, and loosens nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::Engine;
use super::request::{AuthRequest, Call, UsageParameter};
use super::tests::{NOW, THREADS, World, request};
use crate::model::draft::CommandError;
use crate::model::id::{LimitId, MetricId};
use crate::model::record::ApplicationState;
use crate::model::time::Period;

/// Codes of the denial, and of what the shadow kept from denying.
fn call(
    engine: &Engine,
    call: Call,
    usage: &[UsageParameter<'_>],
) -> (Option<&'static str>, Option<&'static str>) {
    let request = AuthRequest { call, ..request(Some("key0"), usage) };
    let codes = engine.authorize(&request, NOW, |answer| {
        (answer.denial.map(|it| it.code()), answer.would_deny.map(|it| it.code()))
    });
    codes.unwrap()
}

fn limit_in_shadow(world: &World, metric: MetricId, period: Period, max: u64) -> LimitId {
    let set = world.engine.change(|draft| {
        let limit = draft.set_limit(world.plan, metric, period, max)?;
        draft.set_limit_shadow(world.plan, limit, true)?;
        Ok(limit)
    });
    set.unwrap().0
}

#[test]
fn a_limit_in_shadow_loosens_no_other_whatever_comes_at_once() {
    let world = World::new(1);
    world.limit(world.hits, Period::Hour, 1000);
    limit_in_shadow(&world, world.search, Period::Hour, 10);
    let (admitted, would_deny) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..200 {
                    match call(&world.engine, Call::Authrep, &[("search", Some("1"))]) {
                        (None, reason) => {
                            admitted.fetch_add(1, Ordering::Relaxed);
                            would_deny.fetch_add(u64::from(reason.is_some()), Ordering::Relaxed);
                        }
                        (Some(reason), shadow) => assert_eq!((reason, shadow), ("limits_exceeded", None)),
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1000);
    assert_eq!(would_deny.into_inner(), 990);
    assert_eq!((world.count(0, 0, Period::Hour), world.count(0, 1, Period::Hour)), (1000, 1000));
}

#[test]
fn shadow_and_what_was_counted_in_it_survive_a_restart() {
    let world = World::new(1);
    let limit = limit_in_shadow(&world, world.hits, Period::Day, 1);
    let shadow = |world: &World, on: bool| {
        let changed = world.engine.change(|draft| {
            draft.set_limit_shadow(world.plan, limit, false)?;
            draft.edit_application(world.applications[0], |it| it.shadow = on)
        });
        changed.unwrap();
    };
    let usage = [("hits", Some("2"))];
    assert_eq!(call(&world.engine, Call::Authrep, &usage), (None, Some("limits_exceeded")));
    let world = world.reopen();
    assert_eq!(call(&world.engine, Call::Authrep, &usage), (None, Some("limits_exceeded")));
    assert_eq!(world.count(0, 0, Period::Day), 4);

    shadow(&world, true);
    let world = world.reopen();
    assert_eq!(call(&world.engine, Call::Authorize, &usage), (None, Some("limits_exceeded")));
    shadow(&world, false);
    world.engine.change(|draft| draft.edit_service(world.service, |it| it.shadow = true)).unwrap();
    let world = world.reopen();
    assert_eq!(call(&world.engine, Call::Authorize, &usage), (None, Some("limits_exceeded")));
    world.engine.change(|draft| draft.edit_service(world.service, |it| it.shadow = false)).unwrap();
    let world = world.reopen();
    assert_eq!(call(&world.engine, Call::Authorize, &usage), (Some("limits_exceeded"), None));
}

#[test]
fn an_application_in_shadow_is_known_by_its_key() {
    let world = World::new(2);
    let edit = |number: usize, shadow| {
        let changed = world.engine.change(|draft| {
            draft.edit_application(world.applications[number], |it| {
                (it.shadow, it.state) = (shadow, ApplicationState::Suspended);
            })
        });
        changed.unwrap();
    };
    edit(0, true);
    edit(1, false);
    let denied = |key| {
        let request = AuthRequest { no_body: true, ..request(Some(key), &[]) };
        world.engine.authorize(&request, NOW, |answer| answer.denial.map(|it| it.code())).unwrap()
    };
    assert_eq!((denied("key0"), denied("key1")), (None, Some("application_not_active")));
    edit(0, false);
    assert_eq!(denied("key0"), Some("application_not_active"));
}

#[test]
fn a_limit_keeps_its_shadow_with_a_new_maximum_and_an_unknown_one_has_none() {
    let world = World::new(1);
    let limit = limit_in_shadow(&world, world.hits, Period::Day, 1);
    world.limit(world.hits, Period::Day, 5);
    let plan = world.engine.catalog().plans.get(world.plan.0).cloned().unwrap();
    assert_eq!(
        plan.limits.iter().map(|it| (it.id, it.max, it.shadow)).collect::<Vec<_>>(),
        [(limit, 5, true)]
    );
    let unknown = LimitId(limit.0 + 1);
    let changed = world.engine.change(|draft| {
        let unknown = draft.set_limit_shadow(world.plan, unknown, true);
        assert_eq!(unknown, Err(CommandError::Unknown { what: "limit", id: limit.0 + 1 }));
        Ok(())
    });
    changed.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Against a model of two counters: a call is admitted if every limit out of shadow holds, and then, and only then,
    /// is what broke in shadow told.
    #[test]
    fn decisions_are_those_of_the_limits_out_of_shadow(
        limits in prop::collection::vec((0..2_usize, 0..12_u64, any::<bool>()), 0..4),
        calls in prop::collection::vec((any::<bool>(), 0..2_usize, 0..4_u64), 1..25),
        everything in any::<bool>(),
    ) {
        let world = World::new(1);
        let metrics = [world.hits, world.search];
        let mut expected = Vec::new();
        for ((metric, max, shadow), period) in limits.into_iter().zip([Period::Hour, Period::Day, Period::Month, Period::Year]) {
            if shadow {
                limit_in_shadow(&world, metrics[metric], period, max);
            } else {
                world.limit(metrics[metric], period, max);
            }
            expected.push((metric, max, shadow || everything));
        }
        world.engine.change(|draft| draft.edit_service(world.service, |it| it.shadow = everything)).unwrap();
        let mut counts = [0_u64; 2];
        for (counted, metric, amount) in calls {
            let mut after = counts;
            (0..=metric).for_each(|at| after[at] += amount);
            let broken = |in_shadow| {
                let touched = |limit: &&(usize, u64, bool)| limit.0 <= metric && limit.2 == in_shadow;
                expected.iter().filter(touched).any(|(at, max, _)| after[*at] > *max)
            };
            let reason = |is: bool| is.then_some("limits_exceeded");
            let wanted = (reason(broken(false)), reason(broken(true) && !broken(false)));
            let kind = if counted { Call::Authrep } else { Call::Authorize };
            let value = amount.to_string();
            let name = ["hits", "search"][metric];
            prop_assert_eq!(call(&world.engine, kind, &[(name, Some(&value))]), wanted);
            if counted && wanted.0.is_none() {
                counts = after;
            }
        }
        prop_assert_eq!([world.count(0, 0, Period::Hour), world.count(0, 1, Period::Hour)], counts);
    }
}
