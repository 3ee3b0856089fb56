//! QUERY, PING, STATS: looking.

use super::call::reset_ms;
use super::refused::Refused;
use super::session::Turn;
use super::usage::application;
use crate::engine::Scope;
use crate::model::decision::Refusal;
use crate::model::metric::Metric;
use crate::model::record::ApplicationState;
use crate::model::time::{Period, Windows};
use crate::wire::{Call, HEADER_LEN, LimitRow, Pong, QueryAnswer, Stats, Status, UsageRow};

/// Tells the usage and limits of an application.
pub(super) fn query(turn: &mut Turn<'_>, call: &Call<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
    let (id, service) = application(turn, call)?;
    let catalog = turn.server.engine.catalog();
    let gone = Refused::STALE;
    let service = catalog.services.get(service.0).ok_or(gone.clone())?;
    let application = catalog.applications.get(id.0).ok_or(gone.clone())?;
    let plan = catalog.plans.get(application.plan.0).ok_or(gone)?;
    let metrics: Vec<&Metric> = if call.metrics.is_empty() {
        service.metrics.iter().collect()
    } else {
        let find = |name: &&str| service.metrics.find(name).ok_or(Refusal::MetricInvalid { name }.into());
        call.metrics.iter().map(find).collect::<Result<_, Refused>>()?
    };
    let now = turn.moment.now();
    let windows = Windows::at(now.minute());
    let image = turn.server.engine.counters_of(id, turn.wall);
    let counts = |slot| {
        let cell = image.iter().flat_map(|image| &image.cells).find(|cell| cell.slot == slot);
        Period::ALL.map(|period| cell.map_or(0, |cell| cell.count(period, &windows)))
    };
    let limits = plan.limits.iter().filter(|limit| metrics.iter().any(|metric| metric.slot == limit.slot));
    let limit_row = |limit: &crate::model::record::Limit| LimitRow {
        limit: limit.id.0,
        metric: limit.slot.0,
        period: limit.period as u8,
        shadow: limit.shadow,
        max: limit.max,
        count: counts(limit.slot)[limit.period as usize],
        held: image.as_ref().map_or(0, |image| image.reserved(limit.slot, now)),
        reset_ms: reset_ms(limit.period, &windows, now),
    };
    let open = image.as_ref().map_or(0, |image| image.open_reservations(now).count());
    let answer = QueryAnswer {
        active: application.state == ApplicationState::Active,
        reservations: u8::try_from(open).unwrap_or(u8::MAX),
        catalog_version: catalog.version,
        time_us: now.0.saturating_mul(1000),
        limits: limits.map(limit_row).collect(),
        usage: metrics.iter().map(|it| UsageRow { metric: it.slot.0, counts: counts(it.slot) }).collect(),
        metrics: metrics.iter().map(|it| (it.slot.0, it.name.clone())).collect(),
    };
    if HEADER_LEN + answer.len() > turn.frame_max as usize {
        return Err(Refused::TOO_LARGE);
    }
    answer.put(out);
    Ok(())
}

/// Tells the time.
pub(super) fn pong(turn: &Turn<'_>, out: &mut Vec<u8>) {
    let catalog_version = turn.moment.catalog().version;
    Pong { time_us: turn.moment.now().0.saturating_mul(1000), catalog_version }.put(out);
}

/// Tells how the node fares.
pub(super) fn stats(turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
    if turn.scope != Scope::Node {
        return Err(Refused::new(
            Status::METHOD_NOT_ALLOWED,
            "for connections that are open for all services",
        ));
    }
    let server = turn.server;
    let health = server.engine.flush_health();
    let sums = server.telemetry.sums();
    Stats {
        degraded: turn.degraded,
        uptime_s: server.started.elapsed().as_secs(),
        connections: sums.connections,
        frames: sums.frames,
        decisions: sums.decisions,
        denied: sums.denied,
        applications: turn.moment.catalog().applications.len() as u64,
        catalog_version: turn.moment.catalog().version,
        unflushed_us: u64::try_from(health.unflushed_age.as_micros()).unwrap_or(u64::MAX),
    }
    .put(out);
    Ok(())
}
