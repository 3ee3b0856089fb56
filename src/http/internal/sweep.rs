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
use crate::model::record::ServiceState;

/// The applications that are set to zero, and the records deleted in one command, before the disk is waited for.
const PART: usize = 512;

/// The applications or plans that are looked at for a part, most of which may be of other services.
const LOOKED_AT_PER_PART: usize = 65_536;

/// After a disk that takes no writes, or a command that did not go through.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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
                match self.next_job() {
                    Some(job) => self.carry_out(job).await,
                    None => self.wake.notified().await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
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
                Ok(Err(ChangeError::NotDurable(_))) => tokio::time::sleep(RETRY_INTERVAL).await,
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
                let found = catalog.applications.range_from(from).take(LOOKED_AT_PER_PART);
                let mine = |id: u64, of: ServiceId| (of == service).then_some(ApplicationId(id));
                let (ids, next) = some_of(found.map(|(id, it)| (id, mine(id, it.service))));
                let wall = (self.clock)();
                for id in ids {
                    self.engine.reset(id, wall);
                }
                if let Some(next) = next {
                    return Ok(Place::Applications(next));
                }
                self.change(|draft| note_erased(draft, service, wish))
            }
            (Job::Purge(service), Place::Applications(from)) => {
                let found = catalog.applications.range_from(from).take(LOOKED_AT_PER_PART);
                let mine = |id: u64, of: ServiceId| (of == service).then_some(ApplicationId(id));
                let (ids, next) = some_of(found.map(|(id, it)| (id, mine(id, it.service))));
                self.change(|draft| draft.purge(&ids, &[]))?;
                Ok(next.map_or(Place::Plans(0), Place::Applications))
            }
            (Job::Purge(service), Place::Plans(from)) => {
                let found = catalog.plans.range_from(from).take(LOOKED_AT_PER_PART);
                let mine = |id: u64, of: ServiceId| (of == service).then_some(PlanId(id));
                let (ids, next) = some_of(found.map(|(id, it)| (id, mine(id, it.service))));
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

/// The first [`PART`] ids that are wanted of records looked at in ascending order, and where to go on; `None` if
/// there were fewer records than may be looked at.
fn some_of<I>(records: impl Iterator<Item = (u64, Option<I>)>) -> (Vec<I>, Option<u64>) {
    let (mut wanted, mut looked_at, mut next) = (Vec::new(), 0, None);
    for (id, record) in records {
        looked_at += 1;
        wanted.extend(record);
        next = id.checked_add(1);
        if wanted.len() == PART {
            return (wanted, next);
        }
    }
    (wanted, next.filter(|_| looked_at == LOOKED_AT_PER_PART))
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
    use super::*;

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        // Every third record is wanted, and ids have gaps.
        let all: Vec<u64> = (0..200_000).map(|number| number * 2 + number / 1000).collect();
        let wanted = |id: u64| id.is_multiple_of(3).then_some(id);
        let (mut found, mut from, mut parts) = (Vec::new(), 0, 0);
        loop {
            let rest = all.iter().filter(|id| **id >= from).take(LOOKED_AT_PER_PART);
            let (ids, next) = some_of(rest.map(|id| (*id, wanted(*id))));
            assert!(ids.len() <= PART);
            found.extend(ids);
            parts += 1;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(found, all.iter().copied().filter_map(wanted).collect::<Vec<_>>());
        assert!(parts > 100, "{parts}");
        // None wanted: many are looked at for each part.
        let (ids, next) = some_of((0..LOOKED_AT_PER_PART as u64).map(|id| (id, None::<u64>)));
        assert_eq!((ids, next), (vec![], Some(LOOKED_AT_PER_PART as u64)));
        assert_eq!(some_of((0..9).map(|id| (id, None::<u64>))), (vec![], None));
    }
}
