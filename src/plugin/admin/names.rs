//! Names that must be unique within an owner: of each kind of name, one record has it.

use super::answer::Errors;
use super::check;
use super::request::Fields;
use crate::document::system_name;
use crate::plugin::records::{Records, id_key, id_of};
use crate::store::ShelfError;
use crate::store::shelf::Table;

/// Ids of records by kind, owner and name.
const NAMES: Table = Table("names");

/// A kind of name. The number is part of keys on the shelf: never changed, never given to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// System name of a service; the owner is the tenant.
    Service = 1,
    /// System name of a plan; the owner is service or tenant.
    Plan = 2,
    /// System name of a backend API; the owner is the tenant.
    Backend = 3,
    /// System name of a feature; the owner is service or tenant.
    Feature = 4,
    /// Username; the owner is the tenant.
    Username = 5,
    /// E-mail address; the owner is the tenant.
    Email = 6,
    /// System name of ActiveDocs; the owner is the tenant.
    ActiveDocs = 7,
    /// Name of a field, after its target; the owner is the tenant.
    Field = 8,
    /// Name and version of a policy; the owner is the tenant.
    Policy = 9,
    /// Username of a developer, a user of an account; the owner is the tenant.
    DeveloperUsername = 11,
    /// E-mail address of a developer; the owner is the tenant.
    DeveloperEmail = 12,
    /// Subdomain of a tenant; the owner is the node, 0.
    Subdomain = 13,
}

fn key(kind: Kind, owner: u64, name: &str) -> Vec<u8> {
    let mut key = vec![kind as u8];
    key.extend(id_key(owner));
    // As in the original: two names that differ in case only are one.
    key.extend(name.to_lowercase().bytes());
    key
}

/// Who has a name.
pub(super) fn find(
    records: &Records<'_>,
    kind: Kind,
    owner: u64,
    name: &str,
) -> Result<Option<u64>, ShelfError> {
    Ok(records.get(NAMES, &key(kind, owner, name))?.and_then(|id| id_of(&id)))
}

/// Gives a name to a record; whether it has it then. It has not, if another has.
pub(super) fn claim(
    records: &mut Records<'_>,
    kind: Kind,
    owner: u64,
    name: &str,
    id: u64,
) -> Result<bool, ShelfError> {
    match find(records, kind, owner, name)? {
        Some(holder) => Ok(holder == id),
        None => {
            records.put(NAMES, &key(kind, owner, name), id_key(id).to_vec());
            Ok(true)
        }
    }
}

/// Gives a record the name that was asked for; or, unless it must be exactly that, one like it that is free. None, if there is none.
pub(super) fn claim_like(
    records: &mut Records<'_>,
    (kind, owner): (Kind, u64),
    (wanted, exactly): (&str, bool),
    id: u64,
) -> Result<Option<String>, ShelfError> {
    if system_name::is_one(wanted) && claim(records, kind, owner, wanted, id)? {
        return Ok(Some(wanted.to_owned()));
    }
    // Ids are never given twice, so this is free unless somebody named another so.
    let base = if wanted.is_empty() { "unnamed" } else { wanted };
    let other = format!("{}-{id}", base.get(..200).unwrap_or(base));
    Ok((!exactly && claim(records, kind, owner, &other, id)?).then_some(other))
}

/// Gives a record the system name that was sent in place of the one that it has, which is free then. None, if none was sent or it is no other.
pub(super) fn renamed(
    records: &mut Records<'_>,
    (kind, owner, known): (Kind, u64, &str),
    fields: &Fields,
    id: u64,
    errors: &mut Errors,
) -> Result<Option<String>, ShelfError> {
    let Some(wanted) = fields.filled("system_name").filter(|wanted| wanted != known) else { return Ok(None) };
    if !system_name::is_one(&wanted) {
        errors.add("system_name", check::INVALID);
        return Ok(None);
    }
    if find(records, kind, owner, &wanted)?.is_some_and(|holder| holder != id) {
        errors.add("system_name", check::TAKEN);
        return Ok(None);
    }
    release(records, kind, owner, known, id)?;
    claim(records, kind, owner, &wanted, id)?;
    Ok(Some(wanted))
}

/// Frees a name, if this record has it.
pub(super) fn release(
    records: &mut Records<'_>,
    kind: Kind,
    owner: u64,
    name: &str,
    id: u64,
) -> Result<(), ShelfError> {
    if find(records, kind, owner, name)? == Some(id) {
        records.delete(NAMES, &key(kind, owner, name));
    }
    Ok(())
}
