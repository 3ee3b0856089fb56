//! The binary protocol over real sockets: exact totals, windows, who is let in, who is cut off, leaving.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

#[path = "support/tls.rs"]
mod authority;
#[path = "support/binary.rs"]
mod binary;
mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use binary::{Answer, Binary, Greeting, by_handle, by_key};
use support::config;
use tokio::runtime::Runtime;
use tollgate::config::{Config, Tls, UnixUser};
use tollgate::listener::guesses::{Guesses, PEER_BURST};
use tollgate::listener::{Guest, Link, Peer, system_clock};
use tollgate::model::catalog::Key;
use tollgate::model::draft::{NewApplication, NewService};
use tollgate::model::id::{ApplicationId, MetricSlot, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::{self, Node};
use tollgate::tcp::replay::Replay;
use tollgate::tcp::{Config as ServerConfig, Secrets, Server, Telemetry};
use tollgate::wire::{
    BatchAnswer, FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST, Failure, Flags, Frame, Goodbye, HEADER_LEN,
    Operation, Status, put_batch, split,
};

const TOKEN: Greeting<'static> = Greeting {
    method: tollgate::wire::Method::SERVICE_TOKEN,
    service: Some("s"),
    secret: "tok",
    frame_max: FRAME_MAX_DEFAULT,
    window: 256,
};

/// A node in this process, with one service and as many applications as are wanted.
struct World {
    node: Option<Node>,
    runtime: Runtime,
    applications: Vec<ApplicationId>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(applications: usize, hits_max: u64) -> World {
        World::with(applications, hits_max, |_, _| {})
    }

    fn with(applications: usize, hits_max: u64, change: impl FnOnce(&mut Config, &Path)) -> World {
        let (dir, runtime) = (tempfile::tempdir().unwrap(), node::runtime().unwrap());
        let mut config = Config { tcp: Some(([127, 0, 0, 1], 0).into()), ..config(&dir.path().join("data")) };
        change(&mut config, dir.path());
        let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
        let create = |draft: &mut tollgate::model::draft::Draft<'_>| {
            let tenant = draft.create_tenant("t", "p")?;
            let backend_version = BackendVersion::UserKey;
            let new = NewService { tenant, external_id: Some("s"), name: "s", backend_version };
            let service = draft.create_service(&new)?;
            draft.edit_service(service, |it| it.tokens.push(Secret::new("tok")))?;
            let hits = draft.create_metric(service, "hits", None)?;
            let search = draft.create_metric(service, "search", Some(hits))?;
            let plan = draft.create_plan(service, None, "Basic")?;
            for (metric, max) in [(hits, hits_max), (search, 1_000_000_000)] {
                draft.set_limit(plan, metric, Period::Eternity, max)?;
            }
            let mut all = Vec::new();
            for number in 0..applications {
                let app_id = format!("a{number}");
                let new = NewApplication { service, account: None, app_id: &app_id, name: "a", plan };
                let application = draft.create_application(&new)?;
                let key = format!("uk{number}");
                draft.edit_application(application, |it| it.user_keys.push(Secret::new(&key)))?;
                all.push(application);
            }
            Ok(all)
        };
        let (applications, _) = node.engine().change(create).unwrap();
        World { node: Some(node), runtime, applications, dir }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn open(&self) -> Binary {
        Binary::open(self.node().tcp.unwrap(), &TOKEN)
    }

    fn total(&self, application: usize, slot: u32) -> u64 {
        let image = self.node().engine().counters_of(self.applications[application], UnixMillis(0)).unwrap();
        let cell = image.cells.iter().find(|cell| cell.slot == MetricSlot(slot));
        cell.map_or(0, |cell| cell.counts[Period::Eternity as usize])
    }

    fn service(&self) -> ServiceId {
        ServiceId(self.node().engine().find(Key::ExternalService("s")).unwrap())
    }

    fn secret(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("data/node-secret")).unwrap();
        text.lines().next().unwrap().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop()).unwrap();
        }
    }
}

const THREADS: usize = 8;
const CONNECTIONS: usize = 16;
const CALLS: usize = 48;

/// Runs `call` on every connection with many requests on their way at once; how many were authorized.
fn storm(world: &World, queue: impl Fn(&mut Binary, u64, &[MetricSlot], usize) + Sync) -> u64 {
    let authorized = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (queue, authorized) = (&queue, &authorized);
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| world.open()).collect();
                let (handle, slots) = clients[0].bind("uk0", &["hits", "search"]);
                for client in &mut clients {
                    for turn in 0..CALLS {
                        queue(client, handle, &slots, thread + turn);
                    }
                    client.flush().unwrap();
                }
                for client in &mut clients {
                    for _ in 0..CALLS {
                        let answer = client.expect();
                        if answer.header.operation == Operation::AUTHREP.answer() {
                            authorized.fetch_add(u64::from(answer.decision().yes), Ordering::Relaxed);
                        } else {
                            answer.receipt();
                        }
                    }
                }
            });
        }
    });
    authorized.into_inner()
}

#[test]
fn concurrent_authreps_by_handle_and_key_admit_exactly_the_limit() {
    let world = World::new(1, 3000);
    let authorized = storm(&world, |client, handle, slots, turn| {
        let slot = slots[turn % 2];
        if turn % 3 == 0 {
            client.queue(Operation::AUTHREP, Flags::default(), by_key("uk0", &[("hits", 1)]));
        } else {
            client.queue(Operation::AUTHREP, Flags::default(), by_handle(handle, &[(slot, 1)]));
        }
    });
    assert_eq!(authorized, 3000);
    assert_eq!(world.total(0, 0), 3000);
}

#[test]
fn with_concurrent_reports_the_total_is_exact() {
    let world = World::new(1, 1_000_000_000);
    let (reported, single) = (AtomicU64::new(0), AtomicU64::new(0));
    let authorized = storm(&world, |client, handle, slots, turn| {
        if turn % 8 == 0 {
            let flags = if turn % 16 == 0 { Flags::INTERVAL } else { Flags::DURABLE };
            client.queue(Operation::REPORT, flags, by_handle(handle, &[(slots[1], 2), (slots[0], 3)]));
            reported.fetch_add(1, Ordering::Relaxed);
        } else {
            let flags = if turn % 5 == 0 { Flags::DURABLE } else { Flags::default() };
            client.queue(Operation::AUTHREP, flags, by_handle(handle, &[(slots[0], 1)]));
            single.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (reported, single) = (reported.into_inner(), single.into_inner());
    assert_eq!(authorized, single);
    assert_eq!(world.total(0, 0), reported * 5 + single);
    assert_eq!(world.total(0, 1), reported * 2);
}

#[test]
fn batches_admit_exactly_the_limit() {
    let world = World::new(1, 1000);
    let yes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut client = world.open();
                let (handle, slots) = client.bind("uk0", &["search"]);
                for _ in 0..10 {
                    let item = |out: &mut Vec<u8>| by_handle(handle, &[(slots[0], 1)])(out);
                    let items = std::iter::repeat_n(
                        (Operation::AUTHREP, Flags::default(), &item as &dyn Fn(&mut Vec<u8>)),
                        50,
                    );
                    let answer = client.ask(Operation::BATCH, Flags::default(), |out| {
                        put_batch(out, items.collect::<Vec<_>>().into_iter())
                    });
                    let (_, items) = BatchAnswer::read(&answer.body).unwrap();
                    assert_eq!(items.len(), 50);
                    let admitted = items.iter().filter(|item| item.body[2] == 1).count();
                    yes.fetch_add(admitted as u64, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(yes.into_inner(), 1000);
    assert_eq!(world.total(0, 0), 1000);
}

#[test]
fn a_window_of_n_takes_n_and_refuses_the_next_uncounted() {
    let world = World::new(1, 1_000_000);
    for window in [1, 4, 64] {
        let mut client = Binary::open(world.node().tcp.unwrap(), &Greeting { window, ..TOKEN });
        let before = world.total(0, 0);
        for _ in 0..window + 3 {
            client.queue(Operation::REPORT, Flags::DURABLE, by_key("uk0", &[("hits", 1)]));
        }
        client.flush().unwrap();
        let answers: Vec<_> = (0..window + 3).map(|_| client.expect()).collect();
        let refused: Vec<_> = answers.iter().filter(|it| it.status() == Status::OVERLOADED).collect();
        assert_eq!(refused.len(), 3, "window {window}");
        for answer in refused {
            let failure = Failure::read(&answer.body).unwrap();
            assert!(failure.retry_after_ms > 0, "it says when to come again");
        }
        assert_eq!(world.total(0, 0) - before, u64::from(window));
        // What was beyond the window is welcome afterwards.
        client.ask(Operation::REPORT, Flags::DURABLE, by_key("uk0", &[("hits", 1)])).receipt();
    }
}

#[test]
fn a_durable_answer_does_not_hold_up_those_behind_it() {
    let world = World::new(1, 1_000_000);
    let mut client = world.open();
    let report = client.queue(Operation::REPORT, Flags::DURABLE, by_key("uk0", &[("hits", 1)]));
    let ping = client.queue(Operation::PING, Flags::default(), |_| {});
    client.flush().unwrap();
    let order = [client.expect().header.id, client.expect().header.id];
    assert_eq!(order, [ping, report]);
}

#[test]
fn frames_may_be_as_large_as_was_agreed_and_no_larger() {
    let world = World::new(1, 1_000_000);
    for frame_max in [4096, FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST] {
        for (len, good) in [(frame_max, true), (frame_max + 1, false)] {
            let mut client = Binary::connect(world.node().tcp.unwrap());
            let welcome = client.greet(&Greeting { frame_max, ..TOKEN }).unwrap();
            assert_eq!(welcome.frame_max, frame_max);
            let padded = |out: &mut Vec<u8>| out.resize(out.len() + len as usize - HEADER_LEN, 0);
            // A node that does not take it may close before all of it is sent.
            client.queue(Operation::PING, Flags::default(), padded);
            let _ = client.flush();
            let answer = client.expect();
            let expected = if good { Operation::PING } else { Operation::GOAWAY };
            assert_eq!(answer.header.operation, expected.answer(), "{len}");
            assert!(good || client.is_closed());
        }
    }
}

#[test]
fn room_for_large_frames_is_bounded_and_given_back() {
    let world = World::new(1, 1_000_000);
    let greeting = Greeting { frame_max: FRAME_MAX_GREATEST, ..TOKEN };
    let grant = |greeting| {
        let mut client = Binary::connect(world.node().tcp.unwrap());
        let welcome = client.greet(greeting).unwrap();
        (client, welcome.frame_max)
    };
    let mut held = Vec::new();
    loop {
        let (client, granted) = grant(&greeting);
        if granted != FRAME_MAX_GREATEST {
            assert_eq!(granted, FRAME_MAX_DEFAULT, "who comes too late has what everybody has");
            break;
        }
        held.push(client);
        assert!(held.len() < 64, "there is no end to it");
    }
    assert!(held.len() > 10, "{}", held.len());
    drop(held);
    let began = Instant::now();
    while grant(&greeting).1 != FRAME_MAX_GREATEST {
        assert!(began.elapsed() < Duration::from_secs(20), "what has gone keeps its room");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_token_or_secret_that_is_taken_away_ends_its_connections() {
    let world = World::new(1, 1_000_000);
    let mut by_token = world.open();
    let mut by_secret = Binary::open(world.node().tcp.unwrap(), &Greeting::node(&world.secret()));
    by_token.ask(Operation::AUTHREP, Flags::default(), by_key("uk0", &[("hits", 1)])).decision();
    assert_eq!(by_secret.ask(Operation::STATS, Flags::default(), |_| {}).status(), Status::OK);
    let service = world.service();
    world.node().engine().change(|draft| draft.edit_service(service, |it| it.tokens.clear())).unwrap();
    let answer = {
        by_token.queue(Operation::AUTHREP, Flags::default(), by_key("uk0", &[("hits", 1)]));
        by_token.flush().unwrap();
        by_token.expect()
    };
    assert_eq!(answer.header.operation, Operation::GOAWAY.answer());
    assert!(by_token.is_closed());
    assert_eq!(world.total(0, 0), 1);
    let refused = Binary::connect(world.node().tcp.unwrap()).greet(&TOKEN).unwrap_err();
    assert_eq!(refused.status(), Status::PROOF_INVALID);

    let first = world.secret();
    let data = world.dir.path().join("data");
    node::secret::rotate(&data).unwrap();
    let second = world.secret();
    world.node().reload();
    wait_until(|| can(&world, &Greeting::node(&second)));
    assert!(can(&world, &Greeting::node(&first)), "the one before stays valid");
    assert_eq!(by_secret.ask(Operation::PING, Flags::default(), |_| {}).status(), Status::OK);
    node::secret::rotate(&data).unwrap();
    world.node().reload();
    wait_until(|| !can(&world, &Greeting::node(&first)));
    by_secret.queue(Operation::PING, Flags::default(), |_| {});
    by_secret.flush().unwrap();
    assert_eq!(by_secret.expect().header.operation, Operation::GOAWAY.answer());
    assert!(can(&world, &Greeting::node(&second)));
}

fn can(world: &World, greeting: &Greeting<'_>) -> bool {
    // Who is told to go may find the connection closed while it still introduces itself.
    matches!(Binary::connect(world.node().tcp.unwrap()).try_greet(greeting), Ok(Ok(_)))
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_unix_socket_knows_its_users() {
    let world = World::with(1, 1_000_000, |config, dir| config.unix = Some(dir.join("t.sock")));
    let path = world.dir.path().join("t.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let connect = || Binary::on(UnixStream::connect(&path).unwrap());
    let mut client = connect();
    client.greet(&Greeting::nobody()).unwrap();
    assert_eq!(client.ask(Operation::STATS, Flags::default(), |_| {}).status(), Status::OK);
    // A token opens no more than over TCP.
    let mut client = connect();
    client.greet(&TOKEN).unwrap();
    let answer = client.ask(Operation::AUTHREP, Flags::default(), by_key("uk0", &[("hits", 1)]));
    assert!(answer.decision().yes);
    assert_eq!(client.ask(Operation::STATS, Flags::default(), |_| {}).status(), Status::METHOD_NOT_ALLOWED);
    drop(world);
    assert!(!path.exists(), "a node that stops takes its socket away");
}

#[test]
fn a_unix_socket_for_others_is_open_to_be_asked() {
    let others = vec![UnixUser { uid: 4_000_000_000, service: Some("s".into()) }];
    let world = World::with(1, 1_000_000, |config, dir| {
        config.unix = Some(dir.join("t.sock"));
        config.listeners.unix_users = others;
    });
    let path = world.dir.path().join("t.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    Binary::on(UnixStream::connect(&path).unwrap()).greet(&Greeting::nobody()).unwrap();
}

#[test]
fn by_tls_the_protocol_is_the_same_and_http_is_not_spoken() {
    let authority = authority::Authority::new();
    let world = World::with(1, 1_000_000, |config, dir| {
        let (certificate, key) = authority.sign();
        let (cert, private) = (dir.join("c.pem"), dir.join("k.pem"));
        std::fs::write(&cert, certificate.pem()).unwrap();
        authority::write_private(&private, &key.serialize_pem());
        config.listeners.tcp_tls = Some(Tls { cert, key: private, client_ca: None });
    });
    let speak = |protocol: &[u8]| {
        let mut config = (*authority.client()).clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = std::net::TcpStream::connect(world.node().tcp.unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Binary::on(authority::over(stream, Arc::new(config)));
        client.try_greet(&TOKEN).map(|welcome| (welcome.is_ok(), client))
    };
    let (is_in, mut client) = speak(b"tollgate/1").unwrap();
    assert!(is_in);
    for _ in 0..100 {
        client.queue(Operation::AUTHREP, Flags::default(), by_key("uk0", &[("hits", 1)]));
    }
    client.flush().unwrap();
    assert!((0..100).all(|_| client.expect().decision().yes));
    assert_eq!(world.total(0, 0), 100);
    assert!(speak(b"http/1.1").is_err());
    // Whoever does not speak TLS is not understood.
    let mut plain = Binary::connect(world.node().tcp.unwrap());
    assert!(!plain.try_greet(&TOKEN).is_ok_and(|it| it.is_ok()));
}

/// A node that has little patience.
fn impatient() -> World {
    World::with(1, 1_000_000, |config, _| {
        config.listeners.head_timeout = Duration::from_secs(1);
        config.listeners.idle_timeout = Duration::from_secs(2);
    })
}

fn goodbye(answer: &Answer) -> u16 {
    assert_eq!(answer.header.operation, Operation::GOAWAY.answer(), "{answer:?}");
    Goodbye::read(&answer.body).unwrap().reason
}

#[test]
fn who_is_not_let_in_in_time_is_sent_away_also_if_it_drips() {
    let world = impatient();
    let drip = |bytes: Vec<u8>| {
        let mut client = Binary::connect(world.node().tcp.unwrap());
        let began = Instant::now();
        client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        for byte in bytes.into_iter().chain(std::iter::repeat(0)) {
            assert!(began.elapsed() < Duration::from_secs(9), "it is let stay");
            let _ = client.stream.write_all(&[byte]);
            match client.receive() {
                Ok(Some(answer)) => return goodbye(&answer),
                Ok(None) => panic!("it is told why"),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!()
    };
    assert_eq!(drip(Vec::new()), Goodbye::BROKEN_PROTOCOL, "no opening begins like that");
    assert_eq!(drip(binary::opening(&TOKEN.hello())), Goodbye::HANDSHAKE_TOO_SLOW);
    let mut silent = Binary::connect(world.node().tcp.unwrap());
    assert_eq!(goodbye(&silent.expect()), Goodbye::HANDSHAKE_TOO_SLOW);
    assert!(silent.is_closed());
}

#[test]
fn who_says_nothing_whole_is_sent_away_and_ping_is_something() {
    let world = impatient();
    let mut pinging = world.open();
    let mut dripping = world.open();
    let began = Instant::now();
    let mut frame = Vec::new();
    Frame::request(&mut frame, Operation::PING, Flags::default(), 1).end();
    frame[..4].copy_from_slice(&60_000_u32.to_le_bytes());
    dripping.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let reason = loop {
        assert!(began.elapsed() < Duration::from_secs(12), "it is let stay");
        pinging.ask(Operation::PING, Flags::default(), |_| {});
        let _ = dripping.stream.write_all(&frame);
        frame = vec![0; 7];
        match dripping.receive() {
            Ok(Some(answer)) => break goodbye(&answer),
            Ok(None) => panic!("it is told why"),
            Err(_) => {}
        }
    };
    assert_eq!(reason, Goodbye::IDLE);
    assert!(began.elapsed() > Duration::from_millis(1500));
    pinging.ask(Operation::PING, Flags::default(), |_| {});
}

#[test]
fn who_does_not_take_its_answers_is_not_read_and_cut_off() {
    let world = impatient();
    let mut client = world.open();
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut frames = Vec::new();
    for _ in 0..4096 {
        Frame::request(&mut frames, Operation::PING, Flags::default(), 1).end();
    }
    let (began, mut sent) = (Instant::now(), 0_usize);
    let ended = loop {
        assert!(began.elapsed() < Duration::from_secs(20), "it is let stay");
        match client.stream.write(&frames) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
        // What two kernels' buffers hold, and a little of ours.
        assert!(sent < 64 << 20, "all of it is read");
    };
    assert!(
        [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe].contains(&ended.kind()),
        "{ended}"
    );
}

#[test]
fn a_node_that_stops_answers_what_it_got_and_says_goodbye() {
    let mut world = World::new(1, 1_000_000);
    let mut client = world.open();
    for _ in 0..50 {
        client.queue(Operation::REPORT, Flags::DURABLE, by_key("uk0", &[("hits", 1)]));
    }
    client.flush().unwrap();
    let node = world.node.take().unwrap();
    let engine = Arc::clone(node.engine());
    let began = Instant::now();
    let stopping = world.runtime.spawn(node.stop());
    let (mut receipts, mut goodbyes) = (0, 0);
    while let Some(answer) = client.receive().unwrap() {
        if answer.header.operation == Operation::GOAWAY.answer() {
            assert_eq!(goodbye(&answer), Goodbye::STOPPING);
            goodbyes += 1;
            // What comes after the goodbye is answered, too, for a while.
            client.queue(Operation::REPORT, Flags::DURABLE, by_key("uk0", &[("hits", 1)]));
            client.flush().unwrap();
        } else {
            answer.receipt();
            receipts += 1;
        }
    }
    assert_eq!((receipts, goodbyes), (51, 1));
    world.runtime.block_on(stopping).unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let image = engine.counters_of(world.applications[0], UnixMillis(0)).unwrap();
    assert_eq!(image.cells[0].counts[Period::Eternity as usize], 51);
}

#[test]
fn connections_beyond_the_cap_are_told_and_half_open_ones_count() {
    let world = World::with(1, 1_000_000, |config, _| config.connections_max = 3);
    let address = world.node().tcp.unwrap();
    let mut held: Vec<_> = (0..2).map(|_| Binary::connect(address)).collect();
    held.push(world.open());
    assert_eq!(goodbye(&Binary::connect(address).expect()), Goodbye::FULL);
    held.clear();
    wait_until(|| can(&world, &TOKEN));
}

/// The handshake of a client from 192.0.2.`last`, without a socket: how the proof is answered.
fn proof_from(server: &Server, last: u8, greeting: &Greeting<'_>) -> Status {
    let guest = Guest { peer: Peer::of([192, 0, 2, last].into()), link: Link::Plain };
    let mut replay = Replay::new(server, guest);
    let hello = greeting.hello();
    let challenge = replay.receive(&binary::opening(&hello), true);
    let (_, body) = split(&challenge, FRAME_MAX_DEFAULT).unwrap().unwrap();
    let answer = replay.receive(&binary::proof(&hello, greeting.secret, body), true);
    let (header, body) = split(&answer, FRAME_MAX_DEFAULT).unwrap().unwrap();
    if header.status == Status::WAIT {
        assert!(Failure::read(body).unwrap().retry_after_ms >= 1000);
    }
    assert_eq!(replay.is_over(), header.status != Status::OK);
    header.status
}

#[test]
fn a_guesser_waits_and_who_was_right_before_does_not() {
    let world = World::new(1, 1_000_000);
    let secret = "the secret of this node, for tests only";
    let server = Server::new(
        Arc::clone(world.node().engine()),
        system_clock(),
        Arc::new(Guesses::new(false)),
        Secrets::parse(&secret.replace(' ', "-")).unwrap(),
        Arc::new(Telemetry::default()),
        ServerConfig::default(),
    );
    let secret = secret.replace(' ', "-");
    let (node, wrong) = (Greeting::node(&secret), Greeting::node("wrong"));
    assert_eq!(proof_from(&server, 1, &node), Status::OK);
    for guess in 0..PEER_BURST {
        assert_eq!(proof_from(&server, 1, &wrong), Status::PROOF_INVALID, "{guess}");
    }
    assert_eq!(proof_from(&server, 1, &wrong), Status::WAIT);
    assert_eq!(proof_from(&server, 1, &node), Status::OK, "it was right from there before");
    assert_eq!(proof_from(&server, 1, &TOKEN), Status::OK, "another target");
    // Nobody else feels it; whoever guesses and is right for the first time after that waits, too.
    assert_eq!(proof_from(&server, 2, &wrong), Status::PROOF_INVALID);
    for _ in 1..PEER_BURST {
        proof_from(&server, 2, &wrong);
    }
    assert_eq!(proof_from(&server, 2, &node), Status::WAIT);
    assert_eq!(proof_from(&server, 3, &Greeting::token("s", "wrong")), Status::PROOF_INVALID);
    assert_eq!(proof_from(&server, 3, &Greeting::token("nobody", "tok")), Status::PROOF_INVALID);
}
