//! The proxy of a service: how a gateway stands before it. `/services/{id}/proxy`.
//!
//! Each service has one; without a record it is what it is by default. Changing it makes a new version of the sandbox's
//! [configuration](super::proxy_configs); so does deploying, if something changed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backend_usages;
use super::context::{Context, Edit, Seen};
use super::gateway_ports::{self, GatewayPorts, GivenPorts};
use super::policies::{self, Policy};
use super::proxy_fields;
use super::routes::{GET, POST, PUT, Route};
use super::services::ServiceDetails;
use super::xml::Element;
use super::{proxy_configs, service_tokens, times};
use crate::model::catalog::Change;
use crate::model::id::ServiceId;
use crate::model::record::{Service, ServiceState};
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/proxy", ACCESS, show),
    Route::new(PUT, "services/{service_id}/proxy", ACCESS, update),
    Route::new(POST, "services/{service_id}/proxy/deploy", ACCESS, deploy),
    Route::new(GET, "services/{service_id}/proxy/oidc_configuration", ACCESS, show_oidc),
    Route::new(PUT, "services/{service_id}/proxy/oidc_configuration", ACCESS, update_oidc),
];

/// What is known of a service's proxy.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct ProxyDetails {
    /// Where the gateway of production is; empty: unknown.
    pub(super) endpoint: String,
    pub(super) sandbox_endpoint: String,
    /// The private API; empty: that of the backend API that is used at `/`.
    pub(super) api_backend: String,
    pub(super) credentials_location: String,
    pub(super) auth_app_key: String,
    pub(super) auth_app_id: String,
    pub(super) auth_user_key: String,
    pub(super) error_auth_failed: String,
    pub(super) error_auth_missing: String,
    pub(super) error_no_match: String,
    pub(super) error_limits_exceeded: String,
    pub(super) error_headers_auth_failed: String,
    pub(super) error_headers_auth_missing: String,
    pub(super) error_headers_no_match: String,
    pub(super) error_headers_limits_exceeded: String,
    pub(super) error_status_auth_failed: u16,
    pub(super) error_status_auth_missing: u16,
    pub(super) error_status_no_match: u16,
    pub(super) error_status_limits_exceeded: u16,
    /// What gateways show private APIs; empty until the service's first command.
    pub(super) secret_token: String,
    pub(super) hostname_rewrite: String,
    pub(super) oauth_login_url: String,
    pub(super) api_test_path: String,
    pub(super) oidc_issuer_endpoint: String,
    pub(super) oidc_issuer_type: String,
    pub(super) jwt_claim_with_client_id: String,
    pub(super) jwt_claim_with_client_id_type: String,
    pub(super) standard_flow_enabled: bool,
    pub(super) implicit_flow_enabled: bool,
    pub(super) service_accounts_enabled: bool,
    pub(super) direct_access_grants_enabled: bool,
    /// Empty: the policy `apicast` alone.
    pub(super) policies: Vec<Policy>,
    /// The ports of the test gateway that were given to the service.
    pub(super) gateway_ports: Option<GivenPorts>,
    /// Raised with each change.
    pub(super) lock_version: u64,
    /// In milliseconds since 1970 UTC; 0: never.
    pub(super) deployed_at: u64,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Default for ProxyDetails {
    fn default() -> Self {
        let plain = || "text/plain; charset=us-ascii".to_owned();
        ProxyDetails {
            endpoint: String::new(),
            sandbox_endpoint: String::new(),
            api_backend: String::new(),
            credentials_location: "query".to_owned(),
            auth_app_key: "app_key".to_owned(),
            auth_app_id: "app_id".to_owned(),
            auth_user_key: "user_key".to_owned(),
            error_auth_failed: "Authentication failed".to_owned(),
            error_auth_missing: "Authentication parameters missing".to_owned(),
            error_no_match: "No Mapping Rule matched".to_owned(),
            error_limits_exceeded: "Usage limit exceeded".to_owned(),
            error_headers_auth_failed: plain(),
            error_headers_auth_missing: plain(),
            error_headers_no_match: plain(),
            error_headers_limits_exceeded: plain(),
            error_status_auth_failed: 403,
            error_status_auth_missing: 403,
            error_status_no_match: 404,
            error_status_limits_exceeded: 429,
            secret_token: String::new(),
            hostname_rewrite: String::new(),
            oauth_login_url: String::new(),
            api_test_path: "/".to_owned(),
            oidc_issuer_endpoint: String::new(),
            oidc_issuer_type: "keycloak".to_owned(),
            jwt_claim_with_client_id: String::new(),
            jwt_claim_with_client_id_type: String::new(),
            standard_flow_enabled: true,
            implicit_flow_enabled: false,
            service_accounts_enabled: false,
            direct_access_grants_enabled: false,
            policies: Vec::new(),
            gateway_ports: None,
            lock_version: 0,
            deployed_at: 0,
            created_at: 0,
            updated_at: 0,
        }
    }
}

impl Record for ProxyDetails {
    const TABLE: Table = Table("proxies");
}

impl ProxyDetails {
    /// Of a service; one that somebody else made has the usual one, as old as the service.
    pub(super) fn of(records: &Records<'_>, service: &Service) -> Result<ProxyDetails, ShelfError> {
        if let Some(details) = records.find::<ProxyDetails>(service.id.0)? {
            return Ok(details);
        }
        let made = records.find::<ServiceDetails>(service.id.0)?.map_or(0, |details| details.created_at);
        Ok(ProxyDetails { created_at: made, updated_at: made, ..ProxyDetails::default() })
    }

    /// Where the gateway of production is: as was said, or the test gateway; empty if it is nowhere.
    pub(super) fn shown_endpoint(&self, gateway: Option<&GatewayPorts>) -> String {
        let given = self.gateway_ports.map(|ports| ports.production);
        or_at_gateway(&self.endpoint, given, gateway)
    }

    /// The same of the sandbox.
    pub(super) fn shown_sandbox_endpoint(&self, gateway: Option<&GatewayPorts>) -> String {
        let given = self.gateway_ports.map(|ports| ports.sandbox);
        or_at_gateway(&self.sandbox_endpoint, given, gateway)
    }

    /// Forgets endpoints that are no others than those of the test gateway: clients send back what they were shown, and do not
    /// mean to fix it by that.
    fn unfix_endpoints(&mut self, gateway: Option<&GatewayPorts>) {
        let Some((gateway, given)) = gateway.zip(self.gateway_ports) else { return };
        for (said, port) in
            [(&mut self.endpoint, given.production), (&mut self.sandbox_endpoint, given.sandbox)]
        {
            if gateway.url(port).is_some_and(|url| *said == url) {
                said.clear();
            }
        }
    }

    /// Of a service, to be changed in a command: with a secret for its private API.
    pub(super) fn draft_of(edit: &mut Edit<'_, '_, '_>, service: &Service) -> Result<ProxyDetails, Refusal> {
        let mut details = ProxyDetails::of(edit.records, service)?;
        gateway_ports::give(edit, service.id.0, &mut details)?;
        if details.secret_token.is_empty() {
            let secret = service_tokens::random_hex::<8>()?;
            details.secret_token = format!("Shared_secret_sent_from_proxy_to_API_backend_{secret}");
        }
        details.lock_version += 1;
        details.updated_at = edit.now;
        Ok(details)
    }
}

/// Gives a new service its proxy.
pub(super) fn create(edit: &mut Edit<'_, '_, '_>, service: ServiceId) -> Result<(), Refusal> {
    let service = edit.seen().service(service.0)?.clone();
    let drafted = ProxyDetails::draft_of(edit, &service)?;
    let details = ProxyDetails { lock_version: 0, created_at: edit.now, ..drafted };
    Ok(edit.records.save(service.id.0, &details)?)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    Ok(Reply::one(entity(seen, seen.service(context.id(0)?)?)?))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("proxy")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(id)?.clone();
        let mut details = ProxyDetails::draft_of(edit, &service)?;
        let inherited = Some(&details).filter(|it| it.api_backend.is_empty());
        let inherited = inherited.map(|it| api_backend(edit.records, &service, it)).transpose()?.flatten();
        let mut errors = Errors::default();
        proxy_fields::apply(&mut details, &fields, &mut errors);
        errors.check()?;
        details.unfix_endpoints(edit.gateway);
        // Clients send back what they were shown, and do not mean to fix it by that.
        if inherited.is_some_and(|shown| shown == details.api_backend) {
            details.api_backend.clear();
        }
        edit.records.save(id, &details)?;
        deploy_to_sandbox(edit, id)?;
        let seen = edit.seen();
        Ok(Reply::one(entity(seen, seen.service(id)?)?))
    })
}

fn deploy(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().service(id)?;
        deploy_to_sandbox(edit, id)?;
        let seen = edit.seen();
        Ok(Reply::created(entity(seen, seen.service(id)?)?))
    })
}

/// Makes a version of the sandbox's configuration, if the newest is not the same already.
pub(super) fn deploy_to_sandbox(edit: &mut Edit<'_, '_, '_>, id: u64) -> Result<(), Refusal> {
    service_tokens::ensure(edit, id)?;
    gateway_ports::ensure(edit, id)?;
    if proxy_configs::add_to_sandbox(edit, id)? {
        let service = edit.seen().service(id)?.clone();
        let details = ProxyDetails::of(edit.records, &service)?;
        edit.records.save(id, &ProxyDetails { deployed_at: edit.now, ..details })?;
    }
    Ok(())
}

fn show_oidc(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    Ok(Reply::one(oidc_entity(service, &ProxyDetails::of(seen.records, service)?)))
}

fn update_oidc(context: &Context<'_>) -> Outcome {
    let fields = context.fields("oidc_configuration")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let service = edit.seen().service(id)?.clone();
        let mut details = ProxyDetails::draft_of(edit, &service)?;
        for (field, flag) in [
            ("standard_flow_enabled", &mut details.standard_flow_enabled),
            ("implicit_flow_enabled", &mut details.implicit_flow_enabled),
            ("service_accounts_enabled", &mut details.service_accounts_enabled),
            ("direct_access_grants_enabled", &mut details.direct_access_grants_enabled),
        ] {
            *flag = fields.flag(field).unwrap_or(*flag);
        }
        edit.records.save(id, &details)?;
        Ok(Reply::one(oidc_entity(&service, &details)))
    })
}

fn oidc_entity(service: &Service, details: &ProxyDetails) -> Entity {
    let json = json!({
        "id": service.id.0,
        "standard_flow_enabled": details.standard_flow_enabled,
        "implicit_flow_enabled": details.implicit_flow_enabled,
        "service_accounts_enabled": details.service_accounts_enabled,
        "direct_access_grants_enabled": details.direct_access_grants_enabled,
    });
    let xml = fields_of("oidc_configuration", &json);
    Entity { wrapper: "oidc_configuration", json, xml }
}

/// The private API: the proxy's own, or that of the backend API that is used at `/`.
pub(super) fn api_backend(
    records: &Records<'_>,
    service: &Service,
    details: &ProxyDetails,
) -> Result<Option<String>, ShelfError> {
    if !details.api_backend.is_empty() {
        return Ok(Some(details.api_backend.clone()));
    }
    backend_usages::endpoint_at_root(service.id.0, records)
}

/// How callers identify themselves: the service's version, or OpenID Connect.
pub(super) fn authentication_method(
    records: &Records<'_>,
    service: &Service,
) -> Result<&'static str, ShelfError> {
    let is_oidc = records.find::<ServiceDetails>(service.id.0)?.is_some_and(|details| details.oidc);
    Ok(if is_oidc { "oidc" } else { service.backend_version.name() })
}

fn or_at_gateway(said: &str, given: Option<u16>, gateway: Option<&GatewayPorts>) -> String {
    let at_gateway = || gateway.zip(given).and_then(|(gateway, port)| gateway.url(port));
    if said.is_empty() { at_gateway().unwrap_or_default() } else { said.to_owned() }
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::from(text) }
}

/// Fields of a proxy that answers and configurations share, in the order of the original.
pub(super) fn shared_fields(
    seen: Seen<'_>,
    service: &Service,
    details: &ProxyDetails,
) -> Result<Value, ShelfError> {
    Ok(json!({
        "service_id": service.id.0,
        "endpoint": or_null(&details.shown_endpoint(seen.gateway)),
        "deployed_at": (details.deployed_at != 0).then(|| times::text(details.deployed_at)),
        "api_backend": api_backend(seen.records, service, details)?,
        "credentials_location": details.credentials_location,
        "auth_app_key": details.auth_app_key,
        "auth_app_id": details.auth_app_id,
        "auth_user_key": details.auth_user_key,
        "error_auth_failed": details.error_auth_failed,
        "error_auth_missing": details.error_auth_missing,
        "error_status_auth_failed": details.error_status_auth_failed,
        "error_headers_auth_failed": details.error_headers_auth_failed,
        "error_status_auth_missing": details.error_status_auth_missing,
        "error_headers_auth_missing": details.error_headers_auth_missing,
        "error_no_match": details.error_no_match,
        "error_status_no_match": details.error_status_no_match,
        "error_headers_no_match": details.error_headers_no_match,
        "error_limits_exceeded": details.error_limits_exceeded,
        "error_status_limits_exceeded": details.error_status_limits_exceeded,
        "error_headers_limits_exceeded": details.error_headers_limits_exceeded,
        "secret_token": details.secret_token,
        "hostname_rewrite": or_null(&details.hostname_rewrite),
        "oauth_login_url": or_null(&details.oauth_login_url),
        "sandbox_endpoint": or_null(&details.shown_sandbox_endpoint(seen.gateway)),
        "api_test_path": details.api_test_path,
        "api_test_success": Value::Null,
    }))
}

fn entity(seen: Seen<'_>, service: &Service) -> Result<Entity, Refusal> {
    let details = ProxyDetails::of(seen.records, service)?;
    let service_details = seen.records.find::<ServiceDetails>(service.id.0)?.unwrap_or_default();
    let mut json = shared_fields(seen, service, &details)?;
    json["policies_config"] = policies::shown(&details.policies);
    json["created_at"] = Value::from(times::text(details.created_at));
    json["updated_at"] = Value::from(times::text(details.updated_at));
    json["deployment_option"] = Value::from(service_details.deployment_option.as_str());
    json["lock_version"] = Value::from(details.lock_version);
    if authentication_method(seen.records, service)? == "oidc" {
        json["oidc_issuer_endpoint"] = or_null(&details.oidc_issuer_endpoint);
        json["oidc_issuer_type"] = or_null(&details.oidc_issuer_type);
        json["jwt_claim_with_client_id"] = or_null(&details.jwt_claim_with_client_id);
        json["jwt_claim_with_client_id_type"] = or_null(&details.jwt_claim_with_client_id_type);
    }
    let xml = fields_of("proxy", &json);
    let root = format!("/admin/api/services/{}", service.id);
    let links = [
        ("mapping_rules", format!("{root}/proxy/mapping_rules")),
        ("self", format!("{root}/proxy")),
        ("service", root),
    ];
    json["links"] = Value::from(links.map(|(rel, href)| json!({"rel": rel, "href": href})).to_vec());
    Ok(Entity { wrapper: "proxy", json, xml })
}

/// An element with the fields of an object; what is no scalar is written as JSON.
fn fields_of(name: &str, json: &Value) -> Element {
    let mut element = Element::new(name);
    for (field, value) in json.as_object().into_iter().flatten() {
        let text = super::request::text_of(value).unwrap_or_else(|| value.to_string());
        element.push(Element::text(field, text));
    }
    element
}

/// A service that is gone takes its proxy along.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let id = match change {
            Change::PutService(service) if service.state == ServiceState::Retired => service.id,
            Change::DeleteService(id) => *id,
            _ => continue,
        };
        gateway_ports::free(id.0, records)?;
        records.remove::<ProxyDetails>(id.0);
        proxy_configs::delete_all_of(id.0, records)?;
    }
    Ok(())
}
