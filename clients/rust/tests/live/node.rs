//! A node as its operator runs it: the binary that NODE_BINARY names.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_client::{Access, Address, Application, Client, Options};

/// `porta:secret`, as HTTP has it.
const LOGIN: &str = "Basic cG9ydGE6c2VjcmV0";

/// The service that tests set up, and its token.
pub(crate) const SERVICE: &str = "1";
pub(crate) const TOKEN: &str = "token-of-1";

/// A process on a data directory of its own, which outlives it.
pub(crate) struct Node {
    binary: String,
    home: tempfile::TempDir,
    pub(crate) tcp: String,
    http: String,
    more: Vec<String>,
    child: Child,
}

/// An address that nobody has, and that a node can take again after a restart.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// The node's binary; without one the test is left out, and says so.
fn binary() -> Option<String> {
    let binary = std::env::var("NODE_BINARY").ok();
    if binary.is_none() {
        eprintln!("left out: NODE_BINARY does not name a node to test with (target/debug/tollgate, say)");
    }
    binary
}

impl Node {
    /// A node on an empty data directory. None if there is no binary.
    pub(crate) fn start(more: &[&str]) -> Option<Node> {
        let binary = binary()?;
        let home = tempfile::tempdir().expect("a temporary directory");
        let (tcp, http) = (free_address(), free_address());
        let more = more.iter().map(|it| it.replace("HOME", &home.path().display().to_string())).collect();
        let child = Command::new("true").spawn().expect("a process that ends at once");
        let mut node = Node { binary, home, tcp, http, more, child };
        node.wait();
        node.child = node.spawn(&[]);
        Some(node)
    }

    /// Runs a process until it says that it serves.
    fn spawn(&self, more: &[&str]) -> Child {
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--http", &self.http, "--tcp", &self.tcp, "--log", "warn", "--data-dir"]);
        command.arg(self.home.path().join("data")).arg("--unix").arg(self.socket());
        command.args(&self.more).args(more);
        // A variable of the caller would change the node under test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        command.env("TOLLGATE_INTERNAL_API_USER", "porta").env("TOLLGATE_INTERNAL_API_PASSWORD", "secret");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut printed = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        while !printed.contains("Stop with") {
            let read = stdout.read_line(&mut printed).expect("the node prints text");
            assert!(read > 0, "the node ended and printed: {printed}");
        }
        // Read on, so that it never waits for somebody who does.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        child
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// What opens all services.
    pub(crate) fn secret(&self) -> String {
        let text = std::fs::read_to_string(self.home.path().join("data/node-secret")).expect("the secret");
        text.lines().next().expect("a line").to_owned()
    }

    /// Another process takes the sockets and the data over.
    pub(crate) fn hand_over(&mut self) {
        let successor = self.spawn(&["--take-over"]);
        self.wait();
        self.child = successor;
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    /// Ends the process as an operator does, and starts another.
    pub(crate) fn restart(&mut self) {
        self.terminate();
        self.wait();
        self.child = self.spawn(&[]);
    }

    /// Ends the process in the middle of whatever it does, and starts another.
    pub(crate) fn crash(&mut self) {
        self.child.kill().expect("a signal");
        self.wait();
        self.child = self.spawn(&[]);
    }

    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().expect("a status").is_none() {
            assert!(Instant::now() < until, "the node does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A call of the internal API, which must be answered 2xx.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {LOGIN}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.http).expect("the node listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        stream.write_all(text.as_bytes()).expect("the node reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the node answers with text");
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    }

    /// A service with `hits`, and applications `key-0` and so on with `limit` of them for ever.
    pub(crate) fn set_up(&self, limit: u64, applications: usize) {
        let put =
            |path: &str, body: Value| self.call("PUT", &format!("/internal/services/{SERVICE}{path}"), &body);
        let service = json!({"service": {"id": SERVICE, "provider_key": "provider", "backend_version": "1"}});
        self.call("POST", "/internal/services/", &service);
        put("/metrics/1", json!({"metric": {"name": "hits"}}));
        let token = json!({"service_tokens": {TOKEN: {"service_id": SERVICE}}});
        self.call("POST", "/internal/service_tokens/", &token);
        put("/plans/5/usagelimits/1/eternity", json!({"usagelimit": {"eternity": limit}}));
        for number in 0..applications {
            let state = json!({"application": {"state": "active", "plan_id": "5", "plan_name": "Plan"}});
            put(&format!("/applications/app-{number}"), state);
            put(&format!("/applications/app-{number}/key/key-{number}"), Value::Null);
        }
    }

    pub(crate) fn client(&self, options: Options) -> Client {
        let access = Access::ServiceToken { service: SERVICE.to_owned(), token: TOKEN.to_owned() };
        Client::new(Address::Tcp(self.tcp.clone()), access, options).expect("possible options")
    }

    /// A client over the Unix socket, for all services.
    pub(crate) fn local_client(&self, options: Options) -> Client {
        Client::new(Address::Unix(self.socket()), Access::NodeSecret(self.secret()), options)
            .expect("possible options")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn application(number: usize) -> Application {
    Application::user_key(format!("key-{number}")).service(SERVICE)
}
