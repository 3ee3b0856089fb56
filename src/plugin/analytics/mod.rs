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
//! again. The plugin holds the journal until then ([`Derive::HOLDS`]).
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
use crate::journal::Sequence;
use crate::model::catalog::Catalog;
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};
use crate::store::shelf::{Reading, Scan, Shelf, ShelfError, Table};
use derive::Deriver;
use layer::{Layer, Step};
use row::{HOURS, Row};

const HISTORY: Table = Table("history");
const APPLICATIONS: Table = Table("applications");
const GONE: Table = Table("gone");
const META: Table = Table("meta");
const EPOCH: &[u8] = b"epoch";

/// In place of an application: the service as a whole.
const WHOLE: ApplicationId = ApplicationId(0);

/// The most applications' days that are gone through to tell who used most: about a second's work.
pub const ROWS_READ_MAX: u64 = 5_000_000;

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

    fn application(self) -> Option<ApplicationId> {
        match self {
            Subject::Service(_) => None,
            Subject::Application(_, application) => Some(application),
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

/// Shelf and layer of one moment, as far as one slot is concerned.
struct Look<'s> {
    reading: Reading<'s>,
    over: Over,
}

/// An application and its steps of one slot on one day, by hour.
type OfApplication = (ApplicationId, Vec<(u32, Step)>);

/// What is not on the shelf yet, of what is asked for.
#[derive(Default)]
struct Over {
    /// The first and the last day on which there is anything of the service.
    days: Option<(u32, u32)>,
    /// By day: of each application its steps, by hour.
    steps: HashMap<u32, Vec<OfApplication>>,
}

impl Over {
    fn of(layer: &Layer, of: Subject, slot: Option<MetricSlot>) -> Over {
        let mut over = Over::default();
        for (application, days) in layer.of(of.service()).into_iter().flatten() {
            let is_asked = matches!(of, Subject::Service(_)) || of.application() == Some(*application);
            for (day, steps) in days.iter() {
                let (first, last) = over.days.unwrap_or((day, day));
                over.days = Some((first.min(day), last.max(day)));
                let steps: Vec<_> =
                    slot.filter(|_| is_asked).into_iter().flat_map(|it| steps.of(it.0)).collect();
                if !steps.is_empty() {
                    over.steps.entry(day).or_default().push((*application, steps));
                }
            }
        }
        over
    }

    fn on(&self, day: u32) -> &[OfApplication] {
        self.steps.get(&day).map_or(&[], Vec::as_slice)
    }
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
        begin(&shelf, &engine.catalog()).map_err(std::io::Error::other)?;
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
        let look = self.look(of, Some(slot))?;
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
            let hours = match of {
                Subject::Application(service, application) => {
                    look.application(service, application, slot, day)?
                }
                Subject::Service(service) => look.service(service, slot, day)?,
            };
            (0..HOURS).zip(hours).for_each(|(hour, amount)| add(day * HOURS + hour, amount));
        }
        Ok(sums)
    }

    /// The first and the last day (since 1970-01-01, UTC) on which anything is known of a service.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn days(&self, service: ServiceId) -> Result<Option<(u32, u32)>, ShelfError> {
        self.look(Subject::Service(service), None)?.days(service)
    }

    /// What each application of a service used of a slot in some hours since 1970 UTC, in no order, those that used nothing left out. There may be
    /// some among them that were deleted since. Goes through all that was used in these days.
    ///
    /// # Errors
    /// There are more than [`ROWS_READ_MAX`] applications' days in them, or the shelf cannot be read.
    pub fn by_application(
        &self,
        service: ServiceId,
        slot: MetricSlot,
        hours: Range<u32>,
    ) -> Result<Vec<(ApplicationId, i64)>, TooMany> {
        self.by_application_of(service, slot, hours, ROWS_READ_MAX)
    }

    fn by_application_of(
        &self,
        service: ServiceId,
        slot: MetricSlot,
        hours: Range<u32>,
        rows_max: u64,
    ) -> Result<Vec<(ApplicationId, i64)>, TooMany> {
        let look = self.look(Subject::Service(service), Some(slot))?;
        let Some((first_day, last_day)) = look.days(service)? else { return Ok(Vec::new()) };
        let days = (hours.start / HOURS).max(first_day)..=(hours.end.saturating_sub(1) / HOURS).min(last_day);
        let (mut sums, mut rows) = (HashMap::<ApplicationId, i64>::new(), 0);
        for day in days {
            rows += look.each_application(service, slot, day, |application, hour, amount| {
                if hours.contains(&(day * HOURS + hour)) {
                    let sum = sums.entry(application).or_default();
                    *sum = sum.saturating_add(amount);
                }
            })?;
            if rows > rows_max {
                return Err(TooMany::Rows);
            }
        }
        sums.retain(|_, sum| *sum != 0);
        Ok(sums.into_iter().collect())
    }

    fn look(&self, of: Subject, slot: Option<MetricSlot>) -> Result<Look<'_>, ShelfError> {
        let layer = self.layer.read();
        let over = Over::of(&layer, of, slot);
        let epoch = layer.epoch;
        let reading = self.shelf.reading()?;
        drop(layer);
        let is_written = epoch_in(&reading)? >= epoch;
        Ok(Look { reading, over: if is_written { Over::default() } else { over } })
    }
}

/// Why it is not told what applications used.
#[derive(Debug, thiserror::Error)]
pub enum TooMany {
    /// It would take too long.
    #[error("there are more than {ROWS_READ_MAX} applications' days in it")]
    Rows,
    /// The shelf cannot be read.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// Notes on a new shelf which service the applications are of that there are: the journal may begin after they were put.
fn begin(shelf: &Shelf, catalog: &Catalog) -> Result<(), ShelfError> {
    if shelf.position()? > Sequence(0) || catalog.applications.iter().next().is_none() {
        return Ok(());
    }
    shelf.write(|writing| {
        let mut rows = writing.open(APPLICATIONS)?;
        let mut all = catalog.applications.iter();
        all.try_for_each(|(id, it)| rows.put(&id.to_be_bytes(), &it.service.0.to_le_bytes()))
    })
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
        let stored = of(&first).zip(of(&last));
        let all = [stored, self.over.days].into_iter().flatten();
        Ok(all.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))))
    }

    /// What an application used on a day, by hour.
    fn application(
        &self,
        service: ServiceId,
        application: ApplicationId,
        slot: MetricSlot,
        day: u32,
    ) -> Result<Hours, ShelfError> {
        let mut hours = self.stored(service, day, application, slot)?;
        for (_, steps) in self.over.on(day).iter().filter(|(of, _)| *of == application) {
            for (hour, step) in steps {
                let amount = &mut hours[(hour % HOURS) as usize];
                *amount = step.on(*amount);
            }
        }
        Ok(hours)
    }

    /// What a service used on a day, by hour.
    fn service(&self, service: ServiceId, slot: MetricSlot, day: u32) -> Result<Hours, ShelfError> {
        let mut hours = self.stored(service, day, WHOLE, slot)?;
        for (application, steps) in self.over.on(day) {
            // Only what is set depends on what was there.
            let is_set = steps.iter().any(|(_, step)| matches!(step, Step::Set(_)));
            let before =
                if is_set { self.stored(service, day, *application, slot)? } else { [0; HOURS as usize] };
            for (hour, step) in steps {
                let at = (hour % HOURS) as usize;
                let more = step.on(before[at]).saturating_sub(before[at]);
                hours[at] = hours[at].saturating_add(more);
            }
        }
        Ok(hours)
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

    /// Shows `visit` what each application used in which hour of a day; how many rows were looked at.
    fn each_application(
        &self,
        service: ServiceId,
        slot: MetricSlot,
        day: u32,
        mut visit: impl FnMut(ApplicationId, u32, i64),
    ) -> Result<u64, ShelfError> {
        let from = key_of(service, day, ApplicationId(WHOLE.0 + 1));
        let over: HashMap<_, _> = self.over.on(day).iter().map(|(id, steps)| (*id, steps)).collect();
        let (mut rows, mut damaged) = (0, None);
        self.reading.each_row(HISTORY, &from[..12], &from, |key, bytes| {
            rows += 1;
            let application = ApplicationId(key.last_chunk().copied().map_or(0, u64::from_be_bytes));
            if !over.contains_key(&application) {
                let read = Row::each_of(bytes, slot.0, |hour, amount| visit(application, hour, amount));
                damaged = damaged.or(read.err());
            }
        })?;
        if let Some(error) = damaged {
            return Err(self.reading.shelf().damaged(HISTORY, &error));
        }
        for (application, steps) in over {
            let mut hours = self.stored(service, day, application, slot)?;
            for (hour, step) in steps {
                let amount = &mut hours[(hour % HOURS) as usize];
                *amount = step.on(*amount);
            }
            (0..HOURS).zip(hours).for_each(|(hour, amount)| visit(application, hour, amount));
        }
        Ok(rows)
    }
}
