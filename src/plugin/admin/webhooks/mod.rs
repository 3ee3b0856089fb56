//! Telling tenants of changes: `/webhooks`, where a tenant says where and of what; `/webhooks/failures`, what could not be told.
//!
//! # What is told
//! A command of the admin API tells what it did to accounts, developers and applications ([`events`]), if the tenant is `active`, wants to
//! know of what administrators do (`provider_actions`: all of this API is that), and has the event's switch on. Jobs and the internal API
//! tell nothing. The body is `<event><action>..</action><type>..</type><object>..</object></event>`, with the record as the API shows it
//! in XML at that time, keys and all: it goes to where the tenant said.
//!
//! # How it is told: an outbox
//! ```text
//! command -> webhook_events -> POST -> gone            2xx
//!                                   -> webhook_tries   anything else: again after a minute, 6 tries in all
//!                                   -> webhook_failures  after those; or at once, if the address may not be called
//! ```
//! - *No event is lost or invented.* The command that changes something puts its events into the outbox ([`outbox`]), in the same entry of
//!   the journal. They are sent when that is on disk, to the URL that the tenant had then, by a thread ([`courier`]) that knows nothing but
//!   what lies on the shelf: after a restart, or a panic, it goes on there, with the tries and times that were.
//! - *At least once.* What became of events is put down a moment later, some together, in a command of its own, whose loss in a crash has
//!   them sent again. An event's id, the header [`ID_HEADER`], is the same each time, and no other event's.
//! - *In order.* Of a tenant one event is sent at a time; the next one waits until that was told or has failed. So while a URL is dead what
//!   happens later waits behind, and is told in order when it lives again, as far as the outbox has room.
//! - *Bounded.* [`WAITING_MAX`](outbox::WAITING_MAX) events of a tenant wait: the newest go to the failures beyond, with that as the reason. Of
//!   failures the newest [`FAILURES_MAX`] are kept. An event has so many bytes, and so have those of one command, and those
//!   that are kept of failures ([`outbox`]).
//! - *Nobody waits for another tenant.* Each event on its way has a thread of its own, of which there are four ([`lanes`]): tenants
//!   take turns, and those that did not answer well the last time leave one of the four to the others. An answer's body is not read, redirects are not
//!   followed, and a call takes [`POST_TIMEOUT`] at most.
//! - *Which addresses are called* is the caller's to say ([`Post`]): the node calls none of its own listeners, and nothing on its own machine
//!   and link that it was not told to.
//!
//! # Rows, all JSON
//! | Table | Key | Row |
//! |---|---|---|
//! | `webhooks` | tenant | [`Webhook`] |
//! | `webhook_events` | tenant, event | [`Waiting`](outbox::Waiting) |
//! | `webhook_tries` | tenant | [`Tried`](outbox::Tried): of the first event that waits, if it was tried |
//! | `webhook_failures` | tenant, event | [`Failure`](outbox::Failure) |

mod bell;
mod courier;
mod events;
mod lanes;
mod outbox;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) use self::bell::Bell;
pub use self::bell::Deliveries;
use self::events::EVENTS;
#[cfg(test)]
pub(super) use self::outbox::{FAILURES_MAX, Failure};
pub(super) use self::outbox::{Told, tell};
use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::Context;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::catalog::Change;
use crate::outgoing::{Http, OutgoingError, Request};
use crate::plugin::host::Accompanied;
use crate::plugin::host::Desk;
use crate::plugin::records::{Record, Records, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Settings);

pub(super) const ROUTES: &[Route] = &[
    Route::new(PUT, "webhooks", ACCESS, update).in_formats(Formats::JsonOnly),
    Route::new(GET, "webhooks/failures", ACCESS, failures),
    Route::new(DELETE, "webhooks/failures", ACCESS, forget_failures),
];

/// The longest URL, in bytes.
pub(super) const URL_LEN_MAX: usize = 255;

/// How often an event is tried: once, and five times more.
const TRIES_MAX: u32 = 6;

/// How long after a try the next one comes, in milliseconds.
const RETRY_INTERVAL_MS: u64 = 60_000;

/// How long a call may take, with all that belongs to it.
pub const POST_TIMEOUT: Duration = Duration::from_secs(5);

/// The header with an event's id: decimal, the same in each try.
const ID_HEADER: &str = "X-Tollgate-Event-Id";

/// Calls tenants' URLs.
pub trait Post: Send + Sync {
    /// Sends a POST; the status of the answer. Takes [`POST_TIMEOUT`] at most, and may be left behind in the middle of it when the node stops.
    ///
    /// # Errors
    /// There was no answer.
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<u16, NotPosted>;
}

/// Why there was no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotPosted {
    /// That address is not called; trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// It may be different the next time.
    #[error("{0}")]
    Failed(String),
}

impl Post for Http {
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<u16, NotPosted> {
        let request = Request { method: "POST", url, headers, body };
        self.status(&request).map_err(|error| match error {
            OutgoingError::NotAllowed(_) | OutgoingError::Call(_) => NotPosted::Refused(error.to_string()),
            error => NotPosted::Failed(error.to_string()),
        })
    }
}

/// Begins to tell tenants what is in the outbox.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    desk: &Arc<Desk>,
    clock: &super::Clock,
    bell: &Bell,
    post: Arc<dyn Post>,
) -> std::io::Result<Deliveries> {
    courier::start(desk, clock, bell, post)
}

/// A command has put something down.
pub(super) fn told(told: Told, bell: &Bell) {
    if told.waiting > 0 {
        bell.ring();
    }
    if told.failed > 0 {
        metrics::counter!("tollgate_webhooks_failed_total").increment(told.failed as u64);
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!("tollgate_webhooks_delivered_total", "Events that tenants were told of");
    describe_counter!("tollgate_webhooks_retried_total", "Calls of tenants that failed, to be tried again");
    describe_counter!("tollgate_webhooks_failed_total", "Events that tenants could not be told of");
    describe_gauge!("tollgate_webhooks_waiting", "Events that tenants are still to be told of");
}

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

impl Webhook {
    /// Whether the tenant is told of what administrators do, which is all that comes over the admin API.
    fn tells_of_providers(&self) -> bool {
        self.active && self.provider_actions && !self.url.is_empty()
    }

    /// Whether the tenant is told of an event, by the name of its switch.
    fn has_on(&self, switch: &str) -> bool {
        self.events.iter().any(|on| on == switch)
    }
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
    let found = outbox::failures(moment.seen().records, context.caller.tenant.0)?;
    let page = context.page_if_asked(found.len());
    let shown = page.cut(found).into_iter().map(|(id, failure)| Ok(failure_entity(id, &failure)));
    Reply::page(context.format, "webhooks-failures", shown, page)
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
        let tenant = edit.tenant().0;
        for (id, failure) in outbox::failures(edit.records, tenant)? {
            // What is shown has no milliseconds.
            if failure.time / 1000 * 1000 <= until {
                edit.records.delete(outbox::Failure::TABLE, &pair_key(tenant, id));
            }
        }
        Ok(Reply::gone())
    })
}

fn failure_entity(id: u64, failure: &outbox::Failure) -> Entity {
    let outbox::Failure { time, error, url, event } = failure;
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
            outbox::forget(id.0, records)?;
        }
    }
    Ok(())
}
