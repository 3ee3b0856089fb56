//! `PUT /services/:s/applications/batch`: many applications at once, each saved whole or not at all, those that can
//! be in one command.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::applications::{self, Attributes};
use super::call::Call;
use super::json::{JsonError, Object};
use super::keys;
use super::records::Records;
use super::referrer_filters;
use crate::model::draft::Draft;
use crate::model::id::ServiceId;

/// The most applications of one batch: bounds how long one command keeps others waiting.
pub(super) const BATCH_MAX: usize = 1024;

pub(super) fn answer(api: &Api, call: &Call, service: &str) -> Outcome {
    let items = call.body.list("applications")?.ok_or(JsonError::Missing("applications"))?;
    if items.len() > BATCH_MAX {
        return Err(Refusal::Bad(format!("a batch has at most {BATCH_MAX} applications")));
    }
    api.change(|draft| {
        let service = Records::service(draft, service)?.id;
        let (mut applications, mut failures) = (Vec::new(), Vec::new());
        for item in items {
            match draft.attempt(|draft| save(draft, service, item)) {
                Ok(application) => applications.push(application),
                Err(error) => failures.push(json!({"id": id_of(item), "error": error.to_string()})),
            }
        }
        Ok(Reply::ok(json!({
            "status": "completed",
            "total": items.len(),
            "successful": applications.len(),
            "failed": failures.len(),
            "applications": applications,
            "failures": failures,
        })))
    })
}

/// Saves one application, and adds the keys and filters that are given with it.
fn save(draft: &mut Draft<'_>, service: ServiceId, item: &Value) -> Result<Value, Refusal> {
    let item = Object::of("applications", item)?;
    let id = applications::save(draft, service, &item.needed("id")?, &Attributes::read(&item)?)?;
    if let Some(key) = item.text("user_key")? {
        keys::add_user_key(draft, service, id, &key)?;
    }
    for key in item.texts("application_keys")? {
        keys::add_application_key(draft, id, &key)?;
    }
    for filter in item.texts("referrer_filters")? {
        referrer_filters::add(draft, id, &filter)?;
    }
    applications::shown_as(draft, id)
}

fn id_of(item: &Value) -> Option<String> {
    Object::of("applications", item).ok()?.text("id").ok()?
}
