//! Garbage, silence, half-closed connections, nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tollgate_client::codec::{Answer, Pong, Request, Status};
use tollgate_client::{Away, ConnectError, Error};

use crate::call;
use crate::fake::{Greeting, Peer, client, listen, options};

/// A node of which the first connection does `bad` with its first request, and all others are healthy.
async fn first_is_bad<F, S>(bad: F) -> std::net::SocketAddr
where
    F: Fn(Peer, tollgate_client::codec::Frame) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let bad = Arc::new(bad);
    listen(move |number, stream| {
        let bad = Arc::clone(&bad);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            if number > 0 {
                return peer.serve(Arc::default()).await;
            }
            if let Some(frame) = peer.read().await {
                bad(peer, frame).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn garbage_ends_the_connection_and_the_next_one_serves() {
    let address = first_is_bad(|mut peer, _| async move {
        peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("a write");
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let client = client(address, options());
    let error = client.authrep(&call(1)).await.expect_err("no answer");
    assert!(matches!(error, Error::Away(Away::Unanswered)) && error.may_have_counted(), "{error}");
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
}

#[tokio::test]
async fn what_counts_nothing_is_asked_again_when_the_connection_breaks() {
    let address = first_is_bad(|peer, _| async move { drop(peer) }).await;
    let client = client(address, options());
    assert!(client.authorize(&call(1)).await.expect("a decision").allowed());
    assert_eq!(client.counters().repeats, 1);
}

#[tokio::test]
async fn what_counts_and_has_an_id_is_sent_again() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ids = Arc::clone(&seen);
    let address = listen(move |connection, stream| {
        let ids = Arc::clone(&ids);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            while let Some(frame) = peer.read().await {
                let request = Request::decode(frame.head.operation, &frame.body).expect("a request");
                let (Request::Report(call) | Request::Authrep(call)) = request else { panic!("{request:?}") };
                let is_numbered = call.fields.numbered.is_some();
                let number = call.fields.numbered.map(|it| (it.producer.to_vec(), it.sequence));
                ids.lock().expect("the ids").push((call.fields.idempotency.map(<[u8]>::to_vec), number));
                // The first connection breaks at its first call, the second at the first that has a number.
                if connection == 0 || (connection == 1 && is_numbered) {
                    return;
                }
                peer.answer(&frame).await;
            }
        }
    })
    .await;
    let client = client(address, options());
    client.report(&call(1).id("an id")).await.expect("a receipt");
    assert_eq!(client.counters().repeats, 1);
    client.authrep(&call(1).id(vec![0, 255])).await.expect("a decision");
    client.authrep(&call(1).numbered("a worker", 7)).await.expect("a decision");
    assert_eq!(client.counters().repeats, 2);
    let id = |id: &[u8]| (Some(id.to_vec()), None);
    let number = (None, Some((b"a worker".to_vec(), 7)));
    let expected = [id(b"an id"), id(b"an id"), id(&[0, 255]), number.clone(), number];
    assert_eq!(*seen.lock().expect("the ids"), expected);
}

#[tokio::test]
async fn a_report_that_may_have_been_counted_is_not_sent_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = listen(move |_, stream| {
        let counted = Arc::clone(&counted);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            while peer.read().await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                // Half-closed: it still reads, and says nothing any more.
                let _ = peer.stream.shutdown().await;
            }
        }
    })
    .await;
    let client = client(address, options());
    let error = client.report(&call(1)).await.expect_err("no answer");
    assert!(matches!(error, Error::Away(Away::Unanswered)), "{error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_ends_the_connection() {
    let address = first_is_bad(|mut peer, frame| async move {
        // A pong's body as the answer to an authrep: too short for a decision.
        let pong = Answer::Pong(Pong { time_us: 1, catalog_version: 1 });
        peer.answer_with(&frame, Status::OK, &pong).await;
        assert!(peer.read().await.is_none(), "it goes on");
    })
    .await;
    let client = client(address, options());
    let error = client.authrep(&call(1)).await.expect_err("nonsense");
    assert!(matches!(error, Error::Answer(_)) && error.may_have_counted(), "{error}");
    let until = Instant::now() + Duration::from_secs(5);
    while client.counters().connections < 2 {
        assert!(Instant::now() < until, "{:?}", client.counters());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_connection() {
    let address = first_is_bad(|mut peer, frame| async move {
        let pong = Answer::Pong(Pong { time_us: 1, catalog_version: 1 });
        peer.say(frame.head.operation | 0x80, Status::OK, frame.head.id + 1, &pong).await;
        assert!(peer.read().await.is_none(), "it goes on");
    })
    .await;
    let client = client(address, options());
    assert!(matches!(client.authrep(&call(1)).await, Err(Error::Away(Away::Unanswered))));
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
}

#[tokio::test]
async fn what_a_later_version_says_without_being_asked_is_skipped() {
    let address = first_is_bad(|mut peer, frame| async move {
        let pong = Answer::Pong(Pong { time_us: 1, catalog_version: 1 });
        peer.say(0xFE, Status::OK, 0, &pong).await;
        peer.answer(&frame).await;
        peer.serve(Arc::default()).await;
    })
    .await;
    let client = client(address, options());
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
    assert_eq!(client.counters().connections, 1);
}

#[tokio::test]
async fn a_node_that_never_answers_is_given_up_at_the_deadline_and_then_left() {
    let address = first_is_bad(|mut peer, _| async move { while peer.read().await.is_some() {} }).await;
    let client = client(address, options().unanswered_max(Duration::from_millis(400)));
    let started = Instant::now();
    let error = client.authrep(&call(1).deadline(Duration::from_millis(100))).await.expect_err("no answer");
    assert!(matches!(error, Error::Away(Away::Unanswered)), "{error}");
    assert!((100..350).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    // Some time later the connection counts as dead, and another one serves.
    assert!(client.authorize(&call(1)).await.expect("a decision").allowed());
    assert_eq!(client.counters().connections, 2);
}

#[tokio::test]
async fn who_does_not_know_the_secret_gets_no_call() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = listen(move |_, stream| {
        let counted = Arc::clone(&counted);
        async move {
            let greeting = Greeting { secret: "another secret", ..Greeting::default() };
            if let Some(mut peer) = Peer::greet(stream, greeting).await
                && peer.read().await.is_some()
            {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let client = client(address, options());
    let error = client.ready(Duration::from_secs(5)).await.expect_err("an impostor");
    let Error::Away(Away::NoConnection(Some(why))) = error else { panic!("{error}") };
    assert!(matches!(*why, ConnectError::NotTheNode), "{why}");
    assert!(client.authrep(&call(1)).await.is_err());
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn attempts_to_connect_become_rarer() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let address = listen(move |_, stream: TcpStream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { drop(stream) }
    })
    .await;
    let client = client(address, options().backoff_first(Duration::from_millis(20)));
    tokio::time::sleep(Duration::from_millis(700)).await;
    // 0, 20, 60, 140, 300, 620 ms if each wait is whole, at most twice as many if each is half.
    let made = attempts.load(Ordering::SeqCst);
    assert!((4..=8).contains(&made), "{made}");
    assert!(matches!(client.authrep(&call(1)).await, Err(Error::Away(Away::NoConnection(Some(_))))));
}
