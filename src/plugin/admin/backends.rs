//! Backend APIs: private APIs that services consist of. `/backend_apis`.
//!
//! One is the tenant's, and several services may use it ([`backend_usages`](super::backend_usages)); it cannot go while one does. It begins
//! with the metric `hits`, and has [metrics](super::backend_metrics) and [rules](super::mapping_rules) of its own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backend_metrics::{self, BackendMetric};
use super::backend_usages::BackendUsage;
use super::check;
use super::context::{Context, Edit, Seen};
use super::mapping_rules::MappingRule;
use super::names::{self, Kind};
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::times;
use super::xml::Element;
use crate::document::endpoint::{Endpoint, PRIVATE};
use crate::document::system_name;
use crate::model::draft::TEXT_LEN_MAX;
use crate::model::id::MetricId;
use crate::model::metric::Metric;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "backend_apis", ACCESS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "backend_apis", ACCESS, create).in_formats(Formats::JsonOnly),
    Route::new(GET, "backend_apis/{id}", ACCESS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, "backend_apis/{id}", ACCESS, update).in_formats(Formats::JsonOnly),
    Route::new(DELETE, "backend_apis/{id}", ACCESS, delete).in_formats(Formats::JsonOnly),
];

/// The most backend APIs of a tenant.
pub(super) const BACKENDS_MAX: usize = 5000;

/// The longest name, in bytes: the original's.
const NAME_LEN_MAX: usize = 511;

/// A backend API.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Backend {
    pub(super) tenant: u64,
    pub(super) name: String,
    pub(super) system_name: String,
    pub(super) description: String,
    /// Where it is, with its port.
    pub(super) private_endpoint: String,
    #[serde(default)]
    pub(super) annotations: Map<String, Value>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for Backend {
    const TABLE: Table = Table("backend_apis");
}

impl Owned for Backend {
    const BY_OWNER: Table = Table("backend_apis_by_tenant");

    fn owners(&self) -> Vec<u64> {
        vec![self.tenant]
    }
}

/// A backend API of the tenant.
///
/// # Errors
/// There is none.
pub(super) fn find(seen: Seen<'_>, id: u64) -> Result<Backend, Refusal> {
    let backend = seen.records.find::<Backend>(id)?;
    backend.filter(|backend| backend.tenant == seen.caller.tenant.0).ok_or(Refusal::NotFound)
}

/// Whether a metric is a backend's.
pub(super) fn has_metric(records: &Records<'_>, backend: u64, metric: u64) -> Result<bool, ShelfError> {
    Ok(records.find::<BackendMetric>(metric)?.is_some_and(|it| it.backend == backend))
}

/// Whether a metric is that of any backend API.
pub(super) fn knows_metric(records: &Records<'_>, metric: MetricId) -> Result<bool, ShelfError> {
    Ok(records.find::<BackendMetric>(metric.0)?.is_some())
}

/// Whether a metric of a service is there because the service uses a backend API.
pub(super) fn owns(records: &Records<'_>, metric: &Metric) -> Result<bool, ShelfError> {
    // All of them have the backend's id in their names, and few others have a number there.
    let Some((_, number)) = metric.name.rsplit_once('.') else { return Ok(false) };
    Ok(number.parse::<u64>().is_ok() && knows_metric(records, metric.id)?)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let ids = Backend::ids_of(context.caller.tenant.0, seen.records)?;
    let page = context.page(ids.len());
    let shown = page.cut(ids).into_iter().map(|id| Ok(entity(id, &find(seen, id)?)));
    Reply::page(context.format, "backend_apis", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("backend_api")?;
    context.change(|edit| {
        let id = add(edit, &fields)?;
        Ok(Reply::created(entity(id, &find(edit.seen(), id)?)).at(format!("/admin/api/backend_apis/{id}")))
    })
}

/// Makes a backend API with the metric hits.
///
/// # Errors
/// It would not be valid.
pub(super) fn add(edit: &mut Edit<'_, '_, '_>, fields: &Fields) -> Result<u64, Refusal> {
    let mut backend = Backend {
        tenant: edit.tenant().0,
        name: String::new(),
        system_name: String::new(),
        description: String::new(),
        private_endpoint: String::new(),
        annotations: Map::new(),
        created_at: edit.now,
        updated_at: edit.now,
    };
    let mut errors = Errors::default();
    apply(&mut backend, fields, true, &mut errors);
    let given = fields.filled("system_name");
    if given.as_ref().is_some_and(|name| !system_name::is_one(name)) {
        errors.add("system_name", check::INVALID);
    }
    errors.check()?;
    check::room(Backend::count(backend.tenant, edit.records)?, BACKENDS_MAX, "backend APIs of a tenant")?;
    let id = edit.draft.take_id();
    let wanted = given.clone().unwrap_or_else(|| system_name::of(&backend.name));
    backend.system_name =
        names::claim_like(edit.records, (Kind::Backend, backend.tenant), (&wanted, given.is_some()), id)?
            .ok_or_else(|| Errors::of("system_name", check::TAKEN))?;
    backend.put(id, edit.records)?;
    backend_metrics::create_hits(edit, id)?;
    Ok(id)
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("backend_api")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let mut backend = find(edit.seen(), id)?;
        let mut errors = Errors::default();
        apply(&mut backend, &fields, false, &mut errors);
        errors.check()?;
        backend.updated_at = edit.now;
        edit.records.save(id, &backend)?;
        Ok(Reply::one(entity(id, &backend)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let backend = find(edit.seen(), id)?;
        if !BackendUsage::of(id, edit.records)?.is_empty() {
            let error = "cannot be deleted because it is used by at least one Product";
            return Err(Refusal::Undeletable(Errors::of("base", error)));
        }
        remove(id, &backend, edit.records)?;
        Ok(Reply::gone())
    })
}

/// Takes away a backend API that no service uses, with all that is its own.
pub(super) fn remove(id: u64, backend: &Backend, records: &mut Records<'_>) -> Result<(), ShelfError> {
    names::release(records, Kind::Backend, backend.tenant, &backend.system_name, id)?;
    MappingRule::delete_all_of(id, records)?;
    backend_metrics::delete_all_of(id, records)?;
    backend.delete(id, records);
    Ok(())
}

/// Changes what was sent of a backend API.
fn apply(backend: &mut Backend, fields: &Fields, is_new: bool, errors: &mut Errors) {
    if is_new || fields.has("name") {
        backend.name = fields.text("name").unwrap_or_default().trim().to_owned();
        if backend.name.is_empty() {
            errors.add("name", check::BLANK);
        }
        check::fitting(errors, "name", &backend.name, NAME_LEN_MAX);
    }
    if let Some(description) = fields.text("description") {
        check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
        backend.description = description;
    }
    if is_new || fields.has("private_endpoint") {
        let sent = fields.text("private_endpoint").unwrap_or_default();
        let sent = sent.trim();
        check::fitting(errors, "private_endpoint", sent, TEXT_LEN_MAX);
        match Endpoint::parse(sent, &PRIVATE) {
            _ if sent.is_empty() => errors.add("private_endpoint", check::BLANK),
            None => errors.add("private_endpoint", check::INVALID),
            Some(endpoint) if endpoint.is_localhost() => {
                errors.add("private_endpoint", "can't be localhost");
            }
            Some(endpoint) => backend.private_endpoint = endpoint.with_port(),
        }
    }
    check::annotations(errors, fields, &mut backend.annotations);
}

fn entity(id: u64, backend: &Backend) -> Entity {
    let root = format!("/admin/api/backend_apis/{id}");
    let links = [
        ("metrics", format!("{root}/metrics")),
        ("mapping_rules", format!("{root}/mapping_rules")),
        ("self", root),
    ];
    let json = json!({
        "id": id,
        "name": backend.name,
        "system_name": backend.system_name,
        "description": backend.description,
        "private_endpoint": backend.private_endpoint,
        "annotations": backend.annotations,
        "account_id": backend.tenant,
        "created_at": times::text(backend.created_at),
        "updated_at": times::text(backend.updated_at),
        "links": links.map(|(rel, href)| json!({"rel": rel, "href": href})),
    });
    Entity { wrapper: "backend_api", json, xml: Element::new("backend_api") }
}
