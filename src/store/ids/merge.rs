//! Which slices are merged, and how: by streaming all of them at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use super::SLICES_MAX;
use super::error::IdsError;
use super::slice::{Records, Slice};
use crate::model::idempotency::{HORIZON_MS, IdKey, Known, Remembered};
use crate::model::time::UnixMillis;

/// Merging fewer is not worth writing their ids again.
const PARTS_MIN: usize = 4;

/// Slices of up to so many ids count as equally large.
const SMALL: u64 = 1024;

/// A merge does not span more time than this, so that ids do not stay long after they are forgotten: a slice goes when
/// the newest of its ids does.
pub(super) const SPAN_MAX_MS: u64 = HORIZON_MS / 8;

/// How many are left when too many were merged whatever their sizes.
const LEFT: usize = SLICES_MAX - 8;

/// What choosing looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    ids: u64,
    oldest: u64,
    newest: u64,
}

impl Shape {
    pub(super) fn of(slice: &Slice) -> Shape {
        let header = slice.header();
        Shape { ids: header.ids, oldest: header.oldest.0, newest: header.newest.0 }
    }

    fn with(self, other: Shape) -> Shape {
        Shape {
            ids: self.ids.saturating_add(other.ids),
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
        }
    }
}

/// Which of the slices, oldest first, are to be merged now.
///
/// From a slice to ever older ones as long as none is larger than all younger ones of the run together: so an id is
/// written again only when it comes into a slice of about twice the size. If that leaves too many slices, the
/// cheapest run is merged that leaves few enough.
pub(super) fn choose(slices: &[Shape]) -> Option<Range<usize>> {
    for end in (PARTS_MIN..=slices.len()).rev() {
        let mut start = end - 1;
        let mut run = slices[start];
        while let Some(older) = start.checked_sub(1).map(|at| slices[at]) {
            let longer = run.with(older);
            let too_long = longer.newest.saturating_sub(longer.oldest) > SPAN_MAX_MS;
            if older.ids > run.ids.max(SMALL) || too_long {
                break;
            }
            (start, run) = (start - 1, longer);
        }
        if end - start >= PARTS_MIN {
            return Some(start..end);
        }
    }
    let parts = (slices.len() > SLICES_MAX).then(|| slices.len() - LEFT + 1)?;
    let cost = |run: &[Shape]| run.iter().map(|slice| slice.ids).sum::<u64>();
    let (start, _) = slices.windows(parts).enumerate().min_by_key(|(_, run)| cost(run))?;
    Some(start..start + parts)
}

/// The ids of several slices, in the order of their keys, each once, without those that are forgotten.
pub(super) struct Merging<'s> {
    parts: Vec<Records<'s>>,
    /// The next id of each part: the least key first, and of equal keys that of the youngest slice.
    heads: BinaryHeap<Reverse<Head>>,
    now: UnixMillis,
    last: Option<IdKey>,
}

#[derive(Debug)]
struct Head {
    key: IdKey,
    /// Counts from the youngest part.
    part: usize,
    remembered: Remembered,
}

impl Head {
    fn order(&self) -> (IdKey, usize) {
        (self.key, self.part)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl<'s> Merging<'s> {
    /// `slices` are given oldest first.
    pub(super) fn new(slices: &'s [Arc<Slice>], now: UnixMillis) -> Result<Merging<'s>, IdsError> {
        let parts = slices.iter().rev().map(|slice| slice.records()).collect();
        let mut merging = Merging { parts, heads: BinaryHeap::new(), now, last: None };
        for part in 0..slices.len() {
            merging.advance(part)?;
        }
        Ok(merging)
    }

    fn advance(&mut self, part: usize) -> Result<(), IdsError> {
        if let Some(Known { key, remembered }) = self.parts[part].next()? {
            self.heads.push(Reverse(Head { key, part, remembered }));
        }
        Ok(())
    }

    /// The next id; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Known>, IdsError> {
        while let Some(Reverse(Head { key, part, remembered })) = self.heads.pop() {
            self.advance(part)?;
            if self.last.replace(key) != Some(key) && !remembered.is_forgotten(self.now) {
                return Ok(Some(Known { key, remembered }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slice(ids: u64, oldest: u64) -> Shape {
        Shape { ids, oldest, newest: oldest + 1 }
    }

    /// Adds slices one after another and merges as chosen; the ids written by merges, and the most slices there were.
    fn run(added: &[Shape]) -> (u64, usize) {
        let (mut slices, mut written, mut most) = (Vec::new(), 0, 0);
        for shape in added {
            slices.push(*shape);
            while let Some(run) = choose(&slices) {
                assert!(run.len() > 1 && run.end <= slices.len());
                let merged = slices[run.clone()].iter().copied().reduce(Shape::with).unwrap();
                written += merged.ids;
                slices.splice(run, [merged]);
            }
            most = most.max(slices.len());
        }
        (written, most)
    }

    #[test]
    fn a_day_of_equal_slices_is_written_a_few_times_and_kept_in_a_few_slices() {
        // A million ids every 20 minutes for a day.
        let added: Vec<_> = (0..72).map(|at| slice(1_000_000, at * 1_200_000)).collect();
        let (written, most) = run(&added);
        assert!(written <= 3 * 72_000_000, "{written}");
        assert!(most <= 20, "{most}");
        // As fast as they come.
        let added: Vec<_> = (0..72).map(|at| slice(1_000_000, at)).collect();
        let (written, most) = run(&added);
        assert!(written <= 5 * 72_000_000, "{written}");
        assert!(most <= 12, "{most}");
    }

    #[test]
    fn a_merge_spans_an_eighth_of_the_horizon_at_most_while_slices_are_few() {
        let step = SPAN_MAX_MS / 3;
        let slices: Vec<_> = (0..20).map(|at| slice(10, at * step)).collect();
        assert!(choose(&slices).is_none());
        let slices: Vec<_> = (0..20).map(|at| slice(10, at * (step - 1))).collect();
        assert_eq!(choose(&slices), Some(16..20));
    }

    proptest! {
        #[test]
        fn there_are_never_too_many(added in prop::collection::vec((0..5_000_000u64, 0..10_000_000u64), 0..300)) {
            let mut at = 0;
            let shape = |(ids, after): &(u64, u64)| {
                at += after;
                slice(*ids, at)
            };
            let added: Vec<_> = added.iter().map(shape).collect();
            prop_assert!(run(&added).1 <= SLICES_MAX);
        }
    }
}
