//! What can be asked about, and where it is counted.

use std::sync::Arc;

use super::super::answer::Refusal;
use super::super::backend_metrics::{self, BackendMetric};
use super::super::backend_usages::BackendUsage;
use super::super::backends;
use super::super::context::{Context, Seen};
use super::super::metrics::MetricDetails;
use super::super::owned::Owned;
use super::windows::Windows;
use crate::model::id::{MetricId, MetricSlot};
use crate::model::record::{Application, Service};
use crate::model::usage::{response_code_name, response_code_slot};
use crate::plugin::analytics::{Analytics, Subject};

/// Of what usage is asked for.
pub(super) enum Source<'a> {
    Service(&'a Service),
    Application(&'a Service, &'a Application),
    /// A backend API, and the services that use it: those that the caller may see.
    Backend(u64, Vec<&'a Arc<Service>>),
}

/// What is counted of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    Metric(Shown),
    /// The name of a response code, or of a class of them.
    Code(&'static str),
}

/// A metric or method, as answers show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) system_name: String,
    pub(super) unit: String,
}

/// The counters that are asked for: their sums are added.
pub(super) struct Counters {
    pub(super) what: What,
    pub(super) of: Vec<(Subject, MetricSlot)>,
}

/// Where services, applications and backend APIs come to in a path.
const ID: usize = 0;

/// The most days, each of one service, that a call reads: a few seconds' work. One service has not as many in a thousand years; a backend API that very
/// many services use has.
pub(super) const DAYS_READ_MAX: u64 = 400_000;

impl<'a> Source<'a> {
    /// The service that a path names.
    ///
    /// # Errors
    /// There is none that the caller may see (404).
    pub(super) fn service(context: &Context<'_>, seen: Seen<'a>) -> Result<Source<'a>, Refusal> {
        let found = context.id(ID).and_then(|id| seen.service(id));
        found.map(|it| Source::Service(it)).map_err(|refusal| absent(refusal, "Service not found"))
    }

    /// The application that a path names.
    ///
    /// # Errors
    /// There is none of a service that the caller may see (404).
    pub(super) fn application(context: &Context<'_>, seen: Seen<'a>) -> Result<Source<'a>, Refusal> {
        let found = context.id(ID).and_then(|id| {
            let application = seen.application(id)?;
            Ok(Source::Application(seen.service(application.service.0)?, application))
        });
        found.map_err(|refusal| absent(refusal, "Application not found"))
    }

    /// The backend API that a path names.
    ///
    /// # Errors
    /// There is none (404), or the services that use it cannot be read.
    pub(super) fn backend(context: &Context<'_>, seen: Seen<'a>) -> Result<Source<'a>, Refusal> {
        let id = context.id(ID)?;
        backends::find(seen, id)?;
        let usages = BackendUsage::of(id, seen.records)?;
        let services = usages.into_iter().filter_map(|(_, usage)| seen.service(usage.service).ok());
        Ok(Source::Backend(id, services.collect()))
    }

    /// Where a metric of that name is counted.
    ///
    /// # Errors
    /// There is none (400), or it cannot be read.
    pub(super) fn metric(&self, seen: Seen<'_>, name: &str) -> Result<Counters, Refusal> {
        let none = || Refusal::Bad(format!("metric {name} not found"));
        let (shown, of) = match self {
            Source::Service(service) | Source::Application(service, _) => {
                let metric = service.metrics.find(name).ok_or_else(none)?;
                let details = MetricDetails::of(seen.records, metric)?;
                let of = self.subject().map(|subject| (subject, metric.slot));
                (Shown::new(metric.id.0, &metric.name, details), of.into_iter().collect())
            }
            Source::Backend(backend, services) => {
                let name = backend_metrics::full_name(name, *backend);
                let mut metrics = BackendMetric::of(*backend, seen.records)?.into_iter();
                let (id, metric) = metrics.find(|(_, metric)| metric.name == name).ok_or_else(none)?;
                let details = seen.records.find::<MetricDetails>(id)?.unwrap_or_default();
                let slot = |service: &&Arc<Service>| {
                    let metric = service.metrics.by_id(MetricId(id))?;
                    Some((Subject::Service(service.id), metric.slot))
                };
                (Shown::new(id, &metric.name, details), services.iter().filter_map(slot).collect())
            }
        };
        Ok(Counters { what: What::Metric(shown), of })
    }

    /// Where a response code is counted, or a class of them (`2XX`).
    ///
    /// # Errors
    /// It is none that is counted (400).
    pub(super) fn response_code(&self, code: &str) -> Result<Counters, Refusal> {
        let slot = response_code_slot(&code.trim().to_ascii_uppercase());
        let Some((slot, name)) = slot.and_then(|slot| Some((slot, response_code_name(slot)?))) else {
            let counted =
                (0..).map_while(|at| response_code_name(MetricSlot(MetricSlot::RESPONSE_CODES + at)));
            let counted: Vec<_> = counted.collect();
            return Err(Refusal::Bad(format!(
                "response code {code} is not counted: {} are",
                counted.join(", ")
            )));
        };
        Ok(Counters { what: What::Code(name), of: self.subject().map(|it| (it, slot)).into_iter().collect() })
    }

    fn subject(&self) -> Option<Subject> {
        match self {
            Source::Service(service) => Some(Subject::Service(service.id)),
            Source::Application(service, application) => {
                Some(Subject::Application(service.id, application.id))
            }
            Source::Backend(..) => None,
        }
    }
}

/// The same in words, if it is that there is none.
fn absent(refusal: Refusal, words: &str) -> Refusal {
    match refusal {
        Refusal::NotFound => Refusal::Said(404, words.to_owned()),
        other => other,
    }
}

impl Shown {
    fn new(id: u64, system_name: &str, details: MetricDetails) -> Shown {
        let MetricDetails { friendly_name, unit, .. } = details;
        Shown { id, name: friendly_name, system_name: system_name.to_owned(), unit }
    }
}

impl Counters {
    /// What was used in each window.
    ///
    /// # Errors
    /// It takes too long to add up, or cannot be read.
    pub(super) fn sums(&self, analytics: &Analytics, windows: &Windows) -> Result<Vec<i64>, Refusal> {
        let hours = windows.hours();
        self.check(analytics, &hours, DAYS_READ_MAX)?;
        let mut sums = vec![0_i64; windows.count()];
        for (subject, slot) in &self.of {
            for (sum, more) in sums.iter_mut().zip(analytics.sums(*subject, *slot, &hours)?) {
                *sum = sum.saturating_add(more);
            }
        }
        Ok(sums)
    }

    /// That no more than so many days would be read.
    ///
    /// # Errors
    /// There are more (400), or they cannot be counted.
    pub(super) fn check(&self, analytics: &Analytics, hours: &[u32], max: u64) -> Result<(), Refusal> {
        let (Some(first), Some(end)) = (hours.first(), hours.last()) else { return Ok(()) };
        let mut days = 0;
        for (subject, _) in &self.of {
            let (Subject::Service(service) | Subject::Application(service, _)) = *subject;
            let Some((first_day, last_day)) = analytics.days(service)? else { continue };
            let last = last_day.min(end.saturating_sub(1) / 24);
            days += u64::from((last + 1).saturating_sub(first_day.max(first / 24)));
        }
        if days <= max {
            return Ok(());
        }
        Err(Refusal::Said(
            400,
            format!(
                "the services that use this have {days} days in this range, and at most {max} are added up: ask for a shorter one"
            ),
        ))
    }
}
