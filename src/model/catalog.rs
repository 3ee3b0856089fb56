//! The catalog: everything an operator set up, as one immutable value with a version.
//!
//! A change makes a new catalog that shares all untouched parts with the old one ([`IdMap`]). Changes state the
//! record as it is afterwards, so applying one twice, or in a replay, gives the same catalog. What belongs to whom follows
//! from the records: those indexes are kept with them and never written.

use std::sync::Arc;

use super::id::{AccountId, ApplicationId, PlanId, ServiceId, TenantId};
use super::id_map::IdMap;
use super::id_set::IdSet;
use super::owned::Owned;
use super::record::{Account, Application, Plan, Service, ServiceState, Tenant, TenantState};

/// All records of a node.
#[derive(Clone, Default, Debug)]
pub struct Catalog {
    /// Raised by one with each command; usage names it as its contract version.
    pub version: u64,
    /// The id that the next new record gets; ids start at 1.
    pub next_id: u64,
    /// By [`TenantId`].
    pub tenants: IdMap<Tenant>,
    /// By [`AccountId`].
    pub accounts: IdMap<Account>,
    /// By [`ServiceId`].
    pub services: IdMap<Service>,
    /// By [`PlanId`].
    pub plans: IdMap<Plan>,
    /// By [`ApplicationId`].
    pub applications: IdMap<Application>,
    services_of: Owned,
    accounts_of: Owned,
    plans_of: Owned,
    /// By service, plan and account alike: an id is one record's on the node.
    applications_of: Owned,
    /// Nearly always empty, which costs a decision no memory access of its own.
    suspended: IdSet,
}

/// One record put or deleted; or ids given out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Change {
    PutTenant(Tenant),
    PutAccount(Account),
    PutService(Service),
    PutPlan(Plan),
    PutApplication(Application),
    DeleteTenant(TenantId),
    DeleteAccount(AccountId),
    DeleteService(ServiceId),
    DeletePlan(PlanId),
    DeleteApplication(ApplicationId),
    /// Ids below this are given out, if not to a record of the catalog then to one that a plugin keeps.
    RaiseIds(u64),
}

/// A text by which the outside world names a record. Each leads to at most one record of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Key<'a> {
    /// Leads to a tenant.
    ProviderKey(&'a str),
    /// Leads to a service: what a tenant calls it (its external id, or else its decimal id).
    Service { tenant: TenantId, text: &'a str },
    /// Leads to a service by its external id alone: for the one who pushed it, who names no tenant.
    ExternalService(&'a str),
    /// Leads to a service: a service token together with what the service is called.
    ServiceToken { token: &'a str, service: &'a str },
    /// Leads to a plan by its external id.
    Plan { service: ServiceId, text: &'a str },
    /// Leads to an application.
    AppId { service: ServiceId, text: &'a str },
    /// Leads to an application.
    UserKey { service: ServiceId, text: &'a str },
}

/// Finds records by key. The engine keeps one beside the catalog.
pub trait KeyIndex {
    /// The id of the record that `key` leads to.
    fn find(&self, key: Key<'_>) -> Option<u64>;
}

/// Finds nothing: for tests that only make records.
#[cfg(test)]
pub(crate) struct NoKeys;

#[cfg(test)]
impl KeyIndex for NoKeys {
    fn find(&self, _: Key<'_>) -> Option<u64> {
        None
    }
}

impl Catalog {
    /// A catalog with no record; ids start at 1.
    #[must_use]
    pub fn new() -> Self {
        Catalog { next_id: 1, ..Catalog::default() }
    }

    /// Applies one change. Deleting what is absent changes nothing.
    pub fn apply(&mut self, change: &Change) {
        self.take(change.clone());
    }

    /// As [`Catalog::apply`], with the records of the change themselves.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::PutTenant(tenant) => self.put_tenant(tenant),
            Change::PutAccount(account) => self.put_account(account),
            Change::PutService(service) => self.put_service(service),
            Change::PutPlan(plan) => self.put_plan(plan),
            Change::PutApplication(application) => self.put_application(application),
            Change::DeleteTenant(id) => {
                self.tenants.remove(id.0);
                self.suspended.remove(id.0);
            }
            Change::DeleteAccount(id) => {
                let tenant = self.accounts.remove(id.0).map(|it| it.tenant.0);
                self.accounts_of.pass(id.0, tenant, None);
            }
            Change::DeleteService(id) => {
                let tenant = self.services.remove(id.0).map(|it| it.tenant.0);
                self.services_of.pass(id.0, tenant, None);
            }
            Change::DeletePlan(id) => {
                let service = self.plans.remove(id.0).map(|it| it.service.0);
                self.plans_of.pass(id.0, service, None);
            }
            Change::DeleteApplication(id) => {
                let before = self.applications.remove(id.0);
                self.pass_application(id, owners(before.as_deref()), [None; 3]);
            }
            Change::RaiseIds(next_id) => self.next_id = self.next_id.max(next_id),
        }
    }

    fn put_tenant(&mut self, tenant: Tenant) {
        match tenant.state {
            TenantState::Active => self.suspended.remove(tenant.id.0),
            TenantState::Suspended => self.suspended.insert(tenant.id.0),
        };
        put(&mut self.tenants, tenant.id.0, tenant, &mut self.next_id);
    }

    fn put_account(&mut self, account: Account) {
        let (id, tenant) = (account.id.0, account.tenant.0);
        let before = put(&mut self.accounts, id, account, &mut self.next_id);
        self.accounts_of.pass(id, before.map(|it| it.tenant.0), Some(tenant));
    }

    fn put_service(&mut self, service: Service) {
        for metric in service.metrics.iter() {
            self.next_id = self.next_id.max(metric.id.0.saturating_add(1));
        }
        let (id, tenant) = (service.id.0, service.tenant.0);
        let before = put(&mut self.services, id, service, &mut self.next_id);
        self.services_of.pass(id, before.map(|it| it.tenant.0), Some(tenant));
    }

    fn put_plan(&mut self, plan: Plan) {
        for limit in &plan.limits {
            self.next_id = self.next_id.max(limit.id.0.saturating_add(1));
        }
        let (id, service) = (plan.id.0, plan.service.0);
        let before = put(&mut self.plans, id, plan, &mut self.next_id);
        self.plans_of.pass(id, before.map(|it| it.service.0), Some(service));
    }

    fn put_application(&mut self, application: Application) {
        let (id, after) = (application.id, owners(Some(&application)));
        let before = put(&mut self.applications, id.0, application, &mut self.next_id);
        self.pass_application(id, owners(before.as_deref()), after);
    }

    fn pass_application(&mut self, id: ApplicationId, before: [Option<u64>; 3], after: [Option<u64>; 3]) {
        for (before, after) in before.into_iter().zip(after) {
            self.applications_of.pass(id.0, before, after);
        }
    }

    /// Whether the calls of a tenant are refused for now.
    #[must_use]
    pub fn is_suspended(&self, tenant: TenantId) -> bool {
        !self.suspended.is_empty() && self.suspended.contains(tenant.0)
    }

    /// The services of a tenant, retired ones too.
    #[must_use]
    pub fn services_of(&self, tenant: TenantId) -> &IdSet {
        self.services_of.of(tenant.0)
    }

    /// The accounts of a tenant.
    #[must_use]
    pub fn accounts_of(&self, tenant: TenantId) -> &IdSet {
        self.accounts_of.of(tenant.0)
    }

    /// The plans of a service.
    #[must_use]
    pub fn plans_of(&self, service: ServiceId) -> &IdSet {
        self.plans_of.of(service.0)
    }

    /// The applications of a service, on a plan, or of an account, whichever record has the id `owner`. An account's may
    /// be of services that are retired.
    #[must_use]
    pub fn applications_of(&self, owner: u64) -> &IdSet {
        self.applications_of.of(owner)
    }

    /// All records as changes that would build this catalog from nothing, owners before what they own.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let applications =
            self.applications.iter().map(|(_, record)| Change::PutApplication(Application::clone(record)));
        self.owners().chain(applications)
    }

    /// As [`Catalog::changes`], without the applications, which come last there: they may be a million.
    pub fn owners(&self) -> impl Iterator<Item = Change> {
        let tenants = self.tenants.iter().map(|(_, record)| Change::PutTenant(Tenant::clone(record)));
        let accounts = self.accounts.iter().map(|(_, record)| Change::PutAccount(Account::clone(record)));
        let services = self.services.iter().map(|(_, record)| Change::PutService(Service::clone(record)));
        let plans = self.plans.iter().map(|(_, record)| Change::PutPlan(Plan::clone(record)));
        tenants.chain(accounts).chain(services).chain(plans)
    }

    /// Calls `visit` with each key that leads to the record `change` names, as the record is in this catalog,
    /// and the record's id. Nothing for a record that is absent.
    pub fn keys_of(&self, change: &Change, mut visit: impl FnMut(Key<'_>, u64)) {
        match change {
            Change::PutTenant(Tenant { id, .. }) | Change::DeleteTenant(id) => {
                for key in self.tenants.get(id.0).iter().flat_map(|tenant| &tenant.provider_keys) {
                    visit(Key::ProviderKey(key.expose()), id.0);
                }
            }
            Change::PutAccount(_) | Change::DeleteAccount(_) => {}
            Change::PutService(Service { id, .. }) | Change::DeleteService(id) => {
                if let Some(service) = self.services.get(id.0) {
                    service.keys(|key| visit(key, id.0));
                }
            }
            Change::PutPlan(Plan { id, .. }) | Change::DeletePlan(id) => {
                if let Some((plan, text)) =
                    self.plans.get(id.0).and_then(|p| Some((p, p.external_id.as_ref()?)))
                {
                    visit(Key::Plan { service: plan.service, text }, id.0);
                }
            }
            Change::PutApplication(Application { id, .. }) | Change::DeleteApplication(id) => {
                if let Some(application) = self.applications.get(id.0) {
                    application.keys(|key| visit(key, id.0));
                }
            }
            Change::RaiseIds(_) => {}
        }
    }
}

impl Application {
    /// Calls `visit` with each key that leads to this application.
    pub fn keys(&self, mut visit: impl FnMut(Key<'_>)) {
        let service = self.service;
        visit(Key::AppId { service, text: &self.app_id });
        for key in &self.user_keys {
            visit(Key::UserKey { service, text: key.expose() });
        }
    }
}

impl Service {
    /// Calls `visit` with each key that leads to this service: what it is called, and its tokens with that. One that
    /// another system knows is called as there, and not by its own id, which may well be what that system calls
    /// another.
    pub fn keys(&self, mut visit: impl FnMut(Key<'_>)) {
        if self.state == ServiceState::Retired {
            return;
        }
        if let Some(id) = &self.external_id {
            visit(Key::ExternalService(id));
        }
        let text = &*self.text();
        visit(Key::Service { tenant: self.tenant, text });
        for token in &self.tokens {
            visit(Key::ServiceToken { token: token.expose(), service: text });
        }
    }
}

/// Service, plan and account of an application.
fn owners(application: Option<&Application>) -> [Option<u64>; 3] {
    application.map_or([None; 3], |it| [Some(it.service.0), Some(it.plan.0), it.account.map(|id| id.0)])
}

fn put<T>(map: &mut IdMap<T>, id: u64, record: T, next_id: &mut u64) -> Option<Arc<T>> {
    *next_id = (*next_id).max(id.saturating_add(1));
    map.insert(id, Arc::new(record))
}
