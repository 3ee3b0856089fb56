//! Mapping rules: what calls count, of a service (`/services/{id}/proxy/mapping_rules`) or a backend API
//! (`/backend_apis/{id}/mapping_rules`).
//!
//! The rules of one owner have positions 1, 2, ... without gaps, in the order in which a gateway tries them. A rule goes with its
//! metric, and with its owner.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backends;
use super::check;
use super::context::{Context, Edit, Seen};
use super::metrics;
use super::owned::Owned;
use super::patterns::{self, PATTERN_LEN_MAX};
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::catalog::Change;
use crate::model::draft::Draft;
use crate::model::id::{MetricId, ServiceId};
use crate::model::record::ServiceState;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/proxy/mapping_rules", ACCESS, list_of_service),
    Route::new(POST, "services/{service_id}/proxy/mapping_rules", ACCESS, create_in_service),
    Route::new(GET, "services/{service_id}/proxy/mapping_rules/{id}", ACCESS, show_of_service),
    Route::new(PUT, "services/{service_id}/proxy/mapping_rules/{id}", ACCESS, update_in_service),
    Route::new(DELETE, "services/{service_id}/proxy/mapping_rules/{id}", ACCESS, delete_from_service),
    Route::new(GET, "backend_apis/{backend_api_id}/mapping_rules", ACCESS, list_of_backend)
        .in_formats(Formats::JsonFirst),
    Route::new(POST, "backend_apis/{backend_api_id}/mapping_rules", ACCESS, create_in_backend)
        .in_formats(Formats::JsonFirst),
    Route::new(GET, "backend_apis/{backend_api_id}/mapping_rules/{id}", ACCESS, show_of_backend)
        .in_formats(Formats::JsonFirst),
    Route::new(PUT, "backend_apis/{backend_api_id}/mapping_rules/{id}", ACCESS, update_in_backend)
        .in_formats(Formats::JsonFirst),
    Route::new(DELETE, "backend_apis/{backend_api_id}/mapping_rules/{id}", ACCESS, delete_from_backend)
        .in_formats(Formats::JsonFirst),
];

const HTTP_METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"];

/// The most rules of one owner: each is part of every configuration that a gateway loads.
pub(super) const RULES_MAX: usize = 2000;

/// Whose rules.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum Of {
    Service,
    Backend,
}

/// A mapping rule.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct MappingRule {
    pub(super) of: Of,
    pub(super) owner: u64,
    pub(super) metric: u64,
    pub(super) http_method: String,
    pub(super) pattern: String,
    /// What one call counts.
    pub(super) delta: i64,
    /// From 1.
    pub(super) position: usize,
    /// No rule after it is tried if it matches.
    pub(super) last: bool,
    #[serde(default)]
    pub(super) redirect_url: Option<String>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for MappingRule {
    const TABLE: Table = Table("mapping_rules");
}

impl Owned for MappingRule {
    const BY_OWNER: Table = Table("mapping_rules_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.owner]
    }
}

/// The rules of an owner, in the order in which they are tried.
pub(super) fn in_order(owner: u64, records: &Records<'_>) -> Result<Vec<(u64, MappingRule)>, ShelfError> {
    let mut rules = MappingRule::of(owner, records)?;
    rules.sort_by_key(|(id, rule)| (rule.position, *id));
    Ok(rules)
}

/// Gives a new service the rule that it begins with: each `GET` is a hit.
pub(super) fn create_default(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    service: ServiceId,
    now: u64,
) -> Result<(), ShelfError> {
    let hits = draft.catalog().services.get(service.0).and_then(|it| it.metrics.find(metrics::HITS));
    let Some(hits) = hits.map(|metric| metric.id.0) else { return Ok(()) };
    let rule = MappingRule {
        of: Of::Service,
        owner: service.0,
        metric: hits,
        http_method: "GET".to_owned(),
        pattern: "/".to_owned(),
        delta: 1,
        position: 1,
        last: false,
        redirect_url: None,
        created_at: now,
        updated_at: now,
    };
    rule.put(draft.take_id(), records)
}

/// Takes away the rules by which a metric of an owner is counted.
pub(super) fn delete_of_metric(
    owner: u64,
    metric: u64,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    let mut rules = in_order(owner, records)?;
    let count = rules.len();
    for (id, rule) in rules.iter().filter(|(_, rule)| rule.metric == metric) {
        rule.delete(*id, records);
    }
    rules.retain(|(_, rule)| rule.metric != metric);
    if rules.len() == count { Ok(()) } else { number(rules, records, now) }
}

/// Numbers rules as they come.
fn number(rules: Vec<(u64, MappingRule)>, records: &mut Records<'_>, now: u64) -> Result<(), ShelfError> {
    for (at, (id, rule)) in rules.into_iter().enumerate() {
        if rule.position != at + 1 {
            records.save(id, &MappingRule { position: at + 1, updated_at: now, ..rule })?;
        }
    }
    Ok(())
}

fn list_of_service(context: &Context<'_>) -> Outcome {
    list(context, Of::Service)
}

fn list_of_backend(context: &Context<'_>) -> Outcome {
    list(context, Of::Backend)
}

fn create_in_service(context: &Context<'_>) -> Outcome {
    create(context, Of::Service)
}

fn create_in_backend(context: &Context<'_>) -> Outcome {
    create(context, Of::Backend)
}

fn show_of_service(context: &Context<'_>) -> Outcome {
    show(context, Of::Service)
}

fn show_of_backend(context: &Context<'_>) -> Outcome {
    show(context, Of::Backend)
}

fn update_in_service(context: &Context<'_>) -> Outcome {
    update(context, Of::Service)
}

fn update_in_backend(context: &Context<'_>) -> Outcome {
    update(context, Of::Backend)
}

fn delete_from_service(context: &Context<'_>) -> Outcome {
    delete(context, Of::Service)
}

fn delete_from_backend(context: &Context<'_>) -> Outcome {
    delete(context, Of::Backend)
}

/// The id of the owner that the path names, if the caller may see it.
fn owner(context: &Context<'_>, seen: Seen<'_>, of: Of) -> Result<u64, Refusal> {
    let id = context.id(0)?;
    match of {
        Of::Service => seen.service(id).map(|service| service.id.0),
        Of::Backend => backends::find(seen, id).map(|_| id),
    }
}

fn find(seen: Seen<'_>, owner: u64, id: u64) -> Result<MappingRule, Refusal> {
    seen.records.find::<MappingRule>(id)?.filter(|rule| rule.owner == owner).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>, of: Of) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let rules = in_order(owner(context, seen, of)?, seen.records)?;
    let page = context.page(rules.len());
    let shown = page.cut(rules).iter().map(|(id, rule)| entity(*id, rule)).collect();
    Ok(Reply::list("mapping_rules", shown, Some(page)))
}

fn show(context: &Context<'_>, of: Of) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (owner, id) = (owner(context, seen, of)?, context.id(1)?);
    Ok(Reply::one(entity(id, &find(seen, owner, id)?)))
}

fn create(context: &Context<'_>, of: Of) -> Outcome {
    let fields = context.fields("mapping_rule")?;
    context.change(|edit| {
        let owner = owner(context, edit.seen(), of)?;
        let count = MappingRule::count(owner, edit.records)?;
        let now = edit.now;
        let mut rule = MappingRule {
            of,
            owner,
            metric: 0,
            http_method: String::new(),
            pattern: String::new(),
            delta: 0,
            position: count + 1,
            last: false,
            redirect_url: None,
            created_at: now,
            updated_at: now,
        };
        let mut errors = Errors::default();
        if count >= RULES_MAX {
            errors.add("base", format!("There can be at most {RULES_MAX} mapping rules"));
        }
        apply(edit.seen(), &mut rule, &fields, true, &mut errors)?;
        errors.check()?;
        let id = edit.draft.take_id();
        rule.put(id, edit.records)?;
        let rule = place(edit, id, rule, &fields)?;
        let place = own_path(id, &rule);
        Ok(Reply::created(entity(id, &rule)).at(place))
    })
}

fn update(context: &Context<'_>, of: Of) -> Outcome {
    let fields = context.fields("mapping_rule")?;
    context.change(|edit| {
        let (owner, id) = (owner(context, edit.seen(), of)?, context.id(1)?);
        let mut rule = find(edit.seen(), owner, id)?;
        let mut errors = Errors::default();
        apply(edit.seen(), &mut rule, &fields, false, &mut errors)?;
        errors.check()?;
        rule.updated_at = edit.now;
        edit.records.save(id, &rule)?;
        let rule = place(edit, id, rule, &fields)?;
        Ok(Reply::one(entity(id, &rule)))
    })
}

fn delete(context: &Context<'_>, of: Of) -> Outcome {
    context.change(|edit| {
        let (owner, id) = (owner(context, edit.seen(), of)?, context.id(1)?);
        find(edit.seen(), owner, id)?.delete(id, edit.records);
        let rules = in_order(owner, edit.records)?;
        number(rules, edit.records, edit.now)?;
        Ok(Reply::gone())
    })
}

/// Moves a rule to the position that was sent, if one was; the others make room.
fn place(
    edit: &mut Edit<'_, '_, '_>,
    id: u64,
    rule: MappingRule,
    fields: &Fields,
) -> Result<MappingRule, Refusal> {
    let Some(wanted) = fields.integer("position").flatten() else { return Ok(rule) };
    let mut rules = in_order(rule.owner, edit.records)?;
    rules.retain(|(other, _)| *other != id);
    let at = usize::try_from(wanted.saturating_sub(1)).unwrap_or(0).min(rules.len());
    rules.insert(at, (id, rule));
    number(rules, edit.records, edit.now)?;
    edit.records.find::<MappingRule>(id)?.ok_or(Refusal::NotFound)
}

/// Changes what was sent of a rule; of a new one all must be sent that there is no default for.
fn apply(
    seen: Seen<'_>,
    rule: &mut MappingRule,
    fields: &Fields,
    is_new: bool,
    errors: &mut Errors,
) -> Result<(), Refusal> {
    if is_new || fields.has("http_method") {
        rule.http_method = fields.text("http_method").unwrap_or_default().trim().to_uppercase();
        if rule.http_method.is_empty() {
            errors.add("http_method", check::BLANK);
        }
        if !HTTP_METHODS.contains(&rule.http_method.as_str()) {
            errors.add("http_method", check::NOT_LISTED);
        }
    }
    if is_new || fields.has("pattern") {
        rule.pattern = fields.text("pattern").unwrap_or_default();
        check_pattern(&rule.pattern, errors);
    }
    if is_new || fields.has("delta") {
        match fields.integer("delta").flatten() {
            None => errors.add("delta", check::NOT_A_NUMBER),
            Some(delta) if delta < 1 => errors.add("delta", "must be greater than 0"),
            Some(delta) => rule.delta = delta,
        }
    }
    if is_new || fields.has("metric_id") {
        match fields.id("metric_id") {
            _ if fields.filled("metric_id").is_none() => errors.add("metric_id", check::BLANK),
            Some(id) if is_countable(seen, rule.of, rule.owner, id)? => rule.metric = id,
            _ => errors.add("metric_id", check::INVALID),
        }
    }
    rule.last = fields.flag("last").unwrap_or(rule.last);
    if let Some(url) = fields.text("redirect_url") {
        check::long(errors, "redirect_url", &url, REDIRECT_URL_LEN_MAX);
        rule.redirect_url = Some(url).filter(|url| !url.is_empty());
    }
    Ok(())
}

/// The longest URL that a rule sends callers to, in bytes: the original's.
const REDIRECT_URL_LEN_MAX: usize = 10_000;

fn check_pattern(pattern: &str, errors: &mut Errors) {
    if pattern.is_empty() {
        return errors.add("pattern", check::BLANK);
    }
    check::long(errors, "pattern", pattern, PATTERN_LEN_MAX);
    for error in patterns::errors(pattern) {
        errors.add("pattern", error);
    }
}

/// Whether a rule of this owner may count a metric.
fn is_countable(seen: Seen<'_>, of: Of, owner: u64, metric: u64) -> Result<bool, Refusal> {
    match of {
        Of::Service => {
            let service = seen.service(owner)?;
            let metric = service.metrics.by_id(MetricId(metric));
            Ok(metric.map_or(Ok(false), |it| metrics::is_own(seen.records, it))?)
        }
        Of::Backend => backends::has_metric(seen.records, owner, metric).map_err(Refusal::from),
    }
}

fn own_path(id: u64, rule: &MappingRule) -> String {
    match rule.of {
        Of::Service => format!("/admin/api/services/{}/proxy/mapping_rules/{id}", rule.owner),
        Of::Backend => format!("/admin/api/backend_apis/{}/mapping_rules/{id}", rule.owner),
    }
}

fn entity(id: u64, rule: &MappingRule) -> Entity {
    let owner = match rule.of {
        Of::Service => ("service", format!("/admin/api/services/{}", rule.owner)),
        Of::Backend => ("backend_api", format!("/admin/api/backend_apis/{}", rule.owner)),
    };
    let links = [owner, ("self", own_path(id, rule))].map(|(rel, href)| json!({"rel": rel, "href": href}));
    let json = json!({
        "id": id,
        "metric_id": rule.metric,
        "pattern": rule.pattern,
        "http_method": rule.http_method,
        "delta": rule.delta,
        "position": rule.position,
        "last": rule.last,
        "redirect_url": rule.redirect_url,
        "created_at": times::text(rule.created_at),
        "updated_at": times::text(rule.updated_at),
        "links": links,
    });
    let xml = Element::new("mapping_rule")
        .field("id", id)
        .field("metric_id", rule.metric)
        .field("pattern", &rule.pattern)
        .field("http_method", &rule.http_method)
        .field("delta", rule.delta)
        .field("position", rule.position)
        .field("last", rule.last)
        .optional("redirect_url", rule.redirect_url.as_deref())
        .field("created_at", times::text(rule.created_at))
        .field("updated_at", times::text(rule.updated_at));
    Entity { wrapper: "mapping_rule", json, xml }
}

/// Rules go with the metric that they count, and with their service.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let (id, after) = match change {
            Change::PutService(service) if service.state != ServiceState::Retired => (service.id, service),
            Change::PutService(crate::model::record::Service { id, .. }) | Change::DeleteService(id) => {
                MappingRule::delete_all_of(id.0, records)?;
                continue;
            }
            _ => continue,
        };
        let before = accompanied.before.services.get(id.0).map(|it| &**it);
        for metric in metrics::gone(before, Some(after)) {
            delete_of_metric(id.0, metric.0, records, now)?;
        }
    }
    Ok(())
}
