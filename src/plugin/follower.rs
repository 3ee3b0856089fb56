//! Following the journal: one thread per plugin.
//!
//! The thread shows what is synced to the plugin's [`Derive`], a few mebibytes at a time, and writes what came of it to
//! the shelf together with the position. A transaction with nothing but a position is not worth a sync: the position
//! is put down every `POSITION_INTERVAL` then, and reading the same entries again derives nothing again.
//!
//! Segments that a follower still needs are kept for it, up to [`LAG_BYTES_MAX`]: then it is detached, says so, and
//! goes on where the journal begins.
//!
//! What could not be written is written before more is read: while the shelf fails, a follower has in memory what it read at once, and no more.
//!
//! While the disk has little room ([`Space::Low`]) it takes nothing in and writes nothing: it falls behind, within the same cap,
//! and whoever asks for what it has not taken in is told so at once. When there is room again it goes on where it was.
//!
//! One that keeps what nobody can derive again ([`Derive::HOLDS`]) is not put off: what it writes is much less than the journal that would be kept for
//! it. For it there may be up to [`HELD_BYTES_MAX`]; that it is further behind than others may be shows in the node's readiness.
//!
//! A plugin may gather what it derives, and write it when it says so ([`Derive::is_due`]); until then the stored position stays where it is, and
//! after a crash the same entries are read again. Whoever reads looks at what is gathered, too.
//!
//! After a panic all that was taken in and not written is forgotten, and read again: nobody knows what the entry left half done.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, NotDurable, Space};
use crate::journal::entry::{Entry, Kind};
use crate::journal::{FollowError, Follower, Sequence};
use crate::model::time::UnixMillis;
use crate::store::shelf::{Shelf, ShelfError, Writing};

/// How much of the journal is read at a time, and derived in one transaction.
const BYTES_AT_ONCE: u64 = 4 << 20;

/// How often a follower looks for news of itself.
const INTERVAL: Duration = Duration::from_millis(50);

/// How often the position is put down when nothing was derived, unless there was more journal than this since.
const POSITION_INTERVAL: Duration = Duration::from_secs(10);
/// What is kept of the journal for a follower's sake should not be many times a checkpoint.
const POSITION_BYTES: u64 = 8 << 20;

/// After a failure: the disk is full or sick, or there is a defect.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });

/// How long a read waits for its follower. Tests share their disk with others that wear it out, and ask for what was counted at once.
const CATCH_UP_MAX: Duration = Duration::from_millis(if cfg!(test) { 5000 } else { 500 });

/// The most journal that is kept for a follower: four checkpoints' worth.
pub const LAG_BYTES_MAX: u64 = 256 << 20;

/// The most journal that is kept for one that [holds](Derive::HOLDS) it: a shelf that cannot be written for so long is broken, and the disk is
/// needed for what is counted.
pub const HELD_BYTES_MAX: u64 = 4 << 30;

/// What a plugin makes of the journal. Called by one thread.
pub trait Derive: Send + 'static {
    /// Which entries it takes in.
    fn wants(kind: Kind) -> bool;

    /// Takes in an entry, in memory only. Each comes once, in order.
    fn entry(&mut self, time: UnixMillis, entry: Entry);

    /// Whether the journal is kept for it longer than for others, and it takes it in when the disk has little room, too.
    const HOLDS: bool = false;

    /// Whether there is nothing to write of what was taken in.
    fn is_empty(&self) -> bool;

    /// Whether what was taken in is to be written now; asked when there is some.
    fn is_due(&self) -> bool {
        true
    }

    /// How much of the journal may lie between what was taken in and what was written before it is written whatever [`Derive::is_due`] says.
    fn journal_bytes(&self) -> u64 {
        POSITION_BYTES
    }

    /// Writes what was derived of the entries since the last call of [`Derive::written`]. May be called again with the
    /// same, if it is not known that the transaction was completed; it may have been nevertheless.
    ///
    /// # Errors
    /// The shelf's.
    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError>;

    /// The transaction was completed.
    fn written(&mut self);

    /// Forgets what was taken in and not written: it comes again.
    fn forget(&mut self);
}

/// The follower has not come as far as what was just counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Behind {
    /// What was counted is not on disk yet.
    #[error("the journal cannot be written at present")]
    NotDurable,
    /// It still reads.
    #[error("{entries} entries of the journal are not read yet")]
    Lagging {
        /// How many.
        entries: u64,
    },
    /// It reads and writes nothing while the disk has little room.
    #[error("the disk is nearly full: {entries} entries of the journal are read later")]
    PutOff {
        /// How many.
        entries: u64,
    },
}

impl From<NotDurable> for Behind {
    fn from(_: NotDurable) -> Self {
        Behind::NotDurable
    }
}

/// A plugin's thread, and how far it is.
pub struct Following {
    name: &'static str,
    engine: Arc<Engine>,
    shelf: Arc<Shelf>,
    /// Up to where what was derived can be read.
    position: Mutex<Sequence>,
    moved: Condvar,
    /// Up to where the shelf says it was derived: what is needed again after a crash comes later.
    stored: AtomicU64,
    news: Mutex<News>,
    wake: Condvar,
    /// See [`Derive::HOLDS`].
    holds: bool,
}

/// What a follower's thread works with.
struct Work<D> {
    derive: D,
    follower: Follower,
    /// When the position was put down last.
    put_down: Instant,
    /// The last try to write failed.
    is_unwritten: bool,
    /// It panicked: what it has in memory is worth nothing, and where it is only the shelf knows.
    is_lost: bool,
}

#[derive(Default)]
struct News {
    stop: bool,
    look: bool,
}

impl Following {
    /// Follows the journal with `derive` in a thread of its own, from where the shelf's content ends.
    ///
    /// # Errors
    /// The shelf cannot be read, or the system gives no thread.
    pub fn start<D: Derive>(
        name: &'static str,
        engine: Arc<Engine>,
        shelf: Arc<Shelf>,
        derive: D,
    ) -> std::io::Result<(Arc<Following>, JoinHandle<()>)> {
        let position = shelf.position().map_err(std::io::Error::other)?;
        let following = Arc::new(Following {
            name,
            engine,
            shelf,
            position: Mutex::new(position),
            moved: Condvar::new(),
            stored: AtomicU64::new(position.0),
            news: Mutex::default(),
            wake: Condvar::new(),
            holds: D::HOLDS,
        });
        let run = {
            let following = Arc::clone(&following);
            move || following.run(derive, position)
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok((following, thread))
    }

    /// Makes the thread end, once it has taken in what is synced.
    pub fn stop(&self) {
        self.news.lock().stop = true;
        self.wake.notify_all();
    }

    /// The first sequence that must be kept for this follower; any, once that would be more than [`LAG_BYTES_MAX`], or [`HELD_BYTES_MAX`] if it holds
    /// the journal.
    #[must_use]
    pub fn needs(&self) -> Sequence {
        self.needs_up_to(if self.holds { HELD_BYTES_MAX } else { LAG_BYTES_MAX })
    }

    fn needs_up_to(&self, lag_bytes_max: u64) -> Sequence {
        let stored = Sequence(self.stored.load(Ordering::Relaxed));
        if self.engine.journal().bytes_since(stored) > lag_bytes_max {
            Sequence(u64::MAX)
        } else {
            stored.next()
        }
    }

    /// How many synced entries it has not taken in.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.engine.journal().synced().0.saturating_sub(self.position.lock().0)
    }

    /// Waits until everything counted or changed before this call is on disk and taken in. For threads outside a
    /// runtime.
    ///
    /// # Errors
    /// It takes longer than half a second, or is put off.
    pub fn catch_up(&self) -> Result<(), Behind> {
        let deadline = Instant::now() + CATCH_UP_MAX;
        self.engine.durable_until(self.engine.ticket(), deadline)?;
        let target = self.engine.journal().synced();
        self.news.lock().look = true;
        self.wake.notify_all();
        let mut position = self.position.lock();
        while *position < target {
            if self.is_put_off() {
                return Err(Behind::PutOff { entries: target.0.saturating_sub(position.0) });
            }
            if self.moved.wait_until(&mut position, deadline).timed_out() {
                return Err(Behind::Lagging { entries: target.0.saturating_sub(position.0) });
            }
        }
        Ok(())
    }

    /// Whether it holds the journal, and is so far behind that another would be detached.
    #[must_use]
    pub fn is_far_behind(&self) -> bool {
        let stored = Sequence(self.stored.load(Ordering::Relaxed));
        self.holds && self.engine.journal().bytes_since(stored) > LAG_BYTES_MAX
    }

    fn is_put_off(&self) -> bool {
        !self.holds && self.engine.space() >= Space::Low
    }

    fn run<D: Derive>(&self, derive: D, position: Sequence) {
        let errors = metrics::counter!("tollgate_follower_errors_total", "follower" => self.name);
        let lag = metrics::gauge!("tollgate_follower_lag_entries", "follower" => self.name);
        let follower = Follower::after(position);
        let mut work =
            Work { derive, follower, put_down: Instant::now(), is_unwritten: false, is_lost: false };
        let mut interval = Duration::ZERO;
        loop {
            let stopping = self.wait(interval);
            let step = || self.step(&mut work, stopping);
            let seen_all = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
                work.is_lost = true;
                Err(StepError::Panicked)
            });
            lag.set(self.lag() as f64);
            interval = match seen_all {
                Ok(true) if stopping => return,
                Ok(true) => INTERVAL,
                Ok(false) => Duration::ZERO,
                Err(error) => {
                    errors.increment(1);
                    tracing::error!(follower = self.name, %error, "cannot follow the journal, will try again");
                    if stopping {
                        return;
                    }
                    RETRY_INTERVAL
                }
            };
        }
    }

    /// Waits for news; whether to stop.
    fn wait(&self, interval: Duration) -> bool {
        let mut news = self.news.lock();
        if !news.stop && !news.look && !interval.is_zero() {
            self.wake.wait_for(&mut news, interval);
        }
        news.look = false;
        news.stop
    }

    fn step<D: Derive>(&self, work: &mut Work<D>, stopping: bool) -> Result<bool, StepError> {
        if self.is_put_off() {
            return Ok(true);
        }
        if work.is_lost {
            self.begin_anew(work)?;
        }
        if work.is_unwritten && !work.derive.is_empty() {
            // Else each try would put more of the journal on top of it.
            self.write(work)?;
        }
        let Work { derive, follower, .. } = work;
        let take = |_, time, entry| derive.entry(time, entry);
        let read = self.engine.journal().read_on(follower, BYTES_AT_ONCE, D::wants, take);
        let position = follower.position();
        let stored = Sequence(self.stored.load(Ordering::Relaxed));
        let bytes = || self.engine.journal().bytes_since(stored);
        let is_due = if work.derive.is_empty() {
            let is_long_ago = || work.put_down.elapsed() >= POSITION_INTERVAL || bytes() >= POSITION_BYTES;
            position > stored && (stopping || is_long_ago())
        } else {
            stopping || work.derive.is_due() || bytes() >= work.derive.journal_bytes()
        };
        if is_due {
            self.write(work)?;
        }
        self.has_come_to(position);
        match read {
            Ok(seen_all) => Ok(seen_all),
            Err(FollowError::Pruned { next, oldest }) => {
                if next == Sequence(1) {
                    // A new shelf on a node that has been running.
                    tracing::warn!(follower = self.name, oldest = oldest.0, "begins where the journal does");
                } else {
                    tracing::error!(
                        follower = self.name,
                        next = next.0,
                        oldest = oldest.0,
                        "was too far behind and is detached: what lies between is not taken in"
                    );
                }
                work.follower = Follower::after(oldest.previous());
                Ok(false)
            }
            Err(FollowError::Journal(error)) => Err(error.into()),
        }
    }

    /// Goes back to what is on the shelf: it may have more than was known when the panic came.
    fn begin_anew(&self, work: &mut Work<impl Derive>) -> Result<(), ShelfError> {
        let position = self.shelf.position()?;
        work.derive.forget();
        work.follower = Follower::after(position);
        work.is_unwritten = false;
        work.is_lost = false;
        self.stored.store(position.0, Ordering::Relaxed);
        self.has_come_to(position);
        Ok(())
    }

    /// Writes what was derived, if anything was, with the position.
    fn write(&self, work: &mut Work<impl Derive>) -> Result<(), ShelfError> {
        let position = work.follower.position();
        work.is_unwritten = true;
        self.shelf.write(|writing| {
            work.derive.write(writing)?;
            writing.set_position(position)
        })?;
        work.derive.written();
        work.is_unwritten = false;
        self.stored.store(position.0, Ordering::Relaxed);
        work.put_down = Instant::now();
        self.has_come_to(position);
        Ok(())
    }

    /// Tells those who wait up to where what was derived can be read.
    fn has_come_to(&self, position: Sequence) {
        let mut known = self.position.lock();
        if *known != position {
            *known = position;
            self.moved.notify_all();
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("it panicked")]
    Panicked,
}
