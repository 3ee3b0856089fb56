//! Migration from another node that plays the 3scale: killed half-way and begun again, everything is there, once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![cfg(feature = "admin")]

mod support;
#[path = "migrate/usage.rs"]
mod usage;

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
/// Pages that are there when it is killed first: some of the products, none of the accounts.
const KILLED_AT: usize = 30;
/// Pages of accounts that are there when it is killed again.
const KILLED_AGAIN_AT: usize = 20;

/// The accounts of this number have applications on plans of their own.
const CUSTOMISED: usize = 9;

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

    fn changed(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// The id of the first record of a list.
    fn first(&self, path: &str) -> u64 {
        let (_, listed) = self.call("GET", path, &json!({}));
        let records = listed.as_object().and_then(|it| it.values().find_map(Value::as_array)).unwrap();
        let record = records[0].as_object().and_then(|it| it.values().next()).unwrap();
        record["id"].as_u64().unwrap()
    }

    /// The id of a service, and the token that its gateways have.
    fn service(&self, name: &str) -> (u64, String) {
        let (_, listed) = self.call("GET", "services", &json!({}));
        let services = listed["services"].as_array().unwrap();
        let found = services.iter().find(|it| it["service"]["system_name"] == name).unwrap();
        let id = found["service"]["id"].as_u64().unwrap();
        let (_, tokens) = self.call("GET", &format!("services/{id}/service_tokens"), &json!({}));
        (id, tokens["service_tokens"][0]["service_token"]["value"].as_str().unwrap().to_owned())
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
    let methods = in_backend(&format!("metrics/{}/methods", node.first(&in_backend("metrics"))));
    node.made(&methods, &json!({"friendly_name": "Look up", "system_name": "look_up"}));
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
    let support = json!({"name": "Support", "scope": "ServicePlan"});
    let support = node.made(&in_service("features"), &support);
    let terms = node.first(&in_service("service_plans"));
    node.made(&format!("service_plans/{terms}/features"), &json!({"feature_id": support}));
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
            if number == CUSTOMISED {
                let own = format!("accounts/{account}/applications/{application}/customize_plan");
                node.changed("PUT", &own, &json!({}));
            }
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
    let (_, config) = node.call("GET", &in_service("proxy/configs/sandbox/latest"), &json!({}));
    let promote = format!("proxy/configs/sandbox/{}/promote", config["proxy_config"]["version"]);
    node.made(&in_service(&promote), &json!({"to": "production"}));
}

/// Services whose callers are known otherwise, each with a caller: by user keys behind a gateway of one's own, and by OAuth.
fn fill_others(node: &Node) {
    let buyer = |name: &str| {
        let fields = json!({"org_name": name, "username": name, "email": format!("{name}@other.example"), "password": "secret123"});
        node.made("signup", &fields)
    };
    let maps = json!({"name": "Maps", "backend_version": "1", "deployment_option": "self_managed"});
    let maps = node.made("services", &maps);
    let proxy = json!({"endpoint": "https://maps.example:443", "sandbox_endpoint": "https://maps.staging.example:443"});
    node.changed("PUT", &format!("services/{maps}/proxy"), &proxy);
    let plan = node.made(&format!("services/{maps}/application_plans"), &json!({"name": "Walks"}));
    let fields = json!({"plan_id": plan, "name": "Walks", "description": "d", "user_key": "key-of-walker"});
    node.made(&format!("accounts/{}/applications", buyer("walker")), &fields);
    let bank = node.made("services", &json!({"name": "Bank", "backend_version": "oauth"}));
    for service in [maps, bank] {
        // 3scale shows it of each chain, whether it was put there or not.
        let apicast = json!({"name": "apicast", "version": "builtin", "configuration": {}, "enabled": true});
        let policies = json!({"policies_config": [apicast]});
        node.changed("PUT", &format!("services/{service}/proxy/policies"), &policies);
    }
    let plan = node.made(&format!("services/{bank}/application_plans"), &json!({"name": "Saver"}));
    let fields = json!({
        "plan_id": plan, "name": "Saver", "description": "d", "application_id": "client-of-saver",
        "application_key": "secret-of-saver", "redirect_url": "https://saver.example/back",
    });
    node.made(&format!("accounts/{}/applications", buyer("saver")), &fields);
}

fn import(source: &Node, target: &Node, work: &Path, applies: bool) -> Command {
    let mut command = tollgate();
    command
        .args(["import", "--url", &target.url(), "--from-3scale", &source.url(), "--work"])
        .arg(work)
        .args(applies.then_some("--apply"))
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

fn pages_of_accounts(work: &Path) -> usize {
    pages(work).keys().filter(|page| page.starts_with("accounts-")).count()
}

/// Begins a migration, and kills it as soon as so much is there.
fn killed(command: &mut Command, is_enough: impl Fn() -> bool) {
    let mut running = command.spawn().unwrap();
    let begun = Instant::now();
    while !is_enough() {
        assert!(begun.elapsed() < Duration::from_secs(60) && running.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    running.kill().unwrap();
    running.wait().unwrap();
}

/// Without what does not come along: tokens beyond the newest, a hosted gateway's addresses, of what a plan was made, passwords.
fn comparable_service(mut service: Service) -> Service {
    let is_hosted = service.deployment_option.as_deref() == Some("hosted");
    if let Some(proxy) = service.proxy.as_mut().filter(|_| is_hosted) {
        (proxy.endpoint, proxy.sandbox_endpoint) = (None, None);
    }
    service.application_plans.iter_mut().flatten().for_each(|plan| plan.custom_of = None);
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
    fill_others(&source);
    let before = target.exported();
    killed(&mut import(&source, &target, work.path(), true), || pages(work.path()).len() >= KILLED_AT);
    assert!(
        pages_of_accounts(work.path()) < KILLED_AGAIN_AT,
        "it was killed among the products, or soon after"
    );
    killed(&mut import(&source, &target, work.path(), true), || {
        pages_of_accounts(work.path()) >= KILLED_AGAIN_AT
    });
    let fetched = pages(work.path());
    assert!(target.exported() == before, "nothing is there before everything is");

    let (out, said) = done(&mut import(&source, &target, work.path(), true));
    let all = pages(work.path());
    assert!(all.len() > fetched.len() + ACCOUNTS, "{} {}", all.len(), fetched.len());
    let again = fetched.iter().filter(|(page, written)| all[*page] != **written).count();
    assert_eq!(again, 0, "what was there was fetched again");
    assert!(said.contains("without their passwords") && said.contains("ActiveDocs"), "{said}");
    assert!(said.contains("service weather: version 2 was in production"), "{said}");
    assert!(out.contains("! gateways in production get nothing of this before it is promoted: "), "{out}");
    let notes = std::fs::read_to_string(work.path().join("notes.txt")).unwrap();
    assert!(notes.contains("without their passwords") && notes.contains("was in production"), "{notes}");
    assert!(out.contains("Done:") && !out.contains("key-of-") && !out.contains("secret123"), "{out}");

    let (from, to) = (source.exported(), target.exported());
    assert_eq!(from.backends, to.backends);
    let services = |document: &Document| {
        document.services.clone().unwrap().into_iter().map(comparable_service).collect::<Vec<_>>()
    };
    for name in ["bank", "maps", "weather"] {
        let of = |document: &Document| services(document).into_iter().find(|it| it.system_name == name);
        assert_eq!(of(&to).as_ref(), Some(&of(&from).unwrap()));
    }
    let accounts = |document: &Document| {
        document.accounts.clone().unwrap().into_iter().map(comparable_account).collect::<Vec<_>>()
    };
    let (theirs, ours) = (accounts(&from), accounts(&to));
    let buyers = theirs.iter().filter(|it| it.org_name.starts_with("Buyer") || it.org_name == "saver");
    assert_eq!(buyers.clone().count(), 2 * ACCOUNTS + 1);
    for buyer in buyers {
        assert_eq!(ours.iter().filter(|it| it.org_name == buyer.org_name).collect::<Vec<_>>(), [buyer]);
    }

    // Gateways' tokens and callers' keys are the same, and so are the limits.
    let (token, service) = (&source.service("weather").1, target.service("weather").0);
    let basic = "app_id=app-user-basic-7&app_key=key-of-user-basic-7&referrer=a.buyer.example";
    let statuses = [(); 3].map(|()| target.authrep(service, token, basic));
    assert_eq!(statuses, [200, 200, 409]);
    assert_eq!(target.authrep(service, token, "app_id=app-user-gold-3&app_key=wrong"), 409);
    // On a plan that was made for it alone, with the limits of the one that it was made of.
    let custom = format!(
        "app_id=app-user-basic-{CUSTOMISED}&app_key=key-of-user-basic-{CUSTOMISED}&referrer=a.buyer.example"
    );
    assert_eq!([(); 3].map(|()| target.authrep(service, token, &custom)), [200, 200, 409]);
    let (token, service) = (&source.service("maps").1, target.service("maps").0);
    assert_eq!(target.authrep(service, token, "user_key=key-of-walker"), 200);
    assert_eq!(target.authrep(service, token, "user_key=key-of-nobody"), 403);

    let (out, _) = done(&mut import(&source, &target, work.path(), true));
    assert!(out.contains("Nothing to change"), "{out}");

    comes_in_parts_too(&source, &target, work.path());
}

/// What is in the work folder, in parts to a node that has nothing: it is then as the other is.
fn comes_in_parts_too(source: &Node, other: &Node, work: &Path) {
    let target = Node::start();
    let in_parts = |applies: bool| {
        let mut command = import(source, &target, work, applies);
        done(command.args(["--at-once", "40"]))
    };
    let before = target.exported();
    let (out, said) = in_parts(false);
    assert!(
        out.contains("Nothing was changed yet") && said.contains("can be looked at when it is there"),
        "{said}"
    );
    assert!(target.exported() == before);
    let (out, said) = in_parts(true);
    let parts = said.lines().filter(|line| line.contains("Part ")).count();
    assert!(parts > 3 && out.matches("Done:").count() == parts, "{parts}\n{said}\n{out}");
    assert!(target.exported() == other.exported());
    let (out, _) = in_parts(true);
    assert_eq!(out.matches("Nothing to change").count(), parts, "{out}");
}

#[test]
fn who_may_not_read_there_is_told_so_and_nothing_is_kept() {
    let (source, target, work) = (Node::start(), Node::start(), tempfile::tempdir().unwrap());
    let mut command = import(&source, &target, work.path(), true);
    let output = command.env("THREESCALE_TOKEN", "wrong").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("answered 403") && said.contains("Access denied"), "{said}");
    assert_eq!(pages(work.path()).len(), 0);
}
