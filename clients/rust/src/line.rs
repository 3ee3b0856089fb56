//! A line to the node: a queue that outlives connections, and a task that keeps a connection open for it.
//!
//! A call that no connection took stays in the queue while a connection is replaced by another, so it is not lost. Only
//! when there has been none for `away_after` is the node away, and the queue is sent back.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::access::Access;
use crate::address::Address;
use crate::codec::Class;
use crate::connection::{Ask, Connection, End, Session};
use crate::counters::Tally;
use crate::error::ConnectError;
use crate::options::{Options, after};

/// A connection that lived shorter than this counts as a failed attempt: who is sent away at once shall not come back
/// at once, for ever.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// How a line stands.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// A connection takes calls.
    Up(Arc<Session>),
    /// There is none since then, and why the last attempt failed.
    Down(Instant, Option<Arc<ConnectError>>),
}

/// What lines share.
pub(crate) struct Site {
    pub(crate) address: Address,
    pub(crate) access: Access,
    pub(crate) options: Options,
    pub(crate) tally: Arc<Tally>,
    /// Told of each change of a line.
    pub(crate) changed: watch::Sender<()>,
}

/// The callers' side.
pub(crate) struct Line {
    pub(crate) queue: mpsc::Sender<Ask>,
    /// What `link` says, for a look without a lock.
    up: Arc<AtomicBool>,
    link: Arc<Mutex<Link>>,
}

impl Line {
    /// Starts a line's task on the current runtime.
    pub(crate) fn start(site: Arc<Site>, closed: watch::Receiver<bool>) -> (Line, JoinHandle<()>) {
        let (queue, taken) = mpsc::channel(site.options.queue_len_max);
        let up = Arc::new(AtomicBool::new(false));
        let link = Arc::new(Mutex::new(Link::Down(Instant::now(), None)));
        let keeper = Keeper {
            site,
            queue: taken,
            closed,
            up: Arc::clone(&up),
            link: Arc::clone(&link),
            attempts: 0,
            draining: tokio::task::JoinSet::new(),
        };
        (Line { queue, up, link }, tokio::spawn(keeper.run()))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(crate) fn link(&self) -> Link {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The task's side.
struct Keeper {
    site: Arc<Site>,
    queue: mpsc::Receiver<Ask>,
    closed: watch::Receiver<bool>,
    up: Arc<AtomicBool>,
    link: Arc<Mutex<Link>>,
    /// How many attempts failed in a row.
    attempts: u32,
    /// Connections that wait for their last answers.
    draining: tokio::task::JoinSet<()>,
}

impl Keeper {
    async fn run(mut self) {
        let mut down_since = Instant::now();
        while let Some(connection) = self.connect(down_since).await {
            let opened = Instant::now();
            self.site.tally.connections.add(1);
            self.tell(Link::Up(Arc::new(connection.session.clone())));
            let end = Box::new(connection).run(&mut self.queue, &mut self.closed).await;
            down_since = Instant::now();
            self.attempts = if opened.elapsed() < SHORT_LIFE { self.attempts + 1 } else { 0 };
            self.tell(Link::Down(down_since, None));
            match end {
                End::Closed => break,
                End::Broken => {}
                End::Draining(connection, within) => {
                    self.site.tally.goodbyes.add(1);
                    self.draining.spawn(connection.finish(within));
                }
            }
            while self.draining.try_join_next().is_some() {}
        }
        self.queue.close();
        while let Ok(ask) = self.queue.try_recv() {
            ask.refuse();
        }
        self.draining.join_all().await;
    }

    /// A new connection, after as many attempts as it takes. None if the client was closed.
    async fn connect(&mut self, down_since: Instant) -> Option<Connection> {
        let mut error = None;
        loop {
            let wait = self.wait(error.as_deref());
            let site = Arc::clone(&self.site);
            let attempt = async move {
                tokio::time::sleep(wait).await;
                Connection::open(&site.address, &site.access, &site.options, Arc::clone(&site.tally)).await
            };
            let away_at = after(down_since, self.site.options.away_after);
            let opened = tokio::select! {
                opened = attempt => opened,
                () = send_back(&mut self.queue, away_at) => return None,
                _ = self.closed.wait_for(|closed| *closed) => return None,
            };
            match opened {
                Ok(connection) => return Some(connection),
                Err(failed) => {
                    let failed = Arc::new(failed);
                    self.site.tally.failures.add(1);
                    self.attempts += 1;
                    self.tell(Link::Down(down_since, Some(Arc::clone(&failed))));
                    error = Some(failed);
                }
            }
        }
    }

    /// How long to wait before the next attempt.
    fn wait(&self, last: Option<&ConnectError>) -> Duration {
        let Options { backoff_first, backoff_max, .. } = &self.site.options;
        let doubled = match self.attempts {
            0 => return Duration::ZERO,
            // Somebody has to change something before the node lets us in: no hurry.
            _ if is_final(last) => *backoff_max,
            attempts => backoff_first.saturating_mul(1 << (attempts - 1).min(20)).min(*backoff_max),
        };
        let asked = match last {
            Some(ConnectError::Refused(refusal)) => refusal.retry_after().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        shortened(doubled).max(asked)
    }

    fn tell(&self, link: Link) {
        let up = matches!(link, Link::Up(_));
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
        self.up.store(up, Ordering::Release);
        self.site.changed.send_replace(());
    }
}

/// Whether the same attempt would fail again, as long as nobody changes something.
pub(crate) fn is_final(error: Option<&ConnectError>) -> bool {
    match error {
        Some(ConnectError::Refused(refusal)) => {
            matches!(refusal.status.class(), Class::Access | Class::Program)
        }
        Some(ConnectError::NotTheNode | ConnectError::Hello(_)) => true,
        _ => false,
    }
}

/// Between half of `wait` and all of it, at random.
fn shortened(wait: Duration) -> Duration {
    // A hasher with fresh keys is as random as this needs.
    let random = RandomState::new().hash_one(0u8) as u32;
    wait.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// From `away_at` on, sends calls back that wait for a connection. Returns if the client is gone.
async fn send_back(queue: &mut mpsc::Receiver<Ask>, away_at: Instant) {
    tokio::time::sleep_until(away_at).await;
    while let Some(ask) = queue.recv().await {
        ask.refuse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_half_and_all() {
        let wait = Duration::from_millis(1000);
        let waits: Vec<_> = (0..1000).map(|_| shortened(wait)).collect();
        assert!(waits.iter().all(|got| (wait / 2..=wait).contains(got)));
        assert!(waits.iter().any(|got| *got < wait * 6 / 10) && waits.iter().any(|got| *got > wait * 9 / 10));
    }
}
