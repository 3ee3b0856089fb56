//! The limits of a listener, at n and n + 1, over real sockets: what is too much, too slow or no HTTP.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/setup.rs"]
mod setup;

use std::io::Write;
use std::time::{Duration, Instant};

use common::{Client, Node, runtime};
use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use hyper::{Request, body::Incoming};
use setup::Setup;
use tokio::runtime::Runtime;
use tollgate::http::{Answering, Config, Extension, Response};
use tollgate::listener::{Limits, Peer};

const CATALOG: [&str; 6] = [
    "tenant pk",
    "service 1001",
    "metric hits",
    "plan Basic",
    "limit hits eternity 1000000000",
    "application app1",
];

const QUICK: Duration = Duration::from_millis(200);

/// A listener with these limits.
fn limited(limits: Limits) -> Config {
    Config { limits, ..Config::default() }
}

fn node(runtime: &Runtime, config: Config) -> Node {
    let node = Node::start(runtime, config, QUICK * 2);
    prepare(&node);
    node
}

fn prepare(node: &Node) {
    let mut setup = Setup::default();
    CATALOG.iter().for_each(|line| setup.run(&node.engine, line));
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /transactions.xml?provider_key=pk HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn hits(client: &mut Client) -> u64 {
    let answer = client.get("/transactions/authorize.xml?provider_key=pk&app_id=app1").text();
    let (_, after) = answer.split_once("<current_value>").unwrap();
    after.split_once('<').unwrap().0.parse().unwrap()
}

/// A body of `count` parameters that is worth one hit for each two of them.
fn body_of(count: usize) -> Vec<u8> {
    let mut pairs = Vec::new();
    for n in 0..count / 2 {
        pairs.push(format!("transactions[{n}][app_id]=app1"));
        pairs.push(format!("transactions[{n}][usage][hits]=1"));
    }
    pairs.extend((count % 2 == 1).then(|| "x=1".to_owned()));
    pairs.join("&").into_bytes()
}

/// A body of exactly `len` bytes that is worth one hit and does not compress well.
fn body_of_len(len: usize) -> Vec<u8> {
    let mut body = b"transactions[0][app_id]=app1&transactions[0][usage][hits]=1&pad=".to_vec();
    let mut state = 1_u32;
    body.resize_with(len, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 24) as u8 % 26
    });
    body
}

#[test]
fn a_connection_serves_many_requests() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let mut client = node.connect();
    for count in 1..=20 {
        let answer = client.get("/transactions/authrep.xml?provider_key=pk&app_id=app1&usage[hits]=1");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains(&format!("<current_value>{count}</current_value>")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let mut client = node.connect();
    let mut all = Vec::new();
    for n in 1..=50 {
        all.extend_from_slice(
            format!("GET /transactions/authrep.xml?provider_key=pk&app_id=app1&usage[hits]={n} HTTP/1.1\r\nHost: a\r\n\r\n")
                .as_bytes(),
        );
        if n % 10 == 0 {
            all.extend_from_slice(&post("", b"transactions[0][app_id]=app1&transactions[0][usage][hits]=1"));
        }
    }
    client.send(&all);
    let mut expected = 0;
    for n in 1..=50 {
        expected += n;
        let answer = client.receive(false).unwrap();
        assert!(
            answer.text().contains(&format!("<current_value>{expected}</current_value>")),
            "{}",
            answer.text()
        );
        if n % 10 == 0 {
            expected += 1;
            assert_eq!(client.receive(false).unwrap().status, 202);
        }
    }
}

#[test]
fn a_connection_ends_when_the_client_asks_for_it() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    for request in
        ["GET /check.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /check.txt HTTP/1.0\r\n\r\n"]
    {
        let mut client = node.connect();
        assert_eq!(client.exchange(request.as_bytes()).text(), "ok");
        assert!(client.is_closed(), "{request}");
    }
}

#[test]
fn parameters_are_bounded_in_number() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let mut client = node.connect();
    assert_eq!(client.exchange(&post("", &body_of(4096))).status, 202);
    assert_eq!(hits(&mut client), 2048);
    let answer = client.exchange(&post("3scale-options: no_body=1\r\n", &body_of(4097)));
    assert_eq!(answer.status, 400);
    assert!(answer.text().ends_with(
        "<error code=\"bad_request\">total number of query parameters (4097) exceeds limit (4096)</error>"
    ));
    assert_eq!(hits(&mut client), 2048);
}

#[test]
fn bodies_are_bounded_before_and_after_inflation() {
    const MAX: usize = 4 << 20;
    let runtime = runtime();
    // Sending megabytes takes time of its own.
    let node = Node::start(&runtime, Config::default(), Duration::from_secs(20));
    let mut setup = Setup::default();
    CATALOG.iter().for_each(|line| setup.run(&node.engine, line));
    for (headers, encode) in
        [("", <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>), ("Content-Encoding: gzip\r\n", gzip)]
    {
        let mut client = node.connect();
        let before = hits(&mut client);
        assert_eq!(client.exchange(&post(headers, &encode(&body_of_len(MAX)))).status, 202);
        assert_eq!(hits(&mut client), before + 1);
        let mut client = node.connect();
        let answer = client.exchange(&post(headers, &encode(&body_of_len(MAX + 1))));
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("total query size exceeds limit (4194304)"), "{}", answer.text());
        assert_eq!(hits(&mut node.connect()), before + 1);
    }
}

#[test]
fn other_encodings_and_broken_gzip_are_refused() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let body = gzip(&body_of(2));
    assert_eq!(node.connect().exchange(&post("Content-Encoding: br\r\n", &body)).status, 415);
    assert_eq!(node.connect().exchange(&post("Content-Encoding: gzip, gzip\r\n", &body)).status, 415);
    assert_eq!(node.connect().exchange(&post("Content-Encoding: gzip\r\n", b"no gzip")).status, 400);
    assert_eq!(
        node.connect().exchange(&post("Content-Encoding: gzip\r\n", &body[..body.len() - 1])).status,
        400
    );
    assert_eq!(node.connect().exchange(&post("Content-Encoding: gzip\r\n", &body)).status, 202);
}

#[test]
fn chunked_bodies_are_read() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let body = String::from_utf8(body_of(2)).unwrap();
    let (a, b) = body.split_at(10);
    let request = format!(
        "POST /transactions.xml?provider_key=pk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
        a.len(),
        b.len()
    );
    let mut client = node.connect();
    assert_eq!(client.exchange(request.as_bytes()).status, 202);
    assert_eq!(hits(&mut client), 1);
}

#[test]
fn heads_are_bounded() {
    let runtime = runtime();
    let node = node(&runtime, Config { head_bytes_max: 2048, ..Config::default() });
    let head = |len: usize| {
        let start = "GET /check.txt HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
    };
    assert_eq!(node.connect().exchange(head(2048).as_bytes()).status, 200);
    let mut client = node.connect();
    assert_eq!(client.exchange(head(2049).as_bytes()).status, 431);
    assert!(client.is_closed());
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(4000));
    assert_eq!(node.connect().exchange(long_path.as_bytes()).status, 431);
}

#[test]
fn a_slow_head_is_cut_off() {
    let runtime = runtime();
    let node = node(&runtime, Config { head_timeout: QUICK, idle_timeout: QUICK * 100, ..Config::default() });
    let mut client = node.connect();
    assert_eq!(client.get("/check.txt").status, 200);
    let started = Instant::now();
    // One byte at a time, for ever: each is progress, but not enough.
    let mut stream = client.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        let head =
            b"GET /check.txt HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for byte in head {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(QUICK / 4);
        }
    });
    assert!(client.is_closed());
    assert!(started.elapsed() < QUICK * 10, "{:?}", started.elapsed());
    dripping.join().unwrap();
}

#[test]
fn a_client_that_says_nothing_is_cut_off() {
    let runtime = runtime();
    let node = node(&runtime, Config { head_timeout: QUICK, idle_timeout: QUICK * 2, ..Config::default() });
    let mut silent = node.connect();
    let mut idle = node.connect();
    assert_eq!(idle.get("/check.txt").status, 200);
    let started = Instant::now();
    assert!(silent.is_closed());
    assert!(idle.is_closed());
    assert!(started.elapsed() < QUICK * 15, "{:?}", started.elapsed());
}

#[test]
fn a_slow_body_is_given_up() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let mut client = node.connect();
    client.send(
        b"POST /transactions.xml?provider_key=pk HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ntrans",
    );
    let answer = client.receive(false).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn an_endless_body_is_cut_off() {
    let runtime = runtime();
    let node = Node::start(&runtime, Config::default(), Duration::from_secs(20));
    let mut client = node.connect();
    client.send(
        b"POST /transactions.xml?provider_key=pk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let mut stream = client.stream.try_clone().unwrap();
    let endless = std::thread::spawn(move || {
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    // Either the answer arrives or the reset that follows it overtakes it; the client is rid of either way.
    endless.join().unwrap();
}

#[test]
fn connections_beyond_the_cap_are_told_so() {
    let runtime = runtime();
    let node = node(&runtime, limited(Limits { connections_max: 3, ..Limits::default() }));
    let mut open: Vec<Client> = (0..3).map(|_| node.connect()).collect();
    for client in &mut open {
        assert_eq!(client.get("/check.txt").status, 200);
    }
    let mut refused = node.connect();
    let answer = refused.receive(false).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert!(refused.is_closed());
    assert_eq!(open[0].get("/check.txt").status, 200);
    drop(open.pop());
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let mut client = node.connect();
        client.get("/check.txt").status == 200
    });
    assert!(served, "a closed connection makes room for another");
}

#[test]
fn connections_of_one_peer_beyond_its_cap_are_told_so() {
    let runtime = runtime();
    let limits = Limits { connections_per_peer_max: 2, local_counts: true, ..Limits::default() };
    let config = limited(limits.clone());
    let node = node(&runtime, config.clone());
    let mut open: Vec<Client> = (0..2).map(|_| node.connect_from(&runtime, 2)).collect();
    for client in &mut open {
        assert_eq!(client.get("/check.txt").status, 200);
    }
    let mut refused = node.connect_from(&runtime, 2);
    let answer = refused.receive(false).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(node.connect_from(&runtime, 3).get("/check.txt").status, 200, "another peer has room");
    drop(open.pop());
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        node.connect_from(&runtime, 2).get("/check.txt").status == 200
    });
    assert!(served, "a closed connection makes room for another");
    // Unless told otherwise, all that is on this machine is not one peer.
    let node = Node::start(&runtime, limited(Limits { local_counts: false, ..limits }), QUICK);
    let mut open: Vec<Client> = (0..3).map(|_| node.connect()).collect();
    assert!(open.iter_mut().all(|client| client.get("/check.txt").status == 200));
}

/// A report of `len` bytes that stops before its last one.
fn almost(client: &mut Client, len: usize) {
    let request = post("", &body_of_len(len));
    client.send(&request[..request.len() - 1]);
}

#[test]
fn bodies_are_bounded_in_sum() {
    use tollgate::http::bodies::SMALL_BODY_BYTES;
    const ROOM: usize = 256 << 10;
    // A buffer is a power of two; what is small of it is free.
    const LARGE: usize = 128 << 10;
    let runtime = runtime();
    let patient = Duration::from_secs(20);
    let room = 2 * (LARGE - SMALL_BODY_BYTES);
    let node = Node::start_with_room(&runtime, Config::default(), patient, |_, _, it| it, room);
    prepare(&node);
    let mut slow = [node.connect(), node.connect()];
    slow.iter_mut().for_each(|client| almost(client, LARGE));
    std::thread::sleep(QUICK);
    let mut other = node.connect();
    let answer = other.exchange(&post("", &body_of_len(SMALL_BODY_BYTES + 1)));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let mut other = node.connect();
    assert_eq!(
        other.exchange(&post("", &body_of_len(SMALL_BODY_BYTES))).status,
        202,
        "small ones need no room"
    );
    slow[0].send(b"x");
    assert_eq!(slow[0].receive(false).unwrap().status, 202);
    let mut other = node.connect();
    assert_eq!(other.exchange(&post("", &body_of_len(LARGE))).status, 202, "what is done makes room");
    assert_eq!(hits(&mut other), 3);

    // Of many peers, one has half.
    let config = limited(Limits { local_counts: true, ..Limits::default() });
    let node = Node::start_with_room(&runtime, config, patient, |_, _, it| it, ROOM);
    prepare(&node);
    let mut greedy = node.connect_from(&runtime, 2);
    almost(&mut greedy, LARGE);
    std::thread::sleep(QUICK);
    let large = post("", &body_of_len(LARGE));
    assert_eq!(node.connect_from(&runtime, 2).exchange(&large).status, 503);
    assert_eq!(node.connect_from(&runtime, 3).exchange(&large).status, 202);
}

/// The status of an authorize with these credentials, and how long to wait if any.
fn ask(client: &mut Client, credentials: &str) -> (u16, Option<u64>) {
    let answer = client.get(&format!("/transactions/authorize.xml?{credentials}&app_id=app1"));
    (answer.status, answer.header("retry-after").map(|seconds| seconds.parse().unwrap()))
}

#[test]
fn a_guesser_is_told_to_wait_and_nobody_else_is() {
    use tollgate::listener::guesses::PEER_BURST;
    let runtime = runtime();
    let node = node(&runtime, limited(Limits { local_counts: true, ..Limits::default() }));
    let mut gateway = node.connect_from(&runtime, 2);
    assert_eq!(ask(&mut gateway, "provider_key=pk"), (200, None));
    // What the public sends through a gateway is no guess of the gateway's.
    for n in 0..200 {
        let answer = gateway.get(&format!("/transactions/authorize.xml?provider_key=pk&app_id=public{n}"));
        assert_eq!(answer.status, 404);
    }
    // Neither is one stale key, however often.
    for _ in 0..200 {
        assert_eq!(ask(&mut gateway, "provider_key=stale").0, 403);
    }
    // Behind the gateway's address somebody guesses.
    let mut guesser = node.connect_from(&runtime, 2);
    for n in 1..PEER_BURST {
        assert_eq!(ask(&mut guesser, &format!("provider_key=guess{n}")).0, 403, "{n}");
    }
    for n in 0..10 {
        let (status, wait) = ask(&mut guesser, &format!("provider_key=more{n}"));
        assert_eq!((status, wait.is_some_and(|wait| (1..=10).contains(&wait))), (429, true));
    }
    let report = |key: &str| {
        let body = format!("provider_key={key}&transactions[0][app_id]=app1&transactions[0][usage][hits]=1");
        let head = "POST /transactions.xml HTTP/1.1\r\nHost: a\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    assert_eq!(guesser.exchange(report("more").as_bytes()).status, 429);
    let misused = "/transactions/authorize.xml?provider_key=more&usage=1";
    assert_eq!(guesser.get(misused).status, 429);
    // The gateway goes on, and others are not affected, be it by the same key, a new or a wrong one.
    assert_eq!(ask(&mut gateway, "provider_key=pk"), (200, None));
    assert_eq!(gateway.exchange(report("pk").as_bytes()).status, 202);
    let mut other = node.connect_from(&runtime, 3);
    assert_eq!(ask(&mut other, "provider_key=pk"), (200, None));
    assert_eq!(ask(&mut other, "provider_key=wrong").0, 403);
    // Neither are other targets.
    assert_eq!(ask(&mut guesser, "service_token=wrong&service_id=1001").0, 403);
}

/// Says who asked.
struct Echo;

impl Extension for Echo {
    fn owns(&self, path: &str) -> bool {
        path == "/echo"
    }

    fn answer(&self, _: Request<Incoming>, peer: Peer) -> Answering<'_> {
        let body = peer.to_string();
        Box::pin(std::future::ready(Response::new(Full::new(body.into()))))
    }
}

#[test]
fn an_extension_is_told_who_asks() {
    let runtime = runtime();
    let node =
        Node::start_with(&runtime, Config::default(), QUICK, |_, _, routes| routes.with(Box::new(Echo)));
    assert_eq!(node.connect().get("/echo").text(), "127.0.0.1");
    assert_eq!(node.connect_from(&runtime, 7).get("/echo").text(), "127.0.0.7");
}

#[test]
fn loopback_is_no_guesser() {
    let runtime = runtime();
    let node = node(&runtime, Config::default());
    let mut client = node.connect();
    for n in 0..100 {
        assert_eq!(ask(&mut client, &format!("provider_key=guess{n}")).0, 403);
    }
    assert_eq!(ask(&mut client, "provider_key=pk"), (200, None));
}

#[test]
fn draining_answers_what_is_in_flight_and_ends() {
    let runtime = runtime();
    let mut node =
        node(&runtime, limited(Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() }));
    let (mut idle, mut half) = (node.connect(), node.connect());
    assert_eq!(idle.get("/check.txt").status, 200);
    let request = post("", &body_of(2));
    half.send(&request[..request.len() - 5]);
    std::thread::sleep(QUICK / 2);
    node.shutdown.cancel();
    assert!(idle.is_closed());
    half.send(&request[request.len() - 5..]);
    assert_eq!(half.receive(false).unwrap().status, 202);
    assert!(half.is_closed());
    let started = Instant::now();
    runtime.block_on(node.served.take().unwrap()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(std::net::TcpStream::connect(node.address).is_err());
}

#[test]
fn draining_ends_at_its_deadline() {
    let runtime = runtime();
    let mut node = Node::start(
        &runtime,
        limited(Limits { drain_timeout: QUICK, ..Limits::default() }),
        Duration::from_secs(60),
    );
    let mut stuck = node.connect();
    stuck.send(b"POST /transactions.xml HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    std::thread::sleep(QUICK / 2);
    let started = Instant::now();
    node.shutdown.cancel();
    runtime.block_on(node.served.take().unwrap()).unwrap();
    assert!(started.elapsed() < QUICK * 10, "{:?}", started.elapsed());
    assert!(stuck.is_closed());
}
