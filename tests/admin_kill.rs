//! `kill -9` in the middle of administration: what was answered is there, whole, and what was not is there whole or not
//! at all. A change has two halves, the catalog's and the admin API's own, in two files; they are never found apart.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::Client;
use support::process::{Process, tollgate};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Lives of the node, each ended by a kill but the last.
const LIVES: u64 = 12;
/// Administrators at once; all of them also change the same service.
const ADMINS: u64 = 3;

fn start(dir: &Path) -> Process {
    let mut command = tollgate();
    command.env("TOLLGATE_ADMIN_TOKEN", TOKEN);
    // Checkpoints and pruning come often, so that kills meet them.
    command
        .args(["serve", "--log", "error", "--checkpoint-mib", "1", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(dir);
    Process::start(command)
}

fn target(path: &str) -> String {
    format!("/admin/api/{path}.json?access_token={TOKEN}")
}

fn json(client: &mut Client, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
    let headers = [("Content-Type", "application/json")];
    let answer = client.try_request(method, &target(path), &headers, body)?;
    Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
}

/// What the administrators were told, by service.
#[derive(Default)]
struct Told {
    made: Mutex<BTreeMap<u64, u64>>,
    /// The last description of the shared service that was answered, and numbers that were only sent since.
    shared: Mutex<Vec<u64>>,
    answered: AtomicU64,
    number: AtomicU64,
    over: AtomicBool,
}

/// Makes services, each with a number in its name and in its description, and changes the shared one, until the node dies.
fn administrate(address: SocketAddr, shared: u64, told: &Told) {
    let Ok(mut client) = Client::try_connect(address) else { return };
    while !told.over.load(Ordering::Relaxed) {
        let number = told.number.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"name": "Service {number}", "description": "{number}"}}"#);
        let Ok((status, body)) = json(&mut client, "POST", "services", &body) else { return };
        assert_eq!(status, 201, "{body}");
        told.made.lock().unwrap().insert(body["service"]["id"].as_u64().unwrap(), number);
        let body = format!(r#"{{"name": "Shared {number}", "description": "{number}"}}"#);
        told.shared.lock().unwrap().push(number);
        let Ok((status, body)) = json(&mut client, "PUT", &format!("services/{shared}"), &body) else {
            return;
        };
        // Whoever changed it last, name and description are of one change.
        assert_eq!((status, number_of(&body["service"])), (200, Some(number)), "{body}");
        told.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// The number in a service's name, which the catalog has, if it is that of its description, which the plugin has.
fn number_of(service: &Value) -> Option<u64> {
    let number = service["description"].as_str()?;
    let is_whole = service["name"].as_str()?.ends_with(&format!(" {number}"));
    is_whole.then(|| number.parse().ok())?
}

fn services(client: &mut Client) -> BTreeMap<u64, Value> {
    let mut all = BTreeMap::new();
    for page in 1.. {
        let answer = client.get(&format!("{}&page={page}&per_page=500", target("services")));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let list = body["services"].as_array().unwrap();
        if list.is_empty() {
            break;
        }
        for service in list.iter().map(|item| &item["service"]) {
            all.insert(service["id"].as_u64().unwrap(), service.clone());
        }
    }
    all
}

#[test]
fn what_was_administrated_survives_kills_whole() {
    let dir = tempfile::tempdir().unwrap();
    let told = Told::default();
    let mut shared = None;
    for life in 0..LIVES {
        let node = start(dir.path());
        let mut client = Client::connect(node.address);
        let there = services(&mut client);
        for (id, number) in told.made.lock().unwrap().iter() {
            let service = there.get(id).unwrap_or_else(|| panic!("service {id} was answered and is gone"));
            assert_eq!(number_of(service), Some(*number), "{service}");
        }
        // Also those whose answer was lost are whole, with all that a service begins with.
        for (id, service) in there.iter().filter(|(_, it)| it["name"] != "Sample API") {
            assert!(number_of(service).is_some(), "half of a change: {service}");
            let (_, metrics) = json(&mut client, "GET", &format!("services/{id}/metrics"), "").unwrap();
            assert_eq!(metrics["metrics"][0]["metric"]["friendly_name"], "Hits", "{metrics}");
        }
        let shared = *shared.get_or_insert_with(|| {
            let body = r#"{"name": "Shared 0", "description": "0"}"#;
            let (_, body) = json(&mut client, "POST", "services", body).unwrap();
            body["service"]["id"].as_u64().unwrap()
        });
        if life + 1 == LIVES {
            assert_eq!(node.terminate(), 0);
            break;
        }
        let (address, before) = (node.address, told.answered.load(Ordering::Relaxed));
        std::thread::scope(|scope| {
            for _ in 0..ADMINS {
                scope.spawn(|| administrate(address, shared, &told));
            }
            let began = Instant::now();
            // Some while after the first changes; another while in each life.
            while told.answered.load(Ordering::Relaxed) < before + 5 {
                assert!(began.elapsed() < Duration::from_secs(60), "nothing is answered");
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(life * 37 % 300));
            node.kill();
        });
    }
    let made = told.made.lock().unwrap().len();
    assert!(made >= 40, "only {made} services were made");
}
