//! A call by handle is decided and counted as the same call by credentials, whatever the catalog says.

use std::time::Duration;

use proptest::prelude::*;

use super::super::request::{Answer, AuthRequest, Call, Usage};
use super::super::tests::{NOW, World, credentials};
use super::super::{BindRequest, BoundRequest};
use super::{Handle, Scope};
use crate::model::amount::Effect;
use crate::model::decision::Refusal;
use crate::model::draft::{CommandError, Draft};
use crate::model::id::{LimitId, MetricSlot, PlanId};
use crate::model::record::{ApplicationState, Secret, ServiceState};
use crate::model::time::{Period, UnixMillis};

/// System names by slot: a chain of three, and one by itself.
const METRICS: [&str; 4] = ["hits", "search", "deep", "side"];

#[derive(Clone, Debug)]
struct Asked {
    call: Call,
    usage: Vec<(usize, Effect)>,
    flat_usage: bool,
    log_code: Option<&'static str>,
    referrer: Option<&'static str>,
    all_reports: bool,
    later_ms: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Call(Asked),
    State(bool),
    ServiceState(bool),
    Shadow(bool),
    ServiceShadow(bool),
    Plan(bool),
    Referrers(bool),
    Limit { metric: usize, period: Period, max: u64, shadow: bool },
    NewKey,
}

fn asked() -> impl Strategy<Value = Asked> {
    let effect = prop_oneof![6 => (0..4_u64).prop_map(Effect::Add), 1 => (0..9_u64).prop_map(Effect::Set)];
    let call = prop_oneof![1 => Just(Call::Check), 1 => Just(Call::Authorize), 4 => Just(Call::Authrep)];
    let log_code = prop::option::of(prop::sample::select(vec!["200", "404", "x"]));
    let referrer = prop::option::of(prop::sample::select(vec!["a.example.org", "b.example.com"]));
    let later_ms = prop_oneof![6 => Just(0), 1 => 0..90_000_u64, 1 => 0..100_000_000_u64];
    let usage = prop::collection::vec((0..METRICS.len(), effect), 0..4);
    (call, usage, any::<bool>(), log_code, referrer, any::<bool>(), later_ms).prop_map(
        |(call, usage, flat_usage, log_code, referrer, all_reports, later_ms)| Asked {
            call,
            usage,
            flat_usage,
            log_code,
            referrer,
            all_reports,
            later_ms,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let limit = (0..METRICS.len(), prop::sample::select(Period::ALL.to_vec()), 0..15_u64, any::<bool>());
    prop_oneof![
        20 => asked().prop_map(Step::Call),
        1 => any::<bool>().prop_map(Step::State),
        1 => any::<bool>().prop_map(Step::ServiceState),
        1 => any::<bool>().prop_map(Step::Shadow),
        1 => any::<bool>().prop_map(Step::ServiceShadow),
        1 => any::<bool>().prop_map(Step::Plan),
        1 => any::<bool>().prop_map(Step::Referrers),
        4 => limit.prop_map(|(metric, period, max, shadow)| Step::Limit { metric, period, max, shadow }),
        1 => Just(Step::NewKey),
    ]
}

struct Twin {
    world: World,
    other: PlanId,
}

impl Twin {
    fn new() -> Twin {
        let world = World::new(1);
        let made = world.engine.change(|draft| {
            let deep = draft.create_metric(world.service, "deep", Some(world.search));
            deep.and(draft.create_metric(world.service, "side", None))?;
            draft.edit_application(world.applications[0], |it| {
                it.referrer_filters.push("*.example.org".into())
            })?;
            draft.create_plan(world.service, None, "Other")
        });
        let (other, _) = made.unwrap();
        Twin { world, other }
    }

    fn command(&self, step: &Step, number: usize) {
        let world = &self.world;
        let application = world.applications[0];
        let edit = |draft: &mut Draft<'_>| -> Result<(), CommandError> {
            match *step {
                Step::Call(_) => Ok(()),
                Step::State(active) => draft.edit_application(application, |it| {
                    it.state = if active { ApplicationState::Active } else { ApplicationState::Suspended };
                }),
                Step::ServiceState(active) => draft.edit_service(world.service, |it| {
                    it.state = if active { ServiceState::Active } else { ServiceState::Suspended };
                }),
                Step::Shadow(on) => draft.edit_application(application, |it| it.shadow = on),
                Step::ServiceShadow(on) => draft.edit_service(world.service, |it| it.shadow = on),
                Step::Plan(other) => draft.edit_application(application, |it| {
                    it.plan = if other { self.other } else { world.plan }
                }),
                Step::Referrers(on) => {
                    draft.edit_service(world.service, |it| it.referrer_filters_required = on)
                }
                Step::Limit { metric, period, max, shadow } => {
                    let service = draft.catalog().services.get(world.service.0).unwrap();
                    let metric = service.metrics.find(METRICS[metric]).unwrap().id;
                    for plan in [world.plan, self.other] {
                        let limit = draft.set_limit(plan, metric, period, max + plan.0 % 3)?;
                        draft.set_limit_shadow(plan, limit, shadow)?;
                    }
                    Ok(())
                }
                Step::NewKey => draft.edit_application(application, |it| {
                    it.user_keys.push(Secret::new(&format!("more{number}")));
                }),
            }
        };
        // Nobody flushes here, and commands are refused if that lasts.
        if world.engine.flush_health().unflushed_age > Duration::from_secs(1) {
            world.engine.flush(NOW).unwrap();
        }
        world.engine.change(edit).unwrap();
    }

    fn by_key(&self, asked: &Asked, wall: UnixMillis) -> Summary {
        let texts: Vec<_> =
            asked.usage.iter().map(|(metric, effect)| (METRICS[*metric], text(*effect))).collect();
        let texts: Vec<_> = texts.iter().map(|(metric, text)| (*metric, Some(text.as_str()))).collect();
        let amounts: Vec<_> =
            asked.usage.iter().map(|(metric, effect)| (METRICS[*metric], *effect)).collect();
        let request = AuthRequest {
            call: asked.call,
            oauth: false,
            credentials: credentials(),
            app_id: None,
            user_key: Some("key0"),
            app_key: None,
            referrer: asked.referrer,
            redirect: None,
            usage: if asked.flat_usage { Usage::Texts(&texts) } else { Usage::Amounts(&amounts) },
            log_code: asked.log_code,
            flat_usage: asked.flat_usage,
            no_body: !asked.all_reports,
        };
        self.world.engine.authorize(&request, wall, Summary::of).unwrap()
    }

    fn by_handle<'r>(
        &self,
        handle: Handle,
        asked: &'r Asked,
        wall: UnixMillis,
    ) -> Result<Summary, Refusal<'r>> {
        let slot = |metric: usize| MetricSlot(u32::try_from(metric).unwrap());
        let usage: Vec<_> = asked.usage.iter().map(|(metric, effect)| (slot(*metric), *effect)).collect();
        let request = BoundRequest {
            call: asked.call,
            usage: &usage,
            flat_usage: asked.flat_usage,
            log_code: asked.log_code,
            referrer: asked.referrer,
            all_reports: asked.all_reports,
        };
        let decided = self.world.engine.moment(wall).bound(handle, Scope::Node, &request, Summary::of);
        decided.map_err(|refusal| {
            assert_eq!(refusal, Refusal::StaleHandle);
            Refusal::StaleHandle
        })
    }

    fn bind(&self) -> Handle {
        let request = BindRequest {
            credentials: credentials(),
            app_id: None,
            user_key: Some("key0"),
            app_key: None,
            metrics: &METRICS,
        };
        let bound = self.world.engine.moment(NOW).bind(&request).unwrap().unwrap();
        assert_eq!(bound.slots, [0, 1, 2, 3].map(MetricSlot));
        bound.handle
    }
}

fn text(effect: Effect) -> String {
    match effect {
        Effect::Add(amount) => amount.to_string(),
        Effect::Set(value) => format!("#{value}"),
    }
}

type Numbers = (Option<u64>, Option<u64>, Option<u64>);

/// All that an answer says.
#[derive(PartialEq, Debug)]
struct Summary {
    codes: [Option<&'static str>; 2],
    reports: Vec<(LimitId, u64, bool)>,
    status: Numbers,
    standing: (Vec<LimitId>, Option<LimitId>, Option<u64>, Option<u64>),
    binding: Option<(LimitId, u64, Numbers)>,
}

impl Summary {
    fn of(answer: &Answer<'_>) -> Summary {
        let status = answer.limit();
        let standing = answer.standing();
        let binding = answer.binding();
        // What is told of the tightest limit is the same in seconds and in milliseconds.
        if let Some(it) = binding {
            assert_eq!(standing.tightest.map(|report| report.limit.id), Some(it.limit.id));
            assert_eq!(it.reset_ms.map(|ms| ms.div_ceil(1000)), standing.reset_s);
            assert_eq!(it.retry_after_ms.map(|ms| ms.div_ceil(1000)), standing.retry_after_s);
        }
        Summary {
            codes: [answer.denial, answer.would_deny].map(|denial| denial.map(|it| it.code())),
            reports: answer.reports.iter().map(|it| (it.limit.id, it.current, it.exceeded)).collect(),
            status: (status.remaining, status.reset_s, status.max),
            standing: (
                standing.limits.iter().map(|report| report.limit.id).collect(),
                standing.tightest.map(|report| report.limit.id),
                standing.reset_s,
                standing.retry_after_s,
            ),
            binding: binding
                .map(|it| (it.limit.id, it.current, (it.remaining, it.reset_ms, it.retry_after_ms))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn by_handle_is_as_by_key(steps in prop::collection::vec(step(), 1..60)) {
        let (keyed, bound) = (Twin::new(), Twin::new());
        let mut handle = bound.bind();
        let mut wall = NOW;
        for (number, step) in steps.iter().enumerate() {
            keyed.command(step, number);
            bound.command(step, number);
            if let Step::NewKey = step {
                let idle = Asked { call: Call::Authrep, usage: vec![(0, Effect::Add(1))], flat_usage: false,
                    log_code: None, referrer: None, all_reports: false, later_ms: 0 };
                prop_assert_eq!(bound.by_handle(handle, &idle, wall), Err(Refusal::StaleHandle));
                handle = bound.bind();
            }
            let Step::Call(asked) = step else { continue };
            wall.0 += asked.later_ms;
            let by_handle = bound.by_handle(handle, asked, wall);
            prop_assert_eq!(by_handle, Ok(keyed.by_key(asked, wall)), "{:?}", asked);
        }
        let image = |twin: &Twin| twin.world.engine.counters_of(twin.world.applications[0], wall).unwrap();
        prop_assert_eq!(image(&bound).cells, image(&keyed).cells);
        prop_assert_eq!(bound.world.reopen().count(0, 0, Period::Day), keyed.world.count(0, 0, Period::Day));
    }
}
