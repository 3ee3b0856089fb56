//! What all listeners share, whatever is spoken on them: who comes in, how many, by which certificate, and how they
//! are sent away.
//!
//! | File | What it holds |
//! |---|---|
//! | `door` | sockets: accepting up to the caps, handshakes, draining |
//! | `peer` | who is at the other end, and how many connections each may have |
//! | `guesses` | budgets for wrong credentials |
//! | `tls` | certificates, and their replacement while the node runs |
//! | `departure` | sending clients away before another process serves their socket |
//! | `clock` | the wall clock, read at this edge |
//!
//! A protocol is a [`Host`]: what it does with a connection is its own.

mod clock;
mod departure;
mod door;
pub mod guesses;
mod peer;
pub mod tls;

pub use clock::{Clock, system_clock};
pub use departure::Departure;
pub use door::{Admitted, End, Guest, Host, Limits, Link, Listener, Stream, Traffic, serve};
pub use peer::Peer;
