//! Applications, who calls: `/accounts/{id}/applications`, and `/applications` over all accounts.
//!
//! What a decision reads (plan, state, keys, filters) is the catalog's, so that a change binds the next call. States are `pending` (waits
//! for approval), `live` and `suspended`; only a live one may call.
//!
//! | File | What it holds |
//! |---|---|
//! | here | the record, making, changing, deleting it |
//! | `application_shown` | showing it |
//! | `application_lists` | lists and finding |
//! | `application_states` | accept, suspend, resume, change of plan, plans of one application alone |
//! | `application_keys` | keys and referrer filters |
//! | `credentials` | what keys and ids may look like, and new ones |

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::accounts::delete_unused;
use super::answer::{Errors, Outcome, Refusal, Reply};
pub(super) use super::application_shown::{entity, state_name};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::credentials;
use super::extra::{self, Target};
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::services::DESCRIPTION_LEN_MAX;
use super::terms::Terms;
use super::{application_lists, plans, subscriptions, times, traffic};
use crate::model::catalog::Change;
use crate::model::draft::{NewApplication, REDIRECT_URL_LEN_MAX};
use crate::model::id::{AccountId, ApplicationId, PlanId};
use crate::model::record::{Application, ApplicationState, Secret};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records, id_key};
use crate::store::ShelfError;
use crate::store::shelf::Table;

pub(super) const ACCESS: Access = Access::section(Section::Partners);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "applications", ACCESS, application_lists::list_all),
    Route::new(GET, "applications/find", ACCESS, application_lists::find),
    Route::new(GET, "accounts/{account_id}/applications", ACCESS, application_lists::list),
    Route::new(POST, "accounts/{account_id}/applications", ACCESS, create),
    Route::new(GET, "accounts/{account_id}/applications/find", ACCESS, application_lists::find_of_account),
    Route::new(GET, "accounts/{account_id}/applications/{id}", ACCESS, show),
    Route::new(PUT, "accounts/{account_id}/applications/{id}", ACCESS, update),
    Route::new(DELETE, "accounts/{account_id}/applications/{id}", ACCESS, delete),
];

/// What is known of an application beside the catalog.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct ApplicationDetails {
    pub(super) description: String,
    /// Fields that the tenant has defined.
    pub(super) extra: Map<String, Value>,
    /// What is still to be paid once; as the plan said when it began.
    pub(super) setup_fee: Decimal,
    /// In milliseconds since 1970 UTC, as all times here.
    pub(super) trial_expires_at: Option<u64>,
    pub(super) accepted_at: Option<u64>,
    pub(super) first_traffic_at: Option<u64>,
    pub(super) first_daily_traffic_at: Option<u64>,
    /// When each of the application's keys was made, in their order.
    pub(super) key_times: Vec<u64>,
    /// Ids and times of the referrer filters that were made here.
    pub(super) filters: Vec<Filter>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

/// A referrer filter.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Filter {
    pub(super) id: u64,
    pub(super) value: String,
    pub(super) created_at: u64,
}

impl Record for ApplicationDetails {
    const TABLE: Table = Table("applications");
}

/// Ids of applications by tenant and when they were called last, as keys; of those that are known to have been called.
const BY_DAILY_TRAFFIC: Table = Table("applications_by_daily_traffic");

impl ApplicationDetails {
    fn listed_by(&self, id: u64, tenant: u64) -> Option<Vec<u8>> {
        self.first_daily_traffic_at.map(|at| [id_key(tenant), id_key(at), id_key(id)].concat())
    }

    /// Puts the details of an application of a tenant on the shelf, with what it is listed by.
    fn put(&self, id: u64, tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        Self::unlist(id, tenant, records)?;
        if let Some(key) = self.listed_by(id, tenant) {
            records.put(BY_DAILY_TRAFFIC, &key, Vec::new());
        }
        records.save(id, self)
    }

    fn unlist(id: u64, tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        if let Some(key) = records.find::<ApplicationDetails>(id)?.and_then(|it| it.listed_by(id, tenant)) {
            records.delete(BY_DAILY_TRAFFIC, &key);
        }
        Ok(())
    }

    /// The applications of a tenant that were called since a time, in milliseconds since 1970 UTC; by ascending id.
    pub(super) fn active_since(
        tenant: u64,
        since: u64,
        records: &Records<'_>,
    ) -> Result<Vec<u64>, ShelfError> {
        let from = [id_key(tenant), id_key(since)].concat();
        let mut ids = records.ids(BY_DAILY_TRAFFIC, &id_key(tenant), &from)?;
        ids.sort_unstable();
        Ok(ids)
    }
}

/// An application of an account, of a service that the caller may see.
pub(super) fn application(seen: Seen<'_>, account: u64, id: u64) -> Result<&Arc<Application>, Refusal> {
    let account = seen.account(account)?.id;
    let found = seen.application(id)?;
    if found.account == Some(account) { Ok(found) } else { Err(Refusal::NotFound) }
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let found = application(seen, context.id(0)?, context.id(1)?)?;
    traffic::wait_for(context, [found.id.0])?;
    Ok(Reply::one(entity(seen, found)?))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("application")?;
    let account = context.id(0)?;
    context.change(|edit| {
        let account = edit.seen().account(account)?.id;
        let plan = PlanId(fields.id("plan_id").ok_or(Refusal::NotFound)?);
        let id = add(edit, account, plan, &fields)?;
        let entity = {
            let seen = edit.seen();
            entity(seen, seen.application(id.0)?)?
        };
        Ok(Reply::created(entity).at(format!("/admin/api/accounts/{account}/applications/{id}")))
    })
}

/// Makes an application, and subscribes its account to the service.
///
/// # Errors
/// There is no such plan, or what is wrong with the fields.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    account: AccountId,
    plan: PlanId,
    fields: &Fields,
) -> Result<ApplicationId, Refusal> {
    let plan = Arc::clone(edit.seen().plan(plan.0)?);
    let service = Arc::clone(edit.seen().service(plan.service.0)?);
    let terms = plans::terms_of(edit.records, &plan)?;
    let mut errors = Errors::default();
    let name = fields.text("name").unwrap_or_default().trim().to_owned();
    check::present(&mut errors, "name", Some(&name));
    let given = credentials::sent(edit, &service, fields, &mut errors)?;
    let mut details = ApplicationDetails {
        setup_fee: terms.setup_fee,
        trial_expires_at: Some(subscriptions::trial_end(&terms, edit.now)),
        accepted_at: (!terms.approval_required).then_some(edit.now),
        created_at: edit.now,
        ..ApplicationDetails::default()
    };
    apply(edit, &mut details, fields, &mut errors)?;
    let redirect_url = redirect_url(fields, &mut errors);
    errors.check()?;
    subscriptions::ensure(edit, account, service.id)?;
    let new = NewApplication {
        service: service.id,
        account: Some(account),
        app_id: &given.app_id,
        name: &name,
        plan: plan.id,
    };
    let id = edit.draft.create_application(&new)?;
    edit.draft.edit_application(id, |application| {
        application.user_keys.push(Secret::new(&given.user_key));
        application.app_keys = given.app_keys.iter().map(|key| Secret::new(key)).collect();
        application.redirect_url = redirect_url.flatten();
        if terms.approval_required {
            application.state = ApplicationState::Pending;
        }
    })?;
    details.put(id.0, edit.caller.tenant.0, edit.records)?;
    Ok(id)
}

/// Takes over what was sent and is not the catalog's.
fn apply(
    edit: &Edit<'_, '_, '_>,
    details: &mut ApplicationDetails,
    fields: &Fields,
    errors: &mut Errors,
) -> Result<(), Refusal> {
    if let Some(description) = fields.text("description") {
        check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
        details.description = description;
    }
    for (field, time) in [
        ("first_traffic_at", &mut details.first_traffic_at),
        ("first_daily_traffic_at", &mut details.first_daily_traffic_at),
    ] {
        if let Some(text) = fields.filled(field) {
            *time = times::parse(&text).or(*time);
        }
    }
    let tenant = edit.caller.tenant.0;
    extra::apply(&mut details.extra, edit.records, (tenant, Target::Application), fields, errors)?;
    details.updated_at = edit.now;
    Ok(())
}

/// The URL that was sent, if one was; `Some(None)` takes it away.
fn redirect_url(fields: &Fields, errors: &mut Errors) -> Option<Option<Box<str>>> {
    let text = fields.text("redirect_url")?;
    check::fitting(errors, "redirect_url", text.trim(), REDIRECT_URL_LEN_MAX);
    let url = text.trim();
    Some((!url.is_empty()).then(|| url.into()))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("application")?;
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let found = Arc::clone(application(edit.seen(), account, id)?);
        let mut errors = Errors::default();
        let name = fields.text("name").map(|name| name.trim().to_owned());
        if name.is_some() {
            check::present(&mut errors, "name", name.as_deref());
        }
        // Clients send back what they were shown: one of its keys is no other key.
        let is_other = |key: &String| !found.user_keys.iter().any(|known| known.expose() == key);
        let user_key = fields.filled("user_key").filter(is_other);
        if let Some(key) = &user_key {
            credentials::check_user_key(edit, found.service, Some(found.id), key, &mut errors);
        }
        let redirect_url = redirect_url(&fields, &mut errors);
        let mut details = edit.records.find::<ApplicationDetails>(id)?.unwrap_or_default();
        apply(edit, &mut details, &fields, &mut errors)?;
        errors.check()?;
        details.put(id, edit.caller.tenant.0, edit.records)?;
        edit.draft.edit_application(found.id, |application| {
            application.name = name.map_or_else(|| application.name.clone(), Into::into);
            if let Some(key) = &user_key {
                application.user_keys = std::iter::once(Secret::new(key)).collect();
            }
            if let Some(url) = redirect_url {
                application.redirect_url = url;
            }
        })?;
        answer(edit, id)
    })
}

/// The application as a command has it.
pub(super) fn answer(edit: &Edit<'_, '_, '_>, id: u64) -> Outcome {
    let seen = edit.seen();
    Ok(Reply::one(entity(seen, seen.application(id)?)?))
}

fn delete(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let plan = application(edit.seen(), account, id)?.plan;
        edit.draft.delete_application(ApplicationId(id))?;
        if edit.records.find::<Terms>(plan.0)?.is_some_and(|terms| terms.original.is_some()) {
            delete_unused(edit, plan)?;
        }
        Ok(Reply::gone())
    })
}

/// What is known of applications that are gone goes with them; they and their keys are dated, whoever makes them. Those of other systems
/// have nothing here until somebody changes them here.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::PutApplication(application) => date(accompanied, application, records, now)?,
            Change::DeleteApplication(id) => {
                let before = accompanied.before;
                let service = before.applications.get(id.0).and_then(|it| before.services.get(it.service.0));
                ApplicationDetails::unlist(id.0, service.map_or(0, |it| it.tenant.0), records)?;
                records.remove::<ApplicationDetails>(id.0);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Keys that were there keep their times.
fn date(
    accompanied: &Accompanied<'_>,
    application: &Application,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    let before = accompanied.before.applications.get(application.id.0);
    let known = before.map_or(&[][..], |it| &*it.app_keys);
    let is_known = before.is_some() && known == &*application.app_keys;
    if application.account.is_none() || is_known {
        return Ok(());
    }
    let new = || ApplicationDetails { created_at: now, updated_at: now, ..ApplicationDetails::default() };
    let found = records.find::<ApplicationDetails>(application.id.0)?;
    let mut details = found.unwrap_or_else(|| if before.is_none() { new() } else { Default::default() });
    let time_of = |key: &Secret| {
        let place = known.iter().position(|it| it == key)?;
        details.key_times.get(place).copied()
    };
    details.key_times = application.app_keys.iter().map(|key| time_of(key).unwrap_or(now)).collect();
    records.save(application.id.0, &details)
}
