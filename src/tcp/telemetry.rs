//! Counters of the binary protocol. Decisions are those of `tollgate_decisions_total`, with HTTP's. What happens with every frame is added up for a whole turn (all that was read
//! together), goes to a *lane* of the worker's own, and is published on a tick.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;

use crate::engine::request::Answer;
use crate::listener::Traffic;
use crate::wire::{Operation, Reason};

/// How many lanes there are; with more workers some share one, which is slower but as exact.
const LANES: usize = 16;

/// The operations that decide.
const CALLS: [(Operation, &str); 4] = [
    (Operation::AUTHORIZE, "authorize"),
    (Operation::AUTHREP, "authrep"),
    (Operation::CHECK, "check"),
    (Operation::RESERVE, "reserve"),
];
/// How they may end: authorized, and then by the number of the reason.
const RESULTS: [&str; 9] = [
    "authorized",
    "limits_exceeded",
    "application_key_invalid",
    "referrer_not_allowed",
    "application_not_active",
    "service_not_active",
    "oauth_not_enabled",
    "redirect_uri_invalid",
    "redirect_url_invalid",
];
/// The operations that repetitions are counted of.
const REPEATABLE: [&str; 3] = ["authrep", "reserve", "report"];
const DECISIONS: usize = CALLS.len() * RESULTS.len();
const FRAMES: usize = DECISIONS;
const REPORTS: usize = DECISIONS + 1;
const REFUSED: usize = DECISIONS + 2;
const OVERLOADED: usize = DECISIONS + 3;
const REPLAYED: usize = DECISIONS + 4;
const PLACES: usize = REPLAYED + REPEATABLE.len();

/// What one turn has counted.
pub(super) struct Tally {
    counts: [u32; PLACES],
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { counts: [0; PLACES] }
    }

    /// A decision.
    pub(super) fn decided(&mut self, operation: Operation, denial: Option<Reason>) {
        let call = CALLS.iter().position(|(it, _)| *it == operation).unwrap_or(0);
        let result = denial.map_or(0, |reason| usize::from(reason.0)).min(RESULTS.len() - 1);
        self.counts[call * RESULTS.len() + result] += 1;
    }

    /// A report that was counted.
    pub(super) fn reported(&mut self) {
        self.counts[REPORTS] += 1;
    }

    /// A repetition that was answered without being counted.
    pub(super) fn replayed(&mut self, operation: Operation) {
        let call = match operation {
            Operation::AUTHREP => 0,
            Operation::RESERVE => 1,
            _ => 2,
        };
        self.counts[REPLAYED + call] += 1;
    }

    /// A frame that was answered.
    pub(super) fn answered(&mut self) {
        self.counts[FRAMES] += 1;
    }

    /// A request, or an item of a batch, that was not carried out.
    pub(super) fn refused(&mut self, overloaded: bool) {
        self.counts[if overloaded { OVERLOADED } else { REFUSED }] += 1;
    }
}

/// Two cache lines apart from the next, since lines are fetched in pairs.
#[repr(align(128))]
struct Lane([AtomicU64; PLACES]);

/// Is told of every decision: who is denied most, for one.
pub type Note = Arc<dyn Fn(&Answer<'_>) + Send + Sync>;

/// The kept handles. Build it after the recorder is installed, or it counts nowhere.
pub struct Telemetry {
    lanes: Box<[Lane]>,
    published: Mutex<Vec<u64>>,
    counters: Vec<Counter>,
    note: Option<Note>,
    pub(super) open: AtomicU64,
    pub(super) traffic: Traffic,
    pub(super) welcomed: Counter,
    pub(super) rejected: Counter,
    pub(super) broken: Counter,
}

/// What STATS tells.
pub(super) struct Sums {
    pub(super) connections: u64,
    pub(super) frames: u64,
    pub(super) decisions: u64,
    pub(super) denied: u64,
}

thread_local! {
    /// The lane of this thread.
    static LANE: Cell<usize> = Cell::new(next_lane());
}

fn next_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Relaxed) % LANES
}

impl Default for Telemetry {
    fn default() -> Self {
        describe();
        let decisions = CALLS.into_iter().flat_map(|(_, call)| {
            RESULTS.map(|result| counter!("tollgate_decisions_total", "call" => call, "result" => result))
        });
        let others = [
            counter!("tollgate_tcp_frames_total"),
            counter!("tollgate_decisions_total", "call" => "report", "result" => "accepted"),
            counter!("tollgate_tcp_refused_total"),
            counter!("tollgate_tcp_overloaded_total"),
        ];
        let replayed = REPEATABLE
            .map(|call| counter!("tollgate_decisions_total", "call" => call, "result" => "replayed"));
        Telemetry {
            lanes: (0..LANES).map(|_| Lane([const { AtomicU64::new(0) }; PLACES])).collect(),
            published: Mutex::new(vec![0; PLACES]),
            counters: decisions.chain(others).chain(replayed).collect(),
            note: None,
            open: AtomicU64::new(0),
            traffic: Traffic {
                connections: gauge!("tollgate_tcp_connections"),
                accepted: counter!("tollgate_tcp_connections_accepted_total"),
                refused: counter!("tollgate_tcp_connections_refused_total"),
                cut_off: counter!("tollgate_tcp_connections_cut_off_total"),
                accept_errors: counter!("tollgate_tcp_accept_errors_total"),
                handshakes_failed: counter!("tollgate_tcp_handshakes_failed_total"),
            },
            welcomed: counter!("tollgate_tcp_greetings_total", "result" => "welcome"),
            rejected: counter!("tollgate_tcp_greetings_total", "result" => "rejected"),
            broken: counter!("tollgate_tcp_protocol_errors_total"),
        }
    }
}

impl Telemetry {
    /// The same, telling `note` of every decision.
    #[must_use]
    pub fn telling(self, note: Note) -> Telemetry {
        Telemetry { note: Some(note), ..self }
    }

    /// Tells who is to be told of a decision.
    pub(super) fn note(&self, answer: &Answer<'_>) {
        if let Some(note) = &self.note {
            note(answer);
        }
    }

    /// Adds what a turn has counted.
    pub(super) fn add(&self, tally: &Tally) {
        let Lane(lane) = &self.lanes[LANE.get()];
        for (place, count) in lane.iter().zip(tally.counts) {
            if count > 0 {
                place.fetch_add(u64::from(count), Relaxed);
            }
        }
    }

    fn sum(&self, place: usize) -> u64 {
        self.lanes.iter().map(|Lane(lane)| lane[place].load(Relaxed)).sum()
    }

    pub(super) fn sums(&self) -> Sums {
        let decisions = (0..DECISIONS).map(|place| self.sum(place)).sum();
        let authorized: u64 = (0..CALLS.len()).map(|call| self.sum(call * RESULTS.len())).sum();
        let connections = self.open.load(Relaxed);
        Sums {
            connections,
            frames: self.sum(FRAMES),
            decisions,
            denied: decisions.saturating_sub(authorized),
        }
    }

    /// Brings the recorder's counters up to date.
    pub fn publish(&self) {
        let mut published = self.published.lock();
        for (place, (counter, published)) in self.counters.iter().zip(published.iter_mut()).enumerate() {
            let sum = self.sum(place);
            counter.increment(sum - *published);
            *published = sum;
        }
    }
}

fn describe() {
    describe_counter!("tollgate_tcp_frames_total", "Frames of the binary protocol that were answered");
    describe_counter!(
        "tollgate_tcp_refused_total",
        "Requests and items of batches that were refused; nothing was counted"
    );
    describe_counter!(
        "tollgate_tcp_overloaded_total",
        "Requests beyond a window or another budget of their connection"
    );
    describe_counter!("tollgate_tcp_greetings_total", "Clients let in, or not, by result");
    describe_counter!(
        "tollgate_tcp_protocol_errors_total",
        "Connections ended since their bytes were no frames"
    );
    describe_gauge!("tollgate_tcp_connections", "Open connections of the binary protocol");
    describe_counter!("tollgate_tcp_connections_accepted_total", "Connections accepted");
    describe_counter!(
        "tollgate_tcp_connections_refused_total",
        "Connections refused at the cap, or of users that a Unix socket is not for"
    );
    describe_counter!(
        "tollgate_tcp_connections_cut_off_total",
        "Connections ended because the client was too slow"
    );
    describe_counter!(
        "tollgate_tcp_accept_errors_total",
        "Failed accepts (out of file descriptors, for one)"
    );
    describe_counter!("tollgate_tcp_handshakes_failed_total", "TLS handshakes that failed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Denial;

    #[test]
    fn each_reason_has_its_name() {
        for denial in [
            Denial::LimitsExceeded,
            Denial::ApplicationKeyInvalid(None),
            Denial::ReferrerNotAllowed(None),
            Denial::ApplicationNotActive,
            Denial::ServiceNotActive,
            Denial::OauthNotEnabled,
            Denial::RedirectUriInvalid(""),
            Denial::RedirectUrlInvalid(""),
        ] {
            assert_eq!(RESULTS[usize::from(Reason::from(denial).0)], denial.code());
        }
    }

    #[test]
    fn what_turns_have_counted_adds_up() {
        let telemetry = Telemetry::default();
        let mut tally = Tally::new();
        tally.decided(Operation::AUTHREP, None);
        tally.decided(Operation::CHECK, Some(Reason::LIMITS_EXCEEDED));
        tally.answered();
        telemetry.add(&tally);
        telemetry.add(&tally);
        let sums = telemetry.sums();
        assert_eq!((sums.decisions, sums.denied, sums.frames), (4, 2, 2));
    }
}
