//! Assembly: configuration -> data directory -> recovery -> engine -> listeners -> drain. Only calls constructors.
//!
//! Stopping goes the other way round: listeners drain, the checkpointer ends, the flusher writes a last time.
//! Instead of stopping, a node can hand its listening sockets over to another process ([`hand_over`]).

mod checkpointer;
mod control;
mod data_dir;
pub mod explain;
mod front;
pub mod hand_over;
pub mod inspect;
mod listeners;
mod plugins;
mod recovery;
mod sample;
pub mod secret;
mod telemetry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::{Engine, NotDurable};
use crate::http::bodies::Bodies;
use crate::http::internal::{InternalApi, Logins};
use crate::http::{self, Dialect, Health, Routes};
use crate::journal::JournalError;
use crate::listener::guesses::Guesses;
use crate::listener::tls::{self, TlsError};
use crate::listener::{Clock, Departure};
use crate::plugin::alerts::Alerts;
use crate::store::ShelfError;
use crate::tcp::{self, Secrets};
use checkpointer::{Checkpointer, Last};
use control::server::{self as control_server, Control};
use data_dir::DataDir;
pub use data_dir::DataDirError;
use front::{Front, Role, Socket, Sockets};
pub use hand_over::{HandOver, Successor};
use listeners::{Shown, http_limits, limits, tcp_limits};
use plugins::Plugins;
pub use recovery::RecoveryError;
pub use sample::Sample;
pub use secret::SecretError;

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
    #[error("{0}; moved away, it begins anew, without what it held")]
    Shelf(#[from] ShelfError),
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
    flusher: JoinHandle<Result<(), JournalError>>,
    checkpointer: Checkpointer,
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
        let shown = Shown::load(&config.listeners)?;
        let data_dir = DataDir::open(&config.data_dir)?;
        // Before recovery, which may take a while: a busy address should not.
        let sockets = Sockets::open(config, Vec::new())?;
        Node::run(config, clock, data_dir, sockets, shown)
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
        Node::run(config, clock, data_dir, sockets, shown)
    }

    fn run(
        config: &Config,
        clock: Clock,
        data_dir: DataDir,
        sockets: Sockets,
        shown: Shown,
    ) -> Result<Node, NodeError> {
        let metrics = telemetry::recorder();
        let Sockets { http, admin, tcp, unix } = sockets;
        let secrets = secret::load(data_dir.path())?;
        let recovered = recovery::recover(&data_dir, config, clock())?;
        let engine = Arc::new(recovered.engine);
        let plugins = Plugins::start(&engine, &data_dir)?;
        let wall = clock();
        let mut last = Last { begin: recovered.checkpoint, generation: recovered.generation };
        if recovered.clock_set_back {
            // Before anything is counted: a replay would go through the time that was taken back.
            let settle = || engine.flush(wall).map_err(|_| NotDurable);
            let root = data_dir.checkpoints();
            last = checkpointer::checkpoint(
                &engine,
                &root,
                last.generation,
                &clock,
                &plugins.needed(),
                settle,
                || false,
            )
            .map_err(|error| {
                NodeError::system("from the clock's time", std::io::Error::other(error.to_string()))
            })?;
        }
        let sample = sample::create_if_empty(&engine, wall)?;
        let checkpointer = Checkpointer::start(&engine, &data_dir, last, config, &clock, plugins.needed())
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
        let departure = Departure::default();
        // Of the whole node, not of one listener.
        let (bodies, guesses) = (Arc::new(Bodies::default()), Arc::new(Guesses::new(false)));
        let body_timeout = config.listeners.body_timeout;
        let dialect = Dialect::new(Arc::clone(&engine), clock.clone(), Arc::clone(&layer), body_timeout)
            .with_budgets(Arc::clone(&bodies), Arc::clone(&guesses));
        let (binary, binary_layer) = binary_server(config, &engine, &clock, &guesses, &secrets, &layer);
        let health = Health::new(readiness);
        let with_metrics = health.clone().with_metrics(metrics.clone(), Arc::clone(&layer));
        let health_of_data = if admin.is_none() { with_metrics.clone() } else { health };
        let mut data = Routes::data(dialect, health_of_data).noting(Arc::clone(&plugins.errors));
        let mut administration = Routes::admin(with_metrics);
        tasks.spawn(Arc::clone(&plugins.errors).run(shutdown.clone()));
        if let Some(internal) = internal_api(config, &engine, &clock, &plugins) {
            let internal = internal.with_budgets(bodies, guesses);
            tasks.spawn(internal.background(shutdown.clone()));
            let owner = if admin.is_none() { &mut data } else { &mut administration };
            owner.extend(Box::new(internal));
        }
        let address = |socket: &Option<Socket>| socket.as_ref().and_then(Socket::address);
        let (admin_address, tcp_address) = (address(&admin), address(&tcp));
        let http_address = http.address().unwrap_or(config.http);
        let unix_path = unix.as_ref().and_then(Socket::path).map(Path::to_owned);
        let mut front = Front::new(front::admitted(config));
        let mut serve = |role, socket: Socket, routes, tls: &Option<_>| {
            let (routes, layer) = (Arc::new(routes), Arc::clone(&layer));
            let limits = http_limits(config, limits(config, tls.clone(), departure.clone()));
            front.add(role, socket, move |listener, stop| {
                http::serve(listener, Arc::clone(&routes), Arc::clone(&layer), limits.clone(), stop)
            });
        };
        serve(Role::Data, http, data, &shown.http);
        if let Some(socket) = admin {
            serve(Role::Admin, socket, administration, &shown.admin);
        }
        for (role, socket, tls) in [(Role::Tcp, tcp, shown.tcp.clone()), (Role::Unix, unix, None)] {
            let Some(socket) = socket else { continue };
            let (binary, limits) = (Arc::clone(&binary), limits(config, tls, departure.clone()));
            front.add(role, socket, move |listener, stop| {
                tcp::serve(listener, Arc::clone(&binary), limits.clone(), stop)
            });
        }
        if let Err(error) = front.open() {
            engine.stop_flusher();
            checkpointer.stop();
            return Err(error);
        }
        let (for_successors, successors) = mpsc::channel(1);
        let control = Control { engine: Arc::clone(&engine), clock, successors: for_successors };
        match control_server::bind(&data_dir) {
            Ok(listener) => drop(tasks.spawn(control.serve(listener, shutdown.clone()))),
            // Some network file systems have no sockets; decisions do not need one.
            Err(error) => {
                tracing::warn!(%error, "no control socket: inspect and --take-over cannot reach this node")
            }
        }
        let reload = [(); 2].map(|()| Arc::new(Notify::new()));
        tasks.spawn(tls::watch(shown.all(), Arc::clone(&reload[0]), shutdown.clone()));
        let (dir, asked) = (Arc::from(data_dir.path()), Arc::clone(&reload[1]));
        tasks.spawn(secret::watch(dir, secrets, asked, shutdown.clone()));
        let layers = (Arc::clone(&layer), binary_layer);
        tasks.spawn(telemetry::publish(Arc::clone(&engine), metrics, layers, shutdown.clone()));
        tasks.close();
        Ok(Node {
            engine,
            http: http_address,
            admin: admin_address,
            tcp: tcp_address,
            unix: unix_path,
            sample,
            shutdown,
            reload,
            tasks,
            front,
            departure,
            drain_deadline: config.drain_deadline,
            successors,
            flusher,
            checkpointer,
            plugins,
            data_dir,
        })
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

    /// Reads certificates and the node secret again, without waiting until their files are looked at next. What cannot be used is logged,
    /// and the old stays.
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
        self.front.close_for_good().await;
        self.tasks.wait().await;
        let Node { engine, flusher, checkpointer, plugins, data_dir, .. } = self;
        let stopped = tokio::task::spawn_blocking(move || {
            checkpointer.stop();
            engine.stop_flusher();
            let flushed = flusher.join();
            // After the last flush: they take in what it wrote.
            plugins.stop();
            control_server::unbind(&data_dir);
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

/// 3scale's internal API, if anybody may use it.
fn internal_api(
    config: &Config,
    engine: &Arc<Engine>,
    clock: &Clock,
    plugins: &Plugins,
) -> Option<InternalApi> {
    let logins = config.internal_api.iter().map(|login| (login.user.as_str(), login.password.expose()));
    let logins = Logins::new(logins);
    if logins.is_empty() {
        tracing::info!("the internal API is off: it has no user and password");
        return None;
    }
    let (alerts, errors) = (Arc::clone(&plugins.alerts), Arc::clone(&plugins.errors));
    let body_timeout = config.listeners.body_timeout;
    Some(InternalApi::new(Arc::clone(engine), clock.clone(), alerts, errors, logins, body_timeout))
}

/// The server of the binary protocol, and what it counts.
fn binary_server(
    config: &Config,
    engine: &Arc<Engine>,
    clock: &Clock,
    guesses: &Arc<Guesses>,
    secrets: &Secrets,
    http: &Arc<http::Telemetry>,
) -> (Arc<tcp::Server>, Arc<tcp::Telemetry>) {
    // The lists of the top are of all decisions, whichever way they were asked for.
    let top = Arc::clone(http);
    let layer = tcp::Telemetry::default().telling(Arc::new(move |answer| top.note(answer)));
    let layer = Arc::new(layer);
    let server = tcp::Server::new(
        Arc::clone(engine),
        clock.clone(),
        Arc::clone(guesses),
        secrets.clone(),
        Arc::clone(&layer),
        tcp_limits(config),
    );
    (Arc::new(server), layer)
}

/// How long a node that has handed over may take to end and let go of its lock.
const ENDING: Duration = Duration::from_secs(10);

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
