//! The wall clock. Whoever needs the time is given a [`Clock`]; only here is the system's read.

use std::sync::Arc;

use crate::model::time::UnixMillis;

/// The wall clock, read once for each request, or for all that were read together. Tests give one that stands still.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    })
}
