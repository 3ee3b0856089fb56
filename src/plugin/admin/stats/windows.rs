//! Windows of time that usage is summed in: the months, days, quarters of days or hours of a zone's calendar.
//!
//! A range is rounded to whole windows, so the first and the last may reach beyond what was asked for, as in the original. A day has as many hours as the
//! zone's calendar gives it, 23 or 25 where clocks change, and a quarter of a day begins at 0, 6, 12 and 18 o'clock.
//!
//! What was used is kept by hours of UTC, so a window must begin with one: zones that are off by half an hour are refused. Before 1970 nothing is
//! known; windows there are served, and are empty.

use jiff::civil::Date;
use jiff::{Span, Timestamp, ToSpan, Zoned};

use super::super::answer::Refusal;
use super::zones::Zone;

/// How long windows are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Granularity {
    Month,
    Day,
    /// A quarter of a day, which goes by its seconds.
    SixHours,
    Hour,
    /// One window, of all that there was.
    Eternity,
}

/// A range of time by name, and the windows that it has unless others are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Period {
    Year,
    Month,
    Week,
    Day,
    Eternity,
}

/// Windows without a gap.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) granularity: Granularity,
    pub(super) zone: Zone,
    /// Where each begins, and where the last ends.
    bounds: Vec<Zoned>,
}

/// Where quarters of days begin, in hours.
const QUARTER: i8 = 6;

const HOUR_S: i64 = 3600;

impl Granularity {
    const ALL: [Granularity; 5] = [
        Granularity::Month,
        Granularity::Day,
        Granularity::SixHours,
        Granularity::Hour,
        Granularity::Eternity,
    ];

    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Granularity::Month => "month",
            Granularity::Day => "day",
            Granularity::SixHours => "21600",
            Granularity::Hour => "hour",
            Granularity::Eternity => "eternity",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Granularity, Refusal> {
        let found = Granularity::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| {
            let names = Granularity::ALL.map(Granularity::name);
            Refusal::Bad(format!("Granularity must be one of {names:?}, not {name}"))
        })
    }

    /// The longest range, and how that is said. The original's: what an answer would have beyond that, nobody reads.
    fn range_max(self) -> Option<(Span, &'static str)> {
        match self {
            Granularity::Month => Some((10.years(), "10 years")),
            Granularity::Day => Some((1.year(), "1 year")),
            Granularity::SixHours => Some((6.months(), "6 months")),
            Granularity::Hour => Some((90.days(), "90 days")),
            Granularity::Eternity => None,
        }
    }

    /// Where the window begins that a time lies in.
    fn beginning(self, at: &Zoned) -> Result<Zoned, jiff::Error> {
        let zone = at.time_zone();
        match self {
            Granularity::Month => at.date().first_of_month().to_zoned(zone.clone()),
            Granularity::Day => at.start_of_day(),
            Granularity::SixHours => quarter(at.date(), at.hour() / QUARTER, at),
            Granularity::Hour => {
                let seconds = at.timestamp().as_second();
                Ok(Timestamp::from_second(seconds - seconds.rem_euclid(HOUR_S))?.to_zoned(zone.clone()))
            }
            Granularity::Eternity => Ok(at.clone()),
        }
    }

    /// Where the window begins that is so many after the one that begins at `at`, or before.
    fn step(self, at: &Zoned, by: i32) -> Result<Zoned, jiff::Error> {
        let zone = at.time_zone();
        match self {
            // By dates: where clocks change at midnight, a day begins at one o'clock, and the next one again at midnight.
            Granularity::Month => at.date().checked_add(by.months())?.to_zoned(zone.clone()),
            Granularity::Day => at.date().checked_add(by.days())?.to_zoned(zone.clone()),
            Granularity::SixHours => {
                let quarters = i32::from(at.hour() / QUARTER) + by;
                let date = at.date().checked_add(quarters.div_euclid(4).days())?;
                quarter(date, i8::try_from(quarters.rem_euclid(4)).unwrap_or_default(), at)
            }
            Granularity::Hour => at.checked_add(i64::from(by).hours()),
            Granularity::Eternity => Ok(at.clone()),
        }
    }
}

/// Where a quarter of a day begins, in the zone of `like`.
fn quarter(date: Date, number: i8, like: &Zoned) -> Result<Zoned, jiff::Error> {
    date.at(number * QUARTER, 0, 0, 0).to_zoned(like.time_zone().clone())
}

impl Period {
    pub(super) const ALL: [Period; 5] =
        [Period::Year, Period::Month, Period::Week, Period::Day, Period::Eternity];

    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Period::Year => "year",
            Period::Month => "month",
            Period::Week => "week",
            Period::Day => "day",
            Period::Eternity => "eternity",
        }
    }

    /// The one of that name among some.
    pub(super) fn parse(name: &str, among: &[Period]) -> Result<Period, Refusal> {
        let found = among.iter().copied().find(|it| it.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = among.iter().map(|it| it.name()).collect();
            Refusal::Bad(format!("Period must be one of {names:?}, not {name}"))
        })
    }

    /// What its windows are, unless others are asked for.
    pub(super) fn granularity(self) -> Granularity {
        match self {
            Period::Year => Granularity::Month,
            Period::Month => Granularity::Day,
            Period::Week => Granularity::SixHours,
            Period::Day => Granularity::Hour,
            Period::Eternity => Granularity::Eternity,
        }
    }

    fn span(self) -> Span {
        match self {
            Period::Year | Period::Eternity => 1.year(),
            Period::Month => 1.month(),
            Period::Week => 1.week(),
            Period::Day => 1.day(),
        }
    }

    /// From the day to the time at which the calendar's own period begins that a time lies in, and up to where it ends: weeks begin on Monday.
    fn calendar(self, at: &Zoned) -> Result<[Zoned; 2], jiff::Error> {
        let date = at.date();
        let first = match self {
            Period::Year | Period::Eternity => date.first_of_year(),
            Period::Month => date.first_of_month(),
            Period::Week => date.checked_sub(i32::from(date.weekday().to_monday_zero_offset()).days())?,
            Period::Day => date,
        };
        let zone = at.time_zone();
        Ok([first.to_zoned(zone.clone())?, first.checked_add(self.span())?.to_zoned(zone.clone())?])
    }
}

/// A time that no calendar has.
pub(super) fn bad_time() -> Refusal {
    Refusal::Bad("Date parameters should have valid date/time format.".to_owned())
}

fn out_of_range(_: jiff::Error) -> Refusal {
    bad_time()
}

impl Windows {
    /// Those that two times and what is between lie in.
    ///
    /// # Errors
    /// The range is longer than answers may be, or ends before it begins; or a window begins within an hour of UTC (400).
    pub(super) fn over(
        granularity: Granularity,
        zone: &Zone,
        first: &Zoned,
        last: &Zoned,
    ) -> Result<Windows, Refusal> {
        if last < first {
            return Err(Refusal::Bad("'until' must not be before 'since'".to_owned()));
        }
        let begin = granularity.beginning(first).map_err(out_of_range)?;
        let end = granularity.beginning(last).and_then(|last| granularity.step(&last, 1));
        let end = end.map_err(out_of_range)?;
        if let Some((longest, said)) = granularity.range_max()
            && begin.checked_add(longest).map_err(out_of_range)? < end
        {
            return Err(Refusal::Bad(format!("Time range for the granularity must be less than {said}")));
        }
        let mut bounds = vec![begin];
        while let Some(before) = bounds.last().filter(|it| **it < end) {
            let next = granularity.step(before, 1).map_err(out_of_range)?;
            bounds.push(next);
        }
        Windows { granularity, zone: zone.clone(), bounds }.on_whole_hours()
    }

    /// Those of a period that begins at `since`. Without that it is the one that lies before `now`, and what is there of the current window is in
    /// it.
    ///
    /// # Errors
    /// As of [`Windows::over`].
    pub(super) fn of_period(
        period: Period,
        granularity: Granularity,
        zone: &Zone,
        since: Option<Zoned>,
        now: &Zoned,
    ) -> Result<Windows, Refusal> {
        let span = period.span();
        let (first, now) = match since {
            Some(since) => (since, None),
            None => (now.checked_sub(span).map_err(out_of_range)?, Some(now)),
        };
        let last =
            first.checked_add(span).and_then(|end| end.checked_sub(1.second())).map_err(out_of_range)?;
        // Of 31 March the month before began on 28 February, and would end on 27 March.
        let last = now.filter(|now| **now > last).unwrap_or(&last);
        Windows::over(granularity, zone, &first, last)
    }

    /// The calendar's own period that a time lies in, as one window.
    ///
    /// # Errors
    /// It begins within an hour of UTC (400), or there is no such time.
    pub(super) fn calendar(period: Period, zone: &Zone, at: &Zoned) -> Result<Windows, Refusal> {
        let bounds = period.calendar(at).map_err(out_of_range)?.to_vec();
        Windows { granularity: period.granularity(), zone: zone.clone(), bounds }.on_whole_hours()
    }

    /// All that there was until now, as one window.
    ///
    /// # Errors
    /// There is no such time.
    pub(super) fn eternity(zone: &Zone, now: &Zoned) -> Result<Windows, Refusal> {
        let granularity = Granularity::Hour;
        let end = granularity.beginning(now).and_then(|hour| granularity.step(&hour, 1));
        let bounds = vec![Timestamp::UNIX_EPOCH.to_zoned(zone.zone.clone()), end.map_err(out_of_range)?];
        Windows { granularity: Granularity::Eternity, zone: zone.clone(), bounds }.on_whole_hours()
    }

    /// The time right before the first window, as long as all of them: so many windows before.
    ///
    /// # Errors
    /// As of [`Windows::over`].
    pub(super) fn before(&self) -> Result<Windows, Refusal> {
        let Some(end) = self.bounds.first() else { return Ok(self.clone()) };
        let count = i32::try_from(self.count()).unwrap_or(i32::MAX);
        let begin = self.granularity.step(end, -count).map_err(out_of_range)?;
        Windows { bounds: vec![begin, end.clone()], zone: self.zone.clone(), ..*self }.on_whole_hours()
    }

    fn on_whole_hours(self) -> Result<Windows, Refusal> {
        let is_known = |at: &&Zoned| at.timestamp() >= Timestamp::UNIX_EPOCH;
        let is_whole = |at: &Zoned| {
            i64::from(at.offset().seconds()) % HOUR_S == 0 && at.timestamp().as_second() % HOUR_S == 0
        };
        if self.bounds.iter().filter(is_known).all(is_whole) {
            return Ok(self);
        }
        let name = &self.zone.name;
        Err(Refusal::Bad(format!(
            "Timezone {name} cannot be served: usage is kept by hours of UTC, and it is off by a part of one"
        )))
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Where each begins.
    pub(super) fn beginnings(&self) -> &[Zoned] {
        self.bounds.split_last().map_or(&[], |(_, begins)| begins)
    }

    /// Where the first begins.
    pub(super) fn since(&self) -> Option<&Zoned> {
        self.bounds.first()
    }

    /// The last second of the last.
    pub(super) fn until(&self) -> Option<Zoned> {
        self.bounds.last()?.checked_sub(1.second()).ok()
    }

    /// The boundaries in hours since 1970 UTC, of which what lies before is 0.
    pub(super) fn hours(&self) -> Vec<u32> {
        let hour = |at: &Zoned| u32::try_from(at.timestamp().as_second().div_euclid(HOUR_S)).unwrap_or(0);
        self.bounds.iter().map(hour).collect()
    }
}
