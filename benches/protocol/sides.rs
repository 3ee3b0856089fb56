//! The two sides of a comparison: servers in processes of their own, and what is asked of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tollgate::cli::load::{
    Access, Cpu, Crew, Distribution, LoadError, OwnNode, Setup, Shape, Subjects, Target, Urn, Work,
};

/// A server and who is called on it.
pub(super) struct Server {
    target: Target,
    access: Access,
    pid: u32,
    pub(super) subjects: Arc<Subjects>,
    life: Life,
}

enum Life {
    Node(OwnNode),
    Echo(Child),
}

impl Server {
    /// A node with `applications` of that shape, all bound.
    pub(super) fn node(shape: &Shape, applications: usize) -> Result<Server, LoadError> {
        // Both sides of a row may be on it, and those of the row before may still be closing.
        let node = OwnNode::start(env!("CARGO_BIN_EXE_tollgate").as_ref(), 4 * CONNECTIONS)?;
        let mut subjects = node.create(shape, applications, &AtomicBool::new(false))?;
        let (target, access) = (node.tcp()?, node.access());
        subjects.bind(&target, &access)?;
        Ok(Server { target, access, pid: node.pid(), subjects: Arc::new(subjects), life: Life::Node(node) })
    }

    /// This program again, as an echo server that is asked the same as `node`.
    pub(super) fn echo(node: &Server) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", "echo"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server {
            target: Target::Tcp(line.trim().parse().unwrap()),
            access: Access::None,
            pid: child.id(),
            subjects: Arc::clone(&node.subjects),
            life: Life::Echo(child),
        }
    }

    /// Compares what a node counted with what it said yes to; what it counted.
    pub(super) fn check(&self, counted: &[u64]) -> Result<u64, LoadError> {
        match &self.life {
            Life::Node(node) => node.check(&self.subjects, counted),
            Life::Echo(_) => Ok(0),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Life::Echo(child) = &mut self.life {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

pub(super) const CONNECTIONS: usize = 16;

/// Whom calls are for.
#[derive(Clone, Copy)]
pub(super) enum Drawn {
    Uniform,
    Zipf,
    /// One application alone.
    Hot,
}

/// Connections to one of the sides.
pub(super) struct Side {
    crew: Crew,
    work: Work,
    pid: u32,
    /// What was said yes to, application by application.
    pub(super) counted: Vec<u64>,
}

/// What one round of one side came to.
#[derive(Clone, Copy)]
pub(super) struct Round {
    pub(super) cpu_us: f64,
    pub(super) per_s: f64,
}

impl Side {
    pub(super) fn new(
        server: &Server,
        setup: &Setup,
        drawn: Drawn,
        duration: Duration,
    ) -> Result<Side, LoadError> {
        let crew = Crew::connect(&server.target, &server.access, &server.subjects, setup)?;
        let all = u32::try_from(server.subjects.user_keys.len()).unwrap();
        let urn = match drawn {
            Drawn::Uniform => Urn::new(Distribution::Uniform, all, 1),
            Drawn::Zipf => Urn::new(Distribution::Zipf { exponent: 1.0 }, all, 1),
            Drawn::Hot => Urn::new(Distribution::Uniform, 1, 1),
        };
        let work = Work { urn, rate: None, warm_up: Duration::ZERO, duration };
        Ok(Side { crew, work, pid: server.pid, counted: vec![0; server.subjects.user_keys.len()] })
    }

    /// Loads it once. Nothing but yes is an answer.
    pub(super) fn run(&mut self) -> Result<Round, LoadError> {
        let before = Cpu::of(self.pid).unwrap();
        let outcome = self.crew.run(&self.work, &AtomicBool::new(false), |_| {})?;
        let spent = before.since().unwrap();
        let tally = outcome.tally;
        assert_eq!((tally.no, tally.errors()), (0, 0), "{:?}", tally.failed);
        self.counted.iter_mut().zip(&tally.counted).for_each(|(sum, more)| *sum += more);
        Ok(Round {
            cpu_us: spent.as_secs_f64() * 1e6 / tally.yes as f64,
            per_s: tally.yes as f64 / outcome.elapsed.as_secs_f64(),
        })
    }
}
