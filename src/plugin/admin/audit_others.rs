//! What the internal API did, in the audit log: whatever changes the catalog and is no command of the admin API's own.
//!
//! The internal API knows no users: who it was is the internal API, and a call that it was is not said. What a record was before and is
//! after is what the catalog has of it. Left out are:
//!
//! - what takes away, in the background, what was under a service that was deleted: that the service was is there;
//! - what a new node begins with;
//! - commands after which the catalog shows the same.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::{self, Entry, Name, Origin, Sides};
use crate::model::catalog::Catalog;
use crate::model::id::ServiceId;
use crate::model::record::ServiceState;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

/// Writes down what a command did, if it is not the admin API's own.
///
/// # Errors
/// The shelf cannot be read.
pub(super) fn write(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    if accompanied.is_own || accompanied.before.version == 0 {
        return Ok(());
    }
    for (tenant, changed) in changed(accompanied) {
        let changed = changed.into_iter().map(|name| (name, ()));
        let (objects, more) = audit::objects(changed, |(kind, id), ()| sides(accompanied, kind, *id));
        let (method, path) = (String::new(), String::new());
        let entry = Entry { at: now, user: None, token: None, method, path, objects, more, number: None };
        audit::append(records, Origin::Internal, tenant, entry)?;
    }
    Ok(())
}

/// The records that are others now, by tenant.
fn changed(accompanied: &Accompanied<'_>) -> BTreeMap<u64, BTreeSet<Name>> {
    let Accompanied { before, after, changes, .. } = *accompanied;
    let mut found = BTreeMap::<u64, BTreeSet<_>>::new();
    for (kind, id) in changes.iter().filter_map(audit::name_of) {
        let owner = [after, before].into_iter().find_map(|catalog| owner_of(catalog, kind, id));
        let Some((tenant, service)) = owner.filter(|(tenant, _)| after.tenants.get(*tenant).is_some()) else {
            continue;
        };
        if service.is_some_and(|service| is_retired(before, service)) {
            continue;
        }
        let [before, after] = sides(accompanied, kind, id);
        if before != after {
            found.entry(tenant).or_default().insert((kind.to_owned(), id));
        }
    }
    found
}

fn sides(accompanied: &Accompanied<'_>, kind: &str, id: u64) -> Sides {
    [accompanied.before, accompanied.after].map(|catalog| audit::fields_of(catalog, kind, id))
}

/// The tenant of a record that a catalog has, and the service that it belongs to or is.
fn owner_of(catalog: &Catalog, kind: &str, id: u64) -> Option<(u64, Option<ServiceId>)> {
    let service = match kind {
        "tenant" => return catalog.tenants.get(id).map(|_| (id, None)),
        "account" => return catalog.accounts.get(id).map(|account| (account.tenant.0, None)),
        "service" => ServiceId(id),
        "plan" => catalog.plans.get(id)?.service,
        _ => catalog.applications.get(id)?.service,
    };
    Some((catalog.services.get(service.0)?.tenant.0, Some(service)))
}

fn is_retired(catalog: &Catalog, service: ServiceId) -> bool {
    catalog.services.get(service.0).is_some_and(|it| it.state == ServiceState::Retired)
}
