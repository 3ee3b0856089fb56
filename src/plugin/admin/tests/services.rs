//! Services, metrics and methods.

use super::*;

#[test]
fn a_service_is_made_changed_and_deleted_with_all_that_is_under_it() {
    let world = World::new();
    let service =
        world.made("services", json!({"name": "Second API", "description": "two", "id": 7, "unknown": []}));
    let id = &service["id"];
    assert_eq!((&service["system_name"], &service["backend_version"]), (&json!("second_api"), &json!("1")));
    assert_eq!(service["created_at"], "2026-11-22T13:45:30Z");
    let (status, metrics) = world.get(&format!("services/{id}/metrics"));
    let hits = &metrics["metrics"][0]["metric"];
    assert_eq!((status, &hits["system_name"], &hits["friendly_name"]), (200, &json!("hits"), &json!("Hits")));

    // A client sends back all that it was shown.
    let mut changed = service.clone();
    changed["name"] = "Renamed".into();
    let (status, shown) = world.put(&format!("services/{id}"), changed);
    assert_eq!((status, &shown["service"]["name"]), (200, &json!("Renamed")));
    assert_eq!(shown["service"]["description"], "two");
    assert_eq!(world.get("services").1["services"].as_array().unwrap().len(), 2);

    assert_eq!(world.delete(&format!("services/{id}")), (200, Value::Null));
    assert_eq!(world.get(&format!("services/{id}")), (404, json!({"status": "Not found"})));
    assert_eq!(world.get(&format!("services/{id}/metrics")).0, 404);
    // Its name is free again.
    assert_eq!(
        world.made("services", json!({"name": "x", "system_name": "second_api"}))["system_name"],
        "second_api"
    );
}

#[test]
fn what_is_wrong_with_a_service_is_said_field_by_field() {
    let world = World::new();
    assert_eq!(world.post("services", json!({})), (422, json!({"errors": {"name": ["can't be blank"]}})));
    let made = json!({"service": {"name": "A", "system_name": "some_name"}});
    world.made("services", made.clone());
    assert_eq!(
        world.post("services", made),
        (422, json!({"errors": {"system_name": ["has already been taken"]}}))
    );
    let (status, text) = world.xml(Method::Post, "services", json!({"name": "", "backend_version": "9"}));
    assert_eq!(status, 422);
    assert!(
        text.contains(
            "<error>Name can't be blank</error><error>Backend version is not included in the list</error>"
        ),
        "{text}"
    );
    let answer = world.send(Method::Post, "services.json", json!({"service": 5}), Some(TOKEN));
    assert_eq!((answer.status, &answer.body[..]), (422, &b"Wrong type for parameter: service"[..]));
}

#[test]
fn system_names_of_services_and_features_can_be_others() {
    let world = World::new();
    let service = world.made("services", json!({"name": "One", "system_name": "one"}));
    let other = world.made("services", json!({"name": "Two", "system_name": "two"}));
    let own = format!("services/{}", service["id"]);
    let feature = world.made(&format!("{own}/features"), json!({"name": "One", "system_name": "one"}));
    world.made(&format!("{own}/features"), json!({"name": "Two", "system_name": "two"}));
    let of_accounts = world.made("features", json!({"name": "One", "system_name": "one"}));
    world.made("features", json!({"name": "Two", "system_name": "two"}));
    for (root, id) in [
        ("services".to_owned(), &service["id"]),
        (format!("{own}/features"), &feature["id"]),
        ("features".to_owned(), &of_accounts["id"]),
    ] {
        let path = format!("{root}/{id}");
        let put = |name: &str| {
            let (status, body) = world.put(&path, json!({"system_name": name}));
            let shown = body.as_object().unwrap().values().next().unwrap().clone();
            (status, shown["system_name"].clone())
        };
        assert_eq!(put("one"), (200, json!("one")), "{path}");
        assert_eq!(put("two"), (422, json!(["has already been taken"])), "{path}");
        assert_eq!(put("-"), (422, json!(["is invalid"])), "{path}");
        assert_eq!(put("ONE"), (200, json!("ONE")), "{path}");
        assert_eq!(put("three"), (200, json!("three")), "{path}");
        assert_eq!(put(""), (200, json!("three")), "{path}");
        assert_eq!(world.get(&path).1.as_object().unwrap().values().next().unwrap()["system_name"], "three");
        // The one before is free again, this one is not.
        let post = |name: &str| world.post(&root, json!({"name": "New", "system_name": name})).0;
        assert_eq!((post("three"), post("one")), (422, 201), "{path}");
    }
    assert_eq!(world.get(&format!("services/{}", other["id"])).1["service"]["system_name"], "two");
}

#[test]
fn the_default_service_stays() {
    let world = World::new();
    let id = world.get("services").1["services"][0]["service"]["id"].clone();
    let (status, body) = world.delete(&format!("services/{id}"));
    assert_eq!((status, &body["error"]["event"]), (422, &json!("mark_as_deleted")));
    assert_eq!(body["error"]["from"], "incomplete");
    let suspend = |draft: &mut crate::model::draft::Draft<'_>| {
        let id = crate::model::id::ServiceId(id.as_u64().unwrap());
        draft.edit_service(id, |service| service.state = crate::model::record::ServiceState::Suspended)
    };
    world.engine.change(suspend).unwrap();
    let error = world.delete(&format!("services/{id}")).1["error"].clone();
    assert_eq!((&error["from"], &error["object"]["state"]), (&json!("offline"), &json!("offline")));
}

#[test]
fn metrics_and_methods_have_names_of_their_own() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Counted"}))["id"].clone();
    let root = format!("services/{service}/metrics");
    let (status, body) = world.post(&root, json!({}));
    assert_eq!(
        (status, &body),
        (422, &json!({"errors": {"friendly_name": ["can't be blank"], "unit": ["can't be blank"]}}))
    );
    let metric = world.made(&root, json!({"friendly_name": "Bytes out", "unit": "byte"}));
    assert_eq!(metric["system_name"], "bytes_out");
    assert_eq!(world.post(&root, json!({"friendly_name": "Bytes out", "unit": "byte"})).0, 422);
    assert_eq!(world.post(&root, json!({"friendly_name": "z", "unit": "u", "system_name": "a b"})).0, 422);
    let hits = world.get(&root).1["metrics"][0]["metric"]["id"].clone();
    let method = world.made(&format!("{root}/{hits}/methods"), json!({"friendly_name": "Search"}));
    assert_eq!((&method["parent_id"], &method["system_name"]), (&hits, &json!("search")));
    assert_eq!(
        world.post(&format!("{root}/{}/methods", metric["id"]), json!({"friendly_name": "Under"})).0,
        422
    );
    let path = format!("{root}/{hits}/methods/{}", method["id"]);
    assert_eq!(world.put(&path, json!({"description": "found"})).1["method"]["description"], "found");
    assert_eq!(world.get(&root).1["metrics"].as_array().unwrap().len(), 3);
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    assert_eq!(world.delete(&format!("{root}/{hits}")).0, 403);
}

#[test]
fn records_are_there_after_a_restart() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Lasting", "description": "still here"}));
    let path = format!("services/{}", service["id"]);
    let world = world.reopen();
    assert_eq!(world.get(&path), (200, json!({"service": service})));
}

#[test]
fn who_has_what_is_shown_is_told_so() {
    let world = World::new();
    let first = world.send(Method::Get, "services.json", json!({}), Some(TOKEN));
    assert_eq!(first.status, 200);
    let again = |etag: Option<String>| {
        let parameters = json!({"access_token": TOKEN}).as_object().cloned().unwrap();
        let path = "/admin/api/services.json".to_owned();
        let call = Call {
            method: Method::Get,
            tenant: None,
            path,
            parameters,
            basic: None,
            accept: None,
            etag,
            host: None,
            scheme: "http",
        };
        let answer = world.admin.answer(&call);
        (answer.status, answer.body.len(), answer.etag)
    };
    assert_eq!(again(first.etag.clone()), (304, 0, first.etag.clone()));
    world.made("services", json!({"name": "Another"}));
    let (status, _, etag) = again(first.etag.clone());
    assert!(status == 200 && etag != first.etag);
}
