//! Idempotency ids between engine and disk: the engine's past is slices, and they are sealed here.
//!
//! # When
//! With each checkpoint, after its copies are made: so whatever replay begins at, older ids are in slices. In between when
//! more than [`HOT_MAX`] are in memory, and each [`SEAL_INTERVAL_MS`] as long as there are any slices, so that old ones
//! go in time although nothing new comes.
//!
//! One thread at a time seals: the checkpointer's, or that of a start before there is one.

use std::path::Path;
use std::sync::Arc;

use crate::engine::dedup::{Past, PastError};
use crate::engine::{Engine, NotDurable, Ticket};
use crate::journal::NodeId;
use crate::listener::Clock;
use crate::model::idempotency::{IdKey, Remembered};
use crate::model::time::UnixMillis;
use crate::store::ids::{IdsError, Merged, Slices};

/// Ids in memory from which on they are sealed without waiting for a checkpoint: they take about 100 MB.
pub(super) const HOT_MAX: u64 = 1 << 20;

/// Milliseconds of the engine's time after which slices are looked over.
pub(super) const SEAL_INTERVAL_MS: u64 = 3_600_000;

/// Why ids were not sealed: they stay in memory and in the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    #[error(transparent)]
    Ids(#[from] IdsError),
}

/// The slices, as the engine sees them.
struct Sealed(Arc<Slices>);

impl Past for Sealed {
    fn find(&self, key: &IdKey) -> Result<Option<Remembered>, PastError> {
        self.0.find(key).map_err(|error| PastError(error.to_string()))
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn epoch(&self) -> u64 {
        self.0.epoch()
    }
}

/// The engine's view of slices.
pub(super) fn past(slices: &Arc<Slices>) -> Arc<dyn Past> {
    Arc::new(Sealed(Arc::clone(slices)))
}

/// Opens the slices of a data directory.
pub(super) fn open(path: &Path, node_id: NodeId, now: UnixMillis) -> Result<Arc<Slices>, IdsError> {
    let (slices, passed_over) = Slices::open(path, node_id, now)?;
    for error in passed_over {
        tracing::warn!(%error, "ids that are forgotten by now were passed over");
    }
    Ok(Arc::new(slices))
}

/// Brings all ids in memory to disk. `settle` waits until what a ticket stands for is synced; tidying up is given up
/// when `stopping` says so.
pub(super) fn seal(
    engine: &Engine,
    slices: &Slices,
    clock: &Clock,
    settle: impl FnOnce(Ticket) -> Result<(), NotDurable>,
    stopping: impl Fn() -> bool,
) -> Result<(), SealError> {
    let frozen = engine.freeze_ids(clock());
    settle(frozen.ticket)?;
    let (through, count) = (frozen.through, frozen.ids.len());
    // Without any, nodes that use no ids get no slices. With some, a younger one lets the youngest go in its time.
    if (count > 0 || !slices.is_empty()) && through > slices.covered() {
        slices.add(through, frozen.ids)?;
    }
    engine.ids_sealed(through);
    let now = engine.now(clock());
    if let Err(error) = tidy(slices, now, stopping) {
        tracing::error!(%error, "slices of ids could not be merged, will try again");
    }
    tracing::debug!(count, through = through.0, slices = slices.slices(), "ids sealed");
    Ok(())
}

/// Drops and merges slices as long as there is something to do.
fn tidy(slices: &Slices, now: UnixMillis, stopping: impl Fn() -> bool) -> Result<(), IdsError> {
    slices.expire(now)?;
    loop {
        match slices.merge(now, &stopping) {
            Ok(Merged::Done { .. }) => {}
            Ok(Merged::Nothing) | Err(IdsError::Stopped) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
