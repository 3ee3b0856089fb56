//! Following the journal: one thread per plugin.
//!
//! The thread shows what is synced to the plugin's [`Derive`], a few mebibytes at a time, and writes what came of it to
//! the shelf together with the position. A transaction with nothing but a position is not worth a sync: the position
//! is put down every `POSITION_INTERVAL` then, and reading the same entries again derives nothing again.
//!
//! Segments that a follower still needs are kept for it, up to [`LAG_BYTES_MAX`]: then it is detached, says so, and
//! goes on where the journal begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, NotDurable};
use crate::journal::entry::{Entry, Kind};
use crate::journal::{FollowError, Follower, Sequence};
use crate::model::time::UnixMillis;
use crate::store::shelf::{Shelf, ShelfError, Writing};

/// How much of the journal is read at a time, and derived in one transaction.
const BYTES_AT_ONCE: u64 = 4 << 20;

/// How often a follower looks for news of itself.
const INTERVAL: Duration = Duration::from_millis(50);

/// How often the position is put down when nothing was derived.
const POSITION_INTERVAL: Duration = Duration::from_secs(10);

/// After a failure: the disk is full or sick, or there is a defect.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });

/// How long a read waits for its follower.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// The most journal that is kept for a follower: four checkpoints' worth.
pub const LAG_BYTES_MAX: u64 = 256 << 20;

/// What a plugin makes of the journal. Called by one thread.
pub trait Derive: Send + 'static {
    /// Which entries it takes in.
    fn wants(kind: Kind) -> bool;

    /// Takes in an entry, in memory only. Each comes once, in order.
    fn entry(&mut self, time: UnixMillis, entry: Entry);

    /// Whether there is nothing to write of what was taken in.
    fn is_empty(&self) -> bool;

    /// Writes what was derived of the entries since the last call of [`Derive::written`]. May be called again with the
    /// same, if the transaction was not completed.
    ///
    /// # Errors
    /// The shelf's.
    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError>;

    /// The transaction was completed.
    fn written(&mut self);
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
    pub fn start(
        name: &'static str,
        engine: Arc<Engine>,
        shelf: Arc<Shelf>,
        derive: impl Derive,
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

    /// The first sequence that must be kept for this follower; any, once that would be more than [`LAG_BYTES_MAX`].
    #[must_use]
    pub fn needs(&self) -> Sequence {
        let stored = Sequence(self.stored.load(Ordering::Relaxed));
        if self.engine.journal().bytes_since(stored) > LAG_BYTES_MAX {
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
    /// It takes longer than half a second.
    pub fn catch_up(&self) -> Result<(), Behind> {
        let deadline = Instant::now() + CATCH_UP_MAX;
        self.engine.durable_until(self.engine.ticket(), deadline)?;
        let target = self.engine.journal().synced();
        self.news.lock().look = true;
        self.wake.notify_all();
        let mut position = self.position.lock();
        while *position < target {
            if self.moved.wait_until(&mut position, deadline).timed_out() {
                return Err(Behind::Lagging { entries: target.0.saturating_sub(position.0) });
            }
        }
        Ok(())
    }

    fn run(&self, mut derive: impl Derive, position: Sequence) {
        let errors = metrics::counter!("tollgate_follower_errors_total", "follower" => self.name);
        let lag = metrics::gauge!("tollgate_follower_lag_entries", "follower" => self.name);
        let mut follower = Follower::after(position);
        let mut put_down = Instant::now();
        let mut interval = Duration::ZERO;
        loop {
            let stopping = self.wait(interval);
            let step = || self.step(&mut derive, &mut follower, &mut put_down, stopping);
            let seen_all = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(StepError::Panicked));
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

    fn step<D: Derive>(
        &self,
        derive: &mut D,
        follower: &mut Follower,
        put_down: &mut Instant,
        stopping: bool,
    ) -> Result<bool, StepError> {
        let take = |_, time, entry| derive.entry(time, entry);
        let read = self.engine.journal().read_on(follower, BYTES_AT_ONCE, D::wants, take);
        let position = follower.position();
        let is_due = position.0 > self.stored.load(Ordering::Relaxed)
            && (stopping || put_down.elapsed() >= POSITION_INTERVAL);
        if !derive.is_empty() || is_due {
            self.shelf.write(|writing| {
                derive.write(writing)?;
                writing.set_position(position)
            })?;
            derive.written();
            self.stored.store(position.0, Ordering::Relaxed);
            *put_down = Instant::now();
        }
        if *self.position.lock() != position {
            *self.position.lock() = position;
            self.moved.notify_all();
        }
        match read {
            Ok(seen_all) => Ok(seen_all),
            Err(FollowError::Pruned { next, oldest }) => {
                tracing::error!(
                    follower = self.name,
                    next = next.0,
                    oldest = oldest.0,
                    "was too far behind and is detached: what lies between is not taken in"
                );
                *follower = Follower::after(oldest.previous());
                Ok(false)
            }
            Err(FollowError::Journal(error)) => Err(error.into()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Recovery;
    use crate::journal::{Journal, Options};
    use crate::store::Table;

    const SEEN: Table = Table("seen");

    /// Counts commands on the shelf; fails as it is told to.
    #[derive(Default)]
    struct Count {
        taken: u64,
        panics_when_taking: u32,
        panics_when_writing: u32,
        gate: Arc<Mutex<()>>,
    }

    impl Derive for Count {
        fn wants(_: Kind) -> bool {
            true
        }

        fn entry(&mut self, _: UnixMillis, entry: Entry) {
            drop(self.gate.lock());
            if self.panics_when_taking > 0 {
                self.panics_when_taking -= 1;
                panic!("told to, when taking in");
            }
            self.taken += u64::from(matches!(entry, Entry::Command(_)));
        }

        fn is_empty(&self) -> bool {
            self.taken == 0
        }

        fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
            let before = writing.get(SEEN, &[])?.map_or(0, |bytes| u64::from(bytes[0]));
            writing.put(SEEN, &[], &[u8::try_from(before + self.taken).unwrap()])?;
            if self.panics_when_writing > 0 {
                self.panics_when_writing -= 1;
                panic!("told to, when writing");
            }
            Ok(())
        }

        fn written(&mut self) {
            self.taken = 0;
        }
    }

    struct World {
        engine: Arc<Engine>,
        shelf: Arc<Shelf>,
        flusher: Option<JoinHandle<()>>,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
            let journal = dir.path().join("journal");
            let (journal, _) = Journal::open(&journal, Options::default(), Sequence(0), nothing).unwrap();
            let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
            let flusher = {
                let engine = Arc::clone(&engine);
                std::thread::spawn(move || drop(engine.run_flusher(|| UnixMillis(1), |_| {})))
            };
            let shelf = Arc::new(Shelf::open(&dir.path().join("shelf")).unwrap());
            World { engine, shelf, flusher: Some(flusher), _dir: dir }
        }

        fn follow(&self, derive: Count) -> (Arc<Following>, JoinHandle<()>) {
            Following::start("test", Arc::clone(&self.engine), Arc::clone(&self.shelf), derive).unwrap()
        }

        fn change(&self, name: &str) {
            self.engine.change(|draft| draft.create_tenant(name, name)).unwrap();
        }

        fn seen(&self) -> u8 {
            self.shelf.read(|reading| reading.get(SEEN, &[])).unwrap().map_or(0, |bytes| bytes[0])
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.engine.stop_flusher();
            self.flusher.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn what_was_changed_before_is_taken_in_once_also_by_the_next_who_follows() {
        let world = World::new();
        let (following, thread) = world.follow(Count::default());
        for number in 1..=3 {
            world.change(&format!("t{number}"));
            following.catch_up().unwrap();
            assert_eq!((world.seen(), following.lag()), (number, 0));
        }
        following.stop();
        thread.join().unwrap();
        world.change("t4");
        let (following, thread) = world.follow(Count::default());
        following.catch_up().unwrap();
        assert_eq!(world.seen(), 4);
        assert_eq!(following.needs(), world.engine.journal().synced().next());
        following.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_plugin_that_panics_goes_on_and_misses_and_doubles_nothing() {
        for (panics_when_taking, panics_when_writing) in [(2, 0), (0, 2), (1, 1)] {
            let world = World::new();
            let derive = Count { panics_when_taking, panics_when_writing, ..Count::default() };
            let (following, thread) = world.follow(derive);
            world.change("a");
            world.change("b");
            following.catch_up().unwrap();
            assert_eq!(world.seen(), 2);
            following.stop();
            thread.join().unwrap();
        }
    }

    #[test]
    fn who_waits_for_a_plugin_that_hangs_is_told_how_far_it_is_behind() {
        let world = World::new();
        let gate = Arc::new(Mutex::new(()));
        let (following, thread) = world.follow(Count { gate: Arc::clone(&gate), ..Count::default() });
        let held = gate.lock();
        world.change("a");
        assert_eq!(following.catch_up(), Err(Behind::Lagging { entries: 1 }));
        drop(held);
        following.catch_up().unwrap();
        following.stop();
        thread.join().unwrap();
    }
}
