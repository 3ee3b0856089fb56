//! Each kind of record.

use super::super::problem::Path;
use super::super::shape::Amount;
use super::super::types::{
    Account, Application, ApplicationPlan, Backend, Document, Feature, Limit, MappingRule, Metric, Plan,
    PricingRule, Proxy, Service,
};
use super::{Checking, NAME_LEN_MAX, words};
use crate::document::values;
use crate::model::draft::REDIRECT_URL_LEN_MAX;

const DESCRIPTION_LEN_MAX: usize = 65_535;

pub(super) fn document(checking: &mut Checking<'_>) {
    let document: &Document = checking.document;
    let root = Path::default();
    if let Some(name) = document.default_service.as_ref().filter(|it| !it.is_empty()) {
        checking.service_reference(root.key("default_service"), name);
    }
    let path = root.key("fields");
    for (at, field) in document.fields.iter().flatten().enumerate() {
        checking.word(&path.at(at), "target", Some(&field.target), &words::TARGETS);
    }
    let fields = document.fields.iter().flatten();
    checking.unique(&path, "field", fields.map(|it| (Some((&it.target, &it.name)), it.name.clone())));
    features(checking, &root.key("features"), document.features.as_ref(), false);
    plans(
        checking,
        &root,
        ("account_plans", "default_account_plan"),
        document.account_plans.as_ref(),
        (document.default_account_plan.as_ref(), document.features.as_ref()),
    );
    let path = root.key("backends");
    let names: Vec<_> = document.backends.iter().flatten().map(|it| it.system_name.as_str()).collect();
    checking.system_names(&path, "backend", &names);
    for (at, it) in document.backends.iter().flatten().enumerate() {
        backend(checking, &path.at(at), it);
    }
    let path = root.key("services");
    let names: Vec<_> = document.services.iter().flatten().map(|it| it.system_name.as_str()).collect();
    checking.system_names(&path, "service", &names);
    for (at, it) in document.services.iter().flatten().enumerate() {
        service(checking, &path.at(at), it);
    }
    accounts(checking, &root.key("accounts"));
}

fn features(checking: &mut Checking<'_>, path: &Path, features: Option<&Vec<Feature>>, are_scoped: bool) {
    let names: Vec<_> = features.into_iter().flatten().map(|it| it.system_name.as_str()).collect();
    checking.system_names(path, "feature", &names);
    for (at, it) in features.into_iter().flatten().enumerate() {
        let path = path.at(at);
        checking.line(&path, "name", it.name.as_ref(), NAME_LEN_MAX);
        if are_scoped {
            checking.word(&path, "scope", it.scope.as_ref(), &words::SCOPES);
        } else if it.scope.is_some() {
            checking.tell(path.key("scope"), "features of the tenant are of account plans alone");
        }
    }
}

fn amount(checking: &mut Checking<'_>, path: &Path, key: &str, amount: Option<&Amount>) {
    if let Some(problem) = amount.and_then(|it| words::amount(&it.0)) {
        checking.tell(path.key(key), problem);
    }
}

/// Features that a plan has must be there, where features are listed.
fn plan_features(
    checking: &mut Checking<'_>,
    path: &Path,
    own: Option<&Vec<String>>,
    all: Option<(&Vec<Feature>, Option<&str>)>,
) {
    let path = path.key("features");
    checking.unique(&path, "feature", own.into_iter().flatten().map(|it| (Some(it), it.clone())));
    let Some((all, scope)) = all else { return };
    for (at, name) in own.into_iter().flatten().enumerate() {
        match checking.find(all, |it| vec![&it.system_name], name) {
            None => checking.tell(path.at(at), format!("there is no feature '{name}' in this document")),
            Some(it)
                if scope.is_some_and(|scope| it.scope.as_deref().unwrap_or("application_plan") != scope) =>
            {
                checking.tell(path.at(at), format!("the feature '{name}' is of plans of another kind"));
            }
            Some(_) => {}
        }
    }
}

fn plans(
    checking: &mut Checking<'_>,
    owner: &Path,
    (key, default_key): (&str, &str),
    plans: Option<&Vec<Plan>>,
    (default, features): (Option<&String>, Option<&Vec<Feature>>),
) {
    let path = owner.key(key);
    let names: Vec<_> = plans.into_iter().flatten().map(|it| it.system_name.as_str()).collect();
    checking.system_names(&path, "plan", &names);
    if let Some(default) = default.filter(|it| !it.is_empty())
        && plans.is_some()
        && !names.contains(&default.as_str())
    {
        checking.tell(
            owner.key(default_key),
            format!("there is no plan '{default}' among the {}", key.replace('_', " ")),
        );
    }
    let scope = (key == "service_plans").then_some("service_plan");
    for (at, it) in plans.into_iter().flatten().enumerate() {
        let path = path.at(at);
        checking.line(&path, "name", it.name.as_ref(), NAME_LEN_MAX);
        amount(checking, &path, "setup_fee", it.setup_fee.as_ref());
        amount(checking, &path, "cost_per_month", it.cost_per_month.as_ref());
        plan_features(checking, &path, it.features.as_ref(), features.map(|all| (all, scope)));
    }
}

fn metrics(checking: &mut Checking<'_>, path: &Path, metrics: Option<&Vec<Metric>>) {
    // Methods and metrics of one owner share their names.
    let mut all = Vec::new();
    for (at, metric) in metrics.into_iter().flatten().enumerate() {
        let path = path.at(at);
        checking.line(&path, "friendly_name", metric.friendly_name.as_ref(), NAME_LEN_MAX);
        checking.line(&path, "unit", metric.unit.as_ref(), NAME_LEN_MAX);
        all.push((path.clone(), metric.system_name.as_str()));
        if metric.system_name != "hits" && metric.methods.as_ref().is_some_and(|it| !it.is_empty()) {
            checking.tell(path.key("methods"), "only hits has methods");
        }
        for (at, method) in metric.methods.iter().flatten().enumerate() {
            let path = path.key("methods").at(at);
            checking.line(&path, "friendly_name", method.friendly_name.as_ref(), NAME_LEN_MAX);
            all.push((path, method.system_name.as_str()));
        }
    }
    let mut known = std::collections::HashSet::new();
    for (path, name) in all {
        if let Some(problem) = words::system_name(name) {
            checking.tell(path.key("system_name"), problem);
        } else if !name.is_empty() && !known.insert(name) {
            checking.tell(path.key("system_name"), format!("there is another metric or method '{name}'"));
        }
    }
}

fn rules(
    checking: &mut Checking<'_>,
    path: &Path,
    rules: Option<&Vec<MappingRule>>,
    metrics: Option<&Vec<Metric>>,
) {
    for (at, rule) in rules.into_iter().flatten().enumerate() {
        let path = path.at(at);
        checking.word(&path, "http_method", Some(&rule.http_method), &words::HTTP_METHODS);
        for problem in words::pattern(&rule.pattern) {
            checking.tell(path.key("pattern"), problem);
        }
        if !checking.has_metric(metrics, &rule.metric) {
            checking.tell(
                path.key("metric"),
                format!("there is no metric '{}' in this list of metrics", rule.metric),
            );
        }
        if rule.delta == Some(0) || rule.delta.is_some_and(|it| i64::try_from(it).is_err()) {
            checking.tell(path.key("delta"), format!("must be from 1 to {}", i64::MAX));
        }
    }
}

fn backend(checking: &mut Checking<'_>, path: &Path, it: &Backend) {
    checking.line(path, "name", it.name.as_ref(), 511);
    metrics(checking, &path.key("metrics"), it.metrics.as_ref());
    rules(checking, &path.key("mapping_rules"), it.mapping_rules.as_ref(), it.metrics.as_ref());
}

fn service(checking: &mut Checking<'_>, path: &Path, it: &Service) {
    checking.line(path, "name", it.name.as_ref(), NAME_LEN_MAX);
    checking.word(path, "backend_version", it.backend_version.as_ref(), &words::BACKEND_VERSIONS);
    if it.description.as_ref().is_some_and(|it| it.len() > DESCRIPTION_LEN_MAX) {
        checking.tell(path.key("description"), format!("is too long: at most {DESCRIPTION_LEN_MAX} bytes"));
    }
    metrics(checking, &path.key("metrics"), it.metrics.as_ref());
    rules(checking, &path.key("mapping_rules"), it.mapping_rules.as_ref(), it.metrics.as_ref());
    features(checking, &path.key("features"), it.features.as_ref(), true);
    let usages = path.key("backends");
    checking.unique(
        &usages,
        "use of backend",
        it.backends.iter().flatten().map(|it| (Some(&it.backend), it.backend.clone())),
    );
    let paths = it.backends.iter().flatten().map(|it| {
        let path = it.path.as_ref().map(|path| format!("/{}", path.trim().trim_matches('/')));
        (path.as_ref().map(|it| it.to_lowercase()), path.unwrap_or_default())
    });
    checking.unique(&usages, "backend at the path", paths);
    for (at, usage) in it.backends.iter().flatten().enumerate() {
        checking.backend_reference(usages.at(at).key("backend"), &usage.backend);
    }
    plans(
        checking,
        path,
        ("service_plans", "default_service_plan"),
        it.service_plans.as_ref(),
        (it.default_service_plan.as_ref(), it.features.as_ref()),
    );
    application_plans(checking, path, it);
    if let Some(it) = &it.proxy {
        proxy(checking, &path.key("proxy"), it);
    }
}

fn proxy(checking: &mut Checking<'_>, path: &Path, it: &Proxy) {
    checking.word(path, "credentials_location", it.credentials_location.as_ref(), &words::LOCATIONS);
    for (key, status) in [
        ("error_status_auth_failed", it.error_status_auth_failed),
        ("error_status_auth_missing", it.error_status_auth_missing),
        ("error_status_no_match", it.error_status_no_match),
        ("error_status_limits_exceeded", it.error_status_limits_exceeded),
    ] {
        if status.is_some_and(|it| !(200..600).contains(&it)) {
            checking.tell(path.key(key), "must be an HTTP status from 200 to 599");
        }
    }
}

fn application_plans(checking: &mut Checking<'_>, owner: &Path, service: &Service) {
    let path = owner.key("application_plans");
    let plans = service.application_plans.as_ref();
    let names: Vec<_> = plans.into_iter().flatten().map(|it| it.system_name.as_str()).collect();
    checking.system_names(&path, "plan", &names);
    if let Some(default) = service.default_application_plan.as_ref().filter(|it| !it.is_empty())
        && plans.is_some()
        && !names.contains(&default.as_str())
    {
        let problem = format!("there is no plan '{default}' among the application plans");
        checking.tell(owner.key("default_application_plan"), problem);
    }
    for (at, plan) in plans.into_iter().flatten().enumerate() {
        application_plan(checking, &path.at(at), service, plan);
    }
}

fn application_plan(checking: &mut Checking<'_>, path: &Path, service: &Service, plan: &ApplicationPlan) {
    checking.line(path, "name", plan.name.as_ref(), NAME_LEN_MAX);
    amount(checking, path, "setup_fee", plan.setup_fee.as_ref());
    amount(checking, path, "cost_per_month", plan.cost_per_month.as_ref());
    let features = service.features.as_ref();
    plan_features(
        checking,
        path,
        plan.features.as_ref(),
        features.map(|all| (all, Some("application_plan"))),
    );
    let plans = service.application_plans.as_deref().unwrap_or_default();
    if let Some(original) = &plan.custom_of
        && checking.find(plans, |it| vec![&it.system_name], original).is_none()
    {
        checking.tell(path.key("custom_of"), format!("there is no plan '{original}' of this service"));
    }
    let limits = path.key("limits");
    let all = plan.limits.iter().flatten();
    let shown = |it: &Limit| format!("{} per {}", it.metric, it.period);
    checking.unique(&limits, "limit", all.map(|it| (Some((&it.backend, &it.metric, &it.period)), shown(it))));
    for (at, limit) in plan.limits.iter().flatten().enumerate() {
        let path = limits.at(at);
        checking.word(&path, "period", Some(&limit.period), &words::PERIODS);
        metric_reference(checking, &path, service, (limit.backend.as_ref(), &limit.metric));
    }
    let prices = path.key("pricing_rules");
    for (at, rule) in plan.pricing_rules.iter().flatten().enumerate() {
        let path = prices.at(at);
        metric_reference(checking, &path, service, (rule.backend.as_ref(), &rule.metric));
        amount(checking, &path, "cost_per_unit", Some(&rule.cost_per_unit));
    }
    ranges(checking, &prices, plan.pricing_rules.as_deref().unwrap_or_default());
}

/// Ranges of prices begin at 1, do not end before they begin, and no two of a metric overlap.
fn ranges(checking: &mut Checking<'_>, path: &Path, rules: &[PricingRule]) {
    let mut by_metric = std::collections::HashMap::<_, Vec<(u64, u64, usize)>>::new();
    for (at, rule) in rules.iter().enumerate() {
        let (min, max) = (rule.min.unwrap_or(1), rule.max.unwrap_or(u64::MAX));
        if min == 0 {
            checking.tell(path.at(at).key("min"), "units are counted from 1");
        } else if max < min {
            checking.tell(path.at(at).key("max"), "is less than the min");
        } else {
            by_metric.entry((&rule.backend, &rule.metric)).or_default().push((min, max, at));
        }
    }
    for mut ranges in by_metric.into_values() {
        ranges.sort_unstable();
        let mut end: Option<(u64, usize)> = None;
        for (min, max, at) in ranges {
            if let Some((_, other)) = end.filter(|(end, _)| min <= *end) {
                let (first, second) = (other.min(at), other.max(at));
                let problem =
                    format!("its range overlaps that of the pricing rule {first} of the same metric");
                checking.tell(path.at(second), problem);
            }
            if end.is_none_or(|(end, _)| max > end) {
                end = Some((max, at));
            }
        }
    }
}

/// A metric that plans of a service name: its own, or one of a backend that it uses.
fn metric_reference(
    checking: &mut Checking<'_>,
    path: &Path,
    service: &Service,
    (backend, metric): (Option<&String>, &str),
) {
    let Some(backend) = backend else {
        if !checking.has_metric(service.metrics.as_ref(), metric) {
            checking.tell(path.key("metric"), format!("there is no metric '{metric}' of this service"));
        }
        return;
    };
    let is_used = service
        .backends
        .as_ref()
        .is_none_or(|all| checking.find(all, |it| vec![&it.backend], backend).is_some());
    let metrics = checking.backend(backend).and_then(|it| it.metrics.as_ref());
    if !is_used {
        checking.tell(path.key("backend"), format!("this service does not use the backend '{backend}'"));
    } else if !checking.has_metric(metrics, metric) {
        checking
            .tell(path.key("metric"), format!("there is no metric '{metric}' of the backend '{backend}'"));
    }
}

fn accounts(checking: &mut Checking<'_>, path: &Path) {
    let accounts = checking.document.accounts.as_ref();
    let all = accounts.into_iter().flatten();
    checking.unique(
        path,
        "account",
        all.map(|it| (Some((&it.org_name, it.ordinal.unwrap_or(1))), it.org_name.clone())),
    );
    let mut of_name = std::collections::HashMap::<_, Vec<u32>>::new();
    for it in accounts.into_iter().flatten() {
        of_name.entry(it.org_name.as_str()).or_default().push(it.ordinal.unwrap_or(1));
    }
    of_name.values_mut().for_each(|ordinals| ordinals.sort_unstable());
    for (at, it) in accounts.into_iter().flatten().enumerate() {
        let Some(ordinal) = it.ordinal else { continue };
        let lower = of_name[it.org_name.as_str()].partition_point(|other| *other < ordinal);
        // The node counts those that there are: a gap would be another account the next time.
        if lower + 1 < ordinal as usize {
            let problem =
                format!("there are not {} others of this name before it in this document", ordinal - 1);
            checking.tell(path.at(at).key("ordinal"), problem);
        }
    }
    let mut names = std::collections::HashMap::new();
    let mut ids = std::collections::HashMap::new();
    for (at, it) in accounts.into_iter().flatten().enumerate() {
        let path = path.at(at);
        account(checking, &path, it);
        for (at, user) in it.users.iter().flatten().enumerate() {
            let path = path.key("users").at(at);
            checking.word(&path, "role", user.role.as_ref(), &words::ROLES);
            checking.word(&path, "state", user.state.as_ref(), &words::USER_STATES);
            if names.insert(user.username.to_lowercase(), ()).is_some() && !user.username.is_empty() {
                checking.tell(path.key("username"), format!("there is another user '{}'", user.username));
            }
        }
        for (at, it) in it.applications.iter().flatten().enumerate() {
            let path = path.key("applications").at(at);
            application(checking, &path, it);
            if ids.insert((&it.service, &it.application_id), ()).is_some() && !it.application_id.is_empty() {
                let problem = format!("there is another application '{}' of the service", it.application_id);
                checking.tell(path.key("application_id"), problem);
            }
        }
    }
}

fn account(checking: &mut Checking<'_>, path: &Path, it: &Account) {
    checking.line(path, "org_name", Some(&it.org_name), NAME_LEN_MAX);
    if it.org_name.trim() != it.org_name {
        checking.tell(path.key("org_name"), "must not begin or end with a blank");
    }
    if it.ordinal.is_some_and(|it| it < 2) {
        checking.tell(path.key("ordinal"), "is there from 2: the first of a name has none");
    }
    checking.word(path, "state", it.state.as_ref(), &words::ACCOUNT_STATES);
    amount(checking, path, "vat_rate", it.vat_rate.as_ref());
    if let (Some(plan), Some(plans)) =
        (it.plan.as_ref().filter(|it| !it.is_empty()), &checking.document.account_plans)
        && !plans.iter().any(|it| it.system_name == *plan)
    {
        checking.tell(path.key("plan"), format!("there is no account plan '{plan}' in this document"));
    }
    let subscriptions = path.key("subscriptions");
    let all = it.subscriptions.iter().flatten();
    checking.unique(&subscriptions, "subscription to", all.map(|it| (Some(&it.service), it.service.clone())));
    for (at, it) in it.subscriptions.iter().flatten().enumerate() {
        let path = subscriptions.at(at);
        checking.service_reference(path.key("service"), &it.service);
        checking.word(&path, "state", it.state.as_ref(), &words::CONTRACT_STATES);
        let plans = checking.service(&it.service).and_then(|it| it.service_plans.as_ref());
        if let (Some(plan), Some(plans)) = (&it.plan, plans)
            && !plans.iter().any(|it| it.system_name == *plan)
        {
            checking.tell(path.key("plan"), format!("there is no service plan '{plan}' of this service"));
        }
    }
}

fn application(checking: &mut Checking<'_>, path: &Path, it: &Application) {
    checking.service_reference(path.key("service"), &it.service);
    checking.line(path, "name", it.name.as_ref(), NAME_LEN_MAX);
    checking.line(path, "redirect_url", it.redirect_url.as_ref(), REDIRECT_URL_LEN_MAX);
    checking.word(path, "state", it.state.as_ref(), &words::CONTRACT_STATES);
    let id = &it.application_id;
    if !values::APP_ID_LEN.contains(&id.len()) || !values::is_printable(id) {
        let (least, most) = values::APP_ID_LEN.into_inner();
        let problem = format!("must be {least} to {most} printable ASCII characters without blanks");
        checking.tell(path.key("application_id"), problem);
    }
    let plans = checking.service(&it.service).and_then(|it| it.application_plans.as_ref());
    if let (Some(plan), Some(plans)) = (&it.plan, plans)
        && !plans.iter().any(|it| it.system_name == *plan)
    {
        checking.tell(path.key("plan"), format!("there is no application plan '{plan}' of this service"));
    }
}
