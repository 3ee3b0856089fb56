//! A tenant as a document, and documents carried out.

use proptest::prelude::*;

use super::*;
use crate::document::Secrets;

/// The tenant's document and its secrets.
pub(super) fn exported(world: &World) -> (String, String) {
    let (status, body) = world.call(Method::Get, "catalog", json!({"secrets": true}));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["catalog"]["left_out"], json!([]));
    let text = |field: &str| body["catalog"][field].as_str().unwrap().to_owned();
    (text("document"), text("secrets"))
}

pub(super) fn import(world: &World, ask: Value) -> (u16, Value) {
    let (status, body) = world.post("catalog/import", ask);
    let inner = if status == 200 { body["import"].clone() } else { body };
    (status, inner)
}

/// Plans and applies; what was done.
pub(super) fn applied(world: &World, document: &str, secrets: &str, prune: bool) -> Value {
    let ask = |more: Value| {
        let mut ask = json!({"document": document, "secrets": secrets, "prune": prune});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask
    };
    let (status, planned) = import(world, ask(json!({})));
    assert_eq!(status, 200, "{planned:#}");
    let (status, done) = import(world, ask(json!({"apply": true, "fingerprint": planned["fingerprint"]})));
    assert_eq!(status, 200, "{done:#}");
    assert_eq!(done["changes"], planned["changes"], "what is done is what was planned");
    done
}

/// A document of version 1 with one service below it.
fn service(lines: &str) -> String {
    let body: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: 1\nservices:\n- system_name: shop\n{body}")
}

/// A tenant with something of everything that a document can say.
fn rich() -> World {
    let world = World::new();
    let field = |target: &str, name: &str| json!({"target": target, "name": name, "label": name, "choices": ["a", "b c"]});
    for (target, name) in [("Account", "tier"), ("Cinstance", "color"), ("User", "shoe")] {
        world.made("fields_definitions", field(target, name));
    }
    let backend = world.made("backend_apis", json!({"name": "Inner", "system_name": "inner", "private_endpoint": "https://u:p@inner.example", "annotations": {"b": "1", "a": "2"}}))["id"].clone();
    let inner = world
        .made(&format!("backend_apis/{backend}/metrics"), json!({"friendly_name": "Bytes", "unit": "byte"}))
        ["id"]
        .clone();
    let hits = world.get(&format!("backend_apis/{backend}/metrics")).1["metrics"][0]["metric"]["id"].clone();
    world
        .made(&format!("backend_apis/{backend}/metrics/{hits}/methods"), json!({"friendly_name": "Look up"}));
    world.made(
        &format!("backend_apis/{backend}/mapping_rules"),
        json!({"http_method": "GET", "pattern": "/in$", "delta": 3, "metric_id": inner}),
    );
    let id = world.made("services", json!({"name": "The \"shop\": yes", "system_name": "shop", "backend_version": "2", "description": "Two\nlines, a tab\t and é", "referrer_filters_required": true, "annotations": {"owner": "team"}}))["id"].clone();
    let hits = world.get(&format!("services/{id}/metrics")).1["metrics"][0]["metric"]["id"].clone();
    let method = world
        .made(&format!("services/{id}/metrics/{hits}/methods"), json!({"friendly_name": "Search"}))["id"]
        .clone();
    let items = world.made(
        &format!("services/{id}/metrics"),
        json!({"friendly_name": "Items", "unit": "item", "description": "no: yes"}),
    )["id"]
        .clone();
    world
        .made(&format!("services/{id}/backend_usages"), json!({"backend_api_id": backend, "path": "/inner"}));
    let rules = format!("services/{id}/proxy/mapping_rules");
    world.made(&rules, json!({"http_method": "POST", "pattern": "/items/{id}?x={y}", "delta": 2, "metric_id": items, "last": true}));
    world.made(&rules, json!({"http_method": "GET", "pattern": "/search", "delta": 1, "metric_id": method, "position": 1, "redirect_url": "https://a.example/"}));
    let gold = world
        .made(&format!("services/{id}/features"), json!({"name": "Gold", "description": "# not a comment"}))
        ["id"]
        .clone();
    let vip = world.made(
        &format!("services/{id}/features"),
        json!({"name": "Vip", "scope": "service_plan", "visible": false}),
    )["id"]
        .clone();
    let tenants = world.made("features", json!({"name": "Support"}))["id"].clone();
    let plan = world.made(&format!("services/{id}/application_plans"), json!({"name": "Basic", "cost_per_month": "12.5", "setup_fee": 3, "trial_period_days": 30, "approval_required": true, "state_event": "publish"}))["id"].clone();
    let other =
        world.made(&format!("services/{id}/application_plans"), json!({"name": "null"}))["id"].clone();
    for (metric, period, value) in
        [(&items, "day", 10), (&hits, "minute", 0), (&inner, "eternity", 7), (&items, "hour", 9)]
    {
        world.made(
            &format!("application_plans/{plan}/metrics/{metric}/limits"),
            json!({"period": period, "value": value}),
        );
    }
    for (min, max, cost) in [(1, json!(10), "0.05"), (11, Value::Null, "0.0001")] {
        world.made(
            &format!("application_plans/{plan}/metrics/{inner}/pricing_rules"),
            json!({"min": min, "max": max, "cost_per_unit": cost}),
        );
    }
    world.made(&format!("application_plans/{plan}/features"), json!({"feature_id": gold}));
    let services_plan = world
        .made(&format!("services/{id}/service_plans"), json!({"name": "Partners", "cost_per_month": 1}))["id"]
        .clone();
    world.made(&format!("service_plans/{services_plan}/features"), json!({"feature_id": vip}));
    assert_eq!(world.put(&format!("services/{id}/application_plans/{plan}/default"), json!({})).0, 200);
    let accounts_plan =
        world.made("account_plans", json!({"name": "Paying", "approval_required": true}))["id"].clone();
    world.made(&format!("account_plans/{accounts_plan}/features"), json!({"feature_id": tenants}));
    let proxy = json!({"error_auth_failed": "Go away", "error_status_no_match": 410, "auth_user_key": "key", "oidc_issuer_endpoint": "https://id:pw@sso.example/r", "hostname_rewrite": "a.example"});
    assert_eq!(world.put(&format!("services/{id}/proxy"), proxy).0, 200);
    let chain = json!({"policies_config": [{"name": "apicast", "version": "builtin", "configuration": {}, "enabled": true}, {"name": "cors", "version": "builtin", "configuration": {"z": [1, {"a": null}], "b": 1.5, "t": "true"}, "enabled": false}]});
    assert_eq!(world.put(&format!("services/{id}/proxy/policies"), chain).0, 200);
    assert_eq!(
        world
            .put(&format!("services/{id}/proxy/oidc_configuration"), json!({"implicit_flow_enabled": true}))
            .0,
        200
    );
    assert_eq!(world.call(Method::Post, &format!("services/{id}/service_tokens"), json!({})).0, 201);
    people(&world, &id, &plan, &other, &accounts_plan);
    world
}

/// Accounts, two of them with one name, and applications in all states.
fn people(world: &World, service: &Value, plan: &Value, other: &Value, accounts_plan: &Value) {
    let one = world.made("signup", json!({"org_name": "Acme & \"Sons\"", "username": "bob", "email": "bob@acme.example", "password": "a password", "tier": "a", "shoe": "b c", "application_plan_id": plan}))["id"].clone();
    let two = world.made("signup", json!({"org_name": "Acme & \"Sons\"", "username": "eve", "account_plan_id": accounts_plan, "application_plan_id": other}))["id"].clone();
    world.made("signup", json!({"org_name": "2026-11-23", "username": "zoe", "service_plan_id": world.get(&format!("services/{service}/service_plans")).1["plans"][1]["service_plan"]["id"]}));
    world.made(&format!("accounts/{one}/users"), json!({"username": "al bert", "email": "al@acme.example"}));
    assert_eq!(
        world
            .put(
                &format!("accounts/{two}"),
                json!({"vat_rate": "7.5", "monthly_billing_enabled": false, "annotations": {"x": "y"}})
            )
            .0,
        200
    );
    let make = |account: &Value, ask: Value| {
        world.made(&format!("accounts/{account}/applications"), ask)["id"].clone()
    };
    let first = make(
        &one,
        json!({"plan_id": plan, "name": "on", "application_id": "id-1~", "user_key": "userkey+/==", "application_key": ["key-1!", "key-2\""], "color": "a", "description": "- a\n- b"}),
    );
    world.made(
        &format!("accounts/{one}/applications/{first}/referrer_filters"),
        json!({"referrer_filter": "*.example.com"}),
    );
    let second = make(
        &two,
        json!({"plan_id": other, "name": "Suspended", "redirect_url": "https://a.example/?b=c#d"}),
    );
    assert_eq!(world.put(&format!("accounts/{two}/applications/{second}/suspend"), json!({})).0, 200);
    let third = make(&two, json!({"plan_id": other, "name": "Keyless"}));
    let keys = world.get(&format!("accounts/{two}/applications/{third}/keys")).1["keys"].clone();
    let key = keys[0]["key"]["value"].as_str().unwrap();
    assert_eq!(world.delete(&format!("accounts/{two}/applications/{third}/keys/{key}")).0, 200);
    let custom = make(&one, json!({"plan_id": other, "name": "Custom"}));
    assert_eq!(world.put(&format!("accounts/{one}/applications/{custom}/customize_plan"), json!({})).0, 200);
}

#[test]
fn a_rich_tenant_goes_out_and_in_and_out_again_as_the_same_bytes() {
    let (document, secrets) = exported(&rich());
    for secret in ["userkey+/==", "key-1!", "id:pw", "u:p@", "argon2id"] {
        assert!(
            !document.contains(secret) && secrets.contains(secret.trim_end_matches('!')),
            "{secret}\n{secrets}"
        );
    }
    let world = World::new();
    let done = applied(&world, &document, &secrets, true);
    assert_eq!(done["new_secrets"], json!([]));
    let again = exported(&world);
    assert_eq!(again.0, document);
    assert_eq!(again.1, secrets);
    // Once there, there is nothing more to do.
    assert_eq!(applied(&world, &document, &secrets, true)["changes"], json!([]));
    // It is on disk with the answer.
    assert_eq!(exported(&world.reopen()), (document, secrets));
}

#[test]
fn a_document_can_be_brought_back_from_what_became_of_it() {
    let world = rich();
    let (document, secrets) = exported(&world);
    let id = world.get("services").1["services"][1]["service"]["id"].clone();
    // All of this is undone.
    assert_eq!(world.put(&format!("services/{id}"), json!({"name": "Other", "backend_version": "1"})).0, 200);
    world.made("services", json!({"name": "More", "system_name": "more"}));
    world.made(
        "backend_apis",
        json!({"name": "More", "system_name": "more", "private_endpoint": "https://a.example"}),
    );
    world.made(&format!("services/{id}/metrics"), json!({"friendly_name": "More", "unit": "x"}));
    world.made("signup", json!({"org_name": "More", "username": "more"}));
    let usage = world.get(&format!("services/{id}/backend_usages")).1[0]["backend_usage"]["id"].clone();
    assert_eq!(world.delete(&format!("services/{id}/backend_usages/{usage}")).0, 200);
    let items = world.get(&format!("services/{id}/metrics")).1["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["metric"]["system_name"] == "items")
        .unwrap()["metric"]["id"]
        .clone();
    assert_eq!(world.delete(&format!("services/{id}/metrics/{items}")).0, 200);
    let account = world.get("accounts").1["accounts"][0]["account"]["id"].clone();
    let all = world.get(&format!("accounts/{account}/applications")).1["applications"].clone();
    for it in all.as_array().unwrap() {
        let application = &it["application"]["id"];
        let _ =
            world.put(&format!("accounts/{account}/applications/{application}/decustomize_plan"), json!({}));
        assert_eq!(world.delete(&format!("accounts/{account}/applications/{application}")).0, 200);
    }
    assert_ne!(exported(&world).0, document);
    applied(&world, &document, &secrets, true);
    assert_eq!(exported(&world), (document, secrets));
}

#[test]
fn what_is_left_out_stays_as_it_is() {
    let world = rich();
    let before = exported(&world).0;
    for text in [
        "version: 1\n",
        "version: 1\nservices: []\naccounts: []\n",
        &service("metrics: []\napplication_plans: []"),
    ] {
        assert_eq!(applied(&world, text, "", false)["changes"], json!([]), "{text}");
    }
    let done = applied(&world, &service("name: Changed"), "", false);
    assert_eq!((&done["added"], &done["changed"], &done["removed"]), (&json!(0), &json!(1), &json!(0)));
    let expected = before.replace("name: \"The \\\"shop\\\": yes\"", "name: Changed");
    assert_eq!(exported(&world).0, expected);
}

#[test]
fn a_plan_changes_nothing_and_one_that_is_stale_is_refused() {
    let world = World::new();
    let before = exported(&world);
    let entries = || world.get("audit_log").1;
    let log = entries();
    let ask = |more: Value| {
        let mut ask = json!({"document": service("name: Shop")});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        import(&world, ask)
    };
    let (status, planned) = ask(json!({}));
    assert_eq!((status, &planned["applied"], &planned["added"]), (200, &json!(false), &json!(1)));
    assert_eq!((exported(&world), entries()), (before, log));
    let stale = |fingerprint: &Value| ask(json!({"apply": true, "fingerprint": fingerprint}));
    world.made("services", json!({"name": "In between"}));
    let (status, body) = stale(&planned["fingerprint"]);
    assert_eq!(status, 409, "{body}");
    let planned = ask(json!({})).1;
    // What was planned was planned for this document, and to keep what it does not speak of.
    let (status, _) = ask(json!({"apply": true, "fingerprint": planned["fingerprint"], "prune": true}));
    assert_eq!(status, 409);
    assert_eq!(stale(&planned["fingerprint"]).0, 200);
    assert_eq!(stale(&planned["fingerprint"]).0, 409, "it is done already");
    assert_eq!(ask(json!({"apply": true})).1["changes"], json!([]), "without one it is as things are");
}

#[test]
fn one_record_that_is_refused_keeps_all_of_the_others_back() {
    let world = World::new();
    let before = exported(&world);
    let text = service(
        "metrics:\n- {system_name: first, friendly_name: Same}\n- {system_name: second, friendly_name: same}",
    );
    let (status, body) = import(&world, json!({"document": text, "apply": true}));
    let expected = json!({"problems": [{"path": "service shop / metric second", "problem": "friendly_name has already been taken"}]});
    assert_eq!((status, body), (422, expected));
    let text = "version: 1\naccounts:\n- org_name: A\n  applications: [{service: api, application_id: abcd, plan: none}]\n";
    let (status, body) = import(&world, json!({"document": text, "apply": true}));
    assert_eq!(
        (status, &body["problems"][0]["problem"]),
        (422, &json!("there is no application plan 'none'"))
    );
    let text = "version: 1\naccounts: [{org_name: A, extra: {tier: x}}]\n";
    let (status, body) = import(&world, json!({"document": text, "apply": true}));
    assert_eq!(status, 422, "{body}");
    assert!(body.to_string().contains("there is no field 'tier' of Account"), "{body}");
    assert_eq!(exported(&world), before);
}

#[test]
fn a_document_that_is_wrong_is_told_with_its_lines() {
    let world = World::new();
    let (status, body) = import(
        &world,
        json!({"document": "version: 1\nservices:\n- system_name: shop\n  nmae: x\n", "secrets": "a: b"}),
    );
    assert_eq!(status, 422);
    assert_eq!(
        (&body["problems"][0]["line"], &body["problems"][0]["column"]),
        (&json!(4), &json!(3)),
        "{body}"
    );
    let (status, body) = import(&world, json!({"document": "version: 1\n", "secrets": "- hunter2"}));
    assert!(
        status == 422 && body.to_string().contains("secrets") && !body.to_string().contains("hunter2"),
        "{body}"
    );
    assert_eq!(import(&world, json!({})).0, 400);
}

#[test]
fn secrets_without_a_value_stay_or_are_made_and_said() {
    let world = World::new();
    let text = "version: 1\nservices:\n- system_name: shop\n  tokens: [{secret: token}]\n  application_plans: [{system_name: basic}]\n\
accounts:\n- org_name: A\n  applications:\n  - {service: shop, application_id: abcd, plan: basic, user_key: {secret: key}}\n";
    let done = applied(&world, text, "key: known\n", false);
    assert_eq!(done["new_secrets"], json!(["service shop / tokens"]));
    let (document, secrets) = exported(&world);
    let made = Secrets::parse(&secrets).unwrap();
    assert_eq!(made.get("applications/shop/abcd/user_key"), Some("known"));
    assert_eq!(made.get("services/shop/token/1").map(str::len), Some(32));
    assert_eq!(applied(&world, text, "", false)["changes"], json!([]));
    assert_eq!(applied(&world, &document, "", false)["changes"], json!([]));
    let done = applied(&world, text, "token: other\n", false);
    assert_eq!(
        done["changes"][0]["fields"]["tokens"],
        json!({"before": ["(secret)"], "after": ["(secret)"]})
    );
    assert!(exported(&world).1.contains("services/shop/token/1: other\n"));
    // A URL cannot be made up.
    let text = "version: 1\nbackends: [{system_name: inner, private_endpoint: {secret: url}}]\n";
    let (status, body) = import(&world, json!({"document": text}));
    assert!(status == 422 && body.to_string().contains("has no value"), "{body}");
}

#[test]
fn a_key_that_is_taken_out_of_a_list_goes_and_no_other() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Shop", "backend_version": "2"}))["id"].clone();
    let plan =
        world.made(&format!("services/{service}/application_plans"), json!({"name": "P"}))["id"].clone();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "ann"}))["id"].clone();
    let application = json!({"plan_id": plan, "name": "A", "description": "d", "application_id": "the-app"});
    let application = world.made(&format!("accounts/{account}/applications"), application)["id"].clone();
    let keys = format!("accounts/{account}/applications/{application}/keys");
    for key in ["leaked-key", "second-key", "third-key"] {
        assert_eq!(world.post(&keys, json!({"key": key})).0, 201);
    }
    let (document, secrets) = exported(&world);
    let line = secrets.lines().find(|line| line.ends_with("leaked-key")).unwrap();
    let name = line.split(": ").next().unwrap().trim_matches('"');
    let without: String =
        document.lines().filter(|it| !it.contains(name)).map(|it| format!("{it}\n")).collect();
    assert_eq!(without.lines().count() + 1, document.lines().count());
    // Without the values, as a repository has it.
    applied(&world, &without, "", false);
    let (_, left) = world.get(&keys);
    let left: Vec<_> = left["keys"].as_array().unwrap().iter().map(|it| it["key"]["value"].clone()).collect();
    assert!(left.contains(&json!("second-key")) && left.contains(&json!("third-key")), "{left:?}");
    assert!(!left.contains(&json!("leaked-key")), "{left:?}");
}

#[test]
fn what_a_document_does_not_have_goes_only_if_it_is_pruned() {
    let world = rich();
    let text = "version: 1\ndefault_service: only\nservices:\n- system_name: only\nbackends: []\naccounts: []\nfeatures: []\nfields: [{target: Account, name: org_name}]\n";
    let done = applied(&world, text, "", false);
    assert_eq!((&done["added"], &done["removed"]), (&json!(1), &json!(0)));
    let (status, body) = import(&world, json!({"document": text, "prune": true}));
    // What each tenant has anyway cannot go; it is said, and nothing else goes either.
    assert!(status == 422 && body.to_string().contains("built-in"), "{body}");
    let text = text.replace("fields: [{target: Account, name: org_name}]\n", "");
    let done = applied(&world, &text, "", true);
    assert_eq!((&done["added"], &done["removed"]), (&json!(0), &json!(7)));
    let left = exported(&world).0;
    assert!(left.contains("backends: []\n") && left.contains("accounts: []\n"), "{left}");
    assert_eq!(left.matches("\n- system_name: only\n").count(), 1);
    assert!(!left.contains("shop"), "{left}");
}

#[test]
fn rules_and_limits_that_stay_keep_their_ids() {
    let world = rich();
    let (document, secrets) = exported(&world);
    let id = world.get("services").1["services"][1]["service"]["id"].clone();
    let rules = || world.get(&format!("services/{id}/proxy/mapping_rules")).1["mapping_rules"].clone();
    let before = rules();
    let changed = document.replacen("    pattern: /search", "    pattern: /find", 1);
    assert_ne!(changed, document);
    applied(&world, &changed, &secrets, true);
    let after = rules();
    let ids = |it: &Value| {
        it.as_array().unwrap().iter().map(|it| it["mapping_rule"]["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (before, after) = (ids(&before), ids(&after));
    assert_eq!(before.len(), after.len());
    assert_eq!(before.iter().filter(|id| after.contains(id)).count(), before.len() - 1);
}

#[test]
fn who_is_no_administrator_sees_and_imports_nothing() {
    let world = World::new();
    let user =
        world
            .made("users", json!({"username": "member", "email": "m@example.com", "password": "a password"}))
            ["id"]
            .clone();
    assert_eq!(world.put(&format!("users/{user}/activate"), json!({})).0, 200);
    let permissions = json!({"allowed_sections": ["partners", "plans", "settings"]});
    assert_eq!(world.put(&format!("users/{user}/permissions"), permissions).0, 200);
    let token = world.made(
        &format!("users/{user}/access_tokens"),
        json!({"name": "t", "permission": "rw", "scopes": ["account_management"]}),
    );
    let token = token["value"].as_str().unwrap();
    let send = |method, path: &str, token| {
        world.send(method, path, json!({"document": "version: 1\n"}), Some(token)).status
    };
    assert_eq!(
        (send(Method::Get, "catalog.json", token), send(Method::Post, "catalog/import.json", token)),
        (403, 403)
    );
    let reader = world.made(
        "personal/access_tokens",
        json!({"name": "r", "permission": "ro", "scopes": ["account_management"]}),
    );
    let reader = reader["value"].as_str().unwrap();
    assert_eq!(
        (send(Method::Get, "catalog.json", reader), send(Method::Post, "catalog/import.json", reader)),
        (200, 403)
    );
    // Whoever has the secrets can write, with others' credentials.
    let with_secrets =
        |token| world.send(Method::Get, "catalog.json", json!({"secrets": true}), Some(token)).status;
    assert_eq!((with_secrets(reader), with_secrets(TOKEN)), (403, 200));
}

#[test]
fn a_subscription_that_is_pruned_goes_after_the_applications_that_are_under_it() {
    let world = World::new();
    let text = |more: &str| {
        format!(
            "version: 1\nservices:\n- system_name: shop\n  application_plans: [{{system_name: basic}}]\n  service_plans: [{{system_name: terms}}]\naccounts:\n- org_name: A\n{more}"
        )
    };
    let full = text(
        "  subscriptions: [{service: shop, plan: terms}]\n  applications: [{service: shop, application_id: abcd, plan: basic}]\n",
    );
    applied(&world, &full, "", false);
    let before = exported(&world);
    let done = applied(&world, &text("  subscriptions: []\n  applications: []\n"), "", true);
    assert!(done["removed"].as_u64() >= Some(2), "{done:#}");
    assert!(!exported(&world).0.contains("abcd"));
    applied(&world, &full, "", false);
    assert_ne!(before, exported(&world), "the key is another one");
    assert!(exported(&world).0.contains("abcd"));
}

/// Something of a random catalog: numbers that choose.
fn random_world(choices: &[(u8, u8, String)]) -> World {
    let world = World::new();
    let pick = |path: &str, list: &str, record: &str, number: u8| {
        let all = world.get(path).1[list].as_array().cloned().unwrap_or_default();
        all.get(usize::from(number) % all.len().max(1)).map(|it| it[record]["id"].clone())
    };
    for (what, which, text) in choices {
        let Some(service) = pick("services", "services", "service", *which) else { continue };
        let account = pick("accounts", "accounts", "account", *which);
        let plan =
            pick(&format!("services/{service}/application_plans"), "plans", "application_plan", *which);
        let metric = pick(&format!("services/{service}/metrics"), "metrics", "metric", which.wrapping_mul(7));
        // Whatever of it is refused is not there.
        let _ = match (what % 12, account, plan, metric) {
            (0, ..) => world.post("services", json!({"name": text, "backend_version": if *which % 2 == 0 { "1" } else { "2" }})),
            (1, ..) => world.post("backend_apis", json!({"name": text, "private_endpoint": format!("https://{which}.example")})),
            (2, ..) => world.post(&format!("services/{service}/metrics"), json!({"friendly_name": text, "unit": "u", "description": text})),
            (3, ..) => world.post(&format!("services/{service}/application_plans"), json!({"name": text, "cost_per_month": which})),
            (4, _, Some(plan), Some(metric)) => world.post(&format!("application_plans/{plan}/metrics/{metric}/limits"), json!({"period": (["day", "hour", "eternity"][usize::from(*which) % 3]), "value": which})),
            (5, _, Some(plan), Some(metric)) => world.post(&format!("application_plans/{plan}/metrics/{metric}/pricing_rules"), json!({"min": which, "max": which, "cost_per_unit": format!("0.{which}")})),
            (6, _, _, Some(metric)) => world.post(&format!("services/{service}/proxy/mapping_rules"), json!({"http_method": "GET", "pattern": format!("/{which}"), "delta": 1, "metric_id": metric, "position": which})),
            (7, ..) => world.post("signup", json!({"org_name": text, "username": format!("user{which}")})),
            (8, Some(account), Some(plan), _) => world.post(&format!("accounts/{account}/applications"), json!({"plan_id": plan, "name": text, "description": text})),
            (9, ..) => {
                let backend = pick("backend_apis", "backend_apis", "backend_api", *which).unwrap_or_default();
                world.post(&format!("services/{service}/backend_usages"), json!({"backend_api_id": backend, "path": format!("/{which}")}))
            }
            (10, ..) => world.post(&format!("services/{service}/features"), json!({"name": text, "description": text})),
            (11, ..) => world.put(&format!("services/{service}"), json!({"description": text, "support_email": text})),
            _ => (0, Value::Null),
        };
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_tenants_go_out_and_in_and_out_again_as_the_same_bytes(
        choices in proptest::collection::vec((0u8.., 0u8.., "[a-zA-Z0-9 :#'\"é-]{0,12}|\\PC{0,6}"), 5..60)
    ) {
        let (document, secrets) = exported(&random_world(&choices));
        let world = World::new();
        applied(&world, &document, &secrets, true);
        prop_assert_eq!(exported(&world), (document, secrets));
    }
}
