//! Fields: what stands behind fixed parts and rows, tagged, up to the end of a body.

use bytes::{BufMut, BytesMut};

use super::query::LimitRow;
use super::reader::{DecodeError, EncodeError, Reader};
use super::{IDEMPOTENCY_LEN_MAX, METRICS_MAX, PRODUCER_LEN_MAX};

const SERVICE: u16 = 1;
const USER_KEY: u16 = 2;
const APP_ID: u16 = 3;
const APP_KEY: u16 = 4;
const REFERRER: u16 = 5;
const USAGE: u16 = 6;
const TIMESTAMP: u16 = 7;
const LOG_CODE: u16 = 8;
const IDEMPOTENCY: u16 = 0x8009;
const REDIRECT_URI: u16 = 10;
const REDIRECT_URL: u16 = 11;
const METRIC: u16 = 12;
const CLIENT: u16 = 13;
const PRODUCER: u16 = 0x800E;
const MESSAGE: u16 = 64;
const LIMIT: u16 = 65;
const NODE: u16 = 66;

/// Set in the tag of a field that may not be skipped.
const REQUIRED: u16 = 0x8000;

/// Whose fields they are: METRIC looks different in requests and in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the node.
    Answer,
}

/// Usage of a metric that is named by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedUsage<'a> {
    /// The metric's name.
    pub metric: &'a str,
    /// How much.
    pub amount: u64,
    /// Whether the amount replaces the count instead of adding to it.
    pub sets: bool,
}

/// The number of a request among those of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// The producer's name: 1 to 64 bytes.
    pub producer: &'a [u8],
    /// The number, at least 1.
    pub sequence: u64,
}

/// What a metric of a number is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName<'a> {
    /// The service's number for it.
    pub number: u32,
    /// Its name.
    pub name: &'a str,
}

/// All fields that this version knows. An absent text is `None`; an empty one counts as absent, except an
/// application key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Id of the service.
    pub service: Option<&'a str>,
    /// The application's user key (services of backend version 1).
    pub user_key: Option<&'a str>,
    /// The application's id.
    pub app_id: Option<&'a str>,
    /// One of the application's keys. May be empty.
    pub app_key: Option<&'a str>,
    /// Who called, for applications with referrer filters.
    pub referrer: Option<&'a str>,
    /// Usage by names of metrics, in order.
    pub usage: Vec<NamedUsage<'a>>,
    /// When it happened, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// A response code to count, three digits.
    pub log_code: Option<&'a str>,
    /// An id under which a repetition is recognized.
    pub idempotency: Option<&'a [u8]>,
    /// A number under which it is; not beside an id.
    pub numbered: Option<Numbered<'a>>,
    /// OAuth.
    pub redirect_uri: Option<&'a str>,
    /// OAuth.
    pub redirect_url: Option<&'a str>,
    /// Requests: names of metrics.
    pub metrics: Vec<&'a str>,
    /// Answers: numbers and names of metrics.
    pub metric_names: Vec<MetricName<'a>>,
    /// Name and version of the client.
    pub client: Option<&'a str>,
    /// A sentence for people.
    pub message: Option<&'a str>,
    /// Limits of the plan, in its order.
    pub limits: Vec<LimitRow>,
    /// Name and version of the node.
    pub node: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn decode(mut reader: Reader<'a>, direction: Direction) -> Result<Fields<'a>, DecodeError> {
        let mut fields = Fields::default();
        let mut seen = 0u128;
        while !reader.is_empty() {
            let tag = reader.u16()?;
            let length = usize::from(reader.u16()?);
            let value = reader.take(length).map_err(|_| DecodeError::Field(tag))?;
            let several = matches!(tag, USAGE | METRIC | LIMIT);
            let bit = 1u128 << (tag & !REQUIRED & 127);
            if is_known(tag) && !several && seen & bit != 0 {
                return Err(DecodeError::Twice(tag));
            }
            if is_known(tag) {
                seen |= bit;
            }
            fields.set(tag, value, direction)?;
        }
        Ok(fields)
    }

    fn set(&mut self, tag: u16, value: &'a [u8], direction: Direction) -> Result<(), DecodeError> {
        match tag {
            SERVICE => self.service = text(tag, value)?,
            USER_KEY => self.user_key = text(tag, value)?,
            APP_ID => self.app_id = text(tag, value)?,
            APP_KEY => self.app_key = Some(utf8(tag, value)?),
            REFERRER => self.referrer = text(tag, value)?,
            USAGE => self.usage.push(named_usage(value)?),
            TIMESTAMP => {
                let seconds = value.try_into().map_err(|_| DecodeError::Field(tag))?;
                self.timestamp = Some(i64::from_le_bytes(seconds));
            }
            LOG_CODE => self.log_code = text(tag, value)?,
            IDEMPOTENCY if (1..=IDEMPOTENCY_LEN_MAX).contains(&value.len()) => {
                self.idempotency = Some(value);
            }
            IDEMPOTENCY => return Err(DecodeError::Field(tag)),
            PRODUCER => self.numbered = Some(numbered(value)?),
            REDIRECT_URI => self.redirect_uri = text(tag, value)?,
            REDIRECT_URL => self.redirect_url = text(tag, value)?,
            METRIC if direction == Direction::Request => self.metrics.push(utf8(tag, value)?),
            METRIC => {
                let mut value = Reader::new(value);
                let number = value.u32().map_err(|_| DecodeError::Field(tag))?;
                self.metric_names.push(MetricName { number, name: utf8(tag, value.rest())? });
            }
            CLIENT => self.client = text(tag, value)?,
            MESSAGE => self.message = text(tag, value)?,
            LIMIT => {
                let row = LimitRow::decode(&mut Reader::new(value));
                self.limits.push(row.map_err(|error| match error {
                    DecodeError::Short => DecodeError::Field(tag),
                    other => other,
                })?);
            }
            NODE => self.node = text(tag, value)?,
            _ if tag & REQUIRED != 0 => return Err(DecodeError::NotKnown(tag)),
            _ => {}
        }
        Ok(())
    }

    /// How many metrics usage names.
    pub(super) fn check_usage(&self, rows: usize) -> Result<(), DecodeError> {
        if rows + self.usage.len() > METRICS_MAX { Err(DecodeError::TooManyMetrics) } else { Ok(()) }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_text(out, CLIENT, self.client)?;
        put_text(out, SERVICE, self.service)?;
        put_text(out, USER_KEY, self.user_key)?;
        put_text(out, APP_ID, self.app_id)?;
        put_text(out, APP_KEY, self.app_key)?;
        put_text(out, REFERRER, self.referrer)?;
        for usage in &self.usage {
            put_head(out, USAGE, usage.metric.len() + 9)?;
            out.put_u8(u8::from(usage.sets));
            out.put_u64_le(usage.amount);
            out.extend_from_slice(usage.metric.as_bytes());
        }
        if let Some(seconds) = self.timestamp {
            put_field(out, TIMESTAMP, &seconds.to_le_bytes())?;
        }
        put_text(out, LOG_CODE, self.log_code)?;
        if let Some(id) = self.idempotency {
            put_field(out, IDEMPOTENCY, within("an id", id, IDEMPOTENCY_LEN_MAX)?)?;
        }
        if let Some(Numbered { producer, sequence }) = self.numbered {
            let producer = within("a producer's name", producer, PRODUCER_LEN_MAX)?;
            put_head(out, PRODUCER, producer.len() + 8)?;
            out.put_u64_le(sequence);
            out.extend_from_slice(producer);
        }
        put_text(out, REDIRECT_URI, self.redirect_uri)?;
        put_text(out, REDIRECT_URL, self.redirect_url)?;
        for name in &self.metrics {
            put_field(out, METRIC, name.as_bytes())?;
        }
        for metric in &self.metric_names {
            put_head(out, METRIC, metric.name.len() + 4)?;
            out.put_u32_le(metric.number);
            out.extend_from_slice(metric.name.as_bytes());
        }
        put_text(out, MESSAGE, self.message)?;
        for limit in &self.limits {
            put_head(out, LIMIT, LimitRow::LEN)?;
            limit.encode(out);
        }
        put_text(out, NODE, self.node)
    }
}

fn is_known(tag: u16) -> bool {
    matches!(tag, SERVICE..=LOG_CODE | REDIRECT_URI..=CLIENT | MESSAGE..=NODE | IDEMPOTENCY | PRODUCER)
}

/// `text`, if it is not too long.
fn within<'a>(what: &'static str, text: &'a [u8], max: usize) -> Result<&'a [u8], EncodeError> {
    if text.len() > max { Err(EncodeError::TooLong { what, max }) } else { Ok(text) }
}

fn numbered(value: &[u8]) -> Result<Numbered<'_>, DecodeError> {
    let mut value = Reader::new(value);
    let sequence = value.u64().map_err(|_| DecodeError::Field(PRODUCER))?;
    let producer = value.rest();
    if sequence == 0 || !(1..=PRODUCER_LEN_MAX).contains(&producer.len()) {
        return Err(DecodeError::Field(PRODUCER));
    }
    Ok(Numbered { producer, sequence })
}

fn utf8(tag: u16, value: &[u8]) -> Result<&str, DecodeError> {
    str::from_utf8(value).map_err(|_| DecodeError::NotText(tag))
}

/// A text of which an empty one is none.
fn text(tag: u16, value: &[u8]) -> Result<Option<&str>, DecodeError> {
    utf8(tag, value).map(|text| (!text.is_empty()).then_some(text))
}

fn named_usage(value: &[u8]) -> Result<NamedUsage<'_>, DecodeError> {
    let mut value = Reader::new(value);
    let cut_short = |_| DecodeError::Field(USAGE);
    let sets = match value.u8().map_err(cut_short)? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Value("the kind of a usage")),
    };
    let amount = value.u64().map_err(cut_short)?;
    Ok(NamedUsage { metric: utf8(USAGE, value.rest())?, amount, sets })
}

fn put_text(out: &mut BytesMut, tag: u16, text: Option<&str>) -> Result<(), EncodeError> {
    text.map_or(Ok(()), |text| put_field(out, tag, text.as_bytes()))
}

fn put_field(out: &mut BytesMut, tag: u16, value: &[u8]) -> Result<(), EncodeError> {
    put_head(out, tag, value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

fn put_head(out: &mut BytesMut, tag: u16, length: usize) -> Result<(), EncodeError> {
    let max = usize::from(u16::MAX);
    let length = u16::try_from(length).map_err(|_| EncodeError::TooLong { what: "a field", max })?;
    out.put_u16_le(tag);
    out.put_u16_le(length);
    Ok(())
}
