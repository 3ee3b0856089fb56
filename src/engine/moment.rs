//! A moment: one look at clock and catalog for all requests that were read together.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;
use smallvec::SmallVec;

use super::Engine;
use super::handle::Handle;
use super::resolve::Unresolved;
use crate::counter::{Met, WARM_MAX};
use crate::model::catalog::{Catalog, Key};
use crate::model::id::ServiceId;
use crate::model::promise::{Promise, Terms};
use crate::model::time::UnixMillis;

/// Decides requests that came together. Made after they were read and kept no longer than it takes to decide them: a
/// change of the catalog binds what is read after it.
pub struct Moment<'e> {
    pub(super) engine: &'e Engine,
    now: UnixMillis,
    /// What [`Engine::publishing`] was before `catalog` was loaded.
    seen: u64,
    catalog: Guard<Arc<Catalog>>,
    /// Of the requests that come.
    pub(super) terms: Terms,
    /// The strongest that was settled for them.
    pub(super) promised: Cell<Promise>,
}

/// By what a call names an application.
#[derive(Clone, Copy)]
pub enum Whom<'a> {
    /// A handle.
    Bound(Handle),
    /// A key that stands for it.
    UserKey {
        /// Of this service.
        service: ServiceId,
        /// The key.
        text: &'a str,
    },
    /// Its public id.
    AppId {
        /// Of this service.
        service: ServiceId,
        /// The id.
        text: &'a str,
    },
}

impl Engine {
    /// The moment at which the caller's clock is `wall`.
    pub fn moment(&self, wall: UnixMillis) -> Moment<'_> {
        let seen = self.publishing.load(Ordering::Acquire);
        let (terms, promised) = (Terms::DECISION, Cell::new(Promise::Interval));
        Moment { engine: self, now: self.now(wall), seen, catalog: self.catalog.load(), terms, promised }
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

    /// Has what calls of these applications will need be fetched from memory all at once; of more than [`WARM_MAX`]
    /// the first. Pays from a few calls on, and changes nothing.
    pub fn warm(&self, whom: &[Whom<'_>]) {
        let engine = self.engine;
        let mut indices = SmallVec::<[u32; WARM_MAX]>::new();
        let mut keys = SmallVec::<[Key<'_>; WARM_MAX]>::new();
        for whom in whom.iter().take(WARM_MAX) {
            match *whom {
                Whom::Bound(handle) => indices.push(handle.index()),
                Whom::UserKey { service, text } => keys.push(Key::UserKey { service, text }),
                Whom::AppId { service, text } => keys.push(Key::AppId { service, text }),
            }
        }
        if !keys.is_empty() {
            engine.directory.warm(&keys, &mut indices);
        }
        engine.counters.warm(&indices);
    }

    /// Locks whoever is at `index`.
    pub(super) fn meet<E>(&self, index: u32) -> Result<Option<Met<'_>>, Unresolved<E>> {
        let met = self.engine.counters.meet(index, self.catalog.version, self.now.minute());
        met.map_err(|_| Unresolved::Stale)
    }

    /// Waits until no command is half-way and takes the catalog that is current then.
    ///
    /// # Errors
    /// Nothing has changed since the catalog was taken, so the request would be refused again.
    #[cold]
    pub(super) fn start_again<E>(&mut self, unresolved: Unresolved<E>) -> Result<(), E> {
        self.engine.start_again(unresolved, self.seen)?;
        self.load();
        Ok(())
    }

    fn load(&mut self) {
        self.seen = self.engine.publishing.load(Ordering::Acquire);
        self.catalog = self.engine.catalog.load();
    }
}
