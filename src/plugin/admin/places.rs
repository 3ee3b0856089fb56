//! For whom a call is, as far as its address says.
//!
//! | Address | For |
//! |---|---|
//! | `/tenants/7/...` | tenant 7, on whatever host |
//! | `acme-admin.<domain>`, `acme.<domain>` | the tenant with that subdomain |
//! | `master.<domain>` | the master |
//! | any other host, or no domain is configured | whoever the credentials say |
//!
//! An address only proposes: the credentials must be that tenant's. With any others, and for an address that is nobody's, the answer is the
//! same as for credentials that nobody has, so that nobody learns who else is there.

use super::names::{self, Kind};
use crate::document::system_name;
use crate::model::id::TenantId;
use crate::plugin::call::Call;
use crate::plugin::records::Records;
use crate::store::ShelfError;

/// The master: who makes tenants. None of the catalog has this id, whose ids begin at 1.
pub(super) const MASTER: TenantId = TenantId(0);

/// The owner of names that are unique on the node.
const NODE: u64 = 0;

/// For whom a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The address does not say.
    Anybody,
    /// This one.
    Of(TenantId),
    /// Nobody.
    Nobody,
}

impl Place {
    /// The place that a call's address names, under a domain whose names are tenants'.
    pub(super) fn of(call: &Call, domain: Option<&str>, records: &Records<'_>) -> Result<Place, ShelfError> {
        let by_host = match (domain, &call.host) {
            (Some(domain), Some(host)) => Place::of_host(host, domain, records)?,
            _ => Place::Anybody,
        };
        Ok(match call.tenant.map(|id| Place::Of(TenantId(id))) {
            None => by_host,
            Some(by_path) if by_host == Place::Anybody || by_host == by_path => by_path,
            Some(_) => Place::Nobody,
        })
    }

    fn of_host(host: &str, domain: &str, records: &Records<'_>) -> Result<Place, ShelfError> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let Some(label) = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else {
            return Ok(Place::Anybody);
        };
        let subdomain = label.strip_suffix(ADMIN_SUFFIX).unwrap_or(label);
        if subdomain == MASTER_SUBDOMAIN {
            return Ok(Place::Of(MASTER));
        }
        let found = names::find(records, Kind::Subdomain, NODE, subdomain)?;
        Ok(found.map_or(Place::Nobody, |id| Place::Of(TenantId(id))))
    }

    /// Whether the credentials of a tenant are for it.
    pub(super) fn admits(self, tenant: TenantId) -> bool {
        match self {
            Place::Anybody => true,
            Place::Of(it) => it == tenant,
            Place::Nobody => false,
        }
    }
}

/// What a tenant's subdomain has at its end where its administrators call.
pub(super) const ADMIN_SUFFIX: &str = "-admin";
const MASTER_SUBDOMAIN: &str = "master";

/// The longest subdomain: what RFC 1035 allows a label to be, with the suffix.
const SUBDOMAIN_LEN_MAX: usize = 63 - ADMIN_SUFFIX.len();

/// Gives a tenant the subdomain that is asked for, or else one that follows from its name. None, if another has the one asked for, or
/// it cannot be one.
pub(super) fn claim(
    records: &mut Records<'_>,
    tenant: TenantId,
    asked: Option<&str>,
    name: &str,
) -> Result<Option<String>, ShelfError> {
    let mut claim = |it: &str| names::claim(records, Kind::Subdomain, NODE, it, tenant.0);
    if let Some(asked) = asked {
        let asked = asked.to_ascii_lowercase();
        return Ok((is_subdomain(&asked) && claim(&asked)?).then_some(asked));
    }
    let mut wanted = system_name::of(name).replace('_', "-");
    wanted.truncate(SUBDOMAIN_LEN_MAX - 20);
    let wanted = wanted.trim_end_matches('-').to_owned();
    if is_subdomain(&wanted) && claim(&wanted)? {
        return Ok(Some(wanted));
    }
    // Ids are given once, so this is free unless somebody asked for it.
    let other = format!("tenant-{tenant}");
    Ok(claim(&other)?.then_some(other))
}

/// Frees a tenant's subdomain.
pub(super) fn release(
    records: &mut Records<'_>,
    tenant: TenantId,
    subdomain: &str,
) -> Result<(), ShelfError> {
    names::release(records, Kind::Subdomain, NODE, subdomain, tenant.0)
}

fn is_subdomain(text: &str) -> bool {
    let is_good = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    !text.is_empty()
        && text.len() <= SUBDOMAIN_LEN_MAX
        && text.bytes().all(is_good)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.ends_with(ADMIN_SUFFIX)
        && text != MASTER_SUBDOMAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_subdomain() {
        let longest = "a".repeat(SUBDOMAIN_LEN_MAX);
        for good in ["a", "acme", "acme-2", "7", &longest] {
            assert!(is_subdomain(good), "{good}");
        }
        let too_long = "a".repeat(SUBDOMAIN_LEN_MAX + 1);
        for bad in ["", "-a", "a-", "a.b", "A", "a_b", "master", "acme-admin", "\u{fc}", &too_long] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
