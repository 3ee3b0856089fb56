//! Application plans: `/application_plans`, `/services/{id}/application_plans`.
//!
//! A plan that applications are on stays, also if that is a copy of it that was made for one of them alone. A copy has the limits, prices and features of the plan that it is made of.

use std::sync::Arc;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::features;
use super::pricing_rules;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::ServiceDetails;
use super::terms::{self, Terms};
use crate::document::system_name;
use crate::model::catalog::Change;
use crate::model::id::{PlanId, ServiceId};
use crate::model::record::{Plan, Service};
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "application_plans", ACCESS, list_all),
    Route::new(POST, "application_plans/{id}/copy", ACCESS, copy_any),
    Route::new(GET, "services/{service_id}/application_plans", ACCESS, list),
    Route::new(POST, "services/{service_id}/application_plans", ACCESS, create),
    Route::new(GET, "services/{service_id}/application_plans/{id}", ACCESS, show),
    Route::new(PUT, "services/{service_id}/application_plans/{id}", ACCESS, update),
    Route::new(DELETE, "services/{service_id}/application_plans/{id}", ACCESS, delete),
    Route::new(PUT, "services/{service_id}/application_plans/{id}/default", ACCESS, set_default),
    Route::new(POST, "services/{service_id}/application_plans/{id}/copy", ACCESS, copy_of_service),
];

/// The most application plans of a service, with those that were made for one application alone.
pub(super) const PLANS_MAX: usize = if cfg!(test) { 100 } else { 10_000 };

/// What is agreed with an application plan; one that came otherwise is agreed for nothing.
pub(super) fn terms_of(records: &Records<'_>, plan: &Plan) -> Result<Terms, ShelfError> {
    Ok(records.find::<Terms>(plan.id.0)?.unwrap_or_else(|| Terms {
        owner: plan.service.0,
        is_published: true,
        system_name: system_name::of(&plan.name),
        ..Terms::default()
    }))
}

/// The plan as answers show it.
pub(super) fn entity(seen: Seen<'_>, plan: &Plan) -> Result<Entity, Refusal> {
    let details = seen.records.find::<ServiceDetails>(plan.service.0)?;
    let is_default = details.is_some_and(|it| it.default_application_plan == Some(plan.id.0));
    Ok(terms_of(seen.records, plan)?.entity(plan.id.0, &plan.name, is_default))
}

/// The plans of a service that are shown: not what stands for no plan.
fn plans_of<'a>(seen: Seen<'a>, service: &Service) -> impl Iterator<Item = &'a Arc<Plan>> {
    let plans = seen.catalog.plans_of(service.id).iter().filter_map(move |id| seen.catalog.plans.get(id));
    plans.filter(|plan| plan.text().is_some())
}

/// A plan of a service.
pub(super) fn plan_of(seen: Seen<'_>, service: u64, id: u64) -> Result<&Arc<Plan>, Refusal> {
    seen.service(service)?;
    let plan = seen.plan(id)?;
    if plan.service == ServiceId(service) { Ok(plan) } else { Err(Refusal::NotFound) }
}

fn list_all(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let services = seen.catalog.services_of(context.caller.tenant).iter();
    let services = services.filter_map(|id| seen.service(id).ok());
    shown(context, seen, services.flat_map(|service| plans_of(seen, service)).collect())
}

fn shown(context: &Context<'_>, seen: Seen<'_>, plans: Vec<&Arc<Plan>>) -> Outcome {
    let page = context.page_if_asked(plans.len());
    let found = page.cut(plans).into_iter().map(|plan| entity(seen, plan));
    Reply::page(context.format, "plans", found, page)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    shown(context, seen, plans_of(seen, service).collect())
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    Ok(Reply::one(entity(seen, plan_of(seen, context.id(0)?, context.id(1)?)?)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("application_plan")?;
    let service = context.id(0)?;
    context.change(|edit| {
        let id = add(edit, service, &fields)?;
        created(edit, id)
    })
}

/// Makes an application plan of a service.
///
/// # Errors
/// There is no such service, or the plan would not be valid.
pub(super) fn add(edit: &mut Edit<'_, '_, '_>, service: u64, fields: &Fields) -> Result<PlanId, Refusal> {
    edit.seen().service(service)?;
    let mut errors = Errors::default();
    let name = terms::new_name(fields, &mut errors);
    let mut terms = Terms { owner: service, ..Terms::default() };
    terms.apply(fields, &mut errors);
    errors.check()?;
    room(edit.seen(), ServiceId(service), PLANS_MAX)?;
    let id = edit.draft.create_plan(ServiceId(service), None, &name)?;
    terms.create(edit, id.0, &name, fields.filled("system_name"))?;
    Ok(id)
}

/// Room for one plan more of a service.
///
/// # Errors
/// It has as many as there may be.
pub(super) fn room(seen: Seen<'_>, service: ServiceId, max: usize) -> Result<(), Errors> {
    check::room(seen.catalog.plans_of(service).len(), max, "application plans of a service")
}

fn created(edit: &Edit<'_, '_, '_>, id: PlanId) -> Outcome {
    let seen = edit.seen();
    let plan = seen.plan(id.0)?;
    let place = format!("/admin/api/services/{}/application_plans/{id}", plan.service);
    Ok(Reply::created(entity(seen, plan)?).at(place))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("application_plan")?;
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let plan = plan_of(edit.seen(), service, id)?;
        let mut terms = terms_of(edit.records, plan)?;
        let mut errors = Errors::default();
        let name = terms::changed_name(&fields, &mut errors);
        terms.apply(&fields, &mut errors);
        errors.check()?;
        terms.updated_at = edit.now;
        edit.records.save(id, &terms)?;
        if let Some(name) = name {
            edit.draft.rename_plan(PlanId(id), &name)?;
        }
        let seen = edit.seen();
        Ok(Reply::one(entity(seen, seen.plan(id)?)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        plan_of(edit.seen(), service, id)?;
        if !edit.draft.catalog().applications_of(id).is_empty() || is_model_of_used(edit.seen(), service, id)?
        {
            let why = "This application plan cannot be deleted! At least one application depends on it.";
            return Err(Refusal::Undeletable(Errors::of("base", why)));
        }
        edit.draft.delete_plan(PlanId(id))?;
        Ok(Reply::gone())
    })
}

/// Whether an application is on a plan that was made of this one for it alone: it can come back.
fn is_model_of_used(seen: Seen<'_>, service: u64, id: u64) -> Result<bool, ShelfError> {
    for other in seen.catalog.plans_of(ServiceId(service)).iter() {
        let is_used = !seen.catalog.applications_of(other).is_empty();
        if is_used && seen.records.find::<Terms>(other)?.is_some_and(|terms| terms.original == Some(id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn set_default(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        plan_of(edit.seen(), service, id)?;
        let mut details = edit.records.find::<ServiceDetails>(service)?.unwrap_or_default();
        details.default_application_plan = Some(id);
        edit.records.save(service, &details)?;
        let seen = edit.seen();
        Ok(Reply::one(entity(seen, seen.plan(id)?)?))
    })
}

fn copy_of_service(context: &Context<'_>) -> Outcome {
    copy(context, context.id(1)?, Some(context.id(0)?))
}

fn copy_any(context: &Context<'_>) -> Outcome {
    copy(context, context.id(0)?, None)
}

fn copy(context: &Context<'_>, id: u64, service: Option<u64>) -> Outcome {
    let fields = context.fields("application_plan")?;
    context.change(|edit| {
        let plan = match service {
            Some(service) => plan_of(edit.seen(), service, id)?,
            None => edit.seen().plan(id)?,
        };
        let name = terms::name_of_copy(&fields, &plan.name)?;
        let copy = copy_plan(edit, PlanId(id), &name, fields.filled("system_name"), None)?;
        created(edit, copy)
    })
}

/// Makes a hidden plan like another: with its limits, prices and features. `original`: it stands in for that plan.
///
/// # Errors
/// The names cannot be the new plan's.
pub(super) fn copy_plan(
    edit: &mut Edit<'_, '_, '_>,
    from: PlanId,
    name: &str,
    system_name: Option<String>,
    original: Option<u64>,
) -> Result<PlanId, Refusal> {
    let plan = Arc::clone(edit.seen().plan(from.0)?);
    let terms = Terms { is_published: false, original, ..terms_of(edit.records, &plan)? };
    room(edit.seen(), plan.service, PLANS_MAX)?;
    let id = edit.draft.create_plan(plan.service, None, name)?;
    terms.create(edit, id.0, name, system_name)?;
    edit.draft.copy_limits(from, id)?;
    pricing_rules::copy(edit, from, id)?;
    features::copy(edit.records, from.0, id.0)?;
    Ok(id)
}

/// What is agreed with plans that are gone goes with them; plans that somebody else made are dated.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::PutPlan(plan) => {
                let is_new = accompanied.before.plans.get(plan.id.0).is_none();
                if is_new && plan.text().is_some() && records.find::<Terms>(plan.id.0)?.is_none() {
                    let terms = terms_of(records, plan)?;
                    records.save(plan.id.0, &Terms { created_at: now, updated_at: now, ..terms })?;
                }
            }
            Change::DeletePlan(id) => {
                let Some(terms) = records.find::<Terms>(id.0)? else { continue };
                terms.take_away(id.0, records)?;
                if let Some(mut details) = records.find::<ServiceDetails>(terms.owner)?
                    && details.default_application_plan == Some(id.0)
                {
                    details.default_application_plan = None;
                    records.save(terms.owner, &details)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
