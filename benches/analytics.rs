//! What the history of usage costs: taking in what the journal has, writing it, and answering from it.
//!
//! ```text
//! cargo bench --bench analytics
//! ```
//!
//! One service has 20,000 applications; on each of 31 days each of them used two metrics, in four hours. The journal's entries are written
//! straight into it, as a flush writes them, so nothing of a decision is in the figures. The thread that follows does all of it: CPU time and time on
//! the clock are both told, and what one amount costs. Reading is timed as an answer asks for it, without HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::engine::{Engine, Recovery};
use tollgate::journal::entry::Kind;
use tollgate::journal::usage::UsageEncoder;
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::model::draft::{NewApplication, NewService};
use tollgate::model::id::{ApplicationId, MetricSlot, ServiceId};
use tollgate::model::record::BackendVersion;
use tollgate::model::time::{Minute, UnixMillis};
use tollgate::plugin::analytics::{Analytics, Subject};
use tollgate::store::Shelf;

/// The node's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPLICATIONS: usize = 20_000;
const DAYS: u32 = 31;
const HOURS_USED: u32 = 4;
const SLOTS: u32 = 2;
const FIRST_DAY: u32 = 20_000;
const READS: usize = 101;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = |_, _, _| Ok::<(), Infallible>(());
    let (journal, _) =
        Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), nothing).unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
    let flusher = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || engine.run_flusher(|| UnixMillis(1), |_| {}))
    };
    let (service, applications) = catalog(&engine);
    let path = dir.path().join("shelf");
    let (analytics, thread) = Analytics::start(&engine, Shelf::open(&path).unwrap()).unwrap();
    caught_up(&analytics);
    take_in(&engine, &analytics, &applications);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let rows = APPLICATIONS as u64 * u64::from(DAYS);
    println!("on disk: {} MiB, {} bytes a row of {SLOTS} metrics", bytes >> 20, bytes / rows);
    read(&analytics, service, &applications);
    drop(analytics);
    thread.join().unwrap();
    engine.stop_flusher();
    flusher.join().unwrap().unwrap();
}

fn catalog(engine: &Engine) -> (ServiceId, Vec<ApplicationId>) {
    let build = |draft: &mut tollgate::model::draft::Draft<'_>| {
        let tenant = draft.create_tenant("t", "key")?;
        let backend_version = BackendVersion::AppId;
        let service =
            draft.create_service(&NewService { tenant, external_id: None, name: "s", backend_version })?;
        let plan = draft.create_plan(service, None, "p")?;
        let made = (0..APPLICATIONS).map(|at| {
            let name = format!("a{at}");
            let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
            draft.create_application(&new)
        });
        Ok((service, made.collect::<Result<_, _>>()?))
    };
    engine.change(build).unwrap().0
}

/// Writes the usage of all days, and waits until it is taken in and written.
fn take_in(engine: &Engine, analytics: &Analytics, applications: &[ApplicationId]) {
    let cpu = thread_cpu();
    let (began, mut amounts) = (Instant::now(), 0_u64);
    for day in 0..DAYS {
        for hour in 0..HOURS_USED {
            let minute = Minute(((FIRST_DAY + day) * 24 + 8 + hour) * 60);
            let append = |out: &mut Vec<u8>| {
                let mut usage = UsageEncoder::new(out, 1);
                for application in applications {
                    usage.item(*application, minute, minute);
                    (0..SLOTS).for_each(|slot| usage.delta(MetricSlot(slot), 3));
                }
                usage.finish();
            };
            engine.journal().append(Kind::Usage, append).unwrap();
            engine.durable_blocking(engine.ticket()).unwrap();
            amounts += applications.len() as u64 * u64::from(SLOTS);
        }
    }
    caught_up(analytics);
    // What is gathered last is written within so long.
    std::thread::sleep(Duration::from_secs(17));
    let took = began.elapsed() - Duration::from_secs(17);
    let cpu = thread_cpu() - cpu;
    let each = cpu / u32::try_from(amounts).unwrap();
    println!(
        "{amounts} amounts taken in and written: {took:.1?} on the clock, {cpu:.1?} of CPU, {each:?} each"
    );
}

fn caught_up(analytics: &Analytics) {
    while analytics.following().catch_up().is_err() {}
}

/// What the plugin's thread used of a core so far.
fn thread_cpu() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        if let Some(rest) = stat.split_once("(analytics) ").map(|(_, rest)| rest) {
            // User and system time: fields 14 and 15, the state being the third.
            let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
            ticks += fields[11] + fields[12];
        }
    }
    // A hundred to the second, on every Linux there is.
    Duration::from_millis(ticks * 10)
}

fn read(analytics: &Analytics, service: ServiceId, applications: &[ApplicationId]) {
    let end = FIRST_DAY + DAYS;
    let days: Vec<u32> = (FIRST_DAY..=end).map(|day| day * 24).collect();
    let year: Vec<u32> = (end - 365..=end).map(|day| day * 24).collect();
    let hours: Vec<u32> = ((end - 1) * 24..=end * 24).collect();
    let one = |at: usize| Subject::Application(service, applications[at * 7 % applications.len()]);
    let whole = Subject::Service(service);
    let sums = |of, bounds: &[u32]| analytics.sums(of, MetricSlot(0), bounds).unwrap().iter().sum::<i64>();
    let all = i64::from(DAYS * HOURS_USED) * 3;
    measure("an application's month by day", READS, |at| assert_eq!(sums(one(at), &days), all));
    measure("an application's year by day", READS, |at| assert_eq!(sums(one(at), &year), all));
    measure("an application's day by hour", READS, |at| {
        assert_eq!(sums(one(at), &hours), all / i64::from(DAYS))
    });
    let of_all = all * applications.len() as i64;
    measure("the service's year by day", READS, |_| assert_eq!(sums(whole, &year), of_all));
    let by = |from: u32| analytics.by_application(service, MetricSlot(0), from * 24..end * 24).unwrap();
    measure("all applications, a day", 11, |_| assert_eq!(by(end - 1).len(), applications.len()));
    measure("all applications, a month", 5, |_| assert_eq!(by(FIRST_DAY).len(), applications.len()));
}

fn measure(what: &str, times: usize, mut read: impl FnMut(usize)) {
    let mut took: Vec<_> = (0..times)
        .map(|at| {
            let began = Instant::now();
            read(at);
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("{what}: {:.3?}, at most {:.3?}", took[times / 2], took[times - 1]);
}
