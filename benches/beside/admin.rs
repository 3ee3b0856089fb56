//! An administrator on one connection: each call is answered before the next is made.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::sides::{ADMIN_TOKEN, APPLICATIONS, Node, user_key};

pub(super) struct Administrator {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    service: String,
    plan: String,
    account: String,
    number: usize,
    took_ms: Vec<f64>,
    /// The application that was created last.
    created: String,
}

impl Administrator {
    pub(super) fn new(node: &Node) -> Administrator {
        Administrator {
            address: node.http,
            stream: connect(node.http),
            service: node.service.clone(),
            plan: node.plan.clone(),
            account: node.account.clone(),
            number: 0,
            took_ms: Vec::new(),
            created: String::new(),
        }
    }

    /// Begins anew on another connection: one that rested for long is closed by the node.
    pub(super) fn connect(&mut self) {
        self.stream = connect(self.address);
    }

    pub(super) fn calls(&self) -> usize {
        self.took_ms.len()
    }

    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut took = self.took_ms.clone();
        took.sort_by(f64::total_cmp);
        took[((took.len() - 1) as f64 * quantile) as usize]
    }

    /// The next call of the four kinds.
    pub(super) fn call(&mut self) {
        let number = self.number;
        self.number += 1;
        let began = Instant::now();
        match number % 4 {
            0 => {
                let page = 1 + number % (APPLICATIONS / 20);
                let path = format!("applications.json?page={page}&per_page=20&access_token={}", token());
                let page = self.send("GET", &path, 200);
                assert_eq!(page.matches("\"application\":").count(), 20);
            }
            1 => {
                let key = user_key(number * 7919 % APPLICATIONS);
                let path = format!(
                    "applications/find.json?service_id={}&user_key={key}&access_token={}",
                    self.service,
                    token()
                );
                assert!(self.send("GET", &path, 200).contains(&format!("\"{key}\"")));
            }
            2 => {
                let (account, plan) = (&self.account, &self.plan);
                let path = format!(
                    "accounts/{account}/applications.json?plan_id={plan}&name=app{number}&description=d&access_token={}",
                    token()
                );
                let created = self.send("POST", &path, 201);
                let (_, id) = created.split_once("\"id\":").unwrap();
                self.created = id.chars().take_while(char::is_ascii_digit).collect();
            }
            _ => {
                let path = format!(
                    "accounts/{}/applications/{}/suspend.json?access_token={}",
                    self.account,
                    self.created,
                    token()
                );
                assert!(self.send("PUT", &path, 200).contains("\"suspended\""));
            }
        }
        self.took_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }

    fn send(&mut self, method: &str, path: &str, expected: u16) -> String {
        let request =
            format!("{method} /admin/api/{path} HTTP/1.1\r\nhost: node\r\ncontent-length: 0\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut line, mut length, mut status) = (String::new(), 0, 0);
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, expected, "{method} {path}: {body}");
        body
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

fn token() -> String {
    ADMIN_TOKEN.replace(' ', "%20")
}
