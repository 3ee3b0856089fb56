//! What a draft yields is valid, and an error leaves it as it was.

use super::*;
use crate::model::catalog::NoKeys;
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
    let shown: Vec<_> = draft.catalog().changes().collect();
    for change in &shown {
        draft.catalog().keys_of(change, |key, id| assert_eq!(draft.find(key), Some(id), "{key:?}"));
    }
    let mut made = Catalog::new();
    draft.into_changes().0.iter().for_each(|change| made.apply(change));
    assert_eq!(made.changes().collect::<Vec<_>>(), shown);
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
