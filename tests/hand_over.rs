//! Hand-over under load: a new process takes listening sockets and data over, and no request fails.
//!
//! ```text
//! cargo test --test hand_over                    20 restarts
//! cargo test --test hand_over -- --restarts 100  as many as you like
//! ```
//!
//! Real processes; the clients keep their connections alive, as gateways do: some call without a break, some rest
//! between calls, some report. A client reconnects only when an answer said that it would have to. At the end the
//! counts must be those that were acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "support/binary.rs"]
mod binary;
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use binary::{Binary, Greeting, by_handle};
use support::process::{Process, tollgate};
use support::{Answer, Client};
use tls::{Authority, over, write_private};
use tollgate::listener::system_clock;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::id::MetricSlot;
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::node::{self, Node};
use tollgate::wire::{Call, Flags, Goodbye, Operation, Status, put_bind};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let restarts = arguments.iter().position(|it| it == "--restarts").map_or(20, |at| {
        arguments.get(at + 1).and_then(|it| it.parse().ok()).expect("--restarts takes a number")
    });
    let tests: [(&str, &dyn Fn()); 11] = [
        ("no_request_fails_across_restarts", &|| no_request_fails_across(restarts)),
        ("no_request_of_the_binary_protocol_fails_across_restarts", &|| binary_callers_across(restarts / 2)),
        ("the_program_can_be_replaced_by_a_signal", &the_program_can_be_replaced_by_a_signal),
        ("without_a_running_node_taking_over_is_starting", &without_a_running_node_taking_over_is_starting),
        ("a_successor_that_cannot_start_leaves_the_node_running", &a_bad_successor_leaves_the_node_running),
        (
            "a_successor_that_dies_half_way_leaves_the_node_running",
            &a_dying_successor_leaves_the_node_running,
        ),
        ("a_successor_that_dies_at_the_end_has_the_sockets_served_again", &a_late_death_is_survived),
        ("a_node_that_dies_while_handing_over_is_replaced", &a_node_that_dies_while_handing_over_is_replaced),
        ("a_successor_may_serve_other_addresses", &a_successor_may_serve_other_addresses),
        ("no_handshake_fails_across_restarts", &no_handshake_fails_across_restarts),
        ("a_successor_without_a_good_certificate_bothers_nobody", &a_bad_certificate_bothers_nobody),
    ];
    for (name, test) in tests {
        let began = Instant::now();
        test();
        println!("test {name} ... ok ({:.1} s)", began.elapsed().as_secs_f32());
    }
    println!("{} passed, 0 failed", tests.len());
}

/// An address that nothing listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Applications by caller, each on a plan without limits.
const CALLERS: usize = 10;

/// Puts a service with an application per caller into an empty directory.
fn prepare(dir: &Path) {
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&support::config(dir), system_clock())).unwrap();
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("tenant", "provider")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("moving"), name: "moving", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new("tok")))?;
        draft.create_metric(service, "hits", None)?;
        let plan = draft.create_plan(service, None, "Plan")?;
        for caller in 0..CALLERS {
            let name = &format!("app{caller}");
            let new = NewApplication { service, account: None, app_id: name, name, plan };
            let id = draft.create_application(&new)?;
            draft.edit_application(id, |it| it.user_keys.push(Secret::new(name)))?;
        }
        Ok(())
    };
    let (_, ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    runtime.block_on(node.stop()).unwrap();
}

fn serve(dir: &Path, address: SocketAddr, more: &[&str]) -> Command {
    let mut command = tollgate();
    command.args(["serve", "--http", &address.to_string(), "--data-dir"]).arg(dir).args(more);
    command
}

/// A keep-alive client that never tries a request twice.
struct Caller {
    address: SocketAddr,
    client: Option<Client>,
    number: usize,
    counted: u64,
    longest: Duration,
}

impl Caller {
    fn new(address: SocketAddr, number: usize) -> Caller {
        Caller { address, client: None, number, counted: 0, longest: Duration::ZERO }
    }

    fn call(&mut self, reports: bool) {
        let client = self.client.get_or_insert_with(|| Client::connect(self.address));
        let began = Instant::now();
        let (path, app) = ("/transactions", self.number);
        let answer: std::io::Result<Answer> = if reports {
            let body = format!("transactions[0][user_key]=app{app}&transactions[0][usage][hits]=2");
            client.try_post(&format!("{path}.xml?service_token=tok&service_id=moving"), &body)
        } else {
            let query = format!("service_token=tok&service_id=moving&user_key=app{app}&usage%5Bhits%5D=1");
            client.try_get(&format!("{path}/authrep.xml?{query}"))
        };
        let answer = answer.unwrap_or_else(|error| panic!("a request of caller {app} failed: {error}"));
        assert_eq!(answer.status, if reports { 202 } else { 200 }, "{answer:?}");
        self.counted += if reports { 2 } else { 1 };
        self.longest = self.longest.max(began.elapsed());
        if answer.header("connection") == Some("close") {
            self.client = None;
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Caller {
        let mut random = self.number as u64 + 1;
        while !stop.load(Ordering::Relaxed) {
            self.call(self.number % 5 == 4);
            // Half of them rest, some long enough to be idle whenever a process ends.
            if self.number.is_multiple_of(2) {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                std::thread::sleep(Duration::from_millis((random >> 33) % 450));
            }
        }
        self
    }
}

fn no_request_fails_across(restarts: u32) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let mut running = Process::start(serve(dir.path(), address, &[]));
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || Caller::new(address, number).run(&stop))
        })
        .collect();
    for _ in 0..restarts {
        let next = Process::start(serve(dir.path(), address, &["--take-over"]));
        assert_eq!(running.wait(), 0, "the old process ends as asked");
        running = next;
        assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller has failed");
        std::thread::sleep(Duration::from_millis(200));
    }
    stop.store(true, Ordering::Relaxed);
    let callers: Vec<_> =
        callers.into_iter().map(|caller| caller.join().expect("no request fails")).collect();
    for caller in &callers {
        assert_eq!(counted(dir.path(), caller.number, true), caller.counted, "caller {}", caller.number);
    }
    few_segments_are_left(dir.path());
    assert_eq!(running.terminate(), 0);
    // The stopped directory has the same; one caller stands for all, since it is read whole each time.
    assert_eq!(counted(dir.path(), 0, false), callers[0].counted);
    let total: u64 = callers.iter().map(|caller| caller.counted).sum();
    let longest = callers.iter().map(|caller| caller.longest).max().unwrap();
    println!("{restarts} restarts, {total} units counted, longest answer {longest:?}");
    assert!(total > 20 * u64::from(restarts), "the load was too small to show anything");
}

/// Each start begins a segment of the journal. A checkpoint is made once there are more than eight since the last, even
/// if little is in them, and those before the last two go.
fn few_segments_are_left(dir: &Path) {
    let segments = || std::fs::read_dir(dir.join("journal")).unwrap().count();
    let began = Instant::now();
    while segments() > 2 * 9 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} segments", segments());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the node, running or stopped, has counted for a caller's application.
fn counted(dir: &Path, number: usize, running: bool) -> u64 {
    let mut command = tollgate();
    command.args(["inspect", "--json", "--service", "moving", "--app-id", &format!("app{number}")]);
    let output = command.arg("--data-dir").arg(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["running"], running);
    let counters = report["application"]["counters"].as_array().unwrap();
    counters.iter().filter(|it| it["metric"] == "hits").map(|it| it["eternity"].as_u64().unwrap()).sum()
}

/// A client of the binary protocol that never sends a request twice: it leaves when it is told to, and comes again.
struct BinaryCaller {
    address: SocketAddr,
    number: usize,
    client: Option<(Binary, u64, Vec<MetricSlot>)>,
    counted: u64,
    goodbyes: u64,
}

impl BinaryCaller {
    fn connect(&mut self) -> (Binary, u64, Vec<MetricSlot>) {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody lets caller {} in", self.number);
            // Until WELCOME nothing was asked for, so nothing has failed.
            let greeted = Binary::try_connect(self.address).and_then(|mut client| {
                client.try_greet(&Greeting::token("moving", "tok")).map(|welcome| (client, welcome))
            });
            let Ok((mut client, Ok(_))) = greeted else { continue };
            let key = format!("app{}", self.number);
            let call = Call { user_key: Some(&key), metrics: ["hits"].as_slice().into(), ..Call::default() };
            client.queue(Operation::BIND, Flags::default(), |out| put_bind(out, &call));
            client.flush().unwrap();
            let (answers, left) = self.answers(&mut client, 1);
            let bound = answers[0].bound();
            if !left {
                return (client, bound.handle, bound.metrics.into_iter().map(MetricSlot).collect());
            }
        }
    }

    /// So many answers, and whether it was told to leave meanwhile.
    fn answers(&mut self, client: &mut Binary, count: usize) -> (Vec<binary::Answer>, bool) {
        let (mut answers, mut left) = (Vec::new(), false);
        while answers.len() < count {
            let answer = client.receive().unwrap_or_else(|error| panic!("caller {}: {error}", self.number));
            let answer = answer.unwrap_or_else(|| panic!("caller {}: no answer", self.number));
            if answer.header.operation == Operation::GOAWAY.answer() {
                assert_eq!(Goodbye::read(&answer.body).unwrap().reason, Goodbye::HANDING_OVER);
                (left, self.goodbyes) = (true, self.goodbyes + 1);
            } else {
                answers.push(answer);
            }
        }
        (answers, left)
    }

    fn call(&mut self) {
        let (mut client, handle, slots) = match self.client.take() {
            Some(it) => it,
            None => self.connect(),
        };
        // Whoever rests finds out first whether it may still come.
        client.stream.set_nonblocking(true).unwrap();
        let news = client.receive();
        client.stream.set_nonblocking(false).unwrap();
        match news {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(Some(_)) => {
                self.goodbyes += 1;
                return;
            }
            _ => return,
        }
        let (operation, amount) =
            if self.number % 5 == 4 { (Operation::REPORT, 2) } else { (Operation::AUTHREP, 1) };
        let burst = 1 + self.number % 32;
        for _ in 0..burst {
            client.queue(operation, Flags::default(), by_handle(handle, &[(slots[0], amount)]));
        }
        client.flush().unwrap();
        let (answers, left) = self.answers(&mut client, burst);
        assert!(answers.iter().all(|it| it.status() == Status::OK), "{answers:?}");
        self.counted += amount * burst as u64;
        self.client = (!left).then_some((client, handle, slots));
    }

    fn run(mut self, stop: &AtomicBool) -> BinaryCaller {
        while !stop.load(Ordering::Relaxed) {
            self.call();
            if self.number.is_multiple_of(2) {
                std::thread::sleep(Duration::from_millis(37 * self.number as u64));
            }
        }
        self
    }
}

fn binary_callers_across(restarts: u32) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (http, tcp) = (free_address(), free_address());
    let tcp_flag = ["--tcp", &tcp.to_string()];
    let mut running = Process::start(serve(dir.path(), http, &tcp_flag));
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let stop = Arc::clone(&stop);
            let caller = BinaryCaller { address: tcp, number, client: None, counted: 0, goodbyes: 0 };
            std::thread::spawn(move || caller.run(&stop))
        })
        .collect();
    for _ in 0..restarts {
        let next = Process::start(serve(dir.path(), http, &[&["--take-over"], &tcp_flag[..]].concat()));
        assert_eq!(running.wait(), 0, "the old process ends as asked");
        running = next;
        assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller has failed");
        std::thread::sleep(Duration::from_millis(200));
    }
    stop.store(true, Ordering::Relaxed);
    let callers: Vec<_> =
        callers.into_iter().map(|caller| caller.join().expect("no request fails")).collect();
    for caller in &callers {
        assert_eq!(counted(dir.path(), caller.number, true), caller.counted, "caller {}", caller.number);
    }
    assert_eq!(running.terminate(), 0);
    let total: u64 = callers.iter().map(|caller| caller.counted).sum();
    let goodbyes: u64 = callers.iter().map(|caller| caller.goodbyes).sum();
    println!("{restarts} restarts, {total} units counted, {goodbyes} goodbyes");
    assert!(total > 100 * u64::from(restarts), "the load was too small to show anything");
    assert!(goodbyes >= u64::from(restarts), "hardly anybody was asked to leave");
}

fn the_program_can_be_replaced_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let mut first = Process::start(serve(dir.path(), address, &[]));
    let mut caller = Caller::new(address, 0);
    caller.call(false);
    first.signal("-USR2");
    let began = Instant::now();
    let mut ended = None;
    while ended.is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody took over");
        caller.call(false);
        ended = first.try_wait();
    }
    assert_eq!(ended, Some(0));
    caller.call(false);
    assert_eq!(counted(dir.path(), 0, true), caller.counted);
    // It was started by a process that is gone: take over from it to be able to end it. Whoever says nothing for
    // the whole of it finds its connection closed, so this caller does not keep one.
    caller.client = None;
    let last = Process::start(serve(dir.path(), address, &["--take-over"]));
    caller.call(false);
    assert_eq!(last.terminate(), 0);
    assert_eq!(counted(dir.path(), 0, false), caller.counted);
}

fn without_a_running_node_taking_over_is_starting() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let data = dir.path().join("new");
    let first = Process::start(serve(&data, address, &["--take-over"]));
    first.kill();
    assert!(data.join("control.sock").exists(), "a killed node leaves its socket");
    let mut second = Process::start(serve(&data, address, &["--take-over"]));
    let third = Process::start(serve(&data, address, &["--take-over"]));
    assert_eq!(second.wait(), 0);
    assert_eq!(third.terminate(), 0);
    assert!(!data.join("control.sock").exists());
}

fn a_bad_successor_leaves_the_node_running() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let node = Process::start(serve(dir.path(), address, &[]));
    let mut caller = Caller::new(address, 0);
    caller.call(false);

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().map(|it| (it, busy)).unwrap();
    let output =
        serve(dir.path(), address, &["--take-over", "--admin", &busy.0.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");

    let format = dir.path().join("FORMAT");
    std::fs::write(&format, "2\n").unwrap();
    let output = serve(dir.path(), address, &["--take-over"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("newer tollgate"), "{output:?}");
    std::fs::write(&format, "1\n").unwrap();

    caller.call(false);
    assert!(caller.client.is_some(), "nobody was sent away");
    assert_eq!(node.terminate(), 0);
}

/// Waits until the node lets clients stay, or sends them away.
fn wait_until_clients(may_stay: bool, address: SocketAddr) {
    let began = Instant::now();
    let stay = || Client::connect(address).get("/healthz").header("connection") != Some("close");
    while stay() != may_stay {
        assert!(began.elapsed() < Duration::from_secs(20), "clients may stay: {}", !may_stay);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until nobody accepts what comes.
fn wait_until_nobody_accepts(address: SocketAddr) {
    let began = Instant::now();
    let is_answered = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        stream.read(&mut [0]).is_ok()
    };
    while is_answered() {
        assert!(began.elapsed() < Duration::from_secs(20), "somebody still accepts");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A new version, as far as the control socket can tell. Returns what it was offered.
fn ask(dir: &Path) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(dir.join("control.sock")).unwrap();
    stream.write_all(b"{\"take_over\":{\"protocol\":1,\"version\":\"9\"}}\n").unwrap();
    let mut offer = [0; 4096];
    // Descriptors that nobody takes out of the message are closed by the system.
    let len = stream.read(&mut offer).unwrap();
    let offer = std::str::from_utf8(&offer[..len]).unwrap().to_owned();
    (stream, offer)
}

fn a_dying_successor_leaves_the_node_running() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let node = Process::start(serve(dir.path(), address, &[]));
    // One that stays idle holds the old process in its lame-duck phase.
    let mut idle = Caller::new(address, 1);
    idle.call(false);
    let (stream, offer) = ask(dir.path());
    assert!(offer.contains("\"listeners\":[\"data\",\"tcp\"]"), "{offer}");
    drop(stream);

    let (mut stream, offer) = ask(dir.path());
    assert!(offer.contains("\"ok\""), "{offer}");
    stream.write_all(b"go\n").unwrap();
    wait_until_clients(false, address);
    let mut caller = Caller::new(address, 0);
    caller.call(false);
    assert!(caller.client.is_none(), "clients are being sent away");
    drop(stream);
    wait_until_clients(true, address);
    caller.call(false);
    assert!(caller.client.is_some(), "clients may stay again");
    idle.call(false);

    // One that speaks another protocol is told so.
    let mut stream = UnixStream::connect(dir.path().join("control.sock")).unwrap();
    stream.write_all(b"{\"take_over\":{\"protocol\":2,\"version\":\"9\"}}\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("protocol 2 is not known"), "{answer}");
    assert_eq!(node.terminate(), 0);
    assert_eq!(counted(dir.path(), 0, false), caller.counted);
}

/// The old process has stopped accepting when the new one dies: it must serve its sockets again.
fn a_late_death_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let node = Process::start(serve(dir.path(), address, &[]));
    // A report whose body comes slowly keeps the old process from ending.
    let body = "transactions[0][user_key]=app0&transactions[0][usage][hits]=2";
    let mut slow = TcpStream::connect(address).unwrap();
    let head = "POST /transactions.xml?service_token=tok&service_id=moving HTTP/1.1\r\nHost: test\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    slow.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
    let (mut successor, _) = ask(dir.path());
    successor.write_all(b"go\n").unwrap();
    // Nobody accepts any more: a call is not answered, and not refused either.
    wait_until_nobody_accepts(address);
    let mut caller = Caller::new(address, 0);
    let waiting = std::thread::spawn(move || {
        caller.call(false);
        caller
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished(), "somebody still accepts");
    drop(successor);
    slow.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let caller = waiting.join().unwrap();
    assert!(caller.client.is_some(), "clients may stay again");
    assert_eq!(counted(dir.path(), 0, true), 3);
    assert_eq!(node.terminate(), 0);
}

fn a_node_that_dies_while_handing_over_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let address = free_address();
    let node = Process::start(serve(dir.path(), address, &[]));
    // Held in its lame-duck phase by an idle connection.
    let mut idle = Caller::new(address, 0);
    idle.call(true);
    let successor = serve(dir.path(), address, &["--take-over"]);
    let successor = std::thread::spawn(move || Process::start(successor));
    wait_until_clients(false, address);
    assert!(!successor.is_finished());
    node.kill();
    // Its sockets live on: nobody is refused, not even at this moment.
    let mut caller = Caller::new(address, 0);
    caller.call(false);
    let successor = successor.join().unwrap();
    assert_eq!(counted(dir.path(), 0, true), 3);
    assert_eq!(successor.terminate(), 0);
}

fn a_successor_may_serve_other_addresses() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let [http, admin, other] = [free_address(), free_address(), free_address()];
    let status = |address| Client::try_connect(address).map(|mut client| client.get("/metrics").status).ok();
    let mut first = Process::start(serve(dir.path(), http, &["--admin", &admin.to_string()]));
    assert_eq!((status(http), status(admin), status(other)), (Some(404), Some(200), None));
    // Kept, both.
    let mut second = Process::start(serve(dir.path(), http, &["--take-over", "--admin", &admin.to_string()]));
    assert_eq!(first.wait(), 0);
    assert_eq!((status(http), status(admin), status(other)), (Some(404), Some(200), None));
    // One kept, one bound anew, one given up.
    let mut third = Process::start(serve(dir.path(), http, &["--take-over", "--admin", &other.to_string()]));
    assert_eq!(second.wait(), 0);
    assert_eq!((status(http), status(admin), status(other)), (Some(404), None, Some(200)));
    // The admin listener's socket serves the data.
    let fourth = Process::start(serve(dir.path(), other, &["--take-over"]));
    assert_eq!(third.wait(), 0);
    assert_eq!((status(http), status(admin), status(other)), (None, None, Some(200)));
    assert_eq!(fourth.terminate(), 0);
}

/// A certificate for a listener in `dir`, and the flags that name it.
fn certificate(dir: &Path, authority: &Authority) -> Vec<String> {
    let (certificate, key) = authority.sign();
    let [chain, private] = ["chain.pem", "key.pem"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    write_private(chain.as_ref(), &certificate.pem());
    write_private(private.as_ref(), &key.serialize_pem());
    vec!["--http-tls-cert".into(), chain, "--http-tls-key".into(), private]
}

fn no_handshake_fails_across_restarts() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(dir.path());
    let (address, authority) = (free_address(), Authority::new());
    let mut flags = certificate(files.path(), &authority);
    // Whoever waited for a silent one would wait for this long.
    flags.extend(["--head-timeout-s", "120", "--drain-s", "120"].map(String::from));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut running = Process::start(serve(dir.path(), address, &flags));
    let stop = AtomicBool::new(false);
    let call = |number: usize| {
        let target = format!(
            "/transactions/authrep.xml?service_token=tok&service_id=moving&user_key=app{number}&usage%5Bhits%5D=1"
        );
        let (mut client, mut counted) = (None, 0);
        while !stop.load(Ordering::Relaxed) {
            let connect = || {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                Client::on(over(stream, authority.client()))
            };
            let answer = client.get_or_insert_with(connect).get(&target);
            assert_eq!(answer.status, 200, "{answer:?}");
            counted += 1;
            // Half of them come anew for each call, so that some shake hands at every moment of a hand-over.
            if number.is_multiple_of(2) || answer.header("connection") == Some("close") {
                client = None;
            }
        }
        counted
    };
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|number| scope.spawn(move || call(number))).collect();
        for _ in 0..4 {
            // One that never begins its handshake must not hold up the others, who wait for the new process.
            let silent = TcpStream::connect(address).unwrap();
            let began = Instant::now();
            let more: Vec<_> = flags.iter().copied().chain(["--take-over"]).collect();
            let next = Process::start(serve(dir.path(), address, &more));
            assert_eq!(running.wait(), 0, "the old process ends as asked");
            assert!(began.elapsed() < Duration::from_secs(60), "held up for {:?}", began.elapsed());
            running = next;
            assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller has failed");
            std::thread::sleep(Duration::from_millis(200));
            drop(silent);
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().expect("no call fails")).collect()
    });
    for (number, count) in counts.iter().enumerate() {
        assert_eq!(counted(dir.path(), number, true), *count, "caller {number}");
    }
    assert_eq!(running.terminate(), 0);
    assert!(counts.iter().sum::<u64>() > 40, "the load was too small to show anything: {counts:?}");
}

fn a_bad_certificate_bothers_nobody() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(dir.path());
    let address = free_address();
    let node = Process::start(serve(dir.path(), address, &[]));
    let mut caller = Caller::new(address, 0);
    caller.call(false);
    let mut flags = certificate(files.path(), &Authority::new());
    std::fs::write(files.path().join("key.pem"), "no key").unwrap();
    flags.push("--take-over".into());
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let output = serve(dir.path(), address, &flags).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("key.pem"), "{output:?}");
    caller.call(false);
    assert!(caller.client.is_some(), "nobody was sent away");
    assert_eq!(node.terminate(), 0);
}
