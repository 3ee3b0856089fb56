//! The plugins of a node, with their shelves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
#[cfg(feature = "admin")]
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::checkpointer::Needed;
use super::data_dir::DataDir;
use crate::config::Config;
use crate::engine::{Engine, Ticket};
use crate::listener::Clock;
use crate::model::id::TenantId;
use crate::outgoing::Allowed;
#[cfg(feature = "admin")]
use crate::outgoing::{Http, Options, Reach, Roots};
#[cfg(feature = "admin")]
pub(super) use crate::plugin::admin::Deliveries;
use crate::plugin::alerts::Alerts;
use crate::plugin::analytics::Analytics;
use crate::plugin::errors::IntegrationErrors;
use crate::plugin::host::{Host, Hosting};
#[cfg(feature = "admin")]
use crate::plugin::{
    admin::{Admin, GatewayPorts, POST_TIMEOUT, Traffic},
    host::{Desk, Plugin},
};
use crate::store::{Shelf, ShelfError};

/// How often tenants that were deleted are looked after. Their time is counted in days.
#[cfg(feature = "admin")]
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Copies all shelves into a folder.
pub(super) type CopyShelves = Arc<dyn Fn(&Path) -> Result<(), ShelfError> + Send + Sync>;

pub(super) struct Plugins {
    pub(super) alerts: Arc<Alerts>,
    pub(super) errors: Arc<IntegrationErrors>,
    pub(super) analytics: Arc<Analytics>,
    hosting: Hosting,
    #[cfg(feature = "admin")]
    admin: Arc<Admin>,
    #[cfg(feature = "admin")]
    deliveries: Option<Deliveries>,
    threads: Vec<JoinHandle<()>>,
}

/// There are no webhooks in this node.
#[cfg(not(feature = "admin"))]
pub(super) enum Deliveries {}

#[cfg(not(feature = "admin"))]
impl Deliveries {
    pub(super) fn stop(self) {
        match self {}
    }
}

impl Plugins {
    /// Opens the shelves and begins to follow the journal.
    #[cfg_attr(not(feature = "admin"), allow(unused_variables, reason = "the admin API alone asks for them"))]
    pub(super) fn start(
        engine: &Arc<Engine>,
        data_dir: &DataDir,
        clock: &Clock,
        config: &Config,
    ) -> Result<Plugins, NodeError> {
        let errors = IntegrationErrors::open(Shelf::open(&data_dir.shelf("errors")?)?, &engine.catalog())?;
        let shelf = Shelf::open(&data_dir.shelf("alerts")?)?;
        let (alerts, thread) =
            Alerts::start(engine, shelf).map_err(|source| NodeError::system("the alerts plugin", source))?;
        let shelf = Shelf::open(&data_dir.shelf("analytics")?)?;
        let (analytics, history_thread) = Analytics::start(engine, shelf)
            .map_err(|source| NodeError::system("the analytics plugin", source))?;
        let started = |source| NodeError::system("a plugin", source);
        let host = Host::default();
        #[cfg(feature = "admin")]
        let (host, admin) = {
            let shelf = Shelf::open(&data_dir.shelf(crate::plugin::admin::NAME)?)?;
            let desk = Desk::open(crate::plugin::admin::NAME, engine, shelf)?;
            let admin = Admin::new(Arc::clone(&desk), clock.clone());
            let gateway = config.gateway_endpoint.clone().map(|it| GatewayPorts {
                host: it.host,
                first: it.first,
                last: it.last,
            });
            let admin = admin
                .with_backend_endpoint(config.backend_endpoint.clone())
                .with_domain(config.domain.clone())
                .with_gateway(gateway);
            let admin = Arc::new(admin);
            (host.with(Arc::clone(&admin) as Arc<dyn Plugin>, desk), admin)
        };
        let (alerts, analytics) = (Arc::new(alerts), Arc::new(analytics));
        #[cfg(feature = "admin")]
        {
            admin.ask_of_traffic(Arc::clone(&alerts) as Arc<dyn Traffic>);
            admin.ask_of_usage(Arc::clone(&analytics));
        }
        let hosting = host.start(engine).map_err(started)?;
        Ok(Plugins {
            alerts,
            errors,
            analytics,
            hosting,
            #[cfg(feature = "admin")]
            admin,
            #[cfg(feature = "admin")]
            deliveries: None,
            threads: vec![thread, history_thread],
        })
    }

    /// Those that have routes.
    pub(super) fn host(&self) -> &Arc<Host> {
        self.hosting.host()
    }

    /// Gives a tenant its first administrator; see `Admin::begin`.
    #[cfg(feature = "admin")]
    pub(super) fn begin(&self, tenant: TenantId, token: &str) -> Result<Option<Ticket>, NodeError> {
        self.admin.begin(tenant, token).map_err(|error| {
            NodeError::system("the first administrator", std::io::Error::other(error.to_string()))
        })
    }

    /// Whether any tenant has somebody who administers it.
    #[cfg(feature = "admin")]
    pub(super) fn is_administered(&self) -> Result<bool, NodeError> {
        Ok(self.admin.is_administered()?)
    }

    /// There is no admin API in this node.
    #[cfg(not(feature = "admin"))]
    pub(super) fn is_administered(&self) -> Result<bool, NodeError> {
        Ok(true)
    }

    /// Gives the node its master; see `Admin::begin_master`.
    #[cfg(feature = "admin")]
    pub(super) fn begin_master(&self, token: &str) -> Result<Option<Ticket>, NodeError> {
        self.admin
            .begin_master(token)
            .map_err(|error| NodeError::system("the master", std::io::Error::other(error.to_string())))
    }

    /// Nobody: there is no admin API in this node.
    #[cfg(not(feature = "admin"))]
    pub(super) fn begin_master(&self, _: &str) -> Result<Option<Ticket>, NodeError> {
        Ok(None)
    }

    /// Takes away, now and then, what is left of tenants that were deleted; until `shutdown`.
    #[cfg(feature = "admin")]
    pub(super) fn sweeping(&self, shutdown: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let admin = Arc::clone(&self.admin);
        async move {
            let mut turn = tokio::time::interval(SWEEP_INTERVAL);
            turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = turn.tick() => {}
                }
                let (admin, stops) = (Arc::clone(&admin), shutdown.clone());
                let swept = tokio::task::spawn_blocking(move || admin.sweep(&|| stops.is_cancelled())).await;
                if let Err(error) = swept.unwrap_or_else(|panicked| Err(panicked.to_string())) {
                    tracing::error!(error, "a deleted tenant cannot be taken away");
                }
            }
        }
    }

    /// There are no tenants that could be deleted.
    #[cfg(not(feature = "admin"))]
    pub(super) fn sweeping(&self, _: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        std::future::ready(())
    }

    /// Nobody: there is no admin API in this node.
    #[cfg(not(feature = "admin"))]
    pub(super) fn begin(&self, _: TenantId, _: &str) -> Result<Option<Ticket>, NodeError> {
        Ok(None)
    }

    /// Begins to tell tenants of changes. `own` are the node's listeners. Once the journal is written.
    #[cfg(feature = "admin")]
    pub(super) fn deliver(&mut self, own: &[SocketAddr], allowed: &[Allowed]) -> Result<(), NodeError> {
        let reach = Reach::outside(own, allowed.to_vec());
        // Nothing of an answer is read but its status.
        let options = Options { reach, timeout: POST_TIMEOUT, body_bytes_max: 0, roots: Roots::Web };
        let failed = |source| NodeError::system("webhooks", source);
        let http = Http::new(options).map_err(|error| failed(std::io::Error::other(error)))?;
        self.deliveries = Some(self.admin.deliver(Arc::new(http)).map_err(failed)?);
        Ok(())
    }

    /// Nobody is told of anything: there is no admin API in this node.
    #[cfg(not(feature = "admin"))]
    pub(super) fn deliver(&mut self, _: &[SocketAddr], _: &[Allowed]) -> Result<(), NodeError> {
        Ok(())
    }

    /// What is to be stopped while the journal is still written.
    #[cfg(feature = "admin")]
    pub(super) fn deliveries(&mut self) -> Option<Deliveries> {
        self.deliveries.take()
    }

    /// Nothing.
    #[cfg(not(feature = "admin"))]
    pub(super) fn deliveries(&mut self) -> Option<Deliveries> {
        None
    }

    /// What copies their shelves into a folder, each under its name.
    pub(super) fn copier(&self) -> CopyShelves {
        let (alerts, errors) = (Arc::clone(&self.alerts), Arc::clone(&self.errors));
        let (host, analytics) = (Arc::clone(self.host()), Arc::clone(&self.analytics));
        Arc::new(move |folder| {
            host.copy_to(|name| folder.join(name))?;
            alerts.copy_to(&folder.join("alerts"))?;
            analytics.copy_to(&folder.join("analytics"))?;
            errors.copy_to(&folder.join("errors"))
        })
    }

    /// What of the journal must be kept for them.
    pub(super) fn needed(&self) -> Needed {
        let (alerts, host) = (Arc::clone(self.alerts.following()), Arc::clone(self.host()));
        let history = Arc::clone(self.analytics.following());
        Arc::new(move || alerts.needs().min(history.needs()).min(host.needs()))
    }

    /// Ends them, once they have taken in what is synced. `is_flushed`: the last flush went well.
    pub(super) fn stop(self, is_flushed: bool) {
        self.hosting.stop(is_flushed);
        self.alerts.following().stop();
        self.analytics.following().stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}
