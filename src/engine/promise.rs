//! Promising: before anything is counted it is settled what its answer will say. See [`crate::model::promise`].
//!
//! A call whose answer would be durable is refused while the disk takes no writes, and nothing is counted. One that was
//! counted before the disk failed stays counted: its caller is told that it is not durable.

use super::moment::Moment;
use super::request::Call;
use super::{Engine, Ticket};
use crate::model::decision::Refusal;
use crate::model::promise::{Promise, Terms};
use crate::model::record::Service;

/// A report was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reported {
    /// Stands for all of it; see [`Engine::durable`].
    pub ticket: Ticket,
    /// What its answer promises. A durable one waits for the ticket.
    pub promise: Promise,
    /// How many transactions were counted before under their ids, and not again.
    pub duplicates: usize,
    /// Whether all of them were, so that nothing was counted.
    pub replayed: bool,
}

impl Engine {
    /// What is promised on these terms for `service`.
    ///
    /// # Errors
    /// [`Refusal::StorageUnavailable`]: that cannot be promised now.
    pub(super) fn promised<'r>(&self, terms: Terms, service: &Service) -> Result<Promise, Refusal<'r>> {
        let promise = terms.promise(service.promise);
        if promise == Promise::Durable && self.is_stalled() {
            return Err(Refusal::StorageUnavailable);
        }
        Ok(promise)
    }
}

impl Moment<'_> {
    /// Has the requests that follow answered on `terms`; until this is called, on [`Terms::DECISION`].
    pub fn on(&mut self, terms: Terms) {
        self.terms = terms;
        self.promised.set(Promise::Interval);
    }

    /// On what terms requests are answered now.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// What an answer to the requests since then promises of what they counted: the strongest that was settled for any of
    /// them, as they are answered together. A durable one waits for [`Engine::ticket`].
    #[must_use]
    pub fn promised(&self) -> Promise {
        self.promised.get()
    }

    /// Settles what is promised to a call of `service` that changes counters; other calls are promised nothing.
    ///
    /// # Errors
    /// As [`Engine::promised`].
    pub(super) fn promise<'r>(&self, call: Call, service: &Service) -> Result<(), Refusal<'r>> {
        match call {
            Call::Check | Call::Authorize => Ok(()),
            Call::Authrep | Call::Reserve { .. } => self.promise_change(service),
        }
    }

    /// The same for whatever surely changes something.
    ///
    /// # Errors
    /// As [`Engine::promised`].
    pub(super) fn promise_change<'r>(&self, service: &Service) -> Result<(), Refusal<'r>> {
        let promise = self.engine.promised(self.terms, service)?;
        self.promised.set(self.promised.get().max(promise));
        Ok(())
    }
}
