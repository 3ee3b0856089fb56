//! From journal entries to events.

use std::collections::HashSet;
use std::sync::Arc;

use super::event::{Event, EventKind};
use super::traffic::{self, News};
use super::{EVENTS, EVENTS_MAX, META, NEXT_ID, RAISED};
use crate::engine::Engine;
use crate::journal::catalog as codec;
use crate::journal::entry::{Command, Entry, Kind};
use crate::model::alert::{Reached, Traffic};
use crate::model::catalog::{Catalog, Change};
use crate::model::id::ApplicationId;
use crate::model::record::{Application, Service};
use crate::model::time::UnixMillis;
use crate::plugin::follower::Derive;
use crate::store::shelf::{Scan, ShelfError, Writing};

/// Takes in entries; remembers what was not written yet.
pub(super) struct Deriver {
    engine: Arc<Engine>,
    derived: Vec<Derived>,
    dropped: metrics::Counter,
}

/// What follows from an entry, in the order of the journal.
enum Derived {
    /// May be known already: after a restart the counters say once more that there was traffic.
    Traffic {
        application: ApplicationId,
        day: u32,
        at_s: u64,
    },
    Reached {
        reached: Reached,
        at_s: u64,
    },
    Deleted(ApplicationId),
}

impl Deriver {
    pub(super) fn new(engine: Arc<Engine>) -> Deriver {
        let dropped = metrics::counter!("tollgate_events_dropped_total");
        Deriver { engine, derived: Vec::new(), dropped }
    }

    /// Applications that a command deletes and does not put again.
    fn deleted(&mut self, command: &Command) {
        let mut deleted = HashSet::new();
        let read = codec::decode(&command.core, |change, _| match change {
            Change::DeleteApplication(id) => drop(deleted.insert(id)),
            Change::PutApplication(application) => drop(deleted.remove(&application.id)),
            _ => {}
        });
        // The engine has carried this command out, so it can be read.
        debug_assert!(read.is_ok(), "a command cannot be read again");
        self.derived.extend(deleted.into_iter().map(Derived::Deleted));
    }
}

impl Derive for Deriver {
    fn wants(kind: Kind) -> bool {
        matches!(kind, Kind::Command | Kind::Reached | Kind::Traffic)
    }

    fn entry(&mut self, time: UnixMillis, entry: Entry) {
        let at_s = time.secs();
        match entry {
            Entry::Traffic(all) => {
                let derived = |Traffic { application, day, .. }| Derived::Traffic { application, day, at_s };
                self.derived.extend(all.into_iter().map(derived));
            }
            Entry::Reached(all) => {
                self.derived.extend(all.into_iter().map(|reached| Derived::Reached { reached, at_s }));
            }
            Entry::Command(command) => self.deleted(&command),
            Entry::Usage(_)
            | Entry::Set(_)
            | Entry::Replace(_)
            | Entry::Reservation(_)
            | Entry::Ids(_)
            | Entry::Producers(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.derived.is_empty()
    }

    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        let next_id = writing.get(META, NEXT_ID)?.and_then(|bytes| bytes.try_into().ok());
        let mut log = Log { catalog: &self.engine.catalog(), next_id: next_id.map_or(1, u64::from_le_bytes) };
        for derived in &self.derived {
            match derived {
                Derived::Traffic { application, day, at_s } => {
                    log.traffic(writing, *application, *day, *at_s)?;
                }
                Derived::Reached { reached, at_s } => {
                    if is_news(writing, reached)? {
                        log.put(writing, reached.application, *at_s, |service| alert(service, reached))?;
                    }
                }
                Derived::Deleted(application) => forget(writing, *application)?,
            }
        }
        writing.put(META, NEXT_ID, &log.next_id.to_le_bytes())?;
        let over = writing.len(EVENTS)?.saturating_sub(EVENTS_MAX);
        if over > 0 {
            self.dropped.increment(over);
            let oldest = Scan::first(&[], usize::try_from(over).unwrap_or(usize::MAX));
            for (key, _) in writing.rows(EVENTS, &oldest)? {
                writing.delete(EVENTS, &key)?;
            }
        }
        Ok(())
    }

    fn written(&mut self) {
        self.derived.clear();
    }

    fn forget(&mut self) {
        self.derived.clear();
    }
}

/// Whether no level as high was raised in that window yet; from now on it was.
fn is_news(writing: &mut Writing<'_>, reached: &Reached) -> Result<bool, ShelfError> {
    let mut key = reached.application.0.to_be_bytes().to_vec();
    key.extend_from_slice(&reached.slot.0.to_be_bytes());
    key.push(reached.period as u8);
    let mut this = [0; 6];
    this[..4].copy_from_slice(&reached.window.0.to_be_bytes());
    this[4..].copy_from_slice(&reached.level.to_be_bytes());
    // Big-endian bytes compare like the numbers: a later window is greater, in the same one a higher level is.
    let is_news = writing.get(RAISED, &key)?.is_none_or(|last| last.as_slice() < &this[..]);
    if is_news {
        writing.put(RAISED, &key, &this)?;
    }
    Ok(is_news)
}

fn forget(writing: &mut Writing<'_>, application: ApplicationId) -> Result<(), ShelfError> {
    traffic::forget(writing, application)?;
    let key = application.0.to_be_bytes();
    for (key, _) in writing.rows(RAISED, &Scan::first(&key, usize::MAX))? {
        writing.delete(RAISED, &key)?;
    }
    Ok(())
}

fn alert(service: &Service, reached: &Reached) -> Option<EventKind> {
    let metric = service.metrics.get(reached.slot)?.name.clone();
    let Reached { level, count, max, period, .. } = *reached;
    Some(EventKind::Alert { level, count, max, metric, period })
}

/// The events being written.
struct Log<'c> {
    catalog: &'c Catalog,
    next_id: u64,
}

impl Log<'_> {
    /// Puts what is to be told of traffic on a day, if that is later than the last that was told of.
    fn traffic(
        &mut self,
        writing: &mut Writing<'_>,
        application: ApplicationId,
        day: u32,
        at_s: u64,
    ) -> Result<(), ShelfError> {
        let tenant = traffic::tenant_of(self.catalog, application).unwrap_or(0);
        match traffic::note(writing, application, tenant, (day, traffic::within(day, at_s)))? {
            News::Nothing => return Ok(()),
            News::First => self.put(writing, application, at_s, |_| Some(EventKind::FirstTraffic))?,
            News::Another => {}
        }
        self.put(writing, application, at_s, |_| Some(EventKind::FirstDailyTraffic))
    }

    /// Puts an event, unless what it is about is gone by now.
    fn put(
        &mut self,
        writing: &mut Writing<'_>,
        application: ApplicationId,
        at_s: u64,
        kind: impl FnOnce(&Service) -> Option<EventKind>,
    ) -> Result<(), ShelfError> {
        let Some((application, service)) = self.find(application) else { return Ok(()) };
        let Some(kind) = kind(service) else { return Ok(()) };
        let event = Event {
            id: self.next_id,
            at_s,
            service: service.text().into_owned(),
            application: application.app_id.to_string(),
            kind,
        };
        self.next_id += 1;
        writing.put(EVENTS, &event.id.to_be_bytes(), &event.encode())
    }

    fn find(&self, application: ApplicationId) -> Option<(&Application, &Service)> {
        let application = self.catalog.applications.get(application.0)?;
        Some((application, self.catalog.services.get(application.service.0)?))
    }
}
