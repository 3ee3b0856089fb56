//! Which months, days and hours are asked for, in hours since 1970 UTC.

use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// So many days back hours are asked for: 3scale shows no more of them at once.
pub const HOURS_DAYS: u32 = 90;

/// So many seconds after its end an hour is over: clocks differ, and reports of its calls come late.
pub const SETTLED_S: u64 = 300;

/// So many months, with the current one. 3scale shows those of ten years, which with three leap days in them would be more than that.
/// Their days are no more than the node takes values at once.
const MONTHS: i16 = 119;

/// So many days at once; 3scale shows a year of them.
const DAYS_MAX: u32 = 365;

/// What a value is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Granularity {
    Hour,
    Day,
    Month,
}

impl Granularity {
    /// As the analytics API calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Granularity::Hour => "hour",
            Granularity::Day => "day",
            Granularity::Month => "month",
        }
    }
}

/// What is asked for at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Window {
    pub(super) granularity: Granularity,
    /// The first hour.
    pub(super) begin: u32,
    /// The hour behind the last.
    pub(super) end: u32,
    /// How many values that are.
    pub(super) count: usize,
}

impl Window {
    /// `since` and `until`, as they are sent: a time within the last bucket is what is in all readings of `until` that bucket and no other.
    pub(super) fn asked(&self) -> (String, String) {
        let text = |second: i64| timestamp(second).strftime("%Y-%m-%d%%20%H:%M:%S").to_string();
        (text(i64::from(self.begin) * 3600), text(i64::from(self.end) * 3600 - 1))
    }
}

fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The hour of a moment, in seconds since 1970.
pub(super) fn hour_of(second: u64) -> u32 {
    u32::try_from(second / 3600).unwrap_or(u32::MAX)
}

/// When an hour begins, as RFC 3339 has it.
pub(super) fn text_of(hour: u32) -> String {
    timestamp(i64::from(hour) * 3600).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The hour that begins then; none if no hour does.
pub(super) fn hour_in(text: &str) -> Option<u32> {
    let second = u64::try_from(text.trim().parse::<Timestamp>().ok()?.as_second()).ok()?;
    second.is_multiple_of(3600).then(|| hour_of(second))
}

/// The month that the last hour before `end` is in.
fn last_month(end: u32) -> Date {
    let last = timestamp(i64::from(end.saturating_sub(1)) * 3600);
    last.to_zoned(TimeZone::UTC).date().first_of_month()
}

/// The first day of a month, in days since 1970, so many months before the last one.
fn month(end: u32, before: i16) -> u32 {
    let date = last_month(end).saturating_sub(Span::new().months(before));
    let midnight = date.to_zoned(TimeZone::UTC).map_or(0, |it| it.timestamp().as_second());
    hour_of(u64::try_from(midnight).unwrap_or(0)) / 24
}

/// The months that are asked for.
pub(super) fn months_asked(end: u32) -> Window {
    let begin = month(end, MONTHS - 1) * 24;
    Window { granularity: Granularity::Month, begin, end, count: MONTHS.unsigned_abs().into() }
}

/// The days, since 1970, of the months with something in them, of what was answered for [`months_asked`].
pub(super) fn busy_months(end: u32, values: &[u64]) -> Vec<Range<u32>> {
    let all = (0..MONTHS).rev().zip(values).filter(|(_, value)| **value > 0);
    all.map(|(before, _)| month(end, before)..month(end, before - 1)).collect()
}

/// The first day of which hours are asked for.
fn first_day_of_hours(end: u32) -> u32 {
    (end.saturating_sub(1) / 24 + 1).saturating_sub(HOURS_DAYS)
}

/// The hours that are asked for; none, if there are none in the busy months.
pub(super) fn hours_asked(end: u32, busy: &[Range<u32>]) -> Option<Window> {
    let first = first_day_of_hours(end);
    let (begin, granularity) = (first * 24, Granularity::Hour);
    let window = Window { granularity, begin, end, count: end.saturating_sub(begin) as usize };
    busy.iter().any(|month| month.end > first).then_some(window)
}

/// The days before those hours that are asked for: no more at once than 3scale shows, and from busy months to busy months.
pub(super) fn days_asked(end: u32, busy: &[Range<u32>]) -> Vec<Window> {
    let behind = first_day_of_hours(end);
    let mut all: Vec<Range<u32>> = Vec::new();
    for month in busy {
        let mut days = month.start.min(behind)..month.end.min(behind);
        // As much of it as the last has room for.
        if let Some(last) = all.last_mut().filter(|last| days.start < last.start + DAYS_MAX) {
            last.end = days.end.min(last.start + DAYS_MAX);
            days.start = days.start.max(last.end);
        }
        if !days.is_empty() {
            all.push(days);
        }
    }
    let window = |days: Range<u32>| Window {
        granularity: Granularity::Day,
        begin: days.start * 24,
        end: days.end * 24,
        count: days.len(),
    };
    all.into_iter().map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hour that begins then.
    fn at(text: &str) -> u32 {
        hour_in(text).unwrap()
    }

    fn months(busy: &[&str]) -> Vec<Range<u32>> {
        let end = at("2026-11-23T11:00:00Z");
        let first = months_asked(end).begin;
        let values: Vec<_> = (0..MONTHS)
            .rev()
            .map(|before| {
                let begins = text_of(month(end, before) * 24);
                u64::from(busy.iter().any(|it| begins.starts_with(it)))
            })
            .collect();
        assert_eq!(text_of(first), "2017-01-01T00:00:00Z");
        busy_months(end, &values)
    }

    fn days(busy: &[&str]) -> Vec<String> {
        let windows = days_asked(at("2026-11-23T11:00:00Z"), &months(busy));
        windows
            .iter()
            .map(|it| {
                assert_eq!(it.count as u32, (it.end - it.begin) / 24);
                assert!((1..=DAYS_MAX as usize).contains(&it.count));
                format!("{}..{}", &text_of(it.begin)[..10], &text_of(it.end)[..10])
            })
            .collect()
    }

    #[test]
    fn what_is_asked_for_says_its_last_bucket_by_its_last_second() {
        let end = at("2026-11-23T11:00:00Z");
        let hours = hours_asked(end, &months(&["2026-11"])).unwrap();
        assert_eq!(
            hours.asked(),
            ("2026-08-26%2000:00:00".to_owned(), "2026-11-23%2010:59:59".to_owned()),
            "90 days with the last"
        );
        assert_eq!(hours.count, 89 * 24 + 11);
        let months = months_asked(end);
        assert_eq!(months.asked(), ("2017-01-01%2000:00:00".to_owned(), "2026-11-23%2010:59:59".to_owned()));
        // At midnight the day before is the last one, and at the first of a month the month before.
        let always = std::slice::from_ref(&(0..u32::MAX));
        assert_eq!(hours_asked(at("2026-12-01T00:00:00Z"), always).unwrap().count, 90 * 24);
        assert_eq!(text_of(months_asked(at("2026-12-01T00:00:00Z")).begin), "2017-01-01T00:00:00Z");
        assert_eq!(text_of(months_asked(at("2026-12-01T01:00:00Z")).begin), "2017-02-01T00:00:00Z");
    }

    #[test]
    fn hours_are_asked_for_where_months_say_that_there_are_some() {
        let end = at("2026-11-23T11:00:00Z");
        let asked = |busy: &[&str]| hours_asked(end, &months(busy)).is_some();
        assert!(asked(&["2026-08"]) && asked(&["2020-01", "2026-11"]));
        assert!(!asked(&["2026-07"]) && !asked(&[]));
    }

    #[test]
    fn days_are_asked_for_a_year_at_most_at_once_and_only_where_there_is_use() {
        assert!(days(&["2026-11"]).is_empty() && days(&[]).is_empty());
        // Hours begin within August.
        assert_eq!(days(&["2026-08", "2026-09"]), ["2026-08-01..2026-08-26"]);
        assert_eq!(days(&["2017-01", "2017-12"]), ["2017-01-01..2018-01-01"]);
        // With a leap day they are a day more than come at once.
        assert_eq!(days(&["2020-01", "2020-12"]), ["2020-01-01..2020-12-31", "2020-12-31..2021-01-01"]);
        assert_eq!(
            days(&["2018-03", "2018-05", "2022-01", "2026-07", "2026-08"]),
            ["2018-03-01..2018-06-01", "2022-01-01..2022-02-01", "2026-07-01..2026-08-26"]
        );
        let all: Vec<_> =
            (2017..2027).flat_map(|year| (1..=12).map(move |month| format!("{year}-{month:02}"))).collect();
        let all = days(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((all.len(), all.last().unwrap().as_str()), (10, "2025-12-30..2026-08-26"));
    }
}
