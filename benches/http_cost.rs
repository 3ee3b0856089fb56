//! What an authrep over HTTP costs the server, against a bare handler of the same HTTP stack.
//!
//! ```text
//! cargo bench --bench http_cost
//! cargo bench --bench http_cost -- --rounds 11 --calls 200000
//! cargo bench --bench http_cost -- --called 100        only so many of the applications
//! ```
//!
//! Two servers, each a process of its own (this program again): *node* is a whole node (journal flushing every
//! 50 ms) with 100,000 applications; *bare* is hyper's HTTP/1 on the same runtime with as many workers, that reads
//! a request and answers a fixed body of the same size with the same headers. 16 keep-alive connections call one,
//! then the other, round by round. What is compared is the CPU time (user and system) that the server process
//! took, as the kernel accounts it; the client's does not count.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

mod catalog;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use catalog::{create, key};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tollgate::config::{Config, Listeners, Log};
use tollgate::listener::system_clock;
use tollgate::node::{self, Node};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPLICATIONS: usize = 100_000;
const CONNECTIONS: usize = 16;
/// How often a round goes to and fro.
const TURNS: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |flag| arguments.iter().position(|it| it == flag).and_then(|at| arguments.get(at + 1)).cloned();
    let number = |flag, default| value(flag).map_or(default, |text: String| text.parse().unwrap());
    match value("--serve").as_deref() {
        Some("node") => serve_node(),
        Some("bare") => serve_bare(value("--answer").unwrap()),
        _ => compare(number("--rounds", 7), number("--calls", 100_000), number("--called", APPLICATIONS)),
    }
}

// === the servers

fn serve_node() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: dir.path().to_owned(),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: None,
        tcp: None,
        unix: None,
        connections_max: 1024,
        listeners: Listeners::default(),
        drain_deadline: std::time::Duration::from_secs(1),
        checkpoint_bytes: 1 << 30,
        disk_low_bytes: 0,
        disk_critical_bytes: 0,
        idempotency_ids_max: 1_000_000,
        accept_clock: false,
        domain: None,
        master_token: None,
        admin_token: None,
        backend_endpoint: None,
        outgoing_allow: Vec::new(),
        gateway_endpoint: None,
        internal_api: Vec::new(),
        log: Log { level: "warn".into(), json: false },
    };
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    node.engine().change(|draft| create(draft, APPLICATIONS)).unwrap();
    announce(node.http);
    wait_for_the_end();
}

fn serve_bare(answer: String) {
    let answer: &'static [u8] = std::fs::read(answer).unwrap().leak();
    let split = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let (head, body) = (std::str::from_utf8(&answer[..split]).unwrap(), &answer[split + 4..]);
    let ours = |line: &&str| !line.starts_with("content-length") && !line.starts_with("date");
    let headers: Vec<_> =
        head.lines().skip(1).filter(ours).filter_map(|line| line.split_once(": ")).collect();
    let headers: &'static [_] = headers.leak();
    let runtime = node::runtime().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        announce(listener.local_addr().unwrap());
        tokio::task::spawn_blocking(|| {
            wait_for_the_end();
            std::process::exit(0);
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = service_fn(move |_| async move {
                let mut response = hyper::Response::new(Full::new(Bytes::from_static(body)));
                for (name, value) in headers {
                    let name = hyper::header::HeaderName::from_static(name);
                    response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
                }
                Ok::<_, std::convert::Infallible>(response)
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            // As the node does: one buffer, and no timer per request.
            http.writev(false);
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn announce(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().unwrap();
}

/// The parent holds the other end of standard input.
fn wait_for_the_end() {
    let _ = std::io::stdin().read(&mut [0; 1]);
}

// === the comparison

struct Server {
    child: Child,
    clients: Vec<BufReader<TcpStream>>,
    address: SocketAddr,
    /// How many of the applications are called.
    applications: usize,
}

impl Server {
    fn start(applications: usize, arguments: &[&str]) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address: SocketAddr = line.trim().parse().unwrap();
        let connect = || {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            BufReader::new(stream)
        };
        Server { child, clients: (0..CONNECTIONS).map(|_| connect()).collect(), address, applications }
    }

    /// CPU time of the process so far, in seconds: what the scheduler gave its threads, to the nanosecond.
    fn cpu_s(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let spent_ns = |task: std::io::Result<std::fs::DirEntry>| -> f64 {
            let schedstat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            schedstat.split(' ').next().unwrap().parse().unwrap()
        };
        tasks.map(spent_ns).sum::<f64>() / 1e9
    }

    /// Makes `calls` calls over all connections; returns CPU seconds of the server per call.
    fn run(&mut self, calls: usize, round: usize) -> f64 {
        let applications = self.applications;
        let before = self.cpu_s();
        std::thread::scope(|scope| {
            for (number, client) in self.clients.iter_mut().enumerate() {
                scope.spawn(move || {
                    let mut random = (round * CONNECTIONS + number + 1) as u64;
                    for _ in 0..calls / CONNECTIONS {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        call(client, (random >> 33) as usize % applications);
                    }
                });
            }
        });
        (self.cpu_s() - before) / calls as f64
    }
}

impl Server {
    /// Calls each application once.
    fn call_each(&mut self) {
        let applications = self.applications;
        std::thread::scope(|scope| {
            for (number, client) in self.clients.iter_mut().enumerate() {
                scope.spawn(move || {
                    (number..applications).step_by(CONNECTIONS).for_each(|it| drop(call(client, it)));
                });
            }
        });
    }

    /// Waits until the process has nothing to do any more, half a minute at most.
    fn settle(&self) {
        const LOOK: Duration = Duration::from_millis(300);
        for _ in 0..100 {
            let before = self.cpu_s();
            std::thread::sleep(LOOK);
            if self.cpu_s() - before < LOOK.as_secs_f64() / 50.0 {
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn call(client: &mut BufReader<TcpStream>, application: usize) -> Vec<u8> {
    // As APIcast sends it.
    let request = format!(
        "GET /transactions/authrep.xml?service_id=bench&service_token=token&usage%5Bhits%5D=1&user_key={} HTTP/1.1\r\n\
         User-Agent: bench\r\nHost: 127.0.0.1\r\nConnection: Keep-Alive\r\n\
         3scale-options: rejection_reason_header=1&limit_headers=1\r\n\r\n",
        key(application)
    );
    client.get_mut().write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::with_capacity(2048);
    let mut length = 0;
    loop {
        let start = answer.len();
        client.read_until(b'\n', &mut answer).unwrap();
        let line = &answer[start..];
        if line == b"\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix(b"content-length: ") {
            length = std::str::from_utf8(value).unwrap().trim().parse().unwrap();
        }
    }
    let start = answer.len();
    answer.resize(start + length, 0);
    client.read_exact(&mut answer[start..]).unwrap();
    answer
}

fn compare(rounds: usize, calls: usize, called: usize) {
    let mut node = Server::start(called, &["--serve", "node"]);
    let sample = call(&mut node.clients[0], 0);
    assert!(sample.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&sample));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &sample).unwrap();
    let mut bare = Server::start(called, &["--serve", "bare", "--answer", file.path().to_str().unwrap()]);
    assert_eq!(call(&mut bare.clients[0], 0).len(), sample.len(), "both answer as many bytes");

    println!(
        "{calls} calls a round, {CONNECTIONS} connections, {called} of {APPLICATIONS} applications called, answers of {} bytes",
        sample.len()
    );
    println!("node at {}, bare at {}", node.address, bare.address);
    // The first touch of each application allocates its cells, and its first call of a day is an event, which a follower
    // derives from the journal afterwards: none of it is what a call costs. And both processes warm up.
    node.call_each();
    node.settle();
    node.run(calls, 1_000_000);
    bare.run(calls, 1_000_000);
    println!("round    node us    bare us    ratio");
    let mut figures = Vec::new();
    for round in 0..rounds {
        let (mut node_us, mut bare_us) = (0.0, 0.0);
        // In short turns, so that both see the same of what else the machine does.
        for turn in 0..TURNS {
            node_us += node.run(calls / TURNS, round * TURNS + turn) * 1e6 / TURNS as f64;
            bare_us += bare.run(calls / TURNS, round * TURNS + turn) * 1e6 / TURNS as f64;
        }
        println!("{round:5} {node_us:10.2} {bare_us:10.2} {:8.3}", node_us / bare_us);
        figures.push((node_us, bare_us, node_us / bare_us));
    }
    let median = |pick: fn(&(f64, f64, f64)) -> f64| {
        let mut all: Vec<f64> = figures.iter().map(pick).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!("median {:9.2} {:10.2} {:8.3}", median(|it| it.0), median(|it| it.1), median(|it| it.2));
}
