//! What the promises cost: durable reports against parsing them, and interval mode against no journal at all.
//!
//! ```text
//! cargo bench --bench durable
//! cargo bench --bench durable -- --rounds 11 --seconds 2
//! cargo bench --bench durable -- reports              rows whose name has all these words
//! cargo bench --bench durable -- --hold 60            serves that long for a profiler and says which process
//! ```
//!
//! A server is a process of its own (this program again): an engine with 100,000 applications and both listeners, whose
//! journal lies below the target directory. The load is another process's threads on the same processors.
//!
//! - *Durable reports*: 64 connections, each with batches of 100 transactions of which each adds 1 to a metric and so to
//!   its parent; one batch at a time per connection, answered after the sync that has it. *Parsing* is what it takes to
//!   split the same bytes into names and values (over HTTP) or into calls (over the protocol), measured in a loop by itself.
//!   The server's processor time per transaction, kernel and network included, is compared with that.
//! - *Interval mode*: authreps, of which nobody waits for the disk. The server with a journal, flushed every 50 ms, is
//!   compared with one that has no flusher, so that nothing is cut, encoded or written (*none*), and one that does all but
//!   the writing (*dropped*), in turns. Compared is processor time per decision; medians of the rounds' ratios.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

#[path = "../../tests/support/binary.rs"]
mod binary;
#[path = "../catalog/mod.rs"]
mod catalog;
mod clients;
mod server;

use std::hint::black_box;
use std::time::{Duration, Instant};

use catalog::key;
use clients::{Round, Server, batch, form};
use server::Kind;
use tollgate::http::form::{Form, Value};
use tollgate::wire::{Call, HEADER_LEN, Items};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is asked, and how.
struct Shape {
    name: &'static str,
    is_http: bool,
    connections: usize,
    /// Frames sent at once.
    depth: usize,
    /// Transactions of a report; 0 for authreps.
    batch: usize,
    bar: f64,
}

const REPORTS: [Shape; 2] = [
    Shape { name: "reports, http", is_http: true, connections: 64, depth: 1, batch: 100, bar: 2.0 },
    Shape { name: "reports, protocol", is_http: false, connections: 64, depth: 1, batch: 100, bar: 2.0 },
];

const INTERVAL: [Shape; 3] = [
    Shape { name: "interval, http", is_http: true, connections: 16, depth: 1, batch: 0, bar: 1.15 },
    Shape { name: "interval, depth 1", is_http: false, connections: 16, depth: 1, batch: 0, bar: 1.15 },
    Shape { name: "interval, depth 64", is_http: false, connections: 16, depth: 64, batch: 0, bar: 1.3 },
];

struct Scale {
    applications: usize,
    rounds: usize,
    round: Duration,
    words: Vec<String>,
}

fn main() {
    let mut scale =
        Scale { applications: 100_000, rounds: 7, round: Duration::from_secs(1), words: Vec::new() };
    let (mut serves, mut holds) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap();
        match argument.as_str() {
            "--bench" => {}
            "--serve" => serves = Some(value()),
            "--hold" => holds = Some(value().parse().unwrap()),
            "--rounds" => scale.rounds = value().parse().unwrap(),
            "--seconds" => scale.round = Duration::from_secs_f64(value().parse().unwrap()),
            "--applications" => scale.applications = value().parse().unwrap(),
            word => scale.words.push(word.to_owned()),
        }
    }
    if let Some(name) = serves {
        let kind = [Kind::Journal, Kind::Dropped, Kind::None].into_iter().find(|it| it.name() == name);
        return server::serve(kind.unwrap(), scale.applications);
    }
    if let Some(seconds) = holds {
        scale.rounds = 1;
        scale.round = Duration::from_secs(seconds);
    }
    let wanted = |shape: &&Shape| scale.words.iter().all(|word| shape.name.contains(word.as_str()));
    let reports: Vec<_> = REPORTS.iter().filter(wanted).collect();
    let interval: Vec<_> = INTERVAL.iter().filter(wanted).collect();
    println!("{} applications, {} rounds of {:?}; medians", scale.applications, scale.rounds, scale.round);
    if !reports.is_empty() {
        measure_reports(&scale, &reports);
    }
    if !interval.is_empty() {
        measure_interval(&scale, &interval);
    }
}

/// Syncs of one small write after the other on the disk of the target directory, a second.
fn syncs_per_s() -> f64 {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&[0; 1 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[count as u8; 4096], u64::from(count % 256) * 4096).unwrap();
        file.sync_data().unwrap();
        count += 1_u32;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn measure_reports(scale: &Scale, shapes: &[&Shape]) {
    println!("\nthe disk: {:.0} fdatasync a second, one 4 KiB write each", syncs_per_s());
    println!("durable reports: bar 300,000 transactions/s, or CPU at most 2 x parsing");
    println!(
        "                         tx/s   us CPU  us parsing  ratio   tx/sync  syncs/s  ms/sync  journal bytes/tx"
    );
    for shape in shapes {
        let mut server = Server::start(Kind::Journal, scale.applications);
        let mut connections = server.connect(shape);
        server.run(&mut connections, scale.round);
        let mut rounds = Vec::new();
        for _ in 0..scale.rounds {
            rounds.push((server.run(&mut connections, scale.round), parsing_us(shape)));
        }
        let figure = |pick: fn(&(Round, f64)) -> f64| median(rounds.iter().map(pick).collect());
        println!(
            "{:20} {:8.0} {:8.3} {:11.3} {:6.2} {:9.0} {:8.0} {:8.2} {:17.1}",
            shape.name,
            figure(|it| it.0.per_s),
            figure(|it| it.0.cpu_us),
            figure(|it| it.1),
            figure(|it| it.0.cpu_us / it.1),
            figure(|it| it.0.per_sync),
            figure(|it| it.0.syncs_per_s),
            figure(|it| it.0.sync_ms),
            figure(|it| it.0.bytes),
        );
    }
}

/// Microseconds that it takes to split a transaction of a report into what it says.
fn parsing_us(shape: &Shape) -> f64 {
    let keys = |seed: usize| (0..shape.batch).map(move |at| key((seed * 7919 + at * 104_729) % 100_000));
    let began = Instant::now();
    let mut count = 0;
    if shape.is_http {
        let bodies: Vec<_> = (0..64).map(|seed| form(keys(seed))).collect();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            for body in &bodies {
                let form = Form::parse(body.as_bytes()).unwrap();
                count += shape.batch;
                form.entries().for_each(|(name, value)| walk(name, value));
            }
        }
        return began.elapsed().as_secs_f64() * 1e6 / count as f64;
    }
    let frames: Vec<_> = (0..64).map(|seed| batch(keys(seed))).collect();
    while began.elapsed() < Duration::from_millis(200) {
        for frame in &frames {
            for item in Items::read(&frame[HEADER_LEN..]).unwrap() {
                black_box(Call::read(item.body).unwrap());
                count += 1;
            }
        }
    }
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn walk(name: &str, value: Value<'_>) {
    black_box(name);
    match value {
        Value::Hash(entries) => entries.for_each(|(name, value)| walk(name, value)),
        other => {
            black_box(other.text());
        }
    }
}

fn measure_interval(scale: &Scale, shapes: &[&Shape]) {
    println!("\ninterval mode: CPU per authrep, against no journal and against one that is not written");
    println!(
        "                     journal/none     bar   journal/dropped   us journal  us dropped  us none   per s"
    );
    let kinds = [Kind::Journal, Kind::Dropped, Kind::None];
    let mut servers = kinds.map(|kind| Server::start(kind, scale.applications));
    for shape in shapes {
        let mut connections = servers.each_ref().map(|server| server.connect(shape));
        for (server, connections) in servers.iter_mut().zip(&mut connections) {
            server.run(connections, scale.round);
        }
        let mut rounds = Vec::new();
        for number in 0..scale.rounds {
            let mut round = [None; 3];
            for turn in 0..3 {
                // In turns, so that none is always the first.
                let at = (number + turn) % 3;
                round[at] = Some(servers[at].run(&mut connections[at], scale.round));
            }
            rounds.push(round.map(Option::unwrap));
        }
        let figure = |pick: fn(&[Round; 3]) -> f64| median(rounds.iter().map(pick).collect());
        println!(
            "{:20} {:12.3} {:>7} {:17.3} {:12.3} {:11.3} {:8.3} {:7.0}",
            shape.name,
            figure(|it| it[0].cpu_us / it[2].cpu_us),
            format!("<= {}", shape.bar),
            figure(|it| it[0].cpu_us / it[1].cpu_us),
            figure(|it| it[0].cpu_us),
            figure(|it| it[1].cpu_us),
            figure(|it| it[2].cpu_us),
            figure(|it| it[0].per_s),
        );
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
