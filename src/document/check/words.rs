//! Words by themselves: what a system name, an amount, a period may be.

use rust_decimal::Decimal;

use super::NAME_LEN_MAX;
use crate::document::system_name;
use crate::rules::Pattern;

pub(super) const PERIODS: [&str; 7] = ["minute", "hour", "day", "week", "month", "year", "eternity"];
pub(super) const HTTP_METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"];
pub(super) const BACKEND_VERSIONS: [&str; 4] = ["1", "2", "oauth", "oidc"];
pub(super) const TARGETS: [&str; 3] = ["Account", "User", "Cinstance"];
pub(super) const SCOPES: [&str; 2] = ["application_plan", "service_plan"];
pub(super) const ACCOUNT_STATES: [&str; 4] = ["created", "pending", "approved", "rejected"];
pub(super) const USER_STATES: [&str; 3] = ["pending", "active", "suspended"];
pub(super) const ROLES: [&str; 2] = ["admin", "member"];
pub(super) const CONTRACT_STATES: [&str; 3] = ["pending", "live", "suspended"];
pub(super) const LOCATIONS: [&str; 3] = ["headers", "query", "authorization"];

/// What keeps a text from being a system name, if something does.
pub(super) fn system_name(text: &str) -> Option<String> {
    (!system_name::is_one(text) && !text.is_empty()).then(|| {
        format!("'{text}' cannot be a system name: 2 to {} letters, digits, _, - and /, a letter, digit or _ first", system_name::LEN_MAX)
    })
}

/// What keeps a text from being an amount, if something does.
pub(super) fn amount(text: &str) -> Option<&'static str> {
    match text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text)) {
        Err(_) => Some("is not a number"),
        Ok(amount) if amount.is_sign_negative() && !amount.is_zero() => Some("must not be negative"),
        Ok(amount) if amount.normalize().scale() > 4 => Some("has more than four digits after the point"),
        Ok(_) => None,
    }
}

/// What keeps a text from being the pattern of a mapping rule: what gateways say of it.
pub(super) fn pattern(text: &str) -> Vec<String> {
    if text.len() > NAME_LEN_MAX {
        return vec![format!("is too long: at most {NAME_LEN_MAX} bytes")];
    }
    let errors = Pattern::parse(text).err().unwrap_or_default();
    errors.into_iter().map(|error| format!("'{text}' is no pattern: {error}")).collect()
}
