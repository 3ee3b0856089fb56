//! The load: bytes that were made before, over and over, and as little looking at answers as there can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tollgate::wire::{Flags, Frame, HEADER_LEN, Operation, put_batch, split};

use super::Shape;
use super::binary::{Binary, Greeting, by_handle, by_key};
use super::catalog::key;
use super::server::Kind;

/// Different requests of each connection.
const REQUESTS: usize = 64;

/// A server process.
pub(super) struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    http: SocketAddr,
    tcp: SocketAddr,
    applications: usize,
}

/// What a server had done at a time.
#[derive(Clone, Copy)]
pub(super) struct Done {
    at: Instant,
    /// CPU seconds of the process.
    cpu_s: f64,
    syncs: f64,
    sync_s: f64,
    bytes: f64,
}

/// What came of a while of load.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// Transactions or decisions a second.
    pub(super) per_s: f64,
    /// The server's processor time for each.
    pub(super) cpu_us: f64,
    pub(super) syncs_per_s: f64,
    pub(super) per_sync: f64,
    /// A sync's mean time.
    pub(super) sync_ms: f64,
    /// Of the journal, for each.
    pub(super) bytes: f64,
}

impl Server {
    pub(super) fn start(kind: Kind, applications: usize) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", kind.name(), "--applications", &applications.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let (http, tcp) = line.trim().split_once(' ').unwrap();
        Server { child, said, http: http.parse().unwrap(), tcp: tcp.parse().unwrap(), applications }
    }

    fn done(&mut self) -> Done {
        let at = Instant::now();
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        let numbers: Vec<f64> = line.split_whitespace().map(|it| it.parse().unwrap()).collect();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let spent_ns = |task: std::io::Result<std::fs::DirEntry>| -> f64 {
            let schedstat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            schedstat.split(' ').next().unwrap().parse().unwrap()
        };
        let cpu_s = tasks.map(spent_ns).sum::<f64>() / 1e9;
        Done { at, cpu_s, syncs: numbers[0], sync_s: numbers[1] / 1e9, bytes: numbers[2] }
    }

    /// Connections that are ready to ask.
    pub(super) fn connect(&self, shape: &Shape) -> Vec<Connection> {
        (0..shape.connections).map(|number| Connection::new(self, shape, number)).collect()
    }

    /// Loads it for a while.
    pub(super) fn run(&mut self, connections: &mut [Connection], duration: Duration) -> Round {
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut ends = None;
        std::thread::scope(|scope| {
            for connection in connections {
                let (stop, count) = (&stop, &count);
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        count.fetch_add(connection.exchange(), Relaxed);
                    }
                });
            }
            // Not the first moments, in which threads start.
            std::thread::sleep(duration / 10);
            let begin = (self.done(), count.load(Relaxed));
            std::thread::sleep(duration);
            ends = Some((begin, (self.done(), count.load(Relaxed))));
            stop.store(true, Relaxed);
        });
        let ((before, counted), (after, count)) = ends.unwrap();
        let count = (count - counted) as f64;
        let elapsed = (after.at - before.at).as_secs_f64();
        let syncs = (after.syncs - before.syncs).max(1.0);
        Round {
            per_s: count / elapsed,
            cpu_us: (after.cpu_s - before.cpu_s) * 1e6 / count,
            syncs_per_s: syncs / elapsed,
            per_sync: count / syncs,
            sync_ms: (after.sync_s - before.sync_s) * 1e3 / syncs,
            bytes: (after.bytes - before.bytes) / count,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A connection, and what it asks in turns.
pub(super) struct Connection {
    stream: TcpStream,
    requests: Vec<Vec<u8>>,
    next: usize,
    is_http: bool,
    /// Frames that answer a request.
    frames: usize,
    /// Transactions or decisions in one.
    counts: u64,
    input: Vec<u8>,
}

/// A body of `transactions[n]...`.
pub(super) fn form(keys: impl Iterator<Item = String>) -> String {
    let mut body = String::from("service_id=bench&service_token=token");
    for (number, key) in keys.enumerate() {
        body += &format!("&transactions[{number}][user_key]={key}&transactions[{number}][usage][search]=1");
    }
    body
}

/// A frame of a BATCH of reports.
pub(super) fn batch(keys: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = Frame::request(&mut bytes, Operation::BATCH, Flags::default(), 7);
    let item = |key: String| {
        let put = move |out: &mut Vec<u8>| by_key(&key, &[("search", 1)])(out);
        (Operation::REPORT, Flags::default(), put)
    };
    put_batch(frame.body(), keys.map(item));
    frame.end();
    bytes
}

impl Connection {
    fn new(server: &Server, shape: &Shape, number: usize) -> Connection {
        let mut random = (number + 1) as u64;
        let mut draw = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % server.applications
        };
        let mut handles = Vec::new();
        let stream = if shape.is_http {
            TcpStream::connect(server.http).unwrap()
        } else {
            let mut client = Binary::open(server.tcp, &Greeting::token("bench", "token"));
            if shape.batch == 0 {
                handles =
                    (0..REQUESTS * shape.depth).map(|_| client.bind(&key(draw()), &["search"])).collect();
            }
            client.stream
        };
        stream.set_nodelay(true).unwrap();
        let mut bound = handles.into_iter();
        let requests = (0..REQUESTS).map(|_| match (shape.is_http, shape.batch) {
            (true, 0) => authrep(&key(draw())),
            (true, batch) => report(&form((0..batch).map(|_| key(draw())))),
            (false, 0) => {
                let mut bytes = Vec::new();
                for _ in 0..shape.depth {
                    let (handle, slots) = bound.next().unwrap();
                    let mut frame = Frame::request(&mut bytes, Operation::AUTHREP, Flags::default(), 7);
                    by_handle(handle, &[(slots[0], 1)])(frame.body());
                    frame.end();
                }
                bytes
            }
            (false, size) => batch((0..size).map(|_| key(draw()))),
        });
        let requests = requests.collect();
        let counts = shape.batch.max(shape.depth) as u64;
        let is_http = shape.is_http;
        Connection {
            stream,
            requests,
            next: 0,
            is_http,
            frames: shape.depth,
            counts,
            input: vec![0; 64 << 10],
        }
    }

    /// Sends the next request and waits for its answer; how much that was.
    fn exchange(&mut self) -> u64 {
        self.next = (self.next + 1) % self.requests.len();
        self.stream.write_all(&self.requests[self.next]).unwrap();
        let (mut end, mut seen, mut frames) = (0, 0, 0);
        loop {
            if end == self.input.len() {
                self.input.resize(2 * end, 0);
            }
            let count = self.stream.read(&mut self.input[end..]).unwrap();
            assert!(count > 0, "the server has closed");
            end += count;
            if self.is_http {
                if is_whole(&self.input[..end]) {
                    break;
                }
                continue;
            }
            while let Some((header, _)) = split(&self.input[seen..end], u32::MAX).unwrap() {
                assert_eq!(header.status.0, 0);
                seen += header.length as usize;
                frames += 1;
            }
            if frames == self.frames && seen == end {
                break;
            }
            assert!(seen + HEADER_LEN <= self.input.len() + HEADER_LEN);
        }
        self.counts
    }
}

/// Whether all of an answer over HTTP is there, which must be a good one.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(answer));
    let name = b"content-length: ";
    let length = answer.windows(name.len()).position(|it| it == name).map_or(0, |at| {
        let digits = answer[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    });
    answer.len() == head + 4 + length
}

fn authrep(key: &str) -> Vec<u8> {
    format!(
        "GET /transactions/authrep.xml?service_id=bench&service_token=token&usage%5Bsearch%5D=1&user_key={key} \
         HTTP/1.1\r\nHost: 127.0.0.1\r\n3scale-options: rejection_reason_header=1&limit_headers=1\r\n\r\n"
    )
    .into_bytes()
}

fn report(body: &str) -> Vec<u8> {
    format!(
        "POST /transactions.xml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
