//! Finding applications and accounts by what somebody knows of them, which 3scale's API does not have: `GET /search?q=`.
//!
//! An id or a key (user key, application id) that is exactly `q` leads there at once. Names are those that have `q` in them, whatever the
//! case. Names are looked through, not looked up: at most [`SCANNED_MAX`] of them in one call, a few milliseconds. If there are more, or more
//! than [`FOUND_MAX`] were found, the answer has `next`, and the same call with `after` set to it goes on from there.

use serde_json::{Value, json};

use super::answer::{Outcome, Refusal, Reply};
use super::applications::state_name;
use super::auth::{Access, Section};
use super::context::{Context, Seen};
use super::routes::{Formats, GET, Route};
use crate::model::catalog::Key;
use crate::model::id::ServiceId;
use crate::model::record::{Account, Application};

pub(super) const ROUTES: &[Route] =
    &[Route::new(GET, "search", Access::section(Section::Partners), search).in_formats(Formats::JsonOnly)];

/// The most names that are looked at in one call.
pub(super) const SCANNED_MAX: usize = 100_000;
/// The most names that one call finds.
pub(super) const FOUND_MAX: usize = 50;
/// The longest text that is searched for, in bytes.
pub(super) const QUERY_LEN_MAX: usize = 255;

/// How far a search has come: the accounts, with 0 as their owner, come first, then the applications of each service.
pub(super) type Place = (u64, u64);

fn search(context: &Context<'_>) -> Outcome {
    let fields = context.request.parameters();
    let query = fields.needed("q")?.trim().to_owned();
    if query.len() > QUERY_LEN_MAX {
        return Err(Refusal::Bad(format!("q is too long (maximum is {QUERY_LEN_MAX} bytes)")));
    }
    let after = fields.filled("after").map(|text| place_of(&text)).transpose()?;
    let moment = context.look()?;
    let seen = moment.seen();
    let mut found = Vec::new();
    if after.is_none() {
        found.extend(exact(context, seen, &query));
    }
    let (by_name, next) = named(seen, &query.to_lowercase(), after.unwrap_or((0, 0)), SCANNED_MAX);
    for hit in by_name {
        if !found.contains(&hit) {
            found.push(hit);
        }
    }
    let next = next.map(|(owner, id)| format!("{owner}.{id}"));
    Ok(Reply::json(200, json!({"search": {"found": found, "next": next}})))
}

fn place_of(text: &str) -> Result<Place, Refusal> {
    let place = text.split_once('.').and_then(|(owner, id)| Some((owner.parse().ok()?, id.parse().ok()?)));
    place.ok_or_else(|| Refusal::Bad("after is nothing that was answered as next".to_owned()))
}

/// What has this id or key.
fn exact(context: &Context<'_>, seen: Seen<'_>, text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    if let Ok(id) = text.parse() {
        found.extend(seen.account(id).ok().map(|it| account(it)));
        found.extend(seen.application(id).ok().map(|it| application(it)));
    }
    for service in seen.catalog.services_of(seen.caller.tenant).iter().map(ServiceId) {
        for key in [Key::AppId { service, text }, Key::UserKey { service, text }] {
            // The key may be younger than what is seen here.
            let id = context.desk.engine().find(key);
            let hit = id.and_then(|id| seen.application(id).ok()).map(|it| application(it));
            found.extend(hit.filter(|hit| !found.contains(hit)));
        }
    }
    found
}

/// What has the text in its name, from a place on; and the place where it was left off, after so many names at most.
pub(super) fn named(
    seen: Seen<'_>,
    text: &str,
    after: Place,
    scanned_max: usize,
) -> (Vec<Value>, Option<Place>) {
    let (mut found, mut scanned) = (Vec::new(), 0);
    let matches = |name: &str| name.to_lowercase().contains(text);
    let from = |owner: u64| if after.0 == owner { after.1.saturating_add(1) } else { 0 };
    let mut is_full = |found: &Vec<Value>| {
        scanned += 1;
        found.len() >= FOUND_MAX || scanned >= scanned_max
    };
    if after.0 == 0 {
        for id in seen.catalog.accounts_of(seen.caller.tenant).range_from(from(0)) {
            found.extend(seen.account(id).ok().filter(|it| matches(&it.name)).map(|it| account(it)));
            if is_full(&found) {
                return (found, Some((0, id)));
            }
        }
    }
    for service in seen.catalog.services_of(seen.caller.tenant).range_from(after.0) {
        if seen.service(service).is_err() {
            continue;
        }
        for id in seen.catalog.applications_of(service).range_from(from(service)) {
            let it = seen.catalog.applications.get(id);
            found.extend(it.filter(|it| matches(&it.name)).map(|it| application(it)));
            if is_full(&found) {
                return (found, Some((service, id)));
            }
        }
    }
    (found, None)
}

fn account(account: &Account) -> Value {
    let href = format!("/admin/api/accounts/{}", account.id);
    json!({"type": "account", "id": account.id.0, "name": account.name, "href": href})
}

fn application(application: &Application) -> Value {
    let account = application.account.map(|id| id.0);
    let href =
        account.map(|account| format!("/admin/api/accounts/{account}/applications/{}", application.id));
    json!({
        "type": "application",
        "id": application.id.0,
        "name": application.name,
        "state": state_name(&application.state),
        "service_id": application.service.0,
        "account_id": account,
        "href": href,
    })
}
