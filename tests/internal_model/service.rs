//! The model's services and what belongs to them.

use serde_json::{Map, Value, json};

use super::{Answer, Decision, Service, deleted, refused, text};
use crate::steps::{PERIODS, Question};

/// What sorts metrics: numbers first, ascending.
fn order(metric: &str) -> (u64, String) {
    metric.parse().map_or((u64::MAX, metric.to_owned()), |number| (number, String::new()))
}

impl Service {
    pub(super) fn answer(&mut self, service: &str, method: &str, path: &[&str], body: &Value) -> Answer {
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

    pub(super) fn decide(&mut self, id: &str, question: &Question) -> Decision {
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
