//! Migration from another node that plays the 3scale: killed half-way and begun again, everything is there, once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![cfg(feature = "admin")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use support::Client;
use support::process::{Process, tollgate};
use tollgate::document::types::{Account, Document, Service};

const TOKEN: &str = "the-administrators-token";
const ACCOUNTS: usize = 25;
/// Pages that are there when it is killed: some of the products, none of the accounts.
const KILLED_AT: usize = 30;

struct Node {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Node {
    fn start() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut command = tollgate();
        command
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--http", "127.0.0.1:0", "--log", "warn"])
            .env("TOLLGATE_ADMIN_TOKEN", TOKEN);
        Node { process: Process::start(command), _dir: dir }
    }

    fn url(&self) -> String {
        format!("http://{}", self.process.address)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let target = format!("/admin/api/{path}.json?access_token={TOKEN}");
        let headers = [("Content-Type", "application/json")];
        let answer =
            Client::connect(self.process.address).request(method, &target, &headers, &body.to_string());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn made(&self, path: &str, body: &Value) -> u64 {
        let (status, answer) = self.call("POST", path, body);
        assert_eq!(status, 201, "{path}: {answer}");
        answer.as_object().and_then(|it| it.values().next()).map_or(0, |it| it["id"].as_u64().unwrap_or(0))
    }

    fn exported(&self) -> Document {
        let output = tollgate()
            .args(["export", "--url", &self.url()])
            .env("TOLLGATE_ADMIN_TOKEN", TOKEN)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        tollgate::document::read::read(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }

    /// The status of an authrep of a migrated application with a migrated token.
    fn authrep(&self, service: u64, token: &str, credentials: &str) -> u16 {
        let query = format!("service_id={service}&service_token={token}&{credentials}&usage%5Bhits%5D=1");
        Client::connect(self.process.address).get(&format!("/transactions/authrep.xml?{query}")).status
    }
}

/// Products and buyers, with something of everything.
fn fill(node: &Node) {
    node.made("fields_definitions", &json!({"target": "Account", "name": "vat_code", "label": "VAT"}));
    let backend = json!({"name": "Stock", "private_endpoint": "https://user:pass@stock.example:443"});
    let backend = node.made("backend_apis", &backend);
    let in_backend = |rest: &str| format!("backend_apis/{backend}/{rest}");
    let lookups = node.made(&in_backend("metrics"), &json!({"friendly_name": "Lookups", "unit": "1"}));
    let rule = json!({"http_method": "GET", "pattern": "/stock/{id}", "delta": 2, "metric_id": lookups});
    node.made(&in_backend("mapping_rules"), &rule);
    let service = json!({"name": "Weather", "backend_version": "2", "description": "Forecasts"});
    let service = node.made("services", &service);
    let in_service = |rest: &str| format!("services/{service}/{rest}");
    let (_, metrics) = node.call("GET", &in_service("metrics"), &json!({}));
    let hits = metrics["metrics"][0]["metric"]["id"].as_u64().unwrap();
    let method = json!({"friendly_name": "Forecast", "system_name": "forecast"});
    let method = node.made(&in_service(&format!("metrics/{hits}/methods")), &method);
    let bytes = node.made(&in_service("metrics"), &json!({"friendly_name": "Bytes", "unit": "byte"}));
    for (pattern, last) in [("/forecast/{day}$", true), ("/raw?unit={unit}", false)] {
        let rule =
            json!({"http_method": "POST", "pattern": pattern, "delta": 3, "metric_id": method, "last": last});
        node.made(&in_service("proxy/mapping_rules"), &rule);
    }
    node.made(&in_service("backend_usages"), &json!({"backend_api_id": backend, "path": "/stock"}));
    let feature = node.made(&in_service("features"), &json!({"name": "Priority"}));
    for (name, limit) in [("Gold", 1000), ("Basic", 2)] {
        let plan =
            json!({"name": name, "cost_per_month": "9.95", "setup_fee": "1.5", "trial_period_days": 3});
        let plan = node.made(&in_service("application_plans"), &plan);
        for metric in [hits, bytes, lookups] {
            let limits = format!("application_plans/{plan}/metrics/{metric}/limits");
            node.made(&limits, &json!({"period": "day", "value": limit}));
        }
        let prices = format!("application_plans/{plan}/metrics/{bytes}/pricing_rules");
        node.made(&prices, &json!({"min": 1, "max": 100, "cost_per_unit": "0.01"}));
        node.made(&prices, &json!({"min": 101, "cost_per_unit": "0.005"}));
        node.made(&format!("application_plans/{plan}/features"), &json!({"feature_id": feature}));
        for number in 0..ACCOUNTS {
            let name = format!("{name} {number}");
            let username = format!("user-{}", name.replace(' ', "-").to_lowercase());
            let fields = json!({
                "org_name": format!("Buyer {name}"), "username": username,
                "email": format!("{username}@buyer.example"), "password": "secret123", "vat_code": format!("V{number}"),
            });
            let account = node.made("signup", &fields);
            let application = json!({
                "plan_id": plan, "name": name, "description": "d", "application_id": format!("app-{username}"),
                "application_key": format!("key-of-{username}"),
            });
            let application = node.made(&format!("accounts/{account}/applications"), &application);
            let filters = format!("accounts/{account}/applications/{application}/referrer_filters");
            node.made(&filters, &json!({"referrer_filter": "*.buyer.example"}));
        }
    }
    let headers = json!({"name": "headers", "version": "builtin", "configuration": {"a": [1, {"b": null}]}, "enabled": true});
    let apicast = json!({"name": "apicast", "version": "builtin", "configuration": {}, "enabled": true});
    let policies = json!({"policies_config": [headers, apicast]});
    assert_eq!(node.call("PUT", &in_service("proxy/policies"), &policies).0, 200);
    let proxy =
        json!({"credentials_location": "headers", "error_auth_failed": "No", "secret_token": "shared"});
    assert_eq!(node.call("PUT", &in_service("proxy"), &proxy).0, 200);
    assert_eq!(node.call("POST", &in_service("proxy/deploy"), &json!({})).0, 201);
}

fn import(source: &Node, target: &Node, work: &Path) -> Command {
    let mut command = tollgate();
    command
        .args(["import", "--apply", "--url", &target.url(), "--from-3scale", &source.url(), "--work"])
        .arg(work)
        .env("TOLLGATE_ADMIN_TOKEN", TOKEN)
        .env("THREESCALE_TOKEN", TOKEN);
    command
}

fn done(command: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, said) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{out}\n{said}");
    (out, said)
}

/// The pages that there are, and when each was written.
fn pages(work: &Path) -> BTreeMap<String, SystemTime> {
    let Ok(entries) = std::fs::read_dir(work.join("pages")) else { return BTreeMap::new() };
    let kept = entries.map(Result::unwrap).filter(|it| !it.file_name().to_string_lossy().ends_with(".new"));
    kept.map(|it| (it.file_name().into_string().unwrap(), it.metadata().unwrap().modified().unwrap()))
        .collect()
}

/// Without what does not come along: tokens beyond the newest, a gateway's own addresses, passwords.
fn comparable_service(mut service: Service) -> Service {
    if let Some(proxy) = &mut service.proxy {
        (proxy.endpoint, proxy.sandbox_endpoint) = (None, None);
    }
    service
}

fn comparable_account(mut account: Account) -> Account {
    account.users.iter_mut().flatten().for_each(|user| user.password_hash = None);
    account
}

#[test]
fn a_migration_that_was_killed_half_way_goes_on_and_brings_everything_once() {
    let (source, target, work) = (Node::start(), Node::start(), tempfile::tempdir().unwrap());
    fill(&source);
    let before = target.exported();
    let mut running = import(&source, &target, work.path()).spawn().unwrap();
    let begun = Instant::now();
    while pages(work.path()).len() < KILLED_AT {
        assert!(begun.elapsed() < Duration::from_secs(60) && running.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let fetched = pages(work.path());
    assert!(target.exported() == before, "nothing is there before everything is");

    let (out, said) = done(&mut import(&source, &target, work.path()));
    let all = pages(work.path());
    assert!(all.len() > fetched.len() + ACCOUNTS, "{} {}", all.len(), fetched.len());
    let again = fetched.iter().filter(|(page, written)| all[*page] != **written).count();
    assert_eq!(again, 0, "what was there was fetched again");
    assert!(said.contains("without their passwords"), "{said}");
    assert!(out.contains("Done:") && !out.contains("key-of-") && !out.contains("secret123"), "{out}");

    let (from, to) = (source.exported(), target.exported());
    assert_eq!(from.backends, to.backends);
    let services = |document: &Document| {
        document.services.clone().unwrap().into_iter().map(comparable_service).collect::<Vec<_>>()
    };
    for service in services(&from).iter().filter(|it| it.system_name == "weather") {
        let there = services(&to).into_iter().find(|it| it.system_name == service.system_name);
        assert_eq!(there.as_ref(), Some(service));
    }
    let accounts = |document: &Document| {
        document.accounts.clone().unwrap().into_iter().map(comparable_account).collect::<Vec<_>>()
    };
    let (theirs, ours) = (accounts(&from), accounts(&to));
    let buyers = theirs.iter().filter(|it| it.org_name.starts_with("Buyer"));
    assert_eq!(buyers.clone().count(), 2 * ACCOUNTS);
    for buyer in buyers {
        assert_eq!(ours.iter().filter(|it| it.org_name == buyer.org_name).collect::<Vec<_>>(), [buyer]);
    }

    // Gateways' tokens and callers' keys are the same, and so are the limits.
    let find = |node: &Node| {
        let (_, listed) = node.call("GET", "services", &json!({}));
        let all = listed["services"].as_array().unwrap().clone();
        all.iter().find(|it| it["service"]["system_name"] == "weather").unwrap()["service"]["id"]
            .as_u64()
            .unwrap()
    };
    let (_, tokens) = source.call("GET", &format!("services/{}/service_tokens", find(&source)), &json!({}));
    let token = tokens["service_tokens"][0]["service_token"]["value"].as_str().unwrap();
    let basic = "app_id=app-user-basic-7&app_key=key-of-user-basic-7&referrer=a.buyer.example";
    let service = find(&target);
    let statuses = [(); 3].map(|()| target.authrep(service, token, basic));
    assert_eq!(statuses, [200, 200, 409]);
    assert_eq!(target.authrep(service, token, "app_id=app-user-gold-3&app_key=wrong"), 409);

    let (out, _) = done(&mut import(&source, &target, work.path()));
    assert!(out.contains("Nothing to change"), "{out}");
}

#[test]
fn who_may_not_read_there_is_told_so_and_nothing_is_kept() {
    let (source, target, work) = (Node::start(), Node::start(), tempfile::tempdir().unwrap());
    let mut command = import(&source, &target, work.path());
    let output = command.env("THREESCALE_TOKEN", "wrong").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("answered 403") && said.contains("Access denied"), "{said}");
    assert_eq!(pages(work.path()).len(), 0);
}
