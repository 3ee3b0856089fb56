//! Services and backends.

use std::collections::HashMap;

use super::super::answer::Refusal;
use super::super::backend_metrics::BackendMetric;
use super::super::backend_usages::BackendUsage;
use super::super::backends::Backend;
use super::super::mapping_rules;
use super::super::metrics::{self, MetricDetails};
use super::super::owned::Owned;
use super::super::pricing_rules::PricingRule;
use super::super::proxy::ProxyDetails;
use super::super::services::{self, ServiceDetails};
use super::super::terms::{PlanKind, Terms};
use super::super::{money, plans};
use super::export::{Exporting, Names};
use super::places::Place;
use crate::document::shape::Amount;
use crate::document::types;
use crate::model::record::{Plan, Service, ServiceState};

/// What metrics are called in a document: by id, the backend if it is one's, and the name.
type MetricNames = HashMap<u64, (Option<String>, String)>;

impl Exporting<'_> {
    /// The name of a service, if the document has it.
    pub(super) fn name_of_service(&self, id: u64) -> Option<String> {
        let service = self.seen.catalog.services.get(id)?;
        let details = self.seen.records.find::<ServiceDetails>(id).ok()?.unwrap_or_default();
        let name = services::shown_system_name(&details, service);
        (self.places.get(&Place::default().below("service", &name)) == Some(id)).then_some(name)
    }

    pub(super) fn backends(&mut self) -> Result<Vec<types::Backend>, Refusal> {
        let mut shown = Vec::new();
        for (id, it) in Backend::of(self.seen.caller.tenant.0, self.seen.records)? {
            let place = Place::default().below("backend", &it.system_name);
            self.places.put(place.clone(), id);
            let private_endpoint =
                self.url(&format!("backends/{}/private_endpoint", it.system_name), &it.private_endpoint);
            let mut names = MetricNames::new();
            let metrics = self.backend_metrics(id, &place, &mut names)?;
            shown.push(types::Backend {
                system_name: it.system_name,
                name: Some(it.name),
                description: Some(it.description),
                private_endpoint: Some(private_endpoint),
                annotations: Some(it.annotations),
                metrics: Some(metrics),
                mapping_rules: Some(self.rules(id, &names)?),
            });
        }
        Ok(shown)
    }

    fn backend_metrics(
        &mut self,
        backend: u64,
        place: &Place,
        names: &mut MetricNames,
    ) -> Result<Vec<types::Metric>, Refusal> {
        let suffix = format!(".{backend}");
        let mut all = Vec::new();
        for (id, it) in BackendMetric::of(backend, self.seen.records)? {
            let name = it.name.strip_suffix(&suffix).unwrap_or(&it.name).to_owned();
            names.insert(id, (None, name.clone()));
            let details = self.seen.records.find::<MetricDetails>(id)?.unwrap_or_default();
            all.push((id, it.parent, name, details));
        }
        Ok(self.metric_tree(place, all))
    }

    /// Metrics with their methods, from a list of ids, parents, names and what else is known.
    fn metric_tree(
        &mut self,
        place: &Place,
        all: Vec<(u64, Option<u64>, String, MetricDetails)>,
    ) -> Vec<types::Metric> {
        let mut methods: HashMap<u64, Vec<types::Method>> = HashMap::new();
        let names: HashMap<u64, String> = all.iter().map(|(id, _, name, _)| (*id, name.clone())).collect();
        let mut tops = Vec::new();
        for (id, parent, name, details) in all {
            match parent {
                None => tops.push((id, name, details)),
                Some(parent) => {
                    let above = names.get(&parent).map_or("", String::as_str);
                    self.places.put(place.below("metric", above).below("method", &name), id);
                    methods.entry(parent).or_default().push(types::Method {
                        system_name: name,
                        friendly_name: Some(details.friendly_name),
                        description: Some(details.description),
                    });
                }
            }
        }
        let metric = |(id, name, details): (u64, String, MetricDetails)| {
            self.places.put(place.below("metric", &name), id);
            let is_hits = name == metrics::HITS;
            let own = methods.remove(&id);
            types::Metric {
                system_name: name,
                friendly_name: Some(details.friendly_name),
                unit: Some(details.unit),
                description: Some(details.description),
                methods: if is_hits { Some(own.unwrap_or_default()) } else { own },
            }
        };
        tops.into_iter().map(metric).collect()
    }

    fn rules(&mut self, owner: u64, names: &MetricNames) -> Result<Vec<types::MappingRule>, Refusal> {
        let mut shown = Vec::new();
        for (id, it) in mapping_rules::in_order(owner, self.seen.records)? {
            let Some((_, metric)) = names.get(&it.metric) else {
                self.without(format!("the mapping rule {id}: its metric is gone"));
                continue;
            };
            shown.push(types::MappingRule {
                http_method: it.http_method,
                pattern: it.pattern,
                metric: metric.clone(),
                delta: Some(u64::try_from(it.delta).unwrap_or(1)),
                last: Some(it.last),
                redirect_url: it.redirect_url,
            });
        }
        Ok(shown)
    }

    pub(super) fn services(&mut self) -> Result<Vec<types::Service>, Refusal> {
        let mut names = Names::default();
        let mut shown = Vec::new();
        for service in services::of_tenant(self.seen.catalog, self.seen.caller.tenant) {
            let details = self.seen.records.find::<ServiceDetails>(service.id.0)?.unwrap_or_default();
            let name = services::shown_system_name(&details, service);
            if service.external_id.is_some() {
                self.without(format!("the service {}: another system administers it", service.id));
            } else if !names.take(&name) {
                self.without(format!("the service {}: its system name is not one of its own", service.id));
            } else {
                shown.push(self.service(service, details, name)?);
            }
        }
        Ok(shown)
    }

    fn service(
        &mut self,
        service: &Service,
        details: ServiceDetails,
        system_name: String,
    ) -> Result<types::Service, Refusal> {
        let id = service.id.0;
        let place = Place::default().below("service", &system_name);
        self.places.put(place.clone(), id);
        let tokens = service.tokens.iter().enumerate().map(|(at, token)| {
            self.secret(format!("services/{system_name}/token/{}", at + 1), token.expose())
        });
        let tokens = tokens.collect();
        let mut metric_names = MetricNames::new();
        let metrics = self.service_metrics(service, &place, &mut metric_names)?;
        let backends = self.usages(id, &place, &mut metric_names)?;
        let features = self.features(id, &place, true)?;
        let service_plans = self.plans(id, &place, PlanKind::Service)?;
        let application_plans = self.application_plans(service, &place, &metric_names)?;
        let default_plan = details.default_application_plan;
        let default_application_plan = application_plans.iter().find(|it| {
            default_plan.is_some()
                && self.places.get(&place.below("application plan", &it.system_name)) == default_plan
        });
        let default_application_plan = default_application_plan.map(|it| it.system_name.clone());
        let proxy = ProxyDetails::of(self.seen.records, service)?;
        let policies = proxy.policies.iter().map(|it| types::Policy {
            name: it.name.clone(),
            version: it.version.clone(),
            configuration: it.configuration.clone(),
            enabled: Some(it.enabled),
        });
        let policies = Some(policies.collect());
        let backend_version = if details.oidc { "oidc" } else { service.backend_version.name() };
        Ok(types::Service {
            name: Some(service.name.to_string()),
            description: Some(details.description),
            suspended: Some(service.state == ServiceState::Suspended),
            backend_version: Some(backend_version.to_owned()),
            deployment_option: Some(details.deployment_option),
            support_email: Some(details.support_email),
            intentions_required: Some(details.intentions_required),
            buyers_manage_apps: Some(details.buyers_manage_apps),
            buyers_manage_keys: Some(details.buyers_manage_keys),
            referrer_filters_required: Some(service.referrer_filters_required),
            custom_keys_enabled: Some(details.custom_keys_enabled),
            buyer_key_regenerate_enabled: Some(details.buyer_key_regenerate_enabled),
            mandatory_app_key: Some(details.mandatory_app_key),
            buyer_can_select_plan: Some(details.buyer_can_select_plan),
            buyer_plan_change_permission: Some(details.buyer_plan_change_permission),
            annotations: Some(details.annotations),
            tokens: Some(tokens),
            metrics: Some(metrics),
            backends: Some(backends),
            features: Some(features),
            default_service_plan: Some(self.name_of_plan(details.default_service_plan)?),
            service_plans: Some(service_plans),
            default_application_plan: Some(default_application_plan.unwrap_or_default()),
            application_plans: Some(application_plans),
            mapping_rules: Some(self.rules(id, &metric_names)?),
            proxy: Some(self.proxy(&system_name, proxy)),
            policies,
            system_name,
        })
    }

    fn service_metrics(
        &mut self,
        service: &Service,
        place: &Place,
        names: &mut MetricNames,
    ) -> Result<Vec<types::Metric>, Refusal> {
        let mut all = Vec::new();
        for metric in metrics::own(self.seen.records, service)? {
            let parent = metric.parent.and_then(|slot| service.metrics.get(slot)).map(|it| it.id.0);
            names.insert(metric.id.0, (None, metric.name.clone()));
            let details = MetricDetails::of(self.seen.records, metric)?;
            all.push((metric.id.0, parent, metric.name.clone(), details));
        }
        Ok(self.metric_tree(place, all))
    }

    fn usages(
        &mut self,
        service: u64,
        place: &Place,
        names: &mut MetricNames,
    ) -> Result<Vec<types::Usage>, Refusal> {
        let mut shown = Vec::new();
        for (id, usage) in BackendUsage::of(service, self.seen.records)? {
            let Some(backend) = self.seen.records.find::<Backend>(usage.backend)? else { continue };
            self.places.put(place.below("use of backend", &backend.system_name), id);
            let suffix = format!(".{}", usage.backend);
            for (id, metric) in BackendMetric::of(usage.backend, self.seen.records)? {
                let name = metric.name.strip_suffix(&suffix).unwrap_or(&metric.name).to_owned();
                names.insert(id, (Some(backend.system_name.clone()), name));
            }
            shown.push(types::Usage { backend: backend.system_name, path: Some(usage.path) });
        }
        Ok(shown)
    }

    fn application_plans(
        &mut self,
        service: &Service,
        place: &Place,
        names: &MetricNames,
    ) -> Result<Vec<types::ApplicationPlan>, Refusal> {
        let mut taken = Names::default();
        let mut shown = Vec::new();
        for id in self.seen.catalog.plans_of(service.id).iter() {
            let Some(plan) = self.seen.catalog.plans.get(id) else { continue };
            let terms = plans::terms_of(self.seen.records, plan)?;
            if plan.text().is_none() {
                continue;
            }
            if plan.external_id.is_some() || !taken.take(&terms.system_name) {
                self.without(format!("the application plan {id}: its system name is not one of its own"));
                continue;
            }
            self.places.put(place.below("application plan", &terms.system_name), id);
            shown.push(self.application_plan(plan, terms, names)?);
        }
        Ok(shown)
    }

    fn application_plan(
        &mut self,
        plan: &Plan,
        terms: Terms,
        names: &MetricNames,
    ) -> Result<types::ApplicationPlan, Refusal> {
        let original = terms.original.and_then(|id| self.seen.catalog.plans.get(id));
        let custom_of = original.map(|it| plans::terms_of(self.seen.records, it)).transpose()?;
        let mut limits = Vec::new();
        for limit in &plan.limits {
            let Some((backend, metric)) = names.get(&limit.metric.0).cloned() else { continue };
            limits.push(types::Limit {
                backend,
                metric,
                period: limit.period.name().to_owned(),
                value: limit.max,
            });
        }
        let mut prices = Vec::new();
        for (_, rule) in PricingRule::of(plan.id.0, self.seen.records)? {
            let Some((backend, metric)) = names.get(&rule.metric).cloned() else { continue };
            let cost_per_unit = Amount(money::text(rule.cost_per_unit));
            prices.push(types::PricingRule {
                backend,
                metric,
                min: Some(rule.min),
                max: rule.max,
                cost_per_unit,
            });
        }
        Ok(types::ApplicationPlan {
            system_name: terms.system_name,
            name: Some(plan.name.to_string()),
            description: Some(terms.description),
            published: Some(terms.is_published),
            approval_required: Some(terms.approval_required),
            setup_fee: Some(Amount(money::text(terms.setup_fee))),
            cost_per_month: Some(Amount(money::text(terms.cost_per_month))),
            trial_period_days: Some(terms.trial_period_days),
            cancellation_period: Some(terms.cancellation_period),
            custom_of: custom_of.map(|it| it.system_name),
            features: Some(self.features_of_plan(plan.id.0)?),
            limits: Some(limits),
            pricing_rules: Some(prices),
        })
    }

    fn proxy(&mut self, service: &str, it: ProxyDetails) -> types::Proxy {
        let mut url = |key: &str, url: &str| Some(self.url(&format!("services/{service}/proxy/{key}"), url));
        let endpoint = url("endpoint", &it.endpoint);
        let sandbox_endpoint = url("sandbox_endpoint", &it.sandbox_endpoint);
        let api_backend = url("api_backend", &it.api_backend);
        let oauth_login_url = url("oauth_login_url", &it.oauth_login_url);
        let oidc_issuer_endpoint = url("oidc_issuer_endpoint", &it.oidc_issuer_endpoint);
        let secret_token = (!it.secret_token.is_empty())
            .then(|| self.secret(format!("services/{service}/proxy/secret_token"), &it.secret_token));
        types::Proxy {
            endpoint,
            sandbox_endpoint,
            api_backend,
            credentials_location: Some(it.credentials_location),
            auth_app_key: Some(it.auth_app_key),
            auth_app_id: Some(it.auth_app_id),
            auth_user_key: Some(it.auth_user_key),
            error_auth_failed: Some(it.error_auth_failed),
            error_auth_missing: Some(it.error_auth_missing),
            error_no_match: Some(it.error_no_match),
            error_limits_exceeded: Some(it.error_limits_exceeded),
            error_headers_auth_failed: Some(it.error_headers_auth_failed),
            error_headers_auth_missing: Some(it.error_headers_auth_missing),
            error_headers_no_match: Some(it.error_headers_no_match),
            error_headers_limits_exceeded: Some(it.error_headers_limits_exceeded),
            error_status_auth_failed: Some(it.error_status_auth_failed),
            error_status_auth_missing: Some(it.error_status_auth_missing),
            error_status_no_match: Some(it.error_status_no_match),
            error_status_limits_exceeded: Some(it.error_status_limits_exceeded),
            secret_token,
            hostname_rewrite: Some(it.hostname_rewrite),
            oauth_login_url,
            api_test_path: Some(it.api_test_path),
            oidc_issuer_endpoint,
            oidc_issuer_type: Some(it.oidc_issuer_type),
            jwt_claim_with_client_id: Some(it.jwt_claim_with_client_id),
            jwt_claim_with_client_id_type: Some(it.jwt_claim_with_client_id_type),
            standard_flow_enabled: Some(it.standard_flow_enabled),
            implicit_flow_enabled: Some(it.implicit_flow_enabled),
            service_accounts_enabled: Some(it.service_accounts_enabled),
            direct_access_grants_enabled: Some(it.direct_access_grants_enabled),
        }
    }
}
