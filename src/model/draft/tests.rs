//! What a draft yields is valid, and an error leaves it as it was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::catalog::NoKeys;
use crate::model::id::MetricId;
use crate::model::time::Period;

fn new_service(tenant: TenantId, external_id: Option<&str>) -> NewService<'_> {
    NewService { tenant, external_id, name: "API", backend_version: BackendVersion::AppId }
}

/// A draft with a tenant, a service and a plan.
fn draft() -> (Draft<'static>, TenantId, ServiceId, PlanId) {
    let mut draft = Draft::new(Catalog::new(), &NoKeys);
    let tenant = draft.create_tenant("t", "pk").unwrap();
    let service = draft.create_service(&new_service(tenant, None)).unwrap();
    let plan = draft.create_plan(service, Some("basic"), "Basic").unwrap();
    (draft, tenant, service, plan)
}

fn new_application(service: ServiceId, plan: PlanId, app_id: &str) -> NewApplication<'_> {
    NewApplication { service, account: None, app_id, name: "app", plan }
}

/// The catalog that a draft shows is the one that its changes make, and it finds what is in there.
fn assert_consistent(draft: Draft<'_>) {
    assert_owned(draft.catalog());
    let shown: Vec<_> = draft.catalog().changes().collect();
    for change in &shown {
        draft.catalog().keys_of(change, |key, id| assert_eq!(draft.find(key), Some(id), "{key:?}"));
    }
    let mut made = Catalog::new();
    draft.into_changes().0.iter().for_each(|change| made.apply(change));
    assert_eq!(made.changes().collect::<Vec<_>>(), shown);
}

/// What the catalog says belongs to whom is what its records say.
fn assert_owned(catalog: &Catalog) {
    let mut owned: BTreeMap<(&str, u64), Vec<u64>> = BTreeMap::new();
    let mut note = |kind, owner: u64, id| owned.entry((kind, owner)).or_default().push(id);
    catalog.services.iter().for_each(|(id, it)| note("services", it.tenant.0, id));
    catalog.accounts.iter().for_each(|(id, it)| note("accounts", it.tenant.0, id));
    catalog.plans.iter().for_each(|(id, it)| note("plans", it.service.0, id));
    for (id, it) in catalog.applications.iter() {
        let owners = [Some(it.service.0), Some(it.plan.0), it.account.map(|id| id.0)];
        owners.into_iter().flatten().for_each(|owner| note("applications", owner, id));
    }
    for owner in 0..=catalog.next_id {
        let said = [
            ("services", catalog.services_of(TenantId(owner))),
            ("accounts", catalog.accounts_of(TenantId(owner))),
            ("plans", catalog.plans_of(ServiceId(owner))),
            ("applications", catalog.applications_of(owner)),
        ];
        for (kind, set) in said {
            let ids = owned.remove(&(kind, owner)).unwrap_or_default();
            assert_eq!(set.len(), ids.len(), "{kind} of {owner}");
            assert!(set.iter().eq(ids), "{kind} of {owner}");
        }
    }
    assert!(owned.is_empty());
}

proptest! {
    /// Records are put and deleted in any order that drafts allow, moved from owner to owner, and read again from what was
    /// written of them; older catalogs stay as they were.
    #[test]
    fn indexes_say_what_records_say(steps in prop::collection::vec((0..9_u8, any::<[prop::sample::Index; 3]>()), 0..120)) {
        let mut draft = Draft::new(Catalog::new(), &NoKeys);
        let tenants = ["one", "two"].map(|name| draft.create_tenant(name, name).unwrap());
        let mut kept = Vec::new();
        for (at, (kind, picks)) in steps.into_iter().enumerate() {
            step(&mut draft, tenants, (kind, picks), at);
            if at % 40 == 0 {
                kept.push(draft.catalog().clone());
            }
        }
        kept.iter().for_each(assert_owned);
        assert_consistent(draft);
    }
}

/// Does one thing or another to what is there; what is refused changes nothing.
fn step(
    draft: &mut Draft<'_>,
    tenants: [TenantId; 2],
    (kind, picks): (u8, [prop::sample::Index; 3]),
    at: usize,
) {
    fn pick<'a, T>(all: impl Iterator<Item = (u64, &'a T)>, at: prop::sample::Index) -> u64
    where
        T: 'a,
    {
        let ids: Vec<_> = all.map(|(id, _)| id).collect();
        if ids.is_empty() { 0 } else { ids[at.index(ids.len())] }
    }
    let catalog = draft.catalog();
    let service = ServiceId(pick(catalog.services.iter(), picks[0]));
    let plan = PlanId(pick(catalog.plans.iter(), picks[1]));
    let account = AccountId(pick(catalog.accounts.iter(), picks[2]));
    let application = ApplicationId(pick(catalog.applications.iter(), picks[0]));
    let tenant = tenants[at % 2];
    let account_of = (account.0 != 0 && !at.is_multiple_of(3)).then_some(account);
    let app_id = format!("a{at}");
    let _ = match kind {
        0 => draft.create_service(&new_service(tenant, None)).map(drop),
        1 => draft.create_account(tenant, "account").map(drop),
        2 => draft.create_plan(service, None, "Plan").map(drop),
        3..=5 => {
            let service = draft.catalog().plans.get(plan.0).map_or(service, |it| it.service);
            let new = new_application(service, plan, &app_id);
            draft.create_application(&NewApplication { account: account_of, ..new }).map(drop)
        }
        6 => draft.edit_application(application, |it| (it.plan, it.account) = (plan, account_of)),
        7 => match at % 4 {
            0 => draft.delete_account(account),
            1 => draft.delete_plan(plan),
            _ => draft.delete_application(application),
        },
        _ if at.is_multiple_of(2) => draft.delete_service(service),
        _ => draft.retire_service(service).and_then(|()| draft.purge(&[application], &[plan])),
    };
}

#[test]
fn a_service_gets_an_id_that_no_other_is_called_by() {
    let (mut draft, tenant, ..) = draft();
    let next = draft.catalog().next_id;
    for ahead in [1, 2, 5] {
        // Each takes an id, so the numbers are those of services to come.
        draft.create_service(&new_service(tenant, Some(&(next + 10 + ahead).to_string()))).unwrap();
    }
    let ids: Vec<_> =
        (0..10).map(|_| draft.create_service(&new_service(tenant, None)).unwrap().0 - next).collect();
    assert_eq!(ids, [3, 4, 5, 6, 7, 8, 9, 10, 13, 14]);
    let after = draft.create_service(&new_service(tenant, None)).unwrap();
    assert_eq!(after.0 - next, 16);
    // Another tenant may call its own by any number.
    let other = draft.create_tenant("u", "pk2").unwrap();
    let id = draft.catalog().next_id;
    draft.create_service(&new_service(tenant, Some(&(id + 1).to_string()))).unwrap();
    assert_eq!(draft.create_service(&new_service(other, None)).unwrap().0, id + 1);
    assert_consistent(draft);
}

#[test]
fn a_key_that_is_taken_leaves_the_draft_as_it_was() {
    let (mut draft, tenant, service, plan) = draft();
    let first = draft.create_application(&new_application(service, plan, "a")).unwrap();
    let second = draft.create_application(&new_application(service, plan, "b")).unwrap();
    let before: Vec<_> = draft.catalog().changes().collect();
    let next_id = draft.catalog().next_id;

    let taken = |result: Result<(), CommandError>| assert!(matches!(result, Err(CommandError::Taken { .. })));
    taken(draft.create_application(&new_application(service, plan, "a")).map(drop));
    taken(draft.edit_application(second, |it| it.app_id = "a".into()));
    taken(draft.create_plan(service, Some("basic"), "Other").map(drop));
    taken(draft.create_service(&new_service(tenant, Some(&service.to_string()))).map(drop));
    taken(draft.create_tenant("u", "pk").map(drop));

    assert_eq!(draft.catalog().changes().collect::<Vec<_>>(), before);
    assert_eq!(draft.catalog().next_id, next_id);
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), Some(first.0));
    assert_eq!(draft.find(Key::AppId { service, text: "b" }), Some(second.0));
    assert_consistent(draft);
}

#[test]
fn a_key_that_was_freed_can_be_given_again() {
    let (mut draft, _, service, plan) = draft();
    let first = draft.create_application(&new_application(service, plan, "a")).unwrap();
    draft.edit_application(first, |it| it.app_id = "b".into()).unwrap();
    let second = draft.create_application(&new_application(service, plan, "a")).unwrap();
    draft.delete_application(first).unwrap();
    assert_eq!(draft.find(Key::AppId { service, text: "b" }), None);
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), Some(second.0));
    assert_consistent(draft);
}

#[test]
fn texts_are_lines_of_a_bounded_length_without_blanks_around() {
    let (mut draft, tenant, ..) = draft();
    let longest = "x".repeat(TEXT_LEN_MAX);
    for good in ["a", "a b", "\u{e9}\u{a0}e", &longest] {
        draft.create_account(tenant, good).unwrap();
    }
    let too_long = "x".repeat(TEXT_LEN_MAX + 1);
    let bad =
        ["", " ", " a", "a\t", "\u{a0}a", "a\u{3000}", "a\nb", "a\0b", "a\u{7f}b", "a\u{85}b", &too_long];
    for bad in bad {
        let error = CommandError::BadText { what: "account name", max: TEXT_LEN_MAX };
        assert_eq!(draft.create_account(tenant, bad), Err(error), "{bad:?}");
    }
}

#[test]
fn the_state_and_the_redirect_url_of_an_application_are_bounded() {
    let (mut draft, _, service, plan) = draft();
    let id = draft.create_application(&new_application(service, plan, "a")).unwrap();
    let mut state =
        |len| draft.edit_application(id, |it| it.state = ApplicationState::parse(&"x".repeat(len)));
    assert_eq!(state(TEXT_LEN_MAX), Ok(()));
    let error = CommandError::BadText { what: "application state", max: TEXT_LEN_MAX };
    assert_eq!(state(TEXT_LEN_MAX + 1), Err(error));
    let mut url = |len| draft.edit_application(id, |it| it.redirect_url = Some("x".repeat(len).into()));
    assert_eq!(url(REDIRECT_URL_LEN_MAX), Ok(()));
    let error = CommandError::BadText { what: "redirect URL", max: REDIRECT_URL_LEN_MAX };
    assert_eq!(url(REDIRECT_URL_LEN_MAX + 1), Err(error));
}

#[test]
fn the_id_of_a_service_of_another_system_is_one_on_the_node() {
    let (mut draft, tenant, ..) = draft();
    let first = draft.create_service(&new_service(tenant, Some("7"))).unwrap();
    let other = draft.create_tenant("u", "pk2").unwrap();
    let taken = draft.create_service(&new_service(other, Some("7")));
    assert_eq!(taken, Err(CommandError::Taken { what: "the service id", by: first.0 }));
    assert_eq!(draft.find(Key::ExternalService("7")), Some(first.0));
    // What has such an id is not called by its own, which the other system may give to another.
    let own = first.to_string();
    assert_eq!(draft.find(Key::Service { tenant, text: &own }), None);
    let second = draft.create_service(&new_service(tenant, Some(&own))).unwrap();
    assert_eq!(draft.find(Key::Service { tenant, text: &own }), Some(second.0));
    assert_consistent(draft);
}

#[test]
fn a_part_that_fails_leaves_the_draft_as_it_was_and_one_that_does_not_is_kept() {
    let (mut draft, _, service, plan) = draft();
    let before: Vec<_> = draft.catalog().changes().collect();
    let failed = draft.attempt(|draft| {
        draft.create_application(&new_application(service, plan, "a"))?;
        draft.rename_plan(plan, "Other")?;
        draft.create_application(&new_application(service, plan, "a"))
    });
    assert!(matches!(failed, Err(CommandError::Taken { .. })));
    assert_eq!(draft.catalog().changes().collect::<Vec<_>>(), before);
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), None);

    let kept = draft.attempt(|draft| draft.create_application(&new_application(service, plan, "a"))).unwrap();
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), Some(kept.0));
    draft
        .attempt(|draft| {
            draft.delete_application(kept)?;
            draft.attempt(|draft| draft.create_application(&new_application(service, plan, "b")))
        })
        .unwrap();
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), None);
    assert_consistent(draft);
}

#[test]
fn limits_are_listed_in_the_order_of_the_other_systems_ids() {
    let (mut draft, _, service, _) = draft();
    let plan = draft.create_plan(service, Some("p"), "").unwrap();
    let hits = draft.create_external_metric(service, "100", "hits", None).unwrap();
    let early = draft.create_external_metric(service, "20", "early", Some(hits)).unwrap();
    let last = draft.create_external_metric(service, "x", "last", None).unwrap();
    for (metric, period) in
        [(last, Period::Day), (hits, Period::Day), (hits, Period::Year), (early, Period::Day)]
    {
        draft.set_limit(plan, metric, period, 1).unwrap();
    }
    draft.set_limit(plan, hits, Period::Day, 9).unwrap();
    let limits = &draft.catalog().plans.get(plan.0).unwrap().limits;
    let order: Vec<_> = limits.iter().map(|limit| (limit.metric, limit.period, limit.max)).collect();
    let wanted =
        [(early, Period::Day, 1), (hits, Period::Year, 1), (hits, Period::Day, 9), (last, Period::Day, 1)];
    assert_eq!(order, wanted);
    assert_consistent(draft);
}

#[test]
fn only_a_plan_of_another_system_may_be_without_a_name() {
    let (mut draft, _, service, _) = draft();
    for (external_id, name, good) in [
        (None, "", false),
        (Some("p"), "", true),
        (Some(""), "", true),
        (Some(""), "x", false),
        (Some(" "), "", false),
    ] {
        assert_eq!(draft.create_plan(service, external_id, name).is_ok(), good, "{external_id:?} {name:?}");
    }
    assert_eq!(draft.create_plan(service, Some(Plan::NONE), "").ok(), None, "there is one such plan already");
}

#[test]
fn alert_limits_are_known_levels_each_once_ascending() {
    let (mut draft, _, service, _) = draft();
    draft.edit_service(service, |it| it.alert_limits = vec![300, 0, 80, 0]).unwrap();
    assert_eq!(draft.catalog().services.get(service.0).unwrap().alert_limits, [0, 80, 300]);
    let bad = draft.edit_service(service, |it| it.alert_limits.push(81));
    assert_eq!(bad, Err(CommandError::AlertLevel(81)));
}

#[test]
fn ids_that_were_taken_are_kept_by_one_change_if_there_is_no_other() {
    let (before, ..) = draft();
    let catalog = before.catalog().clone();
    let next_id = catalog.next_id;

    let mut taken = Draft::new(catalog.clone(), &NoKeys);
    assert!(taken.is_empty());
    assert_eq!((taken.take_id(), taken.take_id()), (next_id, next_id + 1));
    assert!(!taken.is_empty());
    assert_eq!(taken.into_changes(), (vec![Change::RaiseIds(next_id + 2)], next_id + 2));

    // With another change they are kept too, since each says where the sequence stands.
    let mut beside = Draft::new(catalog.clone(), &NoKeys);
    let id = beside.take_id();
    let tenant = beside.create_tenant("u", "pk2").unwrap();
    assert_eq!((id, tenant.0), (next_id, next_id + 1));
    let after = beside.take_id();
    let (changes, reached) = beside.into_changes();
    assert_eq!((changes.len(), reached), (1, after + 1));

    // What a part took that failed is not given out, and what one took that did not is.
    let mut parts = Draft::new(catalog.clone(), &NoKeys);
    let failed: Result<u64, ()> = parts.attempt(|part| {
        part.take_id();
        Err(())
    });
    assert!(failed.is_err() && parts.is_empty());
    let kept: Result<u64, ()> = parts.attempt(|part| Ok(part.take_id()));
    assert_eq!((kept, parts.is_empty()), (Ok(next_id), false));
    assert_eq!(parts.into_changes(), (vec![Change::RaiseIds(next_id + 1)], next_id + 1));

    let mut made = catalog;
    made.apply(&Change::RaiseIds(next_id + 2));
    made.apply(&Change::RaiseIds(next_id));
    assert_eq!(made.next_id, next_id + 2);
}

#[test]
fn a_plan_is_deleted_when_no_application_is_on_it() {
    let (mut draft, _, service, plan) = draft();
    let other = draft.create_plan(service, None, "Other").unwrap();
    let first = draft.create_application(&new_application(service, plan, "a")).unwrap();
    let second = draft.create_application(&new_application(service, plan, "b")).unwrap();
    let in_use = |by| Err(CommandError::InUse { what: "plan", id: plan.0, by });
    assert_eq!(draft.delete_plan(plan), in_use(2));
    draft.edit_application(first, |it| it.plan = other).unwrap();
    assert_eq!(draft.delete_plan(plan), in_use(1));
    draft.delete_application(second).unwrap();
    assert_eq!(draft.delete_plan(plan), Ok(()));
    assert_eq!(draft.delete_plan(plan), Err(CommandError::Unknown { what: "plan", id: plan.0 }));
    // Its external id is free.
    draft.create_plan(service, Some("basic"), "Basic").unwrap();
    assert_consistent(draft);
}

#[test]
fn a_plan_is_edited_but_keeps_its_service_and_limits() {
    let (mut draft, tenant, service, plan) = draft();
    let other = draft.create_service(&new_service(tenant, None)).unwrap();
    let hits = draft.create_metric(service, "hits", None).unwrap();
    let limit = draft.set_limit(plan, hits, Period::Day, 5).unwrap();
    let edit = |it: &mut Plan| {
        (it.id, it.service, it.name) = (PlanId(999), other, "New".into());
        it.limits.clear();
    };
    draft.edit_plan(plan, edit).unwrap();
    let edited = draft.catalog().plans.get(plan.0).unwrap();
    assert_eq!((edited.service, &*edited.name, edited.limit(limit).unwrap().max), (service, "New", 5));
    let bad = draft.edit_plan(plan, |it| (it.external_id, it.name) = (None, String::new()));
    assert_eq!(bad, Err(CommandError::BadText { what: "plan name", max: TEXT_LEN_MAX }));
    assert_consistent(draft);
}

#[test]
fn a_limit_keeps_its_identity_over_another_period_and_a_copy_has_one_of_its_own() {
    let (mut draft, _, service, plan) = draft();
    let hits = draft.create_metric(service, "hits", None).unwrap();
    let day = draft.set_limit(plan, hits, Period::Day, 5).unwrap();
    let hour = draft.set_limit(plan, hits, Period::Hour, 1).unwrap();
    let taken = draft.edit_limit(plan, hour, Period::Day, 1);
    assert_eq!(taken, Err(CommandError::Taken { what: "the period", by: day.0 }));
    draft.edit_limit(plan, hour, Period::Year, 9).unwrap();
    let of = |draft: &Draft<'_>, plan: PlanId| -> Vec<_> {
        let limits = &draft.catalog().plans.get(plan.0).unwrap().limits;
        limits.iter().map(|limit| (limit.id, limit.period, limit.max)).collect()
    };
    // In the order of answers.
    assert_eq!(of(&draft, plan), [(hour, Period::Year, 9), (day, Period::Day, 5)]);
    let copy = draft.create_plan(service, None, "Copy").unwrap();
    draft.copy_limits(plan, copy).unwrap();
    let copied = of(&draft, copy);
    assert_eq!(
        copied.iter().map(|it| (it.1, it.2)).collect::<Vec<_>>(),
        [(Period::Year, 9), (Period::Day, 5)]
    );
    assert!(copied.iter().all(|(id, ..)| *id != hour && *id != day));
    assert_consistent(draft);
}

#[test]
fn an_account_goes_with_its_applications_of_all_services() {
    let (mut draft, tenant, service, plan) = draft();
    let other = draft.create_service(&new_service(tenant, None)).unwrap();
    let other_plan = draft.create_plan(other, None, "P").unwrap();
    let [first, second] = ["one", "two"].map(|name| draft.create_account(tenant, name).unwrap());
    let edit = |it: &mut Account| {
        (it.id, it.tenant, it.name) = (AccountId(999), TenantId(999), "uno".into());
    };
    draft.edit_account(first, edit).unwrap();
    let edited = Account { id: first, tenant, name: "uno".into() };
    assert_eq!(**draft.catalog().accounts.get(first.0).unwrap(), edited);
    let bad = draft.edit_account(first, |it| it.name.clear());
    assert_eq!(bad, Err(CommandError::BadText { what: "account name", max: TEXT_LEN_MAX }));

    let mut create = |service, plan, app_id, account| {
        let new = NewApplication { account, ..new_application(service, plan, app_id) };
        draft.create_application(&new).unwrap()
    };
    create(service, plan, "a", Some(first));
    create(other, other_plan, "b", Some(first));
    let left = [create(service, plan, "c", Some(second)), create(other, other_plan, "d", None)];
    draft.delete_account(first).unwrap();
    assert_eq!(draft.delete_account(first), Err(CommandError::Unknown { what: "account", id: first.0 }));
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), None);
    let ids: Vec<_> = draft.catalog().applications.iter().map(|(_, it)| it.id).collect();
    assert_eq!(ids, left);
    assert_consistent(draft);
}

#[test]
fn a_metric_can_be_in_several_services_and_goes_from_each_by_itself() {
    let (mut draft, tenant, service, plan) = draft();
    let other = draft.create_service(&new_service(tenant, None)).unwrap();
    let other_plan = draft.create_plan(other, None, "P").unwrap();
    let shared = MetricId(draft.take_id());
    // At another slot in each, and below another metric.
    let hits = draft.create_metric(other, "hits", None).unwrap();
    draft.put_metric(service, shared, "hits.7", None).unwrap();
    draft.put_metric(other, shared, "hits.7", Some(hits)).unwrap();
    let limit = draft.set_limit(plan, shared, Period::Day, 1).unwrap();
    let kept = draft.set_limit(other_plan, shared, Period::Day, 2).unwrap();
    let slot = |draft: &Draft<'_>, service: ServiceId| {
        let service = draft.catalog().services.get(service.0).unwrap();
        service.metrics.by_id(shared).map(|metric| (metric.slot.0, metric.name.clone()))
    };
    assert_eq!(slot(&draft, service), Some((0, "hits.7".into())));
    assert_eq!(slot(&draft, other), Some((1, "hits.7".into())));

    // Once more: renamed in its place.
    draft.put_metric(other, shared, "calls.7", None).unwrap();
    assert_eq!(slot(&draft, other), Some((1, "calls.7".into())));
    let taken = draft.put_metric(other, shared, "hits", None);
    assert_eq!(taken, Err(CommandError::Metric(crate::model::metric::TreeError::NameTaken)));
    for id in [0, draft.catalog().next_id, u64::MAX] {
        let never = draft.put_metric(service, MetricId(id), "x", None);
        assert_eq!(never, Err(CommandError::Unknown { what: "metric", id }));
    }

    draft.delete_metric(service, shared).unwrap();
    assert_eq!(slot(&draft, service), None);
    let limits = |draft: &Draft<'_>, plan: PlanId| draft.catalog().plans.get(plan.0).unwrap().limits.clone();
    assert!(limits(&draft, plan).is_empty());
    assert_eq!(limits(&draft, other_plan).iter().map(|it| it.id).collect::<Vec<_>>(), [kept]);

    let unknown = Err(CommandError::Unknown { what: "limit", id: limit.0 });
    assert_eq!(draft.delete_limit_by_id(other_plan, limit), unknown);
    assert_eq!(draft.delete_limit_by_id(other_plan, kept), Ok(()));
    assert!(limits(&draft, other_plan).is_empty());
    assert_consistent(draft);
}

#[test]
fn a_retired_service_is_gone_and_what_it_owned_goes_bit_by_bit() {
    let (mut draft, tenant, other, _) = draft();
    let service = draft.create_service(&new_service(tenant, Some("7"))).unwrap();
    draft.edit_service(service, |it| it.tokens.push(Secret::new("t"))).unwrap();
    draft.edit_tenant(tenant, |it| it.default_service = Some(service)).unwrap();
    let plan = draft.create_plan(service, None, "P").unwrap();
    let application = draft.create_application(&new_application(service, plan, "a")).unwrap();
    // What is not retired is not purged.
    draft.purge(&[application], &[plan]).unwrap();
    draft.purge_service(service).unwrap();
    assert_eq!(draft.find(Key::AppId { service, text: "a" }), Some(application.0));

    draft.retire_service(service).unwrap();
    let unknown = CommandError::Unknown { what: "service", id: service.0 };
    assert_eq!(draft.retire_service(service), Err(unknown.clone()));
    assert_eq!(draft.create_plan(service, None, "Q"), Err(unknown.clone()));
    assert_eq!(draft.create_application(&new_application(service, plan, "b")), Err(unknown));
    assert_eq!(draft.catalog().tenants.get(tenant.0).unwrap().default_service, None);
    for key in [Key::ExternalService("7"), Key::Service { tenant, text: "7" }] {
        assert_eq!(draft.find(key), None);
    }
    assert_eq!(draft.find(Key::ServiceToken { token: "t", service: "7" }), None);
    let next = draft.create_service(&new_service(tenant, Some("7"))).unwrap();
    assert_ne!(next, service);

    draft.purge(&[application, application], &[]).unwrap();
    draft.purge(&[], &[plan]).unwrap();
    draft.purge_service(service).unwrap();
    let catalog = draft.catalog();
    assert!(catalog.applications.is_empty() && catalog.plans.get(plan.0).is_none());
    let left: Vec<_> = catalog.services.iter().map(|(_, it)| it.id).collect();
    assert_eq!(left, [other, next]);
    assert_consistent(draft);
}
