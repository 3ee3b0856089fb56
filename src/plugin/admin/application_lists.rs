//! Lists of applications, and finding one: `/accounts/{id}/applications`, `/applications`, `/applications/find`.

use super::answer::{Format, Outcome, Page, Refusal, Reply};
use super::application_shown::Shown;
use super::applications::{ApplicationDetails, entity, state_name};
use super::context::{Context, Seen};
use super::owned::Owned;
use super::pricing_rules::PricingRule;
use super::request::Fields;
use super::terms::Terms;
use super::{times, traffic};
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
    traffic::wait_for(context, ids.clone())?;
    let all = ids.filter_map(|id| seen.application(id).ok());
    let asked_for = all.filter(|it| state.as_ref().is_none_or(|state| state == state_name(&it.state)));
    let asked_for: Vec<_> = asked_for.collect();
    let page = context.page_if_asked(asked_for.len());
    let shown = page.cut(asked_for).into_iter().map(|it| entity(seen, it));
    Reply::page(context.format, "applications", shown, page)
}

/// The applications of all accounts: service by service, in each by ascending id; if it matters what plans cost, plan by plan. Pages
/// are cut without looking at what comes before; if it matters when applications were called, without looking at more than were.
pub(super) fn list_all(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let asked = context.request.parameters();
    let sets = sets(seen, &asked)?;
    let (ids, page) = Active::of(context, seen, &asked)?.page(&sets, |total| context.page(total));
    traffic::wait_for(context, ids.iter().copied())?;
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

/// Which applications a list is about by when they were called; ids ascend.
#[derive(Debug)]
enum Active {
    /// Whenever.
    Any,
    /// These.
    These(Vec<u64>),
    /// All but these.
    Others(Vec<u64>),
}

impl Active {
    fn of(context: &Context<'_>, seen: Seen<'_>, asked: &Fields) -> Result<Active, Refusal> {
        let called_since = |name: &str| {
            let Some(text) = asked.filled(name) else { return Ok(None) };
            let since = times::parse(&text).ok_or_else(|| Refusal::Bad(format!("{name} is no time")))?;
            let mut ids = ApplicationDetails::active_since(seen.caller.tenant.0, since, seen.records)?;
            ids.extend(traffic::since(context, since)?);
            ids.sort_unstable();
            ids.dedup();
            Ok::<_, Refusal>(Some(ids))
        };
        Ok(match (called_since("active_since")?, called_since("inactive_since")?) {
            (None, None) => Active::Any,
            (Some(these), None) => Active::These(these),
            (None, Some(others)) => Active::Others(others),
            (Some(mut these), Some(others)) => {
                these.retain(|id| others.binary_search(id).is_err());
                Active::These(these)
            }
        })
    }

    /// How many of a set they are.
    fn count(&self, set: &IdSet) -> usize {
        match self {
            Active::Any => set.len(),
            Active::These(ids) => common(ids, set).count(),
            Active::Others(ids) => set.len() - common(ids, set).count(),
        }
    }

    /// A page of those of the sets, one set after the other.
    fn page(&self, sets: &[&IdSet], page: impl FnOnce(usize) -> Page) -> (Vec<u64>, Page) {
        let counts: Vec<_> = sets.iter().map(|set| self.count(set)).collect();
        let page = page(counts.iter().sum());
        let (mut skip, mut ids) = (page.skip(), Vec::new());
        for (set, count) in sets.iter().zip(counts) {
            let left = page.per_page - ids.len();
            if skip < count && left > 0 {
                match self {
                    Active::Any => ids.extend(set.iter().skip(skip).take(left)),
                    Active::These(these) => ids.extend(common(these, set).skip(skip).take(left)),
                    Active::Others(others) => {
                        let all = set.iter().filter(|id| others.binary_search(id).is_err());
                        ids.extend(all.skip(skip).take(left));
                    }
                }
            }
            skip = skip.saturating_sub(count);
        }
        (ids, page)
    }
}

/// The ids that are in both, ascending; no more are looked at than the fewer of the two are.
fn common<'i>(ids: &'i [u64], set: &'i IdSet) -> Box<dyn Iterator<Item = u64> + 'i> {
    if ids.len() < set.len() {
        Box::new(ids.iter().copied().filter(|id| set.contains(*id)))
    } else {
        Box::new(set.iter().filter(|id| ids.binary_search(id).is_ok()))
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
    traffic::wait_for(context, [found.id.0])?;
    Ok(Reply::one(entity(seen, found)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> IdSet {
        let mut set = IdSet::new();
        ids.iter().for_each(|id| assert!(set.insert(*id)));
        set
    }

    #[test]
    fn pages_are_cut_from_those_that_are_asked_for() {
        let sets = [set(&[1, 3, 5, 7]), set(&[]), set(&[2, 4, 6])];
        let sets: Vec<_> = sets.iter().collect();
        let pages = |active: &Active| {
            let page = |number| active.page(&sets, |total| Page { number, per_page: 2, total });
            let all: Vec<_> = (1..=4).map(|number| page(number).0).collect();
            (page(1).1.total, all)
        };
        let none = Vec::<u64>::new;
        assert_eq!(pages(&Active::Any), (7, vec![vec![1, 3], vec![5, 7], vec![2, 4], vec![6]]));
        let these = Active::These(vec![2, 3, 6, 7, 9]);
        assert_eq!(pages(&these), (4, vec![vec![3, 7], vec![2, 6], none(), none()]));
        let others = Active::Others(vec![2, 3, 6, 7, 9]);
        assert_eq!(pages(&others), (3, vec![vec![1, 5], vec![4], none(), none()]));
        assert_eq!(pages(&Active::These(none())), (0, vec![none(); 4]));
        assert_eq!(pages(&Active::Others(vec![1])).1[0], [3, 5]);
    }
}
