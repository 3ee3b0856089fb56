//! A node as its operator starts it, and calls to it that threescalers builds and reads.
//!
//! threescalers does no I/O of its own: it builds requests and parses answers. What lies between is here, plain.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use threescalers::api_call::{ApiCall, Kind};
use threescalers::extensions::List;
use threescalers::http::Request;
use threescalers::response::Authorization;
use threescalers::service::Service;
use threescalers::transaction::Transaction;

/// A running node, and the credentials of the sample that it printed.
pub struct Node {
    child: Child,
    address: String,
    pub provider_key: String,
    pub service_id: String,
    pub service_token: String,
    pub user_key: String,
}

impl Node {
    /// Starts the binary that `NODE_BINARY` names on an empty data directory.
    pub fn start(data_dir: &Path) -> Node {
        let binary = std::env::var_os("NODE_BINARY").expect("NODE_BINARY names the node's binary");
        let mut command = Command::new(binary);
        command.args(["serve", "--http", "127.0.0.1:0", "--tcp", "off", "--log", "warn", "--data-dir"]).arg(data_dir);
        // A variable of the caller would change the node under test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut printed = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        while !printed.contains("Stop with") {
            let read = stdout.read_line(&mut printed).expect("the node prints text");
            assert!(read > 0, "the node ended and printed: {printed}");
        }
        let after = |label: &str| {
            let (_, rest) = printed.split_once(label).unwrap_or_else(|| panic!("no {label} in: {printed}"));
            rest.split_whitespace().next().unwrap_or_default().to_owned()
        };
        Node {
            child,
            address: after("on http://"),
            provider_key: after("  provider key "),
            service_id: after("  service id "),
            service_token: after("  service token "),
            user_key: after("  user key "),
        }
    }

    /// Builds a call with threescalers, sends it, and returns the answer.
    pub fn call(
        &self,
        kind: Kind,
        service: &Service,
        transactions: &[Transaction],
        options: &List,
    ) -> Answer {
        let mut builder = ApiCall::builder(service);
        builder.kind(kind).transactions(transactions);
        if !options.is_empty() {
            builder.extensions(options);
        }
        self.send(&Request::from(&builder.build().expect("a kind is set")))
    }

    /// One request on a connection of its own, as bytes that nothing but threescalers has chosen.
    fn send(&self, request: &Request) -> Answer {
        let (target, body) = request.uri_and_body();
        let mut text = format!("{} {target} HTTP/1.1\r\nHost: {}\r\n", request.method.as_str(), self.address);
        for (name, value) in request.headers.iter() {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += &format!("Connection: close\r\n\r\n{}", body.unwrap_or_default());

        let mut stream = TcpStream::connect(&self.address).expect("the node listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        stream.write_all(text.as_bytes()).expect("the node reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the node answers with text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, as threescalers understands it.
    pub fn parse(&self) -> Authorization {
        self.body.parse().unwrap_or_else(|error| panic!("{error} in: {}", self.body))
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
    i64::try_from(elapsed.as_secs()).expect("a clock that is right")
}

/// Returns when some of the current minute is left, so that exact counts hold. Hours and days end with a minute.
pub fn fresh_minute() {
    let left = 60 - now() % 60;
    if left < 10 {
        std::thread::sleep(Duration::from_secs(left.unsigned_abs() + 1));
    }
}
