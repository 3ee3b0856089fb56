//! Metrics and methods of backend APIs: `/backend_apis/{id}/metrics`, `/backend_apis/{id}/metrics/{id}/methods`.
//!
//! Their system names end in the backend's id (`hits.7`), so that no two backends of a service have the same. Services that use the backend
//! have them too: see [`backend_usages`](super::backend_usages).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backend_usages::BackendUsage;
use super::backends;
use super::context::{Context, Edit, Seen};
use super::mapping_rules;
use super::metrics::{self, HITS, MetricDetails, Other};
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::id::{MetricId, ServiceId};
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    json_route(GET, "backend_apis/{backend_api_id}/metrics", list),
    json_route(POST, "backend_apis/{backend_api_id}/metrics", create),
    json_route(GET, "backend_apis/{backend_api_id}/metrics/{id}", show),
    json_route(PUT, "backend_apis/{backend_api_id}/metrics/{id}", update),
    json_route(DELETE, "backend_apis/{backend_api_id}/metrics/{id}", delete),
    json_route(GET, "backend_apis/{backend_api_id}/metrics/{metric_id}/methods", list_methods),
    json_route(POST, "backend_apis/{backend_api_id}/metrics/{metric_id}/methods", create_method),
    json_route(GET, "backend_apis/{backend_api_id}/metrics/{metric_id}/methods/{id}", show_method),
    json_route(PUT, "backend_apis/{backend_api_id}/metrics/{metric_id}/methods/{id}", update_method),
    json_route(DELETE, "backend_apis/{backend_api_id}/metrics/{metric_id}/methods/{id}", delete_method),
];

const fn json_route(
    methods: &'static [crate::plugin::call::Method],
    path: &'static str,
    run: fn(&Context<'_>) -> Outcome,
) -> Route {
    Route::new(methods, path, ACCESS, run).in_formats(Formats::JsonOnly)
}

/// The most metrics and methods of a backend API: each service that uses it has them all.
pub(super) const METRICS_MAX: usize = 1000;

/// A metric or method of a backend API. What else is known of it are [`MetricDetails`], as of all metrics.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct BackendMetric {
    pub(super) backend: u64,
    /// System name, with the backend's id.
    pub(super) name: String,
    /// The metric above a method.
    pub(super) parent: Option<u64>,
}

impl Record for BackendMetric {
    const TABLE: Table = Table("backend_metrics");
}

impl Owned for BackendMetric {
    const BY_OWNER: Table = Table("backend_metrics_by_backend");

    fn owners(&self) -> Vec<u64> {
        vec![self.backend]
    }
}

pub(super) fn full_name(name: &str, backend: u64) -> String {
    format!("{name}.{backend}")
}

/// Gives a new backend API the metric that it begins with.
pub(super) fn create_hits(edit: &mut Edit<'_, '_, '_>, backend: u64) -> Result<(), Refusal> {
    let metric = BackendMetric { backend, name: full_name(HITS, backend), parent: None };
    let id = edit.draft.take_id();
    metric.put(id, edit.records)?;
    Ok(edit.records.save(id, &MetricDetails::of_hits(edit.now))?)
}

/// Takes away all metrics of a backend API that no service uses.
pub(super) fn delete_all_of(backend: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
    for (id, metric) in BackendMetric::of(backend, records)? {
        metric.delete(id, records);
        records.remove::<MetricDetails>(id);
    }
    Ok(())
}

/// Gives a service the metrics of a backend API that it begins to use.
pub(super) fn put_into(edit: &mut Edit<'_, '_, '_>, backend: u64, service: ServiceId) -> Result<(), Refusal> {
    // Methods were made after what they are below.
    for (id, metric) in BackendMetric::of(backend, edit.records)? {
        edit.draft.put_metric(service, MetricId(id), &metric.name, metric.parent.map(MetricId))?;
    }
    Ok(())
}

/// Takes the metrics of a backend API out of a service, with the limits on them.
pub(super) fn take_out_of(
    edit: &mut Edit<'_, '_, '_>,
    backend: u64,
    service: ServiceId,
) -> Result<(), Refusal> {
    for (id, _) in BackendMetric::of(backend, edit.records)?.into_iter().rev() {
        take_one_out_of(edit, id, service)?;
    }
    Ok(())
}

fn take_one_out_of(edit: &mut Edit<'_, '_, '_>, metric: u64, service: ServiceId) -> Result<(), Refusal> {
    let known = edit.draft.catalog().services.get(service.0);
    if known.is_some_and(|service| service.metrics.by_id(MetricId(metric)).is_some()) {
        edit.draft.delete_metric(service, MetricId(metric))?;
    }
    Ok(())
}

/// The services that use a backend API.
fn users(edit: &Edit<'_, '_, '_>, backend: u64) -> Result<Vec<ServiceId>, ShelfError> {
    let usages = BackendUsage::of(backend, edit.records)?;
    Ok(usages.into_iter().map(|(_, usage)| ServiceId(usage.service)).collect())
}

/// A metric or method of the backend API that the path names first.
fn find(seen: Seen<'_>, backend: u64, id: u64) -> Result<BackendMetric, Refusal> {
    backends::find(seen, backend)?;
    let metric = seen.records.find::<BackendMetric>(id)?;
    metric.filter(|metric| metric.backend == backend).ok_or(Refusal::NotFound)
}

fn find_method(seen: Seen<'_>, backend: u64, parent: u64, id: u64) -> Result<BackendMetric, Refusal> {
    let method = find(seen, backend, id)?;
    if method.parent == Some(parent) { Ok(method) } else { Err(Refusal::NotFound) }
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let backend = context.id(0)?;
    backends::find(seen, backend)?;
    reply(context, seen, "metrics", BackendMetric::of(backend, seen.records)?)
}

fn list_methods(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (backend, parent) = (context.id(0)?, context.id(1)?);
    find(seen, backend, parent)?;
    let mut methods = BackendMetric::of(backend, seen.records)?;
    methods.retain(|(_, metric)| metric.parent == Some(parent));
    reply(context, seen, "methods", methods)
}

fn reply(
    context: &Context<'_>,
    seen: Seen<'_>,
    wrapper: &'static str,
    all: Vec<(u64, BackendMetric)>,
) -> Outcome {
    let page = context.page(all.len());
    let shown = page.cut(all).iter().map(|(id, it)| entity(seen, *id, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list(wrapper, shown, Some(page)))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (seen, id) = (moment.seen(), context.id(1)?);
    Ok(Reply::one(entity(seen, id, &find(seen, context.id(0)?, id)?)?))
}

fn show_method(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (seen, id) = (moment.seen(), context.id(2)?);
    Ok(Reply::one(entity(seen, id, &find_method(seen, context.id(0)?, context.id(1)?, id)?)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("metric")?;
    create_below(context, &fields, None)
}

fn create_method(context: &Context<'_>) -> Outcome {
    let fields = context.fields("method")?;
    create_below(context, &fields, Some(context.id(1)?))
}

fn create_below(context: &Context<'_>, fields: &Fields, parent: Option<u64>) -> Outcome {
    let backend = context.id(0)?;
    context.change(|edit| {
        let seen = edit.seen();
        backends::find(seen, backend)?;
        let mut errors = Errors::default();
        if let Some(parent) = parent
            && find(seen, backend, parent)?.name != full_name(HITS, backend)
        {
            errors.add("parent_id", metrics::NOT_BELOW_HITS);
        }
        let others = others(seen, backend)?;
        if others.len() >= METRICS_MAX {
            errors.add("base", format!("There can be at most {METRICS_MAX} metrics"));
        }
        let new = metrics::read_new(fields, parent.is_some(), edit.now, &mut errors);
        let suffix = format!(".{backend}");
        let name = new.system_name.strip_suffix(&suffix).unwrap_or(&new.system_name);
        metrics::check_new_names(&others, name, &new.details, &mut errors);
        errors.check()?;
        let metric = BackendMetric { backend, name: full_name(name, backend), parent };
        let id = edit.draft.take_id();
        metric.put(id, edit.records)?;
        edit.records.save(id, &new.details)?;
        for service in users(edit, backend)? {
            edit.draft.put_metric(service, MetricId(id), &metric.name, parent.map(MetricId))?;
        }
        let entity = entity(edit.seen(), id, &metric)?;
        let place = entity.json["links"][1]["href"].as_str().unwrap_or_default().to_owned();
        Ok(Reply::created(entity).at(place))
    })
}

/// The names of all metrics of a backend API, without its id.
fn others(seen: Seen<'_>, backend: u64) -> Result<Vec<Other>, Refusal> {
    let suffix = format!(".{backend}");
    let mut others = Vec::new();
    for (id, metric) in BackendMetric::of(backend, seen.records)? {
        let details = seen.records.find::<MetricDetails>(id)?.unwrap_or_default();
        let system_name = metric.name.strip_suffix(&suffix).unwrap_or(&metric.name).to_owned();
        others.push(Other { id: MetricId(id), system_name, friendly_name: details.friendly_name });
    }
    Ok(others)
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("metric")?;
    let id = context.id(1)?;
    edit_one(context, &fields, id, |seen| find(seen, context.id(0)?, id))
}

fn update_method(context: &Context<'_>) -> Outcome {
    let fields = context.fields("method")?;
    let id = context.id(2)?;
    edit_one(context, &fields, id, |seen| find_method(seen, context.id(0)?, context.id(1)?, id))
}

fn edit_one(
    context: &Context<'_>,
    fields: &Fields,
    id: u64,
    which: impl Fn(Seen<'_>) -> Result<BackendMetric, Refusal>,
) -> Outcome {
    context.change(|edit| {
        let metric = which(edit.seen())?;
        let others = others(edit.seen(), metric.backend)?;
        let mut details = edit.records.find::<MetricDetails>(id)?.unwrap_or_default();
        let mut errors = Errors::default();
        details.change(fields, metric.parent.is_some(), &mut errors);
        metrics::check_friendly_name(&others, Some(MetricId(id)), &details.friendly_name, &mut errors);
        errors.check()?;
        details.updated_at = edit.now;
        edit.records.save(id, &details)?;
        Ok(Reply::one(entity(edit.seen(), id, &metric)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(1)?;
    delete_one(context, id, |seen| find(seen, context.id(0)?, id))
}

fn delete_method(context: &Context<'_>) -> Outcome {
    let id = context.id(2)?;
    delete_one(context, id, |seen| find_method(seen, context.id(0)?, context.id(1)?, id))
}

/// Takes a metric with its methods away: from all services that have it, with the limits on it and the rules that count it.
fn delete_one(
    context: &Context<'_>,
    id: u64,
    which: impl Fn(Seen<'_>) -> Result<BackendMetric, Refusal>,
) -> Outcome {
    context.change(|edit| {
        let metric = which(edit.seen())?;
        if metric.name == full_name(HITS, metric.backend) {
            return Err(Refusal::Undeletable(Errors::of("base", metrics::HITS_STAYS)));
        }
        let mut gone = BackendMetric::of(metric.backend, edit.records)?;
        gone.retain(|(other, it)| *other == id || it.parent == Some(id));
        let users = users(edit, metric.backend)?;
        // Methods first.
        for (id, metric) in gone.into_iter().rev() {
            for service in &users {
                take_one_out_of(edit, id, *service)?;
            }
            mapping_rules::delete_of_metric(metric.backend, id, edit.records, edit.now)?;
            metric.delete(id, edit.records);
            edit.records.remove::<MetricDetails>(id);
        }
        Ok(Reply::gone())
    })
}

fn entity(seen: Seen<'_>, id: u64, metric: &BackendMetric) -> Result<Entity, Refusal> {
    let details = seen.records.find::<MetricDetails>(id)?.unwrap_or_default();
    let root = format!("/admin/api/backend_apis/{}", metric.backend);
    let mut json = json!({
        "id": id,
        "system_name": metric.name,
        "friendly_name": details.friendly_name,
        "description": details.description,
    });
    let (wrapper, links) = match metric.parent {
        None => {
            json["unit"] = Value::from(details.unit.as_str());
            let own = format!("{root}/metrics/{id}");
            ("metric", [("backend_api", root), ("self", own)])
        }
        Some(parent) => {
            json["parent_id"] = Value::from(parent);
            let above = format!("{root}/metrics/{parent}");
            let own = format!("{above}/methods/{id}");
            ("method", [("parent", above), ("self", own)])
        }
    };
    json["created_at"] = Value::from(times::text(details.created_at));
    json["updated_at"] = Value::from(times::text(details.updated_at));
    json["links"] = Value::from(links.map(|(rel, href)| json!({"rel": rel, "href": href})).to_vec());
    Ok(Entity { wrapper, json, xml: Element::new(wrapper) })
}
