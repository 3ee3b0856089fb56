//! What a command tells: which events it is to tenants, and how they are written.
//!
//! Events follow from what the command has drafted, not from the route that drafted it: the catalog before and after, and the
//! rows of accounts, users and applications. A record that only got another time of change is none.
//!
//! | It | tells |
//! |---|---|
//! | is new | `created`, and nothing else of the record |
//! | is gone | `deleted`, and nothing else of the record; with an account go its applications and users, and are told first |
//! | is an account or application on another plan | `plan_changed` |
//! | is an application that was suspended | `suspended` |
//! | is an application with another user key | `user_key_updated` and `key_updated`, as the original |
//! | is an application with other application keys | `key_created`, `key_deleted`; both in one command is `key_updated` |
//! | is otherwise other than it was | `updated` |
//!
//! Users are developers: those who administer the tenant are not told of. What belongs to a service that is being deleted goes in the
//! background, and that is told to nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::account_details::AccountDetails;
use super::super::answer::{Format, Refusal};
use super::super::applications::ApplicationDetails;
use super::super::auth::Caller;
use super::super::context::Seen;
use super::super::owned::Owned;
use super::super::people::User;
use super::super::traffic::Tells;
use super::super::xml::Element;
use super::super::{accounts, applications};
use crate::model::catalog::{Catalog, Change};
use crate::model::record::{Application, ApplicationState};
use crate::plugin::records::{Record, Records, id_of};
use crate::store::ShelfError;

/// What can be told of, by the name of its switch: the type of the record, then what became of it.
pub(super) const EVENTS: [&str; 16] = [
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

/// What a record is, in the order in which they are made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Account,
    User,
    Application,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::User => "user",
            Kind::Application => "application",
        }
    }
}

/// Something that became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) action: &'static str,
}

const DELETED: &str = "deleted";

impl Event {
    /// The name of its switch.
    pub(super) fn switch(&self) -> String {
        format!("{}_{}_on", self.kind.name(), self.action)
    }
}

/// A command as it is drafted, and what was before it.
pub(super) struct Drafted<'a> {
    pub(super) caller: &'a Caller,
    pub(super) before: &'a Catalog,
    pub(super) after: &'a Catalog,
    pub(super) changes: &'a [Change],
    pub(super) traffic: Option<&'a dyn Tells>,
}

/// The fields of a record that are not told of, or not by `updated`.
const UNTOLD: [&str; 7] = [
    "updated_at",
    "plan",
    "setup_fee",
    "trial_expires_at",
    "accepted_at",
    "key_times",
    // The catalog says the same.
    "filters",
];

/// The rows of a record before and after; none of one that has no row.
type Sides = [Option<Map<String, Value>>; 2];

/// The events that a command is, in the order in which they are told.
///
/// # Errors
/// The shelf cannot be read.
pub(super) fn of(drafted: &Drafted<'_>, records: &mut Records<'_>) -> Result<Vec<Event>, ShelfError> {
    let mut rows = BTreeMap::<(Kind, u64), Sides>::new();
    for row in records.changed()? {
        let Some(kind) = kind_of(row.table) else { continue };
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
        let sides = [row.before.as_deref().and_then(parse), row.after.and_then(parse)];
        rows.extend(id_of(row.key).map(|id| ((kind, id), sides)));
    }
    let of_catalog = drafted.changes.iter().filter_map(|change| match change {
        Change::PutAccount(account) => Some((Kind::Account, account.id.0)),
        Change::DeleteAccount(id) => Some((Kind::Account, id.0)),
        Change::PutApplication(application) => Some((Kind::Application, application.id.0)),
        Change::DeleteApplication(id) => Some((Kind::Application, id.0)),
        _ => None,
    });
    let changed: BTreeSet<_> = of_catalog.chain(rows.keys().copied()).collect();
    let (mut events, mut gone) = (Vec::new(), Vec::new());
    for (kind, id) in changed {
        let sides = rows.remove(&(kind, id)).unwrap_or_default();
        let actions = match kind {
            Kind::Account => drafted.of_account(id, &sides),
            Kind::User => drafted.of_user(&sides),
            Kind::Application => drafted.of_application(id, &sides),
        };
        if kind == Kind::Account && actions == [DELETED] {
            // They go with their account, once this is drafted.
            let users = records.before(|records| User::ids_of(id, records))?;
            gone.extend(users.into_iter().map(|id| Event { kind: Kind::User, id, action: DELETED }));
        }
        let list = if actions == [DELETED] { &mut gone } else { &mut events };
        list.extend(actions.into_iter().map(|action| Event { kind, id, action }));
    }
    gone.sort_by_key(|event| (std::cmp::Reverse(event.kind), event.id));
    gone.dedup();
    gone.extend(events);
    Ok(gone)
}

fn kind_of(table: &str) -> Option<Kind> {
    [
        (AccountDetails::TABLE, Kind::Account),
        (User::TABLE, Kind::User),
        (ApplicationDetails::TABLE, Kind::Application),
    ]
    .into_iter()
    .find_map(|(known, kind)| (known.0 == table).then_some(kind))
}

/// Whether a field that is told of by `updated` is another now. Without a row stands what stands for nothing.
fn differs<T: Record + Default>([before, after]: &Sides) -> bool {
    let Some(after) = after else { return false };
    let nothing = || match serde_json::to_value(T::default()) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let before = before.clone().unwrap_or_else(nothing);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names.into_iter().any(|name| !UNTOLD.contains(&name.as_str()) && before.get(name) != after.get(name))
}

impl Drafted<'_> {
    fn of_account(&self, id: u64, sides: &Sides) -> Vec<&'static str> {
        let own = |catalog: &Catalog| {
            catalog.accounts.get(id).filter(|it| it.tenant == self.caller.tenant).cloned()
        };
        let (before, after) = match (own(self.before), own(self.after)) {
            (None, None) => return Vec::new(),
            (None, Some(_)) => return vec!["created"],
            (Some(_), None) => return vec![DELETED],
            (Some(before), Some(after)) => (before, after),
        };
        let plan = |side: &Option<Map<String, Value>>| side.as_ref().and_then(|it| it.get("plan").cloned());
        let plan_changed = sides[1].is_some() && plan(&sides[0]) != plan(&sides[1]);
        let updated = before.name != after.name || differs::<AccountDetails>(sides);
        [("plan_changed", plan_changed), ("updated", updated)]
            .into_iter()
            .filter_map(|(action, is_so)| is_so.then_some(action))
            .collect()
    }

    fn of_user(&self, sides: &Sides) -> Vec<&'static str> {
        let is_developer = |user: &Map<String, Value>| {
            user.get("tenant").and_then(Value::as_u64) == Some(self.caller.tenant.0)
                && user.get("account").is_some_and(Value::is_u64)
        };
        match sides.each_ref().map(|side| side.as_ref().filter(|user| is_developer(user))) {
            [None, None] => Vec::new(),
            [None, Some(_)] => vec!["created"],
            [Some(_), None] => vec![DELETED],
            [Some(before), Some(after)] => {
                let is_other = |(name, value): (&String, &Value)| {
                    name != "updated_at" && before.get(name) != Some(value)
                };
                if after.iter().any(is_other) { vec!["updated"] } else { Vec::new() }
            }
        }
    }

    fn of_application(&self, id: u64, sides: &Sides) -> Vec<&'static str> {
        let own = |catalog: &Catalog| {
            let application = catalog.applications.get(id)?;
            let service = catalog.services.get(application.service.0)?;
            (service.tenant == self.caller.tenant).then(|| application.clone())
        };
        let (before, after) = match (own(self.before), own(self.after)) {
            (None, None) => return Vec::new(),
            (None, Some(_)) => return vec!["created"],
            (Some(_), None) => return vec![DELETED],
            (Some(before), Some(after)) => (before, after),
        };
        let suspended = before.state != after.state && after.state == ApplicationState::Suspended;
        let user_key = before.user_keys != after.user_keys;
        let has_more = |some: &Application, than: &Application| {
            some.app_keys.iter().any(|key| !than.app_keys.contains(key))
        };
        let (added, removed) = (has_more(&after, &before), has_more(&before, &after));
        let updated = before.state != after.state && !suspended
            || (&before.name, &before.redirect_url) != (&after.name, &after.redirect_url)
            || before.referrer_filters != after.referrer_filters
            || differs::<ApplicationDetails>(sides);
        [
            ("plan_changed", before.plan != after.plan),
            ("suspended", suspended),
            ("user_key_updated", user_key),
            ("key_updated", user_key || added && removed),
            ("key_created", added && !removed),
            ("key_deleted", removed && !added),
            ("updated", updated),
        ]
        .into_iter()
        .filter_map(|(action, is_so)| is_so.then_some(action))
        .collect()
    }

    /// An event as it is sent: the record as the API shows it in XML, after the command or, if it is gone, before it. Nothing, if
    /// what the record belongs to is on its way out.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub(super) fn document(
        &self,
        event: &Event,
        records: &mut Records<'_>,
    ) -> Result<Option<String>, Refusal> {
        // Whoever deletes an account deletes with it what they are not shown.
        let mut caller = self.caller.clone();
        caller.user = None;
        let shown = |catalog: &Catalog, records: &Records<'_>| {
            let (caller, format, traffic) = (&caller, Format::Xml, self.traffic);
            let seen = Seen { catalog, records, caller, format, gateway: None, traffic };
            match event.kind {
                Kind::Account => Ok(accounts::entity(seen, seen.account(event.id)?)?.xml),
                Kind::Application => Ok(applications::entity(seen, seen.application(event.id)?)?.xml),
                Kind::User => {
                    let user = records.find::<User>(event.id)?.ok_or(Refusal::NotFound)?;
                    Ok(user.entity(event.id).xml)
                }
            }
        };
        let object = match event.action {
            DELETED => records.before(|records| shown(self.before, records)),
            _ => shown(self.after, records),
        };
        match object {
            Ok(object) => Ok(Some(written(event, object))),
            Err(Refusal::NotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

fn written(event: &Event, object: Element) -> String {
    Element::new("event")
        .field("action", event.action)
        .field("type", event.kind.name())
        .with(Element::new("object").with(object))
        .document()
}
