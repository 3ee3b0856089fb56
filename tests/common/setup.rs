//! Builds and changes a catalog from lines of text, one command a line. Values are percent-decoded.
//!
//! ```text
//! tenant KEY [key=KEY]...
//! service ID [version=1|2|oauth] [token=T]... [referrers=required] [state=suspended] [shadow=on|off]
//!            [ratelimit_headers=on|off]                      of the last tenant
//! metric NAME [PARENT]                                       of the last service
//! plan NAME                                                  of the last service
//! limit METRIC PERIOD MAX [shadow=on|off]                    of the last plan
//! application ID [plan=NAME] [key=K]... [user_key=K]... [referrer=R]... [redirect=URL] [state=S]
//!             [shadow=on|off]
//! edit service ID ... | edit application ID ...              lists given replace the old ones
//! use service ID | use plan NAME
//! delete metric NAME | delete application ID | delete service ID | delete limit METRIC PERIOD
//! ```

use std::collections::HashMap;

use tollgate::engine::Engine;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{ApplicationId, MetricId, PlanId, ServiceId, TenantId};
use tollgate::model::record::{Application, ApplicationState, BackendVersion, Secret, Service, ServiceState};
use tollgate::model::time::Period;

/// The names that commands have given so far.
#[derive(Default)]
pub(crate) struct Setup {
    tenant: Option<TenantId>,
    service: Option<ServiceId>,
    plan: Option<PlanId>,
    services: HashMap<String, ServiceId>,
    metrics: HashMap<(ServiceId, String), MetricId>,
    plans: HashMap<(ServiceId, String), PlanId>,
    applications: HashMap<(ServiceId, String), ApplicationId>,
}

impl Setup {
    /// Carries out one line.
    pub(crate) fn run(&mut self, engine: &Engine, line: &str) {
        let words: Vec<String> = line.split_whitespace().map(decode).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let changed = engine.change(|draft| self.change(draft, &words));
        changed.unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    fn change(&mut self, draft: &mut Draft<'_>, words: &[&str]) -> Result<(), CommandError> {
        match *words {
            ["tenant", key, ref rest @ ..] => {
                let tenant = draft.create_tenant("Tenant", key)?;
                let more = all(rest, "key").map(Secret::new);
                draft.edit_tenant(tenant, |it| it.provider_keys.extend(more))?;
                self.tenant = Some(tenant);
            }
            ["service", id, ref rest @ ..] => self.create_service(draft, id, rest)?,
            ["metric", name, ref rest @ ..] => {
                let service = self.service.unwrap();
                let parent = rest.first().map(|parent| self.metric(parent));
                let id = draft.create_metric(service, name, parent)?;
                self.metrics.insert((service, name.to_owned()), id);
            }
            ["plan", name] => {
                let service = self.service.unwrap();
                let id = draft.create_plan(service, None, name)?;
                self.plans.insert((service, name.to_owned()), id);
                self.plan = Some(id);
            }
            ["limit", metric, period, max, ref rest @ ..] => {
                let (plan, period) = (self.plan.unwrap(), Period::parse(period).unwrap());
                let limit = draft.set_limit(plan, self.metric(metric), period, max.parse().unwrap())?;
                if let Some(shadow) = flag(rest, "shadow") {
                    draft.set_limit_shadow(plan, limit, shadow)?;
                }
            }
            ["application", id, ref rest @ ..] => {
                let (service, plan) = (self.service.unwrap(), self.plan.unwrap());
                let new = NewApplication { service, account: None, app_id: id, name: "Application", plan };
                let application = draft.create_application(&new)?;
                self.applications.insert((service, id.to_owned()), application);
                self.edit_application(draft, application, rest)?;
            }
            ["edit", "service", id, ref rest @ ..] => {
                draft.edit_service(self.services[id], |it| edit_service(it, rest))?;
            }
            ["edit", "application", id, ref rest @ ..] => {
                let application = self.applications[&(self.service.unwrap(), id.to_owned())];
                self.edit_application(draft, application, rest)?;
            }
            ["use", "service", id] => self.service = Some(self.services[id]),
            ["use", "plan", name] => self.plan = Some(self.plans[&(self.service.unwrap(), name.to_owned())]),
            ["delete", "metric", name] => draft.delete_metric(self.service.unwrap(), self.metric(name))?,
            ["delete", "limit", metric, period] => {
                draft.delete_limit(
                    self.plan.unwrap(),
                    self.metric(metric),
                    Period::parse(period).unwrap(),
                )?;
            }
            ["delete", "application", id] => {
                draft.delete_application(self.applications[&(self.service.unwrap(), id.to_owned())])?;
            }
            ["delete", "service", id] => draft.delete_service(self.services[id])?,
            _ => panic!("unknown command: {words:?}"),
        }
        Ok(())
    }

    fn create_service(&mut self, draft: &mut Draft<'_>, id: &str, rest: &[&str]) -> Result<(), CommandError> {
        let backend_version = version(all(rest, "version").last().unwrap_or("2"));
        let tenant = self.tenant.unwrap();
        let new = NewService { tenant, external_id: Some(id), name: "Service", backend_version };
        let service = draft.create_service(&new)?;
        self.services.insert(id.to_owned(), service);
        self.service = Some(service);
        draft.edit_service(service, |it| edit_service(it, rest))
    }

    fn edit_application(
        &self,
        draft: &mut Draft<'_>,
        id: ApplicationId,
        rest: &[&str],
    ) -> Result<(), CommandError> {
        let plan = all(rest, "plan").last().map(|name| self.plans[&(self.service.unwrap(), name.to_owned())]);
        draft.edit_application(id, |it: &mut Application| {
            it.plan = plan.unwrap_or(it.plan);
            it.shadow = flag(rest, "shadow").unwrap_or(it.shadow);
            replace(&mut it.app_keys, secrets(rest, "key"));
            replace(&mut it.user_keys, secrets(rest, "user_key"));
            replace(&mut it.referrer_filters, all(rest, "referrer").map(str::to_owned).collect());
            if let Some(url) = all(rest, "redirect").last() {
                it.redirect_url = Some(url.into());
            }
            if let Some(state) = all(rest, "state").last() {
                it.state = ApplicationState::parse(state);
            }
        })
    }

    fn metric(&self, name: &str) -> MetricId {
        self.metrics[&(self.service.unwrap(), name.to_owned())]
    }
}

fn edit_service(service: &mut Service, rest: &[&str]) {
    replace(&mut service.tokens, secrets(rest, "token"));
    service.shadow = flag(rest, "shadow").unwrap_or(service.shadow);
    service.ratelimit_headers = flag(rest, "ratelimit_headers").unwrap_or(service.ratelimit_headers);
    if let Some(version_text) = all(rest, "version").last() {
        service.backend_version = version(version_text);
    }
    if let Some(referrers) = all(rest, "referrers").last() {
        service.referrer_filters_required = referrers == "required";
    }
    if let Some(state) = all(rest, "state").last() {
        service.state = if state == "active" { ServiceState::Active } else { ServiceState::Suspended };
    }
}

fn flag(words: &[&str], name: &str) -> Option<bool> {
    all(words, name).last().map(|word| word == "on")
}

fn version(text: &str) -> BackendVersion {
    match text {
        "1" => BackendVersion::UserKey,
        "2" => BackendVersion::AppId,
        "oauth" => BackendVersion::Oauth,
        _ => panic!("no such version: {text}"),
    }
}

fn secrets(words: &[&str], name: &str) -> Vec<Secret> {
    all(words, name).map(Secret::new).collect()
}

/// The values that `name=value` words give.
fn all<'w>(words: &[&'w str], name: &str) -> impl Iterator<Item = &'w str> {
    words
        .iter()
        .filter_map(move |word| word.split_once('=').filter(|(known, _)| *known == name))
        .map(|(_, v)| v)
}

/// Lists that a line does not mention stay.
fn replace<T, L: From<Vec<T>>>(list: &mut L, new: Vec<T>) {
    if !new.is_empty() {
        *list = new.into();
    }
}

fn decode(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
