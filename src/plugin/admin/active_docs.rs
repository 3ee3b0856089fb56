//! ActiveDocs: descriptions of APIs in OpenAPI, for developers. `/active_docs`.
//!
//! The text is kept as it was sent. It must be a JSON object that says which OpenAPI it is, unless the client asks not to look.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Seen};
use super::names::{self, Kind};
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::times;
use super::xml::Element;
use crate::document::system_name;
use crate::model::catalog::Change;
use crate::model::record::ServiceState;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "active_docs", ACCESS, list),
    Route::new(POST, "active_docs", ACCESS, create),
    Route::new(GET, "active_docs/{id}", ACCESS, show),
    Route::new(PUT, "active_docs/{id}", ACCESS, update),
    Route::new(DELETE, "active_docs/{id}", ACCESS, delete),
];

/// The most descriptions of a tenant.
pub(super) const DOCS_MAX: usize = 500;
/// The longest text of a description, in bytes.
pub(super) const BODY_LEN_MAX: usize = 2 << 20;

/// A description of an API.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct ActiveDoc {
    pub(super) tenant: u64,
    /// The service that it describes; none if it stands for itself.
    pub(super) service: Option<u64>,
    pub(super) name: String,
    pub(super) system_name: String,
    pub(super) description: String,
    pub(super) body: String,
    pub(super) published: bool,
    pub(super) skip_swagger_validations: bool,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for ActiveDoc {
    const TABLE: Table = Table("active_docs");
}

impl Owned for ActiveDoc {
    const BY_OWNER: Table = Table("active_docs_by_tenant");

    fn owners(&self) -> Vec<u64> {
        std::iter::once(self.tenant).chain(self.service).collect()
    }
}

/// One that the caller may see: of the tenant, and of no service or one that the caller is shown.
fn is_shown(seen: Seen<'_>, doc: &ActiveDoc) -> bool {
    doc.tenant == seen.caller.tenant.0 && doc.service.is_none_or(|service| seen.service(service).is_ok())
}

fn find(seen: Seen<'_>, id: u64) -> Result<ActiveDoc, Refusal> {
    let doc = seen.records.find::<ActiveDoc>(id)?;
    doc.filter(|doc| is_shown(seen, doc)).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    // All of them are long together.
    let ids = ActiveDoc::ids_where(context.caller.tenant.0, seen.records, |doc| is_shown(seen, doc))?;
    let page = context.page_if_asked(ids.len());
    let shown = page.cut(ids).into_iter().map(|id| Ok(entity(id, &find(seen, id)?)));
    Reply::page(context.format, "api_docs", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("api_docs_service")?;
    context.change(|edit| {
        let tenant = edit.tenant().0;
        let mut doc = ActiveDoc {
            tenant,
            service: None,
            name: String::new(),
            system_name: String::new(),
            description: String::new(),
            body: String::new(),
            published: false,
            skip_swagger_validations: false,
            created_at: edit.now,
            updated_at: edit.now,
        };
        let mut errors = Errors::default();
        apply(edit.seen(), &mut doc, &fields, true, &mut errors);
        let given = fields.filled("system_name");
        if given.as_ref().is_some_and(|name| !system_name::is_one(name)) {
            errors.add("system_name", check::INVALID);
        }
        if ActiveDoc::count(tenant, edit.records)? >= DOCS_MAX {
            errors.add("base", format!("There can be at most {DOCS_MAX} ActiveDocs"));
        }
        errors.check()?;
        let id = edit.draft.take_id();
        let wanted = given.clone().unwrap_or_else(|| system_name::of(&doc.name));
        doc.system_name =
            names::claim_like(edit.records, (Kind::ActiveDocs, tenant), (&wanted, given.is_some()), id)?
                .ok_or_else(|| Errors::of("system_name", check::TAKEN))?;
        doc.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &doc)).at(format!("/admin/api/active_docs/{id}")))
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("api_docs_service")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let before = find(edit.seen(), id)?;
        let mut doc = before.clone();
        let mut errors = Errors::default();
        apply(edit.seen(), &mut doc, &fields, false, &mut errors);
        errors.check()?;
        doc.updated_at = edit.now;
        // It may be another service's now.
        before.delete(id, edit.records);
        doc.put(id, edit.records)?;
        Ok(Reply::one(entity(id, &doc)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        take_away(id, &find(edit.seen(), id)?, edit.records)?;
        Ok(Reply::gone())
    })
}

/// Takes one away, and frees its name.
pub(super) fn take_away(id: u64, doc: &ActiveDoc, records: &mut Records<'_>) -> Result<(), ShelfError> {
    names::release(records, Kind::ActiveDocs, doc.tenant, &doc.system_name, id)?;
    doc.delete(id, records);
    Ok(())
}

/// Changes what was sent of a description.
fn apply(seen: Seen<'_>, doc: &mut ActiveDoc, fields: &Fields, is_new: bool, errors: &mut Errors) {
    if is_new || fields.has("name") {
        doc.name = fields.text("name").unwrap_or_default().trim().to_owned();
        check::present(errors, "name", Some(&doc.name));
    }
    if let Some(description) = fields.text("description") {
        check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
        doc.description = description;
    }
    doc.published = fields.flag("published").unwrap_or(doc.published);
    doc.skip_swagger_validations =
        fields.flag("skip_swagger_validations").unwrap_or(doc.skip_swagger_validations);
    if fields.has("service_id") {
        match fields.id("service_id") {
            _ if fields.filled("service_id").is_none() => doc.service = None,
            Some(id) if seen.service(id).is_ok() => doc.service = Some(id),
            _ => errors.add("service", "not found"),
        }
    }
    if !is_new && !fields.has("body") {
        return;
    }
    doc.body = match fields.value("body") {
        // Some clients send the document itself.
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => fields.text("body").unwrap_or_default(),
    };
    check::long(errors, "body", &doc.body, BODY_LEN_MAX);
    if doc.body.trim().is_empty() {
        errors.add("body", check::BLANK);
    } else if !doc.skip_swagger_validations {
        check_body(&doc.body, errors);
    }
}

fn check_body(body: &str, errors: &mut Errors) {
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(document)) => {
            let versions = ["swagger", "openapi", "swaggerVersion"];
            if !versions.iter().any(|version| document.contains_key(*version)) {
                errors.add("body", "JSON Spec is invalid");
            }
        }
        _ => errors.add("body", "Invalid JSON"),
    }
}

fn entity(id: u64, doc: &ActiveDoc) -> Entity {
    let json = json!({
        "id": id,
        "system_name": doc.system_name,
        "name": doc.name,
        "description": doc.description,
        "published": doc.published,
        "skip_swagger_validations": doc.skip_swagger_validations,
        "body": doc.body,
        "service_id": doc.service,
        "created_at": times::text(doc.created_at),
        "updated_at": times::text(doc.updated_at),
    });
    let xml = Element::new("api_doc")
        .field("id", id)
        .field("system_name", &doc.system_name)
        .field("name", &doc.name)
        .field("description", &doc.description)
        .field("published", doc.published)
        .field("skip_swagger_validations", doc.skip_swagger_validations)
        .field("body", &doc.body)
        .optional("service_id", doc.service)
        .field("created_at", times::text(doc.created_at))
        .field("updated_at", times::text(doc.updated_at));
    Entity { wrapper: "api_doc", json, xml }
}

/// What describes a service goes with it.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let id = match change {
            Change::PutService(service) if service.state == ServiceState::Retired => service.id,
            Change::DeleteService(id) => *id,
            _ => continue,
        };
        for (doc_id, doc) in ActiveDoc::of(id.0, records)? {
            take_away(doc_id, &doc, records)?;
        }
    }
    Ok(())
}
