//! Departure: sending clients away while the socket they came to lives on in another process.
//!
//! A connection that is closed while idle may lose a request that its client has just sent. So before the last
//! connections are closed, every answer says `Connection: close` for a while: whoever calls now and then goes by
//! itself, and comes back to whoever accepts from the socket then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long, after the order to stop, a connection is left open that the client is about to use: one that was
/// just accepted, above all. Only while clients are sent away, when each answer ends its connection anyway.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// Whether clients are sent away, and how many are left that came before. Clones share their state.
#[derive(Clone, Default, Debug)]
pub struct Departure(Arc<State>);

#[derive(Default, Debug)]
struct State {
    on: AtomicBool,
    settled: AtomicUsize,
    begun: Notify,
}

impl Departure {
    /// From now on every answer ends its connection.
    pub fn begin(&self) {
        self.0.on.store(true, Ordering::SeqCst);
        self.0.begun.notify_waiters();
    }

    /// Waits until clients are sent away.
    pub async fn begun(&self) {
        let begun = self.0.begun.notified();
        if !self.0.on.load(Ordering::SeqCst) {
            begun.await;
        }
    }

    /// Lets clients stay again.
    pub fn cancel(&self) {
        self.0.on.store(false, Ordering::SeqCst);
    }

    /// Whether clients are being sent away.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// How many open connections began when clients were still let stay: those that may be kept idle.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.0.settled.load(Ordering::SeqCst)
    }

    /// Waits until `stop` is cancelled and whoever was about to use a connection has had the time to.
    pub async fn last_chance(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        if self.is_on() {
            tokio::time::sleep(LAST_CHANCE).await;
        }
    }

    /// Notes a connection for as long as what is returned lives.
    #[must_use]
    pub fn arrive(&self) -> Stay<'_> {
        let settled = !self.0.on.load(Ordering::SeqCst);
        if settled {
            self.0.settled.fetch_add(1, Ordering::SeqCst);
        }
        Stay { state: &self.0, settled }
    }
}

/// One connection's stay.
pub struct Stay<'a> {
    state: &'a State,
    settled: bool,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if self.settled {
            self.state.settled.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_came_before_are_waited_for() {
        let departure = Departure::default();
        let before = departure.arrive();
        departure.begin();
        let during = departure.arrive();
        assert_eq!(departure.settled(), 1);
        drop(before);
        assert_eq!(departure.settled(), 0);
        departure.cancel();
        let after = departure.arrive();
        assert_eq!(departure.settled(), 1);
        drop((during, after));
        assert_eq!(departure.settled(), 0);
    }
}
