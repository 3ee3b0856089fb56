//! Beginning again at zero: counters that an operator has deleted.

use super::Engine;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::UnixMillis;

/// The counters set to zero under one hold of the subject's lock: a decision waits for a few of them at most.
const SLOTS_PER_HOLD: usize = 64;

impl Engine {
    /// Sets all counters of an application to zero, those of response codes too. In the journal these are sets like
    /// any other, so usage before them is gone and usage after them counts, live and in a replay. The history of usage is left as it is:
    /// what was used was used. What was dated
    /// ahead is counted when its time has come, and so is what is reserved when it is committed. Durable after the next
    /// flush ([`Engine::ticket`]).
    ///
    /// Not one step: what is counted meanwhile may be kept or gone, metric by metric. Returns whether there was
    /// anything to set.
    pub fn reset(&self, application: ApplicationId, wall: UnixMillis) -> bool {
        let Some(image) = self.counters_of(application, wall) else { return false };
        let touched = image.cells.iter().filter(|cell| cell.counts.iter().any(|count| *count != 0));
        let effects: Vec<(MetricSlot, Effect)> = touched.map(|cell| (cell.slot, Effect::Set(0))).collect();
        effects.chunks(SLOTS_PER_HOLD).for_each(|some| self.count_for(application, some, wall));
        !effects.is_empty()
    }

    fn count_for(&self, id: ApplicationId, effects: &[(MetricSlot, Effect)], wall: UnixMillis) {
        let now = self.now(wall).minute();
        loop {
            let catalog = self.catalog.load();
            // One that was deleted meanwhile has nothing to count.
            let Some(application) = catalog.applications.get(id.0) else { return };
            if let Ok(mut subject) = self.counters.lock(application.subject, catalog.version, now) {
                subject.replace(None, effects);
                return;
            }
            std::hint::spin_loop();
        }
    }
}
