//! Which time is asked about: `period` (with `since`), or `granularity` with `since` and `until`, and in which `timezone`.
//!
//! Any of them may be sent as nothing (`null`, or empty): then it is as if it were not sent.

use jiff::{Timestamp, Zoned};

use super::super::answer::Refusal;
use super::super::request::Fields;
use super::times;
use super::windows::{Granularity, Period, Windows, bad_time};
use super::zones::Zone;
use crate::model::time::UnixMillis;

/// What is asked for, besides of what it is.
#[derive(Debug)]
pub(super) struct Asked {
    /// The period, if it was asked for by one.
    pub(super) period: Option<Period>,
    pub(super) windows: Windows,
    /// Whether the same time before is asked for, too, to be compared.
    pub(super) is_compared: bool,
}

/// Periods that a calendar has one after the other.
const CALENDAR: &[Period] = &[Period::Year, Period::Month, Period::Week, Period::Day];

const ONLY_ETERNITY: &str = "Only 'eternity' granularity is supported for period 'eternity'";
const NOT_ETERNITY: &str = "Granularity 'eternity' is only supported for period 'eternity'";

impl Asked {
    /// What the parameters of a call for usage say.
    ///
    /// # Errors
    /// They leave something out, or make no sense (400).
    pub(super) fn usage(fields: &Fields, now: UnixMillis) -> Result<Asked, Refusal> {
        let period = fields.filled("period");
        let (named, sent) = (fields.filled("granularity"), fields.filled("since"));
        if period.is_none() {
            named.as_ref().ok_or(Refusal::Missing("granularity"))?;
            sent.as_ref().ok_or(Refusal::Missing("since"))?;
        }
        let zone = zone(fields)?;
        let period = period.map(|name| Period::parse(name.trim(), &Period::ALL)).transpose()?;
        let granularity = named.map(|name| Granularity::parse(name.trim())).transpose()?;
        let since = || sent.as_deref().map(|text| time(text, &zone)).transpose();
        let windows = match (period, granularity) {
            (Some(Period::Eternity), None | Some(Granularity::Eternity)) => {
                Windows::eternity(&zone, &now_in(&zone, now)?)?
            }
            (Some(Period::Eternity), Some(_)) => return Err(Refusal::Bad(ONLY_ETERNITY.to_owned())),
            (_, Some(Granularity::Eternity)) => return Err(Refusal::Bad(NOT_ETERNITY.to_owned())),
            (Some(period), granularity) => {
                let granularity = granularity.unwrap_or(period.granularity());
                Windows::of_period(period, granularity, &zone, since()?, &now_in(&zone, now)?)?
            }
            (None, granularity) => {
                let granularity = granularity.ok_or(Refusal::Missing("granularity"))?;
                let since = since()?.ok_or(Refusal::Missing("since"))?;
                let until = fields.filled("until").ok_or_else(no_end)?;
                Windows::over(granularity, &zone, &since, &time(&until, &zone)?)?
            }
        };
        // Only this word says it: a client that says nothing, or something else, waits for nothing that it does not read.
        let is_compared =
            fields.text("skip_change").is_some_and(|it| it == "false") && period != Some(Period::Eternity);
        Ok(Asked { period, windows, is_compared })
    }

    /// What the parameters of a call for the applications that used most say: the period of the calendar that `since` lies in.
    ///
    /// # Errors
    /// As of [`Asked::usage`].
    pub(super) fn top(fields: &Fields) -> Result<Asked, Refusal> {
        let period = fields.needed("period")?;
        let since = fields.needed("since")?;
        let period = Period::parse(period.trim(), CALENDAR)?;
        let zone = zone(fields)?;
        let windows = Windows::calendar(period, &zone, &time(&since, &zone)?)?;
        Ok(Asked { period: Some(period), windows, is_compared: false })
    }
}

fn no_end() -> Refusal {
    Refusal::Bad("You need to specify either 'period' or 'since' and 'until'".to_owned())
}

/// The zone that is asked for. A tenant has none of its own here, so without it is UTC.
pub(super) fn zone(fields: &Fields) -> Result<Zone, Refusal> {
    fields.filled("timezone").map_or_else(|| Ok(Zone::utc()), |name| Zone::of(name.trim()))
}

pub(super) fn time(text: &str, zone: &Zone) -> Result<Zoned, Refusal> {
    times::parse(text, zone).ok_or_else(bad_time)
}

/// What time it is there.
pub(super) fn now_in(zone: &Zone, now: UnixMillis) -> Result<Zoned, Refusal> {
    let at = i64::try_from(now.secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    Ok(at.ok_or_else(bad_time)?.to_zoned(zone.zone.clone()))
}
