//! The golden conversation (`proto/golden/session.json`) with a live node: every operation and error, to the byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

#[path = "support/binary.rs"]
mod binary;
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use binary::{Answer, Binary, Greeting};
use serde_json::Value;
use support::Client;
use support::process::{Process, tollgate};
use tollgate::wire::{FRAME_MAX_DEFAULT, Flags, Header, Method, Operation};

/// What frames have shown, by the name that the conversation gives it.
type Captured = HashMap<String, Vec<u8>>;

/// One piece of a frame as it is written in the conversation.
enum Piece {
    Byte(u8),
    Any,
    Named(String, usize),
    Rest,
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = if let Some(after) = rest.strip_prefix('<') {
            let (inside, after) = after.split_once('>').unwrap();
            let (name, len) = inside.split_once(':').unwrap();
            (Piece::Named(name.to_owned(), len.parse().unwrap()), after)
        } else if let Some(after) = rest.strip_prefix('*') {
            (Piece::Rest, after)
        } else {
            let (byte, after) = rest.split_at(2);
            (
                if byte == "??" { Piece::Any } else { Piece::Byte(u8::from_str_radix(byte, 16).unwrap()) },
                after,
            )
        };
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Bytes to send, with what was captured in its place.
fn bytes(text: &str, captured: &Captured) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Byte(byte) => bytes.push(byte),
            Piece::Named(name, _) => bytes.extend_from_slice(&captured[&name]),
            Piece::Any | Piece::Rest => panic!("{text}: what is sent is known"),
        }
    }
    bytes
}

/// Whether `frame` is as `expected` says; keeps what it names.
fn matches(expected: &str, frame: &[u8], captured: &mut Captured) -> bool {
    let mut rest = frame;
    let mut found = captured.clone();
    for piece in pieces(expected) {
        let len = match &piece {
            Piece::Rest => rest.len(),
            Piece::Named(_, len) => *len,
            Piece::Byte(_) | Piece::Any => 1,
        };
        let Some((these, after)) = rest.split_at_checked(len) else { return false };
        rest = after;
        let fits = match piece {
            Piece::Byte(byte) => these == [byte],
            Piece::Any | Piece::Rest => true,
            Piece::Named(name, _) => found.entry(name).or_insert_with(|| these.to_vec()).as_slice() == these,
        };
        if !fits {
            return false;
        }
    }
    let fits = rest.is_empty();
    if fits {
        *captured = found;
    }
    fits
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Calls the internal API.
fn call(client: &mut Client, call: &Value) {
    let (method, path) = (call[0].as_str().unwrap(), call[1].as_str().unwrap());
    let body = if call[2].is_null() { String::new() } else { call[2].to_string() };
    let answer = client.request(method, path, &[("Authorization", "Basic Zzpn")], &body);
    assert!((200..300).contains(&answer.status), "{call}: {} {}", answer.status, answer.text());
}

struct Replay {
    node: Option<Process>,
    client: Option<Binary>,
    captured: Captured,
    wrong: Vec<String>,
}

impl Replay {
    fn connect(&mut self, how: &Value, data: &Path) {
        let secret = std::fs::read_to_string(data.join("node-secret")).unwrap();
        let number = |key: &str, default| how[key].as_u64().map_or(default, |it| u32::try_from(it).unwrap());
        let greeting = match how["method"].as_str() {
            Some("node secret") => Greeting::node(secret.trim_end()),
            Some("service token") => {
                Greeting::token(how["service"].as_str().unwrap(), how["secret"].as_str().unwrap())
            }
            other => panic!("{other:?}"),
        };
        let (window, frame_max) = (number("window", 256), number("frame_max", FRAME_MAX_DEFAULT));
        let greeting = Greeting { window, frame_max, ..greeting };
        self.open();
        let welcome = self.client.as_mut().unwrap().greet(&greeting).unwrap();
        assert_eq!((welcome.window, welcome.frame_max), (window, frame_max));
    }

    fn open(&mut self) {
        let address = self.node.as_ref().and_then(|node| node.tcp).unwrap();
        self.client = Some(Binary::connect(address));
    }

    fn exchange(&mut self, step: &Value, sent: &[u8]) {
        let name = step["name"].as_str().unwrap_or("stop");
        let client = self.client.as_mut().unwrap();
        client.send(sent).unwrap();
        let expected: Vec<_> =
            step["expect"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let answers: Vec<Answer> = expected.iter().map(|_| client.expect()).collect();
        for expected in expected {
            let is_it = |answer: &Answer| matches(expected, &answer.bytes(), &mut self.captured.clone());
            match answers.iter().find(|answer| is_it(answer)) {
                Some(answer) => drop(matches(expected, &answer.bytes(), &mut self.captured)),
                None => {
                    let came: Vec<_> = answers.iter().map(|it| hex(&it.bytes())).collect();
                    self.wrong.push(format!(
                        "{name}\n  expected {expected}\n  came     {}",
                        came.join("\n           ")
                    ));
                }
            }
        }
        if step["closed"] == true && !client.is_closed() {
            self.wrong.push(format!("{name}: the connection goes on"));
        }
    }
}

#[test]
fn the_golden_conversation_goes_as_it_is_written() {
    let path = format!("{}/proto/golden/session.json", env!("CARGO_MANIFEST_DIR"));
    let session: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(&data);
    command.env("TOLLGATE_INTERNAL_API_USER", "g").env("TOLLGATE_INTERNAL_API_PASSWORD", "g");
    let node = Process::start(command);
    let mut api = Client::connect(node.address);
    session["setup"].as_array().unwrap().iter().for_each(|it| call(&mut api, it));

    let mut replay = Replay { node: Some(node), client: None, captured: Captured::new(), wrong: Vec::new() };
    let steps = session["steps"].as_array().unwrap();
    replay.connect(&steps[0]["connect"], &data);
    let mut exchanged = 0;
    for step in &steps[1..] {
        if step.get("connect").is_some() {
            replay.connect(&step["connect"], &data);
        } else if step.get("open").is_some() {
            replay.open();
        } else if step.get("call").is_some() {
            call(&mut api, &step["call"]);
        } else if let Some(wait_ms) = step.get("wait_ms") {
            std::thread::sleep(Duration::from_millis(wait_ms.as_u64().unwrap()));
        } else if step.get("stop").is_some() {
            replay.node.as_ref().unwrap().signal("-TERM");
            replay.exchange(step, &[]);
            // It closes, and so may the node.
            replay.client = None;
            assert_eq!(replay.node.take().unwrap().wait(), 0);
        } else {
            let sent = bytes(step["send"].as_str().unwrap(), &replay.captured);
            replay.exchange(step, &sent);
            exchanged += 1;
        }
    }
    assert!(replay.wrong.is_empty(), "{} wrong:\n{}", replay.wrong.len(), replay.wrong.join("\n"));
    assert!(exchanged > 60, "only {exchanged} were exchanged");
}

/// Frames that are wrong in themselves are answered as the list says, whoever sends them.
#[test]
fn golden_frames_that_are_wrong_are_answered_as_they_say() {
    let path = format!("{}/proto/golden/frames.json", env!("CARGO_MANIFEST_DIR"));
    let frames: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--log", "error", "--data-dir"]).arg(&data);
    let node = Process::start(command);
    let secret = std::fs::read_to_string(data.join("node-secret")).unwrap();
    let greeting = Greeting { method: Method::NODE_SECRET, ..Greeting::node(secret.trim_end()) };
    let mut seen = 0;
    for frame in frames.as_array().unwrap() {
        let (Some(error), Some("client")) = (frame["error"].as_str(), frame["from"].as_str()) else {
            continue;
        };
        let name = frame["name"].as_str().unwrap();
        let mut client = Binary::open(node.tcp.unwrap(), &greeting);
        client.send(&bytes(frame["hex"].as_str().unwrap(), &Captured::new())).unwrap();
        let Answer { header: Header { operation, status, .. }, .. } = client.expect();
        if error == "GOAWAY" {
            assert_eq!(operation, Operation::GOAWAY.answer(), "{name}");
            assert!(client.is_closed(), "{name}");
        } else {
            assert_eq!(name_of(status), error, "{name}");
            let after = client.ask(Operation::PING, Flags::default(), |_| {});
            assert!(after.status().is_done(), "{name}: the connection goes on");
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} were seen");
    node.terminate();
}

fn name_of(status: tollgate::wire::Status) -> &'static str {
    use tollgate::wire::Status;
    match status {
        Status::MALFORMED => "MALFORMED",
        Status::UNKNOWN_OPERATION => "UNKNOWN_OPERATION",
        Status::TOO_LARGE => "TOO_LARGE",
        Status::NOT_SUPPORTED => "NOT_SUPPORTED",
        Status::OUT_OF_PLACE => "OUT_OF_PLACE",
        Status::NOT_VALID_DATA => "NOT_VALID_DATA",
        _ => "another",
    }
}
