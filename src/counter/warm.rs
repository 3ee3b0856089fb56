//! Warming: has what some decisions will need be fetched from memory all at once.
//!
//! With a hundred thousand subjects nearly every decision waits for memory three or four times, and cannot begin the next
//! one meanwhile: a lock is a barrier for the processor too. Here the shards of several subjects are held together while
//! their places are read, so that it waits for all of them at the same time; after that each decision is made as ever. It is a
//! hint: a shard that is busy is left out, nothing is waited for, and nothing depends on what was read.

use std::hint::black_box;

use smallvec::SmallVec;

use super::store::{Counters, SHARDS};

/// How many subjects are warmed at a time: enough that a processor, which can wait for a dozen or two cache lines at once,
/// has enough to wait for, few enough that the first is still warm when the last was decided.
pub const WARM_MAX: usize = 16;

impl Counters {
    /// Fetches what is at the first [`WARM_MAX`] of `indices`.
    pub fn warm(&self, indices: &[u32]) {
        let mut shards = SmallVec::<[_; WARM_MAX]>::new();
        let mut places = SmallVec::<[(u8, u32); WARM_MAX]>::new();
        let mut held = [u8::MAX; SHARDS as usize];
        for index in indices.iter().take(WARM_MAX) {
            let at = &mut held[(index % SHARDS) as usize];
            if *at == u8::MAX {
                let Some(shard) = self.try_lock_shard(index % SHARDS) else { continue };
                *at = u8::try_from(shards.len()).unwrap_or(u8::MAX);
                shards.push(shard);
            }
            places.push((*at, index / SHARDS));
        }
        // First the places, then what they point at: within each, nothing waits for anything before it.
        let read = |touch: fn(&super::shard::Shard, u32) -> u32| {
            places.iter().fold(0_u32, |sum, (at, place)| sum ^ touch(&shards[usize::from(*at)], *place))
        };
        black_box(read(|shard, place| shard.touch(place)));
        black_box(read(|shard, place| shard.touch_beyond(place)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Batch;
    use crate::model::amount::Effect;
    use crate::model::id::{ApplicationId, MetricSlot};
    use crate::model::time::{Minute, Period};

    #[test]
    fn nothing_is_changed_or_waited_for_whoever_is_asked_for() {
        let counters = Counters::default();
        let subjects: Vec<_> = (1..=200).map(|id| counters.occupy(ApplicationId(id))).collect();
        for subject in &subjects {
            let mut subject = counters.lock(*subject, 0, Minute(9)).unwrap();
            let effects: Vec<_> = (0..12).map(|slot| (MetricSlot(slot), Effect::Add(3))).collect();
            subject.apply(None, &effects, 0);
        }
        // Twice the same, several of one shard, none that is there, too many.
        for indices in
            [&[0, 0, 64, 128, 5, 199][..], &[u32::MAX, 200, 1 << 20], &[], &(0..200).collect::<Vec<_>>()]
        {
            counters.warm(indices);
        }
        let pending: usize =
            (0..SHARDS).map(|shard| counters.cut(shard, 0, Batch::default()).iter().count()).sum();
        assert_eq!(pending, 200);
        for subject in subjects {
            let held = counters.lock(subject, 0, Minute(9)).unwrap();
            // Its shard is held here.
            counters.warm(&[subject.index, subject.index + SHARDS, 3]);
            assert_eq!(held.count(MetricSlot(7), Period::Day), 3);
        }
    }
}
