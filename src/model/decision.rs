//! What a request is answered: authorized, denied (a value, with a reason) or refused (an error of the request).
//!
//! Codes and texts are those of 3scale's Service Management API, to the byte.

use std::fmt;

use super::id::{MetricSlot, ServiceId};
use super::idempotency::{RequestId, WINDOW};
use super::reservation::{AMOUNTS_MAX, HOLDS_MAX, TTL_MAX_S, TTL_MIN_S};

/// Why a well-formed request of a known application may not go ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial<'a> {
    /// The application key is missing (`None`) or not one of the application's.
    ApplicationKeyInvalid(Option<&'a str>),
    /// The referrer is missing (`None`) or matches no filter.
    ReferrerNotAllowed(Option<&'a str>),
    /// The application's state is not active.
    ApplicationNotActive,
    /// The service is suspended.
    ServiceNotActive,
    /// A limit would be exceeded.
    LimitsExceeded,
    /// An OAuth call for a service that does not use OAuth.
    OauthNotEnabled,
    /// `redirect_uri` is not the application's.
    RedirectUriInvalid(&'a str),
    /// `redirect_url` is not the application's.
    RedirectUrlInvalid(&'a str),
}

impl Denial<'_> {
    /// The code of the `3scale-rejection-reason` header.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Denial::ApplicationKeyInvalid(_) => "application_key_invalid",
            Denial::ReferrerNotAllowed(_) => "referrer_not_allowed",
            Denial::ApplicationNotActive => "application_not_active",
            Denial::ServiceNotActive => "service_not_active",
            Denial::LimitsExceeded => "limits_exceeded",
            Denial::OauthNotEnabled => "oauth_not_enabled",
            Denial::RedirectUriInvalid(_) => "redirect_uri_invalid",
            Denial::RedirectUrlInvalid(_) => "redirect_url_invalid",
        }
    }
}

/// The text of `<reason>`, not yet escaped.
impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::ApplicationKeyInvalid(Some(key)) => write!(f, "application key \"{key}\" is invalid"),
            Denial::ApplicationKeyInvalid(None) => f.write_str("application key is missing"),
            Denial::ReferrerNotAllowed(Some(referrer)) => write!(f, "referrer \"{referrer}\" is not allowed"),
            Denial::ReferrerNotAllowed(None) => f.write_str("referrer is missing"),
            Denial::ApplicationNotActive => f.write_str("application is not active"),
            Denial::ServiceNotActive => f.write_str("service is not active"),
            Denial::LimitsExceeded => f.write_str("usage limits are exceeded"),
            Denial::OauthNotEnabled => f.write_str("oauth is not enabled"),
            Denial::RedirectUriInvalid(uri) => write!(f, "redirect_uri \"{uri}\" is invalid"),
            Denial::RedirectUrlInvalid(url) => write!(f, "redirect_url \"{url}\" is invalid"),
        }
    }
}

/// Why a request cannot be decided: something in it is missing, unknown or malformed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Refusal<'a> {
    CredentialsRequired,
    ServiceIdMissing,
    ServiceTokenInvalid {
        token: &'a str,
        service_id: &'a str,
    },
    ProviderKeyInvalid {
        key: &'a str,
    },
    ProviderKeyInvalidOrServiceMissing {
        key: &'a str,
    },
    ServiceIdInvalid {
        id: &'a str,
    },
    AppIdAndUserKey,
    UserKeyInvalid {
        key: Option<&'a str>,
    },
    ApplicationNotFound {
        id: Option<&'a str>,
    },
    MetricInvalid {
        name: &'a str,
    },
    UsageValueInvalid {
        metric: &'a str,
        value: Option<&'a str>,
    },
    TimestampTooOld,
    TimestampTooNew,
    NotValidData,
    BadRequest {
        text: &'a str,
    },
    ContentTypeInvalid {
        content_type: &'a str,
    },
    TransactionsBlank,
    TransactionsFormatInvalid,
    TransactionsHaveNil,
    EndUsersNoLongerSupported,
    /// Ours: more future-dated usage waits than the node keeps.
    TooMuchFutureUsage,
    /// Ours: the disk takes no writes, so nothing can be acknowledged as durable.
    StorageUnavailable,
    /// Ours: a reservation was committed or cancelled before, is not remembered any more, or never was.
    ReservationUnknown,
    /// Ours: the application has as many open reservations as it may have.
    TooManyReservations,
    /// Ours: a reservation is to live for less or more than it may.
    ReservationTtlInvalid,
    /// Ours: what is reserved or committed sets a value instead of adding to it.
    ReservationSets,
    /// Ours: what is reserved adds to more counters than one reservation may.
    ReservationTooWide,
    /// Ours: the handle of a bound application has died, or was never the caller's.
    StaleHandle,
    /// Ours: a slot of no metric, in a call by handle.
    SlotInvalid {
        slot: MetricSlot,
    },
    /// Ours: another request was counted under the id that this one carries.
    IdempotencyConflict {
        id: RequestId<'a>,
    },
    /// Ours: the node remembers as many ids as it may, and would have to forget one.
    IdempotencyFull,
    /// Ours: the producer has counted so much after this number that the node cannot know whether it was counted.
    SequenceTooOld {
        /// The highest that was counted.
        highest: u64,
    },
    /// Ours: the node remembers as many producers as it may.
    ProducersFull,
    /// Ours: the service that a connection was let in for is gone.
    ServiceGone {
        service: ServiceId,
    },
    /// Ours: the tenant is suspended; for whoever gives no credential with the request that could be called invalid.
    TenantSuspended,
}

/// How old a reported timestamp may be, in seconds.
pub const REPORT_AGE_MAX_S: u64 = 86_400;

/// How far in the future a reported timestamp may lie, in seconds.
pub const REPORT_AHEAD_MAX_S: u64 = 3_600;

impl Refusal<'_> {
    /// The `code` attribute of the error answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::CredentialsRequired => "provider_key_or_service_token_required",
            Refusal::ServiceIdMissing => "service_id_missing",
            Refusal::ServiceTokenInvalid { .. } => "service_token_invalid",
            Refusal::ProviderKeyInvalid { .. } => "provider_key_invalid",
            Refusal::ProviderKeyInvalidOrServiceMissing { .. } => "provider_key_invalid_or_service_missing",
            Refusal::ServiceIdInvalid { .. } => "service_id_invalid",
            Refusal::AppIdAndUserKey => "authentication_error",
            Refusal::UserKeyInvalid { .. } => "user_key_invalid",
            Refusal::ApplicationNotFound { .. } => "application_not_found",
            Refusal::MetricInvalid { .. } => "metric_invalid",
            Refusal::UsageValueInvalid { .. } => "usage_value_invalid",
            Refusal::TimestampTooOld => "transaction_timestamp_too_old",
            Refusal::TimestampTooNew => "transaction_timestamp_too_new",
            Refusal::NotValidData => "not_valid_data",
            Refusal::BadRequest { .. } => "bad_request",
            Refusal::ContentTypeInvalid { .. } => "content_type_invalid",
            Refusal::TransactionsBlank => "transactions_is_blank",
            Refusal::TransactionsFormatInvalid => "transactions_format_invalid",
            Refusal::TransactionsHaveNil => "transactions_has_nil_transaction",
            Refusal::EndUsersNoLongerSupported => "end_users_no_longer_supported",
            Refusal::TooMuchFutureUsage => "too_much_future_usage",
            Refusal::StorageUnavailable => "storage_unavailable",
            Refusal::ReservationUnknown => "reservation_unknown",
            Refusal::TooManyReservations => "too_many_reservations",
            Refusal::ReservationTtlInvalid => "reservation_ttl_invalid",
            Refusal::ReservationSets | Refusal::ReservationTooWide => "reservation_usage_invalid",
            Refusal::StaleHandle => "stale_handle",
            Refusal::SlotInvalid { .. } => "metric_invalid",
            Refusal::ServiceGone { .. } => "service_id_invalid",
            Refusal::TenantSuspended => "tenant_suspended",
            Refusal::IdempotencyConflict { .. } => "idempotency_conflict",
            Refusal::IdempotencyFull | Refusal::ProducersFull => "idempotency_full",
            Refusal::SequenceTooOld { .. } => "sequence_too_old",
        }
    }
}

/// The text of the error answer, not yet escaped.
impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::CredentialsRequired => f.write_str("Provider key or service token are required"),
            Refusal::ServiceIdMissing => f.write_str("Service ID is missing"),
            Refusal::ServiceTokenInvalid { token, service_id } => {
                write!(f, "service token \"{token}\" or service id \"{service_id}\" is invalid")
            }
            Refusal::ProviderKeyInvalid { key } => write!(f, "provider key \"{key}\" is invalid"),
            Refusal::ProviderKeyInvalidOrServiceMissing { key } => {
                write!(f, "provider key \"{key}\" invalid and/or service ID missing")
            }
            Refusal::ServiceIdInvalid { id } => write!(f, "service id \"{id}\" is invalid"),
            Refusal::AppIdAndUserKey => f.write_str("either app_id or user_key is allowed, not both"),
            Refusal::UserKeyInvalid { key: Some(key) } => write!(f, "user key \"{key}\" is invalid"),
            Refusal::UserKeyInvalid { key: None } => f.write_str("user key is missing"),
            Refusal::ApplicationNotFound { id: Some(id) } => {
                write!(f, "application with id=\"{id}\" was not found")
            }
            Refusal::ApplicationNotFound { id: None } => f.write_str("application id is missing"),
            Refusal::MetricInvalid { name } => write!(f, "metric \"{name}\" is invalid"),
            Refusal::UsageValueInvalid { metric, value: Some(value) } => {
                write!(f, "usage value \"{value}\" for metric \"{metric}\" is invalid")
            }
            Refusal::UsageValueInvalid { metric, value: None } => {
                write!(f, "usage value for metric \"{metric}\" can not be empty")
            }
            Refusal::TimestampTooOld => {
                write!(f, "reporting transactions older than {REPORT_AGE_MAX_S} seconds is not allowed")
            }
            Refusal::TimestampTooNew => write!(
                f,
                "reporting transactions more than {REPORT_AHEAD_MAX_S} seconds in the future is not allowed"
            ),
            Refusal::NotValidData => f.write_str("all data must be valid UTF8"),
            Refusal::BadRequest { text } => f.write_str(text),
            Refusal::ContentTypeInvalid { content_type } => write!(f, "invalid Content-Type: {content_type}"),
            Refusal::TransactionsBlank => f.write_str("transactions parameter is blank"),
            Refusal::TransactionsFormatInvalid => f.write_str("transactions format is invalid"),
            Refusal::TransactionsHaveNil => f.write_str("transactions has a nil transaction"),
            Refusal::EndUsersNoLongerSupported => {
                f.write_str("End-users are no longer supported, do not specify the user_id parameter")
            }
            Refusal::TooMuchFutureUsage => {
                f.write_str("too much future-dated usage is waiting, report it when its time has come")
            }
            Refusal::StorageUnavailable => {
                f.write_str("the node's disk takes no writes at present, nothing was counted")
            }
            Refusal::ReservationUnknown => f.write_str(
                "the reservation was committed or cancelled before, is too long over, or never was",
            ),
            Refusal::TooManyReservations => {
                write!(
                    f,
                    "{HOLDS_MAX} reservations of the application are open, which is the most there can be"
                )
            }
            Refusal::ReservationTtlInvalid => {
                write!(f, "a reservation lives for {TTL_MIN_S} to {TTL_MAX_S} seconds")
            }
            Refusal::ReservationSets => f.write_str("reservations can add to usage, not set it"),
            Refusal::ReservationTooWide => {
                write!(
                    f,
                    "a reservation is of at most {AMOUNTS_MAX} metrics, with those above the named ones"
                )
            }
            Refusal::IdempotencyConflict { id } => {
                write!(f, "the {id} was used for another request")
            }
            Refusal::IdempotencyFull => f.write_str(
                "the node remembers as many ids as it may, nothing was counted: send it later, or without an id",
            ),
            Refusal::SequenceTooOld { highest } => write!(
                f,
                "the producer's number {highest} was counted, and numbers {WINDOW} and more below that are not remembered: \
                 nothing was counted"
            ),
            Refusal::ProducersFull => f.write_str(
                "the node remembers as many producers as it may, nothing was counted: send it later, or without a number",
            ),
            Refusal::StaleHandle => f.write_str("the handle is not valid any more, bind again"),
            Refusal::SlotInvalid { slot } => write!(f, "metric number {} is invalid", slot.0),
            Refusal::ServiceGone { service } => write!(f, "service id \"{service}\" is invalid"),
            Refusal::TenantSuspended => f.write_str("the tenant is suspended"),
        }
    }
}
