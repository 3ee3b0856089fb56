//! What is left out when the disk has little room: the least needed first.
//!
//! | Level | What is left out |
//! |---|---|
//! | [`Space::Enough`] | nothing |
//! | [`Space::Low`] | plugins put off writing to their shelves: the journal has it all, and they take it in later; but those for which all of it would be kept do not |
//! | [`Space::Critical`] | beside that, what would be durable is refused, as while the journal cannot be written |
//!
//! Decisions under an interval promise go on at every level; the room that is left is for their usage, which grows with the
//! counters that change rather than with traffic, and for checkpoints, which let the journal be pruned. Whoever watches
//! the disk (`node::disk`) says which level it is; nobody here measures anything.

use std::sync::atomic::Ordering;

use super::Engine;

/// How much room there is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Space {
    /// Nothing is left out.
    Enough = 0,
    /// Plugins do not write.
    Low = 1,
    /// Nothing is promised to be durable.
    Critical = 2,
}

impl Engine {
    /// How much room there is on the disk, as was said last.
    #[must_use]
    pub fn space(&self) -> Space {
        match self.flush.space.load(Ordering::Relaxed) {
            0 => Space::Enough,
            1 => Space::Low,
            _ => Space::Critical,
        }
    }

    /// Says how much room there is from now on.
    pub fn set_space(&self, space: Space) {
        self.flush.space.store(space as u8, Ordering::Relaxed);
    }
}
