//! The catalog that the benches of whole requests run on: one service, a metric with one above it, a plan with three
//! limits that are never reached, and applications with a user key each.

use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;

/// The user key of that application.
pub(crate) fn key(number: usize) -> String {
    format!("user-key-{number:023}")
}

/// Creates it. The provider key is `provider`, the service `bench` with the token `token`, the metrics `hits` and `search`.
pub(crate) fn create(draft: &mut Draft<'_>, applications: usize) -> Result<(), CommandError> {
    let tenant = draft.create_tenant("bench", "provider")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some("bench"), name: "bench", backend_version };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| it.tokens.push(Secret::new("token")))?;
    let hits = draft.create_metric(service, "hits", None)?;
    draft.create_metric(service, "search", Some(hits))?;
    let plan = draft.create_plan(service, None, "Basic")?;
    for period in [Period::Minute, Period::Hour, Period::Day] {
        draft.set_limit(plan, hits, period, 1 << 40)?;
    }
    for number in 0..applications {
        let name = format!("app{number}");
        let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new(&key(number))))?;
    }
    Ok(())
}
