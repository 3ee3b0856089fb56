//! Service plans, to which accounts subscribe: `/service_plans`, `/services/{id}/service_plans`.
//!
//! Each service begins with one, `Default`. One that has subscriptions stays.

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::context::{Context, Edit, Seen};
use super::features;
use super::owned::Owned;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::ServiceDetails;
use super::subscriptions::Subscription;
use super::terms::{self, PlanKind, Terms};
use crate::model::catalog::Change;
use crate::model::draft::Draft;
use crate::model::id::ServiceId;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "service_plans", ACCESS, list_all),
    Route::new(GET, "services/{service_id}/service_plans", ACCESS, list),
    Route::new(POST, "services/{service_id}/service_plans", ACCESS, create),
    Route::new(GET, "services/{service_id}/service_plans/{id}", ACCESS, show),
    Route::new(PUT, "services/{service_id}/service_plans/{id}", ACCESS, update),
    Route::new(DELETE, "services/{service_id}/service_plans/{id}", ACCESS, delete),
    Route::new(PUT, "services/{service_id}/service_plans/{id}/default", ACCESS, set_default),
    Route::new(POST, "service_plans/{id}/copy", ACCESS, copy_any),
    Route::new(POST, "services/{service_id}/service_plans/{id}/copy", ACCESS, copy_of_service),
];

/// Gives a service the plan that it begins with.
pub(super) fn create_default(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    service: ServiceId,
    now: u64,
) -> Result<u64, ShelfError> {
    let id = Terms::create_default(draft, records, (PlanKind::Service, service.0), now)?;
    let mut details = records.find::<ServiceDetails>(service.0)?.unwrap_or_default();
    details.default_service_plan = Some(id);
    records.save(service.0, &details)?;
    Ok(id)
}

/// The plan on which an account subscribes that asked for none: the default one, else the first. A service that came
/// without any gets one.
pub(super) fn for_new_subscription(edit: &mut Edit<'_, '_, '_>, service: ServiceId) -> Result<u64, Refusal> {
    let default = edit.records.find::<ServiceDetails>(service.0)?.and_then(|it| it.default_service_plan);
    if let Some(id) = default {
        return Ok(id);
    }
    match Terms::of(service.0, edit.records)?.first() {
        Some((id, _)) => Ok(*id),
        None => Ok(create_default(edit.draft, edit.records, service, edit.now)?),
    }
}

/// A plan of a service that the caller may see.
fn plan_of(seen: Seen<'_>, service: u64, id: u64) -> Result<Terms, Refusal> {
    seen.service(service)?;
    let terms = Terms::other(PlanKind::Service, id, seen.records)?;
    terms.filter(|terms| terms.owner == service).ok_or(Refusal::NotFound)
}

/// A service plan of any service that the caller may see.
pub(super) fn plan(seen: Seen<'_>, id: u64) -> Result<Terms, Refusal> {
    let terms = Terms::other(PlanKind::Service, id, seen.records)?.ok_or(Refusal::NotFound)?;
    seen.service(terms.owner)?;
    Ok(terms)
}

/// The plan as answers show it.
pub(super) fn entity(seen: Seen<'_>, id: u64, terms: &Terms) -> Result<Entity, Refusal> {
    let details = seen.records.find::<ServiceDetails>(terms.owner)?;
    let is_default = details.is_some_and(|it| it.default_service_plan == Some(id));
    Ok(terms.entity(id, &terms.name, is_default))
}

fn shown(context: &Context<'_>, seen: Seen<'_>, ids: Vec<u64>) -> Outcome {
    let page = context.page_if_asked(ids.len());
    let found = page.cut(ids).into_iter().map(|id| entity(seen, id, &plan(seen, id)?));
    Reply::page(context.format, "plans", found, page)
}

fn list_all(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let mut ids = Vec::new();
    for service in seen.catalog.services_of(context.caller.tenant).iter() {
        if seen.service(service).is_ok() {
            ids.extend(Terms::ids_of(service, seen.records)?);
        }
    }
    shown(context, seen, ids)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    shown(context, seen, Terms::ids_of(service.id.0, seen.records)?)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let id = context.id(1)?;
    Ok(Reply::one(entity(seen, id, &plan_of(seen, context.id(0)?, id)?)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service_plan")?;
    let service = context.id(0)?;
    context.change(|edit| {
        edit.seen().service(service)?;
        let mut errors = Errors::default();
        let name = terms::new_name(&fields, &mut errors);
        let mut terms =
            Terms { kind: PlanKind::Service, owner: service, name: name.clone(), ..Terms::default() };
        terms.apply(&fields, &mut errors);
        errors.check()?;
        let id = edit.draft.take_id();
        terms.create(edit, id, &name, fields.filled("system_name"))?;
        created(edit, id)
    })
}

fn created(edit: &Edit<'_, '_, '_>, id: u64) -> Outcome {
    let terms = plan(edit.seen(), id)?;
    let place = format!("/admin/api/services/{}/service_plans/{id}", terms.owner);
    Ok(Reply::created(entity(edit.seen(), id, &terms)?).at(place))
}

fn copy_any(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    copy(context, id, |seen| plan(seen, id))
}

fn copy_of_service(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    copy(context, id, |seen| plan_of(seen, service, id))
}

fn copy(context: &Context<'_>, id: u64, find: impl Fn(Seen<'_>) -> Result<Terms, Refusal>) -> Outcome {
    let fields = context.fields("service_plan")?;
    context.change(|edit| {
        let copy = find(edit.seen())?.copy(edit, id, &fields)?;
        created(edit, copy)
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service_plan")?;
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let mut terms = plan_of(edit.seen(), service, id)?;
        terms.change(edit, id, &fields)?;
        Ok(Reply::one(entity(edit.seen(), id, &terms)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let terms = plan_of(edit.seen(), service, id)?;
        if Subscription::any(id, edit.records)? {
            let why = "This service plan cannot be deleted! At least one subscription depends on it.";
            return Err(Refusal::Undeletable(Errors::of("base", why)));
        }
        terms.take_away(id, edit.records)?;
        features::forget_plan(edit.records, id)?;
        let mut details = edit.records.find::<ServiceDetails>(service)?.unwrap_or_default();
        if details.default_service_plan == Some(id) {
            details.default_service_plan = None;
            edit.records.save(service, &details)?;
        }
        Ok(Reply::gone())
    })
}

fn set_default(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let terms = plan_of(edit.seen(), service, id)?;
        let mut details = edit.records.find::<ServiceDetails>(service)?.unwrap_or_default();
        details.default_service_plan = Some(id);
        edit.records.save(service, &details)?;
        Ok(Reply::one(entity(edit.seen(), id, &terms)?))
    })
}

/// Service plans go with their service, account plans with their tenant: when all that was on them is gone.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let owner = match change {
            Change::DeleteService(id) => id.0,
            Change::DeleteTenant(id) => id.0,
            _ => continue,
        };
        for (id, terms) in Terms::of(owner, records)? {
            terms.take_away(id, records)?;
            features::forget_plan(records, id)?;
        }
    }
    Ok(())
}
