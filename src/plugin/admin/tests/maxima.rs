//! What a tenant may have so many of is that many: the records of plans, features and backend APIs, and the services that they belong to.

use super::super::answer::{Format, Refusal};
use super::super::auth::Caller;
use super::super::context::Seen;
use super::super::{backends, extra, features, plans, services, terms};
use super::bounds::is_too_many;
use super::*;

#[test]
fn backends_features_and_plans_are_so_many_and_no_more() {
    let world = World::new();
    let (tenant, service) =
        (json!(world.tenant.0), world.made("services", json!({"name": "Full"}))["id"].clone());
    let named = |number: usize| json!({"name": format!("Number {number}")});
    let backend = |number: usize| json!({"name": format!("Number {number}"), "private_endpoint": "https://example.com"});
    let tables = ("backend_apis", "backend_apis_by_tenant");
    let more = world.fill("backend_apis", tables, &tenant, (backends::BACKENDS_MAX, 0), backend);
    is_too_many(more, backends::BACKENDS_MAX);
    for (root, owner) in [(String::new(), &tenant), (format!("services/{service}/"), &service)] {
        let tables = ("features", "features_by_owner");
        let most = features::FEATURES_MAX;
        is_too_many(world.fill(&format!("{root}features"), tables, owner, (most, 0), named), most);
        let kind = if owner == &tenant { "account_plans" } else { "service_plans" };
        let (path, tables, most) = (format!("{root}{kind}"), ("plans", "plans_by_owner"), terms::PLANS_MAX);
        is_too_many(world.fill(&path, tables, owner, (most, 1), named), most);
        // A copy is one more, too.
        let first = world.get(&path).1["plans"].as_array().unwrap().clone();
        assert_eq!(first.len(), most, "{path}");
        let id = first[0].as_object().unwrap().values().next().unwrap()["id"].clone();
        is_too_many(world.post(&format!("{path}/{id}/copy"), json!({})), most);
        // They are listed whole, or in pages.
        let pages = world.call(Method::Get, &path, json!({"page": 2, "per_page": 300})).1;
        assert_eq!(pages["plans"].as_array().unwrap().len(), 300);
        assert_eq!(
            world.get(&format!("{root}features")).1["features"].as_array().unwrap().len(),
            features::FEATURES_MAX
        );
    }
    let page = world.get("backend_apis").1;
    assert_eq!(page["metadata"]["total_entries"], backends::BACKENDS_MAX);
}

#[test]
fn fields_of_one_record_have_so_many_bytes_together() {
    let world = World::new();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    let path = format!("accounts/{account}");
    let count = extra::ALL_LEN_MAX / extra::VALUE_LEN_MAX + 1;
    let names: Vec<_> = (0..count).map(|number| format!("field_{number}")).collect();
    for name in &names {
        world.made("fields_definitions", json!({"target": "Account", "name": name, "label": "It"}));
    }
    let sent = |last: usize| {
        let value = |at: usize| if at + 1 == count { last } else { extra::VALUE_LEN_MAX };
        let fields = names.iter().enumerate().map(|(at, name)| (name.clone(), json!("v".repeat(value(at)))));
        Value::Object(fields.collect())
    };
    let room = extra::ALL_LEN_MAX - sent(0).to_string().len();
    let (status, body) = world.put(&path, sent(room + 1));
    assert!(
        status == 422 && body["errors"]["base"][0].as_str().unwrap().contains("65535"),
        "{status} {body}"
    );
    assert_eq!(world.put(&path, sent(room)).0, 200);
    // What is there may be sent back.
    assert_eq!(world.put(&path, world.get(&path).1["account"].clone()).0, 200);
}

#[test]
fn services_and_application_plans_are_so_many_and_no_more() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Full"}))["id"].clone();
    let path = format!("services/{service}/application_plans");
    (0..3).for_each(|number| drop(world.made(&path, json!({"name": format!("Number {number}")}))));
    let view = world.admin.desk.look().unwrap();
    let caller = Caller::owner(world.tenant);
    let (catalog, records) = (&view.catalog, &view.records);
    let seen = Seen { catalog, records, caller: &caller, format: Format::Json, gateway: None, traffic: None };
    let id = crate::model::id::ServiceId(service.as_u64().unwrap());
    let count = catalog.plans_of(id).len();
    assert!(plans::room(seen, id, count + 1).is_ok() && plans::room(seen, id, count).is_err());
    // With the one that the tenant began with.
    assert!(services::room(seen, 3).is_ok());
    assert!(matches!(services::room(seen, 2), Err(Refusal::Closed)));
    assert_eq!((plans::PLANS_MAX, services::SERVICES_MAX), (10_000, 10_000));
}
