//! Plans of all three kinds, limits, prices and features.

use super::*;

/// A service with `hits`, and its path.
fn service(world: &World) -> (String, Value) {
    let service = world.made("services", json!({"name": "Priced"}));
    let path = format!("services/{}", service["id"]);
    let hits = world.get(&format!("{path}/metrics")).1["metrics"][0]["metric"]["id"].clone();
    (path, hits)
}

#[test]
fn an_application_plan_is_made_changed_made_default_and_deleted() {
    let world = World::new();
    let (service, _) = service(&world);
    let root = format!("{service}/application_plans");
    assert_eq!(world.get(&root), (200, json!({"plans": []})));
    let plan =
        world.made(&root, json!({"name": "Gold-1", "cost_per_month": "12.5", "state_event": "publish"}));
    assert_eq!(
        (&plan["system_name"], &plan["state"], &plan["custom"], &plan["default"]),
        (&json!("gold_1"), &json!("published"), &json!(false), &json!(false))
    );
    let own = format!("{root}/{}", plan["id"]);
    let (status, changed) =
        world.put(&own, json!({"name": "updated", "cost_per_month": 12.0, "setup_fee": 50.0, "id": 5}));
    let changed = &changed["application_plan"];
    assert_eq!((status, &changed["name"], &changed["id"]), (200, &json!("updated"), &plan["id"]));
    assert_eq!((changed["cost_per_month"].as_f64(), changed["setup_fee"].as_f64()), (Some(12.0), Some(50.0)));
    assert_eq!(world.put(&format!("{own}/default"), json!({})).1["application_plan"]["default"], true);
    assert_eq!(world.get("application_plans").1["plans"].as_array().unwrap().len(), 1);
    let (_, xml) = world.xml(Method::Get, &own, json!({}));
    assert!(xml.contains("<plan custom=\"false\" default=\"true\">"), "{xml}");
    assert!(xml.contains("<type>application_plan</type><state>published</state>"), "{xml}");
    assert_eq!((world.delete(&own), world.get(&own).0), ((200, Value::Null), 404));
    // Its name is free again.
    assert_eq!(world.made(&root, json!({"name": "Gold-1"}))["system_name"], "gold_1");
}

#[test]
fn what_is_wrong_with_a_plan_is_said() {
    let world = World::new();
    let (service, _) = service(&world);
    let root = format!("{service}/application_plans");
    let (status, body) =
        world.post(&root, json!({"setup_fee": -1, "cost_per_month": "x", "state_event": "sell"}));
    let errors = json!({
        "name": ["can't be blank"],
        "setup_fee": ["must be greater than or equal to 0"],
        "cost_per_month": ["is not a number"],
        "state_event": ["is invalid"],
    });
    assert_eq!((status, body), (422, json!({"errors": errors})));
    world.made(&root, json!({"name": "A", "system_name": "same"}));
    assert_eq!(world.post(&root, json!({"name": "B", "system_name": "same"})).0, 422);
    assert_eq!(world.post("services/999/application_plans", json!({"name": "A"})).0, 404);
}

#[test]
fn a_limit_is_made_changed_and_deleted() {
    let world = World::new();
    let (service, hits) = service(&world);
    let plan = world.made(&format!("{service}/application_plans"), json!({"name": "Limited"}));
    let root = format!("application_plans/{}/metrics/{hits}/limits", plan["id"]);
    let limit = world.made(&root, json!({"period": "minute", "value": 10}));
    assert_eq!((&limit["period"], &limit["value"]), (&json!("minute"), &json!(10)));
    let taken = world.post(&root, json!({"period": "minute", "value": 11}));
    assert_eq!(taken, (422, json!({"errors": {"period": ["has already been taken"]}})));
    let hour = world.made(&root, json!({"period": "hour", "value": -5}));
    assert_eq!(hour["value"], 0);
    assert_eq!(
        world.post(&root, json!({"period": "second"})),
        (422, json!({"errors": {"period": ["is not included in the list"]}}))
    );
    let own = format!("{root}/{}", limit["id"]);
    world.now.store(NOW + 60_000, Ordering::Relaxed);
    let mut sent = limit.clone();
    sent["value"] = 20.into();
    let (status, changed) = world.put(&own, sent);
    assert_eq!(
        (status, &changed["limit"]["id"], &changed["limit"]["value"]),
        (200, &limit["id"], &json!(20))
    );
    assert_eq!(changed["limit"]["updated_at"], "2026-11-22T13:46:30Z");
    assert_eq!(world.put(&own, json!({"period": "hour"})).0, 422);
    assert_eq!(world.put(&own, json!({"period": "day"})).1["limit"]["period"], "day");
    let (_, page) = world.call(
        Method::Get,
        &format!("application_plans/{}/limits", plan["id"]),
        json!({"per_page": 1, "page": 2}),
    );
    assert_eq!(page["limits"][0]["limit"]["id"], hour["id"]);
    assert_eq!(page["metadata"]["total_entries"], 2);
    assert_eq!((world.delete(&own).0, world.get(&own).0, world.get(&root).0), (200, 404, 200));
}

#[test]
fn prices_of_one_metric_do_not_overlap_and_go_with_it() {
    let world = World::new();
    let (service, _) = service(&world);
    let plan = world.made(&format!("{service}/application_plans"), json!({"name": "Priced"}));
    let metric = world.made(&format!("{service}/metrics"), json!({"friendly_name": "Bytes", "unit": "byte"}));
    let root = format!("application_plans/{}/metrics/{}/pricing_rules", plan["id"], metric["id"]);
    let rule = world.made(&root, json!({"min": 10, "max": 100, "cost_per_unit": 20}));
    assert_eq!(
        (&rule["min"], &rule["max"], &rule["cost_per_unit"]),
        (&json!(10), &json!(100), &json!("20.0"))
    );
    for (sent, field) in [
        (json!({"min": 100, "cost_per_unit": 1}), "min"),
        (json!({"min": 200, "max": 150, "cost_per_unit": 1}), "max"),
        (json!({"min": 0, "cost_per_unit": 1}), "min"),
        (json!({"min": 101}), "cost_per_unit"),
        (json!({"min": 101, "cost_per_unit": -1}), "cost_per_unit"),
    ] {
        let (status, body) = world.post(&root, sent.clone());
        assert_eq!((status, body["errors"].as_object().unwrap().contains_key(field)), (422, true), "{sent}");
    }
    world.made(&root, json!({"min": 101, "cost_per_unit": "0.0001"}));
    assert_eq!(world.get(&root).1["pricing_rules"][1]["pricing_rule"]["max"], Value::Null);
    assert_eq!(world.delete(&format!("{root}/{}", rule["id"])).0, 200);
    let of_plan = format!("application_plans/{}/pricing_rules", plan["id"]);
    assert_eq!(world.get(&of_plan).1["pricing_rules"].as_array().unwrap().len(), 1);
    assert_eq!(world.delete(&format!("{service}/metrics/{}", metric["id"])).0, 200);
    assert_eq!(world.get(&of_plan), (200, json!({"pricing_rules": []})));
}

#[test]
fn a_copy_of_a_plan_has_all_that_the_plan_has() {
    let world = World::new();
    let (service, hits) = service(&world);
    let plan = world.made(&format!("{service}/application_plans"), json!({"name": "Model", "setup_fee": 3}));
    let metric = format!("application_plans/{}/metrics/{hits}", plan["id"]);
    world.made(&format!("{metric}/limits"), json!({"period": "day", "value": 7}));
    world.made(&format!("{metric}/pricing_rules"), json!({"cost_per_unit": 1}));
    let feature = world.made(&format!("{service}/features"), json!({"name": "Support"}));
    let features = format!("application_plans/{}/features", plan["id"]);
    assert_eq!(world.post(&features, json!({"feature_id": feature["id"]})).0, 201);
    let copy = world.made(&format!("application_plans/{}/copy", plan["id"]), json!({}));
    assert_eq!((&copy["name"], &copy["state"]), (&json!("Model (copy)"), &json!("hidden")));
    assert_eq!(copy["setup_fee"].as_f64(), Some(3.0));
    let of_copy = |what: &str| world.get(&format!("application_plans/{}/{what}", copy["id"])).1;
    assert_eq!(of_copy("limits")["limits"][0]["limit"]["value"], 7);
    assert_ne!(of_copy("limits")["limits"][0]["limit"]["id"], Value::Null);
    assert_eq!(of_copy("pricing_rules")["pricing_rules"][0]["pricing_rule"]["cost_per_unit"], "1.0");
    assert_eq!(of_copy("features")["features"][0]["feature"]["id"], feature["id"]);
    // A feature that is gone is no plan's.
    assert_eq!(world.delete(&format!("{service}/features/{}", feature["id"])).0, 200);
    assert_eq!(of_copy("features"), json!({"features": []}));
}

#[test]
fn plans_of_services_and_of_accounts_are_copied_too() {
    let world = World::new();
    let (service, _) = service(&world);
    let of_service =
        world.made(&format!("{service}/features"), json!({"name": "Care", "scope": "ServicePlan"}));
    let of_accounts = world.made("features", json!({"name": "Party"}));
    let ask = json!({"name": "Model", "setup_fee": 3, "approval_required": true, "state_event": "publish"});
    let plan_of_service = world.made(&format!("{service}/service_plans"), ask.clone())["id"].clone();
    let plan_of_accounts = world.made("account_plans", ask)["id"].clone();
    for (kind, own, feature, id) in [
        ("service_plans", format!("{service}/service_plans"), &of_service, &plan_of_service),
        ("service_plans", "service_plans".to_owned(), &of_service, &plan_of_service),
        ("account_plans", "account_plans".to_owned(), &of_accounts, &plan_of_accounts),
    ] {
        world.post(&format!("{kind}/{id}/features"), json!({"feature_id": feature["id"]}));
        let copy = world.made(&format!("{own}/{id}/copy"), json!({}));
        assert_eq!((&copy["name"], &copy["state"]), (&json!("Model (copy)"), &json!("hidden")), "{own}");
        assert_eq!((copy["setup_fee"].as_f64(), &copy["approval_required"]), (Some(3.0), &json!(true)));
        assert_eq!((&copy["default"], copy["id"] == *id), (&json!(false), false));
        let features = world.get(&format!("{kind}/{}/features", copy["id"])).1["features"].clone();
        assert_eq!(features[0]["feature"]["id"], feature["id"], "{own}");
        let named = world.made(&format!("{own}/{id}/copy"), json!({"name": "Another"}));
        assert_eq!(named["name"], "Another");
        assert_eq!(world.post(&format!("{own}/999999/copy"), json!({})).0, 404, "{own}");
    }
    assert_eq!(
        world.post(&format!("services/999999/service_plans/{plan_of_service}/copy"), json!({})).0,
        404
    );
}

#[test]
fn a_service_begins_with_a_service_plan_and_others_can_be_its_default() {
    let world = World::new();
    let (service, _) = service(&world);
    let root = format!("{service}/service_plans");
    let (_, plans) = world.get(&root);
    let first = &plans["plans"][0]["service_plan"];
    assert_eq!((&first["name"], &first["default"]), (&json!("Default"), &json!(true)));
    let plan = world.made(&root, json!({"name": "Other", "approval_required": true}));
    assert_eq!((&plan["approval_required"], plan.get("system_name")), (&json!(true), None));
    let own = format!("{root}/{}", plan["id"]);
    assert_eq!(world.put(&format!("{own}/default"), json!({})).1["service_plan"]["default"], true);
    assert_eq!(world.get(&root).1["plans"][0]["service_plan"]["default"], false);
    assert_eq!(world.put(&own, json!({"name": "Renamed"})).1["service_plan"]["name"], "Renamed");
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
}

#[test]
fn account_plans_are_the_tenants() {
    let world = World::new();
    let (_, plans) = world.get("account_plans");
    let default = &plans["plans"][0]["account_plan"];
    assert_eq!((&default["name"], &default["default"]), (&json!("Default"), &json!(true)));
    let plan = world.made("account_plans", json!({"name": "Partners"}));
    let own = format!("account_plans/{}", plan["id"]);
    assert_eq!(world.put(&own, json!({"name": "Friends"})).1["account_plan"]["name"], "Friends");
    let feature = world.made("features", json!({"name": "Party"}));
    assert_eq!(world.post(&format!("{own}/features"), json!({"feature_id": feature["id"]})).0, 201);
    let (_, of_plan) = world.get(&format!("{own}/features"));
    assert_eq!(of_plan["features"][0]["feature"]["scope"], "account_plan");
    // Features of one kind of plan are not for another.
    let (service, _) = service(&world);
    let application_plan = world.made(&format!("{service}/application_plans"), json!({"name": "P"}));
    let of_other = format!("application_plans/{}/features", application_plan["id"]);
    assert_eq!(world.post(&of_other, json!({"feature_id": feature["id"]})).0, 404);
    assert_eq!(world.delete(&format!("{own}/features/{}", feature["id"])).0, 200);
    assert_eq!(world.delete(&own).0, 200);
    world.made("signup", json!({"org_name": "Acme", "username": "acme"}));
    let default = format!("account_plans/{}", default["id"]);
    assert_eq!(world.delete(&default).0, 403);
}
