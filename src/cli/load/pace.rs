//! When requests are due.

/// A fixed rate. Without one, a request is due whenever there is room for it.
///
/// Requests that could not be sent in time stay due at the time when they were: what they waited is part of their
/// latency. A node that stops for a second so has all the slow answers that its callers would have had, not one for
/// each connection (which is what "coordinated omission" leaves out).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    begin_ns: f64,
    interval_ns: f64,
    sent: u64,
}

impl Pace {
    /// Connection `number` of `count`, which together send `rate` requests per second: evenly, one after the other.
    pub(super) fn new(rate: f64, number: usize, count: usize) -> Pace {
        let interval_ns = 1e9 / rate * count as f64;
        Pace { begin_ns: interval_ns * number as f64 / count as f64, interval_ns, sent: 0 }
    }

    /// When the next request is due.
    pub(super) fn due_ns(&self) -> u64 {
        (self.begin_ns + self.interval_ns * self.sent as f64) as u64
    }

    /// It was sent.
    pub(super) fn advance(&mut self) {
        self.sent += 1;
    }

    /// Requests that are due before `end_ns`, and were not sent.
    pub(super) fn left(&self, end_ns: u64) -> u64 {
        let due = ((end_ns as f64 - self.begin_ns) / self.interval_ns).ceil().max(0.0) as u64;
        due.saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_at_the_rate_of_all() {
        let mut paces: Vec<_> = (0..4).map(|number| Pace::new(1000.0, number, 4)).collect();
        let mut due = Vec::new();
        for pace in &mut paces {
            assert_eq!(pace.left(1_000_000_000), 250);
            for _ in 0..3 {
                due.push(pace.due_ns());
                pace.advance();
            }
            assert_eq!(pace.left(1_000_000_000), 247);
        }
        due.sort_unstable();
        let wanted: Vec<u64> = (0..12).map(|number| number * 1_000_000).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn what_was_late_stays_due() {
        let mut pace = Pace::new(10.0, 0, 1);
        pace.advance();
        // However late it is now: the next was due at a tenth of a second.
        assert_eq!((pace.due_ns(), pace.left(0), pace.left(100_000_001)), (100_000_000, 0, 1));
    }
}
