//! The admin API: 3scale's Account Management API, with which operators' scripts and clients set up what a node enforces.
//!
//! # How a call is answered
//! 1. The caller is made out by the token or provider key: else 403, whatever is asked (`auth`).
//! 2. The path is taken apart (`request`), its route found, and the caller may call it or not.
//! 3. The route's function looks at catalog and records as one moment has them, or gives one command (`context`): whatever it changes, in
//!    the catalog and in records, is journalled as one entry, binds the next decision, and is on disk before it is answered.
//! 4. What it answers is written in JSON or XML (`answer`, `xml`).
//!
//! # What is kept where
//! The catalog has what a decision reads: services with metrics, plans with limits, applications with keys, accounts. What else
//! is known of them (descriptions, prices, proxies, users, tokens) are this plugin's records, by the same ids. A record of the catalog
//! that came otherwise (the internal API, the first start) has none; it is shown with what stands for nothing, and gets one with the first change.
//! Ids of all records are of the node's one sequence.
//!
//! # What is left out
//! - What leads into the developer portal, which is not there: its contents (`/cms`), and `POST /sso_tokens` with the parameter `token` that comes of it.
//! - `nginx.zip`: gateways that boot from files of that kind are long gone.
//! - The master's `accounts/find` by `buyer_provider_key` and `buyer_service_token`: the master sees no tenant's accounts here.
//!
//! | File | What it holds |
//! |---|---|
//! | `request`, `answer`, `refusal`, `xml` | reading a call, writing its answer |
//! | `auth`, `people`, `logins` | tokens, scopes, users, what members may do; what is the same for all users |
//! | `routes`, `context` | the table of routes; what the areas work with |
//! | `names`, `check`, `times`, `money` | unique names; validations; times as texts; amounts |
//! | `terms`, `extra`, `credentials`, `passwords` | what plans of all kinds have; fields that tenants define; keys and ids of applications; hashes |
//! | `audit`, `audit_log`, `audit_others`, `redaction` | what each command did, by whom, and what was before; written by `context` with the command; the same of the internal API |
//! | `services`, `metrics`, ... | the areas: a file each |
//! | `accounts`, `account_details`, `credit_cards` | accounts; what is kept of them, and by what they are listed; what stands for their card |
//! | `proxy`, `proxy_fields`, `proxy_configs`, `proxy_content` | how a gateway stands before a service, and what it boots from |
//! | `gateway_ports`, `rule_match` | where the test gateway stands before services; which rules a call would match |
//! | `mapping_rules`, `patterns`, `policies`, `policy_registry`, `service_tokens` | what a gateway does, and by what leave |
//! | `backends`, `backend_metrics`, `backend_usages` | backend APIs, and services that consist of them |
//! | `active_docs`, `objects`, `authentication_providers` | descriptions of APIs; whether something is still there; with whom people log in |
//! | `traffic` | when applications were called, as others know it |
//! | `stats` | what was used: 3scale's Analytics API, at `/stats` |
//! | `webhooks` | telling tenants of changes |
//! | `document` | a tenant as one document, and a document carried out |
//! | `owned` | records listed by owner |
//! | `places`, `master` | which tenant an address means; the API by which tenants are made and ended |

mod account_details;
mod account_plans;
mod accounts;
mod active_docs;
mod answer;
mod application_keys;
mod application_lists;
mod application_shown;
mod application_states;
mod applications;
mod audit;
mod audit_log;
mod audit_others;
mod auth;
mod authentication_providers;
mod backend_metrics;
mod backend_usages;
mod backends;
mod bulk;
mod check;
mod context;
mod credentials;
mod credit_cards;
mod document;
mod extra;
mod features;
mod fields_definitions;
mod gateway_ports;
mod invitations;
mod limits;
mod logins;
mod mapping_rules;
mod master;
mod messages;
mod metrics;
mod money;
mod names;
mod notifications;
mod objects;
mod owned;
mod passwords;
mod patterns;
mod people;
mod places;
mod plans;
mod policies;
mod policy_registry;
mod pricing_rules;
mod provider;
mod provider_users;
mod proxy;
mod proxy_configs;
mod proxy_content;
mod proxy_fields;
mod redaction;
mod refusal;
mod request;
mod routes;
mod rule_match;
mod search;
mod service_plans;
mod service_tokens;
mod services;
mod settings;
mod signup;
mod stats;
mod subscriptions;
mod terms;
#[cfg(test)]
mod tests;
mod times;
mod tokens;
mod traffic;
mod users;
mod webhooks;
mod xml;

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

pub use self::traffic::Traffic;
pub use self::webhooks::{Deliveries, NotPosted, POST_TIMEOUT, Post};
use super::analytics::Analytics;
use super::call::{Answer, Call, Method};
use super::host::{Accompanied, Desk, DeskError, Plugin};
use super::records::{Record, Records, id_key};
use crate::engine::Ticket;
use crate::model::id::TenantId;
use crate::model::time::UnixMillis;
use crate::store::ShelfError;
use crate::store::shelf::Table;
use answer::Refusal;
use auth::Caller;
use context::Context;
pub use gateway_ports::GatewayPorts;
use master::start::administrator;
use owned::Owned;
use people::User;
use places::{MASTER, Place};
use request::Request;
use routes::{AREAS, Api, Route};
use traffic::Known;

/// The plugin's name.
pub const NAME: &str = "admin";

/// Where the API lies.
const ROOT: &str = "/admin/api";

/// Reads the clock.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The admin API of a node.
pub struct Admin {
    desk: Arc<Desk>,
    clock: Clock,
    backend_endpoint: Option<String>,
    domain: Option<String>,
    bell: webhooks::Bell,
    gateway: Option<GatewayPorts>,
    traffic: OnceLock<Arc<dyn Traffic>>,
    analytics: OnceLock<Arc<Analytics>>,
}

/// What answers the master besides its own API: its tokens, and what it did.
const OF_MASTER_TOO: [&str; 2] = ["personal/access_tokens", "audit_log"];

impl Admin {
    /// The API, with records at `desk`.
    #[must_use]
    pub fn new(desk: Arc<Desk>, clock: Clock) -> Admin {
        let (bell, traffic, analytics) = (webhooks::Bell::default(), OnceLock::new(), OnceLock::new());
        Admin { desk, clock, backend_endpoint: None, domain: None, bell, gateway: None, traffic, analytics }
    }

    /// The API, telling gateways to call this node for decisions at `endpoint` (a URL), and not where the API itself is called.
    #[must_use]
    pub fn with_backend_endpoint(self, endpoint: Option<String>) -> Admin {
        Admin { backend_endpoint: endpoint, ..self }
    }

    /// The API, with names for tenants under `domain`: in lower case, without a port.
    #[must_use]
    pub fn with_domain(self, domain: Option<String>) -> Admin {
        Admin { domain, ..self }
    }

    /// Begins to tell tenants of changes, with `post`. Once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn deliver(&self, post: Arc<dyn Post>) -> std::io::Result<Deliveries> {
        webhooks::start(&self.desk, &self.clock, &self.bell, post)
    }

    /// The API, giving services ports of the test gateway.
    #[must_use]
    pub fn with_gateway(self, gateway: Option<GatewayPorts>) -> Admin {
        Admin { gateway, ..self }
    }

    /// From now on applications show when they were called, as `traffic` knows it. Once.
    pub fn ask_of_traffic(&self, traffic: Arc<dyn Traffic>) {
        let first = self.traffic.set(traffic).is_ok();
        debug_assert!(first, "one knows of traffic");
    }

    /// From now on it answers what was used, as `analytics` knows it. Once.
    pub fn ask_of_usage(&self, analytics: Arc<Analytics>) {
        let first = self.analytics.set(analytics).is_ok();
        debug_assert!(first, "one knows of usage");
    }

    fn now(&self) -> UnixMillis {
        self.desk.engine().now((self.clock)())
    }

    fn respond(&self, call: &Call) -> Answer {
        // It is of one of them: else it would not come here.
        let api = Api::of(&call.path).unwrap_or(Api::Tenants);
        let is_for_master = api == Api::Master;
        let request = match Request::read(call) {
            Ok(request) => request,
            Err(refusal) => return refusal.answer(routes::accepted(call).unwrap_or(api.format())),
        };
        let (_, path) = request.split();
        let found = routes::find(api.routes(), request.method, path);
        let usual = request.suffix.or_else(|| found.as_ref().ok()?.0.format(&request).ok());
        let usual = usual.or_else(|| routes::accepted(call)).unwrap_or(api.format());
        // Before the route: what a wrong token is told should not depend on what else was asked.
        let caller = match self.caller(call, is_for_master) {
            Ok(caller) => caller,
            Err(Refusal::AccessDenied) if is_for_master => return unauthorized(),
            Err(refusal) => return refusal.answer(usual),
        };
        if routes::is_in_other_format(api, request.method, path) {
            return Refusal::Format.answer(usual);
        }
        let (route, ids) = match found {
            Ok((route, _)) if caller.is_master() && !is_for_master && !is_of_master_too(route) => {
                return Refusal::Forbidden.answer(usual);
            }
            Ok(found) => found,
            Err(refusal) => return refusal.answer(usual),
        };
        let format = match route.format(&request) {
            Ok(format) => format,
            Err(refusal) => return refusal.answer(usual),
        };
        let answered = caller.check(route.access, request.method).and_then(|()| {
            let context = Context {
                desk: &self.desk,
                request: &request,
                caller: &caller,
                route,
                ids,
                format,
                now: self.now(),
                backend_endpoint: self.backend_endpoint.as_deref(),
                domain: self.domain.as_deref(),
                bell: &self.bell,
                gateway: self.gateway.as_ref(),
                traffic: self.traffic.get().map(|it| Known::by(&**it)),
                analytics: self.analytics.get().map(|it| &**it),
                within: None,
            };
            (route.run)(&context)
        });
        let answer =
            answered.map_or_else(|refusal| refusal.answer(format), |reply| reply.into_answer(format));
        if request.method == Method::Get {
            dated(answer, call)
        } else {
            Answer { last_modified: None, ..answer }
        }
    }

    /// Who calls, if the address is for them; the master's own API is for the master alone.
    fn caller(&self, call: &Call, is_for_master: bool) -> Result<Caller, Refusal> {
        let view = self.desk.look()?;
        let place = Place::of(call, self.domain.as_deref(), &view.records)?;
        let caller = Caller::of(call, self.desk.engine(), &view.records, self.now())?;
        if !place.admits(caller.tenant) || (is_for_master && !caller.is_master()) {
            return Err(Refusal::AccessDenied);
        }
        if view.catalog.is_suspended(caller.tenant) {
            return Err(Refusal::Closed);
        }
        Ok(caller)
    }

    /// Gives a tenant its first administrator, with an access token of this value for everything. Nothing, if the tenant has users.
    /// Durable with the ticket.
    ///
    /// # Errors
    /// The command cannot be carried out.
    pub fn begin(&self, tenant: TenantId, token: &str) -> Result<Option<Ticket>, DeskError<ShelfError>> {
        let now = self.now().0;
        let (is_new, ticket) = self.desk.command(|draft, records| {
            if User::any(tenant.0, records)? {
                return Ok(false);
            }
            administrator(draft, records, tenant, ("admin", token), now)?;
            fields_definitions::begin(draft, records, tenant.0, now)?;
            account_plans::create_default(draft, records, tenant, now)?;
            services::begin(draft, records, tenant, now)?;
            Ok(true)
        })?;
        Ok(is_new.then_some(ticket))
    }

    /// Whether any tenant has users: developers are no sign of it, but have come by who administers.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn is_administered(&self) -> Result<bool, ShelfError> {
        let first = id_key(MASTER.0 + 1);
        let found = self.desk.keeper().shelf().read(|reading| reading.first_key(User::BY_OWNER, &first))?;
        Ok(found.is_some())
    }

    /// Gives the node its master, with an access token of this value. Nothing, if there is one. Durable with the ticket.
    ///
    /// # Errors
    /// The command cannot be carried out.
    pub fn begin_master(&self, token: &str) -> Result<Option<Ticket>, DeskError<ShelfError>> {
        let now = self.now().0;
        let (is_new, ticket) = self.desk.command(|draft, records| {
            if User::any(MASTER.0, records)? {
                return Ok(false);
            }
            administrator(draft, records, MASTER, ("master", token), now)?;
            Ok(true)
        })?;
        Ok(is_new.then_some(ticket))
    }
}

/// What the original's master says to those it does not know.
fn unauthorized() -> Answer {
    let answer = Answer::new(401, Some("text/plain; charset=utf-8"), "unauthorized");
    Answer { is_stranger: true, ..answer }
}

fn is_of_master_too(route: &Route) -> bool {
    OF_MASTER_TOO.iter().any(|path| route.path.starts_with(path))
}

/// Names the version of what is shown; shows nothing to a client that has it. It says so by that name alone, as the original asks: times are of a second.
fn dated(answer: Answer, call: &Call) -> Answer {
    if answer.status != 200 {
        return answer;
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, &answer.body);
    let text: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("W/\"{text}\"");
    let has_it = call.etag.as_ref().is_some_and(|known| known.split(',').any(|one| one.trim() == etag));
    let last_modified = answer.last_modified.clone();
    let answer = if has_it { Answer::new(304, None, "") } else { answer };
    Answer { etag: Some(etag), last_modified, ..answer }
}

impl Plugin for Admin {
    fn name(&self) -> &'static str {
        NAME
    }

    fn owns(&self, path: &str) -> bool {
        Api::of(path).is_some()
    }

    fn tenant_of(&self, call: &Call) -> Option<u64> {
        let view = self.desk.look().ok()?;
        let caller = Caller::of(call, self.desk.engine(), &view.records, self.now()).ok()?;
        Some(caller.tenant.0)
    }

    fn answer(&self, call: &Call) -> Answer {
        self.respond(call)
    }

    fn body_bytes_max(&self, path: &str) -> Option<usize> {
        path.trim_end_matches(".json").ends_with(document::IMPORT_PATH).then_some(document::IMPORT_BYTES_MAX)
    }

    fn accompany(&self, accompanied: &Accompanied<'_>, records: &mut Records<'_>) -> Result<(), ShelfError> {
        let now = self.now().0;
        audit_others::write(accompanied, records, now)?;
        AREAS.iter().try_for_each(|area| (area.accompany)(accompanied, records, now))
    }
}

/// When a record was made and last changed, where that is all there is to say: in milliseconds since 1970 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Stamps {
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl Record for Stamps {
    const TABLE: Table = Table("stamps");
}
