//! The checkpointer: a thread that writes a checkpoint when the journal has grown enough, then prunes the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::backup::hold::StandStill;
use super::data_dir::DataDir;
use super::ids::{self, SealError};
use crate::config::Config;
use crate::engine::{Engine, NotDurable};
use crate::journal::{JournalError, Sequence};
use crate::listener::Clock;
use crate::model::time::UnixMillis;
use crate::store::ids::Slices;
use crate::store::{CheckpointWriter, Finished, Meta, StoreError};

/// The most segments after a checkpoint: four full ones, and some that were hardly begun when the node was restarted.
/// A start reads each of them whole.
const SEGMENTS_MAX: usize = 8;

/// How often the journal's size is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// After a failure: the disk is full or sick, and a checkpoint is the last thing it needs.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The checkpoint that the next one is made after.
#[derive(Clone, Copy)]
pub(super) struct Last {
    /// Where it begins; zero without one.
    pub(super) begin: Sequence,
    /// The generation it is, known to be whole: the next one leaves it in place.
    pub(super) generation: Option<u64>,
}

/// The first sequence that those who follow the journal still need.
pub(super) type Needed = Arc<dyn Fn() -> Sequence + Send + Sync>;

/// What keeps the checkpointer from its work, or from part of it.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) needed: Needed,
    /// Held while a backup is made: it copies what a checkpoint would remove.
    pub(super) still: StandStill,
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the node is stopping")]
    Stopping,
    #[error("checkpoint made, but the journal could not be pruned: {0}")]
    Prune(#[from] JournalError),
}

pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    engine: Arc<Engine>,
    clock: Clock,
    root: PathBuf,
    ids: Arc<Slices>,
    bytes_max: u64,
    followed: Followed,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Checkpointer {
    /// Starts the thread. `last` is the checkpoint that was read or made last.
    pub(super) fn start(
        engine: &Arc<Engine>,
        dir: &DataDir,
        (last, ids): (Last, Arc<Slices>),
        config: &Config,
        clock: &Clock,
        followed: Followed,
    ) -> std::io::Result<Checkpointer> {
        let shared = Arc::new(Shared {
            engine: Arc::clone(engine),
            clock: clock.clone(),
            root: dir.checkpoints(),
            ids,
            bytes_max: config.checkpoint_bytes,
            followed,
            stop: Mutex::new(false),
            wake: Condvar::new(),
        });
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run(last)
        };
        let thread = std::thread::Builder::new().name("checkpointer".into()).spawn(run)?;
        Ok(Checkpointer { shared, thread })
    }

    /// Ends the thread; a checkpoint in the making is given up, the one before it serves as well.
    pub(super) fn stop(self) {
        *self.shared.stop.lock() = true;
        self.shared.wake.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the checkpointer panicked");
        }
    }
}

impl Shared {
    fn run(&self, mut last: Last) {
        let made = metrics::counter!("tollgate_checkpoints_total");
        let failed = metrics::counter!("tollgate_checkpoint_errors_total");
        let mut interval = INTERVAL;
        let mut sealed = self.engine.now((self.clock)());
        while self.wait(interval) {
            interval = INTERVAL;
            let journal = self.engine.journal();
            let needless = journal.bytes_since(last.begin) < self.bytes_max
                && journal.segments_since(last.begin) <= SEGMENTS_MAX;
            // A disk that takes no journal is no place for a checkpoint.
            if self.engine.flush_health().failing {
                continue;
            }
            // Nothing is removed, and no ids are sealed, while a backup copies the files.
            let Ok(_still) = self.followed.still.try_lock() else { continue };
            let needed = &self.followed.needed;
            if needless {
                if let Err(error) = self.seal_if_due(&mut sealed) {
                    tracing::error!(%error, "ids could not be sealed, will try again");
                    interval = RETRY_INTERVAL;
                }
                continue;
            }
            let settle = || {
                self.seal()?;
                Ok(self.engine.durable_blocking(self.engine.ticket())?)
            };
            let stopping = || *self.stop.lock();
            let root = &self.root;
            let made_one =
                checkpoint(&self.engine, root, last.generation, &self.clock, needed, settle, stopping);
            match made_one {
                Ok(this) => {
                    made.increment(1);
                    last = this;
                    sealed = self.engine.now((self.clock)());
                }
                Err(CheckpointError::Stopping) => return,
                Err(error) => {
                    failed.increment(1);
                    tracing::error!(%error, "no checkpoint could be made, will try again");
                    interval = RETRY_INTERVAL;
                }
            }
        }
    }

    fn seal(&self) -> Result<(), SealError> {
        let settle = |ticket| self.engine.durable_blocking(ticket);
        ids::seal(&self.engine, &self.ids, &self.clock, settle, || *self.stop.lock())
    }

    /// Seals ids between checkpoints, if many are in memory or it is long since the last time.
    fn seal_if_due(&self, sealed: &mut UnixMillis) -> Result<(), SealError> {
        let now = self.engine.now((self.clock)());
        let is_long_ago = now.0.saturating_sub(sealed.0) >= ids::SEAL_INTERVAL_MS && !self.ids.is_empty();
        if is_long_ago || self.engine.id_numbers().hot >= ids::HOT_MAX {
            self.seal()?;
            *sealed = now;
        }
        Ok(())
    }

    fn wait(&self, interval: Duration) -> bool {
        let mut stop = self.stop.lock();
        if !*stop {
            self.wake.wait_for(&mut stop, interval);
        }
        !*stop
    }
}

/// Makes a checkpoint and prunes what it, and the one before it, make needless. Returns it.
///
/// `whole` is the generation of that one. Producers go to the journal. `settle` puts everything counted so far on disk, and seals all ids: a checkpoint
/// must not be ahead of the journal, and ids of what replay will pass over must be in slices. It is given up when `stopping` says so.
pub(super) fn checkpoint(
    engine: &Engine,
    root: &Path,
    whole: Option<u64>,
    clock: &Clock,
    needed: &Needed,
    settle: impl FnOnce() -> Result<(), CheckpointError>,
    stopping: impl Fn() -> bool,
) -> Result<Last, CheckpointError> {
    checkpoint_into(CheckpointWriter::create(root, whole)?, engine, clock, needed, settle, stopping)
}

/// As [`checkpoint`], with a writer that has begun a generation.
pub(super) fn checkpoint_into(
    mut writer: CheckpointWriter,
    engine: &Engine,
    clock: &Clock,
    needed: &Needed,
    settle: impl FnOnce() -> Result<(), CheckpointError>,
    stopping: impl Fn() -> bool,
) -> Result<Last, CheckpointError> {
    let go_on = || if stopping() { Err(CheckpointError::Stopping) } else { Ok(()) };
    let begin = engine.copy_counters(|stamp, images| {
        go_on()?;
        Ok::<_, CheckpointError>(writer.put_counters(stamp, images)?)
    })?;
    // Before the catalog's place: whoever ends the journal before this has to go without the checkpoint, too.
    engine.append_producers(clock());
    go_on()?;
    let (catalog, at) = engine.copy_catalog();
    let mut records = Vec::new();
    let mut total = 0_usize;
    for change in catalog.changes() {
        records.clear();
        crate::journal::catalog::encode(std::slice::from_ref(&change), catalog.next_id, &mut records);
        writer.put_catalog(&records)?;
        total += 1;
        if total.is_multiple_of(1024) {
            go_on()?;
        }
    }
    settle()?;
    let Finished { generation, keep_from } = writer.finish(Meta {
        begin,
        catalog: at,
        engine_time: engine.now(clock()),
        next_id: catalog.next_id,
        catalog_version: catalog.version,
        node_id: engine.journal().node_id(),
        term: engine.journal().term(),
    })?;
    let pruned = engine.journal().prune(keep_from.min(needed()).min(engine.ids_sealed_through().next()))?;
    tracing::info!(generation, begin = begin.0, records = total, pruned, "checkpoint made");
    Ok(Last { begin, generation: Some(generation) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Recovery;
    use crate::journal::{FollowError, Follower, Journal, Options};

    /// The first sequence that the journal still has.
    fn oldest(journal: &Journal) -> u64 {
        match journal.read_on(&mut Follower::after(Sequence(0)), 1, |_| false, |_, _, _| {}) {
            Ok(_) => 1,
            Err(FollowError::Pruned { oldest, .. }) => oldest.0,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_a_follower_needs_is_not_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("checkpoints");
        std::fs::create_dir(&root).unwrap();
        let options = Options { segment_bytes: 4096, group_bytes_max: 1024, ..Options::default() };
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let (journal, _) = Journal::open(&dir.path().join("journal"), options, Sequence(0), nothing).unwrap();
        let engine = Recovery::default().finish(journal, [1; 16]);
        let clock: Clock = Arc::new(|| UnixMillis(1));
        let (mut whole, mut number) = (None, 0);
        let mut oldest_after_checkpoint = |needed| {
            for _ in 0..25 {
                number += 1;
                let name = format!("{number}-{}", "x".repeat(100));
                engine.change(|draft| draft.create_tenant(&name, &name)).unwrap();
                engine.flush(UnixMillis(1)).unwrap();
            }
            let needed: Needed = Arc::new(move || Sequence(needed));
            let settle = || {
                let frozen = engine.freeze_ids(UnixMillis(1));
                engine.flush(UnixMillis(1)).map_err(|_| NotDurable)?;
                engine.ids_sealed(frozen.through);
                Ok(())
            };
            whole = checkpoint(&engine, &root, whole, &clock, &needed, settle, || false).unwrap().generation;
            oldest(engine.journal())
        };
        assert_eq!([oldest_after_checkpoint(1), oldest_after_checkpoint(1)], [1, 1]);
        let kept = oldest_after_checkpoint(30);
        assert!((2..=30).contains(&kept), "{kept}");
        assert!(oldest_after_checkpoint(u64::MAX) > 30);
    }
}
