//! The promises of answers: who chooses them, what they wait for, and what becomes of them when the disk hangs or fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

#[path = "../support/binary.rs"]
mod binary;
#[path = "../common/mod.rs"]
mod common;
mod world;

use std::net::TcpStream;
use std::time::Duration;

use binary::{Binary, Greeting, by_key};
use common::Client;
use tollgate::model::promise::{Promise, Terms};
use tollgate::wire::{BatchAnswer, Flags, Mark, Operation, Status, put_batch};
use world::{SAID, World, wait_until};

const SERVICES: [&str; 3] = ["s0", "s1", "s2"];

/// What a request says of its promise, as each protocol writes it.
fn option(promise: Option<Promise>) -> &'static str {
    match promise {
        None => "limit_headers=0",
        Some(Promise::Durable) => "durable=1",
        Some(Promise::Interval) => "durable=0",
    }
}

fn flags(promise: Option<Promise>) -> Flags {
    match promise {
        None => Flags::default(),
        Some(Promise::Durable) => Flags::DURABLE,
        Some(Promise::Interval) => Flags::INTERVAL,
    }
}

fn authrep(service: &str, promise: Option<Promise>) -> Vec<u8> {
    format!(
        "GET /transactions/authrep.xml?service_id={service}&service_token=tok&user_key=uk&usage[hits]=1 \
         HTTP/1.1\r\nHost: t\r\n3scale-options: {}\r\n\r\n",
        option(promise)
    )
    .into_bytes()
}

fn report(service: &str, promise: Option<Promise>) -> Vec<u8> {
    let body = format!(
        "service_id={service}&service_token=tok&transactions[0][user_key]=uk&transactions[0][usage][hits]=1"
    );
    format!(
        "POST /transactions.xml HTTP/1.1\r\nHost: t\r\n3scale-options: {}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        option(promise),
        body.len()
    )
    .into_bytes()
}

/// Whether something has come; looked for during a few milliseconds.
fn has_answer(stream: &TcpStream) -> bool {
    let patience = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(4))).unwrap();
    let has = stream.peek(&mut [0]).is_ok_and(|count| count > 0);
    stream.set_read_timeout(patience).unwrap();
    has
}

/// An answer over HTTP, which must not come before the disk has what it tells of.
fn over_http(world: &World, client: &mut Client, request: &[u8], expected: Promise) -> common::Answer {
    world.disk.hang();
    client.send(request);
    let waits = expected == Promise::Durable;
    assert!(!(waits && has_answer(&client.stream)), "it did not wait");
    if waits {
        world.disk.work();
    }
    let answer = client.receive(false).unwrap();
    world.disk.work();
    answer
}

#[test]
fn request_then_service_then_listener_then_kind_choose_over_http() {
    let world = World::new();
    for (listener, address) in SAID.into_iter().zip(world.http) {
        let mut client = Client::connect(address);
        for (service, name) in SAID.into_iter().zip(SERVICES) {
            for request in SAID {
                let what = format!("request {request:?}, service {service:?}, listener {listener:?}");
                let ways = [
                    (authrep(name, request), Terms::DECISION, 200),
                    (report(name, request), Terms::REPORT, 202),
                ];
                for (bytes, terms, status) in ways {
                    let promise = terms.asked(request, listener).promise(service);
                    let answer = over_http(&world, &mut client, &bytes, promise);
                    assert_eq!(answer.status, status, "{what}");
                    let told = answer.header("tollgate-durability");
                    assert_eq!(told, request.map(|_| promise.name()), "{what}");
                }
            }
        }
    }
    assert_eq!(world.reopen(), [18; 3]);
}

#[test]
fn request_then_service_then_listener_then_kind_choose_over_the_protocol() {
    let world = World::new();
    for (listener, address) in SAID.into_iter().zip(world.tcp) {
        for (service, name) in SAID.into_iter().zip(SERVICES) {
            let mut client = Binary::open(address, &Greeting::token(name, "tok"));
            for request in SAID {
                let what = format!("request {request:?}, service {service:?}, listener {listener:?}");
                for operation in [Operation::AUTHREP, Operation::REPORT, Operation::BATCH] {
                    let is_report = operation == Operation::REPORT;
                    let terms = if is_report { Terms::REPORT } else { Terms::DECISION };
                    let promise = terms.asked(request, listener).promise(service);
                    world.disk.hang();
                    client.queue(operation, flags(request), |out| match operation {
                        Operation::BATCH => {
                            let hit = by_key("uk", &[("hits", 1)]);
                            put_batch(out, std::iter::once((Operation::AUTHREP, Flags::default(), hit)));
                        }
                        _ => by_key("uk", &[("hits", 1)])(out),
                    });
                    client.flush().unwrap();
                    if promise == Promise::Durable {
                        assert!(!has_answer(&client.stream), "{operation:?} did not wait: {what}");
                        world.disk.work();
                    }
                    let answer = client.expect();
                    world.disk.work();
                    assert_eq!(answer.status(), Status::OK, "{what}");
                    if is_report {
                        let marks = answer.receipt().marks;
                        assert_eq!(marks.has(Mark::ON_DISK), promise == Promise::Durable, "{what}");
                    }
                }
            }
        }
    }
    assert_eq!(world.reopen(), [27; 3]);
}

#[test]
fn what_counts_nothing_does_not_wait() {
    let world = World::new();
    let mut http = Client::connect(world.http[1]);
    let mut tcp = Binary::open(world.tcp[1], &Greeting::token("s1", "tok"));
    world.disk.hang();
    let unknown = authrep("s1", Some(Promise::Durable));
    let unknown = String::from_utf8(unknown).unwrap().replace("user_key=uk", "user_key=nobody");
    let answer = http.exchange(unknown.as_bytes());
    assert_eq!((answer.status, answer.header("tollgate-durability")), (403, None));
    let asks = unknown.replace("nobody", "uk").replace("authrep", "authorize");
    let answer = http.exchange(asks.as_bytes());
    assert_eq!((answer.status, answer.header("tollgate-durability")), (200, None));
    tcp.ask(Operation::AUTHORIZE, Flags::default(), by_key("uk", &[("hits", 1)])).decision();
    assert_eq!(world.reopen(), [0; 3]);
}

#[test]
fn while_the_disk_fails_durable_calls_are_refused_and_all_others_count() {
    let world = World::new();
    let mut http = Client::connect(world.http[0]);
    let mut tcp = Binary::open(world.tcp[0], &Greeting::token("s0", "tok"));
    let mut strict = Binary::open(world.tcp[0], &Greeting::token("s1", "tok"));
    let (durable, interval) = (Some(Promise::Durable), Some(Promise::Interval));
    world.disk.fail();
    // Until a flush has failed nobody knows: the first is counted, and not acknowledged.
    let answer = http.exchange(&authrep("s0", durable));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("tollgate-durability"), None);
    wait_until("the node knows", || world.engine.flush_health().failing);
    let known = world.count(0);
    // From then on nothing is counted that would not be durable.
    for request in [authrep("s0", durable), report("s0", None), authrep("s1", None), report("s1", durable)] {
        let answer = http.exchange(&request);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(answer.text().contains("storage_unavailable"), "{}", answer.text());
    }
    let hits = || by_key("uk", &[("hits", 1)]);
    for (operation, flags) in [(Operation::AUTHREP, Flags::DURABLE), (Operation::REPORT, Flags::default())] {
        assert_eq!(tcp.ask(operation, flags, hits()).status(), Status::STORAGE_UNAVAILABLE);
    }
    assert_eq!(
        strict.ask(Operation::AUTHREP, Flags::default(), hits()).status(),
        Status::STORAGE_UNAVAILABLE
    );
    assert_eq!((world.count(0), world.count(1)), (known, 0));
    // The others go on.
    assert_eq!(http.exchange(&authrep("s0", None)).status, 200);
    assert_eq!(http.exchange(&report("s0", interval)).status, 202);
    assert_eq!(http.exchange(&authrep("s1", interval)).status, 200);
    tcp.ask(Operation::AUTHREP, Flags::default(), hits()).decision();
    tcp.ask(Operation::REPORT, Flags::INTERVAL, hits()).receipt();
    assert_eq!((world.count(0), world.count(1)), (known + 4, 1));
    world.disk.work();
    wait_until("it has recovered", || !world.engine.flush_health().failing);
    assert_eq!(http.exchange(&authrep("s0", durable)).status, 200);
    assert_eq!(known, 1);
    assert_eq!(world.reopen(), [6, 1, 0], "what was counted in memory meanwhile is on disk, once");
}

#[test]
fn what_might_wait_is_turned_away_while_too_much_waits() {
    let world = World::new();
    for (name, own, other) in
        [("s0", Flags::DURABLE, Flags::default()), ("s1", Flags::default(), Flags::INTERVAL)]
    {
        let mut client = Binary::open(world.tcp[0], &Greeting::token(name, "tok"));
        let item = |_| (Operation::AUTHREP, Flags::default(), by_key("uk", &[("hits", 1)]));
        let items = || (0..800).map(item);
        world.disk.hang();
        for _ in 0..5 {
            client.queue(Operation::BATCH, own, |out| put_batch(out, items()));
        }
        let refused = client.queue(Operation::AUTHREP, own, by_key("uk", &[("hits", 1)]));
        let good = client.queue(Operation::AUTHREP, other, by_key("uk", &[("hits", 1)]));
        client.flush().unwrap();
        let [first, second] = [client.expect(), client.expect()];
        assert_eq!((first.header.id, first.status()), (refused, Status::OVERLOADED), "{name}");
        assert_eq!((second.header.id, second.status()), (good, Status::OK), "{name}");
        world.disk.work();
        for _ in 0..5 {
            let answer = client.expect();
            assert_eq!(answer.status(), Status::OK);
            let (_, items) = BatchAnswer::read(&answer.body).unwrap();
            assert_eq!(items.len(), 800);
        }
    }
    assert_eq!(world.reopen(), [4001, 4001, 0]);
}

#[test]
fn a_node_that_is_behind_says_so() {
    let world = World::new();
    let mut tcp = Binary::open(world.tcp[0], &Greeting::token("s0", "tok"));
    let mut is_behind = || {
        let decision = tcp.ask(Operation::AUTHREP, Flags::default(), by_key("uk", &[("hits", 1)])).decision();
        decision.marks.has(Mark::DEGRADED)
    };
    world.disk.hang();
    wait_until("its oldest usage ages", || {
        world.engine.flush_health().unflushed_age > Duration::from_millis(200)
    });
    assert!(is_behind() && !world.engine.flush_health().failing);
    world.disk.work();
    let mut tries = 0;
    while is_behind() {
        tries += 1;
        assert!(tries < 10_000, "it stays behind");
        std::thread::sleep(Duration::from_millis(1));
    }
}
