//! The admin API beside 100,000 applications: how long pages of the list, finding by key, creating and suspending take inside
//! the node, without the disk.
//!
//! ```text
//! cargo bench --bench admin [-- --applications N]
//! ```
//!
//! Engine, journal, shelf and plugin are the real ones; calls go to the plugin as its HTTP routes do, so this is the node's time
//! without HTTP, and without the sync that an answer of a change waits for.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::system_clock;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::plugin::admin::{Admin, NAME};
use tollgate::plugin::call::{Call, Method};
use tollgate::plugin::host::{Desk, Host, Plugin};
use tollgate::store::Shelf;

const TOKEN: &str = "the token";
/// How often each thing is measured.
const ROUNDS: usize = 200;
/// Records that are made with one command while the catalog is filled.
const AT_ONCE: usize = 2000;

fn call(admin: &Admin, method: Method, path: &str, mut parameters: Map<String, Value>) -> (u16, Value) {
    parameters.insert("access_token".to_owned(), TOKEN.into());
    let answer = admin.answer(&Call {
        method,
        path: format!("/admin/api/{path}.json"),
        parameters,
        basic: None,
        accept: None,
        etag: None,
        host: None,
        scheme: "http",
    });
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn fields(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("fields are an object") };
    fields
}

/// Fills the catalog; the ids of tenant, service, plan, and of an account and its application.
fn fill(engine: &Engine, applications: usize) -> (u64, Vec<(u64, u64)>) {
    let begin = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("Provider", "pkey")?;
        let backend_version = BackendVersion::UserKey;
        let service =
            draft.create_service(&NewService { tenant, external_id: None, name: "API", backend_version })?;
        draft.create_metric(service, "hits", None)?;
        let plan = draft.create_plan(service, None, "Basic")?;
        Ok((tenant, service, plan))
    };
    let ((tenant, service, plan), _) = engine.change(begin).unwrap();
    let mut made = Vec::with_capacity(applications);
    while made.len() < applications {
        let first = made.len();
        let more = |draft: &mut Draft<'_>| {
            let mut made = Vec::new();
            for number in first..(first + AT_ONCE).min(applications) {
                let name = format!("application {number}");
                let account = draft.create_account(tenant, &name)?;
                let app_id = format!("app{number}");
                let new =
                    NewApplication { service, account: Some(account), app_id: &app_id, name: &name, plan };
                let id = draft.create_application(&new)?;
                draft.edit_application(id, |it| it.user_keys.push(Secret::new(&format!("key{number}"))))?;
                made.push((account.0, id.0));
            }
            Ok(made)
        };
        made.extend(engine.change(more).unwrap().0);
    }
    (plan.0, made)
}

fn measure(what: &str, aim: Duration, mut run: impl FnMut(usize)) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let began = Instant::now();
            run(round);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    println!("{what:<40} median {median:>10.1?}  p99 {p99:>10.1?}  (aim {aim:?})");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|it| it == "--applications").and_then(|at| arguments.get(at + 1));
    let applications: usize =
        given.map_or(100_000, |text| text.parse().expect("--applications takes a number"));
    let dir = tempfile::tempdir().unwrap();
    let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
    let (journal, _) =
        Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), nothing).unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
    let desk = Desk::open(NAME, &engine, Shelf::open(&dir.path().join("shelf")).unwrap()).unwrap();
    let admin = Arc::new(Admin::new(Arc::clone(&desk), system_clock()));
    let hosting = Host::default().with(Arc::clone(&admin) as Arc<dyn Plugin>, desk).start(&engine).unwrap();
    let flusher = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || engine.run_flusher(|| system_clock()(), |_| {}).unwrap())
    };
    let began = Instant::now();
    let (plan, made) = fill(&engine, applications);
    println!("{applications} applications, each of its own account, were made in {:.1?}", began.elapsed());
    let tenant = engine.catalog().tenants.iter().next().map(|(_, tenant)| tenant.id).unwrap();
    admin.begin(tenant, TOKEN).unwrap();

    let (read, write) = (Duration::from_millis(5), Duration::from_millis(2));
    let pages = applications.div_ceil(500).max(1);
    measure("a page of 500 of all applications", read, |round| {
        let page = 1 + round * 7919 % pages;
        let (status, body) =
            call(&admin, Method::Get, "applications", fields(json!({"page": page, "per_page": 500})));
        assert!(status == 200 && !body["applications"].as_array().unwrap().is_empty(), "{body}");
    });
    measure("the last page of 20", read, |_| {
        let page = applications.div_ceil(20);
        let (status, body) =
            call(&admin, Method::Get, "applications", fields(json!({"page": page, "per_page": 20})));
        assert!(status == 200 && !body["applications"].as_array().unwrap().is_empty(), "{body}");
    });
    measure("finding one by its user key", read, |round| {
        let number = round * 7919 % applications;
        let (status, body) = call(
            &admin,
            Method::Get,
            "applications/find",
            fields(json!({"user_key": format!("key{number}")})),
        );
        assert!(status == 200 && body["application"]["id"] == made[number].1, "{body}");
    });
    measure("creating one", write, |round| {
        let path = format!("accounts/{}/applications", made[round * 7919 % applications].0);
        let new = json!({"plan_id": plan, "name": format!("new {round}"), "description": "new"});
        let (status, body) = call(&admin, Method::Post, &path, fields(new));
        assert!(status == 201, "{body}");
    });
    measure("suspending one", write, |round| {
        let (account, id) = made[round * 7919 % applications];
        let path = format!("accounts/{account}/applications/{id}/suspend");
        let (status, body) = call(&admin, Method::Put, &path, Map::new());
        assert!(status == 200, "{body}");
    });
    engine.stop_flusher();
    flusher.join().unwrap();
    hosting.stop(true);
}
