//! `DELETE /services/:s/stats`: the counters of all applications of a service begin again at zero.
//!
//! The wish is written into the service's record, durably, and carried out in the background: after a crash it goes
//! on. Each application is set to zero by itself ([`Engine::reset`]), some at a time, and each such part is on disk
//! before the next begins, so that neither a decision nor the journal's memory feels how many there are.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::records::Records;
use crate::engine::{ChangeError, Engine};
use crate::http::Clock;
use crate::model::id::ServiceId;

/// The applications that are set to zero before it is waited for the disk.
const RESETS_PER_PART: usize = 1024;

/// The applications that are looked at in a part, most of which may be of other services.
const LOOKED_AT_PER_PART: usize = 65_536;

/// After a disk that takes no writes, or a command that did not go through.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn answer(api: &Api, call: &Call, service: &str) -> Outcome {
    if call.verb != Verb::Delete {
        return Err(Refusal::NoSuchRoute);
    }
    let reply = api.change(|draft| {
        let service = Records::service(draft, service)?.id;
        // Another wish than one that may be under way: what was counted since is to go too.
        let wish = draft.catalog().version + 1;
        draft.edit_service(service, |service| service.stats_erasure = Some(wish))?;
        Ok(Reply::ok(json!({"status": "to_be_deleted"})))
    })?;
    api.eraser.wake.notify_one();
    Ok(reply)
}

/// Carries out what was asked for.
pub(super) struct Eraser {
    engine: Arc<Engine>,
    clock: Clock,
    wake: Notify,
}

/// The next application to look at.
type Place = u64;

impl Eraser {
    pub(super) fn new(engine: Arc<Engine>, clock: Clock) -> Eraser {
        Eraser { engine, clock, wake: Notify::new() }
    }

    /// Works until `shutdown`; first what was left undone when the node stopped.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            loop {
                match self.wish() {
                    Some((service, wish)) => self.erase(service, wish).await,
                    None => self.wake.notified().await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    fn wish(&self) -> Option<(ServiceId, u64)> {
        let catalog = self.engine.catalog();
        let mut services = catalog.services.iter();
        services.find_map(|(_, service)| Some((service.id, service.stats_erasure?)))
    }

    async fn erase(self: &Arc<Self>, service: ServiceId, wish: u64) {
        let mut from = 0;
        loop {
            let eraser = Arc::clone(self);
            let part = tokio::task::spawn_blocking(move || eraser.reset_some(service, from)).await;
            // A part that panicked must not be tried for ever without a pause.
            let Ok(part) = part else { break tokio::time::sleep(RETRY_INTERVAL).await };
            self.settle().await;
            match part {
                ControlFlow::Continue(next) => from = next,
                ControlFlow::Break(()) => return self.note_done(service, wish).await,
            }
        }
    }

    /// Sets some of the service's applications to zero, from `from` on.
    fn reset_some(&self, service: ServiceId, from: Place) -> ControlFlow<(), Place> {
        let catalog = self.engine.catalog();
        let mut resets = 0;
        for (looked_at, (id, application)) in catalog.applications.range_from(from).enumerate() {
            if resets == RESETS_PER_PART || looked_at == LOOKED_AT_PER_PART {
                return ControlFlow::Continue(id);
            }
            if application.service == service && self.engine.reset(application.id, (self.clock)()) {
                resets += 1;
            }
        }
        ControlFlow::Break(())
    }

    async fn settle(&self) {
        while self.engine.durable(self.engine.ticket()).await.is_err() {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn note_done(&self, service: ServiceId, wish: u64) {
        let note = || {
            self.engine.change(|draft| {
                let record = draft.catalog().services.get(service.0);
                if record.is_some_and(|it| it.stats_erasure == Some(wish)) {
                    draft.edit_service(service, |service| service.stats_erasure = None)?;
                }
                Ok(())
            })
        };
        while let Err(error) = note() {
            if let ChangeError::Command(error) = &error {
                tracing::error!(%error, "a service's counters were deleted, but that cannot be noted");
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
