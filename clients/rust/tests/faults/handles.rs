//! Handles that end: bound again, once, and nothing counted twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_client::codec::{Answer, Bound, Operation, Reason, Request, Status};
use tollgate_client::{Application, Batch, Call, Error};

use crate::call;
use crate::fake::{Greeting, Peer, client, listen, options};

/// What a node has seen of handles.
#[derive(Default)]
struct Seen {
    binds: AtomicUsize,
    by_handle: AtomicUsize,
    by_fields: AtomicUsize,
    stale: AtomicUsize,
}

/// A node whose connections are of the node that `node_of` says, and whose handles are good for `good_for` calls.
async fn binding_node(
    good_for: usize,
    node_of: fn(usize) -> u64,
    calls_per_connection: usize,
) -> (std::net::SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    let address = listen(move |number, stream| {
        let seen = Arc::clone(&shared);
        async move {
            let greeting = Greeting { node: node_of(number), ..Greeting::default() };
            let Some(mut peer) = Peer::greet(stream, greeting).await else { return };
            let (mut handle, mut left) = (0u64, 0);
            for _ in 0..calls_per_connection {
                let Some(frame) = peer.read().await else { return };
                match Request::decode(frame.head.operation, &frame.body).expect("a request") {
                    Request::Bind(bind) => {
                        seen.binds.fetch_add(1, Ordering::SeqCst);
                        (handle, left) = (handle + 1, good_for);
                        let metrics = (0..bind.fields.metrics.len() as u32).collect();
                        let bound = Bound {
                            bound: true,
                            reason: None,
                            handle: node_of(number) << 32 | handle,
                            catalog_version: 1,
                            metrics,
                        };
                        peer.answer_with(&frame, Status::OK, &Answer::Bound(bound)).await;
                    }
                    Request::Authrep(call) if call.handle == 0 => {
                        seen.by_fields.fetch_add(1, Ordering::SeqCst);
                        peer.answer(&frame).await;
                    }
                    Request::Authrep(call) => {
                        assert_eq!(call.handle >> 32, node_of(number), "a handle of another node");
                        if left == 0 || call.handle != (node_of(number) << 32 | handle) {
                            seen.stale.fetch_add(1, Ordering::SeqCst);
                            peer.refuse(&frame, Status::STALE_HANDLE, 0).await;
                            continue;
                        }
                        left -= 1;
                        seen.by_handle.fetch_add(1, Ordering::SeqCst);
                        peer.answer(&frame).await;
                    }
                    _ => peer.answer(&frame).await,
                }
            }
        }
    })
    .await;
    (address, seen)
}

fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

#[tokio::test]
async fn applications_are_bound_once_and_then_called_by_handle() {
    let (address, seen) = binding_node(usize::MAX, |_| 7, usize::MAX).await;
    let client = client(address, options().bindings_max(100));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.authrep(&call(1)).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task").expect("a decision");
    }
    assert_eq!((read(&seen.binds), read(&seen.by_handle), read(&seen.by_fields)), (1, 50, 0));
}

#[tokio::test]
async fn a_stale_handle_is_replaced_unseen() {
    let (address, seen) = binding_node(3, |_| 7, usize::MAX).await;
    let client = client(address, options());
    let binding =
        client.bind(&Application::user_key("key").service("1"), ["hits", "bytes"]).await.expect("a binding");
    for _ in 0..10 {
        let call = Call::bound(&binding).usage("bytes", 5).usage("hits", 1);
        let verdict = client.authrep(&call).await.expect("a decision");
        assert_eq!(verdict.decision().expect("the node's").catalog_version, 6);
    }
    assert_eq!((read(&seen.binds), read(&seen.by_handle), read(&seen.stale)), (4, 10, 3));
}

#[tokio::test]
async fn a_handle_is_not_shown_to_another_node() {
    // A connection lasts for four requests; each is another node's. The fake asserts that no handle crosses over.
    let (address, seen) = binding_node(usize::MAX, |number| number as u64 + 1, 4).await;
    let client = client(address, options().bindings_max(100).away_after(Duration::from_secs(5)));
    for _ in 0..12 {
        client.authrep(&call(1)).await.expect("a decision");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((read(&seen.by_handle) + read(&seen.by_fields), read(&seen.stale)), (12, 0));
    assert!(read(&seen.binds) >= 4, "{}", read(&seen.binds));
}

#[tokio::test]
async fn a_batch_sends_again_only_what_was_stale() {
    let (address, _) = crate::fake::healthy().await;
    let plain = client(address, options());
    let outcome = plain.batch(&Batch::new().authrep(call(3)).report(call(1))).await.expect("an outcome");
    assert!(outcome.done && outcome.items.len() == 2 && outcome.items.iter().all(Result::is_ok));

    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        let mut batches = 0;
        while let Some(frame) = peer.read().await {
            let Ok(Request::Batch(batch)) = Request::decode(frame.head.operation, &frame.body) else {
                peer.answer(&frame).await;
                continue;
            };
            batches += 1;
            if batches == 2 {
                let Ok(Request::Authrep(call)) =
                    Request::decode(batch.items[0].operation, batch.items[0].body)
                else {
                    panic!()
                };
                assert!(batch.items.len() == 1 && call.handle == 0, "by fields, and alone");
                peer.answer(&frame).await;
                continue;
            }
            // The first item is stale, the second is done.
            let stale = [8, 0, 0, 0, 0, 0, 0, 0];
            let mut done = bytes::BytesMut::new();
            Answer::Decision(crate::fake::yes()).encode(&mut done).expect("a decision");
            let answer = Operation::Authrep.answer();
            let items = vec![
                tollgate_client::codec::BatchAnswerItem {
                    operation: answer,
                    status: Status::STALE_HANDLE,
                    body: &stale,
                },
                tollgate_client::codec::BatchAnswerItem {
                    operation: answer,
                    status: Status::OK,
                    body: &done,
                },
            ];
            let answer = Answer::Batch(tollgate_client::codec::BatchAnswer { done: true, items });
            peer.answer_with(&frame, Status::OK, &answer).await;
        }
    })
    .await;
    let client = client(address, options().bindings_max(100));
    let outcome = client.batch(&Batch::new().authrep(call(1)).authrep(call(2))).await.expect("an outcome");
    assert!(outcome.items.iter().all(|item| item.as_ref().is_ok_and(tollgate_client::Item::allowed)));
}

#[tokio::test]
async fn who_gets_no_handle_is_told_why_or_called_by_name() {
    let address = listen(|_, stream| async move {
        let Some(mut peer) = Peer::greet(stream, Greeting::default()).await else { return };
        while let Some(frame) = peer.read().await {
            if frame.head.operation != Operation::Bind.number() {
                peer.answer(&frame).await;
                continue;
            }
            let reason = Some(Reason::ApplicationKeyInvalid);
            let bound = Bound { bound: false, reason, handle: 0, catalog_version: 1, metrics: Vec::new() };
            peer.answer_with(&frame, Status::OK, &Answer::Bound(bound)).await;
        }
    })
    .await;
    let client = client(address, options().bindings_max(100));
    let application = Application::app_id_and_key("app", "wrong");
    let error = client.bind(&application, ["hits"]).await.expect_err("no binding");
    assert!(matches!(error, Error::NotBound(Reason::ApplicationKeyInvalid)), "{error}");
    for _ in 0..5 {
        assert!(client.authrep(&Call::new(&application).usage("hits", 1)).await.is_ok());
    }
    assert_eq!(client.counters().binds, 2, "it is not asked for again each time");
}
