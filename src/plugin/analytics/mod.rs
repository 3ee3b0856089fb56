//! History: what was used of each metric in each hour, by application and by service.
//!
//! It follows the journal's usage. An amount belongs to the hour (UTC) that its request was dated in, also where that is too old for any
//! counter; `usage[hits]=#5` sets the hour to 5 (of the counters it sets all periods, which hours that add up cannot). What a service used is
//! what its applications used, those that were deleted since included.
//!
//! # What is on the shelf
//! ```text
//! history       service u64, day u32, application u64, big-endian: a row (`row`); application 0 is the service as a whole
//! applications  application u64 big-endian: service u64 little-endian      of each that a command put, while there is it
//! gone          service u64 big-endian: nothing                            it was deleted, and some of its rows are left
//! meta          "epoch": u64 little-endian                                 how many times there was written
//! ```
//!
//! # When it is written
//! What comes is gathered in memory (`layer`), as steps over the rows, and written every quarter of a minute: an application that is called all the
//! time costs a row in that time, not in each flush. The stored position moves with it, so a crash loses nothing: what was gathered is read
//! again. The plugin holds the journal until then, and is neither detached nor put off ([`Derive::HOLDS`]).
//!
//! Readers see the shelf with the layer over it, as one moment has both: they take a copy of the layer and begin to read the shelf while the layer
//! cannot change. Its epoch tells whether the shelf has what is in it, as the layer is emptied only after the shelf was written. By the epoch, too,
//! a write that failed after all was on disk is told from one that failed before.
//!
//! | File | What it holds |
//! |---|---|
//! | `row`, `layer` | a day's amounts and their bytes; what is not written yet |
//! | `derive` | from entries to both |
//! | `past` | history that comes from elsewhere, told by commands |
//!
//! [`Derive::HOLDS`]: super::follower::Derive::HOLDS

mod derive;
mod layer;
pub mod past;
mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::RwLock;

use super::follower::Following;
use crate::engine::Engine;
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};
use crate::store::shelf::{Reading, Scan, Shelf, ShelfError, Table};
use derive::Deriver;
use layer::{Layer, OfService, Step};
use row::{HOURS, Row};

const HISTORY: Table = Table("history");
const APPLICATIONS: Table = Table("applications");
const GONE: Table = Table("gone");
const META: Table = Table("meta");
const EPOCH: &[u8] = b"epoch";

/// In place of an application: the service as a whole.
const WHOLE: ApplicationId = ApplicationId(0);

const KEY_LEN: usize = 8 + 4 + 8;
type Key = [u8; KEY_LEN];

fn key_of(service: ServiceId, day: u32, application: ApplicationId) -> Key {
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&service.0.to_be_bytes());
    key[8..12].copy_from_slice(&day.to_be_bytes());
    key[12..].copy_from_slice(&application.0.to_be_bytes());
    key
}

fn day_in(key: &[u8]) -> Option<u32> {
    key.get(8..12)?.try_into().ok().map(u32::from_be_bytes)
}

/// Of what the history is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// All applications of a service together.
    Service(ServiceId),
    /// One application, and its service.
    Application(ServiceId, ApplicationId),
}

impl Subject {
    fn service(self) -> ServiceId {
        match self {
            Subject::Service(service) | Subject::Application(service, _) => service,
        }
    }
}

/// The history of a node.
pub struct Analytics {
    shelf: Arc<Shelf>,
    layer: Arc<RwLock<Layer>>,
    following: Arc<Following>,
}

impl Drop for Analytics {
    fn drop(&mut self) {
        self.following.stop();
    }
}

/// Shelf and layer of one moment.
struct Look<'s> {
    reading: Reading<'s>,
    /// What is not on the shelf yet, of the service that is asked for.
    over: OfService,
}

impl Analytics {
    /// Begins to follow the journal. The thread ends after [`Following::stop`], or when this is dropped.
    ///
    /// # Errors
    /// The shelf cannot be read, or the system gives no thread.
    pub fn start(engine: &Arc<Engine>, shelf: Shelf) -> std::io::Result<(Analytics, JoinHandle<()>)> {
        let epoch = epoch_in(&shelf.reading().map_err(std::io::Error::other)?);
        let epoch = epoch.map_err(std::io::Error::other)? + 1;
        let layer = Arc::new(RwLock::new(Layer::new(epoch)));
        let shelf = Arc::new(shelf);
        let deriver = Deriver::new(Arc::clone(engine), Arc::clone(&layer));
        let (following, thread) =
            Following::start(past::PLUGIN, Arc::clone(engine), Arc::clone(&shelf), deriver)?;
        Ok((Analytics { shelf, layer, following }, thread))
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

    /// What was used of a slot between boundaries, which are hours since 1970-01-01 00:00 UTC in ascending order: of n + 1 boundaries, n sums. As
    /// far as is derived by now. Takes a look at each day between on which anything of the service was used.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn sums(&self, of: Subject, slot: MetricSlot, bounds: &[u32]) -> Result<Vec<i64>, ShelfError> {
        let mut sums = vec![0_i64; bounds.len().saturating_sub(1)];
        let (Some(first), Some(end)) = (bounds.first(), bounds.last()) else { return Ok(sums) };
        let look = self.look(of.service())?;
        let Some((first_day, last_day)) = look.days(of.service())? else { return Ok(sums) };
        let mut add = |hour: u32, amount: i64| {
            // Where the first boundary after the hour is.
            let window = bounds.partition_point(|bound| *bound <= hour).checked_sub(1);
            if let Some(sum) = window.and_then(|window| sums.get_mut(window)) {
                *sum = sum.saturating_add(amount);
            }
        };
        let days = (first / HOURS).max(first_day)..=(end.saturating_sub(1) / HOURS).min(last_day);
        for day in days {
            let hours = look.day(of, slot, day)?;
            (0..HOURS).zip(hours).for_each(|(hour, amount)| add(day * HOURS + hour, amount));
        }
        Ok(sums)
    }

    /// The first and the last day (since 1970-01-01, UTC) on which anything is known of a service.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn days(&self, service: ServiceId) -> Result<Option<(u32, u32)>, ShelfError> {
        self.look(service)?.days(service)
    }

    /// What each application of a service used of a slot in some hours since 1970 UTC, in no order, those that used nothing left out. There may be
    /// some among them that were deleted since. Goes through all that was used in these days.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn by_application(
        &self,
        service: ServiceId,
        slot: MetricSlot,
        hours: Range<u32>,
    ) -> Result<Vec<(ApplicationId, i64)>, ShelfError> {
        let look = self.look(service)?;
        let Some((first_day, last_day)) = look.days(service)? else { return Ok(Vec::new()) };
        let days = (hours.start / HOURS).max(first_day)..=(hours.end.saturating_sub(1) / HOURS).min(last_day);
        let mut sums = HashMap::<ApplicationId, i64>::new();
        for day in days {
            look.each_application(service, slot, day, |application, hour, amount| {
                if hours.contains(&(day * HOURS + hour)) {
                    let sum = sums.entry(application).or_default();
                    *sum = sum.saturating_add(amount);
                }
            })?;
        }
        sums.retain(|_, sum| *sum != 0);
        Ok(sums.into_iter().collect())
    }

    fn look(&self, service: ServiceId) -> Result<Look<'_>, ShelfError> {
        let layer = self.layer.read();
        let over = layer.of(service).cloned().unwrap_or_default();
        let epoch = layer.epoch;
        let reading = self.shelf.reading()?;
        drop(layer);
        let is_written = epoch_in(&reading)? >= epoch;
        Ok(Look { reading, over: if is_written { OfService::default() } else { over } })
    }
}

/// How many times the shelf was written.
fn epoch_in(reading: &Reading<'_>) -> Result<u64, ShelfError> {
    let bytes = reading.get(META, EPOCH)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes))
}

type Hours = [i64; HOURS as usize];

impl Look<'_> {
    fn days(&self, service: ServiceId) -> Result<Option<(u32, u32)>, ShelfError> {
        let prefix = service.0.to_be_bytes();
        let first = self.reading.rows(HISTORY, &Scan::first(&prefix, 1))?;
        let last = self.reading.rows(HISTORY, &Scan { backwards: true, ..Scan::first(&prefix, 1) })?;
        let of = |rows: &[(Vec<u8>, Vec<u8>)]| rows.first().and_then(|(key, _)| day_in(key));
        let over = || self.over.values().flat_map(|days| days.iter().map(|(day, _)| day));
        let first = over().chain(of(&first)).min();
        Ok(first.zip(over().chain(of(&last)).max()))
    }

    /// What was used on a day, by hour.
    fn day(&self, of: Subject, slot: MetricSlot, day: u32) -> Result<Hours, ShelfError> {
        match of {
            Subject::Application(service, application) => {
                let mut hours = self.stored(service, day, application, slot)?;
                let steps = self.over.get(&application).and_then(|days| days.get(day));
                for (hour, step) in steps.into_iter().flat_map(|steps| steps.of(slot.0)) {
                    let amount = &mut hours[(hour % HOURS) as usize];
                    *amount = step.on(*amount);
                }
                Ok(hours)
            }
            Subject::Service(service) => {
                let mut hours = self.stored(service, day, WHOLE, slot)?;
                for (application, days) in &self.over {
                    let steps: Vec<_> = days.get(day).into_iter().flat_map(|it| it.of(slot.0)).collect();
                    // Only what is set depends on what was there.
                    let is_set = steps.iter().any(|(_, step)| matches!(step, Step::Set(_)));
                    let before = if is_set {
                        self.stored(service, day, *application, slot)?
                    } else {
                        [0; HOURS as usize]
                    };
                    for (hour, step) in steps {
                        let at = (hour % HOURS) as usize;
                        let more = step.on(before[at]).saturating_sub(before[at]);
                        hours[at] = hours[at].saturating_add(more);
                    }
                }
                Ok(hours)
            }
        }
    }

    /// What is on the shelf of that.
    fn stored(
        &self,
        service: ServiceId,
        day: u32,
        application: ApplicationId,
        slot: MetricSlot,
    ) -> Result<Hours, ShelfError> {
        let mut hours = [0; HOURS as usize];
        if let Some(bytes) = self.reading.get(HISTORY, &key_of(service, day, application))? {
            let read = Row::each_of(&bytes, slot.0, |hour, amount| hours[(hour % HOURS) as usize] = amount);
            read.map_err(|error| self.reading.shelf().damaged(HISTORY, &error))?;
        }
        Ok(hours)
    }

    /// Shows `visit` what each application used in which hour of a day.
    fn each_application(
        &self,
        service: ServiceId,
        slot: MetricSlot,
        day: u32,
        mut visit: impl FnMut(ApplicationId, u32, i64),
    ) -> Result<(), ShelfError> {
        let from = key_of(service, day, ApplicationId(WHOLE.0 + 1));
        let mut damaged = None;
        self.reading.each_row(HISTORY, &from[..12], &from, |key, bytes| {
            let application = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
            if self.over.get(&ApplicationId(application)).is_some_and(|days| days.get(day).is_some()) {
                return;
            }
            let read =
                Row::each_of(bytes, slot.0, |hour, amount| visit(ApplicationId(application), hour, amount));
            damaged = damaged.or(read.err());
        })?;
        if let Some(error) = damaged {
            return Err(self.reading.shelf().damaged(HISTORY, &error));
        }
        for application in self.over.iter().filter(|(_, days)| days.get(day).is_some()).map(|(id, _)| *id) {
            let hours = self.day(Subject::Application(service, application), slot, day)?;
            (0..HOURS).zip(hours).for_each(|(hour, amount)| visit(application, hour, amount));
        }
        Ok(())
    }
}
