//! `POST /transactions.xml`: count what already happened.
//!
//! The answer comes when the usage is on disk, unless less was asked for. A transaction that is wrong drops the whole
//! report, but the caller is answered 202 all the same, as the original does: it finds such errors only later.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::http::request::Parts;

use super::answer::{self, Response};
use super::auth::{refuse, slow_down, unreadable};
use super::body::{self, BodyError};
use super::dialect::{Dialect, attempt, options};
use super::durable::{NOT_DURABLE, is_durable};
use super::fields::{Fields, code_of, not_blank};
use super::form::{Entries, Form, FormError, Value};
use super::idempotency;
use super::options::Options;
use super::telemetry::Call;
use super::timestamp;
use crate::engine::Reported;
use crate::engine::request::{ReportError, ReportIds, ReportRequest, Transaction, Usage, UsageParameter};
use crate::listener::Peer;
use crate::model::decision::Refusal;
use crate::model::idempotency::RequestId;
use crate::model::promise::{Promise, Terms};

/// What a call that counts nothing is counted as, and its answer. Boxed: most reports have none.
type Refused = Box<(&'static str, Response)>;

/// Answers a report.
pub(super) async fn answer<B>(dialect: &Dialect, peer: Peer, head: &Parts, body: B) -> Response
where
    B: Body<Data = Bytes> + Unpin,
{
    let options = options(&head.headers);
    let (result, response) = match accept(dialect, peer, head, body, options).await {
        Ok(Reported { ticket, promise, replayed, .. })
            if promise == Promise::Interval || is_durable(&dialect.engine, ticket).await =>
        {
            let mut response = answer::empty(StatusCode::ACCEPTED);
            if options.durable.is_some() {
                answer::add_durability(response.headers_mut(), promise);
            }
            if replayed {
                idempotency::mark(&mut response);
            }
            (if replayed { "replayed" } else { "accepted" }, response)
        }
        Ok(_) => (NOT_DURABLE, answer::not_durable()),
        Err(refused) => *refused,
    };
    dialect.telemetry.decided(Call::Report, result);
    response
}

async fn accept<B>(
    dialect: &Dialect,
    peer: Peer,
    head: &Parts,
    body: B,
    options: Options,
) -> Result<Reported, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let kind = body::kind(&head.headers).map_err(|content_type| {
        let refusal = Refusal::ContentTypeInvalid { content_type: &content_type };
        Box::new(refuse(&refusal, options.no_body == Some(true)))
    })?;
    let id = idempotency::request_id(&head.headers)
        .map_err(|refusal| Box::new(refuse(&refusal, options.no_body == Some(true))))?;
    let query = Form::parse(head.uri.query().unwrap_or_default().as_bytes())
        .map_err(|e| Box::new(unreadable(&e, options)))?;
    let room = dialect.bodies.hold(peer);
    let body = body::read(&head.headers, kind, body, dialect.body_timeout, room)
        .await
        .map_err(|e| no_body(e, options))?;
    dialect.timed(Call::Report, || count(dialect, peer, id, (&query, &body), options))
}

/// The answer to a report whose body is of no use.
fn no_body(error: BodyError, options: Options) -> Refused {
    Box::new(match error {
        BodyError::Form(error) => unreadable(&error, options),
        BodyError::Broken => unreadable(&FormError::Shape, options),
        BodyError::Encoding => ("other", answer::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
        BodyError::TooSlow => ("other", answer::too_slow()),
        BodyError::Inflates => {
            refuse(&Refusal::BadRequest { text: &error.to_string() }, options.no_body == Some(true))
        }
        // Nothing was counted: sent again, it will be.
        BodyError::NoRoom => ("other", answer::not_durable()),
    })
}

fn count(
    dialect: &Dialect,
    peer: Peer,
    id: Option<RequestId<'_>>,
    (query, body): (&Form, &Form),
    options: Options,
) -> Result<Reported, Refused> {
    let mut fields = Fields::default();
    fields.read(query);
    fields.read(body);
    let no_body = options.no_body.unwrap_or(fields.no_body);
    let refuse = |refusal: &Refusal<'_>| Box::new(refuse(refusal, no_body));
    let credentials = fields.credentials();
    let attempt = attempt(peer, &credentials);
    if let Some(Err(wait)) = attempt.as_ref().map(|attempt| dialect.guesses.admit(attempt)) {
        return Err(Box::new(slow_down(wait)));
    }
    // Only what is refused teaches anything: a provider key is not looked at here.
    dialect.engine.authenticate(&credentials).map_err(|refusal| {
        dialect.learn(attempt.as_ref(), Some(&refusal));
        refuse(&refusal)
    })?;
    if !query.is_utf8() || !body.is_utf8() {
        return Err(refuse(&Refusal::NotValidData));
    }
    let entries = well_formed(fields.transactions).map_err(|refusal| refuse(&refusal))?;
    // All usage lies in one list, of which each transaction has a part.
    let mut usage = Vec::new();
    let parts: Vec<_> = entries.map(|(_, value)| Part::read(value, &mut usage)).collect();
    let transactions: Vec<_> = parts.iter().map(|part| part.transaction(&usage)).collect();
    let terms = Terms::REPORT.asked(options.durable, dialect.promise);
    let request =
        ReportRequest { credentials, transactions: &transactions, flat_usage: options.flat_usage, terms };
    let ids = ids(&parts).map_err(|refusal| refuse(&refusal))?;
    let ids = ReportIds { request: id, transactions: &ids };
    let counted = dialect.engine.report_once(&request, &ids, (dialect.clock)());
    dialect.learn(
        attempt.as_ref(),
        match &counted {
            Ok(_) => None,
            Err(ReportError::Refused(refusal) | ReportError::Dropped(refusal)) => Some(refusal),
        },
    );
    counted.map_err(|error| match error {
        ReportError::Refused(refusal) => refuse(&refusal),
        ReportError::Dropped(refusal) => {
            tracing::debug!(code = refusal.code(), "a report counted nothing");
            dialect.telemetry.dropped(refusal.code());
            dialect.note(&credentials, &refusal);
            Box::new(("accepted", answer::empty(StatusCode::ACCEPTED)))
        }
    })
}

/// The ids of transactions; nothing if none has one.
fn ids<'a>(parts: &[Part<'a>]) -> Result<Vec<Option<&'a [u8]>>, Refusal<'static>> {
    if parts.iter().all(|part| part.id.is_none()) {
        return Ok(Vec::new());
    }
    parts.iter().map(|part| idempotency::transaction_id(part.id)).collect()
}

/// The transactions, if each is a hash whose usage is one too.
fn well_formed(transactions: Value<'_>) -> Result<Entries<'_>, Refusal<'static>> {
    let entries = match transactions {
        Value::Nil => return Err(Refusal::TransactionsBlank),
        Value::Text(text) if not_blank(Some(text)).is_none() => return Err(Refusal::TransactionsBlank),
        Value::Text(_) | Value::List(_) => return Err(Refusal::TransactionsFormatInvalid),
        Value::Hash(entries) => entries,
    };
    if entries.into_iter().any(|(_, transaction)| matches!(transaction, Value::Nil)) {
        return Err(Refusal::TransactionsHaveNil);
    }
    let mut end_users = false;
    for (_, transaction) in entries {
        let Value::Hash(transaction) = transaction else { return Err(Refusal::TransactionsFormatInvalid) };
        for (name, value) in transaction {
            match (name, value) {
                ("usage", Value::Text(_) | Value::List(_)) => return Err(Refusal::TransactionsFormatInvalid),
                ("user_id", value) => end_users |= not_blank(value.text()).is_some(),
                _ => {}
            }
        }
    }
    if end_users { Err(Refusal::EndUsersNoLongerSupported) } else { Ok(entries) }
}

/// A transaction whose usage still lies in the common list.
#[derive(Default)]
struct Part<'a> {
    app_id: Option<&'a str>,
    user_key: Option<&'a str>,
    usage: std::ops::Range<usize>,
    timestamp: Option<i64>,
    log_code: Option<&'a str>,
    id: Option<&'a str>,
}

impl<'a> Part<'a> {
    fn read(value: Value<'a>, usage: &mut Vec<UsageParameter<'a>>) -> Part<'a> {
        let mut part = Part::default();
        let Value::Hash(transaction) = value else { return part };
        for (name, value) in transaction {
            match name {
                "app_id" => part.app_id = not_blank(value.text()),
                "user_key" => part.user_key = not_blank(value.text()),
                "timestamp" => part.timestamp = value.text().and_then(timestamp::parse),
                "log" => part.log_code = code_of(value),
                "id" => part.id = not_blank(value.text()),
                "usage" => {
                    let start = usage.len();
                    if let Value::Hash(entries) = value {
                        usage.extend(entries.map(|(name, value)| (name, value.text())));
                    }
                    part.usage = start..usage.len();
                }
                _ => {}
            }
        }
        part
    }

    fn transaction<'u>(&self, usage: &'u [UsageParameter<'a>]) -> Transaction<'u>
    where
        'a: 'u,
    {
        Transaction {
            app_id: self.app_id,
            user_key: self.user_key,
            usage: Usage::Texts(usage.get(self.usage.clone()).unwrap_or_default()),
            timestamp: self.timestamp,
            log_code: self.log_code,
        }
    }
}
