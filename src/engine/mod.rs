//! The engine: the only way to change usage or catalog.
//!
//! # Order
//! Four kinds of step, each exact under any concurrency:
//!
//! 1. **A decision** loads the catalog (one pointer, once for all requests that came together: [`Moment`]), resolves
//!    names, and takes one subject's lock, under which it checks all limits and counts all effects. What it needs of the
//!    subject's record is noted there too, so a call by [`Handle`] resolves nothing. If the catalog is not the shard's, the
//!    shard says so ([`crate::counter::Stale`]) and the decision starts again: it is always decided and counted under one
//!    catalog.
//! 2. **A report** resolves everything first, then holds the *gate* open while it counts transaction by
//!    transaction. Cuts and commands wait for the gate, so a report reaches the journal as one group, or not at all.
//! 3. **A command** builds the next catalog from a draft, one command at a time. Then it holds the *sequencer*, closes the
//!    gate, publishes the catalog, cuts all shards (raising their floor to the new version, and noting what it says of their subjects), and
//!    appends to the journal: usage decided under the old catalog, then the command. Replaying the journal therefore gives
//!    what happened, in an order that could have happened. Decisions wait until the cut has come to their shard, which
//!    takes microseconds. What plugins record with a command is in [`companion`].
//!
//! The *flusher* is one thread. Every 50 ms, or at once when somebody waits for a durable answer, it cuts all
//! shards under the sequencer, appends what they give, and syncs. All who wait are served by that one sync.
//!
//! 4. **Several calls together** ([`Moment::together`]): all go ahead or none. The gate is held as for a report, the shards of
//!    all subjects are locked in ascending order, and only when every call was found to go ahead is anything counted.
//!
//! # Shadow
//! A rule in shadow is tried out: it is decided and reported, but denies nothing.
//!
//! - *A limit in shadow* is the only one of its plan that does not deny; all others hold as ever, those on ancestors
//!   of its metric too.
//! - *An application in shadow*: no call of its is denied, whatever the reason: key, referrer, redirect, state, limits.
//! - *A service in shadow*: the same for the calls of all its applications.
//!
//! A call that would have been denied is authorized, and goes ahead like any other: authrep counts its usage, so
//! counts may lie above a maximum, reports show them as exceeded, and when the shadow is lifted the limit denies until
//! its window is over. [`request::Answer::would_deny`] says what the reason would have been: the first, in the order of
//! the checks. A call that is denied by what is not in shadow is denied, and then nothing is said of the shadow.
//! Refusals are not denials: they stay, and a call whose denial is set aside can still be refused for its usage.
//! What tells a client of limits tells of those that bind: a limit in shadow is not among them, and for a service or
//! application in shadow there are none.
//!
//! # Reservations
//! A reservation is decided like an authrep, and holds instead of counting, in the same step; committing one counts and
//! releases in one step. Their states are in [`crate::model::reservation`]. Each is written down by the cut that takes
//! the usage of the same step, under the same catalog version: so what a crash leaves of a commit is usage and end of
//! the reservation, or neither.
//!
//! # Repetitions
//! A request that carries an id of its client's choice is counted once, however often it is sent: see [`dedup`].
//!
//! # Locks
//! `commands` > `sequencer` > `gate` > shards of ids > shard, in this order; a decision takes one shard only, a report the gate and one
//! shard at a time, several calls together the gate and their shards in ascending order; a request with ids the gate and
//! their shards, then as without. Warming ([`Moment::warm`]) waits for no lock.
//! Nothing waits for the disk while it holds any of them; but for the first, which a plugin's host holds while its shelf is
//! synced: then commands wait.
//!
//! # Time
//! The engine's clock is the greatest wall time it was ever shown, across restarts. Callers read their clock once
//! per batch of requests and pass it in.

mod authorize;
mod bind;
mod bound;
mod carry;
mod change;
pub mod companion;
mod copy;
mod cut;
pub mod dedup;
mod directory;
mod explain;
mod flush;
mod handle;
mod limits;
mod moment;
mod promise;
mod recover;
mod report;
pub mod request;
mod reserve;
mod reset;
mod resolve;
#[cfg(test)]
mod shadow_tests;
mod space;
mod standing;
#[cfg(test)]
mod tests;
mod together;
mod validate;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

pub use bind::{BindRequest, Bound};
pub use bound::BoundRequest;
pub use carry::{Carried, CarriedCounter, CarryError};
pub use change::ChangeError;
pub use explain::{
    ApplicationExplained, Explanation, LimitExplained, PlanExplained, Reason, ServiceExplained,
    UsageExplained, Verdict,
};
pub use flush::{FLUSH_INTERVAL, FlushHealth, NotDurable, Ticket};
pub use handle::{Handle, Scope};
pub use moment::{Moment, Whom};
pub use promise::Reported;
pub use recover::{RecoverError, Recovery};
pub use space::Space;

pub use crate::counter::WARM_MAX;
use crate::counter::snapshot::SubjectImage;
use crate::counter::{Counters, SHARDS};
use crate::journal::Journal;
use crate::model::catalog::{Catalog, Key, KeyIndex};
use crate::model::decision::Refusal;
use crate::model::id::{ApplicationId, ServiceId};
use crate::model::time::UnixMillis;
use companion::Companion;
use cut::{Gate, Sequencer};
use dedup::Ids;
use directory::Directory;
use flush::FlushState;
use request::Credentials;
pub use standing::{Binding, Standing};
pub use together::{NotDone, Part, TooMany};

/// Decides, counts and remembers. Shared by all listeners and plugins of a node.
pub struct Engine {
    catalog: ArcSwap<Catalog>,
    directory: Directory,
    counters: Counters,
    ids: Ids,
    journal: Journal,
    /// Held while a command is built and put into effect.
    commands: Mutex<()>,
    /// Not its owner: it has the engine.
    companion: OnceLock<Weak<dyn Companion>>,
    sequencer: Mutex<Sequencer>,
    gate: RwLock<Gate>,
    flush: FlushState,
    clock: AtomicU64,
    /// Odd while keys and catalog are being replaced. A lookup that found nothing at such a time says nothing: the
    /// key may have moved to a record that the catalog at hand does not have yet.
    publishing: AtomicU64,
}

impl Engine {
    /// The engine's time: the caller's, or the latest it has seen if the caller's clock is behind.
    pub fn now(&self, wall: UnixMillis) -> UnixMillis {
        let last = self.clock.load(Ordering::Relaxed);
        if wall.0 <= last {
            return UnixMillis(last);
        }
        UnixMillis(self.clock.fetch_max(wall.0, Ordering::Relaxed).max(wall.0))
    }

    /// The catalog as it is now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The id of the record that `key` leads to.
    #[must_use]
    pub fn find(&self, key: Key<'_>) -> Option<u64> {
        if directory::is_application(key) {
            let subject = self.directory.application(key)?;
            return self.counters.application_of(subject).map(|application| application.0);
        }
        self.directory.other(key)
    }

    /// The counters of one application, as they are now.
    #[must_use]
    pub fn counters_of(&self, application: ApplicationId, wall: UnixMillis) -> Option<SubjectImage> {
        let subject = self.catalog.load().applications.get(application.0)?.subject;
        self.counters.image(subject, self.now(wall).minute())
    }

    /// How many future-dated items wait for their windows.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.counters.waiting()
    }

    /// Checks that a caller says who it is, without resolving the service: some errors of a request come after
    /// this and before that.
    ///
    /// # Errors
    /// No credentials, a token without a service id, or a token that is not that service's.
    pub fn authenticate<'r>(&self, credentials: &Credentials<'r>) -> Result<(), Refusal<'r>> {
        self.check_credentials(credentials)
    }

    /// The service that the credentials give access to, if any: whose error it is when a call goes wrong.
    #[must_use]
    pub fn service_of(&self, credentials: &Credentials<'_>) -> Option<ServiceId> {
        self.service(&self.catalog.load(), credentials).ok().map(|service| service.id)
    }

    /// Whether a lookup that failed after `publishing` read `seen` should be made again, once no command is half-way.
    fn lookup_again(&self, seen: u64) -> bool {
        while !self.publishing.load(Ordering::Acquire).is_multiple_of(2) {
            std::thread::yield_now();
        }
        self.publishing.load(Ordering::Acquire) != seen
    }

    /// The journal, for followers: they see what is synced.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl KeyIndex for Engine {
    fn find(&self, key: Key<'_>) -> Option<u64> {
        Engine::find(self, key)
    }
}

const _: () = assert!(SHARDS.is_power_of_two());
