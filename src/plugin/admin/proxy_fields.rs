//! What clients may say of a proxy, and what must hold for it.

use super::answer::Errors;
use super::check;
use super::proxy::ProxyDetails;
use super::request::Fields;
use crate::document::endpoint::{Endpoint, PRIVATE, WEB};
use crate::document::values;
use crate::model::draft::TEXT_LEN_MAX;

/// Changes what was sent of a proxy.
pub(super) fn apply(details: &mut ProxyDetails, fields: &Fields, errors: &mut Errors) {
    apply_endpoints(details, fields, errors);
    apply_names(details, fields, errors);
    apply_errors(details, fields, errors);
    apply_oidc(details, fields, errors);
    if let Some(location) = fields.text("credentials_location") {
        if !["headers", "query", "authorization"].contains(&location.as_str()) {
            errors.add("credentials_location", check::NOT_LISTED);
        }
        details.credentials_location = location;
    }
    if let Some(path) = fields.text("api_test_path") {
        let path = if path.is_empty() { "/".to_owned() } else { path };
        if !values::is_test_path(&path) {
            errors.add("api_test_path", check::INVALID);
        }
        check::long(errors, "api_test_path", &path, values::TEST_PATH_LEN_MAX);
        details.api_test_path = path;
    }
}

fn apply_endpoints(details: &mut ProxyDetails, fields: &Fields, errors: &mut Errors) {
    for (field, url, schemes, may_have_path) in [
        ("endpoint", &mut details.endpoint, &WEB[..], false),
        ("sandbox_endpoint", &mut details.sandbox_endpoint, &WEB[..], false),
        ("api_backend", &mut details.api_backend, &PRIVATE[..], true),
    ] {
        let Some(sent) = fields.text(field) else { continue };
        check::fitting(errors, field, &sent, TEXT_LEN_MAX);
        match Endpoint::parse(sent.trim(), schemes) {
            _ if sent.trim().is_empty() => *url = String::new(),
            Some(endpoint) if may_have_path || !endpoint.has_rest() => *url = endpoint.with_port(),
            _ => errors.add(field, check::INVALID),
        }
    }
    if let Some(host) = fields.text("hostname_rewrite") {
        check::fitting(errors, "hostname_rewrite", &host, TEXT_LEN_MAX);
        if !values::is_host(&host) {
            errors.add("hostname_rewrite", check::INVALID);
        }
        details.hostname_rewrite = host;
    }
    if let Some(url) = fields.text("oauth_login_url") {
        check::fitting(errors, "oauth_login_url", &url, TEXT_LEN_MAX);
        if !url.is_empty() && Endpoint::parse(&url, &WEB).is_none() {
            errors.add("oauth_login_url", check::INVALID);
        }
        details.oauth_login_url = url;
    }
}

/// Names of parameters and headers.
fn apply_names(details: &mut ProxyDetails, fields: &Fields, errors: &mut Errors) {
    for (field, name) in [
        ("auth_app_key", &mut details.auth_app_key),
        ("auth_app_id", &mut details.auth_app_id),
        ("auth_user_key", &mut details.auth_user_key),
        ("secret_token", &mut details.secret_token),
    ] {
        let Some(sent) = fields.text(field) else { continue };
        check::fitting(errors, field, &sent, TEXT_LEN_MAX);
        if !values::is_parameter(&sent) {
            errors.add(field, check::INVALID);
        }
        *name = sent;
    }
}

/// What gateways answer when they refuse a call.
fn apply_errors(details: &mut ProxyDetails, fields: &Fields, errors: &mut Errors) {
    for (field, text) in [
        ("error_auth_failed", &mut details.error_auth_failed),
        ("error_auth_missing", &mut details.error_auth_missing),
        ("error_no_match", &mut details.error_no_match),
        ("error_limits_exceeded", &mut details.error_limits_exceeded),
        ("error_headers_auth_failed", &mut details.error_headers_auth_failed),
        ("error_headers_auth_missing", &mut details.error_headers_auth_missing),
        ("error_headers_no_match", &mut details.error_headers_no_match),
        ("error_headers_limits_exceeded", &mut details.error_headers_limits_exceeded),
    ] {
        let Some(sent) = fields.text(field) else { continue };
        check::fitting(errors, field, &sent, TEXT_LEN_MAX);
        if !values::is_gateways_answer(&sent) {
            errors.add(field, check::INVALID);
        }
        *text = sent;
    }
    for (field, status) in [
        ("error_status_auth_failed", &mut details.error_status_auth_failed),
        ("error_status_auth_missing", &mut details.error_status_auth_missing),
        ("error_status_no_match", &mut details.error_status_no_match),
        ("error_status_limits_exceeded", &mut details.error_status_limits_exceeded),
    ] {
        if !fields.has(field) {
            continue;
        }
        match fields.integer(field).flatten().map(u16::try_from) {
            None => errors.add(field, check::NOT_A_NUMBER),
            Some(Ok(sent @ 200..600)) => *status = sent,
            Some(Ok(sent)) if sent < 200 => errors.add(field, "must be greater than or equal to 200"),
            Some(_) => errors.add(field, "must be less than 600"),
        }
    }
}

fn apply_oidc(details: &mut ProxyDetails, fields: &Fields, errors: &mut Errors) {
    for (field, text) in [
        ("oidc_issuer_endpoint", &mut details.oidc_issuer_endpoint),
        ("oidc_issuer_type", &mut details.oidc_issuer_type),
        ("jwt_claim_with_client_id", &mut details.jwt_claim_with_client_id),
        ("jwt_claim_with_client_id_type", &mut details.jwt_claim_with_client_id_type),
    ] {
        if let Some(sent) = fields.text(field) {
            check::fitting(errors, field, &sent, TEXT_LEN_MAX);
            *text = sent;
        }
    }
    if !["", "keycloak", "rest"].contains(&details.oidc_issuer_type.as_str()) {
        errors.add("oidc_issuer_type", check::NOT_LISTED);
    }
    if details.oidc_issuer_type.is_empty() && !details.oidc_issuer_endpoint.is_empty() {
        errors.add("oidc_issuer_type", check::BLANK);
    }
    if !["", "plain", "liquid"].contains(&details.jwt_claim_with_client_id_type.as_str()) {
        errors.add("jwt_claim_with_client_id_type", check::NOT_LISTED);
    }
}
