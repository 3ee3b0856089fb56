//! What a decision costs in process, against what cannot be avoided.
//!
//! ```text
//! cargo bench --bench decide            # all rows
//! cargo bench --bench decide -- A hot   # those whose name has all these words
//! ```
//!
//! 100,000 applications, drawn uniformly at random or by Zipf's law; a journal that flushes every 50 ms meanwhile; one
//! look at clock and catalog for 64 calls, as a server has it that reads 64 frames at once. All authreps, all admitted,
//! each answer asked for its tightest limit.
//!
//! - *Shape A*: three metrics in a chain, three limits on each; a call names the lowest, so it reads nine limits and
//!   counts three metrics in all seven periods.
//! - *Shape B*: 200 metrics; a call names five of them, with four limits on each.
//!
//! The floor of a call by handle is a loop that takes the same locks and reads and writes the same bytes of blocks of the
//! same shape, in the same order, and does nothing else. The floor of a call by key is a bare lookup of the same key in a
//! map of the same type, together with a call by handle.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

mod floor;

use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::time::Instant;

use dashmap::DashMap;
use floor::Floor;
use siphasher::sip128::{Hasher128, SipHasher24};
use smallvec::SmallVec;
use tollgate::engine::request::{Answer, AuthRequest, Call, Credentials, Usage};
use tollgate::engine::{BindRequest, BoundRequest, Engine, Handle, Recovery, Scope, WARM_MAX, Whom};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::{Clock, system_clock};
use tollgate::model::amount::Effect;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{MetricSlot, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPLICATIONS: usize = 100_000;
const CALLS: usize = 512 * 1024;
const ROUNDS: usize = 9;
/// Calls for which clock and catalog are looked at once.
const BATCH: usize = 64;

/// What is counted and limited.
struct Shape {
    name: &'static str,
    metrics: u32,
    /// Whether each metric lies below the one before.
    chain: bool,
    /// The slots that a call names.
    named: &'static [u32],
    /// The slots that a call touches, each with limits of these periods.
    touched: &'static [u32],
    periods: &'static [Period],
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "A",
        metrics: 3,
        chain: true,
        named: &[2],
        touched: &[0, 1, 2],
        periods: &[Period::Month, Period::Day, Period::Minute],
    },
    Shape {
        name: "B",
        metrics: 200,
        chain: false,
        named: &[3, 50, 97, 144, 191],
        touched: &[3, 50, 97, 144, 191],
        periods: &[Period::Year, Period::Day, Period::Hour, Period::Minute],
    },
];

fn key(number: usize) -> String {
    format!("user-key-{number:023}")
}

fn create(draft: &mut Draft<'_>, shape: &Shape) -> Result<ServiceId, CommandError> {
    let tenant = draft.create_tenant("bench", "provider")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some("bench"), name: "bench", backend_version };
    let service = draft.create_service(&new)?;
    let mut ids = Vec::new();
    for number in 0..shape.metrics {
        let parent = if shape.chain { ids.last().copied() } else { None };
        ids.push(draft.create_metric(service, &format!("metric{number}"), parent)?);
    }
    let plan = draft.create_plan(service, None, "Basic")?;
    for slot in shape.touched {
        for period in shape.periods {
            draft.set_limit(plan, ids[*slot as usize], *period, 1_000_000_000)?;
        }
    }
    for number in 0..APPLICATIONS {
        let name = format!("app{number}");
        let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new(&key(number))))?;
    }
    Ok(service)
}

/// A node's engine, and what its callers know.
struct Subject {
    engine: Engine,
    service: ServiceId,
    keys: Vec<String>,
    handles: Vec<Handle>,
    slots: Vec<(MetricSlot, Effect)>,
    names: Vec<String>,
    clock: Clock,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn new(shape: &Shape) -> Subject {
        let dir = tempfile::tempdir().unwrap();
        let mut recovery = Recovery::default();
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let (journal, _) = Journal::open(dir.path(), Options::default(), Sequence(0), visit).unwrap();
        let engine = recovery.finish(journal, [1; 16]);
        let service = engine.change(|draft| create(draft, shape)).unwrap().0;
        let clock = system_clock();
        let keys: Vec<String> = (0..APPLICATIONS).map(key).collect();
        let credentials = Credentials { service: Some(service), ..Credentials::default() };
        let bind = |key: &String| {
            let user_key = Some(key.as_str());
            let request = BindRequest { credentials, app_id: None, user_key, app_key: None, metrics: &[] };
            engine.moment(clock()).bind(&request).unwrap().unwrap().handle
        };
        let handles = keys.iter().map(bind).collect();
        let slots = shape.named.iter().map(|slot| (MetricSlot(*slot), Effect::Add(1))).collect();
        let names = shape.named.iter().map(|slot| format!("metric{slot}")).collect();
        Subject { engine, service, keys, handles, slots, names, clock, _dir: dir }
    }

    fn by_handle(&self, order: &[Handle]) {
        let request = BoundRequest {
            call: Call::Authrep,
            usage: &self.slots,
            flat_usage: false,
            log_code: None,
            referrer: None,
            all_reports: false,
        };
        for batch in order.chunks(BATCH) {
            let mut moment = self.engine.moment((self.clock)());
            for (at, handle) in batch.iter().enumerate() {
                if at % WARM_MAX == 0 {
                    let next: SmallVec<[_; WARM_MAX]> =
                        batch[at..].iter().take(WARM_MAX).map(|it| Whom::Bound(*it)).collect();
                    moment.warm(&next);
                }
                let remaining = moment.bound(*handle, Scope::Service(self.service), &request, remaining);
                assert_ne!(black_box(remaining), Ok(None));
            }
        }
    }

    fn by_key(&self, order: &[u32]) {
        let usage: Vec<_> = self.names.iter().map(|name| (name.as_str(), Effect::Add(1))).collect();
        for batch in order.chunks(BATCH) {
            let mut moment = self.engine.moment((self.clock)());
            for (at, number) in batch.iter().enumerate() {
                if at % WARM_MAX == 0 {
                    let key = |number: &u32| Whom::UserKey {
                        service: self.service,
                        text: &self.keys[*number as usize],
                    };
                    let next: SmallVec<[_; WARM_MAX]> = batch[at..].iter().take(WARM_MAX).map(key).collect();
                    moment.warm(&next);
                }
                let request = AuthRequest {
                    call: Call::Authrep,
                    oauth: false,
                    credentials: Credentials { service: Some(self.service), ..Credentials::default() },
                    app_id: None,
                    user_key: Some(&self.keys[*number as usize]),
                    app_key: None,
                    referrer: None,
                    redirect: None,
                    usage: Usage::Amounts(&usage),
                    log_code: None,
                    flat_usage: false,
                    no_body: true,
                };
                let remaining = moment.authorize(&request, remaining);
                assert_ne!(black_box(remaining), Ok(None));
            }
        }
    }
}

/// How many such calls are left; `None` if it was denied.
fn remaining(answer: &Answer<'_>) -> Option<u64> {
    if answer.denial.is_some() {
        return None;
    }
    answer.binding()?.remaining
}

/// Hashes what is uniform already.
#[derive(Default)]
struct Truncate(u64);

impl Hasher for Truncate {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("hashed as one u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[derive(PartialEq, Eq)]
struct Fingerprint([u64; 2]);

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The directory's map, without a directory: from keyed fingerprints to values as large.
struct Lookup(DashMap<Fingerprint, u64, BuildHasherDefault<Truncate>>);

fn fingerprint(kind: u8, key: &str) -> Fingerprint {
    let mut hasher = SipHasher24::new_with_key(&[1; 16]);
    let mut head = [kind; 17];
    head[1..9].copy_from_slice(&7_u64.to_le_bytes());
    head[9..].copy_from_slice(&(key.len() as u64).to_le_bytes());
    hasher.write(&head);
    hasher.write(key.as_bytes());
    let hash = hasher.finish128();
    Fingerprint([hash.h1, hash.h2])
}

impl Lookup {
    fn new(keys: &[String]) -> Lookup {
        let mut map = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), 1024);
        map.extend(keys.iter().zip(0..).map(|(key, number)| (fingerprint(6, key), number)));
        // Applications have an id too.
        map.extend((0..keys.len()).map(|number| (fingerprint(5, &format!("app{number}")), number as u64)));
        Lookup(map)
    }

    fn run(&self, keys: &[String], order: &[u32]) {
        for number in order {
            black_box(self.0.get(&fingerprint(6, &keys[*number as usize])).map(|it| *it));
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn uniform(random: &mut Random) -> Vec<u32> {
    (0..CALLS).map(|_| (random.next() % APPLICATIONS as u64) as u32).collect()
}

/// By Zipf's law with exponent 1; which application is how popular has nothing to do with where it lies.
fn zipf(random: &mut Random) -> Vec<u32> {
    let mut places: Vec<u32> = (0..APPLICATIONS as u32).collect();
    for at in (1..places.len()).rev() {
        places.swap(at, (random.next() % (at as u64 + 1)) as usize);
    }
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=APPLICATIONS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let draw = |random: &mut Random| {
        let at = random.next() as f64 / u64::MAX as f64 * sum;
        places[sums.partition_point(|upto| *upto < at).min(APPLICATIONS - 1)]
    };
    (0..CALLS).map(|_| draw(random)).collect()
}

/// Nanoseconds per call of `run`.
fn time(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn measure(name: &str, shape: &Shape, subject: &Subject, floor: &Floor, lookup: &Lookup, order: &[u32]) {
    // Every block has its cells, every page is there.
    let all: Vec<u32> = (0..APPLICATIONS as u32).collect();
    floor.run(&all);
    subject.by_handle(&subject.handles);
    subject.by_key(&all);
    let handles: Vec<_> = order.iter().map(|number| subject.handles[*number as usize]).collect();
    let mut rows: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let base = time(|| floor.run(order));
        let handle = time(|| subject.by_handle(&handles));
        let find = time(|| lookup.run(&subject.keys, order));
        let key = time(|| subject.by_key(order));
        for (row, value) in
            rows.iter_mut().zip([base, handle, find, key, handle / base, key / (find + handle)])
        {
            row.push(value);
        }
    }
    let [base, handle, find, key, by_floor, by_sum] = rows.map(median);
    println!(
        "{:1} {name:8} {by_floor:14.2} {by_sum:20.2} {base:8.0} {handle:8.0} {find:8.0} {key:8.0}",
        shape.name
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "{CALLS} calls a round, {ROUNDS} rounds, {APPLICATIONS} applications; medians, nanoseconds per call"
    );
    println!("               handle/floor   key/(lookup+handle)    floor   handle   lookup      key");
    for shape in &SHAPES {
        let subject = Subject::new(shape);
        let floor = Floor::new(APPLICATIONS, shape.touched.len(), shape.periods);
        let lookup = Lookup::new(&subject.keys);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let orders =
            [("uniform", uniform(&mut random)), ("zipf", zipf(&mut random)), ("one", vec![7; CALLS])];
        std::thread::scope(|scope| {
            let clock = &subject.clock;
            let flusher = scope.spawn(|| subject.engine.run_flusher(|| clock(), |error| panic!("{error}")));
            for (name, order) in &orders {
                let wanted = |word: &String| *word == shape.name || word == name;
                if words.iter().all(wanted) {
                    measure(name, shape, &subject, &floor, &lookup, order);
                }
            }
            subject.engine.stop_flusher();
            flusher.join().unwrap().unwrap();
        });
    }
}
