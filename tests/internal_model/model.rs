//! What the internal API is, in the simplest words: maps of maps, without time, disk or locks.

mod service;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::steps::{Call, Question};

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
