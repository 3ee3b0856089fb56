//! What a decision costs in process, without HTTP.
//!
//! ```text
//! cargo bench --bench engine
//! ```
//!
//! 100,000 applications called by user key, uniformly at random and then one alone; two metrics, three limits; the
//! journal flushes every 50 ms meanwhile. The floor beside it is a lookup of the same keys in a map of the same kind.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

mod catalog;

use std::hint::black_box;
use std::time::Instant;

use catalog::{create, key};
use dashmap::DashMap;
use tollgate::engine::request::{AuthRequest, Call, Credentials, Usage};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::system_clock;

const APPLICATIONS: usize = 100_000;
const CALLS: u64 = 1_000_000;
const ROUNDS: usize = 7;

/// Nanoseconds per call of `run`, which gets a random number below `APPLICATIONS`.
fn time(mut run: impl FnMut(usize)) -> f64 {
    let mut random = 1_u64;
    let start = Instant::now();
    for _ in 0..CALLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        run((random >> 33) as usize % APPLICATIONS);
    }
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

fn authrep(engine: &Engine, clock: &tollgate::listener::Clock, user_key: &str) {
    let request = AuthRequest {
        call: Call::Authrep,
        oauth: false,
        credentials: Credentials {
            service_token: Some("token"),
            service_id: Some("bench"),
            ..Credentials::default()
        },
        app_id: None,
        user_key: Some(user_key),
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Texts(&[("search", Some("1"))]),
        log_code: None,
        flat_usage: false,
        no_body: false,
    };
    let authorized = engine.authorize(&request, clock(), |answer| answer.denial.is_none());
    assert_eq!(black_box(authorized), Ok(true));
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let mut recovery = Recovery::default();
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let (journal, _) = Journal::open(dir.path(), Options::default(), Sequence(0), visit).unwrap();
    let engine = recovery.finish(journal, [1; 16]);
    engine.change(|draft| create(draft, APPLICATIONS)).unwrap();
    let keys: Vec<String> = (0..APPLICATIONS).map(key).collect();
    let map: DashMap<String, u64> = keys.iter().cloned().zip(0..).collect();
    let clock = system_clock();

    std::thread::scope(|scope| {
        let flusher = scope.spawn(|| engine.run_flusher(|| clock(), |error| panic!("{error}")));
        println!("{CALLS} calls a round, {APPLICATIONS} applications; nanoseconds per call");
        println!("round   lookup    spread       one");
        let mut spread_all = Vec::new();
        for round in 0..ROUNDS {
            let lookup = time(|number| {
                black_box(map.get(&keys[number]).map(|it| *it));
            });
            let spread = time(|number| authrep(&engine, &clock, &keys[number]));
            let one = time(|_| authrep(&engine, &clock, &keys[7]));
            println!("{round:5} {lookup:8.0} {spread:9.0} {one:9.0}");
            spread_all.push(spread);
        }
        spread_all.sort_by(f64::total_cmp);
        println!("median spread {:.0}", spread_all[ROUNDS / 2]);
        engine.stop_flusher();
        flusher.join().unwrap().unwrap();
    });
}
