//! 3scale's internal API: how the portal, or whoever else keeps the configuration, pushes it into a node.
//!
//! # For operators
//! The API is off until there is a user and a password, from the environment (`TOLLGATE_INTERNAL_API_USER`,
//! `TOLLGATE_INTERNAL_API_PASSWORD`) or the configuration file (`internal_api_user`, `internal_api_password`); while
//! it is off its paths are 404 like any other. It lies below `/internal` on the admin listener, and on a loopback
//! node without one on the HTTP listener. Callers use HTTP basic authentication; others get 401 without a body, and who
//! tries many passwords is made to wait (429, see [`guesses`](crate::listener::guesses)).
//!
//! *To change the password without a gap*: give the new pair as `internal_api_user_2` and `internal_api_password_2`,
//! restart, change the callers, move the pair to the first place, restart. Both are valid for as long as both are set.
//!
//! *To put a node under an existing 3scale portal*: set the portal's backend URL for internal calls to
//! `http(s)://NODE:PORT/internal/`, with these credentials, and let it write its storage anew; then point the gateways
//! at the HTTP listener. Answers of changes come when they are on disk; the next decision knows them. While the disk
//! takes no writes, be it the journal's or that of a plugin's shelf on which something would follow from the change, changes are 503 with
//! `Retry-After` and what is shown still is.
//!
//! # What is pushed
//! Services, metrics, plans and applications keep the id they are pushed with. Ids of services are one space for the
//! whole node, as calls name no provider: a service under another provider's key is refused, not taken over. What was
//! made in another way goes by its own number here, unless something pushed is called that. A provider key that nobody
//! has makes a new tenant. An application has no account and is never billed.
//!
//! - A plan comes into being when a limit or an application first mentions it. Its name belongs to the plan: a later
//!   push with another `plan_name` renames it for all its applications. (The original keeps a name per application.)
//! - An application without a `plan_id` is on no plan, and unlimited; a `plan_name` alone is refused.
//! - What a body does not mention, or gives as `null` or blank, stays as it is.
//! - Limits, tokens and applications need their service, metric and so on: 404 says which is missing. (The original
//!   keeps them for whatever may come; a portal repeats what failed.)
//! - Deleting a service deletes its metrics, plans, applications and counters: for callers at once, on disk in the
//!   background. Deleting a metric deletes its limits; what was below it stands for itself then.
//! - A user key or token is a path segment or text of at most 255 bytes without blanks around; so are ids and names.
//! - In a batch each application is saved whole or reported among the failures. Keys and filters given there are added.
//! - Deleting stats sets all counters of the service's applications to zero, in the background, also after a crash.
//!   Usage dated ahead is kept until its time comes.
//!
//! # What is not the original's
//! Bodies take more than the original knows, and answers show it where it is in use (see the engine's documentation):
//! - `"shadow": true` in a service, application or usage limit puts it into shadow, `false` takes it out;
//! - `"ratelimit_headers": true` in a service gives every decision the `RateLimit` fields;
//! - `"promise": "durable"` or `"interval"` in a service says what answers promise of what its calls count (see
//!   [`promise`](crate::model::promise)), `"usual"` takes that back.
//!
//! # The files
//! | File | What it holds |
//! |---|---|
//! | `call`, `json`, `answer` | reading a request, its body within bounds, and writing the answer |
//! | `logins` | who may call |
//! | `routes` | which path belongs to which area; a file each |
//! | `records` | from the other system's ids to our records |
//! | `sweep` | what goes on in the background: erasing stats, taking away what a deleted service owned |

mod alert_limits;
mod answer;
mod applications;
mod batch;
mod call;
mod errors;
mod events;
pub mod json;
mod keys;
mod logins;
mod metrics;
mod provider_keys;
mod records;
mod referrer_filters;
mod routes;
mod service_tokens;
mod services;
mod stats;
mod sweep;
mod usage_limits;
mod utilization;

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, counter, describe_counter};
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::bodies::Bodies;
use super::body::Received;
use super::routes::{Answering, Extension};
use super::{Response, body};
use crate::engine::Engine;
use crate::listener::guesses::{Attempt, Guesses, Target};
use crate::listener::{Clock, Peer};
use crate::model::draft::Draft;
use crate::plugin::alerts::Alerts;
use crate::plugin::errors::IntegrationErrors;
use answer::{Outcome, Refusal, Reply};
use call::{Call, ROOT};
pub use logins::Logins;
use records::Snapshot;
use sweep::Sweeper;

/// How long a change waits for the disk, as a report does.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The calls that are carried out at a time; others wait. Bounds what parsed bodies take, and leaves the threads for
/// work that blocks to others.
const CALLS_AT_ONCE: usize = 8;

/// The internal API of a node.
pub struct InternalApi {
    api: Arc<Api>,
    logins: Logins,
    body_timeout: Duration,
    bodies: Arc<Bodies>,
    guesses: Arc<Guesses>,
    at_once: Semaphore,
    calls: Calls,
}

/// How calls ended, for telemetry.
struct Calls {
    done: Counter,
    refused: Counter,
    unauthorized: Counter,
    unavailable: Counter,
}

impl Calls {
    fn new() -> Calls {
        describe_counter!("tollgate_internal_api_calls_total", "Calls of the internal API, by result");
        let result = |result: &'static str| counter!("tollgate_internal_api_calls_total", "result" => result);
        Calls {
            done: result("done"),
            refused: result("refused"),
            unauthorized: result("unauthorized"),
            unavailable: result("unavailable"),
        }
    }
}

/// What the areas work with.
struct Api {
    engine: Arc<Engine>,
    clock: Clock,
    sweeper: Arc<Sweeper>,
    alerts: Arc<Alerts>,
    errors: Arc<IntegrationErrors>,
}

impl Api {
    fn records(&self) -> Snapshot<'_> {
        Snapshot::of(&self.engine)
    }

    /// Carries out a change as one command. A refusal changes nothing, whatever `build` had drafted by then.
    fn change(&self, build: impl FnOnce(&mut Draft<'_>) -> Outcome) -> Outcome {
        let (outcome, ticket) = self.engine.change(|draft| Ok(draft.attempt(build)))?;
        Ok(Reply { durable: Some(ticket), ..outcome? })
    }
}

impl InternalApi {
    /// Answers those who have one of `logins` from `engine`. A body that takes longer than `body_timeout` to arrive
    /// is given up.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        clock: Clock,
        alerts: Arc<Alerts>,
        errors: Arc<IntegrationErrors>,
        logins: Logins,
        body_timeout: Duration,
    ) -> InternalApi {
        let sweeper = Arc::new(Sweeper::new(Arc::clone(&engine), clock.clone()));
        let api = Arc::new(Api { engine, clock, sweeper, alerts, errors });
        let (bodies, guesses) = (Arc::new(Bodies::default()), Arc::new(Guesses::new(false)));
        let at_once = Semaphore::new(CALLS_AT_ONCE);
        InternalApi { api, logins, body_timeout, bodies, guesses, at_once, calls: Calls::new() }
    }

    /// The same with budgets that it shares with others: what bodies take, and wrong credentials.
    #[must_use]
    pub fn with_budgets(self, bodies: Arc<Bodies>, guesses: Arc<Guesses>) -> InternalApi {
        InternalApi { bodies, guesses, ..self }
    }

    /// Whether anybody can call it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.logins.is_empty()
    }

    /// What goes on in the background until `shutdown`. Run it also while nobody can call the API: what was asked for
    /// before is owed.
    pub fn background(&self, shutdown: CancellationToken) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.api.sweeper).run(shutdown)
    }

    async fn respond<B>(&self, request: Request<B>, peer: Peer) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Some(refused) = self.keep_out(request.headers(), peer) {
            self.calls.unauthorized.increment(1);
            return refused;
        }
        match self.outcome(request, peer).await {
            Ok(reply) => {
                self.calls.done.increment(1);
                reply.response()
            }
            Err(refusal) => {
                let ours = matches!(
                    refusal,
                    Refusal::NotDurable
                        | Refusal::Unread(_)
                        | Refusal::NoRoom
                        | Refusal::Behind(_)
                        | Refusal::Failed
                );
                if ours { &self.calls.unavailable } else { &self.calls.refused }.increment(1);
                refusal.response()
            }
        }
    }

    /// The answer to a caller who has no login, or who guesses at one and is made to wait.
    fn keep_out(&self, headers: &HeaderMap, peer: Peer) -> Option<Response> {
        // Who gives nothing guesses nothing.
        let Some(given) = headers.get(AUTHORIZATION) else { return Some(answer::unauthorized()) };
        let attempt = Attempt { peer, target: Target::InternalApi, credential: given.as_bytes() };
        match self.guesses.check(&attempt, || self.logins.admit(headers)) {
            Ok(true) => None,
            Ok(false) => Some(answer::unauthorized()),
            Err(wait) => Some(super::answer::wait(wait)),
        }
    }

    async fn outcome<B>(&self, request: Request<B>, peer: Peer) -> Outcome
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let room = self.bodies.hold(peer);
        let Received { bytes: body, room } =
            body::read_bytes(&head.headers, body, self.body_timeout, json::JSON_BYTES_MAX, room).await?;
        let permit = self.at_once.acquire().await.map_err(|_| Refusal::Failed)?;
        let api = Arc::clone(&self.api);
        // Parsing a large body or deleting a large service takes its time, which is not taken from decisions.
        let call = move || routes::answer(&api, &Call::read(&head.method, &head.uri, &body)?);
        let reply = tokio::task::spawn_blocking(call).await.map_err(|_| Refusal::Failed)??;
        drop((permit, room));
        if let Some(ticket) = reply.durable {
            let durable = tokio::time::timeout(DURABLE_TIMEOUT, self.api.engine.durable(ticket)).await;
            durable.map_err(|_| Refusal::NotDurable)?.map_err(|_| Refusal::NotDurable)?;
        }
        Ok(reply)
    }
}

impl Extension for InternalApi {
    fn owns(&self, path: &str) -> bool {
        path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answering<'_> {
        Box::pin(self.respond(request, peer))
    }
}
