//! The engine: the only way to change usage or catalog.
//!
//! # Signatures (bodies come separately)
pub mod request;
use crate::model::{decision::Refusal, time::UnixMillis};
use request::{Answer, AuthRequest, Credentials, ReportError, ReportRequest};

/// Engine.
pub struct Engine {}

/// A point in the journal that a durable answer waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// The disk does not take writes at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal cannot be written at present")]
pub struct NotDurable;

impl Engine {
    /// Checks who asks, without resolving the service (step 3 of the reference's order).
    pub fn authenticate<'r>(&self, _credentials: &Credentials<'r>) -> Result<(), Refusal<'r>> {
        unimplemented!()
    }
    /// Decides (and, for authrep, counts) one request; `answer` renders while the catalog is at hand.
    pub fn authorize<'r, R>(
        &self,
        _request: &AuthRequest<'r>,
        _wall: UnixMillis,
        _answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        unimplemented!()
    }
    /// Counts a report, all of it or nothing.
    pub fn report<'r>(&self, _request: &ReportRequest<'r>, _wall: UnixMillis) -> Result<Ticket, ReportError<'r>> {
        unimplemented!()
    }
    /// Waits until what `ticket` stands for is on disk.
    pub async fn durable(&self, _ticket: Ticket) -> Result<(), NotDurable> {
        unimplemented!()
    }
}
