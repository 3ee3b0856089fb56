//! A subject's cells.

use super::snapshot::CellImage;
use crate::model::amount::{COUNT_MAX, Effect, add};
use crate::model::id::MetricSlot;
use crate::model::time::{Minute, Period, Windows};

/// All periods of one metric: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Cell {
    slot: MetricSlot,
    minute: Minute,
    counts: [u64; Period::COUNT],
}

impl Cell {
    fn count(&self, period: Period, windows: &Windows) -> u64 {
        if windows.contains_past(period, self.minute) { self.counts[period as usize] } else { 0 }
    }

    /// Empties the counts of windows that are over.
    fn advance(&mut self, windows: &Windows) {
        if self.minute < windows.minute() {
            for period in Period::ALL {
                self.counts[period as usize] = self.count(period, windows);
            }
            self.minute = windows.minute();
        }
    }
}

/// A subject's cells, by ascending slot.
#[derive(Default, Debug)]
pub(super) struct Block {
    cells: Vec<Cell>,
}

impl Block {
    /// What `slot` counted in the window of `period` that is open in `windows`.
    pub(super) fn count(&self, slot: MetricSlot, period: Period, windows: &Windows) -> u64 {
        self.find(slot).map_or(0, |at| self.cells[at].count(period, windows))
    }

    /// Applies `effect` to the open windows of those periods that `wanted` picks.
    pub(super) fn apply(
        &mut self,
        slot: MetricSlot,
        effect: Effect,
        windows: &Windows,
        wanted: impl Fn(Period) -> bool,
    ) {
        let at = match self.find(slot) {
            Ok(at) => at,
            Err(at) => {
                self.grow();
                self.cells.insert(at, Cell { slot, minute: windows.minute(), counts: [0; Period::COUNT] });
                at
            }
        };
        let cell = &mut self.cells[at];
        cell.advance(windows);
        for period in Period::ALL.into_iter().filter(|period| wanted(*period)) {
            let count = &mut cell.counts[period as usize];
            *count = match effect {
                Effect::Add(amount) => add(*count, amount),
                Effect::Set(value) => value.min(COUNT_MAX),
            };
        }
    }

    /// Sets the cells back to an earlier time: counts of windows that are not open then are dropped.
    pub(super) fn rewind(&mut self, windows: &Windows) {
        for cell in self.cells.iter_mut().filter(|cell| cell.minute > windows.minute()) {
            let were = Windows::at(cell.minute);
            for period in Period::ALL {
                if were.start(period) != windows.start(period) {
                    cell.counts[period as usize] = 0;
                }
            }
            cell.minute = windows.minute();
        }
    }

    /// Puts cells as a checkpoint has them in place of what is here.
    pub(super) fn restore(&mut self, cells: &[CellImage]) {
        self.cells = cells
            .iter()
            .map(|image| Cell { slot: image.slot, minute: image.minute, counts: image.counts })
            .collect();
        self.cells.sort_unstable_by_key(|cell| cell.slot);
    }

    pub(super) fn images(&self) -> Vec<CellImage> {
        let image = |cell: &Cell| CellImage { slot: cell.slot, minute: cell.minute, counts: cell.counts };
        self.cells.iter().map(image).collect()
    }

    /// Bytes of memory the cells take.
    pub(super) fn bytes(&self) -> usize {
        self.cells.len() * size_of::<Cell>()
    }

    fn find(&self, slot: MetricSlot) -> Result<usize, usize> {
        // Most services have a handful of metrics, and the line of each is read anyway.
        if self.cells.len() <= 8 {
            let at = self.cells.iter().position(|cell| cell.slot >= slot).unwrap_or(self.cells.len());
            return if self.cells.get(at).is_some_and(|cell| cell.slot == slot) { Ok(at) } else { Err(at) };
        }
        self.cells.binary_search_by_key(&slot, |cell| cell.slot)
    }

    /// Makes room for one more cell, without the doubling of `Vec`: a million blocks would waste half their memory.
    fn grow(&mut self) {
        if self.cells.len() == self.cells.capacity() {
            let more = if self.cells.len() < 8 { 1 } else { self.cells.len() / 4 };
            self.cells.reserve_exact(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cache_line() {
        assert_eq!((size_of::<Cell>(), align_of::<Cell>()), (64, 64));
    }

    #[test]
    fn many_metrics_are_found_like_few() {
        let windows = Windows::at(Minute(1000));
        let mut block = Block::default();
        for slot in (0..40_u32).rev() {
            block.apply(MetricSlot(slot * 3), Effect::Add(u64::from(slot)), &windows, |_| true);
        }
        for slot in 0..40_u32 {
            assert_eq!(block.count(MetricSlot(slot * 3), Period::Day, &windows), u64::from(slot));
            assert_eq!(block.count(MetricSlot(slot * 3 + 1), Period::Day, &windows), 0);
        }
    }
}
