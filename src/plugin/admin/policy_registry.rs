//! Policies that a tenant has made itself: `/registry/policies`. Their schemas are kept for those who configure gateways.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Members, Scope, Section};
use super::check;
use super::context::{Context, Seen};
use super::names::{self, Kind};
use super::owned::Owned;
use super::proxy::ProxyDetails;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::id::TenantId;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::of(&[Scope::PolicyRegistry], Members::Of(Section::PolicyRegistry));

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "registry/policies", ACCESS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "registry/policies", ACCESS, create).in_formats(Formats::JsonOnly),
    Route::new(GET, "registry/policies/{id}", ACCESS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, "registry/policies/{id}", ACCESS, update).in_formats(Formats::JsonOnly),
    Route::new(DELETE, "registry/policies/{id}", ACCESS, delete).in_formats(Formats::JsonOnly),
];

/// The most policies of a tenant.
pub(super) const REGISTERED_MAX: usize = 100;
/// The longest schema, in bytes as JSON.
pub(super) const SCHEMA_LEN_MAX: usize = 65_535;

/// A policy of a tenant.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct RegisteredPolicy {
    pub(super) tenant: u64,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema: Value,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for RegisteredPolicy {
    const TABLE: Table = Table("policies");
}

impl Owned for RegisteredPolicy {
    const BY_OWNER: Table = Table("policies_by_tenant");

    fn owners(&self) -> Vec<u64> {
        vec![self.tenant]
    }
}

impl RegisteredPolicy {
    /// What is unique among a tenant's. A name has no control character, so no two pairs are one.
    fn unique(&self) -> String {
        format!("{}\n{}", self.name, self.version)
    }
}

/// A tenant's own policies.
pub(super) fn of_tenant(
    records: &Records<'_>,
    tenant: TenantId,
) -> Result<Vec<(u64, RegisteredPolicy)>, ShelfError> {
    RegisteredPolicy::of(tenant.0, records)
}

/// By id, or by name and version with a dash between.
fn find(context: &Context<'_>, seen: Seen<'_>) -> Result<(u64, RegisteredPolicy), Refusal> {
    let (text, tenant) = (context.text(0), context.caller.tenant.0);
    if let Ok(id) = text.parse::<u64>()
        && let Some(policy) = seen.records.find::<RegisteredPolicy>(id)?.filter(|it| it.tenant == tenant)
    {
        return Ok((id, policy));
    }
    let mut all = RegisteredPolicy::of(tenant, seen.records)?.into_iter();
    let found = all.find(|(_, it)| text.strip_prefix(&it.name) == Some(&format!("-{}", it.version)));
    found.ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let records = moment.seen().records;
    let ids = RegisteredPolicy::ids_of(context.caller.tenant.0, records)?;
    let page = context.page_if_asked(ids.len());
    let shown = page.cut(ids).into_iter().map(|id| {
        let policy = records.find::<RegisteredPolicy>(id)?;
        Ok(entity(id, &policy.ok_or(Refusal::Failed)?))
    });
    Reply::page(context.format, "policies", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (id, policy) = find(context, moment.seen())?;
    Ok(Reply::one(entity(id, &policy)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("policy")?;
    context.change(|edit| {
        let (tenant, now) = (edit.tenant().0, edit.now);
        let mut policy = RegisteredPolicy {
            tenant,
            name: String::new(),
            version: String::new(),
            schema: Value::Null,
            created_at: now,
            updated_at: now,
        };
        let mut errors = Errors::default();
        if RegisteredPolicy::count(tenant, edit.records)? >= REGISTERED_MAX {
            errors.add("base", format!("There can be at most {REGISTERED_MAX} policies"));
        }
        apply(&mut policy, &fields, true, &mut errors);
        errors.check()?;
        let id = edit.draft.take_id();
        if !names::claim(edit.records, Kind::Policy, tenant, &policy.unique(), id)? {
            return Err(Errors::of("version", check::TAKEN).into());
        }
        policy.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &policy)).at(format!("/admin/api/registry/policies/{id}")))
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("policy")?;
    context.change(|edit| {
        let (id, mut policy) = find(context, edit.seen())?;
        let before = policy.unique();
        let mut errors = Errors::default();
        apply(&mut policy, &fields, false, &mut errors);
        errors.check()?;
        if policy.unique() != before {
            if let Some(error) = used_by(context, edit.seen(), &before)? {
                return Err(Errors::of("base", error).into());
            }
            names::release(edit.records, Kind::Policy, policy.tenant, &before, id)?;
            if !names::claim(edit.records, Kind::Policy, policy.tenant, &policy.unique(), id)? {
                return Err(Errors::of("version", check::TAKEN).into());
            }
        }
        policy.updated_at = edit.now;
        edit.records.save(id, &policy)?;
        Ok(Reply::one(entity(id, &policy)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (id, policy) = find(context, edit.seen())?;
        if let Some(error) = used_by(context, edit.seen(), &policy.unique())? {
            return Err(Refusal::Undeletable(Errors::of("base", error)));
        }
        take_away(id, &policy, edit.records)?;
        Ok(Reply::gone())
    })
}

/// Takes one away, and frees its name.
pub(super) fn take_away(
    id: u64,
    policy: &RegisteredPolicy,
    records: &mut Records<'_>,
) -> Result<(), ShelfError> {
    names::release(records, Kind::Policy, policy.tenant, &policy.unique(), id)?;
    policy.delete(id, records);
    Ok(())
}

/// Why a policy must stay as it is: a chain has it.
fn used_by(context: &Context<'_>, seen: Seen<'_>, unique: &str) -> Result<Option<String>, Refusal> {
    let tenant = context.caller.tenant;
    for service in super::services::of_tenant(seen.catalog, tenant) {
        let Some(details) = seen.records.find::<ProxyDetails>(service.id.0)? else { continue };
        if details.policies.iter().any(|it| format!("{}\n{}", it.name, it.version) == unique) {
            return Ok(Some(format!("The policy is used by the product {}", service.id)));
        }
    }
    Ok(None)
}

fn apply(policy: &mut RegisteredPolicy, fields: &Fields, is_new: bool, errors: &mut Errors) {
    for (field, text) in [("name", &mut policy.name), ("version", &mut policy.version)] {
        if is_new || fields.has(field) {
            *text = fields.text(field).unwrap_or_default().trim().to_owned();
            check::present(errors, field, Some(text));
        }
    }
    if !is_new && !fields.has("schema") {
        return;
    }
    let schema = match fields.value("schema") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(schema) => schema.clone(),
        None => Value::Null,
    };
    if fields.value("schema").is_none_or(Value::is_null) {
        errors.add("schema", check::BLANK);
    } else if !schema.is_object() {
        errors.add("schema", check::INVALID);
    } else if schema.to_string().len() > SCHEMA_LEN_MAX {
        errors.add("schema", format!("is too long (maximum is {SCHEMA_LEN_MAX} characters)"));
    }
    policy.schema = schema;
}

fn entity(id: u64, policy: &RegisteredPolicy) -> Entity {
    let href = format!("/admin/api/registry/policies/{id}");
    let json = json!({
        "id": id,
        "name": policy.name,
        "version": policy.version,
        "schema": policy.schema,
        "created_at": times::text(policy.created_at),
        "updated_at": times::text(policy.updated_at),
        "links": [{"rel": "self", "href": href}],
    });
    Entity { wrapper: "policy", json, xml: Element::new("policy") }
}
