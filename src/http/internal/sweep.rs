//! What takes too long for one command: setting the counters of a service's applications to zero, and taking away what
//! a deleted service owned.
//!
//! Both are written into the service's record, durably, and carried out in the background: after a crash they go on.
//! Applications are taken some at a time, and each such part is on disk before the next begins, so that neither a
//! decision nor the journal's memory feels how many there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::{ChangeError, Engine, NotDurable};
use crate::listener::Clock;
use crate::model::draft::{CommandError, Draft};
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::id_set::IdSet;
use crate::model::record::ServiceState;

/// The applications that are set to zero, and the records deleted in one command, before the disk is waited for.
const PART: usize = 512;

/// After a disk that takes no writes, or a command that did not go through.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// How often the catalog is looked at for what others than the internal API have deleted.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Carries out what was asked for.
pub(super) struct Sweeper {
    engine: Arc<Engine>,
    clock: Clock,
    wake: Notify,
}

/// Something to do for a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Job {
    /// Set its counters to zero; with what tells this wish from the next.
    Erase(ServiceId, u64),
    /// It was deleted: take away what it owns, and it.
    Purge(ServiceId),
}

/// Where a job stands; numbers are ids to go on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Applications(u64),
    Plans(u64),
    Service,
    Done,
}

impl Sweeper {
    pub(super) fn new(engine: Arc<Engine>, clock: Clock) -> Sweeper {
        Sweeper { engine, clock, wake: Notify::new() }
    }

    /// Says that there is something to do.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Works until `shutdown`; first on what was left undone when the node stopped.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            loop {
                let seen = self.engine.catalog().version;
                match self.next_job() {
                    Some(job) => self.carry_out(job).await,
                    None => self.something_new(seen).await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    /// Waits until there may be something to do: a catalog of the version `seen` has nothing.
    async fn something_new(&self, seen: u64) {
        loop {
            let woken = tokio::time::timeout(LOOK_INTERVAL, self.wake.notified()).await.is_ok();
            if woken || self.engine.catalog().version != seen {
                return;
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let catalog = self.engine.catalog();
        let mut services = catalog.services.iter();
        services.find_map(|(_, service)| match (service.state, service.stats_erasure) {
            (ServiceState::Retired, _) => Some(Job::Purge(service.id)),
            (_, Some(wish)) => Some(Job::Erase(service.id, wish)),
            _ => None,
        })
    }

    async fn carry_out(self: &Arc<Self>, job: Job) {
        let mut place = Place::Applications(0);
        while place != Place::Done {
            let sweeper = Arc::clone(self);
            match tokio::task::spawn_blocking(move || sweeper.part(job, place)).await {
                Ok(Ok(next)) => {
                    self.settle().await;
                    place = next;
                }
                // This part again, when the disk is well.
                Ok(Err(error)) if error.is_for_now() => tokio::time::sleep(RETRY_INTERVAL).await,
                // Begun again after a pause: neither may spin, nor give up what was promised.
                Ok(Err(error)) => {
                    tracing::error!(%error, "what was deleted of a service cannot be taken away");
                    return tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(_) => return tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn settle(&self) {
        while let Err(NotDurable) = self.engine.durable(self.engine.ticket()).await {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Does a part of a job from `place` on, and returns where to go on. Doing a part twice does no harm.
    fn part(&self, job: Job, place: Place) -> Result<Place, ChangeError> {
        let catalog = self.engine.catalog();
        match (job, place) {
            (Job::Erase(service, wish), Place::Applications(from)) => {
                let (ids, next) = some_of(catalog.applications_of(service.0), from);
                let wall = (self.clock)();
                for id in ids {
                    self.engine.reset(ApplicationId(id), wall);
                }
                if let Some(next) = next {
                    return Ok(Place::Applications(next));
                }
                self.change(|draft| note_erased(draft, service, wish))
            }
            (Job::Purge(service), Place::Applications(from)) => {
                let (ids, next) = some_of(catalog.applications_of(service.0), from);
                let ids: Vec<_> = ids.into_iter().map(ApplicationId).collect();
                self.change(|draft| draft.purge(&ids, &[]))?;
                Ok(next.map_or(Place::Plans(0), Place::Applications))
            }
            (Job::Purge(service), Place::Plans(from)) => {
                let (ids, next) = some_of(catalog.plans_of(service), from);
                let ids: Vec<_> = ids.into_iter().map(PlanId).collect();
                self.change(|draft| draft.purge(&[], &ids))?;
                Ok(next.map_or(Place::Service, Place::Plans))
            }
            (Job::Purge(service), Place::Service) => self.change(|draft| draft.purge_service(service)),
            (_, _) => Ok(Place::Done),
        }
    }

    fn change(
        &self,
        build: impl FnOnce(&mut Draft<'_>) -> Result<(), CommandError>,
    ) -> Result<Place, ChangeError> {
        self.engine.change(build).map(|_| Place::Done)
    }
}

/// The first [`PART`] ids from `from` on, and where to go on; `None` if there are no more.
fn some_of(all: &IdSet, from: u64) -> (Vec<u64>, Option<u64>) {
    let ids: Vec<_> = all.range_from(from).take(PART).collect();
    let next = ids.last().filter(|_| ids.len() == PART).and_then(|id| id.checked_add(1));
    (ids, next)
}

fn note_erased(draft: &mut Draft<'_>, service: ServiceId, wish: u64) -> Result<(), CommandError> {
    let record = draft.catalog().services.get(service.0);
    if record.is_some_and(|it| it.stats_erasure == Some(wish)) {
        draft.edit_service(service, |service| service.stats_erasure = None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::engine::Recovery;
    use crate::engine::companion::{Companion, Parts, Unread};
    use crate::journal::disk_memory::MemoryDisk;
    use crate::journal::{Journal, Options, Sequence};
    use crate::model::catalog::{Catalog, Change};
    use crate::model::draft::{NewApplication, NewService};
    use crate::model::record::BackendVersion;
    use crate::model::time::UnixMillis;

    /// Refuses so many commands that delete an application.
    struct Sick(AtomicU32);

    impl Companion for Sick {
        fn accompany(
            &self,
            _: &Catalog,
            _: &Catalog,
            changes: &[Change],
            _: &mut Parts,
        ) -> Result<(), Unread> {
            let takes_away = changes.iter().any(|change| matches!(change, Change::DeleteApplication(_)));
            let left = self.0.load(Ordering::Relaxed);
            if !takes_away || left == 0 {
                return Ok(());
            }
            self.0.store(left - 1, Ordering::Relaxed);
            Err(Unread { plugin: "sick" })
        }

        fn applied(&self, _: Sequence, _: u64, _: &Parts) {}
    }

    /// Makes a service with an application, and deletes it.
    fn deleted(draft: &mut Draft<'_>) -> Result<(), CommandError> {
        let tenant = draft.create_tenant("acme", "pkey")?;
        let backend_version = BackendVersion::AppId;
        let new = NewService { tenant, external_id: None, name: "api", backend_version };
        let service = draft.create_service(&new)?;
        let plan = draft.create_plan(service, None, "Basic")?;
        draft.create_application(&NewApplication { service, account: None, app_id: "a", name: "a", plan })?;
        draft.retire_service(service)
    }

    #[tokio::test]
    async fn what_a_deleted_service_owned_goes_once_the_plugins_can_be_asked() {
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let disk = MemoryDisk::default();
        let opened = Journal::open_on(Box::new(disk.at("journal")), Options::default(), Sequence(0), nothing);
        let (journal, _) = opened.unwrap_or_else(|error| panic!("{error}"));
        let engine = Arc::new(Recovery::default().finish(journal, [7; 16]));
        let sick = Arc::new(Sick(AtomicU32::new(3)));
        let companion: Weak<dyn Companion> = Arc::<Sick>::downgrade(&sick);
        engine.accompanied_by(companion);
        engine.change(deleted).unwrap();
        let flusher = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || drop(engine.run_flusher(|| UnixMillis(1), |_| {})))
        };
        let sweeper = Arc::new(Sweeper::new(Arc::clone(&engine), Arc::new(|| UnixMillis(1))));
        let shutdown = CancellationToken::new();
        let sweeping = tokio::spawn(sweeper.run(shutdown.clone()));
        while engine.catalog().services.iter().next().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((engine.catalog().applications.len(), sick.0.load(Ordering::Relaxed)), (0, 0));
        shutdown.cancel();
        sweeping.await.unwrap();
        engine.stop_flusher();
        flusher.join().unwrap();
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        for count in [0, 1, PART - 1, PART, PART + 1, 10 * PART, 10 * PART + 7] {
            let mut all = IdSet::new();
            // With gaps, as between records of several services.
            (0..count as u64).for_each(|number| assert!(all.insert(number * 2 + number / 1000)));
            let (mut found, mut from) = (Vec::new(), Some(0));
            while let Some(first) = from {
                let (ids, next) = some_of(&all, first);
                assert!(ids.len() <= PART && next.is_none_or(|next| next > first));
                found.extend(ids);
                from = next;
            }
            assert!(all.iter().eq(found), "{count}");
        }
        let mut last = IdSet::new();
        assert!(last.insert(u64::MAX));
        assert_eq!(some_of(&last, 0), (vec![u64::MAX], None));
    }
}
