//! What a tenant may have so many of is that many: plans, features, backend APIs, services; fields and annotations of records. And lists of them have pages.

use super::super::{active_docs, backends, check, extra, features, plans, services, terms};
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
    let count = extra::ALL_LEN_MAX / crate::document::values::FIELD_VALUE_LEN_MAX + 1;
    let names: Vec<_> = (0..count).map(|number| format!("field_{number}")).collect();
    for name in &names {
        world.made("fields_definitions", json!({"target": "Account", "name": name, "label": "It"}));
    }
    let sent = |last: usize| {
        let value =
            |at: usize| if at + 1 == count { last } else { crate::document::values::FIELD_VALUE_LEN_MAX };
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
    let make = |number: usize| world.post(&path, json!({"name": format!("Number {number}")}));
    let first = make(0).1["application_plan"]["id"].clone();
    (1..plans::PLANS_MAX).for_each(|number| assert_eq!(make(number).0, 201));
    let copied = world.post(&format!("{path}/{first}/copy"), json!({}));
    for (status, body) in [make(plans::PLANS_MAX), copied] {
        assert!(status == 422 && body.to_string().contains("100"), "{status} {body}");
    }
    // With the one that the tenant began with.
    let make = |number: usize| world.post("services", json!({"name": format!("Number {number}")})).0;
    (2..services::SERVICES_MAX).for_each(|number| assert_eq!(make(number), 201));
    assert_eq!(make(services::SERVICES_MAX), 403);
}

#[test]
fn what_is_listed_whole_is_shown_in_pages_if_they_are_asked_for() {
    let world = World::new();
    let path = format!("services/{}/proxy", world.made("services", json!({"name": "Served"}))["id"]);
    (0..3).for_each(|number| drop(world.put(&path, json!({"api_test_path": format!("/{number}")}))));
    (0..3).for_each(|number| {
        let ask = json!({"name": format!("Doc {number}"), "body": "b", "skip_swagger_validations": true});
        world.made("active_docs", ask);
    });
    for (list, wrapper) in
        [(format!("{path}/configs/sandbox"), "proxy_configs"), ("active_docs".into(), "api_docs")]
    {
        let count = |ask: Value| {
            let shown = world.call(Method::Get, &list, ask).1;
            (shown[wrapper].as_array().unwrap().len(), shown["metadata"]["total_entries"].clone())
        };
        assert_eq!(count(json!({})), (3, Value::Null), "{list}");
        assert_eq!(count(json!({"per_page": 2})), (2, json!(3)), "{list}");
        assert_eq!(count(json!({"per_page": 2, "page": 2})), (1, json!(3)), "{list}");
        assert_eq!(count(json!({"per_page": 2, "page": 3})), (0, json!(3)), "{list}");
    }
}

#[test]
fn annotations_are_so_many_and_so_long() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Annotated"}))["id"].clone();
    let backend = json!({"name": "Backend", "private_endpoint": "https://example.com"});
    let backend = world.made("backend_apis", backend)["id"].clone();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    let paths =
        [format!("services/{service}"), format!("backend_apis/{backend}"), format!("accounts/{account}")];
    for path in paths.iter().map(String::as_str).chain(["provider"]) {
        let put = |annotations: Value| world.put(path, json!({"annotations": annotations})).0;
        let many = |count: usize| put((0..count).map(|number| (number.to_string(), json!("v"))).collect());
        assert_eq!((many(check::ANNOTATIONS_MAX), many(check::ANNOTATIONS_MAX + 1)), (200, 422), "{path}");
        let named = |len: usize| put(json!({"n".repeat(len): "v"}));
        assert_eq!((named(255), named(256)), (200, 422), "{path}");
        let long = |len: usize| put(json!({"n": "v".repeat(len)}));
        assert_eq!((long(255), long(256)), (200, 422), "{path}");
        assert_eq!((put(json!({"n": ["v"]})), put(json!({"n": {}}))), (422, 422), "{path}");
        // What was sent last stays: a client may send it again.
        let shown = world.get(path).1.as_object().unwrap().values().next().unwrap()["annotations"].clone();
        assert_eq!((&shown, put(shown.clone()), put(json!({}))), (&json!({"n": "v".repeat(255)}), 200, 200));
    }
}

#[test]
fn what_is_one_of_some_words_is_none_other() {
    let world = World::new();
    let service = format!("services/{}", world.made("services", json!({"name": "Worded"}))["id"]);
    let put = |field: &str, word: &str| world.put(&service, json!({ field: word })).0;
    for word in ["request", "direct", "credit_card", "request_credit_card", "none"] {
        assert_eq!(put("buyer_plan_change_permission", word), 200, "{word}");
    }
    assert_eq!(put("buyer_plan_change_permission", "never"), 422);
    for word in ["hosted", "self_managed", "service_mesh_istio", "plugin_rest"] {
        assert_eq!(put("deployment_option", word), 200, "{word}");
    }
    let plugin = |len: usize| put("deployment_option", &format!("plugin_{}", "x".repeat(len - 7)));
    assert_eq!((plugin(255), plugin(256), put("deployment_option", "plugin_<x>")), (200, 422, 422));
}

#[test]
fn a_list_that_is_too_long_is_refused_and_shown_in_pages() {
    let world = World::new();
    let body = "b".repeat(active_docs::BODY_LEN_MAX);
    for number in 0..17 {
        let ask = json!({"name": format!("Doc {number}"), "body": body, "skip_swagger_validations": true});
        world.made("active_docs", ask);
    }
    let (status, refused) = world.get("active_docs");
    assert!(status == 413 && refused["error"].as_str().unwrap().contains("per_page"), "{status} {refused}");
    assert_eq!(world.xml(Method::Get, "active_docs", json!({})).0, 413);
    for (page, count) in [(1, 10), (2, 7), (3, 0)] {
        let (status, shown) = world.call(Method::Get, "active_docs", json!({"per_page": 10, "page": page}));
        assert_eq!((status, shown["api_docs"].as_array().unwrap().len()), (200, count), "{page}");
    }
}
