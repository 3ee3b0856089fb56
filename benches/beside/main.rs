//! What the admin API costs decisions: 100,000 authreps a second over the binary protocol, 16 unanswered on each connection, alone;
//! while an administrator makes 100 calls a second to a node of 100,000 applications (a page of 20 of the list, finding by key,
//! creating, suspending); and while another process burns as much processor time as those calls took, node and client together.
//!
//! ```text
//! cargo bench --bench beside [-- --rounds N]
//! ```
//!
//! The last is the control: on two cores whatever runs delays decisions, and what is asked is whether the admin API
//! does more than that. Latencies are from when each request was due.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

mod admin;
mod sides;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tollgate::cli::load::{Access, By, Cpu, Crew, Distribution, Setup, Subjects, Target, Urn, Work};

use admin::Administrator;
use sides::{APPLICATIONS, Burner, METRIC, Node, SERVICE_TOKEN, user_key};

const RATE: f64 = 100_000.0;
/// Calls of the administrator in a second.
const CALLS_PER_S: u32 = 100;
const PHASE: Duration = Duration::from_secs(6);

/// What a phase came to.
#[derive(Clone, Copy)]
struct Phase {
    p50_us: f64,
    p99_us: f64,
    /// Processor time of node and load together, in microseconds a second.
    cpu_us: f64,
}

struct Load {
    crew: Crew,
    work: Work,
    node: u32,
}

impl Load {
    fn run(&mut self) -> Phase {
        let (node, own) = (Cpu::of(self.node).unwrap(), Cpu::of(std::process::id()).unwrap());
        let began = Instant::now();
        let outcome = self.crew.run(&self.work, &AtomicBool::new(false), |_| {}).unwrap();
        let cpu = node.since().unwrap() + own.since().unwrap();
        let tally = outcome.tally;
        assert_eq!((tally.no, tally.errors()), (0, 0), "{:?}", tally.failed);
        let quantile = |q| tally.latency_ns.value_at_quantile(q) as f64 / 1e3;
        let cpu_us = cpu.as_secs_f64() * 1e6 / began.elapsed().as_secs_f64();
        Phase { p50_us: quantile(0.5), p99_us: quantile(0.99), cpu_us }
    }
}

/// Does something so many times a second, in a thread of its own, until it is dropped.
struct Repeating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeating {
    fn start(mut step: impl FnMut() + Send + 'static) -> Repeating {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let run = move || {
            let mut due = Instant::now();
            while !until.load(Ordering::Relaxed) {
                step();
                due += Duration::from_secs(1) / CALLS_PER_S;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        };
        Repeating { stop, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Repeating {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let mut rounds = 7;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--serve" => return sides::serve(),
            "--burn" => return sides::burn(),
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            other => panic!("{other}: there is --rounds N"),
        }
    }
    let node = Node::start();
    let target = Target::Tcp(node.tcp);
    let access = Access::ServiceToken(SERVICE_TOKEN.to_owned());
    let keys = (0..APPLICATIONS).map(user_key).collect();
    let mut subjects = Subjects::new(Some(node.service.clone()), keys, vec![METRIC.to_owned()]);
    subjects.bind(&target, &access).unwrap();
    let setup = Setup { connections: 8, depth: 16, batch: 0, by: By::Handle, threads: 1 };
    let crew = Crew::connect(&target, &access, &subjects, &setup).unwrap();
    let urn = Urn::new(Distribution::Uniform, u32::try_from(APPLICATIONS).unwrap(), 1);
    let warm_up = Duration::from_secs(1);
    let work = Work { urn, rate: Some(RATE), warm_up, duration: PHASE };
    let mut load = Load { crew, work, node: node.pid };

    let administrator = Arc::new(std::sync::Mutex::new(Administrator::new(&node)));
    let burner = Arc::new(std::sync::Mutex::new(Burner::start()));
    let (mut alone, mut beside, mut control) = (Vec::new(), Vec::new(), Vec::new());
    load.run();
    for _ in 0..rounds {
        alone.push(load.run());
        let calls = {
            administrator.lock().unwrap().connect();
            let administrator = Arc::clone(&administrator);
            Repeating::start(move || administrator.lock().unwrap().call())
        };
        beside.push(load.run());
        drop(calls);
        let of_calls =
            median(beside.iter().zip(&alone).map(|(it, alone)| it.cpu_us - alone.cpu_us).collect());
        let slice = Duration::from_secs_f64((of_calls / f64::from(CALLS_PER_S)).max(0.0) / 1e6);
        let burning = {
            let burner = Arc::clone(&burner);
            Repeating::start(move || burner.lock().unwrap().burn(slice))
        };
        control.push(load.run());
        drop(burning);
    }
    let of = |phases: &[Phase], what: fn(&Phase) -> f64| median(phases.iter().map(what).collect());
    println!("{rounds} rounds of {} s each, medians; latencies of authreps in us", PHASE.as_secs());
    for (name, phases) in
        [("alone", &alone), ("beside the admin API", &beside), ("beside a burning process", &control)]
    {
        let (p50, p99) = (of(phases, |it| it.p50_us), of(phases, |it| it.p99_us));
        println!(
            "{name:>26}: p50 {p50:7.0}  p99 {p99:7.0}  (processor time {:.2} of 1 s)",
            of(phases, |it| it.cpu_us) / 1e6
        );
    }
    let ratios =
        beside.iter().zip(&control).map(|(beside, control)| beside.p99_us / control.p99_us).collect();
    println!("p99 beside the admin API / beside a burning process: {:.2} (bar 1.25)", median(ratios));
    let administrator = administrator.lock().unwrap();
    println!(
        "{} calls of the administrator, each answered as it should be: p50 {:.2} ms, p99 {:.2} ms with the disk",
        administrator.calls(),
        administrator.quantile_ms(0.5),
        administrator.quantile_ms(0.99)
    );
}
