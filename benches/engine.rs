//! What a decision costs in process, without HTTP.
//!
//! ```text
//! cargo bench --bench engine
//! ```
//!
//! 100,000 applications called by user key, uniformly at random and then one alone; two metrics, three limits; the
//! journal flushes every 50 ms meanwhile. The floor beside it is a lookup of the same keys in a map of the same kind.
//! *With an id* and *numbered* are as *spread*, each call with an id of its own or as the next of one producer.
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
use tollgate::engine::request::{Answer, AuthRequest, Call, Credentials, Usage};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::{Clock, system_clock};
use tollgate::model::idempotency::RequestId;

const APPLICATIONS: usize = 100_000;
const CALLS: u64 = 1_000_000;
/// Fewer, as all their ids stay in memory.
const CALLS_WITH_ID: u64 = 200_000;
const ROUNDS: usize = 7;

/// Nanoseconds per call of `run`, which gets a random number below `APPLICATIONS`.
fn time(calls: u64, mut run: impl FnMut(usize)) -> f64 {
    let mut random = 1_u64;
    let start = Instant::now();
    for _ in 0..calls {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        run((random >> 33) as usize % APPLICATIONS);
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn authrep(engine: &Engine, clock: &Clock, user_key: &str, id: Option<RequestId<'_>>) {
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
    let mut moment = engine.moment(clock());
    let counted = |answer: &Answer<'_>| answer.denial.is_none() && !answer.replayed;
    let authorized = match id {
        None => moment.authorize(&request, counted),
        Some(id) => moment.authorize_once(&request, id, counted),
    };
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
        println!("round   lookup    spread       one   with an id   numbered");
        let mut number = 0_u64;
        let mut spread_all = Vec::new();
        for round in 0..ROUNDS {
            let lookup = time(CALLS, |number| {
                black_box(map.get(&keys[number]).map(|it| *it));
            });
            let spread = time(CALLS, |number| authrep(&engine, &clock, &keys[number], None));
            let one = time(CALLS, |_| authrep(&engine, &clock, &keys[7], None));
            let with_id = time(CALLS_WITH_ID, |application| {
                number += 1;
                authrep(&engine, &clock, &keys[application], Some(RequestId::Key(&number.to_le_bytes())));
            });
            let numbered = time(CALLS_WITH_ID, |application| {
                number += 1;
                let id = RequestId::Numbered { producer: b"bench", sequence: number };
                authrep(&engine, &clock, &keys[application], Some(id));
            });
            println!("{round:5} {lookup:8.0} {spread:9.0} {one:9.0} {with_id:12.0} {numbered:10.0}");
            spread_all.push(spread);
        }
        spread_all.sort_by(f64::total_cmp);
        println!("median spread {:.0}", spread_all[ROUNDS / 2]);
        engine.stop_flusher();
        flusher.join().unwrap().unwrap();
    });
}
