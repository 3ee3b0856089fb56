//! The audit log: who did what, and what it was before. `GET /audit_log`, for administrators.
//!
//! Each command of the admin API leaves one entry, which is part of the command: there is no change without its entry, and no entry of
//! what did not happen. What else follows from a command, as the applications that go with their account, is not listed: the
//! deletion of the account says it.
//!
//! # An entry
//! When; who: the user and the token, or the provider key; the call: method and path; and what it changed: of each record its kind and id, and
//! those of its fields that are others now, before and after. A record that is new has nothing before, one that is gone
//! nothing after. Fields of the catalog and of the plugin's record with the same id are the same record's.
//!
//! Nothing of a secret is in it: fields that hold any, by name, and credentials in URLs are shown as `[redacted]`, so that it can
//! be seen that they changed and not to what.
//!
//! # Where it lies
//! In the table `audit`, by tenant and place. A tenant's places are counted from 1 without a gap, so keeping the newest
//! [`ENTRIES_MAX`] is one row put and one row deleted with each command, and a page of the log is found without counting.
//!
//! What comes over the internal API ([`audit_others`](super::audit_others)) has the same in a table of its own, `audit_internal`, with the same bound: whoever
//! pushes a hundred thousand applications does not push out who did what. An entry's number, by which both are one log, is one more than the last in
//! either; it is left out of a row where it is the place.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::context::Context;
use super::redaction::{REDACTED, redacted};
use crate::model::catalog::{Catalog, Change};
use crate::model::draft::Draft;
use crate::model::id::TenantId;
use crate::model::record::{Application, Plan, Secret, Service};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Changed, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

/// The most entries that are kept of a tenant; the oldest go. A few dozen megabytes, and a tenth of a second to search.
pub(super) const ENTRIES_MAX: u64 = 20_000;
/// The most records of a command that its entry lists; it says how many more there are.
const OBJECTS_MAX: usize = 100;
/// The largest part of an entry, in bytes of JSON: what a record was, or is. Of what is larger only the size is kept.
const PART_LEN_MAX: usize = 16 * 1024;
/// The most bytes of such parts in an entry; of the records after that only kind and id are kept.
const PARTS_LEN_MAX: usize = 64 * 1024;

/// One command.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Entry {
    /// In milliseconds since 1970 UTC.
    pub(super) at: u64,
    /// Id and name of the user; a provider key is nobody's.
    pub(super) user: Option<(u64, String)>,
    /// Id and name of the access token.
    pub(super) token: Option<(u64, String)>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) objects: Vec<Object>,
    /// How many objects more there are.
    #[serde(default)]
    pub(super) more: usize,
    /// Its number in the log, where that is not its place in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
}

/// Whose changes a table has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Of the admin API.
    Admin,
    /// Of the internal API.
    Internal,
}

impl Origin {
    pub(super) const ALL: [Origin; 2] = [Origin::Admin, Origin::Internal];

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Origin::Admin => "admin API",
            Origin::Internal => "internal API",
        }
    }

    pub(super) fn table(self) -> Table {
        match self {
            Origin::Admin => Table("audit"),
            Origin::Internal => Table("audit_internal"),
        }
    }
}

/// A record that a command changed.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) id: u64,
    pub(super) before: Option<Map<String, Value>>,
    pub(super) after: Option<Map<String, Value>>,
}

/// Kind and id of a record.
pub(super) type Name = (String, u64);

/// The fields of a record before and after a command.
pub(super) type Sides = [Map<String, Value>; 2];

/// By what a command tells of a record.
#[derive(Default)]
struct Told<'r> {
    by_catalog: bool,
    by_rows: Vec<&'r Changed<'r>>,
}

/// Writes down what a command has done, so far as it is drafted.
pub(super) fn write(
    context: &Context<'_>,
    before: &Catalog,
    draft: &Draft<'_>,
    records: &mut Records<'_>,
) -> Result<(), Refusal> {
    let rows = records.changed()?;
    let mut changed = BTreeMap::<Name, Told<'_>>::new();
    for (kind, id) in draft.changes().iter().filter_map(name_of) {
        changed.entry((kind.to_owned(), id)).or_default().by_catalog = true;
    }
    for row in &rows {
        if let Some(name) = name_of_row(row) {
            changed.entry(name).or_default().by_rows.push(row);
        }
    }
    let (objects, more) = objects(changed.into_iter(), |(kind, id), told| {
        let mut sides = Sides::default();
        if told.by_catalog {
            sides = [before, draft.catalog()].map(|catalog| fields_of(catalog, kind, *id));
        }
        told.by_rows.into_iter().for_each(|row| add_row(&mut sides, row));
        sides
    });
    let entry = entry(context, objects, more);
    Ok(append(records, Origin::Admin, context.caller.tenant.0, entry)?)
}

/// Writes down what a command told another plugin.
pub(super) fn write_one(
    context: &Context<'_>,
    object: Object,
    records: &mut Records<'_>,
) -> Result<(), Refusal> {
    let entry = entry(context, vec![object], 0);
    Ok(append(records, Origin::Admin, context.caller.tenant.0, entry)?)
}

fn entry(context: &Context<'_>, objects: Vec<Object>, more: usize) -> Entry {
    let caller = context.caller;
    Entry {
        at: context.now.0,
        user: caller.user.as_ref().map(|(id, user)| (*id, user.username.clone())),
        token: caller.token.clone(),
        method: context.request.method.name().to_owned(),
        path: path_of(context),
        objects,
        more,
        number: None,
    }
}

/// What is kept of changed records, and how many more there are. `sides_of` is asked for those that are kept, and no others: a command
/// may change very many.
pub(super) fn objects<T>(
    changed: impl ExactSizeIterator<Item = (Name, T)>,
    sides_of: impl Fn(&Name, T) -> Sides,
) -> (Vec<Object>, usize) {
    let more = changed.len().saturating_sub(OBJECTS_MAX);
    let mut room = PARTS_LEN_MAX;
    let kept = changed.take(OBJECTS_MAX).map(|(name, known)| {
        let sides = sides_of(&name, known);
        object(name, sides, &mut room)
    });
    (kept.collect(), more)
}

/// Puts an entry behind the others of a tenant.
///
/// # Errors
/// The shelf cannot be read.
pub(super) fn append(
    records: &mut Records<'_>,
    origin: Origin,
    tenant: u64,
    entry: Entry,
) -> Result<(), ShelfError> {
    let mut number = 0;
    for origin in Origin::ALL {
        number = number
            .max(last(records, origin, tenant)?.map_or(0, |(place, entry)| entry.number.unwrap_or(place)));
    }
    let (number, place) = (number + 1, newest(records, origin, tenant)? + 1);
    let entry = Entry { number: (number != place).then_some(number), ..entry };
    records.save_in(origin.table(), &pair_key(tenant, place), &entry)?;
    if let Some(oldest) = place.checked_sub(ENTRIES_MAX).filter(|oldest| *oldest > 0) {
        records.delete(origin.table(), &pair_key(tenant, oldest));
    }
    Ok(())
}

/// A tenant's newest entry, and its place.
fn last(records: &Records<'_>, origin: Origin, tenant: u64) -> Result<Option<(u64, Entry)>, ShelfError> {
    let prefix = id_key(tenant);
    let last = Scan { backwards: true, ..Scan::first(&prefix, 1) };
    let found = records.scan_in(origin.table(), &last)?;
    Ok(found.into_iter().next().map(|(key, entry)| (id_of(&key).unwrap_or(0), entry)))
}

/// The place of a tenant's newest entry; 0 without any.
pub(super) fn newest(records: &Records<'_>, origin: Origin, tenant: u64) -> Result<u64, ShelfError> {
    let prefix = id_key(tenant);
    let last = Scan { backwards: true, ..Scan::first(&prefix, 1) };
    Ok(records.rows(origin.table(), &last)?.first().and_then(|(key, _)| id_of(key)).unwrap_or(0))
}

/// The path of a call as its route says it, with the ids that were given: some texts in paths are secrets.
fn path_of(context: &Context<'_>) -> String {
    let mut given = context.ids.iter();
    let mut path = String::new();
    for part in context.request.split().0 {
        path.push('/');
        path.push_str(part);
    }
    for segment in context.route.path.split('/') {
        path.push('/');
        path.push_str(match segment {
            "{key}" => given.next().map_or(segment, |_| REDACTED),
            brace if brace.starts_with('{') => given.next().copied().unwrap_or(segment),
            fixed => fixed,
        });
    }
    path
}

/// Kind and id of what a change is about.
pub(super) fn name_of(change: &Change) -> Option<(&'static str, u64)> {
    match change {
        Change::PutTenant(tenant) => Some(("tenant", tenant.id.0)),
        Change::DeleteTenant(id) => Some(("tenant", id.0)),
        Change::PutAccount(account) => Some(("account", account.id.0)),
        Change::DeleteAccount(id) => Some(("account", id.0)),
        Change::PutService(service) => Some(("service", service.id.0)),
        Change::DeleteService(id) => Some(("service", id.0)),
        Change::PutPlan(plan) => Some(("plan", plan.id.0)),
        Change::DeletePlan(id) => Some(("plan", id.0)),
        Change::PutApplication(application) => Some(("application", application.id.0)),
        Change::DeleteApplication(id) => Some(("application", id.0)),
        // It is about no record.
        Change::RaiseIds(_) => None,
    }
}

/// The fields of a record of the catalog; none, if there is no such record.
pub(super) fn fields_of(catalog: &Catalog, kind: &str, id: u64) -> Map<String, Value> {
    let fields = match kind {
        "tenant" => catalog.tenants.get(id).map(|tenant| {
            let default = tenant.default_service.map(|id| id.0);
            json!({"name": tenant.name, "default_service": default, "provider_keys": exposed(&tenant.provider_keys)})
        }),
        "account" => catalog.accounts.get(id).map(|account| json!({"org_name": account.name})),
        "service" => catalog.services.get(id).map(|service| service_fields(service)),
        "plan" => catalog.plans.get(id).map(|plan| plan_fields(plan)),
        _ => catalog.applications.get(id).map(|application| application_fields(application)),
    };
    match fields {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// To be compared, and then redacted.
fn exposed<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Vec<&'s str> {
    secrets.into_iter().map(Secret::expose).collect()
}

fn service_fields(service: &Service) -> Value {
    let metrics = service.metrics.iter().map(|metric| json!({"id": metric.id.0, "system_name": metric.name}));
    json!({
        "name": service.name,
        "external_id": service.external_id,
        "state": service.state.name(),
        "backend_version": service.backend_version.name(),
        "referrer_filters_required": service.referrer_filters_required,
        "tokens": exposed(&service.tokens),
        "metrics": metrics.collect::<Vec<_>>(),
        "alert_limits": service.alert_limits,
        "shadow": service.shadow,
        "ratelimit_headers": service.ratelimit_headers,
    })
}

fn plan_fields(plan: &Plan) -> Value {
    let limits = plan.limits.iter().map(|limit| {
        let (id, metric) = (limit.id.0, limit.metric.0);
        json!({"id": id, "metric_id": metric, "period": limit.period.name(), "value": limit.max})
    });
    json!({
        "service_id": plan.service.0,
        "external_id": plan.external_id,
        "name": plan.name,
        "limits": limits.collect::<Vec<_>>(),
    })
}

fn application_fields(application: &Application) -> Value {
    json!({
        "service_id": application.service.0,
        "account_id": application.account.map(|id| id.0),
        "plan_id": application.plan.0,
        "application_id": application.app_id,
        "name": application.name,
        "state": application.state.name(),
        "app_keys": exposed(&application.app_keys),
        "user_keys": exposed(&application.user_keys),
        "referrer_filters": application.referrer_filters.iter().collect::<Vec<_>>(),
        "redirect_url": application.redirect_url,
        "shadow": application.shadow,
    })
}

/// Kind and id of the record that a row holds. Other rows are what records are found by.
fn name_of_row(row: &Changed<'_>) -> Option<Name> {
    let is_record = |bytes: &[u8]| {
        bytes.len() > 2 && bytes.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    };
    let holds_one = [row.before.as_deref(), row.after].into_iter().flatten().any(is_record);
    Some((kind_of(row.table), id_of(row.key).filter(|_| holds_one)?))
}

/// Adds what a row says of a record.
fn add_row(sides: &mut Sides, row: &Changed<'_>) {
    for (known, bytes) in sides.iter_mut().zip([row.before.as_deref(), row.after]) {
        if let Some(Ok(Value::Object(fields))) = bytes.map(serde_json::from_slice) {
            known.extend(fields);
        }
    }
}

/// What the records of a table are: for most, its name is their plural.
fn kind_of(table: &str) -> String {
    match table.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => table.strip_suffix('s').unwrap_or(table).to_owned(),
    }
}

/// What is kept of a changed record, as far as there is room.
fn object((kind, id): Name, [before, after]: Sides, room: &mut usize) -> Object {
    let (before, after) = match (before.is_empty(), after.is_empty()) {
        (false, false) => {
            let differs = |fields: &Map<String, Value>, others: &Map<String, Value>| {
                let other = |field: &String| field != "updated_at" && fields.get(field) != others.get(field);
                let names = fields.iter().filter(|(field, _)| other(field));
                names.map(|(field, value)| (field.clone(), value.clone())).collect::<Map<_, _>>()
            };
            (Some(differs(&before, &after)), Some(differs(&after, &before)))
        }
        (before_is_empty, after_is_empty) => {
            (Some(before).filter(|_| !before_is_empty), Some(after).filter(|_| !after_is_empty))
        }
    };
    let mut kept = |fields: Option<Map<String, Value>>| fields.map(|fields| fitting(redacted(fields), room));
    Object { kind, id, before: kept(before), after: kept(after) }
}

fn fitting(fields: Map<String, Value>, room: &mut usize) -> Map<String, Value> {
    let fields = Value::Object(fields);
    let len = fields.to_string().len();
    match fields {
        Value::Object(fields) if len <= PART_LEN_MAX.min(*room) => {
            *room -= len;
            fields
        }
        _ => Map::from_iter([("omitted_bytes".to_owned(), Value::from(len))]),
    }
}

/// Takes away up to `count` entries of a tenant that goes, the oldest; whether there were any.
pub(super) fn forget_part(
    records: &mut Records<'_>,
    tenant: TenantId,
    count: usize,
) -> Result<bool, ShelfError> {
    let mut is_any = false;
    for origin in Origin::ALL {
        let rows = records.rows(origin.table(), &Scan::first(&id_key(tenant.0), count))?;
        rows.iter().for_each(|(key, _)| records.delete(origin.table(), key));
        is_any |= !rows.is_empty();
    }
    Ok(is_any)
}

/// It goes with its tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(tenant) = change {
            for origin in Origin::ALL {
                for (key, _) in records.all_rows(origin.table(), &id_key(tenant.0))? {
                    records.delete(origin.table(), &key);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that take so many bytes as JSON.
    fn fields(len: usize) -> Map<String, Value> {
        let fields = Map::from_iter([("description".to_owned(), Value::from("x".repeat(len - 18)))]);
        assert_eq!(Value::Object(fields.clone()).to_string().len(), len);
        fields
    }

    /// Those of new records that an entry has whole.
    fn kept(lens: &[usize]) -> Vec<bool> {
        let changed: BTreeMap<_, _> =
            lens.iter().zip(0..).map(|(len, id)| (("plan".to_owned(), id), *len)).collect();
        let (objects, more) = objects(changed.into_iter(), |_, len| [Map::new(), fields(len)]);
        assert_eq!(more, 0);
        let is_kept = |object: &Object| object.after.as_ref().unwrap().contains_key("description");
        let said = |(object, len): (&Object, &usize)| {
            let omitted = object.after.as_ref().unwrap().get("omitted_bytes").and_then(Value::as_u64);
            assert!(is_kept(object) || omitted == Some(*len as u64), "{object:?}");
        };
        objects.iter().zip(lens).for_each(said);
        objects.iter().map(is_kept).collect()
    }

    #[test]
    fn an_entry_keeps_so_many_bytes_of_a_record_and_so_many_in_all() {
        assert_eq!(kept(&[PART_LEN_MAX, PART_LEN_MAX + 1]), [true, false]);
        let quarter = PARTS_LEN_MAX / 4;
        assert_eq!(kept(&[quarter, quarter, quarter, quarter, 19]), [true, true, true, true, false]);
        assert_eq!(kept(&[quarter, quarter, quarter, quarter - 19, 19]), [true; 5]);
        assert_eq!(kept(&[quarter, quarter, quarter, quarter - 19, 20]), [true, true, true, true, false]);
    }

    #[test]
    fn an_entry_lists_so_many_records_and_says_how_many_more_there_are() {
        let of = |count: u64| {
            let changed: BTreeMap<_, _> = (0..count).map(|id| (("plan".to_owned(), id), ())).collect();
            let built = std::cell::Cell::new(0);
            let (objects, more) = objects(changed.into_iter(), |_, ()| {
                built.set(built.get() + 1);
                [Map::new(), fields(19)]
            });
            (objects.len(), more, built.get())
        };
        let most = OBJECTS_MAX as u64;
        assert_eq!(of(most), (OBJECTS_MAX, 0, OBJECTS_MAX));
        assert_eq!(of(most + 1), (OBJECTS_MAX, 1, OBJECTS_MAX), "of the others nothing is built");
    }
}
