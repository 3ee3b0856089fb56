//! Integration errors: what gateways and applications did wrong, kept for the operator of each service.
//!
//! They show what was sent, so they are kept here only, never in a log. They are no money: an error is on disk within
//! a second, and a crash may lose what is younger. Whoever floods a service with errors loses its older ones.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::model::catalog::Catalog;
use crate::model::id::ServiceId;
use crate::store::shelf::{Reading, Scan, Shelf, ShelfError, Table, Writing};

/// How many errors of a service are kept: as many as the original keeps.
pub const ERRORS_MAX: usize = 1000;

/// How many errors of all services wait to be written: a second of many. Beyond it the oldest go.
pub const QUEUE_MAX: usize = 10_000;

/// How much of a message is kept. Messages repeat what was sent, and that may be long.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// How often what waits is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// By service and number (big-endian): the error.
const ERRORS: Table = Table("errors");
/// What there is one of.
const META: Table = Table("meta");
/// In [`META`]: the number of the next error.
const NEXT_NUMBER: &[u8] = b"next error";

/// An error of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntegrationError {
    /// The code of the answer.
    pub code: String,
    /// Its text; the first [`MESSAGE_BYTES_MAX`] bytes of it.
    pub message: String,
    /// When, in seconds since 1970 UTC.
    pub at_s: u64,
}

/// On the shelf: 1 code, 2 message, 3 time s.
#[derive(Clone, PartialEq, Message)]
struct ErrorRecord {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(uint64, tag = "3")]
    at_s: u64,
}

/// The integration errors of a node.
pub struct IntegrationErrors {
    shelf: Shelf,
    queue: Mutex<VecDeque<(ServiceId, ErrorRecord)>>,
    /// Held while the queue goes to the shelf, so that two who write do not change the order.
    writing: Mutex<()>,
    dropped: metrics::Counter,
}

/// Some of a service's errors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The newest first.
    pub errors: Vec<IntegrationError>,
    /// How many there are in all.
    pub count: usize,
}

impl IntegrationErrors {
    /// Copies the shelf, as it is at one moment, to a new file.
    ///
    /// # Errors
    /// The shelf cannot be read, or the copy not be made.
    pub fn copy_to(&self, path: &std::path::Path) -> Result<(), ShelfError> {
        self.shelf.copy_to(path)
    }

    /// Opens the shelf's errors, without those of services that `catalog` does not have any more.
    ///
    /// # Errors
    /// The shelf cannot be read or written.
    pub fn open(shelf: Shelf, catalog: &Catalog) -> Result<Arc<IntegrationErrors>, ShelfError> {
        let mut orphans = shelf.read(services)?;
        orphans.retain(|service| catalog.services.get(service.0).is_none());
        if !orphans.is_empty() {
            shelf
                .write(|writing| orphans.iter().try_for_each(|service| keep_newest(writing, *service, 0)))?;
        }
        let dropped = metrics::counter!("tollgate_integration_errors_dropped_total");
        Ok(Arc::new(IntegrationErrors { shelf, queue: Mutex::default(), writing: Mutex::default(), dropped }))
    }

    /// Notes an error. Never waits for the disk.
    pub fn note(&self, service: ServiceId, code: &str, mut message: String, at_s: u64) {
        let mut end = message.len().min(MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        let mut queue = self.queue.lock();
        if queue.len() >= QUEUE_MAX {
            queue.pop_front();
            self.dropped.increment(1);
        }
        queue.push_back((service, ErrorRecord { code: code.to_owned(), message, at_s }));
    }

    /// The errors of a service, the newest first: `count` of them after the first `skip`, with all that were noted
    /// before this call. Waits for the disk.
    ///
    /// # Errors
    /// The shelf cannot be read or written.
    pub fn page(&self, service: ServiceId, skip: usize, count: usize) -> Result<Page, ShelfError> {
        self.settle()?;
        let prefix = service.0.to_be_bytes();
        let all = Scan { backwards: true, ..Scan::first(&prefix, usize::MAX) };
        let rows = self.shelf.read(|reading| reading.rows(ERRORS, &all))?;
        let errors = rows.iter().skip(skip).take(count).filter_map(|(_, value)| {
            let ErrorRecord { code, message, at_s } = ErrorRecord::decode(value.as_slice()).ok()?;
            Some(IntegrationError { code, message, at_s })
        });
        Ok(Page { errors: errors.collect(), count: rows.len() })
    }

    /// Deletes the errors of a service. Waits for the disk.
    ///
    /// # Errors
    /// The shelf cannot be written.
    pub fn clear(&self, service: ServiceId) -> Result<(), ShelfError> {
        self.settle()?;
        self.shelf.write(|writing| keep_newest(writing, service, 0))
    }

    /// Writes what waits. Waits for the disk, if there is anything.
    ///
    /// # Errors
    /// The shelf cannot be written; what waited is lost then, rather than kept for a disk that takes nothing.
    pub fn settle(&self) -> Result<(), ShelfError> {
        let _writing = self.writing.lock();
        let news = std::mem::take(&mut *self.queue.lock());
        if news.is_empty() {
            return Ok(());
        }
        self.shelf.write(|writing| {
            let next = writing.get(META, NEXT_NUMBER)?.and_then(|bytes| bytes.try_into().ok());
            let mut number = next.map_or(0, u64::from_le_bytes);
            let mut services = BTreeSet::new();
            for (service, record) in &news {
                let key = [service.0.to_be_bytes(), number.to_be_bytes()].concat();
                writing.put(ERRORS, &key, &record.encode_to_vec())?;
                number += 1;
                services.insert(service.0);
            }
            writing.put(META, NEXT_NUMBER, &number.to_le_bytes())?;
            services.into_iter().try_for_each(|service| keep_newest(writing, ServiceId(service), ERRORS_MAX))
        })
    }

    /// Writes what waits every second, unless that `is_put_off`, until `shutdown` and once more then.
    pub async fn run(
        self: Arc<Self>,
        is_put_off: impl Fn() -> bool + Send + 'static,
        shutdown: CancellationToken,
    ) {
        loop {
            let stopping = tokio::select! {
                () = shutdown.cancelled() => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            if is_put_off() && !stopping {
                continue;
            }
            let errors = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || errors.settle()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "integration errors could not be written"),
                Err(_) => tracing::error!("writing integration errors panicked"),
            }
            if stopping {
                return;
            }
        }
    }
}

/// The services that have errors: a look for each, not one at all their errors.
fn services(reading: &Reading<'_>) -> Result<Vec<ServiceId>, ShelfError> {
    let (mut found, mut from) = (Vec::new(), Some(0_u64));
    while let Some(least) = from
        && let Some(key) = reading.first_key(ERRORS, &least.to_be_bytes())?
        && let Some(id) = key.first_chunk()
    {
        let id = u64::from_be_bytes(*id);
        found.push(ServiceId(id));
        from = id.checked_add(1);
    }
    Ok(found)
}

/// Deletes all but the newest errors of a service.
fn keep_newest(writing: &mut Writing<'_>, service: ServiceId, kept: usize) -> Result<(), ShelfError> {
    let prefix = service.0.to_be_bytes();
    let older = Scan { backwards: true, skip: kept, ..Scan::first(&prefix, usize::MAX) };
    for (key, _) in writing.rows(ERRORS, &older)? {
        writing.delete(ERRORS, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::NoKeys;
    use crate::model::draft::{Draft, NewService};
    use crate::model::record::BackendVersion;

    /// A catalog with one service.
    fn catalog() -> (Catalog, ServiceId) {
        let mut draft = Draft::new(Catalog::new(), &NoKeys);
        let tenant = draft.create_tenant("t", "key").unwrap();
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: None, name: "s", backend_version };
        let service = draft.create_service(&new).unwrap();
        (draft.catalog().clone(), service)
    }

    fn messages(page: &Page) -> Vec<&str> {
        page.errors.iter().map(|error| error.message.as_str()).collect()
    }

    #[test]
    fn the_newest_come_first_and_are_there_after_a_restart_unless_their_service_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("errors");
        let (catalog, service) = catalog();
        let other = ServiceId(service.0 + 1000);
        let errors = IntegrationErrors::open(Shelf::open(&path).unwrap(), &catalog).unwrap();
        for number in 0..5 {
            errors.note(service, "user_key_invalid", format!("no {number}"), 7);
            errors.note(other, "user_key_invalid", "other".into(), 7);
        }
        let page = errors.page(service, 1, 2).unwrap();
        assert_eq!((messages(&page), page.count), (vec!["no 3", "no 2"], 5));
        assert_eq!(errors.page(other, 0, 100).unwrap().count, 5);
        drop(errors);
        let errors = IntegrationErrors::open(Shelf::open(&path).unwrap(), &catalog).unwrap();
        assert_eq!(messages(&errors.page(service, 0, 1).unwrap()), ["no 4"]);
        assert_eq!(errors.page(other, 0, 100).unwrap().count, 0);
        errors.note(service, "x", "no 5".into(), 8);
        errors.clear(service).unwrap();
        assert_eq!(errors.page(service, 0, 100).unwrap().count, 0);
    }

    #[test]
    fn each_service_keeps_its_newest_errors_and_the_queue_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, service) = catalog();
        let errors =
            IntegrationErrors::open(Shelf::open(&dir.path().join("errors")).unwrap(), &catalog).unwrap();
        for number in 0..ERRORS_MAX {
            errors.note(service, "c", number.to_string(), 0);
        }
        assert_eq!(errors.page(service, 0, 1).unwrap().count, ERRORS_MAX);
        errors.note(service, "c", "one more".into(), 0);
        let page = errors.page(service, 0, ERRORS_MAX).unwrap();
        assert_eq!(page.count, ERRORS_MAX);
        assert_eq!((messages(&page)[0], *messages(&page).last().unwrap()), ("one more", "1"));
        let waiting = || {
            let queue = errors.queue.lock();
            (queue.len(), queue.front().map(|(_, record)| record.message.clone()))
        };
        for number in 0..QUEUE_MAX {
            errors.note(service, "c", number.to_string(), 0);
        }
        assert_eq!(waiting(), (QUEUE_MAX, Some("0".into())));
        errors.note(service, "c", "one more".into(), 0);
        assert_eq!(waiting(), (QUEUE_MAX, Some("1".into())));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, service) = catalog();
        let errors =
            IntegrationErrors::open(Shelf::open(&dir.path().join("errors")).unwrap(), &catalog).unwrap();
        errors.note(service, "c", "x".repeat(MESSAGE_BYTES_MAX), 0);
        errors.note(service, "c", "x".repeat(MESSAGE_BYTES_MAX - 1) + "ö", 0);
        let page = errors.page(service, 0, 2).unwrap();
        let lengths: Vec<_> = messages(&page).iter().map(|message| message.len()).collect();
        assert_eq!(lengths, [MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX]);
    }
}
