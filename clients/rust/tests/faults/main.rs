//! What goes wrong with connections and nodes, and what the client makes of it.

mod away;
mod broken;
mod fake;
mod goodbye;
mod handles;
mod pipeline;
mod reservations;

use tollgate_client::{Application, Call};

/// A call of an application that nobody knows better.
fn call(amount: u64) -> Call {
    Call::new(&Application::user_key("key").service("1")).usage("hits", amount)
}
