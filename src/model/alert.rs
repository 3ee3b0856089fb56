//! What is told of applications: a count reached a level of its limit; there was traffic on a new day.

use super::id::{ApplicationId, MetricSlot};
use super::time::{Minute, Period};

/// A count that reached a level of its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    /// Whose count.
    pub application: ApplicationId,
    /// The catalog version that the limit and the level are of.
    pub contract: u64,
    /// What is counted.
    pub slot: MetricSlot,
    /// Over which windows.
    pub period: Period,
    /// The first minute of the window.
    pub window: Minute,
    /// The level, in percent of the maximum.
    pub level: u16,
    /// The count that reached it.
    pub count: u64,
    /// The limit's maximum, not zero.
    pub max: u64,
    /// When.
    pub counted: Minute,
}

/// An application was used on a day later than any before, as far as its counters remember: after a restart they do
/// not, so this may be said of a day again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Which.
    pub application: ApplicationId,
    /// The catalog version that the usage was counted under.
    pub contract: u64,
    /// The day that the usage is dated in, counted from 1970-01-01 UTC.
    pub day: u32,
}

/// The highest of `levels` (percent, ascending) that `count` has reached of `max`; 0 if none, or if `max` is 0: what
/// is disabled is not used up.
#[must_use]
pub fn level(levels: &[u16], count: u64, max: u64) -> u16 {
    let reached = |level: &u16| u128::from(count) * 100 >= u128::from(max) * u128::from(*level);
    if max == 0 { 0 } else { levels.iter().copied().rev().find(reached).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn a_level_is_reached_when_the_count_is_that_part_of_the_maximum() {
        let levels = [50, 80, 100, 300];
        for (count, max, expected) in [
            (0, 10, 0),
            (4, 10, 0),
            (5, 10, 50),
            (7, 10, 50),
            (8, 10, 80),
            (10, 10, 100),
            (29, 10, 100),
            (30, 10, 300),
            (1, 3, 0),
            (2, 3, 50),
            (5, 0, 0),
            (u64::MAX, u64::MAX, 100),
            (u64::MAX, 1, 300),
        ] {
            assert_eq!(level(&levels, count, max), expected, "{count} of {max}");
        }
        assert_eq!(level(&[], 10, 10), 0);
    }
}
