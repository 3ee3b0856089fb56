//! The internal API of a whole node: where it is served, to whom, and that it is off unless somebody may use it.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client, runtime};
use tokio::runtime::Runtime;
use tollgate::config::{Config, Login, Password};
use tollgate::listener::guesses::{PEER_BURST, PEER_INTERVAL_MS};
use tollgate::listener::{Clock, system_clock};
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::BackendVersion;
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::Node;
use tollgate::plugin::alerts::EventKind;

fn login(user: &str, password: &str) -> Login {
    Login { user: user.into(), password: Password::new(password) }
}

fn call(address: SocketAddr, login: &str, method: &str, path: &str, body: &str) -> Answer {
    let authorization = STANDARD.encode(login);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {authorization}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Client::connect(address).exchange(request.as_bytes())
}

fn check(address: SocketAddr, login: &str) -> u16 {
    call(address, login, "GET", "/internal/check.json", "").status
}

/// Starts a node for `then`, and stops it.
fn with_node(runtime: &Runtime, config: &Config, then: impl FnOnce(&Node)) {
    let node = runtime.block_on(Node::start(config, system_clock())).unwrap();
    then(&node);
    runtime.block_on(node.stop()).unwrap();
}

#[test]
fn without_a_user_and_password_there_is_no_internal_api() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let config = support::config(dir.path());
    with_node(&runtime, &config, |node| {
        for login in ["", ":", "user:password"] {
            assert_eq!(check(node.http, login), 404, "{login}");
        }
        let answer =
            call(node.http, ":", "PUT", "/internal/services/1", r#"{"service":{"provider_key":"k"}}"#);
        assert_eq!((answer.status, answer.text().as_str()), (404, ""));
    });
    let admin = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    with_node(&runtime, &Config { admin, ..config }, |node| {
        assert_eq!(check(node.admin.unwrap(), ":"), 404);
        assert_eq!(check(node.http, ":"), 404);
    });
}

#[test]
fn with_an_admin_listener_it_is_served_there_only() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let config = Config { internal_api: vec![login("u", "p")], ..support::config(dir.path()) };
    with_node(&runtime, &config, |node| {
        assert_eq!((check(node.http, "u:p"), check(node.http, "u:x")), (200, 401));
    });
    let admin = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    with_node(&runtime, &Config { admin, ..config }, |node| {
        let admin = node.admin.unwrap();
        assert_eq!((check(admin, "u:p"), check(admin, "u:x")), (200, 401));
        assert_eq!((check(node.http, "u:p"), check(node.http, "u:x")), (404, 404));
    });
}

#[test]
fn who_guesses_at_the_password_waits_and_who_knows_it_does_not() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let config = Config { internal_api: vec![login("u", "p")], ..support::config(dir.path()) };
    with_node(&runtime, &config, |node| {
        assert_eq!(check(node.http, "u:p"), 200);
        for guess in 0..PEER_BURST {
            // A password that is wrong once more says nothing new, and costs nothing.
            assert_eq!([check(node.http, "u:0"), check(node.http, &format!("u:{guess}"))], [401, 401]);
        }
        let answer = call(node.http, "u:new", "GET", "/internal/check.json", "");
        assert_eq!((answer.status, answer.text().as_str()), (429, ""));
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=PEER_INTERVAL_MS / 1000).contains(&seconds), "{seconds}");
        // Nor does giving none.
        let nobody = Client::connect(node.http).get("/internal/check.json");
        assert_eq!((nobody.status, check(node.http, "u:p")), (401, 200));
        // Guesses at the password are none at what gateways show.
        let keyed = "/transactions/authorize.xml?provider_key=none&user_key=u";
        assert_eq!(Client::connect(node.http).get(keyed).status, 403);
    });
}

#[test]
fn a_password_is_changed_without_a_gap() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let with = |logins: &[(&str, &str)]| Config {
        internal_api: logins.iter().map(|(user, password)| login(user, password)).collect(),
        ..support::config(dir.path())
    };
    let codes = |node: &Node| [check(node.http, "porta:old"), check(node.http, "porta:new")];
    with_node(&runtime, &with(&[("porta", "old")]), |node| assert_eq!(codes(node), [200, 401]));
    with_node(&runtime, &with(&[("porta", "old"), ("porta", "new")]), |node| {
        assert_eq!(codes(node), [200, 200]);
    });
    with_node(&runtime, &with(&[("porta", "new")]), |node| assert_eq!(codes(node), [401, 200]));
}

#[test]
fn stats_that_were_being_deleted_when_a_node_died_are_deleted_by_the_next() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let config = Config { internal_api: vec![login("u", "p")], ..support::config(dir.path()) };
    let authrep = |node: &Node| {
        let target = "/transactions/authrep.xml?provider_key=pk&app_id=a&usage[hits]=4&log[code]=200";
        assert_eq!(Client::connect(node.http).get(target).status, 200);
    };
    let utilization = |node: &Node| {
        let path = "/internal/services/s/applications/a/utilization/";
        call(node.http, "u:p", "GET", path, "").text()
    };
    with_node(&runtime, &config, |node| {
        let put = |path: &str, body: &str| {
            assert!(call(node.http, "u:p", "PUT", &format!("/internal/services/s{path}"), body).status < 300);
        };
        put("", r#"{"service":{"provider_key":"pk"}}"#);
        put("/metrics/1", r#"{"metric":{"name":"hits"}}"#);
        put("/plans/p/usagelimits/1/eternity", r#"{"usagelimit":{"eternity":10}}"#);
        put("/applications/a", r#"{"application":{"state":"active","plan_id":"p"}}"#);
        authrep(node);
        assert!(utilization(node).contains(r#""current_value":4"#));
        // The wish of a node that then died: nobody was woken to carry it out.
        let catalog = node.engine().catalog();
        let (_, service) = catalog.services.iter().find(|(_, it)| it.external_id.is_some()).unwrap();
        let ask = |it: &mut tollgate::model::record::Service| it.stats_erasure = Some(1);
        node.engine().change(|draft| draft.edit_service(service.id, ask)).unwrap();
    });
    let is_done = |node: &Node| {
        node.engine().catalog().services.iter().all(|(_, service)| service.stats_erasure.is_none())
    };
    // Also while the API is off.
    with_node(&runtime, &Config { internal_api: Vec::new(), ..config.clone() }, |node| {
        let started = Instant::now();
        while !is_done(node) {
            assert!(started.elapsed() < Duration::from_secs(30), "the stats are not deleted");
            std::thread::sleep(Duration::from_millis(10));
        }
        authrep(node);
    });
    // What was set to zero stays so, and what came after it counts.
    with_node(&runtime, &config, |node| {
        assert!(utilization(node).contains(r#""current_value":4"#), "{}", utilization(node));
        assert!(is_done(node));
    });
}

#[test]
fn what_was_told_is_not_told_again_after_a_restart() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let config = support::config(dir.path());
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("t", "pk")?;
        let backend_version = BackendVersion::AppId;
        let new = NewService { tenant, external_id: Some("s"), name: "s", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_tenant(tenant, |it| it.default_service = Some(service))?;
        draft.edit_service(service, |it| it.alert_limits = vec![50])?;
        let hits = draft.create_metric(service, "hits", None)?;
        let plan = draft.create_plan(service, None, "p")?;
        draft.set_limit(plan, hits, Period::Eternity, 10)?;
        draft.create_application(&NewApplication { service, account: None, app_id: "a", name: "a", plan })
    };
    // One day, whatever the wall says.
    let clock: Clock = Arc::new(|| UnixMillis(1_795_355_130_000));
    for start in 0..3 {
        let node = runtime.block_on(Node::start(&config, clock.clone())).unwrap();
        if start == 0 {
            node.engine().change(build).unwrap();
        }
        let target = "/transactions/authrep.xml?provider_key=pk&app_id=a&usage[hits]=";
        let hits = if start == 0 { 6 } else { 1 };
        assert_eq!(Client::connect(node.http).get(&format!("{target}{hits}")).status, 200);
        let events = node.alerts().events().unwrap();
        let kinds: Vec<_> = events.into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds[..2], [EventKind::FirstTraffic, EventKind::FirstDailyTraffic]);
        assert!(
            matches!(kinds[2..], [EventKind::Alert { level: 50, count: 6, .. }]),
            "start {start}: {kinds:?}"
        );
        runtime.block_on(node.stop()).unwrap();
    }
}
