//! How long a node with many applications takes to open.
//!
//! ```text
//! cargo bench --bench open             # 1,000,000 applications
//! cargo bench --bench open -- 200000
//! ```
//!
//! Every application has an id, a name and a user key, and has counted a metric with two above it, all in seven periods.
//! A checkpoint has nearly all of it; the journal after it is as short as a node at rest has it. Files are in the page cache.
//! Below the whole, its parts, one after the other; a start does the first of them on two threads.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

#[path = "applications/mod.rs"]
#[allow(dead_code, reason = "a part of it is of use here")]
mod applications;

use std::path::Path;
use std::time::{Duration, Instant};

use applications::{PER_COMMAND, add, create};
use tollgate::config::{Config, Settings};
use tollgate::engine::Recovery;
use tollgate::journal::catalog::Decoder;
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::system_clock;
use tollgate::node::{self, Node};
use tollgate::store::{Part, StoreError, open_latest};

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;

fn config(dir: &Path) -> Config {
    let settings = Settings {
        data_dir: Some(dir.to_owned()),
        http: Some("127.0.0.1:0".into()),
        tcp: Some("off".into()),
        ..Settings::default()
    };
    Config::load(settings, []).unwrap()
}

fn generation(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("checkpoints/CURRENT")).unwrap_or_default()
}

/// Makes the directory, and lets a node write a checkpoint of it all.
fn fill(runtime: &tokio::runtime::Runtime, dir: &Path, applications: usize) {
    let mut config = config(dir);
    let checkpoint_bytes = std::mem::replace(&mut config.checkpoint_bytes, u64::MAX);
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    let made = create(node.engine());
    for from in (0..applications).step_by(PER_COMMAND) {
        add(node.engine(), made, from..applications.min(from + PER_COMMAND), system_clock()());
    }
    runtime.block_on(node.stop()).unwrap();
    let before = generation(dir);
    config.checkpoint_bytes = checkpoint_bytes.min(2 << 20);
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    while generation(dir) == before {
        std::thread::sleep(Duration::from_millis(50));
    }
    runtime.block_on(node.stop()).unwrap();
}

fn part<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = work();
    println!("  {name:40} {:8.1?}", start.elapsed());
    made
}

fn parts(dir: &Path) {
    let checkpoint = part("copying the checkpoint, checking its sums", || {
        open_latest(&dir.join("checkpoints")).unwrap().unwrap()
    });
    let meta = *checkpoint.meta();
    let (mut catalog, mut images) = (Vec::new(), Vec::new());
    part("reading pieces", || {
        let keep = |part| {
            match part {
                Part::Catalog(bytes) => catalog.push(bytes),
                Part::Counters(stamp, some) => images.extend(some.into_iter().map(|image| (stamp, image))),
            }
            Ok::<_, StoreError>(())
        };
        checkpoint.read(keep).unwrap();
    });
    let mut changes = Vec::new();
    part("decoding the catalog", || {
        let mut decoder = Decoder::default();
        for bytes in &catalog {
            decoder.take(bytes, |change, next_id| changes.push((change, next_id))).unwrap();
        }
        decoder.finish().unwrap();
    });
    let mut recovery = Recovery::default();
    part("the catalog", || {
        changes.into_iter().for_each(|(change, next_id)| recovery.change(change, next_id))
    });
    recovery.catalog_is(meta.catalog_version, meta.catalog);
    part("the counters", || images.iter().for_each(|(stamp, image)| recovery.counters(*stamp, image)));
    let begin: Sequence = meta.begin;
    let (journal, _) = part("the journal", || {
        let options = Options { node_id: Some(meta.node_id), term_after: meta.term, ..Options::default() };
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        Journal::open(&dir.join("journal"), options, begin, visit).unwrap()
    });
    let engine = part("indexes and credentials", || recovery.finish(journal, [1; 16]));
    part("letting go of it", || drop((engine, checkpoint, images)));
}

fn main() {
    let wanted = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let applications: usize = wanted.unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("data");
    let runtime = node::runtime().unwrap();
    fill(&runtime, &path, applications);
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let node = runtime.block_on(Node::start(&config(&path), system_clock())).unwrap();
            let opened = start.elapsed();
            // Beside ours there is what the node made for a first try.
            assert!(node.engine().catalog().applications.iter().count() >= applications);
            runtime.block_on(node.stop()).unwrap();
            opened
        })
        .collect();
    times.sort();
    println!("{applications} applications open in {:.1?} ({times:.1?})", times[ROUNDS / 2]);
    parts(&path);
}
