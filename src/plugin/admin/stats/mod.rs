//! Analytics: 3scale's Analytics API, `/stats/...` (also below `/stats/api`), over the history that the analytics plugin keeps.
//!
//! # What is answered
//! | Path below `/stats` | What |
//! |---|---|
//! | `{services\|applications\|backend_apis}/ID/usage` | what was used of a metric or method (`metric_name`), in windows of time |
//! | `{services\|applications}/ID/usage_response_code` | the same of a response code: those that are counted, and `2XX`, `4XX`, `5XX` |
//! | `services/ID/top_applications` | the ten applications that used most of a metric in a period of the calendar |
//! | `{services\|applications}/ID/summary` | which metrics and methods there are |
//! | `PUT applications/ID/usage`, `.../usage_response_code` | ours: what past hours were, when history comes from elsewhere (`past`) |
//!
//! In JSON and XML, all but `summary` in CSV, too (`.csv`, or `Accept: text/csv`). The original has no default without a suffix; here
//! it is JSON, unless `Accept` says otherwise.
//!
//! An answer has all that was counted before the call, and is refused (503) while that is not known. What a method counts is in its metric's
//! usage. A backend API has what the services that use it now have counted of it since they do: those that the caller may see. An application that was deleted is in
//! its service's usage, and not among those that used most.
//!
//! # Where it differs from the original
//! - The current window is always in a period that ends now; there it is left out in the moment in which it begins, and at the end of longer months.
//! - What is compared (`skip_change=false`) are as many windows before; there as many seconds, which for months are not whole ones.
//! - A year may have 366 days.
//!
//! | File | What it holds |
//! |---|---|
//! | `asked` | what time is asked about |
//! | `windows`, `zones`, `times` | windows of a zone's calendar; zones by name; times as texts |
//! | `counters` | what is asked about, and where it is counted |
//! | `shown` | what answers look like |
//! | `past` | telling what was |

mod asked;
mod counters;
mod past;
mod shown;
#[cfg(test)]
mod tests;
mod times;
mod windows;
mod zones;

use serde_json::json;

use super::answer::{Entity, Outcome, Refusal, Reply};
use super::auth::{Access, Members, Scope, Section};
use super::context::{Context, Seen};
use super::metrics::{self, HITS};
use super::routes::{Formats, GET, PUT, Route};
use super::xml::Element;
use crate::model::record::Application;
use crate::plugin::analytics::{Analytics, TooMany};
use crate::plugin::call::Method;
use asked::Asked;
use counters::{Counters, Source, What};
use shown::{Owned, Top, Usage};

/// Where it lies.
pub(super) const ROOT: &str = "/stats";
/// Where it lies, too: there the original's own pages ask.
pub(super) const ROOT_TOO: &str = "/stats/api";

const ACCESS: Access = Access::of(&[Scope::Stats], Members::Of(Section::Monitoring));

/// What was counted is looked at by many, and set by those alone who may do all else, with a token that is for both.
const SETTING: Access =
    Access { scopes: &[Scope::Stats], also: Some(Scope::AccountManagement), members: Members::None };

pub(super) const ROUTES: &[Route] = &[
    route(GET, "services/{service_id}/usage", service_usage),
    route(GET, "services/{service_id}/usage.csv", service_usage),
    route(GET, "applications/{application_id}/usage", application_usage),
    route(GET, "applications/{application_id}/usage.csv", application_usage),
    route(GET, "backend_apis/{backend_api_id}/usage", backend_usage),
    route(GET, "backend_apis/{backend_api_id}/usage.csv", backend_usage),
    route(GET, "services/{service_id}/usage_response_code", service_response_code),
    route(GET, "applications/{application_id}/usage_response_code", application_response_code),
    route(GET, "services/{service_id}/usage_response_code.csv", service_response_code),
    route(GET, "applications/{application_id}/usage_response_code.csv", application_response_code),
    route(GET, "services/{service_id}/top_applications", top_applications),
    route(GET, "services/{service_id}/top_applications.csv", top_applications),
    route(GET, "services/{service_id}/summary", service_summary),
    route(GET, "applications/{application_id}/summary", application_summary),
    setting("applications/{application_id}/usage", past::put_usage),
    setting("applications/{application_id}/usage_response_code", past::put_response_code),
];

const fn route(methods: &'static [Method], path: &'static str, run: fn(&Context<'_>) -> Outcome) -> Route {
    Route::new(methods, path, ACCESS, run).in_formats(Formats::JsonFirst)
}

const fn setting(path: &'static str, run: fn(&Context<'_>) -> Outcome) -> Route {
    Route::new(PUT, path, SETTING, run).in_formats(Formats::JsonFirst)
}

/// How many applications are shown of those that used most.
const TOP_MAX: usize = 10;

/// What parameters name what is counted.
const METRIC: &str = "metric_name";
const CODE: &str = "response_code";

/// Whether the client wants CSV.
fn is_csv(context: &Context<'_>) -> bool {
    let accept = context.request.call.accept.as_deref().unwrap_or_default();
    let is_accepted = accept.contains("text/csv") && !accept.contains("json") && !accept.contains("xml");
    context.route.path.ends_with(".csv") || (context.request.suffix.is_none() && is_accepted)
}

/// The history, with all that was counted before.
fn caught_up<'c>(context: &Context<'c>) -> Result<&'c Analytics, Refusal> {
    let analytics = context.analytics.ok_or(Refusal::Failed)?;
    let behind = |behind| Refusal::Unavailable(format!("usage is not up to date yet, try again: {behind}"));
    analytics.following().catch_up().map_err(behind)?;
    Ok(analytics)
}

fn service_usage(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    of_metric(context, moment.seen(), &Source::service(context, moment.seen())?)
}

fn application_usage(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    of_metric(context, moment.seen(), &Source::application(context, moment.seen())?)
}

fn backend_usage(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    of_metric(context, moment.seen(), &Source::backend(context, moment.seen())?)
}

fn service_response_code(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    of_code(context, moment.seen(), &Source::service(context, moment.seen())?)
}

fn application_response_code(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    of_code(context, moment.seen(), &Source::application(context, moment.seen())?)
}

fn of_metric(context: &Context<'_>, seen: Seen<'_>, source: &Source<'_>) -> Outcome {
    let fields = context.request.parameters();
    let name = fields.needed(METRIC)?;
    let asked = Asked::usage(&fields, context.now)?;
    usage(context, seen, source, &source.metric(seen, name.trim())?, &asked)
}

fn of_code(context: &Context<'_>, seen: Seen<'_>, source: &Source<'_>) -> Outcome {
    let fields = context.request.parameters();
    let code = fields.needed(CODE)?;
    let asked = Asked::usage(&fields, context.now)?;
    usage(context, seen, source, &source.response_code(&code)?, &asked)
}

fn usage(
    context: &Context<'_>,
    seen: Seen<'_>,
    source: &Source<'_>,
    counters: &Counters,
    asked: &Asked,
) -> Outcome {
    let application = match source {
        Source::Application(_, application) => Some(Owned::of(seen, application)?),
        Source::Service(_) | Source::Backend(..) => None,
    };
    let analytics = caught_up(context)?;
    let values = counters.sums(analytics, &asked.windows)?;
    let previous = match asked.is_compared {
        true => counters.sums(analytics, &asked.windows.before()?)?.first().copied(),
        false => None,
    };
    Usage { what: &counters.what, asked, values, previous, application }.reply(is_csv(context))
}

fn top_applications(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let source = Source::service(context, seen)?;
    let fields = context.request.parameters();
    let name = fields.needed(METRIC)?;
    let asked = Asked::top(&fields)?;
    let counters = source.metric(seen, name.trim())?;
    let (What::Metric(metric), Source::Service(service), Some((_, slot))) =
        (&counters.what, &source, counters.of.first())
    else {
        return Err(Refusal::Failed);
    };
    let hours = asked.windows.hours();
    let [first, end] = hours[..] else { return Err(Refusal::Failed) };
    let known = caught_up(context)?.by_application(service.id, *slot, first..end);
    let known = known.map_err(|error| match error {
        TooMany::Rows => Refusal::Said(400, format!("{error}: ask for a shorter period")),
        TooMany::Shelf(error) => error.into(),
    })?;
    // Of those that were deleted there is nothing to show.
    let is_there = |id: u64| seen.catalog.applications.get(id).filter(|it| it.service == service.id);
    let mut known: Vec<(&Application, i64)> =
        known.into_iter().filter_map(|(id, value)| Some((&**is_there(id.0)?, value))).collect();
    known.sort_by_key(|(application, value)| (std::cmp::Reverse(*value), application.id));
    known.truncate(TOP_MAX);
    let applications = known.into_iter().map(|(it, value)| Ok((Owned::of(seen, it)?, value)));
    let applications = applications.collect::<Result<_, Refusal>>()?;
    Top { metric, asked: &asked, applications }.reply(is_csv(context))
}

fn service_summary(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    summary(moment.seen(), &Source::service(context, moment.seen())?)
}

fn application_summary(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    summary(moment.seen(), &Source::application(context, moment.seen())?)
}

/// The metrics of a service's own, and the methods below `hits`, as the admin API lists them.
fn summary(seen: Seen<'_>, source: &Source<'_>) -> Outcome {
    let (Source::Service(service) | Source::Application(service, _)) = source else {
        return Err(Refusal::NotFound);
    };
    let hits = service.metrics.find(HITS).map(|it| it.slot);
    let (mut metrics, mut methods) = (Vec::new(), Vec::new());
    for metric in metrics::own(seen.records, service)? {
        let list = match metric.parent {
            None => &mut metrics,
            parent if parent == hits => &mut methods,
            Some(_) => continue,
        };
        list.push(metrics::entity(seen, service, metric)?);
    }
    let wrapped = |all: &[Entity]| all.iter().map(|it| json!({it.wrapper: it.json})).collect::<Vec<_>>();
    let shown = json!({"metrics": wrapped(&metrics), "methods": wrapped(&methods)});
    let list = |name: &str, all: Vec<Entity>| {
        all.into_iter().map(|it| it.xml).fold(Element::new(name), Element::with)
    };
    let element = Element::new("summary").with(list("metrics", metrics)).with(list("methods", methods));
    Ok(Reply::written(shown, element))
}
