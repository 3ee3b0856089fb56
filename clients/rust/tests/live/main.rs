//! Against a real node: `NODE_BINARY=path/to/tollgate cargo test --test live`.

mod calls;
mod exact;
mod node;
mod replay;
mod restarts;
#[cfg(feature = "tls")]
mod tls;
