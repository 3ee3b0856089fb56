//! What was used, as it is asked for over HTTP and as windows of a calendar.

mod answers;
mod past;
mod refused;
mod sums;
mod windows;

use serde_json::{Value, json};

use super::super::tests::{TOKEN, World};
use crate::plugin::call::{Answer, Method};

/// A world with a service that two applications call.
struct Called {
    world: World,
    service: Value,
    account: Value,
    plan: Value,
    /// Applications `first` and `second`, by user keys of these names.
    applications: [Value; 2],
}

impl Called {
    fn new() -> Called {
        let world = World::new();
        let service = world.made("services", json!({"name": "Weather"}))["id"].clone();
        let account =
            world.made("signup", json!({"org_name": "Acme, \"Inc\"", "username": "acme"}))["id"].clone();
        let plan =
            world.made(&format!("services/{service}/application_plans"), json!({"name": "Gold"}))["id"]
                .clone();
        let application = |name: &str| {
            let ask = json!({"plan_id": plan, "name": name, "user_key": name, "description": "d"});
            world.made(&format!("accounts/{account}/applications"), ask)["id"].clone()
        };
        let applications = ["first", "second"].map(application);
        Called { world, service, account, plan, applications }
    }

    /// Calls a path below `/stats/` as the administrator.
    fn ask(&self, method: Method, path: &str, parameters: Value) -> Answer {
        self.world.send(method, &format!("/stats/{path}"), parameters, Some(TOKEN))
    }

    fn text(&self, path: &str, parameters: Value) -> (u16, String) {
        let answer = self.ask(Method::Get, path, parameters);
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    }

    fn json(&self, path: &str, parameters: Value) -> Value {
        let (status, body) = self.text(&format!("{path}.json"), parameters);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn of_service(&self, parameters: Value) -> Value {
        self.json(&format!("services/{}/usage", self.service), parameters)
    }

    fn of_application(&self, at: usize, parameters: Value) -> Value {
        self.json(&format!("applications/{}/usage", self.applications[at]), parameters)
    }

    fn put(&self, at: usize, parameters: Value) -> (u16, Value) {
        let path = format!("applications/{}/usage.json", self.applications[at]);
        let answer = self.ask(Method::Put, &path, parameters);
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn count(&self, user_key: &str, metric: &str, amount: &str) {
        self.world.count(&self.service, user_key, &[(metric, Some(amount))], Some("200"));
    }

    fn metric(&self, name: &str) -> Value {
        let metrics = self.world.get(&format!("services/{}/metrics", self.service)).1;
        let found =
            metrics["metrics"].as_array().unwrap().iter().find(|it| it["metric"]["system_name"] == name);
        found.unwrap()["metric"]["id"].clone()
    }
}
