//! Against a real node: `NODE_BINARY=path/to/tollgate cargo test --test live`.
#![allow(clippy::print_stderr, reason = "a test that leaves something out says so")]

mod calls;
mod exact;
mod node;
mod replay;
mod restarts;
#[cfg(feature = "tls")]
mod tls;
