//! What a live 3scale shows that another node does not: other spellings, other words, records that are gone.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::tests::{Server, open, serve};
use super::{Migration, migrate};
use crate::document::render;
use crate::document::types::{Document, Service};

/// Answers by path, as `services/1/features`. Of what it does not have there is nothing, and no list within another.
struct Threescale(HashMap<String, Value>);

impl Threescale {
    /// One with a service of number 1, `weather`, and its application plan 11, `gold`.
    fn new() -> Threescale {
        let mut it = Threescale(HashMap::new());
        it.put("provider", json!({"account": {"id": 2}}));
        it.list(
            "services",
            "service",
            [json!({"id": 1, "system_name": "weather", "name": "Weather", "backend_version": "2"})],
        );
        it.list(
            "services/1/metrics",
            "metric",
            [json!({"id": 5, "system_name": "hits", "friendly_name": "Hits", "unit": "hit"})],
        );
        it.list("services/1/application_plans", "application_plan", [plan(11, "gold")]);
        it
    }

    fn put(&mut self, path: &str, answer: Value) {
        self.0.insert(path.to_owned(), answer);
    }

    fn list(&mut self, path: &str, wrapper: &str, records: impl IntoIterator<Item = Value>) {
        let records: Vec<_> = records.into_iter().map(|it| json!({wrapper: it})).collect();
        self.put(path, json!({"all": records}));
    }

    fn serve(&self) -> Server {
        let answers: HashMap<_, _> = self.0.iter().map(|(path, it)| (path.clone(), it.to_string())).collect();
        serve(move |asked| {
            let path = asked.trim_start_matches("/admin/api/").split(".json").next().unwrap_or_default();
            match answers.get(path) {
                Some(answer) => (200, answer.clone()),
                None if path.contains('/') => (404, r#"{"status":"Not found"}"#.to_owned()),
                None => (200, "[]".to_owned()),
            }
        })
    }

    /// What comes of it, which a node reads as it is.
    fn migrated(&self) -> Migration {
        let (server, folder) = (self.serve(), tempfile::tempdir().unwrap());
        let migration = migrate(&mut open(&server, folder.path()).unwrap()).unwrap();
        let text = render::render(&migration.document);
        if let Err(problems) = crate::document::read::read(&text) {
            panic!("{problems:?}\n{text}");
        }
        migration
    }
}

fn plan(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "system_name": name, "state": "published", "custom": false})
}

fn service(document: &Document) -> &Service {
    &document.services.as_ref().unwrap()[0]
}

#[test]
fn features_are_of_the_plans_that_3scale_says_in_both_of_its_spellings() {
    let mut there = Threescale::new();
    let feature =
        |id, name: &str, scope: &str| json!({"id": id, "name": name, "system_name": name, "scope": scope});
    let features = [
        feature(21, "support", "service_plan"),
        feature(22, "hotline", "ServicePlan"),
        feature(23, "priority", "application_plan"),
        feature(24, "burst", "ApplicationPlan"),
    ];
    there.list("services/1/features", "feature", features.clone());
    // Plans of services have neither a system name nor, as far as is known, links.
    there.list(
        "services/1/service_plans",
        "service_plan",
        [json!({"id": 12, "name": "Default", "state": "published"})],
    );
    there.list("service_plans/12/features", "feature", features[..2].to_vec());
    there.list("application_plans/11/features", "feature", features[2..].to_vec());
    there.list("features", "feature", [feature(25, "newsletter", "account_plan")]);
    there.list("account_plans", "account_plan", [json!({"id": 13, "name": "Partner", "state": "hidden"})]);
    there.list("account_plans/13/features", "feature", [feature(25, "newsletter", "account_plan")]);
    let Migration { document, .. } = there.migrated();
    let service = service(&document);
    let scopes: Vec<_> = service
        .features
        .iter()
        .flatten()
        .map(|it| (it.system_name.as_str(), it.scope.as_deref().unwrap()))
        .collect();
    let expected = [
        ("burst", "application_plan"),
        ("hotline", "service_plan"),
        ("priority", "application_plan"),
        ("support", "service_plan"),
    ];
    assert_eq!(scopes, expected);
    let names = |it: &Option<Vec<String>>| it.clone().unwrap();
    assert_eq!(names(&service.service_plans.as_ref().unwrap()[0].features), ["hotline", "support"]);
    assert_eq!(names(&service.application_plans.as_ref().unwrap()[0].features), ["burst", "priority"]);
    assert_eq!(names(&document.account_plans.as_ref().unwrap()[0].features), ["newsletter"]);
}
