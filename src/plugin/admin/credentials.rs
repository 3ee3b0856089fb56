//! What identifies applications: what it may look like, and new ones of it. As in the original, but for user keys, which may have 255
//! characters here and 256 there.

use super::answer::{Errors, Refusal};
use super::check;
use super::context::Edit;
use super::request::Fields;
use super::services::ServiceDetails;
use crate::document::values::{self, APP_ID_LEN, KEY_LEN, KEYS_MAX, KEYS_MAX_OAUTH};
use crate::model::catalog::Key;
use crate::model::draft::TEXT_LEN_MAX;
use crate::model::id::{ApplicationId, ServiceId};
use crate::model::record::{BackendVersion, Secret, Service};

/// What identifies a new application.
pub(super) struct Credentials {
    pub(super) app_id: String,
    pub(super) user_key: String,
    pub(super) app_keys: Vec<String>,
}

/// A text of that many random bytes, in hex.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn random<const BYTES: usize>() -> Result<String, Refusal> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::Failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How many keys an application of a service may have.
pub(super) fn keys_max(service: &Service) -> usize {
    if service.backend_version == BackendVersion::Oauth { KEYS_MAX_OAUTH } else { KEYS_MAX }
}

/// What was sent for a new application of a service, and new ones of what was not.
///
/// # Errors
/// What is wrong is added to `errors`; an error only if there are no random bytes or no records.
pub(super) fn sent(
    edit: &Edit<'_, '_, '_>,
    service: &Service,
    fields: &Fields,
    errors: &mut Errors,
) -> Result<Credentials, Refusal> {
    let user_key = match fields.filled("user_key") {
        Some(key) => {
            check_user_key(edit, service.id, None, &key, errors);
            key
        }
        None => random::<16>()?,
    };
    let app_id = match fields.filled("application_id") {
        Some(id) => {
            check_app_id(edit, service.id, &id, errors);
            id
        }
        None => free_app_id(edit, service.id)?,
    };
    let mut app_keys = fields.texts("application_key").unwrap_or_default();
    let max = keys_max(service);
    if app_keys.len() > max {
        errors.add("base", "Limit reached");
    }
    let mut known: Vec<Secret> = Vec::new();
    for key in &app_keys {
        check_app_key(known.iter(), key, "application_keys", errors);
        known.push(Secret::new(key));
    }
    let is_keyed = service.backend_version != BackendVersion::UserKey;
    if app_keys.is_empty() && is_keyed {
        let details = edit.records.find::<ServiceDetails>(service.id.0)?.unwrap_or_default();
        if details.mandatory_app_key {
            app_keys.push(random::<16>()?);
        }
    }
    Ok(Credentials { app_id, user_key, app_keys })
}

/// Whether a text can be the user key of an application of the service.
pub(super) fn check_user_key(
    edit: &Edit<'_, '_, '_>,
    service: ServiceId,
    own: Option<ApplicationId>,
    key: &str,
    errors: &mut Errors,
) {
    if key.len() > TEXT_LEN_MAX {
        errors.add("user_key", format!("is too long (maximum is {TEXT_LEN_MAX} characters)"));
    } else if !values::is_user_key(key) {
        errors.add("user_key", check::INVALID);
    } else if edit
        .draft
        .find(Key::UserKey { service, text: key })
        .is_some_and(|by| Some(by) != own.map(|it| it.0))
    {
        errors.add("user_key", check::TAKEN);
    }
}

fn check_app_id(edit: &Edit<'_, '_, '_>, service: ServiceId, id: &str, errors: &mut Errors) {
    if id.len() < *APP_ID_LEN.start() {
        errors.add("application_id", format!("is too short (minimum is {} characters)", APP_ID_LEN.start()));
    } else if id.len() > TEXT_LEN_MAX {
        errors.add("application_id", format!("is too long (maximum is {TEXT_LEN_MAX} characters)"));
    } else if !values::is_printable(id) {
        errors.add("application_id", check::INVALID);
    } else if edit.draft.find(Key::AppId { service, text: id }).is_some() {
        errors.add("application_id", check::TAKEN);
    }
}

/// Four random bytes, as long as that is somebody else's.
fn free_app_id(edit: &Edit<'_, '_, '_>, service: ServiceId) -> Result<String, Refusal> {
    loop {
        let id = random::<4>()?;
        if edit.draft.find(Key::AppId { service, text: &id }).is_none() {
            return Ok(id);
        }
    }
}

/// Whether a text can be one more key of an application that has these.
pub(super) fn check_app_key<'k>(
    mut known: impl Iterator<Item = &'k Secret>,
    key: &str,
    field: &str,
    errors: &mut Errors,
) {
    if key.len() < *KEY_LEN.start() {
        errors.add(field, format!("is too short (minimum is {} characters)", KEY_LEN.start()));
    } else if key.len() > TEXT_LEN_MAX {
        errors.add(field, format!("is too long (maximum is {TEXT_LEN_MAX} characters)"));
    } else if !values::is_printable(key) {
        errors.add(field, check::INVALID);
    } else if known.any(|it| it.expose().eq_ignore_ascii_case(key)) {
        errors.add(field, check::TAKEN);
    }
}
