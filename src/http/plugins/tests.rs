//! Calls of plugins' routes, over HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{self, Poll};

use hyper::body::Frame;

use super::*;
use crate::engine::Recovery;
use crate::journal::{Journal, Options, Sequence};
use crate::plugin::host::{Desk, Plugin};
use crate::store::Shelf;

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// Answers when it is let go, but tenant 2 at once.
struct Slow {
    go: AtomicBool,
    at_work: AtomicUsize,
}

impl Plugin for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn owns(&self, _: &str) -> bool {
        true
    }

    fn tenant_of(&self, call: &Call) -> Option<u64> {
        call.tenant
    }

    fn answer(&self, call: &Call) -> Answer {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        while call.tenant != Some(2) && !self.go.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        Answer::new(200, None, "")
    }
}

fn routes(dir: &tempfile::TempDir, bodies: Bodies) -> (Arc<Slow>, Arc<PluginRoutes>) {
    let (journal, _) =
        Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), |_, _, _| {
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [7; 16]));
    let desk = Desk::open("slow", &engine, Shelf::open(&dir.path().join("shelf")).unwrap()).unwrap();
    let slow = Arc::new(Slow { go: AtomicBool::new(false), at_work: AtomicUsize::new(0) });
    let host = Arc::new(Host::default().with(Arc::clone(&slow) as Arc<dyn Plugin>, desk));
    let guesses = Arc::new(Guesses::new(false));
    let (timeout, bodies) = (Duration::from_secs(60), Arc::new(bodies));
    (slow, Arc::new(PluginRoutes::new(host, engine, timeout, bodies, guesses)))
}

fn call(
    routes: &Arc<PluginRoutes>,
    body: impl Body<Data = Bytes> + Unpin + Send + 'static,
) -> tokio::task::JoinHandle<u16> {
    call_to(routes, "/it", body)
}

fn call_to(
    routes: &Arc<PluginRoutes>,
    path: &str,
    body: impl Body<Data = Bytes> + Unpin + Send + 'static,
) -> tokio::task::JoinHandle<u16> {
    let (routes, request) = (Arc::clone(routes), Request::get(path).body(body).unwrap());
    tokio::spawn(async move { routes.respond(request, Peer::local()).await.status().as_u16() })
}

async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn as_many_calls_wait_as_may_and_the_next_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, routes) = routes(&dir, Bodies::default());
    let empty = || Full::<Bytes>::default();
    let all = bounds().of_one + CALLS_WAITING;
    // Their bodies never end: they take nobody's place.
    let arriving: Vec<_> = (0..all).map(|_| call(&routes, Endless)).collect();
    let waiting: Vec<_> = (0..all).map(|_| call(&routes, empty())).collect();
    until(|| routes.carrying.count() == all).await;
    assert_eq!(call(&routes, empty()).await.unwrap(), 503);
    slow.go.store(true, Ordering::Relaxed);
    for one in waiting {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(call(&routes, empty()).await.unwrap(), 200);
    assert!(arriving.iter().all(|one| !one.is_finished()));
    arriving.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_tenant_whose_calls_fill_all_that_it_may_have_is_not_felt_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, routes) = routes(&dir, Bodies::default());
    let of = |path| call_to(&routes, path, Full::<Bytes>::default());
    let all = bounds().of_one + CALLS_WAITING;
    let flood: Vec<_> = (0..all).map(|_| of("/tenants/1/it?access_token=a")).collect();
    until(|| routes.carrying.count() == all).await;
    assert_eq!(of("/tenants/1/it?access_token=a").await.unwrap(), 503);
    for _ in 0..100 {
        assert_eq!(of("/tenants/2/it?access_token=b").await.unwrap(), 200);
    }
    slow.go.store(true, Ordering::Relaxed);
    for one in flood {
        assert_eq!(one.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn who_hangs_up_gives_back_no_place_before_the_work_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, routes) = routes(&dir, Bodies::default());
    for _ in 0..3 * bounds().at_once {
        let gone = call(&routes, Full::<Bytes>::default());
        tokio::time::sleep(Duration::from_millis(10)).await;
        gone.abort();
        let _ = gone.await;
    }
    until(|| slow.at_work.load(Ordering::Relaxed) >= bounds().of_one).await;
    assert_eq!(slow.at_work.load(Ordering::Relaxed), bounds().of_one);
    slow.go.store(true, Ordering::Relaxed);
    until(|| slow.at_work.load(Ordering::Relaxed) == 0).await;
    assert_eq!(call(&routes, Full::<Bytes>::default()).await.unwrap(), 200);
}

#[tokio::test]
async fn what_a_body_takes_is_accounted_for_until_its_call_is_carried_out() {
    const BYTES: usize = 128 << 10;
    let dir = tempfile::tempdir().unwrap();
    let (slow, routes) = routes(&dir, Bodies::new(BYTES, false));
    let large = || Full::new(Bytes::from(vec![b'a'; BYTES]));
    let at_work: Vec<_> = (0..bounds().of_one).map(|_| call(&routes, Full::<Bytes>::default())).collect();
    until(|| routes.carrying.count() == bounds().of_one).await;
    let waits = call(&routes, large());
    until(|| routes.carrying.count() == bounds().of_one + 1).await;
    assert_eq!(call(&routes, large()).await.unwrap(), 503, "there is no room for another one");
    slow.go.store(true, Ordering::Relaxed);
    for one in at_work {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_ne!(waits.await.unwrap(), 503);
    assert_ne!(call(&routes, large()).await.unwrap(), 503, "what it took is given back");
}

#[test]
fn callers_are_told_apart_by_the_credential_that_they_show_wherever_it_is() {
    let hashing = RandomState::new();
    let of = |uri: &str, authorization: Option<&str>, body: &str| {
        let mut request = Request::post(uri);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        shown(&hashing, &request.body(()).unwrap().into_parts().0, body.as_bytes())
    };
    let all = [
        of("/it", None, ""),
        of("/it?access_token=a", None, ""),
        of("/it?access_token=b", None, ""),
        of("/it", Some("Basic OmE="), ""),
        of("/it", None, "access_token=a&name=x"),
        of("/it", None, "name=x&provider_key=a"),
        of("/it", None, r#"{"access_token":"a","name":"x"}"#),
        of("/it", None, r#"{"access_token":"b","name":"x"}"#),
    ];
    let apart: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(apart.len(), all.len());
    // What else is asked makes no difference, and a body none beside what the head shows.
    assert_eq!(of("/other?a=b&access_token=a", None, "access_token=b"), all[1]);
    assert_eq!(of("/it", None, "more=1&access_token=a"), all[4]);
    assert_eq!(of("/it", None, r#"{"more":1,"access_token":"b"}"#), all[7]);
    // Far behind it is not looked for.
    assert_eq!(of("/it", None, &format!("{}&access_token=a", "x".repeat(GLANCE_BYTES))), all[0]);
}
