//! Plugins: what is derived from the journal, beside the decisions and never in their way.
//!
//! A plugin follows the journal from a position of its own ([`follower`]) and keeps what it derives on a shelf, with
//! that position, in one transaction: each entry takes effect once in what is stored. It reads the catalog as
//! snapshots. It never touches a live counter, and a decision never waits for it; one that fails or panics is
//! contained, reported and tried again.
//!
//! | File | What it holds |
//! |---|---|
//! | `follower` | reading along: the thread, the position, waiting until it has caught up |
//! | `alerts` | events: first traffic, first traffic of a day, alert levels reached |
//! | `errors` | integration errors: what gateways did wrong, per service |
#![allow(clippy::big_endian_bytes, reason = "keys of a shelf are in the order of their bytes")]

pub mod alerts;
pub mod errors;
pub mod follower;

pub use crate::store::ShelfError;
