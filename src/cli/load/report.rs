//! What a load came to, for people and programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::crew::Outcome;

/// How a load was made, in words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Made {
    pub(super) target: String,
    pub(super) applications: usize,
    pub(super) connections: usize,
    pub(super) depth: usize,
    pub(super) batch: usize,
    pub(super) by: &'static str,
    pub(super) keys: String,
    /// Calls per second that were due; `None` in a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) warm_up_s: f64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    load: Made,
    measured_s: f64,
    decisions: u64,
    decisions_per_s: f64,
    yes: u64,
    no: u64,
    errors: u64,
    error_list: Vec<Failed>,
    latency_us: Latency,
    /// How late requests were sent, at the 99th percentile; of a fixed rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_late_p99_us: Option<f64>,
    unsent: u64,
    server_cpu: Option<ServerCpu>,
    /// What the node counted, warming up included, if it was asked: it is as much as it said yes to.
    counted: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Failed {
    status: u16,
    count: u64,
    said: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct ServerCpu {
    us_per_decision: f64,
    cores: f64,
}

impl Report {
    /// `cpu` is the time that the server took since the measurement began, and the calls that it answered for it.
    pub(super) fn new(
        load: Made,
        outcome: &Outcome,
        cpu: Option<(Duration, u64)>,
        counted: Option<u64>,
    ) -> Report {
        let tally = &outcome.tally;
        let measured_s = outcome.elapsed.as_secs_f64().max(1e-9);
        let us = |quantile| tally.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let max = tally.latency_ns.max() as f64 / 1e3;
        let failed = |(status, (count, said)): (&u16, &(u64, String))| Failed {
            status: *status,
            count: *count,
            said: said.clone(),
        };
        let of_rate = load.rate.is_some();
        Report {
            load,
            measured_s,
            decisions: tally.yes + tally.no,
            decisions_per_s: (tally.yes + tally.no) as f64 / measured_s,
            yes: tally.yes,
            no: tally.no,
            errors: tally.errors(),
            error_list: tally.failed.iter().map(failed).collect(),
            latency_us: Latency { p50: us(0.5), p90: us(0.9), p99: us(0.99), p99_9: us(0.999), max },
            sent_late_p99_us: of_rate.then(|| tally.late_ns.value_at_quantile(0.99) as f64 / 1e3),
            unsent: tally.unsent,
            server_cpu: cpu.map(|(spent, calls)| ServerCpu {
                us_per_decision: spent.as_secs_f64() * 1e6 / calls.max(1) as f64,
                cores: spent.as_secs_f64() / measured_s,
            }),
            counted,
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Made { target, applications, connections, depth, batch, by, keys, .. } = self;
        let plural = |count: usize, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
        write!(f, "{target}, {} by {by}, {keys}; ", plural(*applications, "application"))?;
        write!(f, "{}, depth {depth}", plural(*connections, "connection"))?;
        if *batch > 0 {
            write!(f, ", batches of {batch}")?;
        }
        match self.rate {
            Some(rate) => write!(f, "; {rate} calls due each second"),
            None => f.write_str("; closed loop"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.load)?;
        let Report { decisions, decisions_per_s, measured_s, .. } = self;
        let warm_up_s = self.load.warm_up_s;
        writeln!(
            f,
            "decisions    {decisions_per_s:.0} per second ({decisions} in {measured_s:.2} s, after {warm_up_s} s of warming up)"
        )?;
        writeln!(f, "answers      {} yes, {} no, {} errors", self.yes, self.no, self.errors)?;
        for Failed { status, count, said } in &self.error_list {
            let status = if self.load.target.starts_with("http") {
                status.to_string()
            } else {
                format!("{status:#06x}")
            };
            writeln!(
                f,
                "  status {status}: {count} times; {}",
                if said.is_empty() { "it does not say why" } else { said }
            )?;
        }
        let Latency { p50, p90, p99, p99_9, max } = self.latency_us;
        writeln!(
            f,
            "latency      us: p50 {p50:.0}  p90 {p90:.0}  p99 {p99:.0}  p99.9 {p99_9:.0}  max {max:.0}"
        )?;
        if let Some(late) = self.sent_late_p99_us {
            writeln!(f, "             from when each request was due; sent late by {late:.0} us at p99")?;
        }
        if self.unsent > 0 {
            writeln!(
                f,
                "             {} requests were due and could not be sent: the node was behind",
                self.unsent
            )?;
        }
        match self.server_cpu {
            Some(ServerCpu { us_per_decision, cores }) => {
                writeln!(f, "server CPU   {us_per_decision:.3} us per decision ({cores:.2} cores)")?;
            }
            None => writeln!(f, "server CPU   not known: --pid names the node's process")?,
        }
        match self.counted {
            Some(counted) => writeln!(
                f,
                "exact        the node counted {counted}, as often as it said yes, warming up included, for each application"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::{Tally, Verdict};
    use super::*;

    fn report(rate: Option<f64>) -> Report {
        let mut tally = Tally::new(1);
        for (verdict, said) in
            [(Verdict::Yes, ""), (Verdict::No, ""), (Verdict::Failed(0x0201), "bind again")]
        {
            tally.verdict(0, verdict, said);
            tally.answered(2_000, 1);
        }
        let outcome = Outcome { tally, elapsed: Duration::from_millis(500), answered: 3 };
        let load = Made {
            target: "tcp://[::1]:7".to_owned(),
            applications: 1,
            connections: 2,
            depth: 3,
            batch: 0,
            by: "handle",
            keys: "uniform".to_owned(),
            rate,
            warm_up_s: 0.5,
        };
        Report::new(load, &outcome, Some((Duration::from_micros(6), 3)), Some(1))
    }

    #[test]
    fn people_read_what_was_measured_and_how() {
        let text = report(None).to_string();
        for part in [
            "tcp://[::1]:7, 1 application by handle, uniform; 2 connections, depth 3; closed loop",
            "decisions    4 per second (2 in 0.50 s, after 0.5 s of warming up)",
            "answers      1 yes, 1 no, 1 errors",
            "status 0x0201: 1 times; bind again",
            "latency      us: p50 2  p90 2",
            "server CPU   2.000 us per decision (0.00 cores)",
            "exact        the node counted 1,",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
        assert!(!text.contains("late by"));
        assert!(report(Some(5.0)).to_string().contains("sent late by"));
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let json = serde_json::to_value(report(Some(5.0))).unwrap();
        assert_eq!(
            (&json["decisions_per_s"], &json["yes"], &json["errors"]),
            (&4.0.into(), &1.into(), &1.into())
        );
        assert_eq!(json["server_cpu"]["us_per_decision"], 2.0);
        assert_eq!((&json["counted"], &json["load"]["rate"]), (&1.into(), &5.0.into()));
    }
}
