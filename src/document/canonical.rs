//! One way to write each catalog: lists in one order, amounts in one form, and what nothing says in words.

use rust_decimal::Decimal;

use super::shape::Amount;
use super::types::{
    ApplicationPlan, Backend, Document, Feature, Limit, MappingRule, Metric, Plan, PricingRule, Service,
};

const PERIODS: [&str; 7] = ["minute", "hour", "day", "week", "month", "year", "eternity"];

impl Document {
    /// Puts the document into the form in which two that say the same are the same: named records by name, limits and prices by metric, amounts with one digit
    /// after the point at least, and what is meant where a value's key is left out.
    pub fn make_canonical(&mut self) {
        sort(&mut self.fields, |it| (it.target.clone(), it.name.clone()));
        features(&mut self.features);
        plans(&mut self.account_plans);
        sort(&mut self.backends, |it| it.system_name.clone());
        self.backends.iter_mut().flatten().for_each(backend);
        sort(&mut self.services, |it| it.system_name.clone());
        self.services.iter_mut().flatten().for_each(service);
        sort(&mut self.accounts, |it| (it.org_name.clone(), it.ordinal.unwrap_or(1)));
        for account in self.accounts.iter_mut().flatten() {
            amount(&mut account.vat_rate);
            sort(&mut account.users, |it| it.username.clone());
            sort(&mut account.subscriptions, |it| it.service.clone());
            sort(&mut account.applications, |it| (it.service.clone(), it.application_id.clone()));
        }
    }
}

fn sort<T, K: Ord>(list: &mut Option<Vec<T>>, by: impl Fn(&T) -> K) {
    if let Some(list) = list {
        list.sort_by_cached_key(by);
    }
}

fn backend(backend: &mut Backend) {
    metrics(&mut backend.metrics);
    rules(&mut backend.mapping_rules);
}

fn service(service: &mut Service) {
    metrics(&mut service.metrics);
    rules(&mut service.mapping_rules);
    features(&mut service.features);
    plans(&mut service.service_plans);
    sort(&mut service.backends, |it| it.backend.clone());
    for usage in service.backends.iter_mut().flatten() {
        let path = usage.path.take().unwrap_or_default();
        usage.path = Some(format!("/{}", path.trim().trim_matches('/')));
    }
    sort(&mut service.application_plans, |it| it.system_name.clone());
    service.application_plans.iter_mut().flatten().for_each(application_plan);
    for policy in service.policies.iter_mut().flatten() {
        policy.enabled.get_or_insert(true);
    }
}

fn metrics(metrics: &mut Option<Vec<Metric>>) {
    sort(metrics, |it| it.system_name.clone());
    metrics.iter_mut().flatten().for_each(|it| sort(&mut it.methods, |it| it.system_name.clone()));
}

fn rules(rules: &mut Option<Vec<MappingRule>>) {
    for rule in rules.iter_mut().flatten() {
        rule.delta.get_or_insert(1);
        rule.last.get_or_insert(false);
        rule.redirect_url = rule.redirect_url.take().filter(|it| !it.is_empty());
    }
}

fn features(features: &mut Option<Vec<Feature>>) {
    sort(features, |it| it.system_name.clone());
}

fn plans(plans: &mut Option<Vec<Plan>>) {
    sort(plans, |it| it.system_name.clone());
    for plan in plans.iter_mut().flatten() {
        sort(&mut plan.features, Clone::clone);
        amount(&mut plan.setup_fee);
        amount(&mut plan.cost_per_month);
    }
}

fn application_plan(plan: &mut ApplicationPlan) {
    sort(&mut plan.features, Clone::clone);
    amount(&mut plan.setup_fee);
    amount(&mut plan.cost_per_month);
    let period = |it: &Limit| PERIODS.iter().position(|period| *period == it.period);
    sort(&mut plan.limits, |it| (it.backend.clone(), it.metric.clone(), period(it)));
    for rule in plan.pricing_rules.iter_mut().flatten() {
        rule.min.get_or_insert(1);
        rule.cost_per_unit = Amount(amount_text(&rule.cost_per_unit.0));
    }
    sort(&mut plan.pricing_rules, |it: &PricingRule| (it.backend.clone(), it.metric.clone(), it.min, it.max));
}

fn amount(amount: &mut Option<Amount>) {
    if let Some(amount) = amount {
        amount.0 = amount_text(&amount.0);
    }
}

/// As the admin API writes amounts.
fn amount_text(text: &str) -> String {
    let parsed = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text));
    let Ok(amount) = parsed else { return text.to_owned() };
    let text = amount.normalize().to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}
