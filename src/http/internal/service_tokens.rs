//! `/service_tokens/`: tokens that stand for one service, in place of the provider's key.

use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::json::{JsonError, Object};
use super::records::Records;
use crate::model::catalog::Key;
use crate::model::id::ServiceId;
use crate::model::record::Secret;

pub(super) fn answer(api: &Api, call: &Call, rest: &[&str]) -> Outcome {
    match (call.verb, rest) {
        (Verb::Post, []) => create(api, call),
        (Verb::Delete, []) => delete(api, call),
        (Verb::Get, [token, service]) => {
            provider_key(api, token, service)?;
            Ok(Reply::ok(json!({"status": "found"})))
        }
        (Verb::Get, [token, service, "provider_key"]) => {
            let key = provider_key(api, token, service)?;
            Ok(Reply::ok(json!({"status": "found", "provider_key": key})))
        }
        _ => Err(Refusal::NoSuchRoute),
    }
}

/// `{service_tokens: {TOKEN: {service_id}}}`: all are created or none.
fn create(api: &Api, call: &Call) -> Outcome {
    let mut pairs = Vec::new();
    for (token, value) in call.body.object("service_tokens")?.values() {
        let service = Object::of("service_tokens", value)?.text("service_id")?;
        if token.trim().is_empty() {
            return Err(Refusal::Blank("a service token"));
        }
        pairs.push((token.clone(), service.ok_or(Refusal::Blank("service_id"))?));
    }
    api.change(|draft| {
        for (token, service) in &pairs {
            let service = Records::service(draft, service)?;
            if !service.tokens.iter().any(|known| known.matches(token)) {
                let service = service.id;
                draft.edit_service(service, |service| service.tokens.push(Secret::new(token)))?;
            }
        }
        Ok(Reply::created(json!({"status": "created"})))
    })
}

/// `{service_tokens: [{service_token, service_id}]}`; answers how many of them there were.
fn delete(api: &Api, call: &Call) -> Outcome {
    let items = call.body.list("service_tokens")?.ok_or(JsonError::Missing("service_tokens"))?;
    let mut pairs = Vec::new();
    for item in items {
        let item = Object::of("service_tokens", item)?;
        pairs.push((item.needed("service_token")?, item.needed("service_id")?));
    }
    api.change(|draft| {
        let mut count = 0;
        for (token, service) in &pairs {
            let Some(id) = draft.find(Key::ServiceToken { token, service }) else { continue };
            draft.edit_service(ServiceId(id), |service| {
                service.tokens.retain(|known| !known.matches(token));
            })?;
            count += 1;
        }
        Ok(Reply::ok(json!({"status": "deleted", "count": count})))
    })
}

/// The key of the provider whose service the token stands for.
fn provider_key(api: &Api, token: &str, service: &str) -> Result<String, Refusal> {
    let records = api.records();
    let id = records.find(Key::ServiceToken { token, service });
    let service = id.and_then(|id| records.catalog().services.get(id));
    let service = service.ok_or(Refusal::NotFound("service token"))?;
    Ok(records.provider_key(service).to_owned())
}
