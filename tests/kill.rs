//! `kill -9` under load: what was acknowledged is there afterwards, once.
//!
//! ```text
//! cargo test --test kill                  60 kills
//! cargo test --test kill -- --kills 200   as many as you like
//! ```
//!
//! This process is also the victim: started with `--child DIR` it runs a node on DIR, creates applications, and
//! says on standard output which are acknowledged. The parent sends authreps and reports over sockets, kills the
//! child at a random moment, opens the directory itself, and compares:
//!
//! - every acknowledged application is there;
//! - every acknowledged report is counted (reports are durable), and no call twice;
//! - every authrep answered before an acknowledged report was *sent* is counted: the report's flush took it along;
//! - every authrep answered before the creation of an acknowledged application was *begun* is counted likewise.
//!
//! - the first traffic of each application is told of once;
//! - a reservation that was acknowledged is held until its end begins; one whose commit or cancellation was acknowledged
//!   is gone; and what is counted is what was committed: once for each whose commit began and that is not held.
//!
//! How long a flush takes is the disk's affair: nothing here depends on it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::Client;
use tollgate::engine::Engine;
use tollgate::engine::request::{AuthRequest, Call, Credentials, Usage};
use tollgate::listener::system_clock;
use tollgate::model::amount::Effect;
use tollgate::model::catalog::Key;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{ApplicationId, PlanId, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::reservation::ReservationId;
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::{self, Node};
use tollgate::plugin::alerts::{Event, EventKind};

/// Applications that are called, besides those that the child keeps creating.
const CALLED: usize = 8;
const CALLERS: usize = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |flag| arguments.iter().position(|it| it == flag).and_then(|at| arguments.get(at + 1)).cloned();
    if let Some(dir) = value("--child") {
        return child(Path::new(&dir));
    }
    let kills = value("--kills").map_or(60, |text| text.parse().expect("--kills takes a number"));
    let seed = value("--seed")
        .map_or_else(|| system_clock()().0, |text| text.parse().expect("--seed takes a number"));
    println!("{kills} kills, seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for kill in 0..kills {
        round(dir.path(), &mut ledger, seed.wrapping_add(kill));
        ledger.check(dir.path(), kill);
    }
    println!("{ledger}");
    println!("{kills} passed, 0 failed");
}

/// What the parent knows to have happened since the first round.
#[derive(Default)]
struct Ledger {
    /// Applications that the child acknowledged, by number.
    created: u64,
    calls: [Calls; CALLED],
    /// Units over all rounds that had to be there, and that were sent.
    total: Calls,
    /// What is known of each reservation that may be held.
    reservations: BTreeMap<u64, Known>,
    /// How many reservations were committed, one unit each.
    committed: u64,
}

/// How far a reservation has come, as far as the child said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Acknowledged.
    Held,
    /// Its end has begun: a commit or a cancellation.
    Ending { commits: bool },
    /// Its end is acknowledged.
    Ended { commits: bool },
}

#[derive(Clone, Copy, Default)]
struct Calls {
    /// Units that must be counted.
    sure: u64,
    /// Units that may be counted at most: all that was sent.
    sent: u64,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Calls { sure, sent } = self.total;
        write!(
            f,
            "{} applications and {sure} of {sent} units were acknowledged long enough: all there, once; {} reservations \
             committed once",
            self.created, self.committed
        )
    }
}

/// Nanoseconds by the clock that parent and child share.
fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

// === the child

fn config(dir: &Path) -> tollgate::config::Config {
    // Small, so that checkpoints and pruning happen all the time.
    tollgate::config::Config { checkpoint_bytes: 64 * 1024, ..support::config(dir) }
}

fn child(dir: &Path) {
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config(dir), system_clock())).unwrap();
    let engine = Arc::clone(node.engine());
    let (service, plan) = prepare(&node);
    let mut out = std::io::stdout();
    writeln!(out, "serving {}", node.http).unwrap();
    out.flush().unwrap();
    let mut number = created(&node);
    std::thread::spawn({
        let engine = Arc::clone(&engine);
        let held = find_application(&node, "held").unwrap();
        move || reserve(&engine, held)
    });
    loop {
        let began = now();
        let create = |draft: &mut Draft<'_>| application(draft, service, plan, &format!("new{number}"));
        let (_, ticket) = engine.change(create).unwrap();
        engine.durable_blocking(ticket).unwrap();
        number += 1;
        writeln!(out, "created {number} {began}").unwrap();
        out.flush().unwrap();
    }
}

/// Makes reservations, of one unit each, and ends most of them, for ever; says what it is about to do, and what is on
/// disk.
fn reserve(engine: &Engine, application: ApplicationId) {
    let say = |line: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    let clock = system_clock();
    let usage = [("search", Effect::Add(1))];
    let request = AuthRequest {
        call: Call::Reserve { ttl_s: 3600 },
        oauth: false,
        credentials: Credentials {
            provider_key: Some("provider"),
            service_id: Some("kill"),
            ..Credentials::default()
        },
        app_id: None,
        user_key: Some("held"),
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Amounts(&usage),
        log_code: None,
        flat_usage: false,
        no_body: true,
    };
    let mut open: Vec<_> =
        engine.counters_of(application, clock()).unwrap().holds.iter().map(|hold| hold.id).collect();
    for round in 0_u64.. {
        let id = engine.authorize(&request, clock(), |answer| answer.reservation).unwrap().unwrap();
        open.push(id);
        // Some are acknowledged, of the others nobody has heard until their end.
        if round % 4 != 0 {
            engine.durable_blocking(engine.ticket()).unwrap();
            say(&format!("reserved {}", id.0));
        }
        while open.len() > (round % 7) as usize {
            let id = open.swap_remove(round as usize % open.len());
            let commits = round % 3 != 0;
            say(&format!("ending {} {commits}", id.0));
            if commits {
                engine.commit(&request, id, clock()).unwrap();
            } else {
                engine.cancel(&request, id, clock()).unwrap();
            }
            engine.durable_blocking(engine.ticket()).unwrap();
            say(&format!("ended {} {commits}", id.0));
        }
    }
}

/// What a line of the child says of a reservation.
fn known_of(line: &str) -> Option<(u64, Known)> {
    let words: Vec<_> = line.split(' ').collect();
    let known = match (words[0], words.get(2).map(|word| *word == "true")) {
        ("reserved", None) => Known::Held,
        ("ending", Some(commits)) => Known::Ending { commits },
        ("ended", Some(commits)) => Known::Ended { commits },
        _ => return None,
    };
    Some((words.get(1)?.parse().ok()?, known))
}

fn find_service(node: &Node) -> Option<ServiceId> {
    node.engine().find(Key::ServiceToken { token: "tok", service: "kill" }).map(ServiceId)
}

fn find_application(node: &Node, name: &str) -> Option<ApplicationId> {
    let service = find_service(node)?;
    node.engine().find(Key::AppId { service, text: name }).map(ApplicationId)
}

/// How many of the applications `new0`, `new1` ... there are.
fn created(node: &Node) -> u64 {
    (0..).find(|number| find_application(node, &format!("new{number}")).is_none()).unwrap()
}

fn prepare(node: &Node) -> (ServiceId, PlanId) {
    if let Some(service) = find_service(node) {
        return (service, PlanId(node.engine().find(Key::Plan { service, text: "plan" }).unwrap()));
    }
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("tenant", "provider")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("kill"), name: "kill", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new("tok")))?;
        let hits = draft.create_metric(service, "hits", None)?;
        draft.create_metric(service, "search", Some(hits))?;
        let plan = draft.create_plan(service, Some("plan"), "Plan")?;
        for number in 0..CALLED {
            application(draft, service, plan, &format!("called{number}"))?;
        }
        application(draft, service, plan, "held")?;
        Ok((service, plan))
    };
    let (made, ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    made
}

fn application(
    draft: &mut Draft<'_>,
    service: ServiceId,
    plan: PlanId,
    name: &str,
) -> Result<(), CommandError> {
    let new = NewApplication { service, account: None, app_id: name, name, plan };
    let id = draft.create_application(&new)?;
    draft.edit_application(id, |it| it.user_keys.push(Secret::new(name)))
}

// === the parent

/// What a caller knows when its connection breaks.
struct Told {
    which: usize,
    /// Units of acknowledged reports.
    reported: u64,
    /// When each authrep was answered, one unit each.
    authreps: Vec<u128>,
    /// When the last acknowledged report was sent; 0 if none was.
    report_sent: u128,
    sent: u64,
}

fn round(dir: &Path, ledger: &mut Ledger, seed: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--child")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the child says where it serves").unwrap();
    let address: SocketAddr = first.strip_prefix("serving ").unwrap().parse().unwrap();

    let reader = std::thread::spawn(move || {
        let mut created = (0, 0);
        let mut reservations = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            reservations.extend(known_of(&line));
            let words = line.strip_prefix("created ").and_then(|it| it.split_once(' '));
            let acknowledged =
                words.and_then(|(number, began)| Some((number.parse().ok()?, began.parse().ok()?)));
            created = acknowledged.unwrap_or(created);
        }
        (created, reservations)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                call(address, (caller + seed as usize) % CALLED, caller % 3 == 0, &stop)
            })
        })
        .collect();
    // Any moment of a flush, a checkpoint or a start is as good as another.
    let random = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33;
    std::thread::sleep(Duration::from_millis(20 + random % 900));
    child.kill().unwrap();
    child.wait().unwrap();
    stop.store(true, Ordering::Relaxed);
    let told: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let ((created, began), reservations): ((u64, u128), _) = reader.join().unwrap();
    ledger.reservations.extend(reservations);
    ledger.created = ledger.created.max(created);
    // Whatever was answered before this moment was flushed with what was acknowledged as durable after it.
    let durable = told.iter().map(|told| told.report_sent).max().unwrap_or(0).max(began);
    for told in &told {
        let calls = &mut ledger.calls[told.which];
        let sure =
            told.reported + told.authreps.iter().filter(|answered| **answered < durable).count() as u64;
        for calls in [calls, &mut ledger.total] {
            calls.sure += sure;
            calls.sent += told.sent;
        }
    }
}

/// Calls until the connection breaks.
fn call(address: SocketAddr, which: usize, reports: bool, stop: &AtomicBool) -> Told {
    let mut told = Told { which, reported: 0, authreps: Vec::new(), report_sent: 0, sent: 0 };
    let Ok(mut client) = Client::try_connect(address) else { return told };
    let authrep = format!(
        "/transactions/authrep.xml?service_token=tok&service_id=kill&user_key=called{which}&usage%5Bsearch%5D=1"
    );
    let body = format!(
        "transactions[0][user_key]=called{which}&transactions[0][usage][hits]=2&transactions[1][user_key]=called{which}&transactions[1][usage][search]=3"
    );
    while !stop.load(Ordering::Relaxed) {
        if reports {
            let sent = now();
            told.sent += 5;
            match client.try_post("/transactions.xml?service_token=tok&service_id=kill", &body) {
                Ok(answer) if answer.status == 202 => {
                    told.reported += 5;
                    told.report_sent = sent;
                }
                // A disk that hangs for seconds: not acknowledged, so it may be there or not.
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => break,
            }
        } else {
            told.sent += 1;
            match client.try_get(&authrep) {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    told.authreps.push(now());
                }
                Err(_) => break,
            }
        }
    }
    told
}

impl Ledger {
    /// Opens the directory as the next start would and compares; then goes on from what is there.
    fn check(&mut self, dir: &Path, kill: u64) {
        let runtime = node::runtime().unwrap();
        let node = runtime.block_on(Node::start(&config(dir), system_clock())).unwrap();
        let there = created(&node);
        assert!(
            there >= self.created,
            "kill {kill}: {} applications acknowledged, {there} there",
            self.created
        );
        self.created = there;
        let events = node.alerts().events().unwrap();
        for (which, calls) in self.calls.iter_mut().enumerate() {
            let Some(id) = find_application(&node, &format!("called{which}")) else {
                assert_eq!(calls.sure, 0, "kill {kill}: called{which} is gone");
                continue;
            };
            let image = node.engine().counters_of(id, UnixMillis(0)).unwrap();
            let counted = image.cells.first().map_or(0, |cell| cell.counts[Period::Eternity as usize]);
            let Calls { sure, sent } = *calls;
            assert!(
                (sure..=sent).contains(&counted),
                "kill {kill}: called{which} has {counted}, acknowledged {sure}, sent {sent}"
            );
            let first_traffic = |event: &&Event| {
                event.kind == EventKind::FirstTraffic && event.application == format!("called{which}")
            };
            let told = events.iter().filter(first_traffic).count();
            assert_eq!(told, usize::from(counted > 0), "kill {kill}: called{which} has {counted}");
            // What is not there now must not come back, and what is must stay.
            *calls = Calls { sure: counted, sent: counted };
        }
        self.check_reservations(&node, kill);
        runtime.block_on(node.stop()).unwrap();
    }

    fn check_reservations(&mut self, node: &Node, kill: u64) {
        let Some(id) = find_application(node, "held") else {
            assert!(self.reservations.is_empty(), "kill {kill}: held is gone");
            return;
        };
        let image = node.engine().counters_of(id, UnixMillis(0)).unwrap();
        let held = |id| image.holds.iter().any(|hold| hold.id == ReservationId(id));
        for (id, known) in std::mem::take(&mut self.reservations) {
            let expected = match known {
                Known::Held => Some(true),
                Known::Ending { .. } => None,
                Known::Ended { .. } => Some(false),
            };
            assert!(expected.is_none_or(|it| it == held(id)), "kill {kill}: reservation {id} is {known:?}");
            let commits = matches!(known, Known::Ending { commits: true } | Known::Ended { commits: true });
            self.committed += u64::from(commits && !held(id));
        }
        self.reservations = image.holds.iter().map(|hold| (hold.id.0, Known::Held)).collect();
        let counted = image.cells.first().map_or(0, |cell| cell.counts[Period::Eternity as usize]);
        assert_eq!(counted, self.committed, "kill {kill}: committed and counted");
        assert!(image.holds.iter().all(|hold| hold.amounts.iter().map(|(_, amount)| amount).eq([&1, &1])));
    }
}
