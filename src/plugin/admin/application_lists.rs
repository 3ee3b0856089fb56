//! Lists of applications, and finding one: `/accounts/{id}/applications`, `/applications`, `/applications/find`.

use super::answer::{Outcome, Refusal, Reply};
use super::applications::{ApplicationDetails, entity, state_name};
use super::context::{Context, Seen};
use super::owned::Owned;
use super::pricing_rules::PricingRule;
use super::request::Fields;
use super::terms::Terms;
use super::times;
use crate::model::catalog::Key;
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

/// The applications of all accounts: service by service, in each by ascending id. Pages are cut without looking at what comes before.
pub(super) fn list_all(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let asked = context.request.parameters();
    let mut sets = Vec::new();
    if let Some(plan) = asked.filled("plan_id") {
        let plan = plan.parse().ok().and_then(|id| seen.plan(id).ok());
        let plan = plan.filter(|it| asked.id("service_id").is_none_or(|service| it.service.0 == service));
        sets.extend(plan.map(|plan| seen.catalog.applications_of(plan.id.0)));
    } else {
        for id in seen.catalog.services_of(context.caller.tenant).iter() {
            let is_asked_for = !asked.has("service_id") || asked.id("service_id") == Some(id);
            if is_asked_for && seen.service(id).is_ok() {
                sets.push(seen.catalog.applications_of(id));
            }
        }
    }
    let filter = Filtering::of(&asked)?;
    let (ids, page) = if filter.is_none() {
        let page = context.page(sets.iter().map(|set| set.len()).sum());
        let (mut skip, mut ids) = (page.skip(), Vec::new());
        for set in sets {
            let left = page.per_page - ids.len();
            ids.extend(set.iter().skip(skip).take(left));
            skip = skip.saturating_sub(set.len());
        }
        (ids, page)
    } else {
        let mut matching = Vec::new();
        for id in sets.into_iter().flat_map(|set| set.iter()) {
            if filter.matches(seen, id)? {
                matching.push(id);
            }
        }
        let page = context.page(matching.len());
        (page.cut(matching), page)
    };
    let applications = ids.into_iter().filter_map(|id| seen.catalog.applications.get(id));
    let shown = applications.map(|it| entity(seen, it)).collect::<Result<_, _>>()?;
    Ok(Reply::list("applications", shown, Some(page)))
}

/// What a list is filtered by that there is no set for.
struct Filtering {
    paid: Option<bool>,
    active_since: Option<u64>,
    inactive_since: Option<u64>,
}

impl Filtering {
    fn of(asked: &Fields) -> Result<Filtering, Refusal> {
        let time = |name: &str| {
            let Some(text) = asked.filled(name) else { return Ok(None) };
            times::parse(&text).map(Some).ok_or_else(|| Refusal::Bad(format!("{name} is no time")))
        };
        let paid = match asked.filled("plan_type").as_deref() {
            Some("paid") => Some(true),
            Some("free") => Some(false),
            _ => None,
        };
        Ok(Filtering { paid, active_since: time("active_since")?, inactive_since: time("inactive_since")? })
    }

    fn is_none(&self) -> bool {
        self.paid.is_none() && self.active_since.is_none() && self.inactive_since.is_none()
    }

    fn matches(&self, seen: Seen<'_>, id: u64) -> Result<bool, Refusal> {
        if let Some(paid) = self.paid {
            let plan = seen.catalog.applications.get(id).map_or(0, |it| it.plan.0);
            let terms = seen.records.find::<Terms>(plan)?;
            let has_fees = terms.is_some_and(|terms| terms.has_fees());
            if (has_fees || PricingRule::any(plan, seen.records)?) != paid {
                return Ok(false);
            }
        }
        if self.active_since.is_none() && self.inactive_since.is_none() {
            return Ok(true);
        }
        let last = seen.records.find::<ApplicationDetails>(id)?.and_then(|it| it.first_daily_traffic_at);
        let is_active = self.active_since.is_none_or(|since| last.is_some_and(|last| last >= since));
        let is_inactive = self.inactive_since.is_none_or(|since| last.is_none_or(|last| last < since));
        Ok(is_active && is_inactive)
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
