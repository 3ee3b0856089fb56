//! The answer to QUERY, and limit rows.

use super::body::{Fields, Reader, put_field};
use super::{Tag, WireError};
use crate::model::time::Period;

/// A limit and how it stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LimitRow {
    /// Id of the limit.
    pub limit: u64,
    /// Number of its metric.
    pub metric: u32,
    /// Number of its period.
    pub period: u8,
    /// In shadow it denies nothing.
    pub shadow: bool,
    /// Its maximum.
    pub max: u64,
    /// What was counted.
    pub count: u64,
    /// What reservations hold.
    pub held: u64,
    /// Milliseconds until the window ends.
    pub reset_ms: u64,
}

impl LimitRow {
    /// Its bytes.
    pub const LEN: usize = 48;

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LimitRow::LEN] {
        let mut bytes = [0; LimitRow::LEN];
        bytes[..8].copy_from_slice(&self.limit.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.metric.to_le_bytes());
        bytes[12] = self.period;
        bytes[13] = u8::from(self.shadow);
        let (places, _) = bytes[16..].as_chunks_mut::<8>();
        for (place, number) in places.iter_mut().zip([self.max, self.count, self.held, self.reset_ms]) {
            *place = number.to_le_bytes();
        }
        bytes
    }

    /// Reads a row.
    #[must_use]
    pub fn read(bytes: &[u8; LimitRow::LEN]) -> LimitRow {
        let number = |at: usize| u64::from_le_bytes(bytes[at..].first_chunk().copied().unwrap_or_default());
        let [_, _, _, _, _, _, _, _, m0, m1, m2, m3, period, marks, ..] = *bytes;
        LimitRow {
            limit: number(0),
            metric: u32::from_le_bytes([m0, m1, m2, m3]),
            period,
            shadow: marks & 1 == 1,
            max: number(16),
            count: number(24),
            held: number(32),
            reset_ms: number(40),
        }
    }

    /// Appends it as a field.
    pub fn put_field(&self, out: &mut Vec<u8>) {
        put_field(out, Tag::LIMIT, &[&self.bytes()]);
    }
}

/// What one metric counts in its open windows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct UsageRow {
    /// Number of the metric.
    pub metric: u32,
    /// By [`Period`] number.
    pub counts: [u64; Period::COUNT],
}

const USAGE_LEN: usize = 8 + 8 * Period::COUNT;

/// The answer to QUERY.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct QueryAnswer {
    /// The application's state is active.
    pub active: bool,
    /// Open reservations.
    pub reservations: u8,
    /// The catalog version.
    pub catalog_version: u64,
    /// Microseconds since 1970.
    pub time_us: u64,
    /// The plan's limits.
    pub limits: Vec<LimitRow>,
    /// The counts.
    pub usage: Vec<UsageRow>,
    /// The names of all metrics in the rows.
    pub metrics: Vec<(u32, String)>,
}

impl QueryAnswer {
    /// Bytes of its fixed part.
    const FIXED_LEN: usize = 24;

    /// Bytes of the body that [`QueryAnswer::put`] writes.
    #[must_use]
    pub fn len(&self) -> usize {
        let names: usize = self.metrics.iter().map(|(_, name)| 8 + name.len()).sum();
        QueryAnswer::FIXED_LEN + self.limits.len() * LimitRow::LEN + self.usage.len() * USAGE_LEN + names
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.usage.is_empty()
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        out.extend_from_slice(&[24, 0, u8::from(self.active), self.reservations]);
        out.extend_from_slice(&count(self.limits.len()));
        out.extend_from_slice(&count(self.usage.len()));
        out.extend_from_slice(&self.catalog_version.to_le_bytes());
        out.extend_from_slice(&self.time_us.to_le_bytes());
        for row in &self.limits {
            out.extend_from_slice(&row.bytes());
        }
        for row in &self.usage {
            out.extend_from_slice(&u64::from(row.metric).to_le_bytes());
            for number in row.counts {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        for (number, name) in &self.metrics {
            put_field(out, Tag::METRIC, &[&number.to_le_bytes(), name.as_bytes()]);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(body: &[u8]) -> Result<QueryAnswer, WireError> {
        let fixed = Reader::new(body, QueryAnswer::FIXED_LEN)?;
        let (limits, usage) = (usize::from(fixed.u16(4)), usize::from(fixed.u16(6)));
        fn cut(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), WireError> {
            bytes.split_at_checked(length).ok_or(WireError::Truncated)
        }
        let (limit_rows, rest) = cut(fixed.rest, limits * LimitRow::LEN)?;
        let (usage_rows, rest) = cut(rest, usage * USAGE_LEN)?;
        let mut fields = Fields::new(rest, body.len());
        let mut metrics = Vec::new();
        while let Some((tag, value)) = fields.take()? {
            if tag == Tag::METRIC {
                let wrong = WireError::FieldValue { tag: tag.0 };
                let (number, name) = value.split_first_chunk().ok_or(wrong)?;
                let name = std::str::from_utf8(name).map_err(|_| WireError::NotText { tag: tag.0 })?;
                metrics.push((u32::from_le_bytes(*number), name.to_owned()));
            }
        }
        Ok(QueryAnswer {
            active: fixed.u8(2) == 1,
            reservations: fixed.u8(3),
            catalog_version: fixed.u64(8),
            time_us: fixed.u64(16),
            limits: limit_rows.as_chunks::<{ LimitRow::LEN }>().0.iter().map(LimitRow::read).collect(),
            usage: usage_rows.as_chunks::<USAGE_LEN>().0.iter().map(UsageRow::read).collect(),
            metrics,
        })
    }
}

impl UsageRow {
    fn read(bytes: &[u8; USAGE_LEN]) -> UsageRow {
        let (numbers, _) = bytes.as_chunks::<8>();
        let mut row = UsageRow::default();
        for (place, number) in row.counts.iter_mut().zip(&numbers[1..]) {
            *place = u64::from_le_bytes(*number);
        }
        let [m0, m1, m2, m3, ..] = *bytes;
        row.metric = u32::from_le_bytes([m0, m1, m2, m3]);
        row
    }
}
