//! Signup: an account, its first user and what they begin with, in one command.
//!
//! The account gets the account plan that was asked for or the default one. It is subscribed to what was asked for, or else to each service that has a
//! default plan; and gets an application on the plan that was asked for, or on the default plan of each service that it is subscribed to.
//! With a password, and no approval needed, it is approved and its user active at once; else both wait for somebody.

use serde_json::{Map, Value};

use super::account_details::{AccountDetails, AccountState};
use super::answer::{Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit};
use super::owned::Owned;
use super::people::{Role, UserState};
use super::request::Fields;
use super::routes::{POST, Route};
use super::services::ServiceDetails;
use super::subscriptions::{self, Subscription};
use super::xml::Element;
use super::{account_plans, accounts, applications, logins, service_plans};
use crate::model::id::{AccountId, PlanId};

pub(super) const ROUTES: &[Route] = &[Route::new(POST, "signup", Access::section(Section::Partners), create)];

/// The name and description of applications that come with a signup.
const APPLICATION: &str = "API signup";

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    let mut errors = Errors::default();
    let hash = logins::password(&fields, &mut errors)?;
    context.change(|edit| {
        let id = add(edit, &fields, hash, errors)?;
        answer(edit, id)
    })
}

/// Signs an account up. `errors` is what was found wrong with the fields before.
///
/// # Errors
/// Something would not be valid.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    fields: &Fields,
    password_hash: Option<String>,
    mut errors: Errors,
) -> Result<AccountId, Refusal> {
    let name = fields.text("org_name").unwrap_or_default().trim().to_owned();
    check::present(&mut errors, "org_name", Some(&name));
    // Without a name there is no account that the rest could be checked with.
    let known = if errors.is_empty() { name.as_str() } else { APPLICATION };
    let id = edit.draft.create_account(edit.caller.tenant, known)?;
    let is_approved = open_account(edit, id, fields, password_hash.is_some(), &mut errors)?;
    let state = if is_approved { UserState::Active } else { UserState::Pending };
    logins::add(edit, Some(id.0), fields, (Role::Admin, state), password_hash, &mut errors)?;
    errors.check()?;
    subscribe(edit, id, fields)?;
    add_applications(edit, id, fields)?;
    Ok(id)
}

/// Records what is known of a new account; whether it is approved.
pub(super) fn open_account(
    edit: &mut Edit<'_, '_, '_>,
    id: AccountId,
    fields: &Fields,
    has_password: bool,
    errors: &mut Errors,
) -> Result<bool, Refusal> {
    let plan = match fields.filled("account_plan_id") {
        Some(_) => fields.id("account_plan_id").ok_or(Refusal::NotFound)?,
        None => account_plans::for_new_account(edit)?,
    };
    let terms = account_plans::plan(edit.seen(), plan)?;
    let is_approved = has_password && !terms.approval_required;
    let mut details = AccountDetails {
        state: if is_approved { AccountState::Approved } else { AccountState::Created },
        plan: Some(plan),
        setup_fee: terms.setup_fee,
        trial_expires_at: Some(subscriptions::trial_end(&terms, edit.now)),
        created_at: edit.now,
        updated_at: edit.now,
        ..AccountDetails::default()
    };
    details.apply(edit.records, edit.caller.tenant.0, fields, errors)?;
    details.put(id.0, edit.caller.tenant.0, edit.records)?;
    Ok(is_approved)
}

/// Subscribes a new account, before it gets applications.
fn subscribe(edit: &mut Edit<'_, '_, '_>, account: AccountId, fields: &Fields) -> Result<(), Refusal> {
    if fields.filled("service_plan_id").is_some() {
        let plan = fields.id("service_plan_id").ok_or(Refusal::NotFound)?;
        service_plans::plan(edit.seen(), plan)?;
        subscriptions::subscribe(edit, account, plan)?;
        return Ok(());
    }
    if fields.filled("application_plan_id").is_some() {
        // To that plan's service, with the application.
        return Ok(());
    }
    let services: Vec<_> = edit.seen().catalog.services_of(edit.caller.tenant).iter().collect();
    for id in services {
        if edit.seen().service(id).is_err() {
            continue;
        }
        let details = edit.records.find::<ServiceDetails>(id)?;
        if let Some(plan) = details.and_then(|details| details.default_service_plan) {
            subscriptions::subscribe(edit, account, plan)?;
        }
    }
    Ok(())
}

fn add_applications(edit: &mut Edit<'_, '_, '_>, account: AccountId, fields: &Fields) -> Result<(), Refusal> {
    let mut plans = Vec::new();
    if fields.filled("application_plan_id").is_some() {
        plans.push(fields.id("application_plan_id").ok_or(Refusal::NotFound)?);
    } else {
        for (_, subscription) in Subscription::of(account.0, edit.records)? {
            let details = edit.records.find::<ServiceDetails>(subscription.service)?;
            plans.extend(details.and_then(|details| details.default_application_plan));
        }
    }
    let mut like = Map::new();
    for field in ["name", "description"] {
        like.insert(field.to_owned(), Value::from(APPLICATION));
    }
    let like = Fields::from(like);
    for plan in plans {
        applications::add(edit, account, PlanId(plan), &like)?;
    }
    Ok(())
}

/// In XML the applications are shown with the account, here alone.
fn answer(edit: &Edit<'_, '_, '_>, id: AccountId) -> Outcome {
    let seen = edit.seen();
    let mut entity = accounts::entity(seen, seen.account(id.0)?)?;
    let mut all = Element::new("applications");
    for application in seen.catalog.applications_of(id.0).iter() {
        all.push(applications::entity(seen, seen.application(application)?)?.xml);
    }
    entity.xml.push(all);
    Ok(Reply::created(entity).at(format!("/admin/api/accounts/{id}")))
}
