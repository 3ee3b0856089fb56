//! The pure domain: what a tenant, service, metric, limit, application, usage and decision are.
//!
//! Nothing here does I/O, takes a lock, reads a clock or derives serde: time is an argument, and what goes to
//! disk or over a wire has a counterpart in the layer that writes it. `tests/architecture.rs` holds this.
//!
//! The words are 3scale's: a *tenant* (provider account) owns *services* (products); a service has a tree of
//! *metrics* and *plans*; a plan holds *limits* per metric and period; an *application* is on a plan and calls
//! with an app id or a user key.

pub mod alert;
pub mod amount;
pub mod catalog;
pub mod decision;
pub mod draft;
pub mod few;
pub mod id;
pub mod id_map;
pub mod id_set;
pub mod idempotency;
pub mod metric;
pub mod owned;
pub mod producer;
pub mod promise;
pub mod record;
pub mod reservation;
pub mod time;
pub mod usage;
