//! The admin API beside 100,000 applications: how long pages of lists, also of filtered ones, finding by key, creating and
//! suspending take inside the node, without the disk.
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
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::plugin::admin::{Admin, NAME};
use tollgate::plugin::call::{Answer, Call, Method};
use tollgate::plugin::host::{Desk, Host, Plugin};
use tollgate::plugin::records::{Records, id_key};
use tollgate::store::Shelf;
use tollgate::store::shelf::Table;

/// The node's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKEN: &str = "the token";
/// How often each thing is measured.
const ROUNDS: usize = 200;
/// Records that are made with one command while the catalog is filled.
const AT_ONCE: usize = 2000;
/// When the records say that they were made: 2026-11-22 13:45:30 UTC.
const NOW_MS: u64 = 1_795_355_130_000;

fn call(admin: &Admin, method: Method, path: &str, mut parameters: Map<String, Value>) -> Answer {
    parameters.insert("access_token".to_owned(), TOKEN.into());
    admin.answer(&Call {
        method,
        tenant: None,
        path: format!("/admin/api/{path}.json"),
        parameters,
        basic: None,
        accept: None,
        etag: None,
        host: None,
        scheme: "http",
    })
}

fn fields(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("fields are an object") };
    fields
}

/// Fills catalog and records; the id of the plan, and of each account with its application.
fn fill(engine: &Engine, desk: &Desk, applications: usize) -> (u64, Vec<(u64, u64)>) {
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
    let details = json!({"description": "Made by a bench", "created_at": NOW_MS, "updated_at": NOW_MS});
    let mut made = Vec::with_capacity(applications);
    while made.len() < applications {
        let first = made.len();
        let more = |draft: &mut Draft<'_>, records: &mut Records<'_>| {
            let mut made = Vec::new();
            for number in first..(first + AT_ONCE).min(applications) {
                let name = format!("application {number}");
                let account = draft.create_account(tenant, &name)?;
                let app_id = format!("app{number}");
                let new =
                    NewApplication { service, account: Some(account), app_id: &app_id, name: &name, plan };
                let id = draft.create_application(&new)?;
                draft.edit_application(id, |it| it.user_keys.push(Secret::new(&format!("key{number}"))))?;
                records.put(Table("applications"), &id_key(id.0), details.to_string().into_bytes());
                made.push((account.0, id.0));
            }
            Ok::<_, CommandError>(made)
        };
        made.extend(desk.command(more).unwrap().0);
    }
    (plan.0, made)
}

/// Measures how long `run` takes; not what `check` does with the answer.
fn measure(
    (what, rounds): (&str, usize),
    aim: Duration,
    mut run: impl FnMut(usize) -> Answer,
    check: impl Fn(usize, u16, &Value),
) {
    let mut times: Vec<_> = (0..rounds)
        .map(|round| {
            let began = Instant::now();
            let answer = run(round);
            let took = began.elapsed();
            check(round, answer.status, &serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
            took
        })
        .collect();
    times.sort_unstable();
    let (median, p99) = (times[rounds / 2], times[rounds * 99 / 100]);
    println!("{what:<44} median {median:>10.1?}  p99 {p99:>10.1?}  (aim {aim:?})");
}

/// The first page of a list that is filtered, from a few of all up to nearly all.
fn measure_filters(admin: &Admin, made: &[(u64, u64)], aim: Duration) {
    let of_ten: Vec<_> = made.iter().step_by(10).collect();
    for (account, application) in &of_ten {
        let rejected = call(admin, Method::Put, &format!("accounts/{account}/reject"), Map::new());
        let path = format!("accounts/{account}/applications/{application}");
        let active = fields(json!({"first_daily_traffic_at": "2026-11-01T00:00:00Z"}));
        let active = call(admin, Method::Put, &path, active);
        assert_eq!((rejected.status, active.status), (200, 200));
    }
    let all = made.len();
    for (list, filter, count) in [
        ("accounts", json!({"state": "rejected"}), of_ten.len()),
        ("accounts", json!({"state": "approved"}), all - of_ten.len()),
        ("accounts", json!({"state": "pending"}), 0),
        ("applications", json!({"plan_type": "free"}), all),
        ("applications", json!({"plan_type": "paid"}), 0),
        ("applications", json!({"active_since": "2026-10-01T00:00:00Z"}), of_ten.len()),
        ("applications", json!({"inactive_since": "2026-10-01T00:00:00Z"}), all - of_ten.len()),
    ] {
        let what = format!("a page of 20 of {list} with {filter}");
        let asked = |_| {
            let mut asked = fields(filter.clone());
            asked.insert("per_page".to_owned(), 20.into());
            call(admin, Method::Get, list, asked)
        };
        measure((&what, ROUNDS / 5), aim, asked, |_, status, body| {
            let total = body["metadata"]["total_entries"].as_u64().unwrap_or(0);
            assert!(status == 200 && total == count as u64, "{filter}: {total} of {count}");
        });
    }
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
    let hosting = Host::default()
        .with(Arc::clone(&admin) as Arc<dyn Plugin>, Arc::clone(&desk))
        .start(&engine)
        .unwrap();
    let flusher = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || engine.run_flusher(|| system_clock()(), |_| {}).unwrap())
    };
    let began = Instant::now();
    let (plan, made) = fill(&engine, &desk, applications);
    println!("{applications} applications, each of its own account, were made in {:.1?}", began.elapsed());
    let tenant = engine.catalog().tenants.iter().next().map(|(_, tenant)| tenant.id).unwrap();
    admin.begin(tenant, TOKEN).unwrap();

    let (read, write) = (Duration::from_millis(5), Duration::from_millis(2));
    let pages = applications.div_ceil(500).max(1);
    let is_page = |_, status, body: &Value| {
        assert!(status == 200 && !body["applications"].as_array().unwrap().is_empty(), "{body}");
    };
    let page = |number: usize, per_page: usize| {
        let asked = json!({"page": number, "per_page": per_page});
        call(&admin, Method::Get, "applications", fields(asked))
    };
    measure(
        ("a page of 500 of all applications", ROUNDS),
        read,
        |round| page(1 + round * 7919 % pages, 500),
        is_page,
    );
    measure(("the last page of 20", ROUNDS), read, |_| page(applications.div_ceil(20), 20), is_page);
    let any = |round: usize| round * 7919 % applications;
    measure(
        ("finding one by its user key", ROUNDS),
        read,
        |round| {
            let key = json!({"user_key": format!("key{}", any(round))});
            call(&admin, Method::Get, "applications/find", fields(key))
        },
        |round, status, body| {
            assert!(status == 200 && body["application"]["id"] == made[any(round)].1, "{body}");
        },
    );
    measure_filters(&admin, &made, read);
    measure(
        ("creating one", ROUNDS),
        write,
        |round| {
            let path = format!("accounts/{}/applications", made[any(round)].0);
            let new = json!({"plan_id": plan, "name": format!("new {round}"), "description": "new"});
            call(&admin, Method::Post, &path, fields(new))
        },
        |_, status, body| assert!(status == 201, "{body}"),
    );
    measure(
        ("suspending one", ROUNDS),
        write,
        |round| {
            let (account, id) = made[any(round)];
            call(&admin, Method::Put, &format!("accounts/{account}/applications/{id}/suspend"), Map::new())
        },
        |_, status, body| assert!(status == 200, "{body}"),
    );
    engine.stop_flusher();
    flusher.join().unwrap();
    hosting.stop(true);
}
