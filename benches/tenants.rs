//! What one tenant feels of another that floods the node with calls of the admin API: its own calls of that API, and its authreps over HTTP, one after
//! the other on connections of their own; alone; while the other has 32 calls on their way all the time, at its quotas (services that it
//! may not have any more, and whole pages of its applications); and while a process burns as much processor time as those took.
//!
//! ```text
//! cargo bench --bench tenants [-- --rounds N]
//! ```
//!
//! The last is the control: on two cores whatever runs delays everything, and what is asked is whether another tenant's calls do
//! more than that.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::cli::load::Cpu;
use tollgate::config::{Config, Settings};
use tollgate::listener::system_clock;
use tollgate::outgoing::{Http, Options, Reach, Request, Roots};

const MASTER_TOKEN: &str = "the-masters-token";
const PHASE: Duration = Duration::from_secs(5);
/// Between two calls of the tenant that is measured.
const PAUSE: Duration = Duration::from_millis(5);
/// Calls of the other that are on their way at a time.
const FLOOD: usize = 32;
const APPLICATIONS: usize = 500;

struct Node {
    child: Child,
    dir: std::path::PathBuf,
    url: String,
}

impl Node {
    fn start() -> Node {
        let dir = std::env::temp_dir().join(format!("tollgate-tenants-{}", std::process::id()));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .env("TOLLGATE_DATA_DIR", &dir)
            .env("TOLLGATE_MASTER_TOKEN", MASTER_TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Node { url: format!("http://{}", line.trim()), child, dir }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The node's process.
fn serve() {
    let local = || Some("127.0.0.1:0".to_owned());
    let tcp = Some("off".to_owned());
    let flags = Settings { http: local(), tcp, log: Some("warn".into()), ..Settings::default() };
    let config = Config::load(flags, std::env::vars()).unwrap();
    let runtime = tollgate::node::runtime().unwrap();
    let node = runtime.block_on(tollgate::node::Node::start(&config, system_clock())).unwrap();
    println!("{}", node.http);
    loop {
        std::thread::park();
    }
}

/// The burning process: each core for so many of 1000 parts of the time, until it is killed.
fn burn(parts: u64) {
    let spin = move || {
        loop {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(10 * parts) {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_millis(10).saturating_sub(began.elapsed()));
        }
    };
    std::thread::spawn(spin);
    spin();
}

fn http() -> Http {
    let (timeout, body_bytes_max) = (Duration::from_secs(30), 16 << 20);
    Http::new(Options { reach: Reach::anywhere(), timeout, body_bytes_max, roots: Roots::Web }).unwrap()
}

fn call(http: &Http, method: &str, url: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Content-Type", "application/json")];
    let request = Request { method, url, headers: &headers, body: body.as_bytes() };
    let answer = http.call(&request).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

/// A tenant, as its administrators and gateways call the node.
#[derive(Clone)]
struct Tenant {
    api: String,
    token: String,
}

impl Tenant {
    fn make(http: &Http, node: &Node, name: &str) -> (Tenant, u64) {
        let url = format!("{}/master/api/providers.json?access_token={MASTER_TOKEN}", node.url);
        let fields =
            json!({"org_name": name, "username": "admin", "email": "a@b.example", "password": "123456"});
        let (status, made) = call(http, "POST", &url, &fields);
        assert_eq!(status, 201, "{made}");
        let id = made["signup"]["account"]["id"].as_u64().unwrap();
        let token = made["signup"]["access_token"]["value"].as_str().unwrap().to_owned();
        (Tenant { api: format!("{}/tenants/{id}/admin/api", node.url), token }, id)
    }

    fn url(&self, path: &str) -> String {
        let join = if path.contains('?') { '&' } else { '?' };
        format!("{}/{path}{join}access_token={}", self.api, self.token)
    }

    fn first(&self, http: &Http, list: &str) -> Value {
        let (_, shown) = call(http, "GET", &self.url(&format!("{list}.json")), &Value::Null);
        let items = shown.as_object().and_then(|it| it.values().next()).unwrap();
        items[0].as_object().and_then(|it| it.values().next()).unwrap().clone()
    }
}

/// What a phase came to, in milliseconds: of calls of the admin API, and of authreps.
#[derive(Default)]
struct Took {
    admin: Vec<f64>,
    authrep: Vec<f64>,
    cpu_s: f64,
}

fn quantile(took: &[f64], quantile: f64) -> f64 {
    let mut took = took.to_vec();
    took.sort_by(f64::total_cmp);
    took[((took.len() - 1) as f64 * quantile) as usize]
}

/// Calls as a tenant for a while.
fn measure(http: &Http, node: &Node, admin: &str, authrep: &str) -> Took {
    let (cpu, own) = (Cpu::of(node.child.id()).unwrap(), Cpu::of(std::process::id()).unwrap());
    let (began, mut took) = (Instant::now(), Took::default());
    while began.elapsed() < PHASE {
        for (url, into) in [(admin, &mut took.admin), (authrep, &mut took.authrep)] {
            let called = Instant::now();
            assert_eq!(call(http, "GET", url, &Value::Null).0, 200);
            into.push(called.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(PAUSE);
        }
    }
    let cpu = cpu.since().unwrap() + own.since().unwrap();
    took.cpu_s = cpu.as_secs_f64() / began.elapsed().as_secs_f64();
    took
}

/// The other tenant's calls: a process of its own that takes what is left of the processors, since what one feels of its clients here is
/// nothing that one feels of clients elsewhere.
struct Flood(Child);

impl Flood {
    fn start(tenant: &Tenant) -> Flood {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe().unwrap()).arg("--flood");
        let piped = command.args([&tenant.api, &tenant.token]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Flood(piped.spawn().unwrap())
    }

    /// How many calls it has made.
    fn end(mut self) -> usize {
        drop(self.0.stdin.take());
        let said = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        assert!(self.0.wait().unwrap().success());
        said.trim().parse().unwrap()
    }
}

/// The flooding process: calls until its standard input ends.
fn flood(api: String, token: String) {
    let tenant = Tenant { api, token };
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let thread = |number: usize| {
        let (stop, calls, tenant) = (Arc::clone(&stop), Arc::clone(&calls), tenant.clone());
        std::thread::spawn(move || {
            let http = http();
            let headers = [("Content-Type", "application/json")];
            let (method, url, body, expected) = if number.is_multiple_of(2) {
                ("POST", tenant.url("services.json"), r#"{"name": "One more"}"#, 403)
            } else {
                ("GET", tenant.url("applications.json?per_page=500"), "", 200)
            };
            while !stop.load(Ordering::Relaxed) {
                let request = Request { method, url: &url, headers: &headers, body: body.as_bytes() };
                assert_eq!(http.call(&request).unwrap().status, expected);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let threads: Vec<_> = (0..FLOOD).map(thread).collect();
    std::io::read_to_string(std::io::stdin()).unwrap();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{}", calls.load(Ordering::Relaxed));
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let mut rounds = 5_u32;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--serve" => return serve(),
            "--flood" => return flood(arguments.next().unwrap(), arguments.next().unwrap()),
            "--burn" => return burn(arguments.next().unwrap().parse().unwrap()),
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            other => panic!("{other}: there is --rounds N"),
        }
    }
    let (node, http) = (Node::start(), http());
    let (calm, _) = Tenant::make(&http, &node, "Calm");
    let (flooding, id) = Tenant::make(&http, &node, "Flooding");
    let application = flooding.first(&http, "applications");
    let path = format!("accounts/{}/applications.json", flooding.first(&http, "accounts")["id"]);
    for number in 1..APPLICATIONS {
        let fields =
            json!({"plan_id": application["plan_id"], "name": format!("{number}"), "description": "d"});
        assert_eq!(call(&http, "POST", &flooding.url(&path), &fields).0, 201);
    }
    let master = |path: &str| format!("{}/master/api/{path}access_token={MASTER_TOKEN}", node.url);
    let quotas =
        json!({"name": "Full", "services_max": 1, "accounts_max": 1, "applications_max": APPLICATIONS});
    let (_, plan) = call(&http, "POST", &master("plans.json?"), &quotas);
    let upgrade = format!("providers/{id}/plan_upgrade.json?plan_id={}&", plan["plan"]["id"]);
    assert_eq!(call(&http, "PUT", &master(&upgrade), &json!({})).0, 200);

    let service = calm.first(&http, "services")["id"].clone();
    let token = calm.first(&http, &format!("services/{service}/service_tokens"))["value"].clone();
    let key = calm.first(&http, "applications")["user_key"].clone();
    let [token, key] = [&token, &key].map(|it| it.as_str().unwrap());
    let admin = calm.url("services.json");
    let authrep = format!(
        "{}/transactions/authrep.xml?service_id={service}&service_token={token}&user_key={key}&usage%5Bhits%5D=1",
        node.url
    );
    let [mut alone, mut beside, mut control] = [Took::default(), Took::default(), Took::default()];
    let add = |to: &mut Took, more: Took| {
        to.admin.extend(more.admin);
        to.authrep.extend(more.authrep);
        to.cpu_s += more.cpu_s / f64::from(rounds);
    };
    let mut calls = 0;
    for _ in 0..rounds {
        add(&mut alone, measure(&http, &node, &admin, &authrep));
        let flood = Flood::start(&flooding);
        let took = measure(&http, &node, &admin, &authrep);
        calls += flood.end();
        let parts = (took.cpu_s * 500.0).min(1000.0) as u64;
        add(&mut beside, took);
        let burner =
            Command::new(std::env::current_exe().unwrap()).args(["--burn", &parts.to_string()]).spawn();
        let mut burner = burner.unwrap();
        add(&mut control, measure(&http, &node, &admin, &authrep));
        burner.kill().unwrap();
        burner.wait().unwrap();
    }
    println!("{rounds} rounds of {} s; milliseconds, client included", PHASE.as_secs());
    for (name, took) in
        [("alone", &alone), ("beside a flood", &beside), ("beside a burning process", &control)]
    {
        let of = |all: &[f64]| format!("p50 {:.2} p99 {:.2}", quantile(all, 0.5), quantile(all, 0.99));
        println!(
            "{name:>26}: admin {}   authrep {}   (processor time {:.2} of 1 s)",
            of(&took.admin),
            of(&took.authrep),
            took.cpu_s
        );
    }
    println!(
        "the flood: {} calls a second, {FLOOD} on their way",
        calls as u64 / (u64::from(rounds) * PHASE.as_secs())
    );
}
