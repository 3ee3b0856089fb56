//! A subject's cells.

use super::snapshot::CellImage;
use crate::model::amount::{COUNT_MAX, Effect, add};
use crate::model::id::MetricSlot;
use crate::model::time::{Minute, Period, Windows};

/// All periods of one metric: 64 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Cell {
    slot: MetricSlot,
    minute: Minute,
    counts: [u64; Period::COUNT],
}

/// What one metric has counted in the windows that are open.
pub struct Counts<'a> {
    cell: Option<&'a Cell>,
    windows: &'a Windows,
}

impl<'a> Counts<'a> {
    /// None at all.
    pub(super) fn none(windows: &'a Windows) -> Counts<'a> {
        Counts { cell: None, windows }
    }

    /// In that of `period`.
    #[must_use]
    pub fn of(&self, period: Period) -> u64 {
        self.cell.map_or(0, |cell| cell.count(period, self.windows))
    }
}

/// The slot of no metric, above all others.
const VACANT: MetricSlot = MetricSlot(u32::MAX);

impl Cell {
    fn new(slot: MetricSlot, minute: Minute) -> Cell {
        Cell { slot, minute, counts: [0; Period::COUNT] }
    }

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

/// A subject's cells, by ascending slot. The first lies here itself: most subjects count one or two metrics, and
/// what lies beside the place is read with it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Block {
    rest: Vec<Cell>,
    first: Cell,
}

impl Default for Block {
    fn default() -> Self {
        Block { first: Cell::new(VACANT, Minute(0)), rest: Vec::new() }
    }
}

impl Block {
    /// What `slot` counted in the window of `period` that is open in `windows`.
    pub(super) fn count(&self, slot: MetricSlot, period: Period, windows: &Windows) -> u64 {
        self.find(slot).map_or(0, |cell| cell.count(period, windows))
    }

    /// What `slot` counted in the windows that are open in `windows`.
    pub(super) fn counts<'a>(&'a self, slot: MetricSlot, windows: &'a Windows) -> Counts<'a> {
        Counts { cell: self.find(slot), windows }
    }

    /// Applies `effect` to the open windows of those periods that `wanted` picks.
    pub(super) fn apply(
        &mut self,
        slot: MetricSlot,
        effect: Effect,
        windows: &Windows,
        wanted: impl Fn(Period) -> bool,
    ) {
        let cell = self.find_or_add(slot, windows);
        cell.advance(windows);
        for period in Period::ALL.into_iter().filter(|period| wanted(*period)) {
            let count = &mut cell.counts[period as usize];
            *count = match effect {
                Effect::Add(amount) => add(*count, amount),
                Effect::Set(value) => value.min(COUNT_MAX),
            };
        }
    }

    /// Reads a word of the cell that is in the place.
    pub(super) fn touch(&self) -> u32 {
        self.first.slot.0
    }

    /// Reads a word of each of the first few cells that are not.
    pub(super) fn touch_beyond(&self) -> u32 {
        const FEW: usize = 8;
        self.rest.iter().take(FEW).fold(0, |sum, cell| sum ^ cell.slot.0)
    }

    /// Sets the cells back to an earlier time: counts of windows that are not open then are dropped.
    pub(super) fn rewind(&mut self, windows: &Windows) {
        let cells = std::iter::once(&mut self.first).chain(&mut self.rest);
        for cell in cells.filter(|cell| cell.minute > windows.minute()) {
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
    pub(super) fn restore(&mut self, images: &[CellImage]) {
        let cell = |image: &CellImage| Cell { slot: image.slot, minute: image.minute, counts: image.counts };
        *self = Block::default();
        if let [first, rest @ ..] = images {
            *self = Block { first: cell(first), rest: rest.iter().map(cell).collect() };
        }
        // That is how they are copied.
        if !images.is_sorted_by_key(|image| image.slot) {
            self.rest.push(self.first);
            self.rest.sort_unstable_by_key(|cell| cell.slot);
            self.first = self.rest.remove(0);
        }
    }

    pub(super) fn images(&self) -> Vec<CellImage> {
        let image = |cell: &Cell| CellImage { slot: cell.slot, minute: cell.minute, counts: cell.counts };
        let first = (self.first.slot != VACANT).then_some(&self.first);
        first.into_iter().chain(&self.rest).map(image).collect()
    }

    /// Bytes of memory the cells take.
    pub(super) fn bytes(&self) -> usize {
        (1 + self.rest.len()) * size_of::<Cell>()
    }

    fn find(&self, slot: MetricSlot) -> Option<&Cell> {
        if self.first.slot == slot {
            return Some(&self.first);
        }
        self.place(slot).ok().map(|at| &self.rest[at])
    }

    fn find_or_add(&mut self, slot: MetricSlot, windows: &Windows) -> &mut Cell {
        if self.first.slot > slot {
            let before = std::mem::replace(&mut self.first, Cell::new(slot, windows.minute()));
            if before.slot != VACANT {
                self.insert(0, before);
            }
        }
        if self.first.slot == slot {
            return &mut self.first;
        }
        let at = match self.place(slot) {
            Ok(at) => at,
            Err(at) => {
                self.insert(at, Cell::new(slot, windows.minute()));
                at
            }
        };
        &mut self.rest[at]
    }

    /// Where in `rest` the slot is, or would be.
    fn place(&self, slot: MetricSlot) -> Result<usize, usize> {
        // Most services have a handful of metrics, and the line of each is read anyway.
        if self.rest.len() <= 8 {
            let at = self.rest.iter().position(|cell| cell.slot >= slot).unwrap_or(self.rest.len());
            return if self.rest.get(at).is_some_and(|cell| cell.slot == slot) { Ok(at) } else { Err(at) };
        }
        self.rest.binary_search_by_key(&slot, |cell| cell.slot)
    }

    /// Inserts into `rest` without the doubling of `Vec`: a million blocks would waste half their memory.
    fn insert(&mut self, at: usize, cell: Cell) {
        if self.rest.len() == self.rest.capacity() {
            let more = if self.rest.len() < 8 { 1 } else { self.rest.len() / 4 };
            self.rest.reserve_exact(more);
        }
        self.rest.insert(at, cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_as_much_as_a_cache_line() {
        assert_eq!(size_of::<Cell>(), 64);
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
