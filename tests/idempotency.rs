//! Ids of requests in a node: they outlive restarts, crashes, and the journal that they were written to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::Client;
use tollgate::config::Config;
use tollgate::journal::Sequence;
use tollgate::listener::system_clock;
use tollgate::node::{self, Node};

/// Transactions in one report.
const TOGETHER: usize = 100;

fn start(runtime: &tokio::runtime::Runtime, dir: &Path) -> Node {
    // So small that the checkpointer has to do.
    let config = Config { checkpoint_bytes: 32 * 1024, ..support::config(dir) };
    runtime.block_on(Node::start(&config, system_clock())).unwrap()
}

/// Who the sample's application is.
struct Sample {
    credentials: String,
    user_key: String,
}

impl Sample {
    /// A report whose transactions have the ids from `first` on; whether all of it was a repetition.
    fn report(&self, node: &Node, first: usize) -> bool {
        let mut body = self.credentials.clone();
        for number in 0..TOGETHER {
            let id = first + number;
            body += &format!(
                "&transactions[{number}][id]=id-{id}&transactions[{number}][user_key]={}\
                 &transactions[{number}][usage][hits]=1",
                self.user_key
            );
        }
        let answer = Client::connect(node.http).try_post("/transactions.xml", &body).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("idempotency-replayed") == Some("true")
    }

    /// An authrep of two hits under a key; whether it was a repetition.
    fn authrep(&self, node: &Node, key: &str) -> bool {
        self.authrep_known_by(node, &[("Idempotency-Key", key)])
    }

    /// The same under a producer's number.
    fn authrep_numbered(&self, node: &Node, producer: &str, sequence: &str) -> bool {
        self.authrep_known_by(node, &[("Idempotency-Producer", producer), ("Idempotency-Sequence", sequence)])
    }

    fn authrep_known_by(&self, node: &Node, headers: &[(&str, &str)]) -> bool {
        let target = format!(
            "/transactions/authrep.xml?{}&user_key={}&usage%5Bhits%5D=2",
            self.credentials, self.user_key
        );
        let answer = Client::connect(node.http).request("GET", &target, headers, "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("idempotency-replayed") == Some("true")
    }
}

/// Hits of the sample's application since ever.
fn hits(node: &Node) -> u64 {
    let engine = node.engine();
    let catalog = engine.catalog();
    let (_, application) = catalog.applications.iter().next().unwrap();
    let image = engine.counters_of(application.id, system_clock()()).unwrap();
    // Eternity is the first of the periods.
    image.cells.iter().map(|cell| cell.counts[0]).max().unwrap_or(0)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a crash would leave now: nothing is written meanwhile but what is on disk already.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for path in files(from) {
        let target = to.join(path.file_name().unwrap());
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            copy(&path, &target);
        } else if kind.is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn ids_outlive_restarts_crashes_and_the_journal() {
    let runtime = node::runtime().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let mut node = start(&runtime, &dir);
    let sample = node.sample.as_ref().unwrap();
    let sample = Sample {
        credentials: format!("provider_key={}&service_id={}", sample.provider_key, sample.service_id),
        user_key: sample.user_key.clone(),
    };
    let first_segment = files(&dir.join("journal"))[0].clone();
    let mut reports = 0;
    assert!(!sample.authrep(&node, "a-call"));
    assert!(!sample.authrep_numbered(&node, "a-worker", "7"));
    // Each round more than a checkpoint's worth, and each start begins a segment: the first ones go.
    while first_segment.exists() {
        assert!(reports < 400, "the journal is not pruned");
        let sealed = node.engine().ids_sealed_through();
        let began = reports;
        while reports < began + 15 {
            assert!(!sample.report(&node, reports * TOGETHER));
            reports += 1;
        }
        until("ids are not sealed", || node.engine().ids_sealed_through() > sealed);
        runtime.block_on(node.stop()).unwrap();
        node = start(&runtime, &dir);
    }
    assert!(node.engine().ids_sealed_through() > Sequence(0));
    assert!(!files(&dir.join("ids")).is_empty());
    let counted = (reports * TOGETHER) as u64 + 4;
    assert_eq!(hits(&node), counted);
    // Some that no slice has yet.
    assert!(!sample.report(&node, reports * TOGETHER));
    reports += 1;
    let crashed = scratch.path().join("crashed");
    copy(&dir, &crashed);
    runtime.block_on(node.stop()).unwrap();
    for dir in [dir, crashed] {
        let node = start(&runtime, &dir);
        for report in 0..reports {
            assert!(sample.report(&node, report * TOGETHER), "report {report} was counted twice");
        }
        assert!(sample.authrep(&node, "a-call"));
        // What was journalled of it went with the first segment, but for what checkpoints wrote.
        assert!(sample.authrep_numbered(&node, "a-worker", "7"));
        assert_eq!(hits(&node), (reports * TOGETHER) as u64 + 4);
        assert!(!sample.report(&node, reports * TOGETHER));
        runtime.block_on(node.stop()).unwrap();
    }
}

#[test]
fn a_damaged_slice_keeps_a_node_from_starting_and_is_named() {
    let runtime = node::runtime().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let node = start(&runtime, &dir);
    let sample = node.sample.as_ref().unwrap();
    let sample = Sample {
        credentials: format!("provider_key={}&service_id={}", sample.provider_key, sample.service_id),
        user_key: sample.user_key.clone(),
    };
    for report in 0..15 {
        assert!(!sample.report(&node, report * TOGETHER));
    }
    until("ids are not sealed", || node.engine().ids_sealed_through() > Sequence(0));
    runtime.block_on(node.stop()).unwrap();
    let slice = files(&dir.join("ids"))[0].clone();
    let mut bytes = std::fs::read(&slice).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&slice, bytes).unwrap();
    let config = support::config(&dir);
    let error = runtime.block_on(Node::start(&config, system_clock())).map(drop).unwrap_err().to_string();
    let name = slice.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(error.contains(&name), "{error}");
}
