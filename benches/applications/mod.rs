//! What several benches measure on: applications, each with an id, a name and a user key, that have counted a metric
//! with two above it, all in seven periods.

use std::ops::Range;

use tollgate::engine::request::{Call, Credentials};
use tollgate::engine::{BindRequest, BoundRequest, Engine, Handle, Moment, Scope};
use tollgate::model::amount::Effect;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::id::{MetricSlot, PlanId, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};

/// Applications created by one command, at most.
pub(crate) const PER_COMMAND: usize = 5_000;

/// The slot of the metric that is counted; those of its ancestors are before it.
pub(crate) const DEEP: MetricSlot = MetricSlot(2);

/// What the process takes of memory.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn key(number: usize) -> String {
    format!("user-key-{number:023}")
}

/// A service with three metrics and a plan that limits them.
pub(crate) fn create(engine: &Engine) -> (ServiceId, PlanId) {
    let made = engine.change(|draft| {
        let tenant = draft.create_tenant("bench", "provider")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("bench"), name: "bench", backend_version };
        let service = draft.create_service(&new)?;
        let plan = draft.create_plan(service, None, "Basic")?;
        let mut parent = None;
        for name in ["hits", "search", "deep"] {
            let metric = draft.create_metric(service, name, parent)?;
            parent = Some(metric);
            for period in [Period::Month, Period::Day, Period::Minute] {
                draft.set_limit(plan, metric, period, 1_000_000)?;
            }
        }
        Ok((service, plan))
    });
    made.unwrap().0
}

/// Adds applications, at most [`PER_COMMAND`], and counts 1 for each. Returns their handles.
pub(crate) fn add(
    engine: &Engine,
    (service, plan): (ServiceId, PlanId),
    numbers: Range<usize>,
    now: UnixMillis,
) -> Vec<Handle> {
    let build = |draft: &mut Draft<'_>| {
        for number in numbers.clone() {
            let name = format!("app{number}");
            let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
            let id = draft.create_application(&new)?;
            draft.edit_application(id, |it| it.user_keys.push(Secret::new(&key(number))))?;
        }
        Ok(())
    };
    engine.change(build).unwrap();
    let credentials = Credentials { service: Some(service), ..Credentials::default() };
    let mut moment = engine.moment(now);
    let bind_and_count = |number| {
        let key = key(number);
        let user_key = Some(key.as_str());
        let bind = BindRequest { credentials, app_id: None, user_key, app_key: None, metrics: &["deep"] };
        let bound = moment.bind(&bind).unwrap().unwrap();
        assert_eq!(bound.slots[..], [DEEP]);
        count(&mut moment, bound.handle);
        bound.handle
    };
    numbers.map(bind_and_count).collect()
}

/// Counts 1 for an application.
pub(crate) fn count(moment: &mut Moment<'_>, handle: Handle) {
    let usage = [(DEEP, Effect::Add(1))];
    let request = BoundRequest {
        call: Call::Authrep,
        usage: &usage,
        flat_usage: false,
        log_code: None,
        referrer: None,
        all_reports: false,
    };
    let counted = moment.bound(handle, Scope::Node, &request, |answer| answer.denial.is_none());
    assert_eq!(counted, Ok(true));
}
