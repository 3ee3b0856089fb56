//! Catalog as code with many applications: how long writing a tenant down, planning an import into an empty node, applying it and planning
//! it again (where nothing is left to do) take inside the node, without HTTP and without the sync that an answer waits for.
//!
//! ```text
//! cargo bench --bench document                   # 2,500, 5,000, 10,000 and 20,000 applications
//! cargo bench --bench document -- 50000          # so many
//! cargo test --bench document                    # a short run, as CI has it: it looks for what grows with the square
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

use std::fmt::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::system_clock;
use tollgate::plugin::admin::{Admin, NAME};
use tollgate::plugin::call::{Call, Method};
use tollgate::plugin::host::{Desk, Host, Hosting, Plugin};
use tollgate::store::Shelf;

/// The node's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKEN: &str = "the token";
/// What 10,000 applications may take, planned and applied.
const AIM: Duration = Duration::from_secs(10);

/// A node without its listeners, with one empty tenant.
struct World {
    engine: Arc<Engine>,
    admin: Arc<Admin>,
    hosting: Option<Hosting>,
    flusher: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let (journal, _) =
            Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
        let desk = Desk::open(NAME, &engine, Shelf::open(&dir.path().join("shelf")).unwrap()).unwrap();
        let admin = Arc::new(Admin::new(Arc::clone(&desk), system_clock()));
        let hosting =
            Host::default().with(Arc::clone(&admin) as Arc<dyn Plugin>, desk).start(&engine).unwrap();
        let flusher = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || engine.run_flusher(|| system_clock()(), |_| {}).unwrap())
        };
        let (tenant, _) = engine.change(|draft| draft.create_tenant("Provider", "pkey")).unwrap();
        admin.begin(tenant, TOKEN).unwrap();
        World { engine, admin, hosting: Some(hosting), flusher: Some(flusher), _dir: dir }
    }

    fn call(&self, method: Method, path: &str, parameters: Value) -> Value {
        let Value::Object(mut parameters) = parameters else { panic!("parameters are an object") };
        parameters.insert("access_token".to_owned(), TOKEN.into());
        let answer = self.admin.answer(&Call {
            method,
            tenant: None,
            path: format!("/admin/api/{path}.json"),
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: None,
            scheme: "http",
        });
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{body:.2000}");
        body
    }

    fn import(&self, document: &str, secrets: &str, more: Value) -> Value {
        let mut ask = Map::from_iter([
            ("document".to_owned(), document.into()),
            ("secrets".to_owned(), secrets.into()),
        ]);
        ask.extend(more.as_object().unwrap().clone());
        self.call(Method::Post, "catalog/import", Value::Object(ask))["import"].take()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.engine.stop_flusher();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().unwrap();
        }
        if let Some(hosting) = self.hosting.take() {
            hosting.stop(true);
        }
    }
}

/// So many applications on three plans of two services, half of them one account's, the others ten to an account; and their secrets.
fn catalog(applications: usize) -> (String, String) {
    let mut document = String::from("version: 1\nservices:\n");
    for service in ["first", "second"] {
        let _ = write!(
            document,
            "- system_name: {service}\n  backend_version: '2'\n  metrics:\n  - system_name: hits\n    methods:\n"
        );
        for at in 0..20 {
            let _ = writeln!(document, "    - system_name: method_{at}");
        }
        document.push_str("  application_plans:\n");
        for plan in ["basic", "silver", "gold"] {
            let _ = write!(document, "  - system_name: {plan}\n    limits:\n");
            for at in 0..20 {
                let _ = writeln!(document, "    - {{metric: method_{at}, period: day, value: {at}}}");
            }
        }
        document.push_str("  mapping_rules:\n");
        for at in 0..200 {
            let _ = writeln!(
                document,
                "  - {{http_method: GET, pattern: /path/{at}, metric: method_{}}}",
                at % 20
            );
        }
    }
    document.push_str("accounts:\n");
    let mut secrets = String::new();
    for at in 0..applications {
        if at == 0 || at >= applications / 2 && at % 10 == 0 {
            let _ = write!(document, "- org_name: Account {at}\n  applications:\n");
        }
        let (service, plan) = (["first", "second"][at % 2], ["basic", "silver", "gold"][at % 3]);
        let _ = write!(
            document,
            "  - service: {service}\n    application_id: app-{at}\n    plan: {plan}\n    name: Application {at}\n    \
             user_key: {{secret: u{at}}}\n    keys:\n    - secret: k{at}\n"
        );
        let _ = write!(secrets, "u{at}: user-key-{at}\nk{at}: app-key-{at}\n");
    }
    (document, secrets)
}

struct Times {
    plan: Duration,
    apply: Duration,
    export: Duration,
    again: Duration,
}

fn timed<R>(run: impl FnOnce() -> R) -> (Duration, R) {
    let began = Instant::now();
    let result = run();
    (began.elapsed(), result)
}

fn measure(applications: usize) -> Times {
    let (document, secrets) = catalog(applications);
    let world = World::new();
    let (plan, planned) = timed(|| world.import(&document, &secrets, json!({})));
    let fingerprint = json!({"apply": true, "fingerprint": planned["fingerprint"]});
    let (apply, done) = timed(|| world.import(&document, &secrets, fingerprint));
    assert_eq!(done["changes"], planned["changes"]);
    assert_eq!(world.engine.catalog().applications.iter().count(), applications);
    let (export, out) = timed(|| world.call(Method::Get, "catalog", json!({"secrets": true})));
    let text = |field: &str| out["catalog"][field].as_str().unwrap().to_owned();
    let (again, left) = timed(|| world.import(&text("document"), &text("secrets"), json!({"prune": true})));
    assert_eq!(left["changes"], json!([]));
    drop(planned);
    let other = World::new();
    other.import(&text("document"), &text("secrets"), json!({"prune": true, "apply": true}));
    let copy = other.call(Method::Get, "catalog", json!({"secrets": true}));
    assert_eq!(copy["catalog"], out["catalog"], "out, in and out again");
    println!(
        "{applications:>7} applications: plan {plan:>8.2?}, apply {apply:>8.2?}, export {export:>8.2?}, plan again {again:>8.2?}; \
         document {} KiB, exported {} KiB, secrets {} KiB",
        document.len() >> 10,
        text("document").len() >> 10,
        text("secrets").len() >> 10,
    );
    Times { plan, apply, export, again }
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        // Four times as many take four times as long, and sixteen times if each looks at all others. What machines do besides is in between.
        let (few, many) = (measure(250), measure(1000));
        for (what, few, many) in [
            ("planning", few.plan, many.plan),
            ("applying", few.apply, many.apply),
            ("exporting", few.export, many.export),
            ("planning again", few.again, many.again),
        ] {
            assert!(
                many < few * 11 + Duration::from_millis(200),
                "{what}: {few:?} for 250, {many:?} for 1,000"
            );
        }
        return;
    }
    let given: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let counts = if given.is_empty() { vec![2_500, 5_000, 10_000, 20_000] } else { given };
    for count in counts {
        let times = measure(count);
        if count <= 10_000 {
            let took = times.plan + times.apply;
            assert!(took < AIM, "{count} applications took {took:?}, which should be below {AIM:?}");
        }
    }
}
