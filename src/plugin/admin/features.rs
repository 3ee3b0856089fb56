//! Features: what plans are advertised with. `/features` (of account plans), `/services/{id}/features` (of application and service
//! plans), and which plans have them: `/application_plans/{id}/features` and alike.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::names::{self, Kind};
use super::owned::{self, Owned};
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::terms::{PlanKind, Terms};
use super::times;
use super::xml::Element;
use crate::document::system_name;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "features", ACCESS, list_of_tenant),
    Route::new(POST, "features", ACCESS, create_of_tenant),
    Route::new(GET, "features/{id}", ACCESS, show_of_tenant),
    Route::new(PUT, "features/{id}", ACCESS, update_of_tenant),
    Route::new(DELETE, "features/{id}", ACCESS, delete_of_tenant),
    Route::new(GET, "services/{service_id}/features", ACCESS, list_of_service),
    Route::new(POST, "services/{service_id}/features", ACCESS, create_of_service),
    Route::new(GET, "services/{service_id}/features/{id}", ACCESS, show_of_service),
    Route::new(PUT, "services/{service_id}/features/{id}", ACCESS, update_of_service),
    Route::new(DELETE, "services/{service_id}/features/{id}", ACCESS, delete_of_service),
    Route::new(GET, "application_plans/{plan_id}/features", ACCESS, list_of_application_plan),
    Route::new(POST, "application_plans/{plan_id}/features", ACCESS, add_to_application_plan),
    Route::new(DELETE, "application_plans/{plan_id}/features/{id}", ACCESS, take_from_application_plan),
    Route::new(GET, "service_plans/{plan_id}/features", ACCESS, list_of_service_plan),
    Route::new(POST, "service_plans/{plan_id}/features", ACCESS, add_to_service_plan),
    Route::new(DELETE, "service_plans/{plan_id}/features/{id}", ACCESS, take_from_service_plan),
    Route::new(GET, "account_plans/{plan_id}/features", ACCESS, list_of_account_plan),
    Route::new(POST, "account_plans/{plan_id}/features", ACCESS, add_to_account_plan),
    Route::new(DELETE, "account_plans/{plan_id}/features/{id}", ACCESS, take_from_account_plan),
];

/// A feature.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Feature {
    /// The service, or the tenant for features of account plans.
    pub(super) owner: u64,
    /// Which plans can have it.
    pub(super) scope: PlanKind,
    pub(super) name: String,
    pub(super) system_name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) visible: bool,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for Feature {
    const TABLE: Table = Table("features");
}

impl Owned for Feature {
    const BY_OWNER: Table = Table("features_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.owner]
    }
}

/// The most features of a service, and of a tenant for its account plans: a list has all.
pub(super) const FEATURES_MAX: usize = 1000;

/// Ids of features by plan, as keys.
const BY_PLAN: Table = Table("features_by_plan");
/// Ids of plans by feature, as keys.
const PLANS: Table = Table("plans_by_feature");

impl Feature {
    /// Takes a feature away, also from plans.
    fn take_away(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for (key, _) in records.all_rows(PLANS, &id_key(id))? {
            let plan = id_of(&key).unwrap_or(0);
            records.delete(PLANS, &key);
            records.delete(BY_PLAN, &pair_key(plan, id));
        }
        names::release(records, Kind::Feature, self.owner, &self.system_name, id)?;
        self.delete(id, records);
        Ok(())
    }
}

/// The owner whose features a call is about: the service that its path names, or the tenant.
fn owner(seen: Seen<'_>, service: Option<u64>) -> Result<u64, Refusal> {
    match service {
        Some(service) => Ok(seen.service(service)?.id.0),
        None => Ok(seen.caller.tenant.0),
    }
}

fn feature(records: &Records<'_>, owner: u64, id: u64) -> Result<Feature, Refusal> {
    let found = records.find::<Feature>(id)?.filter(|feature| feature.owner == owner);
    found.ok_or(Refusal::NotFound)
}

fn list_of_tenant(context: &Context<'_>) -> Outcome {
    list(context, None)
}

fn list_of_service(context: &Context<'_>) -> Outcome {
    list(context, Some(context.id(0)?))
}

fn list(context: &Context<'_>, service: Option<u64>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    shown(context, seen, Feature::ids_of(owner(seen, service)?, seen.records)?)
}

fn shown(context: &Context<'_>, seen: Seen<'_>, ids: Vec<u64>) -> Outcome {
    let page = context.page_if_asked(ids.len());
    let found = page.cut(ids).into_iter().map(|id| {
        let feature = seen.records.find::<Feature>(id)?;
        Ok(entity(id, &feature.ok_or(Refusal::Failed)?))
    });
    Reply::page(context.format, "features", found, page)
}

fn show_of_tenant(context: &Context<'_>) -> Outcome {
    show(context, None, context.id(0)?)
}

fn show_of_service(context: &Context<'_>) -> Outcome {
    show(context, Some(context.id(0)?), context.id(1)?)
}

fn show(context: &Context<'_>, service: Option<u64>, id: u64) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    Ok(Reply::one(entity(id, &feature(seen.records, owner(seen, service)?, id)?)))
}

fn create_of_tenant(context: &Context<'_>) -> Outcome {
    create(context, None)
}

fn create_of_service(context: &Context<'_>) -> Outcome {
    create(context, Some(context.id(0)?))
}

fn create(context: &Context<'_>, service: Option<u64>) -> Outcome {
    let fields = context.fields("feature")?;
    context.change(|edit| {
        let owner = owner(edit.seen(), service)?;
        let mut errors = Errors::default();
        let scope = match (service, fields.filled("scope").as_deref()) {
            (None, _) => PlanKind::Account,
            (Some(_), None | Some("ApplicationPlan" | "application_plan")) => PlanKind::Application,
            (Some(_), Some("ServicePlan" | "service_plan")) => PlanKind::Service,
            (Some(_), Some(_)) => {
                errors.add("scope", check::NOT_LISTED);
                PlanKind::Application
            }
        };
        let (name, system_name, description) = Default::default();
        let (visible, created_at, updated_at) = (true, edit.now, edit.now);
        let mut feature =
            Feature { owner, scope, name, system_name, description, visible, created_at, updated_at };
        apply(&mut feature, &fields, &mut errors);
        if !fields.has("name") {
            errors.add("name", check::BLANK);
        }
        let given = fields.filled("system_name");
        feature.system_name = given.clone().unwrap_or_else(|| system_name::of(&feature.name));
        if given.is_some() && !system_name::is_one(&feature.system_name) {
            errors.add("system_name", check::INVALID);
        }
        errors.check()?;
        check::room(Feature::count(owner, edit.records)?, FEATURES_MAX, "features of one service or tenant")?;
        let id = edit.draft.take_id();
        if !system_name::is_one(&feature.system_name) {
            feature.system_name = format!("feature_{id}");
        }
        claim(edit, &mut feature, id, given.is_some())?;
        feature.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &feature)))
    })
}

/// Takes the system name, or one like it that is free if it was not asked for.
fn claim(edit: &mut Edit<'_, '_, '_>, feature: &mut Feature, id: u64, exactly: bool) -> Result<(), Refusal> {
    if !names::claim(edit.records, Kind::Feature, feature.owner, &feature.system_name, id)? {
        feature.system_name = format!("{}_{id}", feature.system_name);
        if exactly || !names::claim(edit.records, Kind::Feature, feature.owner, &feature.system_name, id)? {
            return Err(Errors::of("system_name", check::TAKEN).into());
        }
    }
    Ok(())
}

/// Takes over what was sent, except for the system name.
fn apply(feature: &mut Feature, fields: &Fields, errors: &mut Errors) {
    if let Some(name) = fields.text("name") {
        check::present(errors, "name", Some(&name));
        name.trim().clone_into(&mut feature.name);
    }
    if let Some(description) = fields.text("description") {
        check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
        feature.description = description;
    }
    feature.visible = fields.flag("visible").unwrap_or(feature.visible);
}

fn update_of_tenant(context: &Context<'_>) -> Outcome {
    update(context, None, context.id(0)?)
}

fn update_of_service(context: &Context<'_>) -> Outcome {
    update(context, Some(context.id(0)?), context.id(1)?)
}

fn update(context: &Context<'_>, service: Option<u64>, id: u64) -> Outcome {
    let fields = context.fields("feature")?;
    context.change(|edit| {
        let mut feature = feature(edit.records, owner(edit.seen(), service)?, id)?;
        let mut errors = Errors::default();
        apply(&mut feature, &fields, &mut errors);
        let known = (Kind::Feature, feature.owner, feature.system_name.as_str());
        if let Some(name) = names::renamed(edit.records, known, &fields, id, &mut errors)? {
            feature.system_name = name;
        }
        errors.check()?;
        feature.updated_at = edit.now;
        edit.records.save(id, &feature)?;
        Ok(Reply::one(entity(id, &feature)))
    })
}

fn delete_of_tenant(context: &Context<'_>) -> Outcome {
    delete(context, None, context.id(0)?)
}

fn delete_of_service(context: &Context<'_>) -> Outcome {
    delete(context, Some(context.id(0)?), context.id(1)?)
}

fn delete(context: &Context<'_>, service: Option<u64>, id: u64) -> Outcome {
    context.change(|edit| {
        let owner = owner(edit.seen(), service)?;
        feature(edit.records, owner, id)?.take_away(id, edit.records)?;
        Ok(Reply::gone())
    })
}

/// The owner of a plan that the caller may see.
fn plan_owner(seen: Seen<'_>, kind: PlanKind, plan: u64) -> Result<u64, Refusal> {
    if kind == PlanKind::Application {
        return Ok(seen.plan(plan)?.service.0);
    }
    let terms = Terms::other(kind, plan, seen.records)?.ok_or(Refusal::NotFound)?;
    match kind {
        PlanKind::Account if terms.owner != seen.caller.tenant.0 => Err(Refusal::NotFound),
        PlanKind::Account => Ok(terms.owner),
        _ => Ok(seen.service(terms.owner)?.id.0),
    }
}

fn list_of_application_plan(context: &Context<'_>) -> Outcome {
    list_of_plan(context, PlanKind::Application)
}

fn list_of_service_plan(context: &Context<'_>) -> Outcome {
    list_of_plan(context, PlanKind::Service)
}

fn list_of_account_plan(context: &Context<'_>) -> Outcome {
    list_of_plan(context, PlanKind::Account)
}

fn list_of_plan(context: &Context<'_>, kind: PlanKind) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let plan = context.id(0)?;
    plan_owner(seen, kind, plan)?;
    shown(context, seen, seen.records.ids(BY_PLAN, &id_key(plan), &id_key(plan))?)
}

/// The features that a plan has, by ascending id.
pub(super) fn of_plan(plan: u64, records: &Records<'_>) -> Result<Vec<(u64, Feature)>, ShelfError> {
    owned::linked(BY_PLAN, plan, records)
}

fn add_to_application_plan(context: &Context<'_>) -> Outcome {
    add(context, PlanKind::Application)
}

fn add_to_service_plan(context: &Context<'_>) -> Outcome {
    add(context, PlanKind::Service)
}

fn add_to_account_plan(context: &Context<'_>) -> Outcome {
    add(context, PlanKind::Account)
}

fn add(context: &Context<'_>, kind: PlanKind) -> Outcome {
    let plan = context.id(0)?;
    let id = context.request.parameters().id("feature_id").ok_or(Refusal::NotFound)?;
    context.change(|edit| {
        let owner = plan_owner(edit.seen(), kind, plan)?;
        let feature = feature(edit.records, owner, id)?;
        if feature.scope != kind {
            return Err(Errors::of("plan_type", "mismatch with the scope of the feature").into());
        }
        put(edit.records, plan, id);
        Ok(Reply::created(entity(id, &feature)))
    })
}

fn put(records: &mut Records<'_>, plan: u64, feature: u64) {
    records.put(BY_PLAN, &pair_key(plan, feature), Vec::new());
    records.put(PLANS, &pair_key(feature, plan), Vec::new());
}

fn take_from_application_plan(context: &Context<'_>) -> Outcome {
    take(context, PlanKind::Application)
}

fn take_from_service_plan(context: &Context<'_>) -> Outcome {
    take(context, PlanKind::Service)
}

fn take_from_account_plan(context: &Context<'_>) -> Outcome {
    take(context, PlanKind::Account)
}

fn take(context: &Context<'_>, kind: PlanKind) -> Outcome {
    let (plan, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        plan_owner(edit.seen(), kind, plan)?;
        edit.records.get(BY_PLAN, &pair_key(plan, id))?.ok_or(Refusal::NotFound)?;
        edit.records.delete(BY_PLAN, &pair_key(plan, id));
        edit.records.delete(PLANS, &pair_key(id, plan));
        Ok(Reply::gone())
    })
}

/// Gives a plan the features of another.
pub(super) fn copy(records: &mut Records<'_>, from: u64, to: u64) -> Result<(), ShelfError> {
    for (key, _) in records.all_rows(BY_PLAN, &id_key(from))? {
        put(records, to, id_of(&key).unwrap_or(0));
    }
    Ok(())
}

/// Says of no feature any more that a plan has it.
pub(super) fn forget_plan(records: &mut Records<'_>, plan: u64) -> Result<(), ShelfError> {
    for (key, _) in records.all_rows(BY_PLAN, &id_key(plan))? {
        records.delete(BY_PLAN, &key);
        records.delete(PLANS, &pair_key(id_of(&key).unwrap_or(0), plan));
    }
    Ok(())
}

fn entity(id: u64, feature: &Feature) -> Entity {
    let mut json = json!({
        "id": id,
        "name": feature.name,
        "system_name": feature.system_name,
        "scope": feature.scope.name(),
        "visible": feature.visible,
        "description": feature.description,
        "created_at": times::text(feature.created_at),
        "updated_at": times::text(feature.updated_at),
    });
    let mut xml = Element::new("feature")
        .field("id", id)
        .field("name", &feature.name)
        .field("system_name", &feature.system_name);
    if feature.scope == PlanKind::Account {
        json["links"] = links([("self", format!("/admin/api/features/{id}"))]);
        xml = xml.field("account_id", feature.owner);
    } else {
        let service = format!("/admin/api/services/{}", feature.owner);
        json["links"] = links([("self", format!("{service}/features/{id}")), ("service", service)]);
        xml = xml.field("service_id", feature.owner);
    }
    let xml = xml
        .field("scope", feature.scope.name())
        .field("visible", feature.visible)
        .field("description", &feature.description);
    Entity { wrapper: "feature", json, xml }
}

/// Features go with their service, tenant or plan.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let owner = match change {
            Change::DeletePlan(id) => {
                forget_plan(records, id.0)?;
                continue;
            }
            Change::DeleteService(id) => id.0,
            Change::DeleteTenant(id) => id.0,
            _ => continue,
        };
        for (id, feature) in Feature::of(owner, records)? {
            feature.take_away(id, records)?;
        }
    }
    Ok(())
}
