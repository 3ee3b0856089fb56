//! The counter store: the truth while the node runs.
//!
//! # Layout
//! A *subject* (an application) has an index with a generation. Index `i` lies in shard `i % SHARDS`, at place
//! `i / SHARDS`. A shard is one lock; under it each subject has a *block*: its cells, sorted by metric slot. A
//! *cell* is one cache line that holds all seven periods of one metric:
//!
//! ```text
//! slot u32 | minute u32 | counts [u64; 7]: eternity, year, month, week, day, hour, minute
//! ```
//!
//! `minute` says which windows the counts belong to. A count whose window is over reads as zero, so nothing
//! sweeps cells when a window ends. A slot without a cell reads as zero: adding a metric touches no block.
//!
//! # One critical section
//! [`Counters::lock`] gives a [`SubjectGuard`]; reading all limits and counting all effects happen under that
//! one lock hold. That is why decisions are exact under any concurrency: nothing comes between check and count.
//!
//! # Time
//! A shard knows its own minute, which only moves forward, whatever a caller's clock says. Usage dated in the
//! past goes to those windows that are still open. Usage dated in the future goes to the windows it shares with
//! now; for the others it *waits* in the shard, and is added when they open.
//!
//! # The cut
//! Each effect is also kept in the shard's *pending batch*: per subject, contract version and dated minute, what
//! was added since the last cut; a set ends the aggregate and stands by itself, so the order of a subject's
//! effects is kept. [`Counters::cut`] takes the batch by swapping it with an empty one: constant time under the
//! lock. [`Counters::copy`] takes the batch and copies blocks in the same lock hold, so a copy and the journal
//! agree on what each includes.
//!
//! A shard has a *floor*: the catalog version under which usage may be counted. A command's cut raises it, so no usage
//! decided under the old catalog can follow the cut, and none decided under the new one can come before it. A caller with
//! another catalog gets [`Stale`], reads the catalog again and decides again; a command is half-way for microseconds.
//!
//! # Reservations
//! What reservations hold lies in a side table of the shard (the `holds` module), in no count. Making one and taking
//! one out is kept in the pending batch like usage, so a commit's usage and the end of its reservation are taken by
//! the same cut.
//!
//! # Handles
//! Beside its cells a place keeps what a decision reads of the subject's record ([`Facts`]), and a *pass*: who knows
//! index and pass of a subject needs no other lookup ([`Counters::meet`]). A command's cut writes facts, in the lock hold
//! that raises the floor, so they are of the catalog that a decision must have. If a command changes what leads to a
//! subject it [announces](Counters::announce) that first, so that nobody comes by a new key under the old catalog.
//!
//! # Locks
//! One shard lock at a time; only a step over several subjects ([`Counters::lock_many`]) holds more, which it takes in
//! ascending order. Nothing else is locked while one is held. [`Counters::warm`] holds several for as long as it reads a few
//! cache lines of each, but waits for none: it takes those that are free.

mod block;
mod facts;
mod holds;
mod lock;
mod many;
mod pending;
mod place;
mod shard;
pub mod snapshot;
mod store;
mod waiting;
mod warm;

pub use block::Counts;
pub use facts::{Facts, Note};
pub use holds::Taken;
pub use many::{Many, SUBJECTS_MAX};
pub use pending::{Batch, PendingKind, PendingReservation, PendingUsage};
pub use store::{Copied, Counters, Met, SHARDS, Stale, SubjectGuard, WAITING_MAX};
pub use warm::WARM_MAX;

#[cfg(test)]
mod tests;
