//! Service tokens: with one, a gateway calls for one service. `/services/{id}/service_tokens`; the original shows them in gateways'
//! configurations alone.
//!
//! A token is part of the service in the catalog, which keeps it as it is: gateways must be shown it. Here it is called by a
//! fingerprint, so that it is in no path. Each configuration that a gateway loads has the newest token, so that one can be rotated
//! without a version of the configuration.

use ring::digest::{SHA256, digest};
use serde_json::json;

use super::answer::{Entity, Outcome, Refusal, Reply};
use super::auth::Access;
use super::context::{Context, Edit};
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::xml::Element;
use crate::model::id::ServiceId;
use crate::model::record::{Secret, Service};

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/service_tokens", Access::ADMINS, list),
    Route::new(POST, "services/{service_id}/service_tokens", Access::ADMINS, create),
    Route::new(PUT, "services/{service_id}/service_tokens/{id}/rotate", Access::ADMINS, rotate),
    Route::new(DELETE, "services/{service_id}/service_tokens/{id}", Access::ADMINS, delete),
];

/// That many random bytes, in hex.
///
/// # Errors
/// The system has none.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, Refusal> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        Refusal::Failed
    })?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fingerprint(token: &Secret) -> String {
    hex(digest(&SHA256, token.expose().as_bytes()).as_ref().first_chunk::<8>().map_or(&[], |it| it))
}

/// The token that gateways get.
pub(super) fn newest(service: &Service) -> Option<&Secret> {
    service.tokens.last()
}

/// Gives a service a token, if it has none.
pub(super) fn ensure(edit: &mut Edit<'_, '_, '_>, service: u64) -> Result<(), Refusal> {
    if edit.seen().service(service)?.tokens.is_empty() {
        add(edit, service)?;
    }
    Ok(())
}

fn add(edit: &mut Edit<'_, '_, '_>, service: u64) -> Result<Secret, Refusal> {
    let token = Secret::from(random_hex::<32>()?);
    edit.draft.edit_service(ServiceId(service), |it| it.tokens.push(token.clone()))?;
    Ok(token)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let service = moment.seen().service(context.id(0)?)?;
    let shown = service.tokens.iter().map(|token| entity(service.id, token)).collect();
    Ok(Reply::list("service_tokens", shown, None))
}

fn create(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().service(id)?;
        let token = add(edit, id)?;
        Ok(Reply::created(entity(ServiceId(id), &token)))
    })
}

/// Makes a new token in place of this one, which is none from then on.
fn rotate(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        remove(edit, id, context.text(1))?;
        let token = add(edit, id)?;
        Ok(Reply::one(entity(ServiceId(id), &token)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        remove(edit, id, context.text(1))?;
        Ok(Reply::gone())
    })
}

fn remove(edit: &mut Edit<'_, '_, '_>, service: u64, name: &str) -> Result<(), Refusal> {
    let known = edit.seen().service(service)?.tokens.iter().any(|token| fingerprint(token) == name);
    known.then_some(()).ok_or(Refusal::NotFound)?;
    edit.draft.edit_service(ServiceId(service), |it| it.tokens.retain(|token| fingerprint(token) != name))?;
    Ok(())
}

fn entity(service: ServiceId, token: &Secret) -> Entity {
    let id = fingerprint(token);
    let href = format!("/admin/api/services/{service}/service_tokens/{id}");
    let json = json!({
        "id": id,
        "service_id": service.0,
        "value": token.expose(),
        "links": [{"rel": "self", "href": href}],
    });
    let xml = Element::new("service_token")
        .field("id", id)
        .field("service_id", service)
        .field("value", token.expose());
    Entity { wrapper: "service_token", json, xml }
}
