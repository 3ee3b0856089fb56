//! `usage` of the past: what an application or service used in each hour, day or month, and which applications used most.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde_json::{Map, Value, json};

use super::super::Exit;
use super::names;
use super::session::{Failure, Session, nothing};
use super::shown::Shown;
use super::verb::Is;
use crate::listener::system_clock;

/// The flags that are about the past.
pub(super) const FLAGS: &[&str] = &["metric", "period", "since", "until", "granularity", "timezone", "top"];

const COLUMNS: &[&str] = &["date", "value"];
const TOP_COLUMNS: &[&str] = &["id", "name", "value", "account", "plan"];

/// Usage, or with `--top` who used most.
pub(super) fn show(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let is_top = session.asked.value("top").is_some();
    let is_service = session.asked.value("service").is_some();
    let mut fields = if is_top { top(session)? } else { time(session)? };
    fields.insert("metric_name".to_owned(), metric(session)?.into());
    if let Some(zone) = session.asked.value("timezone") {
        fields.insert("timezone".to_owned(), zone.into());
    }
    if is_top {
        let mut answer = session.api.stats(&session.path("services/{service}/top_applications")?, &fields)?;
        let Value::Array(all) = answer["applications"].take() else { return Err(not_usage()) };
        return Ok(Shown::list(all.into_iter().map(super::api::bare).collect(), TOP_COLUMNS));
    }
    let template = if is_service { "services/{service}/usage" } else { "applications/{app}/usage" };
    let answer = session.api.stats(&session.path(template)?, &fields)?;
    let rows = rows(&answer).ok_or_else(not_usage)?;
    Ok(Shown::table(answer, rows, COLUMNS))
}

fn not_usage() -> Failure {
    Failure::new(Exit::Failed, "what answers there shows no usage: is it a node's admin API?")
}

fn wrong(text: &str) -> Failure {
    Failure::new(Exit::Usage, text)
}

/// What a metric is asked for by: what people may know by its id goes by its name.
fn metric(session: &Session<'_>) -> Result<String, Failure> {
    let text = session.asked.value("metric").unwrap_or("hits");
    if text.parse::<u64>().is_err() {
        return Ok(text.to_owned());
    }
    let (_, record) = names::find(session, Is::Metric, text)?;
    Ok(record["system_name"].as_str().unwrap_or(text).to_owned())
}

/// The time that is asked about: a period, or from one time to another.
fn time(session: &Session<'_>) -> Result<Map<String, Value>, Failure> {
    let given = |name: &str| session.asked.value(name);
    let mut fields = nothing();
    let mut put = |name: &str, value: &str| drop(fields.insert(name.to_owned(), value.into()));
    match (given("period"), given("since"), given("until"), given("granularity")) {
        (Some(_), _, Some(_), _) => {
            return Err(wrong("--period is so long until now or from --since on, and --until is not needed"));
        }
        (period, since, None, granularity)
            if period.is_some() || (granularity.is_none() && since.is_none()) =>
        {
            put("period", period.unwrap_or("month"));
            since.into_iter().for_each(|it| put("since", it));
            granularity.into_iter().for_each(|it| put("granularity", it));
        }
        (_, None, ..) => return Err(wrong("--since is needed beside --until or --granularity, or --period")),
        (_, Some(since), until, granularity) => {
            put("granularity", granularity.unwrap_or("day"));
            put("since", since);
            put("until", until.unwrap_or(&now()));
        }
    }
    Ok(fields)
}

/// The calendar's own period that is asked about.
fn top(session: &Session<'_>) -> Result<Map<String, Value>, Failure> {
    let given = |name: &str| session.asked.value(name);
    if given("service").is_none() {
        return Err(wrong("--top is of a --service"));
    }
    if given("until").or(given("granularity")).is_some() {
        return Err(wrong("--top is of one --period, without --until and --granularity"));
    }
    let (period, now) = (given("period").unwrap_or("month"), now());
    let since = given("since").unwrap_or(&now);
    Ok(Map::from_iter([("period".to_owned(), period.into()), ("since".to_owned(), since.into())]))
}

fn now() -> String {
    let second = i64::try_from(system_clock()().0 / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// An answer as rows, of which the last is the total.
fn rows(answer: &Value) -> Option<Vec<Value>> {
    let period = &answer["period"];
    let zone = period["timezone"].as_str().and_then(|name| TimeZone::get(name).ok());
    let since = period["since"].as_str()?.parse::<Timestamp>().ok()?;
    let since = since.to_zoned(zone.unwrap_or(TimeZone::UTC));
    let granularity =
        period["granularity"].as_str().map_or_else(|| period["granularity"].to_string(), str::to_owned);
    let values = answer["values"].as_array()?;
    let date = |at: usize| date(&since, &granularity, i32::try_from(at).ok()?);
    let rows = values.iter().enumerate().map(|(at, value)| Some(json!({"date": date(at)?, "value": value})));
    let total = json!({"date": "total", "value": answer["total"]});
    rows.chain([Some(total)]).collect()
}

/// When the window begins that is so many after the first, in the zone's own time.
fn date(since: &Zoned, granularity: &str, at: i32) -> Option<String> {
    let (begins, format) = match granularity {
        "month" => (since.datetime().checked_add(at.months()).ok()?, "%Y-%m"),
        "day" => (since.datetime().checked_add(at.days()).ok()?, "%Y-%m-%d"),
        "hour" => (since.checked_add(i64::from(at).hours()).ok()?.datetime(), "%Y-%m-%d %H:%M"),
        // Quarters of a day, of weeks.
        _ => (quarter(since.datetime(), at)?, "%Y-%m-%d %H:%M"),
    };
    Some(begins.strftime(format).to_string())
}

/// By the clock, where it is changed meanwhile, too.
fn quarter(since: DateTime, at: i32) -> Option<DateTime> {
    since.checked_add((i64::from(at) * 6).hours()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(granularity: &str, since: &str, timezone: &str, count: usize) -> Vec<String> {
        let period = json!({"since": since, "timezone": timezone, "granularity": granularity});
        let answer = json!({"period": period, "total": 7, "values": vec![1; count]});
        let mut rows = rows(&answer).unwrap();
        assert_eq!(rows.pop(), Some(json!({"date": "total", "value": 7})));
        rows.iter().map(|row| row["date"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_value_has_the_date_at_which_it_begins() {
        let utc = |granularity: &str, since: &str| dates(granularity, since, "Etc/UTC", 3);
        assert_eq!(utc("month", "2025-12-01T00:00:00Z"), ["2025-12", "2026-01", "2026-02"]);
        assert_eq!(utc("day", "2024-02-28T00:00:00Z"), ["2024-02-28", "2024-02-29", "2024-03-01"]);
        assert_eq!(
            utc("hour", "2026-01-31T23:00:00Z"),
            ["2026-01-31 23:00", "2026-02-01 00:00", "2026-02-01 01:00"]
        );
        assert_eq!(
            utc("21600", "2026-01-31T12:00:00Z"),
            ["2026-01-31 12:00", "2026-01-31 18:00", "2026-02-01 00:00"]
        );
        assert_eq!(rows(&json!({"values": [1]})), None);
    }
}
