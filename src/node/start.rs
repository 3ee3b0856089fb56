//! The steps of a start, once directory and sockets are the node's own: recover, begin to write, open the front, then
//! what goes on beside it.

use std::path::Path;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backup::hold::{self, Holder, StandStill};
use super::checkpointer::{self, Followed, Last};
use super::control::server::{self as control_server, Control};
use super::data_dir::DataDir;
use super::disk::{Disk, Look};
use super::front::{self, Front, Role, Socket, Sockets};
use super::hand_over::Successor;
use super::listeners::{Shown, http_limits, limits, promise, tcp_limits};
use super::plugins::Plugins;
use super::writers::Writers;
use super::{Node, NodeError, ids, recovery, sample, secret, telemetry};
use crate::config::{Config, Password};
use crate::engine::{Engine, NotDurable, Space};
use crate::http::bodies::Bodies;
use crate::http::internal::{InternalApi, Logins};
use crate::http::{self, Dialect, Health, PluginRoutes, Routes};
use crate::listener::guesses::Guesses;
use crate::listener::tls::{self, Certificates};
use crate::listener::{Clock, Departure};
use crate::store::ids::Slices;
use crate::tcp::{self, Secrets};

impl Node {
    pub(super) fn run(
        config: &Config,
        (clock, look): (Clock, Look),
        data_dir: DataDir,
        sockets: Sockets,
        shown: Shown,
    ) -> Result<Node, NodeError> {
        let metrics = telemetry::recorder();
        // Left by a node that died in the middle of a backup; should it stay, the next backup says so.
        let _ = std::fs::remove_dir_all(hold::folder(data_dir.path()));
        let secrets = secret::load(data_dir.path())?;
        let recovered = recovery::recover(&data_dir, config, clock())?;
        let engine = Arc::new(recovered.engine);
        let plugins = Plugins::start(&engine, &data_dir, &clock, config)?;
        let mut last = Last { begin: recovered.checkpoint, generation: recovered.generation };
        if recovered.clock_set_back {
            last = settle_time(&engine, &data_dir, (&plugins, &recovered.ids), last, &clock)?;
        }
        let sample = sample::create_if_empty(
            &engine,
            &plugins,
            config.admin_token.as_ref().map(Password::expose),
            clock(),
        )?;
        if let Some(token) = &config.master_token
            && plugins.begin_master(token.expose())?.is_some()
        {
            engine
                .flush(clock())
                .map_err(|error| NodeError::system("the master", std::io::Error::other(error.to_string())))?;
        }
        let still = StandStill::default();
        let followed = Followed { needed: plugins.needed(), still: Arc::clone(&still) };
        let writers = Writers::start(&engine, &data_dir, (last, recovered.ids), config, &clock, followed)?;

        let address = |socket: &Option<Socket>| socket.as_ref().and_then(Socket::address);
        let (admin, tcp) = (address(&sockets.admin), address(&sockets.tcp));
        let http = sockets.http.address().unwrap_or(config.http);
        let unix = sockets.unix.as_ref().and_then(Socket::path).map(Path::to_owned);
        let disk = Disk::new(&engine, look, config);
        let mut parts = Parts {
            config,
            clock,
            engine,
            disk,
            plugins,
            still,
            metrics,
            layer: Arc::default(),
            guesses: Arc::new(Guesses::new(false)),
            secrets,
            departure: Departure::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (data, administration) = parts.routes(admin.is_some());
        parts.tasks.spawn(parts.plugins.sweeping(parts.shutdown.clone()));
        let (binary, binary_layer) = parts.binary_server();
        let mut front = parts.front(sockets, &shown, (data, administration), &binary);
        let own: Vec<_> = [Some(http), admin, tcp].into_iter().flatten().collect();
        let deliver = |()| parts.plugins.deliver(&own, &config.outgoing_allow);
        if let Err(error) = front.open().and_then(deliver) {
            parts.shutdown.cancel();
            let _ = writers.stop();
            return Err(error);
        }
        let successors = parts.listen_to_operators(&data_dir);
        let reload = parts.attend(shown, &data_dir, binary_layer);
        let Parts { engine, plugins, departure, shutdown, tasks, .. } = parts;
        tasks.close();
        Ok(Node {
            engine,
            http,
            admin,
            tcp,
            unix,
            sample,
            shutdown,
            reload,
            tasks,
            front,
            departure,
            drain_deadline: config.drain_deadline,
            successors,
            writers,
            plugins,
            data_dir,
        })
    }
}

/// Makes a checkpoint from the clock's time, which was set back, before anything is counted: a replay would go through
/// the time that was taken back.
fn settle_time(
    engine: &Engine,
    data_dir: &DataDir,
    (plugins, ids): (&Plugins, &Slices),
    last: Last,
    clock: &Clock,
) -> Result<Last, NodeError> {
    let flush = || engine.flush(clock()).map_err(|_| NotDurable);
    let settle = || {
        ids::seal(engine, ids, clock, |_| flush(), || false)?;
        Ok(flush()?)
    };
    let (root, needed) = (data_dir.checkpoints(), plugins.needed());
    checkpointer::checkpoint(engine, &root, last.generation, clock, &needed, settle, || false)
        .map_err(|error| NodeError::system("from the clock's time", std::io::Error::other(error.to_string())))
}

/// What a node is put together from.
struct Parts<'c> {
    config: &'c Config,
    clock: Clock,
    engine: Arc<Engine>,
    disk: Arc<Disk>,
    plugins: Plugins,
    /// Held while a backup is made.
    still: StandStill,
    metrics: PrometheusHandle,
    layer: Arc<http::Telemetry>,
    /// Of the whole node, not of one listener.
    guesses: Arc<Guesses>,
    secrets: Secrets,
    departure: Departure,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Parts<'_> {
    /// What the data listener and the admin listener answer; without an admin listener the first answers all. What the
    /// answers need in the background is started.
    fn routes(&self, has_admin: bool) -> (Routes, Routes) {
        // Of the whole node, not of one listener.
        let (bodies, guesses) = (Arc::new(Bodies::default()), Arc::clone(&self.guesses));
        let (engine, clock, layer) = (Arc::clone(&self.engine), self.clock.clone(), Arc::clone(&self.layer));
        let dialect = Dialect::new(engine, clock, layer, self.config.listeners.body_timeout)
            .with_budgets(Arc::clone(&bodies), Arc::clone(&guesses))
            .promising(promise(self.config.listeners.http_promise));
        let health = Health::new(telemetry::readiness(
            Arc::clone(&self.engine),
            Arc::clone(&self.disk),
            Arc::clone(self.plugins.analytics.following()),
            self.shutdown.clone(),
        ));
        let with_metrics = health.clone().with_metrics(self.metrics.clone(), Arc::clone(&self.layer));
        let health_of_data = if has_admin { health } else { with_metrics.clone() };
        let mut data = Routes::data(dialect, health_of_data).noting(Arc::clone(&self.plugins.errors));
        let mut administration = Routes::admin(with_metrics);
        let engine = Arc::clone(&self.engine);
        let is_put_off = move || engine.space() >= Space::Low;
        self.tasks.spawn(Arc::clone(&self.plugins.errors).run(is_put_off, self.shutdown.clone()));
        let plugins = self.plugin_routes(has_admin, (&bodies, &guesses));
        if has_admin { &mut administration } else { &mut data }.extend(Box::new(plugins));
        let internal = self.internal_api().with_budgets(bodies, guesses);
        self.tasks.spawn(internal.background(self.shutdown.clone()));
        if internal.is_on() {
            let owner = if has_admin { &mut administration } else { &mut data };
            owner.extend(Box::new(internal));
        } else {
            tracing::info!("the internal API is off: it has no user and password");
        }
        (data, administration)
    }

    /// The routes of plugins, on the admin listener if there is one.
    fn plugin_routes(
        &self,
        has_admin: bool,
        (bodies, guesses): (&Arc<Bodies>, &Arc<Guesses>),
    ) -> PluginRoutes {
        let listeners = &self.config.listeners;
        let tls = if has_admin { &listeners.admin_tls } else { &listeners.http_tls };
        let (host, engine) = (Arc::clone(self.plugins.host()), Arc::clone(&self.engine));
        let (bodies, guesses) = (Arc::clone(bodies), Arc::clone(guesses));
        PluginRoutes::new(host, engine, listeners.body_timeout, bodies, guesses).encrypted(tls.is_some())
    }

    fn internal_api(&self) -> InternalApi {
        let logins = self.config.internal_api.iter();
        let logins = Logins::new(logins.map(|login| (login.user.as_str(), login.password.expose())));
        let (alerts, errors) = (Arc::clone(&self.plugins.alerts), Arc::clone(&self.plugins.errors));
        let body_timeout = self.config.listeners.body_timeout;
        InternalApi::new(Arc::clone(&self.engine), self.clock.clone(), alerts, errors, logins, body_timeout)
    }

    /// The server of the binary protocol, and what it counts.
    fn binary_server(&self) -> (Arc<tcp::Server>, Arc<tcp::Telemetry>) {
        // The lists of the top are of all decisions, whichever way they were asked for.
        let top = Arc::clone(&self.layer);
        let layer = Arc::new(tcp::Telemetry::default().telling(Arc::new(move |answer| top.note(answer))));
        let server = tcp::Server::new(
            Arc::clone(&self.engine),
            self.clock.clone(),
            Arc::clone(&self.guesses),
            self.secrets.clone(),
            Arc::clone(&layer),
            tcp_limits(self.config),
        );
        (Arc::new(server), layer)
    }

    /// All sockets, and who serves each.
    fn front(
        &self,
        sockets: Sockets,
        shown: &Shown,
        (data, administration): (Routes, Routes),
        binary: &Arc<tcp::Server>,
    ) -> Front {
        let Sockets { http, admin, tcp, unix } = sockets;
        let mut front = Front::new(front::admitted(self.config));
        self.add_http(&mut front, Role::Data, http, data, shown.http.clone());
        if let Some(socket) = admin {
            self.add_http(&mut front, Role::Admin, socket, administration, shown.admin.clone());
        }
        for (role, socket, tls) in [(Role::Tcp, tcp, shown.tcp.clone()), (Role::Unix, unix, None)] {
            let Some(socket) = socket else { continue };
            let binary = Arc::clone(binary);
            let limits = limits(self.config, tls, self.departure.clone());
            front.add(role, socket, move |listener, stop| {
                tcp::serve(listener, Arc::clone(&binary), limits.clone(), stop)
            });
        }
        front
    }

    fn add_http(
        &self,
        front: &mut Front,
        role: Role,
        socket: Socket,
        routes: Routes,
        tls: Option<Arc<Certificates>>,
    ) {
        let (routes, layer) = (Arc::new(routes), Arc::clone(&self.layer));
        let limits = http_limits(self.config, limits(self.config, tls, self.departure.clone()));
        front.add(role, socket, move |listener, stop| {
            http::serve(listener, Arc::clone(&routes), Arc::clone(&layer), limits.clone(), stop)
        });
    }

    /// Opens the control socket; who wants to take over comes out of the receiver.
    fn listen_to_operators(&self, data_dir: &DataDir) -> mpsc::Receiver<Successor> {
        let (for_successors, successors) = mpsc::channel(1);
        let (engine, clock) = (Arc::clone(&self.engine), self.clock.clone());
        let backups = Holder {
            data_dir: Arc::from(data_dir.path()),
            still: Arc::clone(&self.still),
            copy_shelves: self.plugins.copier(),
        };
        let control = Control { engine, clock, backups, successors: for_successors };
        match control_server::bind(data_dir) {
            Ok(listener) => drop(self.tasks.spawn(control.serve(listener, self.shutdown.clone()))),
            // Some network file systems have no sockets; decisions do not need one.
            Err(error) => {
                tracing::warn!(%error, "no control socket: inspect and --take-over cannot reach this node")
            }
        }
        successors
    }

    /// Watches certificates, the node secret and the disk, and publishes telemetry. Whoever notifies what is returned has them
    /// read again.
    fn attend(
        &self,
        shown: Shown,
        data_dir: &DataDir,
        binary_layer: Arc<tcp::Telemetry>,
    ) -> [Arc<Notify>; 2] {
        let reload = [(); 2].map(|()| Arc::new(Notify::new()));
        self.tasks.spawn(tls::watch(shown.all(), Arc::clone(&reload[0]), self.shutdown.clone()));
        let (dir, asked) = (Arc::from(data_dir.path()), Arc::clone(&reload[1]));
        self.tasks.spawn(secret::watch(dir, self.secrets.clone(), asked, self.shutdown.clone()));
        self.tasks.spawn(Arc::clone(&self.disk).watch(self.shutdown.clone()));
        let (engine, layers) = (Arc::clone(&self.engine), (Arc::clone(&self.layer), binary_layer));
        self.tasks.spawn(telemetry::publish(engine, self.metrics.clone(), layers, self.shutdown.clone()));
        reload
    }
}
