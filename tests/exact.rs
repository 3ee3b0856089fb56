//! Exactness over HTTP: 8 threads with 32 connections each against one application.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use support::{Client, config};
use tollgate::listener::system_clock;
use tollgate::model::catalog::Key;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::id::{ApplicationId, MetricSlot, TenantId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::Node;

const THREADS: usize = 8;
const CONNECTIONS: usize = 32;
const CALLS: usize = 24;

/// Limits on several periods, on a metric and its parent; which of them binds depends on the test.
fn create(draft: &mut Draft<'_>, search_max: u64, hits_max: u64) -> ApplicationId {
    let tenant = TenantId(draft.find(Key::ProviderKey("p")).unwrap_or_default());
    let tenant = if tenant.0 == 0 { draft.create_tenant("t", "p").unwrap() } else { tenant };
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some("s"), name: "s", backend_version };
    let service = draft.create_service(&new).unwrap();
    draft.edit_service(service, |it| it.tokens.push(Secret::new("tok"))).unwrap();
    let hits = draft.create_metric(service, "hits", None).unwrap();
    let search = draft.create_metric(service, "search", Some(hits)).unwrap();
    let plan = draft.create_plan(service, None, "Basic").unwrap();
    // A test may run across the end of a minute or an hour: those limits are far away, and the binding ones last.
    for (metric, period, max) in [
        (hits, Period::Minute, 1_000_000),
        (search, Period::Hour, 1_000_000),
        (hits, Period::Eternity, hits_max),
        (search, Period::Eternity, search_max),
        (search, Period::Year, search_max + 100_000),
    ] {
        draft.set_limit(plan, metric, period, max).unwrap();
    }
    let new = NewApplication { service, account: None, app_id: "a", name: "a", plan };
    let application = draft.create_application(&new).unwrap();
    draft.edit_application(application, |it| it.user_keys.push(Secret::new("uk"))).unwrap();
    application
}

fn total(node: &Node, application: ApplicationId, slot: u32) -> u64 {
    let image = node.engine().counters_of(application, UnixMillis(0)).unwrap();
    let cell = image.cells.iter().find(|cell| cell.slot == MetricSlot(slot));
    cell.map_or(0, |cell| cell.counts[Period::Eternity as usize])
}

/// Runs `call` on every connection, `CALLS` times; returns how many were authorized.
fn storm(node: &Node, call: impl Fn(&mut Client, usize) -> bool + Sync) -> u64 {
    let authorized = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (call, authorized) = (&call, &authorized);
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(node.http)).collect();
                for round in 0..CALLS {
                    for client in &mut clients {
                        let ok = call(client, thread + round);
                        authorized.fetch_add(u64::from(ok), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    authorized.load(Ordering::Relaxed)
}

const CREDENTIALS: &str = "service_id=s&service_token=tok&user_key=uk";

fn authrep(client: &mut Client, metric: &str) -> bool {
    let answer = client.get(&format!("/transactions/authrep.xml?{CREDENTIALS}&usage%5B{metric}%5D=1"));
    assert!(answer.status == 200 || answer.status == 409, "{answer:?}");
    answer.status == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_authreps_admit_exactly_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&config(dir.path()), system_clock()).await.unwrap();
    let (application, _) = node.engine().change(|draft| Ok(create(draft, 1500, 4000))).unwrap();
    let (authorized, node) = tokio::task::spawn_blocking(move || {
        // Both metrics count for the parent, whose limit binds.
        let admitted =
            storm(&node, |client, turn| authrep(client, if turn % 2 == 0 { "hits" } else { "search" }));
        (admitted, node)
    })
    .await
    .unwrap();
    assert_eq!(authorized, 4000);
    assert_eq!(total(&node, application, 0), 4000);
    assert_eq!(total(&node, application, 1), 1500);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_concurrent_reports_the_total_is_exact_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&config(dir.path()), system_clock()).await.unwrap();
    let (application, _) = node.engine().change(|draft| Ok(create(draft, 1_000_000, 1_000_000))).unwrap();
    let (reported, authorized) = (AtomicU64::new(0), AtomicU64::new(0));
    let counts = tokio::task::spawn_blocking(move || {
        let transactions = "transactions[0][user_key]=uk&transactions[0][usage][search]=2\
             &transactions[1][user_key]=uk&transactions[1][usage][hits]=3";
        storm(&node, |client, turn| {
            if turn % 8 == 0 {
                let target = "/transactions.xml?service_id=s&service_token=tok";
                assert_eq!(client.try_post(target, transactions).unwrap().status, 202);
                reported.fetch_add(1, Ordering::Relaxed);
                false
            } else {
                assert!(authrep(client, "hits"));
                authorized.fetch_add(1, Ordering::Relaxed);
                true
            }
        });
        (node, reported.into_inner(), authorized.into_inner())
    });
    let (node, reported, authorized) = counts.await.unwrap();
    assert_eq!(reported + authorized, (THREADS * CONNECTIONS * CALLS) as u64);
    assert_eq!(total(&node, application, 0), reported * 5 + authorized);
    assert_eq!(total(&node, application, 1), reported * 2);
    node.stop().await.unwrap();
    let node = Node::start(&config(dir.path()), system_clock()).await.unwrap();
    assert_eq!(total(&node, application, 0), reported * 5 + authorized);
    node.stop().await.unwrap();
}
