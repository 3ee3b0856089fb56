//! Limits: whether effects fit, and what the answer says about each limit.
//!
//! Pure arithmetic over counts that a locked subject gives; nothing here knows of locks.

use smallvec::SmallVec;

use super::request::{LimitStatus, UsageReport};
use crate::counter::SubjectGuard;
use crate::model::alert::level;
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;
use crate::model::record::{Limit, Plan};
use crate::model::time::{Period, UnixMillis, Windows, window_secs};
use crate::model::usage::Effects;

/// Reports of one answer; those of most calls fit the stack.
pub(super) type Reports = SmallVec<[UsageReport; 24]>;

/// Reads the plan's limits as stored at this moment, with what a call with `effects` does to them. Unless `all` are
/// wanted or the call touches nothing, only those on metrics that it touches.
///
/// Returns whether all limits that concern the call hold after it; without effects, whether every limit holds now.
pub(super) fn read_reports(
    reports: &mut Reports,
    plan: &Plan,
    effects: &Effects,
    all: bool,
    subject: &SubjectGuard<'_>,
) -> Held {
    let all = all || effects.is_empty();
    let mut held = Held::All;
    reports.clear();
    // The limits of a metric stand together: it is looked for once.
    for limits in plan.limits.chunk_by(|one, other| one.slot == other.slot) {
        let Some(Limit { slot, .. }) = limits.first() else { continue };
        let effect = effect_on(effects, *slot);
        if !all && effect.is_none() {
            continue;
        }
        let counts = subject.counts(*slot);
        let reserved = subject.reserved(*slot);
        for limit in limits {
            let current = counts.of(limit.period);
            let report =
                UsageReport { limit: *limit, current, exceeded: current > limit.max, reserved, effect };
            if !holds(&report, effects) {
                held = held.without(limit);
            }
            reports.push(report);
        }
    }
    held
}

/// Whether limits hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// All of them.
    All,
    /// All but some that are in shadow.
    ButInShadow,
    /// Not all.
    Not,
}

impl Held {
    fn without(self, limit: &Limit) -> Held {
        if limit.shadow && self != Held::Not { Held::ButInShadow } else { Held::Not }
    }
}

/// Whether one limit holds, what reservations hold included; see [`read_reports`].
pub(super) fn holds(report: &UsageReport, effects: &Effects) -> bool {
    match report.effect {
        Some(effect) => effect.apply(report.current).saturating_add(report.reserved) <= report.limit.max,
        None => !effects.is_empty() || report.current.saturating_add(report.reserved) <= report.limit.max,
    }
}

/// Whether a limit is among those that bind a call with `effects`: it is on a metric that the call touches, or the
/// call touches none; and it is not in shadow.
pub(super) fn binds(report: &UsageReport, effects: &Effects) -> bool {
    !report.limit.shadow && (effects.is_empty() || report.effect.is_some())
}

/// How often the call could still be made by one limit; `None` is without bound.
pub(super) fn calls_left(report: &UsageReport) -> Option<u64> {
    let left = report.left();
    match report.effect {
        _ if left == 0 => Some(0),
        None | Some(Effect::Add(0)) => None,
        // A division takes longer than all else here.
        Some(Effect::Add(1)) => Some(left),
        Some(Effect::Add(amount)) => Some(left / amount),
        // Setting once more changes nothing: it can be done for ever, or never.
        Some(Effect::Set(value)) => (value.saturating_add(report.reserved) > report.limit.max).then_some(0),
    }
}

/// Keeps which alert levels the counts have reached since `reports` were read; those of all the plan's limits, if the
/// catalog has changed since levels were last looked at.
pub(super) fn reach(subject: &mut SubjectGuard<'_>, levels: &[u16], plan: &Plan, reports: &[UsageReport]) {
    if levels.is_empty() {
        return;
    }
    if !subject.keeps_levels() {
        plan.limits.iter().for_each(|limit| reach_one(subject, levels, limit, 0));
        return;
    }
    for UsageReport { limit, current, .. } in reports {
        reach_one(subject, levels, limit, level(levels, *current, limit.max));
    }
}

fn reach_one(subject: &mut SubjectGuard<'_>, levels: &[u16], limit: &Limit, before: u16) {
    let count = subject.count(limit.slot, limit.period);
    let now = level(levels, count, limit.max);
    if now > before {
        subject.reach(limit.slot, limit.period, now, count, limit.max);
    }
}

/// Shows what an authorized authrep adds.
pub(super) fn show_effects(reports: &mut Reports) {
    for report in reports {
        if let Some(effect) = report.effect {
            report.current = effect.apply(report.current);
        }
    }
}

/// Shows what an authorized reservation holds.
pub(super) fn show_reserved(reports: &mut Reports) {
    for report in reports {
        report.reserved = report.reserved.saturating_add(report.effect.map_or(0, Effect::amount));
    }
}

/// How often a call with `effects` could still be made, by the tightest of the limits that bind it.
pub(super) fn status(
    reports: &[UsageReport],
    effects: &Effects,
    windows: &Windows,
    now: UnixMillis,
) -> LimitStatus {
    let tightest = reports
        .iter()
        .filter(|report| binds(report, effects))
        .filter_map(|report| Some((calls_left(report)?, report.limit.period, report.limit.max)))
        .min_by_key(|(remaining, period, _)| (*remaining, *period));
    match tightest {
        Some((remaining, period, max)) => {
            LimitStatus { remaining: Some(remaining), reset_s: reset_s(period, windows, now), max: Some(max) }
        }
        None => LimitStatus { remaining: None, reset_s: None, max: None },
    }
}

/// Seconds until the open window of `period` ends, rounded up; `None` for eternity.
pub(super) fn reset_s(period: Period, windows: &Windows, now: UnixMillis) -> Option<u64> {
    reset_ms(period, windows, now).map(|ms| ms.div_ceil(1000))
}

/// Milliseconds until the open window of `period` ends; `None` for eternity.
pub(super) fn reset_ms(period: Period, windows: &Windows, now: UnixMillis) -> Option<u64> {
    let (_, end) = window_secs(period, windows)?;
    Some(end.saturating_mul(1000).saturating_sub(now.0))
}

pub(super) fn effect_on(effects: &Effects, slot: MetricSlot) -> Option<Effect> {
    effects.iter().find(|(touched, _)| *touched == slot).map(|(_, effect)| *effect)
}
