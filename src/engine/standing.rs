//! Standing: how a call stands with the limits that bind it, in units of their metrics. Worked out for those answers
//! that show it; a decision itself does not need it.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::limits::{binds, calls_left, effect_on, holds, reset_s};
use super::request::{Answer, UsageReport};
use super::resolve::named_effects;
use crate::model::amount::Effect;
use crate::model::decision::Denial;
use crate::model::usage::{Effects, propagate};

/// The limits that bind a call, and the one that will stop it first, or has stopped it.
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

impl<'a> Answer<'a> {
    /// How the call stands with the limits that bind it. Of no use for a call that was denied for another reason: its
    /// limits were not looked at.
    #[must_use]
    pub fn standing(&self) -> Standing<'a> {
        let tree = &self.service.metrics;
        // It was read without an error when it was decided, or not at all.
        let named = named_effects(self.request.usage, tree).unwrap_or_default();
        let effects = propagate(&named, tree, self.request.flat_usage);
        let binding = |report: &&UsageReport| !self.in_shadow && binds(report, &effects);
        let limits: SmallVec<[&UsageReport; 8]> = self.reports.iter().filter(binding).collect();
        let resets = |report: &UsageReport| reset_s(report.limit.period, self.windows, self.now);
        let is_denied = self.denial == Some(Denial::LimitsExceeded);
        let tightest = if is_denied {
            // A week can end after its month, so the longest period need not be the one that ends last.
            denying(&limits, &effects)
                .max_by_key(|report| (resets(report).unwrap_or(u64::MAX), Reverse(report.limit.period)))
        } else {
            let left = |report: &UsageReport| report.limit.max.saturating_sub(report.current);
            let tightness = |report: &&UsageReport| {
                (calls_left(report, &effects).unwrap_or(u64::MAX), left(report), report.limit.period)
            };
            limits.iter().copied().min_by_key(tightness)
        };
        let reset_s = tightest.and_then(resets);
        let opens_again = is_denied && denying(&limits, &effects).all(|report| fits_alone(report, &effects));
        Standing { limits, tightest, reset_s, retry_after_s: reset_s.filter(|_| opens_again) }
    }
}

fn denying<'a>(limits: &[&'a UsageReport], effects: &Effects) -> impl Iterator<Item = &'a UsageReport> {
    limits.iter().copied().filter(|report| !holds(report, effects))
}

/// Whether a call fits a window in which nothing has been counted.
fn fits_alone(report: &UsageReport, effects: &Effects) -> bool {
    effect_on(effects, report.limit.slot).map_or(0, Effect::amount) <= report.limit.max
}
