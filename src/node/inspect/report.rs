//! What an inspection shows: plain values, the same from a running and a stopped node. Keys and tokens are counted,
//! not shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{InspectError, Query, Which, find_service};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage};
use crate::engine::Engine;
use crate::model::catalog::{Catalog, Key};
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};
use crate::model::record::{Application, Plan, Service, ServiceState};
use crate::model::time::{Period, UnixMillis, Windows};
use crate::model::usage::response_code_name;

/// The most rows of one list: a screen's worth many times over; the rest is counted.
pub(super) const ROWS_MAX: usize = 1000;

/// What an inspection shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether a running node was asked.
    pub running: bool,
    /// Milliseconds since 1970 of the engine's clock: which windows are open.
    pub engine_time_ms: u64,
    /// What was noteworthy about a stopped node's data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The catalog, if nothing less was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogReport>,
    /// The service that was asked for, or that the application belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReport>,
    /// The application that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationReport>,
}

/// How many records there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Totals {
    pub tenants: usize,
    pub accounts: usize,
    pub services: usize,
    pub plans: usize,
    pub applications: usize,
}

/// Where the journal stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalState {
    /// The term it is written in; of a stopped node, the one that its next start would begin.
    pub term: u64,
    /// The last sequence that is on disk.
    pub synced: u64,
    /// The last sequence that was given out.
    pub appended: u64,
}

/// The catalog's summary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CatalogReport {
    /// Raised by one with each command.
    pub version: u64,
    /// How many records there are.
    pub totals: Totals,
    /// Future-dated usage items that wait for their windows.
    pub waiting_items: usize,
    /// Reservations that are open, or were when they were last looked at, at most some seconds ago.
    pub open_reservations: usize,
    /// Where the journal stands.
    pub journal: JournalState,
    /// The services by ascending id, the first 1000.
    pub services: Vec<ServiceRow>,
    /// How many more there are.
    pub services_left_off: usize,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ServiceRow {
    pub id: u64,
    pub external_id: Option<String>,
    pub tenant: u64,
    pub name: String,
    pub state: String,
    pub backend_version: String,
    /// `durable` or `interval`, if the service says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// How many service tokens it has.
    pub tokens: usize,
    pub metrics: usize,
    pub plans: usize,
    pub applications: usize,
}

/// One service with what is counted and what it allows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its summary.
    #[serde(flatten)]
    pub row: ServiceRow,
    /// Its metrics, the first 1000.
    pub metric_list: Vec<MetricRow>,
    /// Its plans, the first 1000.
    pub plan_list: Vec<PlanRow>,
}

/// One metric.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MetricRow {
    pub id: u64,
    pub name: String,
    pub parent: Option<String>,
}

/// One plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PlanRow {
    pub id: u64,
    pub external_id: Option<String>,
    pub name: String,
    pub limits: Vec<LimitRow>,
}

/// One limit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LimitRow {
    pub metric: String,
    pub period: String,
    pub max: u64,
}

/// One application and what it has counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ApplicationReport {
    pub id: u64,
    pub app_id: String,
    pub name: String,
    pub state: String,
    pub account: Option<u64>,
    pub plan: PlanRow,
    /// How many user keys it has.
    pub user_keys: usize,
    /// How many application keys it has.
    pub app_keys: usize,
    pub referrer_filters: usize,
    /// One row per metric or response code that was ever counted.
    pub counters: Vec<CounterRow>,
    /// Future-dated items of its that wait for their windows.
    pub waiting_items: usize,
    /// Its open reservations, by when they expire.
    pub reservations: Vec<ReservationRow>,
    /// Its reservations that have expired and can still be committed.
    pub expired_reservations: usize,
}

/// One open reservation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReservationRow {
    /// Which.
    pub id: u64,
    /// The second at which it expires, since 1970.
    pub expires_s: u64,
    /// What it holds, ancestors included.
    pub held: Vec<HeldRow>,
}

/// What a reservation holds of one metric.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HeldRow {
    pub metric: String,
    pub amount: u64,
}

/// The counts of one metric in the windows that are open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CounterRow {
    /// The metric's system name, or a response code.
    pub metric: String,
    /// What open reservations hold; in none of the counts.
    pub reserved: u64,
    pub minute: u64,
    pub hour: u64,
    pub day: u64,
    pub week: u64,
    pub month: u64,
    pub year: u64,
    pub eternity: u64,
}

impl Report {
    /// What `query` asks of `engine`.
    pub(in crate::node) fn of(
        engine: &Engine,
        wall: UnixMillis,
        query: &Query,
        running: bool,
    ) -> Result<Report, InspectError> {
        let catalog = engine.catalog();
        let now = engine.now(wall);
        let mut report = Report {
            running,
            engine_time_ms: now.0,
            notes: Vec::new(),
            catalog: None,
            service: None,
            application: None,
        };
        let service = query.service.as_deref().map(|text| find_service(&catalog, text)).transpose()?;
        if let Some(which) = &query.application {
            let id = find_application(engine, service, which)?;
            let application = catalog.applications.get(id.0).ok_or(InspectError::ApplicationUnknown)?;
            if service.is_some_and(|service| service != application.service) {
                return Err(InspectError::ApplicationUnknown);
            }
            report.application = Some(application_report(engine, &catalog, application, now));
        }
        let shown = service.or(report.application.as_ref().and_then(|it| owner(&catalog, it.id)));
        report.service =
            shown.and_then(|id| catalog.services.get(id.0)).map(|service| service_report(&catalog, service));
        if report.service.is_none() {
            report.catalog = Some(catalog_report(engine, &catalog));
        }
        Ok(report)
    }
}

fn find_application(
    engine: &Engine,
    service: Option<ServiceId>,
    which: &Which,
) -> Result<ApplicationId, InspectError> {
    match which {
        Which::Id(id) => Ok(ApplicationId(*id)),
        Which::AppId(text) => {
            let service = service.ok_or(InspectError::ServiceMissing)?;
            let found = engine.find(Key::AppId { service, text });
            found.map(ApplicationId).ok_or(InspectError::ApplicationUnknown)
        }
    }
}

fn owner(catalog: &Catalog, application: u64) -> Option<ServiceId> {
    catalog.applications.get(application).map(|it| it.service)
}

fn catalog_report(engine: &Engine, catalog: &Catalog) -> CatalogReport {
    CatalogReport {
        version: catalog.version,
        totals: Totals {
            tenants: catalog.tenants.len(),
            accounts: catalog.accounts.len(),
            services: catalog.services.len(),
            plans: catalog.plans.len(),
            applications: catalog.applications.len(),
        },
        waiting_items: engine.waiting(),
        open_reservations: engine.open_reservations(),
        journal: JournalState {
            term: engine.journal().term(),
            synced: engine.journal().synced().0,
            appended: engine.journal().last_appended().0,
        },
        services: catalog.services.iter().take(ROWS_MAX).map(|(_, service)| row(catalog, service)).collect(),
        services_left_off: catalog.services.len().saturating_sub(ROWS_MAX),
    }
}

fn row(catalog: &Catalog, service: &Service) -> ServiceRow {
    ServiceRow {
        id: service.id.0,
        external_id: service.external_id.clone(),
        tenant: service.tenant.0,
        name: service.name.clone(),
        state: match service.state {
            ServiceState::Active if catalog.is_suspended(service.tenant) => "tenant suspended",
            state => state.name(),
        }
        .to_owned(),
        backend_version: service.backend_version.name().to_owned(),
        promise: service.promise.map(|it| it.name().to_owned()),
        tokens: service.tokens.len(),
        metrics: service.metrics.iter().count(),
        plans: catalog.plans_of(service.id).len(),
        applications: catalog.applications_of(service.id.0).len(),
    }
}

fn service_report(catalog: &Catalog, service: &Service) -> ServiceReport {
    let metrics = service.metrics.iter().take(ROWS_MAX).map(|metric| MetricRow {
        id: metric.id.0,
        name: metric.name.clone(),
        parent: metric.parent.map(|slot| name_of(service, slot)),
    });
    let plans = catalog.plans_of(service.id).iter().filter_map(|id| catalog.plans.get(id));
    ServiceReport {
        row: row(catalog, service),
        metric_list: metrics.collect(),
        plan_list: plans.take(ROWS_MAX).map(|plan| plan_row(service, plan)).collect(),
    }
}

fn plan_row(service: &Service, plan: &Plan) -> PlanRow {
    let limits = plan.limits.iter().map(|limit| LimitRow {
        metric: name_of(service, limit.slot),
        period: limit.period.name().to_owned(),
        max: limit.max,
    });
    PlanRow {
        id: plan.id.0,
        external_id: plan.external_id.clone(),
        name: plan.name.clone(),
        limits: limits.collect(),
    }
}

/// A metric that was deleted has counts and no name.
fn name_of(service: &Service, slot: MetricSlot) -> String {
    match service.metrics.get(slot) {
        Some(metric) => metric.name.clone(),
        None => response_code_name(slot).map_or_else(|| format!("deleted-{}", slot.0), str::to_owned),
    }
}

fn application_report(
    engine: &Engine,
    catalog: &Catalog,
    application: &Application,
    now: UnixMillis,
) -> ApplicationReport {
    let image = engine.counters_of(application.id, now);
    let image = image.unwrap_or_else(|| SubjectImage::empty(application.id));
    let service = catalog.services.get(application.service.0);
    let name = |slot| service.map_or_else(|| slot_text(slot), |service| name_of(service, slot));
    let plan = catalog.plans.get(application.plan.0).zip(service);
    ApplicationReport {
        id: application.id.0,
        app_id: application.app_id.to_string(),
        name: application.name.to_string(),
        state: application.state.name().to_owned(),
        account: application.account.map(|account| account.0),
        plan: plan.map_or_else(
            || PlanRow { id: application.plan.0, external_id: None, name: String::new(), limits: Vec::new() },
            |(plan, service)| plan_row(service, plan),
        ),
        user_keys: application.user_keys.len(),
        app_keys: application.app_keys.len(),
        referrer_filters: application.referrer_filters.len(),
        counters: counter_rows(&image, now, name),
        waiting_items: image.waiting.len(),
        reservations: image.open_reservations(now).map(|hold| reservation_row(hold, name)).collect(),
        expired_reservations: image.holds.len() - image.open_reservations(now).count(),
    }
}

fn reservation_row(hold: &HoldImage, name: impl Fn(MetricSlot) -> String) -> ReservationRow {
    let row = |(slot, amount): &(MetricSlot, u64)| HeldRow { metric: name(*slot), amount: *amount };
    ReservationRow {
        id: hold.id.0,
        expires_s: hold.id.expires_s(),
        held: hold.amounts.iter().map(row).collect(),
    }
}

/// The counters that were ever counted, then those that are only held of.
fn counter_rows(
    image: &SubjectImage,
    now: UnixMillis,
    name: impl Fn(MetricSlot) -> String,
) -> Vec<CounterRow> {
    let windows = Windows::at(now.minute());
    let held = image.open_reservations(now).flat_map(|hold| &hold.amounts).map(|(slot, _)| *slot);
    let is_new = |slot: &MetricSlot| image.cells.iter().all(|cell| cell.slot != *slot);
    let only_held: BTreeSet<_> = held.filter(is_new).collect();
    let nothing = |slot| CellImage { slot, minute: now.minute(), counts: [0; Period::COUNT] };
    let cells = image.cells.iter().copied().chain(only_held.into_iter().map(nothing));
    let row = |cell: CellImage| {
        let reserved = image.reserved(cell.slot, now);
        CounterRow { reserved, ..counter_row(name(cell.slot), &cell, &windows) }
    };
    cells.map(row).collect()
}

fn slot_text(slot: MetricSlot) -> String {
    format!("slot-{}", slot.0)
}

fn counter_row(metric: String, cell: &CellImage, windows: &Windows) -> CounterRow {
    let count = |period: Period| cell.count(period, windows);
    CounterRow {
        metric,
        reserved: 0,
        minute: count(Period::Minute),
        hour: count(Period::Hour),
        day: count(Period::Day),
        week: count(Period::Week),
        month: count(Period::Month),
        year: count(Period::Year),
        eternity: count(Period::Eternity),
    }
}
