//! Times as the API shows them: UTC, to the second.

use jiff::Timestamp;

/// `2026-11-22T03:00:00Z`.
pub(super) fn text(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as it is shown, as a header has it: `Sun, 22 Nov 2026 03:00:00 GMT`. None of a time that is not known, which is shown as 1970.
pub(super) fn http(shown: &str) -> Option<String> {
    let time = shown.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// What a client means by a time, in milliseconds since 1970 UTC: RFC 3339, or a date.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_as_they_are_shown() {
        assert_eq!(super::text(1_795_312_800_999), "2026-11-22T02:00:00Z");
        assert_eq!(super::parse("2026-11-22T03:00:00+01:00"), Some(1_795_312_800_000));
        assert_eq!(super::parse("2026-11-22"), Some(1_795_305_600_000));
        assert_eq!(super::parse("soon"), None);
        assert_eq!(super::http("2026-11-02T02:00:00Z").unwrap(), "Mon, 02 Nov 2026 02:00:00 GMT");
        assert_eq!((super::http(&super::text(999)), super::http("")), (None, None));
    }
}
