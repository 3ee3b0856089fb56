//! `tollgate load`: how fast a node answers, measured by whoever wants to know.
//!
//! Connections make authreps as fast as they are answered (closed loop), or at a fixed rate, and what came back is
//! told: decisions, latencies, and the processor time that the server took, as the kernel accounts it. Without a target a
//! throw-away node is loaded, and afterwards asked what it counted: it must be what it said yes to, application by
//! application.
//!
//! The threads of the load are its own, not a runtime's: they send when a request is due, to the microsecond, and take
//! little from the node on the same machine. `benches/protocol` drives nodes with the same code.
//!
//! | File | What it holds |
//! |---|---|
//! | `options` | the flags |
//! | `target`, `session`, `subjects` | where the node is, getting in, and whom calls are for |
//! | `keys`, `pace` | which application is called next, and when |
//! | `crew`, `line`, `flight` | threads, their connections, and what is unanswered on each |
//! | `speech`, `binary`, `http` | requests put into bytes, and answers heard |
//! | `tally`, `report`, `cpu` | what came back, and what it cost |
//! | `own`, `shape`, `internal` | a throw-away node, and what it is filled with |

mod binary;
mod cpu;
mod crew;
mod error;
mod flight;
mod http;
mod internal;
mod keys;
mod line;
mod options;
mod own;
mod pace;
mod report;
mod session;
mod shape;
mod speech;
mod subjects;
mod tally;
mod target;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

pub use cpu::Cpu;
pub use crew::{Crew, Outcome, Setup, Tick, Work};
pub use error::LoadError;
pub use keys::{Distribution, EXPONENT_MAX, Random, Urn};
pub(super) use options::Load;
use options::{Plan, PlanError, Whom};
pub use own::OwnNode;
use report::{Made, Report};
pub use shape::{MAX_DEFAULT, Shape};
pub use speech::{By, Foreign};
pub use subjects::{Access, Subjects};
pub use tally::Tally;
pub use target::Target;

use super::{Exit, say, show, show_json};

pub(super) fn run(load: Load) -> Exit {
    let json = match load.plan(|name| std::env::var(name).ok()) {
        Ok(plan) => {
            let json = plan.json;
            measure(plan).map(|report| (report, json))
        }
        Err(PlanError::Usage(text)) => {
            say(&text);
            return Exit::Usage;
        }
        Err(PlanError::Load(error)) => Err(error),
    };
    match json {
        Ok((report, json)) => {
            if json {
                show_json(&report);
            } else {
                show(&report.to_string());
            }
            if report.has_errors() { Exit::Failed } else { Exit::Done }
        }
        Err(error) => {
            say(&error.to_string());
            Exit::Failed
        }
    }
}

/// Who is called, by what, and the node if it is ours.
struct Scene {
    node: Option<OwnNode>,
    target: Target,
    access: Access,
    subjects: Subjects,
    pid: Option<u32>,
}

impl Scene {
    fn of(whom: Whom, connections: usize, stop: &AtomicBool) -> Result<Scene, LoadError> {
        match whom {
            Whom::Own { shape, applications, over_http } => {
                let program = std::env::current_exe();
                let program = program.map_err(|source| LoadError::System { what: "a node", source })?;
                let node = OwnNode::start(&program, connections)?;
                let target = if over_http { node.http() } else { node.tcp()? };
                let subjects = node.create(&shape, applications, stop)?;
                let pid = Some(node.pid());
                Ok(Scene { target, access: node.access(), subjects, pid, node: Some(node) })
            }
            Whom::Running { target, access, service, user_keys, metrics, pid } => {
                let subjects = Subjects::new(service, user_keys, metrics);
                Ok(Scene { node: None, target, access, subjects, pid })
            }
        }
    }
}

fn measure(plan: Plan) -> Result<Report, LoadError> {
    let stop = Arc::new(AtomicBool::new(false));
    // Held as long as signals are to be heard.
    let _runtime = stop_on_signals(&stop)?;
    let Plan { whom, setup, keys, rate, duration, warm_up, .. } = plan;
    let Scene { node, target, access, mut subjects, pid } = Scene::of(whom, setup.connections, &stop)?;
    if target.is_binary() && setup.by == By::Handle {
        subjects.bind(&target, &access)?;
    }
    let subjects = Arc::new(subjects);
    let applications = subjects.user_keys.len();
    let mut crew = Crew::connect(&target, &access, &subjects, &setup)?;
    let pid = pid.or(crew.peer_pid);
    let urn = Urn::new(keys, u32::try_from(applications).unwrap_or(u32::MAX), SEED);
    let work = Work { urn, rate, warm_up, duration };
    let mut began = None;
    let mut progress = Progress::new(warm_up + duration);
    let outcome = crew.run(&work, &stop, |tick| match tick {
        Tick::Begin(answered) => began = pid.and_then(Cpu::of).map(|cpu| (cpu, answered)),
        Tick::Now { elapsed, answered } => progress.show(elapsed, answered),
    });
    let spent = began.and_then(|(cpu, before)| Some((cpu.since()?, before)));
    progress.clear();
    let outcome = outcome?;
    let cpu = spent.map(|(spent, before)| (spent, outcome.answered - before));
    let counted = node.map(|node| node.check(&subjects, &outcome.tally.counted)).transpose()?;
    let made = Made {
        target: target.to_string(),
        applications,
        connections: setup.connections,
        depth: crew.depth_allowed.unwrap_or(setup.depth),
        batch: setup.batch,
        by: match setup.by {
            By::Handle => "handle",
            By::Key => "key",
        },
        keys: keys.to_string(),
        rate,
        warm_up_s: warm_up.as_secs_f64(),
    };
    Ok(Report::new(made, &outcome, cpu, counted))
}

/// The same load each time.
const SEED: u64 = 0x746F_6C6C;

/// Has an interrupt end the load early, with what was measured until then.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<tokio::runtime::Runtime, LoadError> {
    let system = |source| LoadError::System { what: "threads", source };
    let runtime = crate::node::runtime().map_err(system)?;
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let stop = Arc::clone(stop);
        let mut signal = runtime.block_on(async { signal(kind) }).map_err(system)?;
        runtime.spawn(async move {
            signal.recv().await;
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
    Ok(runtime)
}

/// The line that shows how it goes, on a terminal.
struct Progress {
    all: Duration,
    is_shown: bool,
    before: (Duration, u64),
}

impl Progress {
    fn new(all: Duration) -> Progress {
        Progress { all, is_shown: std::io::stderr().is_terminal(), before: (Duration::ZERO, 0) }
    }

    fn show(&mut self, elapsed: Duration, answered: u64) {
        let (since, had) = (elapsed - self.before.0, answered.saturating_sub(self.before.1));
        if !self.is_shown || since < Duration::from_millis(250) {
            return;
        }
        self.before = (elapsed, answered);
        let per_second = had as f64 / since.as_secs_f64();
        let (elapsed, all) = (elapsed.as_secs_f64(), self.all.as_secs_f64());
        let line =
            format!("\r{elapsed:5.1} of {all:.1} s   {answered} answers   {per_second:.0} per second \x1b[K");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
