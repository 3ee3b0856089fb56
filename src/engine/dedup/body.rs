//! What a request asks, hashed: the same however it was sent, over HTTP or the binary protocol, by name or by handle.
//!
//! Names are resolved first: what is hashed is the application, the counters that the request names (without those above
//! them), and what it does to them. What only decides whether a call goes ahead (key, referrer), or how it is answered, is
//! not part of it. So an id stays good when keys are rotated or metrics are moved meanwhile.

use smallvec::SmallVec;

use crate::engine::request::Call;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::idempotency::{BodyHash, BodyHasher};
use crate::model::usage::Effects;

/// Sorts of requests. They are in hashes on disk: never reused.
const AUTHREP: u8 = 1;
const RESERVE: u8 = 2;
const TRANSACTION: u8 = 3;
const REPORT: u8 = 4;

/// What is asked of one application.
pub(super) struct Asked<'a> {
    pub(super) application: ApplicationId,
    /// As named; ancestors not included.
    pub(super) effects: &'a Effects,
    pub(super) flat_usage: bool,
    pub(super) log_code: Option<&'a str>,
}

impl Asked<'_> {
    fn add_to(&self, hasher: &mut BodyHasher) {
        hasher.number(self.application.0);
        hasher.number(u64::from(self.flat_usage));
        hasher.text(self.log_code);
        let mut effects: SmallVec<[(MetricSlot, Effect); 8]> = self.effects.iter().copied().collect();
        effects.sort_unstable_by_key(|(slot, _)| *slot);
        hasher.number(effects.len() as u64);
        for (slot, effect) in effects {
            hasher.number(u64::from(slot.0));
            hasher.number(u64::from(matches!(effect, Effect::Set(_))));
            hasher.number(effect.amount());
        }
    }
}

/// Of a call that counts or holds; `None` if it does neither, and so cannot be repeated.
pub(super) fn call_body(call: Call, asked: &Asked<'_>) -> Option<BodyHash> {
    let mut hasher = match call {
        Call::Authrep => BodyHasher::new(AUTHREP),
        Call::Reserve { ttl_s } => {
            let mut hasher = BodyHasher::new(RESERVE);
            hasher.number(ttl_s);
            hasher
        }
        Call::Check | Call::Authorize => return None,
    };
    asked.add_to(&mut hasher);
    Some(hasher.finish())
}

/// Of one transaction of a report, dated `timestamp` (seconds since 1970; `None` is now).
pub(in crate::engine) fn transaction_body(
    application: ApplicationId,
    effects: &Effects,
    flat_usage: bool,
    log_code: Option<&str>,
    timestamp: Option<i64>,
) -> BodyHash {
    let mut hasher = BodyHasher::new(TRANSACTION);
    hasher.number(u64::from(timestamp.is_some()));
    hasher.number(timestamp.unwrap_or_default().cast_unsigned());
    Asked { application, effects, flat_usage, log_code }.add_to(&mut hasher);
    hasher.finish()
}

/// Of a report, by its transactions.
pub(in crate::engine) fn whole_body(transactions: impl Iterator<Item = BodyHash>) -> BodyHash {
    let mut hasher = BodyHasher::new(REPORT);
    transactions.for_each(|body| hasher.number(body.0));
    hasher.finish()
}
