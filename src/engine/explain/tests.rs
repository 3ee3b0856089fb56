//! Explanations: they say what the decision would, count nothing and show no credential.

use proptest::prelude::*;

use super::super::tests::{NOW, World, credentials, request};
use super::*;
use crate::engine::request::{Credentials, UsageParameter};
use crate::model::record::{ApplicationState, Secret};
use crate::model::time::Period;

fn explain(world: &World, usage: &[UsageParameter<'_>]) -> Explanation {
    world.engine.explain(&request(Some("key0"), usage), NOW)
}

/// A world of one application that has spent 4 of 5 searches of the day.
fn spent() -> World {
    let world = World::new(1);
    world.limit(world.hits, Period::Minute, 10);
    world.limit(world.search, Period::Day, 5);
    let usage = [("search", Some("4"))];
    world.engine.authorize(&request(Some("key0"), &usage), NOW, |_| ()).unwrap();
    world
}

#[test]
fn a_denial_is_explained_down_to_the_counter_and_its_window() {
    let world = spent();
    let explanation = explain(&world, &[("search", Some("2"))]);
    assert!(matches!(&explanation.verdict, Verdict::Denied(reason) if reason.code == "limits_exceeded"));
    let text = explanation.to_string();
    let service = world.service;
    let wanted = [
        "At 2026-11-22 13:45:30 UTC, under catalog version 3, without counting:".to_owned(),
        String::new(),
        "Verdict      denied (limits_exceeded): usage limits are exceeded".to_owned(),
        "Decided by   limit search/day: 4 counted, 6 with this call, at most 5".to_owned(),
        format!(
            "Service      {service} (api, id {service}, tenant 1): active, backend version 1, known by provider_key"
        ),
        format!("Application  app0 (app0, id {}): active, known by user_key", world.applications[0]),
        format!("Plan         {0} (Basic, id {0})", world.plan),
        String::new(),
        "METRIC  EFFECT           ABOVE IT".to_owned(),
        "search  +2               hits".to_owned(),
        "hits    +2 (from below)".to_owned(),
        String::new(),
        "LIMIT        WINDOW                                      COUNT  AFTER  RESERVED  MAX  LEFT  HOLDS"
            .to_owned(),
        "hits/minute  2026-11-22 13:45:00 to 2026-11-22 13:46:00  4      6      0         10   6     yes"
            .to_owned(),
        "search/day   2026-11-22 00:00:00 to 2026-11-23 00:00:00  4      6      0         5    1     NO"
            .to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn explaining_counts_nothing() {
    let world = spent();
    let before = [0, 1].map(|slot| world.count(0, slot, Period::Day));
    for _ in 0..3 {
        assert_eq!(explain(&world, &[("search", Some("1"))]).verdict, Verdict::Authorized);
    }
    assert_eq!([0, 1].map(|slot| world.count(0, slot, Period::Day)), before);
}

#[test]
fn an_explanation_survives_its_way_as_json() {
    let explanation = explain(&spent(), &[("search", Some("#2")), ("hits", Some("1"))]);
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
    assert!(json.contains(r#""verdict":"authorized""#), "{json}");
}

#[test]
fn what_is_in_shadow_is_said_to_be() {
    let world = spent();
    world
        .engine
        .change(|draft| draft.edit_application(world.applications[0], |it| it.shadow = true))
        .unwrap();
    let explanation = explain(&world, &[("search", Some("2"))]);
    assert_eq!(explanation.verdict, Verdict::Authorized);
    assert_eq!(explanation.would_deny.as_ref().unwrap().code, "limits_exceeded");
    assert!(explanation.decided_by.starts_with("in shadow: limit search/day: 4 counted"));
    assert!(explanation.to_string().contains("known by user_key, in shadow\n"));
}

#[test]
fn refusals_say_how_far_the_call_got() {
    let world = spent();
    let wrong_metric = explain(&world, &[("nope", Some("1"))]);
    assert_eq!(wrong_metric.decided_by, "reading the usage");
    assert!(wrong_metric.application.is_some() && wrong_metric.limits.is_empty());

    let nobody = world.engine.explain(&request(Some("key9"), &[]), NOW);
    assert_eq!(nobody.decided_by, "finding the application");
    assert!(nobody.service.is_some() && nobody.application.is_none());

    let stranger = AuthRequest { credentials: Credentials::default(), ..request(Some("key0"), &[]) };
    let stranger = world.engine.explain(&stranger, NOW);
    assert_eq!(stranger.decided_by, "the caller's credentials");
    assert!(stranger.service.is_none());
}

#[test]
fn no_credential_is_shown_whatever_becomes_of_the_call() {
    const SECRET: &str = "s3cret";
    let world = spent();
    let edited = world.engine.change(|draft| {
        draft.edit_service(world.service, |it| it.tokens = vec![Secret::new("s3cret-token")])?;
        draft.edit_application(world.applications[0], |it| {
            it.app_keys = vec![Secret::new("s3cret-key")].into();
            it.user_keys.push(Secret::new("s3cret-user"));
        })
    });
    edited.unwrap();
    let service = world.service.to_string();
    let all = |world: &World| {
        let known = [Some("s3cret-user"), Some("s3cret-wrong"), None];
        for (user_key, service_id) in known.into_iter().flat_map(|key| [(key, None), (key, Some("0"))]) {
            for credentials in [
                credentials(),
                Credentials { provider_key: Some("s3cret-p"), service_id, ..Credentials::default() },
                Credentials {
                    provider_key: Some("s3cret-p"),
                    service_id: Some(&service),
                    ..Credentials::default()
                },
                Credentials {
                    service_token: Some("s3cret-token"),
                    service_id: Some(&service),
                    ..Credentials::default()
                },
                Credentials {
                    service_token: Some("s3cret-t"),
                    service_id: Some(&service),
                    ..Credentials::default()
                },
            ] {
                let app_key = Some("s3cret-other");
                let call = AuthRequest { credentials, app_key, app_id: None, ..request(user_key, &[]) };
                let by_id = AuthRequest { app_id: Some("app0"), user_key: None, ..call };
                for call in [call, by_id] {
                    let explanation = world.engine.explain(&call, NOW);
                    let shown = format!("{explanation} {explanation:?}");
                    assert!(!shown.contains(SECRET), "{shown}");
                }
            }
        }
    };
    all(&world);
    world
        .engine
        .change(|draft| draft.edit_service(world.service, |it| it.backend_version = BackendVersion::AppId))
        .unwrap();
    all(&world);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_is_what_the_decision_then_is(
        limits in prop::collection::vec((any::<bool>(), 0..8_u64, any::<bool>()), 0..4),
        calls in prop::collection::vec((prop::option::of(0..3_usize), "#?[0-4]|x"), 1..12),
        (app_shadow, service_shadow, active) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let world = World::new(1);
        let built = world.engine.change(|draft| {
            let periods = [Period::Hour, Period::Day, Period::Month, Period::Year];
            for ((on_hits, max, shadow), period) in limits.into_iter().zip(periods) {
                let metric = if on_hits { world.hits } else { world.search };
                let limit = draft.set_limit(world.plan, metric, period, max)?;
                draft.set_limit_shadow(world.plan, limit, shadow)?;
            }
            draft.edit_service(world.service, |it| it.shadow = service_shadow)?;
            draft.edit_application(world.applications[0], |it| {
                it.shadow = app_shadow;
                it.state = if active { ApplicationState::Active } else { ApplicationState::Suspended };
            })
        });
        built.unwrap();
        for (metric, value) in calls {
            let usage: Vec<UsageParameter<'_>> =
                metric.map(|at| (["hits", "search", "nope"][at], Some(value.as_str()))).into_iter().collect();
            let explanation = explain(&world, &usage);
            let code = |reason: &Reason| reason.code.clone();
            let explained = (
                match &explanation.verdict {
                    Verdict::Authorized => None,
                    Verdict::Denied(reason) | Verdict::Refused(reason) => Some(code(reason)),
                },
                explanation.would_deny.as_ref().map(code),
            );
            let decided = world.engine.authorize(&request(Some("key0"), &usage), NOW, |answer| {
                let code = |denial: Denial<'_>| denial.code().to_owned();
                (answer.denial.map(code), answer.would_deny.map(code))
            });
            let decided = decided.unwrap_or_else(|refusal| (Some(refusal.code().to_owned()), None));
            prop_assert_eq!(explained, decided);
            if explanation.verdict == Verdict::Authorized {
                for limit in &explanation.limits {
                    let slot = u32::from(limit.metric == "search");
                    let period = Period::parse(&limit.period).unwrap();
                    prop_assert_eq!(world.count(0, slot, period), limit.count_after);
                }
            }
        }
    }
}
