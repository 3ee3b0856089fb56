//! `/services/:s/plans/:p/usagelimits/:metric/:period`: how much a plan allows.

use serde_json::{Map, Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::applications::find_or_create_plan;
use super::call::{Call, Verb};
use super::json::JsonError;
use super::records::{Records, metric_text, show_flag};
use crate::model::metric::Metric;
use crate::model::record::Service;
use crate::model::time::Period;

/// Which limit a path names.
pub(super) struct Place<'p> {
    pub(super) service: &'p str,
    pub(super) plan: &'p str,
    pub(super) metric: &'p str,
    pub(super) period: &'p str,
}

pub(super) fn answer(api: &Api, call: &Call, place: &Place<'_>) -> Outcome {
    match call.verb {
        Verb::Get => {
            let records = api.records();
            let service = records.service(place.service)?;
            let metric = service.metrics.by_text(place.metric).ok_or(Refusal::NotFound("metric"))?;
            let period = Period::parse(place.period).ok_or(Refusal::NotFound("period"))?;
            let plan = records.plan(service.id, place.plan).ok_or(Refusal::NotFound("plan"))?;
            let mut limits = plan.limits.iter();
            let limit = limits.find(|limit| (limit.metric, limit.period) == (metric.id, period));
            let limit = limit.ok_or(Refusal::NotFound("usage limit"))?;
            let mut shown = shown(service, place, metric, period, limit.max);
            show_flag(&mut shown, "shadow", limit.shadow);
            Ok(Reply::ok(json!({"status": "found", "usagelimit": shown})))
        }
        Verb::Put => put(api, call, place),
        Verb::Delete => api.change(|draft| {
            // It is not there afterwards, whether or not it was.
            let Ok(service) = Records::service(draft, place.service) else { return Ok(Reply::deleted()) };
            let metric = service.metrics.by_text(place.metric);
            let plan = draft.plan(service.id, place.plan);
            if let (Some(metric), Some(plan), Some(period)) = (metric, plan, Period::parse(place.period)) {
                let (metric, plan) = (metric.id, plan.id);
                draft.delete_limit(plan, metric, period)?;
            }
            Ok(Reply::deleted())
        }),
        Verb::Post => Err(Refusal::NoSuchRoute),
    }
}

fn put(api: &Api, call: &Call, place: &Place<'_>) -> Outcome {
    let period = Period::parse(place.period).ok_or(Refusal::NotFound("period"))?;
    let body = call.body.object("usagelimit")?;
    let max = body.number(period.name())?.ok_or(JsonError::Missing(period.name()))?;
    let shadow = body.flag("shadow")?;
    api.change(|draft| {
        let service = Records::service(draft, place.service)?;
        let metric = service.metrics.by_text(place.metric).ok_or(Refusal::NotFound("metric"))?;
        let mut shown = shown(service, place, metric, period, max);
        let (service, metric) = (service.id, metric.id);
        let plan = find_or_create_plan(draft, service, place.plan)?;
        let limit = draft.set_limit(plan, metric, period, max)?;
        if let Some(shadow) = shadow {
            draft.set_limit_shadow(plan, limit, shadow)?;
        }
        let limits = &Records::plan_of(draft, plan)?.limits;
        show_flag(&mut shown, "shadow", limits.iter().any(|it| it.id == limit && it.shadow));
        Ok(Reply::ok(json!({"status": "modified", "usagelimit": shown})))
    })
}

fn shown(service: &Service, place: &Place<'_>, metric: &Metric, period: Period, max: u64) -> Value {
    let mut shown = Map::new();
    shown.insert("service_id".to_owned(), service.text().into());
    shown.insert("plan_id".to_owned(), place.plan.into());
    shown.insert("metric_id".to_owned(), metric_text(metric).into());
    shown.insert(period.name().to_owned(), max.into());
    shown.into()
}
