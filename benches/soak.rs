//! A week of minutes under a manual clock: memory and disk must stay flat while a node counts, checkpoints and prunes.
//!
//! ```text
//! cargo bench --bench soak             # 100,000 applications, 10,080 minutes
//! cargo bench --bench soak -- 1440     # a day of it
//! cargo bench --bench soak -- --pieces 1000000     # 600,000 applications, until a million pieces are written
//! cargo test --bench soak              # a short one, as CI has it: it looks for growth, its figures mean nothing
//! ```
//!
//! Every counter of every application is touched, then in each minute those of one in sixteen, and each minute waits until
//! all of it is on disk. The node is a whole one, with its followers. After so many minutes the soak waits for a checkpoint,
//! and when none is being made takes its measure: resident memory (`VmRSS`) and the blocks that the data directory has
//! on disk. In the end the node is started again, and every count must be exact.
//!
//! *Live data* is what is needed to go on: the newest checkpoint's records and counters, packed, and the journal after it.
//! Packed are 64 bytes for each metric that was counted, as in memory, and 33 for each application. *Pieces* are those of all
//! checkpoints, of 4 KiB at most, into which that is pressed: each is written anew, and synced, in each checkpoint.
//!
//! A week makes some hundred thousand of them. With `--pieces` the node has more applications and makes a checkpoint after
//! hardly any journal, one after the other, so that the slope can be shown over a million within minutes. What is asked for
//! is what the slope is taken over: a third more is written before, while caches and maps come to their size.
//!
//! *Huge pages* are those that the kernel makes of the allocator's memory where it may, up to 100 MiB a minute, whatever
//! the node does: 2 MiB each, with what lies unused between allocations. They are worth it, as decisions take 1.2 to 2 times
//! as long without them; but resident memory grows by that, up to a tenth, until there is nothing left to be made into them. So
//! with `--pieces` the bench begins itself anew without them, and the slope is that of what the node takes; with
//! `MIMALLOC_ALLOW_THP=1` it does not.
//!
//! The disk is to hold no more than 3 times the live data, though two generations are kept, and of each sled makes 1.8 to 3
//! times what is put in. While a third generation is written there is more.
//!
//! *History* (what was used in each hour) is kept for good, so it grows by what is used and by nothing else: a row for each application and day.
//! It is looked at by itself, and must not have more than so many bytes a row; in the end it must say what the counters say.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

#[path = "applications/mod.rs"]
mod applications;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use applications::{PER_COMMAND, add, count, create, resident_bytes};
use tollgate::config::{Config, Settings};
use tollgate::engine::{Engine, Handle};
use tollgate::journal::{Sequence, catalog as codec};
use tollgate::listener::Clock;
use tollgate::model::id::{MetricSlot, ServiceId};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::{self, Node};
use tollgate::plugin::analytics::Subject;
use tollgate::store::open_latest_in;

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Saturday 2026-11-28 00:00 UTC: a week from here has a day's end in each of its days, a week's and a month's.
const START_MS: u64 = 1_795_824_000_000;

/// How long a checkpoint may take to be made.
const PATIENCE: Duration = Duration::from_secs(120);

/// When a soak is over.
#[derive(Clone, Copy)]
enum Until {
    Minutes(u64),
    /// So many pieces were written after the first quarter of all.
    Pieces(u64),
}

impl Until {
    fn is_reached(self, minutes: u64, pieces: u64) -> bool {
        match self {
            Until::Minutes(until) => minutes >= until,
            Until::Pieces(until) => pieces / 4 * 3 >= until,
        }
    }
}

struct Plan {
    applications: usize,
    until: Until,
    /// One in so many is touched in a minute.
    touched_of: usize,
    /// After so many minutes a checkpoint is waited for.
    per_checkpoint: u64,
    checkpoint_bytes: u64,
}

const WEEK: Plan = Plan {
    applications: 100_000,
    until: Until::Minutes(10_080),
    touched_of: 16,
    per_checkpoint: 72,
    checkpoint_bytes: 3 << 20,
};
const PIECES: Plan = Plan {
    applications: 600_000,
    until: Until::Pieces(1_000_000),
    touched_of: 16,
    per_checkpoint: 6,
    // About as fine as the journal knows how much it has grown.
    checkpoint_bytes: 1_200_000,
};
const SHORT: Plan = Plan {
    applications: 4_000,
    until: Until::Minutes(800),
    touched_of: 1,
    per_checkpoint: 100,
    checkpoint_bytes: 2 << 20,
};

/// The most that the disk may hold for each byte of live data, when there is more of that than of the journal's least.
const DISK_MAX: f64 = 3.0;

/// The most that the file of the history may have for each row: 24 hours of three metrics are 150 bytes, of which a file that is written all over has some
/// multiple.
const HISTORY_ROW_BYTES_MAX: u64 = 600;

const DAY_MS: u64 = 86_400_000;

/// After so many minutes the history is waited for. A week passes in minutes here, and with as little journal for a checkpoint as here, the history writes all
/// applications' rows again after each: it would fall behind, as at no pace that a clock goes.
const HISTORY_MINUTES: u64 = 10;

/// What is measured after a checkpoint.
#[derive(Clone, Copy)]
struct Sample {
    pieces: u64,
    memory: u64,
    huge: u64,
    checkpoints: u64,
    journal: u64,
    others: u64,
    history: u64,
    live: u64,
}

impl Sample {
    /// What is to stay flat.
    fn disk(&self) -> u64 {
        self.checkpoints + self.journal + self.others
    }
}

/// How much of the resident memory lies in huge pages.
fn huge_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kib = line.and_then(|line| line.trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Runs this command in a process without huge pages, unless the operator or a process before has said how it is to be.
fn without_huge_pages() {
    const SWITCH: &str = "MIMALLOC_ALLOW_THP";
    if std::env::var_os(SWITCH).is_some() {
        return;
    }
    // The allocator reads it when a process begins.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let status = again.args(std::env::args_os().skip(1)).env(SWITCH, "0").status().unwrap();
    std::process::exit(status.code().unwrap_or(1));
}

/// Bytes that a directory's files take on disk. Files may go while it is looked at.
fn on_disk(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let bytes_of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(bytes_of).sum()
}

/// The generation that `CURRENT` names; 0 before the first.
fn generation(dir: &Path) -> u64 {
    let text = std::fs::read_to_string(dir.join("checkpoints/CURRENT")).unwrap_or_default();
    text.split(' ').nth(2).map_or(0, |number| number.parse().unwrap())
}

/// The pieces of a generation, the sequence that it begins at, from its manifest: bytes 48 and 88.
fn manifest(dir: &Path, generation: u64) -> (u64, Sequence) {
    let bytes = std::fs::read(dir.join(format!("checkpoints/{generation:08}/MANIFEST"))).unwrap();
    let u32_at = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    (u32_at(88) + u32_at(92), Sequence(u32_at(48) | u32_at(52) << 32))
}

/// Catalog and counters, packed as checkpoints have them, without what sled adds.
fn packed_bytes(engine: &Engine) -> u64 {
    let (catalog, _) = engine.copy_catalog();
    let mut records = Vec::new();
    let mut bytes = 0;
    for change in catalog.changes() {
        records.clear();
        codec::encode(std::slice::from_ref(&change), catalog.next_id, &mut records);
        bytes += records.len() as u64;
    }
    let counters = engine.copy_counters(|_, images| {
        bytes += images.iter().map(|image| 33 + 64 * image.cells.len() as u64).sum::<u64>();
        Ok::<_, std::convert::Infallible>(())
    });
    counters.unwrap();
    bytes
}

struct Soak<'p> {
    plan: &'p Plan,
    dir: &'p Path,
    now: Arc<AtomicU64>,
    service: Option<ServiceId>,
    handles: Vec<Handle>,
    /// How often each was counted.
    counted: Vec<u64>,
    packed: u64,
    generation: u64,
    pieces: u64,
}

impl Soak<'_> {
    fn start(&self) -> Node {
        let settings = Settings {
            data_dir: Some(self.dir.to_owned()),
            http: Some("127.0.0.1:0".into()),
            tcp: Some("off".into()),
            ..Settings::default()
        };
        let mut config = Config::load(settings, []).unwrap();
        config.checkpoint_bytes = self.plan.checkpoint_bytes;
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || UnixMillis(now.load(Ordering::Relaxed)));
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(Node::start(&config, clock)).unwrap()
    }

    fn fill(&mut self, engine: &Engine) {
        let made = create(engine);
        self.service = Some(made.0);
        for from in (0..self.plan.applications).step_by(PER_COMMAND) {
            let numbers = from..self.plan.applications.min(from + PER_COMMAND);
            self.handles.extend(add(engine, made, numbers, self.time()));
            engine.durable_blocking(engine.ticket()).unwrap();
        }
        self.counted = vec![1; self.handles.len()];
        self.packed = packed_bytes(engine);
    }

    fn time(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::Relaxed))
    }

    fn minute(&mut self, engine: &Engine, minute: u64) {
        self.now.fetch_add(60_000, Ordering::Relaxed);
        let first = usize::try_from(minute).unwrap() % self.plan.touched_of;
        let touched: Vec<_> = (first..self.handles.len()).step_by(self.plan.touched_of).collect();
        for some in touched.chunks(1000) {
            let mut moment = engine.moment(self.time());
            for at in some {
                count(&mut moment, self.handles[*at]);
                self.counted[*at] += 1;
            }
        }
        engine.durable_blocking(engine.ticket()).unwrap();
    }

    /// Whether there is a checkpoint that was not there at the last sample, and none is being made or due.
    fn is_at_rest(&self, engine: &Engine) -> bool {
        let newest = generation(self.dir);
        if newest == self.generation {
            return false;
        }
        let (_, begin) = manifest(self.dir, newest);
        let names = std::fs::read_dir(self.dir.join("checkpoints")).unwrap().count();
        // `CURRENT` and two generations.
        names <= 3 && engine.journal().bytes_since(begin) < self.plan.checkpoint_bytes
    }

    /// Waits for another checkpoint and measures.
    fn sample(&mut self, engine: &Engine) -> Sample {
        let since = Instant::now();
        while !self.is_at_rest(engine) {
            assert!(since.elapsed() < PATIENCE, "no checkpoint is made");
            std::thread::sleep(Duration::from_millis(20));
        }
        let newest = generation(self.dir);
        let (pieces, begin) = manifest(self.dir, newest);
        // While it was filled they had fewer: of those the last alone is counted.
        let made = if self.generation == 0 { 1 } else { newest - self.generation };
        self.pieces += pieces * made;
        self.generation = newest;
        Sample {
            pieces: self.pieces,
            memory: resident_bytes(),
            huge: huge_bytes(),
            checkpoints: on_disk(&self.dir.join("checkpoints")),
            journal: on_disk(&self.dir.join("journal")),
            others: on_disk(&self.dir.join("shelves")) - self.history(),
            history: self.history(),
            live: self.packed + engine.journal().bytes_since(begin),
        }
    }

    fn history(&self) -> u64 {
        std::fs::metadata(self.dir.join("shelves/analytics")).map_or(0, |it| it.blocks() * 512)
    }

    /// The most rows that the history can have: one for each application and day, and one for each day.
    fn history_rows(&self) -> u64 {
        let days = (self.time().0 - START_MS) / DAY_MS + 2;
        (self.handles.len() as u64 + 1) * days
    }

    fn check(&self, node: &Node) {
        let engine = node.engine();
        while node.analytics().following().catch_up().is_err() {}
        let catalog = engine.catalog();
        // Beside ours there is what the node made for a first try.
        let ours = catalog.applications.iter().filter(|(_, it)| Some(it.service) == self.service);
        let applications: Vec<_> = ours.map(|(_, application)| application.id).collect();
        assert_eq!(applications.len(), self.counted.len());
        for (application, counted) in applications.into_iter().zip(&self.counted) {
            let image = engine.counters_of(application, self.time()).unwrap();
            let counts = image.cells.iter().map(|cell| cell.counts[Period::Eternity as usize]);
            assert_eq!(counts.collect::<Vec<_>>(), [*counted; 3], "{application}");
            let subject = Subject::Application(self.service.unwrap(), application);
            let sums = (0..3)
                .map(|slot| node.analytics().sums(subject, MetricSlot(slot), &[0, u32::MAX]).unwrap()[0]);
            assert_eq!(
                sums.collect::<Vec<_>>(),
                [i64::try_from(*counted).unwrap(); 3],
                "the history of {application}"
            );
        }
        let all = i64::try_from(self.counted.iter().sum::<u64>()).unwrap();
        let whole = Subject::Service(self.service.unwrap());
        let sums = node.analytics().sums(whole, MetricSlot(0), &[0, u32::MAX]).unwrap();
        assert_eq!(sums, [all], "the history of the service");
    }
}

/// Growth over the samples, as a straight line through them says it.
fn growth(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> f64 {
    let n = samples.len() as f64;
    let (xs, ys): (Vec<_>, Vec<_>) =
        samples.iter().map(|sample| (sample.pieces as f64, of(sample) as f64)).unzip();
    let (x_mean, y_mean) = (xs.iter().sum::<f64>() / n, ys.iter().sum::<f64>() / n);
    let covariance: f64 = xs.iter().zip(&ys).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let variance: f64 = xs.iter().map(|x| (x - x_mean).powi(2)).sum();
    covariance / variance * (xs[xs.len() - 1] - xs[0])
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn report(samples: &[Sample]) {
    println!(
        "      pieces   memory     huge  checkpoints  journal  shelves     live  disk/live  history   (MiB)"
    );
    for sample in samples.iter().step_by(samples.len().div_ceil(16)).chain(samples.last()) {
        println!(
            "{:12} {:8.1} {:8.1} {:12.1} {:8.1} {:8.1} {:8.1} {:10.2} {:8.1}",
            sample.pieces,
            mib(sample.memory),
            mib(sample.huge),
            mib(sample.checkpoints),
            mib(sample.journal),
            mib(sample.others),
            mib(sample.live),
            sample.disk() as f64 / sample.live as f64,
            mib(sample.history)
        );
    }
}

/// What must hold of the samples after the first quarter, in which caches and maps come to their size.
fn hold(samples: &[Sample], is_long: bool) {
    let late = &samples[samples.len() / 4..];
    let most = |of: fn(&Sample) -> u64| late.iter().map(of).max().unwrap();
    let (memory, disk) = (most(|it| it.memory), most(Sample::disk));
    let (memory_growth, disk_growth) = (growth(late, |it| it.memory), growth(late, Sample::disk));
    let pieces = late[late.len() - 1].pieces - late[0].pieces;
    println!(
        "over {pieces} pieces: memory {:+.1} of {:.1} MiB, disk {:+.1} of {:.1} MiB",
        memory_growth / f64::from(1 << 20),
        mib(memory),
        disk_growth / f64::from(1 << 20),
        mib(disk)
    );
    // An allocator's noise; and segments of the journal, of which there is one more or less.
    let (memory_slack, disk_slack) = (f64::from(8 << 20), f64::from(3 * (16 << 20)));
    assert!(memory_growth < memory as f64 / 20.0 + memory_slack, "memory grows");
    assert!(disk_growth < disk as f64 / 20.0 + disk_slack, "the disk fills");
    let ratio = late.iter().map(|it| it.disk() as f64 / it.live as f64).fold(0.0, f64::max);
    println!("disk: {ratio:.2} times the live data at most, {DISK_MAX} being allowed");
    // A few files of sled's and of the journal's least size are a multiple of little data.
    assert!(!is_long || ratio <= DISK_MAX, "the disk holds too much beside the live data");
}

/// What the command line asks for.
fn plan() -> Plan {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let number = words.iter().find_map(|word| word.parse().ok());
    if !words.iter().any(|word| word == "--bench") {
        SHORT
    } else if words.iter().any(|word| word == "--pieces") {
        Plan { until: number.map_or(PIECES.until, Until::Pieces), ..PIECES }
    } else {
        Plan { until: number.map_or(WEEK.until, Until::Minutes), ..WEEK }
    }
}

fn main() {
    let plan = &plan();
    if matches!(plan.until, Until::Pieces(_)) {
        without_huge_pages();
    }
    let is_short = plan.applications == SHORT.applications;
    let runtime = node::runtime().unwrap();
    let _inside = runtime.enter();
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("data");
    let started = Instant::now();
    let mut soak = Soak {
        plan,
        dir: &path,
        now: Arc::new(AtomicU64::new(START_MS)),
        service: None,
        handles: Vec::new(),
        counted: Vec::new(),
        packed: 0,
        generation: 0,
        pieces: 0,
    };
    let node = soak.start();
    soak.fill(node.engine());
    let mut samples = Vec::new();
    let mut minutes = 0;
    while !plan.until.is_reached(minutes, soak.pieces) {
        minutes += 1;
        soak.minute(node.engine(), minutes);
        if minutes.is_multiple_of(HISTORY_MINUTES) {
            while node.analytics().following().catch_up().is_err() {}
        }
        if minutes.is_multiple_of(plan.per_checkpoint) {
            samples.push(soak.sample(node.engine()));
        }
    }
    soak.check(&node);
    runtime.block_on(node.stop()).unwrap();
    report(&samples);
    println!(
        "{minutes} minutes of {} applications with {} checkpoints took {:.1?}",
        plan.applications,
        soak.generation,
        started.elapsed()
    );
    let node = soak.start();
    soak.check(&node);
    runtime.block_on(node.stop()).unwrap();
    // What was made last is whole, and no copy of it is left behind.
    let reading = dir.path().join("reading");
    assert!(open_latest_in(&path.join("checkpoints"), &reading).unwrap().unwrap().passed_over().is_empty());
    hold(&samples, !is_short);
    let (bytes, rows) = (soak.history(), soak.history_rows());
    println!("history: {:.1} MiB, {} bytes for each of at most {rows} rows", mib(bytes), bytes / rows);
    assert!(is_short || bytes <= rows * HISTORY_ROW_BYTES_MAX, "the history takes more than its rows");
}
