//! Where the tenant wants to be told of changes: `/webhooks`, and what could not be told: `/webhooks/failures`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::Context;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records, id_key, id_of};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

const ACCESS: Access = Access::section(Section::Settings);

pub(super) const ROUTES: &[Route] = &[
    Route::new(PUT, "webhooks", ACCESS, update).in_formats(Formats::JsonOnly),
    Route::new(GET, "webhooks/failures", ACCESS, failures),
    Route::new(DELETE, "webhooks/failures", ACCESS, forget_failures),
];

/// The events that a tenant can be told of.
const EVENTS: [&str; 16] = [
    "account_created_on",
    "account_updated_on",
    "account_deleted_on",
    "user_created_on",
    "user_updated_on",
    "user_deleted_on",
    "application_created_on",
    "application_updated_on",
    "application_deleted_on",
    "account_plan_changed_on",
    "application_plan_changed_on",
    "application_user_key_updated_on",
    "application_key_created_on",
    "application_key_deleted_on",
    "application_suspended_on",
    "application_key_updated_on",
];

/// The longest URL, in bytes.
pub(super) const URL_LEN_MAX: usize = 255;

/// The most failures that are listed.
pub(super) const FAILURES_MAX: usize = 500;

/// What a tenant wants to be told, by its id.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct Webhook {
    url: String,
    active: bool,
    /// Also of what administrators do.
    provider_actions: bool,
    /// Those of the events of which the tenant is told.
    events: Vec<String>,
}

impl Record for Webhook {
    const TABLE: Table = Table("webhooks");
}

/// An event of which the tenant could not be told; by tenant and id.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Failure {
    /// In milliseconds since 1970 UTC.
    pub(super) time: u64,
    pub(super) error: String,
    pub(super) url: String,
    /// What was to be sent.
    pub(super) event: String,
}

impl Record for Failure {
    const TABLE: Table = Table("webhook_failures");
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("webhook")?;
    context.change(|edit| {
        let tenant = edit.tenant().0;
        let mut webhook = edit.records.find::<Webhook>(tenant)?.unwrap_or_default();
        apply(&mut webhook, &fields)?;
        edit.records.save(tenant, &webhook)?;
        Ok(Reply::one(entity(&webhook)))
    })
}

fn apply(webhook: &mut Webhook, fields: &Fields) -> Result<(), Refusal> {
    if let Some(url) = fields.text("url") {
        url.trim().clone_into(&mut webhook.url);
    }
    webhook.active = fields.flag("active").unwrap_or(webhook.active);
    webhook.provider_actions = fields.flag("provider_actions").unwrap_or(webhook.provider_actions);
    let is_on = |event: &&str| {
        fields.flag(event).unwrap_or_else(|| webhook.events.iter().any(|known| known == event))
    };
    webhook.events = EVENTS.iter().copied().filter(is_on).map(str::to_owned).collect();
    let mut errors = Errors::default();
    check::fitting(&mut errors, "url", &webhook.url, URL_LEN_MAX);
    let is_url = |url: &str| {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        host.is_some_and(|host| {
            !host.is_empty() && !host.starts_with('/') && !url.contains(char::is_whitespace)
        })
    };
    if webhook.url.is_empty() {
        if webhook.active {
            errors.add("url", check::BLANK);
        }
    } else if !is_url(&webhook.url) {
        errors.add("url", check::INVALID);
    }
    errors.check()
}

fn entity(webhook: &Webhook) -> Entity {
    let mut json = json!({
        "url": webhook.url,
        "active": webhook.active,
        "provider_actions": webhook.provider_actions,
    });
    for event in EVENTS {
        json[event] = webhook.events.iter().any(|on| on == event).into();
    }
    Entity { wrapper: "webhook", json, xml: Element::new("webhook") }
}

/// The oldest first.
fn failures(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let prefix = id_key(context.caller.tenant.0);
    let found = moment.seen().records.scan::<Failure>(&Scan::first(&prefix, FAILURES_MAX))?;
    let shown = found.iter().map(|(key, failure)| failure_entity(id_of(key).unwrap_or(0), failure)).collect();
    Ok(Reply::list("webhooks-failures", shown, None))
}

/// With a time: those up to then.
fn forget_failures(context: &Context<'_>) -> Outcome {
    let until = match context.request.parameters().filled("time") {
        None => u64::MAX,
        Some(text) => {
            times::parse(&text).ok_or_else(|| Refusal::Bad("time is no date or time".to_owned()))?
        }
    };
    context.change(|edit| {
        let prefix = id_key(edit.tenant().0);
        for (key, failure) in edit.records.scan::<Failure>(&Scan::first(&prefix, usize::MAX))? {
            // What is shown has no milliseconds.
            if failure.time / 1000 * 1000 <= until {
                edit.records.delete(Failure::TABLE, &key);
            }
        }
        Ok(Reply::gone())
    })
}

fn failure_entity(id: u64, failure: &Failure) -> Entity {
    let Failure { time, error, url, event } = failure;
    let time = times::text(*time);
    let fields = [("time", &time), ("error", error), ("url", url), ("event", event)];
    let mut json = Map::from_iter([("id".to_owned(), Value::from(id))]);
    let mut xml = Element::new("webhooks-failure").field("id", id);
    for (name, text) in fields {
        json.insert(name.to_owned(), Value::from(text.as_str()));
        xml.push(Element::text(name, text));
    }
    Entity { wrapper: "webhooks-failure", json: Value::Object(json), xml }
}

/// They go with their tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(id) = change {
            records.remove::<Webhook>(id.0);
            for (key, _) in records.all_rows(Failure::TABLE, &id_key(id.0))? {
                records.delete(Failure::TABLE, &key);
            }
        }
    }
    Ok(())
}
