//! What is decided when the node is away.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::application::Application;
use crate::call::Usage;

/// Applications whose local counts are kept, at most: 100,000 take some 20 MB. Beyond that, those whose windows are over
/// make room; if there are none, the call is denied.
pub const LOCAL_APPLICATIONS_MAX: usize = 100_000;

/// What a client does with decisions (authorize, authrep, check, reserve) while the node is away: no connection, no answer
/// before the deadline, or a node that says it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// An error, [`Error::Away`](crate::Error::Away), that the caller deals with. The default: nothing is decided that nobody
    /// stated.
    #[default]
    Error,
    /// Yes. Nothing is counted.
    Allow,
    /// No.
    Deny,
    /// Yes as long as the application's [shares](Application::share) last. Counted by this client alone, and forgotten with
    /// it.
    LocalShare {
        /// Whether calls of applications without a share are allowed.
        unstated: bool,
    },
}

/// A part of a limit that one client may admit by itself.
///
/// The bound: while the node is away, a client admits at most `floor(limit x fraction)` of the metric in each window,
/// whatever it is asked. n clients admit at most n times that, on top of what the node admitted before it went away; with
/// fractions that add up to 1 the limit is exceeded by at most itself. Counts are kept if the node comes and goes within a
/// window. Metrics count by the names that calls give: a method does not count for its parent here. Amounts that set a
/// count are not shared: they are denied if a share concerns their metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    metric: Cow<'static, str>,
    most: u64,
    window_s: u64,
}

impl Share {
    /// The share of `fraction`, 0 to 1, of a limit of `limit` calls of `metric` in each `window` (of whole seconds, at least
    /// one). Windows begin at multiples of their length since 1970, as minutes, hours and days do.
    #[must_use]
    pub fn new(metric: impl Into<Cow<'static, str>>, limit: u64, window: Duration, fraction: f64) -> Share {
        let most = (limit as f64 * fraction.clamp(0.0, 1.0)).floor() as u64;
        Share { metric: metric.into(), most: most.min(limit), window_s: window.as_secs().max(1) }
    }

    /// The most that is admitted in a window.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How much of the call counts for this share; none if it sets.
    fn wanted(&self, usage: &[Usage]) -> Option<u64> {
        let mut sum = 0u64;
        for used in usage.iter().filter(|used| used.metric == self.metric) {
            if used.sets {
                return None;
            }
            sum = sum.saturating_add(used.amount);
        }
        Some(sum)
    }
}

/// What was admitted of a share in its current window.
#[derive(Clone, Copy, Default)]
struct Spent {
    window: u64,
    window_s: u64,
    count: u64,
}

/// What this client admitted by itself.
#[derive(Default)]
pub(crate) struct LocalCounts(Mutex<HashMap<Application, Vec<Spent>>>);

impl LocalCounts {
    /// Whether the shares of `application` have room for `usage`; counts it if `counts`.
    pub(crate) fn admit(
        &self,
        application: &Application,
        usage: &[Usage],
        counts: bool,
        now: SystemTime,
    ) -> bool {
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let shares = application.shares();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LOCAL_APPLICATIONS_MAX && !all.contains_key(application) {
            all.retain(|_, spent| spent.iter().any(|spent| spent.window == now_s / spent.window_s.max(1)));
            if all.len() >= LOCAL_APPLICATIONS_MAX {
                return false;
            }
        }
        let mut entry = match all.entry(application.clone()) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Vec::new()),
        };
        let spent = entry.get_mut();
        spent.resize(shares.len().max(spent.len()), Spent::default());
        let mut after = Vec::with_capacity(shares.len());
        for (share, spent) in shares.iter().zip(spent.iter()) {
            let window = now_s / share.window_s;
            let before =
                if spent.window == window && spent.window_s == share.window_s { spent.count } else { 0 };
            let Some(count) = share.wanted(usage).and_then(|wanted| before.checked_add(wanted)) else {
                return false;
            };
            if count > share.most {
                return false;
            }
            after.push(Spent { window, window_s: share.window_s, count });
        }
        if counts {
            spent[..after.len()].copy_from_slice(&after);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn hits(amount: u64) -> Vec<Usage> {
        vec![Usage { metric: "hits".into(), amount, sets: false }]
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn admits_exactly_the_share_of_each_window() {
        let app = Application::user_key("k").share(Share::new("hits", 100, MINUTE, 0.25));
        let counts = LocalCounts::default();
        let admitted = (0..100).filter(|_| counts.admit(&app, &hits(1), true, at(59))).count();
        assert_eq!(admitted, 25);
        assert!(counts.admit(&app, &hits(25), true, at(60)) && !counts.admit(&app, &hits(1), true, at(119)));
    }

    #[test]
    fn a_look_counts_nothing_and_a_no_counts_nothing() {
        let app = Application::user_key("k").share(Share::new("hits", 10, MINUTE, 1.0));
        let counts = LocalCounts::default();
        assert!((0..50).all(|_| counts.admit(&app, &hits(10), false, at(0))));
        assert!(!counts.admit(&app, &hits(11), true, at(0)));
        assert!(counts.admit(&app, &hits(10), true, at(0)));
    }

    #[test]
    fn all_shares_must_have_room_or_none_is_spent() {
        let app = Application::user_key("k")
            .share(Share::new("hits", 10, MINUTE, 1.0))
            .share(Share::new("tokens", 5, MINUTE, 1.0));
        let both = |hits, tokens| {
            vec![
                Usage { metric: "hits".into(), amount: hits, sets: false },
                Usage { metric: "tokens".into(), amount: tokens, sets: false },
            ]
        };
        let counts = LocalCounts::default();
        assert!(!counts.admit(&app, &both(1, 6), true, at(0)));
        assert!(counts.admit(&app, &both(10, 5), true, at(0)));
        assert!(!counts.admit(&app, &both(0, 1), true, at(0)));
    }

    #[test]
    fn amounts_that_set_or_overflow_are_denied() {
        let app = Application::user_key("k").share(Share::new("hits", u64::MAX, MINUTE, 1.0));
        let counts = LocalCounts::default();
        let sets = vec![Usage { metric: "hits".into(), amount: 1, sets: true }];
        assert!(!counts.admit(&app, &sets, true, at(0)));
        assert!(counts.admit(&app, &hits(u64::MAX), true, at(0)));
        assert!(!counts.admit(&app, &hits(1), true, at(0)));
    }

    #[test]
    fn fractions_round_down_and_stay_within_the_limit() {
        assert_eq!(Share::new("hits", 10, MINUTE, 0.29).most(), 2);
        assert_eq!(Share::new("hits", 10, MINUTE, 7.0).most(), 10);
        assert_eq!(Share::new("hits", 10, MINUTE, -1.0).most(), 0);
        assert_eq!(Share::new("hits", 10, MINUTE, f64::NAN).most(), 0);
    }

    #[test]
    fn room_is_made_by_windows_that_are_over_and_otherwise_denied() {
        let counts = LocalCounts::default();
        let app = |at: usize| Application::user_key(at.to_string()).share(Share::new("hits", 1, MINUTE, 1.0));
        for number in 0..LOCAL_APPLICATIONS_MAX {
            assert!(counts.admit(&app(number), &hits(1), true, at(0)));
        }
        let one_more = app(LOCAL_APPLICATIONS_MAX);
        assert!(!counts.admit(&one_more, &hits(1), true, at(59)));
        assert!(counts.admit(&one_more, &hits(1), true, at(60)));
        assert_eq!(counts.0.lock().expect("the counts").len(), 1);
    }
}
