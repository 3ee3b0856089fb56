//! From journal entries to history.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::layer::{Layer, Step};
use super::row::Row;
use super::{APPLICATIONS, EPOCH, GONE, HISTORY, Key, META, WHOLE, key_of, past};
use crate::engine::Engine;
use crate::journal::catalog as codec;
use crate::journal::entry::{Command, Entry, Kind};
use crate::model::catalog::Change;
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};
use crate::model::time::{Minute, UnixMillis};
use crate::plugin::follower::Derive;
use crate::store::shelf::{Rows, Scan, ShelfError, Writing};

/// How long what was taken in is gathered before it is written.
const GATHERED_FOR: Duration = Duration::from_secs(15);

/// How many rows are gathered before they are written, and how many amounts: some 30 MiB, and what one read of the journal brings more.
const ROWS_MAX: usize = 65_536;
const STEPS_MAX: usize = 500_000;

/// A start reads so many segments of the journal once more, at most: as much as a checkpoint is made after.
const SEGMENTS: u64 = 4;

/// How many rows of deleted services are taken away at a time.
pub(super) const REMOVED_AT_ONCE: usize = 4_096;

const MINUTES: u32 = 60;

/// Takes in entries.
pub(super) struct Deriver {
    engine: Arc<Engine>,
    layer: Arc<RwLock<Layer>>,
    /// When the oldest in the layer was taken in.
    since: Option<Instant>,
    gathered_for: Duration,
    /// Applications that commands put: the service of each.
    put: HashMap<ApplicationId, ServiceId>,
    /// Applications that commands deleted.
    deleted: Vec<ApplicationId>,
    /// Of applications that the catalog has no more: it is ahead of the entry. They were put before, so the shelf knows their service.
    strays: Vec<Stray>,
    /// Services that were deleted; their rows go a few at a time.
    gone: Vec<ServiceId>,
    /// There may be rows of deleted services left.
    is_removing: bool,
    /// As it is once this is written.
    is_removing_then: bool,
    /// What is in the layer was tried to be written, and whether that went well is not known.
    is_tried: bool,
    lost: metrics::Counter,
}

struct Stray {
    application: ApplicationId,
    slot: MetricSlot,
    hour: u32,
    step: Step,
}

impl Deriver {
    pub(super) fn new(engine: Arc<Engine>, layer: Arc<RwLock<Layer>>) -> Deriver {
        let lost = metrics::counter!("tollgate_analytics_lost_total");
        Deriver {
            engine,
            layer,
            since: None,
            gathered_for: GATHERED_FOR,
            put: HashMap::new(),
            deleted: Vec::new(),
            strays: Vec::new(),
            gone: Vec::new(),
            // A restart may have come between.
            is_removing: true,
            is_removing_then: true,
            is_tried: false,
            lost,
        }
    }

    /// The same, writing more often.
    #[cfg(test)]
    pub(super) fn gathering(self, gathered_for: Duration) -> Deriver {
        Deriver { gathered_for, ..self }
    }

    /// Whether all that was taken in can be read.
    #[cfg(test)]
    pub(super) fn has_found_all(&self) -> bool {
        self.strays.is_empty()
    }

    /// Takes in steps of applications; `each` shows them all.
    fn take(&mut self, each: impl FnOnce(&mut dyn FnMut(ApplicationId, MetricSlot, u32, Step))) {
        let catalog = self.engine.catalog();
        let mut layer = self.layer.write();
        each(&mut |application, slot, hour, step| {
            let known = catalog.applications.get(application.0).map(|it| it.service);
            match known.or_else(|| self.put.get(&application).copied()) {
                Some(service) => layer.add((service, application), slot, hour, step),
                None => self.strays.push(Stray { application, slot, hour, step }),
            }
        });
        self.since = self.since.or_else(|| Some(Instant::now()));
    }

    fn command(&mut self, command: &Command) {
        if let Some((_, part)) = command.parts.iter().find(|(name, _)| name == past::PLUGIN) {
            let mut unread = 0;
            self.take(|step| {
                unread = past::each(part, |application, slot, hour, amount| {
                    step(application, slot, hour, Step::Set(amount));
                });
            });
            if unread > 0 {
                tracing::error!(
                    unread,
                    "rows of past usage cannot be read: a newer release must have written them"
                );
            }
        }
        self.since = self.since.or_else(|| Some(Instant::now()));
        let read = codec::decode(&command.core, |change, _| match change {
            Change::PutApplication(application) => {
                self.put.insert(application.id, application.service);
            }
            Change::DeleteApplication(id) => self.deleted.push(id),
            Change::DeleteService(id) => {
                self.layer.write().remove(id);
                self.gone.push(id);
            }
            _ => {}
        });
        // The engine has carried this command out, so it can be read.
        debug_assert!(read.is_ok(), "a command cannot be read again");
    }

    /// Finds the services of strays, of those that there are still rows of.
    fn find_strays(&mut self, writing: &Writing<'_>) -> Result<(), ShelfError> {
        let mut found = Vec::new();
        for stray in &self.strays {
            let service = match self.put.get(&stray.application) {
                Some(service) => Some(*service),
                None => {
                    let known = writing.get(APPLICATIONS, &stray.application.0.to_be_bytes())?;
                    known.and_then(|bytes| bytes.try_into().ok()).map(|id| ServiceId(u64::from_le_bytes(id)))
                }
            };
            found.push(service);
        }
        let mut layer = self.layer.write();
        for (stray, service) in self.strays.drain(..).zip(found) {
            match service {
                Some(service) if self.gone.contains(&service) => {}
                Some(service) => layer.add((service, stray.application), stray.slot, stray.hour, stray.step),
                None => {
                    self.lost.increment(1);
                    let application = stray.application.0;
                    tracing::warn!(application, "usage of an unknown application is not in the history");
                }
            }
        }
        Ok(())
    }

    /// Notes which service applications are of, for as long as there are any.
    fn write_applications(&self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        let mut rows = writing.open(APPLICATIONS)?;
        for (application, service) in &self.put {
            let key = application.0.to_be_bytes();
            // Most commands put what is there already.
            if rows.get(&key)?.is_none() {
                rows.put(&key, &service.0.to_le_bytes())?;
            }
        }
        for application in &self.deleted {
            rows.delete(&application.0.to_be_bytes())?;
        }
        Ok(())
    }

    fn write_history(&self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        let layer = self.layer.read();
        let mut rows = writing.open(HISTORY)?;
        let mut whole: Option<(Key, Row)> = None;
        for (service, day, application, steps) in layer.in_order() {
            let whole_key = key_of(service, day, WHOLE);
            if let Some((key, row)) = whole.take_if(|(key, _)| *key != whole_key) {
                rows.put(&key, &row.encode())?;
            }
            let key = key_of(service, day, application);
            let mut used = row(&rows, &key)?;
            let (_, sum) = match &mut whole {
                Some(whole) => whole,
                none => none.insert((whole_key, row(&rows, &whole_key)?)),
            };
            steps.on(&mut used, |slot, hour, by| {
                let amount = sum.cell(slot, hour);
                *amount = amount.saturating_add(by);
            });
            rows.put(&key, &used.encode())?;
        }
        if let Some((key, row)) = whole {
            rows.put(&key, &row.encode())?;
        }
        drop(rows);
        writing.put(META, EPOCH, &layer.epoch.to_le_bytes())
    }

    /// Takes away some of what is left of deleted services; whether there is more.
    fn remove_some(&self, writing: &mut Writing<'_>) -> Result<bool, ShelfError> {
        for service in &self.gone {
            writing.put(GONE, &service.0.to_be_bytes(), &[])?;
        }
        let mut left = REMOVED_AT_ONCE;
        for (service, _) in writing.rows(GONE, &Scan::first(&[], REMOVED_AT_ONCE))? {
            let found = writing.rows(HISTORY, &Scan::first(&service, left))?;
            let mut rows = writing.open(HISTORY)?;
            for (key, _) in &found {
                rows.delete(key)?;
            }
            drop(rows);
            left -= found.len();
            if left == 0 {
                return Ok(true);
            }
            writing.delete(GONE, &service)?;
        }
        Ok(writing.len(GONE)? > 0)
    }
}

/// A row as it is; an empty one if there is none.
fn row(rows: &Rows<'_>, key: &[u8]) -> Result<Row, ShelfError> {
    let bytes = rows.get(key)?;
    let row = bytes.map(|bytes| Row::decode(&bytes)).transpose();
    row.map(Option::unwrap_or_default).map_err(|error| rows.damaged(HISTORY, &error))
}

impl Derive for Deriver {
    const HOLDS: bool = true;

    fn wants(kind: Kind) -> bool {
        matches!(kind, Kind::Usage | Kind::Set | Kind::Command)
    }

    fn entry(&mut self, _: UnixMillis, entry: Entry) {
        let hour = |minute: Minute| minute.0 / MINUTES;
        match entry {
            Entry::Usage(usage) => self.take(|step| {
                for item in &usage.items {
                    for (slot, amount) in &item.deltas {
                        step(item.application, *slot, hour(item.minute), Step::Add(*amount));
                    }
                }
            }),
            Entry::Set(set) => self.take(|step| {
                for (slot, value) in &set.values {
                    let amount = i64::try_from(*value).unwrap_or(i64::MAX);
                    step(set.application, *slot, hour(set.minute), Step::Set(amount));
                }
            }),
            Entry::Command(command) => self.command(&command),
            // Counters alone are given values: what was used is what it was.
            Entry::Replace(_)
            | Entry::Reservation(_)
            | Entry::Reached(_)
            | Entry::Traffic(_)
            | Entry::Ids(_)
            | Entry::Producers(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.layer.read().rows() == 0
            && self.put.is_empty()
            && self.deleted.is_empty()
            && self.strays.is_empty()
            && self.gone.is_empty()
            && !self.is_removing
    }

    fn is_due(&self) -> bool {
        let (rows, steps) = {
            let layer = self.layer.read();
            (layer.rows(), layer.steps())
        };
        self.is_removing
            || !self.gone.is_empty()
            || !self.strays.is_empty()
            || self.put.len() + self.deleted.len() + rows >= ROWS_MAX
            || steps >= STEPS_MAX
            || self.since.is_none_or(|since| since.elapsed() >= self.gathered_for)
    }

    fn journal_bytes(&self) -> u64 {
        SEGMENTS * self.engine.journal().segment_bytes()
    }

    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        let stored = writing.get(META, EPOCH)?;
        let stored = stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        if self.is_tried && stored >= self.layer.read().epoch {
            // The try before failed after it was written: to add the same once more would double it.
            return Ok(());
        }
        self.is_tried = true;
        self.layer.write().epoch = stored + 1;
        self.find_strays(writing)?;
        self.write_applications(writing)?;
        self.write_history(writing)?;
        self.is_removing_then = self.remove_some(writing)?;
        Ok(())
    }

    fn written(&mut self) {
        let mut layer = self.layer.write();
        layer.clear();
        layer.epoch += 1;
        drop(layer);
        self.is_tried = false;
        self.put.clear();
        self.deleted.clear();
        self.gone.clear();
        self.is_removing = self.is_removing_then;
        self.since = None;
    }

    fn forget(&mut self) {
        let mut layer = self.layer.write();
        layer.clear();
        // What the shelf's epoch is, is looked up when it is written; it cannot have what comes now.
        layer.epoch = u64::MAX;
        drop(layer);
        self.is_tried = false;
        self.put.clear();
        self.deleted.clear();
        self.strays.clear();
        self.gone.clear();
        self.is_removing = true;
        self.since = None;
    }
}
