//! How a request fares that was not carried out.

use std::borrow::Cow;

use crate::model::decision::Refusal;
use crate::wire::{Failure, Frame, Operation, Status, WireError};

/// When a request beyond a window or other budget may be sent again: a sync of a usual disk later.
const BUSY_RETRY_MS: u32 = 20;
/// When one may that needs a disk which takes no writes.
const STORAGE_RETRY_MS: u32 = 1_000;
/// When more usage may be dated ahead, or more ids be remembered: minutes, not seconds, make room.
const WAITING_RETRY_MS: u32 = 60_000;

/// Why a request was not carried out. Nothing was counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) status: Status,
    message: Cow<'static, str>,
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Refused { status: error.status(), message: error.to_string().into() }
    }
}

impl From<Refusal<'_>> for Refused {
    fn from(refusal: Refusal<'_>) -> Self {
        Refused { status: status_of(&refusal), message: refusal.to_string().into() }
    }
}

impl Refused {
    pub(super) const SERVICE_MISSING: Refused =
        Refused::new(Status::SERVICE_ID_MISSING, "this connection is for all services: name one");
    pub(super) const SERVICE_INVALID: Refused =
        Refused::new(Status::SERVICE_ID_INVALID, "no such service for this connection");
    pub(super) const STALE: Refused =
        Refused::new(Status::STALE_HANDLE, "the handle is not valid (any more): bind again");
    pub(super) const STORAGE: Refused =
        Refused::new(Status::STORAGE_UNAVAILABLE, "the disk takes no writes at present");
    pub(super) const TOO_LARGE: Refused = Refused::new(
        Status::TOO_LARGE,
        "the answer does not fit a frame: ask for less, or for larger frames",
    );
    pub(super) const BUSY: Refused = Refused::new(Status::OVERLOADED, "too much is unanswered already");

    pub(super) const fn new(status: Status, message: &'static str) -> Refused {
        Refused { status, message: Cow::Borrowed(message) }
    }

    fn retry_after_ms(&self) -> u32 {
        match self.status {
            Status::OVERLOADED => BUSY_RETRY_MS,
            Status::STORAGE_UNAVAILABLE => STORAGE_RETRY_MS,
            Status::TOO_MUCH_FUTURE_USAGE | Status::IDEMPOTENCY_FULL => WAITING_RETRY_MS,
            _ => 0,
        }
    }

    /// Appends the body of an item's answer.
    pub(super) fn put_item(&self, out: &mut Vec<u8>) {
        Failure::put(out, self.retry_after_ms(), None);
    }

    /// Appends the answer to a frame.
    pub(super) fn put_frame(&self, out: &mut Vec<u8>, to: Operation, id: u64) {
        put_failure(out, to, id, self.status, self.retry_after_ms(), &self.message);
    }
}

fn status_of(refusal: &Refusal<'_>) -> Status {
    match refusal {
        Refusal::ServiceIdMissing => Status::SERVICE_ID_MISSING,
        Refusal::ServiceIdInvalid { .. } | Refusal::ServiceGone { .. } => Status::SERVICE_ID_INVALID,
        Refusal::AppIdAndUserKey => Status::AUTHENTICATION_ERROR,
        Refusal::UserKeyInvalid { .. } => Status::USER_KEY_INVALID,
        Refusal::ApplicationNotFound { .. } => Status::APPLICATION_NOT_FOUND,
        Refusal::MetricInvalid { .. } | Refusal::SlotInvalid { .. } => Status::METRIC_INVALID,
        Refusal::UsageValueInvalid { .. } => Status::USAGE_VALUE_INVALID,
        Refusal::TenantSuspended => Status::TENANT_SUSPENDED,
        Refusal::TimestampTooOld => Status::TIMESTAMP_TOO_OLD,
        Refusal::TimestampTooNew => Status::TIMESTAMP_TOO_NEW,
        Refusal::NotValidData => Status::NOT_VALID_DATA,
        Refusal::TooMuchFutureUsage => Status::TOO_MUCH_FUTURE_USAGE,
        Refusal::StorageUnavailable => Status::STORAGE_UNAVAILABLE,
        Refusal::StaleHandle => Status::STALE_HANDLE,
        Refusal::ReservationUnknown => Status::RESERVATION_UNKNOWN,
        Refusal::TooManyReservations => Status::TOO_MANY_RESERVATIONS,
        Refusal::ReservationTtlInvalid => Status::TTL_INVALID,
        Refusal::ReservationSets | Refusal::ReservationTooWide => Status::USAGE_VALUE_INVALID,
        Refusal::IdempotencyConflict { .. } => Status::IDEMPOTENCY_CONFLICT,
        Refusal::IdempotencyFull | Refusal::ProducersFull => Status::IDEMPOTENCY_FULL,
        Refusal::SequenceTooOld { .. } => Status::SEQUENCE_TOO_OLD,
        // What only HTTP's way of saying who asks can lead to.
        _ => Status::INTERNAL,
    }
}

/// Appends an answer that is a failure.
pub(super) fn put_failure(
    out: &mut Vec<u8>,
    to: Operation,
    id: u64,
    status: Status,
    retry_after_ms: u32,
    message: &str,
) {
    let mut frame = Frame::answer(out, to, status, id);
    Failure::put(frame.body(), retry_after_ms, Some(message));
    frame.end();
}
