//! Connections, the threads that drive them, and one run after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smallvec::SmallVec;

use super::binary::{Binary, Bodies};
use super::http::{Http, Requests};
use super::keys::Urn;
use super::line::Line;
use super::pace::Pace;
use super::session::Session;
use super::speech::{By, Foreign, Other, Speech};
use super::subjects::{Access, Subjects};
use super::tally::Tally;
use super::target::Stream;
use super::{LoadError, Target};

/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often threads look whether they should stop, and who watches is told.
const TICK: Duration = Duration::from_millis(100);

/// How the connections are to be.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many.
    pub connections: usize,
    /// Requests that each keeps unanswered.
    pub depth: usize,
    /// Calls of a BATCH; 0 for a request each.
    pub batch: usize,
    /// How applications are named.
    pub by: By,
    /// Threads that drive them.
    pub threads: usize,
}

/// What to do with them.
#[derive(Clone, Debug)]
pub struct Work {
    /// Whom to call for.
    pub urn: Urn,
    /// Calls per second of all connections together; `None` for as many as are answered.
    pub rate: Option<f64>,
    /// What comes before the measurement.
    pub warm_up: Duration,
    /// How long to measure.
    pub duration: Duration,
}

/// What whoever watches a run is told.
#[derive(Clone, Copy, Debug)]
pub enum Tick {
    /// From now on it is measured; so many calls were answered before.
    Begin(u64),
    /// It goes on.
    Now {
        /// Since it began to warm up.
        elapsed: Duration,
        /// Calls answered so far, in warming up too.
        answered: u64,
    },
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answers, all parts together.
    pub tally: Tally,
    /// From the beginning of the measurement to its last answer.
    pub elapsed: Duration,
    /// All calls answered, in warming up too.
    pub answered: u64,
}

/// Connections that are open. Between runs nothing is unanswered on them.
#[derive(Debug)]
pub struct Crew {
    hands: Vec<Vec<Line>>,
    connections: usize,
    calls: usize,
    applications: usize,
    /// The process at the other end, where the system tells it.
    pub peer_pid: Option<u32>,
    /// The depth that the node allowed, if it is less than what was wanted.
    pub depth_allowed: Option<usize>,
}

impl Crew {
    /// Connects.
    ///
    /// # Errors
    /// The node cannot be reached, refuses who we are, or the batch is too large for it.
    pub fn connect(
        target: &Target,
        access: &Access,
        subjects: &Subjects,
        setup: &Setup,
    ) -> Result<Crew, LoadError> {
        let said = Said::of(target, access, subjects, setup.by);
        let (mut peer_pid, mut depth_allowed) = (None, None);
        let lines = (0..setup.connections).map(|_| {
            let bodies = match &said {
                Said::Binary(bodies) => bodies,
                Said::Http(requests) => {
                    return Ok((target.connect()?, Speech::Http(Http::new(requests)), setup.depth));
                }
            };
            let session = Session::open(target, access, subjects.service.as_deref(), setup.depth)?;
            let depth = setup.depth.min(session.welcome.window as usize).max(1);
            peer_pid = peer_pid.or(session.stream.peer_pid());
            depth_allowed = depth_allowed.or((depth < setup.depth).then_some(depth));
            let binary = Binary::new(bodies, setup.batch, session.welcome.frame_max)?;
            Ok((session.stream, Speech::Binary(binary), depth))
        });
        let crew = Crew::of(setup, subjects.user_keys.len(), lines.collect())?;
        Ok(Crew { peer_pid, depth_allowed, ..crew })
    }

    /// Connects to a server that is no node, and speaks what `make` makes with it.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn connect_foreign(
        target: &Target,
        applications: usize,
        setup: &Setup,
        make: impl Fn() -> Box<dyn Foreign>,
    ) -> Result<Crew, LoadError> {
        let line = |_| Ok((target.connect()?, Speech::Other(Other::new(make())), setup.depth));
        Crew::of(setup, applications, (0..setup.connections).map(line).collect())
    }

    fn of(
        setup: &Setup,
        applications: usize,
        lines: Result<Vec<(Stream, Speech, usize)>, LoadError>,
    ) -> Result<Crew, LoadError> {
        let calls = setup.batch.max(1);
        let threads = setup.threads.clamp(1, setup.connections);
        let mut hands: Vec<Vec<Line>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, (stream, speech, depth)) in lines?.into_iter().enumerate() {
            stream.stop_blocking()?;
            hands[number % threads].push(Line::new(stream, speech, depth, calls, number as u64));
        }
        let connections = setup.connections;
        Ok(Crew { hands, connections, calls, applications, peer_pid: None, depth_allowed: None })
    }

    /// Makes calls until `work` is done, or `stop` is set. `watch` is told how it goes.
    ///
    /// # Errors
    /// A connection broke, or what was asked was never answered.
    pub fn run(
        &mut self,
        work: &Work,
        stop: &AtomicBool,
        mut watch: impl FnMut(Tick),
    ) -> Result<Outcome, LoadError> {
        let count = self.connections;
        let rate = work.rate.map(|rate| rate / self.calls as f64);
        for (number, line) in self.hands.iter_mut().flatten().enumerate() {
            line.pace = rate.map(|rate| Pace::new(rate, number, count));
        }
        if work.warm_up.is_zero() {
            watch(Tick::Begin(0));
        }
        let start = Instant::now();
        let answered: Vec<AtomicU64> = self.hands.iter().map(|_| AtomicU64::new(0)).collect();
        let sum = || answered.iter().map(|it| it.load(Ordering::Relaxed)).sum::<u64>();
        let applications = self.applications;
        let (done, is_done) = mpsc::channel();
        let parts = std::thread::scope(|scope| {
            let threads = self.hands.iter_mut().zip(&answered).map(|(lines, answered)| {
                let done = done.clone();
                scope.spawn(move || {
                    let tally = Tally::new(applications);
                    let mut hand = Hand { lines, work, stop, start, answered, tally, last_ns: 0 };
                    let result = hand.run();
                    // Nobody waits any more only if the other end has gone.
                    let _ = done.send(());
                    result.map(|()| (hand.tally, hand.last_ns))
                })
            });
            let threads: Vec<_> = threads.collect();
            let mut running = threads.len();
            let mut has_begun = work.warm_up.is_zero();
            while running > 0 && threads.iter().any(|thread| !thread.is_finished()) {
                let to_begin = if has_begun { TICK } else { work.warm_up.saturating_sub(start.elapsed()) };
                match is_done.recv_timeout(to_begin.min(TICK)) {
                    Ok(()) => running -= 1,
                    Err(_) => watch(Tick::Now { elapsed: start.elapsed(), answered: sum() }),
                }
                if !has_begun && start.elapsed() >= work.warm_up {
                    has_begun = true;
                    watch(Tick::Begin(sum()));
                }
            }
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Vec<_>>()
        });
        let mut tally = Tally::new(applications);
        let mut last_ns = 0;
        for part in parts {
            let (part, at_ns) = part?;
            tally.add(&part);
            last_ns = at_ns.max(last_ns);
        }
        let elapsed = match Duration::from_nanos(last_ns).checked_sub(work.warm_up) {
            Some(elapsed) if !elapsed.is_zero() => elapsed,
            _ if stop.load(Ordering::Relaxed) => return Err(LoadError::Stopped),
            _ => work.duration,
        };
        Ok(Outcome { tally, elapsed, answered: sum() })
    }
}

/// What connections say, made once for all of them.
enum Said {
    Binary(Arc<Bodies>),
    Http(Arc<Requests>),
}

impl Said {
    fn of(target: &Target, access: &Access, subjects: &Subjects, by: By) -> Said {
        let Target::Http(address) = target else { return Said::Binary(Arc::new(Bodies::new(subjects, by))) };
        let token = match access {
            Access::ServiceToken(token) => token,
            Access::None | Access::NodeSecret(_) => "",
        };
        let service = subjects.service.as_deref().unwrap_or_default();
        let Subjects { user_keys, metrics, .. } = subjects;
        Said::Http(Arc::new(Requests::new(&address.to_string(), service, token, user_keys, metrics)))
    }
}

/// One thread with its connections.
struct Hand<'r> {
    lines: &'r mut [Line],
    work: &'r Work,
    stop: &'r AtomicBool,
    start: Instant,
    answered: &'r AtomicU64,
    tally: Tally,
    /// When the last answer came.
    last_ns: u64,
}

impl Hand<'_> {
    fn run(&mut self) -> Result<(), LoadError> {
        let result = self.turn_by_turn();
        if result.is_err() {
            // The others have nothing to measure either.
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn turn_by_turn(&mut self) -> Result<(), LoadError> {
        let start = self.start;
        let now = || nanos(start.elapsed());
        let begin_ns = nanos(self.work.warm_up);
        let mut end_ns = begin_ns + nanos(self.work.duration);
        let mut is_measuring = begin_ns == 0;
        let (mut before, mut had) = (0, 0);
        loop {
            let now_ns = now();
            let answers = self.tally.answers();
            if answers != had {
                before += answers - had;
                had = answers;
                self.last_ns = now_ns;
                self.answered.store(before, Ordering::Relaxed);
            }
            if !is_measuring && now_ns >= begin_ns {
                is_measuring = true;
                had = 0;
                self.tally.begin();
            }
            if self.stop.load(Ordering::Relaxed) {
                end_ns = end_ns.min(now_ns);
            }
            for line in &mut *self.lines {
                line.ask(now_ns, end_ns, &self.work.urn, &mut self.tally);
                line.send()?;
            }
            if now_ns >= end_ns && self.is_over(now_ns, end_ns)? {
                return Ok(());
            }
            let ready = self.wait(now_ns, end_ns)?;
            for (line, is_ready) in self.lines.iter_mut().zip(ready) {
                if is_ready {
                    line.receive(now, &mut self.tally)?;
                    line.ask(now(), end_ns, &self.work.urn, &mut self.tally);
                    line.send()?;
                }
            }
        }
    }

    /// Whether nothing is to be sent or heard any more, after the end.
    fn is_over(&mut self, now_ns: u64, end_ns: u64) -> Result<bool, LoadError> {
        let give_up_ns = end_ns + nanos(PATIENCE);
        if now_ns >= give_up_ns || self.stop.load(Ordering::Relaxed) {
            let unsent = |line: &mut Line| line.pace.take().map_or(0, |pace| pace.left(end_ns));
            self.tally.unsent += self.lines.iter_mut().map(unsent).sum::<u64>();
        }
        let unanswered: usize = self.lines.iter().map(Line::unanswered).sum();
        if unanswered > 0 {
            let is_silent = now_ns >= give_up_ns + nanos(PATIENCE);
            let silent = LoadError::Silent { unanswered, within: 2 * PATIENCE };
            return if is_silent { Err(silent) } else { Ok(false) };
        }
        Ok(self.lines.iter().filter_map(|line| line.pace).all(|pace| pace.left(end_ns) == 0))
    }

    /// Waits until something has come, can be sent, or is due. Which lines have something.
    fn wait(&self, now_ns: u64, end_ns: u64) -> Result<SmallVec<[bool; 64]>, LoadError> {
        let due = self.lines.iter().filter_map(Line::due_ns).filter(|due_ns| *due_ns < end_ns).min();
        let wait_ns = due.map_or(nanos(TICK), |due_ns| due_ns.saturating_sub(now_ns).min(nanos(TICK)));
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ns as i64 };
        let polled = self.lines.iter().map(|line| PollFd::new(&line.stream, line.interest()));
        let mut polled: SmallVec<[PollFd<'_>; 64]> = polled.collect();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        Ok(polled.iter().map(|it| it.revents().intersects(!PollFlags::OUT)).collect())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
