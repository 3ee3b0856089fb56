//! Times as they are asked for and shown: what Ruby reads of them and how Rails writes them, as far as 3scale's users meet it.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Zoned, fmt::strtime};

use super::zones::Zone;

/// A time that was sent, in a zone if it says none itself: a date (`2026-11-22`, `2026-1-2`, `2026/11/22`, `20261122`, `2026-11`), and after a blank
/// or `T` a time of day (`15`, `15:04`, `15:04:05`, with a fraction that says nothing), and after that `Z`, `UTC`, `GMT` or an offset.
pub(super) fn parse(text: &str, zone: &Zone) -> Option<Zoned> {
    let text = text.trim();
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?.trim()),
        None => (text, ""),
    };
    let date = date_of(date)?;
    if rest.is_empty() {
        return date.to_zoned(zone.zone.clone()).ok();
    }
    let (time, offset) =
        rest.split_at(rest.find(|it: char| !"0123456789:.".contains(it)).unwrap_or(rest.len()));
    let at = DateTime::from_parts(date, time_of(time)?);
    let said = match offset.trim() {
        "" => return at.to_zoned(zone.zone.clone()).ok(),
        "Z" | "z" | "UTC" | "GMT" => TimeZone::UTC,
        offset => TimeZone::fixed(offset_of(offset)?),
    };
    Some(at.to_zoned(said).ok()?.with_time_zone(zone.zone.clone()))
}

fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()))
}

fn date_of(text: &str) -> Option<Date> {
    let parts: Vec<_> = text.split(['-', '/']).collect();
    match parts[..] {
        [year, month, day] if year.len() == 4 => Date::new(number(year)?, number(month)?, number(day)?).ok(),
        [year, month] if year.len() == 4 => Date::new(number(year)?, number(month)?, 1).ok(),
        [all] if all.len() == 8 && all.is_ascii() => {
            Date::new(number(&all[..4])?, number(&all[4..6])?, number(&all[6..])?).ok()
        }
        _ => None,
    }
}

fn time_of(text: &str) -> Option<Time> {
    let text = match text.split_once('.') {
        Some((time, fraction)) => Some(time).filter(|_| fraction.bytes().all(|it| it.is_ascii_digit()))?,
        None => text,
    };
    let parts: Vec<i8> = text.split(':').map(number).collect::<Option<_>>()?;
    match parts[..] {
        [hour] => Time::new(hour, 0, 0, 0).ok(),
        [hour, minute] => Time::new(hour, minute, 0, 0).ok(),
        [hour, minute, second] => Time::new(hour, minute, second, 0).ok(),
        _ => None,
    }
}

/// `+01:00`, `+0100`, `-1`.
fn offset_of(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "0"),
    };
    let (hours, minutes) = (number::<i32>(hours)?, number::<i32>(minutes).filter(|it| *it < 60)?);
    Offset::from_seconds(sign * (hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?)).ok()
}

/// As JSON has it: `2026-11-22T03:00:00Z`, `2026-11-22T04:00:00+01:00`.
pub(super) fn in_json(at: &Zoned, zone: &Zone) -> String {
    let offset = if zone.is_utc() { "Z" } else { "%:z" };
    written(at, &format!("%Y-%m-%dT%H:%M:%S{offset}"))
}

/// As XML and CSV have it: `2026-11-22 03:00:00 UTC`, `2026-11-22 04:00:00 +0100`.
pub(super) fn in_text(at: &Zoned, zone: &Zone) -> String {
    let offset = if zone.is_utc() { "UTC" } else { "%z" };
    written(at, &format!("%Y-%m-%d %H:%M:%S {offset}"))
}

fn written(at: &Zoned, format: &str) -> String {
    strtime::format(format, at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_ruby_reads_them() {
        let madrid = Zone::of("Madrid").unwrap();
        for (text, read) in [
            ("2026-07-02", "2026-07-02T00:00:00+02:00"),
            ("2026-1-2", "2026-01-02T00:00:00+01:00"),
            ("2026/1/2", "2026-01-02T00:00:00+01:00"),
            ("20260702", "2026-07-02T00:00:00+02:00"),
            ("2026-07", "2026-07-01T00:00:00+02:00"),
            (" 2026-07-02 15:04:05 ", "2026-07-02T15:04:05+02:00"),
            ("2026-07-02T15:04", "2026-07-02T15:04:00+02:00"),
            ("2026-07-02 15", "2026-07-02T15:00:00+02:00"),
            ("2026-07-02T15:04:05.999Z", "2026-07-02T17:04:05+02:00"),
            ("2026-07-02 15:04:05 UTC", "2026-07-02T17:04:05+02:00"),
            ("2026-07-02T15:04:05+02:00", "2026-07-02T15:04:05+02:00"),
            ("2026-07-02T15:04:05 -0330", "2026-07-02T20:34:05+02:00"),
            ("2026-07-02T15:04:05-3", "2026-07-02T20:04:05+02:00"),
            // An hour that clocks leave out, and one that they show twice.
            ("2026-03-29 02:30:00", "2026-03-29T03:30:00+02:00"),
            ("2026-10-25 02:30:00", "2026-10-25T02:30:00+02:00"),
            ("0150-12-01T00:00:00Z", "0150-11-30T23:45:16-00:14:44"),
        ] {
            let at = parse(text, &madrid).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(in_json(&at, &madrid), read, "{text}");
        }
        for none in [
            "",
            "soon",
            "201501-01",
            "2026-13-01",
            "2026-02-30",
            "2026-07-02 24:00",
            "26-07-02",
            "2026-07-02T",
            "2026-07-02 1:2:3:4",
            "2026-07-02T15:04:05+26:00",
            "2026-07-02T15:04:05 CET",
            "+026-07-02",
            "2026-07-02 \u{e9}",
            "2026-07-0\u{662}",
            "-2026-07-02",
            "2026-07-02T15:04:05+1:60",
            "12345678901",
        ] {
            // Ruby takes a date with nothing after its T for a date.
            assert_eq!(parse(none, &madrid).is_some(), none == "2026-07-02T", "{none}");
        }
    }

    #[test]
    fn times_are_shown_in_their_zone() {
        let shown = |zone: &str| {
            let zone = Zone::of(zone).unwrap();
            let at = parse("2026-11-22T03:00:00Z", &zone).unwrap();
            (in_json(&at, &zone), in_text(&at, &zone))
        };
        assert_eq!(shown("UTC"), ("2026-11-22T03:00:00Z".into(), "2026-11-22 03:00:00 UTC".into()));
        assert_eq!(shown("Madrid"), ("2026-11-22T04:00:00+01:00".into(), "2026-11-22 04:00:00 +0100".into()));
        assert_eq!(shown("London"), ("2026-11-22T03:00:00+00:00".into(), "2026-11-22 03:00:00 +0000".into()));
    }
}
