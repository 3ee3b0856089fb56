//! Policies: the chain of a proxy (`/services/{id}/proxy/policies`), and which there are (`/policies`).
//!
//! A chain keeps the order it was sent in. The policy `apicast`, which does the authorizing, is put at its end if it is not in it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Members, Scope, Section};
use super::context::Context;
use super::policy_registry::{self, RegisteredPolicy};
use super::proxy::{self, ProxyDetails};
use super::routes::{Formats, GET, PUT, Route};
use super::xml::Element;

/// As in the original, a token for the registry of policies is enough.
const ACCESS: Access =
    Access::of(&[Scope::PolicyRegistry, Scope::AccountManagement], Members::Of(Section::Plans));

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/proxy/policies", ACCESS, show).in_formats(Formats::JsonFirst),
    Route::new(PUT, "services/{service_id}/proxy/policies", ACCESS, update).in_formats(Formats::JsonFirst),
    Route::new(GET, "policies", ACCESS, list).in_formats(Formats::JsonOnly),
];

/// The most policies in a chain.
pub(super) const POLICIES_MAX: usize = 100;

/// A policy in a chain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) configuration: Map<String, Value>,
    pub(super) enabled: bool,
}

/// The policy that authorizes calls.
const APICAST: &str = "apicast";

/// The version of policies that gateways bring along.
const BUILTIN: &str = "builtin";

/// The policies that gateways bring along.
const BUILTINS: [&str; 33] = [
    "3scale_batcher",
    APICAST,
    "caching",
    "camel",
    "conditional",
    "content_caching",
    "cors",
    "custom_metrics",
    "default_credentials",
    "echo",
    "headers",
    "http_proxy",
    "ip_check",
    "jwt_claim_check",
    "keycloak_role_check",
    "liquid_context_debug",
    "logging",
    "maintenance_mode",
    "nginx_filters",
    "oauth_mtls",
    "on_failed",
    "payload_limits",
    "rate_limit",
    "referrer",
    "request_unbuffered",
    "retry",
    "routing",
    "soap",
    "tls",
    "tls_validation",
    "token_introspection",
    "upstream",
    "url_rewriting",
];

impl Policy {
    fn apicast() -> Policy {
        let (name, version) = (APICAST.to_owned(), BUILTIN.to_owned());
        Policy { name, version, configuration: Map::new(), enabled: true }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "version": self.version,
            "configuration": self.configuration,
            "enabled": self.enabled,
        })
    }
}

/// A chain with `apicast` in it.
fn completed(policies: &[Policy]) -> Vec<Policy> {
    let mut chain = policies.to_vec();
    if chain.iter().all(|policy| policy.name != APICAST) {
        chain.push(Policy::apicast());
    }
    chain
}

/// A chain as answers show it.
pub(super) fn shown(policies: &[Policy]) -> Value {
    completed(policies).iter().map(Policy::json).collect()
}

/// A chain as gateways get it: what is enabled of it.
pub(super) fn chain(policies: &[Policy]) -> Vec<Value> {
    let enabled = completed(policies).into_iter().filter(|policy| policy.enabled);
    let one = |it: Policy| json!({"name": it.name, "version": it.version, "configuration": it.configuration});
    enabled.map(one).collect()
}

fn reply(policies: &[Policy]) -> Reply {
    let mut xml = Element::new("policies_config");
    for policy in completed(policies) {
        let configuration = Value::Object(policy.configuration).to_string();
        let element = Element::new("policy")
            .field("name", policy.name)
            .field("version", policy.version)
            .field("configuration", configuration)
            .field("enabled", policy.enabled);
        xml.push(element);
    }
    Reply::written(json!({"policies_config": shown(policies)}), xml)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(reply(&ProxyDetails::of(seen.records, service)?.policies))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("proxy")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(id)?.clone();
        let sent = fields.value("policies_config").ok_or(Refusal::Missing("policies_config"))?;
        let mut details = ProxyDetails::draft_of(edit, &service)?;
        details.policies = read_chain(sent)?;
        edit.records.save(id, &details)?;
        proxy::deploy_to_sandbox(edit, id)?;
        Ok(reply(&details.policies))
    })
}

/// A chain as clients send it: a list, or one written as a text, as forms must.
fn read_chain(sent: &Value) -> Result<Vec<Policy>, Refusal> {
    let invalid = || Refusal::from(Errors::of("policies_config", "is invalid"));
    let parsed = match sent {
        Value::String(text) if text.trim().is_empty() => Value::Array(Vec::new()),
        Value::String(text) => serde_json::from_str(text).map_err(|_| invalid())?,
        Value::Null => Value::Array(Vec::new()),
        other => other.clone(),
    };
    let Value::Array(items) = parsed else { return Err(invalid()) };
    if items.len() > POLICIES_MAX {
        let error = format!("is too long (maximum is {POLICIES_MAX} policies)");
        return Err(Errors::of("policies_config", error).into());
    }
    let read: Vec<_> = items.iter().map(read_policy).collect();
    if read.iter().all(Result::is_ok) {
        return Ok(read.into_iter().flatten().collect());
    }
    // The original shows the chain, with what is wrong beside each policy.
    let shown: Vec<_> = items
        .into_iter()
        .zip(read)
        .map(|(item, read)| {
            let mut shown = if item.is_object() { item } else { json!({}) };
            if let Err(errors) = read {
                shown["errors"] = errors;
            }
            shown
        })
        .collect();
    Err(Refusal::Shown(json!({"policies_config": shown})))
}

/// A policy, or what is wrong with it.
fn read_policy(sent: &Value) -> Result<Policy, Value> {
    let text = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (name, version) = (text("name"), text("version"));
    let mut errors = Map::new();
    for (field, value) in [("name", &name), ("version", &version)] {
        if value.is_empty() {
            errors.insert(field.to_owned(), json!(["can't be blank"]));
        } else if value.len() > crate::model::draft::TEXT_LEN_MAX {
            errors.insert(field.to_owned(), json!(["is too long (maximum is 255 characters)"]));
        }
    }
    // A form has no other way to write an empty object.
    let configuration = match sent.get("configuration") {
        Some(Value::Object(configuration)) => Some(configuration.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        _ => None,
    };
    let enabled = match sent.get("enabled") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(enabled)) => *enabled,
        Some(other) => super::request::text_of(other).is_some_and(|text| text == "true" || text == "1"),
    };
    match configuration {
        Some(configuration) if errors.is_empty() => Ok(Policy { name, version, configuration, enabled }),
        Some(_) => Err(Value::Object(errors)),
        None => {
            errors.insert("configuration".to_owned(), json!(["can't be blank"]));
            Err(Value::Object(errors))
        }
    }
}

/// All policies that a chain can be made of, by name: those that gateways bring along, and the tenant's own with their schemas.
fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let mut all: Map<String, Value> = Map::new();
    for name in BUILTINS {
        all.insert(name.to_owned(), json!([{"name": name, "version": BUILTIN}]));
    }
    let own = policy_registry::of_tenant(moment.seen().records, context.caller.tenant)?;
    for (_, RegisteredPolicy { name, schema, .. }) in own {
        if let Some(Value::Array(versions)) = all.get_mut(&name) {
            versions.push(schema);
        } else {
            all.insert(name, json!([schema]));
        }
    }
    Ok(Reply::json(200, Value::Object(all)))
}
