//! The lock of a shard.
//!
//! In tests it yields at its edges: two cores alone interleave too little for a missing critical section to show.

use parking_lot::{Mutex, MutexGuard};

pub(super) struct ShardLock<T>(Mutex<T>);

impl<T> ShardLock<T> {
    pub(super) fn new(value: T) -> Self {
        ShardLock(Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        yield_in_tests();
        let guard = self.0.lock();
        yield_in_tests();
        guard
    }

    /// As [`ShardLock::lock`], unless somebody else holds it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        yield_in_tests();
        self.0.try_lock()
    }
}

#[cfg(not(test))]
#[inline(always)]
fn yield_in_tests() {}

#[cfg(test)]
fn yield_in_tests() {
    use std::cell::Cell;
    thread_local! { static TURN: Cell<u32> = const { Cell::new(0) } }
    // Most calls yield, not all: a fixed rhythm would settle into one interleaving.
    let turn = TURN.with(|cell| {
        cell.set(cell.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        cell.get()
    });
    if turn >> 30 != 0 {
        std::thread::yield_now();
    }
}
