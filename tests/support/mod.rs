//! What integration tests share: a node of their own, and a bare HTTP client that shows exact bytes.
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod data;
pub(crate) mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tollgate::config::{Config, Listeners, Log};

/// The configuration of a test's node: any free port, a directory of the test's own.
pub(crate) fn config(data_dir: &Path) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: None,
        tcp: None,
        unix: None,
        connections_max: 1024,
        listeners: Listeners::default(),
        drain_deadline: Duration::from_secs(5),
        checkpoint_bytes: 64 << 20,
        // What else is on the machine's disk is no matter.
        disk_low_bytes: 0,
        disk_critical_bytes: 0,
        idempotency_ids_max: 1_000_000,
        accept_clock: false,
        backend_endpoint: None,
        domain: None,
        master_token: None,
        outgoing_allow: Vec::new(),
        gateway_endpoint: None,
        admin_token: None,
        internal_api: Vec::new(),
        log: Log { level: "warn".into(), json: false },
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One keep-alive connection.
pub(crate) struct Client<S = TcpStream> {
    stream: BufReader<S>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Client::on(stream))
    }
}

impl Client {
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn on(stream: S) -> Client<S> {
        Client { stream: BufReader::new(stream) }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.try_get(target).unwrap()
    }

    pub(crate) fn try_get(&mut self, target: &str) -> std::io::Result<Answer> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
    }

    pub(crate) fn try_post(&mut self, target: &str, body: &str) -> std::io::Result<Answer> {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body.as_bytes()].concat().as_slice())
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_request(method, target, headers, body).unwrap()
    }

    pub(crate) fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Answer> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body.as_bytes()].concat().as_slice())
    }

    fn send(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        self.stream.get_mut().write_all(request)?;
        self.read()
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn read(&mut self) -> std::io::Result<Answer> {
        let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let status = self.line()?.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(bad)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { body, ..answer })
    }
}
