//! Answers of the internal API, and why a call may do nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use serde_json::{Value, json};

use super::json::{JSON_BYTES_MAX, JsonError};
use crate::engine::companion::Unread;
use crate::engine::{ChangeError, Ticket};
use crate::http::Response;
use crate::http::body::BodyError;
use crate::http::form::FormError;
use crate::model::draft::CommandError;
use crate::plugin::ShelfError;
use crate::plugin::alerts::AlertsError;
use crate::plugin::follower::Behind;

/// What a call is answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: StatusCode,
    pub(super) body: Value,
    /// The answer waits until this is on disk.
    pub(super) durable: Option<Ticket>,
}

/// How a call ends.
pub(super) type Outcome = Result<Reply, Refusal>;

impl Reply {
    /// 200.
    pub(super) fn ok(body: Value) -> Reply {
        Reply { code: StatusCode::OK, body, durable: None }
    }

    /// 201.
    pub(super) fn created(body: Value) -> Reply {
        Reply { code: StatusCode::CREATED, body, durable: None }
    }

    /// What was asked to go is not there any more.
    pub(super) fn deleted() -> Reply {
        Reply::ok(json!({"status": "deleted"}))
    }
}

/// Why a call does nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Not found")]
    NoSuchRoute,
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Who asks for a service itself is told so in another shape.
    #[error("not_found")]
    NoSuchService,
    #[error("{0} exists already")]
    Exists(&'static str),
    #[error("{0} cannot be blank")]
    Blank(&'static str),
    #[error(transparent)]
    Body(#[from] JsonError),
    /// What is wrong with an application.
    #[error("{0}")]
    BadApplication(String),
    #[error("{0}")]
    Bad(String),
    /// A rule of services and provider keys, whose errors have no status.
    #[error("{0}")]
    Rule(String),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("{0}")]
    TooLarge(String),
    #[error("the body is encoded in a way other than gzip")]
    Encoding,
    #[error("the body did not arrive in time")]
    TooSlow,
    /// All bodies together have taken what there is.
    #[error("there is no room for the body now")]
    NoRoom,
    #[error("the journal cannot be written at present")]
    NotDurable,
    /// What follows from the change for a plugin cannot be seen now.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// What follows the journal has not come as far as the call.
    #[error(transparent)]
    Behind(#[from] Behind),
    #[error("the call failed inside the node")]
    Failed,
}

impl From<AlertsError> for Refusal {
    fn from(error: AlertsError) -> Self {
        match error {
            AlertsError::Behind(behind) => Refusal::Behind(behind),
            AlertsError::Shelf(error) => error.into(),
        }
    }
}

impl From<ShelfError> for Refusal {
    fn from(error: ShelfError) -> Self {
        // It names files of the node, which is nothing for the caller.
        tracing::error!(%error, "a call of the internal API failed");
        Refusal::Failed
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Command(error) => Refusal::Command(error),
            ChangeError::TooLarge { .. } => Refusal::TooLarge(error.to_string()),
            ChangeError::NotDurable(_) => Refusal::NotDurable,
            ChangeError::Unread(unread) => Refusal::Unread(unread),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Form(FormError::TooLarge) => {
                Refusal::TooLarge(format!("the body has more than {JSON_BYTES_MAX} bytes"))
            }
            BodyError::Inflates => Refusal::TooLarge(BodyError::Inflates.to_string()),
            BodyError::Form(_) | BodyError::Broken => Refusal::Bad(BodyError::Broken.to_string()),
            BodyError::Encoding => Refusal::Encoding,
            BodyError::TooSlow => Refusal::TooSlow,
            BodyError::NoRoom => Refusal::NoRoom,
        }
    }
}

impl Refusal {
    fn code(&self) -> StatusCode {
        match self {
            Refusal::NoSuchRoute | Refusal::NotFound(_) | Refusal::NoSuchService => StatusCode::NOT_FOUND,
            Refusal::Exists(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Blank(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Body(_)
            | Refusal::BadApplication(_)
            | Refusal::Bad(_)
            | Refusal::Rule(_)
            | Refusal::Command(_) => StatusCode::BAD_REQUEST,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::NoRoom | Refusal::NotDurable | Refusal::Unread(_) | Refusal::Behind(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn body(&self) -> Value {
        let error = self.to_string();
        let status = match self {
            Refusal::NoSuchService | Refusal::Rule(_) => return json!({"error": error}),
            Refusal::NoSuchRoute | Refusal::NotFound(_) => "not_found",
            Refusal::Exists(_) => "exists",
            Refusal::BadApplication(_) => "bad_request",
            _ => "error",
        };
        json!({"status": status, "error": error})
    }

    pub(super) fn response(&self) -> Response {
        let mut response = json(self.code(), &self.body());
        let headers = response.headers_mut();
        match self {
            Refusal::NoRoom | Refusal::NotDurable | Refusal::Unread(_) | Refusal::Behind(_) => {
                drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1")))
            }
            // What else of its body the client sends would be misread.
            Refusal::TooSlow => drop(headers.insert(CONNECTION, HeaderValue::from_static("close"))),
            _ => {}
        }
        response
    }
}

impl Reply {
    pub(super) fn response(&self) -> Response {
        json(self.code, &self.body)
    }
}

/// The answer to who does not say who it is, or says it wrong.
pub(super) fn unauthorized() -> Response {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Basic realm=\"internal API\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn json(code: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A time as the original shows it: `2026-11-22 13:45:30 UTC`.
pub(super) fn time_text(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_which_it_cannot_be_seen_what_follows_is_to_be_given_again() {
        let response = Refusal::from(ChangeError::from(Unread { plugin: "admin" })).response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
