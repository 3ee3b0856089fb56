//! Deliveries, to a server that listens and one that does not.

mod bounds;
mod delivered;
mod told;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::tests::{NOW, World};
use super::*;
use crate::model::time::UnixMillis;
use crate::outgoing::{Options, Reach, Roots};
use crate::plugin::call::Method;
use crate::plugin::records::id_of;
use crate::store::shelf::Scan;

/// A call that a [`Receiver`] got.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
        line.split_once(": ").unwrap().1
    }

    fn id(&self) -> u64 {
        self.header("x-tollgate-event-id").parse().unwrap()
    }

    fn text(&self, element: &str) -> String {
        let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
        let rest = self.body.split_once(&begin).unwrap().1;
        rest.split_once(&end).unwrap().0.to_owned()
    }
}

/// A server of HTTP that records what it is sent, and answers with a status.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

/// What a call is answered.
type Status = dyn Fn(&Got) -> u16 + Send + Sync;

impl Receiver {
    fn new(status: impl Fn(&Got) -> u16 + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (got, status) =
            (Arc::<Mutex<Vec<Got>>>::default(), Arc::<Status>::from(Box::new(status) as Box<Status>));
        let record = Arc::clone(&got);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (record, status) = (Arc::clone(&record), Arc::clone(&status));
                std::thread::spawn(move || serve(stream.unwrap(), &record, &*status));
            }
        });
        Receiver { url, got }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().clone()
    }

    /// Waits until it has so many calls; all of them.
    fn has(&self, count: usize) -> Vec<Got> {
        until(|| self.got.lock().len() >= count, "a call that was to come did not");
        self.got()
    }
}

fn serve(mut stream: TcpStream, record: &Mutex<Vec<Got>>, status: &Status) {
    let (mut bytes, mut more) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = |line: &str| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            };
            if body.len() == head.lines().find_map(len).unwrap_or(0) {
                let got = Got { head: head.to_owned(), body: body.to_owned() };
                let status = status(&got);
                record.lock().push(got);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} It\r\nContent-Length: 3\r\nConnection: close\r\n\r\nfoo"
                );
                return;
            }
        }
        match stream.read(&mut more) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
        }
    }
}

fn until(is_so: impl Fn() -> bool, otherwise: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Long enough for a call that is not to come.
fn a_while() {
    std::thread::sleep(Duration::from_millis(150));
}

fn http() -> Arc<Http> {
    let reach = Reach::anywhere();
    let options = Options { reach, timeout: POST_TIMEOUT, body_bytes_max: 0, roots: Roots::Web };
    Arc::new(Http::new(options).unwrap())
}

/// Tells the tenant of everything.
fn tell_all(world: &World, url: &str) {
    let mut ask = json!({"url": url, "active": true, "provider_actions": true});
    for event in EVENTS {
        ask[event] = true.into();
    }
    assert_eq!(world.put("webhooks", ask).0, 200);
}

/// An event: the account of that name is there.
fn sign_up(world: &World, name: &str) -> Value {
    world.made("signup", json!({"org_name": name, "username": name}))["id"].clone()
}

/// The events that wait, as `type action`.
fn waiting(world: &World) -> Vec<String> {
    let view = world.admin.desk.look().unwrap();
    let rows = view.records.scan::<outbox::Waiting>(&Scan::first(&[], usize::MAX)).unwrap();
    let name = |event: String| {
        let got = Got { head: String::new(), body: event };
        format!("{} {}", got.text("type"), got.text("action"))
    };
    rows.into_iter().map(|(_, row)| name(row.event)).collect()
}

fn failures(world: &World) -> Vec<Value> {
    let (status, body) = world.get("webhooks/failures");
    assert_eq!(status, 200);
    let all = body["webhooks-failures"].as_array().unwrap().clone();
    all.into_iter().map(|it| it["webhooks-failure"].clone()).collect()
}

/// Tells the tenant of new accounts alone.
fn tell_of_accounts(world: &World, url: &str) {
    let ask = json!({"url": url, "active": true, "provider_actions": true, "account_created_on": true});
    assert_eq!(world.put("webhooks", ask).0, 200);
}

/// Answers as it is told, without a network.
struct Told<F>(F);

impl<F: Fn(&str) -> Result<u16, NotPosted> + Send + Sync> Post for Told<F> {
    fn post(&self, url: &str, _: &[(&str, &str)], _: &[u8]) -> Result<u16, NotPosted> {
        (self.0)(url)
    }
}

/// Another tenant, and the value of its administrator's token.
fn another_tenant(world: &World) -> &'static str {
    let (tenant, _) = world.engine.change(|draft| draft.create_tenant("Other", "other key")).unwrap();
    world.admin.begin(tenant, "other's token").unwrap();
    "other's token"
}
