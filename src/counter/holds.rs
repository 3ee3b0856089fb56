//! The side table of a shard: what the reservations of its subjects hold.
//!
//! A subject's open reservations lie in the order in which they expire, with the sums of what they hold per counter
//! beside them: a decision reads sums, not reservations. Most subjects have none, and their place says so by one bit,
//! so that a decision on them does not come here.
//!
//! # Time
//! Reservations expire at full seconds of the engine's clock, while a shard knows minutes; so the table has its own
//! latest time. Whoever looks at a subject's reservations first lets those expire that are due ([`Holds::expire`]):
//! nothing else has to happen at that second. What nobody looks at is swept ([`Holds::sweep`]), a few subjects at a
//! time.
//!
//! # What is written down
//! Holding, and that something is not held any more: committed, cancelled, or forgotten because too many others have
//! expired after it. Expiring and being forgotten after an hour follow from the id and the clock, so a replay, which
//! puts and removes ([`Holds::put`], [`Holds::remove`]), ends with the same reservations.
//!
//! # Locks
//! The table is part of the shard and under its lock, like counts: check and hold are one step, and so are releasing
//! and counting.

use std::collections::BTreeMap;

use super::snapshot::HoldImage;
use crate::model::id::MetricSlot;
use crate::model::reservation::{Amounts, EXPIRED_MAX, HOLDS_MAX, ReservationId, TTL_MAX_S};
use crate::model::time::UnixMillis;

/// What is taken out of the table under an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It was open, and held that.
    Open(Amounts),
    /// It had expired, and was remembered.
    Expired,
    /// It is not there: it was taken out before, or is not remembered, or never was.
    Unknown,
}

/// The reservations of a shard's subjects, by place.
#[derive(Default, Debug)]
pub(super) struct Holds {
    subjects: BTreeMap<u32, Held>,
    /// The latest time that was seen. Only moves forward.
    now: UnixMillis,
    /// The number of the next reservation.
    number: u32,
    /// The place from which the next sweep goes on.
    swept: u32,
}

/// The reservations of one subject.
#[derive(Default, Debug)]
struct Held {
    /// By ascending id, that is, by when they expire.
    open: Vec<(ReservationId, Amounts)>,
    /// By ascending id.
    expired: Vec<ReservationId>,
    /// The sums of what the open ones hold, by ascending slot; 64 amounts of 64 bits fit.
    sums: Vec<(MetricSlot, u128)>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.expired.is_empty()
    }

    fn insert(&mut self, id: ReservationId, amounts: Amounts) {
        let at = self.open.partition_point(|(other, _)| *other < id);
        for (slot, amount) in &amounts {
            match self.sums.binary_search_by_key(slot, |(on, _)| *on) {
                Ok(at) => self.sums[at].1 += u128::from(*amount),
                Err(at) => self.sums.insert(at, (*slot, (*amount).into())),
            }
        }
        self.open.insert(at, (id, amounts));
    }

    /// Lets go of what those reservations hold that `gone` picks, and shows their ids to `each`.
    fn let_go(&mut self, gone: impl Fn(ReservationId) -> bool, mut each: impl FnMut(ReservationId, Amounts)) {
        let before = self.open.len();
        for (id, amounts) in self.open.extract_if(.., |(id, _)| gone(*id)) {
            for (slot, amount) in &amounts {
                if let Ok(at) = self.sums.binary_search_by_key(slot, |(on, _)| *on) {
                    self.sums[at].1 -= u128::from(*amount);
                }
            }
            each(id, amounts);
        }
        if self.open.len() < before {
            self.sums.retain(|(_, sum)| *sum > 0);
        }
    }

    /// Moves what has expired to the remembered, and forgets those of them whose time is over.
    fn expire(&mut self, now: UnixMillis) {
        if self.open.first().is_some_and(|(id, _)| id.has_expired(now)) {
            let mut expired = std::mem::take(&mut self.expired);
            // Ascending still: what expires now was not due when the others expired.
            self.let_go(|id| id.has_expired(now), |id, _| expired.push(id));
            self.expired = expired;
        }
        if self.expired.first().is_some_and(|id| id.is_forgotten(now)) {
            self.expired.retain(|id| !id.is_forgotten(now));
        }
    }

    fn take(&mut self, id: ReservationId) -> Option<Taken> {
        let mut taken = None;
        self.let_go(|open| open == id, |_, amounts| taken = Some(Taken::Open(amounts)));
        if taken.is_none() {
            let at = self.expired.binary_search(&id).ok()?;
            self.expired.remove(at);
            taken = Some(Taken::Expired);
        }
        taken
    }

    fn knows(&self, id: ReservationId) -> bool {
        self.open.binary_search_by_key(&id, |(open, _)| *open).is_ok()
    }
}

impl Holds {
    /// Begins the numbers of reservations somewhere.
    pub(super) fn begin_numbers(&mut self, number: u32) {
        self.number = number;
    }

    /// Lets those reservations of a subject expire that are due; those too many to remember are shown to `forgotten`.
    /// Whether any is open still.
    pub(super) fn expire(
        &mut self,
        place: u32,
        now: UnixMillis,
        mut forgotten: impl FnMut(ReservationId),
    ) -> bool {
        self.now = self.now.max(now);
        let Some(held) = self.subjects.get_mut(&place) else { return false };
        held.expire(self.now);
        let too_many = held.expired.len().saturating_sub(EXPIRED_MAX);
        held.expired.drain(..too_many).for_each(&mut forgotten);
        !held.open.is_empty()
    }

    /// What a subject's open reservations hold, by ascending slot.
    pub(super) fn sums(&self, place: u32) -> &[(MetricSlot, u128)] {
        self.subjects.get(&place).map_or(&[], |held| &held.sums)
    }

    /// Holds `amounts` for `ttl_s` seconds from the table's time. `None` if as many reservations as there may be are
    /// open.
    pub(super) fn add(&mut self, place: u32, ttl_s: u64, amounts: Amounts) -> Option<ReservationId> {
        let held = self.subjects.entry(place).or_default();
        if held.open.len() >= HOLDS_MAX {
            return None;
        }
        loop {
            let id = ReservationId::new(self.now, ttl_s, self.number);
            self.number = self.number.wrapping_add(1);
            // Known only if four thousand million others were made within one second.
            if !held.knows(id) {
                held.insert(id, amounts);
                return Some(id);
            }
        }
    }

    /// Takes out a reservation. What is due must have expired before ([`Holds::expire`]).
    pub(super) fn take(&mut self, place: u32, id: ReservationId) -> Taken {
        self.subjects.get_mut(&place).and_then(|held| held.take(id)).unwrap_or(Taken::Unknown)
    }

    /// Puts a reservation as the journal or a checkpoint has it.
    pub(super) fn put(&mut self, place: u32, id: ReservationId, amounts: Amounts) {
        let held = self.subjects.entry(place).or_default();
        if !held.knows(id) {
            held.insert(id, amounts);
        }
        // It was made in the hour before it expires: however long the journal, no more than two hours of it are kept.
        held.expire(UnixMillis::from_secs(id.expires_s().saturating_sub(TTL_MAX_S + 1)));
    }

    /// Removes a reservation, as the journal has it.
    pub(super) fn remove(&mut self, place: u32, id: ReservationId) {
        if let Some(held) = self.subjects.get_mut(&place) {
            held.take(id);
            if held.is_empty() {
                self.subjects.remove(&place);
            }
        }
    }

    /// Forgets all reservations of a subject.
    pub(super) fn vacate(&mut self, place: u32) {
        self.subjects.remove(&place);
    }

    /// Forgets those that were made at a time that, as the clock stands now, has not come.
    pub(super) fn rewind(&mut self, now: UnixMillis) {
        self.now = UnixMillis(0);
        let latest_s = now.0.div_ceil(1000).saturating_add(TTL_MAX_S);
        for held in self.subjects.values_mut() {
            held.let_go(|id| id.expires_s() > latest_s, |_, _| ());
            held.expired.retain(|id| id.has_expired(now));
        }
        self.subjects.retain(|_, held| !held.is_empty());
    }

    /// Looks at the next few subjects: lets reservations expire, and gives back the memory of what is gone. `emptied`
    /// is shown the places without open ones.
    pub(super) fn sweep(&mut self, now: UnixMillis, subjects_max: usize, mut emptied: impl FnMut(u32)) {
        self.now = self.now.max(now);
        let mut gone = Vec::new();
        let mut next = 0;
        for (at, (place, held)) in self.subjects.range_mut(self.swept..).enumerate() {
            if at == subjects_max {
                next = *place;
                break;
            }
            held.expire(self.now);
            if held.open.is_empty() {
                emptied(*place);
            }
            if held.is_empty() {
                gone.push(*place);
            }
        }
        self.swept = next;
        for place in gone {
            self.subjects.remove(&place);
        }
    }

    /// How many reservations are open, or were when they were last looked at.
    pub(super) fn open(&self) -> usize {
        self.subjects.values().map(|held| held.open.len()).sum()
    }

    /// A subject's reservations, by ascending id; those that have expired hold nothing.
    pub(super) fn images(&self, place: u32) -> Vec<HoldImage> {
        let Some(held) = self.subjects.get(&place) else { return Vec::new() };
        let expired = held.expired.iter().map(|id| HoldImage { id: *id, amounts: Vec::new() });
        let open = held.open.iter();
        expired.chain(open.map(|(id, amounts)| HoldImage { id: *id, amounts: amounts.to_vec() })).collect()
    }
}

#[cfg(test)]
mod tests;
