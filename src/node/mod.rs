//! Assembly: configuration -> data directory -> recovery -> engine -> listeners -> drain. Only calls constructors.
//!
//! Stopping goes the other way round: listeners drain, the checkpointer ends, the flusher writes a last time.
//! Instead of stopping, a node can hand its listening sockets over to another process ([`hand_over`]).

pub mod backup;
mod checkpointer;
mod control;
pub mod counters;
mod data_dir;
mod disk;
pub mod explain;
mod front;
pub mod hand_over;
mod ids;
pub mod inspect;
mod listeners;
mod plugins;
mod recovery;
pub mod repair;
mod sample;
mod scratch;
pub mod secret;
mod start;
mod telemetry;
pub mod verify;
mod writers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::Engine;
use crate::journal::JournalError;
use crate::listener::tls::TlsError;
use crate::listener::{Clock, Departure};
use crate::plugin::alerts::Alerts;
use crate::plugin::analytics::Analytics;
use crate::plugin::keeper::KeepError;
use crate::store::ShelfError;
use control::server as control_server;
use data_dir::DataDir;
pub use data_dir::DataDirError;
use disk::Look;
use front::{Front, Sockets};
pub use hand_over::{HandOver, Successor};
use listeners::Shown;
use plugins::{Deliveries, Plugins};
pub use recovery::RecoveryError;
pub use sample::Sample;
pub use secret::SecretError;
use writers::Writers;

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
    /// A Unix socket cannot be listened on.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The node secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
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
    /// What a plugin keeps cannot be used.
    #[error("{0}; take the file from a backup, or move it away: it begins anew, without what it held")]
    Shelf(#[from] ShelfError),
    /// What a plugin records with commands is not what the journal says.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The node that runs on the directory does not hand it over.
    #[error("cannot take over from the running node: {0}")]
    HandOver(String),
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
    /// Where the binary protocol is served.
    pub tcp: Option<SocketAddr>,
    /// Where else it is.
    pub unix: Option<PathBuf>,
    /// What was created, if the data directory was empty.
    pub sample: Option<Sample>,
    shutdown: CancellationToken,
    /// For certificates, and for the node secret.
    reload: [Arc<Notify>; 2],
    tasks: TaskTracker,
    front: Front,
    departure: Departure,
    drain_deadline: Duration,
    successors: mpsc::Receiver<Successor>,
    writers: Writers,
    plugins: Plugins,
    /// Keeps other nodes out until the last thread is done.
    data_dir: DataDir,
}

impl Node {
    /// Starts a node. Must run inside a multi-threaded runtime. When this returns, it answers.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is left running.
    pub async fn start(config: &Config, clock: Clock) -> Result<Node, NodeError> {
        Node::start_on(config, clock, disk::look_at(&config.data_dir)).await
    }

    /// As [`Node::start`], on a disk of which `look` says how much is free.
    async fn start_on(config: &Config, clock: Clock, look: Look) -> Result<Node, NodeError> {
        let shown = Shown::load(&config.listeners)?;
        let data_dir = DataDir::open(&config.data_dir)?;
        // Before recovery, which may take a while: a busy address should not.
        let sockets = Sockets::open(config, Vec::new())?;
        Node::run(config, (clock, look), data_dir, sockets, shown)
    }

    /// Starts a node with the listening sockets of the one that runs on the same directory, which ends; no client
    /// notices ([`hand_over`]). If none runs, this is [`Node::start`].
    ///
    /// # Errors
    /// As there, and what keeps the other node from handing over; it goes on then.
    pub async fn take_over(config: &Config, clock: Clock) -> Result<Node, NodeError> {
        // The running node should not be bothered by a version that cannot read its data, or has no good certificate.
        data_dir::check_format(&config.data_dir)?;
        let shown = Shown::load(&config.listeners)?;
        let Some(sockets) = hand_over::take(config).await? else {
            return Node::start(config, clock).await;
        };
        let data_dir = DataDir::open_within(&config.data_dir, ENDING)?;
        Node::run(config, (clock, disk::look_at(&config.data_dir)), data_dir, sockets, shown)
    }

    /// The engine, for plugins and tests.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The events, for tests.
    #[must_use]
    pub fn alerts(&self) -> &Arc<Alerts> {
        &self.plugins.alerts
    }

    /// The history of usage, for tests.
    #[must_use]
    pub fn analytics(&self) -> &Arc<Analytics> {
        &self.plugins.analytics
    }

    /// Reads certificates and the node secret again, without waiting until their files are looked at next. What cannot
    /// be used is logged, and the old stays.
    pub fn reload(&self) {
        self.reload.iter().for_each(|it| it.notify_one());
    }

    /// Stops: no new connections, what is in flight is answered, everything counted is on disk. Ends within the
    /// configured deadline and the time that the disk takes for one flush.
    ///
    /// # Errors
    /// The last flush failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.front.unlink();
        self.end().await
    }

    /// As [`Node::stop`], and leaves what another process goes on with.
    async fn end(mut self) -> Result<(), NodeError> {
        self.shutdown.cancel();
        // What became of calls that are under way is still put down. They end in a few seconds, meanwhile others are answered.
        let deliveries = self.plugins.deliveries();
        let told = tokio::task::spawn_blocking(move || deliveries.map(Deliveries::stop));
        self.front.close_for_good().await;
        self.tasks.wait().await;
        let _ = told.await;
        let Node { writers, plugins, data_dir, .. } = self;
        let stopped = tokio::task::spawn_blocking(move || {
            let flushed = writers.stop();
            // After the last flush: they take in what it wrote.
            plugins.stop(flushed.is_ok());
            control_server::unbind(&data_dir);
            drop(data_dir);
            flushed
        });
        stopped.await.unwrap_or_else(|_| Err(writers::panicked()))
    }
}

/// Checks what a start would find wrong before it touches anything: the certificates that `config` names.
///
/// # Errors
/// [`NodeError::Tls`].
pub fn check(config: &Config) -> Result<(), NodeError> {
    Shown::load(&config.listeners).map(drop)
}

/// The runtime that a node runs in: a worker per core.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// How long a node that has handed over may take to end and let go of its lock.
const ENDING: Duration = Duration::from_secs(10);

impl NodeError {
    fn system(what: &'static str, source: std::io::Error) -> NodeError {
        NodeError::System { what, source }
    }
}
