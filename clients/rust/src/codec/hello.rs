//! HELLO, CHALLENGE, PROOF and WELCOME: how a connection begins.

use bytes::{BufMut, BytesMut};

use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};

/// Bits of features.
pub mod features {
    /// DURABLE is served.
    pub const DURABLE: u64 = 1;
    /// IDEMPOTENCY is served.
    pub const IDEMPOTENCY: u64 = 1 << 1;
    /// RESERVE, COMMIT, CANCEL.
    pub const RESERVATIONS: u64 = 1 << 2;
    /// BATCH with ALL.
    pub const BATCH_ALL: u64 = 1 << 3;
    /// PRODUCER is served.
    pub const PRODUCERS: u64 = 1 << 4;
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// Not at all: a Unix socket, whose node knows the user on the other side.
    None = 0,
    /// By the node's secret.
    NodeSecret = 1,
    /// By a service token.
    ServiceToken = 2,
}

impl Method {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Result<Method, DecodeError> {
        match number {
            0 => Ok(Method::None),
            1 => Ok(Method::NodeSecret),
            2 => Ok(Method::ServiceToken),
            _ => Err(DecodeError::Value("the method of a HELLO")),
        }
    }
}

/// The client's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello<'a> {
    /// How it will prove who it is.
    pub method: Method,
    /// The lowest version that it speaks.
    pub version_min: u16,
    /// The highest.
    pub version_max: u16,
    /// The longest frame that it would like, in bytes.
    pub frame_max: u32,
    /// How many requests it would like to leave unanswered at a time.
    pub window: u32,
    /// Features without which it cannot go on, as bits of [`features`].
    pub features: u64,
    /// Random bytes, never used twice.
    pub nonce: [u8; 32],
    /// CLIENT, and SERVICE for a service token.
    pub fields: Fields<'a>,
}

impl<'a> Hello<'a> {
    const LEN: u16 = 56;

    pub(super) fn decode(body: &'a [u8]) -> Result<Hello<'a>, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        let method = Method::from_number(fixed.u8()?)?;
        fixed.skip(1)?;
        Ok(Hello {
            method,
            version_min: fixed.u16()?,
            version_max: fixed.u16()?,
            frame_max: fixed.u32()?,
            window: fixed.u32()?,
            features: fixed.u64()?,
            nonce: fixed.array()?,
            fields: Fields::decode(rest, Direction::Request)?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(Self::LEN);
        out.put_u8(self.method.number());
        out.put_u8(0);
        out.put_u16_le(self.version_min);
        out.put_u16_le(self.version_max);
        out.put_u32_le(self.frame_max);
        out.put_u32_le(self.window);
        out.put_u64_le(self.features);
        out.extend_from_slice(&self.nonce);
        self.fields.encode(out)
    }
}

/// The node wants a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The node's random bytes.
    pub nonce: [u8; 32],
}

/// The client's proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// What can only be computed with the secret.
    pub mac: [u8; 32],
}

/// Length of the fixed part of CHALLENGE and PROOF, which look alike.
const NONCE_LEN: u16 = 40;

fn decode_32(body: &[u8]) -> Result<[u8; 32], DecodeError> {
    let (mut fixed, rest) = Reader::with_fixed(body, NONCE_LEN.into())?;
    Fields::decode(rest, Direction::Answer)?;
    fixed.skip(6)?;
    fixed.array()
}

fn encode_32(out: &mut BytesMut, bytes: &[u8; 32]) {
    out.put_u16_le(NONCE_LEN);
    out.put_bytes(0, 6);
    out.extend_from_slice(bytes);
}

impl Challenge {
    pub(super) fn decode(body: &[u8]) -> Result<Challenge, DecodeError> {
        decode_32(body).map(|nonce| Challenge { nonce })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        encode_32(out, &self.nonce);
    }
}

impl Proof {
    pub(super) fn decode(body: &[u8]) -> Result<Proof, DecodeError> {
        decode_32(body).map(|mac| Proof { mac })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        encode_32(out, &self.mac);
    }
}

/// The node's word on how the connection goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The version that is spoken from here on.
    pub version: u16,
    /// The longest frame, in bytes.
    pub frame_max: u32,
    /// Requests that may be unanswered at a time.
    pub window: u32,
    /// After so many milliseconds of silence the node closes the connection.
    pub idle_ms: u32,
    /// Features of the node, as bits of [`features`].
    pub features: u64,
    /// A number for logs.
    pub session: u64,
    /// A random number drawn at the node's start. Handles of another number are stale.
    pub node: u64,
    /// The node's time in microseconds since 1970.
    pub time_us: u64,
    /// The catalog's version.
    pub catalog_version: u64,
    /// What can only be computed with the secret. Zero for [`Method::None`].
    pub mac: [u8; 32],
    /// NODE.
    pub fields: Fields<'a>,
}

impl<'a> Welcome<'a> {
    const LEN: u16 = 88;

    pub(super) fn decode(body: &'a [u8]) -> Result<Welcome<'a>, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        Ok(Welcome {
            version: fixed.u16()?,
            frame_max: fixed.u32()?,
            window: fixed.u32()?,
            idle_ms: fixed.u32()?,
            features: fixed.u64()?,
            session: fixed.u64()?,
            node: fixed.u64()?,
            time_us: fixed.u64()?,
            catalog_version: fixed.u64()?,
            mac: fixed.array()?,
            fields: Fields::decode(rest, Direction::Answer)?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(Self::LEN);
        out.put_u16_le(self.version);
        out.put_u32_le(self.frame_max);
        out.put_u32_le(self.window);
        out.put_u32_le(self.idle_ms);
        out.put_u64_le(self.features);
        out.put_u64_le(self.session);
        out.put_u64_le(self.node);
        out.put_u64_le(self.time_us);
        out.put_u64_le(self.catalog_version);
        out.extend_from_slice(&self.mac);
        self.fields.encode(out)
    }
}
