//! Calls at random, from few ids, so that they meet.

use serde_json::{Map, Value, json};

use crate::model::Model;

pub(crate) const SERVICES: [&str; 3] = ["1", "7", "s/x"];
pub(crate) const KEYS: [&str; 3] = ["pk1", "pk2", "pk3"];
pub(crate) const APPLICATIONS: [&str; 3] = ["a", "2", "c d"];
pub(crate) const USER_KEYS: [&str; 3] = ["u1", "u2", "u/3"];
pub(crate) const METRICS: [&str; 4] = ["100", "20", "x", "3"];
const NAMES: [&str; 4] = ["hits", "search", "find", "more"];
pub(crate) const PLANS: [&str; 3] = ["10", "9", "p"];
pub(crate) const PERIODS: [&str; 3] = ["eternity", "day", "minute"];
const APP_KEYS: [&str; 3] = ["k1", "k2", "k3"];
const FILTERS: [&str; 2] = ["foo.example", "bar.example"];
pub(crate) const TOKENS: [&str; 2] = ["t1", "t2"];

/// One call of the internal API.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: Vec<String>,
    pub(crate) body: Value,
}

impl Call {
    fn new(method: &'static str, path: &[&str], body: Value) -> Call {
        Call { method, path: path.iter().map(|part| (*part).to_owned()).collect(), body }
    }

    /// The method and the area.
    pub(crate) fn kind(&self) -> String {
        const AREAS: [&str; 10] = [
            "change_provider_key",
            "batch",
            "keys",
            "referrer_filters",
            "utilization",
            "applications",
            "metrics",
            "usagelimits",
            "alert_limits",
            "service_tokens",
        ];
        let area = AREAS.into_iter().find(|area| self.path.iter().any(|part| part == area));
        format!("{} {}", self.method, area.unwrap_or("services"))
    }

    /// Method, encoded path and body.
    pub(crate) fn request(&self) -> (&'static str, String, &Value) {
        let encoded = self.path.iter().map(|part| part.replace('/', "%2F").replace(' ', "%20"));
        (self.method, encoded.fold(String::new(), |path, part| path + "/" + &part), &self.body)
    }
}

/// One call of the data API.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) credential: (&'static str, String),
    pub(crate) service: &'static str,
    pub(crate) who: (&'static str, String),
    pub(crate) app_key: Option<String>,
    pub(crate) referrer: Option<&'static str>,
    pub(crate) metric: String,
}

impl Question {
    pub(crate) fn query(&self) -> String {
        let (name, value) = &self.credential;
        let mut query = format!("{name}={value}&service_id={}&{}={}", self.service, self.who.0, self.who.1);
        query += &self.app_key.as_ref().map_or(String::new(), |key| format!("&app_key={key}"));
        query += &self.referrer.map_or(String::new(), |referrer| format!("&referrer={referrer}"));
        query += &format!("&usage[{}]=1", self.metric);
        query.replace(' ', "%20")
    }
}

/// A sequence of choices that a seed determines (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    /// The first services and keys more often than the others, so that something grows.
    fn service(&mut self) -> &'static str {
        let some = 1 + self.below(SERVICES.len());
        self.of(&SERVICES[..some])
    }

    fn perhaps(&mut self, choices: &[&'static str]) -> Option<&'static str> {
        (!self.one_in(3)).then(|| self.of(choices))
    }

    /// An object with some of these names; a value that was not chosen is absent or null.
    fn object(&mut self, choices: &[(&str, &[&'static str])]) -> Value {
        let mut object = Map::new();
        for (name, choices) in choices {
            match self.perhaps(choices) {
                Some(value) => drop(object.insert((*name).to_owned(), value.into())),
                None if self.one_in(2) => drop(object.insert((*name).to_owned(), Value::Null)),
                None => {}
            }
        }
        object.into()
    }

    pub(crate) fn call(&mut self) -> Call {
        match self.below(22) {
            0..4 => self.service_call(),
            4..8 => self.application_call(),
            8..11 => self.key_call(),
            11..15 => self.metric_call(),
            15..17 => self.limit_call(),
            17 => self.batch(),
            _ => self.other_call(),
        }
    }

    fn service_call(&mut self) -> Call {
        let service = self.service();
        if self.one_in(16) {
            return Call::new("DELETE", &["services", service], Value::Null);
        }
        if self.one_in(8) {
            let (old, new) = (self.of(&KEYS), self.perhaps(&KEYS));
            return Call::new("PUT", &["services", "change_provider_key", old], json!({"new_key": new}));
        }
        let mut attributes = self.object(&[
            ("provider_key", &KEYS),
            ("backend_version", &["1", "2", "2", "oauth"]),
            ("state", &["active", "active", "active", "suspended", "limbo"]),
            ("referrer_filters_required", &["0", "1", "false"]),
            ("default_service", &["true", "false"]),
        ]);
        if self.one_in(3) {
            attributes["id"] = service.into();
            return Call::new("POST", &["services"], json!({"service": attributes}));
        }
        Call::new("PUT", &["services", service], json!({"service": attributes}))
    }

    fn application(&mut self) -> Value {
        let mut attributes = self.object(&[
            ("plan_id", &PLANS),
            ("plan_name", &["Basic", "Better"]),
            ("redirect_url", &["http://a.example", "http://b.example"]),
        ]);
        if !self.one_in(10) {
            attributes["state"] = self.of(&["active", "active", "active", "suspended", "live"]).into();
        }
        attributes
    }

    fn application_call(&mut self) -> Call {
        let (service, id) = (self.service(), self.of(&APPLICATIONS));
        let path = ["services", service, "applications", id];
        match self.below(10) {
            0 => Call::new("DELETE", &path, Value::Null),
            1 | 2 => Call::new("POST", &path, json!({"application": self.application()})),
            _ => Call::new("PUT", &path, json!({"application": self.application()})),
        }
    }

    fn key_call(&mut self) -> Call {
        let (service, id) = (self.service(), self.of(&APPLICATIONS));
        let application = ["services", service, "applications", id];
        match self.below(8) {
            0 => {
                let key = self.of(&USER_KEYS);
                Call::new("DELETE", &["services", service, "applications", "key", key], Value::Null)
            }
            1 | 2 => {
                let key = self.of(&USER_KEYS);
                Call::new("PUT", &[&application[..], &["key", key]].concat(), Value::Null)
            }
            3 => {
                let key = self.of(&APP_KEYS);
                Call::new("DELETE", &[&application[..], &["keys", key]].concat(), Value::Null)
            }
            4 => {
                let body = json!({"application_key": {"value": self.of(&APP_KEYS)}});
                Call::new("POST", &[&application[..], &["keys"]].concat(), body)
            }
            5 => {
                let filter =
                    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE, self.of(&FILTERS));
                Call::new("DELETE", &[&application[..], &["referrer_filters", &filter]].concat(), Value::Null)
            }
            _ => {
                let body = json!({"referrer_filter": self.of(&FILTERS)});
                Call::new("POST", &[&application[..], &["referrer_filters"]].concat(), body)
            }
        }
    }

    fn metric_call(&mut self) -> Call {
        let (service, id) = (self.service(), self.of(&METRICS));
        let path = ["services", service, "metrics", id];
        let mut attributes = self.object(&[("name", &NAMES)]);
        if self.one_in(3) {
            attributes["parent_id"] = self.of(&METRICS).into();
        }
        match self.below(8) {
            0 => Call::new("DELETE", &path, Value::Null),
            1 => Call::new("POST", &path, json!({"metric": attributes})),
            _ => Call::new("PUT", &path, json!({"metric": attributes})),
        }
    }

    fn limit_call(&mut self) -> Call {
        let (service, plan) = (self.service(), self.of(&PLANS));
        let (metric, period) = (self.of(&METRICS), self.of(&PERIODS));
        let path = ["services", service, "plans", plan, "usagelimits", metric, period];
        if self.one_in(4) {
            return Call::new("DELETE", &path, Value::Null);
        }
        let mut limit = Map::new();
        limit.insert(period.to_owned(), self.below(6).into());
        Call::new("PUT", &path, json!({"usagelimit": limit}))
    }

    fn batch(&mut self) -> Call {
        let mut items = Vec::new();
        for _ in 0..self.below(5) {
            let mut item = self.application();
            if !self.one_in(6) {
                item["id"] = self.of(&APPLICATIONS).into();
            }
            if self.one_in(2) {
                item["user_key"] = self.of(&USER_KEYS).into();
            }
            if self.one_in(3) {
                // The last is none: it fails the whole item.
                item["application_keys"] = json!([self.of(&APP_KEYS), self.of(&["k1", "k2", "k3", " bad"])]);
            }
            if self.one_in(3) {
                item["referrer_filters"] = json!([self.of(&FILTERS)]);
            }
            items.push(item);
        }
        let path = ["services", self.service(), "applications", "batch"];
        Call::new("PUT", &path, json!({"applications": items}))
    }

    fn other_call(&mut self) -> Call {
        let service = self.service();
        let level = self.of(&["50", "50", "50", "81"]);
        match self.below(4) {
            0 => Call::new("DELETE", &["services", service, "alert_limits", level], Value::Null),
            1 => {
                let body = json!({"alert_limit": {"value": level}});
                Call::new("POST", &["services", service, "alert_limits"], body)
            }
            2 => {
                let pair = json!({"service_token": self.of(&TOKENS), "service_id": service});
                let other = json!({"service_token": self.of(&TOKENS), "service_id": self.service()});
                Call::new("DELETE", &["service_tokens"], json!({"service_tokens": [pair, other]}))
            }
            _ => {
                let mut tokens = Map::new();
                tokens.insert(self.of(&TOKENS).to_owned(), json!({"service_id": service}));
                tokens.insert(self.of(&TOKENS).to_owned(), json!({"service_id": self.service()}));
                Call::new("POST", &["service_tokens"], json!({"service_tokens": tokens}))
            }
        }
    }

    /// A question that mostly makes sense, so that limits are reached.
    pub(crate) fn question(&mut self, model: &Model) -> Question {
        let service = self.service();
        let known = model.known(service);
        let credential = match known.provider_key {
            _ if self.one_in(8) => ("service_token", self.of(&TOKENS).to_owned()),
            Some(key) if !self.one_in(8) => ("provider_key", key),
            _ => ("provider_key", self.of(&KEYS).to_owned()),
        };
        let who = match known.by_user_key {
            true => ("user_key", self.mostly(&known.user_keys, &USER_KEYS)),
            false => ("app_id", self.mostly(&known.applications, &APPLICATIONS)),
        };
        let app_keys = model.keys_of(service, &who.1);
        let app_key = (!self.one_in(4)).then(|| self.mostly(&app_keys, &APP_KEYS));
        let referrer = self.perhaps(&FILTERS);
        let metric = self.mostly(&known.metrics, &NAMES);
        Question { credential, service, who, app_key, referrer, metric }
    }

    /// One of what there is, or now and then of what there might be.
    fn mostly(&mut self, known: &[String], all: &[&'static str]) -> String {
        if known.is_empty() || self.one_in(8) {
            return self.of(all).to_owned();
        }
        known[self.below(known.len())].clone()
    }
}

/// Calls that show everything there may be.
pub(crate) fn reads() -> Vec<Call> {
    let mut calls = Vec::new();
    let mut get = |path: &[&str]| calls.push(Call::new("GET", path, Value::Null));
    for service in SERVICES {
        get(&["services", service]);
        get(&["services", service, "alert_limits"]);
        for token in TOKENS {
            get(&["service_tokens", token, service, "provider_key"]);
        }
        for metric in METRICS {
            get(&["services", service, "metrics", metric]);
            for (plan, period) in PLANS.iter().flat_map(|plan| PERIODS.map(|period| (*plan, period))) {
                get(&["services", service, "plans", plan, "usagelimits", metric, period]);
            }
        }
        for key in USER_KEYS {
            get(&["services", service, "applications", "key", key]);
        }
        for id in APPLICATIONS {
            get(&["services", service, "applications", id]);
            for part in ["keys", "referrer_filters", "utilization"] {
                get(&["services", service, "applications", id, part]);
            }
        }
    }
    calls
}
