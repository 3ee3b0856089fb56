//! The numbers of the protocol. None is ever given to something else.

/// What a frame asks for. A number, not an enum: what is not known is answered, not refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operation(pub u8);

#[allow(missing_docs)]
impl Operation {
    pub const HELLO: Operation = Operation(0x01);
    pub const PROOF: Operation = Operation(0x02);
    pub const PING: Operation = Operation(0x05);
    pub const STATS: Operation = Operation(0x06);
    pub const GOAWAY: Operation = Operation(0x07);
    pub const AUTHORIZE: Operation = Operation(0x10);
    pub const AUTHREP: Operation = Operation(0x11);
    pub const REPORT: Operation = Operation(0x12);
    pub const CHECK: Operation = Operation(0x13);
    pub const BIND: Operation = Operation(0x14);
    pub const BATCH: Operation = Operation(0x16);
    pub const RESERVE: Operation = Operation(0x17);
    pub const COMMIT: Operation = Operation(0x18);
    pub const CANCEL: Operation = Operation(0x19);
    pub const QUERY: Operation = Operation(0x1A);

    /// The bit that tells an answer from a request.
    pub const ANSWER: u8 = 0x80;

    /// The operation of this one's answer.
    #[must_use]
    pub fn answer(self) -> Operation {
        Operation(self.0 | Operation::ANSWER)
    }

    /// The flags that a request of this operation may have.
    #[must_use]
    pub fn flags(self) -> Flags {
        const WHEN: u8 = Flags::DURABLE.0 | Flags::INTERVAL.0;
        Flags(match self {
            Operation::AUTHORIZE => Flags::FLAT.0 | Flags::LIMITS.0 | Flags::OAUTH.0,
            Operation::AUTHREP => Flags::FLAT.0 | Flags::LIMITS.0 | Flags::OAUTH.0 | WHEN,
            Operation::CHECK => Flags::FLAT.0 | Flags::LIMITS.0,
            Operation::RESERVE => Flags::FLAT.0 | Flags::LIMITS.0 | WHEN,
            Operation::REPORT | Operation::COMMIT => Flags::FLAT.0 | WHEN,
            Operation::CANCEL => WHEN,
            Operation::BATCH => Flags::ALL.0 | WHEN,
            _ => 0,
        })
    }

    /// Whether items of a batch may have this operation.
    #[must_use]
    pub fn fits_batch(self) -> bool {
        const FIT: [Operation; 7] = [
            Operation::AUTHORIZE,
            Operation::AUTHREP,
            Operation::CHECK,
            Operation::REPORT,
            Operation::RESERVE,
            Operation::COMMIT,
            Operation::CANCEL,
        ];
        FIT.contains(&self)
    }
}

/// How a request is meant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u8);

#[allow(missing_docs)]
impl Flags {
    pub const FLAT: Flags = Flags(0x01);
    pub const LIMITS: Flags = Flags(0x02);
    pub const DURABLE: Flags = Flags(0x04);
    pub const INTERVAL: Flags = Flags(0x08);
    pub const OAUTH: Flags = Flags(0x10);
    pub const ALL: Flags = Flags(0x20);

    /// Whether all of `other` are set.
    #[must_use]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Checks that `operation` has these flags and that they do not contradict each other.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(self, operation: Operation) -> Result<(), super::WireError> {
        let unknown = self.0 & !operation.flags().0;
        if unknown != 0 {
            return Err(super::WireError::Flags { flags: unknown });
        }
        if self.has(Flags(Flags::DURABLE.0 | Flags::INTERVAL.0)) {
            return Err(super::WireError::FlagsContradict);
        }
        Ok(())
    }
}

/// How a request fared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Status(pub u16);

#[allow(missing_docs)]
impl Status {
    pub const OK: Status = Status(0x0000);
    pub const DUPLICATE: Status = Status(0x0001);
    pub const CHALLENGE: Status = Status(0x0002);
    pub const MALFORMED: Status = Status(0x0101);
    pub const UNKNOWN_OPERATION: Status = Status(0x0102);
    pub const TOO_LARGE: Status = Status(0x0103);
    pub const NOT_SUPPORTED: Status = Status(0x0104);
    pub const OUT_OF_PLACE: Status = Status(0x0105);
    pub const STALE_HANDLE: Status = Status(0x0201);
    pub const SERVICE_ID_MISSING: Status = Status(0x0202);
    pub const SERVICE_ID_INVALID: Status = Status(0x0203);
    pub const AUTHENTICATION_ERROR: Status = Status(0x0204);
    pub const USER_KEY_INVALID: Status = Status(0x0205);
    pub const APPLICATION_NOT_FOUND: Status = Status(0x0206);
    pub const METRIC_INVALID: Status = Status(0x0207);
    pub const USAGE_VALUE_INVALID: Status = Status(0x0208);
    pub const TIMESTAMP_TOO_OLD: Status = Status(0x0209);
    pub const TIMESTAMP_TOO_NEW: Status = Status(0x020A);
    pub const NOT_VALID_DATA: Status = Status(0x020B);
    pub const RESERVATION_UNKNOWN: Status = Status(0x020C);
    pub const TOO_MANY_RESERVATIONS: Status = Status(0x020D);
    pub const TTL_INVALID: Status = Status(0x020E);
    pub const NOT_DONE: Status = Status(0x020F);
    pub const IDEMPOTENCY_CONFLICT: Status = Status(0x0210);
    pub const SEQUENCE_TOO_OLD: Status = Status(0x0211);
    pub const PROOF_INVALID: Status = Status(0x0301);
    pub const METHOD_NOT_ALLOWED: Status = Status(0x0302);
    pub const WAIT: Status = Status(0x0303);
    pub const TENANT_SUSPENDED: Status = Status(0x0304);
    pub const OVERLOADED: Status = Status(0x0401);
    pub const DRAINING: Status = Status(0x0402);
    pub const STORAGE_UNAVAILABLE: Status = Status(0x0403);
    pub const TOO_MUCH_FUTURE_USAGE: Status = Status(0x0404);
    pub const INTERNAL: Status = Status(0x0405);
    pub const NOT_DURABLE: Status = Status(0x0406);
    pub const IDEMPOTENCY_FULL: Status = Status(0x0407);

    /// Whether the answer's body is that of a request that was carried out, and not of a failure.
    #[must_use]
    pub fn is_done(self) -> bool {
        self.0 < 0x0100
    }
}

/// Why a call is denied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reason(pub u16);

#[allow(missing_docs)]
impl Reason {
    pub const NONE: Reason = Reason(0);
    pub const LIMITS_EXCEEDED: Reason = Reason(1);
    pub const APPLICATION_KEY_INVALID: Reason = Reason(2);
    pub const REFERRER_NOT_ALLOWED: Reason = Reason(3);
    pub const APPLICATION_NOT_ACTIVE: Reason = Reason(4);
    pub const SERVICE_NOT_ACTIVE: Reason = Reason(5);
    pub const OAUTH_NOT_ENABLED: Reason = Reason(6);
    pub const REDIRECT_URI_INVALID: Reason = Reason(7);
    pub const REDIRECT_URL_INVALID: Reason = Reason(8);
}

impl From<crate::model::decision::Denial<'_>> for Reason {
    fn from(denial: crate::model::decision::Denial<'_>) -> Reason {
        use crate::model::decision::Denial;
        match denial {
            Denial::LimitsExceeded => Reason::LIMITS_EXCEEDED,
            Denial::ApplicationKeyInvalid(_) => Reason::APPLICATION_KEY_INVALID,
            Denial::ReferrerNotAllowed(_) => Reason::REFERRER_NOT_ALLOWED,
            Denial::ApplicationNotActive => Reason::APPLICATION_NOT_ACTIVE,
            Denial::ServiceNotActive => Reason::SERVICE_NOT_ACTIVE,
            Denial::OauthNotEnabled => Reason::OAUTH_NOT_ENABLED,
            Denial::RedirectUriInvalid(_) => Reason::REDIRECT_URI_INVALID,
            Denial::RedirectUrlInvalid(_) => Reason::REDIRECT_URL_INVALID,
        }
    }
}

/// What a field is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag(pub u16);

#[allow(missing_docs)]
impl Tag {
    pub const SERVICE: Tag = Tag(1);
    pub const USER_KEY: Tag = Tag(2);
    pub const APP_ID: Tag = Tag(3);
    pub const APP_KEY: Tag = Tag(4);
    pub const REFERRER: Tag = Tag(5);
    pub const USAGE: Tag = Tag(6);
    pub const TIMESTAMP: Tag = Tag(7);
    pub const LOG_CODE: Tag = Tag(8);
    pub const IDEMPOTENCY: Tag = Tag(0x8009);
    pub const REDIRECT_URI: Tag = Tag(10);
    pub const REDIRECT_URL: Tag = Tag(11);
    pub const METRIC: Tag = Tag(12);
    pub const CLIENT: Tag = Tag(13);
    pub const PRODUCER: Tag = Tag(0x800E);
    pub const MESSAGE: Tag = Tag(64);
    pub const LIMIT: Tag = Tag(65);
    pub const NODE: Tag = Tag(66);

    /// The bit of a tag that must be understood.
    pub const CRITICAL: u16 = 0x8000;
}

/// How a client proves who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Method(pub u8);

#[allow(missing_docs)]
impl Method {
    pub const NONE: Method = Method(0);
    pub const NODE_SECRET: Method = Method(1);
    pub const SERVICE_TOKEN: Method = Method(2);
}

/// What a node can do beyond the least.
pub struct Feature;

#[allow(missing_docs)]
impl Feature {
    pub const DURABLE: u64 = 1;
    pub const IDEMPOTENCY: u64 = 1 << 1;
    pub const RESERVATIONS: u64 = 1 << 2;
    pub const BATCH_ALL: u64 = 1 << 3;
    pub const PRODUCERS: u64 = 1 << 4;
}
