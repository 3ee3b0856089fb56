//! Reservations whose answers get lost, and those that nobody settles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_client::codec::{Request, Status};
use tollgate_client::{Error, Policy, Reserved, Settled};

use crate::call;
use crate::fake::{Greeting, Peer, client, healthy, listen, options};

const TTL: Duration = Duration::from_secs(60);

async fn held(client: &tollgate_client::Client) -> tollgate_client::Reservation {
    match client.reserve(&call(5), TTL).await.expect("a verdict") {
        Reserved::Held(reservation) => reservation,
        Reserved::Denied(verdict) => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_sent_again_and_counted_once() {
    let counted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counted);
    let address = listen(move |number, stream| {
        let count = Arc::clone(&count);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            while let Some(frame) = peer.read().await {
                match Request::decode(frame.head.operation, &frame.body).expect("a request") {
                    Request::Commit(settle) if number == 0 => {
                        assert_eq!(settle.reservation, 99);
                        count.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    Request::Commit(_) => peer.refuse(&frame, Status::RESERVATION_UNKNOWN, 0).await,
                    _ => peer.answer(&frame).await,
                }
            }
        }
    })
    .await;
    let client = client(address, options());
    let mut reservation = held(&client).await;
    assert_eq!(reservation.commit([("hits", 3)]).await.expect("settled"), Settled::DoneBefore);
    assert_eq!(reservation.commit([("hits", 3)]).await.expect("settled"), Settled::DoneBefore);
    assert_eq!(counted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_unknown_reservation_is_an_error_if_no_answer_was_lost() {
    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        while let Some(frame) = peer.read().await {
            match Request::decode(frame.head.operation, &frame.body).expect("a request") {
                Request::Commit(_) => peer.refuse(&frame, Status::RESERVATION_UNKNOWN, 0).await,
                _ => peer.answer(&frame).await,
            }
        }
    })
    .await;
    let client = client(address, options());
    let error = held(&client).await.commit([("hits", 3)]).await.expect_err("unknown");
    assert!(matches!(error, Error::Refused(refusal) if refusal.status == Status::RESERVATION_UNKNOWN));
}

#[tokio::test]
async fn what_nobody_settles_is_cancelled_and_what_was_settled_is_not() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancelled);
    let address = listen(move |_, stream| {
        let count = Arc::clone(&count);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            while let Some(frame) = peer.read().await {
                if let Ok(Request::Cancel(settle)) = Request::decode(frame.head.operation, &frame.body) {
                    assert_eq!(settle.reservation, 99);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                peer.answer(&frame).await;
            }
        }
    })
    .await;
    let client = client(address, options());
    let mut settled = held(&client).await;
    assert_eq!(settled.commit([("hits", 3)]).await.expect("settled"), Settled::Done);
    drop(settled);
    drop(held(&client).await);
    client.ping().await.expect("a pong");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(cancelled.load(Ordering::SeqCst), 1);
    let mut cancelled_by_hand = held(&client).await;
    assert_eq!(cancelled_by_hand.cancel().await.expect("settled"), Settled::Done);
    drop(cancelled_by_hand);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(cancelled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_yes_of_the_policy_holds_nothing_and_its_commit_is_a_report() {
    // The node cannot reserve, but counts reports.
    let reported = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reported);
    let address = listen(move |_, stream| {
        let count = Arc::clone(&count);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            while let Some(frame) = peer.read().await {
                match Request::decode(frame.head.operation, &frame.body).expect("a request") {
                    Request::Reserve(_) => peer.refuse(&frame, Status::OVERLOADED, 60_000).await,
                    Request::Report(call) => {
                        count.fetch_add(call.fields.usage[0].amount as usize, Ordering::SeqCst);
                        peer.answer(&frame).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    })
    .await;
    let client = client(address, options().policy(Policy::Allow));
    let mut reservation = held(&client).await;
    assert!(!reservation.is_held());
    assert_eq!(reservation.commit([("hits", 3)]).await.expect("settled"), Settled::Done);
    drop(held(&client).await);
    client.close().await;
    assert_eq!(reported.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_time_to_live_that_no_frame_can_say_is_refused_here() {
    let (address, _) = healthy().await;
    let client = client(address, options());
    let forever = client.reserve(&call(1), Duration::from_secs(1 << 33)).await;
    assert!(matches!(forever, Err(Error::Call(_))));
}
