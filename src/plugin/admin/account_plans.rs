//! Account plans: `/account_plans`. Each account is on one. A tenant begins with one, `Default`.

use serde::{Deserialize, Serialize};

use super::account_details;
use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::context::{Context, Edit, Seen};
use super::features;
use super::owned::Owned;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::terms::{self, PlanKind, Terms};
use crate::model::catalog::Change;
use crate::model::draft::Draft;
use crate::model::id::TenantId;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "account_plans", ACCESS, list),
    Route::new(POST, "account_plans", ACCESS, create),
    Route::new(GET, "account_plans/{id}", ACCESS, show),
    Route::new(PUT, "account_plans/{id}", ACCESS, update),
    Route::new(DELETE, "account_plans/{id}", ACCESS, delete),
    Route::new(PUT, "account_plans/{id}/default", ACCESS, set_default),
    Route::new(POST, "account_plans/{id}/copy", ACCESS, copy),
];

/// The plan that accounts of a tenant are on if they ask for none; by the tenant's id.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
struct DefaultPlan {
    plan: Option<u64>,
}

impl Record for DefaultPlan {
    const TABLE: Table = Table("default_account_plans");
}

/// The plan that accounts are on if they ask for none.
pub(super) fn default_of(tenant: u64, records: &Records<'_>) -> Result<Option<u64>, ShelfError> {
    Ok(records.find::<DefaultPlan>(tenant)?.and_then(|default| default.plan))
}

/// The plan for an account that asked for none: the default one, else the first. A tenant without any gets one.
pub(super) fn for_new_account(edit: &mut Edit<'_, '_, '_>) -> Result<u64, Refusal> {
    match of_new_accounts(edit.tenant().0, edit.records)? {
        Some(id) => Ok(id),
        None => Ok(create_default(edit.draft, edit.records, edit.caller.tenant, edit.now)?),
    }
}

fn of_new_accounts(tenant: u64, records: &Records<'_>) -> Result<Option<u64>, ShelfError> {
    match default_of(tenant, records)? {
        Some(id) => Ok(Some(id)),
        None => Ok(Terms::ids_of(tenant, records)?.first().copied()),
    }
}

/// Whether accounts that ask for no plan wait until somebody approves them.
pub(super) fn asks_for_approval(tenant: u64, records: &Records<'_>) -> Result<bool, ShelfError> {
    let plan = of_new_accounts(tenant, records)?.map(|id| records.find::<Terms>(id)).transpose()?;
    Ok(plan.flatten().is_some_and(|terms| terms.approval_required))
}

/// Lets accounts that ask for no plan wait until somebody approves them, or not.
pub(super) fn ask_for_approval(edit: &mut Edit<'_, '_, '_>, is_asked: bool) -> Result<(), Refusal> {
    if asks_for_approval(edit.tenant().0, edit.records)? == is_asked {
        return Ok(());
    }
    let id = for_new_account(edit)?;
    let terms = plan(edit.seen(), id)?;
    let terms = Terms { approval_required: is_asked, updated_at: edit.now, ..terms };
    Ok(terms.put(id, edit.records)?)
}

/// Leaves accounts that ask for none without a plan of their own choice: they get the first.
pub(super) fn forget_default(tenant: u64, records: &mut Records<'_>) {
    records.remove::<DefaultPlan>(tenant);
}

/// Gives a tenant the plan that it begins with.
pub(super) fn create_default(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    tenant: TenantId,
    now: u64,
) -> Result<u64, ShelfError> {
    let id = Terms::create_default(draft, records, (PlanKind::Account, tenant.0), now)?;
    records.save(tenant.0, &DefaultPlan { plan: Some(id) })?;
    Ok(id)
}

/// An account plan of the tenant.
pub(super) fn plan(seen: Seen<'_>, id: u64) -> Result<Terms, Refusal> {
    let terms = Terms::other(PlanKind::Account, id, seen.records)?;
    terms.filter(|terms| terms.owner == seen.caller.tenant.0).ok_or(Refusal::NotFound)
}

/// The plan as answers show it.
pub(super) fn entity(seen: Seen<'_>, id: u64, terms: &Terms) -> Result<Entity, Refusal> {
    let is_default = default_of(terms.owner, seen.records)? == Some(id);
    Ok(terms.entity(id, &terms.name, is_default))
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let ids = Terms::ids_of(context.caller.tenant.0, seen.records)?;
    let page = context.page_if_asked(ids.len());
    let shown = page.cut(ids).into_iter().map(|id| entity(seen, id, &plan(seen, id)?));
    Reply::page(context.format, "plans", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let id = context.id(0)?;
    Ok(Reply::one(entity(seen, id, &plan(seen, id)?)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account_plan")?;
    context.change(|edit| {
        let mut errors = Errors::default();
        let name = terms::new_name(&fields, &mut errors);
        let owner = edit.tenant().0;
        let mut terms = Terms { kind: PlanKind::Account, owner, name: name.clone(), ..Terms::default() };
        terms.apply(&fields, &mut errors);
        errors.check()?;
        let id = edit.draft.take_id();
        terms.create(edit, id, &name, fields.filled("system_name"))?;
        created(edit, id)
    })
}

fn created(edit: &Edit<'_, '_, '_>, id: u64) -> Outcome {
    let entity = entity(edit.seen(), id, &plan(edit.seen(), id)?)?;
    Ok(Reply::created(entity).at(format!("/admin/api/account_plans/{id}")))
}

fn copy(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account_plan")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let copy = plan(edit.seen(), id)?.copy(edit, id, &fields)?;
        created(edit, copy)
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account_plan")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let mut terms = plan(edit.seen(), id)?;
        terms.change(edit, id, &fields)?;
        Ok(Reply::one(entity(edit.seen(), id, &terms)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let terms = plan(edit.seen(), id)?;
        if account_details::are_on(edit.records, id)? {
            let why = "This account plan cannot be deleted! At least one account depends on it.";
            return Err(Refusal::Undeletable(Errors::of("base", why)));
        }
        terms.take_away(id, edit.records)?;
        features::forget_plan(edit.records, id)?;
        if default_of(terms.owner, edit.records)? == Some(id) {
            edit.records.remove::<DefaultPlan>(terms.owner);
        }
        Ok(Reply::gone())
    })
}

fn set_default(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let terms = plan(edit.seen(), id)?;
        edit.records.save(terms.owner, &DefaultPlan { plan: Some(id) })?;
        Ok(Reply::one(entity(edit.seen(), id, &terms)?))
    })
}

/// What is said of a tenant goes with it.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(id) = change {
            records.remove::<DefaultPlan>(id.0);
        }
    }
    Ok(())
}
