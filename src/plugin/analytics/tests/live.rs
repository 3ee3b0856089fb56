//! History beside an engine at work.

use super::*;
use crate::engine::request::{Credentials, ReportRequest, Transaction, Usage as Used};
use crate::model::promise::Terms;

/// What an operator makes of counters is not use.
#[test]
fn counters_that_are_set_back_leave_the_history_as_it_is() {
    const NOW: u64 = 1_790_000_000_000;
    let world = World::new(1);
    let (service, application) = world.application(0, "a");
    let World { engine, shelf, .. } = &world;
    let flusher = {
        let engine = Arc::clone(engine);
        std::thread::spawn(move || engine.run_flusher(|| UnixMillis(NOW), |_| {}))
    };
    let layer = Arc::new(RwLock::new(Layer::new(1)));
    let deriver = Deriver::new(Arc::clone(engine), Arc::clone(&layer));
    let (following, thread) =
        Following::start("analytics", Arc::clone(engine), Arc::clone(shelf), deriver).unwrap();
    let analytics = Analytics { shelf: Arc::clone(shelf), layer, following };
    report(engine, service, "a", 5, NOW);
    assert!(engine.reset(application, UnixMillis(NOW)));
    report(engine, service, "a", 2, NOW);
    analytics.following().catch_up().unwrap();
    let sums = analytics.sums(Subject::Service(service), MetricSlot(0), &[0, u32::MAX]).unwrap();
    let image = engine.counters_of(application, UnixMillis(NOW)).unwrap();
    assert_eq!((sums, image.cells[0].counts[0]), (vec![7], 2));
    drop(analytics);
    thread.join().unwrap();
    engine.stop_flusher();
    flusher.join().unwrap().unwrap();
}

/// Reports so many hits of an application.
fn report(engine: &Engine, service: ServiceId, name: &str, hits: u32, at: u64) {
    let (service, hits) = (service.to_string(), hits.to_string());
    let usage = [("hits", Some(hits.as_str()))];
    let transaction = Transaction {
        app_id: Some(name),
        usage: Used::Texts(&usage),
        timestamp: Some(i64::try_from(at / 1000).unwrap()),
        ..Transaction::default()
    };
    let credentials =
        Credentials { provider_key: Some("pkey"), service_id: Some(&service), ..Credentials::default() };
    let transactions = [transaction];
    let request =
        ReportRequest { credentials, transactions: &transactions, flat_usage: false, terms: Terms::REPORT };
    engine.report(&request, UnixMillis(at)).unwrap();
}

/// Writes, and a restart, come while it is counted and read: nobody ever sees less than before, and at last all of it is there, also what was
/// reported late.
#[test]
fn who_reads_while_it_is_written_sees_each_amount_once() {
    const THREADS: u32 = 2;
    const CALLS: u32 = 400;
    const NOW: u64 = 1_790_000_000_000;
    let world = World::new(1);
    let (service, application) = world.application(0, "a");
    let flusher = {
        let engine = Arc::clone(&world.engine);
        std::thread::spawn(move || engine.run_flusher(|| UnixMillis(NOW), |_| {}))
    };
    let World { engine, shelf, .. } = &world;
    let start = || {
        let layer = Arc::new(RwLock::new(Layer::new(epoch_in(&shelf.reading().unwrap()).unwrap() + 1)));
        let deriver = Deriver::new(Arc::clone(engine), Arc::clone(&layer))
            .gathering(std::time::Duration::from_millis(3));
        let (following, thread) =
            Following::start("analytics", Arc::clone(engine), Arc::clone(shelf), deriver).unwrap();
        (Analytics { shelf: Arc::clone(shelf), layer, following }, thread)
    };
    let total = |analytics: &Analytics| {
        let bounds = [0, u32::MAX];
        let of = |subject| analytics.sums(subject, MetricSlot(0), &bounds).unwrap()[0];
        (of(Subject::Service(service)), of(Subject::Application(service, application)))
    };
    let mut seen = (0, 0);
    for round in 1..=2_u32 {
        let (analytics, thread) = start();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|worker| {
                    scope.spawn(move || {
                        for call in 0..CALLS {
                            // Every tenth twenty hours late.
                            let late = if call % 10 == 0 { 72_000_000 } else { 0 };
                            report(engine, service, "a", 1 + worker, NOW - late);
                            if call % 50 == 0 {
                                std::thread::sleep(std::time::Duration::from_millis(5));
                            }
                        }
                    })
                })
                .collect();
            while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let now = total(&analytics);
                assert!(now.0 >= seen.0 && now.1 >= seen.1, "{now:?} after {seen:?}");
                seen = now;
            }
        });
        analytics.following().catch_up().unwrap();
        let expected = i64::from(round * CALLS * (1..=THREADS).sum::<u32>());
        assert_eq!(total(&analytics), (expected, expected));
        let late = u32::try_from((NOW - 72_000_000) / 3_600_000).unwrap();
        let late = analytics.sums(Subject::Service(service), MetricSlot(0), &[late, late + 1]).unwrap();
        assert_eq!(late, [expected / 10]);
        drop(analytics);
        thread.join().unwrap();
        seen = (0, 0);
    }
    engine.stop_flusher();
    flusher.join().unwrap().unwrap();
}
