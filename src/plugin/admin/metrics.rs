//! Metrics and methods of services: `/services/{id}/metrics`, `/services/{id}/metrics/{id}/methods`.
//!
//! A metric's system name is what requests count by; it is given once. A method is a metric below `hits`, counted with it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::names;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::times;
use super::xml::Element;
use crate::model::catalog::Change;
use crate::model::id::{MetricId, ServiceId};
use crate::model::metric::Metric;
use crate::model::record::{Service, ServiceState};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/metrics", ACCESS, list),
    Route::new(POST, "services/{service_id}/metrics", ACCESS, create),
    Route::new(GET, "services/{service_id}/metrics/{id}", ACCESS, show),
    Route::new(PUT, "services/{service_id}/metrics/{id}", ACCESS, update),
    Route::new(DELETE, "services/{service_id}/metrics/{id}", ACCESS, delete),
    Route::new(GET, "services/{service_id}/metrics/{metric_id}/methods", ACCESS, list_methods),
    Route::new(POST, "services/{service_id}/metrics/{metric_id}/methods", ACCESS, create_method),
    Route::new(GET, "services/{service_id}/metrics/{metric_id}/methods/{id}", ACCESS, show_method),
    Route::new(PUT, "services/{service_id}/metrics/{metric_id}/methods/{id}", ACCESS, update_method),
    Route::new(DELETE, "services/{service_id}/metrics/{metric_id}/methods/{id}", ACCESS, delete_method),
];

/// The metric that each service begins with, and that methods lie below.
pub(super) const HITS: &str = "hits";

/// What is known of a metric or method beside the catalog.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct MetricDetails {
    pub(super) friendly_name: String,
    pub(super) unit: String,
    pub(super) description: String,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for MetricDetails {
    const TABLE: Table = Table("metrics");
}

impl MetricDetails {
    /// Of a metric; one without a record is called by its system name.
    pub(super) fn of(records: &Records<'_>, metric: &Metric) -> Result<MetricDetails, ShelfError> {
        let found = records.find::<MetricDetails>(metric.id.0)?;
        Ok(found.unwrap_or_else(|| MetricDetails {
            friendly_name: metric.name.clone(),
            unit: "hit".to_owned(),
            ..MetricDetails::default()
        }))
    }
}

/// Gives a new service the metric that it begins with.
pub(super) fn create_hits(edit: &mut Edit<'_, '_, '_>, service: ServiceId) -> Result<(), Refusal> {
    let id = edit.draft.create_metric(service, HITS, None)?;
    let details = MetricDetails {
        friendly_name: "Hits".to_owned(),
        unit: "hit".to_owned(),
        description: "Number of API hits".to_owned(),
        created_at: edit.now,
        updated_at: edit.now,
    };
    Ok(edit.records.save(id.0, &details)?)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let shown = service.metrics.iter().map(|it| entity(seen, service, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("metrics", shown, None))
}

fn list_methods(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let parent = metric(service, context.id(1)?)?;
    let below = service.metrics.iter().filter(|it| it.parent == Some(parent.slot));
    let shown = below.map(|it| entity(seen, service, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("methods", shown, None))
}

/// A metric or method of a service.
pub(super) fn metric(service: &Service, id: u64) -> Result<&Metric, Refusal> {
    service.metrics.by_id(MetricId(id)).ok_or(Refusal::NotFound)
}

/// A method below a metric.
fn method(service: &Service, parent: u64, id: u64) -> Result<&Metric, Refusal> {
    let parent = metric(service, parent)?.slot;
    service.metrics.by_id(MetricId(id)).filter(|it| it.parent == Some(parent)).ok_or(Refusal::NotFound)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(Reply::one(entity(seen, service, metric(service, context.id(1)?)?)?))
}

fn show_method(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(Reply::one(entity(seen, service, method(service, context.id(1)?, context.id(2)?)?)?))
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
    let service_id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(service_id)?;
        let mut errors = Errors::default();
        let parent = parent.map(|id| metric(service, id)).transpose()?;
        if parent.is_some_and(|parent| parent.name != HITS) {
            errors.add("parent_id", "You can only create methods under 'hits'");
        }
        let friendly_name = fields.text("friendly_name").unwrap_or_default().trim().to_owned();
        check::present(&mut errors, "friendly_name", Some(&friendly_name));
        let unit = match parent {
            Some(_) => "hit".to_owned(),
            None => fields.text("unit").unwrap_or_default().trim().to_owned(),
        };
        check::present(&mut errors, "unit", Some(&unit));
        let given = fields.filled("system_name").or_else(|| fields.filled("name"));
        let system_name = given.clone().unwrap_or_else(|| names::system_name_of(&friendly_name));
        check_names(edit.seen(), service, (&friendly_name, &system_name), &mut errors)?;
        let description = description_of(fields, &mut errors);
        errors.check()?;
        let parent = parent.map(|it| it.id);
        let id = edit.draft.create_metric(ServiceId(service_id), &system_name, parent)?;
        let (created_at, updated_at) = (edit.now, edit.now);
        let description = description.unwrap_or_default();
        let details = MetricDetails { friendly_name, unit, description, created_at, updated_at };
        edit.records.save(id.0, &details)?;
        let seen = edit.seen();
        let service = seen.service(service_id)?;
        let entity = entity(seen, service, metric(service, id.0)?)?;
        let place = entity.json["links"][1]["href"].as_str().unwrap_or_default().to_owned();
        Ok(Reply::created(entity).at(place))
    })
}

/// A new metric's names are not those of another of the service.
fn check_names(
    seen: Seen<'_>,
    service: &Service,
    (friendly_name, system_name): (&str, &str),
    errors: &mut Errors,
) -> Result<(), Refusal> {
    if friendly_name.is_empty() {
        return Ok(());
    }
    if !names::is_system_name(system_name) {
        errors.add("system_name", check::INVALID);
    } else if service.metrics.find(system_name).is_some() {
        errors.add("system_name", check::TAKEN);
    }
    check_friendly_name(seen, service, None, friendly_name, errors)
}

fn check_friendly_name(
    seen: Seen<'_>,
    service: &Service,
    own: Option<MetricId>,
    friendly_name: &str,
    errors: &mut Errors,
) -> Result<(), Refusal> {
    for other in service.metrics.iter().filter(|other| Some(other.id) != own) {
        if MetricDetails::of(seen.records, other)?.friendly_name.eq_ignore_ascii_case(friendly_name) {
            errors.add("friendly_name", check::TAKEN);
            break;
        }
    }
    Ok(())
}

fn description_of(fields: &Fields, errors: &mut Errors) -> Option<String> {
    let description = fields.text("description");
    if let Some(text) = &description {
        check::long(errors, "description", text, DESCRIPTION_LEN_MAX);
    }
    description
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("metric")?;
    edit_one(context, &fields, |service| Ok(metric(service, context.id(1)?)?.id))
}

fn update_method(context: &Context<'_>) -> Outcome {
    let fields = context.fields("method")?;
    edit_one(context, &fields, |service| Ok(method(service, context.id(1)?, context.id(2)?)?.id))
}

fn edit_one(
    context: &Context<'_>,
    fields: &Fields,
    which: impl Fn(&Service) -> Result<MetricId, Refusal>,
) -> Outcome {
    let service_id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(service_id)?.clone();
        let id = which(&service)?;
        let metric = metric(&service, id.0)?;
        let mut details = MetricDetails::of(edit.records, metric)?;
        let mut errors = Errors::default();
        if let Some(name) = fields.text("friendly_name") {
            details.friendly_name = name.trim().to_owned();
            check::present(&mut errors, "friendly_name", Some(&name));
            check_friendly_name(edit.seen(), &service, Some(id), &details.friendly_name, &mut errors)?;
        }
        // A method counts in its metric's unit.
        if let Some(unit) = fields.text("unit").filter(|_| metric.parent.is_none()) {
            details.unit = unit.trim().to_owned();
            check::present(&mut errors, "unit", Some(&unit));
        }
        if let Some(description) = description_of(fields, &mut errors) {
            details.description = description;
        }
        errors.check()?;
        details.updated_at = edit.now;
        edit.records.save(id.0, &details)?;
        Ok(Reply::one(entity(edit.seen(), &service, metric)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    delete_one(context, |service| metric(service, context.id(1)?))
}

fn delete_method(context: &Context<'_>) -> Outcome {
    delete_one(context, |service| method(service, context.id(1)?, context.id(2)?))
}

/// Methods below the metric go with it.
fn delete_one<'c>(
    context: &'c Context<'_>,
    which: impl Fn(&Service) -> Result<&Metric, Refusal> + 'c,
) -> Outcome {
    let service_id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(service_id)?.clone();
        let metric = which(&service)?;
        if metric.name == HITS {
            return Err(Refusal::Undeletable(Errors::of("base", "The Hits metric cannot be deleted")));
        }
        for below in service.metrics.iter().filter(|it| it.parent == Some(metric.slot)) {
            edit.draft.delete_metric(service.id, below.id)?;
        }
        edit.draft.delete_metric(service.id, metric.id)?;
        Ok(Reply::gone())
    })
}

/// The metric or method as answers show it.
pub(super) fn entity(seen: Seen<'_>, service: &Service, metric: &Metric) -> Result<Entity, Refusal> {
    let details = MetricDetails::of(seen.records, metric)?;
    let parent = metric.parent.and_then(|slot| service.metrics.get(slot));
    let root = format!("/admin/api/services/{}", service.id);
    let mut json = json!({
        "id": metric.id.0,
        "name": metric.name,
        "system_name": metric.name,
        "friendly_name": details.friendly_name,
        "description": details.description,
    });
    let (wrapper, links) = match parent {
        None => {
            json["unit"] = Value::from(details.unit.as_str());
            let own = format!("{root}/metrics/{}", metric.id);
            ("metric", [("service", root), ("self", own)])
        }
        Some(parent) => {
            json["parent_id"] = Value::from(parent.id.0);
            let above = format!("{root}/metrics/{}", parent.id);
            let own = format!("{above}/methods/{}", metric.id);
            ("method", [("parent", above), ("self", own)])
        }
    };
    json["created_at"] = Value::from(times::text(details.created_at));
    json["updated_at"] = Value::from(times::text(details.updated_at));
    json["links"] = Value::from(links.map(|(rel, href)| json!({"rel": rel, "href": href})).to_vec());
    let mut xml = Element::new(wrapper)
        .field("id", metric.id)
        .field("name", &metric.name)
        .field("system_name", &metric.name)
        .field("friendly_name", &details.friendly_name)
        .field("service_id", service.id)
        .field("description", &details.description);
    xml = match parent {
        None => xml.field("unit", &details.unit),
        Some(parent) => xml.field("metric_id", parent.id),
    };
    Ok(Entity { wrapper, json, xml })
}

/// What is said of metrics that are gone goes too; those that somebody else made are dated.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let (id, after) = match change {
            Change::PutService(service) => {
                (service.id, Some(service).filter(|it| it.state != ServiceState::Retired))
            }
            Change::DeleteService(id) => (*id, None),
            _ => continue,
        };
        let before = accompanied.before.services.get(id.0);
        let ids = |service: Option<&Service>| {
            service
                .into_iter()
                .flat_map(|it| it.metrics.iter())
                .map(|metric| metric.id)
                .collect::<HashSet<_>>()
        };
        let (old, new) = (ids(before.map(|it| &**it)), ids(after));
        for id in old.difference(&new) {
            records.remove::<MetricDetails>(id.0);
        }
        for metric in after.iter().flat_map(|service| service.metrics.iter()) {
            if !old.contains(&metric.id) && records.find::<MetricDetails>(metric.id.0)?.is_none() {
                let details = MetricDetails::of(records, metric)?;
                records.save(metric.id.0, &MetricDetails { created_at: now, updated_at: now, ..details })?;
            }
        }
    }
    Ok(())
}
