//! `/services`: create, change, show, delete.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::json::{JsonError, Object};
use super::records::{Records, show_flag};
use crate::model::catalog::Key;
use crate::model::draft::{Draft, NewService};
use crate::model::id::{ServiceId, TenantId};
use crate::model::promise::Promise;
use crate::model::record::{BackendVersion, Service, ServiceState};

/// `POST /services/`.
pub(super) fn create(api: &Api, call: &Call) -> Outcome {
    if call.verb != Verb::Post {
        return Err(Refusal::NoSuchRoute);
    }
    let attributes = call.body.object("service")?;
    let id = attributes.needed("id")?;
    let attributes = Attributes::read(&attributes)?;
    api.change(|draft| {
        let service = save(draft, &id, &attributes)?;
        Ok(Reply::created(json!({"service": shown(draft, service)?, "status": "created"})))
    })
}

/// `/services/:id`.
pub(super) fn answer(api: &Api, call: &Call, id: &str) -> Outcome {
    match call.verb {
        Verb::Get => {
            let records = api.records();
            let service = records.service_if_any(id).ok_or(Refusal::NoSuchService)?;
            Ok(Reply::ok(json!({"status": "found", "service": shown(&records, service.id)?})))
        }
        Verb::Put => {
            let attributes = Attributes::read(&call.body.object("service")?)?;
            api.change(|draft| {
                let service = save(draft, id, &attributes)?;
                Ok(Reply::ok(json!({"service": shown(draft, service)?, "status": "ok"})))
            })
        }
        Verb::Delete => {
            let reply = api.change(|draft| {
                delete(draft, id)?;
                Ok(Reply::deleted())
            })?;
            api.sweeper.wake();
            Ok(reply)
        }
        Verb::Post => Err(Refusal::NoSuchRoute),
    }
}

/// Takes back what a service says of promises: listener and kind of call decide again.
const PROMISE_USUAL: &str = "usual";

/// What a body says of a service; absent attributes stay as they are.
struct Attributes {
    provider_key: Option<String>,
    backend_version: Option<BackendVersion>,
    referrer_filters_required: Option<bool>,
    default_service: Option<bool>,
    state: Option<ServiceState>,
    /// Ours, as those that follow.
    shadow: Option<bool>,
    ratelimit_headers: Option<bool>,
    /// `Some(None)` takes back what the service says.
    promise: Option<Option<Promise>>,
}

impl Attributes {
    fn read(body: &Object) -> Result<Attributes, Refusal> {
        let backend_version = |name: String| {
            let unfit = || JsonError::Unfit { name: "backend_version".to_owned(), wanted: "1, 2 or oauth" };
            BackendVersion::parse(&name).ok_or_else(unfit)
        };
        let promise = |name: String| match Promise::parse(&name) {
            Some(promise) => Ok(Some(promise)),
            None if name == PROMISE_USUAL => Ok(None),
            None => {
                Err(JsonError::Unfit { name: "promise".to_owned(), wanted: "durable, interval or usual" })
            }
        };
        Ok(Attributes {
            backend_version: body.text("backend_version")?.map(backend_version).transpose()?,
            provider_key: body.text("provider_key")?,
            referrer_filters_required: body.flag("referrer_filters_required")?,
            default_service: body.flag("default_service")?,
            // 3scale's rule: whatever is not active is as good as suspended.
            state: body.text("state")?.map(|word| match word.as_str() {
                "active" => ServiceState::Active,
                _ => ServiceState::Suspended,
            }),
            shadow: body.flag("shadow")?,
            ratelimit_headers: body.flag("ratelimit_headers")?,
            promise: body.text("promise")?.map(promise).transpose()?,
        })
    }
}

fn save(draft: &mut Draft<'_>, text: &str, attributes: &Attributes) -> Result<ServiceId, Refusal> {
    let id = match known(draft, text, attributes)? {
        Some(id) => id,
        None => create_for(draft, text, attributes)?,
    };
    draft.edit_service(id, |service| {
        service.backend_version = attributes.backend_version.unwrap_or(service.backend_version);
        service.state = attributes.state.unwrap_or(service.state);
        service.referrer_filters_required =
            attributes.referrer_filters_required.unwrap_or(service.referrer_filters_required);
        service.shadow = attributes.shadow.unwrap_or(service.shadow);
        service.ratelimit_headers = attributes.ratelimit_headers.unwrap_or(service.ratelimit_headers);
        service.promise = attributes.promise.unwrap_or(service.promise);
    })?;
    if attributes.default_service == Some(true) {
        let tenant = Records::service(draft, text)?.tenant;
        draft.edit_tenant(tenant, |tenant| tenant.default_service = Some(id))?;
    }
    Ok(id)
}

/// The service that is meant, if there is one. Ids of pushed services are one space for all providers, as in the
/// original; but a service that was made otherwise, and happens to have this number, is not what the provider of
/// another key means.
fn known(draft: &Draft<'_>, text: &str, attributes: &Attributes) -> Result<Option<ServiceId>, Refusal> {
    let Some(service) = draft.service_if_any(text) else { return Ok(None) };
    let Some(key) = &attributes.provider_key else { return Ok(Some(service.id)) };
    if draft.find(Key::ProviderKey(key)) == Some(service.tenant.0) {
        return Ok(Some(service.id));
    }
    match service.external_id {
        Some(_) => Err(Refusal::Bad("the service id is taken by another provider".to_owned())),
        None => Ok(None),
    }
}

fn create_for(draft: &mut Draft<'_>, text: &str, attributes: &Attributes) -> Result<ServiceId, Refusal> {
    let key = attributes.provider_key.as_deref().ok_or(JsonError::Missing("provider_key"))?;
    let tenant = match draft.find(Key::ProviderKey(key)) {
        Some(id) => TenantId(id),
        None => {
            // Its name is shown and logged, so it must not be the key.
            let name = format!("Provider {}", draft.catalog().next_id);
            draft.create_tenant(&name, key)?
        }
    };
    let backend_version = attributes.backend_version.unwrap_or(BackendVersion::AppId);
    Ok(draft.create_service(&NewService { tenant, external_id: Some(text), name: text, backend_version })?)
}

fn delete(draft: &mut Draft<'_>, text: &str) -> Result<(), Refusal> {
    let service = Records::service(draft, text)?;
    let (id, tenant) = (service.id, service.tenant);
    let catalog = Draft::catalog(draft);
    let is_default = catalog.tenants.get(tenant.0).is_some_and(|it| it.default_service == Some(id));
    let is_other = |other: &Arc<Service>| other.id != id && other.state != ServiceState::Retired;
    let has_others =
        catalog.services_of(tenant).iter().filter_map(|id| catalog.services.get(id)).any(is_other);
    if is_default && has_others {
        return Err(Refusal::Rule(
            "the service is the provider's default and not its only one: it cannot be deleted".to_owned(),
        ));
    }
    Ok(draft.retire_service(id)?)
}

fn shown(records: &impl Records, id: ServiceId) -> Result<Value, Refusal> {
    let service: &Service = records.catalog().services.get(id.0).ok_or(Refusal::NoSuchService)?;
    let tenant = records.catalog().tenants.get(service.tenant.0);
    let mut shown = json!({
        "id": service.text(),
        "state": match service.state {
            ServiceState::Active => "active",
            ServiceState::Suspended | ServiceState::Retired => "suspended",
        },
        "provider_key": records.provider_key(service),
        "backend_version": service.backend_version.name(),
        "referrer_filters_required": service.referrer_filters_required,
        "default_service": tenant.is_some_and(|tenant| tenant.default_service == Some(id)),
    });
    show_flag(&mut shown, "shadow", service.shadow);
    show_flag(&mut shown, "ratelimit_headers", service.ratelimit_headers);
    if let (Some(promise), Value::Object(values)) = (service.promise, &mut shown) {
        values.insert("promise".to_owned(), promise.name().into());
    }
    Ok(shown)
}
