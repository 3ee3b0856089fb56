//! Windows: where each begins, and how many hours it has.

use super::super::super::answer::Refusal;
use super::super::super::request::Fields;
use super::super::asked::Asked;
use super::super::times;
use super::super::windows::Windows;
use super::*;
use crate::model::time::UnixMillis;

fn fields(parameters: &Value) -> Fields {
    Fields::from(parameters.as_object().unwrap().clone())
}

fn asked_at(now: &str, parameters: &Value) -> Result<Asked, Refusal> {
    let now = now.parse::<jiff::Timestamp>().unwrap().as_second();
    Asked::usage(&fields(parameters), UnixMillis::from_secs(now.try_into().unwrap()))
}

const NOW: &str = "2026-11-22T13:45:30Z";

fn asked(parameters: &Value) -> Asked {
    asked_at(NOW, parameters).unwrap_or_else(|refusal| panic!("{parameters}: {refusal:?}"))
}

/// First and last second, and how many windows there are.
fn range(windows: &Windows) -> (String, String, usize) {
    let shown = |at: &jiff::Zoned| times::in_json(at, &windows.zone);
    (shown(windows.since().unwrap()), shown(&windows.until().unwrap()), windows.count())
}

fn lengths(windows: &Windows) -> Vec<u32> {
    windows.hours().windows(2).map(|bounds| bounds[1] - bounds[0]).collect()
}

#[test]
fn a_period_is_rounded_to_whole_windows() {
    let (day, month, year, week) = ("day", "month", "year", "week");
    for (now, period, zone, since, (from, to, count)) in [
        (
            "2009-12-04T11:12:00Z",
            day,
            "Madrid",
            None,
            ("2009-12-03T12:00:00+01:00", "2009-12-04T12:59:59+01:00", 25),
        ),
        (
            "2009-12-11T19:10:00Z",
            day,
            "Kamchatka",
            None,
            ("2009-12-11T07:00:00+12:00", "2009-12-12T07:59:59+12:00", 25),
        ),
        (NOW, day, "UTC", Some("2020-03-19"), ("2020-03-19T00:00:00Z", "2020-03-19T23:59:59Z", 24)),
        (
            "2009-12-13T00:00:00Z",
            month,
            "Madrid",
            None,
            ("2009-11-13T00:00:00+01:00", "2009-12-13T23:59:59+01:00", 31),
        ),
        (
            NOW,
            year,
            "Azores",
            Some("2010-01-01"),
            ("2010-01-01T00:00:00-01:00", "2010-12-31T23:59:59-01:00", 12),
        ),
        (NOW, year, "UTC", None, ("2025-11-01T00:00:00Z", "2026-11-30T23:59:59Z", 13)),
        (NOW, week, "UTC", None, ("2026-11-15T12:00:00Z", "2026-11-22T17:59:59Z", 29)),
        (NOW, week, "UTC", Some("2026-11-16"), ("2026-11-16T00:00:00Z", "2026-11-22T23:59:59Z", 28)),
        (NOW, month, "UTC", Some("2028-02-01"), ("2028-02-01T00:00:00Z", "2028-02-29T23:59:59Z", 29)),
        (NOW, month, "UTC", Some("2026-02-01 10:00"), ("2026-02-01T00:00:00Z", "2026-03-01T23:59:59Z", 29)),
        // What would end a day early, and what would end right before the current window.
        ("2026-03-31T12:00:00Z", month, "UTC", None, ("2026-02-28T00:00:00Z", "2026-03-31T23:59:59Z", 32)),
        ("2026-11-22T13:00:00Z", day, "UTC", None, ("2026-11-21T13:00:00Z", "2026-11-22T13:59:59Z", 25)),
        // Both are of long before there was a calendar with zones.
        (
            NOW,
            month,
            "Pacific Time (US & Canada)",
            Some("0150-12-01"),
            ("0150-12-01T00:00:00-07:52", "0150-12-31T23:59:59-07:52", 31),
        ),
        (
            NOW,
            day,
            "Europe/Madrid",
            Some("2026-10-25"),
            ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00", 25),
        ),
    ] {
        let ask = json!({"period": period, "timezone": zone, "since": since});
        let asked = asked_at(now, &ask).unwrap_or_else(|refusal| panic!("{ask}: {refusal:?}"));
        let (since, until, windows) = range(&asked.windows);
        assert_eq!(
            (cut(&since), cut(&until), windows),
            (from.to_owned(), to.to_owned(), count),
            "{now} {ask}"
        );
    }
}

/// A time without the seconds that offsets had once.
fn cut(text: &str) -> String {
    text.chars().take("2009-12-03T12:00:00+01:00".len()).collect()
}

#[test]
fn days_have_as_many_hours_as_the_calendar_gives_them() {
    for (zone, granularity, since, until, expected) in [
        ("Madrid", "day", "2026-03-28", "2026-03-30", vec![24, 23, 24]),
        ("Madrid", "day", "2026-10-24", "2026-10-26", vec![24, 25, 24]),
        ("Madrid", "21600", "2026-03-29", "2026-03-29 23:00", vec![5, 6, 6, 6]),
        ("Madrid", "21600", "2026-10-25", "2026-10-26", vec![7, 6, 6, 6, 6]),
        // Clocks that change at midnight, forwards and back.
        ("Brasilia", "day", "2018-11-03", "2018-11-05", vec![24, 23, 24]),
        ("Brasilia", "21600", "2018-11-03 18:00", "2018-11-04 18:00", vec![6, 5, 6, 6, 6]),
        ("Brasilia", "day", "2018-02-16", "2018-02-18", vec![24, 25, 24]),
        ("Madrid", "month", "2026-02-10", "2026-04-01", vec![672, 743, 720]),
        ("UTC", "month", "2027-12-31", "2028-02-01", vec![744, 744, 696]),
        ("Madrid", "hour", "2026-10-25 01:00", "2026-10-25 03:00", vec![1, 1, 1, 1]),
    ] {
        let ask = json!({"granularity": granularity, "since": since, "until": until, "timezone": zone});
        assert_eq!(lengths(&asked(&ask).windows), expected, "{ask}");
    }
    let year = asked(&json!({"period": "year", "since": "2026-01-01", "timezone": "Madrid"}));
    let expected = [744, 672, 743, 720, 744, 720, 744, 744, 720, 745, 720, 744];
    assert_eq!((lengths(&year.windows).as_slice(), expected.iter().sum::<u32>()), (&expected[..], 8760));
}

#[test]
fn before_1970_there_is_nothing() {
    let ask = json!({"granularity": "day", "since": "1969-12-30", "until": "1970-01-02"});
    assert_eq!(asked(&ask).windows.hours(), [0, 0, 0, 24, 48]);
}

#[test]
fn eternity_is_one_window_whatever_else_is_asked() {
    for ask in [
        json!({"period": "eternity"}),
        json!({"period": "eternity", "granularity": "eternity", "since": "2015-06-15", "until": "2018-01-01"}),
        json!({"period": "eternity", "since": "soon", "skip_change": false}),
    ] {
        let asked = asked(&ask);
        let expected = ("1970-01-01T00:00:00Z".to_owned(), "2026-11-22T13:59:59Z".to_owned(), 1);
        assert_eq!((range(&asked.windows), asked.is_compared), (expected, false), "{ask}");
    }
}

#[test]
fn what_is_compared_are_as_many_windows_before() {
    for (granularity, since, until, zone, from, to) in [
        (
            "month",
            "2010-01-01",
            "2010-12-31",
            "Madrid",
            "2009-01-01T00:00:00+01:00",
            "2009-12-31T23:59:59+01:00",
        ),
        ("day", "2026-03-01", "2026-03-31", "UTC", "2026-01-29T00:00:00Z", "2026-02-28T23:59:59Z"),
        (
            "21600",
            "2026-03-30",
            "2026-03-30 11:00",
            "Madrid",
            "2026-03-29T12:00:00+02:00",
            "2026-03-29T23:59:59+02:00",
        ),
        (
            "hour",
            "2026-11-22 00:00",
            "2026-11-22 02:00",
            "UTC",
            "2026-11-21T21:00:00Z",
            "2026-11-21T23:59:59Z",
        ),
    ] {
        let ask = json!({"granularity": granularity, "since": since, "until": until, "timezone": zone, "skip_change": "false"});
        let asked = asked(&ask);
        let before = asked.windows.before().unwrap();
        assert!(asked.is_compared);
        assert_eq!(range(&before), (from.to_owned(), to.to_owned(), 1), "{ask}");
    }
    for words in [json!("true"), json!(true), json!("False"), json!("0"), json!(0), json!(null), json!("")] {
        assert!(!asked(&json!({"period": "day", "skip_change": words})).is_compared, "{words}");
    }
    assert!(asked(&json!({"period": "day", "skip_change": false})).is_compared);
}

#[test]
fn a_range_has_so_many_windows_and_no_more() {
    for (granularity, since, until, beyond, said) in [
        ("day", "2010-01-01", "2010-12-31", "2011-01-01", "1 year"),
        ("day", "2012-01-01", "2012-12-31", "2013-01-01", "1 year"),
        ("hour", "2010-01-01", "2010-03-31 23:59", "2010-04-01", "90 days"),
        ("month", "2010-01-01", "2019-12-31", "2020-01-01", "10 years"),
        ("21600", "2010-01-01", "2010-06-30 23:00", "2010-07-01", "6 months"),
    ] {
        let ask = |until: &str| json!({"granularity": granularity, "since": since, "until": until});
        asked(&ask(until));
        let refusal = asked_at(NOW, &ask(beyond)).unwrap_err();
        let expected = format!("Time range for the granularity must be less than {said}");
        assert!(matches!(&refusal, Refusal::Bad(text) if *text == expected), "{refusal:?}");
    }
}

#[test]
fn the_calendars_period_is_the_one_that_a_time_lies_in() {
    for (period, since, zone, from, to) in [
        ("year", "2026-11-22", "UTC", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z"),
        ("month", "2026-11-22", "Madrid", "2026-11-01T00:00:00+01:00", "2026-11-30T23:59:59+01:00"),
        ("week", "2026-11-22", "UTC", "2026-11-16T00:00:00Z", "2026-11-22T23:59:59Z"),
        ("week", "2026-11-23 05:00", "UTC", "2026-11-23T00:00:00Z", "2026-11-29T23:59:59Z"),
        ("day", "2026-10-25 12:00", "Madrid", "2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00"),
    ] {
        let ask = json!({"period": period, "since": since, "timezone": zone});
        let asked = Asked::top(&fields(&ask)).unwrap();
        assert_eq!(range(&asked.windows), (from.to_owned(), to.to_owned(), 1), "{ask}");
    }
}

#[test]
fn zones_that_are_off_by_a_part_of_an_hour_are_refused() {
    for zone in ["New Delhi", "Newfoundland", "Kathmandu", "Adelaide"] {
        for ask in [json!({"period": "day", "timezone": zone}), json!({"period": "year", "timezone": zone})] {
            let refusal = asked_at(NOW, &ask).unwrap_err();
            assert!(
                matches!(&refusal, Refusal::Bad(text) if text.contains("cannot be served")),
                "{refusal:?}"
            );
        }
    }
    // At half an hour for half of the year only: the months' bounds tell.
    let island = |since: &str| {
        asked_at(NOW, &json!({"period": "day", "timezone": "Australia/Lord_Howe", "since": since}))
    };
    assert!(island("2026-01-10").is_ok() && island("2026-06-10").is_err());
}
