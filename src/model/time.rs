//! Time as the counters see it: UTC, whole minutes, calendar windows.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// From whole seconds.
    #[must_use]
    pub fn from_secs(seconds: u64) -> Self {
        UnixMillis(seconds.saturating_mul(1000))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// The minute this instant lies in.
    #[must_use]
    pub fn minute(self) -> Minute {
        Minute(u32::try_from(self.0 / 60_000).unwrap_or(u32::MAX))
    }
}

/// A minute, counted from 1970-01-01 00:00 UTC: the finest window there is, and all a count needs to know of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Minute(pub u32);

impl Minute {
    /// The first second of the minute.
    #[must_use]
    pub fn secs(self) -> u64 {
        u64::from(self.0) * 60
    }
}

/// The period of a limit. Calendar windows in UTC; weeks start on Monday; eternity is one window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Period {
    Eternity = 0,
    Year = 1,
    Month = 2,
    Week = 3,
    Day = 4,
    Hour = 5,
    Minute = 6,
}

impl Period {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All periods, longest first: the order in which answers list them.
    pub const ALL: [Period; Period::COUNT] = [
        Period::Eternity,
        Period::Year,
        Period::Month,
        Period::Week,
        Period::Day,
        Period::Hour,
        Period::Minute,
    ];

    /// The name in requests and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Period::Eternity => "eternity",
            Period::Year => "year",
            Period::Month => "month",
            Period::Week => "week",
            Period::Day => "day",
            Period::Hour => "hour",
            Period::Minute => "minute",
        }
    }

    /// The period of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == name)
    }

    /// The period of that number (its place in [`Period::ALL`]), as formats on disk write it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Period> {
        Period::ALL.get(usize::from(number)).copied()
    }
}

/// The windows that are open at one minute: the first minute of each, and the first after it, by period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    minute: Minute,
    starts: [u32; Period::COUNT],
    /// Eternity's is never looked at.
    ends: [u32; Period::COUNT],
}

impl Windows {
    /// The windows open at `minute`.
    ///
    /// Costs a calendar conversion (about 50 ns), so keep the answer while the minute lasts.
    #[must_use]
    pub fn at(minute: Minute) -> Windows {
        const DAY: u32 = 24 * 60;
        let day = minute.0 / DAY;
        let date = date_of(minute);
        // Saturates in the days before Monday 1970-01-05 only.
        let into_week = date.weekday().since(Weekday::Monday).unsigned_abs();
        let into_month = date.day().unsigned_abs() - 1;
        let into_year = date.day_of_year().unsigned_abs() - 1;
        let year = day.saturating_sub(u32::from(into_year));
        let month = day.saturating_sub(u32::from(into_month));
        let week = day.saturating_sub(u32::from(into_week));
        let hour = minute.0 / 60 * 60;
        let days = |from: u32, count: u32| from.saturating_add(count).saturating_mul(DAY);
        let (year_days, month_days) =
            (date.days_in_year().unsigned_abs(), date.days_in_month().unsigned_abs());
        Windows {
            minute,
            starts: [0, year * DAY, month * DAY, week * DAY, day * DAY, hour, minute.0],
            ends: [
                u32::MAX,
                days(year, u32::from(year_days)),
                days(month, u32::from(month_days)),
                days(week, 7),
                days(day, 1),
                hour.saturating_add(60),
                minute.0.saturating_add(1),
            ],
        }
    }

    /// The minute these windows were computed for.
    #[must_use]
    pub fn minute(&self) -> Minute {
        self.minute
    }

    /// The first minute of the open window of `period`.
    #[must_use]
    pub fn start(&self, period: Period) -> Minute {
        Minute(self.starts[period as usize])
    }

    /// Whether `at`, not later than this minute, lies in the open window of `period`.
    #[must_use]
    pub fn contains_past(&self, period: Period, at: Minute) -> bool {
        at.0 >= self.starts[period as usize]
    }
}

/// The window of `period` around `minute`: its first second and the first second after it. `None` for eternity.
#[must_use]
pub fn window_secs(period: Period, windows: &Windows) -> Option<(u64, u64)> {
    let end = Minute(windows.ends[period as usize]);
    (period != Period::Eternity).then(|| (windows.start(period).secs(), end.secs()))
}

/// The UTC date of a minute; beyond the year 9999 the last date there is.
fn date_of(minute: Minute) -> jiff::civil::Date {
    let seconds = i64::try_from(minute.secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Minute {
        let timestamp: Timestamp = text.parse().unwrap();
        UnixMillis(timestamp.as_millisecond().unsigned_abs()).minute()
    }

    fn start(text: &str, period: Period) -> Minute {
        Windows::at(minute(text)).start(period)
    }

    #[test]
    fn windows_follow_the_calendar() {
        let at = "2026-11-22T13:45:59Z";
        assert_eq!(start(at, Period::Eternity), Minute(0));
        assert_eq!(start(at, Period::Year), minute("2026-01-01T00:00:00Z"));
        assert_eq!(start(at, Period::Month), minute("2026-11-01T00:00:00Z"));
        assert_eq!(start(at, Period::Week), minute("2026-11-16T00:00:00Z"));
        assert_eq!(start(at, Period::Day), minute("2026-11-22T00:00:00Z"));
        assert_eq!(start(at, Period::Hour), minute("2026-11-22T13:00:00Z"));
        assert_eq!(start(at, Period::Minute), minute("2026-11-22T13:45:00Z"));
    }

    #[test]
    fn weeks_start_on_monday_across_a_year_end() {
        assert_eq!(start("2027-01-03T23:59:00Z", Period::Week), minute("2026-12-28T00:00:00Z"));
        assert_eq!(start("2027-01-04T00:00:00Z", Period::Week), minute("2027-01-04T00:00:00Z"));
    }

    #[test]
    fn month_and_year_ends_know_leap_years() {
        let feb = Windows::at(minute("2028-02-29T12:00:00Z"));
        assert_eq!(
            window_secs(Period::Month, &feb),
            Some((minute("2028-02-01T00:00:00Z").secs(), minute("2028-03-01T00:00:00Z").secs()))
        );
        assert_eq!(
            window_secs(Period::Year, &feb),
            Some((minute("2028-01-01T00:00:00Z").secs(), minute("2029-01-01T00:00:00Z").secs()))
        );
        assert_eq!(window_secs(Period::Eternity, &feb), None);
    }

    #[test]
    fn extremes_do_not_panic() {
        for at in [0, 1, 4 * 1440 - 1, 4 * 1440, u32::MAX] {
            let windows = Windows::at(Minute(at));
            for period in Period::ALL {
                assert!(windows.start(period) <= windows.minute());
                let _ = window_secs(period, &windows);
            }
        }
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for (number, period) in Period::ALL.into_iter().enumerate() {
            assert_eq!(Period::parse(period.name()), Some(period));
            assert_eq!(Period::from_number(u8::try_from(number).unwrap()), Some(period));
        }
        assert_eq!(Period::parse("second"), None);
        assert_eq!(Period::from_number(7), None);
    }
}
