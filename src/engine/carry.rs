//! Carrying counters over: the counts of the open windows set to what another node, or another day, has counted.
//!
//! In the journal these are sets like any other. A set dated at minute m counts in every open window that began at m or
//! before it, so windows are set from the one that began last to the one that began first, each dated at its beginning:
//! the later sets replace what the earlier ones did to longer windows. Windows that began in the same minute cannot be
//! told apart by it, so they must have the same count; where calendars let windows begin together, they have.

use super::Engine;
use crate::counter::SubjectGuard;
use crate::model::amount::{COUNT_MAX, Effect};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::{Minute, Period, UnixMillis};

/// What one counter is to be, by [`Period`] number: the first minute of the window that is meant, and its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CarriedCounter {
    /// Which counter.
    pub slot: MetricSlot,
    /// The windows; `None` leaves one as it is.
    pub windows: [Option<(Minute, u64)>; Period::COUNT],
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// Windows whose count was changed, or would be.
    pub changed: u64,
    /// Windows that had the count already.
    pub same: u64,
    /// Windows that are not open any more, or not yet: they are left out.
    pub not_open: u64,
}

/// Why nothing was carried over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CarryError {
    /// The application was deleted meanwhile.
    #[error("the application is gone")]
    Gone,
    /// Two windows began together and are to differ.
    #[error("its {0} and {1} began in the same minute, but have different counts")]
    Contradiction(&'static str, &'static str),
    /// More than a counter holds.
    #[error("{0} is more than a counter holds")]
    TooMuch(u64),
}

type Counts = [u64; Period::COUNT];

impl Engine {
    /// Sets counters of an application, all or none in one step; with `apply` false only says what would come of it.
    /// Durable after the next flush ([`Engine::ticket`]).
    ///
    /// # Errors
    /// [`CarryError`]; nothing was changed.
    pub fn carry(
        &self,
        id: ApplicationId,
        counters: &[CarriedCounter],
        wall: UnixMillis,
        apply: bool,
    ) -> Result<Carried, CarryError> {
        let now = self.now(wall).minute();
        loop {
            let catalog = self.catalog.load();
            let application = catalog.applications.get(id.0).ok_or(CarryError::Gone)?;
            if let Ok(mut subject) = self.counters.lock(application.subject, catalog.version, now) {
                let mut carried = Carried::default();
                let mut wanted = Vec::new();
                for counter in counters {
                    let counts = wanted_counts(&subject, counter, &mut carried)?;
                    if Period::ALL.iter().any(|it| subject.count(counter.slot, *it) != counts[*it as usize]) {
                        wanted.push((counter.slot, counts));
                    }
                }
                if apply && !wanted.is_empty() {
                    set(&mut subject, &wanted);
                }
                return Ok(carried);
            }
            std::hint::spin_loop();
        }
    }
}

/// What the open windows of a counter are to have.
fn wanted_counts(
    subject: &SubjectGuard<'_>,
    counter: &CarriedCounter,
    carried: &mut Carried,
) -> Result<Counts, CarryError> {
    let windows = *subject.windows();
    let mut counts = [0; Period::COUNT];
    for period in Period::ALL {
        let has = subject.count(counter.slot, period);
        counts[period as usize] = has;
        match counter.windows[period as usize] {
            Some((_, count)) if count > COUNT_MAX => return Err(CarryError::TooMuch(count)),
            Some((start, count)) if start == windows.start(period) => {
                counts[period as usize] = count;
                *(if count == has { &mut carried.same } else { &mut carried.changed }) += 1;
            }
            Some(_) => carried.not_open += 1,
            None => {}
        }
    }
    for (at, period) in Period::ALL.into_iter().enumerate() {
        for other in Period::ALL.into_iter().skip(at + 1) {
            let together = windows.start(period) == windows.start(other);
            if together && counts[period as usize] != counts[other as usize] {
                return Err(CarryError::Contradiction(period.name(), other.name()));
            }
        }
    }
    Ok(counts)
}

fn set(subject: &mut SubjectGuard<'_>, wanted: &[(MetricSlot, Counts)]) {
    let windows = *subject.windows();
    let mut periods = Period::ALL;
    periods.sort_by_key(|period| std::cmp::Reverse(windows.start(*period)));
    for period in periods {
        let effects: Vec<_> =
            wanted.iter().map(|(slot, counts)| (*slot, Effect::Set(counts[period as usize]))).collect();
        subject.replace(Some(windows.start(period)), &effects);
    }
}
