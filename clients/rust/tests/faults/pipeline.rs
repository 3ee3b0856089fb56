//! Windows, ids, deadlines, and calls that share a write or a frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_client::codec::{Operation, Request};
use tollgate_client::{Application, Away, Call, Coalesce, Durability, Error};

use crate::call;
use crate::fake::{Greeting, Peer, client, healthy, listen, options};

#[tokio::test]
async fn each_caller_gets_its_own_answer() {
    for coalesce in [Coalesce::Frames, Coalesce::Batches] {
        let (address, _) = healthy().await;
        let client = client(address, options().coalesce(coalesce).connections(2));
        let tasks: Vec<_> = (1..500)
            .map(|amount| {
                let client = client.clone();
                tokio::spawn(async move {
                    let verdict = client.authrep(&call(amount)).await.expect("a decision");
                    assert_eq!(verdict.decision().expect("the node's").catalog_version, amount);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("its own answer");
        }
        let counters = client.counters();
        assert!(counters.writes < 250, "calls that wait share a write: {counters:?}");
        if coalesce == Coalesce::Batches {
            assert!(counters.frames < 250, "and a frame: {counters:?}");
        }
    }
}

#[tokio::test]
async fn the_window_is_never_exceeded_and_used_up() {
    let (most, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, wrong) = (Arc::clone(&most), Arc::clone(&broken));
    let address = listen(move |_, stream| {
        let (seen, wrong) = (Arc::clone(&seen), Arc::clone(&wrong));
        async move {
            let greeting = Greeting { window: 4, ..Greeting::default() };
            let Some(mut peer) = Peer::greet(stream, greeting).await else { return };
            let mut open = Vec::new();
            loop {
                // As long as something comes nothing is answered.
                match tokio::time::timeout(Duration::from_millis(20), peer.read()).await {
                    Ok(Some(frame)) => open.push(frame),
                    Ok(None) => return,
                    Err(_) => {
                        seen.fetch_max(open.len(), Ordering::SeqCst);
                        wrong.fetch_add(usize::from(open.len() > 4), Ordering::SeqCst);
                        for frame in open.drain(..).rev() {
                            peer.answer(&frame).await;
                        }
                    }
                }
            }
        }
    })
    .await;
    let client = client(address, options());
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.report(&call(1)).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task").expect("a receipt");
    }
    assert_eq!((most.load(Ordering::SeqCst), broken.load(Ordering::SeqCst)), (4, 0));
}

#[tokio::test]
async fn a_call_that_is_given_up_keeps_its_place_until_its_answer_comes_and_no_longer() {
    let address = listen(|_, stream| async move {
        let greeting = Greeting { window: 2, ..Greeting::default() };
        let Some(mut peer) = Peer::greet(stream, greeting).await else { return };
        let (Some(first), Some(second)) = (peer.read().await, peer.read().await) else { return };
        assert_ne!(first.head.id, second.head.id);
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.answer(&first).await;
        peer.answer(&second).await;
        let mut seen = 0;
        while let Some(frame) = peer.read().await {
            let Ok(Request::Report(call)) = Request::decode(frame.head.operation, &frame.body) else {
                panic!("{frame:?}")
            };
            assert_eq!(call.fields.usage[0].amount, 3, "what was given up before it was sent is not sent");
            assert!(frame.head.id != first.head.id && frame.head.id != second.head.id);
            seen += 1;
            assert!(seen <= 10);
            peer.answer(&frame).await;
        }
    })
    .await;
    let client = client(address, options());
    client.ready(Duration::from_secs(5)).await.expect("a connection");
    let (soon, later) = (Duration::from_millis(50), Duration::from_millis(150));
    let given_up = |amount, deadline| {
        let client = client.clone();
        async move { client.report(&call(amount).deadline(deadline)).await.expect_err("no answer") }
    };
    let (first, second) = tokio::join!(given_up(1, soon), given_up(1, soon));
    assert!(first.may_have_counted() && second.may_have_counted());
    let third = given_up(2, later).await;
    assert!(
        matches!(third, Error::Away(Away::NotSent)) && !third.may_have_counted(),
        "the window is full: {third}"
    );
    for _ in 0..10 {
        client.report(&call(3)).await.expect("a receipt");
    }
    assert_eq!(client.counters().connections, 1);
}

#[tokio::test]
async fn batches_never_mix_what_is_durable_with_what_is_not() {
    let frames = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&frames);
    let address = listen(move |_, stream| {
        let kept = Arc::clone(&kept);
        async move {
            let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
            // Lets calls gather behind the first one.
            tokio::time::sleep(Duration::from_millis(100)).await;
            while let Some(frame) = peer.read().await {
                kept.lock().expect("the frames").push(frame.clone());
                peer.answer(&frame).await;
            }
        }
    })
    .await;
    let client = client(address, options().coalesce(Coalesce::Batches));
    let mut tasks = Vec::new();
    for number in 0..80u64 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            match number % 4 {
                0 => client.report(&call(1)).await.map(|_| ()),
                1 => client.authrep(&call(1)).await.map(|_| ()),
                2 => client.authrep(&call(1).durability(Durability::Durable)).await.map(|_| ()),
                _ => client.report(&call(1).durability(Durability::Interval)).await.map(|_| ()),
            }
        }));
    }
    for task in tasks {
        task.await.expect("a task").expect("an answer");
    }
    let (mut calls, mut batches) = (0, 0);
    for frame in frames.lock().expect("the frames").iter() {
        let Ok(Request::Batch(batch)) = Request::decode(frame.head.operation, &frame.body) else {
            calls += 1;
            continue;
        };
        batches += 1;
        calls += batch.items.len();
        let report = Operation::Report.number();
        let reports = batch.items.iter().filter(|item| item.operation == report).count();
        match frame.head.flags {
            0x04 => assert_eq!(reports, 0, "durable authreps"),
            0x08 => assert_eq!(reports, batch.items.len(), "interval reports"),
            0 => assert!(reports == 0 || reports == batch.items.len(), "as usual, and of one kind"),
            other => panic!("flags {other:#x}"),
        }
        assert!(batch.items.iter().all(|item| item.flags == 0));
    }
    assert!(calls == 80 && batches >= 4, "{calls} calls, {batches} batches");
}

#[tokio::test]
async fn a_quiet_connection_is_kept_alive() {
    let pings = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&pings);
    let address = listen(move |_, stream| {
        let seen = Arc::clone(&seen);
        async move {
            let greeting = Greeting { idle_ms: 900, ..Greeting::default() };
            let Some(mut peer) = Peer::greet(stream, greeting).await else { return };
            loop {
                match tokio::time::timeout(Duration::from_millis(900), peer.read()).await {
                    Ok(Some(frame)) => {
                        seen.fetch_add(
                            usize::from(frame.head.operation == Operation::Ping.number()),
                            Ordering::SeqCst,
                        );
                        peer.answer(&frame).await;
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        }
    })
    .await;
    let client = client(address, options());
    client.ready(Duration::from_secs(5)).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    client.report(&call(1)).await.expect("a receipt");
    assert_eq!(client.counters().connections, 1);
    assert!(pings.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_call_that_fits_no_frame_is_refused_here() {
    let (address, answered) = healthy().await;
    let client = client(address, options().frame_max(4096));
    let long = Call::new(&Application::user_key("k".repeat(4090))).usage("hits", 1);
    assert!(matches!(client.authrep(&long).await, Err(Error::Call(_))));
    let longer = Call::new(&Application::user_key("k".repeat(70_000))).usage("hits", 1);
    assert!(matches!(client.authrep(&longer).await, Err(Error::Call(_))));
    assert_eq!(answered.load(Ordering::SeqCst), 0);
    assert!(client.authrep(&call(1)).await.is_ok());
}
