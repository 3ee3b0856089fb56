//! Idempotency: what a request that carries an id is known by, so that sending it again counts nothing again.
//!
//! A client that got no answer cannot know whether its request was counted. If the request carries an id of the client's
//! choice it may be sent again: the same id with the same request is a *duplicate*, answered as success and not counted;
//! the same id with another request is a *conflict*, refused. What was denied or refused counted nothing and is not
//! remembered, so it may be tried again under its id.
//!
//! A client that sends much need not make up ids: it gives itself a name, the *producer*, and numbers its requests. Of a
//! producer the node remembers the last [`WINDOW`] numbers below the highest that it has counted: constant space, however
//! much it sends. A number below them is refused, as nobody could say whether it was counted.
//!
//! An id is remembered for [`HORIZON_MS`] of the engine's time after the request was counted. It belongs to a tenant, a
//! service and a kind: ids of others are never met.
//!
//! Ids are kept as hashes. Two of the 50 million that a node may remember share a key of 128 bits with a chance below
//! 2^-76; nobody can choose ids that do, as nobody can find collisions of SHA-256 cut to 128 bits among fewer than 2^64.

use std::fmt;

use ring::digest::{Context, SHA256};

use super::id::{ServiceId, TenantId};
use super::time::UnixMillis;

/// How long an id is remembered, in milliseconds of the engine's time.
pub const HORIZON_MS: u64 = 24 * 3600 * 1000;

/// The longest id that the binary protocol takes, in bytes: as long as any generated id, short enough for a frame.
pub const ID_BYTES_MAX: usize = 64;

/// The longest id that HTTP takes, in bytes: what other APIs allow in their `Idempotency-Key`.
pub const HTTP_ID_BYTES_MAX: usize = 255;

/// The longest name of a producer, in bytes.
pub const PRODUCER_BYTES_MAX: usize = 64;

/// How many numbers of a producer are remembered, the highest included: so many of its requests can be under way at once.
pub const WINDOW: u32 = 64;

/// What a whole request is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestId<'a> {
    /// An id of the client's choice.
    Key(&'a [u8]),
    /// The number of a request among those of a producer.
    Numbered {
        /// The producer's name: 1 to [`PRODUCER_BYTES_MAX`] bytes.
        producer: &'a [u8],
        /// The number, at least 1.
        sequence: u64,
    },
}

impl<'a> From<&'a [u8]> for RequestId<'a> {
    fn from(key: &'a [u8]) -> Self {
        RequestId::Key(key)
    }
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Key(id) => write!(f, "id \"{}\"", id.escape_ascii()),
            RequestId::Numbered { producer, sequence } => {
                write!(f, "number {sequence} of producer \"{}\"", producer.escape_ascii())
            }
        }
    }
}

/// What an id stands for. Numbers go into hashes that are on disk: never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum IdKind {
    /// A whole request: HTTP's `Idempotency-Key`, or a call of the binary protocol.
    Request = 1,
    /// One transaction of a report.
    Transaction = 2,
    /// A producer, whose requests have numbers.
    Producer = 3,
}

/// What an id is remembered by: the first half of a SHA-256 over whose it is, its kind, and the id itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IdKey(pub [u8; 16]);

impl IdKey {
    /// The key of `id`, as `tenant` uses it for `service`.
    #[must_use]
    pub fn new(tenant: TenantId, service: ServiceId, kind: IdKind, id: &[u8]) -> IdKey {
        let mut context = Context::new(&SHA256);
        // What comes before the id has a fixed length, so no two lists of parts hash the same bytes.
        context.update(b"tollgate id 1");
        context.update(&tenant.0.to_le_bytes());
        context.update(&service.0.to_le_bytes());
        context.update(&[kind as u8]);
        context.update(id);
        let digest = context.finish();
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        IdKey(key)
    }
}

/// A hash of what a request asks, however it was sent: tells a request that is sent again from another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BodyHash(pub u64);

/// Hashes a request part by part. Each part carries its length or has a fixed one, so that different requests never
/// give the same bytes.
#[derive(Clone)]
pub struct BodyHasher(Context);

impl BodyHasher {
    /// Begins a request of that sort; sorts are told apart by their numbers, which are never reused.
    #[must_use]
    pub fn new(sort: u8) -> BodyHasher {
        let mut context = Context::new(&SHA256);
        context.update(b"tollgate body 1");
        context.update(&[sort]);
        BodyHasher(context)
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Adds a text that may be absent; absent and empty are different.
    pub fn text(&mut self, text: Option<&str>) {
        self.0.update(&[u8::from(text.is_some())]);
        self.bytes(text.unwrap_or_default().as_bytes());
    }

    /// The hash of all parts.
    #[must_use]
    pub fn finish(self) -> BodyHash {
        let digest = self.0.finish();
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        BodyHash(u64::from_le_bytes(first))
    }
}

/// What is remembered of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// What was asked.
    pub body: BodyHash,
    /// What came of it: 0, or what the duplicate is answered with, such as the id of a reservation.
    pub outcome: u64,
    /// The engine's time when it was counted.
    pub at: UnixMillis,
}

impl Remembered {
    /// Whether it is too long ago by then.
    #[must_use]
    pub fn is_forgotten(&self, now: UnixMillis) -> bool {
        now.0 >= self.at.0.saturating_add(HORIZON_MS)
    }
}

/// An id and what is remembered of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Which.
    pub key: IdKey,
    /// What of it.
    pub remembered: Remembered,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_tenant_service_kind_and_id_and_stays_the_same_across_releases() {
        let key = |tenant, service, kind, id: &str| {
            IdKey::new(TenantId(tenant), ServiceId(service), kind, id.as_bytes())
        };
        let first = key(1, 2, IdKind::Request, "a");
        for other in [
            key(2, 2, IdKind::Request, "a"),
            key(1, 3, IdKind::Request, "a"),
            key(1, 2, IdKind::Transaction, "a"),
            key(1, 2, IdKind::Request, "b"),
            key(1, 2, IdKind::Request, ""),
        ] {
            assert_ne!(first, other);
        }
        // It is on disk: printf 'tollgate id 1\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1a' | sha256sum
        assert_eq!(
            first.0,
            [0x05, 0x33, 0x6d, 0x47, 0xec, 0x39, 0xa6, 0x1f, 0x06, 0x75, 0x24, 0xf8, 0x15, 0xa5, 0xb5, 0xa2]
        );
    }

    #[test]
    fn a_body_is_its_parts_in_order_and_stays_the_same_across_releases() {
        let body = |sort, parts: &[Option<&str>]| {
            let mut hasher = BodyHasher::new(sort);
            parts.iter().for_each(|part| hasher.text(*part));
            hasher.finish()
        };
        let first = body(1, &[Some("ab"), None]);
        for other in [
            body(2, &[Some("ab"), None]),
            body(1, &[Some("a"), Some("b")]),
            body(1, &[None, Some("ab")]),
            body(1, &[Some("ab"), Some("")]),
            body(1, &[Some("ab")]),
        ] {
            assert_ne!(first, other);
        }
        let mut hasher = BodyHasher::new(1);
        hasher.number(5);
        // printf 'tollgate body 1\1\5\0\0\0\0\0\0\0' | sha256sum
        assert_eq!(hasher.finish(), BodyHash(0x20d8509c82fd78d4));
    }

    #[test]
    fn it_is_forgotten_after_the_horizon_and_not_before() {
        let it = Remembered { body: BodyHash(0), outcome: 0, at: UnixMillis(5) };
        assert!(!it.is_forgotten(UnixMillis(5 + HORIZON_MS - 1)));
        assert!(it.is_forgotten(UnixMillis(5 + HORIZON_MS)));
        assert!(!it.is_forgotten(UnixMillis(0)));
    }
}
