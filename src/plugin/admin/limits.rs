//! Limits of application plans: `/application_plans/{id}/limits`, `/application_plans/{id}/metrics/{id}/limits`.
//!
//! A limit binds the next decision. Changing its value keeps what was counted; its period may be changed as well, which counts of
//! their own were kept for all the time.

use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section};
use super::backend_metrics::BackendMetric;
use super::check;
use super::context::{Context, Seen};
use super::metrics;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::xml::Element;
use super::{Stamps, times};
use crate::model::catalog::Change;
use crate::model::id::{LimitId, MetricId, PlanId};
use crate::model::record::{Limit, Plan};
use crate::model::time::Period;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "application_plans/{plan_id}/limits", ACCESS, list_of_plan),
    Route::new(GET, "application_plans/{plan_id}/metrics/{metric_id}/limits", ACCESS, list),
    Route::new(POST, "application_plans/{plan_id}/metrics/{metric_id}/limits", ACCESS, create),
    Route::new(GET, "application_plans/{plan_id}/metrics/{metric_id}/limits/{id}", ACCESS, show),
    Route::new(PUT, "application_plans/{plan_id}/metrics/{metric_id}/limits/{id}", ACCESS, update),
    Route::new(DELETE, "application_plans/{plan_id}/metrics/{metric_id}/limits/{id}", ACCESS, delete),
];

/// In pages as all lists are: 3scale's list of parameters has 50 on a page here, but what it answers are 500 as everywhere, and clients ask for
/// one page.
fn list_of_plan(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let plan = seen.plan(context.id(0)?)?;
    let page = context.page(plan.limits.len());
    let limits = page.cut(by_id(plan.limits.iter()));
    let shown = limits.into_iter().map(|it| entity(seen, plan, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("limits", shown, Some(page)))
}

/// A plan has its limits in the order of answers to gateways.
fn by_id<'p>(limits: impl Iterator<Item = &'p Limit>) -> Vec<&'p Limit> {
    let mut limits: Vec<_> = limits.collect();
    limits.sort_by_key(|limit| limit.id);
    limits
}

/// A plan, and a metric that it may limit.
pub(super) fn plan_and_metric(seen: Seen<'_>, plan: u64, metric: u64) -> Result<(&Plan, MetricId), Refusal> {
    let plan = seen.plan(plan)?;
    let service = seen.service(plan.service.0)?;
    Ok((plan, metrics::metric(service, metric)?.id))
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (plan, metric) = plan_and_metric(seen, context.id(0)?, context.id(1)?)?;
    let limits = by_id(plan.limits.iter().filter(|limit| limit.metric == metric));
    let shown = limits.into_iter().map(|it| entity(seen, plan, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("limits", shown, None))
}

/// A limit on a metric of a plan.
fn limit(seen: Seen<'_>, plan: u64, metric: u64, id: u64) -> Result<(&Plan, &Limit), Refusal> {
    let (plan, metric) = plan_and_metric(seen, plan, metric)?;
    let limit = plan.limit(LimitId(id)).filter(|limit| limit.metric == metric);
    Ok((plan, limit.ok_or(Refusal::NotFound)?))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (plan, limit) = limit(seen, context.id(0)?, context.id(1)?, context.id(2)?)?;
    Ok(Reply::one(entity(seen, plan, limit)?))
}

/// The period and value that were sent. Nothing, and what is below nothing, is no call at all: as in the original.
fn sent(fields: &Fields, errors: &mut Errors) -> (Option<Period>, Option<u64>) {
    let period = fields.text("period").and_then(|text| {
        let period = Period::parse(text.trim());
        if period.is_none() {
            errors.add("period", check::NOT_LISTED);
        }
        period
    });
    let value = match (fields.has("value"), fields.integer("value")) {
        (false, _) => None,
        (true, None) => Some(0),
        (true, Some(Some(value))) => Some(u64::try_from(value).unwrap_or(0)),
        (true, Some(None)) => {
            errors.add("value", check::NOT_A_NUMBER);
            None
        }
    };
    (period, value)
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("usage_limit")?;
    let (plan_id, metric) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let (plan, metric) = plan_and_metric(edit.seen(), plan_id, metric)?;
        let mut errors = Errors::default();
        let (period, value) = sent(&fields, &mut errors);
        if !fields.has("period") {
            errors.add("period", check::BLANK);
        }
        if plan.limits.iter().any(|it| it.metric == metric && Some(it.period) == period) {
            errors.add("period", check::TAKEN);
        }
        errors.check()?;
        let period = period.ok_or_else(|| Errors::of("period", check::BLANK))?;
        let id = edit.draft.set_limit(PlanId(plan_id), metric, period, value.unwrap_or(0))?;
        let stamps = Stamps { created_at: edit.now, updated_at: edit.now };
        edit.records.save(id.0, &stamps)?;
        let seen = edit.seen();
        let plan = seen.plan(plan_id)?;
        let entity = entity(seen, plan, plan.limit(id).ok_or(Refusal::NotFound)?)?;
        Ok(Reply::created(entity).at(place(plan.id, metric, id)))
    })
}

fn place(plan: PlanId, metric: MetricId, limit: LimitId) -> String {
    format!("/admin/api/application_plans/{plan}/metrics/{metric}/limits/{limit}")
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("usage_limit")?;
    let (plan_id, metric, id) = (context.id(0)?, context.id(1)?, context.id(2)?);
    context.change(|edit| {
        let (plan, limit) = limit(edit.seen(), plan_id, metric, id)?;
        let mut errors = Errors::default();
        let (period, value) = sent(&fields, &mut errors);
        let (period, value) = (period.unwrap_or(limit.period), value.unwrap_or(limit.max));
        let is_other = |it: &&Limit| (it.metric, it.period) == (limit.metric, period) && it.id != limit.id;
        if plan.limits.iter().any(|it| is_other(&it)) {
            errors.add("period", check::TAKEN);
        }
        errors.check()?;
        if (period, value) != (limit.period, limit.max) {
            let stamps = edit.records.find::<Stamps>(id)?.unwrap_or_default();
            edit.draft.edit_limit(PlanId(plan_id), LimitId(id), period, value)?;
            edit.records.save(id, &Stamps { updated_at: edit.now, ..stamps })?;
        }
        let seen = edit.seen();
        let plan = seen.plan(plan_id)?;
        Ok(Reply::one(entity(seen, plan, plan.limit(LimitId(id)).ok_or(Refusal::NotFound)?)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (plan, metric, id) = (context.id(0)?, context.id(1)?, context.id(2)?);
    context.change(|edit| {
        limit(edit.seen(), plan, metric, id)?;
        edit.draft.delete_limit_by_id(PlanId(plan), LimitId(id))?;
        Ok(Reply::gone())
    })
}

/// The limit as answers show it.
fn entity(seen: Seen<'_>, plan: &Plan, limit: &Limit) -> Result<Entity, Refusal> {
    let stamps = seen.records.find::<Stamps>(limit.id.0)?.unwrap_or_default();
    let service = format!("/admin/api/services/{}", plan.service);
    // A backend's own metric is the service's to limit, but is shown where it is at home.
    let metric = match seen.records.find::<BackendMetric>(limit.metric.0)? {
        Some(metric) => format!("/admin/api/backend_apis/{}/metrics/{}", metric.backend, limit.metric),
        None => format!("{service}/metrics/{}", limit.metric),
    };
    let json = json!({
        "id": limit.id.0,
        "period": limit.period.name(),
        "value": limit.max,
        "metric_id": limit.metric.0,
        "plan_id": plan.id.0,
        "created_at": times::text(stamps.created_at),
        "updated_at": times::text(stamps.updated_at),
        "links": links([
            ("metric", metric),
            ("self", place(plan.id, limit.metric, limit.id)),
            ("plan", format!("{service}/application_plans/{}", plan.id)),
        ]),
    });
    let xml = Element::new("limit")
        .field("id", limit.id)
        .field("metric_id", limit.metric)
        .field("plan_id", plan.id)
        .field("period", limit.period.name())
        .field("value", limit.max);
    Ok(Entity { wrapper: "limit", json, xml })
}

/// Limits that are gone are dated no more; those that came otherwise are.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let (id, after) = match change {
            Change::PutPlan(plan) => (plan.id, plan.limits.as_slice()),
            Change::DeletePlan(id) => (*id, &[][..]),
            _ => continue,
        };
        let before = accompanied.before.plans.get(id.0).map_or(&[][..], |plan| plan.limits.as_slice());
        let ids =
            |limits: &[Limit]| limits.iter().map(|limit| limit.id).collect::<std::collections::BTreeSet<_>>();
        let (before, after) = (ids(before), ids(after));
        for gone in before.difference(&after) {
            records.remove::<Stamps>(gone.0);
        }
        for new in after.difference(&before) {
            if records.find::<Stamps>(new.0)?.is_none() {
                records.save(new.0, &Stamps { created_at: now, updated_at: now })?;
            }
        }
    }
    Ok(())
}
