//! What answers are written in, and the headers that they have beside.

use super::*;

/// Calls a whole path, as a client that accepts this.
fn ask(world: &World, method: Method, path: &str, accept: Option<&str>, token: &str) -> Answer {
    let parameters = json!({ "access_token": token }).as_object().cloned().unwrap();
    world.admin.answer(&Call {
        method,
        tenant: None,
        path: path.to_owned(),
        parameters,
        basic: None,
        accept: accept.map(str::to_owned),
        etag: None,
        host: None,
        scheme: "http",
    })
}

#[test]
fn refusals_are_written_as_the_route_is() {
    let world = World::new();
    let (json, xml) = (Some("application/json"), Some("application/xml"));
    let (denied, stranger) = ("<error>Access denied</error>", "no token");
    let denied_json = r#"{"error":"Access denied"}"#;
    for (path, accept, is_json) in [
        ("services", None, false),
        ("services", Some("*/*"), false),
        ("services", json, true),
        ("services.xml", json, false),
        ("services.json", xml, true),
        ("personal/access_tokens", None, true),
        ("personal/access_tokens", xml, true),
        ("backend_apis", None, true),
        ("backend_apis/1/metrics", None, true),
        ("services/1/backend_usages", None, true),
        ("account/proxy_configs/sandbox", None, true),
        ("registry/policies", None, true),
        ("objects/status", None, true),
        ("accounts/1/service_subscriptions", None, true),
        ("nothing/of/it", None, false),
        ("nothing/of/it", json, true),
        ("nothing/of/it.json", None, true),
        ("services/%ff", json, true),
        ("services/%ff", None, false),
    ] {
        let path_of = format!("/admin/api/{path}");
        let answer = ask(&world, Method::Get, &path_of, accept, stranger);
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        let context = format!("{path} {accept:?}: {told}");
        if path.contains('%') {
            assert_eq!((answer.status, told.is_empty()), (404, !is_json), "{context}");
        } else {
            assert_eq!(answer.status, 403, "{context}");
            let is_xml = told.contains(denied);
            assert_eq!((told == denied_json, is_xml), (is_json, !is_json), "{context}");
        }
    }
    // The same with what is not there.
    let absent = |path: &str, accept| ask(&world, Method::Get, path, accept, TOKEN).body.len();
    assert_eq!(absent("/admin/api/services/999", None), 0);
    assert!(absent("/admin/api/services/999", json) > 0 && absent("/admin/api/backend_apis/999", None) > 0);
}

#[test]
fn a_format_that_is_none_is_refused_and_is_the_end_of_a_key() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Keyed", "backend_version": "2"}))["id"].clone();
    let plan =
        world.made(&format!("services/{service}/application_plans"), json!({"name": "P"}))["id"].clone();
    let account = world.made("signup", json!({"org_name": "A", "username": "acme"}))["id"].clone();
    let status = |method, path: &str| ask(&world, method, &format!("/admin/api/{path}"), None, TOKEN).status;
    for path in ["services.csv".to_owned(), format!("services/{service}.html"), "settings.txt".to_owned()] {
        assert_eq!(status(Method::Get, &path), 406, "{path}");
        assert_eq!(ask(&world, Method::Get, &format!("/admin/api/{path}"), None, "no").status, 403, "{path}");
    }
    assert_eq!((status(Method::Get, "services.zip2"), status(Method::Get, "nothing.csv")), (404, 404));
    let applications = format!("accounts/{account}/applications");
    let application = world.made(&applications, json!({"plan_id": plan, "name": "App"}))["id"].clone();
    for key in ["12345.csv", "other.html"] {
        world.made(&format!("{applications}/{application}/keys"), json!({"key": key}));
        assert_eq!(status(Method::Delete, &format!("{applications}/{application}/keys/{key}")), 200, "{key}");
    }
}

#[test]
fn one_record_says_when_it_was_changed_last() {
    let world = World::new();
    let path = format!("services/{}", world.made("services", json!({"name": "Dated"}))["id"]);
    let told = |method, path: &str| {
        world.send(method, &format!("{path}.json"), json!({}), Some(TOKEN)).last_modified
    };
    assert_eq!(told(Method::Get, &path).unwrap(), "Sun, 22 Nov 2026 13:45:30 GMT");
    world.now.store(NOW + 60_000, Ordering::Relaxed);
    assert_eq!(told(Method::Put, &path), None);
    assert_eq!(told(Method::Get, &path).unwrap(), "Sun, 22 Nov 2026 13:46:30 GMT");
    assert_eq!((told(Method::Get, "services"), told(Method::Get, "settings")), (None, None));
}
