//! Keeping a plugin's records: a shelf that has what commands have put there, and never what the journal may lose.
//!
//! # States of a part
//! 1. *Appended*: in the journal's memory, with the rest of its command.
//! 2. *Applied*: on the shelf, not synced. Everybody reads it. A crash takes it back, and the journal, as far as it is synced,
//!    brings it again when the shelf is opened.
//! 3. *Settled*: the journal is synced up to it, and then the shelf is synced with its position. The journal is kept until then.
//!
//! The order of 3 is what matters: a shelf with a command that the journal lost would have half of it. So settling holds
//! the lock of commands, every [`SETTLE_INTERVAL`] in which there was one; whoever gives a command just then waits for two syncs.
//!
//! # When the shelf fails
//! What could not be applied or settled is in the journal. The keeper is *behind* then: the plugin is refused commands and reads,
//! and every few seconds the shelf is given a new file, and what it lacks is read from the journal, until it has it all.
//!
//! Meanwhile nothing is made from what the shelf has, as that is of an earlier moment: of commands of others those go on for which the plugin
//! need not look at its records, and others are refused ([`host`](super::host)). So each row in the journal was made from all rows before it, and
//! applying them in order, as often as it takes, ends with the right ones.

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, NotDurable};
use crate::journal::entry::{Command, Entry, Kind};
use crate::journal::rows::Rows;
use crate::journal::{FollowError, Follower, JournalError, Sequence};
use crate::store::shelf::{Shelf, ShelfError};

/// How often what was applied is settled.
pub const SETTLE_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// How often a shelf that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });

/// The position is put down, though nothing was applied, when so much journal was written since: it is kept until then.
const POSITION_BYTES: u64 = 8 << 20;

/// How long a sync of the journal is waited for.
const SYNC_MAX: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// How much of the journal is read at a time.
const BYTES_AT_ONCE: u64 = 4 << 20;

/// Why a shelf is not what the journal says.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be read or written.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be written at present.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// A part is none.
    #[error("entry {0} of the journal has a part for the plugin that cannot be read: {1}")]
    Part(Sequence, prost::DecodeError),
    /// It has what the journal does not have: they are from different times.
    #[error(
        "the shelf of {plugin} has what was changed up to entry {position}, but the journal ends at {last}"
    )]
    Ahead {
        /// Whose.
        plugin: &'static str,
        /// Up to where the shelf goes.
        position: Sequence,
        /// Where the journal ends.
        last: Sequence,
    },
}

/// A plugin's shelf, kept.
pub struct Keeper {
    name: &'static str,
    engine: Arc<Engine>,
    shelf: Shelf,
    state: Mutex<State>,
    wake: Condvar,
    /// Odd while a command is applied, or the shelf is brought up to the journal; see [`Keeper::moment`].
    turn: AtomicU64,
    /// The catalog version that was applied last.
    version: AtomicU64,
    /// Up to where the shelf is settled.
    stored: AtomicU64,
    failures: metrics::Counter,
}

struct State {
    /// Something was applied that is not settled.
    unsettled: bool,
    behind: bool,
    stop: bool,
}

impl Keeper {
    /// Brings a shelf to where the journal ends. Before the first command.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn open(name: &'static str, engine: Arc<Engine>, shelf: Shelf) -> Result<Keeper, KeepError> {
        let (position, last) = (shelf.position()?, engine.journal().last_appended());
        if position > last {
            return Err(KeepError::Ahead { plugin: name, position, last });
        }
        let version = engine.catalog().version;
        let keeper = Keeper {
            name,
            engine,
            shelf,
            state: Mutex::new(State { unsettled: false, behind: true, stop: false }),
            wake: Condvar::new(),
            turn: AtomicU64::new(0),
            version: AtomicU64::new(version),
            stored: AtomicU64::new(position.0),
            failures: metrics::counter!("tollgate_plugin_errors_total", "plugin" => name),
        };
        keeper.catch_up()?;
        Ok(keeper)
    }

    /// The shelf.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Whether the shelf lacks what the journal has.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.state.lock().behind
    }

    /// The first sequence that must be kept for it.
    #[must_use]
    pub fn needs(&self) -> Sequence {
        Sequence(self.stored.load(Ordering::Relaxed)).next()
    }

    /// A number that says which moment this is, and the catalog version whose parts are applied; nothing while a command is
    /// being applied, or the shelf brought up to the journal. What is read between two calls that say the same is of one moment.
    pub(super) fn moment(&self) -> Option<(u64, u64)> {
        let turn = self.turn.load(Ordering::Acquire);
        turn.is_multiple_of(2).then(|| (turn, self.version.load(Ordering::Acquire)))
    }

    /// Applies a command's part, while commands are held.
    pub(super) fn applied(&self, version: u64, rows: Option<&Rows>) {
        self.turn.fetch_add(1, Ordering::AcqRel);
        let mut state = self.state.lock();
        if !state.behind {
            match rows.map_or(Ok(()), |rows| self.write(rows)) {
                Ok(()) => {
                    state.unsettled |= rows.is_some();
                    self.version.store(version, Ordering::Release);
                }
                Err(error) => {
                    self.failures.increment(1);
                    tracing::error!(plugin = self.name, %error, "a command could not be applied, will try again");
                    state.behind = true;
                    self.wake.notify_all();
                }
            }
        }
        drop(state);
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    fn write(&self, rows: &Rows) -> Result<(), ShelfError> {
        self.shelf.write_for_now(|writing| {
            rows.iter().try_for_each(|(table, key, value)| writing.set_row(table, key, value))
        })
    }

    /// Settles and catches up until [`Keeper::stop`]. For a thread of its own.
    pub fn run(&self) {
        let mut interval = SETTLE_INTERVAL;
        while self.wait(interval) {
            let tended = if self.is_behind() { self.catch_up() } else { self.settle_if_due() };
            interval = match tended {
                Ok(()) => SETTLE_INTERVAL,
                Err(error) => {
                    self.failures.increment(1);
                    tracing::error!(plugin = self.name, %error, "the shelf cannot be kept up, will try again");
                    RETRY_INTERVAL
                }
            };
        }
    }

    /// Makes [`Keeper::run`] return. What is not settled is brought by the journal at the next start, unless the shelf is
    /// [settled](Keeper::settle) afterwards.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_all();
    }

    /// Waits; whether to go on.
    fn wait(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stop {
            self.wake.wait_for(&mut state, interval);
        }
        !state.stop
    }

    fn settle_if_due(&self) -> Result<(), KeepError> {
        let stored = Sequence(self.stored.load(Ordering::Relaxed));
        let is_due =
            self.state.lock().unsettled || self.engine.journal().bytes_since(stored) >= POSITION_BYTES;
        if is_due { self.settle() } else { Ok(()) }
    }

    /// Puts what was applied on disk, once the journal has it there.
    ///
    /// # Errors
    /// Journal or shelf cannot be written; nothing is lost by that.
    pub fn settle(&self) -> Result<(), KeepError> {
        self.engine.between_commands(|| {
            if self.is_behind() {
                return Ok(());
            }
            let target = self.engine.journal().last_appended();
            self.sync()?;
            let written = self.shelf.write(|writing| writing.set_position(target));
            let mut state = self.state.lock();
            if let Err(error) = written {
                state.behind = true;
                return Err(error.into());
            }
            state.unsettled = false;
            self.stored.store(target.0, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Applies what the journal has beyond what the shelf has.
    fn catch_up(&self) -> Result<(), KeepError> {
        self.engine.between_commands(|| {
            self.turn.fetch_add(1, Ordering::AcqRel);
            let caught_up = self.bring();
            self.turn.fetch_add(1, Ordering::AcqRel);
            caught_up
        })
    }

    /// Brings the shelf to where the journal ends, while commands are held.
    fn bring(&self) -> Result<(), KeepError> {
        self.sync()?;
        // What was not settled may be gone with the file that failed; it comes again, and does no harm if it is there.
        self.shelf.reopen()?;
        let position = self.shelf.position()?;
        let journal = self.engine.journal();
        let mut follower = Follower::after(position);
        loop {
            let mut parts = Vec::new();
            let take = |at, _, entry| {
                if let Entry::Command(command) = entry {
                    parts.extend(self.part_of(command).map(|part| (at, part)));
                }
            };
            let read = journal.read_on(&mut follower, BYTES_AT_ONCE, |kind| kind == Kind::Command, take);
            for (at, part) in parts {
                let rows = Rows::decode(&part).map_err(|error| KeepError::Part(at, error))?;
                self.write(&rows)?;
            }
            match read {
                Ok(true) => break,
                Ok(false) => {}
                // New, or it was built out for a while, in which nobody gave commands in its name.
                Err(FollowError::Pruned { oldest, .. }) => {
                    tracing::info!(plugin = self.name, oldest = oldest.0, "begins where the journal does");
                    follower = Follower::after(oldest.previous());
                }
                Err(FollowError::Journal(error)) => return Err(error.into()),
            }
        }
        let mut state = self.state.lock();
        (state.unsettled, state.behind) = (true, false);
        self.version.store(self.engine.catalog().version, Ordering::Release);
        Ok(())
    }

    /// Waits until the journal has on disk what was appended; not for long, as commands wait meanwhile.
    fn sync(&self) -> Result<(), NotDurable> {
        let journal = self.engine.journal();
        if journal.synced() >= journal.last_appended() {
            return Ok(());
        }
        self.engine.durable_until(self.engine.ticket(), Instant::now() + SYNC_MAX)
    }

    fn part_of(&self, command: Command) -> Option<Vec<u8>> {
        command.parts.into_iter().find(|(name, _)| name == self.name).map(|(_, part)| part)
    }
}
