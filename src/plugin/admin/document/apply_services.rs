//! Services, backends, their metrics, rules and proxies; and what of them goes.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::super::answer::Refusal;
use super::super::backend_metrics::BackendMetric;
use super::super::backend_usages::BackendUsage;
use super::super::mapping_rules::{self, MappingRule};
use super::super::metrics::HITS;
use super::super::owned::Owned;
use super::super::people::User;
use super::super::proxy;
use super::super::services::ServiceDetails;
use super::super::terms::Terms;
use super::super::users;
use super::apply::{Applying, Step};
use super::places::Place;
use crate::document::diff::{Action, Change};
use crate::model::id::{MetricId, ServiceId};
use crate::model::record::{Secret, ServiceState};
use crate::plugin::call::Method;

/// The keys of a service that are not fields of its record in the API.
const NOT_FIELDS: [&str; 7] = [
    "suspended",
    "tokens",
    "default_service_plan",
    "default_application_plan",
    "mapping_rules",
    "policies",
    "proxy",
];

impl Applying<'_, '_, '_, '_, '_> {
    pub(super) fn field(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let mut fields = step.fields(&[], None)?;
        if step.is_new() {
            let name = fields.get("name").cloned().unwrap_or_default();
            fields.entry("label").or_insert(name);
        }
        self.put(step, "fields_definitions", fields).map(drop)
    }

    pub(super) fn feature(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let fields = step.fields(&[], Some("name"))?;
        let collection = match step.owner_kind() {
            "" => "features".to_owned(),
            _ => format!("services/{}/features", self.owner_id(step)?),
        };
        self.put(step, &collection, fields).map(drop)
    }

    pub(super) fn owner_id(&self, step: &Step<'_>) -> Result<u64, Refusal> {
        self.id(&step.owner(), step.owner_kind(), "")
    }

    pub(super) fn backend(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let fields = step.fields(&["mapping_rules"], Some("name"))?;
        let id = self.put(step, "backend_apis", fields)?;
        if step.is_new() {
            let metrics = self.edit(|edit| Ok(BackendMetric::of(id, edit.records)?))?;
            let hits = metrics.first().map(|(id, _)| *id);
            self.know_hits(&step.place(), hits);
        }
        self.learn_of_backend(id)
    }

    fn know_hits(&mut self, owner: &Place, hits: Option<u64>) {
        if let Some(id) = hits {
            self.places.put(owner.below("metric", HITS), id);
        }
    }

    /// Gateways of services that use a backend are told what it is now.
    fn learn_of_backend(&mut self, backend: u64) -> Result<(), Refusal> {
        let usages = self.edit(|edit| Ok(BackendUsage::of(backend, edit.records)?))?;
        self.stale.extend(usages.into_iter().map(|(_, usage)| usage.service));
        Ok(())
    }

    pub(super) fn service(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let mut fields = step.fields(&NOT_FIELDS, Some("name"))?;
        // A service has the name that it is found by: another name is another service.
        if !step.is_new() {
            fields.remove("system_name");
        }
        let id = self.put(step, "services", fields)?;
        if step.is_new() {
            let place = step.place();
            let (hits, plan) = self.edit(|edit| {
                let hits = edit.seen().service(id)?.metrics.find(HITS).map(|it| it.id.0);
                Ok((hits, edit.records.find::<ServiceDetails>(id)?.and_then(|it| it.default_service_plan)))
            })?;
            self.know_hits(&place, hits);
            if let Some(plan) = plan {
                self.places.put(place.below("plan", "default"), plan);
            }
            self.stale.insert(id);
        }
        if let Some(suspended) = step.flag("suspended") {
            let state = if suspended { ServiceState::Suspended } else { ServiceState::Active };
            self.edit(|edit| Ok(edit.draft.edit_service(ServiceId(id), |it| it.state = state)?))?;
        }
        if let Some(tokens) = self.secrets(step, "tokens")? {
            let tokens = tokens.into_iter().map(Secret::from).collect();
            self.edit(|edit| Ok(edit.draft.edit_service(ServiceId(id), |it| it.tokens = tokens)?))?;
        }
        Ok(())
    }

    pub(super) fn metric(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let mut fields = step.fields(&[], Some("friendly_name"))?;
        let is_method = step.kind == "method";
        if step.is_new() && !is_method {
            fields.entry("unit").or_insert_with(|| Value::from("hit"));
        }
        let at = &step.change.at;
        let (owner, kind) =
            (at.first().map_or(&[][..], |_| &at[..1]), at.first().map_or("", |it| it.kind.as_str()));
        let owner = self.id(&Place::of(owner), kind, "")?;
        let root = if kind == "backend" { "backend_apis" } else { "services" };
        let collection = match is_method {
            false => format!("{root}/{owner}/metrics"),
            true => format!("{root}/{owner}/metrics/{}/methods", self.owner_id(step)?),
        };
        self.put(step, &collection, fields).map(drop)
    }

    pub(super) fn usage(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let service = self.owner_id(step)?;
        let collection = format!("services/{service}/backend_usages");
        let backend = self.id(&Place::default().below("backend", step.name), "backend", step.name)?;
        let mut fields = Map::from_iter([("backend_api_id".to_owned(), Value::from(backend))]);
        fields.extend(step.after("path").map(|path| ("path".to_owned(), path.clone())));
        self.put(step, &collection, fields)?;
        self.stale.insert(service);
        Ok(())
    }

    /// What services and backends have that names other records.
    pub(super) fn connect_owner(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let place = step.place();
        let id = self.id(&place, step.kind, step.name)?;
        if let Some(rules) = step.list("mapping_rules") {
            self.rules(step.kind, (&place, id), rules)?;
        }
        for (field, kind, collection) in [
            ("default_service_plan", "plan", "service_plans"),
            ("default_application_plan", "application plan", "application_plans"),
        ] {
            let Some(name) = step.text(field) else { continue };
            if name.is_empty() {
                self.edit(|edit| {
                    let mut details = edit.records.find::<ServiceDetails>(id)?.unwrap_or_default();
                    match kind {
                        "plan" => details.default_service_plan = None,
                        _ => details.default_application_plan = None,
                    }
                    Ok(edit.records.save(id, &details)?)
                })?;
            } else {
                let plan = self.id(&place.below(kind, name), kind, name)?;
                let path = format!("services/{id}/{collection}/{plan}/default");
                self.call(Method::Put, &path, Map::new())?;
            }
        }
        Ok(())
    }

    /// Gives an owner these rules in this order. Those that it has already keep their ids.
    fn rules(&mut self, kind: &str, (place, owner): (&Place, u64), wanted: &[Value]) -> Result<(), Refusal> {
        let mut known = HashMap::<_, VecDeque<_>>::new();
        for (id, rule) in self.edit(|edit| Ok(mapping_rules::in_order(owner, edit.records)?))? {
            known.entry(what_is(&rule)).or_default().push_back((id, rule));
        }
        let mut fields = Vec::new();
        for rule in wanted {
            let name = rule["metric"].as_str().unwrap_or_default();
            let metric = self.places.metric(place, name);
            let metric =
                metric.ok_or_else(|| super::apply::refusal(format!("there is no metric '{name}'")))?;
            let mut rule = rule.as_object().cloned().unwrap_or_default();
            rule.remove("metric");
            rule.insert("metric_id".to_owned(), Value::from(metric));
            fields.push(rule);
        }
        let mut ids: Vec<Option<u64>> = Vec::new();
        for fields in &fields {
            let same = known.get_mut(&what_is_said(fields)).and_then(VecDeque::pop_front);
            ids.push(same.map(|(id, _)| id));
        }
        self.edit(|edit| {
            known.values().flatten().for_each(|(id, rule)| rule.delete(*id, edit.records));
            Ok(())
        })?;
        let collection = match kind {
            "backend" => format!("backend_apis/{owner}/mapping_rules"),
            _ => format!("services/{owner}/proxy/mapping_rules"),
        };
        for (at, (id, fields)) in ids.into_iter().zip(fields).enumerate() {
            let id = match id {
                Some(id) => id,
                None => self.call(Method::Post, &collection, fields)?.ok_or(Refusal::Failed)?,
            };
            self.edit(|edit| {
                let rule = edit.records.find::<MappingRule>(id)?.ok_or(Refusal::Failed)?;
                if rule.position != at + 1 {
                    edit.records.save(id, &MappingRule { position: at + 1, ..rule })?;
                }
                Ok(())
            })?;
        }
        match kind {
            "backend" => self.learn_of_backend(owner)?,
            _ => drop(self.stale.insert(owner)),
        }
        Ok(())
    }

    pub(super) fn policies(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let Some(policies) = step.after("policies") else { return Ok(()) };
        let id = self.id(&step.place(), step.kind, step.name)?;
        let fields = Map::from_iter([("policies_config".to_owned(), policies.clone())]);
        self.call(Method::Put, &format!("services/{id}/proxy/policies"), fields)?;
        self.stale.remove(&id);
        Ok(())
    }

    pub(super) fn proxy(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        const FLOWS: [&str; 4] = [
            "standard_flow_enabled",
            "implicit_flow_enabled",
            "service_accounts_enabled",
            "direct_access_grants_enabled",
        ];
        let id = self.owner_id(step)?;
        let mut except = FLOWS.to_vec();
        let token = step.after("secret_token");
        if token.is_some_and(|it| crate::document::diff::secret_value(it).is_none()) {
            // The one that the service was made with.
            self.made.push(format!("{} / secret_token", crate::document::diff::place(&step.change.at)));
            except.push("secret_token");
        }
        let flows: Map<_, _> =
            FLOWS.iter().filter_map(|flow| Some(((*flow).to_owned(), step.after(flow)?.clone()))).collect();
        if !flows.is_empty() {
            self.call(Method::Put, &format!("services/{id}/proxy/oidc_configuration"), flows)?;
        }
        self.call(Method::Put, &format!("services/{id}/proxy"), step.fields(&except, None)?)?;
        self.stale.remove(&id);
        Ok(())
    }

    /// Makes new versions for the sandbox of services that were changed otherwise than by their proxy.
    pub(super) fn deploy(&mut self) -> Result<(), Refusal> {
        let mut stale: Vec<_> = self.stale.drain().collect();
        stale.sort_unstable();
        for id in stale {
            self.edit(|edit| match edit.seen().service(id) {
                Ok(_) => proxy::deploy_to_sandbox(edit, id),
                Err(_) => Ok(()),
            })?;
        }
        self.without_tokens()
    }

    /// A service that is to have no token gets none by being deployed.
    fn without_tokens(&mut self) -> Result<(), Refusal> {
        for wanted in self.wanted.services.iter().flatten() {
            if wanted.tokens.as_ref().is_none_or(|it| !it.is_empty()) {
                continue;
            }
            let id = self.places.get(&Place::default().below("service", &wanted.system_name));
            self.edit(|edit| match id.and_then(|id| edit.seen().service(id).ok().cloned()) {
                Some(service) if !service.tokens.is_empty() => {
                    Ok(edit.draft.edit_service(service.id, |it| it.tokens.clear())?)
                }
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// New services have what the document lists of service plans and rules, and not what the node gives each new one besides.
    pub(super) fn take_away_defaults(&mut self, changes: &[Change]) -> Result<(), Refusal> {
        for change in changes.iter().filter(|it| it.action == Action::Add) {
            let [at] = change.at.as_slice() else { continue };
            let wanted = self
                .wanted
                .services
                .iter()
                .flatten()
                .find(|it| at.kind == "service" && it.system_name == at.name);
            let Some(plans) = wanted.and_then(|it| it.service_plans.as_ref()) else { continue };
            let place = Place::of(&change.at);
            let default = place.below("plan", "default");
            if plans.iter().any(|it| it.system_name == "default") {
                continue;
            }
            if let (Some(service), Some(plan)) = (self.places.get(&place), self.places.get(&default)) {
                self.call(Method::Delete, &format!("services/{service}/service_plans/{plan}"), Map::new())?;
                self.places.remove(&default);
            }
        }
        Ok(())
    }

    pub(super) fn tenant_service(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let Some(name) = step.text("default_service") else { return Ok(()) };
        let service = match name {
            "" => None,
            name => Some(ServiceId(self.id(&Place::default().below("service", name), "service", name)?)),
        };
        self.edit(|edit| {
            let tenant = edit.tenant();
            Ok(edit.draft.edit_tenant(tenant, |it| it.default_service = service)?)
        })
    }

    pub(super) fn remove(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let place = step.place();
        let Some(id) = self.places.get(&place) else { return Ok(()) };
        self.places.remove(&place);
        let owner = self.places.get(&step.owner());
        let path = match (step.kind, step.owner_kind(), owner) {
            ("service", ..) => {
                // The API keeps the default and the last one; a document says what there is. What it used follows from commands
                // only when they are complete, and backends that it used may go in this one.
                return self.edit(|edit| {
                    BackendUsage::delete_all_of(id, edit.records)?;
                    Ok(edit.draft.retire_service(ServiceId(id))?)
                });
            }
            ("backend", ..) => format!("backend_apis/{id}"),
            ("field", ..) => format!("fields_definitions/{id}"),
            ("feature", "", _) => format!("features/{id}"),
            ("plan", "", _) => format!("account_plans/{id}"),
            ("account", ..) => {
                // Their names are free for others of this command.
                self.edit(|edit| {
                    let people = User::of(id, edit.records)?;
                    Ok(people.iter().try_for_each(|(id, user)| users::remove(edit.records, *id, user))?)
                })?;
                format!("accounts/{id}")
            }
            ("metric" | "method", ..) => return self.remove_metric(step, id),
            (kind, _, Some(owner)) => match kind {
                "feature" => format!("services/{owner}/features/{id}"),
                "plan" => format!("services/{owner}/service_plans/{id}"),
                "application plan" => return self.remove_plan(owner, id),
                "use of backend" => {
                    self.stale.insert(owner);
                    format!("services/{owner}/backend_usages/{id}")
                }
                "user" => format!("accounts/{owner}/users/{id}"),
                "subscription" => format!("accounts/{owner}/service_subscriptions/{id}"),
                "application" => {
                    // It may have gone with its account's other things.
                    let is_there =
                        self.edit(|edit| Ok(edit.draft.catalog().applications.get(id).is_some()))?;
                    if !is_there {
                        return Ok(());
                    }
                    format!("accounts/{owner}/applications/{id}")
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.call(Method::Delete, &path, Map::new()).map(drop)
    }

    /// A plan that was made for one application goes with it.
    fn remove_plan(&mut self, service: u64, id: u64) -> Result<(), Refusal> {
        if self.edit(|edit| Ok(edit.draft.catalog().plans.get(id).is_none()))? {
            return Ok(());
        }
        // Those that were made of it for one application alone are of none then.
        self.edit(|edit| {
            let others: Vec<_> = edit.draft.catalog().plans_of(ServiceId(service)).iter().collect();
            for other in others {
                if let Some(terms) = edit.records.find::<Terms>(other)?.filter(|it| it.original == Some(id)) {
                    edit.records.save(other, &Terms { original: None, ..terms })?;
                }
            }
            Ok(())
        })?;
        self.call(Method::Delete, &format!("services/{service}/application_plans/{id}"), Map::new()).map(drop)
    }

    /// A method may have gone with its metric, a metric with what was taken out of use.
    fn remove_metric(&mut self, step: &Step<'_>, id: u64) -> Result<(), Refusal> {
        let Some(first) = step.change.at.first() else { return Ok(()) };
        let Some(owner) = self.places.get(&Place::of(std::slice::from_ref(first))) else { return Ok(()) };
        let (path, is_there) = if first.kind == "backend" {
            let is_there = self.edit(|edit| Ok(edit.records.find::<BackendMetric>(id)?.is_some()))?;
            (format!("backend_apis/{owner}/metrics/{id}"), is_there)
        } else {
            let is_there =
                self.edit(|edit| Ok(edit.seen().service(owner)?.metrics.by_id(MetricId(id)).is_some()))?;
            self.stale.insert(owner);
            (format!("services/{owner}/metrics/{id}"), is_there)
        };
        if is_there { self.call(Method::Delete, &path, Map::new()).map(drop) } else { Ok(()) }
    }
}

/// What a rule says, as a text that only rules have which say the same.
fn what_is(rule: &MappingRule) -> String {
    let MappingRule { http_method, pattern, metric, delta, last, redirect_url, .. } = rule;
    json!([http_method, pattern, metric, delta, last, redirect_url]).to_string()
}

/// The same of a rule that is to be.
fn what_is_said(fields: &Map<String, Value>) -> String {
    let names = ["http_method", "pattern", "metric_id", "delta", "last", "redirect_url"];
    Value::from_iter(names.map(|name| fields.get(name).cloned().unwrap_or_default())).to_string()
}
