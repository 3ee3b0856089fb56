//! Telemetry of the node: the recorder, gauges published on a tick, readiness.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use crate::engine::Engine;
use crate::engine::dedup::IdNumbers;
use crate::http::{self, Readiness};
use crate::plugin::follower::Following;
use crate::tcp;

/// From 1 us, where a decision lies, to a second, where something is wrong.
const SECONDS_BUCKETS: [f64; 12] =
    [0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.001, 0.01, 0.05, 0.25, 1.0];

/// How often gauges are brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Of so many ticks is the minute after which the top applications are ranked anew.
const TICKS_PER_RANKING: u64 = 60;

/// Unflushed usage older than this makes the node degraded: what a crash would lose is more than was promised.
pub(super) const UNFLUSHED_AGE_MAX: Duration = Duration::from_millis(200);

/// Unflushed usage older than this makes it not ready: the disk hangs.
const UNFLUSHED_AGE_READY_MAX: Duration = Duration::from_secs(10);

/// The process's recorder; installed by the first node of the process.
pub(super) fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new();
        // The list is not empty, which is all that this can complain of.
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Somebody who embeds a node may have a recorder of their own; then ours stays empty.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    };
    HANDLE.get_or_init(install).clone()
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!("tollgate_info", "Always 1; the label says which version runs");
    describe_gauge!("tollgate_applications", "Applications in the catalog");
    describe_gauge!("tollgate_catalog_version", "Version of the catalog, raised by each command");
    describe_gauge!("tollgate_waiting_items", "Future-dated usage items that wait for their windows");
    describe_gauge!(
        "tollgate_unflushed_age_seconds",
        Unit::Seconds,
        "Age of the oldest usage in memory only"
    );
    describe_gauge!("tollgate_degraded", "1 while usage stays in memory longer than promised (200 ms)");
    describe_gauge!(
        "tollgate_disk_free_bytes",
        Unit::Bytes,
        "What is free for the node on the disk of its data directory"
    );
    describe_gauge!(
        "tollgate_disk_level",
        "0 room enough, 1 plugins put off writing, 2 durable requests are refused, too"
    );
    describe_gauge!("tollgate_journal_synced_sequence", "Last journal entry that is on disk");
    describe_gauge!("tollgate_idempotency_ids", "Idempotency ids that are remembered");
    describe_gauge!("tollgate_idempotency_ids_max", "The most that may be; new ones beyond are refused");
    describe_counter!("tollgate_idempotency_duplicates_total", "Repetitions that were not counted again");
    describe_counter!("tollgate_idempotency_conflicts_total", "Ids that came with another request");
    describe_counter!(
        "tollgate_idempotency_refused_total",
        "New ids and producers that were refused: no room to remember them"
    );
    describe_counter!(
        "tollgate_idempotency_too_old_total",
        "Numbers of producers that were refused: below what is remembered"
    );
    describe_gauge!("tollgate_idempotency_producers", "Producers that are remembered, 10,000 at most");
    describe_counter!("tollgate_flush_errors_total", "Flushes that failed");
    describe_counter!("tollgate_checkpoints_total", "Checkpoints made");
    describe_counter!("tollgate_checkpoint_errors_total", "Checkpoints that failed");
    describe_counter!(
        "tollgate_follower_errors_total",
        "Batches that a follower of the journal could not take in"
    );
    describe_gauge!(
        "tollgate_follower_lag_entries",
        "Journal entries on disk that a follower has not taken in"
    );
    describe_counter!(
        "tollgate_analytics_lost_total",
        "Amounts of applications that the history knows no service of"
    );
    describe_counter!(
        "tollgate_events_dropped_total",
        "Events dropped, the oldest first, at the most that are kept"
    );
    describe_counter!(
        "tollgate_integration_errors_dropped_total",
        "Integration errors that came too fast to be kept"
    );
}

/// Publishes gauges until `shutdown`, and each minute who was at the top in it.
pub(super) async fn publish(
    engine: Arc<Engine>,
    handle: PrometheusHandle,
    layers: (Arc<http::Telemetry>, Arc<tcp::Telemetry>),
    shutdown: CancellationToken,
) {
    publish_every(TICK, engine, handle, layers, shutdown).await;
}

async fn publish_every(
    tick_len: Duration,
    engine: Arc<Engine>,
    handle: PrometheusHandle,
    (layer, binary): (Arc<http::Telemetry>, Arc<tcp::Telemetry>),
    shutdown: CancellationToken,
) {
    use metrics::gauge;
    gauge!("tollgate_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let applications = gauge!("tollgate_applications");
    let version = gauge!("tollgate_catalog_version");
    let waiting = gauge!("tollgate_waiting_items");
    let age = gauge!("tollgate_unflushed_age_seconds");
    let degraded = gauge!("tollgate_degraded");
    let synced = gauge!("tollgate_journal_synced_sequence");
    let ids = IdGauges::new();
    for tick in 1_u64.. {
        let catalog = engine.catalog();
        let health = engine.flush_health();
        applications.set(catalog.applications.len() as f64);
        version.set(catalog.version as f64);
        waiting.set(engine.waiting() as f64);
        age.set(health.unflushed_age.as_secs_f64());
        degraded.set(f64::from(u8::from(health.unflushed_age > UNFLUSHED_AGE_MAX)));
        synced.set(engine.journal().synced().0 as f64);
        ids.set(engine.id_numbers());
        binary.publish();
        handle.run_upkeep();
        if tick.is_multiple_of(TICKS_PER_RANKING) {
            layer.rank(&catalog);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(tick_len) => {}
        }
    }
}

/// What is told of idempotency ids.
struct IdGauges {
    held: Gauge,
    max: Gauge,
    duplicates: Counter,
    conflicts: Counter,
    refused: Counter,
    too_old: Counter,
    producers: Gauge,
}

impl IdGauges {
    fn new() -> IdGauges {
        use metrics::{counter, gauge};
        IdGauges {
            held: gauge!("tollgate_idempotency_ids"),
            max: gauge!("tollgate_idempotency_ids_max"),
            duplicates: counter!("tollgate_idempotency_duplicates_total"),
            conflicts: counter!("tollgate_idempotency_conflicts_total"),
            refused: counter!("tollgate_idempotency_refused_total"),
            too_old: counter!("tollgate_idempotency_too_old_total"),
            producers: gauge!("tollgate_idempotency_producers"),
        }
    }

    fn set(&self, numbers: IdNumbers) {
        self.held.set(numbers.held as f64);
        self.max.set(numbers.max as f64);
        self.duplicates.absolute(numbers.duplicates);
        self.conflicts.absolute(numbers.conflicts);
        self.refused.absolute(numbers.refused);
        self.too_old.absolute(numbers.too_old);
        self.producers.set(numbers.producers as f64);
    }
}

/// Whether the node should get traffic.
pub(super) fn readiness(
    engine: Arc<Engine>,
    disk: Arc<Disk>,
    history: Arc<Following>,
    shutdown: CancellationToken,
) -> Arc<dyn Readiness> {
    Arc::new(NodeReadiness { engine, disk, history, shutdown })
}

struct NodeReadiness {
    engine: Arc<Engine>,
    disk: Arc<Disk>,
    history: Arc<Following>,
    shutdown: CancellationToken,
}

impl Readiness for NodeReadiness {
    fn reasons(&self) -> Vec<String> {
        let health = self.engine.flush_health();
        let mut reasons = Vec::new();
        if self.shutdown.is_cancelled() {
            reasons.push("stopping".to_owned());
        }
        if health.failing {
            reasons.push("the journal cannot be written: reports are refused, decisions go on".to_owned());
        }
        reasons.extend(self.disk.reason());
        if health.unflushed_age > UNFLUSHED_AGE_READY_MAX {
            let age_s = health.unflushed_age.as_secs();
            reasons.push(format!("the disk hangs: nothing has been written for {age_s} s"));
        }
        reasons
    }

    fn notes(&self) -> Vec<String> {
        let numbers = self.engine.id_numbers();
        let is_full = numbers.held >= numbers.max;
        let note = || format!("{} ids of requests are remembered: new ones are refused", numbers.held);
        let history = || "the history of usage is far behind: the journal is kept for it".to_owned();
        let history = self.history.is_far_behind().then(history);
        is_full.then(note).into_iter().chain(self.disk.note()).chain(history).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::Recovery;
    use crate::journal::{Journal, Options, Sequence};
    use crate::model::draft::{Draft, NewApplication, NewService};
    use crate::model::record::BackendVersion;
    use crate::model::time::UnixMillis;

    #[test]
    fn usage_that_stays_in_memory_shows_as_age_and_degrades() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let (journal, _) = Journal::open(dir.path(), Options::default(), Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let gauge = |name: &str| -> Option<f64> {
            let shown = handle.render();
            shown.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let shutdown = CancellationToken::new();
        let layers = (Arc::default(), Arc::default());
        let publishing = publish_every(
            Duration::from_millis(1),
            Arc::clone(&engine),
            handle.clone(),
            layers,
            shutdown.clone(),
        );
        let mut publishing = std::pin::pin!(publishing);
        metrics::with_local_recorder(&recorder, || {
            let mut until = |is_so: &dyn Fn() -> bool| {
                let began = Instant::now();
                while !is_so() {
                    assert!(began.elapsed() < Duration::from_secs(20), "{}", handle.render());
                    runtime.block_on(async {
                        let _ = tokio::time::timeout(Duration::from_millis(2), publishing.as_mut()).await;
                    });
                }
            };
            // Nobody flushes.
            until(&|| gauge("tollgate_degraded") == Some(1.0));
            assert!(gauge("tollgate_unflushed_age_seconds").unwrap() > UNFLUSHED_AGE_MAX.as_secs_f64());
            until(&|| {
                engine.flush(UnixMillis(0)).unwrap();
                gauge("tollgate_degraded") == Some(0.0)
            });
            shutdown.cancel();
        });
    }

    #[test]
    fn the_top_is_ranked_anew_each_minute() {
        assert_eq!(TICKS_PER_RANKING * TICK.as_secs(), 60);
        let dir = tempfile::tempdir().unwrap();
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let (journal, _) = Journal::open(dir.path(), Options::default(), Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
        let build = |draft: &mut Draft<'_>| {
            let tenant = draft.create_tenant("t", "key")?;
            let backend_version = BackendVersion::AppId;
            let service = draft.create_service(&NewService {
                tenant,
                external_id: None,
                name: "s",
                backend_version,
            })?;
            let plan = draft.create_plan(service, None, "p")?;
            draft.create_application(&NewApplication { service, account: None, app_id: "a", name: "a", plan })
        };
        let (application, _) = engine.change(build).unwrap();
        let layer = Arc::new(http::Telemetry::default());
        let shutdown = CancellationToken::new();
        let runtime = crate::node::runtime().unwrap();
        let tick_len = Duration::from_millis(1);
        let handle = recorder();
        runtime.spawn(publish_every(
            tick_len,
            engine,
            handle,
            (Arc::clone(&layer), Arc::default()),
            shutdown.clone(),
        ));
        let is_shown = || layer.ranked().contains(r#"application="a""#);
        let began = Instant::now();
        let until = |shown: bool| {
            while is_shown() != shown {
                assert!(began.elapsed() < Duration::from_secs(20), "shown: {}", !shown);
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        layer.note_denied(application);
        until(true);
        // The next minute has another list.
        until(false);
        shutdown.cancel();
    }
}
