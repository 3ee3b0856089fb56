//! A draft: the next catalog while a command builds it, and the changes that lead there.
//!
//! All rules that a catalog must keep are checked here, so what a draft yields is valid. An error leaves the
//! current catalog as it was: the draft is thrown away whole.

mod accounts;
mod metrics;
mod plans;
mod retire;
mod rules;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod written_once;

use std::collections::HashMap;

use crate::model::catalog::{Catalog, Change, Key, KeyIndex};
use crate::model::few::Few;
use crate::model::id::{AccountId, ApplicationId, PlanId, ServiceId, Subject, TenantId};
use crate::model::metric::MetricTree;
use crate::model::record::{
    ALERT_LEVELS, Account, Application, ApplicationState, BackendVersion, Plan, Secret, Service,
    ServiceState, Tenant, TenantState,
};
pub use rules::{CommandError, KEYS_MAX, LIMITS_MAX, REDIRECT_URL_LEN_MAX, TEXT_LEN_MAX};
use rules::{check_count, check_secrets, check_text, check_text_of, kind_of};

/// What a new service is.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewService<'a> {
    pub tenant: TenantId,
    pub external_id: Option<&'a str>,
    pub name: &'a str,
    pub backend_version: BackendVersion,
}

/// What a new application is. It starts active and without keys.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewApplication<'a> {
    pub service: ServiceId,
    pub account: Option<AccountId>,
    pub app_id: &'a str,
    pub name: &'a str,
    pub plan: PlanId,
}

/// The next catalog, being built.
pub struct Draft<'i> {
    catalog: Catalog,
    index: &'i dyn KeyIndex,
    /// Keys this draft gave (`Some`) or freed (`None`), over what the index says.
    keys: HashMap<String, Option<u64>>,
    changes: Vec<Change>,
    /// The next id before this draft gave any out.
    first_id: u64,
}

impl KeyIndex for Draft<'_> {
    fn find(&self, key: Key<'_>) -> Option<u64> {
        Draft::find(self, key)
    }
}

impl<'i> Draft<'i> {
    /// Starts from `catalog`, whose keys `index` finds.
    #[must_use]
    pub fn new(catalog: Catalog, index: &'i dyn KeyIndex) -> Self {
        let first_id = catalog.next_id;
        Draft { catalog, index, keys: HashMap::new(), changes: Vec::new(), first_id }
    }

    /// The catalog as this draft has made it so far.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Builds a part that is kept whole or, if `build` ends in an error, not at all.
    ///
    /// # Errors
    /// That of `build`; the draft is as it was.
    pub fn attempt<R, E>(&mut self, build: impl FnOnce(&mut Draft<'_>) -> Result<R, E>) -> Result<R, E> {
        // A draft over this one: what it does not know itself it finds here.
        let mut part = Draft::new(self.catalog.clone(), &*self);
        let result = build(&mut part)?;
        let Draft { catalog, keys, changes, .. } = part;
        self.catalog = catalog;
        self.keys.extend(keys);
        self.changes.extend(changes);
        Ok(result)
    }

    /// Whether nothing was changed yet, and no id taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.catalog.next_id == self.first_id
    }

    /// The changes so far, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes, in order, and the id the next record would get. Ids that were taken are kept by any change, since each
    /// is written with that next id; where there is none, by one that says nothing else.
    #[must_use]
    pub fn into_changes(mut self) -> (Vec<Change>, u64) {
        let next_id = self.catalog.next_id;
        if self.changes.is_empty() && next_id != self.first_id {
            self.changes.push(Change::RaiseIds(next_id));
        }
        (self.changes, next_id)
    }

    /// Takes an id of the node's sequence for a record that a plugin keeps, or for a metric that several services have
    /// ([`Draft::put_metric`]). It is given to nothing else, also after a restart, if the command is carried out.
    pub fn take_id(&mut self) -> u64 {
        let id = self.catalog.next_id;
        self.catalog.next_id = id.saturating_add(1);
        id
    }

    /// Finds a record by key, as this draft has it.
    #[must_use]
    pub fn find(&self, key: Key<'_>) -> Option<u64> {
        self.keys.get(&format!("{key:?}")).copied().unwrap_or_else(|| self.index.find(key))
    }

    /// Creates a tenant with its first provider key.
    ///
    /// # Errors
    /// A bad text, or a key that is taken.
    pub fn create_tenant(&mut self, name: &str, provider_key: &str) -> Result<TenantId, CommandError> {
        let id = TenantId(self.next_id());
        let provider_keys = vec![Secret::new(provider_key)];
        self.stage(Change::PutTenant(Tenant {
            id,
            name: name.into(),
            provider_keys,
            default_service: None,
            state: TenantState::Active,
        }))?;
        Ok(id)
    }

    /// Changes a tenant's name, provider keys or default service.
    ///
    /// # Errors
    /// It is unknown, or what it would be is not valid.
    pub fn edit_tenant(&mut self, id: TenantId, edit: impl FnOnce(&mut Tenant)) -> Result<(), CommandError> {
        let mut tenant = Tenant::clone(self.tenant(id)?);
        edit(&mut tenant);
        tenant.id = id;
        self.stage(Change::PutTenant(tenant))
    }

    /// Deletes a tenant that owns nothing any more.
    ///
    /// # Errors
    /// It is unknown, or owns something.
    pub fn delete_tenant(&mut self, id: TenantId) -> Result<(), CommandError> {
        self.tenant(id)?;
        if !self.catalog.services_of(id).is_empty() || !self.catalog.accounts_of(id).is_empty() {
            return Err(CommandError::TenantInUse(id.0));
        }
        self.stage(Change::DeleteTenant(id))
    }

    /// Creates a service without metrics. A tenant's first service becomes its default.
    ///
    /// # Errors
    /// The tenant is unknown, a text is bad, or the external id is taken.
    pub fn create_service(&mut self, new: &NewService<'_>) -> Result<ServiceId, CommandError> {
        let default_service = self.tenant(new.tenant)?.default_service;
        let id = self.next_service_id(new.tenant);
        self.stage(Change::PutService(Service {
            id,
            tenant: new.tenant,
            external_id: new.external_id.map(str::to_owned),
            name: new.name.into(),
            state: ServiceState::Active,
            backend_version: new.backend_version,
            referrer_filters_required: false,
            tokens: Vec::new(),
            metrics: MetricTree::default(),
            alert_limits: Vec::new(),
            stats_erasure: None,
            shadow: false,
            ratelimit_headers: false,
            promise: None,
            edition: 0,
        }))?;
        if default_service.is_none() {
            self.edit_tenant(new.tenant, |tenant| tenant.default_service = Some(id))?;
        }
        Ok(id)
    }

    /// Changes what a service is; its metrics have calls of their own.
    ///
    /// # Errors
    /// It is unknown, or what it would be is not valid.
    pub fn edit_service(
        &mut self,
        id: ServiceId,
        edit: impl FnOnce(&mut Service),
    ) -> Result<(), CommandError> {
        let mut service = Service::clone(self.service(id)?);
        let tenant = service.tenant;
        edit(&mut service);
        (service.id, service.tenant) = (id, tenant);
        service.alert_limits.sort_unstable();
        service.alert_limits.dedup();
        self.stage(Change::PutService(service))
    }

    /// Deletes a service with its plans and applications, all in one command. Whoever cannot know that they are few
    /// [retires](Draft::retire_service) it instead.
    ///
    /// # Errors
    /// It is unknown.
    pub fn delete_service(&mut self, id: ServiceId) -> Result<(), CommandError> {
        let tenant = self.service(id)?.tenant;
        self.delete_applications_of(id.0)?;
        for plan in self.plans_of(id) {
            self.stage(Change::DeletePlan(plan))?;
        }
        if self.tenant(tenant)?.default_service == Some(id) {
            self.edit_tenant(tenant, |tenant| tenant.default_service = None)?;
        }
        self.stage(Change::DeleteService(id))
    }

    /// Creates an application.
    ///
    /// # Errors
    /// Something is unknown, a text is bad, or the app id is taken in the service.
    pub fn create_application(&mut self, new: &NewApplication<'_>) -> Result<ApplicationId, CommandError> {
        let id = ApplicationId(self.next_id());
        self.stage(Change::PutApplication(Application {
            id,
            service: new.service,
            account: new.account,
            app_id: new.app_id.into(),
            name: new.name.into(),
            plan: new.plan,
            state: ApplicationState::Active,
            app_keys: Few::default(),
            user_keys: Few::default(),
            referrer_filters: Few::default(),
            redirect_url: None,
            subject: Subject::NONE,
            shadow: false,
        }))?;
        Ok(id)
    }

    /// Changes what an application is: state, plan, keys, filters.
    ///
    /// # Errors
    /// It is unknown, or what it would be is not valid.
    pub fn edit_application(
        &mut self,
        id: ApplicationId,
        edit: impl FnOnce(&mut Application),
    ) -> Result<(), CommandError> {
        let mut application = Application::clone(self.application(id)?);
        let (service, subject) = (application.service, application.subject);
        edit(&mut application);
        (application.id, application.service, application.subject) = (id, service, subject);
        self.stage(Change::PutApplication(application))
    }

    /// Deletes an application and its counters.
    ///
    /// # Errors
    /// It is unknown.
    pub fn delete_application(&mut self, id: ApplicationId) -> Result<(), CommandError> {
        self.application(id)?;
        self.stage(Change::DeleteApplication(id))
    }

    fn next_id(&self) -> u64 {
        self.catalog.next_id
    }

    /// The next id whose decimal leads to no service of the tenant: another may have it as its external id, and then
    /// the new one could not be called by its own.
    fn next_service_id(&self, tenant: TenantId) -> ServiceId {
        let mut id = ServiceId(self.next_id());
        while self.find(Key::Service { tenant, text: &id.to_string() }).is_some() {
            id.0 = id.0.saturating_add(1);
        }
        id
    }

    fn tenant(&self, id: TenantId) -> Result<&Tenant, CommandError> {
        self.catalog
            .tenants
            .get(id.0)
            .map(|it| &**it)
            .ok_or(CommandError::Unknown { what: "tenant", id: id.0 })
    }

    fn service(&self, id: ServiceId) -> Result<&Service, CommandError> {
        self.catalog
            .services
            .get(id.0)
            .map(|it| &**it)
            .filter(|it| it.state != ServiceState::Retired)
            .ok_or(CommandError::Unknown { what: "service", id: id.0 })
    }

    fn account(&self, id: AccountId) -> Result<&Account, CommandError> {
        let found = self.catalog.accounts.get(id.0).map(|it| &**it);
        found.ok_or(CommandError::Unknown { what: "account", id: id.0 })
    }

    fn plan(&self, id: PlanId) -> Result<&Plan, CommandError> {
        self.catalog.plans.get(id.0).map(|it| &**it).ok_or(CommandError::Unknown { what: "plan", id: id.0 })
    }

    fn application(&self, id: ApplicationId) -> Result<&Application, CommandError> {
        let found = self.catalog.applications.get(id.0).map(|it| &**it);
        found.ok_or(CommandError::Unknown { what: "application", id: id.0 })
    }

    fn plans_of(&self, service: ServiceId) -> Vec<PlanId> {
        self.catalog.plans_of(service).iter().map(PlanId).collect()
    }

    fn delete_applications_of(&mut self, owner: u64) -> Result<(), CommandError> {
        let applications: Vec<_> = self.catalog.applications_of(owner).iter().collect();
        applications.into_iter().try_for_each(|id| self.stage(Change::DeleteApplication(ApplicationId(id))))
    }

    /// Checks a change, applies it to the draft and keeps it. An error leaves the draft as it was: a caller may go on.
    fn stage(&mut self, change: Change) -> Result<(), CommandError> {
        self.check(&change)?;
        let mut next = self.catalog.clone();
        next.apply(&change);
        let mut given = Vec::new();
        let mut taken = None;
        // A key that the change frees led to this very record, so it is taken from nobody.
        next.keys_of(&change, |key, id| match self.find(key) {
            Some(by) if by != id => taken = Some(CommandError::Taken { what: kind_of(key), by }),
            _ => given.push((format!("{key:?}"), Some(id))),
        });
        if let Some(error) = taken {
            return Err(error);
        }
        let mut freed = Vec::new();
        self.catalog.keys_of(&change, |key, _| freed.push((format!("{key:?}"), None)));
        self.keys.extend(freed);
        self.keys.extend(given);
        self.catalog = next;
        if self.changes.last().is_some_and(|last| self.is_all_of(last, &change)) {
            self.changes.pop();
        }
        self.changes.push(change);
        Ok(())
    }

    /// Whether a change says all that the one before it did, so that it is written once however often a record is changed at once. A record that
    /// this draft made nobody has seen before. Of others a change counts that is taken back at once, too, if handles die by it.
    fn is_all_of(&self, last: &Change, change: &Change) -> bool {
        let (Some(id), true) = (put_id(last), put_id(last) == put_id(change)) else { return false };
        id.1 >= self.first_id
            || match (last, change) {
                (Change::PutService(last), Change::PutService(next)) => !last.is_outdated_by(next),
                (Change::PutPlan(_), _) => true,
                _ => false,
            }
    }

    fn check(&self, change: &Change) -> Result<(), CommandError> {
        match change {
            Change::PutTenant(tenant) => {
                check_text("tenant name", &tenant.name)?;
                check_secrets("provider keys", &tenant.provider_keys)?;
                if let Some(id) = tenant.default_service {
                    let owned = self.service(id)?.tenant == tenant.id;
                    owned.then_some(()).ok_or(CommandError::Unknown { what: "service", id: id.0 })?;
                }
            }
            Change::PutAccount(account) => check_text("account name", &account.name)?,
            Change::PutService(service) => {
                check_text("service name", &service.name)?;
                service.external_id.as_ref().map_or(Ok(()), |id| check_text("service id", id))?;
                check_secrets("service tokens", &service.tokens)?;
                let unknown = service.alert_limits.iter().find(|level| !ALERT_LEVELS.contains(level));
                unknown.map_or(Ok(()), |level| Err(CommandError::AlertLevel(u64::from(*level))))?;
            }
            Change::PutPlan(plan) => {
                check_plan_texts(plan)?;
                check_count("limits", plan.limits.len(), LIMITS_MAX)?;
            }
            Change::PutApplication(application) => self.check_application(application)?,
            _ => {}
        }
        Ok(())
    }

    fn check_application(&self, application: &Application) -> Result<(), CommandError> {
        check_text("application id", &application.app_id)?;
        check_text("application name", &application.name)?;
        check_secrets("application keys", &application.app_keys)?;
        check_secrets("user keys", &application.user_keys)?;
        check_count("referrer filters", application.referrer_filters.len(), KEYS_MAX)?;
        for filter in &application.referrer_filters {
            check_text("referrer filter", filter)?;
        }
        if let ApplicationState::Other(state) = &application.state {
            check_text("application state", state)?;
        }
        if let Some(url) = &application.redirect_url {
            check_text_of("redirect URL", url, REDIRECT_URL_LEN_MAX)?;
        }
        let tenant = self.service(application.service)?.tenant;
        if self.plan(application.plan)?.service != application.service {
            return Err(CommandError::Unknown { what: "plan", id: application.plan.0 });
        }
        if let Some(id) = application.account
            && self.catalog.accounts.get(id.0).is_none_or(|account| account.tenant != tenant)
        {
            return Err(CommandError::Unknown { what: "account", id: id.0 });
        }
        Ok(())
    }
}

/// A plan that another system pushed may have no name here; and one stands for no plan at all.
fn check_plan_texts(plan: &Plan) -> Result<(), CommandError> {
    match plan.external_id.as_deref() {
        None => check_text("plan name", &plan.name),
        Some(Plan::NONE) if plan.name.is_empty() => Ok(()),
        Some(id) => {
            check_text("plan id", id)?;
            if plan.name.is_empty() { Ok(()) } else { check_text("plan name", &plan.name) }
        }
    }
}

/// Kind and id of the record that a change puts.
fn put_id(change: &Change) -> Option<(u8, u64)> {
    match change {
        Change::PutTenant(it) => Some((0, it.id.0)),
        Change::PutAccount(it) => Some((1, it.id.0)),
        Change::PutService(it) => Some((2, it.id.0)),
        Change::PutPlan(it) => Some((3, it.id.0)),
        Change::PutApplication(it) => Some((4, it.id.0)),
        _ => None,
    }
}
