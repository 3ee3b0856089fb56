//! What happens to applications: `/accounts/{id}/applications/{id}/accept`, `suspend`, `resume`, `change_plan`, `customize_plan`, `decustomize_plan`.
//!
//! Each binds the next call. A *customized* plan is a copy that one application alone is on; it goes when the application leaves it.

use std::sync::Arc;

use super::accounts::delete_unused;
use super::answer::{Errors, Outcome, Refusal, Reply};
use super::applications::{ACCESS, ApplicationDetails, answer, application};
use super::context::{Context, Edit};
use super::plans;
use super::routes::{PUT, Route};
use super::terms::Terms;
use crate::model::id::{ApplicationId, PlanId};
use crate::model::record::ApplicationState;

pub(super) const ROUTES: &[Route] = &[
    Route::new(PUT, "accounts/{account_id}/applications/{id}/accept", ACCESS, accept),
    Route::new(PUT, "accounts/{account_id}/applications/{id}/suspend", ACCESS, suspend),
    Route::new(PUT, "accounts/{account_id}/applications/{id}/resume", ACCESS, resume),
    Route::new(PUT, "accounts/{account_id}/applications/{id}/change_plan", ACCESS, change_plan),
    Route::new(PUT, "accounts/{account_id}/applications/{id}/customize_plan", ACCESS, customize_plan),
    Route::new(PUT, "accounts/{account_id}/applications/{id}/decustomize_plan", ACCESS, decustomize_plan),
];

/// What can happen to an application's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(super) enum Event {
    Accept,
    Suspend,
    Resume,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Accept => "accept",
            Event::Suspend => "suspend",
            Event::Resume => "resume",
        }
    }

    /// The state after it; none if it cannot happen in this one.
    fn applied_to(self, state: &ApplicationState) -> Option<ApplicationState> {
        match (self, state) {
            (Event::Accept, ApplicationState::Pending) | (Event::Resume, ApplicationState::Suspended) => {
                Some(ApplicationState::Active)
            }
            (Event::Suspend, ApplicationState::Active) => Some(ApplicationState::Suspended),
            _ => None,
        }
    }
}

/// Lets something happen to an application's state.
///
/// # Errors
/// It cannot happen in the state that it is in.
pub(super) fn happen(edit: &mut Edit<'_, '_, '_>, id: ApplicationId, event: Event) -> Result<(), Refusal> {
    let found = Arc::clone(edit.seen().application(id.0)?);
    let Some(state) = event.applied_to(&found.state) else {
        return Err(Errors::of("state", format!("cannot transition via \"{}\"", event.name())).into());
    };
    let mut details = edit.records.find::<ApplicationDetails>(id.0)?.unwrap_or_default();
    details.updated_at = edit.now;
    if event == Event::Accept {
        details.accepted_at = Some(edit.now);
    }
    edit.records.save(id.0, &details)?;
    Ok(edit.draft.edit_application(id, |application| application.state = state)?)
}

fn accept(context: &Context<'_>) -> Outcome {
    turn(context, Event::Accept)
}

fn suspend(context: &Context<'_>) -> Outcome {
    turn(context, Event::Suspend)
}

fn resume(context: &Context<'_>) -> Outcome {
    turn(context, Event::Resume)
}

fn turn(context: &Context<'_>, event: Event) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        application(edit.seen(), account, id)?;
        happen(edit, ApplicationId(id), event)?;
        answer(edit, id)
    })
}

/// Puts an application on another plan of its service. A plan that was made for it alone goes.
///
/// # Errors
/// The service has no such plan.
pub(super) fn move_to(edit: &mut Edit<'_, '_, '_>, id: ApplicationId, plan: PlanId) -> Result<(), Refusal> {
    let found = Arc::clone(edit.seen().application(id.0)?);
    plans::plan_of(edit.seen(), found.service.0, plan.0)?;
    if found.plan == plan {
        return Ok(());
    }
    let mut details = edit.records.find::<ApplicationDetails>(id.0)?.unwrap_or_default();
    details.updated_at = edit.now;
    edit.records.save(id.0, &details)?;
    edit.draft.edit_application(id, |application| application.plan = plan)?;
    let left = edit.records.find::<Terms>(found.plan.0)?;
    if left.is_some_and(|terms| terms.original.is_some()) {
        delete_unused(edit, found.plan)?;
    }
    Ok(())
}

/// These answer the plan, as the original does.
fn plan_answer(edit: &Edit<'_, '_, '_>, plan: PlanId) -> Outcome {
    let seen = edit.seen();
    Ok(Reply::one(plans::entity(seen, seen.plan(plan.0)?)?))
}

fn change_plan(context: &Context<'_>) -> Outcome {
    let fields = context.fields("application")?;
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        application(edit.seen(), account, id)?;
        let plan = PlanId(fields.id("plan_id").ok_or(Refusal::NotFound)?);
        move_to(edit, ApplicationId(id), plan)?;
        plan_answer(edit, plan)
    })
}

fn customize_plan(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let from = application(edit.seen(), account, id)?.plan;
        let plan = Arc::clone(edit.seen().plan(from.0)?);
        let terms = plans::terms_of(edit.records, &plan)?;
        if terms.original.is_some() {
            return plan_answer(edit, from);
        }
        let number = edit.draft.take_id();
        let name = suffixed(&plan.name, " (custom)");
        let system_name = suffixed(&terms.system_name, &format!("_custom_{number}"));
        let custom = plans::copy_plan(edit, from, &name, Some(system_name), Some(from.0))?;
        move_to(edit, ApplicationId(id), custom)?;
        plan_answer(edit, custom)
    })
}

/// A name with an addition, no longer than names may be.
fn suffixed(name: &str, addition: &str) -> String {
    let room = crate::model::draft::TEXT_LEN_MAX - addition.len();
    let end = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{addition}", &name[..end])
}

fn decustomize_plan(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let plan = application(edit.seen(), account, id)?.plan;
        let terms = edit.records.find::<Terms>(plan.0)?;
        let Some(original) = terms.and_then(|terms| terms.original).map(PlanId) else {
            return plan_answer(edit, plan);
        };
        // Whoever pushes plans over the internal API may have taken it away.
        if edit.seen().plan(original.0).is_err() {
            let why = "The plan that this one was made of is gone: change the plan instead";
            return Err(Errors::of("base", why).into());
        }
        move_to(edit, ApplicationId(id), original)?;
        plan_answer(edit, original)
    })
}
