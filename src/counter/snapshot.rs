//! What a subject's counters look like outside the store: plain values that checkpoints write and plugins read.

use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::{Minute, Period, UnixMillis, Windows};

/// One subject's counters at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectImage {
    /// Whose they are.
    pub application: ApplicationId,
    /// One cell per metric (or response code) that was ever touched, by ascending slot.
    pub cells: Vec<CellImage>,
    /// Future-dated usage whose windows have not all opened yet, in the order it was reported.
    pub waiting: Vec<WaitingImage>,
    /// Its reservations, by ascending id: those that are open, and those that have expired and are remembered.
    pub holds: Vec<HoldImage>,
}

impl SubjectImage {
    /// Of one that has counted nothing.
    #[must_use]
    pub fn empty(application: ApplicationId) -> SubjectImage {
        SubjectImage { application, cells: Vec::new(), waiting: Vec::new(), holds: Vec::new() }
    }

    /// Its reservations that are open at that time.
    pub fn open_reservations(&self, now: UnixMillis) -> impl Iterator<Item = &HoldImage> {
        self.holds.iter().filter(move |hold| !hold.id.has_expired(now))
    }

    /// What its open reservations hold of `slot` at that time.
    #[must_use]
    pub fn reserved(&self, slot: MetricSlot, now: UnixMillis) -> u64 {
        let held = self.open_reservations(now).flat_map(|hold| &hold.amounts).filter(|(on, _)| *on == slot);
        held.fold(0, |sum: u64, (_, amount)| sum.saturating_add(*amount))
    }
}

/// What one reservation holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldImage {
    /// Which one; says when it expires.
    pub id: ReservationId,
    /// The amounts by counter; none if it has expired.
    pub amounts: Vec<(MetricSlot, u64)>,
}

impl HoldImage {
    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<HoldImage>() + size_of_val(self.amounts.as_slice())
    }
}

/// All periods of one metric of one subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellImage {
    /// Which metric of the service.
    pub slot: MetricSlot,
    /// The minute whose windows the counts belong to; later windows are zero.
    pub minute: Minute,
    /// The counts, by [`Period`] number.
    pub counts: [u64; Period::COUNT],
}

impl CellImage {
    /// What the window of `period` that is open at that time has counted. A count belongs to the window of the cell's
    /// minute; in a later one nothing was counted yet.
    #[must_use]
    pub fn count(&self, period: Period, windows: &Windows) -> u64 {
        if windows.contains_past(period, self.minute) { self.counts[period as usize] } else { 0 }
    }
}

/// Usage dated after the engine's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingImage {
    /// Which metric of the service.
    pub slot: MetricSlot,
    /// The minute it is dated.
    pub dated: Minute,
    /// The engine's minute when it was reported: windows that were open then have it already.
    pub counted: Minute,
    /// What it does to the windows that open later.
    pub effect: Effect,
}
