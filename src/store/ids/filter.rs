//! A filter that knows of most absent keys that they are absent, without touching the disk.
//!
//! A split-block Bloom filter (Putze, Sanders and Singler, 2007; the form that Parquet files have): a key sets one bit in
//! each of the eight words of one cell, so looking it up touches one cache line. Keys are hashes already: the cell is chosen by
//! a key's first 8 bytes, the bits by its last 8, and nothing is hashed.
//!
//! Cells follow the order of the keys. As slices are written in that order, a filter is filled from its start to its
//! end, and it needs no more than its own memory while it is made. A fuse filter would take a quarter less room, but
//! must have all keys in memory several times over to be made, and that is what merging 50 million ids cannot have.

use super::format::{prefix, suffix};
use crate::model::idempotency::IdKey;

/// The bytes of a cell.
pub(super) const CELL_LEN: usize = WORDS * 4;

const WORDS: usize = 8;
const PART_CELLS: usize = (256 << 10) / CELL_LEN;

/// At 12 bits one in 200 absent keys is not known as absent; at 10 it is one in 85. A lookup asks the filter of every
/// slice, and there may be two dozen.
const BITS_PER_KEY: u64 = 12;

/// The filter of one slice.
#[derive(Debug)]
pub(super) struct Filter {
    cells: Vec<[u32; WORDS]>,
}

impl Filter {
    /// One that is empty and has room for `keys`.
    pub(super) fn for_keys(keys: u64) -> Filter {
        let cells = keys.saturating_mul(BITS_PER_KEY).div_ceil(8 * CELL_LEN as u64);
        Filter { cells: vec![[0; WORDS]; usize::try_from(cells).unwrap_or(usize::MAX)] }
    }

    pub(super) fn cells(&self) -> u64 {
        self.cells.len() as u64
    }

    fn cell(&self, key: &IdKey) -> usize {
        // The product's high half spreads prefixes evenly over the cells. It is below their number, a usize.
        ((u128::from(prefix(key)) * self.cells.len() as u128) >> 64) as usize
    }

    /// The bit of each word.
    fn mask(key: &IdKey) -> [u32; WORDS] {
        let bits = suffix(key);
        std::array::from_fn(|word| 1 << (bits >> (5 * word) & 31))
    }

    pub(super) fn insert(&mut self, key: &IdKey) {
        let at = self.cell(key);
        if let Some(cell) = self.cells.get_mut(at) {
            cell.iter_mut().zip(Filter::mask(key)).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// False only for keys that were not inserted.
    pub(super) fn may_have(&self, key: &IdKey) -> bool {
        let cell = self.cells.get(self.cell(key));
        cell.is_some_and(|cell| cell.iter().zip(Filter::mask(key)).all(|(word, bit)| word & bit != 0))
    }

    /// Its bytes, in parts of at most 256 KiB.
    pub(super) fn encode(&self) -> impl Iterator<Item = Vec<u8>> {
        let part =
            |cells: &[[u32; WORDS]]| cells.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        self.cells.chunks(PART_CELLS).map(part)
    }

    /// Adds cells from the next of the bytes that [`Filter::encode`] gave; what does not fill a cell is left out.
    pub(super) fn decode(&mut self, bytes: &[u8]) {
        let (cells, _) = bytes.as_chunks::<CELL_LEN>();
        let word = |cell: &[u8; CELL_LEN], at: usize| {
            u32::from_le_bytes(std::array::from_fn(|byte| cell[4 * at + byte]))
        };
        self.cells.extend(cells.iter().map(|cell| std::array::from_fn(|at| word(cell, at))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ServiceId, TenantId};
    use crate::model::idempotency::IdKind;

    fn key(number: u64) -> IdKey {
        IdKey::new(TenantId(1), ServiceId(1), IdKind::Request, &number.to_le_bytes())
    }

    #[test]
    fn knows_all_that_was_inserted_and_one_in_a_hundred_of_the_rest_at_most() {
        for keys in [1_u64, 100, 100_000] {
            let mut filter = Filter::for_keys(keys);
            (0..keys).for_each(|number| filter.insert(&key(number)));
            let mut read = Filter::for_keys(0);
            filter.encode().for_each(|part| read.decode(&part));
            assert_eq!(read.cells, filter.cells);
            assert!(read.cells() * CELL_LEN as u64 <= keys * BITS_PER_KEY / 8 + CELL_LEN as u64);
            assert!((0..keys).all(|number| read.may_have(&key(number))));
            if keys == 100_000 {
                let wrong = (keys..2 * keys).filter(|number| read.may_have(&key(*number))).count();
                assert!((100..1000).contains(&wrong), "{wrong} of 100,000");
            }
        }
    }

    #[test]
    fn an_empty_one_has_nothing() {
        let mut filter = Filter::for_keys(0);
        filter.insert(&key(1));
        assert!(!filter.may_have(&key(1)));
    }
}
