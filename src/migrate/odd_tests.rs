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

/// An account of number 7 with a user and an application of each of these.
fn people(there: &mut Threescale, users: &[Value], applications: &[Value]) {
    there.list("accounts", "account", [json!({"id": 7, "org_name": " Ann\u{9}& Co ", "state": "approved"})]);
    there.list("accounts/7/users", "user", users.to_vec());
    there.list("applications", "application", applications.to_vec());
}

fn user(name: &str, rest: Value) -> Value {
    let mut user = json!({"id": name.len(), "username": name, "state": "active", "role": "admin"});
    rest.as_object().unwrap().iter().for_each(|(key, value)| user[key] = value.clone());
    user
}

fn application(id: u64, application_id: &str, rest: Value) -> Value {
    let mut it = json!({"id": id, "application_id": application_id, "service_id": 1, "plan_id": 11, "account_id": 7, "state": "live"});
    rest.as_object().unwrap().iter().for_each(|(key, value)| it[key] = value.clone());
    it
}

#[test]
fn words_that_a_document_has_not_are_others_and_it_is_said() {
    let mut there = Threescale::new();
    let users = [
        user("ann", json!({})),
        user("bobby", json!({"state": "email_unverified", "role": "member"})),
        user("carola", json!({"state": "asleep", "role": "owner"})),
    ];
    let applications =
        [application(31, "AbCd", json!({})), application(32, "abcd", json!({"state": "deprecated"}))];
    people(&mut there, &users, &applications);
    let subscription = json!({"id": 41, "service_id": 1, "state": "cancelled"});
    there.list("accounts/7/service_subscriptions", "service_subscription", [subscription]);
    let service =
        json!({"id": 1, "system_name": "weather", "backend_version": "2", "deployment_option": "on_premise"});
    let plugin = json!({"id": 3, "system_name": "maps", "backend_version": "oauth2", "deployment_option": "plugin_ruby"});
    there.list("services", "service", [service, plugin]);
    let proxy = json!({"oidc_issuer_endpoint": "https://i.example/", "jwt_claim_with_client_id_type": "jq"});
    there.put("services/1/proxy", json!({"proxy": proxy}));
    let Migration { document, notes, .. } = there.migrated();
    let account = &document.accounts.as_ref().unwrap()[0];
    assert_eq!(account.org_name, "Ann & Co");
    let users: Vec<_> =
        account.users.iter().flatten().map(|it| (it.role.as_deref(), it.state.as_deref())).collect();
    let is = |role, state| (Some(role), Some(state));
    assert_eq!(users, [is("admin", "active"), is("member", "pending"), is("member", "pending")]);
    let applications = account.applications.iter().flatten();
    let applications: Vec<_> =
        applications.map(|it| (it.application_id.as_str(), it.state.as_deref())).collect();
    // Ids of applications differ in case alone as well: callers have them.
    assert_eq!(applications, [("AbCd", Some("live")), ("abcd", Some("suspended"))]);
    assert_eq!(account.subscriptions.as_ref().unwrap()[0].state.as_deref(), Some("suspended"));
    let services = document.services.as_ref().unwrap();
    let are: Vec<_> =
        services.iter().map(|it| [it.deployment_option.as_deref(), it.backend_version.as_deref()]).collect();
    assert_eq!(are, [[Some("plugin_ruby"), Some("oauth")], [Some("self_managed"), Some("2")]]);
    let proxy = services[1].proxy.as_ref().unwrap();
    assert_eq!(proxy.oidc_issuer_type.as_deref(), Some("keycloak"));
    assert_eq!(proxy.jwt_claim_with_client_id_type.as_deref(), Some("plain"));
    for note in [
        "user bobby: state was email_unverified, and is pending here",
        "user carola: state was asleep, and is pending here",
        "user carola: role was owner, and is member here",
        "application abcd of service weather: state was deprecated, and is suspended here",
        "subscription 41 to service weather: state was cancelled, and is suspended here",
        "service weather: deployment_option was on_premise, and is self_managed here",
        "service maps: backend_version was oauth2, and is oauth here",
        "service weather, proxy: oidc_issuer_type is not shown, and is keycloak here",
    ] {
        assert!(notes.iter().any(|it| it == note), "{note}\n{notes:#?}");
    }
}

#[test]
fn what_a_document_cannot_hold_is_left_out_alone_and_it_is_said() {
    let mut there = Threescale::new();
    people(
        &mut there,
        &[user("ann", json!({})), user("Ann", json!({"id": 99}))],
        &[
            application(31, "abcd", json!({"redirect_url": "x".repeat(5000)})),
            application(32, "a b", json!({})),
        ],
    );
    let rule = |id, method: &str, pattern: &str, delta| json!({"id": id, "http_method": method, "pattern": pattern, "delta": delta, "metric_id": 5});
    let rules = [
        rule(1, "get", "/good", 1),
        rule(2, "TRACE", "/b", 1),
        rule(3, "GET", "no slash", 1),
        rule(4, "GET", "/c", 0),
    ];
    there.list("services/1/proxy/mapping_rules", "mapping_rule", rules);
    let limit = |id, period: &str| json!({"id": id, "period": period, "value": 5, "metric_id": 5});
    there.list(
        "application_plans/11/limits",
        "limit",
        [limit(1, "day"), limit(2, "fortnight"), limit(3, "day")],
    );
    let price =
        |min, max: Value, cost: Value| json!({"metric_id": 5, "min": min, "max": max, "cost_per_unit": cost});
    let prices = [
        price(1, json!(10), json!("0.1")),
        price(5, json!(12), json!("0.2")),
        price(20, json!(30), json!("0.00005")),
        price(40, Value::Null, json!(0.1 + 0.2)),
    ];
    there.list("application_plans/11/pricing_rules", "pricing_rule", prices);
    let metrics = [
        json!({"id": 5, "system_name": "hits", "friendly_name": "Hits", "unit": "hit"}),
        json!({"id": 6, "system_name": "old.name", "friendly_name": "Old\u{7}", "unit": "1"}),
    ];
    there.list("services/1/metrics", "metric", metrics);
    there.put(
        "services/1/proxy",
        json!({"proxy": {"credentials_location": "cookie", "error_status_no_match": 9}}),
    );
    let field = json!({"target": "Account", "name": "size", "choices": ["s", 4, null]});
    there.list("fields_definitions", "fields_definition", [field, json!({"target": "Invoice", "name": "x"})]);
    let Migration { document, notes, .. } = there.migrated();
    let service = service(&document);
    assert_eq!(
        service.mapping_rules.iter().flatten().map(|it| it.pattern.as_str()).collect::<Vec<_>>(),
        ["/good"]
    );
    let plan = &service.application_plans.as_ref().unwrap()[0];
    assert_eq!(plan.limits.as_ref().unwrap().len(), 1);
    let prices: Vec<_> =
        plan.pricing_rules.iter().flatten().map(|it| (it.min, it.cost_per_unit.0.as_str())).collect();
    assert_eq!(prices, [(Some(1), "0.1"), (Some(40), "0.3")]);
    let metric = &service.metrics.as_ref().unwrap()[1];
    assert_eq!((metric.system_name.as_str(), &metric.friendly_name), ("old_name", &None));
    assert_eq!(service.proxy.as_ref().unwrap().credentials_location, None);
    assert_eq!(document.fields.as_ref().unwrap().len(), 1);
    let account = &document.accounts.as_ref().unwrap()[0];
    assert_eq!(account.users.as_ref().unwrap().len(), 1);
    let [application] = account.applications.as_deref().unwrap() else { panic!("{account:?}") };
    assert_eq!((application.application_id.as_str(), &application.redirect_url), ("abcd", &None));
    for note in [
        "left out: services weather, mapping rules 2, http method: 'TRACE' is none of",
        "left out: services weather, application plans gold, limits 2, period: 'fortnight' is none of",
        "left out: accounts Ann & Co, applications weather a b, application id: must be 4 to",
        "left out: accounts Ann & Co, users Ann, username: there is another user",
        "left out: services weather, proxy, credentials location: 'cookie' is none of",
        "metric old.name: is called old_name here",
    ] {
        assert!(notes.iter().any(|it| it.starts_with(note)), "{note}\n{notes:#?}");
    }
}

#[test]
fn a_customised_plan_that_is_not_listed_comes_by_its_id_with_its_application() {
    let mut there = Threescale::new();
    let on = |id, plan: u64| application(id, &format!("app-of-{plan}"), json!({"plan_id": plan}));
    let elsewhere = application(34, "app-of-none", json!({"service_id": 9}));
    people(&mut there, &[], &[on(31, 11), on(32, 14), on(33, 15), elsewhere]);
    let subscription = json!({"id": 41, "service_id": 9, "state": "live"});
    there.list("accounts/7/service_subscriptions", "service_subscription", [subscription]);
    let custom = json!({"id": 14, "name": "gold (custom)", "system_name": "gold_custom_1", "state": "hidden", "custom": true});
    there.put("services/1/application_plans/14", json!({"application_plan": custom}));
    let limit = json!({"id": 1, "period": "day", "value": 5, "metric_id": 5});
    let lost = json!({"id": 2, "period": "day", "value": 5, "metric_id": 77});
    there.list("application_plans/14/limits", "limit", [limit, lost]);
    let Migration { document, notes, .. } = there.migrated();
    let plans = service(&document).application_plans.as_ref().unwrap();
    let plans: Vec<_> =
        plans.iter().map(|it| (it.system_name.as_str(), it.limits.as_ref().unwrap().len())).collect();
    assert_eq!(plans, [("gold", 0), ("gold_custom_1", 1)]);
    let applications = document.accounts.as_ref().unwrap()[0].applications.iter().flatten();
    let applications: Vec<_> =
        applications.map(|it| (it.application_id.as_str(), it.plan.as_deref())).collect();
    assert_eq!(applications, [("app-of-11", Some("gold")), ("app-of-14", Some("gold_custom_1"))]);
    let said = |text: &str| notes.iter().any(|it| it.starts_with(text));
    assert!(said("application 33: its plan is not shown"), "{notes:#?}");
    assert!(said("services/1/application_plans/15: is not shown"), "{notes:#?}");
    assert!(said("left out: a limit of plan gold_custom_1: its metric is not there"), "{notes:#?}");
    assert!(said("left out: application 34: its service is not listed"), "{notes:#?}");
    assert!(said("left out: a subscription of accounts/7: its service is not listed"), "{notes:#?}");
}

#[test]
fn addresses_of_gateways_of_ones_own_come_and_those_of_hosted_ones_do_not() {
    for (option, address, comes) in [
        ("self_managed", "https://api.example.com:443", true),
        ("service_mesh_istio", "http://api.example.com/", true),
        ("self_managed", "https://api.example.com/v1", false),
        ("self_managed", "https://u:p@api.example.com", false),
        ("hosted", "https://api-2.production.apicast.io:443", false),
    ] {
        let mut there = Threescale::new();
        there.list(
            "services",
            "service",
            [json!({"id": 1, "system_name": "weather", "backend_version": "1", "deployment_option": option})],
        );
        let proxy = json!({"endpoint": address, "sandbox_endpoint": "https://staging.example.com:443", "secret_token": "s"});
        there.put("services/1/proxy", json!({"proxy": proxy}));
        let Migration { document, notes, .. } = there.migrated();
        let proxy = service(&document).proxy.as_ref().unwrap();
        assert_eq!(proxy.endpoint.is_some(), comes, "{option} {address}");
        assert_eq!(proxy.sandbox_endpoint.is_some(), option != "hosted");
        let said = "service weather: endpoint ";
        assert_eq!(notes.iter().any(|it| it.starts_with(said)), !comes, "{notes:#?}");
        assert!(!notes.iter().any(|it| it.contains("u:p")), "{notes:#?}");
    }
}

#[test]
fn what_is_not_asked_for_and_what_was_in_production_is_said() {
    let mut there = Threescale::new();
    let notes = there.migrated().notes;
    assert!(notes.iter().any(|it| it == super::NOT_ASKED_FOR), "{notes:#?}");
    let is_promoted = |it: &String| it.starts_with("service weather: version 3 was in production;");
    assert!(!notes.iter().any(is_promoted));
    let config = json!({"id": 1, "version": 3, "environment": "production", "content": {"backend_authentication_value": "t"}});
    there.put("services/1/proxy/configs/production/latest", json!({"proxy_config": config}));
    let notes = there.migrated().notes;
    assert!(notes.iter().any(is_promoted), "{notes:#?}");
}

#[test]
fn an_account_that_was_suspended_is_not_let_in() {
    let mut there = Threescale::new();
    let account = |id, state: &str| json!({"id": id, "org_name": state, "state": state});
    let states = ["approved", "pending", "scheduled_for_deletion", "suspended"];
    there.list("accounts", "account", states.iter().zip(1..).map(|(state, id)| account(id, state)));
    let Migration { document, notes, .. } = there.migrated();
    let are: Vec<_> = document.accounts.iter().flatten().map(|it| it.state.as_deref().unwrap()).collect();
    assert_eq!(are, ["approved", "pending", "rejected", "rejected"]);
    assert!(notes.iter().any(|it| it == "account suspended: state was suspended, and is rejected here"));
}

#[test]
fn what_the_admin_api_would_refuse_is_left_out_and_said() {
    let mut there = Threescale::new();
    let users = [
        user("an", json!({})),
        user("ann", json!({"email": "nobody", "shoe": 41, "hat": "blue"})),
        user("bobby", json!({"email": "b@b.example", "shoe": {"left": 1}, "hat": "red"})),
    ];
    people(
        &mut there,
        &users,
        &[
            application(31, "abcd", json!({})),
            application(32, "efgh", json!({"service_id": 3, "plan_id": 13, "user_key": "a b"})),
        ],
    );
    let field = |name: &str, choices: Value| json!({"target": "User", "name": name, "label": "L", "choices": choices});
    let fields = [
        field("shoe", json!([])),
        field("hat", json!(["red"])),
        field("2 x", json!([])),
        field("state", json!([])),
    ];
    there.list("fields_definitions", "fields_definition", fields);
    let keys = ["12345", "1234", "abcde", "ABCDE", "k-0001", "k-0002", "k-0003", "k-0004"];
    there.list("accounts/7/applications/31/keys", "key", keys.map(|it| json!({"value": it})));
    let filters = ["*.example", "a_b"].map(|it| json!({"id": it.len(), "value": it}));
    there.list("accounts/7/applications/31/referrer_filters", "referrer_filter", filters);
    let backend = |id, url: &str| json!({"id": id, "system_name": format!("b{id}"), "private_endpoint": url});
    there.list(
        "backend_apis",
        "backend_api",
        [backend(51, "http://localhost:80"), backend(52, "https://b.example:443")],
    );
    let usage =
        |id, backend| json!({"backend_usage": {"id": id, "backend_id": backend, "path": format!("/{id}")}});
    there.put("services/1/backend_usages", json!([usage(61, 51), usage(62, 52)]));
    let proxy = json!({"error_auth_failed": "<b>No</b>", "error_no_match": "", "error_auth_missing": "Who?", "secret_token": "a b"});
    let policies = json!([{"name": "cors", "version": "builtin", "configuration": {}}, {"name": "own"}]);
    there.put("services/1/proxy/policies", json!({"policies_config": policies}));
    there.put("services/1/proxy", json!({"proxy": proxy}));
    let service =
        |id, name: &str, version: &str| json!({"id": id, "system_name": name, "backend_version": version});
    there.list("services", "service", [service(1, "weather", "2"), service(3, "maps", "1")]);
    there.list("services/3/application_plans", "application_plan", [plan(13, "walks")]);
    let Migration { document, secrets, notes, .. } = there.migrated();
    let account = &document.accounts.as_ref().unwrap()[0];
    let users: Vec<_> = account
        .users
        .iter()
        .flatten()
        .map(|it| (it.username.as_str(), it.email.as_deref(), json!(it.extra)))
        .collect();
    let expected =
        [("ann", None, json!({"shoe": "41"})), ("bobby", Some("b@b.example"), json!({"hat": "red"}))];
    assert_eq!(users, expected);
    let [maps, weather] = account.applications.as_deref().unwrap() else { panic!("{account:?}") };
    assert_eq!((maps.user_key.as_ref(), weather.keys.as_ref().unwrap().len()), (None, 5));
    assert_eq!(secrets.get("applications/weather/abcd/key/2"), Some("abcde"));
    assert_eq!(weather.referrer_filters.as_deref(), Some(&["*.example".to_owned()][..]));
    assert_eq!(
        document.fields.iter().flatten().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["hat", "shoe", "state"]
    );
    let services = document.services.as_ref().unwrap();
    let used: Vec<_> = services[1].backends.iter().flatten().map(|it| it.backend.as_str()).collect();
    assert_eq!((document.backends.as_ref().unwrap().len(), used), (1, vec!["b52"]));
    let proxy = services[1].proxy.as_ref().unwrap();
    assert_eq!((&proxy.error_auth_failed, &proxy.error_no_match, &proxy.secret_token), (&None, &None, &None));
    assert_eq!(proxy.error_auth_missing.as_deref(), Some("Who?"));
    assert_eq!(services[1].policies.as_ref().unwrap().len(), 1);
    for note in [
        "left out: user an of accounts/7: ",
        "left out: user ann: email: ",
        "left out: user ann: hat: ",
        "left out: user bobby: shoe: ",
        "left out: the field 2 x of User: ",
        "left out: application efgh of service maps: user_key: ",
        "left out: application abcd of service weather, keys: 3 of 8: ",
        "left out: application abcd of service weather, filters: 1 of 2: ",
        "left out: backend b51: ",
        "left out: service weather, proxy: error_auth_failed: ",
        "left out: service weather, proxy: secret_token: ",
        "left out: service weather: a policy ",
    ] {
        assert!(notes.iter().any(|it| it.starts_with(note)), "{note}\n{notes:#?}");
    }
    assert!(!notes.iter().any(|it| it.contains("error_no_match") || it.contains("a b")), "{notes:#?}");
}

#[test]
fn the_flows_of_openid_connect_are_asked_for_where_they_are() {
    let mut there = Threescale::new();
    there.list(
        "services",
        "service",
        [json!({"id": 1, "system_name": "weather", "backend_version": "oidc"})],
    );
    there.put(
        "services/1/proxy",
        json!({"proxy": {"oidc_issuer_endpoint": "https://c:s@i.example/", "oidc_issuer_type": "rest"}}),
    );
    let flows = json!({"id": 9, "standard_flow_enabled": false, "implicit_flow_enabled": true});
    there.put("services/1/proxy/oidc_configuration", json!({"oidc_configuration": flows}));
    let Migration { document, secrets, .. } = there.migrated();
    let proxy = service(&document).proxy.as_ref().unwrap();
    assert_eq!((proxy.standard_flow_enabled, proxy.implicit_flow_enabled), (Some(false), Some(true)));
    assert_eq!((proxy.service_accounts_enabled, proxy.oidc_issuer_type.as_deref()), (None, Some("rest")));
    assert_eq!(secrets.get("services/weather/proxy/oidc_issuer_endpoint"), Some("https://c:s@i.example/"));
}
