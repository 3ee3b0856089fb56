//! The plugins of a node, with their shelves.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::NodeError;
use super::checkpointer::Needed;
use super::data_dir::DataDir;
use crate::engine::{Engine, Ticket};
use crate::listener::Clock;
use crate::model::id::TenantId;
use crate::plugin::alerts::Alerts;
use crate::plugin::errors::IntegrationErrors;
use crate::plugin::host::{Host, Hosting};
#[cfg(feature = "admin")]
use crate::plugin::{
    admin::Admin,
    host::{Desk, Plugin},
};
use crate::store::{Shelf, ShelfError};

/// Copies all shelves into a folder.
pub(super) type CopyShelves = Arc<dyn Fn(&Path) -> Result<(), ShelfError> + Send + Sync>;

pub(super) struct Plugins {
    pub(super) alerts: Arc<Alerts>,
    pub(super) errors: Arc<IntegrationErrors>,
    hosting: Hosting,
    #[cfg(feature = "admin")]
    admin: Arc<Admin>,
    threads: Vec<JoinHandle<()>>,
}

impl Plugins {
    /// Opens the shelves and begins to follow the journal.
    #[cfg_attr(not(feature = "admin"), allow(unused_variables, reason = "the admin API alone asks for them"))]
    pub(super) fn start(
        engine: &Arc<Engine>,
        data_dir: &DataDir,
        clock: &Clock,
        backend_endpoint: Option<&str>,
    ) -> Result<Plugins, NodeError> {
        let errors = IntegrationErrors::open(Shelf::open(&data_dir.shelf("errors")?)?, &engine.catalog())?;
        let shelf = Shelf::open(&data_dir.shelf("alerts")?)?;
        let (alerts, thread) =
            Alerts::start(engine, shelf).map_err(|source| NodeError::system("the alerts plugin", source))?;
        let started = |source| NodeError::system("a plugin", source);
        let host = Host::default();
        #[cfg(feature = "admin")]
        let (host, admin) = {
            let shelf = Shelf::open(&data_dir.shelf(crate::plugin::admin::NAME)?)?;
            let desk = Desk::open(crate::plugin::admin::NAME, engine, shelf)?;
            let admin = Admin::new(Arc::clone(&desk), clock.clone());
            let admin = Arc::new(admin.with_backend_endpoint(backend_endpoint.map(str::to_owned)));
            (host.with(Arc::clone(&admin) as Arc<dyn Plugin>, desk), admin)
        };
        let hosting = host.start(engine).map_err(started)?;
        Ok(Plugins {
            alerts: Arc::new(alerts),
            errors,
            hosting,
            #[cfg(feature = "admin")]
            admin,
            threads: vec![thread],
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

    /// Nobody: there is no admin API in this node.
    #[cfg(not(feature = "admin"))]
    pub(super) fn begin(&self, _: TenantId, _: &str) -> Result<Option<Ticket>, NodeError> {
        Ok(None)
    }

    /// What copies their shelves into a folder, each under its name.
    pub(super) fn copier(&self) -> CopyShelves {
        let (alerts, errors) = (Arc::clone(&self.alerts), Arc::clone(&self.errors));
        let host = Arc::clone(self.host());
        Arc::new(move |folder| {
            host.copy_to(|name| folder.join(name))?;
            alerts.copy_to(&folder.join("alerts"))?;
            errors.copy_to(&folder.join("errors"))
        })
    }

    /// What of the journal must be kept for them.
    pub(super) fn needed(&self) -> Needed {
        let (alerts, host) = (Arc::clone(self.alerts.following()), Arc::clone(self.host()));
        Arc::new(move || alerts.needs().min(host.needs()))
    }

    /// Ends them, once they have taken in what is synced. `is_flushed`: the last flush went well.
    pub(super) fn stop(self, is_flushed: bool) {
        self.hosting.stop(is_flushed);
        self.alerts.following().stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}
