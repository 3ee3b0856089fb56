//! Decisions and receipts: what calls are answered with.

use std::fmt;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::NEVER;
use super::fields::{Direction, Fields};
use super::query::LimitRow;
use super::reader::{DecodeError, EncodeError, Reader};

/// Why the answer is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A limit is spent.
    LimitsExceeded,
    /// The application has keys, and none of them was given.
    ApplicationKeyInvalid,
    /// The application has referrer filters, and none lets this referrer pass.
    ReferrerNotAllowed,
    /// The application is suspended.
    ApplicationNotActive,
    /// The service is suspended.
    ServiceNotActive,
    /// The service does not do OAuth.
    OauthNotEnabled,
    /// OAuth: not the application's redirect URI.
    RedirectUriInvalid,
    /// OAuth: not the application's redirect URL.
    RedirectUrlInvalid,
    /// One that this version does not know, by its number.
    Other(u16),
}

impl Reason {
    const KNOWN: [Reason; 8] = [
        Reason::LimitsExceeded,
        Reason::ApplicationKeyInvalid,
        Reason::ReferrerNotAllowed,
        Reason::ApplicationNotActive,
        Reason::ServiceNotActive,
        Reason::OauthNotEnabled,
        Reason::RedirectUriInvalid,
        Reason::RedirectUrlInvalid,
    ];

    /// The reason of a number; none for 0.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Reason> {
        let at = number.checked_sub(1)?;
        Some(Reason::KNOWN.get(usize::from(at)).copied().unwrap_or(Reason::Other(number)))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Reason::Other(number) => number,
            Reason::LimitsExceeded => 1,
            Reason::ApplicationKeyInvalid => 2,
            Reason::ReferrerNotAllowed => 3,
            Reason::ApplicationNotActive => 4,
            Reason::ServiceNotActive => 5,
            Reason::OauthNotEnabled => 6,
            Reason::RedirectUriInvalid => 7,
            Reason::RedirectUrlInvalid => 8,
        }
    }

    /// 3scale's code for it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Reason::LimitsExceeded => "limits_exceeded",
            Reason::ApplicationKeyInvalid => "application_key_invalid",
            Reason::ReferrerNotAllowed => "referrer_not_allowed",
            Reason::ApplicationNotActive => "application_not_active",
            Reason::ServiceNotActive => "service_not_active",
            Reason::OauthNotEnabled => "oauth_not_enabled",
            Reason::RedirectUriInvalid => "redirect_uri_invalid",
            Reason::RedirectUrlInvalid => "redirect_url_invalid",
            Reason::Other(_) => "other",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Other(number) => write!(f, "reason {number}"),
            known => f.write_str(known.code()),
        }
    }
}

fn number_of(reason: Option<Reason>) -> u16 {
    reason.map_or(0, Reason::number)
}

/// The limit that decided, or would be the first to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingLimit {
    /// Its id.
    pub id: u64,
    /// The most that may be counted in its window. 0: the metric is disabled.
    pub maximum: u64,
    /// What is counted in its window, this call included if it was counted.
    pub count: u64,
    /// Milliseconds until its window ends; [`NEVER`] for eternity.
    pub window_ends_ms: u64,
}

/// The answer to AUTHORIZE, AUTHREP, CHECK and RESERVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub allowed: bool,
    /// Whether it was counted, or held.
    pub counted: bool,
    /// Whether something that is in shadow would have said no.
    pub shadowed: bool,
    /// Whether the node is behind in writing to disk.
    pub behind: bool,
    /// Why not. None for a yes.
    pub reason: Option<Reason>,
    /// Why what is in shadow would have said no.
    pub shadow_reason: Option<Reason>,
    /// Of a yes the limit by which the fewest such calls are left; of a no the one that denies it until last. None if
    /// no limit concerns the call.
    pub limit: Option<BindingLimit>,
    /// How often the same call could still be made; [`NEVER`] if without bound.
    pub remaining: u64,
    /// After a no because of limits: milliseconds until the same call may be made, [`NEVER`] if waiting does not help.
    /// Otherwise 0.
    pub retry_after_ms: u64,
    /// The catalog's version under which it was decided.
    pub catalog_version: u64,
    /// RESERVE that said yes: the reservation. Otherwise 0.
    pub reservation: u64,
    /// All limits of the plan, if they were asked for, with counts as they are after the call.
    pub limits: Vec<LimitRow>,
}

const COUNTED: u8 = 0x01;
const SHADOWED: u8 = 0x02;
const HAS_LIMIT: u8 = 0x04;
const BEHIND: u8 = 0x08;
const ON_DISK: u8 = 0x01;

impl Decision {
    const LEN: u16 = 72;

    /// After a no because of limits: how long to wait before the same call may be made. None if it was no such no, or
    /// if waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let waits = self.retry_after_ms != 0 && self.retry_after_ms != NEVER;
        waits.then(|| Duration::from_millis(self.retry_after_ms))
    }

    pub(super) fn decode(body: &[u8]) -> Result<Decision, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        let allowed = fixed.bool("a decision")?;
        let marks = fixed.u8()?;
        let reason = Reason::from_number(fixed.u16()?);
        let shadow_reason = Reason::from_number(fixed.u16()?);
        let (id, maximum, count) = (fixed.u64()?, fixed.u64()?, fixed.u64()?);
        let remaining = fixed.u64()?;
        let limit = BindingLimit { id, maximum, count, window_ends_ms: fixed.u64()? };
        Ok(Decision {
            allowed,
            counted: marks & COUNTED != 0,
            shadowed: marks & SHADOWED != 0,
            behind: marks & BEHIND != 0,
            reason,
            shadow_reason,
            limit: (marks & HAS_LIMIT != 0).then_some(limit),
            remaining,
            retry_after_ms: fixed.u64()?,
            catalog_version: fixed.u64()?,
            reservation: fixed.u64()?,
            limits: Fields::decode(rest, Direction::Answer)?.limits,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mark = |set: bool, bit: u8| if set { bit } else { 0 };
        let none = BindingLimit { id: 0, maximum: 0, count: 0, window_ends_ms: 0 };
        let limit = self.limit.unwrap_or(none);
        out.put_u16_le(Self::LEN);
        out.put_u8(u8::from(self.allowed));
        out.put_u8(
            mark(self.counted, COUNTED)
                | mark(self.shadowed, SHADOWED)
                | mark(self.limit.is_some(), HAS_LIMIT)
                | mark(self.behind, BEHIND),
        );
        out.put_u16_le(number_of(self.reason));
        out.put_u16_le(number_of(self.shadow_reason));
        out.put_u64_le(limit.id);
        out.put_u64_le(limit.maximum);
        out.put_u64_le(limit.count);
        out.put_u64_le(self.remaining);
        out.put_u64_le(limit.window_ends_ms);
        out.put_u64_le(self.retry_after_ms);
        out.put_u64_le(self.catalog_version);
        out.put_u64_le(self.reservation);
        Fields { limits: self.limits.clone(), ..Fields::default() }.encode(out)
    }
}

/// How REPORT, COMMIT or CANCEL went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As asked.
    Done,
    /// COMMIT: some metric got more than was held. It is counted in full.
    Overrun,
    /// COMMIT and CANCEL: it came after the time to live. A COMMIT is counted all the same.
    Expired,
}

/// The answer to REPORT, COMMIT and CANCEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// How it went.
    pub outcome: Outcome,
    /// Whether it is on disk.
    pub on_disk: bool,
    /// Whether the node is behind in writing to disk.
    pub behind: bool,
    /// The catalog's version.
    pub catalog_version: u64,
}

impl Receipt {
    const LEN: u16 = 16;

    pub(super) fn decode(body: &[u8]) -> Result<Receipt, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        Fields::decode(rest, Direction::Answer)?;
        let outcome = match fixed.u8()? {
            0 => Outcome::Done,
            1 => Outcome::Overrun,
            2 => Outcome::Expired,
            _ => return Err(DecodeError::Value("an outcome")),
        };
        let marks = fixed.u8()?;
        fixed.skip(4)?;
        let (on_disk, behind) = (marks & ON_DISK != 0, marks & BEHIND != 0);
        Ok(Receipt { outcome, on_disk, behind, catalog_version: fixed.u64()? })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u16_le(Self::LEN);
        out.put_u8(match self.outcome {
            Outcome::Done => 0,
            Outcome::Overrun => 1,
            Outcome::Expired => 2,
        });
        out.put_u8(if self.on_disk { ON_DISK } else { 0 } | if self.behind { BEHIND } else { 0 });
        out.put_u32_le(0);
        out.put_u64_le(self.catalog_version);
    }
}
