//! The node under attack, and who watches over it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections that the node keeps.
pub(crate) const CONNECTIONS_MAX: usize = 150;

/// What attacks may add to its memory: the account of all bodies (64 MiB), which a growing buffer holds twice while it
/// moves, and for each connection what hyper and the kernel's copy buffers take (at most 128 KiB read, 128 KiB
/// written).
const MEMORY_MIB: u64 = 2 * 64 + CONNECTIONS_MAX as u64 / 4;

/// Files it has open beside its connections.
const FILES_OWN: u64 = 40;

/// How long the well-behaved client waits at most: on a slow machine with one core to spare.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// When who was to be cut off must have been, on a slow machine: its time is a second or two. Less than any default,
/// so that it is the configured time that was up.
pub(crate) const CUT_OFF_WITHIN: Duration = Duration::from_secs(9);

pub(crate) struct Victim {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) tcp: SocketAddr,
    /// The path of a call that its first start printed.
    call: String,
    _dir: tempfile::TempDir,
}

/// A connection on which nothing is waited for longer than for a slow machine.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Victim {
    /// Starts a node whose patience is short, unless `arguments` say otherwise: flags win over variables.
    pub(crate) fn start(arguments: &[&str]) -> Victim {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        command.args([
            "--http",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--tcp",
            "127.0.0.1:0",
            "--log",
            "error",
        ]);
        for (timeout, seconds) in [("HEAD", "1"), ("BODY", "1"), ("IDLE", "2")] {
            command.env(format!("TOLLGATE_{timeout}_TIMEOUT_S"), seconds);
        }
        command
            .args(["--connections-max", &CONNECTIONS_MAX.to_string(), "--data-dir"])
            .arg(dir.path().join("d"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            printed += &format!("{}\n", line.unwrap());
            if printed.contains("Stop with") {
                break;
            }
        }
        let after = |start: &str| {
            let (_, rest) = printed.split_once(start).unwrap_or_else(|| panic!("no {start} in {printed}"));
            let (_, rest) = rest.split_once("://").unwrap();
            rest.split(['/', '\n', ' ', '\'']).next().unwrap().parse().unwrap()
        };
        let (http, admin, tcp) = (after("API on "), after("Telemetry: "), after("Binary protocol: "));
        let (_, call) = printed.split_once(&format!("{http}/transactions/authrep.xml?")).unwrap();
        let call = call.split('\'').next().unwrap().replace('[', "%5B").replace(']', "%5D");
        Victim { child, http, admin, tcp, call, _dir: dir }
    }

    /// The credentials of its sample, as a query.
    pub(crate) fn credentials(&self) -> &str {
        self.call.split("&usage").next().unwrap()
    }

    /// The sample's service and its token.
    pub(crate) fn token(&self) -> (String, String) {
        (self.parameter("service_id"), self.parameter("service_token"))
    }

    /// The sample application's key.
    pub(crate) fn user_key(&self) -> String {
        self.parameter("user_key")
    }

    fn parameter(&self, name: &str) -> String {
        let value = self.call.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        value.unwrap().to_owned()
    }

    /// An authrep of so many hits, as it is sent.
    pub(crate) fn authrep(&self, hits: u32) -> String {
        let query = self.call.strip_suffix("=1").expect("the printed call is of one hit");
        format!("GET /transactions/authrep.xml?{query}={hits} HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    /// What its sample application has used this minute.
    pub(crate) fn hits(&self) -> u64 {
        let mut client = Polite::connect(self.http);
        let text = client.ask(&format!(
            "GET /transactions/authorize.xml?{} HTTP/1.1\r\nHost: a\r\n\r\n",
            self.credentials()
        ));
        let (_, after) = text.split_once("<current_value>").unwrap_or_else(|| panic!("{text}"));
        after.split('<').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits until all connections but the watching client's have ended.
    pub(crate) fn is_left_alone(&self) {
        let started = Instant::now();
        while files(self.child.id()) > FILES_OWN {
            assert!(started.elapsed() < 2 * CUT_OFF_WITHIN, "{} files are open", files(self.child.id()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Watches over it from now on.
    pub(crate) fn guard(&self) -> Guard {
        let (over, peak_kib, peak_files) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let pid = self.child.id();
        let before_kib = memory_kib(pid);
        let sampling = {
            let (over, peak_kib, peak_files) = (over.clone(), peak_kib.clone(), peak_files.clone());
            std::thread::spawn(move || {
                while !over.load(Relaxed) {
                    peak_kib.fetch_max(memory_kib(pid), Relaxed);
                    peak_files.fetch_max(files(pid), Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let asking = {
            let (over, http, call) = (over.clone(), self.http, self.authrep(0));
            // Connected before anybody else is.
            let mut client = Polite::connect(http);
            client.ask(&call);
            std::thread::spawn(move || {
                let mut slowest = Duration::ZERO;
                while !over.load(Relaxed) {
                    let started = Instant::now();
                    let text = client.ask(&call);
                    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                    slowest = slowest.max(started.elapsed());
                    std::thread::sleep(Duration::from_millis(5));
                }
                slowest
            })
        };
        Guard { over, before_kib, peak_kib, peak_files, sampling, asking }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Guard {
    over: Arc<AtomicBool>,
    before_kib: u64,
    peak_kib: Arc<AtomicU64>,
    peak_files: Arc<AtomicU64>,
    sampling: JoinHandle<()>,
    asking: JoinHandle<Duration>,
}

impl Guard {
    /// Ends the watch; nothing may have gone beyond its bounds meanwhile.
    pub(crate) fn finish(self) {
        self.over.store(true, Relaxed);
        self.sampling.join().unwrap();
        let slowest = self.asking.join().expect("the well-behaved client was answered");
        let grown_mib = self.peak_kib.load(Relaxed).saturating_sub(self.before_kib) / 1024;
        let files = self.peak_files.load(Relaxed);
        println!("memory +{grown_mib} MiB, {files} files, slowest answer {slowest:?}");
        assert!(grown_mib <= MEMORY_MIB, "memory grew by {grown_mib} MiB");
        assert!(files <= CONNECTIONS_MAX as u64 + FILES_OWN, "{files} files were open");
        assert!(slowest <= ANSWERED_WITHIN, "an answer took {slowest:?}");
    }
}

/// A client that waits for each answer.
pub(crate) struct Polite {
    stream: BufReader<TcpStream>,
}

impl Polite {
    pub(crate) fn connect(address: SocketAddr) -> Polite {
        Polite { stream: BufReader::new(connect(address)) }
    }

    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut text, mut length) = (String::new(), 0);
        loop {
            let from = text.len();
            assert!(self.stream.read_line(&mut text).unwrap() > 0, "closed after: {text}");
            let line = text[from..].trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut self.stream, &mut body).unwrap();
        text + &String::from_utf8(body).unwrap()
    }
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn files(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
}
