//! GOAWAY: the old connection is drained while new calls go to a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_client::codec::{GoawayReason, Status};

use crate::call;
use crate::fake::{Greeting, Peer, client, healthy, listen, options};

#[tokio::test]
async fn no_call_is_lost_when_the_node_says_goodbye_over_and_over() {
    // Every connection answers some calls, keeps some back, says goodbye, and answers those afterwards.
    let late = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&late);
    let address = listen(move |_, stream| {
        let counted = Arc::clone(&counted);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            let mut kept = Vec::new();
            // Well within the calls' deadline: when few callers are left, all but one may be kept waiting, or all.
            let until = tokio::time::Instant::now() + Duration::from_millis(200);
            for number in 0..200 {
                let Ok(read) = tokio::time::timeout_at(until, peer.read()).await else { break };
                let Some(frame) = read else { return };
                if number % 20 == 0 { kept.push(frame) } else { peer.answer(&frame).await }
            }
            peer.goaway(GoawayReason::HandsOver).await;
            for frame in kept {
                peer.answer(&frame).await;
            }
            // What was on its way is still answered, and nothing new comes once the client has heard.
            while let Some(frame) = peer.read().await {
                counted.fetch_add(1, Ordering::SeqCst);
                peer.answer(&frame).await;
            }
        }
    })
    .await;
    // Connections that end so soon are followed by the next after a pause that grows: not here, where it is of no interest.
    let patient = options().backoff_max(Duration::from_millis(30)).away_after(Duration::from_secs(5));
    let client = client(address, patient);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    client.report(&call(1)).await.expect("a receipt");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no call failed");
    }
    let counters = client.counters();
    assert!(counters.goodbyes >= 5, "{counters:?}");
    assert_eq!(counters.repeats, 0, "nothing was sent twice: {counters:?}");
    assert!(late.load(Ordering::SeqCst) <= 20 * 10, "at most what was under way, each time");
}

#[tokio::test]
async fn what_a_draining_node_refuses_goes_to_the_next_connection() {
    let address = listen(|number, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        if number > 0 {
            return peer.serve(Arc::default()).await;
        }
        let Some(frame) = peer.read().await else { return };
        peer.refuse(&frame, Status::DRAINING, 0).await;
        peer.goaway(GoawayReason::Stops).await;
        assert_eq!(peer.read().await, None, "nothing new comes");
    })
    .await;
    let client = client(address, options());
    client.report(&call(1)).await.expect("a receipt");
    assert_eq!(client.counters().connections, 2);
}

#[tokio::test]
async fn closing_waits_for_answers_and_lets_no_new_call_in() {
    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        while let Some(frame) = peer.read().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.answer(&frame).await;
        }
    })
    .await;
    let client = client(address, options());
    client.ready(Duration::from_secs(5)).await.expect("a connection");
    let under_way = {
        let client = client.clone();
        tokio::spawn(async move { client.report(&call(1)).await })
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    client.close().await;
    assert!(under_way.await.expect("a task").is_ok());
    assert!(client.report(&call(1)).await.is_err());
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_connections() {
    let (address, _) = healthy().await;
    let connected = Arc::new(AtomicUsize::new(0));
    let open = Arc::clone(&connected);
    let through = listen(move |_, mut stream| {
        let open = Arc::clone(&open);
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            let mut node = tokio::net::TcpStream::connect(address).await.expect("the node");
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut node).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let client = client(through, options().connections(3));
    for _ in 0..10 {
        client.report(&call(1)).await.expect("a receipt");
    }
    drop(client);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if connected.load(Ordering::SeqCst) == 0 {
            return;
        }
    }
    panic!("{} are still open", connected.load(Ordering::SeqCst));
}
