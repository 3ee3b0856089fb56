//! The rules a catalog keeps: how long texts are, how many of a thing there may be, and what is said otherwise.

use crate::model::catalog::Key;
use crate::model::metric::TreeError;
use crate::model::record::Secret;

/// Why a command changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The record that the command names does not exist.
    #[error("{what} {id} does not exist")]
    Unknown {
        /// Kind of record.
        what: &'static str,
        /// The id given.
        id: u64,
    },
    /// Another record has the key already.
    #[error("{what} is taken by {by}")]
    Taken {
        /// Kind of key; never the key itself, which may be a secret.
        what: &'static str,
        /// The id of the record that has it.
        by: u64,
    },
    /// Applications depend on the record that would be deleted.
    #[error("{what} {id} is in use: {by} applications are on it")]
    InUse {
        /// Kind of record.
        what: &'static str,
        /// The record.
        id: u64,
        /// How many applications.
        by: usize,
    },
    /// A tenant that owns services or accounts cannot go.
    #[error("tenant {0} has services or accounts")]
    TenantInUse(u64),
    /// The metric does not fit the tree.
    #[error("metric: {0}")]
    Metric(#[from] TreeError),
    /// A list is longer than this node allows.
    #[error("too many {what}: at most {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// Not a percentage that alerts know.
    #[error("an alert limit is one of 0, 50, 80, 90, 100, 120, 150, 200 and 300 (percent), not {0}")]
    AlertLevel(u64),
    /// A text is blank, longer than this node allows, or cannot be shown in a line.
    #[error("{what} must have 1 to {max} bytes, no control characters and no blanks around")]
    BadText {
        /// Which text.
        what: &'static str,
        /// The bound, in bytes.
        max: usize,
    },
}

/// The longest name, id or key, in bytes: bounds records, answers and index entries.
pub const TEXT_LEN_MAX: usize = 255;
/// The longest redirect URL, in bytes: what OAuth servers commonly take, though it is stored and shown, not followed.
pub const REDIRECT_URL_LEN_MAX: usize = 1024;
/// The most keys, tokens or filters one record holds: answers list no more (3scale's bound for app keys).
pub const KEYS_MAX: usize = 256;
/// The most limits one plan holds: bounds what a single decision reads.
pub const LIMITS_MAX: usize = 4096;

pub(super) fn kind_of(key: Key<'_>) -> &'static str {
    match key {
        Key::ProviderKey(_) => "the provider key",
        Key::Service { .. } | Key::ExternalService(_) => "the service id",
        Key::ServiceToken { .. } => "the service token",
        Key::Plan { .. } => "the plan id",
        Key::AppId { .. } => "the application id",
        Key::UserKey { .. } => "the user key",
    }
}

pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), CommandError> {
    check_text_of(what, text, TEXT_LEN_MAX)
}

/// Texts go into lines of logs, answers and headers, where a control character would begin another line; and blanks
/// around make two texts look like one, whichever of Unicode's they are.
pub(super) fn check_text_of(what: &'static str, text: &str, max: usize) -> Result<(), CommandError> {
    let is_clean = text.trim() == text && !text.contains(char::is_control);
    let good = !text.is_empty() && text.len() <= max && is_clean;
    good.then_some(()).ok_or(CommandError::BadText { what, max })
}

pub(super) fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), CommandError> {
    (count <= max).then_some(()).ok_or(CommandError::TooMany { what, max })
}

pub(super) fn check_secrets(what: &'static str, secrets: &[Secret]) -> Result<(), CommandError> {
    check_count(what, secrets.len(), KEYS_MAX)?;
    secrets.iter().try_for_each(|secret| check_text(what, secret.expose()))
}
