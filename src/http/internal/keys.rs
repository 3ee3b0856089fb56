//! `/services/:s/applications/key/:user_key`, `…/:id/key/:user_key` and `…/:id/keys/`: what stands for an
//! application, and the secrets that go with its id.

use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::records::Records;
use crate::model::catalog::Key;
use crate::model::draft::Draft;
use crate::model::id::{ApplicationId, ServiceId};
use crate::model::record::Secret;

/// `/services/:s/applications/key/:user_key`.
pub(super) fn user_key(api: &Api, call: &Call, service: &str, key: &str) -> Outcome {
    match call.verb {
        Verb::Get => {
            let records = api.records();
            let service = records.service(service)?.id;
            let id = records.find(Key::UserKey { service, text: key });
            let application = id.and_then(|id| records.catalog().applications.get(id));
            let application = application.ok_or(Refusal::NotFound("application"))?;
            Ok(Reply::ok(json!({"status": "found", "application": {"id": application.app_id}})))
        }
        Verb::Delete => api.change(|draft| {
            // It is not there afterwards, whether or not it was.
            if let Ok(service) = Records::service(draft, service) {
                take_user_key(draft, service.id, key)?;
            }
            Ok(Reply::deleted())
        }),
        Verb::Post | Verb::Put => Err(Refusal::NoSuchRoute),
    }
}

/// `PUT /services/:s/applications/:id/key/:user_key`.
pub(super) fn give_user_key(api: &Api, call: &Call, service: &str, id: &str, key: &str) -> Outcome {
    if call.verb != Verb::Put {
        return Err(Refusal::NoSuchRoute);
    }
    api.change(|draft| {
        let service = Records::service(draft, service)?.id;
        let application = Records::application(draft, service, id)?.id;
        add_user_key(draft, service, application, key)?;
        Ok(Reply::ok(json!({"status": "modified", "application": {"id": id}})))
    })
}

/// Makes a key lead to an application, and nowhere else: one that led to another goes over.
pub(super) fn add_user_key(
    draft: &mut Draft<'_>,
    service: ServiceId,
    application: ApplicationId,
    key: &str,
) -> Result<(), Refusal> {
    if draft.find(Key::UserKey { service, text: key }) == Some(application.0) {
        return Ok(());
    }
    take_user_key(draft, service, key)?;
    Ok(draft.edit_application(application, |it| it.user_keys.push(Secret::new(key)))?)
}

fn take_user_key(draft: &mut Draft<'_>, service: ServiceId, key: &str) -> Result<(), Refusal> {
    if let Some(id) = draft.find(Key::UserKey { service, text: key }) {
        draft.edit_application(ApplicationId(id), |it| it.user_keys.retain(|known| !known.matches(key)))?;
    }
    Ok(())
}

/// `/services/:s/applications/:id/keys/`.
pub(super) fn application_keys(api: &Api, call: &Call, service: &str, id: &str, rest: &[&str]) -> Outcome {
    match (call.verb, rest) {
        (Verb::Get, []) => {
            let records = api.records();
            let service = records.service(service)?;
            let keys = &records.application(service.id, id)?.app_keys;
            let service = service.text();
            let shown = |key: &Secret| json!({"service_id": service, "app_id": id, "value": key.expose()});
            let keys: Vec<_> = keys.iter().map(shown).collect();
            Ok(Reply::ok(json!({"status": "found", "application_keys": keys})))
        }
        (Verb::Post, []) => {
            let value = match call.body.object("application_key")?.text("value")? {
                Some(value) => value,
                None => random_key()?,
            };
            api.change(|draft| {
                let service = Records::service(draft, service)?.id;
                let application = Records::application(draft, service, id)?.id;
                add_application_key(draft, application, &value)?;
                let key = json!({"app_id": id, "value": value});
                Ok(Reply::created(json!({"status": "created", "application_key": key})))
            })
        }
        (Verb::Delete, [value]) => api.change(|draft| {
            let service = Records::service(draft, service)?.id;
            let application = Records::application(draft, service, id)?;
            if !application.app_keys.iter().any(|key| key.matches(value)) {
                return Err(Refusal::NotFound("application key"));
            }
            let application = application.id;
            draft.edit_application(application, |it| it.app_keys.retain(|key| !key.matches(value)))?;
            Ok(Reply::deleted())
        }),
        _ => Err(Refusal::NoSuchRoute),
    }
}

/// Adds a secret that goes with the application's id, unless it has it already.
pub(super) fn add_application_key(
    draft: &mut Draft<'_>,
    application: ApplicationId,
    key: &str,
) -> Result<(), Refusal> {
    let known = draft.catalog().applications.get(application.0);
    if known.is_some_and(|it| it.app_keys.iter().any(|known| known.matches(key))) {
        return Ok(());
    }
    Ok(draft.edit_application(application, |it| it.app_keys.push(Secret::new(key)))?)
}

/// 128 random bits in hex, which is what 3scale makes of a blank key.
fn random_key() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::Failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
