//! What the internal API is, in the simplest words: maps of maps, without time, disk or locks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::steps::{Call, PERIODS, Question};

#[derive(Default)]
pub(crate) struct Model {
    providers: Vec<Provider>,
    services: BTreeMap<String, Service>,
}

struct Provider {
    key: String,
    default: Option<String>,
}

#[derive(Default)]
struct Service {
    provider: usize,
    version: String,
    suspended: bool,
    referrers_required: bool,
    /// Name and parent, by id.
    metrics: BTreeMap<String, (String, Option<String>)>,
    plans: BTreeMap<String, Plan>,
    applications: BTreeMap<String, Application>,
    user_keys: BTreeMap<String, String>,
    alert_limits: BTreeSet<u64>,
    tokens: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct Plan {
    name: Option<String>,
    /// By metric and period.
    limits: BTreeMap<(String, String), u64>,
}

#[derive(Clone, Default)]
struct Application {
    state: String,
    plan: Option<String>,
    redirect_url: Option<String>,
    keys: Vec<String>,
    filters: BTreeSet<String>,
    /// By metric; the clock stands still, so all periods count the same.
    counts: BTreeMap<String, u64>,
}

/// See [`Model::known`].
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) provider_key: Option<String>,
    pub(crate) by_user_key: bool,
    pub(crate) user_keys: Vec<String>,
    pub(crate) applications: Vec<String>,
    pub(crate) metrics: Vec<String>,
}

/// How a call of the data API ends.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Decision {
    pub(crate) code: u16,
    pub(crate) reason: Option<String>,
    pub(crate) plan: Option<String>,
}

type Answer = (u16, Value);

const DELETED: &str = "deleted";

fn refused(code: u16) -> Answer {
    (code, Value::Null)
}

fn deleted() -> Answer {
    (200, json!({"status": DELETED}))
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().map(str::to_owned)
}

/// What sorts metrics: numbers first, ascending.
fn order(metric: &str) -> (u64, String) {
    metric.parse().map_or((u64::MAX, metric.to_owned()), |number| (number, String::new()))
}

impl Model {
    /// What a caller who knows a service knows.
    pub(crate) fn known(&self, service: &str) -> Known {
        let Some(service) = self.services.get(service) else { return Known::default() };
        Known {
            provider_key: Some(self.providers[service.provider].key.clone()),
            by_user_key: service.version == "1",
            user_keys: service.user_keys.keys().cloned().collect(),
            applications: service.applications.keys().cloned().collect(),
            metrics: service.metrics.values().map(|(name, _)| name.clone()).collect(),
        }
    }

    pub(crate) fn keys_of(&self, service: &str, application: &str) -> Vec<String> {
        let application = self.services.get(service).and_then(|it| it.applications.get(application));
        application.map_or_else(Vec::new, |it| it.keys.clone())
    }

    /// The code of the answer, and its body unless it is an error.
    pub(crate) fn answer(&mut self, call: &Call) -> Answer {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let body = &call.body;
        match (call.method, &path[..]) {
            ("PUT", ["services", "change_provider_key", key]) => self.change_key(key, text(body, "new_key")),
            ("POST", ["services"]) => {
                let (code, shown) =
                    self.put_service(&text(&body["service"], "id").unwrap(), &body["service"]);
                if code == 200 {
                    (201, json!({"service": shown, "status": "created"}))
                } else {
                    refused(code)
                }
            }
            ("PUT", ["services", id]) => {
                let (code, shown) = self.put_service(id, &body["service"]);
                if code == 200 { (200, json!({"service": shown, "status": "ok"})) } else { refused(code) }
            }
            ("DELETE", ["services", id]) => self.delete_service(id),
            ("GET", ["services", id]) => match self.services.contains_key(*id) {
                true => (200, json!({"status": "found", "service": self.show_service(id)})),
                false => refused(404),
            },
            ("DELETE", ["services", id, "applications", "key", key]) => {
                if let Some(service) = self.services.get_mut(*id) {
                    service.user_keys.remove(*key);
                }
                deleted()
            }
            ("DELETE", ["services", id, "plans", plan, "usagelimits", metric, period]) => {
                let service = self.services.get_mut(*id);
                if let Some(plan) = service.and_then(|service| service.plans.get_mut(*plan)) {
                    plan.limits.remove(&((*metric).to_owned(), (*period).to_owned()));
                }
                deleted()
            }
            (method, ["service_tokens", rest @ ..]) => self.tokens(method, rest, body),
            (method, ["services", id, rest @ ..]) => match self.services.get_mut(*id) {
                Some(service) => service.answer(id, method, rest, body),
                // What is said of an application is looked at first.
                None if rest[0] == "applications"
                    && body["application"].is_object()
                    && text(&body["application"], "state").is_none() =>
                {
                    refused(400)
                }
                None => refused(404),
            },
            _ => panic!("no such call: {call:?}"),
        }
    }

    fn change_key(&mut self, key: &str, new_key: Option<String>) -> Answer {
        let Some(new_key) = new_key.filter(|new_key| new_key != key) else { return refused(400) };
        if self.providers.iter().any(|it| it.key == new_key) {
            return refused(400);
        }
        match self.providers.iter_mut().find(|it| it.key == key) {
            Some(provider) => {
                provider.key = new_key;
                (200, json!({"status": "ok"}))
            }
            None => refused(400),
        }
    }

    fn put_service(&mut self, id: &str, body: &Value) -> Answer {
        let key = text(body, "provider_key");
        let provider = key.as_ref().and_then(|key| self.providers.iter().position(|it| it.key == *key));
        if let Some(known) = self.services.get(id) {
            if key.is_some() && provider != Some(known.provider) {
                return refused(400);
            }
        } else {
            let Some(key) = key else { return refused(400) };
            let provider = provider.unwrap_or_else(|| {
                self.providers.push(Provider { key, default: None });
                self.providers.len() - 1
            });
            let service = Service { provider, version: "2".into(), ..Service::default() };
            self.services.insert(id.to_owned(), service);
            self.providers[provider].default.get_or_insert(id.to_owned());
        }
        let service = self.services.get_mut(id).unwrap();
        if let Some(version) = text(body, "backend_version") {
            service.version = version;
        }
        if let Some(state) = text(body, "state") {
            service.suspended = state != "active";
        }
        if let Some(required) = text(body, "referrer_filters_required") {
            service.referrers_required = required == "1";
        }
        if text(body, "default_service").as_deref() == Some("true") {
            self.providers[service.provider].default = Some(id.to_owned());
        }
        (200, self.show_service(id))
    }

    fn delete_service(&mut self, id: &str) -> Answer {
        let Some(service) = self.services.get(id) else { return refused(404) };
        let provider = service.provider;
        let of_provider = self.services.values().filter(|it| it.provider == provider).count();
        if self.providers[provider].default.as_deref() == Some(id) {
            if of_provider > 1 {
                return refused(400);
            }
            self.providers[provider].default = None;
        }
        self.services.remove(id);
        deleted()
    }

    fn show_service(&self, id: &str) -> Value {
        let service = &self.services[id];
        let provider = &self.providers[service.provider];
        json!({
            "id": id, "state": if service.suspended { "suspended" } else { "active" },
            "provider_key": provider.key, "backend_version": service.version,
            "referrer_filters_required": service.referrers_required,
            "default_service": provider.default.as_deref() == Some(id),
        })
    }

    fn tokens(&mut self, method: &str, rest: &[&str], body: &Value) -> Answer {
        match (method, rest) {
            ("POST", []) => {
                let pairs = body["service_tokens"].as_object().unwrap();
                let pairs = pairs.iter().map(|(token, of)| (token.clone(), text(of, "service_id").unwrap()));
                let pairs: Vec<_> = pairs.collect();
                if pairs.iter().any(|(_, service)| !self.services.contains_key(service)) {
                    return refused(404);
                }
                for (token, service) in pairs {
                    self.services.get_mut(&service).unwrap().tokens.insert(token);
                }
                (201, json!({"status": "created"}))
            }
            ("DELETE", []) => {
                let mut count = 0;
                for pair in body["service_tokens"].as_array().unwrap() {
                    let service = self.services.get_mut(&text(pair, "service_id").unwrap());
                    let token = text(pair, "service_token").unwrap();
                    count += usize::from(service.is_some_and(|service| service.tokens.remove(&token)));
                }
                (200, json!({"status": DELETED, "count": count}))
            }
            ("GET", [token, service, "provider_key"]) => {
                let service = self.services.get(*service).filter(|it| it.tokens.contains(*token));
                service.map_or(refused(404), |service| {
                    let key = &self.providers[service.provider].key;
                    (200, json!({"status": "found", "provider_key": key}))
                })
            }
            _ => panic!("no such call: {method} {rest:?}"),
        }
    }

    /// What an authrep of one hit comes to, which it counts if it is authorized.
    pub(crate) fn decide(&mut self, question: &Question) -> Decision {
        let ends = |code| Decision { code, reason: None, plan: None };
        let Some(service) = self.services.get_mut(question.service) else { return ends(403) };
        let (kind, credential) = &question.credential;
        let known = match *kind {
            "provider_key" => self.providers[service.provider].key == *credential,
            _ => service.tokens.contains(credential),
        };
        if !known {
            return ends(403);
        }
        let (kind, who) = &question.who;
        let id = match *kind {
            "user_key" => service.user_keys.get(who).cloned(),
            _ => service.applications.contains_key(who).then(|| who.clone()),
        };
        let Some(id) = id else { return ends(if *kind == "user_key" { 403 } else { 404 }) };
        service.decide(&id, question)
    }
}

impl Service {
    fn answer(&mut self, service: &str, method: &str, path: &[&str], body: &Value) -> Answer {
        match (method, path) {
            ("PUT", ["applications", "batch"]) => self.batch(service, &body["applications"]),
            ("GET", ["applications", "key", key]) => match self.user_keys.get(*key) {
                Some(id) => (200, json!({"status": "found", "application": {"id": id}})),
                None => refused(404),
            },
            ("POST" | "PUT", ["applications", id]) => {
                let is_known = self.applications.contains_key(*id);
                let body = &body["application"];
                if method == "POST" && is_known {
                    return refused(if text(body, "state").is_none() { 400 } else { 405 });
                }
                let status = if is_known { "modified" } else { "created" };
                match self.put_application(id, body) {
                    Err(code) => refused(code),
                    Ok(()) => {
                        let shown = self.show_application(service, id);
                        let code = if method == "POST" { 201 } else { 200 };
                        (code, json!({"status": status, "application": shown}))
                    }
                }
            }
            (_, ["applications", id, rest @ ..]) => self.application_call(service, id, method, rest, body),
            (_, ["metrics", id]) => self.metric_call(service, id, method, &body["metric"]),
            (_, ["plans", plan, "usagelimits", metric, period]) => {
                self.limit_call([service, plan, metric, period], method, &body["usagelimit"][*period])
            }
            (_, ["alert_limits", rest @ ..]) => self.alert_limit_call(service, method, rest, body),
            _ => panic!("no such call: {method} {path:?}"),
        }
    }

    fn put_application(&mut self, id: &str, body: &Value) -> Result<(), u16> {
        let state = text(body, "state").ok_or(400_u16)?;
        let mut application = self.applications.get(id).cloned().unwrap_or_default();
        application.state = state;
        application.plan = text(body, "plan_id").or(application.plan);
        application.redirect_url = text(body, "redirect_url").or(application.redirect_url);
        let name = text(body, "plan_name");
        match &application.plan {
            Some(plan) => {
                let plan = self.plans.entry(plan.clone()).or_default();
                plan.name = name.or(plan.name.take());
            }
            None if name.is_some() => return Err(400),
            None => {}
        }
        self.applications.insert(id.to_owned(), application);
        Ok(())
    }

    fn show_application(&self, service: &str, id: &str) -> Value {
        let application = &self.applications[id];
        let name = application.plan.as_ref().and_then(|plan| self.plans[plan].name.clone());
        json!({
            "service_id": service, "id": id, "state": application.state, "plan_id": application.plan,
            "plan_name": name, "redirect_url": application.redirect_url,
        })
    }

    fn batch(&mut self, service: &str, items: &Value) -> Answer {
        let items = items.as_array().unwrap();
        let (mut applications, mut failed) = (Vec::new(), 0);
        for item in items {
            let keys = item["application_keys"].as_array().cloned().unwrap_or_default();
            let id = text(item, "id").filter(|_| !keys.contains(&json!(" bad")));
            let Some(id) = id.filter(|id| self.put_application(id, item).is_ok()) else {
                failed += 1;
                continue;
            };
            let application = self.applications.get_mut(&id).unwrap();
            for key in keys.iter().filter_map(Value::as_str).map(str::to_owned) {
                if !application.keys.contains(&key) {
                    application.keys.push(key);
                }
            }
            let filters = item["referrer_filters"].as_array().cloned().unwrap_or_default();
            application.filters.extend(filters.iter().filter_map(Value::as_str).map(str::to_owned));
            if let Some(key) = text(item, "user_key") {
                self.user_keys.insert(key, id.clone());
            }
            applications.push(self.show_application(service, &id));
        }
        let wanted = json!({"status": "completed", "total": items.len(), "successful": applications.len(),
            "failed": failed, "applications": applications, "failures": null});
        (200, wanted)
    }

    fn application_call(
        &mut self,
        service: &str,
        id: &str,
        method: &str,
        rest: &[&str],
        body: &Value,
    ) -> Answer {
        let Some(application) = self.applications.get_mut(id) else { return refused(404) };
        match (method, rest) {
            ("GET", []) => {
                (200, json!({"status": "found", "application": self.show_application(service, id)}))
            }
            ("DELETE", []) => {
                self.applications.remove(id);
                self.user_keys.retain(|_, owner| owner != id);
                deleted()
            }
            ("PUT", ["key", key]) => {
                self.user_keys.insert((*key).to_owned(), id.to_owned());
                (200, json!({"status": "modified", "application": {"id": id}}))
            }
            ("GET", ["keys"]) => {
                let show = |key: &String| json!({"service_id": service, "app_id": id, "value": key});
                let keys: Vec<_> = application.keys.iter().map(show).collect();
                (200, json!({"status": "found", "application_keys": keys}))
            }
            ("POST", ["keys"]) => {
                let value = text(&body["application_key"], "value").unwrap();
                if !application.keys.contains(&value) {
                    application.keys.push(value.clone());
                }
                (201, json!({"status": "created", "application_key": {"app_id": id, "value": value}}))
            }
            ("DELETE", ["keys", value]) => {
                let before = application.keys.len();
                application.keys.retain(|key| key != value);
                if application.keys.len() < before { deleted() } else { refused(404) }
            }
            ("GET", ["referrer_filters"]) => {
                (200, json!({"status": "found", "referrer_filters": application.filters}))
            }
            ("POST", ["referrer_filters"]) => {
                let filter = text(body, "referrer_filter").unwrap();
                application.filters.insert(filter.clone());
                (201, json!({"status": "created", "referrer_filter": filter}))
            }
            ("DELETE", ["referrer_filters", encoded]) => {
                let engine = base64::engine::general_purpose::URL_SAFE;
                let filter = base64::Engine::decode(&engine, encoded).unwrap();
                application.filters.remove(std::str::from_utf8(&filter).unwrap());
                deleted()
            }
            ("GET", ["utilization"]) => {
                (200, json!({"status": "found", "utilization": self.utilization(id)}))
            }
            _ => panic!("no such call: {method} {rest:?}"),
        }
    }

    /// The limits of an application's plan in the order of answers.
    fn limits(&self, id: &str) -> Vec<(&(String, String), u64)> {
        let Some(plan) = &self.applications[id].plan else { return Vec::new() };
        let mut limits: Vec<_> = self.plans[plan].limits.iter().map(|(place, max)| (place, *max)).collect();
        let place = |period: &str| PERIODS.iter().position(|known| *known == period);
        limits.sort_by_key(|((metric, period), _)| (order(metric), place(period)));
        limits
    }

    fn utilization(&self, id: &str) -> Vec<Value> {
        let counts = &self.applications[id].counts;
        let show = |((metric, period), max): (&(String, String), u64)| {
            json!({
                "period": period, "metric_name": self.metrics[metric].0, "max_value": max,
                "current_value": counts.get(metric).copied().unwrap_or(0),
            })
        };
        self.limits(id).into_iter().map(show).collect()
    }

    fn metric_call(&mut self, service: &str, id: &str, method: &str, body: &Value) -> Answer {
        let known = self.metrics.get(id).cloned();
        let show = |(name, parent): &(String, Option<String>)| json!({"service_id": service, "id": id, "parent_id": parent, "name": name});
        match (method, known) {
            ("GET" | "DELETE", None) => refused(404),
            ("GET", Some(metric)) => (200, json!({"status": "found", "metric": show(&metric)})),
            ("DELETE", Some(_)) => {
                self.metrics.remove(id);
                let orphans = self.metrics.values_mut().filter(|(_, parent)| parent.as_deref() == Some(id));
                orphans.for_each(|(_, parent)| *parent = None);
                self.plans.values_mut().for_each(|plan| plan.limits.retain(|(metric, _), _| metric != id));
                self.applications.values_mut().for_each(|it| it.counts.retain(|metric, _| metric != id));
                deleted()
            }
            (_, known) => {
                let parent = text(body, "parent_id");
                if parent.as_ref().is_some_and(|parent| !self.metrics.contains_key(parent)) {
                    return refused(404);
                }
                let (old_name, old_parent) =
                    known.map_or((None, None), |(name, parent)| (Some(name), parent));
                let Some(name) = text(body, "name").or(old_name) else { return refused(400) };
                let parent = parent.or(old_parent);
                let taken = self.metrics.iter().any(|(other, metric)| other != id && metric.0 == name);
                let mut above = parent.clone();
                while let Some(metric) = above.filter(|metric| metric != id) {
                    above = self.metrics[&metric].1.clone();
                    if above.as_deref() == Some(id) {
                        return refused(400);
                    }
                }
                if taken || parent.as_deref() == Some(id) {
                    return refused(400);
                }
                let metric = (name, parent);
                let shown = show(&metric);
                self.metrics.insert(id.to_owned(), metric);
                match method {
                    "POST" => (201, json!({"status": "created", "metric": shown})),
                    _ => (200, json!({"status": "modified", "metric": shown})),
                }
            }
        }
    }

    fn limit_call(&mut self, place: [&str; 4], method: &str, max: &Value) -> Answer {
        let [service, plan, metric, period] = place;
        if !self.metrics.contains_key(metric) {
            return refused(404);
        }
        let show = |status: &str, max: u64| {
            let mut shown = Map::new();
            for (name, value) in [("service_id", service), ("plan_id", plan), ("metric_id", metric)] {
                shown.insert(name.to_owned(), value.into());
            }
            shown.insert(period.to_owned(), max.into());
            (200, json!({"status": status, "usagelimit": shown}))
        };
        let key = (metric.to_owned(), period.to_owned());
        if method == "GET" {
            let max = self.plans.get(plan).and_then(|plan| plan.limits.get(&key));
            return max.map_or(refused(404), |max| show("found", *max));
        }
        let max = max.as_u64().unwrap();
        self.plans.entry(plan.to_owned()).or_default().limits.insert(key, max);
        show("modified", max)
    }

    fn alert_limit_call(&mut self, service: &str, method: &str, rest: &[&str], body: &Value) -> Answer {
        let show = |level: &u64| json!({"service_id": service, "value": level});
        match (method, rest) {
            ("GET", []) => {
                let limits: Vec<_> = self.alert_limits.iter().map(show).collect();
                (200, json!({"status": "found", "alert_limits": limits}))
            }
            ("POST", []) => {
                let level = text(&body["alert_limit"], "value").unwrap().parse().unwrap();
                if level == 81 {
                    return refused(400);
                }
                self.alert_limits.insert(level);
                (201, json!({"status": "created", "alert_limit": show(&level)}))
            }
            ("DELETE", [level]) if self.alert_limits.remove(&level.parse().unwrap()) => deleted(),
            _ => refused(404),
        }
    }

    fn decide(&mut self, id: &str, question: &Question) -> Decision {
        let application = &self.applications[id];
        let plan = application.plan.as_ref().and_then(|plan| self.plans[plan].name.clone());
        let plan = Some(plan.unwrap_or_default());
        let denied = |reason: &str| Decision { code: 409, reason: Some(reason.into()), plan: plan.clone() };
        let key = &question.app_key;
        let has_key = key.as_ref().is_some_and(|key| application.keys.contains(key));
        let key_holds = match self.version.as_str() {
            "1" => true,
            "2" => application.keys.is_empty() || has_key,
            _ => key.is_none() || has_key,
        };
        let referrer_holds = !self.referrers_required
            || application.filters.is_empty()
            || question.referrer.is_some_and(|referrer| application.filters.contains(referrer));
        if !key_holds {
            return denied("application_key_invalid");
        } else if !referrer_holds {
            return denied("referrer_not_allowed");
        } else if application.state != "active" {
            return denied("application_not_active");
        } else if self.suspended {
            return denied("service_not_active");
        }
        let Some((metric, _)) = self.metrics.iter().find(|(_, (name, _))| *name == question.metric) else {
            return Decision { code: 404, reason: None, plan: None };
        };
        let touched: Vec<String> =
            std::iter::successors(Some(metric.clone()), |metric| self.metrics[metric].1.clone()).collect();
        let over = |((metric, _), max): &(&(String, String), u64)| {
            touched.contains(metric) && application.counts.get(metric).copied().unwrap_or(0) + 1 > *max
        };
        if self.limits(id).iter().any(over) {
            return denied("limits_exceeded");
        }
        let counts = &mut self.applications.get_mut(id).unwrap().counts;
        touched.into_iter().for_each(|metric| *counts.entry(metric).or_default() += 1);
        Decision { code: 200, reason: None, plan }
    }
}
