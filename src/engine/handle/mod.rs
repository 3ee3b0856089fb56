//! Handles: a short number in place of credentials.
//!
//! Who binds an application ([`super::Moment::bind`]) proves once who it is, and is given a handle. A call by handle
//! finds the application's place by index, with no name looked up. Handles are of the node, not of a connection, and are
//! not written down: after a restart there are none.
//!
//! A handle is an index and a *pass*. The pass of a place is random and drawn anew when the handles to it have to die.
//! A service has an *edition* that does the same for all its applications at once, without touching their places: what
//! a handle carries is the pass altered by the edition.
//!
//! Handles die with what was looked up when they were made: with the application or its service; when the
//! application's `app_id`, user keys or application keys change; when the service's backend version changes, or a metric
//! of it is renamed, deleted or moved below another. A new plan, limit, state, name, token or metric kills none: that is
//! read with each call, or was not asked for.

#[cfg(test)]
mod likeness_tests;
#[cfg(test)]
mod tests;

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::model::id::{ServiceId, TenantId};
use crate::model::record::{Application, Service};

/// Stands for an application that was bound. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle(pub u64);

impl Handle {
    pub(super) fn new(index: u32, pass: u32, service: &Service) -> Handle {
        Handle(u64::from(pass ^ service.edition) << 32 | u64::from(index))
    }

    pub(super) fn index(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }

    /// Whether it was made for the subject with that pass, and no handle of the service has died since.
    pub(super) fn fits(self, pass: u32, service: &Service) -> bool {
        let carried = (self.0 >> 32) as u32;
        pass != 0 && carried == pass ^ service.edition
    }
}

/// The applications that a caller has access to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Scope {
    Node,
    Tenant(TenantId),
    Service(ServiceId),
}

impl Scope {
    /// Whether the applications of `service` are among them.
    #[must_use]
    pub fn includes(self, service: &Service) -> bool {
        match self {
            Scope::Node => true,
            Scope::Tenant(id) => service.tenant == id,
            Scope::Service(id) => service.id == id,
        }
    }
}

/// Passes carry this bit and editions do not, so that no handle is zero.
const ALWAYS: u32 = 1 << 31;

/// Draws passes: a keyed hash of their number, which nobody can tell from chance.
pub(super) struct Passes {
    seed: [u8; 16],
    drawn: u64,
}

impl Passes {
    pub(super) fn new(seed: [u8; 16]) -> Passes {
        Passes { seed, drawn: 0 }
    }

    /// Those that the next `count` draws would give, to be drawn elsewhere.
    pub(super) fn split_off(&mut self, count: usize) -> Passes {
        let Passes { seed, drawn } = *self;
        self.drawn += count as u64;
        Passes { seed, drawn }
    }

    pub(super) fn draw(&mut self) -> u32 {
        self.drawn += 1;
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        // Begins with what no key of the directory begins with, which is hashed under the same seed.
        hasher.write(b"pass");
        hasher.write(&self.drawn.to_le_bytes());
        (hasher.finish() & u64::from(u32::MAX)) as u32 | ALWAYS
    }
}

/// The edition of a service that was `before` and becomes `after`.
pub(super) fn edition(before: Option<&Service>, after: &Service) -> u32 {
    match before {
        Some(before) if before.is_outdated_by(after) => (before.edition + 1) & !ALWAYS,
        Some(before) => before.edition,
        None => 0,
    }
}

/// Whether callers are known by something else when an application that was `before` becomes `after`.
pub(super) fn renames(before: &Application, after: &Application) -> bool {
    before.app_id != after.app_id || before.user_keys != after.user_keys || before.app_keys != after.app_keys
}
