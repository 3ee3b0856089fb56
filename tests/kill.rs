//! `kill -9` under load: what was acknowledged is there afterwards, once.
//!
//! ```text
//! cargo test --test kill                  60 kills, and 3 on a small disk that fills and empties
//! cargo test --test kill -- --kills 200   as many as you like; a twentieth of them on the small disk
//! ```
//!
//! This process is also the victim: started with `--child DIR` it runs a node on DIR, with small segments and frequent
//! checkpoints, and with all that follows its journal. The parent sends authreps, reports and reservations over HTTP and
//! the binary protocol, some with ids, creates applications through the internal API, kills the child at a random moment, opens the
//! directory itself, and compares:
//!
//! - every acknowledged application is there;
//! - every call that was acknowledged as durable is counted, and no call twice;
//! - every other call answered before such a call was *sent* is counted: the flush took it along; likewise with the
//!   creation of an acknowledged application.
//! - the first traffic of each application is told of once;
//! - the history of an application has what was counted of it, neither more nor less;
//! - a reservation that was acknowledged is held until its end begins; one whose commit or cancellation was acknowledged
//!   is gone; and what is counted is what was committed: once for each whose commit began and that is not held;
//! - what was sent with an id and got no answer is sent again under it, after the kill or to the next victim, and some of what
//!   was answered, too: then each is counted once, and what had been answered is told to be a repetition. See `again`.
//!
//! How long a flush takes is the disk's affair: nothing here depends on it.
//!
//! The small disk is a tmpfs, which takes the right to mount; where that is missing, a line says so. See `full`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "kill/again.rs"]
mod again;
#[path = "support/binary.rs"]
mod binary;
#[path = "kill/callers.rs"]
mod callers;
#[path = "kill/child.rs"]
mod child;
#[path = "kill/full.rs"]
mod full;
#[path = "kill/ledger.rs"]
mod ledger;
mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use again::{SENDERS, Sender};
use callers::{Known, Told};
use ledger::Ledger;
use tollgate::listener::system_clock;

/// Applications that are called, besides those that are created all the time.
const CALLED: usize = 8;
const CALLERS: usize = 6;

/// How many kills, if nobody says.
const KILLS: u64 = 60;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |flag| arguments.iter().position(|it| it == flag).and_then(|at| arguments.get(at + 1)).cloned();
    if let Some(dir) = value("--child") {
        return child::run(Path::new(&dir));
    }
    let kills: u64 = value("--kills").map_or(KILLS, |text| text.parse().expect("--kills takes a number"));
    let seed = value("--seed")
        .map_or_else(|| system_clock()().0, |text| text.parse().expect("--seed takes a number"));
    println!("{kills} kills, seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for kill in 0..kills {
        round(dir.path(), &mut ledger, seed.wrapping_add(kill));
        ledger.check(dir.path(), kill, kill % 2 == 1 || kill + 1 == kills);
    }
    println!("{ledger}");
    let again = ledger.tally(|tally| tally.again);
    assert!(again > 0 || kills < KILLS, "not one answer was lost");
    full::run(kills.div_ceil(20), seed);
    println!("{kills} passed, 0 failed");
}

/// A victim and all who call it.
struct Victim {
    child: Child,
    http: SocketAddr,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Told>>,
    creator: JoinHandle<(u64, u128)>,
    reserver: JoinHandle<std::collections::BTreeMap<u64, Known>>,
    senders: [JoinHandle<Sender>; SENDERS],
}

/// Starts a child on `dir`: what it says first, and itself.
fn start(dir: &Path) -> (String, Child) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--child")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the child says where it serves, or why it does not").unwrap();
    (first, child)
}

impl Victim {
    fn start(dir: &Path, ledger: &Ledger, seed: u64) -> Victim {
        let (first, child) = start(dir);
        let addresses = first.strip_prefix("serving ").and_then(|it| it.split_once(' '));
        let (http, tcp) = addresses.unwrap_or_else(|| panic!("{first}"));
        let (http, tcp): (SocketAddr, SocketAddr) = (http.parse().unwrap(), tcp.parse().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS).map(|caller| {
            let stop = Arc::clone(&stop);
            let which = (caller + seed as usize) % CALLED;
            std::thread::spawn(move || match caller % 3 {
                0 => callers::http(http, which, true, &stop),
                1 => callers::http(http, which, false, &stop),
                _ => callers::binary(tcp, which, &stop),
            })
        });
        let callers = callers.collect();
        let (for_creator, first) = (Arc::clone(&stop), ledger.created());
        let creator = std::thread::spawn(move || callers::create(http, first, &for_creator));
        let (for_reserver, open) = (Arc::clone(&stop), ledger.held());
        let reserver = std::thread::spawn(move || callers::reserve(tcp, open, &for_reserver));
        let mut senders = ledger.senders().into_iter().enumerate();
        let senders = std::array::from_fn(|_| {
            let (which, mut sender) = senders.next().expect("one each");
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                sender.send(which, (http, tcp), &stop);
                sender
            })
        });
        Victim { child, http, stop, callers, creator, reserver, senders }
    }

    /// Kills it, and notes what its callers know. How often they were told that the disk takes no writes.
    fn kill(mut self, ledger: &mut Ledger) -> u64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stop.store(true, Ordering::Relaxed);
        let told: Vec<_> = self.callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        ledger.note(&told, self.creator.join().unwrap(), self.reserver.join().unwrap());
        ledger.note_senders(self.senders.map(|sender| sender.join().unwrap()));
        told.iter().map(|told| told.refused).sum()
    }
}

fn round(dir: &Path, ledger: &mut Ledger, seed: u64) {
    let victim = Victim::start(dir, ledger, seed);
    // Any moment of a flush, a checkpoint or a start is as good as another.
    let random = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33;
    std::thread::sleep(Duration::from_millis(20 + random % 900));
    victim.kill(ledger);
}
