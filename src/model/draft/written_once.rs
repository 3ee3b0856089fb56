//! A record that a draft changes often is written once, unless what was in between matters to somebody.

use super::*;
use crate::model::catalog::NoKeys;
use crate::model::time::Period;

/// A catalog with a service and a plan, by a draft of before.
fn catalog() -> (Catalog, ServiceId, PlanId) {
    let mut draft = Draft::new(Catalog::new(), &NoKeys);
    let tenant = draft.create_tenant("t", "pk").unwrap();
    let new = NewService { tenant, external_id: None, name: "API", backend_version: BackendVersion::AppId };
    let service = draft.create_service(&new).unwrap();
    draft.create_metric(service, "hits", None).unwrap();
    let plan = draft.create_plan(service, Some("basic"), "Basic").unwrap();
    let mut catalog = Catalog::new();
    let (changes, next_id) = draft.into_changes();
    changes.iter().for_each(|change| catalog.apply(change));
    catalog.next_id = next_id;
    (catalog, service, plan)
}

#[test]
fn thousands_of_metrics_and_limits_are_one_change_each() {
    let (catalog, service, plan) = catalog();
    let mut draft = Draft::new(catalog.clone(), &NoKeys);
    let metrics: Vec<_> =
        (0..300).map(|at| draft.create_metric(service, &format!("m{at}"), None).unwrap()).collect();
    for metric in metrics {
        draft.set_limit(plan, metric, Period::Day, 1).unwrap();
    }
    let shown: Vec<_> = draft.catalog().changes().collect();
    let (changes, _) = draft.into_changes();
    assert_eq!(changes.len(), 2);
    let mut made = catalog;
    changes.iter().for_each(|change| made.apply(change));
    assert_eq!(made.changes().collect::<Vec<_>>(), shown);
}

#[test]
fn what_handles_die_by_is_written_even_if_it_is_taken_back() {
    let (catalog, service, _) = catalog();
    let hits = catalog.services.get(service.0).unwrap().metrics.find("hits").unwrap().id;
    let mut draft = Draft::new(catalog, &NoKeys);
    draft.edit_metric(service, hits, "renamed", None).unwrap();
    draft.edit_metric(service, hits, "hits", None).unwrap();
    assert_eq!(draft.changes().len(), 2);
    draft.edit_service(service, |it| it.backend_version = BackendVersion::UserKey).unwrap();
    assert_eq!(draft.changes().len(), 3);
    // What is added to it afterwards is said with it.
    draft.create_metric(service, "more", None).unwrap();
    assert_eq!(draft.changes().len(), 3);
}
