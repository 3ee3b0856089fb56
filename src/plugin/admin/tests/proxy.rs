//! What gateways boot from: proxies, configurations, mapping rules, policies, service tokens.

use super::*;

fn id_of(record: &Value) -> u64 {
    record["id"].as_u64().unwrap()
}

/// A service, and the path of its proxy.
fn service(world: &World) -> (u64, String) {
    let id = id_of(&world.made("services", json!({"name": "Gated"})));
    (id, format!("services/{id}/proxy"))
}

#[test]
fn a_proxy_is_made_with_its_service_and_changed() {
    let world = World::new();
    let (id, path) = service(&world);
    let (status, shown) = world.get(&path);
    let proxy = &shown["proxy"];
    assert_eq!((status, &proxy["service_id"]), (200, &json!(id)));
    assert_eq!(
        (&proxy["credentials_location"], &proxy["error_status_limits_exceeded"]),
        (&json!("query"), &json!(429))
    );
    let changes = json!({
        "api_backend": "http://www.httpbin.org:80", "credentials_location": "headers",
        "api_test_path": "/get", "endpoint": "https://api.example.com", "support_email": "test@example.com",
    });
    let (status, shown) = world.put(&path, changes);
    let proxy = &shown["proxy"];
    assert_eq!((status, &proxy["api_backend"]), (200, &json!("http://www.httpbin.org:80")));
    assert_eq!(
        (&proxy["endpoint"], &proxy["api_test_path"]),
        (&json!("https://api.example.com:443"), &json!("/get"))
    );
    // A client sends back all that it was shown.
    let (status, again) = world.call(Method::Patch, &path, proxy.clone());
    assert_eq!((status, &again["proxy"]["endpoint"]), (200, &proxy["endpoint"]));
    let (status, xml) = world.xml(Method::Get, &path, json!({}));
    assert_eq!(status, 200);
    assert!(xml.contains("<credentials_location>headers</credentials_location>"), "{xml}");
    let world = world.reopen();
    assert_eq!(world.get(&path).1, again);
}

#[test]
fn what_is_wrong_with_a_proxy_is_said_field_by_field() {
    let world = World::new();
    let (_, path) = service(&world);
    let bad = json!({
        "credentials_location": "cookie", "error_status_no_match": 99, "error_status_auth_failed": "x",
        "error_status_auth_missing": 600, "endpoint": "https://a.example/path", "auth_user_key": "a b",
        "error_no_match": "line\nline", "oidc_issuer_type": "x", "api_backend": "mailto:x",
    });
    let (status, body) = world.put(&path, bad);
    let errors = json!({
        "endpoint": ["is invalid"], "api_backend": ["is invalid"], "auth_user_key": ["is invalid"],
        "error_no_match": ["is invalid", "is invalid"], "error_status_auth_failed": ["is not a number"],
        "error_status_auth_missing": ["must be less than 600"],
        "error_status_no_match": ["must be greater than or equal to 200"],
        "oidc_issuer_type": ["is not included in the list"],
        "credentials_location": ["is not included in the list"],
    });
    assert_eq!((status, &body["errors"]), (422, &errors));
    assert_eq!(world.get(&path).1["proxy"]["credentials_location"], "query");
    assert_eq!(world.get("services/99999/proxy").0, 404);
}

#[test]
fn each_change_of_a_proxy_is_a_version_and_deploying_the_same_is_none() {
    let world = World::new();
    let (_, path) = service(&world);
    let configs = format!("{path}/configs/sandbox");
    let count = || world.get(&configs).1["proxy_configs"].as_array().unwrap().len();
    assert_eq!((count(), world.get(&format!("{configs}/latest")).0), (0, 404));
    world.put(&path, json!({"api_test_path": "/ip"}));
    world.put(&path, json!({"api_test_path": "/ip"}));
    assert_eq!(count(), 2);
    assert_eq!(world.post(&format!("{path}/deploy"), json!({})).0, 201);
    assert_eq!(count(), 2);
    world.made(
        &format!("{path}/mapping_rules"),
        json!({"http_method": "POST", "pattern": "/x", "delta": 2, "metric_id": hits(&world, &path)}),
    );
    assert_eq!(count(), 2);
    world.post(&format!("{path}/deploy"), json!({}));
    let (status, latest) = world.get(&format!("{path}/configs/staging/latest"));
    let latest = &latest["proxy_config"];
    assert_eq!((status, &latest["version"], &latest["environment"]), (200, &json!(3), &json!("sandbox")));
    assert_eq!(latest["content"]["proxy"]["proxy_rules"].as_array().unwrap().len(), 2);
    let first = world.get(&format!("{configs}/1")).1;
    assert_eq!(first["proxy_config"]["content"]["proxy"]["proxy_rules"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(&format!("{configs}/4")).0, 404);
    let invalid = (400, json!({"error": "invalid environment"}));
    assert_eq!(world.get(&format!("{path}/configs/moon")), invalid);
    assert_eq!(world.get("account/proxy_configs/moon"), invalid);
}

fn hits(world: &World, proxy: &str) -> Value {
    let metrics = proxy.replace("/proxy", "/metrics");
    world.get(&metrics).1["metrics"][0]["metric"]["id"].clone()
}

#[test]
fn a_version_is_promoted_once_under_its_number() {
    let world = World::new();
    let (_, path) = service(&world);
    let promote = |version: u64, parameters: Value| {
        world.post(&format!("{path}/configs/sandbox/{version}/promote"), parameters)
    };
    world.put(&path, json!({"endpoint": "https://api.example.com"}));
    world.put(&path, json!({"endpoint": "https://other.example.com"}));
    let (status, body) = promote(2, json!({"to": "production"}));
    let promoted = &body["proxy_config"];
    assert_eq!(
        (status, &promoted["version"], &promoted["environment"]),
        (201, &json!(2), &json!("production"))
    );
    let sandbox = world.get(&format!("{path}/configs/sandbox/2")).1;
    assert_eq!(promoted["content"], sandbox["proxy_config"]["content"]);
    let taken = (422, json!({"errors": {"version": ["has already been taken"]}}));
    assert_eq!(promote(2, json!({"to": "production"})), taken);
    assert_eq!(promote(3, json!({"to": "production"})).0, 404);
    assert_eq!(promote(1, json!({"to": "moon"})).0, 422);
    let answer =
        world.send(Method::Post, &format!("{path}/configs/sandbox/1/promote.json"), json!({}), Some(TOKEN));
    assert_eq!((answer.status, &answer.body[..]), (400, &b"Required parameter missing: to"[..]));
    let xml = world.xml(Method::Get, &format!("{path}/configs/sandbox"), json!({}));
    assert_eq!(xml.0, 406);
}

#[test]
fn a_gateway_finds_configurations_by_host_and_version() {
    let world = World::new();
    let paths: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            let (_, path) = service(&world);
            world.put(&path, json!({"endpoint": format!("https://{name}.example.com")}));
            world.put(&path, json!({"sandbox_endpoint": format!("https://{name}.staging.example.com")}));
            world.post(&format!("{path}/configs/sandbox/1/promote"), json!({"to": "production"}));
            path
        })
        .collect();
    let found = |path: &str, parameters: Value| {
        let (status, body) = world.call(Method::Get, path, parameters);
        let one = |it: &Value| {
            let config = &it["proxy_config"];
            (config["content"]["id"].as_u64().unwrap(), config["version"].as_u64().unwrap())
        };
        let configs = body["proxy_configs"].as_array();
        (status, configs.map(|configs| configs.iter().map(one).collect::<Vec<_>>()).unwrap_or_default())
    };
    let ids: Vec<_> =
        paths.iter().map(|path| world.get(path).1["proxy"]["service_id"].as_u64().unwrap()).collect();
    let all = "account/proxy_configs/sandbox";
    assert_eq!(found(all, json!({})), (200, vec![(ids[0], 1), (ids[0], 2), (ids[1], 1), (ids[1], 2)]));
    assert_eq!(found(all, json!({"version": "latest"})), (200, vec![(ids[0], 2), (ids[1], 2)]));
    assert_eq!(found(all, json!({"version": 1})), (200, vec![(ids[0], 1), (ids[1], 1)]));
    assert_eq!(found(all, json!({"page": 2, "per_page": 3})), (200, vec![(ids[1], 2)]));
    assert_eq!(found(all, json!({"page": 3, "per_page": 3})), (200, vec![]));
    let host = "one.staging.example.com";
    assert_eq!(found(all, json!({"host": host})), (200, vec![(ids[0], 2)]));
    assert_eq!(
        found("account/proxy_configs/production", json!({"version": "latest"})),
        (200, vec![(ids[0], 1), (ids[1], 1)])
    );
    assert_eq!(found("account/proxy_configs/moon", json!({})).0, 400);
    let by_host = "services/proxy/configs/production";
    assert_eq!(found(by_host, json!({"host": "two.example.com"})), (200, vec![(ids[1], 1)]));
    assert_eq!(found(by_host, json!({})).0, 400);
    // What is deleted, no gateway finds.
    world.delete(&paths[0].replace("/proxy", ""));
    assert_eq!(found(all, json!({"version": "latest"})), (200, vec![(ids[1], 2)]));
}

#[test]
fn the_content_is_what_a_gateway_needs() {
    let world = World::new();
    let (id, path) = service(&world);
    world.put(&path, json!({"endpoint": "https://api.example.com", "api_backend": "http://up.example.com"}));
    let latest = world.get(&format!("{path}/configs/sandbox/latest")).1;
    let content = &latest["proxy_config"]["content"];
    let proxy = &content["proxy"];
    assert_eq!((&content["id"], &content["backend_version"]), (&json!(id), &json!("1")));
    assert_eq!(content["backend_authentication_type"], "service_token");
    assert_eq!(proxy["hosts"], json!(["api.example.com"]));
    assert_eq!(proxy["api_backend"], "http://up.example.com:80");
    assert_eq!(proxy["hostname_rewrite_for_sandbox"], "up.example.com");
    assert_eq!(proxy["endpoint_port"], 443);
    let chain = json!([{"name": "apicast", "version": "builtin", "configuration": {}}]);
    assert_eq!(proxy["policy_chain"], chain);
    let rule = &proxy["proxy_rules"][0];
    assert_eq!(
        (&rule["pattern"], &rule["metric_system_name"], &rule["delta"], &rule["http_method"]),
        (&json!("/"), &json!("hits"), &json!(1), &json!("GET"))
    );
    assert_eq!(proxy["backend"], json!({"endpoint": "http://localhost", "host": "localhost"}));
    // With the token that it has, a gateway may call for this service.
    let token = content["backend_authentication_value"].as_str().unwrap();
    assert_eq!(token.len(), 64);
    let service = id.to_string();
    let key = crate::model::catalog::Key::ServiceToken { token, service: &service };
    assert_eq!(world.engine.find(key), Some(id));
}

#[test]
fn a_service_that_somebody_else_made_gets_a_token_with_its_first_configuration() {
    let world = World::new();
    let id = world.get("services").1["services"][0]["service"]["id"].as_u64().unwrap();
    assert_eq!(world.get(&format!("services/{id}/service_tokens")).1, json!({"service_tokens": []}));
    assert_eq!(world.get(&format!("services/{id}/proxy")).0, 200);
    assert_eq!(world.post(&format!("services/{id}/proxy/deploy"), json!({})).0, 201);
    let tokens = world.get(&format!("services/{id}/service_tokens")).1;
    let latest = world.get(&format!("services/{id}/proxy/configs/sandbox/latest")).1;
    assert_eq!(
        latest["proxy_config"]["content"]["backend_authentication_value"],
        tokens["service_tokens"][0]["service_token"]["value"]
    );
}

#[test]
fn a_token_is_rotated_without_a_version() {
    let world = World::new();
    let (id, path) = service(&world);
    world.put(&path, json!({"endpoint": "https://api.example.com"}));
    let tokens = format!("services/{id}/service_tokens");
    let first = world.get(&tokens).1["service_tokens"][0]["service_token"].clone();
    let finds = |token: &Value| {
        let (token, service) = (token["value"].as_str().unwrap(), id.to_string());
        world.engine.find(crate::model::catalog::Key::ServiceToken { token, service: &service })
    };
    assert_eq!(finds(&first), Some(id));
    let (status, rotated) =
        world.put(&format!("{tokens}/{}/rotate", first["id"].as_str().unwrap()), json!({}));
    let second = rotated["service_token"].clone();
    assert_eq!((status, finds(&first), finds(&second)), (200, None, Some(id)));
    let third = world.made(&tokens, json!({}));
    assert_eq!((finds(&second), finds(&third)), (Some(id), Some(id)));
    let latest = world.get(&format!("{path}/configs/sandbox/latest")).1["proxy_config"].clone();
    assert_eq!(
        (&latest["version"], &latest["content"]["backend_authentication_value"]),
        (&json!(1), &third["value"])
    );
    let own = format!("{tokens}/{}", second["id"].as_str().unwrap());
    assert_eq!((world.delete(&own).0, finds(&second), world.delete(&own).0), (200, None, 404));
}

#[test]
fn mapping_rules_are_checked_ordered_and_go_with_their_metric() {
    let world = World::new();
    let (id, path) = service(&world);
    let rules = format!("{path}/mapping_rules");
    let metric = world.made(
        &format!("services/{id}/metrics"),
        json!({"friendly_name": "m", "unit": "u", "system_name": "mm"}),
    );
    let (status, body) = world.post(&rules, json!({"pattern": "/a"}));
    let errors = json!({
        "http_method": ["can't be blank", "is not included in the list"],
        "delta": ["is not a number"], "metric_id": ["can't be blank"],
    });
    assert_eq!((status, &body["errors"]), (422, &errors));
    let rule = |pattern: &str, metric: &Value| json!({"http_method": "get", "pattern": pattern, "delta": "3", "metric_id": metric});
    for (bad, field) in [(rule("a", &metric["id"]), "pattern"), (rule("/a", &json!(999)), "metric_id")] {
        let (status, body) = world.post(&rules, bad);
        assert_eq!((status, body["errors"].get(field).is_some()), (422, true), "{body}");
    }
    let second = world.made(&rules, rule("/{x}/b$", &metric["id"]));
    let third = world.made(&rules, rule("/c", &hits(&world, &path)));
    assert_eq!(
        (&second["position"], &second["delta"], &second["http_method"]),
        (&json!(2), &json!(3), &json!("GET"))
    );
    // The third comes first; the client sends back what it was shown of the rest.
    let mut moved = third.clone();
    moved["position"] = json!(1);
    moved["last"] = json!(true);
    let own = format!("{rules}/{}", third["id"]);
    assert_eq!(world.put(&own, moved).1["mapping_rule"]["last"], true);
    let patterns = || {
        let all = world.get(&rules).1["mapping_rules"].as_array().unwrap().clone();
        let one = |it: &Value| {
            let rule = &it["mapping_rule"];
            (rule["pattern"].as_str().unwrap().to_owned(), rule["position"].as_u64().unwrap())
        };
        all.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(patterns(), [("/c".into(), 1), ("/".into(), 2), ("/{x}/b$".into(), 3)]);
    // As far to the front and to the end as can be said.
    assert_eq!(world.put(&own, json!({"position": i64::MAX})).1["mapping_rule"]["position"], 3);
    assert_eq!(world.put(&own, json!({"position": i64::MIN})).1["mapping_rule"]["position"], 1);
    assert_eq!(world.delete(&format!("services/{id}/metrics/{}", metric["id"])).0, 200);
    assert_eq!(patterns(), [("/c".into(), 1), ("/".into(), 2)]);
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
    assert_eq!(patterns(), [("/".into(), 1)]);
    let (_, other) = service(&world);
    let first = world.get(&rules).1["mapping_rules"][0]["mapping_rule"]["id"].clone();
    assert_eq!(world.get(&format!("{other}/mapping_rules/{first}")).0, 404);
}

#[test]
fn a_chain_of_policies_keeps_its_order_and_has_apicast() {
    let world = World::new();
    let (_, path) = service(&world);
    let policies = format!("{path}/policies");
    let (status, shown) = world.get(&policies);
    let policy =
        |name: &str| json!({"name": name, "version": "builtin", "configuration": {}, "enabled": true});
    assert_eq!((status, shown), (200, json!({"policies_config": [policy("apicast")]})));
    let chain = json!({"policies_config": [policy("apicast"), policy("echo"), policy("logging")]});
    assert_eq!(world.put(&policies, chain.clone()), (200, chain.clone()));
    // As a text, as forms must.
    let text = json!([policy("cors")]).to_string();
    let expected = json!({"policies_config": [policy("cors"), policy("apicast")]});
    assert_eq!(world.put(&policies, json!({"proxy": {"policies_config": text}})), (200, expected.clone()));
    let latest = world.get(&format!("{path}/configs/sandbox/latest")).1;
    assert_eq!(latest["proxy_config"]["version"], 2);
    assert_eq!(latest["proxy_config"]["content"]["proxy"]["policy_chain"][0]["name"], "cors");
    let bad = json!({"policies_config": [policy("echo"), {"name": "x", "configuration": {}}]});
    let (status, body) = world.put(&policies, bad);
    assert_eq!(
        (status, &body["policies_config"][1]["errors"]),
        (422, &json!({"version": ["can't be blank"]}))
    );
    assert_eq!(world.put(&policies, json!({"policies_config": "{"})).0, 422);
    assert_eq!(world.get(&policies).1, expected);
    assert_eq!(world.get("policies").1["cors"][0]["version"], "builtin");
}

#[test]
fn a_registered_policy_stays_while_a_chain_has_it() {
    let world = World::new();
    let (_, path) = service(&world);
    let schema =
        json!({"name": "own", "version": "1.0", "summary": "s", "configuration": {"type": "object"}});
    let made = world
        .made("registry/policies", json!({"name": "own", "version": "1.0", "schema": schema.to_string()}));
    assert_eq!(made["schema"], schema);
    let again = world.post("registry/policies", json!({"name": "own", "version": "1.0", "schema": schema}));
    assert_eq!(again, (422, json!({"errors": {"version": ["has already been taken"]}})));
    assert_eq!(world.post("registry/policies", json!({"name": "a", "version": "1", "schema": "x"})).0, 422);
    assert_eq!(world.get("registry/policies/own-1.0").1["policy"]["id"], made["id"]);
    assert_eq!(world.get("policies").1["own"], json!([schema]));
    let own = format!("registry/policies/{}", made["id"]);
    assert_eq!(world.put(&own, json!({"version": "1.1"})).1["policy"]["version"], "1.1");
    let used = json!([{"name": "own", "version": "1.1", "configuration": {}, "enabled": true}]);
    world.put(&format!("{path}/policies"), json!({"policies_config": used}));
    assert_eq!(world.delete(&own).0, 403);
    world.put(&format!("{path}/policies"), json!({"policies_config": []}));
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
}

#[test]
fn flows_of_openid_connect_are_switched() {
    let world = World::new();
    let (id, path) = service(&world);
    let oidc = format!("{path}/oidc_configuration");
    assert_eq!(world.get(&oidc).1["oidc_configuration"]["standard_flow_enabled"], true);
    let (status, shown) = world.call(
        Method::Patch,
        &oidc,
        json!({"oidc_configuration": {"standard_flow_enabled": "false", "implicit_flow_enabled": true}}),
    );
    let shown = &shown["oidc_configuration"];
    assert_eq!(
        (status, &shown["standard_flow_enabled"], &shown["implicit_flow_enabled"]),
        (200, &json!(false), &json!(true))
    );
    world.put(&format!("services/{id}"), json!({"backend_version": "oidc"}));
    let issuer = json!({"oidc_issuer_endpoint": "https://id:secret@sso.example.com/realm", "oidc_issuer_type": "keycloak"});
    let (_, proxy) = world.put(&path, issuer);
    assert_eq!(proxy["proxy"]["oidc_issuer_type"], "keycloak");
    let latest = world.get(&format!("{path}/configs/sandbox/latest")).1;
    let content = &latest["proxy_config"]["content"];
    assert_eq!(
        (&content["backend_version"], &content["proxy"]["authentication_method"]),
        (&json!("oauth"), &json!("oidc"))
    );
}
