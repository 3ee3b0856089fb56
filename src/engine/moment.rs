//! A moment: one look at clock and catalog for all requests that were read together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;

use super::Engine;
use super::authorize::{Reports, answer_of};
use super::request::{Answer, AuthRequest};
use super::resolve::Unresolved;
use crate::counter::Absent;
use crate::model::catalog::Catalog;
use crate::model::decision::Refusal;
use crate::model::time::UnixMillis;

/// Decides requests that came together. Made after they were read and kept no longer than it takes to decide them: a
/// change of the catalog binds what is read after it.
pub struct Moment<'e> {
    pub(super) engine: &'e Engine,
    now: UnixMillis,
    /// What [`Engine::publishing`] was before `catalog` was loaded.
    seen: u64,
    catalog: Guard<Arc<Catalog>>,
}

impl Engine {
    /// The moment at which the caller's clock is `wall`.
    pub fn moment(&self, wall: UnixMillis) -> Moment<'_> {
        let seen = self.publishing.load(Ordering::Acquire);
        Moment { engine: self, now: self.now(wall), seen, catalog: self.catalog.load() }
    }
}

impl Moment<'_> {
    /// The engine's time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// The catalog that the last request was decided under, or the next one will be.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Decides one request, and counts it if it is an authorized authrep; `answer` renders what was decided.
    ///
    /// Never waits for a disk. An authrep's usage is durable after the next flush ([`Engine::ticket`]).
    ///
    /// # Errors
    /// Something in the request is missing, unknown or malformed; nothing was counted.
    pub fn authorize<'r, R>(
        &mut self,
        request: &AuthRequest<'r>,
        answer: impl FnOnce(&Answer<'_>) -> R,
    ) -> Result<R, Refusal<'r>> {
        // Filled in place: half a kilobyte is not handed from function to function.
        let mut reports = Reports::new();
        loop {
            let unresolved = match self.decide(request, &mut reports) {
                Ok((case, decided)) => {
                    return Ok(answer(&answer_of(self.catalog(), &case, &decided, &reports, self.now)));
                }
                Err(unresolved) => unresolved,
            };
            self.start_again(unresolved)?;
        }
    }

    /// Waits until no command is half-way and takes the catalog that is current then.
    ///
    /// # Errors
    /// Nothing has changed since the catalog was taken, so the request would be refused again.
    pub(super) fn start_again<E>(&mut self, unresolved: Unresolved<E>) -> Result<(), E> {
        self.engine.start_again(unresolved, self.seen)?;
        self.load();
        Ok(())
    }

    /// Waits a little for what a command is about to do, or takes the catalog that it has brought.
    pub(super) fn await_command(&mut self, absent: Absent) {
        match absent {
            // Its cut comes to the shards one after the other, and may have lost its processor on the way.
            Absent::HalfWay => std::thread::yield_now(),
            Absent::Stale | Absent::Nobody => self.load(),
        }
    }

    fn load(&mut self) {
        std::hint::spin_loop();
        self.seen = self.engine.publishing.load(Ordering::Acquire);
        self.catalog = self.engine.catalog.load();
    }
}
