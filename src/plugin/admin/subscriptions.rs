//! Subscriptions of accounts to services: `/accounts/{id}/service_subscriptions`, and `/accounts/{id}/service_contracts` of old.
//!
//! An account subscribes to a service once, by itself with its first application there at the latest. A subscription ends
//! with its account, its service, or when it is deleted; it stays while the account has applications there.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::context::{Context, Edit, Seen};
use super::owned::Owned;
use super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::terms::Terms;
use super::xml::Element;
use super::{money, service_plans, times};
use crate::model::catalog::Change;
use crate::model::id::{AccountId, ServiceId};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Partners);
const JSON: Formats = Formats::JsonFirst;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "accounts/{account_id}/service_subscriptions", ACCESS, list).in_formats(JSON),
    Route::new(POST, "accounts/{account_id}/service_subscriptions", ACCESS, create).in_formats(JSON),
    Route::new(GET, "accounts/{account_id}/service_subscriptions/{id}", ACCESS, show).in_formats(JSON),
    Route::new(DELETE, "accounts/{account_id}/service_subscriptions/{id}", ACCESS, delete).in_formats(JSON),
    Route::new(PUT, "accounts/{account_id}/service_subscriptions/{id}/approve", ACCESS, approve)
        .in_formats(JSON),
    Route::new(PUT, "accounts/{account_id}/service_subscriptions/{id}/change_plan", ACCESS, change_plan)
        .in_formats(JSON),
    Route::new(GET, "accounts/{account_id}/service_contracts", ACCESS, list_contracts),
    Route::new(DELETE, "accounts/{account_id}/service_contracts/{id}", ACCESS, delete),
];

/// Whether a subscription, or an application, is what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum ContractState {
    Pending,
    Live,
    Suspended,
}

impl ContractState {
    pub(super) fn name(self) -> &'static str {
        match self {
            ContractState::Pending => "pending",
            ContractState::Live => "live",
            ContractState::Suspended => "suspended",
        }
    }
}

/// A subscription of an account to a service.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Subscription {
    pub(super) account: u64,
    pub(super) service: u64,
    pub(super) plan: u64,
    pub(super) state: ContractState,
    /// What is still to be paid once; as the plan said when it began.
    #[serde(default)]
    pub(super) setup_fee: Decimal,
    /// In milliseconds since 1970 UTC, as all times here.
    #[serde(default)]
    pub(super) accepted_at: Option<u64>,
    #[serde(default)]
    pub(super) trial_expires_at: Option<u64>,
    #[serde(default)]
    pub(super) paid_until: Option<u64>,
    #[serde(default)]
    pub(super) variable_cost_paid_until: Option<u64>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for Subscription {
    const TABLE: Table = Table("subscriptions");
}

impl Owned for Subscription {
    const BY_OWNER: Table = Table("subscriptions_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.account, self.service, self.plan]
    }
}

const DAY_MILLIS: u64 = 86_400_000;

/// When a trial that begins now is over.
pub(super) fn trial_end(terms: &Terms, now: u64) -> u64 {
    now.saturating_add(u64::from(terms.trial_period_days).saturating_mul(DAY_MILLIS))
}

impl Subscription {
    /// An account's subscription to a service.
    pub(super) fn to_service(
        account: u64,
        service: u64,
        records: &Records<'_>,
    ) -> Result<Option<(u64, Subscription)>, ShelfError> {
        Ok(Subscription::of(account, records)?.into_iter().find(|(_, it)| it.service == service))
    }
}

/// Sees to it that an account is subscribed to a service, on the plan that new subscriptions get.
pub(super) fn ensure(
    edit: &mut Edit<'_, '_, '_>,
    account: AccountId,
    service: ServiceId,
) -> Result<(), Refusal> {
    if Subscription::to_service(account.0, service.0, edit.records)?.is_none() {
        let plan = service_plans::for_new_subscription(edit, service)?;
        subscribe(edit, account, plan)?;
    }
    Ok(())
}

/// Subscribes an account on a service plan.
///
/// # Errors
/// There is no such plan, or the account is subscribed to the service already.
pub(super) fn subscribe(edit: &mut Edit<'_, '_, '_>, account: AccountId, plan: u64) -> Result<u64, Refusal> {
    let terms = service_plans::plan(edit.seen(), plan)?;
    if Subscription::to_service(account.0, terms.owner, edit.records)?.is_some() {
        return Err(Errors::of("base", "already subscribed to this service").into());
    }
    let id = edit.draft.take_id();
    let is_live = !terms.approval_required;
    let subscription = Subscription {
        account: account.0,
        service: terms.owner,
        plan,
        state: if is_live { ContractState::Live } else { ContractState::Pending },
        setup_fee: terms.setup_fee,
        accepted_at: is_live.then_some(edit.now),
        trial_expires_at: Some(trial_end(&terms, edit.now)),
        paid_until: None,
        variable_cost_paid_until: None,
        created_at: edit.now,
        updated_at: edit.now,
    };
    subscription.put(id, edit.records)?;
    Ok(id)
}

/// An account's subscription to a service that the caller may see.
fn subscription(seen: Seen<'_>, account: u64, id: u64) -> Result<Subscription, Refusal> {
    seen.account(account)?;
    let found = seen.records.find::<Subscription>(id)?.filter(|it| it.account == account);
    let found = found.ok_or(Refusal::NotFound)?;
    seen.service(found.service)?;
    Ok(found)
}

fn list(context: &Context<'_>) -> Outcome {
    listed(context, "service_subscriptions", "service_subscription")
}

fn list_contracts(context: &Context<'_>) -> Outcome {
    listed(context, "service_contracts", "service_contract")
}

fn listed(context: &Context<'_>, collection: &'static str, wrapper: &'static str) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let account = seen.account(context.id(0)?)?;
    let mut all = Subscription::of(account.id.0, seen.records)?;
    // Those to services that are being taken away are as good as gone.
    all.retain(|(_, it)| seen.service(it.service).is_ok());
    let shown = all.iter().map(|(id, it)| Entity { wrapper, ..entity(seen, *id, it) }).collect();
    Ok(Reply::list(collection, shown, None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let id = context.id(1)?;
    Ok(Reply::one(entity(seen, id, &subscription(seen, context.id(0)?, id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service_subscription")?;
    let account = context.id(0)?;
    context.change(|edit| {
        let account = edit.seen().account(account)?.id;
        let plan = fields.id("plan_id").ok_or(Refusal::NotFound)?;
        let id = subscribe(edit, account, plan)?;
        let seen = edit.seen();
        let entity = entity(seen, id, &subscription(seen, account.0, id)?);
        Ok(Reply::created(entity).at(format!("/admin/api/accounts/{account}/service_subscriptions/{id}")))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let seen = edit.seen();
        let found = subscription(seen, account, id)?;
        let applications = seen.catalog.applications_of(account).iter();
        let applications = applications.filter_map(|id| seen.catalog.applications.get(id));
        if applications.map(|it| it.service.0).any(|service| service == found.service) {
            let why = "Cannot unsubscribe: the account has applications of this service.";
            return Err(Refusal::Undeletable(Errors::of("base", why)));
        }
        found.delete(id, edit.records);
        Ok(Reply::gone())
    })
}

fn approve(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let mut found = subscription(edit.seen(), account, id)?;
        if found.state != ContractState::Pending {
            return Err(Errors::of("state", "cannot transition via \"accept\"").into());
        }
        found.state = ContractState::Live;
        (found.accepted_at, found.updated_at) = (Some(edit.now), edit.now);
        edit.records.save(id, &found)?;
        Ok(Reply::one(entity(edit.seen(), id, &found)))
    })
}

/// Answers the new plan, as the original does.
fn change_plan(context: &Context<'_>) -> Outcome {
    let fields = context.fields("service_subscription")?;
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let mut found = subscription(edit.seen(), account, id)?;
        let plan = fields.id("plan_id").ok_or(Refusal::NotFound)?;
        let terms = service_plans::plan(edit.seen(), plan)?;
        if terms.owner != found.service {
            return Err(Errors::of("plan", "must belong to the same product").into());
        }
        if plan != found.plan {
            found.delete(id, edit.records);
            (found.plan, found.updated_at) = (plan, edit.now);
            found.put(id, edit.records)?;
        }
        Ok(Reply::one(service_plans::entity(edit.seen(), plan, &terms)?))
    })
}

fn entity(seen: Seen<'_>, id: u64, it: &Subscription) -> Entity {
    let time = |at: Option<u64>| at.map(times::text);
    let json = json!({
        "id": id,
        "plan_id": it.plan,
        "user_account_id": it.account,
        "created_at": times::text(it.created_at),
        "updated_at": times::text(it.updated_at),
        "state": it.state.name(),
        "paid_until": time(it.paid_until),
        "trial_period_expires_at": time(it.trial_expires_at),
        "setup_fee": money::text(it.setup_fee),
        "type": "ServiceContract",
        "variable_cost_paid_until": time(it.variable_cost_paid_until),
        "tenant_id": seen.caller.tenant.0,
        "service_id": it.service,
        "accepted_at": time(it.accepted_at),
    });
    let mut xml = Element::new("service_contract")
        .field("id", id)
        .field("created_at", times::text(it.created_at))
        .field("updated_at", times::text(it.updated_at))
        .field("state", it.state.name())
        .field("user_account_id", it.account)
        .field("service_id", it.service);
    if let Ok(Some(terms)) = seen.records.find::<Terms>(it.plan) {
        xml.push(terms.entity(it.plan, &terms.name, false).xml);
    }
    Entity { wrapper: "service_subscription", json, xml }
}

/// Subscriptions go with their account or service. A service may have very many: that to a service that is being
/// taken away goes with the account's application there, which goes with few others in one command.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::DeleteAccount(AccountId(owner)) | Change::DeleteService(ServiceId(owner)) => {
                Subscription::delete_all_of(*owner, records)?;
            }
            Change::DeleteApplication(id) => {
                let Some(application) = accompanied.before.applications.get(id.0) else { continue };
                let service = accompanied.after.services.get(application.service.0);
                let is_retired =
                    service.is_none_or(|it| it.state == crate::model::record::ServiceState::Retired);
                let Some(account) = application.account.filter(|_| is_retired) else { continue };
                let found = Subscription::to_service(account.0, application.service.0, records)?;
                if let Some((id, subscription)) = found {
                    subscription.delete(id, records);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
