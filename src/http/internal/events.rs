//! `/events/`: what happened to applications, until the consumer deletes it.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply, time_text};
use super::call::{Call, Verb};
use super::json::JsonError;
use crate::plugin::alerts::{Event, EventKind};

pub(super) fn answer(api: &Api, call: &Call, rest: &[&str]) -> Outcome {
    match (call.verb, rest) {
        (Verb::Get, []) => {
            let events: Vec<_> = api.alerts.events()?.iter().map(shown).collect();
            Ok(Reply::ok(json!({"status": "found", "events": events})))
        }
        (Verb::Delete, []) => {
            let upto_id = call.body.number("upto_id")?.ok_or(JsonError::Missing("upto_id"))?;
            let deleted = api.alerts.delete_up_to(upto_id)?;
            Ok(Reply::ok(json!({"status": "deleted", "num_events": deleted})))
        }
        (Verb::Delete, [id]) => {
            let deleted = id.parse().ok().map(|id| api.alerts.delete(id)).transpose()?;
            if deleted == Some(true) { Ok(Reply::deleted()) } else { Err(Refusal::NotFound("event")) }
        }
        _ => Err(Refusal::NoSuchRoute),
    }
}

fn shown(event: &Event) -> Value {
    let timestamp = time_text(event.at_s);
    let (kind, object) = match &event.kind {
        EventKind::FirstTraffic => ("first_traffic", traffic(event)),
        EventKind::FirstDailyTraffic => ("first_daily_traffic", traffic(event)),
        EventKind::Alert { level, count, max, metric, period } => {
            let object = json!({
                "id": event.id,
                "utilization": level,
                "max_utilization": share(*count, *max),
                "application_id": event.application,
                "service_id": event.service,
                "timestamp": timestamp,
                "limit": format!("{metric} per {}: {count}/{max}", period.name()),
            });
            ("alert", object)
        }
    };
    json!({"id": event.id, "type": kind, "timestamp": timestamp, "object": object})
}

fn traffic(event: &Event) -> Value {
    json!({
        "service_id": event.service,
        "application_id": event.application,
        "timestamp": time_text(event.at_s),
    })
}

/// How much of the maximum is spent, as the original gives it: 1.0 is all. It is shown, never reckoned with.
fn share(count: u64, max: u64) -> f64 {
    count as f64 / max as f64
}
