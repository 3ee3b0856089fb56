//! An event, and how it lies on the shelf.
//!
//! ```text
//! Event   1 kind (1 first traffic, 2 first daily traffic, 3 alert), 2 time s, 3 service, 4 application;
//!         of an alert: 5 level (percent), 6 count, 7 max, 8 metric, 9 period (0 eternity .. 6 minute)
//! ```

use prost::Message;

use crate::model::time::Period;

/// Something that happened to an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Ascending, never used again.
    pub id: u64,
    /// When, in seconds since 1970 UTC.
    pub at_s: u64,
    /// What callers name the service by: its external id, or its own.
    pub service: String,
    /// The application's public id.
    pub application: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// It was used for the first time.
    FirstTraffic,
    /// It was used for the first time of a day.
    FirstDailyTraffic,
    /// A count has reached a level of its limit.
    Alert {
        /// The level, in percent of the maximum.
        level: u16,
        /// The count that reached it.
        count: u64,
        /// The maximum.
        max: u64,
        /// Name of the limited metric.
        metric: String,
        /// Over which windows.
        period: Period,
    },
}

const FIRST_TRAFFIC: u32 = 1;
const FIRST_DAILY_TRAFFIC: u32 = 2;
const ALERT: u32 = 3;

#[derive(Clone, PartialEq, Message)]
struct EventRecord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    at_s: u64,
    #[prost(string, tag = "3")]
    service: String,
    #[prost(string, tag = "4")]
    application: String,
    #[prost(uint32, tag = "5")]
    level: u32,
    #[prost(uint64, tag = "6")]
    count: u64,
    #[prost(uint64, tag = "7")]
    max: u64,
    #[prost(string, tag = "8")]
    metric: String,
    #[prost(uint32, tag = "9")]
    period: u32,
}

impl Event {
    pub(super) fn encode(&self) -> Vec<u8> {
        let record = EventRecord {
            at_s: self.at_s,
            service: self.service.clone(),
            application: self.application.clone(),
            ..EventRecord::default()
        };
        let record = match &self.kind {
            EventKind::FirstTraffic => EventRecord { kind: FIRST_TRAFFIC, ..record },
            EventKind::FirstDailyTraffic => EventRecord { kind: FIRST_DAILY_TRAFFIC, ..record },
            EventKind::Alert { level, count, max, metric, period } => EventRecord {
                kind: ALERT,
                level: u32::from(*level),
                count: *count,
                max: *max,
                metric: metric.clone(),
                period: u32::from(*period as u8),
                ..record
            },
        };
        record.encode_to_vec()
    }

    /// The event of a row; none if a newer version wrote something else there.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Event> {
        let record = EventRecord::decode(value).ok()?;
        let kind = match record.kind {
            FIRST_TRAFFIC => EventKind::FirstTraffic,
            FIRST_DAILY_TRAFFIC => EventKind::FirstDailyTraffic,
            ALERT => EventKind::Alert {
                level: u16::try_from(record.level).ok()?,
                count: record.count,
                max: record.max,
                metric: record.metric,
                period: u8::try_from(record.period).ok().and_then(Period::from_number)?,
            },
            _ => return None,
        };
        let id = u64::from_be_bytes(key.try_into().ok()?);
        Some(Event { id, at_s: record.at_s, service: record.service, application: record.application, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_they_were_written() {
        let period = Period::Month;
        let alert = EventKind::Alert { level: 120, count: 12, max: 10, metric: "hits".into(), period };
        for (id, kind) in [(1, EventKind::FirstTraffic), (2, EventKind::FirstDailyTraffic), (u64::MAX, alert)]
        {
            let event = Event { id, at_s: 7, service: "s".into(), application: "a".into(), kind };
            assert_eq!(Event::decode(&id.to_be_bytes(), &event.encode()), Some(event));
        }
        let newer = EventRecord { kind: 4, ..EventRecord::default() };
        assert_eq!(Event::decode(&[0; 8], &newer.encode_to_vec()), None);
        assert_eq!(Event::decode(&[0; 7], &[]), None);
    }
}
