//! The body that calls have in common, and what RESERVE, COMMIT and CANCEL add to it.

use bytes::{BufMut, BytesMut};

use super::METRICS_MAX;
use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};

/// In a row's metric number: the amount replaces the count.
const SETS: u32 = 0x8000_0000;

/// Usage of a metric that is named by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRow {
    /// The service's number for the metric, below 2^31.
    pub metric: u32,
    /// How much.
    pub amount: u64,
    /// Whether the amount replaces the count instead of adding to it.
    pub sets: bool,
}

/// Which application, and what it used or wants to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call<'a> {
    /// What BIND answered; 0 if fields name the application.
    pub handle: u64,
    /// Usage by numbers of metrics, in order.
    pub rows: Vec<UsageRow>,
    /// Everything else.
    pub fields: Fields<'a>,
}

/// A RESERVE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserve<'a> {
    /// Application and amounts.
    pub call: Call<'a>,
    /// Seconds after which the hold expires, 1 to 3,600, by the node's clock.
    pub ttl_s: u32,
}

/// A COMMIT or CANCEL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settle<'a> {
    /// Application, and what it really was.
    pub call: Call<'a>,
    /// What RESERVE answered.
    pub reservation: u64,
}

impl<'a> Call<'a> {
    const LEN: u16 = 16;

    pub(super) fn decode(body: &'a [u8]) -> Result<Call<'a>, DecodeError> {
        Self::decode_with(body, Self::LEN, |_| Ok(())).map(|(call, ())| call)
    }

    /// Decodes a call whose fixed part has more, which `more` reads.
    fn decode_with<T>(
        body: &'a [u8],
        length: u16,
        more: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<(Call<'a>, T), DecodeError> {
        let (mut fixed, mut rest) = Reader::with_fixed(body, length.into())?;
        let count = usize::from(fixed.u8()?);
        fixed.skip(5)?;
        let handle = fixed.u64()?;
        let more = more(&mut fixed)?;
        let mut rows = Vec::with_capacity(count.min(rest.len() / 12));
        for _ in 0..count {
            let metric = rest.u32()?;
            rows.push(UsageRow { metric: metric & !SETS, amount: rest.u64()?, sets: metric & SETS != 0 });
        }
        let fields = Fields::decode(rest, Direction::Request)?;
        fields.check_usage(count)?;
        Ok((Call { handle, rows, fields }, more))
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_with(out, Self::LEN, |_| ())
    }

    fn encode_with(
        &self,
        out: &mut BytesMut,
        length: u16,
        more: impl FnOnce(&mut BytesMut),
    ) -> Result<(), EncodeError> {
        if self.rows.len() + self.fields.usage.len() > METRICS_MAX {
            return Err(EncodeError::TooMany { what: "metrics", max: METRICS_MAX });
        }
        out.put_u16_le(length);
        // At most 255, as just checked.
        out.put_u8(self.rows.len() as u8);
        out.put_bytes(0, 5);
        out.put_u64_le(self.handle);
        more(out);
        for row in &self.rows {
            out.put_u32_le(if row.sets { row.metric | SETS } else { row.metric & !SETS });
            out.put_u64_le(row.amount);
        }
        self.fields.encode(out)
    }
}

impl<'a> Reserve<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Reserve<'a>, DecodeError> {
        let (call, ttl_s) = Call::decode_with(body, 24, |fixed| {
            let ttl_s = fixed.u32()?;
            fixed.skip(4).map(|()| ttl_s)
        })?;
        Ok(Reserve { call, ttl_s })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.call.encode_with(out, 24, |out| {
            out.put_u32_le(self.ttl_s);
            out.put_u32_le(0);
        })
    }
}

impl<'a> Settle<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Settle<'a>, DecodeError> {
        let (call, reservation) = Call::decode_with(body, 24, |fixed| fixed.u64())?;
        Ok(Settle { call, reservation })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.call.encode_with(out, 24, |out| out.put_u64_le(self.reservation))
    }
}
