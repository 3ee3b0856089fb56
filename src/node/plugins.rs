//! The plugins of a node, with their shelves.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::NodeError;
use super::checkpointer::Needed;
use super::data_dir::DataDir;
use crate::engine::Engine;
use crate::plugin::alerts::Alerts;
use crate::plugin::errors::IntegrationErrors;
use crate::store::{Shelf, ShelfError};

/// Copies all shelves into a folder.
pub(super) type CopyShelves = Arc<dyn Fn(&Path) -> Result<(), ShelfError> + Send + Sync>;

pub(super) struct Plugins {
    pub(super) alerts: Arc<Alerts>,
    pub(super) errors: Arc<IntegrationErrors>,
    threads: Vec<JoinHandle<()>>,
}

impl Plugins {
    /// Opens the shelves and begins to follow the journal.
    pub(super) fn start(engine: &Arc<Engine>, data_dir: &DataDir) -> Result<Plugins, NodeError> {
        let errors = IntegrationErrors::open(Shelf::open(&data_dir.shelf("errors")?)?, &engine.catalog())?;
        let shelf = Shelf::open(&data_dir.shelf("alerts")?)?;
        let (alerts, thread) =
            Alerts::start(engine, shelf).map_err(|source| NodeError::system("the alerts plugin", source))?;
        Ok(Plugins { alerts: Arc::new(alerts), errors, threads: vec![thread] })
    }

    /// What copies their shelves into a folder, each under its name.
    pub(super) fn copier(&self) -> CopyShelves {
        let (alerts, errors) = (Arc::clone(&self.alerts), Arc::clone(&self.errors));
        Arc::new(move |folder| {
            alerts.copy_to(&folder.join("alerts"))?;
            errors.copy_to(&folder.join("errors"))
        })
    }

    /// What of the journal must be kept for them.
    pub(super) fn needed(&self) -> Needed {
        let alerts = Arc::clone(self.alerts.following());
        Arc::new(move || alerts.needs())
    }

    /// Ends them, once they have taken in what is synced.
    pub(super) fn stop(self) {
        self.alerts.following().stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}
