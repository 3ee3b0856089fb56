//! `/services/:s/alert_limits/`: at which percentages of a limit the service's provider wants to be told.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::json::JsonError;
use super::records::Records;
use crate::model::draft::CommandError;
use crate::model::record::Service;

pub(super) fn answer(api: &Api, call: &Call, service: &str, rest: &[&str]) -> Outcome {
    match (call.verb, rest) {
        (Verb::Get, []) => {
            let records = api.records();
            let service = records.service(service)?;
            let limits: Vec<_> = service.alert_limits.iter().map(|level| shown(service, *level)).collect();
            Ok(Reply::ok(json!({"status": "found", "alert_limits": limits})))
        }
        (Verb::Post, []) => {
            let value =
                call.body.object("alert_limit")?.number("value")?.ok_or(JsonError::Missing("value"))?;
            // What is no level is refused with the others by the draft's rule.
            let level = u16::try_from(value).map_err(|_| CommandError::AlertLevel(value))?;
            api.change(|draft| {
                let service = Records::service(draft, service)?;
                let body = json!({"status": "created", "alert_limit": shown(service, level)});
                let service = service.id;
                draft.edit_service(service, |service| service.alert_limits.push(level))?;
                Ok(Reply::created(body))
            })
        }
        (Verb::Delete, [value]) => api.change(|draft| {
            let service = Records::service(draft, service)?;
            let level = value.parse::<u16>().ok().filter(|level| service.alert_limits.contains(level));
            let level = level.ok_or(Refusal::NotFound("alert limit"))?;
            let service = service.id;
            draft.edit_service(service, |service| service.alert_limits.retain(|known| *known != level))?;
            Ok(Reply::deleted())
        }),
        _ => Err(Refusal::NoSuchRoute),
    }
}

fn shown(service: &Service, level: u16) -> Value {
    json!({"service_id": service.text(), "value": level})
}
