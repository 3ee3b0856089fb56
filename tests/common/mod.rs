//! A node's engine and data listener inside the test process, with a clock that stands still, and a client that
//! says what it is told to, byte for byte.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollgate::engine::{Engine, Recovery};
use tollgate::http::bodies::{BODIES_BYTES_MAX, Bodies};
use tollgate::http::{Config, Dialect, Health, Routes, Telemetry, serve};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::Clock;
use tollgate::listener::guesses::Guesses;
use tollgate::model::time::UnixMillis;

/// 2026-11-22 13:45:30 UTC, a Sunday.
pub(crate) const NOON: u64 = 1_795_355_130_000;

/// How long a client of a test waits for an answer before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds to what a node answers.
pub(crate) type Extend = fn(&Arc<Engine>, &Clock, Routes) -> Routes;

/// An engine on a journal in a directory of its own, served on a loopback port.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: Option<tokio::task::JoinHandle<()>>,
    flusher: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Node {
    /// Starts a node without any record.
    pub(crate) fn start(runtime: &Runtime, config: Config, body_timeout: Duration) -> Node {
        Node::start_with(runtime, config, body_timeout, |_, _, routes| routes)
    }

    /// Starts a node without any record that answers more than the API.
    pub(crate) fn start_with(
        runtime: &Runtime,
        config: Config,
        body_timeout: Duration,
        extend: Extend,
    ) -> Node {
        Node::start_with_room(runtime, config, body_timeout, extend, BODIES_BYTES_MAX)
    }

    /// The same with so much room for all bodies together.
    pub(crate) fn start_with_room(
        runtime: &Runtime,
        config: Config,
        body_timeout: Duration,
        extend: Extend,
        bodies_bytes_max: usize,
    ) -> Node {
        let directory = tempfile::tempdir().unwrap();
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let options = Options { now: UnixMillis(NOON), ..Options::default() };
        let (journal, _) =
            Journal::open(&directory.path().join("journal"), options, Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [7; 16]));
        let clock = Arc::new(AtomicU64::new(NOON));
        let wall = {
            let clock = Arc::clone(&clock);
            let wall: Clock = Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed)));
            wall
        };
        let flusher = {
            let (engine, wall) = (Arc::clone(&engine), Arc::clone(&wall));
            std::thread::spawn(move || drop(engine.run_flusher(|| wall(), |_| {})))
        };
        let telemetry = Arc::new(Telemetry::default());
        let bodies = Bodies::new(bodies_bytes_max, config.limits.local_counts);
        let guesses = Guesses::new(config.limits.local_counts);
        let dialect = Dialect::new(Arc::clone(&engine), wall.clone(), Arc::clone(&telemetry), body_timeout)
            .with_budgets(Arc::new(bodies), Arc::new(guesses));
        let routes = Routes::data(dialect, Health::new(Arc::new(Vec::new)));
        // What an extension does in the background belongs to the runtime.
        let routes = Arc::new(runtime.block_on(async { extend(&engine, &wall, routes) }));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = runtime.spawn(serve(listener, routes, Arc::clone(&telemetry), config, shutdown.clone()));
        Node {
            engine,
            address,
            clock,
            telemetry,
            shutdown,
            served: Some(served),
            flusher: Some(flusher),
            _directory: directory,
        }
    }

    /// A connection to the node.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A connection from another address of this machine, 127.0.0.`last`.
    pub(crate) fn connect_from(&self, runtime: &Runtime, last: u8) -> Client {
        let connected = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
            socket.connect(self.address).await?.into_std()
        });
        let stream = connected.unwrap();
        stream.set_nonblocking(false).unwrap();
        Client::on(stream)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.engine.stop_flusher();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().unwrap();
        }
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection to a node.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::on(TcpStream::connect(address).unwrap())
    }

    fn on(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // A server that has answered already may have closed; what it said counts.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends one request and returns its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.receive(request.starts_with(b"HEAD ")).expect("an answer")
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    /// Reads one answer; `None` if the connection ended before one began.
    pub(crate) fn receive(&mut self, head: bool) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.read_more() {
                assert!(
                    self.unread.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let text = String::from_utf8(self.unread[..head_end].to_vec()).unwrap();
        self.unread.drain(..head_end + 4);
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !head {
            while self.unread.len() < length {
                assert!(self.read_more(), "the body broke off");
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// Whether the server has closed the connection, or does so soon.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.read_more()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// A runtime as a node has one.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
