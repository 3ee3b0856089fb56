//! Restarts, crashes and hand-overs: what was answered is counted, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tollgate_client::{Call, Client, Durability, Options, Period};

use crate::node::{Node, application};

/// What a crowd of callers was told.
#[derive(Default)]
struct Told {
    counted: AtomicU64,
    perhaps: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

impl Told {
    fn read(&self) -> (u64, u64, u64) {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (get(&self.counted), get(&self.perhaps), get(&self.failed))
    }
}

/// Reports one hit after the other, until it is told to stop.
async fn report(client: Client, durability: Durability, told: Arc<Told>) {
    let call = Call::new(&application(0)).usage("hits", 1).durability(durability);
    while !told.stop.load(Ordering::Relaxed) {
        let counts = match client.report(&call).await {
            Ok(_) => &told.counted,
            Err(error) if error.may_have_counted() => &told.perhaps,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                &told.failed
            }
        };
        counts.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs callers while `trouble` happens, and compares what they were told with what is counted.
async fn count_through(
    node: Node,
    durability: Durability,
    options: Options,
    trouble: impl FnOnce(&mut Node) + Send + 'static,
) -> (Client, Arc<Told>) {
    node.set_up(1 << 40, 1);
    let client = node.client(options);
    client.ready(Duration::from_secs(10)).await.expect("a connection");
    let told = Arc::new(Told::default());
    let tasks: Vec<_> =
        (0..16).map(|_| tokio::spawn(report(client.clone(), durability, Arc::clone(&told)))).collect();
    let mut node = node;
    let node = tokio::task::spawn_blocking(move || {
        trouble(&mut node);
        node
    })
    .await
    .expect("the trouble is over");
    tokio::time::sleep(Duration::from_millis(300)).await;
    told.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("a caller");
    }
    let standing = client.query(&application(0), &["hits"]).await.expect("a standing");
    let (counted, perhaps, failed) = told.read();
    let found = standing.count("hits", Period::Eternity);
    eprintln!("{counted} told as counted, {perhaps} perhaps, {failed} not; {found} found");
    assert!(counted > 100, "{counted}");
    assert!(
        (counted..=counted + perhaps).contains(&found),
        "{counted} to {} and not {found}",
        counted + perhaps
    );
    drop(node);
    (client, told)
}

fn pause() {
    std::thread::sleep(Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_counted_once_through_restarts() {
    for durability in [Durability::Durable, Durability::Interval] {
        let Some(node) = Node::start(&[]) else { return };
        let restarts = |node: &mut Node| {
            for _ in 0..3 {
                pause();
                node.restart();
            }
        };
        let (client, _) = count_through(node, durability, Options::default(), restarts).await;
        assert!(client.counters().connections >= 4, "{:?}", client.counters());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_as_durable_is_counted_once_through_crashes() {
    let Some(node) = Node::start(&[]) else { return };
    let crashes = |node: &mut Node| {
        for _ in 0..3 {
            pause();
            node.crash();
        }
    };
    count_through(node, Durability::Durable, Options::default(), crashes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_when_another_process_takes_over() {
    let Some(node) = Node::start(&[]) else { return };
    let hand_overs = |node: &mut Node| {
        for _ in 0..4 {
            pause();
            node.hand_over();
        }
    };
    // A successor reads the data before it serves: calls wait for it.
    let patient = Options::default().away_after(Duration::from_secs(20)).deadline(Duration::from_secs(20));
    let (client, told) = count_through(node, Durability::Usual, patient, hand_overs).await;
    let (_, perhaps, failed) = told.read();
    assert_eq!((perhaps, failed), (0, 0), "{:?}", client.counters());
    assert!(client.counters().goodbyes >= 4, "{:?}", client.counters());
}
