//! The dates that reports carry.

use jiff::Timestamp;
use jiff::tz::Offset;
use tollgate::http::timestamp::parse;

/// One input.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(second) = parse(text) else { return };
    assert_eq!(parse(&format!("  {text}\n")), Some(second), "space around it says nothing");
    // Digits alone may name a second that no calendar has.
    let Ok(timestamp) = Timestamp::from_second(second) else {
        assert!(text.trim().bytes().all(|byte| byte.is_ascii_digit()));
        return;
    };
    let civil = Offset::UTC.to_datetime(timestamp);
    // A year before 0 comes of an offset only, and cannot be written.
    if civil.year() >= 0 {
        let (date, time) = (civil.date(), civil.time());
        for written in [format!("{date} {time} +0000"), format!("{date}T{time}Z"), format!("{date}T{time}")] {
            assert_eq!(parse(&written), Some(second), "{written}");
        }
    }
}
