//! The place of a subject, and the places of a shard.

use super::block::Block;
use super::facts::Flags;
use crate::model::id::ApplicationId;

/// The place of a subject: two neighbouring cache lines, which are fetched as a pair, with its first cell in them.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Place {
    /// Zero is nobody.
    pub(super) application: u64,
    pub(super) plan: u64,
    /// What a handle must know, besides the index; zero is no handle's.
    pub(super) pass: u32,
    pub(super) generation: u32,
    /// The last record of this subject in the pending batch, if `open_epoch` is the shard's epoch.
    pub(super) open: u32,
    pub(super) open_epoch: u32,
    /// The catalog version (its lower bits) under which alert levels were last looked at: after a change of the
    /// catalog, limits and levels may be others.
    pub(super) levels_of: u32,
    /// The last day that usage was dated in, since the node started; of days beyond 2149 the first.
    pub(super) day: u16,
    pub(super) flags: Flags,
    /// Whether any of its reservations is open.
    pub(super) holds: bool,
    pub(super) block: Block,
}

impl Place {
    /// A place of nobody; no subject has its generation, so a stale holder finds nobody.
    pub(super) fn vacant() -> Place {
        Place {
            application: 0,
            plan: 0,
            pass: 0,
            generation: u32::MAX,
            open: 0,
            open_epoch: 0,
            levels_of: 0,
            day: 0,
            flags: Flags::default(),
            holds: false,
            block: Block::default(),
        }
    }

    pub(super) fn application(&self) -> Option<ApplicationId> {
        (self.application != 0).then_some(ApplicationId(self.application))
    }
}

const _: () = assert!(size_of::<Place>() == 128);

/// How many places are made room for at a time.
const CHUNK: usize = 64;

/// Places by number. In chunks that stay where they are: to move a million places as they become more would take
/// milliseconds under the lock, and leave room for another million.
#[derive(Default)]
pub(super) struct Places(Vec<Box<[Place; CHUNK]>>);

impl Places {
    pub(super) fn get(&self, number: usize) -> Option<&Place> {
        Some(&self.0.get(number / CHUNK)?[number % CHUNK])
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Place> {
        Some(&mut self.0.get_mut(number / CHUNK)?[number % CHUNK])
    }

    /// Puts a place at a number, making room for it.
    pub(super) fn put(&mut self, number: usize, place: Place) {
        while self.0.len() <= number / CHUNK {
            self.0.push(Box::new(std::array::from_fn(|_| Place::vacant())));
        }
        self.0[number / CHUNK][number % CHUNK] = place;
    }

    /// All places from a number on.
    pub(super) fn range_from(&self, from: usize) -> impl Iterator<Item = &Place> {
        self.0.iter().skip(from / CHUNK).flat_map(|chunk| chunk.iter()).skip(from % CHUNK)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.0.iter_mut().flat_map(|chunk| chunk.iter_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_number_across_chunks() {
        let mut places = Places::default();
        assert!(places.get(0).is_none());
        for number in [0, CHUNK - 1, CHUNK, 5 * CHUNK + 3] {
            places.put(number, Place { application: number as u64 + 1, ..Place::vacant() });
        }
        let taken = |from: usize| {
            (from..)
                .zip(places.range_from(from))
                .filter_map(|(at, it)| it.application().map(|_| at))
                .collect::<Vec<_>>()
        };
        assert_eq!(taken(0), [0, CHUNK - 1, CHUNK, 5 * CHUNK + 3]);
        assert_eq!(taken(CHUNK - 1), [CHUNK - 1, CHUNK, 5 * CHUNK + 3]);
        assert_eq!(taken(CHUNK + 1), [5 * CHUNK + 3]);
        assert!(taken(6 * CHUNK).is_empty());
        assert_eq!(places.get(CHUNK).map(|it| it.application), Some(CHUNK as u64 + 1));
        assert!(places.get(6 * CHUNK).is_none() && places.get_mut(6 * CHUNK - 1).is_some());
    }
}
