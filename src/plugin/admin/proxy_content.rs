//! The content of a configuration: a service with its proxy, rules and policies, as gateways of the original read it.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::backend_usages::{self, Used};
use super::context::Seen;
use super::mapping_rules::{self, MappingRule, Of};
use super::patterns;
use super::policies;
use super::proxy::{self, ProxyDetails};
use super::services::{self, ServiceDetails};
use super::times;
use crate::document::endpoint::{self, Endpoint, PRIVATE};
use crate::model::id::MetricId;
use crate::model::record::Service;
use crate::plugin::records::Records;
use crate::rules::below;
use crate::store::ShelfError;

/// The content, as all of it is now. Same is same: it has no time of its own.
pub(super) fn of(seen: Seen<'_>, service: &Service) -> Result<Value, Refusal> {
    let details = seen.records.find::<ServiceDetails>(service.id.0)?.unwrap_or_default();
    let proxy = ProxyDetails::of(seen.records, service)?;
    let used = backend_usages::of_service(service.id.0, seen.records)?;
    Ok(json!({
        "id": service.id.0,
        "account_id": service.tenant.0,
        "tenant_id": service.tenant.0,
        "name": service.name,
        "description": details.description,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "state": services::shown_state(service),
        "system_name": services::shown_system_name(&details, service),
        "backend_version": service.backend_version.name(),
        "intentions_required": details.intentions_required,
        "buyers_manage_apps": details.buyers_manage_apps,
        "buyers_manage_keys": details.buyers_manage_keys,
        "custom_keys_enabled": details.custom_keys_enabled,
        "buyer_plan_change_permission": details.buyer_plan_change_permission,
        "buyer_can_select_plan": details.buyer_can_select_plan,
        "notification_settings": null,
        "default_application_plan_id": details.default_application_plan,
        "default_service_plan_id": details.default_service_plan,
        "mandatory_app_key": details.mandatory_app_key,
        "buyer_key_regenerate_enabled": details.buyer_key_regenerate_enabled,
        "support_email": details.support_email,
        "referrer_filters_required": service.referrer_filters_required,
        "deployment_option": details.deployment_option,
        "proxiable?": true,
        "backend_authentication_type": "service_token",
        "backend_authentication_value": null,
        "proxy": proxy_of(seen, service, &proxy, &used)?,
    }))
}

fn proxy_of(
    seen: Seen<'_>,
    service: &Service,
    details: &ProxyDetails,
    used: &[Used],
) -> Result<Value, Refusal> {
    let mut json = proxy::shared_fields(seen, service, details)?;
    let api_backend = json["api_backend"].as_str().unwrap_or_default().to_owned();
    let api_host = endpoint::host_of(&api_backend).unwrap_or("none");
    let rewrite = Some(details.hostname_rewrite.as_str()).filter(|it| !it.is_empty()).unwrap_or(api_host);
    let endpoint = details.shown_endpoint(seen.gateway);
    let port = Endpoint::parse(&endpoint, &PRIVATE).map_or(80, |endpoint| endpoint.port());
    // When it was deployed says nothing of what.
    json["deployed_at"] = Value::Null;
    let more = json!({
        "id": service.id.0,
        "tenant_id": service.tenant.0,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "lock_version": details.lock_version,
        "apicast_configuration_driven": true,
        "authentication_method": proxy::authentication_method(seen.records, service)?,
        "oidc_issuer_endpoint": Some(&details.oidc_issuer_endpoint).filter(|it| !it.is_empty()),
        "oidc_issuer_type": Some(&details.oidc_issuer_type).filter(|it| !it.is_empty()),
        "jwt_claim_with_client_id": Some(&details.jwt_claim_with_client_id).filter(|it| !it.is_empty()),
        "jwt_claim_with_client_id_type":
            Some(&details.jwt_claim_with_client_id_type).filter(|it| !it.is_empty()),
        "hostname_rewrite_for_sandbox": rewrite,
        "endpoint_port": port,
        "valid?": true,
        "service_backend_version": service.backend_version.name(),
        "hosts": hosts(&[endpoint, details.shown_sandbox_endpoint(seen.gateway)]),
        "backend": null,
        "policy_chain": policy_chain(details, used),
        "proxy_rules": placed(seen.records, service, used)?.iter().map(|it| shown_rule(service, it)).collect::<Vec<_>>(),
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        json[field.as_str()] = value.clone();
    }
    Ok(json)
}

fn hosts(endpoints: &[String]) -> Vec<&str> {
    let mut hosts: Vec<_> = endpoints.iter().filter_map(|url| endpoint::host_of(url)).collect();
    hosts.dedup();
    hosts
}

/// The proxy's policies; before them one that leads to the backend APIs, if any is used below a path.
fn policy_chain(details: &ProxyDetails, used: &[Used]) -> Vec<Value> {
    let own = policies::chain(&details.policies);
    if used.iter().all(Used::is_at_root) {
        return own;
    }
    let mut used: Vec<_> = used.iter().collect();
    // The longer path first: a gateway takes the first that matches.
    used.sort_by(|one, other| other.path.cmp(&one.path));
    let rules: Vec<_> = used.into_iter().map(routing_rule).collect();
    let routing = json!({
        "name": "routing",
        "version": "builtin",
        "enabled": true,
        "configuration": {"rules": rules},
    });
    std::iter::once(routing).chain(own).collect()
}

fn routing_rule(used: &Used) -> Value {
    let path = if used.is_at_root() { "" } else { used.path.as_str() };
    let value = if path.is_empty() { "/.*".to_owned() } else { format!("{path}/.*|{path}/?") };
    let mut rule = json!({
        "url": used.private_endpoint,
        "owner_id": used.backend,
        "owner_type": "BackendApi",
        "condition": {"operations": [{"match": "path", "op": "matches", "value": value}]},
    });
    if !path.is_empty() {
        rule["replace_path"] = json!(format!("{{{{original_request.path | remove_first: '{path}'}}}}"));
    }
    rule
}

/// A rule as a gateway has it.
pub(super) struct Placed<'s> {
    pub(super) id: u64,
    pub(super) rule: MappingRule,
    /// With the path before it at which the backend API is used whose rule it is.
    pub(super) pattern: String,
    /// The system name of its metric.
    pub(super) metric: &'s str,
}

impl Placed<'_> {
    /// What kind of record the rule's owner is, as the original calls it.
    pub(super) fn owner_type(&self) -> &'static str {
        if self.rule.of == Of::Service { "Proxy" } else { "BackendApi" }
    }
}

/// The rules of the service, and after them those of its backend APIs below the paths at which it uses them.
pub(super) fn placed<'s>(
    records: &Records<'_>,
    service: &'s Service,
    used: &[Used],
) -> Result<Vec<Placed<'s>>, ShelfError> {
    let mut placed = Vec::new();
    let owners = std::iter::once((service.id.0, "/"));
    for (owner, path) in owners.chain(used.iter().map(|used| (used.backend, used.path.as_str()))) {
        for (id, rule) in mapping_rules::in_order(owner, records)? {
            // Rules go with their metric, but not within the same command.
            let Some(metric) = service.metrics.by_id(MetricId(rule.metric)) else { continue };
            let pattern = below(path, &rule.pattern);
            placed.push(Placed { id, rule, pattern, metric: &metric.name });
        }
    }
    Ok(placed)
}

fn shown_rule(service: &Service, placed: &Placed<'_>) -> Value {
    let Placed { id, rule, pattern, metric } = placed;
    json!({
        "id": id,
        "proxy_id": (rule.of == Of::Service).then_some(rule.owner),
        "http_method": rule.http_method,
        "pattern": escaped(pattern),
        "metric_id": rule.metric,
        "metric_system_name": metric,
        "delta": rule.delta,
        "tenant_id": service.tenant.0,
        "created_at": times::text(rule.created_at),
        "updated_at": times::text(rule.updated_at),
        "redirect_url": rule.redirect_url,
        "position": rule.position,
        "last": rule.last,
        "owner_id": rule.owner,
        "owner_type": placed.owner_type(),
        "parameters": patterns::variables(pattern),
        "querystring_parameters": patterns::query(pattern),
    })
}

/// Gateways make a regular expression of a pattern; what has a meaning there stands for itself here, but `$` at the end of a path.
fn escaped(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut in_query = false;
    for character in pattern.chars() {
        let metacharacters = if in_query { ".()*+$?[]" } else { ".()*+" };
        if metacharacters.contains(character) {
            escaped.push('\\');
        }
        in_query |= character == '?';
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_stand_for_themselves_in_regular_expressions() {
        for (pattern, expected) in
            [("/a.json$", "/a\\.json$"), ("/(x)*", "/\\(x\\)\\*"), ("/a?b=$1?", "/a?b=\\$1\\?")]
        {
            assert_eq!(super::escaped(pattern), expected);
        }
    }
}
