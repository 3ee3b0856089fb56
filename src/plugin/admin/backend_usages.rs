//! Backend usages: which backend APIs a service consists of, each below a path. `/services/{id}/backend_usages`.
//!
//! # Metrics
//! A service that uses a backend API counts the backend's metrics and methods, and its plans may limit them. So the
//! catalog has them in each such service, under the backend's ids and names (`hits.7`), with counters of the service's own. They come
//! with the usage and go with it, and with them the limits on them. [`Backends`](super::backends) keep all of that in step.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backend_metrics;
use super::backends::{self, Backend};
use super::check;
use super::context::{Context, Edit, Seen};
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::xml::Element;
use crate::model::catalog::Change;
use crate::model::draft::TEXT_LEN_MAX;
use crate::model::id::ServiceId;
use crate::model::record::ServiceState;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/backend_usages", ACCESS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "services/{service_id}/backend_usages", ACCESS, create).in_formats(Formats::JsonOnly),
    Route::new(GET, "services/{service_id}/backend_usages/{id}", ACCESS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, "services/{service_id}/backend_usages/{id}", ACCESS, update)
        .in_formats(Formats::JsonOnly),
    Route::new(DELETE, "services/{service_id}/backend_usages/{id}", ACCESS, delete)
        .in_formats(Formats::JsonOnly),
];

/// The most backend APIs of a service: each is part of every configuration that a gateway loads.
pub(super) const USAGES_MAX: usize = 200;

/// That a service uses a backend API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct BackendUsage {
    pub(super) service: u64,
    pub(super) backend: u64,
    /// Begins with a slash and, if there is more, ends with none.
    pub(super) path: String,
}

impl Record for BackendUsage {
    const TABLE: Table = Table("backend_usages");
}

impl Owned for BackendUsage {
    const BY_OWNER: Table = Table("backend_usages_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.service, self.backend]
    }
}

/// A backend API as a service uses it.
pub(super) struct Used {
    pub(super) backend: u64,
    pub(super) path: String,
    pub(super) private_endpoint: String,
}

impl Used {
    /// Whether it is what all paths lead to that lead nowhere else.
    pub(super) fn is_at_root(&self) -> bool {
        self.path == "/"
    }
}

/// What a service uses, in the order in which it came to.
pub(super) fn of_service(service: u64, records: &Records<'_>) -> Result<Vec<Used>, ShelfError> {
    let mut used = Vec::new();
    for (_, BackendUsage { backend, path, .. }) in BackendUsage::of(service, records)? {
        if let Some(Backend { private_endpoint, .. }) = records.find::<Backend>(backend)? {
            used.push(Used { backend, path, private_endpoint });
        }
    }
    Ok(used)
}

/// The private API that a service uses at `/`.
pub(super) fn endpoint_at_root(service: u64, records: &Records<'_>) -> Result<Option<String>, ShelfError> {
    let mut used = of_service(service, records)?.into_iter();
    Ok(used.find(Used::is_at_root).map(|used| used.private_endpoint))
}

/// A path as it is kept: one slash at its beginning, none at its end.
fn normal(path: &str) -> String {
    format!("/{}", path.trim().trim_matches('/'))
}

fn is_path(path: &str) -> bool {
    let is_good = |it: char| it.is_ascii_alphanumeric() || "-_.~!$&()*+,;=:@%/".contains(it);
    path.chars().all(is_good) && !path.contains("//")
}

fn find(seen: Seen<'_>, service: u64, id: u64) -> Result<BackendUsage, Refusal> {
    seen.service(service)?;
    let usage = seen.records.find::<BackendUsage>(id)?;
    usage.filter(|usage| usage.service == service).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let usages = BackendUsage::of(service.id.0, seen.records)?;
    let page = context.page(usages.len());
    Ok(Reply::bare_list(page.cut(usages).iter().map(|(id, usage)| entity(*id, usage)).collect()))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(1)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), context.id(0)?, id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("backend_usage")?;
    let service = context.id(0)?;
    context.change(|edit| {
        let (id, usage) = add(edit, service, &fields)?;
        let place = format!("/admin/api/services/{service}/backend_usages/{id}");
        Ok(Reply::created(entity(id, &usage)).at(place))
    })
}

/// Puts a backend API behind a service.
///
/// # Errors
/// There is no such service or backend, or it cannot be at that path.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    service: u64,
    fields: &Fields,
) -> Result<(u64, BackendUsage), Refusal> {
    edit.seen().service(service)?;
    let Some(backend) = fields.filled("backend_api_id") else {
        return Err(Errors::of("backend_api_id", check::BLANK).into());
    };
    let backend = backend.trim().parse().map_err(|_| Refusal::NotFound)?;
    backends::find(edit.seen(), backend)?;
    let mut errors = Errors::default();
    let others = BackendUsage::of(service, edit.records)?;
    if others.iter().any(|(_, other)| other.backend == backend) {
        errors.add("backend_api_id", check::TAKEN);
    }
    if others.len() >= USAGES_MAX {
        errors.add("base", format!("There can be at most {USAGES_MAX} backend APIs"));
    }
    let path = normal(&fields.text("path").unwrap_or_default());
    check_path(&path, None, &others, &mut errors);
    errors.check()?;
    let usage = BackendUsage { service, backend, path };
    let id = edit.draft.take_id();
    usage.put(id, edit.records)?;
    backend_metrics::put_into(edit, backend, ServiceId(service))?;
    Ok((id, usage))
}

fn check_path(path: &str, own: Option<u64>, others: &[(u64, BackendUsage)], errors: &mut Errors) {
    check::long(errors, "path", path, TEXT_LEN_MAX);
    if !is_path(path) {
        errors.add("path", check::INVALID);
    }
    let mut others = others.iter().filter(|(id, _)| Some(*id) != own);
    if others.any(|(_, other)| other.path.eq_ignore_ascii_case(path)) {
        errors.add("path", "This path is already taken. Specify a different path.");
    }
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("backend_usage")?;
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let mut usage = find(edit.seen(), service, id)?;
        if let Some(path) = fields.text("path") {
            usage.path = normal(&path);
            let mut errors = Errors::default();
            check_path(&usage.path, Some(id), &BackendUsage::of(service, edit.records)?, &mut errors);
            errors.check()?;
            edit.records.save(id, &usage)?;
        }
        Ok(Reply::one(entity(id, &usage)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (service, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let usage = find(edit.seen(), service, id)?;
        take_out(edit, &usage)?;
        usage.delete(id, edit.records);
        Ok(Reply::gone())
    })
}

/// Takes the metrics of a backend out of a service that no longer uses it, with the limits on them.
fn take_out(edit: &mut Edit<'_, '_, '_>, usage: &BackendUsage) -> Result<(), Refusal> {
    backend_metrics::take_out_of(edit, usage.backend, ServiceId(usage.service))
}

fn entity(id: u64, usage: &BackendUsage) -> Entity {
    let service = format!("/admin/api/services/{}", usage.service);
    let links = [
        ("service", service.clone()),
        ("backend_api", format!("/admin/api/backend_apis/{}", usage.backend)),
        ("self", format!("{service}/backend_usages/{id}")),
    ];
    let json = json!({
        "id": id,
        "path": usage.path,
        "service_id": usage.service,
        "backend_id": usage.backend,
        "links": links.map(|(rel, href)| json!({"rel": rel, "href": href})),
    });
    Entity { wrapper: "backend_usage", json, xml: Element::new("backend_usage") }
}

/// A service that is gone uses nothing.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::PutService(service) if service.state == ServiceState::Retired => {
                BackendUsage::delete_all_of(service.id.0, records)?;
            }
            Change::DeleteService(id) => BackendUsage::delete_all_of(id.0, records)?,
            _ => {}
        }
    }
    Ok(())
}
