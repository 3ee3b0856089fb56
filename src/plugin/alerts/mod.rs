//! Events: the first traffic of an application, its first of each day, and alerts.
//!
//! The shapes are those of 3scale's internal API; when something happens is decided so:
//!
//! - *First traffic*: once per application. *First daily traffic*: once per application and UTC day that usage is
//!   dated in; a day before the last such day is not told of any more.
//! - *Alerts*: a count has reached a level of its limit, of those that its service tells of
//!   ([`Service::alert_limits`]). Each level once per application, metric, period and window of that period; usage
//!   that passes several levels at once raises the highest, and a lower one is not raised after a higher one. (The
//!   original raises each level once in 24 hours per application, whatever the metric and period.) When limits or
//!   levels change, the application's next usage raises what its counts have reached by then.
//!
//! That a level was reached, or that there was traffic on a new day, is noted in the moment of counting and journalled
//! with the usage, so that nobody has to read all usage for it; the rest follows from the journal. Events are kept until they are deleted, up to [`EVENTS_MAX`]; then the oldest goes.
//!
//! When an application was called first, and first on its last day, is kept beside the events, for as long as there is the application
//! (`traffic`).
//!
//! [`Service::alert_limits`]: crate::model::record::Service::alert_limits

mod derive;
mod event;
#[cfg(test)]
mod tests;
mod traffic;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use event::{Event, EventKind};
pub use traffic::{Called, Calls};

use super::follower::{Behind, Following};
use crate::engine::Engine;
use crate::model::id::TenantId;
use crate::store::shelf::{Scan, Shelf, ShelfError, Table};
use derive::Deriver;

/// The most events that are kept: at about 150 bytes each they take little, and nobody reads more.
pub const EVENTS_MAX: u64 = 100_000;

/// The most events that are listed at once. Consumers delete what they have read, and ask again.
pub const EVENTS_LISTED_MAX: usize = 10_000;

/// By id (big-endian): the event.
const EVENTS: Table = Table("events");
/// By application: the last day of traffic, and times; see [`traffic`].
const TRAFFIC: Table = Table("traffic");
/// By application, slot and period: the last window in which a level was reached, and the highest in it.
const RAISED: Table = Table("raised");
/// What there is one of.
const META: Table = Table("meta");
/// In [`META`]: the id of the next event.
const NEXT_ID: &[u8] = b"next event";

/// The events of a node.
pub struct Alerts {
    shelf: Arc<Shelf>,
    following: Arc<Following>,
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AlertsError {
    #[error(transparent)]
    Behind(#[from] Behind),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.following.stop();
    }
}

impl Alerts {
    /// Begins to follow the journal. The thread ends after [`Following::stop`], or when this is dropped.
    ///
    /// # Errors
    /// The shelf cannot be read, or the system gives no thread.
    pub fn start(engine: &Arc<Engine>, shelf: Shelf) -> std::io::Result<(Alerts, JoinHandle<()>)> {
        traffic::renew(&shelf, &engine.catalog()).map_err(std::io::Error::other)?;
        let shelf = Arc::new(shelf);
        let deriver = Deriver::new(Arc::clone(engine));
        let (following, thread) =
            Following::start("alerts", Arc::clone(engine), Arc::clone(&shelf), deriver)?;
        Ok((Alerts { shelf, following }, thread))
    }

    /// How the journal is followed.
    #[must_use]
    pub fn following(&self) -> &Arc<Following> {
        &self.following
    }

    /// Copies the shelf, as it is at one moment, to a new file.
    ///
    /// # Errors
    /// The shelf cannot be read, or the copy not be made.
    pub fn copy_to(&self, path: &std::path::Path) -> Result<(), ShelfError> {
        self.shelf.copy_to(path)
    }

    /// The oldest events, up to [`EVENTS_LISTED_MAX`], with everything that was counted before this call.
    ///
    /// # Errors
    /// They are not derived yet, or the shelf cannot be read.
    pub fn events(&self) -> Result<Vec<Event>, AlertsError> {
        self.following.catch_up()?;
        let rows = self.shelf.read(|reading| reading.rows(EVENTS, &Scan::first(&[], EVENTS_LISTED_MAX)))?;
        Ok(rows.iter().filter_map(|(key, value)| Event::decode(key, value)).collect())
    }

    /// When applications were called, as far as that is derived by now.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn calls(&self) -> Result<Calls<'_>, ShelfError> {
        Ok(Calls(self.shelf.reading()?))
    }

    /// The applications of a tenant whose last day of traffic began at a time or later, in seconds since 1970 UTC; as far as that is derived,
    /// and in no order.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn called_since(&self, tenant: TenantId, since_s: u64) -> Result<Vec<u64>, ShelfError> {
        let mut found = Vec::new();
        self.shelf.read(|reading| {
            traffic::each_called_since(reading, tenant.0, since_s, |application| found.push(application))
        })?;
        Ok(found)
    }

    /// Deletes one event; whether it was there.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn delete(&self, id: u64) -> Result<bool, AlertsError> {
        Ok(self.shelf.write(|writing| writing.delete(EVENTS, &id.to_be_bytes()))?)
    }

    /// Deletes all events up to and with `id`; how many there were.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn delete_up_to(&self, id: u64) -> Result<usize, AlertsError> {
        let last = id.to_be_bytes();
        let deleted = self.shelf.write(|writing| {
            let rows = writing.rows(EVENTS, &Scan::first(&[], usize::MAX))?;
            let mut deleted = 0;
            for (key, _) in rows.iter().take_while(|(key, _)| key.as_slice() <= last.as_slice()) {
                deleted += usize::from(writing.delete(EVENTS, key)?);
            }
            Ok(deleted)
        })?;
        Ok(deleted)
    }
}
