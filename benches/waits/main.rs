//! How long a decision waits at worst, while snapshots, checkpoints and catalog changes run.
//!
//! ```text
//! cargo bench --bench waits
//! cargo bench --bench waits -- --seconds 30
//! ```
//!
//! A whole node in this process (journal flushed every 50 ms), 100,000 applications, three metrics in a chain with three
//! limits each. One thread decides by handle, one call after the other, uniformly at random, and times each call with the
//! clock of the machine. Meanwhile other threads do what is in the first column, without a pause between two checkpoints or
//! snapshots, and a thousand catalog changes a second.
//!
//! A call can be slow because it waits for a lock, and because the machine was doing something else: the kernel gave the
//! processor to another thread, or the hypervisor to another machine. Two things tell them apart:
//!
//! - what the kernel says that the thread stood in line for a processor (`/proc/thread-self/schedstat`) is taken off, in
//!   the column *less waiting for a processor*;
//! - the same loop without a decision, among the same disturbances, is timed in turns with it: what it shows as its
//!   longest step is no lock's fault (interrupts, other machines). It has no second column of its own: both are less
//!   waiting for a processor.
//!
//! The thread that holds a lock can lose its processor, too, and then who wants the lock waits with it: there are as many
//! busy threads here as processors on a machine with two of them. That is in the figures, and belongs there.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

mod disturbance;
mod stopwatch;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use disturbance::{Disturbance, Place};
use hdrhistogram::Histogram;
use stopwatch::Stopwatch;
use tollgate::cli::load::Random;
use tollgate::config::{Config, Settings};
use tollgate::engine::request::{Call, Credentials};
use tollgate::engine::{BindRequest, BoundRequest, Engine, Handle, Scope};
use tollgate::listener::{Clock, system_clock};
use tollgate::model::amount::Effect;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::MetricSlot;
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;
use tollgate::node::{self, Node};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPLICATIONS: usize = 100_000;
/// How often decisions and the empty loop take turns.
const TURNS: u32 = 10;

fn main() {
    let mut arguments = std::env::args().skip_while(|it| it != "--seconds").skip(1);
    let seconds = arguments.next().map_or(10.0, |text| text.parse().unwrap());
    let applications = if std::env::args().any(|it| it == "--bench") { APPLICATIONS } else { 100 };
    let duration = if applications == APPLICATIONS {
        Duration::from_secs_f64(seconds)
    } else {
        Duration::from_millis(20)
    };
    println!("{applications} applications, {duration:?} of decisions for each row; microseconds\n");
    println!(
        "                                          longest    less waiting for a processor   no decision"
    );
    println!(
        "beside                  decisions  p99.999    wait     p99.999   p99.9999     longest       longest"
    );
    use Disturbance::{Catalog, Snapshots};
    let rows: [(&str, bool, &[Disturbance]); 5] = [
        ("nothing else", false, &[]),
        ("snapshots", false, &[Snapshots]),
        ("catalog changes", false, &[Catalog]),
        ("checkpoints", true, &[]),
        ("all of them", true, &[Snapshots, Catalog]),
    ];
    for checkpoints in [false, true] {
        let subject = Subject::start(applications, checkpoints);
        for (name, _, others) in rows.iter().filter(|row| row.1 == checkpoints) {
            subject.measure(name, others, duration);
        }
        subject.stop();
    }
}

/// A node and handles to all its applications.
struct Subject {
    runtime: tokio::runtime::Runtime,
    node: Node,
    place: Place,
    handles: Vec<Handle>,
    clock: Clock,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn start(applications: usize, checkpoints: bool) -> Subject {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            http: Some("127.0.0.1:0".to_owned()),
            tcp: Some("off".to_owned()),
            ..Settings::default()
        };
        let mut config = Config::load(settings, []).unwrap();
        config.checkpoint_bytes = if checkpoints { 1 } else { u64::MAX };
        let clock = system_clock();
        let runtime = node::runtime().unwrap();
        let node = runtime.block_on(Node::start(&config, clock.clone())).unwrap();
        let engine = node.engine();
        let (place, _) = engine.change(|draft| create(draft, applications)).unwrap();
        let credentials = Credentials { service: Some(place.service), ..Credentials::default() };
        let bind = |number: usize| {
            let key = key(number);
            let user_key = Some(key.as_str());
            let request = BindRequest { credentials, app_id: None, user_key, app_key: None, metrics: &[] };
            engine.moment(clock()).bind(&request).unwrap().unwrap().handle
        };
        let handles = (0..applications).map(bind).collect();
        Subject { handles, place, clock, runtime, node, _dir: dir }
    }

    fn decide(&self, engine: &Engine, number: u64) {
        let request = BoundRequest {
            call: Call::Authrep,
            usage: &[(MetricSlot(2), Effect::Add(1))],
            flat_usage: false,
            log_code: None,
            referrer: None,
            all_reports: false,
        };
        let handle = self.handles[(number % self.handles.len() as u64) as usize];
        let mut moment = engine.moment((self.clock)());
        let scope = Scope::Service(self.place.service);
        let yes = moment.bound(handle, scope, &request, |answer| answer.denial.is_none());
        assert_eq!(black_box(yes), Ok(true));
    }

    fn measure(&self, name: &str, others: &[Disturbance], duration: Duration) {
        let engine = Arc::clone(self.node.engine());
        // Every block is there.
        (0..self.handles.len() as u64).for_each(|number| self.decide(&engine, number));
        let (mut decisions, mut nothing) = (Stopwatch::default(), Stopwatch::default());
        let mut random = Random::new(1);
        disturbance::beside(&engine, self.place, others, || {
            for _ in 0..TURNS {
                decisions.run(duration / TURNS, || self.decide(&engine, random.draw()));
                nothing.run(duration / TURNS / 2, || {
                    black_box((self.clock)());
                });
            }
        });
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |all: &Histogram<u64>, quantile| us(all.value_at_quantile(quantile));
        println!(
            "{name:20} {:12} {:8.1} {:7.0}     {:7.1}    {:7.1}     {:7.1}       {:7.1}",
            decisions.raw.len(),
            at(&decisions.raw, 0.99999),
            us(decisions.raw.max()),
            at(&decisions.less_queueing, 0.99999),
            at(&decisions.less_queueing, 0.999_999),
            us(decisions.less_queueing.max()),
            us(nothing.less_queueing.max()),
        );
    }

    fn stop(self) {
        self.runtime.block_on(self.node.stop()).unwrap();
    }
}

fn key(number: usize) -> String {
    format!("user-key-{number:023}")
}

fn create(draft: &mut Draft<'_>, applications: usize) -> Result<Place, CommandError> {
    let tenant = draft.create_tenant("bench", "provider")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some("bench"), name: "bench", backend_version };
    let service = draft.create_service(&new)?;
    let plan = draft.create_plan(service, None, "Basic")?;
    let mut above = None;
    for name in ["hits", "search", "search_deep"] {
        let metric = draft.create_metric(service, name, above)?;
        for period in [Period::Month, Period::Day, Period::Minute] {
            draft.set_limit(plan, metric, period, 1_000_000_000_000)?;
        }
        above = Some(metric);
    }
    for number in 0..applications {
        let name = format!("app{number}");
        let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new(&key(number))))?;
    }
    Ok(Place { service, plan, metric: above.unwrap() })
}
