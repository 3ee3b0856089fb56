//! Telling what past hours were: `PUT /stats/applications/ID/usage`, which the original does not have. It is for history that was counted elsewhere.
//! Administrators alone may, with a token that may write and has the scopes `stats` and `account_management`.
//!
//! `values` are set, not added, so a call may be made twice; `null` among them leaves an hour as it is. Nothing follows for other metrics: where it came from, a
//! method's usage is in its metric's already.
//!
//! A day's value is set as that of its hour of noon, UTC, and its other hours to nothing: so it is the same day in all zones from UTC-12 to UTC+11.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::answer::{Outcome, Refusal, Reply};
use super::super::audit::Object;
use super::super::context::{Context, Edit};
use super::super::request::{Fields, text_of};
use super::super::xml::Element;
use super::asked;
use super::counters::{Counters, Source};
use super::times;
use super::windows::bad_time;
use super::zones::Zone;
use super::{CODE, METRIC};
use crate::journal::rows::Rows;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::UnixMillis;
use crate::plugin::analytics::past::{self, PLUGIN};

/// The most values of a call: hours of half a year, or days of ten. A body in JSON has not many more; and what a call sets is one command, which holds up others.
pub(super) const VALUES_MAX: usize = 4000;

/// So many years ago the first hour may be. What is told is kept for ever; a 3scale shows ten years.
const YEARS_MAX: i64 = 11;

/// The greatest value: ten years of it in each hour are still counted exactly.
pub(super) const VALUE_MAX: i64 = 100_000_000_000_000;

const DAY: u32 = 24;

/// The hour of a day that its value is set in.
const NOON: u32 = 12;

/// What is told.
#[derive(PartialEq, Eq, Debug)]
struct Told {
    /// In hours since 1970 UTC.
    first: u32,
    /// What each hour was; what is not told stays.
    hours: Vec<Option<i64>>,
}

pub(super) fn put_usage(context: &Context<'_>) -> Outcome {
    let name = context.request.parameters().needed(METRIC);
    put(context, METRIC, |edit| {
        let source = Source::application(context, edit.seen())?;
        let name = name?;
        source.metric(edit.seen(), name.trim()).map(|it| (it, name))
    })
}

pub(super) fn put_response_code(context: &Context<'_>) -> Outcome {
    let code = context.request.parameters().needed(CODE);
    put(context, CODE, |edit| {
        let source = Source::application(context, edit.seen())?;
        let code = code?;
        source.response_code(&code).map(|it| (it, code))
    })
}

/// Sets what is told; `counters` finds of what it is, and how that was named.
fn put(
    context: &Context<'_>,
    parameter: &'static str,
    counters: impl FnOnce(&Edit<'_, '_, '_>) -> Result<(Counters, String), Refusal>,
) -> Outcome {
    let fields = context.request.parameters();
    if let Some(analytics) = context.analytics
        && let Err(behind) = analytics.following().catch_up()
    {
        // It is only for the log.
        tracing::debug!(%behind, "past usage is logged with older sums of before");
    }
    context.change_beside(PLUGIN, |edit, beside| {
        let (counters, name) = counters(edit)?;
        let told = Told::read(&fields, context.now)?;
        let application = ApplicationId(context.id(0)?);
        let slots = counters.of.iter().map(|(_, slot)| *slot);
        slots.for_each(|slot| told.put(beside, application, slot));
        let hours = told.hours.iter().flatten().count();
        let since = told.since();
        let mut after = Map::new();
        after.insert(parameter.to_owned(), name.clone().into());
        after.insert("since".to_owned(), since.clone().into());
        after.insert("hours".to_owned(), hours.into());
        let shown = Value::from(after.clone());
        let element =
            Element::new("usage").field(parameter, name).field("since", since).field("hours", hours);
        // In the answer it would be no news.
        let mut logged = after;
        let total = told.hours.iter().flatten().fold(0_i64, |sum, value| sum.saturating_add(*value));
        logged.insert("total".to_owned(), total.into());
        let before = told
            .before(context, &counters)?
            .map(|total| Map::from_iter([("total".to_owned(), total.into())]));
        let object = Object { kind: "usage".to_owned(), id: application.0, before, after: Some(logged) };
        Ok((Reply::written(json!({ "usage": shown }), element), object))
    })
}

impl Told {
    fn read(fields: &Fields, now: UnixMillis) -> Result<Told, Refusal> {
        let granularity = fields.needed("granularity")?;
        let since = fields.needed("since")?;
        let each = match granularity.trim() {
            "hour" => 1,
            "day" => DAY,
            other => return Err(bad(&format!("granularity must be hour or day, not {other}"))),
        };
        let since = asked::time(&since, &asked::zone(fields)?)?.timestamp().as_second();
        if since % (i64::from(each) * 3600) != 0 {
            let what = if each == 1 { "a full hour" } else { "midnight, UTC" };
            return Err(bad(&format!("since must be {what}")));
        }
        if since < oldest(now)? {
            return Err(bad("since is more than eleven years ago"));
        }
        let first = u32::try_from(since / 3600).map_err(|_| bad_time())?;
        let values = values(fields)?;
        let over = now.secs() / 3600;
        let end = u64::from(first) + u64::from(each) * values.len() as u64;
        if end > over {
            return Err(bad("only hours that are over can be set"));
        }
        let spread = |value: Option<i64>| {
            (0..each).map(move |hour| value.map(|value| if each == 1 || hour == NOON { value } else { 0 }))
        };
        Ok(Told { first, hours: values.into_iter().flat_map(spread).collect() })
    }

    fn since(&self) -> String {
        let at = jiff::Timestamp::from_second(i64::from(self.first) * 3600).unwrap_or_default();
        times::in_json(&at.to_zoned(jiff::tz::TimeZone::UTC), &Zone::utc())
    }

    /// What was known of the hours from the first to the last.
    fn before(&self, context: &Context<'_>, counters: &Counters) -> Result<Option<i64>, Refusal> {
        let Some(analytics) = context.analytics else { return Ok(None) };
        let end = self.first.saturating_add(u32::try_from(self.hours.len()).unwrap_or(u32::MAX));
        let mut total = 0_i64;
        for (subject, slot) in &counters.of {
            let sums = analytics.sums(*subject, *slot, &[self.first, end])?;
            total = sums.into_iter().fold(total, i64::saturating_add);
        }
        Ok(Some(total))
    }

    /// Adds it to a command's part, day by day.
    fn put(&self, beside: &mut Rows, application: ApplicationId, slot: MetricSlot) {
        let mut days = BTreeMap::<u32, [Option<i64>; DAY as usize]>::new();
        for (hour, value) in (self.first..).zip(&self.hours).filter(|(_, value)| value.is_some()) {
            days.entry(hour / DAY).or_default()[(hour % DAY) as usize] = *value;
        }
        days.iter().for_each(|(day, hours)| past::set(beside, application, slot, *day, hours));
    }
}

/// The second before which nothing is told.
fn oldest(now: UnixMillis) -> Result<i64, Refusal> {
    let now = asked::now_in(&Zone::utc(), now)?;
    let oldest = now.checked_sub(jiff::Span::new().years(YEARS_MAX)).map_err(|_| bad_time())?;
    Ok(oldest.timestamp().as_second())
}

fn bad(text: &str) -> Refusal {
    Refusal::Bad(text.to_owned())
}

/// The values that were sent: numbers, in a form their digits.
fn values(fields: &Fields) -> Result<Vec<Option<i64>>, Refusal> {
    let sent = match fields.value("values") {
        Some(Value::Array(sent)) if !sent.is_empty() => sent,
        Some(Value::Null) | None => return Err(Refusal::Missing("values")),
        Some(_) => return Err(bad("values must be a list of numbers")),
    };
    if sent.len() > VALUES_MAX {
        return Err(bad(&format!("there are at most {VALUES_MAX} values")));
    }
    sent.iter().map(value).collect()
}

fn value(sent: &Value) -> Result<Option<i64>, Refusal> {
    let text = text_of(sent).filter(|_| !sent.is_boolean());
    let text = text.ok_or_else(|| bad("values must be a list of numbers"))?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_whole = text.bytes().all(|it| it.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|it| is_whole && *it <= VALUE_MAX);
    number
        .map(Some)
        .ok_or_else(|| bad(&format!("a value is a whole number from 0 to {VALUE_MAX}, or null, not {text}")))
}
