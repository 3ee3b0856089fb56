//! A Tollgate node under the same load as the other servers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tollgate::cli::load::{
    By, Cpu, Crew, Distribution, LoadError, OwnNode, Setup, Shape, Subjects, Urn, Work,
};

use crate::{Peer, Round, Scale};

/// How everybody is loaded.
pub(super) fn setup(by: By) -> Setup {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Setup { connections: 16, depth: 64, batch: 0, by, threads }
}

/// Loads a server once. Nothing but yes is an answer.
pub(super) fn run(
    crew: &mut Crew,
    pid: u32,
    applications: usize,
    duration: Duration,
) -> Result<Round, LoadError> {
    let count = u32::try_from(applications).expect("few");
    let urn = Urn::new(Distribution::Uniform, count, 1);
    let work = Work { urn, rate: None, warm_up: Duration::ZERO, duration };
    let cpu = Cpu::of(pid).ok_or(LoadError::Closed)?;
    let outcome = crew.run(&work, &AtomicBool::new(false), |_| {})?;
    let tally = &outcome.tally;
    assert_eq!((tally.no, tally.errors()), (0, 0), "{:?}", tally.failed);
    Ok(Round { decisions: tally.yes, elapsed: outcome.elapsed, cpu: cpu.since().ok_or(LoadError::Closed)? })
}

pub(super) struct Node {
    node: OwnNode,
    subjects: Arc<Subjects>,
}

impl Node {
    /// Three metrics in a chain, three limits each.
    pub(super) fn start(scale: &Scale) -> Result<Node, LoadError> {
        let node = OwnNode::start(&scale.tollgate, 64)?;
        let mut subjects = node.create(&Shape::chain(), scale.applications, &AtomicBool::new(false))?;
        subjects.bind(&node.tcp()?, &node.access())?;
        Ok(Node { node, subjects: Arc::new(subjects) })
    }

    pub(super) fn by_handle(&self) -> Result<Side<'_>, LoadError> {
        self.side(By::Handle)
    }

    pub(super) fn by_key(&self) -> Result<Side<'_>, LoadError> {
        self.side(By::Key)
    }

    fn side(&self, by: By) -> Result<Side<'_>, LoadError> {
        let crew = Crew::connect(&self.node.tcp()?, &self.node.access(), &self.subjects, &setup(by))?;
        Ok(Side { node: self, crew, by })
    }
}

pub(super) struct Side<'n> {
    node: &'n Node,
    crew: Crew,
    by: By,
}

impl Peer for Side<'_> {
    fn name(&self) -> String {
        let by = if self.by == By::Handle { "handle" } else { "key" };
        format!("Tollgate by {by}, 9 limits, 3 metrics")
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Node { node, subjects } = self.node;
        run(&mut self.crew, node.pid(), subjects.user_keys.len(), duration)
    }
}
