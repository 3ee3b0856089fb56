//! BIND: credentials and metric names once, a handle and numbers after.

use bytes::{BufMut, BytesMut};

use super::decision::Reason;
use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};

/// A BIND. Its fields name the application and the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bind<'a> {
    /// SERVICE, USER_KEY or APP_ID and APP_KEY, and METRIC once per metric.
    pub fields: Fields<'a>,
}

impl<'a> Bind<'a> {
    const LEN: u16 = 8;

    pub(super) fn decode(body: &'a [u8]) -> Result<Bind<'a>, DecodeError> {
        let (_, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        Ok(Bind { fields: Fields::decode(rest, Direction::Request)? })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(Self::LEN);
        out.put_bytes(0, 6);
        self.fields.encode(out)
    }
}

/// The answer to BIND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Whether the application is bound.
    pub bound: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// The handle; never 0 if bound.
    pub handle: u64,
    /// The catalog's version.
    pub catalog_version: u64,
    /// A number for each metric, in the order in which they were named. None if not bound.
    pub metrics: Vec<u32>,
}

impl Bound {
    const LEN: u16 = 24;

    pub(super) fn decode(body: &[u8]) -> Result<Bound, DecodeError> {
        let (mut fixed, mut rest) = Reader::with_fixed(body, Self::LEN.into())?;
        let bound = fixed.bool("whether it is bound")?;
        fixed.skip(1)?;
        let reason = Reason::from_number(fixed.u16()?);
        let count = usize::from(fixed.u16()?);
        let (handle, catalog_version) = (fixed.u64()?, fixed.u64()?);
        let mut metrics = Vec::with_capacity(count.min(rest.len() / 4));
        for _ in 0..count {
            metrics.push(rest.u32()?);
        }
        Fields::decode(rest, Direction::Answer)?;
        if bound && handle == 0 {
            return Err(DecodeError::Value("a handle"));
        }
        Ok(Bound { bound, reason, handle, catalog_version, metrics })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let max = usize::from(u16::MAX);
        let count = u16::try_from(self.metrics.len());
        let count = count.map_err(|_| EncodeError::TooMany { what: "metrics", max })?;
        out.put_u16_le(Self::LEN);
        out.put_u8(u8::from(self.bound));
        out.put_u8(0);
        out.put_u16_le(self.reason.map_or(0, Reason::number));
        out.put_u16_le(count);
        out.put_u64_le(self.handle);
        out.put_u64_le(self.catalog_version);
        self.metrics.iter().for_each(|number| out.put_u32_le(*number));
        Ok(())
    }
}
