//! Inspection: what a node holds, running or stopped, for its operator. Shows no credential.
//!
//! A running node is asked over its control socket. A stopped node's directory is read as a starting node would read
//! it, except that nothing in it is changed and it is not locked: the journal is opened on a disk that takes no
//! writes, a checkpoint is copied to the system's temporary directory, and a node that starts meanwhile is noticed
//! (an opening always begins a new journal segment) and asked instead.

mod report;
mod stopped;

use serde::{Deserialize, Serialize};

use super::RecoveryError;
use super::data_dir::DataDirError;
use crate::model::catalog::Catalog;
use crate::model::id::ServiceId;
use std::path::PathBuf;

pub use report::{
    ApplicationReport, CatalogReport, CounterRow, HeldRow, JournalState, LimitRow, MetricRow, PlanRow,
    Report, ReservationRow, ServiceReport, ServiceRow, Totals,
};
pub use stopped::inspect;
pub(super) use stopped::names;

/// What is to be shown. Without anything, the catalog's summary.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// A service, by decimal or external id.
    pub service: Option<String>,
    /// An application.
    pub application: Option<Which>,
}

/// How an application is named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// By its decimal id.
    Id(u64),
    /// By the app id that callers send, within the query's service.
    AppId(String),
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No such service.
    #[error("there is no service with the id {0:?}")]
    ServiceUnknown(String),
    /// More than one tenant calls a service that.
    #[error("several services have the external id {text:?}: say which by its decimal id ({})", ids.join(", "))]
    ServiceAmbiguous {
        /// The external id.
        text: String,
        /// The decimal ids.
        ids: Vec<String>,
    },
    /// No such application.
    #[error("there is no such application")]
    ApplicationUnknown,
    /// An app id belongs to a service.
    #[error("an app id names an application of a service: say of which")]
    ServiceMissing,
    /// The directory is not one to look into.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no node's data.
    #[error("{0} is not a tollgate data directory (it has no FORMAT file)")]
    NotANode(PathBuf),
    /// What is in it is damaged, or cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The running node said no.
    #[error("the running node says: {0}")]
    Refused(String),
    /// A node has the directory but cannot be asked.
    #[error("a node has {0} but does not answer there: it is starting or ending, or has no control socket")]
    Silent(PathBuf),
    /// The running node, or the temporary directory, cannot be reached.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The service that `text` names: a decimal id first, since an external id may look like one.
pub(super) fn find_service(catalog: &Catalog, text: &str) -> Result<ServiceId, InspectError> {
    if let Some(service) = text.parse().ok().and_then(|id| catalog.services.get(id)) {
        return Ok(service.id);
    }
    let of_that_name = catalog.services.iter().filter(|(_, it)| it.external_id.as_deref() == Some(text));
    let found: Vec<_> = of_that_name.map(|(_, service)| service.id).collect();
    match found[..] {
        [] => Err(InspectError::ServiceUnknown(text.to_owned())),
        [service] => Ok(service),
        _ => {
            let ids = found.iter().map(ServiceId::to_string).collect();
            Err(InspectError::ServiceAmbiguous { text: text.to_owned(), ids })
        }
    }
}
