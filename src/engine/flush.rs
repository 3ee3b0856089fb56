//! The flusher: what was counted reaches the disk every 50 ms, or at once when somebody waits for it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{Engine, Space};
use crate::journal::{JournalError, Sequence};
use crate::model::time::UnixMillis;

/// How long usage stays in memory at most while the disk keeps up.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// After a storage error the flusher tries again at this pace: often enough to resume soon after space returns,
/// seldom enough not to bury a sick disk under new segments.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A flush that takes longer than this is a disk that hangs: reports would only pile up behind it. Far above the
/// slowest sync of a disk that works (115 ms measured).
const STALLED_AFTER: Duration = Duration::from_secs(3);

/// Stands for everything counted so far by whoever holds it; see [`Engine::durable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub(super) u64);

/// The journal could not be written: what the ticket stands for is counted, but may be lost in a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal cannot be written at present")]
pub struct NotDurable;

/// How the flusher fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushHealth {
    /// An upper bound on the age of the oldest usage that is in memory only.
    pub unflushed_age: Duration,
    /// Whether the last flush failed.
    pub failing: bool,
}

/// Up to which cut the journal is synced, and up to which a flush has failed.
#[derive(Clone, Copy, Default)]
struct Progress {
    flushed: u64,
    failed: u64,
}

pub(super) struct FlushState {
    progress: watch::Sender<Progress>,
    wanted: Mutex<Wanted>,
    wake: Condvar,
    failing: AtomicBool,
    opened: Instant,
    /// When the last successful flush began, in milliseconds after `opened`.
    flushed_at_ms: AtomicU64,
    /// A [`Space`].
    pub(super) space: AtomicU8,
}

#[derive(Default)]
struct Wanted {
    cut: u64,
    stop: bool,
}

impl FlushState {
    pub(super) fn new() -> Self {
        FlushState {
            progress: watch::Sender::new(Progress::default()),
            wanted: Mutex::default(),
            wake: Condvar::new(),
            failing: AtomicBool::new(false),
            opened: Instant::now(),
            flushed_at_ms: AtomicU64::new(0),
            space: AtomicU8::new(Space::Enough as u8),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for the interval, or until somebody wants a cut that is not flushed. True to go on, false to stop.
    fn wait(&self, flushed: u64, interval: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        if wanted.cut <= flushed && !wanted.stop {
            self.wake.wait_for(&mut wanted, interval);
        }
        !wanted.stop
    }
}

/// Tells all who wait, when the flusher ends, that no further flush will come.
struct Ended<'a>(&'a FlushState);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| progress.failed = u64::MAX);
    }
}

impl Engine {
    /// Runs the flusher until [`Engine::stop_flusher`]; then flushes a last time. For a thread of its own.
    ///
    /// `wall` reads the clock; `failed` is told of each storage error, once per attempt.
    ///
    /// # Errors
    /// The last flush failed: usage since the last successful one is lost when the process ends.
    pub fn run_flusher(
        &self,
        wall: impl Fn() -> UnixMillis,
        mut failed: impl FnMut(&JournalError),
    ) -> Result<(), JournalError> {
        // However this ends, nobody may wait for a flush that will not come.
        let _ended = Ended(&self.flush);
        let mut tried = 0;
        let mut interval = FLUSH_INTERVAL;
        while self.flush.wait(tried, interval) {
            interval = match self.flush(wall()) {
                Ok(()) => FLUSH_INTERVAL,
                Err(error) => {
                    failed(&error);
                    RETRY_INTERVAL
                }
            };
            let progress = *self.flush.progress.borrow();
            tried = progress.flushed.max(progress.failed);
        }
        self.flush(wall())
    }

    /// Makes [`Engine::run_flusher`] flush once more and return. What is counted after that is not flushed.
    pub fn stop_flusher(&self) {
        self.flush.wanted.lock().stop = true;
        self.flush.wake.notify_all();
    }

    /// Cuts all shards and syncs the journal. For the flusher's thread only.
    ///
    /// # Errors
    /// The storage error; everything stays in memory and goes with the next flush.
    pub fn flush(&self, wall: UnixMillis) -> Result<(), JournalError> {
        let began_ms = self.flush.elapsed_ms();
        if self.is_failing() {
            // What was cut before must be written first. Until then usage stays in the shards, where it aggregates,
            // instead of piling up in the journal's memory.
            let number = {
                let _sequencer = self.sequencer.lock();
                self.journal.collect();
                self.gate.read().cuts
            };
            let written = self.journal.write(self.now(wall));
            self.flushed(&written, number, began_ms);
            written?;
        }
        let number = {
            let mut sequencer = self.sequencer.lock();
            let cut = self.cut(&mut sequencer);
            self.append_usage(&cut);
            let number = cut.number;
            sequencer.recycle(cut);
            // Under the sequencer: a group must hold whole cuts, or half a report could be recovered.
            self.journal.collect();
            number
        };
        // The clock after the cut: a group is not older than what is in it.
        let now = self.now(wall);
        self.counters.sweep(now);
        let written = self.journal.write(now);
        self.flushed(&written, number, began_ms);
        written.map(drop)
    }

    /// Notes how a flush of all cuts up to `number` went.
    fn flushed(&self, written: &Result<Sequence, JournalError>, number: u64, began_ms: u64) {
        self.flush.failing.store(written.is_err(), Ordering::Relaxed);
        self.flush.progress.send_modify(|progress| match written {
            Ok(_) => progress.flushed = number,
            Err(_) => progress.failed = number,
        });
        if written.is_ok() {
            self.flush.flushed_at_ms.store(began_ms, Ordering::Relaxed);
        }
    }

    /// A ticket for everything that is counted by now.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.gate.read().next_ticket()
    }

    /// Waits until what `ticket` stands for is on disk. All who wait at a time share one sync.
    ///
    /// # Errors
    /// A flush that included it failed. The usage stays counted, and is written when the disk takes writes again.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), NotDurable> {
        self.want(ticket);
        let mut progress = self.flush.progress.subscribe();
        let done = progress.wait_for(|it| it.flushed >= ticket.0 || it.failed >= ticket.0).await;
        match done {
            Ok(progress) if progress.flushed >= ticket.0 => Ok(()),
            _ => Err(NotDurable),
        }
    }

    /// As [`Engine::durable`], for threads outside a runtime.
    ///
    /// # Errors
    /// As [`Engine::durable`].
    pub fn durable_blocking(&self, ticket: Ticket) -> Result<(), NotDurable> {
        self.wait_for(ticket, || true)
    }

    /// As [`Engine::durable_blocking`], but no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`Engine::durable`], or the deadline has passed.
    pub fn durable_until(&self, ticket: Ticket, deadline: Instant) -> Result<(), NotDurable> {
        self.wait_for(ticket, || Instant::now() < deadline)
    }

    fn wait_for(&self, ticket: Ticket, go_on: impl Fn() -> bool) -> Result<(), NotDurable> {
        self.want(ticket);
        while go_on() {
            let progress = *self.flush.progress.borrow();
            if progress.flushed >= ticket.0 {
                return Ok(());
            }
            if progress.failed >= ticket.0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(NotDurable)
    }

    /// How the flusher fares.
    #[must_use]
    pub fn flush_health(&self) -> FlushHealth {
        let flushed_at_ms = self.flush.flushed_at_ms.load(Ordering::Relaxed);
        let age_ms = self.flush.elapsed_ms().saturating_sub(flushed_at_ms);
        FlushHealth { unflushed_age: Duration::from_millis(age_ms), failing: self.is_failing() }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.flush.failing.load(Ordering::Relaxed)
    }

    /// Whether durable answers are refused: the disk takes no writes, hangs, or is to take no more of them.
    pub(super) fn is_stalled(&self) -> bool {
        let health = self.flush_health();
        health.failing || health.unflushed_age > STALLED_AFTER || self.space() == Space::Critical
    }

    fn want(&self, ticket: Ticket) {
        let mut wanted = self.flush.wanted.lock();
        if wanted.cut < ticket.0 {
            wanted.cut = ticket.0;
            self.flush.wake.notify_one();
        }
    }
}
