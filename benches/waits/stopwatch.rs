//! Times each step of a loop, and takes off what the thread stood in line for a processor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Steps that took less did not wait for anything, and are not looked into.
const SLOW: Duration = Duration::from_micros(5);

/// Steps by the nanoseconds that they took.
pub(super) struct Stopwatch {
    /// As they were.
    pub(super) raw: Histogram<u64>,
    /// Less what the kernel says that the thread was ready to run and did not.
    pub(super) less_queueing: Histogram<u64>,
}

impl Default for Stopwatch {
    fn default() -> Stopwatch {
        let empty = || Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        Stopwatch { raw: empty(), less_queueing: empty() }
    }
}

impl Stopwatch {
    /// Takes steps for that long.
    pub(super) fn run(&mut self, duration: Duration, mut step: impl FnMut()) {
        let queue = Queue::of_this_thread();
        let end = Instant::now() + duration;
        let mut queued = queue.waited();
        let mut before = Instant::now();
        while before < end {
            step();
            let now = Instant::now();
            let took = now - before;
            before = now;
            let mut less = took;
            if took >= SLOW {
                let waited = queue.waited();
                less = took.saturating_sub(waited - queued);
                queued = waited;
                // Looking into it took time of its own.
                before = Instant::now();
            }
            record(&mut self.raw, took);
            record(&mut self.less_queueing, less);
        }
    }
}

fn record(into: &mut Histogram<u64>, took: Duration) {
    into.saturating_record((took.as_nanos() as u64).max(1));
}

/// What the kernel counts of this thread's waiting.
struct Queue(File);

impl Queue {
    fn of_this_thread() -> Queue {
        Queue(File::open("/proc/thread-self/schedstat").unwrap())
    }

    fn waited(&self) -> Duration {
        let mut text = [0; 96];
        let len = self.0.read_at(&mut text, 0).unwrap();
        let mut words = std::str::from_utf8(&text[..len]).unwrap().split_whitespace();
        Duration::from_nanos(words.nth(1).unwrap().parse().unwrap())
    }
}
