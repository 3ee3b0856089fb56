//! `limit list`, `limit set` and `limit delete`: people know a limit by plan, metric and period.

use serde_json::Value;

use super::super::Exit;
use super::api::bare;
use super::session::{Failure, Session, nothing};
use super::shown::Shown;

const OF_METRIC: &str = "application_plans/{plan}/metrics/{metric}/limits";

/// With the names of metrics.
pub(super) fn list(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let limits = session.api.list(&session.path("application_plans/{plan}/limits")?, &nothing())?;
    let metrics = session.api.list(&session.path("services/{service}/metrics")?, &nothing())?;
    let named = |limit: &Value| {
        let known = metrics.iter().find(|metric| metric["id"] == limit["metric_id"]);
        let mut row = limit.clone();
        // Those of backend APIs are not among the service's own.
        row["metric"] = known.map_or(&limit["metric_id"], |metric| &metric["system_name"]).clone();
        row
    };
    let rows = limits.iter().map(named).collect();
    Ok(Shown::list_as(limits, rows, session.asked.verb.columns))
}

/// The limit that a metric has over the period that was given.
fn existing(session: &Session<'_>) -> Result<Option<Value>, Failure> {
    let period = session.asked.value("period").unwrap_or_default();
    let limits = session.api.list(&session.path(OF_METRIC)?, &nothing())?;
    Ok(limits.into_iter().find(|limit| limit["period"] == period))
}

/// Whether there was one or not.
pub(super) fn set(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let path = session.path(OF_METRIC)?;
    let answer = match existing(session)? {
        Some(limit) => session.api.call("PUT", &format!("{path}/{}", limit["id"]), &session.fields)?,
        None => session.api.call("POST", &path, &session.fields)?,
    };
    Ok(Shown::one(bare(answer)))
}

/// By metric and period.
pub(super) fn delete(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let none = || Failure::new(Exit::Failed, "the plan has no such limit on this metric");
    let limit = existing(session)?.ok_or_else(none)?;
    let path = format!("{}/{}", session.path(OF_METRIC)?, limit["id"]);
    session.api.call("DELETE", &path, &nothing())?;
    Ok(Shown::deleted("limit", limit))
}
