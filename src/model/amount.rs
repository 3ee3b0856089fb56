//! Amounts of usage: whole numbers that saturate instead of wrapping.

/// The largest value a counter holds: what a signed 64-bit delta of the journal (and Redis, for the original)
/// can express. Counting on from here changes nothing.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// Adds within [`COUNT_MAX`].
#[must_use]
pub fn add(count: u64, amount: u64) -> u64 {
    count.saturating_add(amount).min(COUNT_MAX)
}

/// What usage does to one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Adds to the count.
    Add(u64),
    /// Replaces the count (`#n`).
    Set(u64),
}

impl Effect {
    /// The count after this effect. Not capped at [`COUNT_MAX`]: a prediction beyond it must exceed every limit.
    #[must_use]
    pub fn apply(self, count: u64) -> u64 {
        match self {
            Effect::Add(amount) => count.saturating_add(amount),
            Effect::Set(value) => value,
        }
    }

    /// The amount, whichever way it is applied.
    #[must_use]
    pub fn amount(self) -> u64 {
        match self {
            Effect::Add(amount) | Effect::Set(amount) => amount,
        }
    }

    /// This effect followed by `next`, as one: an addition after a set raises what was set.
    #[must_use]
    pub fn then(self, next: Effect) -> Effect {
        match (self, next) {
            (Effect::Add(a), Effect::Add(b)) => Effect::Add(a.saturating_add(b)),
            (Effect::Set(a), Effect::Add(b)) => Effect::Set(a.saturating_add(b)),
            (_, Effect::Set(b)) => Effect::Set(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stop_at_the_largest_delta() {
        assert_eq!(add(COUNT_MAX - 1, 1), COUNT_MAX);
        assert_eq!(add(COUNT_MAX, 1), COUNT_MAX);
        assert_eq!(add(5, u64::MAX), COUNT_MAX);
    }

    #[test]
    fn effects_compose_in_order() {
        assert_eq!(Effect::Add(2).then(Effect::Add(3)), Effect::Add(5));
        assert_eq!(Effect::Add(2).then(Effect::Set(3)), Effect::Set(3));
        assert_eq!(Effect::Set(2).then(Effect::Add(3)), Effect::Set(5));
    }
}
