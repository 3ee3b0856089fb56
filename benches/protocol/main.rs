//! What a decision costs over the binary protocol, against moving the same bytes.
//!
//! ```text
//! cargo bench --bench protocol
//! cargo bench --bench protocol -- --rounds 11 --seconds 2
//! cargo bench --bench protocol -- depth 64            rows whose name has all these words
//! cargo bench --bench protocol -- --quick             a smoke run; its figures mean nothing
//! ```
//!
//! *Node* is `tollgate serve` as anybody runs it, a process of its own with 100,000 applications and a journal that
//! flushes every 50 ms; *echo* is a process that answers the same frames with as many bytes on the same runtime with as
//! many workers (`echo`). Both are loaded by the code of `tollgate load` over 16 connections, in turns, one round each.
//! What is compared is the processor time that the server's process took, as the kernel accounts it, for each
//! decision; where it says so, decisions per second. The load shares the machine with the server, so decisions per second
//! are those of both together.
//!
//! Medians over all rounds; the ratio is the median of the ratios of the rounds. After each shape the node is asked
//! what it counted, application by application: it must be what it said yes to.
//!
//! - *Shape A*: three metrics one below the other, three limits each; a call names the lowest.
//! - *Shape B*: 200 metrics; a call names five of them, with four limits each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

mod echo;
mod sides;

use std::time::Duration;

use sides::{CONNECTIONS, Drawn, Round, Server, Side};
use tollgate::cli::load::{By, LoadError, Setup, Shape};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is compared with what.
#[derive(Clone, Copy, PartialEq)]
enum Against {
    /// The same on the echo server: processor time.
    Echo,
    /// Calls one by one, 64 unanswered: processor time.
    Singles,
    /// Calls for all applications: decisions per second.
    Spread,
}

struct Row {
    shape: char,
    name: &'static str,
    depth: usize,
    batch: usize,
    by: By,
    drawn: Drawn,
    against: Against,
    bar: &'static str,
}

const fn row(shape: char, name: &'static str, depth: usize, by: By, drawn: Drawn, bar: &'static str) -> Row {
    Row { shape, name, depth, batch: 0, by, drawn, against: Against::Echo, bar }
}

const ROWS: [Row; 14] = [
    row('A', "depth 1, by handle", 1, By::Handle, Drawn::Uniform, "<= 1.25"),
    row('A', "depth 1, by key", 1, By::Key, Drawn::Uniform, ""),
    row('A', "depth 64, by handle", 64, By::Handle, Drawn::Uniform, "<= 3"),
    row('A', "depth 64, by handle, zipf", 64, By::Handle, Drawn::Zipf, ""),
    row('A', "depth 64, by key", 64, By::Key, Drawn::Uniform, "<= 6"),
    row('A', "depth 64, by key, zipf", 64, By::Key, Drawn::Zipf, ""),
    Row { batch: 64, ..row('A', "batch of 64, by handle", 1, By::Handle, Drawn::Uniform, "") },
    Row { batch: 64, ..row('A', "batch of 64, by key", 1, By::Key, Drawn::Uniform, "") },
    Row {
        batch: 64,
        against: Against::Singles,
        ..row('A', "batch of 64, by handle / singles", 1, By::Handle, Drawn::Uniform, "<= 0.6")
    },
    Row {
        batch: 64,
        against: Against::Singles,
        ..row('A', "batch of 64, by key / singles", 1, By::Key, Drawn::Uniform, "<= 0.6")
    },
    Row {
        against: Against::Spread,
        ..row('A', "depth 64, by handle, one hot / spread", 64, By::Handle, Drawn::Hot, ">= 0.5")
    },
    row('B', "depth 1, by handle", 1, By::Handle, Drawn::Uniform, "<= 1.25"),
    row('B', "depth 64, by handle", 64, By::Handle, Drawn::Uniform, "<= 3"),
    row('B', "depth 64, by key", 64, By::Key, Drawn::Uniform, "<= 6"),
];

impl Row {
    fn setup(&self) -> Setup {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Setup { connections: CONNECTIONS, depth: self.depth, batch: self.batch, by: self.by, threads }
    }

    /// The same calls, as the other side has them.
    fn other(&self) -> (Setup, Drawn) {
        match self.against {
            Against::Echo => (self.setup(), self.drawn),
            Against::Singles => (Setup { depth: 64, batch: 0, ..self.setup() }, self.drawn),
            Against::Spread => (self.setup(), Drawn::Uniform),
        }
    }

    fn ratio(&self, a: &Round, b: &Round) -> f64 {
        if self.against == Against::Spread { a.per_s / b.per_s } else { a.cpu_us / b.cpu_us }
    }
}

struct Scale {
    applications: usize,
    rounds: usize,
    round: Duration,
    words: Vec<String>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut scale =
        Scale { applications: 100_000, rounds: 7, round: Duration::from_secs(1), words: Vec::new() };
    // `cargo test` runs this program without the flag that `cargo bench` gives.
    let mut is_quick = true;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<f64>().ok()).unwrap();
        match argument.as_str() {
            "--serve" => return echo::serve(),
            "--bench" => is_quick = false,
            "--quick" => scale.applications = 0,
            "--rounds" => scale.rounds = number() as usize,
            "--seconds" => scale.round = Duration::from_secs_f64(number()),
            "--applications" => scale.applications = number() as usize,
            word => scale.words.push(word.to_owned()),
        }
    }
    if is_quick || scale.applications == 0 {
        scale = Scale { applications: 200, rounds: 1, round: Duration::from_millis(50), ..scale };
    }
    if let Err(error) = compare(&scale) {
        println!("{error}");
        std::process::exit(1);
    }
}

fn compare(scale: &Scale) -> Result<(), LoadError> {
    let Scale { applications, rounds, round, .. } = scale;
    println!(
        "{applications} applications, {CONNECTIONS} connections, {rounds} rounds of {round:?} for each side; medians\n"
    );
    println!(
        "  ratio      bar   shape and row                                     us      us   per s   per s"
    );
    println!("                                                              of CPU   other           other");
    for (name, shape) in [('A', Shape::chain()), ('B', Shape::wide())] {
        let wanted = |row: &&Row| {
            row.shape == name
                && scale
                    .words
                    .iter()
                    .all(|word| row.name.contains(word.as_str()) || *word == name.to_string())
        };
        let rows: Vec<_> = ROWS.iter().filter(wanted).collect();
        if !rows.is_empty() {
            measure(scale, &shape, &rows)?;
        }
    }
    Ok(())
}

fn measure(scale: &Scale, shape: &Shape, rows: &[&Row]) -> Result<(), LoadError> {
    let node = Server::node(shape, scale.applications)?;
    let echo = Server::echo(&node);
    let mut counted = vec![0; scale.applications];
    touch_all(&node, scale, &mut counted)?;
    for row in rows {
        let (setup, drawn) = row.other();
        let other = if row.against == Against::Echo { &echo } else { &node };
        let mut a = Side::new(&node, &row.setup(), row.drawn, scale.round)?;
        let mut b = Side::new(other, &setup, drawn, scale.round)?;
        // Buffers grow, and both sides get warm.
        a.run()?;
        b.run()?;
        let mut figures: [Vec<f64>; 5] = Default::default();
        for number in 0..scale.rounds {
            // In turns, so that neither is always the first.
            let (a, b) = if number % 2 == 0 { (a.run()?, b.run()?) } else { swap((b.run()?, a.run()?)) };
            let row = [row.ratio(&a, &b), a.cpu_us, b.cpu_us, a.per_s, b.per_s];
            figures.iter_mut().zip(row).for_each(|(all, figure)| all.push(figure));
        }
        let [ratio, a_us, b_us, a_per_s, b_per_s] = figures.map(median);
        println!(
            "{ratio:7.3} {:>8}   {} {:42} {a_us:8.3} {b_us:7.3} {a_per_s:7.0} {b_per_s:7.0}",
            row.bar, row.shape, row.name
        );
        add(&mut counted, &a.counted);
        if row.against != Against::Echo {
            add(&mut counted, &b.counted);
        }
    }
    let sum = node.check(&counted)?;
    println!("                   exact: {sum} counted, for each application what was said yes to\n");
    Ok(())
}

/// Has every application called at least about ten times: its cells are there then.
fn touch_all(node: &Server, scale: &Scale, counted: &mut [u64]) -> Result<(), LoadError> {
    let setup = Setup { batch: 64, ..ROWS[0].setup() };
    let mut side = Side::new(node, &setup, Drawn::Uniform, scale.round)?;
    while side.counted.iter().sum::<u64>() < 10 * scale.applications as u64 {
        side.run()?;
    }
    add(counted, &side.counted);
    Ok(())
}

fn add(sums: &mut [u64], more: &[u64]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn swap<T>((a, b): (T, T)) -> (T, T) {
    (b, a)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
