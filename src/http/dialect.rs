//! 3scale's Service Management API: which path is which call.
//!
//! Only the exact paths exist: any other path or method is 404 with an empty body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};

use super::answer::{self, Response};
use super::bodies::Bodies;
use super::durable::Held;
use super::options::Options;
use super::telemetry::{Call, Telemetry};
use super::{auth, report};
use crate::engine::Engine;
use crate::engine::request::Credentials;
use crate::listener::guesses::{Attempt, Guesses, Target as Opens};
use crate::listener::{Clock, Peer};
use crate::model::decision::Refusal;
use crate::model::promise::Promise;
use crate::plugin::errors::IntegrationErrors;

/// The version of the API that is spoken here: that of the 3scale backend whose behaviour it is.
pub const API_VERSION: &str = "3.4.3";

/// The header that asks for extensions.
const OPTIONS_HEADER: &str = "3scale-options";

/// The calls of the API, answered by an engine.
pub struct Dialect {
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Clock,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) body_timeout: Duration,
    pub(super) bodies: Arc<Bodies>,
    pub(super) guesses: Arc<Guesses>,
    /// What the listener is set to.
    pub(super) promise: Option<Promise>,
    errors: Option<Arc<IntegrationErrors>>,
}

/// How far a request is.
pub(super) enum Begun {
    Done(Response),
    /// It has counted something that must be on disk first.
    Held(Box<Held>),
    /// It is a report, whose body is to be read.
    Report,
}

enum Target {
    Auth(Call),
    Report,
    Status,
    Check,
    Available,
    Preflight,
    Nothing,
}

fn target(method: &Method, path: &str) -> Target {
    if *method == Method::GET || *method == Method::HEAD {
        match path {
            "/transactions/authrep.xml" => Target::Auth(Call::Authrep),
            "/transactions/authorize.xml" => Target::Auth(Call::Authorize),
            "/transactions/oauth_authrep.xml" => Target::Auth(Call::OauthAuthrep),
            "/transactions/oauth_authorize.xml" => Target::Auth(Call::OauthAuthorize),
            "/status" => Target::Status,
            "/check.txt" => Target::Check,
            "/available" if *method == Method::HEAD => Target::Available,
            _ => Target::Nothing,
        }
    } else if *method == Method::POST && path == "/transactions.xml" {
        Target::Report
    } else if *method == Method::OPTIONS {
        Target::Preflight
    } else {
        Target::Nothing
    }
}

impl Dialect {
    /// Answers from `engine`. A body that takes longer than `body_timeout` to arrive is given up.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        body_timeout: Duration,
    ) -> Dialect {
        let (bodies, guesses) = (Arc::new(Bodies::default()), Arc::new(Guesses::new(false)));
        Dialect { engine, clock, telemetry, body_timeout, bodies, guesses, promise: None, errors: None }
    }

    /// The same with budgets that it shares with others: what bodies take, and wrong credentials.
    #[must_use]
    pub fn with_budgets(self, bodies: Arc<Bodies>, guesses: Arc<Guesses>) -> Dialect {
        Dialect { bodies, guesses, ..self }
    }

    /// The same with a promise that holds unless request or service say otherwise.
    #[must_use]
    pub fn promising(self, promise: Option<Promise>) -> Dialect {
        Dialect { promise, ..self }
    }

    /// Keeps in `errors` what goes wrong with calls of known services.
    pub(super) fn note_errors(&mut self, errors: Arc<IntegrationErrors>) {
        self.errors = Some(errors);
    }

    /// Keeps why a call was refused, if it is known for which service.
    pub(super) fn note(&self, credentials: &Credentials<'_>, refusal: &Refusal<'_>) {
        let Some(errors) = &self.errors else { return };
        if let Some(service) = self.engine.service_of(credentials) {
            errors.note(service, refusal.code(), refusal.to_string(), (self.clock)().secs());
        }
    }

    /// Carries out a request that does not need its body: all but reports.
    ///
    /// Nearly all requests are answered at once, and are spared what a future costs.
    pub(super) fn begin<B>(&self, request: &Request<B>, peer: Peer) -> Begun {
        Begun::Done(match target(request.method(), request.uri().path()) {
            Target::Auth(call) => {
                return self.timed(call, || auth::answer(self, call, peer, request.uri(), request.headers()));
            }
            Target::Report => return Begun::Report,
            Target::Status => {
                let status = format!("{{\"status\":\"ok\",\"version\":{{\"backend\":\"{API_VERSION}\"}}}}");
                answer::typed("application/json", &status)
            }
            Target::Check => answer::typed("text/plain", "ok"),
            Target::Available => answer::empty(StatusCode::OK),
            Target::Preflight => answer::preflight(),
            Target::Nothing => {
                self.telemetry.not_found.increment(1);
                answer::empty(StatusCode::NOT_FOUND)
            }
        })
    }

    /// Answers a report.
    pub(super) async fn answer_report<B>(&self, request: Request<B>, peer: Peer) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        report::answer(self, peer, &head, body).await
    }

    /// Keeps what came out of looking at credentials. What is refused for another reason than they says that they
    /// were right, unless it was found before they were looked at or could be said of wrong ones too.
    pub(super) fn learn(&self, attempt: Option<&Attempt<'_>>, refusal: Option<&Refusal<'_>>) {
        let Some(attempt) = attempt else { return };
        match refusal {
            Some(
                Refusal::ProviderKeyInvalid { .. }
                | Refusal::ProviderKeyInvalidOrServiceMissing { .. }
                | Refusal::ServiceTokenInvalid { .. },
            ) => self.guesses.failed(attempt),
            Some(
                Refusal::CredentialsRequired
                | Refusal::ServiceIdMissing
                | Refusal::ServiceIdInvalid { .. }
                | Refusal::StorageUnavailable,
            ) => {}
            _ => self.guesses.passed(attempt),
        }
    }

    /// Runs a call, and takes its time if it is the turn of this one.
    pub(super) fn timed<R>(&self, call: Call, run: impl FnOnce() -> R) -> R {
        let start = self.telemetry.times_this_one().then(Instant::now);
        let result = run();
        if let Some(start) = start {
            self.telemetry.took(call, start.elapsed());
        }
        result
    }
}

/// What a caller wants to be known by. As in the engine, a provider key goes before a token.
pub(super) fn attempt<'a>(peer: Peer, credentials: &Credentials<'a>) -> Option<Attempt<'a>> {
    let (target, credential) = match (credentials.provider_key, credentials.service_token) {
        (Some(key), _) => (Opens::ProviderKey, key),
        (None, Some(token)) => (Opens::Service(credentials.service_id?), token),
        (None, None) => return None,
    };
    Some(Attempt { peer, target, credential: credential.as_bytes() })
}

/// The extensions that a request asks for.
pub(super) fn options(headers: &HeaderMap) -> Options {
    headers.get(OPTIONS_HEADER).map_or_else(Options::default, |value| Options::parse(value.as_bytes()))
}
