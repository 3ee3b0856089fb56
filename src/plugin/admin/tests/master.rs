//! Tenants: how they are made, told apart, bounded and ended.

use std::collections::BTreeSet;

use super::super::master::plans::PLANS_MAX;
use super::super::routes::{Route, of_master, of_tenants};
use super::*;
use crate::engine::request::{AuthRequest, Call as Asked, Credentials, Usage};
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::record::ServiceState;
use crate::store::ShelfError;

const MASTER_TOKEN: &str = "the master's token";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A node with a master besides the first tenant.
pub(super) struct Node(pub(super) World);

/// A tenant that the master has made.
pub(super) struct Made {
    pub(super) id: u64,
    pub(super) token: String,
}

impl Node {
    pub(super) fn new() -> Node {
        let world = World::new();
        assert!(world.admin.begin_master(MASTER_TOKEN).unwrap().is_some());
        assert!(world.admin.begin_master("another").unwrap().is_none());
        Node(world)
    }

    /// A call under a path from the root, as the path of an address with or without a tenant's number.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        host: Option<&str>,
        parameters: Value,
        token: &str,
    ) -> Answer {
        let Value::Object(mut parameters) = parameters else { panic!("parameters are an object") };
        if !token.is_empty() {
            parameters.insert("access_token".to_owned(), token.into());
        }
        let (tenant, path) = crate::plugin::call::tenant_of_path(path);
        self.0.admin.answer(&Call {
            method,
            tenant,
            path: path.to_owned(),
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: host.map(str::to_owned),
            scheme: "http",
        })
    }

    fn master(&self, method: Method, path: &str, parameters: Value) -> (u16, Value) {
        let path = format!("/master/api/{path}.json");
        let answer = self.send(method, &path, Some("node:3000"), parameters, MASTER_TOKEN);
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    pub(super) fn make(&self, name: &str) -> Made {
        let (status, body) = self.master(Method::Post, "providers", signup(name));
        assert_eq!(status, 201, "{body}");
        let signup = &body["signup"];
        let token = signup["access_token"]["value"].as_str().unwrap().to_owned();
        Made { id: signup["account"]["id"].as_u64().unwrap(), token }
    }

    pub(super) fn as_tenant(
        &self,
        tenant: &Made,
        method: Method,
        path: &str,
        parameters: Value,
    ) -> (u16, Value) {
        let path = format!("/tenants/{}/admin/api/{path}.json", tenant.id);
        let answer = self.send(method, &path, None, parameters, &tenant.token);
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// The keys of every row of the shelf but the master's audit log.
    fn rows(&self) -> BTreeSet<(String, Vec<u8>)> {
        let shelf = self.0.admin.desk.keeper().shelf();
        let all = shelf.read(|reading| {
            let mut all = BTreeSet::new();
            for table in reading.tables()? {
                all.extend(reading.keys(&table)?.into_iter().map(|key| (table.clone(), key)));
            }
            Ok::<_, ShelfError>(all)
        });
        let is_masters = |(table, key): &(String, Vec<u8>)| table == "audit" && key.starts_with(&[0; 8]);
        all.unwrap().into_iter().filter(|row| !is_masters(row)).collect()
    }

    /// What takes away what was under services that are retired: the node's own work.
    fn purge(&self) {
        let catalog = self.0.engine.catalog();
        let all = catalog.services.iter().filter(|(_, service)| service.state == ServiceState::Retired);
        for (id, _) in all {
            let applications: Vec<_> = catalog.applications_of(id).iter().map(ApplicationId).collect();
            let plans: Vec<_> = catalog.plans_of(ServiceId(id)).iter().map(PlanId).collect();
            let done = self.0.engine.change(|draft| {
                draft.purge(&applications, &plans)?;
                draft.purge_service(ServiceId(id))
            });
            done.unwrap();
        }
    }

    /// What a call with credentials is refused for, if it is.
    fn refused(&self, credentials: Credentials<'_>, user_key: &str) -> Option<String> {
        let (user_key, call) = (Some(user_key), Asked::Authorize);
        let request = AuthRequest {
            call,
            oauth: false,
            credentials,
            app_id: None,
            user_key,
            app_key: None,
            referrer: None,
            redirect: None,
            usage: Usage::default(),
            log_code: None,
            flat_usage: false,
            no_body: false,
        };
        let asked = self.0.engine.authorize(&request, UnixMillis(NOW), |_| ());
        asked.err().map(|refusal| refusal.code().to_owned())
    }
}

fn signup(name: &str) -> Value {
    json!({"org_name": name, "username": "tenant", "email": "email@invalid.invalid", "password": "123456"})
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn a_tenant_begins_whole_and_its_token_opens_what_is_its_own() {
    let node = Node::new();
    let (status, body) = node.master(Method::Post, "providers", signup("Acme Corp."));
    assert_eq!(status, 201, "{body}");
    let account = &body["signup"]["account"];
    let id = account["id"].as_u64().unwrap();
    assert_eq!(account["org_name"], "Acme Corp.");
    assert_eq!(account["state"], "approved");
    assert_eq!(account["annotations"], json!({}));
    assert_eq!(account["admin_base_url"], format!("http://node:3000/tenants/{id}"));
    let token = body["signup"]["access_token"]["value"].as_str().unwrap().to_owned();
    let acme = Made { id, token };
    let list =
        |what: &str, wrapper: &str| node.as_tenant(&acme, Method::Get, what, json!({})).1[wrapper].clone();
    assert_eq!(list("services", "services")[0]["service"]["name"], "API");
    assert_eq!(list("account_plans", "plans").as_array().unwrap().len(), 1);
    assert_eq!(list("accounts", "accounts")[0]["account"]["org_name"], "Developer");
    assert_eq!(list("applications", "applications")[0]["application"]["name"], "Developer's App");
    assert_eq!(list("users", "users")[0]["user"]["username"], "tenant");
    let backend = &list("backend_apis", "backend_apis")[0]["backend_api"];
    assert_eq!(backend["private_endpoint"], "https://echo-api.3scale.net:443");
    // On a bare address the token alone says whose it is.
    let bare = parsed(&node.send(Method::Get, "/admin/api/provider.json", None, json!({}), &acme.token));
    assert_eq!(bare["account"]["id"], id);
    assert_eq!(bare["account"]["org_name"], "Acme Corp.");
    // And no other tenant has been given anything.
    assert_eq!(node.0.get("services").1["services"].as_array().unwrap().len(), 1);
    assert_eq!(node.0.get("accounts").1["accounts"], json!([]));
}

#[test]
fn what_a_tenant_cannot_be_made_of_is_said_and_nothing_is_made() {
    let node = Node::new();
    let before = node.rows();
    let (status, body) = node.master(Method::Post, "providers", json!({}));
    assert_eq!(status, 422);
    for field in ["org_name", "username", "email", "password"] {
        assert!(body["errors"][field].is_array(), "{field}: {body}");
    }
    for (field, wrong) in [
        ("email", "no"),
        ("username", "a"),
        ("password", "short"),
        ("subdomain", "a.b"),
        ("subdomain", "master"),
    ] {
        let mut fields = signup("X");
        fields[field] = wrong.into();
        let (status, body) = node.master(Method::Post, "providers", fields);
        assert!(status == 422 && body["errors"][field].is_array(), "{field}: {body}");
    }
    assert!(node.rows() == before && node.0.engine.catalog().tenants.iter().count() == 1);
}

#[test]
fn who_is_not_the_master_is_told_nothing_by_its_api() {
    let node = Node::new();
    let acme = node.make("Acme");
    let path_of = |route: &Route| route.path.replace("{id}", &acme.id.to_string());
    let mut asked = 0;
    for route in of_master() {
        for method in route.methods {
            let path = format!("/master/api/{}.json", path_of(route));
            for token in ["", "unknown", TOKEN, &acme.token] {
                let answer = node.send(*method, &path, None, json!({}), token);
                let told = (answer.status, &answer.body[..], answer.is_stranger);
                assert_eq!(told, (401, &b"unauthorized"[..], true), "{path} by {token}");
                asked += 1;
            }
            let elsewhere = format!("/tenants/{}{path}", acme.id);
            assert_eq!(node.send(*method, &elsewhere, None, json!({}), MASTER_TOKEN).status, 401);
        }
    }
    assert!(asked >= 4 * 15, "{asked}");
}

#[test]
fn the_master_reads_with_what_is_for_reading_and_has_nothing_of_tenants() {
    let node = Node::new();
    let token = json!({"token": {"name": "ro", "permission": "ro", "scopes": ["account_management"]}});
    let tokens = "/admin/api/personal/access_tokens.json";
    let made = parsed(&node.send(Method::Post, tokens, None, token, MASTER_TOKEN));
    let ro = made["access_token"]["value"].as_str().unwrap();
    let send = |method, path: &str| node.send(method, path, None, signup("X"), ro).status;
    assert_eq!(send(Method::Get, "/master/api/providers.json"), 200);
    assert_eq!(send(Method::Post, "/master/api/providers.json"), 403);
    let mut asked = 0;
    let is_masters = |route: &&Route| {
        route.path.starts_with("personal/access_tokens") || route.path.starts_with("audit_log")
    };
    for route in of_tenants().filter(|route| !is_masters(route)) {
        for method in route.methods {
            let path = format!("/admin/api/{}.json", route.path.replace(['{', '}'], ""));
            assert_eq!(node.send(*method, &path, None, json!({}), MASTER_TOKEN).status, 403, "{path}");
            asked += 1;
        }
    }
    assert!(asked > 200, "{asked}");
    // What the master does is written down for the master.
    node.make("Acme");
    let log = |token| {
        let log = node.send(Method::Get, "/admin/api/audit_log.json", None, json!({}), token);
        String::from_utf8_lossy(&log.body).into_owned()
    };
    assert!(log(MASTER_TOKEN).contains("/master/api/providers") && !log(TOKEN).contains("providers"));
}

#[test]
fn an_address_proposes_a_tenant_and_the_credentials_must_be_that_tenants() {
    let mut node = Node::new();
    let (acme, umbrella) = (node.make("Acme"), node.make("Umbrella"));
    let admin = Admin::new(Arc::clone(&node.0.admin.desk), node.0.admin.clock.clone());
    node.0.admin = Arc::new(admin.with_domain(Some("api.example".to_owned())));
    let (of_acme, of_umbrella) = (format!("/tenants/{}", acme.id), format!("/tenants/{}", umbrella.id));
    let (ok, denied) = (200, 403);
    for (prefix, host, token, expected) in [
        ("", "node", &acme.token, ok),
        ("", "acme-admin.api.example:3000", &acme.token, ok),
        ("", "ACME.api.example", &acme.token, ok),
        ("", "umbrella-admin.api.example", &acme.token, denied),
        ("", "nobody-admin.api.example", &acme.token, denied),
        ("", "master.api.example", &acme.token, denied),
        ("", "a.acme.api.example", &acme.token, denied),
        ("", "acmeapi.example", &acme.token, ok),
        (&of_acme, "node", &acme.token, ok),
        (&of_acme, "acme.api.example", &acme.token, ok),
        (&of_acme, "umbrella.api.example", &acme.token, denied),
        (&of_umbrella, "node", &acme.token, denied),
        (&of_umbrella, "acme.api.example", &acme.token, denied),
        ("/tenants/999999", "node", &acme.token, denied),
        ("", "umbrella.api.example", &umbrella.token, ok),
    ] {
        let path = format!("{prefix}/admin/api/provider.json");
        let answer = node.send(Method::Get, &path, Some(host), json!({}), token);
        assert_eq!(answer.status, expected, "{prefix} on {host}");
        if expected == denied {
            let told = (&answer.body[..], answer.is_stranger);
            assert_eq!(told, (&br#"{"error":"Access denied"}"#[..], true));
        }
    }
    for (host, expected) in [
        ("master.api.example", 200),
        ("master-admin.api.example", 200),
        ("node", 200),
        ("acme.api.example", 401),
    ] {
        let path = "/master/api/providers.json";
        let answer = node.send(Method::Get, path, Some(host), json!({}), MASTER_TOKEN);
        assert_eq!(answer.status, expected, "{host}");
    }
    let host = Some("acme.api.example:81");
    let shown = parsed(&node.send(Method::Get, "/admin/api/provider.json", host, json!({}), &acme.token));
    assert_eq!(shown["account"]["admin_base_url"], "http://acme-admin.api.example:81");
    assert_eq!(shown["account"]["domain"], "acme.api.example");
}

#[test]
fn a_suspended_tenant_is_refused_at_once_and_comes_back_as_it_was() {
    let node = Node::new();
    let (acme, other) = (node.make("Acme"), node.make("Other"));
    let catalog = node.0.engine.catalog();
    let key = catalog.tenants.get(acme.id).unwrap().provider_keys[0].expose().to_owned();
    let service = catalog.services_of(TenantId(acme.id)).iter().next().unwrap();
    let token = catalog.services.get(service).unwrap().tokens[0].expose().to_owned();
    let application = catalog.applications_of(service).iter().next().unwrap();
    let user_key = catalog.applications.get(application).unwrap().user_keys[0].expose().to_owned();
    let service_id = service.to_string();
    let ways = || {
        let none = Credentials::default();
        let by_key = Credentials { provider_key: Some(&key), ..none };
        let by_token = Credentials { service_token: Some(&token), service_id: Some(&service_id), ..none };
        let by_connection = Credentials { service: Some(ServiceId(service)), ..none };
        [by_key, by_token, by_connection].map(|it| node.refused(it, &user_key))
    };
    assert_eq!(ways(), [None, None, None]);
    let path = format!("providers/{}", acme.id);
    for (method, event, is_open) in [
        (Method::Put, "suspend", false),
        (Method::Put, "resume", true),
        (Method::Put, "make_pending", false),
        (Method::Put, "approve", true),
        (Method::Delete, "", false),
    ] {
        let (status, body) = node.master(method, &path, json!({"state_event": event}));
        assert_eq!(status, 200, "{event}: {body}");
        if is_open {
            assert_eq!(ways(), [None, None, None]);
            assert_eq!(node.as_tenant(&acme, Method::Get, "services", json!({})).0, 200);
            continue;
        }
        let expected = ["provider_key_invalid", "service_token_invalid", "tenant_suspended"];
        assert_eq!(ways(), expected.map(|code| Some(code.to_owned())));
        for prefix in [format!("/tenants/{}", acme.id), String::new()] {
            let path = format!("{prefix}/admin/api/services.json");
            let answer = node.send(Method::Get, &path, None, json!({}), &acme.token);
            assert_eq!((answer.status, answer.body.len(), answer.is_stranger), (403, 0, false));
        }
        assert_eq!(node.as_tenant(&other, Method::Get, "services", json!({})).0, 200);
        let (status, body) = node.master(Method::Put, &path, json!({"state_event": "suspend"}));
        assert!(event == "make_pending" || status == 422, "{event}: {body}");
        if event == "make_pending" {
            node.master(Method::Put, &path, json!({"state_event": "resume"}));
            node.master(Method::Put, &path, json!({"state_event": "make_pending"}));
        }
    }
    // Also for a node that was started since.
    let node = Node(node.0.reopen());
    assert_eq!(node.as_tenant(&acme, Method::Get, "services", json!({})).0, 403);
    assert_eq!(node.as_tenant(&other, Method::Get, "services", json!({})).0, 200);
}

const SWAGGER: &str = r#"{"swagger":"2.0","info":{"title":"t","version":"1"},"paths":{}}"#;
const SCHEMA: &str = r#"{"name":"p","version":"1","$schema":"s","summary":"s","configuration":{"type":"object","properties":{}}}"#;

#[test]
fn a_deleted_tenant_can_come_back_for_fifteen_days_and_then_leaves_nothing() {
    let node = Node::new();
    let kept = node.make("Kept");
    let before = node.rows();
    let acme = node.make("Acme");
    let (_, second) = node.as_tenant(&acme, Method::Post, "services", json!({"name": "Second"}));
    let service = &second["service"]["id"];
    for (path, fields) in [
        ("active_docs".to_owned(), json!({"name": "Doc", "body": SWAGGER})),
        ("registry/policies".to_owned(), json!({"name": "p", "version": "1", "schema": SCHEMA})),
        (format!("services/{service}/application_plans"), json!({"name": "Gold"})),
        ("signup".to_owned(), json!({"org_name": "More", "username": "more"})),
        ("features".to_owned(), json!({"name": "Feature"})),
        ("fields_definitions".to_owned(), json!({"target": "Account", "name": "vat", "label": "VAT"})),
        ("invitations".to_owned(), json!({"email": "a@b.example"})),
        ("users".to_owned(), json!({"username": "second", "email": "s@b.example", "password": "123456"})),
    ] {
        let (status, body) = node.as_tenant(&acme, Method::Post, &path, fields);
        assert_eq!(status, 201, "{path}: {body}");
    }
    let webhook = json!({"url": "http://hooks.example", "active": true});
    assert_eq!(node.as_tenant(&acme, Method::Put, "webhooks", webhook).0, 200);
    let path = format!("providers/{}", acme.id);
    assert_eq!(node.master(Method::Delete, &path, json!({})), (200, Value::Null));
    let (_, shown) = node.master(Method::Get, &path, json!({}));
    assert_eq!(shown["signup"]["account"]["state"], "scheduled_for_deletion");
    assert_eq!(shown["signup"]["account"]["deletion_date"], "2026-12-07T13:45:30Z");
    assert_eq!(node.master(Method::Delete, &path, json!({})).0, 404);
    // Of one that is to go only how it stands can be changed.
    let (_, shown) = node.master(Method::Put, &path, json!({"org_name": "O", "from_email": "x@y.example"}));
    assert_eq!(shown["signup"]["account"]["org_name"], "Acme");
    assert_eq!(shown["signup"]["account"]["from_email"], "");
    let wait = |millis| node.0.now.store(NOW + millis, Ordering::Relaxed);
    wait(15 * DAY_MS - 1);
    let held = node.rows();
    node.0.admin.sweep(&|| false).unwrap();
    assert!(node.rows() == held, "nothing goes before its time");
    let (status, shown) = node.master(Method::Put, &path, json!({"state_event": "resume"}));
    assert_eq!((status, shown["signup"]["account"]["state"].as_str()), (200, Some("approved")));
    let accounts = |tenant| {
        let (_, listed) = node.as_tenant(tenant, Method::Get, "accounts", json!({}));
        listed["accounts"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(accounts(&acme), 2);
    assert_eq!(node.master(Method::Delete, &path, json!({})).0, 200);
    wait(30 * DAY_MS);
    assert_eq!(node.master(Method::Get, &path, json!({})).0, 404);
    assert_eq!(node.master(Method::Put, &path, json!({"state_event": "resume"})).0, 404);
    node.0.admin.sweep(&|| false).unwrap();
    let is_there = || node.0.engine.catalog().tenants.get(acme.id).is_some();
    assert!(is_there(), "what was under its services goes first");
    node.purge();
    node.0.admin.sweep(&|| false).unwrap();
    assert!(!is_there());
    let after = node.rows();
    let left: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(left.is_empty() && lost.is_empty(), "left: {left:?}, lost: {lost:?}");
    assert_eq!(accounts(&kept), 1);
    // Its name is free again.
    node.make("Acme");
}

#[test]
fn a_tenant_has_as_much_as_its_plan_lets_it_and_others_feel_nothing() {
    let node = Node::new();
    let quotas = json!({"name": "Small", "services_max": 2, "accounts_max": 3, "applications_max": 2});
    let small = node.master(Method::Post, "plans", quotas).1["plan"]["id"].as_u64().unwrap();
    let (acme, other) = (node.make("Acme"), node.make("Other"));
    let upgrade = format!("providers/{}/plan_upgrade", acme.id);
    assert_eq!(node.master(Method::Put, &upgrade, json!({"plan_id": small})).0, 200);
    assert_eq!(node.master(Method::Put, &upgrade, json!({"plan_id": 999_999})).0, 404);
    assert_eq!(node.master(Method::Put, &upgrade, json!({})).0, 400);
    let post = |tenant, path: &str, fields| node.as_tenant(tenant, Method::Post, path, fields).0;
    // It begins with one of each.
    assert_eq!(post(&acme, "services", json!({"name": "Two"})), 201);
    assert_eq!(post(&acme, "services", json!({"name": "Three"})), 403);
    let account = |name: &str| json!({"org_name": name, "username": name});
    assert_eq!(post(&acme, "signup", account("two")), 201);
    assert_eq!(post(&acme, "signup", account("three")), 201);
    assert_eq!(post(&acme, "signup", account("four")), 403);
    let (_, listed) = node.as_tenant(&acme, Method::Get, "applications", json!({}));
    let first = &listed["applications"][0]["application"];
    let path = format!(
        "accounts/{}/applications",
        first["user_account_id"].as_u64().or(first["account_id"].as_u64()).unwrap()
    );
    let more = |name: &str| json!({"plan_id": first["plan_id"], "name": name, "description": "d"});
    assert_eq!(post(&acme, &path, more("two")), 201);
    let (status, body) = node.as_tenant(&acme, Method::Post, &path, more("three"));
    let expected = json!({"error": "the plan of this tenant has room for 2 applications"});
    assert_eq!((status, body), (403, expected));
    // What it has it may change and take away, and then there is room again.
    let one = format!("{path}/{}", first["id"]);
    assert_eq!(node.as_tenant(&acme, Method::Put, &one, json!({"name": "Renamed"})).0, 200);
    assert_eq!(node.as_tenant(&acme, Method::Delete, &one, json!({})).0, 200);
    assert_eq!(post(&acme, &path, more("three")), 201);
    for name in ["Two", "Three", "Four"] {
        assert_eq!(post(&other, "services", json!({"name": name})), 201);
    }
    // A plan that somebody is on stays; the one that is the default is that of new tenants.
    let plan = format!("plans/{small}");
    assert_eq!(node.master(Method::Delete, &plan, json!({})).0, 403);
    assert_eq!(node.master(Method::Put, &format!("{plan}/default"), json!({})).0, 200);
    let new = node.make("New");
    assert_eq!(post(&new, "services", json!({"name": "Two"})), 201);
    assert_eq!(post(&new, "services", json!({"name": "Three"})), 403);
    // No bound any more.
    assert_eq!(node.master(Method::Put, &plan, json!({"services_max": null})).0, 200);
    assert_eq!(post(&new, "services", json!({"name": "Three"})), 201);
    assert_eq!(node.master(Method::Put, &plan, json!({"services_max": -1})).0, 422);
}

#[test]
fn a_gateway_before_all_tenants_is_told_of_the_service_that_a_host_is_for() {
    let node = Node::new();
    let (acme, other) = (node.make("Acme"), node.make("Other"));
    let service = |tenant, host: &str| {
        let (_, listed) = node.as_tenant(tenant, Method::Get, "services", json!({}));
        let id = listed["services"][0]["service"]["id"].as_u64().unwrap();
        let proxy =
            json!({"sandbox_endpoint": format!("https://{host}:443"), "deployment_option": "self_managed"});
        node.as_tenant(
            tenant,
            Method::Put,
            &format!("services/{id}"),
            json!({"deployment_option": "self_managed"}),
        );
        assert_eq!(node.as_tenant(tenant, Method::Put, &format!("services/{id}/proxy"), proxy).0, 200);
        id
    };
    let (of_acme, of_other) = (service(&acme, "acme.example"), service(&other, "other.example"));
    let told = |host: &str| {
        let (status, body) = node.master(Method::Get, "proxy/configs/sandbox", json!({"host": host}));
        assert_eq!(status, 200, "{body}");
        let all = body["proxy_configs"].as_array().unwrap().clone();
        all.iter().map(|it| it["proxy_config"]["content"]["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        (told("acme.example"), told("other.example"), told("nobody.example")),
        (vec![of_acme], vec![of_other], vec![])
    );
    assert_eq!(node.master(Method::Get, "proxy/configs/sandbox", json!({})).0, 400);
    assert_eq!(node.master(Method::Get, "proxy/configs/nowhere", json!({"host": "a"})).0, 400);
    node.master(Method::Put, &format!("providers/{}", acme.id), json!({"state_event": "suspend"}));
    assert_eq!(told("acme.example"), Vec::<u64>::new());
}

#[test]
fn there_are_as_many_plans_as_there_may_be_and_no_more() {
    let node = Node::new();
    for number in 0..PLANS_MAX {
        assert_eq!(node.master(Method::Post, "plans", json!({"name": format!("Plan {number}")})).0, 201);
    }
    assert_eq!(node.master(Method::Post, "plans", json!({"name": "One more"})).0, 422);
    let listed = node.master(Method::Get, "plans", json!({})).1;
    assert_eq!(listed["plans"].as_array().unwrap().len(), PLANS_MAX);
}
