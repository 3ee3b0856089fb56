//! How a request was answered.

use std::fmt;

/// The status of an answer. Numbers that this version does not know are kept, and are taken for the general one of
/// their [class](Status::class).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(
    /// Its number.
    pub u16,
);

/// What kind of status it is: its number's high byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Done. A denial is done, too.
    Done,
    /// The client's program is wrong.
    Program,
    /// The request is refused, and nothing was counted.
    Refused,
    /// Access.
    Access,
    /// The node cannot just now.
    Node,
    /// A class that this version does not know.
    Unknown,
}

macro_rules! statuses {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)+) => {
        impl Status {
            $($(#[doc = $doc])+ pub const $name: Status = Status($number);)+

            /// All statuses that have a name.
            pub const ALL: &'static [Status] = &[$(Status::$name),+];

            /// Its name in the specification, if it has one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Status::$name => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// Done. **A denial is OK**: the answer says yes or no.
    OK = 0x0000;
    /// Done, before: the request was a repetition. Reserved.
    DUPLICATE = 0x0001;
    /// HELLO: prove who you are.
    CHALLENGE = 0x0002;
    /// A body that is not what its operation prescribes.
    MALFORMED = 0x0101;
    /// The node does not know the operation.
    UNKNOWN_OPERATION = 0x0102;
    /// The answer would not fit a frame, or a BATCH has too many items.
    TOO_LARGE = 0x0103;
    /// A flag, field, feature or version that the node does not have.
    NOT_SUPPORTED = 0x0104;
    /// Before WELCOME, or not in a BATCH, or GOAWAY from a client.
    OUT_OF_PLACE = 0x0105;
    /// The handle has ended: bind again.
    STALE_HANDLE = 0x0201;
    /// The connection is for all services, and the request names none.
    SERVICE_ID_MISSING = 0x0202;
    /// No such service, or not for this connection.
    SERVICE_ID_INVALID = 0x0203;
    /// Both an application id and a user key, where only one may be.
    AUTHENTICATION_ERROR = 0x0204;
    /// The user key is missing or unknown.
    USER_KEY_INVALID = 0x0205;
    /// The application id is missing or unknown.
    APPLICATION_NOT_FOUND = 0x0206;
    /// The service has no such metric.
    METRIC_INVALID = 0x0207;
    /// A set in a RESERVE.
    USAGE_VALUE_INVALID = 0x0208;
    /// A timestamp more than 24 hours ago.
    TIMESTAMP_TOO_OLD = 0x0209;
    /// A timestamp more than an hour ahead.
    TIMESTAMP_TOO_NEW = 0x020A;
    /// A text that is not UTF-8.
    NOT_VALID_DATA = 0x020B;
    /// The reservation was committed or cancelled before, or never was.
    RESERVATION_UNKNOWN = 0x020C;
    /// 64 reservations of the application are open.
    TOO_MANY_RESERVATIONS = 0x020D;
    /// A time to live that is not between 1 second and 1 hour.
    TTL_INVALID = 0x020E;
    /// An item of a BATCH with ALL: another item stood in the way.
    NOT_DONE = 0x020F;
    /// The id or number was used for another request.
    IDEMPOTENCY_CONFLICT = 0x0210;
    /// The producer's number is below what the node remembers: whether it was counted cannot be known.
    SEQUENCE_TOO_OLD = 0x0211;
    /// The proof was wrong.
    PROOF_INVALID = 0x0301;
    /// This way of proving who one is is not open here.
    METHOD_NOT_ALLOWED = 0x0302;
    /// Too many wrong proofs from this address.
    WAIT = 0x0303;
    /// The tenant is suspended.
    TENANT_SUSPENDED = 0x0304;
    /// Beyond the window, or the node has no room; nothing was counted.
    OVERLOADED = 0x0401;
    /// The node is about to stop; nothing was counted.
    DRAINING = 0x0402;
    /// The disk takes no writes; nothing was counted.
    STORAGE_UNAVAILABLE = 0x0403;
    /// More usage dated ahead waits than the node keeps; nothing was counted.
    TOO_MUCH_FUTURE_USAGE = 0x0404;
    /// A fault of the node; whether it was counted is not known.
    INTERNAL = 0x0405;
    /// **Counted**, but not on disk yet: sending it again counts it again, unless it carries an id.
    NOT_DURABLE = 0x0406;
    /// The node remembers as many ids, or producers, as it may; nothing was counted.
    IDEMPOTENCY_FULL = 0x0407;
}

impl Status {
    /// What kind it is.
    #[must_use]
    pub fn class(self) -> Class {
        match self.0 >> 8 {
            0 => Class::Done,
            1 => Class::Program,
            2 => Class::Refused,
            3 => Class::Access,
            4 => Class::Node,
            _ => Class::Unknown,
        }
    }

    /// Whether the answer has the body of its operation, and not that of a refusal.
    #[must_use]
    pub fn is_done(self) -> bool {
        self.class() == Class::Done
    }

    /// Whether the same request may be sent again, because nothing was counted and the node may be able later.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        matches!(self, Status::OVERLOADED | Status::DRAINING | Status::STORAGE_UNAVAILABLE)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status {:#06x}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
