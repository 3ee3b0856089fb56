//! Usage history of a 3scale: what each application used of each metric, from 3scale's analytics API.
//!
//! # What is asked
//! That API tells of one metric of one product or application at a time, so what was never used is asked for as seldom as can be:
//! 1. **of each product and metric its months**, one call each. What has none is not asked for again.
//! 2. **of each application and each metric that is left its months**; of methods, too, whatever is above them: a count may have been set back there.
//! 3. **its hours**, those of the last [`HOURS_DAYS`] days (3scale has no more), and **the days before that**, a year a call, where months say that there was use.
//!
//! # Until when
//! The hours that were over when history was first asked for: the work folder remembers it, so that a migration that was stopped asks the same again, and finds what
//! it has. An hour counts as over some minutes after its end ([`SETTLED_S`]), when reports of its calls are in.
//!
//! # What stays behind
//! Usage before the last ten years, of response codes, of metrics and applications that did not come, and of deleted applications. A 3scale without analytics, or a token
//! without their scope, is no error: it is said, and history stays behind. So does a metric of a product that is refused, told in odd numbers, or never answered though it
//! is asked for again and again; but a 3scale that answers nothing else, or not any more (three failures one after the other), is one.

mod calendar;
mod counted;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::calendar::{Granularity, HOURS_DAYS, SETTLED_S};
use self::calendar::{Window, days_asked, hour_of, hours_asked, months_asked};
pub(super) use self::counted::Counted;
pub use self::counted::{Caller, Metric, Product};
use super::source::{Source, SourceError};

/// What an application used of a metric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past<'m> {
    /// Of which.
    pub metric: &'m Metric,
    /// What the values are of.
    pub granularity: Granularity,
    /// When the first begins, as RFC 3339 has it.
    pub since: String,
    /// One after the other. What nothing is known to have been used in is none: it is left as it is.
    pub values: Vec<Option<u64>>,
}

/// Of whom usage is asked.
#[derive(Clone, Copy)]
enum Owner {
    Product(u64),
    Application(u64),
}

/// The history of a 3scale, being asked for.
pub struct History<'h, 's> {
    source: &'h mut Source<'s>,
    /// The first hour, since 1970, that is not asked for.
    end: u32,
    is_closed: bool,
    /// How many answers said something.
    answered: usize,
    /// How many metrics of products failed since then, and how the last one did.
    failures: usize,
    failed: Option<SourceError>,
    /// Products of which nothing was shown.
    without: Vec<String>,
    notes: Vec<String>,
}

impl<'h, 's> History<'h, 's> {
    /// Gets ready to ask, at `now_s` seconds since 1970 unless the folder remembers when it was.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn begin(source: &'h mut Source<'s>, now_s: u64) -> Result<History<'h, 's>, SourceError> {
        let said = source.mark(MARK, || calendar::text_of(hour_of(now_s.saturating_sub(SETTLED_S))))?;
        let end = calendar::hour_in(&said);
        let end =
            end.ok_or_else(|| SourceError::Unfit(format!("{MARK} in the work folder has no time: {said}")))?;
        let (without, notes) = (Vec::new(), Vec::new());
        Ok(History { source, end, is_closed: false, answered: 0, failures: 0, failed: None, without, notes })
    }

    /// The metrics of a product that were ever used, as far as it is known.
    ///
    /// # Errors
    /// [`SourceError`]; not, if only this product's usage, or all, is not shown.
    pub fn used<'p>(&mut self, product: &'p Product) -> Result<Vec<&'p Metric>, SourceError> {
        let mut used = Vec::new();
        for metric in &product.metrics {
            if self.is_closed {
                break;
            }
            match self.months(Owner::Product(product.id), metric) {
                Ok(months) => used.extend(months.iter().any(|it| *it > 0).then_some(metric)),
                Err(SourceError::Gone { .. }) => {
                    self.without.push(product.name.clone());
                    return Ok(Vec::new());
                }
                Err(error) if is_closing(&error) => {
                    self.is_closed = true;
                    self.note(format!(
                        "usage history stays behind, all that is not there yet: {error} (the access token must have the scope stats there)"
                    ));
                }
                Err(error) => {
                    let why = self.pass(error)?;
                    let (name, label) = (&product.name, &metric.there);
                    self.note(format!("usage of metric {label} of service {name} stays behind: {why}"));
                }
            }
        }
        Ok(used)
    }

    /// What is said of a metric of a product that is passed over.
    ///
    /// # Errors
    /// The error, if it is not of this metric alone.
    fn pass(&mut self, error: SourceError) -> Result<String, SourceError> {
        match error {
            SourceError::Odd(_) => Ok(error.to_string()),
            SourceError::Refused { status: status @ (400..=428 | 430..=499), told, .. } => {
                Ok(format!("answered {status}: {told}"))
            }
            SourceError::Refused { status: 500.., .. } if self.failures + 1 < FAILURES_MAX => {
                let why = format!("{error}; begun again, it is asked for once more");
                self.failures += 1;
                self.failed = Some(error);
                Ok(why)
            }
            error => Err(error),
        }
    }

    /// What an application used of these metrics of its product.
    ///
    /// # Errors
    /// [`SourceError`]; not, if only some of this application's usage is not shown.
    pub fn of<'p>(
        &mut self,
        product: &Product,
        caller: &Caller,
        used: &[&'p Metric],
    ) -> Result<Vec<Past<'p>>, SourceError> {
        let mut found = Vec::new();
        for metric in used {
            let whose = format!("application {} of service {}", caller.application_id, product.name);
            match self.past(Owner::Application(caller.id), metric) {
                Ok(past) => found.extend(past),
                Err(SourceError::Gone { .. }) => {
                    self.note(format!(
                        "usage of {whose} stays behind: answered 404: it was deleted there meanwhile"
                    ));
                    break;
                }
                Err(
                    error @ (SourceError::Unfit(_)
                    | SourceError::Odd(_)
                    | SourceError::Refused { status: 400, .. }),
                ) => {
                    self.note(format!("usage of {} by {whose} stays behind: {error}", metric.there));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What could not come along, when all was asked for.
    ///
    /// # Errors
    /// Something failed there, and nothing was answered.
    pub fn notes(self) -> Result<Vec<String>, SourceError> {
        let is_silent = self.answered == 0 && !self.is_closed;
        if let Some(failed) = self.failed.filter(|_| is_silent) {
            return Err(failed);
        }
        let mut notes = self.notes;
        if self.answered == 0 && !self.without.is_empty() {
            notes.push(
                "usage history stays behind: the source has no analytics API (answered 404)".to_owned(),
            );
        } else {
            let without = self.without.iter();
            notes.extend(without.map(|name| {
                format!("usage of service {name} stays behind: answered 404: it is not shown to this token, or was deleted meanwhile")
            }));
        }
        Ok(notes)
    }

    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// What was used in each of the months that there may be anything of.
    fn months(&mut self, owner: Owner, metric: &Metric) -> Result<Vec<u64>, SourceError> {
        self.values(owner, metric, &months_asked(self.end))
    }

    /// All that was used of a metric: nothing, hours, days, or both.
    fn past<'p>(&mut self, owner: Owner, metric: &'p Metric) -> Result<Vec<Past<'p>>, SourceError> {
        let months = self.months(owner, metric)?;
        let busy = calendar::busy_months(self.end, &months);
        let mut found = Vec::new();
        let mut days = Series::default();
        for window in days_asked(self.end, &busy) {
            let values = self.values(owner, metric, &window)?;
            days.put(window.begin / 24, &values);
        }
        found.extend(days.past(metric, Granularity::Day));
        if let Some(window) = hours_asked(self.end, &busy) {
            let mut hours = Series::default();
            let values = self.values(owner, metric, &window)?;
            hours.put(window.begin, &values);
            found.extend(hours.past(metric, Granularity::Hour));
        }
        Ok(found)
    }

    fn values(&mut self, owner: Owner, metric: &Metric, window: &Window) -> Result<Vec<u64>, SourceError> {
        let (kind, id) = match owner {
            Owner::Product(id) => ("services", id),
            Owner::Application(id) => ("applications", id),
        };
        let granularity = window.granularity.name();
        let name = format!("stats-{kind}-{id}-{}-{granularity}-{}", metric.id, window.begin);
        let metric_name =
            percent_encoding::utf8_percent_encode(&metric.there, percent_encoding::NON_ALPHANUMERIC);
        let (since, until) = window.asked();
        let asked = format!(
            "{kind}/{id}/usage.json?metric_name={metric_name}&granularity={granularity}&since={since}&until={until}&timezone=UTC"
        );
        let is_known = self.answered > 0;
        let values = self.source.analytics(&name, &asked, |answer| {
            let other = || {
                let text = format!("{asked} is no usage");
                let is_usage = is_known || answer.get("values").is_some();
                if is_usage { SourceError::Odd(text) } else { SourceError::Unfit(text) }
            };
            values_in(answer, window).ok_or_else(other)
        })?;
        self.answered += 1;
        self.failures = 0;
        Ok(values)
    }
}

/// Whether there is no sense in asking for any other product's usage: who refuses this one refuses all, and so does who answers something else than usage.
fn is_closing(error: &SourceError) -> bool {
    match error {
        SourceError::Refused { status, .. } => *status < 400 || matches!(status, 401 | 403),
        SourceError::Unfit(_) => true,
        _ => false,
    }
}

/// The values of an answer, if it is one to what was asked: it begins there, and its values are what its total says. A bucket more than was asked for is dropped.
fn values_in(answer: &Value, window: &Window) -> Option<Vec<u64>> {
    let values = answer.get("values")?.as_array()?;
    let values = values.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?;
    let sum = values.iter().try_fold(0_u64, |sum, value| sum.checked_add(*value))?;
    let is_whole = answer.get("total").is_none_or(|total| total.as_u64() == Some(sum));
    let since = answer.pointer("/period/since").and_then(Value::as_str);
    let begins = since.is_none_or(|since| calendar::hour_in(since) == Some(window.begin));
    (is_whole && begins).then(|| values.into_iter().take(window.count).collect())
}

/// Values by hour or day, of which those that are nothing at both ends do not matter.
#[derive(Default)]
struct Series {
    begin: u32,
    values: Vec<Option<u64>>,
}

impl Series {
    /// Takes in values from `at` on, which is behind what there is.
    fn put(&mut self, at: u32, values: &[u64]) {
        if self.values.is_empty() {
            self.begin = at;
        }
        let before = at.saturating_sub(self.begin) as usize;
        self.values.resize(before.max(self.values.len()), None);
        // What nothing was used in here may have been used there since.
        self.values.extend(values.iter().map(|value| Some(*value).filter(|it| *it > 0)));
    }

    fn past(mut self, metric: &Metric, granularity: Granularity) -> Option<Past<'_>> {
        let first = self.values.iter().position(Option::is_some)?;
        let last = self.values.iter().rposition(Option::is_some)?;
        self.values.truncate(last + 1);
        let values = self.values.split_off(first);
        let begin = self.begin + u32::try_from(first).unwrap_or(u32::MAX);
        let hour = if granularity == Granularity::Day { begin * 24 } else { begin };
        Some(Past { metric, granularity, since: calendar::text_of(hour), values })
    }
}

/// So many metrics of products one after the other, each asked for again and again and answered by an error of the server's: it is not they, but the server.
const FAILURES_MAX: usize = 3;

/// Where the work folder remembers until when history is asked for.
const MARK: &str = "usage-until";
