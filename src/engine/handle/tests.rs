//! Handles: they die when they must and not otherwise, decide as credentials do, and are exact whatever comes at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::request::{Call, Credentials};
use super::super::tests::{self, NOW, THREADS, World, credentials};
use super::super::{BindRequest, Bound, BoundRequest, Engine};
use super::*;
use crate::model::amount::Effect;
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::draft::{CommandError, Draft, NewService};
use crate::model::few::Few;
use crate::model::id::{MetricSlot, PlanId};
use crate::model::record::ServiceState;
use crate::model::record::{ApplicationState, BackendVersion, Secret};
use crate::model::time::Period;

const HITS: MetricSlot = MetricSlot(0);
const SEARCH: MetricSlot = MetricSlot(1);

#[test]
fn passes_differ_between_draws_and_between_starts() {
    let draw = |seed| {
        let mut passes = Passes::new(seed);
        (0..1000).map(|_| passes.draw()).collect::<HashSet<_>>()
    };
    let (one, other) = (draw([1; 16]), draw([2; 16]));
    assert!(one.len() > 998 && one.intersection(&other).count() < 2);
    assert!(one.iter().all(|pass| pass & ALWAYS != 0));
}

fn try_bind<'r>(engine: &Engine, user_key: &'r str) -> Result<Bound, Refusal<'r>> {
    let metrics = &["hits"];
    let request = BindRequest {
        credentials: credentials(),
        app_id: None,
        user_key: Some(user_key),
        app_key: None,
        metrics,
    };
    engine.moment(NOW).bind(&request).map(Result::unwrap)
}

fn bind(engine: &Engine, user_key: &str) -> Handle {
    try_bind(engine, user_key).unwrap().handle
}

fn request(call: Call, usage: &[(MetricSlot, Effect)]) -> BoundRequest<'_> {
    BoundRequest { call, usage, flat_usage: false, log_code: None, referrer: None, all_reports: false }
}

/// Whether an authrep of one unit goes ahead.
fn authrep(engine: &Engine, handle: Handle, slot: MetricSlot) -> Result<bool, Refusal<'static>> {
    let usage = [(slot, Effect::Add(1))];
    engine
        .moment(NOW)
        .bound(handle, Scope::Node, &request(Call::Authrep, &usage), |answer| answer.denial.is_none())
        .map_err(|refusal| match refusal {
            Refusal::StaleHandle => Refusal::StaleHandle,
            Refusal::SlotInvalid { slot } => Refusal::SlotInvalid { slot },
            other => panic!("{other:?}"),
        })
}

#[test]
fn handles_die_with_what_was_looked_up_and_with_nothing_else() {
    type Command = fn(&World, &mut Draft<'_>) -> Result<(), CommandError>;
    let survives: [(&str, Command); 10] = [
        ("a limit", |world, draft| draft.set_limit(world.plan, world.hits, Period::Day, 50).map(drop)),
        ("another plan", |world, draft| {
            let plan = draft.create_plan(world.service, None, "Other")?;
            draft.edit_application(world.applications[0], |it| it.plan = plan)
        }),
        ("a state", |world, draft| {
            draft.edit_application(world.applications[0], |it| it.state = ApplicationState::Suspended)
        }),
        ("a name", |world, draft| draft.edit_application(world.applications[0], |it| it.name = "new".into())),
        ("shadow", |world, draft| draft.edit_application(world.applications[0], |it| it.shadow = true)),
        ("a new metric", |world, draft| {
            draft.create_metric(world.service, "new", Some(world.hits)).map(drop)
        }),
        ("a suspended service", |world, draft| {
            draft.edit_service(world.service, |it| it.state = ServiceState::Suspended)
        }),
        ("a token", |world, draft| {
            draft.edit_service(world.service, |it| it.tokens.push(Secret::new("token")))
        }),
        ("a key of another", |world, draft| {
            draft.edit_application(world.applications[1], |it| it.user_keys.push(Secret::new("x")))
        }),
        ("another is deleted", |world, draft| draft.delete_application(world.applications[1])),
    ];
    let kills: [(&str, Command); 11] = [
        ("deleted", |world, draft| draft.delete_application(world.applications[0])),
        ("its key is taken", |world, draft| {
            draft.edit_application(world.applications[0], |it| it.user_keys.clear())
        }),
        ("a key is added", |world, draft| {
            draft.edit_application(world.applications[0], |it| it.user_keys.push(Secret::new("x")))
        }),
        ("an application key", |world, draft| {
            draft.edit_application(world.applications[0], |it| it.app_keys.push(Secret::new("x")))
        }),
        ("its id", |world, draft| {
            draft.edit_application(world.applications[0], |it| it.app_id = "new".into())
        }),
        ("a metric is renamed", |world, draft| draft.edit_metric(world.service, world.hits, "new", None)),
        ("a metric is moved", |world, draft| draft.edit_metric(world.service, world.search, "search", None)),
        ("a metric is deleted", |world, draft| draft.delete_metric(world.service, world.search)),
        ("the backend version", |world, draft| {
            draft.edit_service(world.service, |it| it.backend_version = BackendVersion::AppId)
        }),
        ("the service is retired", |world, draft| draft.retire_service(world.service)),
        ("the service is deleted", |world, draft| draft.delete_service(world.service)),
    ];
    let after = |command: Command| {
        let world = World::new(2);
        let handle = bind(&world.engine, "key0");
        assert_eq!(authrep(&world.engine, handle, HITS), Ok(true));
        world.engine.change(|draft| command(&world, draft)).unwrap();
        let decided = authrep(&world.engine, handle, HITS);
        let count = decided.is_ok().then(|| world.count(0, 0, Period::Day));
        (decided.is_ok(), count)
    };
    for (what, command) in survives {
        let (lives, count) = after(command);
        assert!(lives && count >= Some(1), "{what} kills");
    }
    for (what, command) in kills {
        assert!(!after(command).0, "{what} does not kill");
    }
}

#[test]
fn what_changed_and_changed_back_does_not_bring_a_handle_back() {
    let world = World::new(1);
    let handle = bind(&world.engine, "key0");
    for name in ["other", "hits"] {
        world.engine.change(|draft| draft.edit_metric(world.service, world.hits, name, None)).unwrap();
    }
    assert_eq!(authrep(&world.engine, handle, HITS), Err(Refusal::StaleHandle));
    let handle = bind(&world.engine, "key0");
    for keys in [Vec::new(), vec![Secret::new("key0")]] {
        world
            .engine
            .change(|draft| draft.edit_application(world.applications[0], |it| it.user_keys = keys.into()))
            .unwrap();
    }
    assert_eq!(authrep(&world.engine, handle, HITS), Err(Refusal::StaleHandle));
    // Both at once, in one command.
    let handle = bind(&world.engine, "key0");
    let twice = world.engine.change(|draft| {
        draft.edit_metric(world.service, world.hits, "other", None)?;
        draft.edit_metric(world.service, world.hits, "hits", None)
    });
    twice.unwrap();
    assert_eq!(authrep(&world.engine, handle, HITS), Err(Refusal::StaleHandle));
    assert_eq!(world.count(0, 0, Period::Day), 0);
    assert_eq!(authrep(&world.engine, bind(&world.engine, "key0"), HITS), Ok(true));
}

#[test]
fn a_handle_of_nobody_or_of_another_scope_is_stale_and_counts_nothing() {
    let world = World::new(1);
    let other = world.engine.change(|draft| {
        let tenant = draft.create_tenant("other", "okey")?;
        let new =
            NewService { tenant, external_id: None, name: "o", backend_version: BackendVersion::UserKey };
        Ok((tenant, draft.create_service(&new)?))
    });
    let (tenant, service) = other.unwrap().0;
    let handle = bind(&world.engine, "key0");
    let own = world.engine.catalog().services.get(world.service.0).unwrap().tenant;
    let usage = [(HITS, Effect::Add(1))];
    let decide = |handle, scope| {
        let asked = request(Call::Authrep, &usage);
        world.engine.moment(NOW).bound(handle, scope, &asked, |answer| answer.denial.is_none())
    };
    for scope in [Scope::Node, Scope::Tenant(own), Scope::Service(world.service)] {
        assert_eq!(decide(handle, scope), Ok(true));
    }
    for scope in [Scope::Tenant(tenant), Scope::Service(service)] {
        assert_eq!(decide(handle, scope), Err(Refusal::StaleHandle));
    }
    let wrong =
        [0, 1, u64::from(u32::MAX), u64::MAX, handle.0 ^ 1, handle.0 ^ (1 << 32), handle.0 & 0xFFFF_FFFF];
    for wrong in wrong {
        assert_eq!(decide(Handle(wrong), Scope::Node), Err(Refusal::StaleHandle), "{wrong:x}");
    }
    assert_eq!(world.count(0, 0, Period::Day), 3);
}

#[test]
fn slots_that_no_metric_has_are_refused_and_what_is_bound_is_checked_once() {
    let world = World::new(1);
    let handle = bind(&world.engine, "key0");
    for slot in [MetricSlot(2), MetricSlot(MetricSlot::RESPONSE_CODES), MetricSlot(u32::MAX)] {
        assert_eq!(authrep(&world.engine, handle, slot), Err(Refusal::SlotInvalid { slot }));
    }
    assert_eq!(try_bind(&world.engine, "key1"), Err(Refusal::UserKeyInvalid { key: Some("key1") }));

    let keyed = |draft: &mut Draft<'_>| {
        draft.edit_service(world.service, |it| it.backend_version = BackendVersion::AppId)?;
        draft.edit_application(world.applications[0], |it| it.app_keys.push(Secret::new("secret")))
    };
    world.engine.change(keyed).unwrap();
    let by_id = |app_key, metrics| {
        let credentials = Credentials { service: Some(world.service), ..Credentials::default() };
        let request = BindRequest { credentials, app_id: Some("app0"), user_key: None, app_key, metrics };
        world.engine.moment(NOW).bind(&request)
    };
    assert_eq!(by_id(None, &[]), Ok(Err(Denial::ApplicationKeyInvalid(None))));
    assert_eq!(by_id(Some("x"), &[]), Ok(Err(Denial::ApplicationKeyInvalid(Some("x")))));
    assert_eq!(by_id(Some("secret"), &["hits", "nothing"]), Err(Refusal::MetricInvalid { name: "nothing" }));
    let bound = by_id(Some("secret"), &["search", "hits"]).unwrap().unwrap();
    assert_eq!((bound.application, bound.slots), (world.applications[0], vec![SEARCH, HITS]));
    assert_eq!(authrep(&world.engine, bound.handle, SEARCH), Ok(true));
}

#[test]
fn what_is_counted_by_handle_survives_a_restart_and_the_handle_does_not() {
    let world = World::new(3);
    let handles: Vec<_> = ["key0", "key1", "key2"].map(|key| bind(&world.engine, key)).into();
    for (round, handle) in handles.iter().enumerate() {
        for _ in 0..=round {
            assert_eq!(authrep(&world.engine, *handle, SEARCH), Ok(true));
        }
    }
    let world = world.reopen();
    for (number, expected) in (0..3).zip(1..) {
        assert_eq!(world.count(number, 0, Period::Day), expected);
        assert_eq!(world.count(number, 1, Period::Hour), expected);
        assert_eq!(authrep(&world.engine, handles[number], HITS), Err(Refusal::StaleHandle));
    }
}

/// Two plans with the same limits, so that a change of plan changes nothing.
fn twin_of_plan(world: &World, limits: &[(Period, u64)]) -> PlanId {
    let made = world.engine.change(|draft| {
        let twin = draft.create_plan(world.service, None, "Twin")?;
        for (period, max) in limits {
            draft.set_limit(world.plan, world.hits, *period, *max)?;
            draft.set_limit(twin, world.hits, *period, *max)?;
        }
        Ok(twin)
    });
    made.unwrap().0
}

#[test]
fn a_limit_of_n_admits_exactly_n_by_handle_while_plans_keys_and_metrics_change() {
    let world = World::new(2);
    let twin = twin_of_plan(&world, &[(Period::Hour, 1500), (Period::Eternity, 2000)]);
    let (admitted, died) = (AtomicU64::new(0), AtomicU64::new(0));
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let id = world.applications[0];
            for round in 0_u64.. {
                if !running.load(Ordering::Relaxed) {
                    break;
                }
                let plan = if round % 2 == 0 { twin } else { world.plan };
                let step = |draft: &mut Draft<'_>| match round % 4 {
                    0 | 1 => draft.edit_application(id, |it| it.plan = plan),
                    2 => draft.edit_application(id, |it| it.app_id = format!("app-{round}").into()),
                    _ => {
                        draft.edit_metric(world.service, world.search, &format!("m{round}"), Some(world.hits))
                    }
                };
                world.engine.change(step).unwrap();
                world.engine.flush(NOW).unwrap();
            }
        });
        let callers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (world, admitted, died) = (&world, &admitted, &died);
                scope.spawn(move || {
                    let mut handle = bind(&world.engine, "key0");
                    let mut round = 0;
                    // And on until a command has come between: on one core that may take a while.
                    while round < 400 || died.load(Ordering::Relaxed) == 0 && round < 1_000_000 {
                        let slot = if number % 2 == 0 { HITS } else { SEARCH };
                        match authrep(&world.engine, handle, slot) {
                            Ok(ok) => {
                                admitted.fetch_add(u64::from(ok), Ordering::Relaxed);
                                round += 1;
                            }
                            Err(refusal) => {
                                assert_eq!(refusal, Refusal::StaleHandle);
                                died.fetch_add(1, Ordering::Relaxed);
                                handle = bind(&world.engine, "key0");
                            }
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    assert!(died.into_inner() > 0);
    assert_eq!(admitted.into_inner(), 1500);
    let world = world.reopen();
    assert_eq!((world.count(0, 0, Period::Hour), world.count(1, 0, Period::Hour)), (1500, 0));
}

#[test]
fn what_is_decided_by_handle_is_decided_under_one_catalog() {
    // Suspended on one plan, active on the other: whoever sees half of a command admits what neither side allows.
    let world = World::new(1);
    let strict = world.engine.change(|draft| {
        let plan = draft.create_plan(world.service, None, "Strict")?;
        draft.set_limit(plan, world.hits, Period::Eternity, 0)?;
        Ok(plan)
    });
    let (strict, id) = (strict.unwrap().0, world.applications[0]);
    let handle = bind(&world.engine, "key0");
    let suspend = |strictly: bool| {
        let changed = world.engine.change(|draft| {
            draft.edit_application(id, |it| {
                it.plan = if strictly { strict } else { world.plan };
                it.state = if strictly { ApplicationState::Active } else { ApplicationState::Suspended };
            })
        });
        changed.unwrap();
    };
    suspend(true);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let usage = [(HITS, Effect::Add(1))];
                while running.load(Ordering::Relaxed) {
                    let asked = request(Call::Authrep, &usage);
                    let denied = world.engine.moment(NOW).bound(handle, Scope::Node, &asked, |answer| {
                        assert_eq!(answer.plan.id, answer.application().unwrap().plan);
                        answer.denial.map(|denial| denial.code())
                    });
                    assert!(denied.unwrap().is_some(), "admitted between two catalogs");
                }
            });
        }
        for _ in 0..100 {
            suspend(false);
            suspend(true);
            world.engine.flush(NOW).unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    assert_eq!(world.count(0, 0, Period::Eternity), 0);
}

#[test]
fn a_decision_waits_for_the_cut_of_a_command_that_is_half_way() {
    let world = World::new(1);
    let engine = &world.engine;
    let handle = bind(engine, "key0");
    let decided = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let mut sequencer = engine.sequencer.lock();
        let mut next = Catalog::clone(&engine.catalog());
        next.version += 1;
        let version = next.version;
        let cut = engine.cut_and_publish(&mut sequencer, version, Vec::new(), || {
            engine.catalog.store(Arc::new(next));
            scope.spawn(|| {
                assert_eq!(authrep(engine, handle, HITS), Ok(true));
                decided.fetch_add(1, Ordering::Relaxed);
            });
            scope.spawn(|| {
                assert!(tests::authrep(engine, "key0", &[("hits", Some("1"))]).unwrap());
                decided.fetch_add(1, Ordering::Relaxed);
            });
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(decided.load(Ordering::Relaxed), 0);
        });
        sequencer.recycle(cut);
    });
    assert_eq!(decided.into_inner(), 2);
    assert_eq!(world.count(0, 0, Period::Day), 2);
}

#[test]
fn a_new_key_leads_to_nobody_under_the_catalog_before_it() {
    // With the key comes a plan that admits all; without it the plan admits nothing.
    let world = World::new(1);
    let open = world.engine.change(|draft| {
        draft.set_limit(world.plan, world.hits, Period::Eternity, 0)?;
        draft.create_plan(world.service, None, "Open")
    });
    let open = open.unwrap().0;
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) {
                    let decided = tests::authrep(&world.engine, "key1", &[("hits", Some("1"))]);
                    let unknown = Refusal::UserKeyInvalid { key: Some("key1") };
                    assert!(decided == Ok(true) || decided == Err(unknown), "{decided:?}");
                }
            });
        }
        for round in 0..100 {
            let opens = round % 2 == 0;
            let changed = world.engine.change(|draft| {
                draft.edit_application(world.applications[0], |it| {
                    it.plan = if opens { open } else { world.plan };
                    it.user_keys = if opens { vec![Secret::new("key1")].into() } else { Few::default() };
                })
            });
            changed.unwrap();
            world.engine.flush(NOW).unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
}
