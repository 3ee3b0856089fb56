//! The dates that reports carry: seconds since 1970, or any text that names a year, a month and a day.
//!
//! Ruby's `Date._parse` is the model: pieces are recognised wherever they stand, and what is not recognised is
//! passed over. Read are `2026-11-22 10:00:00 +0100`, ISO 8601 (also compact), RFC 2822, `ctime`, and month
//! names in between. Without an offset UTC is meant; without a time midnight. Two-digit years, week dates and
//! ordinal dates are not read.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// The longest text that is looked at; no date is longer.
const LEN_MAX: usize = 128;

/// Reads a timestamp into seconds since 1970 UTC. `None` for what is none: the caller then means "now".
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || text.len() > LEN_MAX {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits beyond the range are a time too far away, not a missing one.
        return Some(text.parse().unwrap_or(i64::MAX));
    }
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, found: Found::default() };
    scan.run();
    scan.found.seconds()
}

/// The pieces found so far.
#[derive(Default, Debug)]
struct Found {
    /// Year, month, day as written together.
    date: Option<(i16, i8, i8)>,
    time: Option<(i8, i8, i8)>,
    offset_s: Option<i32>,
    /// A month by its name; year and day are then lone numbers.
    month: Option<i8>,
    year: Option<i16>,
    day: Option<i8>,
}

impl Found {
    fn seconds(&self) -> Option<i64> {
        let lone = || Some((self.year?, self.month?, self.day?));
        let (year, month, day) = self.date.or_else(lone)?;
        let (hour, minute, second) = self.time.unwrap_or_default();
        // A leap second belongs to the minute that it ends.
        let civil = DateTime::new(year, month, day, hour, minute, second.min(59), 0).ok()?;
        let offset = Offset::from_seconds(self.offset_s.unwrap_or(0)).ok()?;
        Some(civil.to_zoned(TimeZone::fixed(offset)).ok()?.timestamp().as_second())
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    found: Found,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'0'..=b'9' => self.digits(),
                b'a'..=b'z' | b'A'..=b'Z' => self.word(),
                b'+' | b'-' if self.offset_may_follow() => self.offset(),
                _ => self.at += 1,
            }
        }
    }

    /// A run of digits: time, date, or a lone day or year.
    fn digits(&mut self) {
        let start = self.at;
        let digits = self.run_of(u8::is_ascii_digit);
        let rest = &self.bytes[self.at..];
        if self.found.time.is_none() && rest.first() == Some(&b':') && digits <= 2 {
            self.time(start);
        } else if self.found.date.is_none() && matches!(digits, 8 | 14) {
            self.compact(start, digits);
        } else if let Some((date, len)) =
            self.found.date.is_none().then(|| date_at(&self.bytes[start..])).flatten()
        {
            self.found.date = Some(date);
            self.at = start + len;
        } else if digits <= 2 && self.found.day.is_none() {
            self.found.day = number(&self.bytes[start..self.at]);
        } else if digits == 4 && self.found.year.is_none() {
            self.found.year = number(&self.bytes[start..self.at]);
        }
    }

    /// `20261122`, `20261122T101500`, `20261122101500`: the time may have four or two digits too.
    fn compact(&mut self, start: usize, digits: usize) {
        let bytes = self.bytes;
        let part = |from: usize, len: usize| bytes.get(start + from..start + from + len);
        let parts = (part(0, 4).and_then(number), part(4, 2).and_then(number), part(6, 2).and_then(number));
        if let (Some(year), Some(month), Some(day)) = parts {
            self.found.date = Some((year, month, day));
        }
        let mut time_at = start + 8;
        if digits == 8 {
            if !matches!(self.bytes.get(self.at), Some(b'T' | b't')) {
                return;
            }
            self.at += 1;
            time_at = self.at;
            if !matches!(self.run_of(u8::is_ascii_digit), 2 | 4 | 6) || self.bytes.get(self.at) == Some(&b':')
            {
                // `20261122T10:15:00`: an ordinary time.
                self.at = time_at;
                return;
            }
        }
        let mut pairs = self.bytes[time_at..self.at].chunks(2).map(|pair| number(pair).unwrap_or(i8::MAX));
        let mut next = || pairs.next().unwrap_or(0);
        self.found.time = Some((next(), next(), next()));
        self.skip_fraction();
    }

    /// `10:15`, `10:15:30`, `10:15:30.25`; `start` is where the hour stands.
    fn time(&mut self, start: usize) {
        let hour = number(&self.bytes[start..self.at]);
        let mut next = || {
            if self.bytes.get(self.at) != Some(&b':') {
                return Some(0);
            }
            self.at += 1;
            let from = self.at;
            self.run_of(u8::is_ascii_digit);
            number(&self.bytes[from..self.at])
        };
        let (minute, second) = (next(), next());
        // A time that is none must not pass for midnight.
        let part = |part: Option<i8>| part.unwrap_or(i8::MAX);
        self.found.time = Some((part(hour), part(minute), part(second)));
        self.skip_fraction();
    }

    fn skip_fraction(&mut self) {
        if matches!(self.bytes.get(self.at), Some(b'.' | b',')) {
            self.at += 1;
            self.run_of(u8::is_ascii_digit);
        }
    }

    /// Month, zone, half of the day; anything else (weekdays, the `T` of ISO 8601) says nothing.
    fn word(&mut self) {
        let start = self.at;
        self.run_of(u8::is_ascii_alphabetic);
        let word = self.bytes[start..self.at].to_ascii_lowercase();
        if let Some(month) = month(&word) {
            self.found.month = self.found.month.or(Some(month));
        } else if let Some(hours) = zone(&word) {
            self.found.offset_s = self.found.offset_s.or(Some(hours * 3600));
        } else if let (b"am" | b"pm", Some(time)) = (word.as_slice(), &mut self.found.time) {
            time.0 = match (time.0, word[0]) {
                (12, b'a') => 0,
                (hour @ 1..=11, b'p') => hour + 12,
                (hour, _) => hour,
            };
        }
    }

    /// A sign begins an offset only after a date or time; before that it joins the parts of a date.
    fn offset_may_follow(&self) -> bool {
        self.found.offset_s.is_none()
            && (self.found.time.is_some() || self.found.date.is_some())
            && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit)
    }

    /// `+01`, `+0100`, `+01:00`.
    fn offset(&mut self) {
        let sign = if self.bytes[self.at] == b'-' { -1 } else { 1 };
        self.at += 1;
        let start = self.at;
        let digits = self.run_of(u8::is_ascii_digit);
        let hours_end = self.at.min(start + 2);
        let mut minutes = number::<i32>(&self.bytes[hours_end..self.at]);
        if digits <= 2 && self.bytes.get(self.at) == Some(&b':') {
            self.at += 1;
            let from = self.at;
            self.run_of(u8::is_ascii_digit);
            minutes = number(&self.bytes[from..self.at]);
        }
        let hours = number::<i32>(&self.bytes[start..hours_end]).unwrap_or(0);
        let offset_s = hours.saturating_mul(3600).saturating_add(minutes.unwrap_or(0).saturating_mul(60));
        self.found.offset_s = Some(sign * offset_s);
    }

    /// Moves past all bytes that `belongs` accepts and says how many there were.
    fn run_of(&mut self, belongs: impl Fn(&u8) -> bool) -> usize {
        let len = self.bytes[self.at..].iter().take_while(|byte| belongs(byte)).count();
        self.at += len;
        len
    }
}

/// `2026-11-22` or `22-11-2026`, also with `/` or `.`, at the start of `bytes`; and how long it is.
fn date_at(bytes: &[u8]) -> Option<((i16, i8, i8), usize)> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = digits(0);
    let separator = *bytes.get(first).filter(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
    let second = digits(first + 1);
    let third_at = first + 1 + second + 1;
    if bytes.get(third_at - 1) != Some(&separator) {
        return None;
    }
    let third = digits(third_at);
    let part = |from: usize, len: usize| &bytes[from..from + len];
    let (year, month, day) = match (first, second, third) {
        (4, 1..=2, 1..=2) => (part(0, first), part(first + 1, second), part(third_at, third)),
        (1..=2, 1..=2, 4) => (part(third_at, third), part(first + 1, second), part(0, first)),
        _ => return None,
    };
    Some(((number(year)?, number(month)?, number(day)?), third_at + third))
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number of a month by its English name or at least the first three letters of it.
fn month(word: &[u8]) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let is_it = |name: &&str| word.len() >= 3 && name.as_bytes().starts_with(word);
    (1..).zip(NAMES).find(|(_, name)| is_it(name)).map(|(number, _)| number)
}

/// Hours ahead of UTC of the zones that RFC 2822 names, and central Europe's.
fn zone(word: &[u8]) -> Option<i32> {
    Some(match word {
        b"z" | b"utc" | b"gmt" | b"ut" => 0,
        b"est" | b"cdt" => -5,
        b"edt" => -4,
        b"cst" | b"mdt" => -6,
        b"mst" | b"pdt" => -7,
        b"pst" => -8,
        b"cet" => 1,
        b"cest" => 2,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22 10:15:30 UTC.
    const AT: i64 = 1_795_342_530;
    const MIDNIGHT: i64 = AT - (10 * 3600 + 15 * 60 + 30);

    #[test]
    fn reads_the_formats_that_clients_send() {
        for text in [
            "1795342530",
            " 1795342530\n",
            "2026-11-22 10:15:30 +0000",
            "2026-11-22 10:15:30",
            "2026-11-22T10:15:30Z",
            "2026-11-22t10:15:30z",
            "2026-11-22T10:15:30.987654321Z",
            "2026-11-22T10:15:30,9+00:00",
            "2026-11-22T11:15:30+01:00",
            "2026-11-22 11:15:30 +01",
            "2026-11-22 05:15:30 -0500",
            "2026-11-22 05:15:30 EST",
            "2026-11-21T24:15:30".replace("21T24", "22T10").as_str(),
            "2026/11/22 10:15:30 UTC",
            "22.11.2026 10:15:30",
            "20261122T101530Z",
            "20261122T101530",
            "20261122T111530+0100",
            "20261122T10:15:30Z",
            "20261122101530Z",
            "Sun, 22 Nov 2026 10:15:30 GMT",
            "Sun, 22 Nov 2026 11:15:30 +0100",
            "Sun Nov 22 10:15:30 2026",
            "Sun Nov 22 10:15:30 UTC 2026",
            "Sun Nov 22 05:15:30 -0500 2026",
            "November 22, 2026 10:15:30 am",
            "22-Nov-2026 10:15:30",
        ] {
            assert_eq!(parse(text), Some(AT), "{text}");
        }
        for text in
            ["2026-11-22", "20261122T00Z", "2026.11.22", "22 November 2026", "2026 Nov 22", "2026-11-22Z"]
        {
            assert_eq!(parse(text), Some(MIDNIGHT), "{text}");
        }
        assert_eq!(parse("2026-11-22 +0100"), Some(MIDNIGHT - 3600));
        assert_eq!(parse("2026-11-22 10:15 PM"), Some(AT - 30 + 12 * 3600));
        assert_eq!(parse("2026-11-22 12:00am"), Some(MIDNIGHT));
        assert_eq!(parse("2026-11-22 10:15:60"), Some(AT + 29));
        assert_eq!(parse("1970-01-01 00:00:00 +0000"), Some(0));
        assert_eq!(parse("1969-12-31 23:59:59"), Some(-1));
        assert_eq!(parse("2028-02-29T00:00:00Z"), Some(1_835_395_200));
    }

    #[test]
    fn digits_alone_are_seconds() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("20261122"), Some(20_261_122));
        assert_eq!(parse("99999999999999999999"), Some(i64::MAX));
    }

    #[test]
    fn what_lacks_year_month_or_day_is_none() {
        for text in [
            "",
            " ",
            "-5",
            "1.5",
            "now",
            "abc",
            "10:15:30",
            "Nov 22",
            "Nov 2026",
            "2026-11",
            "2026-13-01",
            "2027-02-29",
            "2026-11-22 25:00",
            "2026-11-22 10:99",
            "2026-11-22 10:",
            "2026-11-22 10:00 +99",
            "26-11-22",
            "\u{662}\u{660}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("2026-11-22{}", " ".repeat(200) + "x")), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,140}") {
            let _ = parse(&text);
        }

        #[test]
        fn anything_like_a_date_is_read(text in "[0-9:TZ+\\-/., a-z]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_was_written_is_read_back(second in -60_000_000_000_i64..250_000_000_000, offset_min in -1000_i32..1000) {
            let timestamp = jiff::Timestamp::from_second(second).unwrap();
            let offset = Offset::from_seconds(offset_min * 60).unwrap();
            let zoned = timestamp.to_zoned(TimeZone::fixed(offset));
            for format in ["%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%:z", "%Y%m%dT%H%M%S%z", "%a, %d %b %Y %H:%M:%S %z"] {
                let text = zoned.strftime(format).to_string();
                prop_assert_eq!(parse(&text), Some(second), "{}", text);
            }
        }
    }
}
