//! Recovery: the newest whole checkpoint, then the journal after it, and the idempotency ids of the time before.

use std::sync::Arc;

use super::data_dir::DataDir;
use super::ids;
use crate::config::Config;
use crate::engine::{Engine, RecoverError, Recovery};
use crate::journal::{self, Directory, Disk, Journal, JournalError, OpenError, Options, Sequence, Torn};
use crate::model::time::UnixMillis;
use crate::store::ids::{IdsError, Slices};
use crate::store::{Checkpoint, StoreError, open_latest};

#[cfg(test)]
mod crash_tests;
mod load;

/// Why what the data directory holds did not become an engine.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The checkpoints cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] StoreError),
    /// The journal cannot be read or continued.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Both can be read but do not fit together.
    #[error("the data cannot be recovered: {0}")]
    Contents(#[from] RecoverError),
    /// Idempotency ids cannot be read.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// Idempotency ids are of entries that the journal does not have: they are from another time than it is.
    #[error("ids are on disk of entries up to {covered}, but the journal ends at {last}")]
    IdsAhead {
        /// The last entry whose ids are on disk.
        covered: Sequence,
        /// The journal's last entry.
        last: Sequence,
    },
    /// An entry of the journal does not fit what came before.
    #[error("entry {sequence} of the journal cannot be applied: {error}")]
    Entry {
        /// Which entry.
        sequence: Sequence,
        /// Why.
        error: RecoverError,
    },
    /// The clock went back since the node last ran.
    #[error(
        "the clock is {behind_s} seconds behind the data: set it right, or start with --accept-clock to go on from \
         the clock's time (counts of later windows are dropped)"
    )]
    ClockBehind {
        /// By how much.
        behind_s: u64,
    },
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl RecoveryError {
    /// Whether the system refused, as opposed to the data being bad.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(
            self,
            RecoveryError::Checkpoint(StoreError::Io { .. })
                | RecoveryError::Journal(JournalError::Io { .. })
                | RecoveryError::Ids(IdsError::Io { .. })
                | RecoveryError::Random(_)
        )
    }
}

pub(super) struct Recovered {
    pub(super) engine: Engine,
    /// Where the checkpoint that was read begins; zero without one.
    pub(super) checkpoint: Sequence,
    /// The generation that was read.
    pub(super) generation: Option<u64>,
    /// Idempotency ids on disk.
    pub(super) ids: Arc<Slices>,
    /// The clock went back and that was accepted: a checkpoint must be made before anything is counted.
    pub(super) clock_set_back: bool,
}

/// A clock this far behind the data is waited out; further, an operator must say that it is right.
const CLOCK_BEHIND_MAX_MS: u64 = 3_600_000;

/// A clock this far ahead of the data is worth a line: a node is seldom stopped for so long.
///
/// More than a line it cannot be. A node that was switched off for a day finds just what a clock set a day ahead would show
/// it; the times of files come from the same clock, and the time since the system's start tells nothing after a restart of
/// it, or on another machine. To ask for `--accept-clock` after each longer stop would teach everybody to set it for good, and so to
/// lose what it is for: a clock that went back, which nothing but a wrong clock explains.
const CLOCK_AHEAD_NOTE_MS: u64 = 30 * 86_400_000;

/// Shorter segments would be made faster than they are filled.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

pub(super) fn recover(dir: &DataDir, config: &Config, wall: UnixMillis) -> Result<Recovered, RecoveryError> {
    let checkpoint = open_latest(&dir.checkpoints())?;
    let journal = dir.journal();
    let disk = Directory::open(&journal).map_err(|source| JournalError::Io {
        verb: "open",
        file: journal.display().to_string(),
        source,
    })?;
    let options = Options { now: wall, segment_bytes: segment_bytes(config), ..Options::default() };
    let mut replayed = replay_with(checkpoint, Box::new(disk), options)?;
    let clock_set_back = check_clock(&mut replayed.recovery, config, wall)?;
    let (checkpoint, generation) = (replayed.checkpoint, replayed.generation);
    let ids = open_ids(&mut replayed, dir, config)?;
    Ok(Recovered { engine: replayed.finish()?, checkpoint, generation, ids, clock_set_back })
}

/// Opens the ids on disk, and lets the engine have them.
fn open_ids(replayed: &mut Replayed, dir: &DataDir, config: &Config) -> Result<Arc<Slices>, RecoveryError> {
    let Replayed { recovery, journal, .. } = replayed;
    let slices = ids::open(&dir.ids(), journal.node_id(), recovery.now())?;
    let (covered, last) = (slices.covered(), journal.last_appended());
    if covered > last {
        return Err(RecoveryError::IdsAhead { covered, last });
    }
    recovery.past(ids::past(&slices), covered, config.idempotency_ids_max);
    Ok(slices)
}

/// A quarter of what lies between two checkpoints, as whole segments are pruned; no more than there is any use for.
fn segment_bytes(config: &Config) -> u64 {
    (config.checkpoint_bytes / 4).clamp(SEGMENT_BYTES_MIN, Options::default().segment_bytes)
}

/// Checkpoint and journal put together, before anything is decided.
pub(super) struct Replayed {
    recovery: Recovery,
    journal: Journal,
    found: journal::Recovery,
    passed_over: Vec<String>,
    checkpoint: Sequence,
    generation: Option<u64>,
}

impl Replayed {
    /// The engine.
    pub(super) fn finish(self) -> Result<Engine, RecoveryError> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(RecoveryError::Random)?;
        Ok(self.recovery.finish(self.journal, seed))
    }

    /// What the journal had.
    pub(super) fn found(&self) -> &journal::Recovery {
        &self.found
    }

    /// The generation that was read, and where it begins.
    pub(super) fn checkpoint(&self) -> Option<(u64, Sequence)> {
        self.generation.map(|generation| (generation, self.checkpoint))
    }

    /// What was not as a clean stop leaves it.
    pub(super) fn notes(&self) -> Vec<String> {
        let torn = self.found.torn.iter().map(|torn| {
            let Torn { file, offset, bytes } = torn;
            format!("{file}: {bytes} bytes from {offset} on are a torn tail, never acknowledged")
        });
        let passed_over =
            self.passed_over.iter().map(|error| format!("a checkpoint was passed over: {error}"));
        torn.chain(passed_over).collect()
    }
}

/// Reads a checkpoint and the journal on `disk` after it.
pub(super) fn replay(
    checkpoint: Option<Checkpoint>,
    disk: Box<dyn Disk>,
    wall: UnixMillis,
) -> Result<Replayed, RecoveryError> {
    replay_with(checkpoint, disk, Options { now: wall, ..Options::default() })
}

/// As [`replay`], and goes on writing the journal with these options.
fn replay_with(
    checkpoint: Option<Checkpoint>,
    disk: Box<dyn Disk>,
    mut options: Options,
) -> Result<Replayed, RecoveryError> {
    let (mut recovery, checkpoint) = load::load(checkpoint)?;
    let mut after = Sequence(0);
    let mut passed_over = Vec::new();
    if let Some(checkpoint) = &checkpoint {
        after = checkpoint.meta().begin;
        options.node_id = Some(checkpoint.meta().node_id);
        options.term_after = checkpoint.meta().term;
        passed_over.extend(checkpoint.passed_over().iter().map(|it| it.error.to_string()));
    }
    let generation = checkpoint.as_ref().map(Checkpoint::generation);
    drop(checkpoint);
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let (journal, found) = Journal::open_on(disk, options, after, visit).map_err(|error| match error {
        OpenError::Journal(error) => RecoveryError::Journal(error),
        OpenError::Visit { sequence, error } => RecoveryError::Entry { sequence, error },
    })?;
    if let Some(torn) = &found.torn {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            bytes = torn.bytes,
            "a torn tail was cut: it was never acknowledged"
        );
    }
    tracing::info!(
        entries = found.entries,
        checkpoint = after.0,
        last = found.last.0,
        term = found.term,
        "recovered"
    );
    Ok(Replayed { recovery, journal, found, passed_over, checkpoint: after, generation })
}

/// Compares the clock with the latest time the data knows. True if it was set back.
fn check_clock(recovery: &mut Recovery, config: &Config, wall: UnixMillis) -> Result<bool, RecoveryError> {
    let reached = recovery.now();
    let behind_ms = reached.0.saturating_sub(wall.0);
    let ahead_ms = wall.0.saturating_sub(reached.0);
    if reached.0 > 0 && ahead_ms > CLOCK_AHEAD_NOTE_MS {
        tracing::warn!(
            days = ahead_ms / 86_400_000,
            "the clock is far ahead of the data: windows since then are empty"
        );
    }
    if behind_ms == 0 {
        return Ok(false);
    }
    if behind_ms <= CLOCK_BEHIND_MAX_MS {
        tracing::warn!(behind_ms, "the clock is behind the data: time stands still until it has caught up");
        return Ok(false);
    }
    if !config.accept_clock {
        return Err(RecoveryError::ClockBehind { behind_s: behind_ms / 1000 });
    }
    tracing::warn!(behind_ms, "the clock went back, which was accepted: counts of later windows are dropped");
    recovery.accept_clock(wall);
    Ok(true)
}
