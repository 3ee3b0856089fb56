//! Loading a checkpoint: one thread reads and decodes what the other puts in its place.
//!
//! Nothing of a checkpoint is looked at twice. If a piece of it turns out to be damaged, what was loaded so far is dropped,
//! and the next generation is loaded into nothing.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::RecoveryError;
use crate::counter::snapshot::SubjectImage;
use crate::engine::{RecoverError, Recovery};
use crate::journal::Sequence;
use crate::journal::catalog::{CatalogError, Decoder};
use crate::model::catalog::Change;
use crate::store::{Checkpoint, Part, PassedOver};

/// How many pieces the reader may be ahead; decoded, each takes a few hundred KiB of memory.
const AHEAD_MAX: usize = 16;

/// A piece, decoded.
enum Loaded {
    /// Each with what it says of the id sequence.
    Changes(Vec<(Change, u64)>),
    Counters(Sequence, Vec<SubjectImage>),
}

/// Loads that checkpoint, or the newest before it that is whole; the one that was loaded is beside it.
pub(super) fn load(
    mut checkpoint: Option<Checkpoint>,
) -> Result<(Recovery, Option<Checkpoint>), RecoveryError> {
    while let Some(candidate) = checkpoint {
        match load_from(&candidate) {
            Ok(recovery) => {
                candidate.passed_over().iter().for_each(complain);
                return Ok((recovery, Some(candidate)));
            }
            Err(RecoveryError::Checkpoint(error)) if error.is_damage() => {
                checkpoint = candidate.pass_over(error)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((Recovery::default(), None))
}

fn complain(passed_over: &PassedOver) {
    tracing::error!(
        generation = passed_over.generation,
        error = %passed_over.error,
        "a damaged checkpoint was passed over: an older one and the journal serve instead"
    );
}

fn load_from(checkpoint: &Checkpoint) -> Result<Recovery, RecoveryError> {
    let mut recovery = Recovery::default();
    let (sender, receiver) = sync_channel(AHEAD_MAX);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read(checkpoint, &sender));
        for loaded in receiver {
            match loaded {
                Loaded::Changes(changes) => {
                    changes.into_iter().for_each(|(change, next_id)| recovery.change(change, next_id));
                }
                Loaded::Counters(stamp, images) => {
                    images.iter().for_each(|image| recovery.counters(stamp, image));
                }
            }
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let meta = checkpoint.meta();
    recovery.catalog_is(meta.catalog_version, meta.catalog);
    recovery.next_id(meta.next_id);
    recovery.reached(meta.engine_time);
    Ok(recovery)
}

fn read(checkpoint: &Checkpoint, sender: &SyncSender<Loaded>) -> Result<(), RecoveryError> {
    let mut decoder = Decoder::default();
    checkpoint.read(|part| {
        let loaded = match part {
            Part::Catalog(bytes) => {
                let mut changes = Vec::new();
                decoder.take(&bytes, |change, next_id| changes.push((change, next_id)))?;
                Loaded::Changes(changes)
            }
            Part::Counters(stamp, images) => Loaded::Counters(stamp, images),
        };
        // Nobody takes it if the other thread panicked, which is what this ends with, then.
        let _ = sender.send(loaded);
        Ok::<_, RecoveryError>(())
    })?;
    Ok(decoder.finish()?)
}

impl From<CatalogError> for RecoveryError {
    fn from(error: CatalogError) -> Self {
        RecoveryError::Contents(RecoverError::Catalog(error))
    }
}
