//! The processor time that a process takes, as the kernel accounts it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// What the threads of a process have run so far.
///
/// To the nanosecond, from the scheduler. Threads that end between two looks take what they ran with them: a node's
/// workers do not end.
#[derive(Clone, Debug)]
pub struct Cpu {
    pid: u32,
    threads_ns: BTreeMap<u32, u64>,
}

impl Cpu {
    /// A look at process `pid`; `None` if the system does not tell.
    #[must_use]
    pub fn of(pid: u32) -> Option<Cpu> {
        let mut threads_ns = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let thread = thread.ok()?;
            let id = thread.file_name().to_str()?.parse().ok()?;
            // It may have ended since.
            let Ok(told) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            threads_ns.insert(id, told.split(' ').next()?.parse().ok()?);
        }
        (!threads_ns.is_empty()).then_some(Cpu { pid, threads_ns })
    }

    /// What was run since; `None` if the process has ended.
    #[must_use]
    pub fn since(&self) -> Option<Duration> {
        let now = Cpu::of(self.pid)?;
        let before = |id| self.threads_ns.get(id).copied().unwrap_or(0);
        let run_ns = now.threads_ns.iter().map(|(id, run_ns)| run_ns.saturating_sub(before(id)));
        Some(Duration::from_nanos(run_ns.sum()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn time_is_that_of_all_threads() {
        let before = Cpu::of(std::process::id()).unwrap();
        let spin = || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(50) {}
        };
        let spent = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                spin();
                before.since().unwrap()
            });
            thread.join().unwrap()
        });
        assert!(spent > Duration::from_millis(5), "{spent:?}");
        assert!(Cpu::of(u32::MAX).is_none());
    }
}
