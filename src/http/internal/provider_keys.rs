//! `PUT /services/change_provider_key/:key`: the provider goes by another key from now on.

use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use crate::model::catalog::Key;
use crate::model::id::TenantId;
use crate::model::record::Secret;

pub(super) fn answer(api: &Api, call: &Call, key: &str) -> Outcome {
    if call.verb != Verb::Put {
        return Err(Refusal::NoSuchRoute);
    }
    let rule = |text: &str| Refusal::Rule(text.to_owned());
    let new_key = call.body.text("new_key").map_err(|error| Refusal::Rule(error.to_string()))?;
    let new_key = new_key.filter(|new_key| new_key != key);
    let new_key = new_key.ok_or(rule("the new provider key must not be empty, nor the old one"))?;
    api.change(|draft| {
        if draft.find(Key::ProviderKey(&new_key)).is_some() {
            return Err(rule("the new provider key exists already"));
        }
        let tenant = draft.find(Key::ProviderKey(key)).map(TenantId);
        let tenant = tenant.ok_or(rule("the provider key does not exist"))?;
        draft
            .edit_tenant(tenant, |tenant| {
                for known in tenant.provider_keys.iter_mut().filter(|known| known.matches(key)) {
                    *known = Secret::new(&new_key);
                }
            })
            .map_err(|error| Refusal::Rule(error.to_string()))?;
        Ok(Reply::ok(json!({"status": "ok"})))
    })
}
