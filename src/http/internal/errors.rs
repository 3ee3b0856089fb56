//! `/services/:s/errors/`: what went wrong with calls of the service, the newest first.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply, time_text};
use super::call::{Call, Verb};
use super::records::Records;
use crate::plugin::errors::{ERRORS_MAX, IntegrationError};

/// How many errors a page has unless the call says otherwise.
const PER_PAGE: usize = 100;

pub(super) fn answer(api: &Api, call: &Call, service: &str) -> Outcome {
    let service = api.records().service(service)?.id;
    match call.verb {
        Verb::Get => {
            let page = number(call, "page", 1)?;
            let per_page = number(call, "per_page", PER_PAGE)?.min(ERRORS_MAX);
            let found = api.errors.page(service, (page - 1).saturating_mul(per_page), per_page)?;
            let errors: Vec<_> = found.errors.iter().map(shown).collect();
            Ok(Reply::ok(json!({"status": "found", "errors": errors, "count": found.count})))
        }
        Verb::Delete => {
            api.errors.clear(service)?;
            Ok(Reply::deleted())
        }
        Verb::Post | Verb::Put => Err(Refusal::NoSuchRoute),
    }
}

/// A number from the query, at least 1.
fn number(call: &Call, name: &'static str, default: usize) -> Result<usize, Refusal> {
    let Some(text) = call.parameter(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Refusal::Bad(format!("{name} must be a whole number greater than 0")))
}

fn shown(error: &IntegrationError) -> Value {
    json!({
        "code": error.code,
        "message": error.message,
        "timestamp": time_text(error.at_s),
        "context_info": {},
    })
}
