//! Durable answers: ready, and held until the disk has what they tell of.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{self, Response};
use super::telemetry::{Call, Telemetry};
use crate::engine::{Engine, Ticket};

/// How long an answer waits for the disk. A disk that hangs longer must not keep connections: decisions need them.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a call is counted as whose answer could not be durable.
pub(super) const NOT_DURABLE: &str = "not_durable";

/// Waits until what `ticket` stands for is on disk; false if it cannot be said that it is.
pub(super) async fn is_durable(engine: &Engine, ticket: Ticket) -> bool {
    matches!(tokio::time::timeout(DURABLE_TIMEOUT, engine.durable(ticket)).await, Ok(Ok(())))
}

/// The answer to a call that has counted something. Until the disk has it, nobody is told.
pub(super) struct Held {
    pub(super) engine: Arc<Engine>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) call: Call,
    /// What the call is counted as.
    pub(super) result: &'static str,
    pub(super) response: Response,
    pub(super) ticket: Ticket,
}

impl Held {
    /// The answer in its time: this one, or that it is counted and not durable.
    pub(super) async fn settle(self) -> Response {
        let (result, response) = if is_durable(&self.engine, self.ticket).await {
            (self.result, self.response)
        } else {
            (NOT_DURABLE, answer::not_durable())
        };
        self.telemetry.decided(self.call, result);
        response
    }
}
