//! `tollgate inspect`: what a node holds, running or stopped.

use clap::Args;

use super::table::table;
use super::{Exit, configuration, say, show, show_json};
use crate::config::Settings;
use crate::listener::system_clock;
use crate::node::inspect::{
    ApplicationReport, CatalogReport, InspectError, Query, Report, ReservationRow, ServiceReport, Which,
    inspect,
};

#[derive(Args, Debug)]
pub(super) struct Inspect {
    #[command(flatten)]
    settings: Settings,

    /// A service, by its decimal or external id
    #[arg(long, value_name = "ID")]
    service: Option<String>,

    /// An application and its counters, by its decimal id
    #[arg(long, value_name = "ID", conflicts_with = "app_id")]
    application: Option<u64>,

    /// An application of --service and its counters, by the app id that callers send
    #[arg(long, value_name = "APP_ID", requires = "service")]
    app_id: Option<String>,

    /// JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Inspect) -> Exit {
    let config = match configuration(arguments.settings) {
        Ok((config, _)) => config,
        Err(exit) => return exit,
    };
    let by_id = arguments.application.map(Which::Id);
    let application = by_id.or(arguments.app_id.map(Which::AppId));
    let query = Query { service: arguments.service, application };
    match inspect(&config.data_dir, &query, &system_clock()) {
        Ok(report) if arguments.json => show_json(&report),
        Ok(report) => {
            show(&text(&report));
            Exit::Done
        }
        Err(error) => {
            say(&error.to_string());
            exit_of(&error)
        }
    }
}

fn exit_of(error: &InspectError) -> Exit {
    match error {
        InspectError::DataDir(error) => super::serve::exit_of_data_dir(error),
        InspectError::NotANode(_) => Exit::DataDir,
        InspectError::Recovery(error) if error.is_io() => Exit::DataDir,
        InspectError::Recovery(_) => Exit::Data,
        InspectError::Silent(_) => Exit::Locked,
        _ => Exit::Failed,
    }
}

fn text(report: &Report) -> String {
    let state = if report.running { "running" } else { "stopped" };
    let mut text = format!("The node is {state}; its clock stands at {} ms.\n", report.engine_time_ms);
    for note in &report.notes {
        text += &format!("Note: {note}\n");
    }
    text += &report.catalog.as_ref().map(catalog).unwrap_or_default();
    text += &report.service.as_ref().map(service).unwrap_or_default();
    text += &report.application.as_ref().map(application).unwrap_or_default();
    text
}

fn catalog(catalog: &CatalogReport) -> String {
    let (totals, journal) = (&catalog.totals, &catalog.journal);
    let mut text = format!(
        "Catalog version {}: {} tenants, {} accounts, {} services, {} plans, {} applications\n\
         Journal term {}: {} entries on disk, {} given out; {} items wait for their windows; \
         {} reservations are open\n\n",
        catalog.version,
        totals.tenants,
        totals.accounts,
        totals.services,
        totals.plans,
        totals.applications,
        journal.term,
        journal.synced,
        journal.appended,
        catalog.waiting_items,
        catalog.open_reservations
    );
    let rows: Vec<_> = catalog
        .services
        .iter()
        .map(|it| {
            [
                it.id.to_string(),
                or_dash(it.external_id.as_deref()),
                it.tenant.to_string(),
                it.name.clone(),
                it.state.clone(),
                it.metrics.to_string(),
                it.plans.to_string(),
                it.applications.to_string(),
            ]
        })
        .collect();
    let heads = ["SERVICE", "EXTERNAL", "TENANT", "NAME", "STATE", "METRICS", "PLANS", "APPLICATIONS"];
    text += &table(heads, &rows);
    if catalog.services_left_off > 0 {
        text += &format!("... and {} more\n", catalog.services_left_off);
    }
    text
}

fn service(service: &ServiceReport) -> String {
    let row = &service.row;
    let mut text = format!(
        "\nService {} ({}) of tenant {}: {}, backend version {}{}, {} tokens (not shown), {} applications\n\n",
        row.id,
        row.name,
        row.tenant,
        row.state,
        row.backend_version,
        row.promise.as_ref().map_or_else(String::new, |promise| format!(", answers {promise}")),
        row.tokens,
        row.applications
    );
    let metrics = service.metric_list.iter();
    let rows: Vec<_> =
        metrics.map(|it| [it.id.to_string(), it.name.clone(), or_dash(it.parent.as_deref())]).collect();
    text += &table(["METRIC", "NAME", "PARENT"], &rows);
    let mut rows = Vec::new();
    for plan in &service.plan_list {
        let limits = plan.limits.iter().map(|it| format!("{} {} a {}", it.max, it.metric, it.period));
        rows.push([plan.id.to_string(), plan.name.clone(), limits.collect::<Vec<_>>().join(", ")]);
    }
    text + "\n" + &table(["PLAN", "NAME", "LIMITS"], &rows)
}

fn application(application: &ApplicationReport) -> String {
    let mut text = format!(
        "\nApplication {} (app id {}, {}): {}, plan {}; {} user keys and {} application keys (not shown)\n\n",
        application.id,
        application.app_id,
        application.name,
        application.state,
        application.plan.name,
        application.user_keys,
        application.app_keys
    );
    let limit = |metric: &str, period: &str| {
        let limits = &application.plan.limits;
        let limit = limits.iter().find(|limit| limit.metric == metric && limit.period == period);
        limit.map_or_else(String::new, |limit| format!("/{}", limit.max))
    };
    let rows: Vec<_> = application
        .counters
        .iter()
        .map(|it| {
            let cell = |period, count: u64| format!("{count}{}", limit(&it.metric, period));
            [
                it.metric.clone(),
                cell("minute", it.minute),
                cell("hour", it.hour),
                cell("day", it.day),
                cell("week", it.week),
                cell("month", it.month),
                cell("year", it.year),
                cell("eternity", it.eternity),
                it.reserved.to_string(),
            ]
        })
        .collect();
    let heads = ["COUNTED", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR", "ETERNITY", "RESERVED"];
    text += &table(heads, &rows);
    if application.waiting_items > 0 {
        text += &format!("{} future-dated items wait for their windows\n", application.waiting_items);
    }
    text + &reservations(application)
}

fn reservations(application: &ApplicationReport) -> String {
    let mut text = String::new();
    if !application.reservations.is_empty() {
        let row = |it: &ReservationRow| {
            let held = it.held.iter().map(|held| format!("{} {}", held.amount, held.metric));
            [it.id.to_string(), it.expires_s.to_string(), held.collect::<Vec<_>>().join(", ")]
        };
        let rows: Vec<_> = application.reservations.iter().map(row).collect();
        text += "\n";
        text += &table(["RESERVATION", "EXPIRES (S)", "HOLDS"], &rows);
    }
    if application.expired_reservations > 0 {
        text +=
            &format!("{} reservations have expired and can be committed\n", application.expired_reservations);
    }
    text
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
