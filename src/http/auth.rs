//! authorize and authrep, and their OAuth forms.

use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::{StatusCode, Uri};
use smallvec::SmallVec;

use super::answer::{self, Response};
use super::dialect::{Begun, Dialect, attempt, options};
use super::durable::Held;
use super::fields::Fields;
use super::form::{Form, FormError, Value};
use super::options::Options;
use super::xml::{self, Shown};
use super::{idempotency, ratelimit, telemetry};
use crate::engine::Ticket;
use crate::engine::request::{Answer, AuthRequest, Call, Redirect, Usage, UsageParameter};
use crate::listener::Peer;
use crate::listener::guesses::Wait;
use crate::model::decision::{Denial, Refusal};
use crate::model::idempotency::RequestId;
use crate::model::promise::{Promise, Terms};

/// Answers a call. The checks come in the order of the reference: what can be read, who asks, what is asked.
pub(super) fn answer(
    dialect: &Dialect,
    call: telemetry::Call,
    peer: Peer,
    uri: &Uri,
    headers: &HeaderMap,
) -> Begun {
    let options = options(headers);
    let mut ticket = None;
    let (result, response) = match Form::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(form) => match idempotency::request_id(headers) {
            Ok(id) => decide(dialect, call, peer, &form, (options, id), &mut ticket),
            Err(refusal) => refuse(&refusal, options.no_body == Some(true)),
        },
        Err(error) => unreadable(&error, options),
    };
    if let Some(ticket) = ticket {
        let (engine, telemetry) = (Arc::clone(&dialect.engine), Arc::clone(&dialect.telemetry));
        return Begun::Held(Box::new(Held { engine, telemetry, call, result, response, ticket }));
    }
    dialect.telemetry.decided(call, result);
    Begun::Done(response)
}

/// What the call is counted as, and its answer.
type Outcome = (&'static str, Response);

/// The answer to parameters that cannot be read.
pub(super) fn unreadable(error: &FormError, options: Options) -> Outcome {
    let text = error.to_string();
    let no_body = options.no_body == Some(true) && !error.is_limit();
    refuse(&Refusal::BadRequest { text: &text }, no_body)
}

pub(super) fn refuse(refusal: &Refusal<'_>, no_body: bool) -> Outcome {
    (refusal.code(), answer::refused(refusal, no_body))
}

/// The answer to a peer that has sent too many wrong credentials.
pub(super) fn slow_down(wait: Wait) -> Outcome {
    ("too_many_wrong_credentials", answer::wait(wait))
}

/// Decides, and says in `ticket` what the answer waits for.
fn decide(
    dialect: &Dialect,
    call: telemetry::Call,
    peer: Peer,
    form: &Form,
    (options, id): (Options, Option<RequestId<'_>>),
    ticket: &mut Option<Ticket>,
) -> Outcome {
    let mut fields = Fields::default();
    fields.read(form);
    let no_body = options.no_body.unwrap_or(fields.no_body);
    if !form.is_utf8() {
        dialect.note(&fields.credentials(), &Refusal::NotValidData);
        return refuse(&Refusal::NotValidData, no_body);
    }
    let decided = with_request(&fields, call, options, no_body, |request| {
        let attempt = attempt(peer, &request.credentials);
        if let Some(Err(wait)) = attempt.as_ref().map(|attempt| dialect.guesses.admit(attempt)) {
            return slow_down(wait);
        }
        let (oauth, redirect_uri) = (request.oauth, matches!(request.redirect, Some(Redirect::Uri(_))));
        let shown = Shown { oauth, redirect_uri, options };
        let mut moment = dialect.engine.moment((dialect.clock)());
        moment.on(Terms::DECISION.asked(options.durable, dialect.promise));
        let mut counted = false;
        let render = |answer: &Answer<'_>| {
            counted = request.call == Call::Authrep && answer.denial.is_none();
            if answer.replayed {
                let (_, mut response) = render(answer, shown, no_body);
                idempotency::mark(&mut response);
                return ("replayed", response);
            }
            dialect.telemetry.answered(call, answer);
            render(answer, shown, no_body)
        };
        let mut decided = match id {
            None => moment.authorize(request, render),
            Some(id) => moment.authorize_once(request, id, render),
        };
        if counted {
            if let (Ok((_, response)), Some(_)) = (&mut decided, options.durable) {
                answer::add_durability(response.headers_mut(), moment.promised());
            }
            *ticket = (moment.promised() == Promise::Durable).then(|| dialect.engine.ticket());
        }
        dialect.learn(attempt.as_ref(), decided.as_ref().err());
        decided.unwrap_or_else(|refusal| {
            dialect.note(&request.credentials, &refusal);
            refuse(&refusal, no_body)
        })
    });
    decided.unwrap_or_else(|| misused(dialect, peer, &fields, no_body))
}

/// Hands the request that the parameters of a call make to `run`; `None` if they make none.
pub(super) fn with_request<'f, R>(
    fields: &Fields<'f>,
    call: telemetry::Call,
    options: Options,
    no_body: bool,
    run: impl FnOnce(&AuthRequest<'_>) -> R,
) -> Option<R> {
    let usage = match fields.usage {
        Value::Hash(entries) => entries.map(|(name, value)| (name, value.text())).collect(),
        Value::Nil => SmallVec::<[UsageParameter<'f>; 8]>::new(),
        Value::Text(_) | Value::List(_) => return None,
    };
    if fields.user_id().is_some() {
        return None;
    }
    let (oauth, counts) = match call {
        telemetry::Call::Authrep => (false, Call::Authrep),
        telemetry::Call::OauthAuthrep => (true, Call::Authrep),
        telemetry::Call::OauthAuthorize => (true, Call::Authorize),
        telemetry::Call::Authorize | telemetry::Call::Report => (false, Call::Authorize),
    };
    Some(run(&AuthRequest {
        call: counts,
        oauth,
        credentials: fields.credentials(),
        app_id: fields.app_id(),
        user_key: fields.user_key(),
        app_key: fields.app_key(),
        referrer: fields.referrer(),
        redirect: fields
            .redirect_uri()
            .map(Redirect::Uri)
            .or_else(|| fields.redirect_url().map(Redirect::Url)),
        usage: Usage::Texts(&usage),
        log_code: fields.log_code(),
        flat_usage: options.flat_usage,
        no_body,
    }))
}

/// Requests that are wrong in themselves are told so only once it is known who asks.
fn misused(dialect: &Dialect, peer: Peer, fields: &Fields<'_>, no_body: bool) -> Outcome {
    let credentials = fields.credentials();
    let attempt = attempt(peer, &credentials);
    if let Some(Err(wait)) = attempt.as_ref().map(|attempt| dialect.guesses.admit(attempt)) {
        return slow_down(wait);
    }
    // Only what is refused teaches anything: a provider key is not looked at here.
    if let Err(refusal) = dialect.engine.authenticate(&credentials) {
        dialect.learn(attempt.as_ref(), Some(&refusal));
        return refuse(&refusal, no_body);
    }
    if fields.user_id().is_some() {
        dialect.note(&fields.credentials(), &Refusal::EndUsersNoLongerSupported);
        return refuse(&Refusal::EndUsersNoLongerSupported, no_body);
    }
    ("usage_not_a_hash", answer::empty(StatusCode::FORBIDDEN))
}

fn render(answer: &Answer<'_>, shown: Shown, no_body: bool) -> Outcome {
    let options = shown.options;
    let body = if no_body { Vec::new() } else { xml::status(answer, shown) };
    let status = if answer.denial.is_none() { StatusCode::OK } else { StatusCode::CONFLICT };
    let mut response = answer::dialect(status, body);
    let headers = response.headers_mut();
    if matches!(answer.denial, None | Some(Denial::LimitsExceeded)) {
        if options.limit_headers {
            answer::add_limit(headers, &answer.limit());
        }
        if options.ratelimit_headers || answer.service.ratelimit_headers {
            ratelimit::add(headers, answer);
        }
    }
    if let Some(denial) = answer.would_deny
        && options.rejection_reason_header
    {
        answer::add_would_deny(headers, denial.code());
    }
    let Some(denial) = answer.denial else { return ("authorized", response) };
    if options.rejection_reason_header {
        answer::add_rejection_reason(headers, denial.code());
    }
    (denial.code(), response)
}
