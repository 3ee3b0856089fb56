//! Rivals that are libraries.

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use limitador::limit::{Context, Limit, Namespace};
use throttlecrab::AdaptiveStore;
use tollgate::cli::load::LoadError;

use crate::{MAX, Peer, Round, in_this_thread, key};

/// Its in-memory storage, with a context made for each decision, as its own server makes one for each request.
pub(super) struct Limitador {
    limiter: limitador::RateLimiter,
    namespace: Namespace,
    keys: Vec<String>,
    limits: usize,
}

impl Limitador {
    pub(super) fn new(keys: usize, limits: usize) -> Limitador {
        // Room for all, so that none is evicted.
        let limiter = limitador::RateLimiter::new((keys * limits * 2) as u64);
        for seconds in [60, 3600, 86_400].into_iter().take(limits) {
            let variable = "user_key".try_into().expect("an expression");
            limiter.add_limit(Limit::new("bench", MAX, seconds, [], [variable]));
        }
        Limitador { limiter, namespace: "bench".into(), keys: (0..keys).map(key).collect(), limits }
    }
}

impl Peer for Limitador {
    fn name(&self) -> String {
        format!("limitador 0.14.0, in memory, {}", limits(self.limits))
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Limitador { limiter, namespace, keys, .. } = self;
        Ok(in_this_thread(keys.len(), duration, |batch| {
            for number in batch {
                let values = HashMap::from([("user_key".to_owned(), keys[*number as usize].clone())]);
                let context = Context::from(values);
                let result = limiter.check_rate_limited_and_update(namespace, &context, 1);
                assert!(!black_box(result).expect("an answer").limited);
            }
        }))
    }
}

pub(super) fn limits(count: usize) -> String {
    format!("{count} limit{}", if count == 1 { "" } else { "s" })
}

/// Its library, one limit (GCRA) per key; not shared between threads.
pub(super) struct Throttlecrab {
    limiter: throttlecrab::RateLimiter<AdaptiveStore>,
    keys: Vec<String>,
}

impl Throttlecrab {
    pub(super) fn new(keys: usize) -> Throttlecrab {
        let store = AdaptiveStore::builder().capacity(keys).build();
        Throttlecrab { limiter: throttlecrab::RateLimiter::new(store), keys: (0..keys).map(key).collect() }
    }
}

impl Peer for Throttlecrab {
    fn name(&self) -> String {
        "throttlecrab 0.4.40, one limit, one thread only".to_owned()
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Throttlecrab { limiter, keys } = self;
        let max = i64::try_from(MAX).expect("it fits");
        Ok(in_this_thread(keys.len(), duration, |batch| {
            let now = SystemTime::now();
            for number in batch {
                let result = limiter.rate_limit(&keys[*number as usize], max, max, 60, 1, now);
                assert!(black_box(result).expect("an answer").0);
            }
        }))
    }
}

/// Its keyed limiter with its default store and clock, one limit (GCRA) per key.
pub(super) struct Governor {
    limiter: DefaultKeyedRateLimiter<String>,
    keys: Vec<String>,
}

impl Governor {
    pub(super) fn new(keys: usize) -> Governor {
        let max = NonZeroU32::new(MAX as u32).expect("not zero");
        let limiter = RateLimiter::keyed(Quota::per_second(max));
        Governor { limiter, keys: (0..keys).map(key).collect() }
    }
}

impl Peer for Governor {
    fn name(&self) -> String {
        "governor 0.10.4, one limit".to_owned()
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Governor { limiter, keys } = self;
        Ok(in_this_thread(keys.len(), duration, |batch| {
            for number in batch {
                assert!(black_box(limiter.check_key(&keys[*number as usize])).is_ok());
            }
        }))
    }
}
