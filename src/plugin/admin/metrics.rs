//! Metrics and methods of services: `/services/{id}/metrics`, `/services/{id}/metrics/{id}/methods`.
//!
//! A metric's system name is what requests count by; it is given once. A method is a metric below `hits`, counted with it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backends;
use super::check;
use super::context::{Context, Edit, Seen};
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::times;
use super::xml::Element;
use crate::document::system_name;
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

/// The most metrics and methods that a service has of its own: what one call may count, and twice as many operations as large APIs have.
pub(super) const METRICS_MAX: usize = 2000;

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

/// What a new metric or method is, as a client sent it.
pub(super) struct NewMetric {
    pub(super) details: MetricDetails,
    pub(super) system_name: String,
}

/// The names of a metric, with which those of others of its owner must not clash.
pub(super) struct Other {
    pub(super) id: MetricId,
    pub(super) system_name: String,
    pub(super) friendly_name: String,
}

pub(super) const NOT_BELOW_HITS: &str = "You can only create methods under 'hits'";
pub(super) const HITS_STAYS: &str = "The Hits metric cannot be deleted";

impl MetricDetails {
    /// Of the metric that services and backend APIs begin with.
    pub(super) fn of_hits(now: u64) -> MetricDetails {
        MetricDetails {
            friendly_name: "Hits".to_owned(),
            unit: "hit".to_owned(),
            description: "Number of API hits".to_owned(),
            created_at: now,
            updated_at: now,
        }
    }

    /// Changes what was sent. A method counts in its metric's unit.
    pub(super) fn change(&mut self, fields: &Fields, is_method: bool, errors: &mut Errors) {
        if let Some(name) = fields.text("friendly_name") {
            self.friendly_name = name.trim().to_owned();
            check::present(errors, "friendly_name", Some(&name));
        }
        if let Some(unit) = fields.text("unit").filter(|_| !is_method) {
            self.unit = unit.trim().to_owned();
            check::present(errors, "unit", Some(&unit));
        }
        if let Some(description) = fields.text("description") {
            check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
            self.description = description;
        }
    }

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

/// Whether a metric of a service is the service's own, and not there because the service uses a backend API.
pub(super) fn is_own(records: &Records<'_>, metric: &Metric) -> Result<bool, ShelfError> {
    Ok(!backends::owns(records, metric)?)
}

/// The metrics of a service that are its own.
pub(super) fn own<'s>(records: &Records<'_>, service: &'s Service) -> Result<Vec<&'s Metric>, ShelfError> {
    let mut own = Vec::new();
    for metric in service.metrics.iter() {
        if is_own(records, metric)? {
            own.push(metric);
        }
    }
    Ok(own)
}

/// Gives a new service the metric that it begins with.
pub(super) fn create_hits(edit: &mut Edit<'_, '_, '_>, service: ServiceId) -> Result<(), Refusal> {
    let id = edit.draft.create_metric(service, HITS, None)?;
    Ok(edit.records.save(id.0, &MetricDetails::of_hits(edit.now))?)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let own = own(seen.records, service)?;
    let page = context.page_if_asked(own.len());
    let shown = page.cut(own).into_iter().map(|it| entity(seen, service, it));
    Reply::page(context.format, "metrics", shown, page)
}

fn list_methods(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let parent = own_metric(seen, service, context.id(1)?)?;
    let below: Vec<_> = service.metrics.iter().filter(|it| it.parent == Some(parent.slot)).collect();
    let page = context.page_if_asked(below.len());
    let shown = page.cut(below).into_iter().map(|it| entity(seen, service, it));
    Reply::page(context.format, "methods", shown, page)
}

/// A metric or method that a service counts: its own, or that of a backend API that it uses.
pub(super) fn metric(service: &Service, id: u64) -> Result<&Metric, Refusal> {
    service.metrics.by_id(MetricId(id)).ok_or(Refusal::NotFound)
}

/// A metric or method of a service's own.
fn own_metric<'s>(seen: Seen<'_>, service: &'s Service, id: u64) -> Result<&'s Metric, Refusal> {
    let metric = metric(service, id)?;
    if is_own(seen.records, metric)? { Ok(metric) } else { Err(Refusal::NotFound) }
}

/// A method below a metric.
fn method<'s>(seen: Seen<'_>, service: &'s Service, parent: u64, id: u64) -> Result<&'s Metric, Refusal> {
    let parent = own_metric(seen, service, parent)?.slot;
    let method = own_metric(seen, service, id)?;
    if method.parent == Some(parent) { Ok(method) } else { Err(Refusal::NotFound) }
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(Reply::one(entity(seen, service, own_metric(seen, service, context.id(1)?)?)?))
}

fn show_method(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(Reply::one(entity(seen, service, method(seen, service, context.id(1)?, context.id(2)?)?)?))
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
        let seen = edit.seen();
        let service = seen.service(service_id)?;
        let mut errors = Errors::default();
        let parent = parent.map(|id| own_metric(seen, service, id)).transpose()?;
        if parent.is_some_and(|parent| parent.name != HITS) {
            errors.add("parent_id", NOT_BELOW_HITS);
        }
        let new = read_new(fields, parent.is_some(), edit.now, &mut errors);
        let others = others(seen, service)?;
        if others.len() >= METRICS_MAX {
            errors.add("base", format!("There can be at most {METRICS_MAX} metrics"));
        }
        check_new_names(&others, &new.system_name, &new.details, &mut errors);
        errors.check()?;
        let parent = parent.map(|it| it.id);
        let id = edit.draft.create_metric(ServiceId(service_id), &new.system_name, parent)?;
        edit.records.save(id.0, &new.details)?;
        let seen = edit.seen();
        let service = seen.service(service_id)?;
        let entity = entity(seen, service, own_metric(seen, service, id.0)?)?;
        let place = entity.json["links"][1]["href"].as_str().unwrap_or_default().to_owned();
        Ok(Reply::created(entity).at(place))
    })
}

/// A new metric or method as it was sent.
pub(super) fn read_new(fields: &Fields, is_method: bool, now: u64, errors: &mut Errors) -> NewMetric {
    let mut details = MetricDetails { created_at: now, updated_at: now, ..MetricDetails::default() };
    details.change(fields, is_method, errors);
    if is_method {
        details.unit = "hit".to_owned();
    }
    // What was sent and is blank is said already.
    for (field, text) in [("friendly_name", &details.friendly_name), ("unit", &details.unit)] {
        if text.is_empty() && fields.text(field).is_none() {
            errors.add(field, check::BLANK);
        }
    }
    let given = fields.filled("system_name").or_else(|| fields.filled("name"));
    let system_name = given.unwrap_or_else(|| system_name::of(&details.friendly_name));
    NewMetric { details, system_name }
}

/// The names of all metrics of a service's own.
fn others(seen: Seen<'_>, service: &Service) -> Result<Vec<Other>, Refusal> {
    let mut others = Vec::new();
    for metric in own(seen.records, service)? {
        let friendly_name = MetricDetails::of(seen.records, metric)?.friendly_name;
        others.push(Other { id: metric.id, system_name: metric.name.clone(), friendly_name });
    }
    Ok(others)
}

/// A new metric's names are not those of another of its owner.
pub(super) fn check_new_names(
    others: &[Other],
    system_name: &str,
    details: &MetricDetails,
    errors: &mut Errors,
) {
    if details.friendly_name.is_empty() {
        return;
    }
    if !system_name::is_one(system_name) {
        errors.add("system_name", check::INVALID);
    } else if others.iter().any(|other| other.system_name == system_name) {
        errors.add("system_name", check::TAKEN);
    }
    check_friendly_name(others, None, &details.friendly_name, errors);
}

pub(super) fn check_friendly_name(
    others: &[Other],
    own: Option<MetricId>,
    friendly_name: &str,
    errors: &mut Errors,
) {
    let mut others = others.iter().filter(|other| Some(other.id) != own);
    if others.any(|other| other.friendly_name.eq_ignore_ascii_case(friendly_name)) {
        errors.add("friendly_name", check::TAKEN);
    }
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("metric")?;
    edit_one(context, &fields, |seen, service| Ok(own_metric(seen, service, context.id(1)?)?.id))
}

fn update_method(context: &Context<'_>) -> Outcome {
    let fields = context.fields("method")?;
    edit_one(context, &fields, |seen, service| Ok(method(seen, service, context.id(1)?, context.id(2)?)?.id))
}

fn edit_one(
    context: &Context<'_>,
    fields: &Fields,
    which: impl Fn(Seen<'_>, &Service) -> Result<MetricId, Refusal>,
) -> Outcome {
    let service_id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(service_id)?.clone();
        let id = which(edit.seen(), &service)?;
        let metric = own_metric(edit.seen(), &service, id.0)?;
        let mut details = MetricDetails::of(edit.records, metric)?;
        let mut errors = Errors::default();
        details.change(fields, metric.parent.is_some(), &mut errors);
        check_friendly_name(&others(edit.seen(), &service)?, Some(id), &details.friendly_name, &mut errors);
        errors.check()?;
        details.updated_at = edit.now;
        edit.records.save(id.0, &details)?;
        Ok(Reply::one(entity(edit.seen(), &service, metric)?))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    delete_one(context, |seen, service| Ok(own_metric(seen, service, context.id(1)?)?.id))
}

fn delete_method(context: &Context<'_>) -> Outcome {
    delete_one(context, |seen, service| Ok(method(seen, service, context.id(1)?, context.id(2)?)?.id))
}

/// Methods below the metric go with it.
fn delete_one(
    context: &Context<'_>,
    which: impl Fn(Seen<'_>, &Service) -> Result<MetricId, Refusal>,
) -> Outcome {
    let service_id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(service_id)?.clone();
        let id = which(edit.seen(), &service)?;
        let metric = own_metric(edit.seen(), &service, id.0)?;
        if metric.name == HITS {
            return Err(Refusal::Undeletable(Errors::of("base", HITS_STAYS)));
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

fn ids(service: Option<&Service>) -> HashSet<MetricId> {
    service.into_iter().flat_map(|it| it.metrics.iter()).map(|metric| metric.id).collect()
}

/// The metrics that a service had before a command, and has not after it.
pub(super) fn gone(before: Option<&Service>, after: Option<&Service>) -> Vec<MetricId> {
    let after = ids(after);
    ids(before).difference(&after).copied().collect()
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
        let before = before.map(|it| &**it);
        for id in gone(before, after) {
            // A backend API has its metrics whether or not a service uses it.
            if !backends::knows_metric(records, id)? {
                records.remove::<MetricDetails>(id.0);
            }
        }
        let old = ids(before);
        for metric in after.iter().flat_map(|service| service.metrics.iter()) {
            if !old.contains(&metric.id) && records.find::<MetricDetails>(metric.id.0)?.is_none() {
                let details = MetricDetails::of(records, metric)?;
                records.save(metric.id.0, &MetricDetails { created_at: now, updated_at: now, ..details })?;
            }
        }
    }
    Ok(())
}
