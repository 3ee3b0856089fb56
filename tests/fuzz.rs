//! Fuzzing by what a stable compiler can build: the functions of `fuzz/src`, fed with mutations of good inputs.
//!
//! ```text
//! cargo test --test fuzz                                     one second for each target
//! cargo test --test fuzz -- --seconds 60                     a minute for each
//! cargo test --test fuzz -- --target form --input FILE       one input once more
//! ```
//!
//! Targets share the cores, one thread each. Nothing tells the mutator what its inputs reach, as libFuzzer is told:
//! it starts from inputs that are good (a real journal among them), knows the words of each format, and is quick.
//! What is found in `fuzz/corpus` is mutated too. An input that fails is kept in `fuzz/artifacts`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "fuzz/mutator.rs"]
mod mutator;
#[path = "fuzz/seeds.rs"]
mod seeds;
mod support;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mutator::Mutator;
use targets::{TARGETS, Target};

/// An input that takes longer hangs: all are small.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// What a thread is at, for whoever watches.
type Watched = Mutex<Option<(Target, Vec<u8>, Instant)>>;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |flag| arguments.iter().position(|it| it == flag).and_then(|at| arguments.get(at + 1)).cloned();
    let wanted = value("--target");
    let chosen: Vec<Target> =
        TARGETS.into_iter().filter(|(name, _)| wanted.as_deref().is_none_or(|it| it == *name)).collect();
    assert!(!chosen.is_empty(), "there is no such target");
    if let Some(input) = value("--input") {
        let input = std::fs::read(input).expect("--input takes a file");
        return chosen.iter().for_each(|(_, run)| run(&input));
    }
    let seconds = value("--seconds").map_or(1.0, |text| text.parse().expect("--seconds takes a number"));
    let clock = tollgate::listener::system_clock()().0;
    let seed = value("--seed").map_or(clock, |text| text.parse().expect("--seed takes a number"));
    println!("{} targets, {seconds} s each, seed {seed}", chosen.len());
    fuzz(&chosen, Duration::from_secs_f64(seconds), seed);
}

fn fuzz(chosen: &[Target], duration: Duration, seed: u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let watched: Vec<Watched> = (0..cores).map(|_| Mutex::default()).collect();
    let at_work = AtomicUsize::new(cores);
    // A failure is told once, by us.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for watched in &watched {
            scope.spawn(|| {
                while let Some(target) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    campaign(*target, duration, seed, watched);
                }
                at_work.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while at_work.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(50));
            for watched in &watched {
                if let Some((target, input, since)) = &*watched.lock().unwrap()
                    && since.elapsed() > HANGS_AFTER
                {
                    fail(*target, input, "hangs");
                }
            }
        }
    });
}

fn campaign(target: Target, duration: Duration, seed: u64, watched: &Watched) {
    let (name, run) = target;
    let mut corpus = seeds::of(name);
    corpus.extend(kept("corpus", name));
    let mut mutator = Mutator::new(seed, corpus, seeds::words(name));
    let started = Instant::now();
    let mut inputs = 0_u64;
    while started.elapsed() < duration {
        let input = mutator.next();
        *watched.lock().unwrap() = Some((target, input.to_vec(), Instant::now()));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            fail(target, input, text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panics"));
        }
        inputs += 1;
    }
    *watched.lock().unwrap() = None;
    println!("{name}: {inputs} inputs");
    assert!(inputs > 0);
}

fn folder(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(name)
}

fn kept(kind: &str, name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder(kind, name)).into_iter().flatten();
    entries.filter_map(|entry| std::fs::read(entry.ok()?.path()).ok()).collect()
}

/// Keeps the input, says what it does, and ends: the rest can wait until it is mended.
fn fail((name, _): Target, input: &[u8], what: &str) -> ! {
    let folder = folder("artifacts", name);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("crash-{:08x}", crc32fast::hash(input)));
    std::fs::write(&path, input).unwrap();
    println!("{name}: {what}\n  cargo test --test fuzz -- --target {name} --input {}", path.display());
    std::process::exit(1);
}
