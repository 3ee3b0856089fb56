//! The node is away: what the policy says, and how soon.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tollgate_client::codec::Status;
use tollgate_client::{Application, Away, Call, Error, Policy, Share, Verdict};

use crate::call;
use crate::fake::{Greeting, Peer, client, listen, options};

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn each_policy_decides_as_it_says() {
    let address = nowhere().await;
    let of = |policy| client(address, options().policy(policy).away_after(Duration::from_millis(50)));
    assert!(matches!(of(Policy::Error).authrep(&call(1)).await, Err(Error::Away(Away::NoConnection(_)))));
    for (policy, expected) in [(Policy::Allow, true), (Policy::Deny, false)] {
        let client = of(policy);
        for verdict in
            [client.authrep(&call(1)).await, client.authorize(&call(1)).await, client.check(&call(1)).await]
        {
            let verdict = verdict.expect("a verdict");
            assert!(matches!(verdict, Verdict::Assumed { away: Away::NoConnection(_), .. }));
            assert_eq!(verdict.allowed(), expected);
        }
        assert_eq!(client.counters().assumed, 3);
        assert!(client.report(&call(1)).await.is_err(), "no policy counts for the node");
    }
}

#[tokio::test]
async fn a_local_share_is_spent_exactly_however_many_ask() {
    let policy = Policy::LocalShare { unstated: false };
    let client = client(nowhere().await, options().policy(policy).away_after(Duration::ZERO));
    let share = Share::new("hits", 1_000, Duration::from_secs(1_000_000), 0.05);
    let application = Application::user_key("key").share(share);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (client, call) = (client.clone(), Call::new(&application).usage("hits", 1));
            tokio::spawn(async move { client.authrep(&call).await.expect("a verdict").allowed() })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.expect("a verdict"));
    }
    assert_eq!(admitted, 50);
    assert!(!client.authrep(&call(1)).await.expect("a verdict").allowed(), "no share was stated for it");
}

#[tokio::test]
async fn calls_wait_for_a_connection_only_so_long() {
    let client = client(nowhere().await, options().away_after(Duration::from_millis(200)));
    let started = Instant::now();
    assert!(client.authrep(&call(1)).await.is_err());
    assert!((150..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let started = Instant::now();
    assert!(client.authrep(&call(1)).await.is_err());
    assert!(started.elapsed().as_millis() < 50, "it is known to be away: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_node_that_cannot_is_asked_again_when_it_says_and_no_later_than_the_deadline() {
    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        for number in 0.. {
            let Some(frame) = peer.read().await else { return };
            match number {
                0 => peer.refuse(&frame, Status::OVERLOADED, 30).await,
                1 => peer.refuse(&frame, Status::STORAGE_UNAVAILABLE, 60).await,
                2 => peer.answer(&frame).await,
                _ => peer.refuse(&frame, Status::OVERLOADED, 60_000).await,
            }
        }
    })
    .await;
    let client = client(address, options());
    let started = Instant::now();
    assert!(client.authrep(&call(1)).await.expect("a decision").allowed());
    assert!(started.elapsed() >= Duration::from_millis(90), "{:?}", started.elapsed());
    assert_eq!(client.counters().repeats, 2);

    let started = Instant::now();
    let error = client.report(&call(1)).await.expect_err("no time is left for a minute's wait");
    let Error::Away(Away::Cannot(refusal)) = &error else { panic!("{error}") };
    assert_eq!((refusal.status, refusal.retry_after_ms), (Status::OVERLOADED, 60_000));
    assert!(!error.may_have_counted() && started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_fault_of_the_node_is_not_asked_again_and_left_to_the_policy() {
    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        while let Some(frame) = peer.read().await {
            peer.refuse(&frame, Status::INTERNAL, 0).await;
        }
    })
    .await;
    let client = client(address, options().policy(Policy::Allow));
    let verdict = client.authrep(&call(1)).await.expect("a verdict");
    let Verdict::Assumed { allowed: true, away } = verdict else { panic!("{verdict:?}") };
    assert!(matches!(&away, Away::Cannot(refusal) if refusal.status == Status::INTERNAL));
    assert!(away.may_have_counted());
    assert_eq!(client.counters().frames, 1);
    let error = client.report(&call(1)).await.expect_err("no receipt");
    assert!(error.may_have_counted());
}
