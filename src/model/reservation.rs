//! Reservations: amounts held against limits until it is known what a call really cost.
//!
//! # States
//! ```text
//!            reserve             its second is reached              an hour later, or 64 later ones expired
//!  nothing ──────────> open ─────────────────────────────> expired ────────────────────────────────────> forgotten
//!                       │ commit: Within, Overrun             │ commit: Expired
//!                       │ cancel: Released                    │ cancel: Expired
//!                       └────────────> finished <─────────────┘
//! ```
//!
//! - *Open*: its amounts count against the limits of every period, beside what is counted: an addition fits if
//!   `count + held + amount <= max`. They are not in any count that is shown.
//! - *Expired*: it holds nothing any more. It is remembered, so that a late commit is counted, once.
//! - *Finished*: it is gone. Committing it again is refused and counts nothing, so a commit whose answer was lost can
//!   be sent again.
//! - *Forgotten*: gone likewise. Nothing tells it from one that was finished, so a commit that comes this late is refused
//!   too: what it really was can still be reported.
//!
//! A commit counts in full, in the windows of the commit, whatever the limits and states of the application say: the
//! cost is there.
//!
//! # The id
//! `expiry second (since 1970 UTC, high 32 bits) | number (low 32 bits)`: the id alone says when it expires. Numbers
//! follow each other from a random start, so the id of a reservation that is gone does not come again.

use std::fmt;

use smallvec::SmallVec;

use super::amount::Effect;
use super::id::MetricSlot;
use super::time::UnixMillis;
use super::usage::Effects;

/// The shortest time to live, in seconds: what expires sooner holds nothing that matters.
pub const TTL_MIN_S: u64 = 1;

/// The longest time to live, in seconds: what a client that is gone keeps from others comes back within the hour.
pub const TTL_MAX_S: u64 = 3_600;

/// The most open reservations of one application: bounds what it takes of the node's memory.
pub const HOLDS_MAX: usize = 64;

/// The most expired reservations of one application that are remembered.
pub const EXPIRED_MAX: usize = 64;

/// How long after it expired a reservation is remembered, in seconds.
pub const REMEMBERED_S: u64 = 3_600;

/// The most counters (metrics and those above them) in which one reservation holds amounts: bounds, with
/// [`HOLDS_MAX`], what an application takes of the node's memory, and how long the sums over all take.
pub const AMOUNTS_MAX: usize = 64;

/// What a reservation holds, each counter once; none of it is zero. Small ones lie where they are listed.
pub type Amounts = SmallVec<[(MetricSlot, u64); 3]>;

/// Which reservation of an application.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReservationId(pub u64);

impl ReservationId {
    /// That of the reservation made `now` to live for `ttl_s` seconds at least: it expires at a full second.
    #[must_use]
    pub fn new(now: UnixMillis, ttl_s: u64, number: u32) -> ReservationId {
        let expires_s = now.0.div_ceil(1000).saturating_add(ttl_s);
        // Seconds fit until 2106; from then on everything has expired when it is made.
        let expires_s = u32::try_from(expires_s).unwrap_or(u32::MAX);
        ReservationId(u64::from(expires_s) << 32 | u64::from(number))
    }

    /// The second at which it expires.
    #[must_use]
    pub fn expires_s(self) -> u64 {
        self.0 >> 32
    }

    /// Whether it has expired by then.
    #[must_use]
    pub fn has_expired(self, now: UnixMillis) -> bool {
        self.expires_s() <= now.secs()
    }

    /// Whether it is too long ago that it expired.
    #[must_use]
    pub fn is_forgotten(self, now: UnixMillis) -> bool {
        self.expires_s() + REMEMBERED_S <= now.secs()
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What came of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Committed {
    /// Counted; in no counter more than was held there.
    Within,
    /// Counted; somewhere more than was held, or where nothing was.
    Overrun,
    /// Counted; nothing was held any more.
    Expired,
}

/// What came of a cancellation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancelled {
    /// What it held is free.
    Released,
    /// It had expired before, and held nothing any more.
    Expired,
}

/// What effects hold until they happen: what they add. `None` if one of them sets instead.
#[must_use]
pub fn amounts_of(effects: &Effects) -> Option<Amounts> {
    let mut amounts = Amounts::new();
    for (slot, effect) in effects {
        match *effect {
            Effect::Add(0) => {}
            Effect::Add(amount) => amounts.push((*slot, amount)),
            Effect::Set(_) => return None,
        }
    }
    Some(amounts)
}

/// Whether `used` stays within what was `held`, counter by counter.
#[must_use]
pub fn is_within(used: &Amounts, held: &Amounts) -> bool {
    let held_on = |slot| held.iter().find(|(on, _)| *on == slot).map_or(0, |(_, amount)| *amount);
    used.iter().all(|(slot, amount)| *amount <= held_on(*slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_expires_and_no_sooner_than_was_asked() {
        let id = ReservationId::new(UnixMillis(10_000), 5, 7);
        assert_eq!((id.expires_s(), id.0), (15, 15 << 32 | 7));
        assert!(!id.has_expired(UnixMillis(14_999)));
        assert!(id.has_expired(UnixMillis(15_000)));
        assert!(!id.is_forgotten(UnixMillis(3_614_999)));
        assert!(id.is_forgotten(UnixMillis(3_615_000)));
        // Five seconds from the middle of one end in the middle of another.
        assert_eq!(ReservationId::new(UnixMillis(10_001), 5, 0).expires_s(), 16);
        assert!(ReservationId::new(UnixMillis(u64::MAX), u64::MAX, 1).has_expired(UnixMillis(u64::MAX)));
    }

    #[test]
    fn only_additions_can_be_held() {
        let (hits, search) = (MetricSlot(0), MetricSlot(1));
        let effects = |some: &[(MetricSlot, Effect)]| some.iter().copied().collect::<Effects>();
        let held = amounts_of(&effects(&[(hits, Effect::Add(5)), (search, Effect::Add(0))]));
        assert_eq!(held.as_deref(), Some(&[(hits, 5)][..]));
        assert_eq!(amounts_of(&effects(&[(hits, Effect::Set(5))])), None);
    }

    #[test]
    fn usage_is_within_if_every_counter_is() {
        let (hits, search) = (MetricSlot(0), MetricSlot(1));
        let amounts = |some: &[(MetricSlot, u64)]| some.iter().copied().collect::<Amounts>();
        let held = amounts(&[(search, 5), (hits, 5)]);
        for (used, expected) in [
            (&[(search, 5), (hits, 5)][..], true),
            (&[(hits, 5)], true),
            (&[], true),
            (&[(hits, 6)], false),
            (&[(search, 3), (hits, 6)], false),
            (&[(MetricSlot(2), 1)], false),
        ] {
            assert_eq!(is_within(&amounts(used), &held), expected, "{used:?}");
        }
    }
}
