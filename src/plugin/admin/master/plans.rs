//! Plans of tenants, `/master/api/plans`: how much a tenant may have. The original's master API has none but what changes a tenant's
//! plan, `PUT /providers/{id}/plan_upgrade?plan_id=`.
//!
//! A quota is the most of something that a tenant has at once; without one, and without a plan, what bounds everybody holds alone. A
//! command that would bring a tenant beyond its quota is refused whole; a tenant that has more when its plan changes keeps it, and gets no
//! more. What operators push over the internal API is not held to it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::super::auth::Access;
use super::super::context::{Context, Edit, Seen};
use super::super::provider::ProviderDetails;
use super::super::request::Fields;
use super::super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::super::services;
use super::super::xml::Element;
use super::super::{check, times};
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

pub(in crate::plugin::admin) const ROUTES: &[Route] = &[
    Route::new(GET, "plans", Access::ADMINS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "plans", Access::ADMINS, create).in_formats(Formats::JsonOnly),
    Route::new(GET, "plans/{id}", Access::ADMINS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, "plans/{id}", Access::ADMINS, update).in_formats(Formats::JsonOnly),
    Route::new(DELETE, "plans/{id}", Access::ADMINS, delete).in_formats(Formats::JsonOnly),
    Route::new(PUT, "plans/{id}/default", Access::ADMINS, make_default).in_formats(Formats::JsonOnly),
];

/// The most plans: each list has all.
pub(in crate::plugin::admin) const PLANS_MAX: usize = 100;

/// What a plan bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quota {
    Services,
    Accounts,
    Applications,
}

impl Quota {
    const ALL: [Quota; 3] = [Quota::Services, Quota::Accounts, Quota::Applications];

    fn field(self) -> &'static str {
        match self {
            Quota::Services => "services_max",
            Quota::Accounts => "accounts_max",
            Quota::Applications => "applications_max",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Quota::Services => "services",
            Quota::Accounts => "accounts",
            Quota::Applications => "applications",
        }
    }

    /// How many a tenant has.
    fn count(self, catalog: &Catalog, tenant: TenantId) -> usize {
        match self {
            Quota::Services => services::of_tenant(catalog, tenant).count(),
            Quota::Accounts => catalog.accounts_of(tenant).len(),
            Quota::Applications => services::of_tenant(catalog, tenant)
                .map(|service| catalog.applications_of(service.id.0).len())
                .sum(),
        }
    }
}

/// How much a tenant may have.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(in crate::plugin::admin) struct TenantPlan {
    name: String,
    /// By the field that says it; without a number as many as anybody.
    quotas: Map<String, Value>,
    /// Whether new tenants are on it.
    is_default: bool,
    created_at: u64,
    updated_at: u64,
}

impl Record for TenantPlan {
    const TABLE: Table = Table("tenant_plans");
}

impl TenantPlan {
    fn max(&self, quota: Quota) -> Option<u64> {
        self.quotas.get(quota.field())?.as_u64()
    }
}

/// The plan that new tenants are on, if any is.
pub(super) fn default_of(records: &Records<'_>) -> Result<Option<u64>, ShelfError> {
    let mut all = records.all::<TenantPlan>()?.into_iter();
    Ok(all.find(|(_, plan)| plan.is_default).map(|(id, _)| id))
}

/// Whether what a command makes of the catalog is within the quotas of its tenant.
///
/// # Errors
/// It is not: nothing of the command is carried out.
pub(in crate::plugin::admin) fn hold_to_quotas(
    before: &Catalog,
    edit: &Edit<'_, '_, '_>,
) -> Result<(), Refusal> {
    let tenant = edit.caller.tenant;
    let details = edit.records.find::<ProviderDetails>(tenant.0)?;
    let Some(id) = details.and_then(|details| details.plan) else { return Ok(()) };
    let Some(plan) = edit.records.find::<TenantPlan>(id)? else { return Ok(()) };
    let after = edit.draft.catalog();
    for quota in Quota::ALL {
        let Some(max) = plan.max(quota) else { continue };
        let count = quota.count(after, tenant);
        if count as u64 > max && count > quota.count(before, tenant) {
            // As the original, which says nothing of it, for what it bounds itself.
            return Err(match quota {
                Quota::Services => Refusal::Closed,
                _ => {
                    let text = format!("the plan of this tenant has room for {max} {}", quota.noun());
                    Refusal::Said(403, text)
                }
            });
        }
    }
    Ok(())
}

/// A plan.
///
/// # Errors
/// There is none.
pub(super) fn find(seen: Seen<'_>, id: u64) -> Result<TenantPlan, Refusal> {
    seen.records.find(id)?.ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let all = moment.seen().records.all::<TenantPlan>()?;
    Ok(Reply::list("plans", all.iter().map(|(id, plan)| entity(*id, plan)).collect(), None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("plan")?;
    context.change(|edit| {
        let mut plan = TenantPlan { created_at: edit.now, updated_at: edit.now, ..TenantPlan::default() };
        let mut errors = Errors::default();
        apply(&mut plan, &fields, true, &mut errors);
        let others = edit.records.all::<TenantPlan>()?;
        if others.len() >= PLANS_MAX {
            errors.add("base", format!("there are at most {PLANS_MAX} plans"));
        }
        errors.check()?;
        let id = edit.draft.take_id();
        edit.records.save(id, &plan)?;
        Ok(Reply::created(entity(id, &plan)).at(format!("/master/api/plans/{id}")))
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("plan")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let mut plan = find(edit.seen(), id)?;
        let mut errors = Errors::default();
        apply(&mut plan, &fields, false, &mut errors);
        errors.check()?;
        plan.updated_at = edit.now;
        edit.records.save(id, &plan)?;
        Ok(Reply::one(entity(id, &plan)))
    })
}

fn make_default(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        find(edit.seen(), id)?;
        for (other, mut plan) in edit.records.all::<TenantPlan>()? {
            let is_default = other == id;
            if plan.is_default != is_default {
                (plan.is_default, plan.updated_at) = (is_default, edit.now);
                edit.records.save(other, &plan)?;
            }
        }
        Ok(Reply::one(entity(id, &find(edit.seen(), id)?)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        find(edit.seen(), id)?;
        let tenants = edit.draft.catalog().tenants.iter();
        for (tenant, _) in tenants {
            let details = edit.records.find::<ProviderDetails>(tenant)?;
            if details.is_some_and(|details| details.plan == Some(id)) {
                let text = "This plan cannot be deleted! At least one tenant is on it.";
                return Err(Refusal::Undeletable(Errors::of("base", text)));
            }
        }
        edit.records.remove::<TenantPlan>(id);
        Ok(Reply::gone())
    })
}

fn apply(plan: &mut TenantPlan, fields: &Fields, is_new: bool, errors: &mut Errors) {
    if is_new || fields.has("name") {
        plan.name = fields.text("name").unwrap_or_default().trim().to_owned();
        check::present(errors, "name", Some(&plan.name));
    }
    for field in Quota::ALL.map(Quota::field) {
        if !fields.has(field) {
            continue;
        }
        match fields.integer(field) {
            // Sent as nothing: no bound.
            None => drop(plan.quotas.remove(field)),
            Some(Some(max)) if max >= 0 => drop(plan.quotas.insert(field.to_owned(), Value::from(max))),
            Some(_) => errors.add(field, "must be greater than or equal to 0"),
        }
    }
}

fn entity(id: u64, plan: &TenantPlan) -> Entity {
    let mut json = json!({"id": id, "name": plan.name, "default": plan.is_default});
    for quota in Quota::ALL {
        json[quota.field()] = plan.max(quota).into();
    }
    json["created_at"] = times::text(plan.created_at).into();
    json["updated_at"] = times::text(plan.updated_at).into();
    Entity { wrapper: "plan", json, xml: Element::new("plan") }
}
