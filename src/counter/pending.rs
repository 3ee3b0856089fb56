//! What was counted since the last cut, aggregated, in the order that each subject's effects had.

use crate::model::alert::{Reached, Traffic};
use crate::model::amount::{COUNT_MAX, Effect};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::Minute;

const NONE: u32 = u32::MAX;

/// Usage of one shard since its last cut. Keeps its memory when it is cleared, so a warm shard allocates nothing.
#[derive(Default, Debug)]
pub struct Batch {
    records: Vec<Record>,
    deltas: Vec<Delta>,
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

#[derive(Clone, Copy, Debug)]
struct Record {
    application: ApplicationId,
    contract: u64,
    dated: Minute,
    counted: Minute,
    kind: PendingKind,
    /// First of this record's deltas: an index into `Batch::deltas`.
    head: u32,
}

#[derive(Clone, Copy, Debug)]
struct Delta {
    slot: MetricSlot,
    next: u32,
    amount: u64,
}

/// Whether amounts are added or replace what was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PendingKind {
    Add,
    Set,
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
        let mut at = self.head;
        std::iter::from_fn(move || {
            let delta = self.batch.deltas.get(at as usize)?;
            at = delta.next;
            Some((delta.slot, delta.amount))
        })
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
        self.deltas.clear();
        self.reached.clear();
        self.reached.shrink_to(KEPT);
        self.traffic.clear();
        self.traffic.shrink_to(KEPT);
        self.reservations.clear();
        self.reservations.shrink_to(KEPT);
        self.held.clear();
        self.held.shrink_to(KEPT);
        self.records.shrink_to(KEPT);
        self.deltas.shrink_to(KEPT * 4);
    }

    /// All usage in the order in which it was first counted; a subject's own stays in order.
    pub fn iter(&self) -> impl Iterator<Item = PendingUsage<'_>> {
        self.records.iter().map(|record| PendingUsage {
            application: record.application,
            contract: record.contract,
            dated: record.dated,
            counted: record.counted,
            kind: record.kind,
            batch: self,
            head: record.head,
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
        let mut open = open.unwrap_or(NONE);
        for kind in [PendingKind::Set, PendingKind::Add] {
            let of_kind = |effect: &Effect| matches!(effect, Effect::Add(_)) == (kind == PendingKind::Add);
            let mut some = effects.iter().filter(|(_, effect)| of_kind(effect)).peekable();
            if some.peek().is_none() {
                continue;
            }
            let known = self.records.len();
            open = self.open_record(open, usage, kind);
            let is_new = open as usize >= known;
            let mut last = NONE;
            for (slot, effect) in some {
                let amount = effect.amount().min(COUNT_MAX);
                // A request names each counter once, so a new record has none of them.
                let at = if is_new { NONE } else { self.find(open, last, *slot) };
                match self.deltas.get_mut(at as usize) {
                    Some(delta) => {
                        delta.amount = match kind {
                            PendingKind::Add => (delta.amount + amount).min(COUNT_MAX),
                            PendingKind::Set => amount,
                        };
                        last = at;
                    }
                    None => last = self.append(open, last, Delta { slot: *slot, next: NONE, amount }),
                }
            }
        }
        open
    }

    /// The record to write into: the subject's last one if it fits, a new one otherwise.
    fn open_record(&mut self, open: u32, usage: &Usage, kind: PendingKind) -> u32 {
        let fits = self.records.get(open as usize).is_some_and(|last| {
            let same_time = last.dated == usage.dated && last.counted == usage.counted;
            last.kind == kind && last.contract == usage.contract && same_time
        });
        if fits {
            return open;
        }
        self.records.push(Record {
            application: usage.application,
            contract: usage.contract,
            dated: usage.dated,
            counted: usage.counted,
            kind,
            head: NONE,
        });
        u32::try_from(self.records.len() - 1).unwrap_or(NONE)
    }

    /// The delta of a slot in a record: most likely the one after `last`, as in the request before.
    fn find(&self, record: u32, last: u32, slot: MetricSlot) -> u32 {
        let head = self.records.get(record as usize).map_or(NONE, |record| record.head);
        let next = |at: u32| self.deltas.get(at as usize).map_or(NONE, |delta| delta.next);
        let is_it = |at: u32| self.deltas.get(at as usize).is_some_and(|delta| delta.slot == slot);
        let likely = if last == NONE { head } else { next(last) };
        if is_it(likely) {
            return likely;
        }
        let mut at = head;
        while at != NONE && !is_it(at) {
            at = next(at);
        }
        at
    }

    /// Puts a delta at the end of a record, looking for the end from `last` on.
    fn append(&mut self, record: u32, last: u32, delta: Delta) -> u32 {
        let new = u32::try_from(self.deltas.len()).unwrap_or(NONE);
        let Some(record) = self.records.get_mut(record as usize) else { return NONE };
        let mut at = if last == NONE { record.head } else { last };
        if at == NONE {
            record.head = new;
        }
        while let Some(before) = self.deltas.get_mut(at as usize) {
            if before.next == NONE {
                before.next = new;
                break;
            }
            at = before.next;
        }
        self.deltas.push(delta);
        new
    }
}

/// What all effects of one request have in common.
pub(super) struct Usage {
    pub(super) application: ApplicationId,
    pub(super) contract: u64,
    pub(super) dated: Minute,
    pub(super) counted: Minute,
}
