//! `/services/:s/applications/:id`: create, change, show, delete.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::json::{JsonError, Object};
use super::records::{Records, show_flag};
use crate::model::catalog::Key;
use crate::model::draft::{Draft, NewApplication};
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::record::{Application, ApplicationState, Plan};

pub(super) fn answer(api: &Api, call: &Call, service: &str, id: &str) -> Outcome {
    match call.verb {
        Verb::Get => {
            let records = api.records();
            let application = records.application(records.service(service)?.id, id)?;
            Ok(Reply::ok(json!({"status": "found", "application": shown(&records, application)?})))
        }
        Verb::Post | Verb::Put => {
            let attributes = Attributes::read(&call.body.object("application")?)?;
            api.change(|draft| {
                let service = Records::service(draft, service)?.id;
                let is_known = draft.find(Key::AppId { service, text: id }).is_some();
                if is_known && call.verb == Verb::Post {
                    return Err(Refusal::Exists("application"));
                }
                let application = save(draft, service, id, &attributes)?;
                let application = shown_as(draft, application)?;
                let status = if is_known { "modified" } else { "created" };
                let body = json!({"status": status, "application": application});
                Ok(if call.verb == Verb::Post { Reply::created(body) } else { Reply::ok(body) })
            })
        }
        Verb::Delete => api.change(|draft| {
            let service = Records::service(draft, service)?.id;
            let id = Records::application(draft, service, id)?.id;
            draft.delete_application(id)?;
            Ok(Reply::deleted())
        }),
    }
}

/// What a body says of an application; absent attributes stay as they are.
pub(super) struct Attributes {
    state: ApplicationState,
    plan_id: Option<String>,
    plan_name: Option<String>,
    redirect_url: Option<String>,
    /// Ours.
    shadow: Option<bool>,
}

impl Attributes {
    pub(super) fn read(body: &Object) -> Result<Attributes, Refusal> {
        let read = || {
            Ok::<_, JsonError>(Attributes {
                state: ApplicationState::parse(&body.needed("state")?),
                plan_id: body.text("plan_id")?,
                plan_name: body.text("plan_name")?,
                redirect_url: body.text("redirect_url")?,
                shadow: body.flag("shadow")?,
            })
        };
        read().map_err(|error| Refusal::BadApplication(error.to_string()))
    }
}

/// Creates or changes an application.
pub(super) fn save(
    draft: &mut Draft<'_>,
    service: ServiceId,
    app_id: &str,
    attributes: &Attributes,
) -> Result<ApplicationId, Refusal> {
    let known = draft.find(Key::AppId { service, text: app_id }).map(ApplicationId);
    let current = known.and_then(|id| Some(draft.catalog().applications.get(id.0)?.plan));
    let plan = plan_of(draft, service, current, attributes)?;
    let id = match known {
        Some(id) => id,
        None => {
            let new = NewApplication { service, account: None, app_id, name: app_id, plan };
            draft.create_application(&new)?
        }
    };
    draft.edit_application(id, |application| {
        application.plan = plan;
        application.state = attributes.state.clone();
        application.shadow = attributes.shadow.unwrap_or(application.shadow);
        if let Some(url) = &attributes.redirect_url {
            application.redirect_url = Some(url.as_str().into());
        }
    })?;
    Ok(id)
}

/// The plan that an application is on after this push, which creates it if need be, or renames it.
fn plan_of(
    draft: &mut Draft<'_>,
    service: ServiceId,
    current: Option<PlanId>,
    attributes: &Attributes,
) -> Result<PlanId, Refusal> {
    let id = match (&attributes.plan_id, current) {
        (Some(text), _) => find_or_create_plan(draft, service, text)?,
        (None, Some(current)) => current,
        (None, None) => match draft.find(Key::Plan { service, text: Plan::NONE }) {
            Some(id) => PlanId(id),
            None => draft.create_plan(service, Some(Plan::NONE), "")?,
        },
    };
    if let Some(name) = &attributes.plan_name {
        let plan = Records::plan_of(draft, id)?;
        if plan.text().is_none() {
            return Err(Refusal::BadApplication(
                "plan_name needs a plan_id: it is the plan's name".to_owned(),
            ));
        }
        if plan.name != *name {
            draft.rename_plan(id, name)?;
        }
    }
    Ok(id)
}

/// The plan that the other system calls `text`, which may be mentioned first by a limit or by an application.
pub(super) fn find_or_create_plan(
    draft: &mut Draft<'_>,
    service: ServiceId,
    text: &str,
) -> Result<PlanId, Refusal> {
    match draft.plan(service, text) {
        Some(plan) => Ok(plan.id),
        None => Ok(draft.create_plan(service, Some(text), "")?),
    }
}

/// An application as answers show it.
pub(super) fn shown_as(records: &impl Records, id: ApplicationId) -> Result<Value, Refusal> {
    let application = records.catalog().applications.get(id.0).ok_or(Refusal::NotFound("application"))?;
    shown(records, application)
}

fn shown(records: &impl Records, application: &Application) -> Result<Value, Refusal> {
    let plan = records.plan_of(application.plan)?;
    let service = records.catalog().services.get(application.service.0);
    let mut shown = json!({
        "service_id": service.map(|service| service.text()),
        "id": application.app_id,
        "state": application.state.name(),
        "plan_id": plan.text(),
        "plan_name": Some(&plan.name).filter(|name| !name.is_empty()),
        "redirect_url": application.redirect_url,
    });
    show_flag(&mut shown, "shadow", application.shadow);
    Ok(shown)
}
