//! One connection: hyper speaks HTTP, this file sees to it that the client keeps moving.
//!
//! hyper's own header timeout makes and drops a timer for each request. Here one tick per connection compares
//! two numbers instead, and tells three things apart: a request being answered (its own limits hold), a head
//! that began to arrive, and a client that says nothing.
//!
//! The tick, and the order to drain, are looked at when they themselves wake the task ([`Bell`]), and not with each
//! request: that would cost every request the lock that all connections wait for the order with, and a timer.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::routes::Routes;
use super::server::Config;
use super::telemetry::Telemetry;
use crate::listener::{End, Peer};

/// Serves one connection until it ends. Once `drain` is cancelled, what is in flight is still answered.
pub(super) async fn serve<S>(
    stream: S,
    peer: Peer,
    routes: Arc<Routes>,
    telemetry: Arc<Telemetry>,
    config: &Config,
    drain: CancellationToken,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let progress = Arc::new(Progress::default());
    let departure = &config.limits.departure;
    let _stay = departure.arrive();
    let service = service_fn(|request| {
        progress.begin();
        telemetry.requested();
        let reply = routes.answer(request, peer);
        // One that is there is not answering any more: hyper takes it before it does anything else.
        let later = (!reply.is_now()).then(|| Arc::clone(&progress));
        if later.is_none() {
            progress.finish();
        }
        async move {
            let mut response = reply.await;
            if departure.is_on() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(progress) = later {
                progress.finish();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Counted { stream, progress: Arc::clone(&progress) });
    let mut connection = pin!(
        http1::Builder::new()
            // Head and body leave as one buffer: for small answers that costs less than a vectored write.
            .writev(false)
            .max_header_size(config.head_bytes_max)
            .max_buf_size(config.head_bytes_max.max(64 * 1024))
            .serve_connection(io, service)
    );
    let mut patience = Patience::new(config);
    let mut ticks = tokio::time::interval(patience.tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut draining = false;
    let mut closing = pin!(departure.last_chance(&drain));
    let mut bell: Option<Arc<Bell>> = None;
    poll_fn(|cx| {
        loop {
            // An error here is the client's doing: it hung up, or hyper refused what it sent and said so.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Closed);
            }
            let bell = Bell::of(&mut bell, cx.waker());
            if !bell.has_rung() {
                return Poll::Pending;
            }
            let waker = Waker::from(Arc::clone(bell));
            let mut beside = Context::from_waker(&waker);
            while ticks.poll_tick(&mut beside).is_ready() {
                if patience.is_over(&progress) {
                    return Poll::Ready(End::CutOff);
                }
            }
            if !draining && closing.as_mut().poll(&mut beside).is_ready() {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    })
    .await
}

/// Wakes a task, and says that it was this that woke it.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// The bell of a task. A new one has rung: nobody has been told of it yet.
    fn of<'b>(bell: &'b mut Option<Arc<Bell>>, task: &Waker) -> &'b Arc<Bell> {
        let known = bell.take().filter(|bell| bell.task.will_wake(task));
        let new = || Arc::new(Bell { rung: AtomicBool::new(true), task: task.clone() });
        bell.insert(known.unwrap_or_else(new))
    }

    /// Whether it has rung since this was asked last.
    fn has_rung(&self) -> bool {
        // A store for each request would be dearer than a look.
        self.rung.load(Acquire) && self.rung.swap(false, AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Release);
        self.task.wake_by_ref();
    }
}

/// What has happened on a connection. One task writes and reads it, so the order of accesses is no matter.
#[derive(Default)]
struct Progress {
    /// Bytes received.
    received: AtomicU64,
    /// Bytes that had been received when the last request was answered.
    received_before: AtomicU64,
    /// Requests whose head was read.
    begun: AtomicU64,
    /// Requests answered.
    finished: AtomicU64,
}

/// Adds to a number that one task writes.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Progress {
    fn begin(&self) {
        add(&self.begun, 1);
    }

    fn finish(&self) {
        add(&self.finished, 1);
        self.received_before.store(self.received.load(Relaxed), Relaxed);
    }
}

/// Decides, tick by tick, when a client had its chance.
struct Patience {
    tick: Duration,
    head_timeout: Duration,
    idle_timeout: Duration,
    begun: u64,
    in_head: bool,
    quiet: Duration,
}

impl Patience {
    fn new(config: &Config) -> Patience {
        let least = config.head_timeout.min(config.idle_timeout);
        Patience {
            tick: (least / 4).clamp(Duration::from_millis(5), Duration::from_secs(1)),
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            begun: 0,
            in_head: true,
            quiet: Duration::ZERO,
        }
    }

    fn is_over(&mut self, progress: &Progress) -> bool {
        let begun = progress.begun.load(Relaxed);
        let answering = begun != progress.finished.load(Relaxed);
        // A new connection is expected to say something as soon as one that began to.
        let in_head = begun == 0 || progress.received.load(Relaxed) != progress.received_before.load(Relaxed);
        if answering || begun != self.begun || in_head != self.in_head {
            (self.begun, self.in_head, self.quiet) = (begun, in_head, Duration::ZERO);
            return false;
        }
        self.quiet += self.tick;
        self.quiet > if in_head { self.head_timeout } else { self.idle_timeout }
    }
}

/// A stream that counts what it receives.
struct Counted<S> {
    stream: S,
    progress: Arc<Progress>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        add(&self.progress.received, (buf.filled().len() - before) as u64);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until_over(patience: &mut Patience, progress: &Progress) -> u32 {
        (1..1000).find(|_| patience.is_over(progress)).unwrap_or(u32::MAX)
    }

    fn patience() -> Patience {
        Patience::new(&Config {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            ..Config::default()
        })
    }

    #[test]
    fn a_bell_rings_once_for_each_time_it_is_rung_and_anew_for_another_task() {
        let (one, other) =
            (Arc::new(Bell { rung: AtomicBool::new(false), task: Waker::noop().clone() }), Waker::noop());
        let (one, mut place) = (Waker::from(one), None);
        let bell = Arc::clone(Bell::of(&mut place, &one));
        assert_eq!([bell.has_rung(), bell.has_rung()], [true, false]);
        let waker = Waker::from(Arc::clone(&bell));
        waker.wake_by_ref();
        waker.wake();
        assert!(Arc::ptr_eq(&bell, Bell::of(&mut place, &one)));
        assert_eq!([bell.has_rung(), bell.has_rung()], [true, false]);
        assert!(Bell::of(&mut place, other).has_rung());
    }

    #[test]
    fn a_new_connection_must_send_its_head_in_time() {
        assert_eq!(ticks_until_over(&mut patience(), &Progress::default()), 11);
    }

    #[test]
    fn an_idle_connection_may_rest_and_then_gets_its_whole_head_timeout() {
        let (mut patience, progress) = (patience(), Progress::default());
        progress.begin();
        progress.finish();
        assert_eq!(ticks_until_over(&mut patience, &progress), 62);
        progress.received.store(1, Relaxed);
        assert_eq!(ticks_until_over(&mut patience, &progress), 12);
    }

    #[test]
    fn a_request_in_flight_is_never_cut_off() {
        let (mut patience, progress) = (patience(), Progress::default());
        progress.begin();
        assert_eq!(ticks_until_over(&mut patience, &progress), u32::MAX);
    }
}
