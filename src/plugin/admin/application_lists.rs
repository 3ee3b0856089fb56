//! Lists of applications, and finding one: `/accounts/{id}/applications`, `/applications`, `/applications/find`.

use super::answer::{Format, Outcome, Refusal, Reply};
use super::application_shown::Shown;
use super::applications::{ApplicationDetails, entity, state_name};
use super::context::{Context, Seen};
use super::owned::Owned;
use super::pricing_rules::PricingRule;
use super::request::Fields;
use super::terms::Terms;
use super::times;
use crate::model::catalog::Key;
use crate::model::id_set::IdSet;
use crate::model::record::BackendVersion;

/// The applications of an account.
pub(super) fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let account = seen.account(context.id(0)?)?;
    let state = context.request.parameters().filled("state");
    let ids = seen.catalog.applications_of(account.id.0).iter();
    let all = ids.filter_map(|id| seen.application(id).ok());
    let asked_for = all.filter(|it| state.as_ref().is_none_or(|state| state == state_name(&it.state)));
    let shown = asked_for.map(|it| entity(seen, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("applications", shown, None))
}

/// The applications of all accounts: service by service, in each by ascending id; if it matters what plans cost, plan by plan. Pages
/// are cut without looking at what comes before, unless it matters when applications were called.
pub(super) fn list_all(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let asked = context.request.parameters();
    let sets = sets(seen, &asked)?;
    let active = Active::of(seen, &asked)?;
    let (ids, page) = if active.is_everything() {
        let page = context.page(sets.iter().map(|set| set.len()).sum());
        let (mut skip, mut ids) = (page.skip(), Vec::new());
        for set in sets {
            let left = page.per_page - ids.len();
            ids.extend(set.iter().skip(skip).take(left));
            skip = skip.saturating_sub(set.len());
        }
        (ids, page)
    } else {
        // Which page it is does not depend on how many there are.
        let (asked, mut total, mut ids) = (context.page(0), 0, Vec::new());
        for id in sets.into_iter().flat_map(IdSet::iter).filter(|id| active.has(*id)) {
            if total >= asked.skip() && ids.len() < asked.per_page {
                ids.push(id);
            }
            total += 1;
        }
        (ids, context.page(total))
    };
    let applications = ids.into_iter().filter_map(|id| seen.catalog.applications.get(id));
    match context.format {
        Format::Json => {
            let shown = applications.map(|it| Shown::of(seen, it));
            Reply::page_in_json(("applications", "application"), shown, page)
        }
        Format::Xml => {
            Reply::page(context.format, "applications", applications.map(|it| entity(seen, it)), page)
        }
    }
}

/// The sets of applications that a list is made of: those of services, or on plans.
fn sets<'s>(seen: Seen<'s>, asked: &Fields) -> Result<Vec<&'s IdSet>, Refusal> {
    let is_service = |id| !asked.has("service_id") || asked.id("service_id") == Some(id);
    let is_paid = match asked.filled("plan_type").as_deref() {
        Some("paid") => Some(true),
        Some("free") => Some(false),
        _ => None,
    };
    let mut owners = Vec::new();
    if let Some(plan) = asked.filled("plan_id") {
        let plan = plan.parse().ok().and_then(|id| seen.plan(id).ok());
        owners.extend(plan.filter(|it| is_service(it.service.0)).map(|plan| plan.id.0));
    } else {
        let services = seen.catalog.services_of(seen.caller.tenant).iter().filter(|id| is_service(*id));
        for service in services.filter_map(|id| seen.service(id).ok()) {
            match is_paid {
                None => owners.push(service.id.0),
                Some(_) => owners.extend(seen.catalog.plans_of(service.id).iter()),
            }
        }
    }
    let mut sets = Vec::new();
    for owner in owners {
        let set = seen.catalog.applications_of(owner);
        if !set.is_empty() && (is_paid.is_none() || is_paid == Some(costs(seen, owner)?)) {
            sets.push(set);
        }
    }
    Ok(sets)
}

/// Whether anything is to be paid on a plan.
fn costs(seen: Seen<'_>, plan: u64) -> Result<bool, Refusal> {
    let terms = seen.records.find::<Terms>(plan)?;
    Ok(terms.is_some_and(|terms| terms.has_fees()) || PricingRule::any(plan, seen.records)?)
}

/// Which applications a list is about by when they were called, as sorted ids.
struct Active {
    /// Those that were called since then.
    since: Option<Vec<u64>>,
    /// Not those that were.
    not_since: Option<Vec<u64>>,
}

impl Active {
    fn of(seen: Seen<'_>, asked: &Fields) -> Result<Active, Refusal> {
        let called_since = |name: &str| {
            let Some(text) = asked.filled(name) else { return Ok(None) };
            let since = times::parse(&text).ok_or_else(|| Refusal::Bad(format!("{name} is no time")))?;
            let tenant = seen.caller.tenant.0;
            Ok::<_, Refusal>(Some(ApplicationDetails::active_since(tenant, since, seen.records)?))
        };
        Ok(Active { since: called_since("active_since")?, not_since: called_since("inactive_since")? })
    }

    fn is_everything(&self) -> bool {
        self.since.is_none() && self.not_since.is_none()
    }

    fn has(&self, id: u64) -> bool {
        let among = |ids: &Vec<u64>| ids.binary_search(&id).is_ok();
        self.since.as_ref().is_none_or(among) && !self.not_since.as_ref().is_some_and(among)
    }
}

/// One of all applications.
pub(super) fn find(context: &Context<'_>) -> Outcome {
    find_among(context, None)
}

/// One of an account's.
pub(super) fn find_of_account(context: &Context<'_>) -> Outcome {
    find_among(context, Some(context.id(0)?))
}

/// By user key where that is how a service is called, by app id where not, or by id.
fn find_among(context: &Context<'_>, account: Option<u64>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let asked = context.request.parameters();
    let services = seen.catalog.services_of(context.caller.tenant).iter();
    let services = services
        .filter(|id| !asked.has("service_id") || asked.id("service_id") == Some(*id))
        .filter_map(|id| seen.service(id).ok());
    let engine = context.desk.engine();
    let by = |is_user_key: bool, text: &str| {
        let mut alike = services.filter(|it| (it.backend_version == BackendVersion::UserKey) == is_user_key);
        alike.find_map(|it| {
            let service = it.id;
            let key = if is_user_key { Key::UserKey { service, text } } else { Key::AppId { service, text } };
            engine.find(key)
        })
    };
    let id = if let Some(key) = asked.filled("user_key") {
        by(true, &key)
    } else if let Some(app_id) = asked.filled("app_id") {
        by(false, &app_id)
    } else {
        asked.id("application_id").or_else(|| asked.id("id"))
    };
    let found = seen.application(id.ok_or(Refusal::NotFound)?)?;
    if account.is_some() && found.account.map(|id| id.0) != account {
        return Err(Refusal::NotFound);
    }
    Ok(Reply::one(entity(seen, found)?))
}
