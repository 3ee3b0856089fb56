//! What was counted since the last cut, aggregated, in the order that each subject's effects had.

use crate::model::alert::{Reached, Traffic};
use crate::model::amount::{COUNT_MAX, Effect};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::Minute;

const NONE: u32 = u32::MAX;

/// What stands in a record's place for a slot that is not taken.
const VACANT: MetricSlot = MetricSlot(u32::MAX);

/// How many slots a record has room for: with so many it fills a cache line, which a decision seldom finds in its cache.
const SLOTS: usize = 4;

/// Usage of one shard since its last cut. Keeps its memory when it is cleared, so a warm shard allocates nothing.
#[derive(Default, Debug)]
pub struct Batch {
    records: Vec<Record>,
    terms: Vec<Terms>,
    reached: Vec<Reached>,
    traffic: Vec<Traffic>,
    reservations: Vec<Reservation>,
    /// What the reservations hold, one after the other.
    held: Vec<(MetricSlot, u64)>,
}

/// A reservation that was made or taken out.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    application: ApplicationId,
    contract: u64,
    id: ReservationId,
    /// Where its part of `Batch::held` ends, which begins where that of the one before ends. `None` if it was taken
    /// out.
    held_end: Option<usize>,
}

/// A reservation of one subject that was made or taken out since the last cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingReservation<'a> {
    /// Whose.
    pub application: ApplicationId,
    /// The catalog version it was decided under.
    pub contract: u64,
    /// Which.
    pub id: ReservationId,
    /// What it holds; `None` if it was taken out.
    pub held: Option<&'a [(MetricSlot, u64)]>,
}

/// What some slots of an application counted under one contract, in one minute.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Record {
    application: ApplicationId,
    /// An index into `Batch::terms`; `NONE` in a record that goes on with another.
    terms: u32,
    /// The record that goes on with this one.
    next: u32,
    slots: [MetricSlot; SLOTS],
    amounts: [u64; SLOTS],
}

const _: () = assert!(size_of::<Record>() == 64);

/// What most records of a batch have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Terms {
    contract: u64,
    dated: Minute,
    counted: Minute,
    kind: PendingKind,
}

/// Whether amounts are added or replace what was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PendingKind {
    Add,
    Set,
    /// As set, by nobody's request.
    Replace,
}

/// One subject's usage under one contract, dated in one minute.
#[derive(Clone, Copy, Debug)]
pub struct PendingUsage<'a> {
    /// Whose usage.
    pub application: ApplicationId,
    /// The catalog version it was decided under.
    pub contract: u64,
    /// The minute it is dated.
    pub dated: Minute,
    /// The shard's minute when it was counted.
    pub counted: Minute,
    /// How the amounts apply.
    pub kind: PendingKind,
    batch: &'a Batch,
    head: u32,
}

impl PendingUsage<'_> {
    /// The amounts by metric, each metric once, in the order of first touch.
    pub fn amounts(&self) -> impl Iterator<Item = (MetricSlot, u64)> {
        let first = self.batch.records.get(self.head as usize);
        let records = std::iter::successors(first, |record| self.batch.records.get(record.next as usize));
        let amounts = records.flat_map(|record| record.slots.iter().zip(&record.amounts));
        amounts.filter(|(slot, _)| **slot != VACANT).map(|(slot, amount)| (*slot, *amount))
    }
}

impl Batch {
    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let told_nothing = self.reached.is_empty() && self.traffic.is_empty();
        self.records.is_empty() && self.reservations.is_empty() && told_nothing
    }

    /// Forgets everything but the memory. A burst's memory is given back: keeps what a usual cut needs.
    pub fn clear(&mut self) {
        const KEPT: usize = 4096;
        self.records.clear();
        self.terms.clear();
        self.reached.clear();
        self.reached.shrink_to(KEPT);
        self.traffic.clear();
        self.traffic.shrink_to(KEPT);
        self.reservations.clear();
        self.reservations.shrink_to(KEPT);
        self.held.clear();
        self.held.shrink_to(KEPT);
        self.records.shrink_to(KEPT);
        self.terms.shrink_to(KEPT);
    }

    /// All usage in the order in which it was first counted; a subject's own stays in order.
    pub fn iter(&self) -> impl Iterator<Item = PendingUsage<'_>> {
        (0..).zip(&self.records).filter_map(|(head, record)| {
            let Terms { contract, dated, counted, kind } = *self.terms.get(record.terms as usize)?;
            let application = record.application;
            Some(PendingUsage { application, contract, dated, counted, kind, batch: self, head })
        })
    }

    /// The alert levels that counts have reached.
    #[must_use]
    pub fn reached(&self) -> &[Reached] {
        &self.reached
    }

    /// The applications that were used on a new day.
    #[must_use]
    pub fn traffic(&self) -> &[Traffic] {
        &self.traffic
    }

    /// The reservations that were made and taken out, in that order.
    pub fn reservations(&self) -> impl Iterator<Item = PendingReservation<'_>> {
        let mut begin = 0;
        self.reservations.iter().map(move |it| {
            let held = it.held_end.map(|end| &self.held[std::mem::replace(&mut begin, end)..end]);
            PendingReservation { application: it.application, contract: it.contract, id: it.id, held }
        })
    }

    /// Keeps that a reservation was made, or, with nothing `held`, taken out.
    pub(super) fn reserve(&mut self, it: PendingReservation<'_>) {
        let PendingReservation { application, contract, id, held } = it;
        self.held.extend_from_slice(held.unwrap_or_default());
        let held_end = held.map(|_| self.held.len());
        self.reservations.push(Reservation { application, contract, id, held_end });
    }

    pub(super) fn note_traffic(&mut self, traffic: Traffic) {
        self.traffic.push(traffic);
    }

    pub(super) fn reach(&mut self, reached: Reached) {
        self.reached.push(reached);
    }

    /// Adds effects of one request. `open` is where the subject's last record is, if it has one in this batch;
    /// the place of its last record now is returned.
    pub(super) fn record(
        &mut self,
        open: Option<u32>,
        usage: &Usage,
        effects: &[(MetricSlot, Effect)],
    ) -> u32 {
        let is_set = |(_, effect): &&(MetricSlot, Effect)| matches!(effect, Effect::Set(_));
        let mut open = open.unwrap_or(NONE);
        // Few requests set anything.
        if effects.iter().any(|effect| is_set(&effect)) {
            open = self.record_kind(open, usage, PendingKind::Set, effects.iter().filter(is_set));
        }
        if effects.iter().all(|effect| is_set(&effect)) {
            return open;
        }
        self.record_kind(open, usage, PendingKind::Add, effects.iter().filter(|effect| !is_set(effect)))
    }

    /// As [`Batch::record`], of values that counters are given though no request set them.
    pub(super) fn replace(
        &mut self,
        open: Option<u32>,
        usage: &Usage,
        effects: &[(MetricSlot, Effect)],
    ) -> u32 {
        self.record_kind(open.unwrap_or(NONE), usage, PendingKind::Replace, effects.iter())
    }

    fn record_kind<'e>(
        &mut self,
        mut open: u32,
        usage: &Usage,
        kind: PendingKind,
        effects: impl Iterator<Item = &'e (MetricSlot, Effect)>,
    ) -> u32 {
        let Usage { application, contract, dated, counted } = *usage;
        let terms = self.number_of(Terms { contract, dated, counted, kind });
        let is_new = self.records.get(open as usize).is_none_or(|record| record.terms != terms);
        if is_new {
            open = self.add(application, terms);
        }
        let mut near = open;
        for (slot, effect) in effects {
            let amount = effect.amount().min(COUNT_MAX);
            // If another request was as this one, the counter is where that one had it: behind the one before. A request
            // names each counter once, so a new record has none of them.
            let takes = is_new || near == open;
            near = match self.accumulate(near, *slot, amount, kind, takes) {
                Ok(at) => at,
                Err(end) => self.accumulate_anywhere(if takes { end } else { open }, *slot, amount, kind),
            };
        }
        open
    }

    /// Counts in the record from `at` on that has the slot, or has room for it, or is made for it. Returns which.
    fn accumulate_anywhere(&mut self, at: u32, slot: MetricSlot, amount: u64, kind: PendingKind) -> u32 {
        self.accumulate(at, slot, amount, kind, true).unwrap_or_else(|end| {
            let Some(application) = self.records.get(end as usize).map(|it| it.application) else {
                return end;
            };
            let further = self.add(application, NONE);
            self.records[end as usize].next = further;
            self.accumulate(further, slot, amount, kind, true).unwrap_or(further)
        })
    }

    /// Reads a word of a record.
    pub(super) fn touch(&self, record: u32) -> u32 {
        self.records.get(record as usize).map_or(0, |record| record.terms)
    }

    fn number_of(&mut self, terms: Terms) -> u32 {
        let known = self.terms.iter().rposition(|known| *known == terms);
        let number = known.unwrap_or_else(|| {
            self.terms.push(terms);
            self.terms.len() - 1
        });
        u32::try_from(number).unwrap_or(NONE)
    }

    fn add(&mut self, application: ApplicationId, terms: u32) -> u32 {
        let record = Record { application, terms, next: NONE, slots: [VACANT; SLOTS], amounts: [0; SLOTS] };
        self.records.push(record);
        u32::try_from(self.records.len() - 1).unwrap_or(NONE)
    }

    /// Counts in the first record from `at` on that has the slot, or, with `takes`, has room for it. Returns which it was; if
    /// there is none, the last.
    fn accumulate(
        &mut self,
        mut at: u32,
        slot: MetricSlot,
        amount: u64,
        kind: PendingKind,
        takes: bool,
    ) -> Result<u32, u32> {
        loop {
            let Some(record) = self.records.get_mut(at as usize) else { return Err(at) };
            // Slots are taken in order: behind a vacant one there is none, and no further record.
            for (known, total) in record.slots.iter_mut().zip(&mut record.amounts) {
                if *known == slot || takes && *known == VACANT {
                    *known = slot;
                    *total = match kind {
                        PendingKind::Add => (*total + amount).min(COUNT_MAX),
                        PendingKind::Set | PendingKind::Replace => amount,
                    };
                    return Ok(at);
                }
            }
            if record.next == NONE {
                return Err(at);
            }
            at = record.next;
        }
    }
}

/// What all effects of one request have in common.
pub(super) struct Usage {
    pub(super) application: ApplicationId,
    pub(super) contract: u64,
    pub(super) dated: Minute,
    pub(super) counted: Minute,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many slots a request names, in whatever order: what is taken out is what was put in, each slot once.
        #[test]
        fn a_record_of_any_length_keeps_each_slot_once(
            requests in prop::collection::vec((prop::collection::btree_map(0..40_u32, 0..9_u64, 0..30), any::<bool>()), 1..8),
        ) {
            let usage = Usage { application: ApplicationId(1), contract: 1, dated: Minute(1), counted: Minute(1) };
            let (mut batch, mut open) = (Batch::default(), None);
            let mut expected = BTreeMap::<u32, u64>::new();
            for (amounts, backwards) in &requests {
                let mut effects: Vec<_> =
                    amounts.iter().map(|(slot, amount)| (MetricSlot(*slot), Effect::Add(*amount))).collect();
                if *backwards {
                    effects.reverse();
                }
                let at = batch.record(open, &usage, &effects);
                open = (at != NONE).then_some(at);
                amounts.iter().for_each(|(slot, amount)| *expected.entry(*slot).or_default() += amount);
            }
            let records: Vec<_> = batch.iter().collect();
            prop_assert_eq!(records.len(), usize::from(!expected.is_empty()));
            let taken: Vec<_> = records.iter().flat_map(PendingUsage::amounts).map(|(slot, amount)| (slot.0, amount)).collect();
            prop_assert_eq!(taken.len(), expected.len());
            prop_assert_eq!(taken.into_iter().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
