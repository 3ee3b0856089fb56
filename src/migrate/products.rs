//! Products: fields, backend APIs and services with all that is under them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::source::SourceError;
use super::{Defined, Given, Making, Record, fit, flag, id, number, picked, text, usage, words};
use crate::document::shape::Shape;
use crate::document::types::{
    ApplicationPlan, Backend, Feature, Field, Limit, MappingRule, Method, Metric, Plan, Policy, PricingRule,
    Proxy, Service,
};
use crate::document::values;

/// What the records that refer to products call them by.
#[derive(Default)]
pub(super) struct Known {
    /// System names of services, by id.
    pub(super) services: HashMap<u64, String>,
    /// Backend versions of services, by id.
    pub(super) versions: HashMap<u64, String>,
    /// System names of plans of all kinds, by id.
    pub(super) plans: HashMap<u64, String>,
    /// The plans that applications of a service are on, by the service's id.
    used: HashMap<u64, BTreeSet<u64>>,
    /// Names of the fields that the tenant has defined, by what has them.
    pub(super) fields: HashMap<String, Vec<Defined>>,
    /// System names of features, by id.
    features: HashMap<u64, String>,
    /// System names of backends, by id.
    backends: HashMap<u64, String>,
    /// Backend (or none) and system name of metrics and methods, by id.
    metrics: HashMap<u64, (Option<String>, String)>,
    /// Whose usage there is to ask for.
    pub(super) counted: usage::Counted,
}

/// Fields that records have anyway, and that are no extra.
const BUILTIN_FIELDS: [&str; 15] = [
    "org_name",
    "username",
    "email",
    "password",
    "name",
    "description",
    "vat_rate",
    "state",
    "id",
    "created_at",
    "updated_at",
    "plan_id",
    "account_id",
    "service_id",
    "user_key",
];

/// Puts all products into a document.
pub(super) fn put(
    making: &mut Making<'_, '_>,
    document: &mut Map<String, Value>,
) -> Result<Known, SourceError> {
    let mut known = Known::default();
    let mut fields = Vec::new();
    for field in making.list("fields_definitions")? {
        let (Some(target), Some(name)) = (text(&field, "target"), text(&field, "name")) else { continue };
        if !values::is_field_name(name) {
            making.note(format!("left out: the field {name} of {target}: it cannot be called so here"));
            continue;
        }
        let mut shown = picked(Field::SHAPE, &field);
        if text(&field, "label").is_none() {
            shown.insert("label".into(), name.into());
        }
        let choices = field.get("choices").and_then(Value::as_array).into_iter().flatten();
        let choices: Vec<_> = choices.filter_map(Value::as_str).map(str::to_owned).collect();
        shown.insert("choices".into(), choices.clone().into());
        if !BUILTIN_FIELDS.contains(&name) {
            let defined = Defined { name: name.to_owned(), choices };
            known.fields.entry(target.to_owned()).or_default().push(defined);
        }
        fields.push(Value::Object(shown));
    }
    document.insert("fields".into(), fields.into());
    let account_features = features(making, &mut known, "features")?;
    document.insert("features".into(), account_features.into());
    let (plans, default) = terms(making, &mut known, "account_plans", Plan::SHAPE)?;
    document.insert("account_plans".into(), plans.into_iter().map(|(_, plan)| Value::Object(plan)).collect());
    document.insert("default_account_plan".into(), default.unwrap_or_default().into());
    let (mut backends, mut given) = (Vec::new(), Given::default());
    for backend in making.list("backend_apis")? {
        if !text(&backend, "private_endpoint").is_some_and(fit::is_private_endpoint) {
            let name = text(&backend, "system_name").unwrap_or_default();
            making.note(format!("left out: backend {name}: its private endpoint is none that can be here, and with it its uses, metrics and what limits and costs them"));
            continue;
        }
        let name = making.system_name("backend", &backend, &mut given);
        backends.push(Value::Object(backend_of(making, &mut known, &backend, name)?));
    }
    document.insert("backends".into(), backends.into());
    for application in making.list("applications")? {
        let used = known.used.entry(number(&application, "service_id")).or_default();
        used.insert(number(&application, "plan_id"));
    }
    let (mut services, mut given) = (Vec::new(), Given::default());
    for service in making.list("services")? {
        let name = making.system_name("service", &service, &mut given);
        services.push(Value::Object(service_of(making, &mut known, &service, name)?));
    }
    document.insert("services".into(), services.into());
    Ok(known)
}

fn features(making: &mut Making<'_, '_>, known: &mut Known, path: &str) -> Result<Vec<Value>, SourceError> {
    let mut shown = Vec::new();
    let mut given = Given::default();
    for feature in making.list(path)? {
        let mut it = picked(Feature::SHAPE, &feature);
        let name = making.system_name("feature", &feature, &mut given);
        it.insert("system_name".into(), name.clone().into());
        known.features.insert(id(&feature), name);
        // Answers have the one spelling, what is sent the other; who knows what an older 3scale shows.
        let scope = match text(&feature, "scope") {
            Some("service_plan" | "ServicePlan") => Some("service_plan"),
            Some("application_plan" | "ApplicationPlan") => Some("application_plan"),
            _ => None,
        };
        it.remove("scope");
        if let Some(scope) = scope {
            it.insert("scope".into(), scope.into());
        }
        shown.push(Value::Object(it));
    }
    Ok(shown)
}

/// Plans of one kind with their ids, and the system name of the default one.
type Terms = (Vec<(u64, Record)>, Option<String>);

/// The plans of a list.
fn terms(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    path: &str,
    shape: &'static Shape,
) -> Result<Terms, SourceError> {
    let (mut plans, mut default, mut given) = (Vec::new(), None, Given::default());
    // A list is called by what it has: that is where features of its plans are, too.
    let kind = path.rsplit('/').next().unwrap_or(path);
    let mut listed = making.list(path)?;
    if kind == "application_plans" {
        listed.extend(customised(making, known, path, &listed)?);
    }
    for plan in listed {
        let shown = term(making, known, &plan, (kind, shape), &mut given)?;
        if flag(&plan, "default") {
            default = known.plans.get(&id(&plan)).cloned();
        }
        plans.push((id(&plan), shown));
    }
    Ok((plans, default))
}

/// The plans that applications of a service are on and that its list does not have: those that were customised for one application, which can be asked for by
/// their ids. Each comes as a plan of its own; of which one it was made is not shown.
fn customised(
    making: &mut Making<'_, '_>,
    known: &Known,
    path: &str,
    listed: &[Record],
) -> Result<Vec<Record>, SourceError> {
    let service = path.split('/').nth(1).and_then(|id| id.parse::<u64>().ok()).unwrap_or(0);
    let has: BTreeSet<_> = listed.iter().map(id).collect();
    let mut found = Vec::new();
    for plan in known.used.get(&service).into_iter().flatten().filter(|plan| !has.contains(plan)) {
        match making.source.one(&format!("{path}/{plan}"))? {
            Some(record) if id(&record) == *plan => found.push(record),
            _ => making.note(format!("{path}/{plan}: is not shown: applications on it stay behind")),
        }
    }
    Ok(found)
}

fn term(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    plan: &Record,
    (kind, shape): (&str, &'static Shape),
    given: &mut Given,
) -> Result<Record, SourceError> {
    let system_name = making.system_name(shape.label, plan, given);
    known.plans.insert(id(plan), system_name.clone());
    let mut shown = picked(shape, plan);
    shown.insert("system_name".into(), system_name.into());
    shown.insert("published".into(), (text(plan, "state") == Some("published")).into());
    let features = making.list(&format!("{kind}/{}/features", id(plan)))?;
    let names: Vec<_> = features.iter().filter_map(|it| known.features.get(&id(it))).collect();
    shown.insert("features".into(), json!(names));
    Ok(shown)
}

/// Metrics with their methods; the methods are of hits.
fn metrics(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    root: &str,
    backend: Option<&str>,
) -> Result<Vec<Value>, SourceError> {
    // Those of backends have its id at their end.
    let without_id = |record: &Record| {
        let name = text(record, "system_name")?;
        let (own, suffix) = name.rsplit_once('.')?;
        (backend.is_some() && suffix.bytes().all(|it| it.is_ascii_digit())).then(|| own.to_owned())
    };
    let mut given = Given::default();
    let mut own = |making: &mut Making<'_, '_>, record: &Record| {
        let mut record = record.clone();
        if let Some(name) = without_id(&record) {
            record.insert("system_name".into(), name.into());
        }
        making.system_name("metric", &record, &mut given)
    };
    let mut shown = Vec::new();
    for metric in making.list(&format!("{root}/metrics"))? {
        // Methods are among the metrics, and told apart by what is above them.
        if number(&metric, "parent_id") != 0 {
            continue;
        }
        let name = own(making, &metric);
        known.metrics.insert(id(&metric), (backend.map(str::to_owned), name.clone()));
        known.counted.put_metric(root, &metric, (backend, &name));
        let mut it = picked(Metric::SHAPE, &metric);
        if name == "hits" {
            let mut methods = Vec::new();
            for method in making.list(&format!("{root}/metrics/{}/methods", id(&metric)))? {
                let name = own(making, &method);
                known.metrics.insert(id(&method), (backend.map(str::to_owned), name.clone()));
                known.counted.put_metric(root, &method, (backend, &name));
                let mut it = picked(Method::SHAPE, &method);
                it.insert("system_name".into(), name.into());
                methods.push(Value::Object(it));
            }
            it.insert("methods".into(), methods.into());
        }
        it.insert("system_name".into(), name.into());
        shown.push(Value::Object(it));
    }
    Ok(shown)
}

fn rules(making: &mut Making<'_, '_>, known: &Known, path: &str) -> Result<Vec<Value>, SourceError> {
    let mut all = making.list(path)?;
    all.sort_by_key(|rule| (number(rule, "position"), id(rule)));
    let mut shown = Vec::new();
    for rule in all {
        let Some((_, metric)) = known.metrics.get(&number(&rule, "metric_id")) else {
            making.note(format!("{path}: a rule whose metric is not there stays behind"));
            continue;
        };
        let mut it = picked(MappingRule::SHAPE, &rule);
        if let Some(method) = text(&rule, "http_method") {
            it.insert("http_method".into(), method.to_uppercase().into());
        }
        it.insert("metric".into(), metric.clone().into());
        shown.push(Value::Object(it));
    }
    Ok(shown)
}

fn backend_of(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    backend: &Record,
    name: String,
) -> Result<Record, SourceError> {
    known.backends.insert(id(backend), name.clone());
    let root = format!("backend_apis/{}", id(backend));
    let mut shown = picked(Backend::SHAPE, backend);
    shown.insert("system_name".into(), name.clone().into());
    let place = format!("backends/{name}/private_endpoint");
    hide_credentials(making, &mut shown, "private_endpoint", &place);
    shown.insert("metrics".into(), metrics(making, known, &root, Some(&name))?.into());
    shown.insert("mapping_rules".into(), rules(making, known, &format!("{root}/mapping_rules"))?.into());
    Ok(shown)
}

/// A URL with a user in it is a secret.
fn hide_credentials(making: &mut Making<'_, '_>, record: &mut Record, key: &str, place: &str) {
    if let Some(url) = text(record, key).filter(|url| url.contains('@')).map(str::to_owned) {
        let secret = making.secret(place, &url);
        record.insert(key.to_owned(), secret);
    }
}

fn service_of(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    service: &Record,
    name: String,
) -> Result<Record, SourceError> {
    let service_id = id(service);
    let root = format!("services/{service_id}");
    known.services.insert(service_id, name.clone());
    let mut shown = picked(Service::SHAPE, service);
    shown.insert("system_name".into(), name.clone().into());
    let whose = format!("service {name}");
    let version = making.put_word(&mut shown, service, &words::BACKEND_VERSIONS, &whose);
    known.versions.insert(service_id, version);
    if shown.contains_key("deployment_option") {
        making.put_word(&mut shown, service, &words::DEPLOYMENT_OPTIONS, &whose);
    }
    shown.insert("metrics".into(), metrics(making, known, &root, None)?.into());
    let (mut used, mut backends) = (Vec::new(), BTreeSet::new());
    for usage in making.list(&format!("{root}/backend_usages"))? {
        let backend = number(&usage, "backend_id");
        if let Some(name) = known.backends.get(&backend) {
            used.push(json!({"backend": name, "path": text(&usage, "path").unwrap_or("/")}));
            backends.insert(backend);
        }
    }
    known.counted.put_product(service_id, &name, &backends);
    shown.insert("backends".into(), used.into());
    shown.insert("features".into(), features(making, known, &format!("{root}/features"))?.into());
    let (plans, default) = terms(making, known, &format!("{root}/service_plans"), Plan::SHAPE)?;
    shown.insert("service_plans".into(), plans.into_iter().map(|(_, plan)| Value::Object(plan)).collect());
    shown.insert("default_service_plan".into(), default.unwrap_or_default().into());
    put_application_plans(making, known, &root, &mut shown)?;
    shown
        .insert("mapping_rules".into(), rules(making, known, &format!("{root}/proxy/mapping_rules"))?.into());
    put_gateway(making, &name, &root, &mut shown)?;
    Ok(shown)
}

fn put_application_plans(
    making: &mut Making<'_, '_>,
    known: &mut Known,
    root: &str,
    shown: &mut Record,
) -> Result<(), SourceError> {
    let (plans, default) =
        terms(making, known, &format!("{root}/application_plans"), ApplicationPlan::SHAPE)?;
    let mut all = Vec::new();
    for (plan, mut it) in plans {
        let mut limits = Vec::new();
        for limit in making.list(&format!("application_plans/{plan}/limits"))? {
            limits.extend(of_metric(making, known, (plan, &limit), Limit::SHAPE));
        }
        let mut prices = Vec::new();
        for price in making.list(&format!("application_plans/{plan}/pricing_rules"))? {
            prices.extend(of_metric(making, known, (plan, &price), PricingRule::SHAPE));
        }
        it.insert("limits".into(), limits.into());
        it.insert("pricing_rules".into(), prices.into());
        all.push(Value::Object(it));
    }
    shown.insert("application_plans".into(), all.into());
    shown.insert("default_application_plan".into(), default.unwrap_or_default().into());
    Ok(())
}

/// A limit or price with the metric's name in place of its id.
fn of_metric(
    making: &mut Making<'_, '_>,
    known: &Known,
    (plan, record): (u64, &Record),
    shape: &'static Shape,
) -> Option<Value> {
    let Some((backend, metric)) = known.metrics.get(&number(record, "metric_id")) else {
        let plan = known.plans.get(&plan).map_or("", String::as_str);
        making.note(format!("left out: a {} of plan {plan}: its metric is not there", shape.label));
        return None;
    };
    let mut shown = picked(shape, record);
    shown.insert("metric".into(), metric.clone().into());
    if let Some(backend) = backend {
        shown.insert("backend".into(), backend.clone().into());
    }
    Some(Value::Object(shown))
}

/// How a gateway stands before a service.
fn proxy_of(
    making: &mut Making<'_, '_>,
    name: &str,
    root: &str,
    (service, mut proxy): (&Record, Record),
) -> Result<Record, SourceError> {
    let whose = format!("service {name}, proxy");
    making.fit(&mut proxy, fit::PROXY, &whose);
    let mut it = picked(Proxy::SHAPE, &proxy);
    put_addresses(making, name, service, &mut it);
    for key in ["api_backend", "oauth_login_url", "oidc_issuer_endpoint"] {
        hide_credentials(making, &mut it, key, &format!("services/{name}/proxy/{key}"));
    }
    if ["oidc_issuer_endpoint", "oidc_issuer_type"].iter().any(|key| text(&proxy, key).is_some()) {
        making.put_word(&mut it, &proxy, &words::ISSUER_TYPES, &whose);
    }
    if text(&proxy, "jwt_claim_with_client_id_type").is_some() {
        making.put_word(&mut it, &proxy, &words::CLAIM_TYPES, &whose);
    }
    if text(service, "backend_version") == Some("oidc") {
        // The flows that are on have a place of their own.
        let flows = making.source.one(&format!("{root}/proxy/oidc_configuration"))?;
        it.extend(flows.map(|flows| picked(Proxy::SHAPE, &flows)).unwrap_or_default());
    }
    if let Some(token) = text(&proxy, "secret_token") {
        let secret = making.secret(&format!("services/{name}/proxy/secret_token"), token);
        it.insert("secret_token".into(), secret);
    }
    Ok(it)
}

/// The addresses at which gateways are called. Those of gateways of one's own stay what they are, and the gateways know their services by them; gateways that
/// 3scale hosts are left with it.
fn put_addresses(making: &mut Making<'_, '_>, name: &str, service: &Record, proxy: &mut Record) {
    let is_hosted = text(service, "deployment_option").is_none_or(|option| option == "hosted");
    for key in ["endpoint", "sandbox_endpoint"] {
        let Some(address) = text(proxy, key).map(str::to_owned) else { continue };
        if is_hosted {
            making.note(format!(
                "service {name}: {key} {address} is of the gateways that 3scale hosts: it stays behind"
            ));
            proxy.remove(key);
        } else if !is_origin(&address) {
            // Not shown: it may have a password in it.
            making.note(format!("service {name}: {key} is more than a scheme and a host: it stays behind"));
            proxy.remove(key);
        }
    }
}

/// Whether a URL is a scheme of the web and a host, with a port or without, and nothing more.
fn is_origin(url: &str) -> bool {
    let after = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let place = after.map(|it| it.strip_suffix('/').unwrap_or(it));
    place.is_some_and(|it| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:[]".contains(&it))
    })
}

/// How a gateway stands before a service, and the token by which it calls.
fn put_gateway(
    making: &mut Making<'_, '_>,
    name: &str,
    root: &str,
    shown: &mut Record,
) -> Result<(), SourceError> {
    if let Some(proxy) = making.source.one(&format!("{root}/proxy"))? {
        let proxy = proxy_of(making, name, root, (shown, proxy))?;
        shown.insert("proxy".into(), Value::Object(proxy));
    }
    let mut policies = Vec::new();
    for policy in making.list(&format!("{root}/proxy/policies"))? {
        if text(&policy, "name").is_none() || text(&policy, "version").is_none() {
            making.note(format!("left out: service {name}: a policy without a name or version"));
            continue;
        }
        let mut it = picked(Policy::SHAPE, &policy);
        it.entry("configuration").or_insert_with(|| json!({}));
        policies.push(Value::Object(it));
    }
    shown.insert("policies".into(), policies.into());
    let mut token = None;
    for environment in ["production", "sandbox"] {
        let config = making.source.one(&format!("{root}/proxy/configs/{environment}/latest"))?;
        let value =
            config.as_ref().and_then(|it| it.get("content")?.get("backend_authentication_value")?.as_str());
        token = token.or_else(|| value.map(str::to_owned));
        if let Some(config) = config.as_ref().filter(|_| environment == "production") {
            making.note(format!(
                "service {name}: version {} was in production; gateways in production get nothing from here until its configuration is promoted here",
                number(config, "version")
            ));
        }
    }
    match token {
        Some(token) => {
            let secret = making.secret(&format!("services/{name}/token/1"), &token);
            shown.insert("tokens".into(), json!([secret]));
        }
        None => {
            making.note(format!("service {name}: no proxy configuration shows its token; a new one is made"))
        }
    }
    Ok(())
}
