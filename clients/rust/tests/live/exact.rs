//! A limit of N admits exactly N, whoever asks, however many at a time, and in whatever form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate_client::{Batch, Call, Client, Coalesce, Item, Options, Period};

use crate::node::{Node, application};

const LIMIT: u64 = 2_000;
const APPLICATIONS: usize = 2;

/// Asks for an application until it is denied a few times, in one of several forms.
async fn ask(client: Client, number: usize, form: usize, admitted: Arc<AtomicU64>) {
    let call = Call::new(&application(number)).usage("hits", 1);
    let binding = client.bind(&application(number), ["hits"]).await.expect("a binding");
    let mut denied = 0;
    while denied < 5 {
        let (yes, no) = match form % 3 {
            0 => one(&client, &call).await,
            1 => one(&client, &Call::bound(&binding).usage("hits", 1)).await,
            _ => {
                let batch = (0..7).fold(Batch::new(), |batch, _| batch.authrep(call.clone()));
                let outcome = client.batch(&batch).await.expect("an outcome");
                let yes =
                    outcome.items.iter().filter(|item| item.as_ref().is_ok_and(Item::allowed)).count() as u64;
                (yes, 7 - yes)
            }
        };
        admitted.fetch_add(yes, Ordering::Relaxed);
        denied += no;
    }
}

async fn one(client: &Client, call: &Call) -> (u64, u64) {
    let verdict = client.authrep(call).await.expect("a verdict");
    assert!(verdict.decision().is_some(), "{verdict:?}");
    if verdict.allowed() { (1, 0) } else { (0, 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_admits_exactly_as_much_as_it_says() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(LIMIT, APPLICATIONS);
    let patient = || Options::default().deadline(Duration::from_secs(20));
    let clients = [
        node.client(patient()),
        node.client(patient().bindings_max(0).connections(4)),
        node.client(patient().coalesce(Coalesce::Batches).connections(1)),
        node.local_client(patient()),
        node.local_client(patient().coalesce(Coalesce::Batches).window(3)),
    ];
    let admitted: Vec<_> = (0..APPLICATIONS).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let mut tasks = Vec::new();
    for (at, client) in clients.iter().enumerate() {
        for task in 0..24 {
            let number = (at + task) % APPLICATIONS;
            tasks.push(tokio::spawn(ask(client.clone(), number, task, Arc::clone(&admitted[number]))));
        }
    }
    for task in tasks {
        task.await.expect("no task failed");
    }
    for (number, admitted) in admitted.iter().enumerate() {
        let standing = clients[0].query(&application(number), &["hits"]).await.expect("a standing");
        assert_eq!(admitted.load(Ordering::Relaxed), LIMIT);
        assert_eq!(standing.count("hits", Period::Eternity), LIMIT);
    }
}
