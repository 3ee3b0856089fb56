//! Plugins: what is derived from the journal, beside the decisions and never in their way.
//!
//! There are two ways to keep something beside the catalog:
//!
//! - *What is decided* (an account's e-mail address, a price) comes with commands: a command is one entry of the journal, with the
//!   catalog's changes and a part for each plugin, and takes effect whole or not at all ([`host`], [`keeper`]).
//! - *What is derived* (events, alerts) comes from following the journal from a position of one's own ([`follower`]); it is kept on a shelf
//!   with that position, in one transaction: each entry takes effect once in what is stored.
//!
//! A plugin reads the catalog as snapshots. It never touches a live counter, and a decision never waits for it; one that
//! fails or panics is contained, reported and tried again.
//!
//! | File | What it holds |
//! |---|---|
//! | `host`, `call` | the trait, the plugins of a node, their routes and commands |
//! | `keeper`, `records` | what commands record: how it gets to disk; reading and drafting it |
//! | `follower` | reading along: the thread, the position, waiting until it has caught up |
//! | `alerts` | events: first traffic, first traffic of a day, alert levels reached |
//! | `analytics` | what was used in each hour, by application and service |
//! | `errors` | integration errors: what gateways did wrong, per service |
#![allow(clippy::big_endian_bytes, reason = "keys of a shelf are in the order of their bytes")]

#[cfg(feature = "admin")]
pub mod admin;
pub mod alerts;
pub mod analytics;
pub mod call;
pub mod errors;
pub mod follower;
pub mod host;
pub mod keeper;
pub mod records;

pub use crate::store::ShelfError;
