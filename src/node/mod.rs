//! Assembly: configuration -> data directory -> recovery -> engine -> listeners -> drain. Only calls constructors.
//!
//! Stopping goes the other way round: listeners drain, the checkpointer ends, the flusher writes a last time.

mod checkpointer;
mod data_dir;
mod listeners;
mod recovery;
mod sample;
mod telemetry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::{Engine, NotDurable};
use crate::http::bodies::Bodies;
use crate::http::guesses::Guesses;
use crate::http::tls::{self, TlsError};
use crate::http::{self, Clock, Dialect, Health, Routes};
use crate::journal::JournalError;
use checkpointer::{Checkpointer, Last};
use data_dir::DataDir;
pub use data_dir::DataDirError;
use listeners::{certificates, limits, listen};
pub use recovery::RecoveryError;
pub use sample::Sample;

/// Why a node did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave something else that is needed no chance.
    #[error("cannot start {what}: {source}")]
    System {
        /// What was to be started.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The last flush failed.
    #[error("stopped, but the last usage could not be written: {0}")]
    LastFlush(#[from] JournalError),
}

/// A running node. Dropping it without [`Node::stop`] leaves threads behind: fit for a process that ends.
pub struct Node {
    engine: Arc<Engine>,
    /// Where the Service Management API is served.
    pub http: SocketAddr,
    /// Where telemetry is served, if not there.
    pub admin: Option<SocketAddr>,
    /// What was created, if the data directory was empty.
    pub sample: Option<Sample>,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
    tasks: TaskTracker,
    flusher: JoinHandle<Result<(), JournalError>>,
    checkpointer: Checkpointer,
    /// Keeps other nodes out until the last thread is done.
    data_dir: DataDir,
}

impl Node {
    /// Starts a node. Must run inside a multi-threaded runtime. When this returns, it answers.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is left running.
    pub async fn start(config: &Config, clock: Clock) -> Result<Node, NodeError> {
        let metrics = telemetry::recorder();
        let http_tls = certificates(config.listeners.http_tls.as_ref())?;
        let admin_tls = certificates(config.listeners.admin_tls.as_ref())?;
        let data_dir = DataDir::open(&config.data_dir)?;
        // Before recovery, which may take a while: a busy address should not.
        let http = listen(config.http)?;
        let admin = config.admin.map(listen).transpose()?;

        let recovered = recovery::recover(&data_dir, config, clock())?;
        let engine = Arc::new(recovered.engine);
        let wall = clock();
        let mut last = Last { begin: recovered.checkpoint, generation: recovered.generation };
        if recovered.clock_set_back {
            // Before anything is counted: a replay would go through the time that was taken back.
            let settle = || engine.flush(wall).map_err(|_| NotDurable);
            let root = data_dir.checkpoints();
            last = checkpointer::checkpoint(&engine, &root, last.generation, &clock, settle, || false)
                .map_err(|error| {
                    NodeError::system("from the clock's time", std::io::Error::other(error.to_string()))
                })?;
        }
        let sample = sample::create_if_empty(&engine, wall)?;
        let checkpointer = Checkpointer::start(&engine, &data_dir, last, config, &clock)
            .map_err(|source| NodeError::system("the checkpointer", source))?;
        let flusher = match spawn_flusher(&engine, &clock) {
            Ok(flusher) => flusher,
            Err(source) => {
                checkpointer.stop();
                return Err(NodeError::system("the flusher", source));
            }
        };

        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let readiness = telemetry::readiness(Arc::clone(&engine), shutdown.clone());
        let layer = Arc::new(http::Telemetry::default());
        // Of the whole node, not of one listener.
        let (bodies, guesses) = (Arc::new(Bodies::default()), Arc::new(Guesses::new(false)));
        let body_timeout = config.listeners.body_timeout;
        let dialect = Dialect::new(Arc::clone(&engine), clock.clone(), Arc::clone(&layer), body_timeout)
            .with_budgets(Arc::clone(&bodies), Arc::clone(&guesses));
        let health = Health::new(readiness);
        let with_metrics = health.clone().with_metrics(metrics.clone(), Arc::clone(&layer));
        let data = Routes::data(dialect, if admin.is_none() { with_metrics.clone() } else { health });
        let (http, http_address) = http;
        let serve = |listener, routes, tls: &Option<_>| {
            let limits = limits(config, tls.clone());
            http::serve(listener, Arc::new(routes), Arc::clone(&layer), limits, shutdown.clone())
        };
        tasks.spawn(serve(http, data, &http_tls));
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = admin {
            tasks.spawn(serve(listener, Routes::admin(with_metrics), &admin_tls));
        }
        let reload = Arc::new(Notify::new());
        let watched: Vec<_> = http_tls.into_iter().chain(admin_tls).collect();
        if !watched.is_empty() {
            tasks.spawn(tls::watch(watched, Arc::clone(&reload), shutdown.clone()));
        }
        tasks.spawn(telemetry::publish(Arc::clone(&engine), metrics, shutdown.clone()));
        tasks.close();
        Ok(Node {
            engine,
            http: http_address,
            admin: admin_address,
            sample,
            shutdown,
            reload,
            tasks,
            flusher,
            checkpointer,
            data_dir,
        })
    }

    /// The engine, for plugins and tests.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Reads certificates again, without waiting until their files are looked at next. What cannot be used is logged,
    /// and the old stays.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Stops: no new connections, what is in flight is answered, everything counted is on disk. Ends within the
    /// configured deadline and the time that the disk takes for one flush.
    ///
    /// # Errors
    /// The last flush failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.shutdown.cancel();
        self.tasks.wait().await;
        let Node { engine, flusher, checkpointer, data_dir, .. } = self;
        let stopped = tokio::task::spawn_blocking(move || {
            checkpointer.stop();
            engine.stop_flusher();
            let flushed = flusher.join();
            drop(data_dir);
            flushed
        });
        match stopped.await {
            Ok(Ok(flushed)) => Ok(flushed?),
            _ => Err(NodeError::system("the last flush", std::io::Error::other("the flusher panicked"))),
        }
    }
}

/// The runtime that a node runs in: a worker per core.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn spawn_flusher(
    engine: &Arc<Engine>,
    clock: &Clock,
) -> std::io::Result<JoinHandle<Result<(), JournalError>>> {
    let (engine, clock) = (Arc::clone(engine), clock.clone());
    let errors = metrics::counter!("tollgate_flush_errors_total");
    let run = move || {
        engine.run_flusher(
            || clock(),
            |error| {
                errors.increment(1);
                tracing::error!(%error, "usage cannot be written, will try again");
            },
        )
    };
    std::thread::Builder::new().name("flusher".into()).spawn(run)
}

impl NodeError {
    fn system(what: &'static str, source: std::io::Error) -> NodeError {
        NodeError::System { what, source }
    }
}
