//! ActiveDocs, the status of objects, and authentication providers.

use super::*;

const BODY: &str = "{\"swagger\": \"2.0\", \"paths\": {}}\n";

#[test]
fn a_description_is_kept_as_it_was_sent_and_goes_with_its_service() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Described"}))["id"].clone();
    let made = world.made("active_docs", json!({"name": "The docs", "body": BODY, "service_id": service}));
    assert_eq!(
        (&made["body"], &made["system_name"], &made["service_id"], &made["published"]),
        (&json!(BODY), &json!("the_docs"), &service, &json!(false))
    );
    let path = format!("active_docs/{}", made["id"]);
    let (status, shown) = world.put(&path, json!({"name": "Renamed", "published": "true"}));
    assert_eq!(
        (status, &shown["api_doc"]["name"], &shown["api_doc"]["body"]),
        (200, &json!("Renamed"), &json!(BODY))
    );
    let (_, xml) = world.xml(Method::Get, "active_docs", json!({}));
    assert!(xml.contains("<api_docs><api_doc>") && xml.contains("<published>true</published>"), "{xml}");
    world.delete(&format!("services/{service}"));
    assert_eq!(world.get(&path).0, 404);
    let alone = world.made("active_docs", json!({"name": "The docs", "body": BODY}));
    assert_eq!(alone["system_name"], "the_docs");
    let path = format!("active_docs/{}", alone["id"]);
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
}

#[test]
fn a_description_is_openapi_unless_nobody_is_to_look() {
    let world = World::new();
    let post = |body: &str, skip: bool| {
        let parameters = json!({"name": "x", "body": body, "skip_swagger_validations": skip});
        let (status, answer) = world.post("active_docs", parameters);
        (status, answer["errors"]["body"][0].as_str().map(str::to_owned))
    };
    assert_eq!(post("", false), (422, Some("can't be blank".into())));
    assert_eq!(post("openapi: 3.0.0", false), (422, Some("Invalid JSON".into())));
    assert_eq!(post("{}", false), (422, Some("JSON Spec is invalid".into())));
    assert_eq!(post("openapi: 3.0.0", true), (201, None));
    let (status, body) = world.post("active_docs", json!({"name": "y", "body": BODY, "service_id": 999}));
    assert_eq!((status, &body["errors"]), (422, &json!({"service": ["not found"]})));
}

#[test]
fn objects_are_there_until_they_are_gone() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Going"}))["id"].clone();
    let status = |kind: &str, id: &Value| {
        world.call(Method::Get, "objects/status", json!({"object_type": kind, "object_id": id})).0
    };
    assert_eq!((status("service", &service), status("proxy", &service)), (200, 200));
    world.delete(&format!("services/{service}"));
    // On its way out: what it owned is taken away in the background.
    assert_eq!(status("service", &service), 200);
    world
        .engine
        .change(|draft| draft.purge_service(crate::model::id::ServiceId(service.as_u64().unwrap())))
        .unwrap();
    assert_eq!(status("service", &service), 404);
    assert_eq!((status("backend_api", &json!(999)), status("moon", &json!(1))), (404, 403));
    assert_eq!(world.get("objects/status").0, 400);
}

#[test]
fn authentication_providers_of_administrators_and_developers_are_apart() {
    let world = World::new();
    let parameters =
        json!({"kind": "auth0", "client_id": "i", "client_secret": "s", "site": "https://a.example"});
    let made = world.made("authentication_providers", parameters.clone());
    assert_eq!((&made["name"], &made["account_type"]), (&json!("Auth0"), &json!("developer")));
    let path = format!("authentication_providers/{}", made["id"]);
    let changes = json!({"published": true, "branding_state_event": "custom_brand", "kind": "keycloak"});
    let shown = world.put(&path, changes).1["authentication_provider"].clone();
    assert_eq!(
        (&shown["published"], &shown["branding_state"], &shown["kind"]),
        (&json!(true), &json!("custom_branded"), &json!("auth0"))
    );
    assert_eq!(world.get(&format!("account/{path}")).0, 404);
    assert_eq!(world.get("account/authentication_providers").1, json!({"authentication_providers": []}));
    world.made("account/authentication_providers", parameters);
    assert_eq!(world.post("account/authentication_providers", json!({"kind": "github"})).0, 422);
    assert_eq!(world.post("authentication_providers", json!({})).0, 400);
    assert_eq!(world.post("authentication_providers", json!({"kind": "auth0", "site": "x"})).0, 422);
}
