//! What others take for a decision, beside what we take: one run, one table. `run` builds and installs what it needs;
//! the README says what is compared with what.

mod crates;
mod engine;
mod load;
mod redis;
mod servers;

use std::path::PathBuf;
use std::time::Duration;

use tollgate::cli::load::{LoadError, Random};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// High enough that nobody is ever denied: a denial costs less than a yes.
const MAX: u64 = 1_000_000_000;

/// How much is measured.
struct Scale {
    applications: usize,
    rounds: usize,
    round: Duration,
    tollgate: PathBuf,
    throttlecrab: PathBuf,
}

/// One that decides.
trait Peer {
    fn name(&self) -> String;

    /// Decides for `duration`; how many decisions, and the processor time of whoever decides.
    fn run(&mut self, duration: Duration) -> Result<Round, LoadError>;
}

struct Round {
    decisions: u64,
    elapsed: Duration,
    cpu: Duration,
}

fn main() {
    let mut scale = Scale {
        applications: 100_000,
        rounds: 7,
        round: Duration::from_secs(1),
        tollgate: "../../target/release/tollgate".into(),
        throttlecrab: "target/throttlecrab/bin/throttlecrab-server".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value");
        match argument.as_str() {
            "--rounds" => scale.rounds = value().parse().expect("a number"),
            "--seconds" => scale.round = Duration::from_secs_f64(value().parse().expect("a number")),
            "--applications" => scale.applications = value().parse().expect("a number"),
            "--tollgate" => scale.tollgate = value().into(),
            "--throttlecrab" => scale.throttlecrab = value().into(),
            // A smoke run: its figures mean nothing.
            "--quick" => {
                (scale.applications, scale.rounds, scale.round) = (1000, 1, Duration::from_millis(100))
            }
            other => panic!("{other}: no such flag"),
        }
    }
    let Scale { applications, rounds, round, .. } = scale;
    println!(
        "{applications} keys drawn uniformly, {rounds} rounds of {round:?} in turns, medians; yes to all\n"
    );
    if let Err(error) = in_process(&scale).and_then(|()| as_servers(&scale)) {
        println!("{error}");
        std::process::exit(1);
    }
}

fn in_process(scale: &Scale) -> Result<(), LoadError> {
    let count = scale.applications;
    let chain = engine::Tollgate::new(count, 3);
    let single = engine::Tollgate::new(count, 1);
    let mut peers: Vec<Box<dyn Peer + '_>> = vec![
        Box::new(single.by_handle()),
        Box::new(single.by_key()),
        Box::new(chain.by_handle()),
        Box::new(chain.by_key()),
        Box::new(crates::Limitador::new(count, 3)),
        Box::new(crates::Limitador::new(count, 1)),
        Box::new(crates::Throttlecrab::new(count)),
        Box::new(crates::Governor::new(count)),
    ];
    println!(
        "in process, one thread                                        ratio   ns of CPU    decisions/s"
    );
    compare(scale, &mut peers, 1e9)
}

fn as_servers(scale: &Scale) -> Result<(), LoadError> {
    let node = load::Node::start(scale)?;
    let mut peers: Vec<Box<dyn Peer + '_>> = vec![Box::new(node.by_handle()?), Box::new(node.by_key()?)];
    match servers::Running::redis() {
        Ok(running) => peers.push(Box::new(redis::Client::redis(running, scale.applications)?)),
        Err(error) => println!("redis-server does not run here: {error}"),
    }
    match servers::Running::throttlecrab(&scale.throttlecrab) {
        Ok(running) => peers.push(Box::new(redis::Client::throttlecrab(running, scale.applications)?)),
        Err(error) => println!("throttlecrab-server does not run here: {error}"),
    }
    println!(
        "servers, 16 connections over TCP, depth 64                    ratio   us of CPU    decisions/s"
    );
    compare(scale, &mut peers, 1e6)
}

/// Loads all in turns; the first is what the others are compared with.
fn compare(scale: &Scale, peers: &mut [Box<dyn Peer + '_>], unit: f64) -> Result<(), LoadError> {
    let mut figures: Vec<[Vec<f64>; 3]> = peers.iter().map(|_| Default::default()).collect();
    // One more than is counted: tables grow, and everybody gets warm.
    for round in 0..=scale.rounds {
        let mut first = None;
        for (peer, figures) in peers.iter_mut().zip(&mut figures) {
            let Round { decisions, elapsed, cpu } = peer.run(scale.round)?;
            let each = cpu.as_secs_f64() * unit / decisions as f64;
            let ratio = each / *first.get_or_insert(each);
            if round > 0 {
                let row = [ratio, each, decisions as f64 / elapsed.as_secs_f64()];
                figures.iter_mut().zip(row).for_each(|(all, figure)| all.push(figure));
            }
        }
    }
    for (peer, figures) in peers.iter().zip(figures) {
        let [ratio, each, per_s] = figures.map(median);
        println!("{:56} {ratio:10.2} {each:11.3} {per_s:14.0}", peer.name());
    }
    println!();
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn key(number: usize) -> String {
    format!("user-key-{number:023}")
}

/// Decides in this thread, with a key's number drawn for each; a look at the clock for 64.
fn in_this_thread(keys: usize, duration: Duration, mut decide: impl FnMut(&[u32; 64])) -> Round {
    let mut random = Random::new(7);
    let cpu = tollgate::cli::load::Cpu::of(std::process::id()).expect("the system tells");
    let start = std::time::Instant::now();
    let mut decisions = 0;
    while start.elapsed() < duration {
        decide(&std::array::from_fn(|_| (random.draw() % keys as u64) as u32));
        decisions += 64;
    }
    let elapsed = start.elapsed();
    Round { decisions, elapsed, cpu: cpu.since().expect("the system tells") }
}
