//! The floor: the same locks and the same bytes, and nothing else.

use std::hint::black_box;

use parking_lot::Mutex;
use tollgate::model::time::Period;

const SHARDS: usize = 64;

/// As a subject's place: head, then the pointer to further cells, then the first cell.
#[derive(Default)]
#[repr(C, align(128))]
struct Place {
    head: [u64; 5],
    rest: Vec<Cell>,
    first: Cell,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Cell {
    slot: u32,
    minute: u32,
    counts: [u64; Period::COUNT],
}

/// Blocks of as many cells as a call touches.
pub(super) struct Floor {
    shards: Vec<Mutex<Vec<Place>>>,
    periods: &'static [Period],
}

impl Floor {
    pub(super) fn new(applications: usize, cells: usize, periods: &'static [Period]) -> Floor {
        let shard = |number: usize| {
            let places = (number..applications).step_by(SHARDS);
            let place = |_| Place { rest: vec![Cell::default(); cells - 1], ..Place::default() };
            Mutex::new(places.map(place).collect())
        };
        Floor { shards: (0..SHARDS).map(shard).collect(), periods }
    }

    pub(super) fn run(&self, order: &[u32]) {
        for number in order {
            black_box(self.touch(*number as usize));
        }
    }

    /// Reads the head and what the limits read; then counts one in all periods of each cell, and in the head.
    fn touch(&self, number: usize) -> u64 {
        let mut shard = self.shards[number % SHARDS].lock();
        let Some(place) = shard.get_mut(number / SHARDS) else { return 0 };
        let mut sum = place.head.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word));
        for cell in std::iter::once(&place.first).chain(&place.rest) {
            sum = sum.wrapping_add(u64::from(cell.slot ^ cell.minute));
            for period in self.periods {
                sum = sum.wrapping_add(cell.counts[*period as usize]);
            }
        }
        for cell in std::iter::once(&mut place.first).chain(&mut place.rest) {
            cell.counts.iter_mut().for_each(|count| *count += 1);
        }
        place.head[4] = sum;
        sum
    }
}
