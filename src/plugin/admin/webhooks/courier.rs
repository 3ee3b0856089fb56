//! The thread that tells: reads the outbox, has events sent, and puts down what became of them. See the [parent](super).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::super::Clock;
use super::bell::{Bell, Deliveries, News};
use super::lanes::{Lane, Lanes};
use super::outbox::{self, Ending, How, Tried, Waiting};
use super::{ID_HEADER, NotPosted, POST_TIMEOUT, Post, RETRY_INTERVAL_MS, TRIES_MAX};
use crate::model::id::TenantId;
use crate::plugin::host::{Desk, DeskError, LookError};
use crate::plugin::records::{Record, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::Reading;

/// How often the outbox is looked at though nobody says that there is anything.
const INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// How long what became of events waits to be put down together with more.
const PUT_DOWN_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 500 });

/// How much of it at most: nothing more is sent before it is put down.
const PUT_DOWN_MAX: usize = 256;

/// A call that takes longer makes its tenant slow: others come first.
const SLOW: Duration = Duration::from_secs(1);

/// How long the journal is waited for before events are sent.
const SYNC_MAX: Duration = Duration::from_secs(1);

/// After a panic: what was being sent is over by then.
const PANIC_PAUSE: Duration =
    Duration::from_millis(if cfg!(test) { 50 } else { POST_TIMEOUT.as_millis() as u64 });

/// How long a stop waits for what is being sent.
pub(super) const STOP_MAX: Duration = if cfg!(test) { Duration::from_millis(200) } else { POST_TIMEOUT };

/// Why nothing is sent, or put down, at present.
#[derive(Debug, thiserror::Error)]
enum CourierError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    NotDurable(#[from] crate::engine::NotDurable),
    #[error(transparent)]
    Command(#[from] DeskError<ShelfError>),
}

/// What the thread works with, and what it knows.
struct Courier {
    desk: Arc<Desk>,
    clock: Clock,
    post: Arc<dyn Post>,
    news: Receiver<News>,
    /// For the threads that send.
    tell: Sender<News>,
    is_rung: Arc<AtomicBool>,
    /// Raised by each panic: what was begun before it is not listened to.
    round: u64,
    lanes: Lanes,
    /// By ascending tenant: the event that is the first to wait.
    waiting: Vec<(u64, u64)>,
    /// What is not put down, and since when.
    endings: Vec<Ending>,
    since: Instant,
    is_stopping: bool,
    is_failing: bool,
    counts: Counts,
}

/// Telemetry.
struct Counts {
    delivered: metrics::Counter,
    retried: metrics::Counter,
    failed: metrics::Counter,
    waiting: metrics::Gauge,
    panics: metrics::Counter,
}

/// Begins to tell, with `post`, of what is in the outbox.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    desk: &Arc<Desk>,
    clock: &Clock,
    bell: &Bell,
    post: Arc<dyn Post>,
) -> std::io::Result<Deliveries> {
    let (tell, news) = channel();
    let first = bell.news.set(tell.clone()).is_ok();
    debug_assert!(first, "one thread tells");
    let mut courier = Courier {
        desk: Arc::clone(desk),
        clock: Arc::clone(clock),
        post,
        news,
        tell: tell.clone(),
        is_rung: Arc::clone(&bell.is_rung),
        round: 0,
        lanes: Lanes::default(),
        waiting: Vec::new(),
        endings: Vec::new(),
        since: Instant::now(),
        is_stopping: false,
        is_failing: false,
        counts: Counts::new(),
    };
    let thread = std::thread::Builder::new().name("webhooks".into()).spawn(move || courier.run())?;
    Ok(Deliveries { news: tell, thread: Some(thread) })
}

impl Counts {
    fn new() -> Counts {
        super::describe();
        Counts {
            delivered: metrics::counter!("tollgate_webhooks_delivered_total"),
            retried: metrics::counter!("tollgate_webhooks_retried_total"),
            failed: metrics::counter!("tollgate_webhooks_failed_total"),
            waiting: metrics::gauge!("tollgate_webhooks_waiting"),
            panics: metrics::counter!("tollgate_plugin_panics_total", "plugin" => super::super::NAME),
        }
    }
}

impl Courier {
    fn run(&mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.counts.panics.increment(1);
            tracing::error!("telling of webhooks panicked: this is a defect; it begins anew");
            // Nothing of what it knew is needed: it is all on the shelf.
            self.round += 1;
            (self.lanes, self.waiting, self.endings) = Default::default();
            let until = Instant::now() + PANIC_PAUSE;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                match self.news.recv_timeout(left) {
                    Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        }
    }

    /// Works until the node stops.
    fn work(&mut self) {
        while !self.is_stopping {
            let done = self.put_down_if_due().and_then(|()| self.send());
            self.note(done);
            self.wait(self.pause());
        }
        let until = Instant::now() + STOP_MAX;
        while self.lanes.is_sending()
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            self.wait(left);
        }
        let done = self.put_down();
        self.note(done);
    }

    /// Says once that something fails, and not each time.
    fn note(&mut self, done: Result<(), CourierError>) {
        match done {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                tracing::warn!(%error, "webhooks wait, will try again");
                self.is_failing = true;
            }
            Err(_) => {}
        }
    }

    fn now(&self) -> u64 {
        self.desk.engine().now((self.clock)()).0
    }

    /// How long there is nothing to do, as far as is known.
    fn pause(&self) -> Duration {
        let due = self.lanes.due(&self.waiting).filter(|_| !self.is_failing);
        // Those that are due and not sent wait for others to end.
        let due =
            due.map(|at| at.saturating_sub(self.now())).filter(|left| *left > 0).map(Duration::from_millis);
        let put_down =
            (!self.endings.is_empty()).then(|| PUT_DOWN_INTERVAL.saturating_sub(self.since.elapsed()));
        let put_down = put_down.filter(|_| !self.is_failing);
        [due, put_down].into_iter().flatten().fold(INTERVAL, Duration::min)
    }

    /// Waits for news, and takes in all that there are.
    fn wait(&mut self, pause: Duration) {
        let Ok(first) = self.news.recv_timeout(pause) else { return };
        self.take(first);
        while let Ok(more) = self.news.try_recv() {
            self.take(more);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Put => self.is_rung.store(false, Ordering::Release),
            News::Stop => self.is_stopping = true,
            News::Sent { round, tenant, event, answer, took } if round == self.round => {
                self.sent(tenant, event, answer, took);
            }
            News::Sent { .. } => {}
        }
    }

    /// A call has ended.
    fn sent(&mut self, tenant: u64, event: u64, answer: Result<u16, NotPosted>, took: Duration) {
        let now = self.now();
        let how = how_it_ended(answer, self.lanes.get(tenant).map_or(0, |lane| lane.tries), now);
        let lane = self.lanes.lane(tenant, Lane::default);
        lane.sending = None;
        lane.is_slow = took > SLOW || how != How::Delivered;
        match &how {
            How::Delivered => self.counts.delivered.increment(1),
            How::Again { .. } => self.counts.retried.increment(1),
            How::Failed { .. } => self.counts.failed.increment(1),
        }
        (lane.tries, lane.next_at) = match &how {
            How::Again { tries, next_at } => (*tries, *next_at),
            How::Delivered | How::Failed { .. } => (0, 0),
        };
        if !matches!(how, How::Again { .. }) {
            lane.done = event;
        }
        if self.endings.is_empty() {
            self.since = Instant::now();
        }
        self.endings.push(Ending { tenant, event, how });
    }

    fn put_down_if_due(&mut self) -> Result<(), CourierError> {
        let is_due = self.endings.len() >= PUT_DOWN_MAX || self.since.elapsed() >= PUT_DOWN_INTERVAL;
        if is_due { self.put_down() } else { Ok(()) }
    }

    /// Puts down what became of events, in one command. Should it be lost in a crash, they are sent again, with the same ids.
    fn put_down(&mut self) -> Result<(), CourierError> {
        if !self.endings.is_empty() {
            self.desk.command(|_, records| outbox::end(&self.endings, records))?;
            self.endings.clear();
        }
        Ok(())
    }

    /// Sends what is to be sent now.
    fn send(&mut self) -> Result<(), CourierError> {
        if self.endings.len() >= PUT_DOWN_MAX {
            return Ok(());
        }
        self.look()?;
        let now = self.now();
        if self.lanes.due(&self.waiting).is_none_or(|at| at > now) {
            return Ok(());
        }
        // What a crash may take back is told to nobody.
        let engine = self.desk.engine();
        engine.durable_until(engine.ticket(), Instant::now() + SYNC_MAX)?;
        let mut done = Ok(());
        for (tenant, event) in self.lanes.choose(&self.waiting, now) {
            if let Err(error) = self.post(tenant, event) {
                self.lanes.lane(tenant, Lane::default).sending = None;
                done = Err(error);
            }
        }
        done
    }

    /// Reads who waits.
    fn look(&mut self) -> Result<(), CourierError> {
        if self.desk.keeper().is_behind() {
            return Err(LookError::Behind.into());
        }
        let shelf = self.desk.keeper().shelf();
        let reading = shelf.reading()?;
        self.waiting.clear();
        let catalog = self.desk.engine().catalog();
        let mut from = Vec::new();
        while let Some(first) = reading.first_key(Waiting::TABLE, &from)? {
            let tenant = tenant_of(&first);
            let lane = match self.lanes.get(tenant) {
                Some(lane) => *lane,
                None => *self.lanes.lane(tenant, || begin(&reading, tenant)),
            };
            let waits = reading.first_key(Waiting::TABLE, &pair_key(tenant, lane.done.saturating_add(1)))?;
            let waits = waits.filter(|key| tenant_of(key) == tenant).and_then(|key| id_of(&key));
            // Those of a suspended tenant wait until it comes back.
            let waits = waits.filter(|_| !catalog.is_suspended(TenantId(tenant)));
            self.waiting.extend(waits.map(|event| (tenant, event)));
            let Some(next) = tenant.checked_add(1) else { break };
            from = id_key(next).to_vec();
        }
        let past = self.endings.iter().filter(|it| !matches!(it.how, How::Again { .. })).count() as u64;
        self.counts.waiting.set(reading.len(Waiting::TABLE)?.saturating_sub(past) as f64);
        let endings = &self.endings;
        self.lanes.tidy(&self.waiting, |tenant| endings.iter().any(|it| it.tenant == tenant));
        Ok(())
    }

    /// Has an event sent, by a thread of its own: it may be left behind when the node stops, and holds nothing of it.
    fn post(&mut self, tenant: u64, event: u64) -> Result<(), CourierError> {
        let key = pair_key(tenant, event);
        let row = self.desk.keeper().shelf().read(|reading| reading.get(Waiting::TABLE, &key))?;
        let waiting: Option<Waiting> = row.and_then(|row| serde_json::from_slice(&row).ok());
        let round = self.round;
        let sent = move |answer, took| News::Sent { round, tenant, event, answer, took };
        let Some(waiting) = waiting else {
            let error = NotPosted::Refused("the event cannot be read".to_owned());
            let _ = self.tell.send(sent(Err(error), Duration::ZERO));
            return Ok(());
        };
        let (tell, post) = (self.tell.clone(), Arc::clone(&self.post));
        let call = move || {
            let begun = Instant::now();
            let id = event.to_string();
            let posted = catch_unwind(AssertUnwindSafe(|| send(&*post, &waiting, &id)));
            let answer = posted.unwrap_or_else(|_| Err(NotPosted::Failed("the call panicked".to_owned())));
            let _ = tell.send(sent(answer, begun.elapsed()));
        };
        if let Err(error) = std::thread::Builder::new().name("webhook".into()).spawn(call) {
            let answer = Err(NotPosted::Failed(format!("no thread to send it: {error}")));
            let _ = self.tell.send(sent(answer, Duration::ZERO));
        }
        Ok(())
    }
}

/// One POST.
fn send(post: &dyn Post, waiting: &Waiting, id: &str) -> Result<u16, NotPosted> {
    let headers = [("Content-Type", "application/xml"), (ID_HEADER, id)];
    post.post(&waiting.url, &headers, waiting.event.as_bytes())
}

fn tenant_of(key: &[u8]) -> u64 {
    key.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The lane of a tenant that nothing is known of: what was tried before is on the shelf.
fn begin(reading: &Reading<'_>, tenant: u64) -> Lane {
    let row = reading.get(Tried::TABLE, &id_key(tenant)).ok().flatten();
    let tried = row.and_then(|row| serde_json::from_slice::<Tried>(&row).ok());
    tried.map_or_else(Lane::default, |it| Lane {
        // The one that was tried is the first that waits: those before it are gone.
        done: it.event.saturating_sub(1),
        tries: it.tries,
        next_at: it.next_at,
        ..Lane::default()
    })
}

/// What an answer, or none, makes of an event that was tried `tries` times before.
fn how_it_ended(answer: Result<u16, NotPosted>, tries: u32, now: u64) -> How {
    let (error, is_over) = match answer {
        Ok(200..=299) => return How::Delivered,
        Ok(status) => (format!("the answer was HTTP status {status}"), false),
        Err(NotPosted::Failed(error)) => (error, false),
        Err(NotPosted::Refused(error)) => (error, true),
    };
    let tries = tries + 1;
    if is_over || tries >= TRIES_MAX {
        return How::Failed { at: now, error };
    }
    How::Again { tries, next_at: now.saturating_add(RETRY_INTERVAL_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_tried_six_times_a_minute_apart_and_one_that_may_not_be_sent_never() {
        let bad = || Ok(500);
        let again = |tries| How::Again { tries, next_at: 60_007 };
        assert_eq!(how_it_ended(Ok(200), 5, 7), How::Delivered);
        assert_eq!(how_it_ended(Ok(299), 0, 7), How::Delivered);
        assert_eq!(how_it_ended(bad(), 0, 7), again(1));
        assert_eq!(how_it_ended(Ok(302), 4, 7), again(5));
        let error = "the answer was HTTP status 500".to_owned();
        assert_eq!(how_it_ended(bad(), 5, 7), How::Failed { at: 7, error });
        let refused = || NotPosted::Refused("no".to_owned());
        assert_eq!(how_it_ended(Err(refused()), 0, 7), How::Failed { at: 7, error: "no".to_owned() });
        assert_eq!(how_it_ended(Err(NotPosted::Failed("no".to_owned())), 0, 7), again(1));
    }
}
