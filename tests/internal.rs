//! 3scale's internal API: cases as text (see `tests/internal/README.md`), and what text cannot say.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
mod common;
#[path = "common/setup.rs"]
mod setup;

use std::sync::Arc;
use std::time::Duration;

use common::{Answer, Client, Extend, Node, runtime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollgate::engine::Engine;
use tollgate::http::bodies::{BODIES_BYTES_MAX, Bodies, SMALL_BODY_BYTES};
use tollgate::http::internal::{InternalApi, Logins};
use tollgate::http::{Config, Routes};
use tollgate::listener::Clock;
use tollgate::listener::guesses::Guesses;
use tollgate::model::draft::NewService;
use tollgate::model::record::BackendVersion;
use tollgate::plugin::alerts::Alerts;
use tollgate::plugin::errors::IntegrationErrors;
use tollgate::store::Shelf;

fn with_internal_api(engine: &Arc<Engine>, clock: &Clock, routes: Routes) -> Routes {
    with_internal_api_and_room(engine, clock, routes, BODIES_BYTES_MAX)
}

fn with_internal_api_and_room(
    engine: &Arc<Engine>,
    clock: &Clock,
    routes: Routes,
    bodies_bytes_max: usize,
) -> Routes {
    let logins = Logins::new([("user", "password"), ("second", "secret")]);
    // Shelves that nobody finds again: the files are gone, what is open stays.
    let directory = tempfile::tempdir().unwrap();
    let shelf = |name| Shelf::open(&directory.path().join(name)).unwrap();
    let (alerts, _) = Alerts::start(engine, shelf("alerts")).unwrap();
    let errors = IntegrationErrors::open(shelf("errors"), &engine.catalog()).unwrap();
    let (engine, body_timeout) = (Arc::clone(engine), Duration::from_secs(2));
    let api =
        InternalApi::new(engine, clock.clone(), alerts.into(), Arc::clone(&errors), logins, body_timeout);
    let (bodies, guesses) = (Bodies::new(bodies_bytes_max, false), Guesses::new(false));
    let api = api.with_budgets(Arc::new(bodies), Arc::new(guesses));
    tokio::spawn(api.background(CancellationToken::new()));
    routes.noting(errors).with(Box::new(api))
}

#[test]
fn every_case_is_answered_to_the_byte() {
    let count = cases::run("tests/internal", with_internal_api);
    assert!(count >= 45 || cases::some_only(), "only {count} cases were found");
}

fn start(runtime: &Runtime) -> Node {
    Node::start_with(runtime, Config::default(), Duration::from_secs(2), with_internal_api)
}

/// Calls the internal API.
fn call(client: &mut Client, method: &str, path: &str, body: &str) -> Answer {
    let request = format!(
        "{method} /internal{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.exchange(request.as_bytes())
}

fn good(client: &mut Client, method: &str, path: &str, body: &str) -> String {
    let answer = call(client, method, path, body);
    assert!(answer.status < 300, "{method} {path} {body}: {} {}", answer.status, answer.text());
    answer.text()
}

/// A service `s` with the metric `hits`, and applications on a plan that allows a lot.
fn fill(client: &mut Client, applications: usize) {
    good(client, "PUT", "/services/s", r#"{"service":{"provider_key":"pk","backend_version":"2"}}"#);
    good(client, "PUT", "/services/s/metrics/1", r#"{"metric":{"name":"hits"}}"#);
    let limit = r#"{"usagelimit":{"eternity":1000000}}"#;
    good(client, "PUT", "/services/s/plans/p/usagelimits/1/eternity", limit);
    for from in (0..applications).step_by(500) {
        let items: Vec<_> = (from..(from + 500).min(applications))
            .map(|number| format!(r#"{{"id":"a{number}","state":"active","plan_id":"p"}}"#))
            .collect();
        let body = format!(r#"{{"applications":[{}]}}"#, items.join(","));
        let answer = good(client, "PUT", "/services/s/applications/batch", &body);
        assert!(answer.contains(r#""failed":0"#), "{answer}");
    }
}

fn authrep(client: &mut Client, service: &str, app_id: &str, hits: u64) -> u16 {
    let target = format!(
        "/transactions/authrep.xml?provider_key=pk&service_id={service}&app_id={app_id}\
         &usage[hits]={hits}&log[code]=200"
    );
    client.get(&target).status
}

fn spent(client: &mut Client, app_id: &str) -> u64 {
    let answer = good(client, "GET", &format!("/services/s/applications/{app_id}/utilization/"), "");
    let value = answer.split(r#""current_value":"#).nth(1).unwrap();
    value.split('}').next().unwrap().parse().unwrap()
}

#[test]
fn a_blank_key_becomes_a_random_one_that_works() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 1);
    let mut values = Vec::new();
    for body in [r#"{"application_key":{}}"#, r#"{"application_key":{"value":""}}"#] {
        let answer = good(&mut client, "POST", "/services/s/applications/a0/keys/", body);
        let value = answer.strip_prefix(r#"{"status":"created","application_key":{"app_id":"a0","value":""#);
        let value = value.and_then(|rest| rest.strip_suffix(r#""}}"#)).unwrap_or_else(|| panic!("{answer}"));
        assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
        let target = "/transactions/authorize.xml?provider_key=pk&app_id=a0&app_key=";
        assert_eq!(client.get(&format!("{target}{value}")).status, 200);
        assert_eq!(client.get(&format!("{target}{}", "0".repeat(32))).status, 409);
        values.push(value.to_owned());
    }
    assert_ne!(values[0], values[1]);
}

#[test]
fn a_batch_has_as_many_applications_as_allowed_and_no_more() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 0);
    let batch = |count: usize| format!(r#"{{"applications":[{}]}}"#, vec!["0"; count].join(","));
    let answer = good(&mut client, "PUT", "/services/s/applications/batch", &batch(1024));
    assert!(answer.contains(r#""total":1024,"successful":0,"failed":1024"#));
    let answer = call(&mut client, "PUT", "/services/s/applications/batch", &batch(1025));
    let error = r#"{"status":"error","error":"a batch has at most 1024 applications"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (400, error));
}

#[test]
fn a_body_is_as_large_as_allowed_and_no_larger() {
    let runtime = runtime();
    let node = start(&runtime);
    let body = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    let answer = call(&mut node.connect(), "POST", "/services/", &body(1 << 20));
    assert_eq!(answer.text(), r#"{"status":"error","error":"missing parameter 'service'"}"#);
    let answer = call(&mut node.connect(), "POST", "/services/", &body((1 << 20) + 1));
    let error = r#"{"status":"error","error":"the body has more than 1048576 bytes"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (413, error));

    // Inflated, too.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 64 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let head = format!(
        "POST /internal/services/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\
         Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    assert_eq!(node.connect().exchange(&[head.as_bytes(), &bomb].concat()).status, 413);
}

#[test]
fn a_body_for_which_there_is_no_room_is_to_come_again() {
    let runtime = runtime();
    let no_room: Extend = |engine, clock, routes| with_internal_api_and_room(engine, clock, routes, 0);
    let node = Node::start_with(&runtime, Config::default(), Duration::from_secs(2), no_room);
    let body = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    let call = |bytes| call(&mut node.connect(), "POST", "/services/", &body(bytes));
    assert_eq!(call(SMALL_BODY_BYTES).status, 400, "what is small needs none");
    let answer = call(SMALL_BODY_BYTES + 1);
    let error = r#"{"status":"error","error":"there is no room for the body now"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (503, error));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    let head = "PUT /internal/services/s HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\
                Content-Length: 100\r\n\r\n{\"service\":";
    let answer = client.exchange(head.as_bytes());
    let error = r#"{"status":"error","error":"the body did not arrive in time"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (408, error));
    assert!(client.is_closed());
}

#[test]
fn a_stranger_is_refused_before_the_body_comes() {
    let runtime = runtime();
    let node = start(&runtime);
    let head = "PUT /internal/services/s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{";
    assert_eq!(node.connect().exchange(head.as_bytes()).status, 401);
}

#[test]
fn a_service_made_otherwise_goes_by_its_number_unless_a_pushed_one_does() {
    let runtime = runtime();
    let node = start(&runtime);
    let build = |draft: &mut tollgate::model::draft::Draft<'_>| {
        let tenant = draft.create_tenant("Acme", "acme")?;
        let backend_version = BackendVersion::AppId;
        let service =
            draft.create_service(&NewService { tenant, external_id: None, name: "API", backend_version })?;
        let hits = draft.create_metric(service, "hits", None)?;
        let plan = draft.create_plan(service, None, "Basic")?;
        Ok((service, hits, plan))
    };
    let ((service, hits, plan), _) = node.engine.change(build).unwrap();
    let mut client = node.connect();
    let shown = good(&mut client, "GET", &format!("/services/{service}"), "");
    assert!(shown.contains(&format!(r#""id":"{service}""#)) && shown.contains("acme"), "{shown}");
    let limits = format!("/services/{service}/plans/{plan}/usagelimits/{hits}/day");
    good(&mut client, "PUT", &limits, r#"{"usagelimit":{"day":5}}"#);
    let application = format!("/services/{service}/applications/a");
    let body = format!(r#"{{"application":{{"state":"active","plan_id":{plan}}}}}"#);
    let shown = good(&mut client, "PUT", &application, &body);
    assert!(shown.contains(&format!(r#""plan_id":"{plan}","plan_name":"Basic""#)), "{shown}");
    assert_eq!(node.engine.catalog().plans.len(), 1);
    assert_eq!(call(&mut client, "GET", &format!("/services/0{service}"), "").status, 404);

    // Another provider's portal has a service of that number: it gets it, and the first keeps its own.
    let path = format!("/services/{service}");
    let shown = good(&mut client, "PUT", &path, r#"{"service":{"provider_key":"porta"}}"#);
    assert!(shown.contains(r#""provider_key":"porta""#), "{shown}");
    assert!(good(&mut client, "GET", &path, "").contains("porta"));
    assert_eq!(call(&mut client, "GET", &application, "").status, 404);
    let target = format!("/transactions/authorize.xml?provider_key=acme&service_id={service}&app_id=a");
    assert_eq!(client.get(&target).status, 200);
}

#[test]
fn the_name_of_a_pushed_provider_is_not_its_key() {
    let runtime = runtime();
    let node = start(&runtime);
    fill(&mut node.connect(), 1);
    let catalog = node.engine.catalog();
    let (_, tenant) = catalog.tenants.iter().next().unwrap();
    assert!(!tenant.name.contains("pk"), "{}", tenant.name);
    let (_, application) = catalog.applications.iter().next().unwrap();
    assert_eq!(application.account, None);
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn deleted_stats_begin_again_at_zero_for_all_applications_of_the_service_and_no_other() {
    const APPLICATIONS: usize = 2500;
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, APPLICATIONS);
    good(&mut client, "PUT", "/services/other", r#"{"service":{"provider_key":"pk"}}"#);
    good(&mut client, "PUT", "/services/other/metrics/1", r#"{"metric":{"name":"hits"}}"#);
    good(&mut client, "PUT", "/services/other/applications/o", r#"{"application":{"state":"active"}}"#);
    for number in 0..APPLICATIONS {
        assert_eq!(authrep(&mut client, "s", &format!("a{number}"), 7), 200);
    }
    assert_eq!(authrep(&mut client, "other", "o", 7), 200);

    let answer = call(&mut client, "DELETE", "/services/s/stats", "");
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status":"to_be_deleted"}"#));
    wait_until("the stats are deleted", || {
        node.engine.catalog().services.iter().all(|(_, service)| service.stats_erasure.is_none())
    });
    for number in 0..APPLICATIONS {
        assert_eq!(spent(&mut client, &format!("a{number}")), 0, "a{number}");
    }
    let catalog = node.engine.catalog();
    let counts = |id| node.engine.counters_of(id, tollgate::model::time::UnixMillis(0)).unwrap().cells;
    let (_, first) = catalog.applications.iter().find(|(_, it)| &*it.app_id == "a0").unwrap();
    // Response codes begin again, too.
    assert!(counts(first.id).len() > 1 && counts(first.id).iter().all(|cell| cell.counts == [0; 7]));
    let (_, other) = catalog.applications.iter().find(|(_, it)| &*it.app_id == "o").unwrap();
    assert_eq!(counts(other.id)[0].counts, [7; 7]);
    // And counts go on from there.
    assert_eq!(authrep(&mut client, "s", "a9", 3), 200);
    assert_eq!(spent(&mut client, "a9"), 3);
    assert_eq!(call(&mut client, "DELETE", "/services/none/stats", "").status, 404);
}

#[test]
fn while_stats_are_deleted_every_call_is_decided_and_counted_or_gone() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 300);
    let counted = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.connect();
                    (0..1500).for_each(|turn| {
                        assert_eq!(authrep(&mut client, "s", &format!("a{}", turn % 300), 1), 200);
                    });
                })
            })
            .collect();
        for _ in 0..20 {
            good(&mut client, "DELETE", "/services/s/stats", "");
        }
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        (0..300).map(|number| spent(&mut client, &format!("a{number}"))).sum::<u64>()
    });
    assert!(counted <= 3000, "{counted}");
    good(&mut client, "DELETE", "/services/s/stats", "");
    wait_until("the stats are deleted", || {
        node.engine.catalog().services.iter().all(|(_, service)| service.stats_erasure.is_none())
    });
    assert!((0..300).all(|number| spent(&mut client, &format!("a{number}")) == 0));
}

#[test]
fn a_change_that_cannot_be_written_is_not_acknowledged() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 1);
    // What a dead disk looks like from here: no flush ever comes.
    node.engine.stop_flusher();
    wait_until("the flusher has ended", || node.engine.durable_blocking(node.engine.ticket()).is_err());
    let body = r#"{"application":{"state":"active"}}"#;
    let answer = call(&mut client, "PUT", "/services/s/applications/new", body);
    let error = r#"{"status":"error","error":"the journal cannot be written at present"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (503, error));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(call(&mut client, "GET", "/services/s/applications/a0", "").status, 200);
    assert_eq!(authrep(&mut client, "s", "a0", 1), 200);
}

#[test]
fn an_application_has_as_many_keys_as_can_be_listed_and_no_more() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 1);
    let keys: Vec<_> = (0..256).map(|number| format!("\"k{number}\"")).collect();
    let item = format!(r#"{{"id":"a0","state":"active","application_keys":[{}]}}"#, keys.join(","));
    let answer = good(
        &mut client,
        "PUT",
        "/services/s/applications/batch",
        &format!(r#"{{"applications":[{item}]}}"#),
    );
    assert!(answer.contains(r#""failed":0"#), "{answer}");
    let path = "/services/s/applications/a0/keys/";
    let answer = call(&mut client, "POST", path, r#"{"application_key":{"value":"one more"}}"#);
    let error = r#"{"status":"error","error":"too many application keys: at most 256"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (400, error));
    // One that is there is none more.
    good(&mut client, "POST", path, r#"{"application_key":{"value":"k255"}}"#);
    assert_eq!(good(&mut client, "GET", path, "").matches("\"value\"").count(), 256);
}

#[test]
fn more_calls_at_once_than_are_carried_out_at_a_time_are_all_answered() {
    let runtime = runtime();
    let node = start(&runtime);
    fill(&mut node.connect(), 1);
    std::thread::scope(|scope| {
        for number in 0..24 {
            let node = &node;
            scope.spawn(move || {
                let mut client = node.connect();
                let path = format!("/services/s/applications/new{number}");
                let body = r#"{"application":{"state":"active","plan_id":"p"}}"#;
                assert!(good(&mut client, "PUT", &path, body).contains("created"));
                // It binds the next request, whoever makes it.
                assert_eq!(authrep(&mut client, "s", &format!("new{number}"), 1), 200);
            });
        }
    });
    assert_eq!(node.engine.catalog().applications.len(), 25);
}

#[test]
fn what_a_deleted_service_owned_is_taken_away_while_its_id_serves_another() {
    let runtime = runtime();
    let node = start(&runtime);
    let mut client = node.connect();
    fill(&mut client, 1300);
    assert_eq!(authrep(&mut client, "s", "a7", 5), 200);
    good(&mut client, "DELETE", "/services/s", "");
    assert_eq!(call(&mut client, "GET", "/services/s", "").status, 404);
    assert_eq!(authrep(&mut client, "s", "a7", 1), 403);
    // The next of that name has nothing of the first.
    fill(&mut client, 8);
    assert_eq!(call(&mut client, "GET", "/services/s/applications/a8", "").status, 404);
    assert_eq!(spent(&mut client, "a7"), 0);
    wait_until("nothing of the first is left", || {
        let catalog = node.engine.catalog();
        (catalog.services.len(), catalog.plans.len(), catalog.applications.len()) == (1, 1, 8)
    });
    assert_eq!(authrep(&mut client, "s", "a7", 1), 200);
    assert_eq!(spent(&mut client, "a7"), 1);
}
