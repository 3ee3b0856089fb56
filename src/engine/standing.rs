//! Standing: how a call stands with the limits that bind it. Worked out for those answers that show it; a decision itself
//! does not need it.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::limits::{binds, calls_left, holds, reset_ms};
use super::request::{Answer, UsageReport};
use crate::model::amount::Effect;
use crate::model::decision::Denial;
use crate::model::record::Limit;

/// The limits that bind a call, and the one that will stop it first, or has stopped it; in units of their metrics.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// The limits on the metrics that the call touches, ancestors included, without those in shadow; for a call
    /// without usage all limits of the plan. In the order of answers.
    pub limits: SmallVec<[&'a UsageReport; 8]>,
    /// The limit by which the fewest such calls are left; of several the one with fewer units left, then the one with
    /// the longest period. Of a denied call the one that denies it until last.
    pub tightest: Option<&'a UsageReport>,
    /// Seconds until the tightest limit's window ends, rounded up; `None` for eternity, which does not end.
    pub reset_s: Option<u64>,
    /// Seconds after which the same call may be made again by all limits that deny it; `None` if nothing denies it, or
    /// if waiting does not help: a limit for eternity, or one that such a call exceeds by itself.
    pub retry_after_s: Option<u64>,
}

/// The tightest of the limits that bind a call; see [`Standing::tightest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Its count, in units of its metric: with this call's usage when an authrep was authorized.
    pub current: u64,
    /// How often the same call could still be made by this limit; `None` is without bound.
    pub remaining: Option<u64>,
    /// Milliseconds until its window ends; `None` for eternity, which does not end.
    pub reset_ms: Option<u64>,
    /// As [`Standing::retry_after_s`], in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl<'a> Answer<'a> {
    /// How the call stands with the limits that bind it. Of no use for a call that was denied for another reason: its
    /// limits were not looked at.
    #[must_use]
    pub fn standing(&self) -> Standing<'a> {
        let tightest = self.tightest();
        let reset_s = tightest.and_then(|it| self.reset_ms(it)).map(|ms| ms.div_ceil(1000));
        let retry_after_s = reset_s.filter(|_| self.opens_again());
        Standing { limits: self.binding_limits().collect(), tightest, reset_s, retry_after_s }
    }

    /// The tightest limit alone; `None` if no limit binds the call, or if it was denied for another reason than limits.
    #[must_use]
    pub fn binding(&self) -> Option<Binding<'a>> {
        let looked_at = matches!(self.denial, None | Some(Denial::LimitsExceeded));
        let report = self.tightest().filter(|_| looked_at)?;
        let reset_ms = self.reset_ms(report);
        Some(Binding {
            limit: &report.limit,
            current: report.current,
            remaining: calls_left(report),
            reset_ms,
            retry_after_ms: reset_ms.filter(|_| self.opens_again()),
        })
    }

    fn binding_limits(&self) -> impl Iterator<Item = &'a UsageReport> {
        let (in_shadow, effects) = (self.in_shadow, self.effects);
        self.reports.iter().filter(move |report| !in_shadow && binds(report, effects))
    }

    fn denying(&self) -> impl Iterator<Item = &'a UsageReport> {
        let effects = self.effects;
        self.binding_limits().filter(move |report| !holds(report, effects))
    }

    fn is_denied(&self) -> bool {
        self.denial == Some(Denial::LimitsExceeded)
    }

    fn tightest(&self) -> Option<&'a UsageReport> {
        if self.is_denied() {
            // A week can end after its month, so the longest period need not be the one that ends last.
            let end = |report: &&UsageReport| {
                (self.reset_ms(report).unwrap_or(u64::MAX), Reverse(report.limit.period))
            };
            return self.denying().max_by_key(end);
        }
        let mut tightest: Option<(&UsageReport, u64, u64)> = None;
        for report in self.binding_limits() {
            let calls = calls_left(report).unwrap_or(u64::MAX);
            let left = report.left();
            // Compared one by one: that takes a fraction of what comparing tuples takes.
            let is_tighter = tightest.is_none_or(|(known, known_calls, known_left)| {
                calls < known_calls
                    || calls == known_calls
                        && (left < known_left
                            || left == known_left && report.limit.period < known.limit.period)
            });
            if is_tighter {
                tightest = Some((report, calls, left));
            }
        }
        tightest.map(|(report, ..)| report)
    }

    fn reset_ms(&self, report: &UsageReport) -> Option<u64> {
        reset_ms(report.limit.period, self.windows, self.now)
    }

    /// Whether the same call may be made again when all limits that deny it have begun anew.
    fn opens_again(&self) -> bool {
        let fits_alone = |report: &UsageReport| report.effect.map_or(0, Effect::amount) <= report.limit.max;
        self.is_denied() && self.denying().all(fits_alone)
    }
}
