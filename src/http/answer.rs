//! Answers of the 3scale dialect: status, headers and body for each way a call can end.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};

use super::xml;
use crate::engine::request::LimitStatus;
use crate::listener::guesses::Wait;
use crate::model::decision::Refusal;
use crate::model::promise::Promise;

/// An answer; its body is complete and small.
pub type Response = hyper::Response<Full<Bytes>>;

const XML: HeaderValue = HeaderValue::from_static("application/vnd.3scale-v2.0+xml");
const REJECTION_REASON: HeaderName = HeaderName::from_static("3scale-rejection-reason");
const WOULD_DENY: HeaderName = HeaderName::from_static("3scale-would-deny");
const DURABILITY: HeaderName = HeaderName::from_static("tollgate-durability");
const LIMIT_REMAINING: HeaderName = HeaderName::from_static("3scale-limit-remaining");
const LIMIT_RESET: HeaderName = HeaderName::from_static("3scale-limit-reset");
const LIMIT_MAX_VALUE: HeaderName = HeaderName::from_static("3scale-limit-max-value");

/// An answer of the dialect. All but error answers carry a content security policy, as the original's do.
pub(super) fn dialect(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = common(status, body);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
    response
}

/// An answer of the dialect without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    dialect(status, Vec::new())
}

/// An answer of the dialect of another type than XML.
pub(super) fn typed(content_type: &'static str, body: &str) -> Response {
    let mut response = dialect(StatusCode::OK, body.as_bytes().to_vec());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer outside the dialect: plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a preflight request, for any path.
pub(super) fn preflight() -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PATCH, PUT, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Accept-Encoding, Content-Type, Cache-Control, Accept, If-Match, If-Modified-Since, \
             If-None-Match, If-Unmodified-Since, X-Requested-With, X-HTTP-Method-Override, 3scale-options",
        ),
    );
    response
}

/// The answer to a refused request. Without a body if the caller wants none, unless the request could not even
/// be read as text: then it may not be known what the caller wants.
pub(super) fn refused(refusal: &Refusal<'_>, no_body: bool) -> Response {
    let no_body = no_body && !matches!(refusal, Refusal::NotValidData);
    let body = if no_body { Vec::new() } else { xml::error(refusal) };
    let mut response = common(status_of(refusal), body);
    let retry_after = match refusal {
        // Waiting usage is counted when its time has come; minutes, not seconds, make room.
        Refusal::TooMuchFutureUsage => "60",
        // Ids are forgotten by the hour at best, and producers one by one.
        Refusal::IdempotencyFull | Refusal::ProducersFull => "60",
        Refusal::StorageUnavailable => "1",
        _ => return response,
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
    response
}

/// The answer when nothing can be acknowledged now: the disk does not take what was counted, which then stands in memory,
/// or there was no room to read what was to be counted.
pub(super) fn not_durable() -> Response {
    let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer to a peer that has sent too many wrong credentials.
pub(super) fn wait(wait: Wait) -> Response {
    let mut response = empty(StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.seconds));
    response
}

/// The answer to a client that did not finish its body in time; what else it sends would be misread.
pub(super) fn too_slow() -> Response {
    let mut response = empty(StatusCode::REQUEST_TIMEOUT);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Names the reason of a denial.
pub(super) fn add_rejection_reason(headers: &mut HeaderMap, code: &'static str) {
    headers.insert(REJECTION_REASON, HeaderValue::from_static(code));
}

/// Names the reason why an authorized call would have been denied. Ours; only where something is in shadow.
pub(super) fn add_would_deny(headers: &mut HeaderMap, code: &'static str) {
    headers.insert(WOULD_DENY, HeaderValue::from_static(code));
}

/// Says what is promised of what was counted. Ours; only where the caller named the option.
pub(super) fn add_durability(headers: &mut HeaderMap, promise: Promise) {
    headers.insert(DURABILITY, HeaderValue::from_static(promise.name()));
}

/// Tells what is left of the tightest limit; -1 is "without bound" or "never".
pub(super) fn add_limit(headers: &mut HeaderMap, limit: &LimitStatus) {
    let value = |number: Option<u64>| number.map_or(HeaderValue::from_static("-1"), HeaderValue::from);
    headers.insert(LIMIT_REMAINING, value(limit.remaining));
    headers.insert(LIMIT_RESET, value(limit.reset_s));
    if limit.max.is_some() {
        headers.insert(LIMIT_MAX_VALUE, value(limit.max));
    }
}

fn common(status: StatusCode, body: Vec<u8>) -> Response {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONTENT_TYPE, XML);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("ETag, Link, 3scale-rejection-reason"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn status_of(refusal: &Refusal<'_>) -> StatusCode {
    match refusal {
        Refusal::CredentialsRequired
        | Refusal::ServiceTokenInvalid { .. }
        | Refusal::ProviderKeyInvalid { .. }
        | Refusal::ProviderKeyInvalidOrServiceMissing { .. }
        | Refusal::ServiceIdInvalid { .. }
        | Refusal::ServiceGone { .. }
        | Refusal::TenantSuspended
        | Refusal::AppIdAndUserKey
        | Refusal::UserKeyInvalid { .. }
        | Refusal::UsageValueInvalid { .. } => StatusCode::FORBIDDEN,
        // Nothing over HTTP has a handle, a slot or a reservation.
        Refusal::ApplicationNotFound { .. }
        | Refusal::MetricInvalid { .. }
        | Refusal::ReservationUnknown
        | Refusal::StaleHandle
        | Refusal::SlotInvalid { .. } => StatusCode::NOT_FOUND,
        Refusal::ServiceIdMissing | Refusal::NotValidData | Refusal::IdempotencyConflict { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::BadRequest { .. }
        | Refusal::TooManyReservations
        | Refusal::ReservationTtlInvalid
        | Refusal::ReservationSets
        | Refusal::ReservationTooWide
        | Refusal::ContentTypeInvalid { .. }
        | Refusal::TransactionsBlank
        | Refusal::TransactionsFormatInvalid
        | Refusal::TransactionsHaveNil
        | Refusal::EndUsersNoLongerSupported
        // These two are found after a report was accepted; whoever does answer with one blames the request.
        | Refusal::TimestampTooOld
        | Refusal::TimestampTooNew => StatusCode::BAD_REQUEST,
        Refusal::SequenceTooOld { .. } => StatusCode::CONFLICT,
        Refusal::TooMuchFutureUsage
        | Refusal::StorageUnavailable
        | Refusal::IdempotencyFull
        | Refusal::ProducersFull => StatusCode::SERVICE_UNAVAILABLE,
    }
}
