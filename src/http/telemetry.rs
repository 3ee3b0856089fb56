//! Counters of the HTTP layer. Handles are made once and kept, since looking one up costs more than counting;
//! labels come from the small sets of calls and of result codes, never from a request.
//!
//! What every request counts goes to a *lane* of its worker's own, and is published when somebody looks: one
//! counter for all workers would be a cache line that they pull from each other with every request.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};
use parking_lot::Mutex;

use super::top::Top;
use crate::engine::request::Answer;
use crate::listener::Traffic;
use crate::model::catalog::Catalog;

/// A call of 3scale's API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Authorize,
    Authrep,
    OauthAuthorize,
    OauthAuthrep,
    Report,
}

const CALLS: [&str; 5] = ["authorize", "authrep", "oauth_authorize", "oauth_authrep", "report"];

/// Every result that a call can have: the first two are successes, then denials, refusals, and our own.
const RESULTS: &[&str] = &[
    "authorized",
    "accepted",
    "limits_exceeded",
    "application_key_invalid",
    "referrer_not_allowed",
    "application_not_active",
    "service_not_active",
    "oauth_not_enabled",
    "redirect_uri_invalid",
    "redirect_url_invalid",
    "provider_key_or_service_token_required",
    "service_id_missing",
    "service_token_invalid",
    "provider_key_invalid",
    "provider_key_invalid_or_service_missing",
    "service_id_invalid",
    "authentication_error",
    "user_key_invalid",
    "application_not_found",
    "metric_invalid",
    "usage_value_invalid",
    "transaction_timestamp_too_old",
    "transaction_timestamp_too_new",
    "not_valid_data",
    "bad_request",
    "content_type_invalid",
    "transactions_is_blank",
    "transactions_format_invalid",
    "transactions_has_nil_transaction",
    "end_users_no_longer_supported",
    "too_much_future_usage",
    "storage_unavailable",
    "idempotency_conflict",
    "idempotency_full",
    "sequence_too_old",
    "replayed",
    "usage_not_a_hash",
    "not_durable",
    "too_many_wrong_credentials",
    "other",
];

/// Which of them are denials.
const DENIALS: std::ops::Range<usize> = 2..10;

/// One in this many calls is timed: two clock reads and a histogram cost as much as a small request's parsing.
const TIMED_ONE_IN: u32 = 16;

/// How many lanes there are; with more workers some share one, which is slower but as exact.
const LANES: usize = 16;

/// What one worker counts. Two cache lines apart from the next, since lines are fetched in pairs.
#[repr(align(128))]
struct Lane {
    requests: AtomicU64,
    /// By call, then by result.
    decisions: [AtomicU64; CALLS.len() * RESULTS.len()],
}

impl Lane {
    fn new() -> Lane {
        Lane {
            requests: AtomicU64::new(0),
            decisions: [const { AtomicU64::new(0) }; CALLS.len() * RESULTS.len()],
        }
    }
}

/// The kept handles. Build it after the recorder is installed, or it counts nowhere.
pub struct Telemetry {
    lanes: Box<[Lane]>,
    /// How much of the lanes' sums was published: requests, then decisions.
    published: Mutex<Vec<u64>>,
    decisions: Vec<Counter>,
    dropped: Vec<Counter>,
    top: Top,
    /// By call, then by denial. Counted directly: few calls are decided in shadow.
    would_deny: Vec<Counter>,
    seconds: [Histogram; CALLS.len()],
    requests: Counter,
    pub(super) not_found: Counter,
    pub(super) traffic: Traffic,
}

thread_local! {
    /// The lane of this thread, and how many calls it has seen.
    static WORKER: Cell<(usize, u32)> = Cell::new((next_lane(), 0));
}

fn next_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % LANES
}

impl Default for Telemetry {
    fn default() -> Self {
        describe();
        let decisions = |call: &'static str| {
            RESULTS.iter().map(move |r| counter!("tollgate_decisions_total", "call" => call, "result" => *r))
        };
        let would_deny = |call: &'static str| {
            let denials = RESULTS[DENIALS].iter();
            denials.map(move |r| counter!("tollgate_would_deny_total", "call" => call, "reason" => *r))
        };
        Telemetry {
            lanes: (0..LANES).map(|_| Lane::new()).collect(),
            published: Mutex::new(vec![0; 1 + CALLS.len() * RESULTS.len()]),
            decisions: CALLS.into_iter().flat_map(decisions).collect(),
            would_deny: CALLS.into_iter().flat_map(would_deny).collect(),
            top: Top::new(LANES),
            dropped: RESULTS
                .iter()
                .map(|r| counter!("tollgate_http_reports_dropped_total", "result" => *r))
                .collect(),
            seconds: CALLS.map(|call| histogram!("tollgate_http_call_seconds", "call" => call)),
            requests: counter!("tollgate_http_requests_total"),
            not_found: counter!("tollgate_http_not_found_total"),
            traffic: Traffic {
                connections: gauge!("tollgate_http_connections"),
                accepted: counter!("tollgate_http_connections_accepted_total"),
                refused: counter!("tollgate_http_connections_refused_total"),
                cut_off: counter!("tollgate_http_connections_cut_off_total"),
                accept_errors: counter!("tollgate_http_accept_errors_total"),
                handshakes_failed: counter!("tollgate_http_handshakes_failed_total"),
            },
        }
    }
}

impl Telemetry {
    /// Counts a request.
    pub(super) fn requested(&self) {
        self.lane().requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how a call ended.
    pub(super) fn decided(&self, call: Call, result: &str) {
        let place = call as usize * RESULTS.len() + number_of(result);
        self.lane().decisions[place].fetch_add(1, Ordering::Relaxed);
    }

    fn lane(&self) -> &Lane {
        &self.lanes[WORKER.get().0]
    }

    /// Brings the recorder's counters up to date.
    pub fn publish(&self) {
        let mut published = self.published.lock();
        let counters = std::iter::once(&self.requests).chain(&self.decisions);
        for (place, (counter, published)) in counters.zip(published.iter_mut()).enumerate() {
            let count = |lane: &Lane| match place.checked_sub(1) {
                None => lane.requests.load(Ordering::Relaxed),
                Some(place) => lane.decisions[place].load(Ordering::Relaxed),
            };
            let sum: u64 = self.lanes.iter().map(count).sum();
            counter.increment(sum - *published);
            *published = sum;
        }
    }

    /// Notes what an answer says of its application: a denial, set aside or not, or that a limit is near.
    pub(super) fn answered(&self, call: Call, answer: &Answer<'_>) {
        if let Some(denial) = answer.would_deny {
            let place = call as usize * DENIALS.len() + number_of(denial.code()) - DENIALS.start;
            self.would_deny.get(place).inspect(|counter| counter.increment(1));
        }
        self.top.note(WORKER.get().0, answer);
    }

    /// Notes what a decision that was asked for by another protocol says of its application.
    pub fn note(&self, answer: &Answer<'_>) {
        self.top.note(WORKER.get().0, answer);
    }

    /// Notes a denied call of an application.
    #[cfg(test)]
    pub(crate) fn note_denied(&self, application: crate::model::id::ApplicationId) {
        self.top.note_denied(0, application);
    }

    /// Makes the lists of the applications that were denied most and came nearest to a limit since the last time:
    /// once a minute. `catalog` names them.
    pub fn rank(&self, catalog: &Catalog) {
        self.top.rank(catalog);
    }

    /// Those lists, as Prometheus reads them.
    #[must_use]
    pub fn ranked(&self) -> String {
        self.top.rendered()
    }

    /// Counts a report that was answered 202 and counted nothing.
    pub(super) fn dropped(&self, code: &str) {
        self.dropped[number_of(code)].increment(1);
    }

    /// Whether this call is one of those that are timed.
    pub(super) fn times_this_one(&self) -> bool {
        let (lane, turn) = WORKER.get();
        WORKER.set((lane, turn.wrapping_add(1)));
        turn.is_multiple_of(TIMED_ONE_IN)
    }

    pub(super) fn took(&self, call: Call, elapsed: Duration) {
        self.seconds[call as usize].record(elapsed);
    }
}

fn number_of(result: &str) -> usize {
    RESULTS.iter().position(|known| *known == result).unwrap_or(RESULTS.len() - 1)
}

fn describe() {
    describe_counter!("tollgate_decisions_total", "Decisions and reports, by call and result");
    describe_counter!(
        "tollgate_would_deny_total",
        "Authorized calls that would have been denied, had what is in shadow been in force, by call and reason"
    );
    describe_counter!(
        "tollgate_http_reports_dropped_total",
        "Reports answered 202 that counted nothing, by reason"
    );
    describe_histogram!("tollgate_http_call_seconds", "From request head to answer, one call in 16");
    describe_counter!("tollgate_http_requests_total", "Requests whose head was read");
    describe_counter!("tollgate_http_not_found_total", "Requests for a path or method that does not exist");
    describe_gauge!("tollgate_http_connections", "Open connections");
    describe_counter!("tollgate_http_connections_accepted_total", "Connections accepted");
    describe_counter!("tollgate_http_connections_refused_total", "Connections refused at the cap");
    describe_counter!(
        "tollgate_http_connections_cut_off_total",
        "Connections ended because the client was too slow"
    );
    describe_counter!(
        "tollgate_http_accept_errors_total",
        "Failed accepts (out of file descriptors, for one)"
    );
    describe_counter!("tollgate_http_handshakes_failed_total", "TLS handshakes that failed");
    describe_counter!("tollgate_tls_reloads_total", "Certificates replaced, or found bad, by result");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::{Denial, Refusal};

    #[test]
    fn every_code_has_a_counter_of_its_own() {
        let denials = [
            Denial::ApplicationKeyInvalid(None),
            Denial::ReferrerNotAllowed(None),
            Denial::ApplicationNotActive,
            Denial::ServiceNotActive,
            Denial::LimitsExceeded,
            Denial::OauthNotEnabled,
            Denial::RedirectUriInvalid(""),
            Denial::RedirectUrlInvalid(""),
        ];
        let refusals = [
            Refusal::CredentialsRequired,
            Refusal::ProviderKeyInvalidOrServiceMissing { key: "" },
            Refusal::AppIdAndUserKey,
            Refusal::TimestampTooOld,
            Refusal::TimestampTooNew,
            Refusal::TransactionsHaveNil,
            Refusal::EndUsersNoLongerSupported,
            Refusal::TooMuchFutureUsage,
            Refusal::StorageUnavailable,
        ];
        let denied: Vec<_> = denials.iter().map(|denial| number_of(denial.code())).collect();
        assert!(denied.iter().all(|place| DENIALS.contains(place)) && denied.len() == DENIALS.len());
        let codes: Vec<_> =
            denials.iter().map(Denial::code).chain(refusals.iter().map(Refusal::code)).collect();
        for code in codes {
            assert_ne!(number_of(code), RESULTS.len() - 1, "{code}");
        }
        assert_eq!(number_of("no such code"), RESULTS.len() - 1);
    }
}
