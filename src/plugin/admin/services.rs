//! Services (products): `/services`.
//!
//! Making one makes the metric `hits`, a proxy with a rule that counts each `GET`, and a service token. Deleting one takes it from callers at once; what it owned is taken away in the
//! background. The tenant's default service, and its last one, stay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Format, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::mapping_rules::{self, MappingRule};
use super::metrics;
use super::names::{self, Kind};
use super::owned::Owned;
use super::proxy;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::service_plans;
use super::service_tokens;
use super::settings::PlanChange;
use super::terms::Terms;
use super::times;
use super::xml::Element;
use crate::document::system_name;
use crate::model::catalog::{Catalog, Change};
use crate::model::draft::{Draft, NewService, TEXT_LEN_MAX};
use crate::model::id::{ServiceId, TenantId};
use crate::model::record::{BackendVersion, Service, ServiceState};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services", ACCESS, list),
    Route::new(POST, "services", ACCESS, create),
    Route::new(GET, "services/{id}", ACCESS, show),
    Route::new(PUT, "services/{id}", ACCESS, update),
    Route::new(DELETE, "services/{id}", ACCESS, delete),
];

/// What is known of a service beside the catalog.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct ServiceDetails {
    pub(super) system_name: String,
    pub(super) description: String,
    pub(super) deployment_option: String,
    pub(super) support_email: String,
    /// For OAuth: with OpenID Connect.
    pub(super) oidc: bool,
    pub(super) intentions_required: bool,
    pub(super) buyers_manage_apps: bool,
    pub(super) buyers_manage_keys: bool,
    pub(super) custom_keys_enabled: bool,
    pub(super) buyer_key_regenerate_enabled: bool,
    pub(super) mandatory_app_key: bool,
    pub(super) buyer_can_select_plan: bool,
    pub(super) buyer_plan_change_permission: String,
    /// The application plan that signups get.
    pub(super) default_application_plan: Option<u64>,
    /// The service plan that subscriptions get.
    pub(super) default_service_plan: Option<u64>,
    pub(super) annotations: Map<String, Value>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Default for ServiceDetails {
    fn default() -> Self {
        ServiceDetails {
            system_name: String::new(),
            description: String::new(),
            deployment_option: "hosted".to_owned(),
            support_email: String::new(),
            oidc: false,
            intentions_required: false,
            buyers_manage_apps: true,
            buyers_manage_keys: true,
            custom_keys_enabled: true,
            buyer_key_regenerate_enabled: true,
            mandatory_app_key: true,
            buyer_can_select_plan: false,
            buyer_plan_change_permission: "request".to_owned(),
            default_application_plan: None,
            default_service_plan: None,
            annotations: Map::new(),
            created_at: 0,
            updated_at: 0,
        }
    }
}

impl Record for ServiceDetails {
    const TABLE: Table = Table("services");
}

/// The most services of a tenant that it makes here, whatever its plan says.
pub(super) const SERVICES_MAX: usize = if cfg!(test) { 100 } else { 10_000 };

/// The ways in which a gateway can stand before a service.
const DEPLOYMENT_OPTIONS: [&str; 3] = ["hosted", "self_managed", "service_mesh_istio"];

/// Whether a text is one of them; of plugins the original has had one for many a language.
fn is_deployment_option(text: &str) -> bool {
    let is_name =
        |it: &str| it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    let is_plugin = text.len() <= TEXT_LEN_MAX && text.strip_prefix("plugin_").is_some_and(is_name);
    is_plugin || DEPLOYMENT_OPTIONS.contains(&text)
}

/// A tenant's services, by ascending id.
pub(super) fn of_tenant(catalog: &Catalog, tenant: TenantId) -> impl Iterator<Item = &Arc<Service>> {
    let services = catalog.services_of(tenant).iter().filter_map(|id| catalog.services.get(id));
    services.filter(|service| service.state != ServiceState::Retired)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let all = of_tenant(seen.catalog, context.caller.tenant);
    let services: Vec<_> = all.filter(|service| context.caller.may_see(service.id)).collect();
    let page = context.page(services.len());
    let shown = page.cut(services).into_iter().map(|it| entity(seen, it));
    Reply::page(context.format, "services", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    Ok(Reply::one(entity(seen, seen.service(context.id(0)?)?)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service")?;
    context.change(|edit| {
        let id = add(edit, &fields)?;
        let seen = edit.seen();
        let entity = entity(seen, seen.service(id.0)?)?;
        Ok(Reply::created(entity).at(format!("/admin/api/services/{id}")))
    })
}

/// Makes a service with all that services begin with: the metric hits, a service plan, a token, a proxy, a mapping rule.
///
/// # Errors
/// It would not be valid, or the tenant has as many as there may be.
pub(super) fn add(edit: &mut Edit<'_, '_, '_>, fields: &Fields) -> Result<ServiceId, Refusal> {
    room(edit.seen(), SERVICES_MAX)?;
    let name = fields.text("name").unwrap_or_default();
    let mut errors = Errors::default();
    check::present(&mut errors, "name", Some(&name));
    let given = fields.filled("system_name");
    let system_name = given.clone().unwrap_or_else(|| system_name::of(&name));
    if given.is_some() && !system_name::is_one(&system_name) {
        errors.add("system_name", check::INVALID);
    }
    let (backend_version, _) = backend_version(fields, &mut errors);
    errors.check()?;
    let new = NewService {
        tenant: edit.tenant(),
        external_id: None,
        name: name.trim(),
        backend_version: backend_version.unwrap_or(BackendVersion::UserKey),
    };
    let id = edit.draft.create_service(&new)?;
    let system_name = claim(edit, id, system_name, given.is_some())?;
    let details = ServiceDetails { system_name, created_at: edit.now, ..ServiceDetails::default() };
    edit.records.save(id.0, &details)?;
    apply(edit, id.0, fields)?;
    metrics::create_hits(edit, id)?;
    service_plans::create_default(edit.draft, edit.records, id, edit.now)?;
    service_tokens::ensure(edit, id.0)?;
    proxy::create(edit, id)?;
    mapping_rules::create_default(edit.draft, edit.records, id, edit.now)?;
    Ok(id)
}

/// Room for one service more of the tenant.
///
/// # Errors
/// It has as many as there may be: the original says no more of it (403).
pub(super) fn room(seen: Seen<'_>, max: usize) -> Result<(), Refusal> {
    if of_tenant(seen.catalog, seen.caller.tenant).count() < max { Ok(()) } else { Err(Refusal::Closed) }
}

/// Gives the services of a tenant that nobody administered so far what services begin with.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    tenant: TenantId,
    now: u64,
) -> Result<(), ShelfError> {
    let services: Vec<_> = draft.catalog().services_of(tenant).iter().collect();
    for id in services {
        if !Terms::any(id, records)? {
            service_plans::create_default(draft, records, ServiceId(id), now)?;
        }
        if MappingRule::of(id, records)?.is_empty() {
            mapping_rules::create_default(draft, records, ServiceId(id), now)?;
        }
    }
    Ok(())
}

/// Gives a service its system name: the one that was asked for, or else one like it that is free.
fn claim(
    edit: &mut Edit<'_, '_, '_>,
    id: ServiceId,
    wanted: String,
    exactly: bool,
) -> Result<String, Refusal> {
    let wanted = if wanted.is_empty() && !exactly { "service" } else { &wanted };
    let tenant = edit.tenant().0;
    let claimed = names::claim_like(edit.records, (Kind::Service, tenant), (wanted, exactly), id.0)?;
    claimed.ok_or_else(|| Errors::of("system_name", check::TAKEN).into())
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service")?;
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().service(id)?;
        apply(edit, id, &fields)?;
        let seen = edit.seen();
        Ok(Reply::one(entity(seen, seen.service(id)?)?))
    })
}

/// How callers identify themselves, if that was sent, and whether with OpenID Connect.
fn backend_version(fields: &Fields, errors: &mut Errors) -> (Option<BackendVersion>, bool) {
    let Some(text) = fields.filled("backend_version") else { return (None, false) };
    let version = if text == "oidc" { Some(BackendVersion::Oauth) } else { BackendVersion::parse(&text) };
    if version.is_none() {
        errors.add("backend_version", check::NOT_LISTED);
    }
    (version, text == "oidc")
}

/// Changes what was sent of a service.
fn apply(edit: &mut Edit<'_, '_, '_>, id: u64, fields: &Fields) -> Result<(), Refusal> {
    let mut details = edit.records.find::<ServiceDetails>(id)?.unwrap_or_default();
    let mut errors = Errors::default();
    let known = shown_system_name(&details, edit.seen().service(id)?);
    let known = (Kind::Service, edit.tenant().0, known.as_str());
    if let Some(name) = names::renamed(edit.records, known, fields, id, &mut errors)? {
        details.system_name = name;
    }
    if fields.has("name") {
        check::present(&mut errors, "name", fields.text("name").as_deref());
    }
    if let Some(option) = fields.filled("deployment_option") {
        if !is_deployment_option(&option) {
            errors.add("deployment_option", check::NOT_LISTED);
        }
        details.deployment_option = option;
    }
    let (version, oidc) = backend_version(fields, &mut errors);
    if let Some(description) = fields.text("description") {
        check::long(&mut errors, "description", &description, DESCRIPTION_LEN_MAX);
        details.description = description;
    }
    if let Some(email) = fields.text("support_email") {
        check::fitting(&mut errors, "support_email", &email, TEXT_LEN_MAX);
        details.support_email = email;
    }
    if let Some(permission) = fields.filled("buyer_plan_change_permission") {
        if PlanChange::parse(&permission).is_none() {
            errors.add("buyer_plan_change_permission", check::NOT_LISTED);
        }
        details.buyer_plan_change_permission = permission;
    }
    check::annotations(&mut errors, fields, &mut details.annotations);
    errors.check()?;
    details.oidc = if version.is_some() { oidc } else { details.oidc };
    set_flags(&mut details, fields);
    details.updated_at = edit.now;
    edit.records.save(id, &details)?;
    edit.draft.edit_service(ServiceId(id), |service| {
        service.name = fields.filled("name").map_or_else(|| service.name.clone(), |it| it.trim().to_owned());
        service.backend_version = version.unwrap_or(service.backend_version);
        service.referrer_filters_required =
            fields.flag("referrer_filters_required").unwrap_or(service.referrer_filters_required);
    })?;
    Ok(())
}

/// The longest description, in bytes: MySQL's text, in which the original keeps it.
pub(super) const DESCRIPTION_LEN_MAX: usize = 65_535;

fn set_flags(details: &mut ServiceDetails, fields: &Fields) {
    for (field, flag) in [
        ("intentions_required", &mut details.intentions_required),
        ("buyers_manage_apps", &mut details.buyers_manage_apps),
        ("buyers_manage_keys", &mut details.buyers_manage_keys),
        ("custom_keys_enabled", &mut details.custom_keys_enabled),
        ("buyer_key_regenerate_enabled", &mut details.buyer_key_regenerate_enabled),
        ("mandatory_app_key", &mut details.mandatory_app_key),
        ("buyer_can_select_plan", &mut details.buyer_can_select_plan),
    ] {
        *flag = fields.flag(field).unwrap_or(*flag);
    }
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(id)?;
        let tenant = edit.draft.catalog().tenants.get(service.tenant.0);
        let is_default = tenant.is_some_and(|tenant| tenant.default_service == Some(service.id));
        let is_other = |it: &Service| {
            it.tenant == service.tenant && it.state != ServiceState::Retired && it.id != service.id
        };
        if is_default || !edit.draft.catalog().services.iter().any(|(_, it)| is_other(it)) {
            let object = entity(edit.seen(), service)?.json;
            let error = "The default service, and the last one, cannot be deleted".to_owned();
            return Err(Refusal::Transition {
                from: shown_state(service).to_owned(),
                event: "mark_as_deleted",
                error,
                object: Box::new(object),
            });
        }
        edit.draft.retire_service(ServiceId(id))?;
        Ok(Reply::gone())
    })
}

/// The service as answers show it.
pub(super) fn entity(seen: Seen<'_>, service: &Service) -> Result<Entity, Refusal> {
    let id = service.id;
    let details = seen.records.find::<ServiceDetails>(id.0)?.unwrap_or_default();
    let backend_version = if details.oidc { "oidc" } else { service.backend_version.name() };
    let link = |rel: &str| {
        let href = if rel == "self" {
            format!("/admin/api/services/{id}")
        } else {
            format!("/admin/api/services/{id}/{rel}")
        };
        json!({"rel": rel, "href": href})
    };
    let links = ["metrics", "self", "service_plans", "application_plans", "features"].map(link);
    let json = json!({
        "id": id.0,
        "name": service.name,
        "state": shown_state(service),
        "system_name": shown_system_name(&details, service),
        "backend_version": backend_version,
        "deployment_option": details.deployment_option,
        "support_email": details.support_email,
        "description": details.description,
        "intentions_required": details.intentions_required,
        "buyers_manage_apps": details.buyers_manage_apps,
        "buyers_manage_keys": details.buyers_manage_keys,
        "referrer_filters_required": service.referrer_filters_required,
        "custom_keys_enabled": details.custom_keys_enabled,
        "buyer_key_regenerate_enabled": details.buyer_key_regenerate_enabled,
        "mandatory_app_key": details.mandatory_app_key,
        "buyer_can_select_plan": details.buyer_can_select_plan,
        "buyer_plan_change_permission": details.buyer_plan_change_permission,
        "notification_settings": null,
        "annotations": details.annotations,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "links": links,
    });
    let xml = match seen.format {
        Format::Xml => xml(seen, service, &details, backend_version)?,
        Format::Json => Element::new("service"),
    };
    Ok(Entity { wrapper: "service", json, xml })
}

/// The same in XML, with all of its metrics.
fn xml(
    seen: Seen<'_>,
    service: &Service,
    details: &ServiceDetails,
    backend_version: &str,
) -> Result<Element, Refusal> {
    let mut all_metrics = Element::new("metrics");
    let own = metrics::own(seen.records, service)?;
    for metric in own.into_iter().filter(|metric| metric.parent.is_none()) {
        all_metrics.push(metrics::entity(seen, service, metric)?.xml);
    }
    Ok(Element::new("service")
        .field("id", service.id)
        .field("account_id", service.tenant)
        .field("name", &service.name)
        .field("state", shown_state(service))
        .field("system_name", shown_system_name(details, service))
        .field("backend_version", backend_version)
        .field("description", &details.description)
        .field("deployment_option", &details.deployment_option)
        .field("support_email", &details.support_email)
        .field("intentions_required", details.intentions_required)
        .field("buyers_manage_apps", details.buyers_manage_apps)
        .field("buyers_manage_keys", details.buyers_manage_keys)
        .field("referrer_filters_required", service.referrer_filters_required)
        .field("custom_keys_enabled", details.custom_keys_enabled)
        .field("buyer_key_regenerate_enabled", details.buyer_key_regenerate_enabled)
        .field("mandatory_app_key", details.mandatory_app_key)
        .field("buyer_can_select_plan", details.buyer_can_select_plan)
        .field("buyer_plan_change_permission", &details.buyer_plan_change_permission)
        .field("created_at", times::text(details.created_at))
        .field("updated_at", times::text(details.updated_at))
        .with(all_metrics))
}

/// The state as the original calls it: whether a service is shown to developers is nothing to a node.
pub(super) fn shown_state(service: &Service) -> &'static str {
    if service.state == ServiceState::Suspended { "offline" } else { "incomplete" }
}

/// The system name, of a service that somebody else made too.
pub(super) fn shown_system_name(details: &ServiceDetails, service: &Service) -> String {
    if details.system_name.is_empty() { system_name::of(&service.name) } else { details.system_name.clone() }
}

/// A service that somebody else made gets details; one that is gone loses them and its name.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let (id, retired) = match change {
            Change::PutService(service) => (service.id, service.state == ServiceState::Retired),
            Change::DeleteService(id) => (*id, true),
            _ => continue,
        };
        let details = records.find::<ServiceDetails>(id.0)?;
        match details {
            None if !retired => {
                let (created_at, updated_at) = (now, now);
                records
                    .save(id.0, &ServiceDetails { created_at, updated_at, ..ServiceDetails::default() })?;
            }
            Some(details) if retired => {
                if let Some(service) = accompanied.before.services.get(id.0) {
                    names::release(records, Kind::Service, service.tenant.0, &details.system_name, id.0)?;
                }
                records.remove::<ServiceDetails>(id.0);
            }
            _ => {}
        }
    }
    Ok(())
}
