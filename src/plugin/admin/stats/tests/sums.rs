//! Sums over random usage, against a plain model: what was used in which hour, and an own idea of which hours are of one window.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::zones::Zone;
use super::*;

/// 2026-11-22 13:00 UTC, in hours since 1970: the hours before it are over.
const OVER: i64 = 498_709;

/// How far back usage lies.
const HOURS: i64 = 500 * 24;

const ZONES: [&str; 6] =
    ["UTC", "Madrid", "America/New_York", "Auckland", "Africa/Casablanca", "America/Havana"];

/// Granularities, and how many hours are asked for at most.
const LONGEST: [(&str, i64); 4] =
    [("month", 400 * 24), ("day", 300 * 24), ("21600", 150 * 24), ("hour", 80 * 24)];

/// A question: granularity, zone, the application or all, from where, how long, and what is set before: hour, value.
type Question = (usize, usize, Option<usize>, i64, u32, Vec<(usize, i64, i64)>);

fn question() -> impl Strategy<Value = Question> {
    let set = prop::collection::vec((0..2_usize, 1..HOURS, 0..1000_i64), 0..6);
    (0..4_usize, 0..ZONES.len(), prop::option::of(0..2_usize), 0..HOURS, 0..1000_u32, set)
}

fn at(hour: i64, zone: &TimeZone) -> Zoned {
    Timestamp::from_second(hour * 3600).unwrap().to_zoned(zone.clone())
}

/// What is the same for hours of one window, and another for those of the next.
fn key(granularity: &str, hour: i64, zone: &TimeZone) -> (i64, i8, i8, i8) {
    let at = at(hour, zone);
    match granularity {
        "month" => (at.year().into(), at.month(), 0, 0),
        "day" => (at.year().into(), at.month(), at.day(), 0),
        "21600" => (at.year().into(), at.month(), at.day(), at.hour() / 6),
        _ => (hour, 0, 0, 0),
    }
}

#[test]
fn sums_of_any_windows_are_those_of_their_hours() {
    let it = Called::new();
    let model = RefCell::new([BTreeMap::<i64, i64>::new(), BTreeMap::new()]);
    let mut runner = TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let done = runner.run(&question(), |(granularity, zone, of, back, length, set)| {
        for (application, back, value) in set {
            let hour = OVER - back;
            let since = at(hour, &TimeZone::UTC).timestamp().to_string();
            // The hour after it may not be over.
            let values = if back > 1 { json!([value, null]) } else { json!([value]) };
            let ask = json!({"metric_name": "hits", "granularity": "hour", "since": since, "values": values});
            let (status, body) = it.put(application, ask);
            prop_assert_eq!(status, 200, "{}", body);
            model.borrow_mut()[application].insert(hour, value);
        }
        let (granularity, longest) = LONGEST[granularity];
        let (zone_name, zone) = (ZONES[zone], Zone::of(ZONES[zone]).unwrap().zone);
        let (first, last) = (OVER - back, OVER - back + i64::from(length) * longest / 1000);
        let text = |hour: i64| at(hour, &TimeZone::UTC).timestamp().to_string();
        let ask = json!({
            "metric_name": "hits", "granularity": granularity, "timezone": zone_name, "since": text(first), "until": text(last),
        });
        let shown = match of {
            Some(at) => it.of_application(at, ask),
            None => it.of_service(ask),
        };
        let used = |hour: i64| -> i64 {
            let model = model.borrow();
            let of = of.map_or(0..2, |at| at..at + 1);
            of.map(|at| model[at].get(&hour).copied().unwrap_or(0)).sum()
        };
        // From the first hour of the window that the first lies in, to the last of the last.
        let same = |a: i64, b: i64| key(granularity, a, &zone) == key(granularity, b, &zone);
        let begin = (0..).map(|back| first - back).find(|hour| !same(*hour - 1, first)).unwrap();
        let end = (1..).map(|ahead| last + ahead).find(|hour| !same(*hour, last)).unwrap();
        let mut expected = Vec::new();
        for hour in begin..end {
            if hour == begin || !same(hour, hour - 1) {
                expected.push(0);
            }
            *expected.last_mut().unwrap() += used(hour);
        }
        prop_assert_eq!(&shown["values"], &json!(expected), "{}", shown);
        prop_assert_eq!(&shown["total"], &json!(expected.iter().sum::<i64>()));
        let since = shown["period"]["since"].as_str().unwrap().parse::<Timestamp>().unwrap();
        prop_assert_eq!(since.as_second(), begin * 3600);
        let until = shown["period"]["until"].as_str().unwrap().parse::<Timestamp>().unwrap();
        prop_assert_eq!(until.as_second(), end * 3600 - 1);
        Ok(())
    });
    done.unwrap();
}
