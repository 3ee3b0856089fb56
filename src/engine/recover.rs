//! Recovery: from a checkpoint and the journal to a running engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::Engine;
use super::cut::{Gate, Sequencer};
use super::dedup::{Ids, Past};
use super::directory::{Directory, Leads};
use super::flush::FlushState;
use super::handle::Passes;
use crate::counter::snapshot::SubjectImage;
use crate::counter::{Counters, Facts, Note};
use crate::journal::catalog::{self as codec, CatalogError};
use crate::journal::entry::{Command, Entry};
use crate::journal::reservation::ReservationItem;
use crate::journal::{Journal, Sequence};
use crate::model::amount::Effect;
use crate::model::catalog::{Catalog, Change};
use crate::model::id::{ApplicationId, MetricSlot, Subject};
use crate::model::idempotency::{IdKey, Known};
use crate::model::producer::Window;
use crate::model::record::Application;
use crate::model::time::{Minute, UnixMillis};

/// Why what the disk holds cannot be put together again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A catalog record cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Usage names an application that the catalog does not have.
    #[error("usage names application {0}, which the catalog does not have")]
    ApplicationUnknown(ApplicationId),
    /// A command does not follow the one before it.
    #[error("a command leads to catalog version {found}, but {expected} comes next")]
    VersionGap {
        /// What it says.
        found: u64,
        /// What would follow.
        expected: u64,
    },
    /// An amount below zero, which this version never writes.
    #[error("usage of application {0} has a negative amount: it was written by a newer version")]
    Negative(ApplicationId),
}

/// An engine in the making: first the checkpoint, if there is one, then the journal's entries in order.
pub struct Recovery {
    catalog: Catalog,
    /// Commands up to here are in `catalog` already.
    catalog_sequence: Sequence,
    counters: Counters,
    ids: Ids,
    /// Ids of the journal, of which the past may have some.
    replayed: Vec<(Sequence, Vec<Known>)>,
    /// What the journal has of producers.
    producers: HashMap<IdKey, Window>,
    /// Up to where the checkpoint's counters of a subject go, by its index; zero without any.
    stamps: Vec<Sequence>,
    /// How many keys of applications there are, about.
    keys: usize,
    now: UnixMillis,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            catalog: Catalog::new(),
            catalog_sequence: Sequence(0),
            counters: Counters::default(),
            ids: Ids::default(),
            replayed: Vec::new(),
            producers: HashMap::new(),
            stamps: Vec::new(),
            keys: 0,
            now: UnixMillis(0),
        }
    }
}

impl Recovery {
    /// Takes the checkpoint's catalog: `records` as [`codec::encode`] wrote them, of that version and place.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn catalog(&mut self, records: &[u8], version: u64, at: Sequence) -> Result<(), RecoverError> {
        codec::decode(records, |change, next_id| self.change(change, next_id))?;
        self.catalog_is(version, at);
        Ok(())
    }

    /// Takes one change of the checkpoint's catalog, and what it says of the id sequence; after the last comes
    /// [`Recovery::catalog_is`].
    pub fn change(&mut self, mut change: Change, next_id: u64) {
        let Recovery { catalog, counters, stamps, keys, .. } = self;
        match &mut change {
            Change::PutApplication(application) => {
                let known = catalog.applications.get(application.id.0).map(|it| it.subject);
                application.subject = known.unwrap_or_else(|| {
                    *keys += 1 + application.user_keys.len();
                    let subject = counters.occupy(application.id);
                    // What was known of who had the place before.
                    stamps.get_mut(subject.index as usize).into_iter().for_each(|stamp| *stamp = Sequence(0));
                    subject
                });
            }
            Change::DeleteApplication(id) => {
                if let Some(application) = catalog.applications.get(id.0) {
                    counters.vacate(application.subject);
                }
            }
            _ => {}
        }
        catalog.take(change);
        catalog.next_id = catalog.next_id.max(next_id);
    }

    /// The checkpoint's catalog is of that version and place in the journal.
    pub fn catalog_is(&mut self, version: u64, at: Sequence) {
        self.catalog.version = version;
        self.catalog_sequence = at;
    }

    /// Takes idempotency ids that are in the journal up to `covered` from `past`, and remembers `max` at most, in all.
    pub fn past(&mut self, past: Arc<dyn Past>, covered: Sequence, max: u64) {
        self.ids.open(past, covered, max);
    }

    /// Raises the id sequence to what the checkpoint remembers: deleted records' ids are not used again.
    pub fn next_id(&mut self, next_id: u64) {
        self.catalog.next_id = self.catalog.next_id.max(next_id);
    }

    /// Shows the engine a time that was reached before.
    pub fn reached(&mut self, time: UnixMillis) {
        self.now = self.now.max(time);
    }

    /// Sets the clock, whatever was reached before: an operator accepted that it went back. Counts of windows
    /// that are not open then are dropped. After the last entry; a checkpoint must follow before anything is
    /// counted, or a replay would go through the old time again.
    pub fn accept_clock(&mut self, now: UnixMillis) {
        self.now = now;
        self.counters.rewind(now.minute());
    }

    /// The latest time that was reached before.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// Whether there is any record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog.version == 0
    }

    /// Takes the checkpoint's counters of a subject, after the catalog. What the catalog no longer has is dropped.
    pub fn counters(&mut self, stamp: Sequence, image: &SubjectImage) {
        if let Some(application) = self.catalog.applications.get(image.application.0) {
            self.counters.restore(application.subject, image);
            let index = application.subject.index as usize;
            if self.stamps.len() <= index {
                self.stamps.resize(index + 1, Sequence(0));
            }
            self.stamps[index] = stamp;
        }
    }

    /// Applies one entry of the journal.
    ///
    /// # Errors
    /// The entry contradicts what came before.
    pub fn entry(&mut self, at: Sequence, time: UnixMillis, entry: &Entry) -> Result<(), RecoverError> {
        self.reached(time);
        match entry {
            Entry::Command(command) => self.command(at, command),
            Entry::Usage(usage) => usage.items.iter().try_for_each(|item| {
                let add = |(slot, delta): &(MetricSlot, i64)| {
                    let amount =
                        u64::try_from(*delta).map_err(|_| RecoverError::Negative(item.application))?;
                    Ok((*slot, Effect::Add(amount)))
                };
                let effects = item.deltas.iter().map(add).collect::<Result<Vec<_>, RecoverError>>()?;
                self.usage(at, item.application, item.minute, item.counted, &effects)
            }),
            // Follows from what was replayed; for those who follow the journal.
            Entry::Reached(_) | Entry::Traffic(_) => Ok(()),
            Entry::Set(set) | Entry::Replace(set) => {
                let effects: Vec<_> =
                    set.values.iter().map(|(slot, value)| (*slot, Effect::Set(*value))).collect();
                self.usage(at, set.application, set.minute, set.counted, &effects)
            }
            Entry::Ids(all) => {
                self.replayed.push((at, all.ids.clone()));
                Ok(())
            }
            Entry::Producers(all) => {
                self.producers(&all.windows);
                Ok(())
            }
            Entry::Reservation(all) => all.items.iter().try_for_each(|item| self.reservation(at, item)),
        }
    }

    /// The engine, with what was recovered.
    ///
    /// `seed` keys the directory: random, secret, new for each start.
    #[must_use]
    pub fn finish(mut self, journal: Journal, seed: [u8; 16]) -> Engine {
        self.stamps = Vec::new();
        let directory = Directory::new(seed, self.keys);
        self.counters.begin_numbers(directory.number());
        let catalog = self.catalog;
        let mut leads = Leads::default();
        for change in catalog.owners() {
            directory.leads_of(&mut leads, &catalog, &change, true);
        }
        directory.put(leads);
        let mut passes = Passes::new(seed);
        index(&catalog, &self.counters, &directory, &mut passes);
        self.counters.open(catalog.version);
        for (at, known) in self.replayed.iter().flat_map(|(at, all)| all.iter().map(move |it| (*at, it))) {
            self.ids.replay(at, known, self.now);
        }
        for (key, window) in &self.producers {
            self.ids.replay_producer(*key, window, self.now);
        }
        Engine {
            directory,
            counters: self.counters,
            ids: self.ids,
            journal,
            commands: Mutex::default(),
            companion: std::sync::OnceLock::new(),
            sequencer: Mutex::new(Sequencer::new(passes)),
            gate: RwLock::new(Gate { floor: catalog.version, cuts: 0 }),
            flush: FlushState::new(),
            clock: AtomicU64::new(self.now.0),
            publishing: AtomicU64::new(0),
            catalog: ArcSwap::from_pointee(catalog),
        }
    }

    fn producers(&mut self, windows: &[(IdKey, Window)]) {
        for (key, window) in windows {
            self.producers.entry(*key).and_modify(|it| it.join(window)).or_insert_with(|| window.clone());
        }
    }

    fn command(&mut self, at: Sequence, command: &Command) -> Result<(), RecoverError> {
        if at <= self.catalog_sequence {
            return Ok(());
        }
        let expected = self.catalog.version + 1;
        if command.version != expected {
            return Err(RecoverError::VersionGap { found: command.version, expected });
        }
        codec::decode(&command.core, |change, next_id| self.change(change, next_id))?;
        self.catalog.version = command.version;
        Ok(())
    }

    fn usage(
        &self,
        at: Sequence,
        id: ApplicationId,
        dated: Minute,
        counted: Minute,
        effects: &[(MetricSlot, Effect)],
    ) -> Result<(), RecoverError> {
        if let Some(subject) = self.subject_of(at, id)? {
            self.counters.replay(subject, dated, counted, effects);
        }
        Ok(())
    }

    fn reservation(&self, at: Sequence, item: &ReservationItem) -> Result<(), RecoverError> {
        let Some(subject) = self.subject_of(at, item.application)? else { return Ok(()) };
        match &item.held {
            Some(held) => self.counters.replay_hold(subject, item.id, held.as_slice().into()),
            None => self.counters.replay_release(subject, item.id),
        }
        Ok(())
    }

    /// Where an application's counters lie, unless they have what the entry says already, or are not wanted any more.
    fn subject_of(&self, at: Sequence, id: ApplicationId) -> Result<Option<Subject>, RecoverError> {
        match self.catalog.applications.get(id.0) {
            Some(application) => {
                let stamp = self.stamps.get(application.subject.index as usize);
                Ok((stamp.is_none_or(|stamp| at > *stamp)).then_some(application.subject))
            }
            // Deleted between this entry and the checkpoint's catalog.
            None if at <= self.catalog_sequence => Ok(None),
            None => Err(RecoverError::ApplicationUnknown(id)),
        }
    }
}

/// So many applications are worth a thread.
const PER_THREAD_MIN: usize = 10_000;

/// Lets their keys lead to the applications, and notes what their records say: on all cores, since most of it is waiting
/// for memory.
fn index(catalog: &Catalog, counters: &Counters, directory: &Directory, passes: &mut Passes) {
    let all: Vec<&Application> = catalog.applications.iter().map(|(_, it)| &**it).collect();
    let index = |some: &[&Application], mut passes: Passes| {
        for application in some {
            directory.lead_to(application);
            let facts = Facts::of(application);
            counters.note(&Note { subject: application.subject, facts, pass: Some(passes.draw()) });
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let each = all.len().div_ceil(cores).max(PER_THREAD_MIN);
    std::thread::scope(|scope| {
        let (first, others) = all.split_at(each.min(all.len()));
        let passes_of_first = passes.split_off(first.len());
        for some in others.chunks(each) {
            let passes = passes.split_off(some.len());
            scope.spawn(move || index(some, passes));
        }
        index(first, passes_of_first);
    });
}
