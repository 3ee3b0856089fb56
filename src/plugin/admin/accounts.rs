//! Accounts, the organisations that own applications: `/accounts`. They come by [signup](super::signup).
//!
//! # States
//! `created` until somebody decides, then `approved`, `rejected` or `pending`, as often as it is decided anew. What an account is allowed to call does
//! not depend on it: its applications have states of their own.
//!
//! Deleting an account deletes its applications, users, subscriptions and messages in the same command. It may have very many, so the command is
//! built while others go on.

use std::collections::BTreeSet;

use serde_json::json;

use super::account_details::{self, AccountDetails, AccountState};
use super::answer::{Entity, Errors, Format, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::extra;
use super::messages::{self, Message};
use super::names::{self, Kind};
use super::owned::Owned;
use super::people::User;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::terms::Terms;
use super::xml::Element;
use super::{account_plans, plans, times, users};
use crate::model::catalog::Change;
use crate::model::id::{AccountId, PlanId};
use crate::model::record::Account;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Partners);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "accounts", ACCESS, list),
    Route::new(GET, "accounts/find", ACCESS, find),
    Route::new(GET, "accounts/{id}", ACCESS, show),
    Route::new(PUT, "accounts/{id}", ACCESS, update),
    Route::new(DELETE, "accounts/{id}", ACCESS, delete),
    Route::new(PUT, "accounts/{id}/approve", ACCESS, approve),
    Route::new(PUT, "accounts/{id}/reject", ACCESS, reject),
    Route::new(PUT, "accounts/{id}/make_pending", ACCESS, make_pending),
    Route::new(PUT, "accounts/{id}/change_plan", ACCESS, change_plan),
    Route::new(GET, "accounts/{id}/plan", ACCESS, plan),
    Route::new(POST, "accounts/{account_id}/messages", ACCESS, messages::create),
];

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (ids, page) = match context.request.parameters().filled("state") {
        None => {
            let ids = seen.catalog.accounts_of(context.caller.tenant);
            let page = context.page(ids.len());
            (ids.iter().skip(page.skip()).take(page.per_page).collect(), page)
        }
        Some(state) => match AccountState::parse(&state) {
            Some(state) => account_details::in_state(seen, state, |total| context.page(total))?,
            None => (Vec::new(), context.page(0)),
        },
    };
    let accounts = ids.into_iter().filter_map(|id| seen.catalog.accounts.get(id));
    Reply::page(context.format, "accounts", accounts.map(|account| entity(seen, account)), page)
}

/// By what one of its users is known: name, id or e-mail address, whichever was sent, in this order.
fn find(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let asked = context.request.parameters();
    let tenant = context.caller.tenant.0;
    let user = if let Some(name) = asked.filled("username") {
        names::find(seen.records, Kind::DeveloperUsername, tenant, &name)?
    } else if asked.filled("user_id").is_some() {
        asked.id("user_id")
    } else {
        match asked.filled("email") {
            Some(email) => names::find(seen.records, Kind::DeveloperEmail, tenant, &email)?,
            None => None,
        }
    };
    let user = seen.records.find::<User>(user.ok_or(Refusal::NotFound)?)?;
    let account = user.and_then(|user| user.account).ok_or(Refusal::NotFound)?;
    Ok(Reply::one(entity(seen, seen.account(account)?)?))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    Ok(Reply::one(entity(seen, seen.account(context.id(0)?)?)?))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(id)?;
        let mut errors = Errors::default();
        let name = fields.text("org_name").map(|name| name.trim().to_owned());
        if name.is_some() {
            check::present(&mut errors, "org_name", name.as_deref());
        }
        let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
        details.apply(edit.records, edit.caller.tenant.0, &fields, &mut errors)?;
        errors.check()?;
        details.updated_at = edit.now;
        details.put(id, edit.caller.tenant.0, edit.records)?;
        if let Some(name) = name {
            edit.draft.edit_account(AccountId(id), |account| account.name = name)?;
        }
        answer(edit, id)
    })
}

/// The account as a command has it.
pub(super) fn answer(edit: &Edit<'_, '_, '_>, id: u64) -> Outcome {
    let seen = edit.seen();
    Ok(Reply::one(entity(seen, seen.account(id)?)?))
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change_ahead(|edit| {
        let seen = edit.seen();
        seen.account(id)?;
        let applications = seen.catalog.applications_of(id).iter();
        let on = applications.filter_map(|id| seen.catalog.applications.get(id)).map(|it| it.plan);
        // Very many applications are on few plans.
        let on: BTreeSet<_> = on.collect();
        let mut customs = Vec::new();
        for plan in on.into_iter().filter_map(|id| seen.catalog.plans.get(id.0)) {
            if plans::terms_of(seen.records, plan)?.original.is_some() {
                customs.push(plan.id);
            }
        }
        edit.draft.delete_account(AccountId(id))?;
        for plan in customs {
            delete_unused(edit, plan)?;
        }
        Ok(Reply::gone())
    })
}

/// Deletes a plan that was made for an application which is on it no more.
pub(super) fn delete_unused(edit: &mut Edit<'_, '_, '_>, plan: PlanId) -> Result<(), Refusal> {
    if edit.draft.catalog().applications_of(plan.0).is_empty() && edit.seen().plan(plan.0).is_ok() {
        edit.draft.delete_plan(plan)?;
    }
    Ok(())
}

fn approve(context: &Context<'_>) -> Outcome {
    use AccountState::{Approved, Created, Pending, Rejected};
    turn(context, "approve", &[Created, Pending, Rejected], Approved)
}

fn reject(context: &Context<'_>) -> Outcome {
    use AccountState::{Approved, Created, Pending, Rejected};
    turn(context, "reject", &[Created, Pending, Approved], Rejected)
}

fn make_pending(context: &Context<'_>) -> Outcome {
    use AccountState::{Approved, Created, Pending, Rejected};
    turn(context, "make_pending", &[Created, Approved, Rejected], Pending)
}

fn turn(context: &Context<'_>, event: &str, from: &[AccountState], to: AccountState) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(id)?;
        let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
        if !from.contains(&details.state) {
            return Err(Errors::of("state", format!("cannot transition via \"{event}\"")).into());
        }
        (details.state, details.updated_at) = (to, edit.now);
        details.put(id, edit.caller.tenant.0, edit.records)?;
        answer(edit, id)
    })
}

/// Answers the new plan, as the original does.
fn change_plan(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(id)?;
        let plan = fields.id("plan_id").ok_or(Refusal::NotFound)?;
        let terms = account_plans::plan(edit.seen(), plan)?;
        let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
        (details.plan, details.updated_at) = (Some(plan), edit.now);
        details.put(id, edit.caller.tenant.0, edit.records)?;
        Ok(Reply::one(account_plans::entity(edit.seen(), plan, &terms)?))
    })
}

fn plan(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let account = seen.account(context.id(0)?)?;
    let details = seen.records.find::<AccountDetails>(account.id.0)?;
    let id = details.and_then(|details| details.plan).ok_or(Refusal::NotFound)?;
    Ok(Reply::one(account_plans::entity(seen, id, &account_plans::plan(seen, id)?)?))
}

/// The account as answers show it.
pub(super) fn entity(seen: Seen<'_>, account: &Account) -> Result<Entity, Refusal> {
    let id = account.id;
    let details = seen.records.find::<AccountDetails>(id.0)?.unwrap_or_default();
    let mut json = json!({
        "id": id.0,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "credit_card_stored": details.credit_card.is_some(),
        "monthly_billing_enabled": details.monthly_billing_enabled,
        "monthly_charging_enabled": details.monthly_charging_enabled,
        "state": details.state.name(),
        "annotations": details.annotations,
        "org_name": account.name,
    });
    if let Some(card) = &details.credit_card {
        json["credit_card_partial_number"] = card.partial_number.as_deref().into();
        json["credit_card_expires_on"] = card.expires_on().into();
    }
    extra::show(&details.extra, &mut json);
    let own = format!("/admin/api/accounts/{id}");
    json["links"] = links([("users", format!("{own}/users")), ("self", own)]);
    let xml = match seen.format {
        Format::Xml => xml(seen, account, &details)?,
        Format::Json => Element::new("account"),
    };
    Ok(Entity { wrapper: "account", json, xml })
}

fn xml(seen: Seen<'_>, account: &Account, details: &AccountDetails) -> Result<Element, Refusal> {
    let id = account.id;
    let mut plans = Element::new("plans");
    if let Some(plan) = details.plan
        && let Some(terms) = seen.records.find::<Terms>(plan)?
    {
        plans.push(account_plans::entity(seen, plan, &terms)?.xml);
    }
    let mut people = Element::new("users");
    for (user_id, user) in User::of(id.0, seen.records)? {
        people.push(user.entity(user_id).xml);
    }
    let mut xml = Element::new("account")
        .field("id", id)
        .field("created_at", times::text(details.created_at))
        .field("updated_at", times::text(details.updated_at))
        .field("state", details.state.name())
        .field("credit_card_stored", details.credit_card.is_some())
        .field("monthly_billing_enabled", details.monthly_billing_enabled)
        .field("monthly_charging_enabled", details.monthly_charging_enabled);
    if let Some(card) = &details.credit_card {
        xml = xml
            .optional("credit_card_partial_number", card.partial_number.as_deref())
            .field("credit_card_expires_on", card.expires_on());
    }
    let xml = xml.field("org_name", &account.name).with(extra::element(&details.extra));
    Ok(xml.with(plans).with(people))
}

/// What is known of accounts that are gone goes with them; those that came otherwise are dated.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::PutAccount(account) if records.find::<AccountDetails>(account.id.0)?.is_none() => {
                let details =
                    AccountDetails { created_at: now, updated_at: now, ..AccountDetails::default() };
                details.put(account.id.0, account.tenant.0, records)?;
            }
            Change::DeleteAccount(id) => {
                let tenant = accompanied.before.accounts.get(id.0).map_or(0, |account| account.tenant.0);
                AccountDetails::delete(id.0, tenant, records)?;
                for (user_id, user) in User::of(id.0, records)? {
                    users::remove(records, user_id, &user)?;
                }
                Message::delete_all_of(id.0, records)?;
            }
            _ => {}
        }
    }
    Ok(())
}
