//! The same for many applications, which 3scale's API does not have: `POST /applications/bulk`.
//!
//! `action` is `accept`, `suspend`, `resume` or `change_plan` (with `plan_id`). Which: `ids`, or all that `service_id`, `plan_id`,
//! `from_plan_id`, `account_id` and `state` say together; to change plans, `plan_id` is the plan to come, and
//! `from_plan_id` the one that is left. Those that are on it already are left out: there is nothing to do.
//!
//! One call does it to [`ITEMS_MAX`] of them, by ascending id. The answer says how many are `left`, and in `next` the id of the last one that
//! was tried: the same call with that as `after` takes the next.
//!
//! Each application is a command of its own: one that cannot be changed does not keep the others back, decisions are never held
//! up for all of them together, and each has its entry in the audit log. If the node ends in the middle, those that were not reached are
//! as they were; the same call again does the rest. The answer says of each what became of it, and comes when the last is on disk.

use serde_json::{Map, Value, json};

use super::answer::{Errors, Format, Outcome, Refusal, Reply};
use super::application_states::{Event, happen, move_to};
use super::applications::{ACCESS, state_name};
use super::check;
use super::context::{Context, Edit, Seen};
use super::request::Fields;
use super::routes::{Formats, POST, Route};
use crate::model::id::{ApplicationId, PlanId};
use crate::model::record::Application;

pub(super) const ROUTES: &[Route] =
    &[Route::new(POST, "applications/bulk", ACCESS, run).in_formats(Formats::JsonOnly)];

/// The most applications of one call.
pub(super) const ITEMS_MAX: usize = 1000;

/// What is done to each.
#[derive(Clone, Copy)]
pub(super) enum Action {
    State(Event),
    Plan(PlanId),
}

impl Action {
    fn read(fields: &Fields, name: &str) -> Result<Action, Refusal> {
        Ok(Action::State(match name {
            "accept" => Event::Accept,
            "suspend" => Event::Suspend,
            "resume" => Event::Resume,
            "change_plan" => {
                let plan = fields.id("plan_id");
                return plan.map(|id| Action::Plan(PlanId(id))).ok_or(Refusal::Missing("plan_id"));
            }
            _ => return Err(Errors::of("action", check::NOT_LISTED).into()),
        }))
    }

    fn apply(self, edit: &mut Edit<'_, '_, '_>, id: ApplicationId) -> Result<(), Refusal> {
        match self {
            Action::State(event) => happen(edit, id, event),
            Action::Plan(plan) => move_to(edit, id, plan),
        }
    }
}

fn run(context: &Context<'_>) -> Outcome {
    let fields = context.request.parameters();
    let name = fields.needed("action")?;
    let action = Action::read(&fields, &name)?;
    let (ids, left) = {
        let moment = context.look()?;
        which(moment.seen(), &fields, action, ITEMS_MAX)?
    };
    let next = ids.last().copied().filter(|_| left > 0);
    let (mut items, mut succeeded, mut last) = (Vec::with_capacity(ids.len()), 0, None);
    for id in ids {
        let done = context.change(|edit| {
            action.apply(edit, ApplicationId(id))?;
            let application = edit.seen().application(id)?;
            let state = state_name(&application.state);
            let plan = application.plan.0;
            Ok(Reply::json(200, json!({"id": id, "status": 200, "state": state, "plan_id": plan})))
        });
        match done {
            Ok(reply) => {
                succeeded += 1;
                last = reply.ticket().or(last);
                items.extend(reply.into_json());
            }
            Err(refusal) => items.push(failed(id, &refusal)),
        }
    }
    let failed = items.len() - succeeded;
    let report = json!({"bulk": {
        "action": name,
        "succeeded": succeeded,
        "failed": failed,
        "left": left,
        "next": next,
        "items": items,
    }});
    let reply = Reply::json(200, report);
    Ok(match last {
        Some(ticket) => reply.once(ticket),
        None => reply,
    })
}

/// What the call for this one alone would have been answered.
fn failed(id: u64, refusal: &Refusal) -> Value {
    let answer = refusal.answer(Format::Json);
    let mut item =
        Map::from_iter([("id".to_owned(), id.into()), ("status".to_owned(), answer.status.into())]);
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(body)) => item.extend(body.into_iter().filter(|(field, _)| field != "status")),
        _ => drop(item.insert("error".to_owned(), String::from_utf8_lossy(&answer.body).into())),
    }
    Value::Object(item)
}

/// The applications that are meant, ascending, and how many there are beyond.
///
/// # Errors
/// Nothing says which: all of them are never meant by saying nothing.
pub(super) fn which(
    seen: Seen<'_>,
    fields: &Fields,
    action: Action,
    items_max: usize,
) -> Result<(Vec<u64>, usize), Refusal> {
    if let Some(texts) = fields.texts("ids") {
        let ids: Option<std::collections::BTreeSet<u64>> = texts.iter().map(|it| it.parse().ok()).collect();
        let ids = ids.ok_or_else(|| Refusal::from(Errors::of("ids", check::INVALID)))?;
        if ids.len() > items_max {
            return Err(Errors::of("ids", format!("are too many (maximum is {items_max})")).into());
        }
        return Ok((ids.into_iter().collect(), 0));
    }
    let filled = |name: &str| fields.filled(name).map(|text| text.parse::<u64>().unwrap_or(0));
    let (plan, wanted) = match action {
        Action::Plan(wanted) => (filled("from_plan_id"), Some(wanted)),
        Action::State(_) => (filled("plan_id"), None),
    };
    let after = match fields.filled("after").map(|text| text.parse::<u64>()) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Errors::of("after", check::INVALID).into()),
    };
    let (service, account, state) = (filled("service_id"), filled("account_id"), fields.filled("state"));
    let Some(owner) = plan.or(account).or(service) else {
        let message = "say which: ids, service_id, account_id, or a plan";
        return Err(Errors::of("base", message).into());
    };
    let is_meant = |it: &Application| {
        after.is_none_or(|id| it.id.0 > id)
            && wanted != Some(it.plan)
            && plan.is_none_or(|id| it.plan.0 == id)
            && service.is_none_or(|id| it.service.0 == id)
            && account.is_none_or(|id| it.account.is_some_and(|account| account.0 == id))
            && state.as_ref().is_none_or(|state| state == state_name(&it.state))
    };
    let all = seen.catalog.applications_of(owner).iter().filter_map(|id| seen.application(id).ok());
    let mut meant = all.filter(|it| is_meant(it)).map(|it| it.id.0);
    let ids = meant.by_ref().take(items_max).collect();
    Ok((ids, meant.count()))
}
