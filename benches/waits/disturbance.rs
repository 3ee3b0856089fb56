//! What goes on beside the decisions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollgate::engine::Engine;
use tollgate::model::draft::NewApplication;
use tollgate::model::id::{MetricId, PlanId, ServiceId};
use tollgate::model::record::Secret;
use tollgate::model::time::Period;

/// Where catalog changes take place: what all decisions go by.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) service: ServiceId,
    pub(super) plan: PlanId,
    pub(super) metric: MetricId,
}

/// Something that takes locks which decisions take.
#[derive(Clone, Copy)]
pub(super) enum Disturbance {
    /// All counters are copied, again and again.
    Snapshots,
    /// A limit of the plan changes, an application comes or goes: a thousand times a second.
    Catalog,
}

/// Runs `work` beside all of `others`.
pub(super) fn beside(engine: &Engine, place: Place, others: &[Disturbance], work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for other in others {
            let stop = &stop;
            scope.spawn(move || match other {
                Disturbance::Snapshots => snapshots(engine, stop),
                Disturbance::Catalog => changes(engine, place, stop),
            });
        }
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

fn snapshots(engine: &Engine, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let piece = |_, _: &[_]| if stop.load(Ordering::Relaxed) { Err(()) } else { Ok(()) };
        let _ = engine.copy_counters(piece);
    }
}

fn changes(engine: &Engine, place: Place, stop: &AtomicBool) {
    let Place { service, plan, metric } = place;
    let mut number = 0_u64;
    let mut guest = None;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let changed = engine.change(|draft| {
            draft.set_limit(plan, metric, Period::Minute, 1_000_000_000_000 + number)?;
            if let Some(id) = guest.take() {
                draft.delete_application(id)?;
            } else {
                let new = NewApplication { service, account: None, app_id: "guest", name: "guest", plan };
                let id = draft.create_application(&new)?;
                draft.edit_application(id, |it| it.user_keys.push(Secret::new("guest")))?;
                guest = Some(id);
            }
            Ok::<_, tollgate::model::draft::CommandError>(())
        });
        changed.unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Some(id) = guest {
        engine.change(|draft| draft.delete_application(id)).unwrap();
    }
}
