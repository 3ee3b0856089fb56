//! `GET /services/:s/applications/:id/utilization/`: how much of each limit is spent at this moment.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::records::Records;
use crate::model::record::Limit;
use crate::model::time::Windows;

pub(super) fn answer(api: &Api, call: &Call, service: &str, id: &str) -> Outcome {
    if call.verb != Verb::Get {
        return Err(Refusal::NoSuchRoute);
    }
    let records = api.records();
    let service = records.service(service)?;
    let application = records.application(service.id, id)?;
    let wall = (api.clock)();
    let windows = Windows::at(api.engine.now(wall).minute());
    // Live: what was counted before this call is in here.
    let counters = api.engine.counters_of(application.id, wall);
    let cells = counters.as_ref().map_or(&[][..], |image| &image.cells);
    let shown = |limit: &Limit| -> Option<Value> {
        let metric = service.metrics.get(limit.slot)?;
        let cell = cells.iter().find(|cell| cell.slot == limit.slot);
        Some(json!({
            "period": limit.period.name(),
            "metric_name": metric.name,
            "max_value": limit.max,
            "current_value": cell.map_or(0, |cell| cell.count(limit.period, &windows)),
        }))
    };
    let utilization: Vec<_> = records.plan_of(application.plan)?.limits.iter().filter_map(shown).collect();
    Ok(Reply::ok(json!({"status": "found", "utilization": utilization})))
}
