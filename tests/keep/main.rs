//! What operators do to keep what a node holds: verify, repair, back up, restore, carry counters over.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod backup;
mod counters;
mod once;
mod repair;
#[path = "../support/mod.rs"]
mod support;
mod verify;
mod world;
