//! What an application costs in memory: its counters, indexes, credentials, plan and state, also while a checkpoint is
//! written.
//!
//! ```text
//! cargo bench --bench memory             # 1,000,000 applications
//! cargo bench --bench memory -- 200000
//! ```
//!
//! Every application has an id, a name and a user key, and has counted a metric with two above it, all in seven periods.
//! Resident memory is the process's (`VmRSS`), with what allocator, journal and checkpoint keep.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

#[path = "applications/mod.rs"]
mod applications;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use applications::{PER_COMMAND, add, create, resident_bytes};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence, catalog as codec};
use tollgate::listener::system_clock;
use tollgate::store::{CheckpointWriter, Meta};

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the node makes one.
fn checkpoint(engine: &Engine, root: &Path) {
    let mut writer = CheckpointWriter::create(root, None).unwrap();
    let begin = engine.copy_counters(|stamp, images| writer.put_counters(stamp, images)).unwrap();
    let (catalog, at) = engine.copy_catalog();
    let mut records = Vec::new();
    for change in catalog.changes() {
        records.clear();
        codec::encode(std::slice::from_ref(&change), catalog.next_id, &mut records);
        writer.put_catalog(&records).unwrap();
    }
    engine.flush(system_clock()()).unwrap();
    let meta = Meta {
        begin,
        catalog: at,
        engine_time: engine.now(system_clock()()),
        next_id: catalog.next_id,
        catalog_version: catalog.version,
        node_id: engine.journal().node_id(),
        term: engine.journal().term(),
    };
    writer.finish(meta).unwrap();
}

/// Runs `work` and returns the most memory that was resident meanwhile.
fn most_during(work: impl FnOnce() + Send) -> u64 {
    let (most, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(resident_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    most.into_inner()
}

fn main() {
    let wanted = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let applications: usize = wanted.unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(".").unwrap();
    let mut recovery = Recovery::default();
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let (journal, _) =
        Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), visit).unwrap();
    let engine = recovery.finish(journal, [1; 16]);
    let made = create(&engine);
    let before = resident_bytes();
    let start = Instant::now();
    let built = most_during(|| {
        for from in (0..applications).step_by(PER_COMMAND) {
            add(&engine, made, from..from + PER_COMMAND, system_clock()());
            engine.flush(system_clock()()).unwrap();
        }
    });
    let built_in = start.elapsed();
    let idle = resident_bytes();
    let start = Instant::now();
    let copied = most_during(|| checkpoint(&engine, &dir.path().join("checkpoints")));
    let copied_in = start.elapsed();
    let per_application = |bytes: u64| (bytes.saturating_sub(before)) / applications as u64;
    let mib = |bytes: u64| bytes >> 20;
    println!("{applications} applications                resident MiB   bytes each");
    println!("before the first                       {:8}", mib(before));
    println!(
        "at most while made ({built_in:.1?})            {:8}     {:8}",
        mib(built),
        per_application(built)
    );
    println!("made and at rest                       {:8}     {:8}", mib(idle), per_application(idle));
    println!("at most while a checkpoint is written  {:8}     {:8}", mib(copied), per_application(copied));
    println!("the checkpoint took {copied_in:.1?}");
}
