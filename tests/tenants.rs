//! Tenants of a whole node, over real sockets: none answers with what is another's, and one that is suspended is refused at once on every port.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![cfg(feature = "admin")]

#[path = "support/binary.rs"]
mod binary;
mod support;

use std::net::SocketAddr;

use binary::{Binary, Greeting, by_handle, by_key};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};
use support::{Client, config};
use tokio::runtime::Runtime;
use tollgate::config::{Config, Password};
use tollgate::listener::system_clock;
use tollgate::model::id::{MetricSlot, TenantId};
use tollgate::node::{self, Node};
use tollgate::wire::{Call, Flags, Operation, Status, put_call};

const MASTER: &str = "the-masters-token";

/// A node with a master and some tenants.
struct World {
    node: Option<Node>,
    runtime: Runtime,
    tenants: Vec<Tenant>,
    _dir: tempfile::TempDir,
}

/// What a tenant's gateway knows, and its administrator.
#[derive(Clone, Debug)]
struct Tenant {
    id: u64,
    access_token: String,
    provider_key: String,
    service: String,
    service_token: String,
    user_key: String,
}

impl World {
    fn new(tenants: usize) -> World {
        let (dir, runtime) = (tempfile::tempdir().unwrap(), node::runtime().unwrap());
        let config = Config {
            tcp: Some(([127, 0, 0, 1], 0).into()),
            master_token: Some(Password::new(MASTER)),
            ..config(&dir.path().join("data"))
        };
        let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
        let mut world = World { node: Some(node), runtime, tenants: Vec::new(), _dir: dir };
        world.tenants = (0..tenants).map(|number| world.make(number)).collect();
        world
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn http(&self) -> SocketAddr {
        self.node().http
    }

    fn tcp(&self) -> SocketAddr {
        self.node().tcp.unwrap()
    }

    fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let target = format!("{path}.json?access_token={token}");
        let headers = [("Content-Type", "application/json")];
        let answer = Client::connect(self.http()).request(method, &target, &headers, &body.to_string());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn master(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call(method, &format!("/master/api/{path}"), MASTER, body)
    }

    fn make(&self, number: usize) -> Tenant {
        let fields = json!({
            "org_name": format!("Tenant {number}"), "username": "admin", "email": "a@b.example", "password": "123456",
        });
        let (status, body) = self.master("POST", "providers", &fields);
        assert_eq!(status, 201, "{body}");
        let id = body["signup"]["account"]["id"].as_u64().unwrap();
        let catalog = self.node().engine().catalog();
        let service = catalog.services_of(TenantId(id)).iter().next().unwrap();
        let application = catalog.applications_of(service).iter().next().unwrap();
        let record = catalog.services.get(service).unwrap();
        Tenant {
            id,
            access_token: body["signup"]["access_token"]["value"].as_str().unwrap().to_owned(),
            provider_key: catalog.tenants.get(id).unwrap().provider_keys[0].expose().to_owned(),
            service: service.to_string(),
            service_token: record.tokens[0].expose().to_owned(),
            user_key: catalog.applications.get(application).unwrap().user_keys[0].expose().to_owned(),
        }
    }

    /// How often a tenant's application has been counted.
    fn hits(&self, tenant: &Tenant) -> u64 {
        let mut client = Binary::open(self.tcp(), &Greeting::token(&tenant.service, &tenant.service_token));
        let call = Call { user_key: Some(&tenant.user_key), metrics: vec!["hits"], ..Call::default() };
        let answer = client.ask(Operation::QUERY, Flags::default(), |out| put_call(out, &call, &[], false));
        assert_eq!(answer.status(), Status::OK);
        tollgate::wire::QueryAnswer::read(&answer.body).unwrap().usage[0].counts[0]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runtime.block_on(self.node.take().unwrap().stop()).unwrap();
    }
}

/// The calls by which a gateway counts over HTTP: with what each, none of which but the first two is one tenant's alone.
fn data_calls(key: &Tenant, service: &Tenant, application: &Tenant) -> [String; 4] {
    let usage = "usage%5Bhits%5D=1";
    let user_key = &application.user_key;
    let [by_key, by_token] = [
        format!("provider_key={}&service_id={}", key.provider_key, service.service),
        format!("service_token={}&service_id={}", key.service_token, service.service),
    ];
    let authrep = |by: &str| format!("/transactions/authrep.xml?{by}&user_key={user_key}&{usage}");
    let authorize = |by: &str| format!("/transactions/authorize.xml?{by}&user_key={user_key}&{usage}");
    [authrep(&by_key), authrep(&by_token), authorize(&by_key), authorize(&by_token)]
}

#[test]
fn no_mixture_of_tenants_credentials_ids_and_keys_is_answered() {
    let world = World::new(4);
    let tenants = &world.tenants;
    let mut http = Client::connect(world.http());
    let any = || 0..tenants.len();
    let mut runner = TestRunner::new(Cases { cases: 300, failure_persistence: None, ..Cases::default() });
    let mut expected = vec![0; tenants.len()];
    let expected = std::cell::RefCell::new(&mut expected);
    let http = std::cell::RefCell::new(&mut http);
    let done = runner.run(&(any(), any(), any(), 0..5_usize), |(key, service, application, which)| {
        let [key_of, service_of, application_of] = [key, service, application].map(|at| &tenants[at]);
        let is_one = key == service && service == application;
        if let Some(call) = data_calls(key_of, service_of, application_of).get(which) {
            let answer = http.borrow_mut().get(call);
            prop_assert_eq!(answer.status == 200, is_one, "{}: {}", call, answer.text());
        } else {
            // Whether an application is there is no part of a report's answer; what is counted is told in the end.
            let report = format!(
                "service_token={}&service_id={}&transactions[0][user_key]={}&transactions[0][usage][hits]=1",
                key_of.service_token, service_of.service, application_of.user_key
            );
            let answer = http.borrow_mut().try_post("/transactions.xml", &report).unwrap();
            prop_assert!(answer.status == 202 || !is_one, "{}: {}", report, answer.text());
            prop_assert!(answer.status >= 400 || key == service, "{}: {}", report, answer.text());
        }
        if is_one && (which < 2 || which == 4) {
            expected.borrow_mut()[key] += 1;
        }
        // Of a connection: as whom it is, for whose service it asks, and with whose keys.
        let greeting = Greeting::token(&service_of.service, &key_of.service_token);
        let mut client = Binary::connect(world.tcp());
        if let Err(refused) = client.greet(&greeting) {
            prop_assert!(key != service);
            prop_assert_eq!(refused.status(), Status::PROOF_INVALID);
            return Ok(());
        }
        prop_assert!(key == service, "let in with another's token");
        let call = Call {
            service: Some(&application_of.service),
            user_key: Some(&application_of.user_key),
            ..Call::default()
        };
        let named =
            client.ask(Operation::AUTHORIZE, Flags::default(), |out| put_call(out, &call, &[], false));
        let keyed = client.ask(Operation::AUTHORIZE, Flags::default(), by_key(&application_of.user_key, &[]));
        if is_one {
            prop_assert_eq!((named.status(), keyed.status()), (Status::OK, Status::OK));
        } else {
            prop_assert_eq!(named.status(), Status::SERVICE_ID_INVALID);
            prop_assert_eq!(keyed.status(), Status::USER_KEY_INVALID);
        }
        Ok(())
    });
    done.unwrap();
    for (tenant, expected) in tenants.iter().zip(expected.borrow().iter()) {
        assert_eq!(world.hits(tenant), *expected, "{tenant:?}");
    }
}

#[test]
fn a_handle_of_another_tenants_application_is_a_dead_one() {
    let world = World::new(2);
    let [one, other] = [0, 1].map(|at| &world.tenants[at]);
    let mut others = Binary::open(world.tcp(), &Greeting::token(&other.service, &other.service_token));
    let (handle, metrics) = others.bind(&other.user_key, &["hits"]);
    let mut client = Binary::open(world.tcp(), &Greeting::token(&one.service, &one.service_token));
    for operation in [Operation::AUTHREP, Operation::AUTHORIZE, Operation::REPORT, Operation::CHECK] {
        let answer = client.ask(operation, Flags::default(), by_handle(handle, &[(metrics[0], 1)]));
        assert_eq!(answer.status(), Status::STALE_HANDLE);
    }
    assert_eq!(world.hits(other), 0);
}

#[test]
fn a_suspended_tenant_is_refused_at_once_on_every_port_and_others_go_on() {
    let world = World::new(2);
    let [one, other] = [0, 1].map(|at| &world.tenants[at]);
    let open =
        |tenant: &Tenant| Binary::open(world.tcp(), &Greeting::token(&tenant.service, &tenant.service_token));
    let (mut client, mut others) = (open(one), open(other));
    let (handle, metrics) = client.bind(&one.user_key, &["hits"]);
    let (others_handle, _) = others.bind(&other.user_key, &["hits"]);
    let reserve = |client: &mut Binary| {
        let call = Call { user_key: Some(&one.user_key), ttl_s: 60, ..Call::default() };
        client.ask(Operation::RESERVE, Flags::default(), |out| put_call(out, &call, &[], true)).status()
    };
    assert_eq!(reserve(&mut client), Status::OK);
    let path = format!("providers/{}", one.id);
    let mut counted = 0;
    for (event, is_open) in [("suspend", false), ("resume", true), ("suspend", false)] {
        assert_eq!(world.master("PUT", &path, &json!({"state_event": event})).0, 200);
        let usage: &[(MetricSlot, u64)] = &[(metrics[0], 1)];
        let expected = if is_open { Status::OK } else { Status::TENANT_SUSPENDED };
        // The connection was let in before.
        let operations = [Operation::AUTHREP, Operation::REPORT, Operation::AUTHORIZE, Operation::CHECK];
        for (at, operation) in operations.into_iter().enumerate() {
            assert_eq!(client.ask(operation, Flags::default(), by_handle(handle, usage)).status(), expected);
            let by_key = by_key(&one.user_key, &[("hits", 1)]);
            assert_eq!(client.ask(operation, Flags::default(), by_key).status(), expected);
            counted += if is_open && at < 2 { 2 } else { 0 };
        }
        assert_eq!(reserve(&mut client), expected);
        let query = Call { user_key: Some(&one.user_key), ..Call::default() };
        let query = client.ask(Operation::QUERY, Flags::default(), |out| put_call(out, &query, &[], false));
        assert_eq!(query.status(), expected);
        let greeted = Binary::connect(world.tcp()).greet(&Greeting::token(&one.service, &one.service_token));
        assert_eq!(greeted.map_or_else(|refused| refused.status(), |_| Status::OK), expected);
        let [by_key, by_token, ..] = data_calls(one, one, one);
        for (call, code) in [(by_key, "provider_key_invalid"), (by_token, "service_token_invalid")] {
            let answer = Client::connect(world.http()).get(&call);
            assert_eq!(answer.status, if is_open { 200 } else { 403 });
            assert_eq!(answer.text().contains(code), !is_open, "{}", answer.text());
            counted += u64::from(is_open);
        }
        let report = format!(
            "provider_key={}&service_id={}&transactions%5B0%5D%5Buser_key%5D={}&transactions%5B0%5D%5Busage%5D%5Bhits%5D=1",
            one.provider_key, one.service, one.user_key
        );
        let answer = Client::connect(world.http()).try_post("/transactions.xml", &report).unwrap();
        assert_eq!(answer.status, if is_open { 202 } else { 403 }, "{}", answer.text());
        counted += u64::from(is_open);
        for prefix in [String::new(), format!("/tenants/{}", one.id)] {
            let (status, _) =
                world.call("GET", &format!("{prefix}/admin/api/services"), &one.access_token, &json!({}));
            assert_eq!(status, if is_open { 200 } else { 403 });
        }
        // Another feels nothing of it.
        let theirs = others.ask(Operation::AUTHREP, Flags::default(), by_handle(others_handle, usage));
        assert_eq!(theirs.status(), Status::OK);
        assert_eq!(world.call("GET", "/admin/api/services", &other.access_token, &json!({})).0, 200);
    }
    assert_eq!(world.master("PUT", &path, &json!({"state_event": "resume"})).0, 200);
    assert_eq!(world.hits(one), counted, "what was refused was not counted");
    assert_eq!(world.hits(other), 3);
}

#[test]
fn a_tenant_is_told_what_was_used_right_after_the_calls_and_another_is_not() {
    let world = World::new(2);
    let [one, other] = &world.tenants[..] else { panic!("two") };
    let usage = |of: &Tenant, key: &Tenant, more: &str| {
        let target = format!(
            "/tenants/{}/stats/services/{}/usage{more}provider_key={}",
            of.id, of.service, key.provider_key
        );
        let body = json!({"metric_name": "hits", "since": null, "period": "year"}).to_string();
        let headers = [("Content-Type", "application/json"), ("Accept", "*/*")];
        Client::connect(world.http()).request("GET", &target, &headers, &body)
    };
    for expected in 1..=2 {
        for target in &data_calls(one, one, one)[..1] {
            assert_eq!(Client::connect(world.http()).request("GET", target, &[], "").status, 200);
        }
        for more in [".json?", "?"] {
            let answer = usage(one, one, more);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, &body["total"]), (200, &json!(expected)), "{body}");
        }
    }
    assert_eq!(usage(one, other, ".json?").status, 403);
    let body: Value = serde_json::from_slice(&usage(other, other, ".json?").body).unwrap();
    assert_eq!(body["total"], 0);
}

#[test]
fn what_was_under_a_service_that_is_deleted_over_the_admin_api_goes_by_itself() {
    let world = World::new(1);
    let one = &world.tenants[0];
    let (status, made) =
        world.call("POST", "/admin/api/services", &one.access_token, &json!({"name": "Second"}));
    assert_eq!(status, 201, "{made}");
    let id = made["service"]["id"].as_u64().unwrap();
    let (status, _) = world.call(
        "POST",
        &format!("/admin/api/services/{id}/application_plans"),
        &one.access_token,
        &json!({"name": "P"}),
    );
    assert_eq!(status, 201);
    assert_eq!(
        world.call("DELETE", &format!("/admin/api/services/{id}"), &one.access_token, &json!({})).0,
        200
    );
    let begun = std::time::Instant::now();
    let is_there = || {
        let catalog = world.node().engine().catalog();
        catalog.services.get(id).is_some() || !catalog.plans_of(tollgate::model::id::ServiceId(id)).is_empty()
    };
    while is_there() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it is still there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_tenant_made_over_http_makes_its_first_call() {
    let world = World::new(1);
    let one = &world.tenants[0];
    let [by_key, ..] = data_calls(one, one, one);
    assert_eq!(Client::connect(world.http()).get(&by_key).status, 200);
    // Nothing under the master's API is for a tenant, nor anything of another tenant's number.
    assert_eq!(world.call("GET", "/master/api/providers", &one.access_token, &json!({})).0, 401);
    assert_eq!(world.call("GET", "/tenants/1/admin/api/services", &one.access_token, &json!({})).0, 403);
    assert_eq!(world.call("GET", "/tenants/x/admin/api/services", &one.access_token, &json!({})).0, 404);
}
