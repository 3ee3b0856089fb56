//! Which area of the API a path belongs to: a line and a file for each.

use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::{
    alert_limits, applications, batch, errors, events, keys, metrics, provider_keys, referrer_filters,
    service_tokens, services, stats, usage_limits, utilization,
};
use crate::http::API_VERSION;

/// Answers a call, on a thread that may block. The areas are plain functions: what is left of the path tells them
/// which record is meant.
pub(super) fn answer(api: &Api, call: &Call) -> Outcome {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    // An empty part is no id: blank keys would be records that nobody can name.
    if path.contains(&"") {
        return Err(Refusal::NoSuchRoute);
    }
    match path[..] {
        ["check.json"] => check(call),
        ["status"] => status(call),
        ["services", "change_provider_key", key] => provider_keys::answer(api, call, key),
        ["services"] => services::create(api, call),
        ["services", service] => services::answer(api, call, service),
        ["services", service, "errors"] => errors::answer(api, call, service),
        ["events", ref rest @ ..] => events::answer(api, call, rest),
        ["services", service, "stats"] => stats::answer(api, call, service),
        ["services", service, "alert_limits", ref rest @ ..] => {
            alert_limits::answer(api, call, service, rest)
        }
        ["services", service, "metrics", metric] => metrics::answer(api, call, service, metric),
        ["services", service, "plans", plan, "usagelimits", metric, period] => {
            let limit = usage_limits::Place { service, plan, metric, period };
            usage_limits::answer(api, call, &limit)
        }
        ["services", service, "applications", "batch"] if call.verb == Verb::Put => {
            batch::answer(api, call, service)
        }
        ["services", service, "applications", "key", key] => keys::user_key(api, call, service, key),
        ["services", service, "applications", id] => applications::answer(api, call, service, id),
        ["services", service, "applications", id, "key", key] => {
            keys::give_user_key(api, call, service, id, key)
        }
        ["services", service, "applications", id, "keys", ref rest @ ..] => {
            keys::application_keys(api, call, service, id, rest)
        }
        ["services", service, "applications", id, "referrer_filters", ref rest @ ..] => {
            referrer_filters::answer(api, call, service, id, rest)
        }
        ["services", service, "applications", id, "utilization"] => {
            utilization::answer(api, call, service, id)
        }
        ["service_tokens", ref rest @ ..] => service_tokens::answer(api, call, rest),
        _ => Err(Refusal::NoSuchRoute),
    }
}

fn check(call: &Call) -> Outcome {
    match call.verb {
        Verb::Get => Ok(Reply::ok(json!({"status": "ok"}))),
        _ => Err(Refusal::NoSuchRoute),
    }
}

fn status(call: &Call) -> Outcome {
    match call.verb {
        Verb::Get => Ok(Reply::ok(json!({"status": "ok", "version": {"backend": API_VERSION}}))),
        _ => Err(Refusal::NoSuchRoute),
    }
}
