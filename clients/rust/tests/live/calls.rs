//! Each call once, and what it says.

use std::time::Duration;

use tollgate_client::codec::{NEVER, Status, features};
use tollgate_client::{
    Access, Address, Application, Away, Batch, Call, Client, ConnectError, Durability, Error, Item, Options,
    Period, Reason, Reserved, Settled,
};

use crate::node::{Node, SERVICE, application};

fn hits(number: usize, amount: u64) -> Call {
    Call::new(&application(number)).usage("hits", amount)
}

async fn counted(client: &Client, number: usize) -> u64 {
    client.query(&application(number), &["hits"]).await.expect("a standing").count("hits", Period::Eternity)
}

#[tokio::test]
async fn calls_decide_count_and_tell() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(10, 3);
    let client = node.client(Options::default());
    let session = client.ready(Duration::from_secs(10)).await.expect("a connection");
    assert!(session.node != 0 && session.features & features::DURABLE != 0, "{session:?}");

    let verdict = client.authrep(&hits(0, 4)).await.expect("a decision");
    let decision = verdict.decision().expect("the node's").clone();
    let limit = decision.limit.expect("a limit");
    assert!(decision.allowed && decision.counted);
    assert_eq!((limit.maximum, limit.count, decision.remaining, limit.window_ends_ms), (10, 4, 1, NEVER));

    let no = client.authrep(&hits(0, 7)).await.expect("a decision");
    let no = no.decision().expect("the node's");
    assert_eq!((no.allowed, no.counted, no.reason), (false, false, Some(Reason::LimitsExceeded)));
    assert_eq!(no.retry_after(), None, "waiting does not help against eternity");

    assert!(client.check(&hits(0, 6)).await.expect("a decision").allowed());
    assert!(!client.check(&hits(0, 7)).await.expect("a decision").allowed());
    assert!(
        client
            .authorize(&hits(0, 6).with_limits())
            .await
            .expect("a decision")
            .decision()
            .expect("the node's")
            .limits
            .len()
            == 1
    );
    let receipt = client.report(&hits(0, 20)).await.expect("a receipt");
    assert!(receipt.on_disk, "reports are durable");
    let receipt = client.report(&hits(0, 1).durability(Durability::Interval)).await.expect("a receipt");
    assert!(!receipt.on_disk);
    client.authrep(&hits(1, 2).durability(Durability::Durable)).await.expect("a decision");
    assert_eq!((counted(&client, 0).await, counted(&client, 1).await), (25, 2));

    let refused = client.authrep(&Call::new(&application(0)).usage("nothing", 1)).await;
    assert!(
        matches!(&refused, Err(Error::Refused(refusal)) if refusal.status == Status::METRIC_INVALID),
        "{refused:?}"
    );
    let refused = client.report(&Call::new(&Application::user_key("nobody")).usage("hits", 1)).await;
    assert!(matches!(&refused, Err(Error::Refused(refusal)) if refusal.status == Status::USER_KEY_INVALID));
    assert!(client.ping().await.expect("a pong").time_us > 1_700_000_000_000_000);
    let stats = client.stats().await;
    assert!(matches!(&stats, Err(Error::Refused(refusal)) if refusal.status == Status::METHOD_NOT_ALLOWED));
    client.close().await;
}

#[tokio::test]
async fn the_node_secret_opens_all_services_over_the_unix_socket() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(10, 1);
    let client = node.local_client(Options::default());
    client.ready(Duration::from_secs(10)).await.expect("a connection");
    assert!(client.authrep(&hits(0, 1)).await.expect("a decision").allowed());
    let unnamed = Call::new(&Application::user_key("key-0")).usage("hits", 1);
    let refused = client.authrep(&unnamed).await;
    assert!(matches!(&refused, Err(Error::Refused(refusal)) if refusal.status == Status::SERVICE_ID_MISSING));
    let stats = client.stats().await.expect("stats");
    assert!(stats.connections >= 1 && stats.decisions >= 1 && stats.applications >= 1, "{stats:?}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_tried_in_a_hurry() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(10, 1);
    let access = Access::ServiceToken { service: SERVICE.to_owned(), token: "wrong".to_owned() };
    let options = Options::default().connections(1);
    let client = Client::new(Address::Tcp(node.tcp.clone()), access, options).expect("possible options");
    let error = client.ready(Duration::from_secs(10)).await.expect_err("no connection");
    let Error::Away(Away::NoConnection(Some(why))) = error else { panic!("{error}") };
    assert!(
        matches!(&*why, ConnectError::Refused(refusal) if refusal.status == Status::PROOF_INVALID),
        "{why}"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.counters().failures, 1);
}

#[tokio::test]
async fn batches_are_all_or_none_if_they_are_to_be() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(10, 3);
    let client = node.client(Options::default());
    let session = client.ready(Duration::from_secs(10)).await.expect("a connection");
    let batch = Batch::new().authrep(hits(0, 6)).authrep(hits(0, 6)).report(hits(1, 3)).check(hits(1, 8));
    let outcome = client.batch(&batch).await.expect("an outcome");
    let allowed: Vec<_> = outcome.items.iter().map(|item| item.as_ref().is_ok_and(Item::allowed)).collect();
    assert_eq!((outcome.done, allowed), (true, vec![true, false, true, false]));
    assert!(session.features & features::BATCH_ALL != 0, "{session:?}");
    let none =
        client.batch(&Batch::new().all().authrep(hits(2, 6)).authrep(hits(0, 6))).await.expect("an outcome");
    assert!(!none.done && counted(&client, 2).await == 0);
    assert!(matches!(&none.items[0], Err(refusal) if refusal.status == Status::NOT_DONE), "{none:?}");
    let all =
        client.batch(&Batch::new().all().authrep(hits(2, 6)).authrep(hits(1, 1))).await.expect("an outcome");
    assert!(all.done && counted(&client, 2).await == 6 && counted(&client, 1).await == 4, "{all:?}");
    let mixed =
        client.batch(&Batch::new().all().authrep(hits(2, 1)).report(hits(0, 6))).await.expect("an outcome");
    assert!(!mixed.done && counted(&client, 2).await == 6 && counted(&client, 0).await == 6, "{mixed:?}");
    assert!(matches!(&mixed.items[1], Err(refusal) if refusal.status == Status::OUT_OF_PLACE), "{mixed:?}");
}

#[tokio::test]
async fn reservations_hold_until_they_are_settled() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(10, 1);
    let client = node.client(Options::default());
    let session = client.ready(Duration::from_secs(10)).await.expect("a connection");
    assert!(session.features & features::RESERVATIONS != 0, "{session:?}");
    let ttl = Duration::from_secs(60);
    let Reserved::Held(mut first) = client.reserve(&hits(0, 8), ttl).await.expect("a verdict") else {
        panic!("denied")
    };
    assert!(matches!(client.reserve(&hits(0, 3), ttl).await, Ok(Reserved::Denied(_))));
    assert_eq!(first.commit([("hits", 2)]).await.expect("settled"), Settled::Done);
    let Reserved::Held(mut second) = client.reserve(&hits(0, 8), ttl).await.expect("a verdict") else {
        panic!("denied")
    };
    assert_eq!(second.commit([("hits", 9)]).await.expect("settled"), Settled::Overrun);
    assert_eq!(counted(&client, 0).await, 11);
    let standing = client.query(&application(0), &[]).await.expect("a standing");
    assert_eq!(standing.open_reservations, 0);
}

#[tokio::test]
async fn a_handle_that_ended_is_replaced_without_the_caller() {
    let Some(node) = Node::start(&[]) else { return };
    node.set_up(1_000, 1);
    let client = node.client(Options::default());
    let binding = client.bind(&application(0), ["hits"]).await.expect("a binding");
    let call = Call::bound(&binding).usage("hits", 1);
    assert!(client.authrep(&call).await.expect("a decision").allowed());
    // Another key: credentials changed, so the handle ends.
    let path = format!("/internal/services/{SERVICE}/applications/app-0/key/another");
    node.call("PUT", &path, &serde_json::Value::Null);
    assert!(client.authrep(&call).await.expect("a decision").allowed());
    assert_eq!(counted(&client, 0).await, 2);
    // The key that was bound is gone: that is for the caller to know.
    node.call(
        "DELETE",
        &format!("/internal/services/{SERVICE}/applications/key/key-0"),
        &serde_json::Value::Null,
    );
    let refused = client.authrep(&call).await;
    assert!(
        matches!(&refused, Err(Error::Refused(refusal)) if refusal.status == Status::USER_KEY_INVALID),
        "{refused:?}"
    );
}
