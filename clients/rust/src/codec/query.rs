//! QUERY's answer, and the limit rows that decisions may carry too.

use bytes::{BufMut, BytesMut};

use super::fields::{Direction, Fields, MetricName};
use super::reader::{DecodeError, EncodeError, Reader};

/// How long a window lasts. Windows are the calendar's, in UTC; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Period {
    /// For ever.
    Eternity = 0,
    /// A year.
    Year = 1,
    /// A month.
    Month = 2,
    /// A week, from Monday.
    Week = 3,
    /// A day.
    Day = 4,
    /// An hour.
    Hour = 5,
    /// A minute.
    Minute = 6,
}

impl Period {
    /// All, longest first: the order of [`UsageCounts::counts`].
    pub const ALL: [Period; 7] = [
        Period::Eternity,
        Period::Year,
        Period::Month,
        Period::Week,
        Period::Day,
        Period::Hour,
        Period::Minute,
    ];
}

/// A limit and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitRow {
    /// The limit's id.
    pub id: u64,
    /// The number of its metric.
    pub metric: u32,
    /// How long its windows are.
    pub period: Period,
    /// Whether it is in shadow: it denies nothing.
    pub shadow: bool,
    /// The most that may be counted in a window.
    pub maximum: u64,
    /// What is counted in the current window.
    pub count: u64,
    /// What reservations hold.
    pub held: u64,
    /// Milliseconds until the window ends; [`super::NEVER`] for eternity.
    pub window_ends_ms: u64,
}

impl LimitRow {
    pub(super) const LEN: usize = 48;

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<LimitRow, DecodeError> {
        let (id, metric) = (reader.u64()?, reader.u32()?);
        let period = usize::from(reader.u8()?);
        let period = Period::ALL.get(period).copied().ok_or(DecodeError::Value("a period"))?;
        let shadow = reader.u8()? & 1 != 0;
        reader.skip(2)?;
        let (maximum, count, held) = (reader.u64()?, reader.u64()?, reader.u64()?);
        Ok(LimitRow { id, metric, period, shadow, maximum, count, held, window_ends_ms: reader.u64()? })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.id);
        out.put_u32_le(self.metric);
        out.put_u8(self.period as u8);
        out.put_u8(u8::from(self.shadow));
        out.put_u16_le(0);
        out.put_u64_le(self.maximum);
        out.put_u64_le(self.count);
        out.put_u64_le(self.held);
        out.put_u64_le(self.window_ends_ms);
    }
}

/// What is counted of a metric, in each period's current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageCounts {
    /// The metric's number.
    pub metric: u32,
    /// In the order of [`Period::ALL`].
    pub counts: [u64; 7],
}

impl UsageCounts {
    /// What is counted in the current window of `period`.
    #[must_use]
    pub fn of(&self, period: Period) -> u64 {
        self.counts[period as usize]
    }
}

/// How an application stands: the answer to QUERY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether the application's state is active.
    pub active: bool,
    /// How many reservations are open.
    pub open_reservations: u8,
    /// The catalog's version.
    pub catalog_version: u64,
    /// The node's time in microseconds since 1970.
    pub time_us: u64,
    /// Its plan's limits.
    pub limits: Vec<LimitRow>,
    /// Its usage.
    pub usage: Vec<UsageCounts>,
    /// Numbers and names of the metrics in the rows.
    pub metrics: Vec<(u32, String)>,
}

impl Standing {
    const LEN: u16 = 24;

    /// The number of a metric that is in the rows.
    #[must_use]
    pub fn number_of(&self, name: &str) -> Option<u32> {
        self.metrics.iter().find(|(_, known)| known == name).map(|(number, _)| *number)
    }

    /// What is counted of a metric in the current window of `period`. Of a metric without a row that is 0.
    #[must_use]
    pub fn count(&self, metric: &str, period: Period) -> u64 {
        let number = self.number_of(metric);
        let row = self.usage.iter().find(|row| Some(row.metric) == number);
        row.map_or(0, |row| row.of(period))
    }

    pub(super) fn decode(body: &[u8]) -> Result<Standing, DecodeError> {
        let (mut fixed, mut rest) = Reader::with_fixed(body, Self::LEN.into())?;
        let active = fixed.bool("an application's state")?;
        let open_reservations = fixed.u8()?;
        let (limit_count, usage_count) = (usize::from(fixed.u16()?), usize::from(fixed.u16()?));
        let (catalog_version, time_us) = (fixed.u64()?, fixed.u64()?);
        let mut limits = Vec::with_capacity(limit_count.min(rest.len() / LimitRow::LEN));
        for _ in 0..limit_count {
            limits.push(LimitRow::decode(&mut rest)?);
        }
        let mut usage = Vec::with_capacity(usage_count.min(rest.len() / 64));
        for _ in 0..usage_count {
            usage.push(usage_row(&mut rest)?);
        }
        let names = Fields::decode(rest, Direction::Answer)?.metric_names;
        let metrics = names.into_iter().map(|metric| (metric.number, metric.name.to_owned())).collect();
        Ok(Standing { active, open_reservations, catalog_version, time_us, limits, usage, metrics })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let count = |rows: usize| {
            let too_many = EncodeError::TooMany { what: "rows", max: u16::MAX.into() };
            u16::try_from(rows).map_err(|_| too_many)
        };
        out.put_u16_le(Self::LEN);
        out.put_u8(u8::from(self.active));
        out.put_u8(self.open_reservations);
        out.put_u16_le(count(self.limits.len())?);
        out.put_u16_le(count(self.usage.len())?);
        out.put_u64_le(self.catalog_version);
        out.put_u64_le(self.time_us);
        self.limits.iter().for_each(|row| row.encode(out));
        for row in &self.usage {
            out.put_u32_le(row.metric);
            out.put_u32_le(0);
            row.counts.iter().for_each(|count| out.put_u64_le(*count));
        }
        let names = self.metrics.iter().map(|(number, name)| MetricName { number: *number, name });
        Fields { metric_names: names.collect(), ..Fields::default() }.encode(out)
    }
}

fn usage_row(rest: &mut Reader<'_>) -> Result<UsageCounts, DecodeError> {
    let metric = rest.u32()?;
    rest.skip(4)?;
    let mut counts = [0; 7];
    for count in &mut counts {
        *count = rest.u64()?;
    }
    Ok(UsageCounts { metric, counts })
}
