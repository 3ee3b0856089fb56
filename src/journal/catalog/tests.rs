//! Records of the catalog as they are written: they come back the same, and damage is no panic.

use super::*;
use crate::model::catalog::{Catalog, NoKeys};
use crate::model::draft::{Draft, NewApplication, NewService};
use proptest::prelude::*;

fn sample() -> (Vec<Change>, u64) {
    let mut draft = Draft::new(Catalog::new(), &NoKeys);
    let tenant = draft.create_tenant("acme", "pkey").unwrap();
    let account = draft.create_account(tenant, "buyers").unwrap();
    let backend_version = BackendVersion::Oauth;
    let service = NewService { tenant, external_id: Some("ext"), name: "api", backend_version };
    let service = draft.create_service(&service).unwrap();
    let hits = draft.create_metric(service, "hits", None).unwrap();
    let search = draft.create_external_metric(service, "m-7", "search", Some(hits)).unwrap();
    draft.edit_service(service, |it| it.alert_limits = vec![300, 0, 80, 80]).unwrap();
    let gone = draft.create_metric(service, "gone", None).unwrap();
    draft.delete_metric(service, gone).unwrap();
    let plan = draft.create_plan(service, Some("7"), "Basic").unwrap();
    let none = draft.set_limit(plan, search, Period::Week, 0).unwrap();
    draft.set_limit_shadow(plan, none, true).unwrap();
    draft.set_limit(plan, hits, Period::Eternity, u64::MAX).unwrap();
    let (app_id, name) = ("app", "App");
    let new = NewApplication { service, account: Some(account), app_id, name, plan };
    let application = draft.create_application(&new).unwrap();
    let edit = |it: &mut Application| {
        it.state = ApplicationState::parse("limbo");
        it.app_keys = vec![Secret::new("k1"), Secret::new("k2")].into();
        it.user_keys = vec![Secret::new("u1")].into();
        it.referrer_filters = vec!["*.example.org".into()].into();
        it.redirect_url = Some("http://example.org/".into());
        it.shadow = true;
    };
    draft.edit_application(application, edit).unwrap();
    let edit = |it: &mut Service| {
        (it.state, it.stats_erasure) = (ServiceState::Suspended, Some(9));
        (it.shadow, it.ratelimit_headers) = (true, true);
        it.promise = Some(Promise::Durable);
    };
    draft.edit_service(service, edit).unwrap();
    draft.edit_service(service, |it| it.promise = Some(Promise::Interval)).unwrap();
    draft.delete_service(service).unwrap();
    draft.delete_account(account).unwrap();
    let (mut changes, next_id) = draft.into_changes();
    changes.push(Change::RaiseIds(next_id + 7));
    changes.push(Change::DeleteTenant(tenant));
    (changes, next_id)
}

#[test]
fn changes_round_trip() {
    let (changes, next_id) = sample();
    let mut bytes = Vec::new();
    encode(&changes, next_id, &mut bytes);
    let mut back = Vec::new();
    decode(&bytes, |change, seen| {
        assert_eq!(seen, next_id);
        back.push(change);
    })
    .unwrap();
    assert_eq!(back, changes);
}

/// A change as its bytes are to be for ever.
#[test]
fn ids_that_were_given_out_are_written_under_their_own_number() {
    let mut bytes = Vec::new();
    encode(&[Change::RaiseIds(300)], 300, &mut bytes);
    // A length; field 16 as a varint (its key takes two bytes), field 20 as another.
    assert_eq!(bytes, [8, 0x80, 0x01, 0xac, 0x02, 0xa0, 0x01, 0xac, 0x02]);
    let mut catalog = Catalog::new();
    decode(&bytes, |change, _| catalog.apply(&change)).unwrap();
    assert_eq!(catalog.next_id, 300);
}

proptest! {
    #[test]
    fn damaged_bytes_are_an_error_or_other_changes_but_no_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (changes, next_id) = sample();
        let mut bytes = Vec::new();
        encode(&changes, next_id, &mut bytes);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let mut catalog = Catalog::new();
        let _ = decode(&bytes, |change, _| catalog.apply(&change));
    }
}
