//! What came back.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Longer than any run waits for an answer.
const LATENCY_MAX_NS: u64 = 600_000_000_000;
/// Three digits of each duration are kept.
const DIGITS: u8 = 3;

/// How one call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Allowed, and counted.
    Yes,
    /// Denied, and nothing counted.
    No,
    /// Not decided: a status of the binary protocol, or of HTTP.
    Failed(u16),
}

/// The answers of a run, or of one thread's part of it.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Calls that were allowed.
    pub yes: u64,
    /// Calls that were denied.
    pub no: u64,
    /// Calls that were not decided, by status, and what the node said of the first.
    pub failed: BTreeMap<u16, (u64, String)>,
    /// Nanoseconds from when a request should have been sent to its answer; once for each call in it.
    pub latency_ns: Histogram<u64>,
    /// Nanoseconds by which requests were sent later than they should have been (fixed rate).
    pub late_ns: Histogram<u64>,
    /// Requests that were due and never sent, because others were not answered.
    pub unsent: u64,
    /// What was allowed for each application, since the very beginning.
    pub counted: Vec<u64>,
}

impl Tally {
    /// Nothing came back yet.
    #[must_use]
    pub fn new(applications: usize) -> Tally {
        Tally {
            yes: 0,
            no: 0,
            failed: BTreeMap::new(),
            latency_ns: empty(),
            late_ns: empty(),
            unsent: 0,
            counted: vec![0; applications],
        }
    }

    /// Everything so far was for warming up, but what was counted was counted.
    pub(super) fn begin(&mut self) {
        (self.yes, self.no) = (0, 0);
        self.failed.clear();
        self.latency_ns.reset();
        self.late_ns.reset();
    }

    pub(super) fn verdict(&mut self, who: u32, verdict: Verdict, said: &str) {
        match verdict {
            Verdict::Yes => {
                self.yes += 1;
                self.counted[who as usize] += 1;
            }
            Verdict::No => self.no += 1,
            Verdict::Failed(status) => {
                self.failed.entry(status).or_insert_with(|| (0, said.to_owned())).0 += 1;
            }
        }
    }

    pub(super) fn answered(&mut self, latency_ns: u64, calls: u64) {
        // What is beyond the bound is counted as the bound.
        self.latency_ns.saturating_record_n(latency_ns.max(1), calls);
    }

    pub(super) fn sent(&mut self, late_ns: u64) {
        self.late_ns.saturating_record(late_ns.max(1));
    }

    /// Calls that were not decided.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.failed.values().map(|(count, _)| count).sum()
    }

    /// All calls that were answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.yes + self.no + self.errors()
    }

    /// Adds another part.
    pub fn add(&mut self, other: &Tally) {
        self.yes += other.yes;
        self.no += other.no;
        self.unsent += other.unsent;
        for (status, (count, said)) in &other.failed {
            self.failed.entry(*status).or_insert_with(|| (0, said.clone())).0 += count;
        }
        // Both have the same bounds, so neither can fail.
        let _ = self.latency_ns.add(&other.latency_ns);
        let _ = self.late_ns.add(&other.late_ns);
        for (sum, more) in self.counted.iter_mut().zip(&other.counted) {
            *sum += more;
        }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)
        .unwrap_or_else(|_| unreachable!("these bounds are possible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(latency_ns: u64, verdicts: &[Verdict]) -> Tally {
        let mut tally = Tally::new(2);
        for verdict in verdicts {
            tally.verdict(1, *verdict, "why");
            tally.answered(latency_ns, 1);
        }
        tally
    }

    #[test]
    fn parts_add_up() {
        let mut sum = some(1_000, &[Verdict::Yes, Verdict::No]);
        sum.add(&some(9_000_000, &[Verdict::Yes, Verdict::Failed(7), Verdict::Failed(7)]));
        assert_eq!((sum.yes, sum.no, sum.errors(), sum.answers()), (2, 1, 2, 5));
        assert_eq!((sum.failed[&7].1.as_str(), &sum.counted[..]), ("why", &[0, 2][..]));
        assert_eq!(sum.latency_ns.len(), 5);
        let within = |found: u64, wanted: u64| found.abs_diff(wanted) <= wanted / 1000 + 1;
        assert!(within(sum.latency_ns.value_at_quantile(0.4), 1_000));
        assert!(within(sum.latency_ns.max(), 9_000_000));
    }

    #[test]
    fn warming_up_leaves_only_what_was_counted() {
        let mut tally = some(u64::MAX, &[Verdict::Yes, Verdict::Failed(1)]);
        assert!(tally.latency_ns.max() >= LATENCY_MAX_NS);
        tally.begin();
        assert_eq!((tally.answers(), tally.latency_ns.len(), &tally.counted[..]), (0, 0, &[0, 1][..]));
    }
}
