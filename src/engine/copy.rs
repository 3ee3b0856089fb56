//! Copies for checkpoints: the counters piece by piece, each stamped with its place in the journal, then the catalog.
//!
//! The pieces need not be of one moment. A piece stamped `s` includes exactly the entries up to `s` for the
//! subjects in it, so replay starts after the least place and skips, per subject, what its piece has already.

use std::sync::Arc;

use super::Engine;
use crate::counter::SHARDS;
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use crate::model::catalog::Catalog;

/// About how many bytes are copied per lock hold.
const COPY_BYTES_MAX: usize = 256 * 1024;

impl Engine {
    /// Copies all counters. `piece` gets the subjects of one lock hold with their stamp; an error of its ends
    /// the copying. Returns the place in the journal that replay must start after.
    ///
    /// # Errors
    /// What `piece` says.
    pub fn copy_counters<E>(
        &self,
        mut piece: impl FnMut(Sequence, &[SubjectImage]) -> Result<(), E>,
    ) -> Result<Sequence, E> {
        let begin = self.journal.last_appended();
        let mut images = Vec::new();
        for shard in 0..SHARDS {
            let mut from = Some(0);
            while let Some(place) = from {
                images.clear();
                let stamp;
                (stamp, from) = self.copy_some(shard, place, &mut images);
                if !images.is_empty() {
                    piece(stamp, &images)?;
                }
            }
        }
        Ok(begin)
    }

    /// The catalog and the place in the journal that it is of.
    #[must_use]
    pub fn copy_catalog(&self) -> (Arc<Catalog>, Sequence) {
        let _sequencer = self.sequencer.lock();
        (self.catalog.load_full(), self.journal.last_appended())
    }

    fn copy_some(&self, shard: u32, from: u32, images: &mut Vec<SubjectImage>) -> (Sequence, Option<u32>) {
        let mut sequencer = self.sequencer.lock();
        let (cut, next) = self.cut_and_copy(&mut sequencer, shard, from, COPY_BYTES_MAX, images);
        let stamp = self.append_usage(&cut);
        sequencer.recycle(cut);
        (stamp, next)
    }
}
