//! Calls: who is meant, and what is used.

use smallvec::SmallVec;

use super::body::{Fields, Reader, known_or_skipped, once, put_field, text};
use super::{Tag, USAGE_MAX, WireError};
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;
use crate::model::idempotency::{ID_BYTES_MAX, PRODUCER_BYTES_MAX, RequestId};

/// The bit of a row's metric number that makes its amount replace the count.
const SETS: u32 = 0x8000_0000;
const ROW_LEN: usize = 12;
const FIXED_LEN: usize = 16;
/// Of RESERVE, COMMIT and CANCEL.
const FIXED_LEN_LONGER: usize = 24;

/// One row of usage: a metric by its number, and what is done to it.
pub type Row = (MetricSlot, Effect);

/// Usage by name, of small requests without an allocation.
pub type UsageNames<'a> = SmallVec<[(&'a str, Effect); 4]>;

/// The body of AUTHORIZE, AUTHREP, CHECK, REPORT, RESERVE, COMMIT, CANCEL, QUERY and BIND.
#[derive(Clone, Default, Debug)]
pub struct Call<'a> {
    /// The handle; `None` if fields name the application.
    pub handle: Option<u64>,
    /// Usage by metric number.
    pub rows: Rows<'a>,
    /// Usage by name.
    pub usage: UsageNames<'a>,
    /// Metrics by name (BIND, QUERY).
    pub metrics: Vec<&'a str>,
    /// Seconds to live (RESERVE).
    pub ttl_s: u32,
    /// Which reservation (COMMIT, CANCEL).
    pub reservation: u64,
    /// Seconds since 1970.
    pub timestamp: Option<i64>,
    /// Response code to count.
    pub log_code: Option<&'a str>,
    /// Id of the service.
    pub service: Option<&'a str>,
    /// Key that stands for the application.
    pub user_key: Option<&'a str>,
    /// Public id of the application.
    pub app_id: Option<&'a str>,
    /// The application's secret; empty means present but empty.
    pub app_key: Option<&'a str>,
    /// Where the call came from.
    pub referrer: Option<&'a str>,
    /// What the request is known by.
    pub id: Option<RequestId<'a>>,
    /// OAuth's redirect.
    pub redirect_uri: Option<&'a str>,
    /// OAuth's redirect.
    pub redirect_url: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Reads the body of AUTHORIZE, AUTHREP, CHECK, REPORT or QUERY.
    ///
    /// # Errors
    /// It is not what the specification says.
    pub fn read(body: &'a [u8]) -> Result<Call<'a>, WireError> {
        let mut call = Call::default();
        call.fill(body)?;
        Ok(call)
    }

    /// As [`Call::read`], into a default call: it is a third of a kilobyte, and most of what a short call costs to read would be
    /// handing it on.
    ///
    /// # Errors
    /// As there.
    pub fn fill(&mut self, body: &'a [u8]) -> Result<(), WireError> {
        self.fill_after(body, FIXED_LEN)
    }

    /// Reads the body of RESERVE, COMMIT or CANCEL: also time to live and reservation, whichever it is.
    ///
    /// # Errors
    /// It is not what the specification says.
    pub fn read_longer(body: &'a [u8]) -> Result<Call<'a>, WireError> {
        let fixed = Reader::new(body, FIXED_LEN_LONGER)?;
        let mut call = Call { ttl_s: fixed.u32(16), reservation: fixed.u64(16), ..Call::default() };
        call.fill_after(body, FIXED_LEN_LONGER)?;
        Ok(call)
    }

    /// Reads the body of BIND, which has fields only.
    ///
    /// # Errors
    /// It is not what the specification says.
    pub fn read_bind(body: &'a [u8]) -> Result<Call<'a>, WireError> {
        let mut call = Call::default();
        call.fields(Fields::new(Reader::new(body, 8)?.rest, body.len()))?;
        Ok(call)
    }

    /// The same, unless it carries an id: for operations that do not take one.
    ///
    /// # Errors
    /// It has an id.
    pub fn without_id(self) -> Result<Call<'a>, WireError> {
        self.has_no_id().map(|()| self)
    }

    /// Checks that it carries no id.
    ///
    /// # Errors
    /// It has one.
    pub fn has_no_id(&self) -> Result<(), WireError> {
        let tag = match self.id {
            None => return Ok(()),
            Some(RequestId::Key(_)) => Tag::IDEMPOTENCY,
            Some(RequestId::Numbered { .. }) => Tag::PRODUCER,
        };
        Err(WireError::FieldUnknown { tag: tag.0 })
    }

    fn fill_after(&mut self, body: &'a [u8], least: usize) -> Result<(), WireError> {
        let fixed = Reader::new(body, least)?;
        let rows = usize::from(fixed.u8(2)) * ROW_LEN;
        let (rows, fields) = fixed.rest.split_at_checked(rows).ok_or(WireError::Truncated)?;
        self.handle = Some(fixed.u64(8)).filter(|handle| *handle != 0);
        self.rows = Rows(rows);
        if fields.is_empty() { Ok(()) } else { self.fields(Fields::new(fields, body.len())) }
    }

    fn fields(&mut self, mut fields: Fields<'a>) -> Result<(), WireError> {
        while let Some((tag, value)) = fields.take()? {
            match tag {
                Tag::SERVICE => once(&mut self.service, tag, value)?,
                Tag::USER_KEY => once(&mut self.user_key, tag, value)?,
                Tag::APP_ID => once(&mut self.app_id, tag, value)?,
                Tag::APP_KEY if self.app_key.is_some() => return Err(WireError::FieldTwice { tag: tag.0 }),
                Tag::APP_KEY => self.app_key = Some(text(tag, value)?),
                Tag::REFERRER => once(&mut self.referrer, tag, value)?,
                Tag::LOG_CODE => once(&mut self.log_code, tag, value)?,
                Tag::REDIRECT_URI => once(&mut self.redirect_uri, tag, value)?,
                Tag::REDIRECT_URL => once(&mut self.redirect_url, tag, value)?,
                Tag::METRIC => self.metrics.push(text(tag, value)?),
                Tag::USAGE => self.usage.push(usage(value)?),
                // Either of them, once.
                Tag::IDEMPOTENCY | Tag::PRODUCER if self.id.is_some() => {
                    return Err(WireError::FieldTwice { tag: tag.0 });
                }
                Tag::IDEMPOTENCY if !(1..=ID_BYTES_MAX).contains(&value.len()) => {
                    return Err(WireError::FieldValue { tag: tag.0 });
                }
                Tag::IDEMPOTENCY => self.id = Some(RequestId::Key(value)),
                Tag::PRODUCER => self.id = Some(numbered(value)?),
                Tag::TIMESTAMP if self.timestamp.is_some() => {
                    return Err(WireError::FieldTwice { tag: tag.0 });
                }
                Tag::TIMESTAMP => {
                    let bytes = value.try_into().map_err(|_| WireError::FieldValue { tag: tag.0 })?;
                    self.timestamp = Some(i64::from_le_bytes(bytes));
                }
                _ => known_or_skipped(tag)?,
            }
            if self.rows.len() + self.usage.len() > USAGE_MAX || self.metrics.len() > USAGE_MAX {
                return Err(WireError::TooManyMetrics);
            }
        }
        Ok(())
    }
}

/// Whom a call is about, as far as can be told without reading it whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peek<'a> {
    /// The handle; `None` if fields name the application.
    pub handle: Option<u64>,
    /// Id of the service.
    pub service: Option<&'a str>,
    /// Key that stands for the application.
    pub user_key: Option<&'a str>,
    /// Public id of the application.
    pub app_id: Option<&'a str>,
}

impl<'a> Peek<'a> {
    /// Looks into the body of an operation on one application; `None` if something is wrong with what it looks at.
    #[must_use]
    pub fn at(body: &'a [u8]) -> Option<Peek<'a>> {
        let fixed = Reader::new(body, FIXED_LEN).ok()?;
        let handle = fixed.u64(8);
        if handle != 0 {
            return Some(Peek { handle: Some(handle), ..Peek::default() });
        }
        let rows = usize::from(fixed.u8(2)) * ROW_LEN;
        let mut fields = Fields::new(fixed.rest.get(rows..)?, body.len());
        let mut peek = Peek::default();
        while let Some((tag, value)) = fields.take().ok()? {
            let place = match tag {
                Tag::SERVICE => &mut peek.service,
                Tag::USER_KEY => &mut peek.user_key,
                Tag::APP_ID => &mut peek.app_id,
                _ => continue,
            };
            *place = Some(text(tag, value).ok()?);
        }
        Some(peek)
    }
}

/// The value of a USAGE field.
fn usage(value: &[u8]) -> Result<(&str, Effect), WireError> {
    let wrong = WireError::FieldValue { tag: Tag::USAGE.0 };
    let (kind, rest) = value.split_first().ok_or(wrong)?;
    let (amount, name) = rest.split_first_chunk().ok_or(wrong)?;
    let amount = u64::from_le_bytes(*amount);
    let effect = match kind {
        0 => Effect::Add(amount),
        1 => Effect::Set(amount),
        _ => return Err(wrong),
    };
    Ok((text(Tag::USAGE, name)?, effect))
}

/// The value of a PRODUCER field.
fn numbered(value: &[u8]) -> Result<RequestId<'_>, WireError> {
    let wrong = WireError::FieldValue { tag: Tag::PRODUCER.0 };
    let (sequence, producer) = value.split_first_chunk().ok_or(wrong)?;
    let sequence = u64::from_le_bytes(*sequence);
    if sequence == 0 || !(1..=PRODUCER_BYTES_MAX).contains(&producer.len()) {
        return Err(wrong);
    }
    Ok(RequestId::Numbered { producer, sequence })
}

/// Rows of usage.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len() / ROW_LEN
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row> + use<'a> {
        let (rows, _) = self.0.as_chunks::<ROW_LEN>();
        rows.iter().map(|row| {
            let [m0, m1, m2, m3, amount @ ..] = *row;
            let (number, amount) = (u32::from_le_bytes([m0, m1, m2, m3]), u64::from_le_bytes(amount));
            let effect = if number & SETS == 0 { Effect::Add(amount) } else { Effect::Set(amount) };
            (MetricSlot(number & !SETS), effect)
        })
    }
}

/// Appends the body of a call, with `rows` in place of its own. With `longer`, that of RESERVE (if it has a time to live),
/// COMMIT or CANCEL.
pub fn put_call(out: &mut Vec<u8>, call: &Call<'_>, rows: &[Row], longer: bool) {
    let fixed_len: u16 = if longer { 24 } else { 16 };
    out.extend_from_slice(&fixed_len.to_le_bytes());
    out.extend_from_slice(&[u8::try_from(rows.len()).unwrap_or(u8::MAX), 0, 0, 0, 0, 0]);
    out.extend_from_slice(&call.handle.unwrap_or(0).to_le_bytes());
    if longer {
        let last = if call.ttl_s > 0 { u64::from(call.ttl_s) } else { call.reservation };
        out.extend_from_slice(&last.to_le_bytes());
    }
    for (slot, effect) in rows.iter().take(USAGE_MAX) {
        let sets = if matches!(effect, Effect::Set(_)) { SETS } else { 0 };
        out.extend_from_slice(&(slot.0 | sets).to_le_bytes());
        out.extend_from_slice(&effect.amount().to_le_bytes());
    }
    put_fields(out, call);
}

/// Appends the body of BIND.
pub fn put_bind(out: &mut Vec<u8>, call: &Call<'_>) {
    out.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0]);
    put_fields(out, call);
}

fn put_fields(out: &mut Vec<u8>, call: &Call<'_>) {
    let texts = [
        (Tag::SERVICE, call.service),
        (Tag::USER_KEY, call.user_key),
        (Tag::APP_ID, call.app_id),
        (Tag::APP_KEY, call.app_key),
        (Tag::REFERRER, call.referrer),
    ];
    let later = [
        (Tag::LOG_CODE, call.log_code),
        (Tag::REDIRECT_URI, call.redirect_uri),
        (Tag::REDIRECT_URL, call.redirect_url),
    ];
    let put_texts = |out: &mut Vec<u8>, texts: &[(Tag, Option<&str>)]| {
        for (tag, text) in texts {
            if let Some(text) = text {
                put_field(out, *tag, &[text.as_bytes()]);
            }
        }
    };
    put_texts(out, &texts);
    for (name, effect) in &call.usage {
        let kind = [u8::from(matches!(effect, Effect::Set(_)))];
        put_field(out, Tag::USAGE, &[&kind, &effect.amount().to_le_bytes(), name.as_bytes()]);
    }
    if let Some(timestamp) = call.timestamp {
        put_field(out, Tag::TIMESTAMP, &[&timestamp.to_le_bytes()]);
    }
    put_texts(out, &later);
    match call.id {
        Some(RequestId::Key(id)) => put_field(out, Tag::IDEMPOTENCY, &[id]),
        Some(RequestId::Numbered { producer, sequence }) => {
            put_field(out, Tag::PRODUCER, &[&sequence.to_le_bytes(), producer]);
        }
        None => {}
    }
    for name in &call.metrics {
        put_field(out, Tag::METRIC, &[name.as_bytes()]);
    }
}
