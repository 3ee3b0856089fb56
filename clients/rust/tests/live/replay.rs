//! The specification's recorded conversation, byte by byte.
//!
//! The codec frames it; nothing else of the client takes part, so what is compared is what the node said.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use ring::hmac;
use serde_json::Value;
use tokio_util::codec::{Decoder, Encoder};
use tollgate_client::codec::{
    self, Answer, Fields, FrameCodec, Head, Hello, Method, Operation, Proof, Request, Status,
};

use crate::node::Node;

struct Replay {
    node: Node,
    stream: Option<TcpStream>,
    inbox: BytesMut,
    frames: FrameCodec,
    known: HashMap<String, String>,
    failures: Vec<String>,
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or_else(|_| panic!("hex: {hex}"));
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Replay {
    fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("a connection")
    }

    fn open(&mut self) {
        let stream = TcpStream::connect(&self.node.tcp).expect("the node listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
        (self.stream, self.inbox, self.frames) = (Some(stream), BytesMut::new(), FrameCodec::default());
    }

    /// The next frame, in hex, or what came instead.
    fn next(&mut self) -> Result<String, String> {
        loop {
            if let Some(frame) = self.frames.decode(&mut self.inbox).expect("frames") {
                let mut out = BytesMut::new();
                self.frames.encode(frame, &mut out).expect("it was a frame");
                return Ok(hex(&out));
            }
            let mut chunk = [0; 65_536];
            match self.stream().read(&mut chunk) {
                Ok(0) => return Err("the end".to_owned()),
                Ok(read) => self.inbox.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A node that closes with something unread resets the connection: an end, too.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err("the end".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn send(&mut self, request: &Request<'_>) {
        let mut out = BytesMut::new();
        let head = Head { operation: request.operation().number(), flags: 0, status: Status::OK, id: 1 };
        codec::put_frame(&mut out, 65_536, head, |out| request.encode(out)).expect("a frame");
        self.stream().write_all(&out).expect("the node reads");
    }

    fn connect(&mut self, how: &Value) {
        self.open();
        let service = text(how, "service");
        let secret = text(how, "secret").map_or_else(|| self.node.secret(), str::to_owned);
        let method = if service.is_some() { Method::ServiceToken } else { Method::NodeSecret };
        let number = |name, otherwise| how.get(name).and_then(Value::as_u64).unwrap_or(otherwise) as u32;
        let hello = Hello {
            method,
            version_min: 1,
            version_max: 1,
            frame_max: number("frame_max", 65_536),
            window: number("window", 256),
            features: 0,
            nonce: [3; 32],
            fields: Fields { service, ..Fields::default() },
        };
        self.stream().write_all(&codec::OPENING).expect("the node reads");
        self.send(&Request::Hello(hello));
        let frame = bytes(&self.next().expect("a challenge"));
        let challenge = Answer::decode(frame[4], Status::CHALLENGE, &frame[16..]);
        let Ok(Answer::Challenge(challenge)) = challenge else { panic!("{challenge:?}") };
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut proof = hmac::Context::with_key(&key);
        for part in [b"tollgate proof 1", &[3; 32][..], &challenge.nonce, &[method as u8]] {
            proof.update(part);
        }
        proof.update(service.unwrap_or_default().as_bytes());
        let mac = proof.sign().as_ref().try_into().expect("32 bytes");
        self.send(&Request::Proof(Proof { mac }));
        let frame = bytes(&self.next().expect("a welcome"));
        assert_eq!(frame[4], Operation::Proof.answer());
        let welcome =
            Answer::decode(frame[4], Status(u16::from_le_bytes([frame[6], frame[7]])), &frame[16..]);
        let Ok(Answer::Welcome(welcome)) = welcome else { panic!("{welcome:?}") };
        self.frames.frame_max = welcome.frame_max;
    }

    fn step(&mut self, step: &Value) {
        if let Some(how) = step.get("connect") {
            return self.connect(how);
        }
        if step.get("open").is_some() {
            return self.open();
        }
        if let Some(call) = step.get("call") {
            let part = |at: usize| call[at].as_str().expect("a text");
            return self.node.call(part(0), part(1), &call[2]);
        }
        if let Some(wait_ms) = step.get("wait_ms").and_then(Value::as_u64) {
            return std::thread::sleep(Duration::from_millis(wait_ms));
        }
        if step.get("stop").is_some() {
            self.node.terminate();
        }
        self.exchange(step);
    }

    fn exchange(&mut self, step: &Value) {
        let name = text(step, "name").unwrap_or("stop").to_owned();
        let sent = bytes(&self.filled(text(step, "send").unwrap_or_default()));
        // A node that has ended the connection shows in what it answers.
        let _ = self.stream().write_all(&sent);
        let expected: Vec<_> =
            step["expect"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut found = Vec::new();
        for _ in &expected {
            match self.next() {
                Ok(frame) => found.push(frame),
                Err(instead) => return self.failures.push(format!("{name}: {instead} after {found:?}")),
            }
        }
        for expected in expected {
            let id = &expected[16..32];
            let Some(frame) = found.iter().find(|frame| &frame[16..32] == id) else {
                self.failures.push(format!("{name}: no answer has the id {id}, of {found:?}"));
                continue;
            };
            if let Err(at) = matches(expected, frame, &mut self.known) {
                self.failures
                    .push(format!("{name}: differs at {at}\n  expected {expected}\n  found    {frame}"));
            }
        }
        if step.get("closed").is_some() {
            match self.next() {
                Err(instead) if instead == "the end" => {}
                other => self.failures.push(format!("{name}: the connection goes on with {other:?}")),
            }
        }
    }

    /// `send` with what was kept by name in its place.
    fn filled(&self, send: &str) -> String {
        let mut out = String::new();
        let mut left = send;
        while let Some((before, rest)) = left.split_once('<') {
            let (name, after) = rest.split_once('>').expect("a name's end");
            let (name, length) = name.split_once(':').expect("a length");
            let zero = "00".repeat(length.parse().expect("a number"));
            out += before;
            out += self.known.get(name).unwrap_or(&zero);
            left = after;
        }
        out + left
    }
}

/// Compares a frame with what is expected, and keeps what that names. Err: where they differ.
fn matches(expected: &str, found: &str, known: &mut HashMap<String, String>) -> Result<(), usize> {
    let (mut left, mut at) = (expected, 0);
    while let Some(first) = left.chars().next() {
        match first {
            '*' => return Ok(()),
            '<' => {
                let (name, after) = left[1..].split_once('>').expect("a name's end");
                let (name, length) = name.split_once(':').expect("a length");
                let value = found.get(at..at + 2 * length.parse::<usize>().expect("a number")).ok_or(at)?;
                if known.entry(name.to_owned()).or_insert_with(|| value.to_owned()) != value {
                    return Err(at);
                }
                (left, at) = (after, at + value.len());
            }
            digit => {
                if digit != '?' && found.get(at..=at) != Some(&left[..1]) || at >= found.len() {
                    return Err(at);
                }
                (left, at) = (&left[1..], at + 1);
            }
        }
    }
    if at == found.len() { Ok(()) } else { Err(at) }
}

#[test]
fn the_golden_session_goes_as_it_is_written() {
    let Some(node) = Node::start(&[]) else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/golden/session.json");
    let session = std::fs::read_to_string(path).expect("the golden session");
    let session: Value = serde_json::from_str(&session).expect("JSON");
    let mut replay = Replay {
        node,
        stream: None,
        inbox: BytesMut::new(),
        frames: FrameCodec::default(),
        known: HashMap::new(),
        failures: Vec::new(),
    };
    for call in session["setup"].as_array().expect("calls") {
        replay.node.call(call[0].as_str().expect("a method"), call[1].as_str().expect("a path"), &call[2]);
    }
    let steps = session["steps"].as_array().expect("steps");
    assert!(steps.len() > 50);
    steps.iter().for_each(|step| replay.step(step));
    assert!(replay.failures.is_empty(), "{} differ\n{}", replay.failures.len(), replay.failures.join("\n"));
}
