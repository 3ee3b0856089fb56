//! What a client did so far, counted for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that many tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: Count,
    pub(crate) failures: Count,
    pub(crate) goodbyes: Count,
    pub(crate) frames: Count,
    pub(crate) writes: Count,
    pub(crate) repeats: Count,
    pub(crate) binds: Count,
    pub(crate) assumed: Count,
}

/// What a client did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were opened.
    pub connections: u64,
    /// Attempts to open one that failed.
    pub failures: u64,
    /// Connections that the node said it would close, and that were drained.
    pub goodbyes: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Writes to sockets. Fewer than frames: calls that wait share one.
    pub writes: u64,
    /// Requests that were sent again.
    pub repeats: u64,
    /// Handles that were asked for.
    pub binds: u64,
    /// Decisions that the policy made because the node was away.
    pub assumed: u64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            connections: self.connections.get(),
            failures: self.failures.get(),
            goodbyes: self.goodbyes.get(),
            frames: self.frames.get(),
            writes: self.writes.get(),
            repeats: self.repeats.get(),
            binds: self.binds.get(),
            assumed: self.assumed.get(),
        }
    }
}
