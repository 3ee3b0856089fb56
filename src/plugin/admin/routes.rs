//! The routes: a table that says of each who may call it, what it is written in, and what answers.
//!
//! The areas have their own parts of it, beside what they do. [`AREAS`] is all of it; the authorization test goes through it.

use super::answer::{Format, Outcome, Refusal};
use super::auth::Access;
use super::context::Context;
use super::request::Request;
use super::{
    account_plans, accounts, active_docs, application_keys, application_states, applications, audit,
    audit_log, authentication_providers, backend_metrics, backend_usages, backends, bulk, credit_cards,
    document, features, fields_definitions, gateway_ports, invitations, limits, mapping_rules, master,
    metrics, notifications, objects, plans, policies, policy_registry, pricing_rules, provider,
    provider_users, proxy, proxy_configs, rule_match, search, service_plans, service_tokens, services,
    settings, signup, stats, subscriptions, tokens, users, webhooks,
};
use crate::plugin::call::{Call, Method};
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

/// The APIs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Api {
    /// What tenants administer.
    Tenants,
    /// By which tenants are made and ended.
    Master,
    /// What was used.
    Stats,
}

impl Api {
    /// Where they lie; what lies below another first.
    const ROOTS: [(&str, Api); 4] = [
        (super::ROOT, Api::Tenants),
        (master::ROOT, Api::Master),
        (stats::ROOT_TOO, Api::Stats),
        (stats::ROOT, Api::Stats),
    ];

    fn root(path: &str) -> Option<(&'static str, Api)> {
        let below =
            |root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        Api::ROOTS.into_iter().find(|(root, _)| below(*root))
    }

    /// The one that a path, as it was sent, is of.
    pub(super) fn of(path: &str) -> Option<Api> {
        Api::root(path).map(|(_, api)| api)
    }

    /// How many segments of such a path say where it lies.
    pub(super) fn segments(self, path: &str) -> usize {
        Api::root(path).map_or(0, |(root, _)| root.split('/').skip(1).count())
    }

    /// What can be called of it.
    pub(super) fn routes(self) -> Box<dyn Iterator<Item = &'static Route>> {
        match self {
            Api::Tenants => Box::new(of_tenants()),
            Api::Master => Box::new(of_master()),
            Api::Stats => Box::new(stats::ROUTES.iter()),
        }
    }

    /// What it is written in where a call says nothing, and nothing else does.
    pub(super) fn format(self) -> Format {
        match self {
            Api::Tenants => Format::Xml,
            Api::Master | Api::Stats => Format::Json,
        }
    }
}

/// What a route is written in, and which of it if the client does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Formats {
    /// Both; XML unless asked otherwise.
    XmlFirst,
    /// Both; JSON unless asked otherwise.
    JsonFirst,
    /// JSON; whoever asks for XML is refused.
    JsonOnly,
}

/// What can be called, and how.
pub(super) struct Route {
    pub(super) methods: &'static [Method],
    /// Segments after `/admin/api/`, or where else its API lies; those in braces are any text.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) formats: Formats,
    pub(super) run: fn(&Context<'_>) -> Outcome,
}

/// Reading.
pub(super) const GET: &[Method] = &[Method::Get];
/// Making.
pub(super) const POST: &[Method] = &[Method::Post];
/// Changing; clients use both.
pub(super) const PUT: &[Method] = &[Method::Put, Method::Patch];
/// Taking away.
pub(super) const DELETE: &[Method] = &[Method::Delete];

impl Route {
    /// A route in both formats, XML first.
    pub(super) const fn new(
        methods: &'static [Method],
        path: &'static str,
        access: Access,
        run: fn(&Context<'_>) -> Outcome,
    ) -> Route {
        Route { methods, path, access, formats: Formats::XmlFirst, run }
    }

    /// The same in other formats.
    pub(super) const fn in_formats(self, formats: Formats) -> Route {
        Route { formats, ..self }
    }

    /// The texts in place of the segments in braces, if the path is this route's.
    fn matches<'p>(&self, path: &'p [String]) -> Option<Vec<&'p str>> {
        let mut found = Vec::new();
        let mut segments = path.iter();
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            if expected.starts_with('{') {
                found.push(segment.as_str());
            } else if expected != segment {
                return None;
            }
        }
        segments.next().is_none().then_some(found)
    }

    /// Whether its path has a suffix for a format.
    fn ends_with(&self, suffix: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, end)| end == suffix)
    }

    /// The format of the answer.
    ///
    /// # Errors
    /// There is none that the client takes.
    pub(super) fn format(&self, request: &Request<'_>) -> Result<Format, Refusal> {
        match (self.formats, request.suffix) {
            (Formats::JsonOnly, Some(Format::Xml)) => Err(Refusal::Format),
            (Formats::JsonOnly, _) => Ok(Format::Json),
            (_, Some(format)) => Ok(format),
            (Formats::XmlFirst, None) => Ok(accepted(request.call).unwrap_or(Format::Xml)),
            (Formats::JsonFirst, None) => Ok(accepted(request.call).unwrap_or(Format::Json)),
        }
    }
}

/// The format that a client says it takes, if that is one.
pub(super) fn accepted(call: &Call) -> Option<Format> {
    let accept = call.accept.as_deref().unwrap_or_default();
    match (accept.contains("json"), accept.contains("xml")) {
        (true, false) => Some(Format::Json),
        (false, true) => Some(Format::Xml),
        _ => None,
    }
}

/// Suffixes of formats in which nothing here is written.
const OTHER_FORMATS: [&str; 12] =
    ["atom", "csv", "htm", "html", "ics", "js", "pdf", "rss", "text", "txt", "yaml", "yml"];

/// Whether a path is that of a route but for the suffix of a format that there is not. Of a key it is the end.
pub(super) fn is_in_other_format(api: Api, method: Method, path: &[String]) -> bool {
    let Some((last, before)) = path.split_last() else { return false };
    let Some((rest, suffix)) = last.rsplit_once('.') else { return false };
    // What is written in one nevertheless has a route that ends with it.
    let is_one = |route: &Route| {
        route.methods.contains(&method) && route.ends_with(suffix) && route.matches(path).is_some()
    };
    if !OTHER_FORMATS.contains(&suffix) || api.routes().any(is_one) {
        return false;
    }
    let path: Vec<_> = before.iter().cloned().chain([rest.to_owned()]).collect();
    let is_id = rest.bytes().all(|it| it.is_ascii_digit());
    let Ok((route, _)) = find(api.routes(), method, &path) else { return false };
    let place = route.path.rsplit('/').next().unwrap_or_default();
    if place.starts_with('{') { is_id && place != "{key}" } else { true }
}

/// A part of the API: its routes, and what of its records follows from commands of others.
pub(super) struct Area {
    pub(super) routes: &'static [Route],
    pub(super) accompany: fn(&Accompanied<'_>, &mut Records<'_>, u64) -> Result<(), ShelfError>,
}

/// Nothing follows.
pub(super) fn nothing_follows(_: &Accompanied<'_>, _: &mut Records<'_>, _: u64) -> Result<(), ShelfError> {
    Ok(())
}

/// All parts of the API, in the order in which their routes are tried.
pub(super) const AREAS: &[Area] = &[
    Area { routes: services::ROUTES, accompany: services::accompany },
    Area { routes: metrics::ROUTES, accompany: metrics::accompany },
    Area { routes: tokens::ROUTES, accompany: nothing_follows },
    Area { routes: notifications::ROUTES, accompany: nothing_follows },
    Area { routes: provider::ROUTES, accompany: provider::accompany },
    Area { routes: settings::ROUTES, accompany: settings::accompany },
    Area { routes: webhooks::ROUTES, accompany: webhooks::accompany },
    Area { routes: fields_definitions::ROUTES, accompany: fields_definitions::accompany },
    Area { routes: audit_log::ROUTES, accompany: audit::accompany },
    Area { routes: provider_users::ROUTES, accompany: provider_users::accompany },
    Area { routes: invitations::ROUTES, accompany: invitations::accompany },
    Area { routes: bulk::ROUTES, accompany: nothing_follows },
    Area { routes: search::ROUTES, accompany: nothing_follows },
    Area { routes: plans::ROUTES, accompany: plans::accompany },
    Area { routes: limits::ROUTES, accompany: limits::accompany },
    Area { routes: pricing_rules::ROUTES, accompany: pricing_rules::accompany },
    Area { routes: features::ROUTES, accompany: features::accompany },
    Area { routes: service_plans::ROUTES, accompany: service_plans::accompany },
    Area { routes: account_plans::ROUTES, accompany: account_plans::accompany },
    Area { routes: accounts::ROUTES, accompany: accounts::accompany },
    Area { routes: credit_cards::ROUTES, accompany: nothing_follows },
    Area { routes: subscriptions::ROUTES, accompany: subscriptions::accompany },
    Area { routes: users::ROUTES, accompany: nothing_follows },
    Area { routes: signup::ROUTES, accompany: nothing_follows },
    Area { routes: applications::ROUTES, accompany: applications::accompany },
    Area { routes: application_keys::ROUTES, accompany: nothing_follows },
    Area { routes: application_states::ROUTES, accompany: nothing_follows },
    Area { routes: proxy::ROUTES, accompany: proxy::accompany },
    Area { routes: proxy_configs::ROUTES, accompany: nothing_follows },
    Area { routes: mapping_rules::ROUTES, accompany: mapping_rules::accompany },
    Area { routes: rule_match::ROUTES, accompany: nothing_follows },
    Area { routes: gateway_ports::ROUTES, accompany: nothing_follows },
    Area { routes: policies::ROUTES, accompany: nothing_follows },
    Area { routes: policy_registry::ROUTES, accompany: nothing_follows },
    Area { routes: service_tokens::ROUTES, accompany: nothing_follows },
    Area { routes: backends::ROUTES, accompany: nothing_follows },
    Area { routes: backend_metrics::ROUTES, accompany: nothing_follows },
    Area { routes: backend_usages::ROUTES, accompany: backend_usages::accompany },
    Area { routes: active_docs::ROUTES, accompany: active_docs::accompany },
    Area { routes: objects::ROUTES, accompany: nothing_follows },
    Area { routes: authentication_providers::ROUTES, accompany: nothing_follows },
    Area { routes: document::ROUTES, accompany: nothing_follows },
];

/// The routes below `/admin/api`.
pub(super) fn of_tenants() -> impl Iterator<Item = &'static Route> {
    AREAS.iter().flat_map(|area| area.routes)
}

/// The routes below `/master/api`.
pub(super) fn of_master() -> impl Iterator<Item = &'static Route> {
    master::ROUTES.iter().copied().flatten()
}

/// The route among some that a request is for, and the texts in place of its braces.
///
/// # Errors
/// There is none.
pub(super) fn find(
    mut routes: impl Iterator<Item = &'static Route>,
    method: Method,
    path: &[String],
) -> Result<(&'static Route, Vec<&str>), Refusal> {
    let found = routes
        .by_ref()
        .filter(|route| route.methods.contains(&method))
        .find_map(|route| Some((route, route.matches(path)?)));
    found.ok_or(Refusal::NotFound)
}
