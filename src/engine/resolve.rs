//! From the texts of a request to the records they mean, in the order of the Service Management API.

use super::Engine;
use super::request::{AuthRequest, Credentials, Usage};
use crate::counter::Facts;
use crate::model::amount::Effect;
use crate::model::catalog::{Catalog, Key};
use crate::model::decision::Refusal;
use crate::model::id::{Subject, TenantId};
use crate::model::metric::MetricTree;
use crate::model::record::{Application, BackendVersion, Plan, Service, ServiceState};
use crate::model::usage::{Effects, parse_value, push_effect};

/// Who a request is about.
pub(super) struct Case<'c> {
    pub(super) service: &'c Service,
    pub(super) plan: &'c Plan,
    pub(super) facts: Facts,
    /// The whole record, unless nothing in it could matter to the decision.
    pub(super) application: Option<&'c Application>,
}

impl<'c> Case<'c> {
    /// The case of a subject of `service`; `None` if the catalog is not the one that it was met under.
    pub(super) fn of(
        catalog: &'c Catalog,
        service: &'c Service,
        facts: Facts,
        reads_application: bool,
    ) -> Option<Case<'c>> {
        let plan = catalog.plans.get(facts.plan.0)?;
        let application =
            if reads_application { Some(&**catalog.applications.get(facts.application.0)?) } else { None };
        Some(Case { service, plan, facts, application })
    }

    /// Whether no call is denied: see the engine, Shadow.
    pub(super) fn in_shadow(&self) -> bool {
        self.service.shadow || self.facts.shadow()
    }
}

/// Why a request is not about anybody.
pub(super) enum Unresolved<E> {
    /// Something in it leads nowhere, as far as can be told while no command is half-way.
    Refused(E),
    /// It is refused, whatever commands are half-way.
    Final(E),
    /// A command has come between, or is half-way.
    Stale,
}

impl<E> From<E> for Unresolved<E> {
    fn from(error: E) -> Self {
        Unresolved::Refused(error)
    }
}

impl Engine {
    /// Waits until no command is half-way, so that the caller can start again.
    ///
    /// # Errors
    /// Nothing has changed since `publishing` was `seen`, so the request would be refused again.
    pub(super) fn start_again<E>(&self, unresolved: Unresolved<E>, seen: u64) -> Result<(), E> {
        match unresolved {
            Unresolved::Final(error) => return Err(error),
            Unresolved::Refused(error) => {
                if !self.lookup_again(seen) {
                    return Err(error);
                }
            }
            // Its cut comes to one shard after the other, and may have lost its processor on the way.
            Unresolved::Stale => std::thread::yield_now(),
        }
        Ok(())
    }

    /// Steps 6 to 8: the service, and the place of the application that a caller means.
    pub(super) fn whose<'c, 'r>(
        &self,
        catalog: &'c Catalog,
        request: &AuthRequest<'r>,
    ) -> Result<(&'c Service, Subject), Refusal<'r>> {
        let service = self.service(catalog, &request.credentials)?;
        if request.oauth && request.app_id.is_none() {
            return Err(Refusal::ApplicationNotFound { id: None });
        }
        Ok((service, self.subject(service, request.app_id, request.user_key)?))
    }

    /// The application of a service that a caller means.
    pub(super) fn subject<'r>(
        &self,
        service: &Service,
        app_id: Option<&'r str>,
        user_key: Option<&'r str>,
    ) -> Result<Subject, Refusal<'r>> {
        if app_id.is_some() && user_key.is_some() {
            return Err(Refusal::AppIdAndUserKey);
        }
        if service.backend_version == BackendVersion::UserKey {
            self.by_user_key(service, user_key)
        } else {
            self.by_app_id(service, app_id)
        }
    }

    /// Step 3: something to know the caller by.
    pub(super) fn check_credentials<'r>(&self, credentials: &Credentials<'r>) -> Result<(), Refusal<'r>> {
        if credentials.service.is_some() {
            return Ok(());
        }
        match (credentials.provider_key, credentials.service_token, credentials.service_id) {
            (Some(_), _, _) => Ok(()),
            (None, None, _) => Err(Refusal::CredentialsRequired),
            (None, Some(_), None) => Err(Refusal::ServiceIdMissing),
            (None, Some(token), Some(service_id)) => self.service_of_token(token, service_id).map(drop),
        }
    }

    /// Steps 3 and 6: the service that the credentials give access to. Those of a suspended tenant give none.
    pub(super) fn service<'c, 'r>(
        &self,
        catalog: &'c Catalog,
        credentials: &Credentials<'r>,
    ) -> Result<&'c Service, Refusal<'r>> {
        let service = self.service_named(catalog, credentials)?;
        if !catalog.is_suspended(service.tenant) {
            return Ok(service);
        }
        let Credentials { service_id, .. } = *credentials;
        Err(match (credentials.provider_key, credentials.service_token) {
            _ if credentials.service.is_some() => Refusal::TenantSuspended,
            (Some(key), _) => Refusal::ProviderKeyInvalid { key },
            (None, token) => Refusal::ServiceTokenInvalid {
                token: token.unwrap_or_default(),
                service_id: service_id.unwrap_or_default(),
            },
        })
    }

    fn service_named<'c, 'r>(
        &self,
        catalog: &'c Catalog,
        credentials: &Credentials<'r>,
    ) -> Result<&'c Service, Refusal<'r>> {
        if let Some(id) = credentials.service {
            let there = catalog.services.get(id.0).filter(|it| it.state != ServiceState::Retired);
            return there.map(|it| &**it).ok_or(Refusal::ServiceGone { service: id });
        }
        let Some(key) = credentials.provider_key else {
            let token = credentials.service_token.ok_or(Refusal::CredentialsRequired)?;
            let service_id = credentials.service_id.ok_or(Refusal::ServiceIdMissing)?;
            let id = self.service_of_token(token, service_id)?;
            let gone = Refusal::ServiceTokenInvalid { token, service_id };
            return catalog.services.get(id).map(|service| &**service).ok_or(gone);
        };
        let tenant = self.directory.other(Key::ProviderKey(key)).map(TenantId);
        let found = match (credentials.service_id, tenant) {
            (None, tenant) => {
                let default = tenant.and_then(|id| catalog.tenants.get(id.0)?.default_service);
                return default
                    .and_then(|id| catalog.services.get(id.0))
                    .map(|service| &**service)
                    .ok_or(Refusal::ProviderKeyInvalidOrServiceMissing { key });
            }
            (Some(text), Some(tenant)) => self.service_of_tenant(tenant, text),
            (Some(text), None) => {
                // Only the error's text depends on whether anybody has such a service.
                let is_known = |text: &str| {
                    self.directory.other(Key::ExternalService(text)).is_some()
                        || text.parse().is_ok_and(|id| catalog.services.get(id).is_some())
                };
                if service_names(text).any(is_known) {
                    return Err(Refusal::ProviderKeyInvalid { key });
                }
                None
            }
        };
        let id = credentials.service_id.unwrap_or_default();
        found.and_then(|id| catalog.services.get(id)).map(|it| &**it).ok_or(Refusal::ServiceIdInvalid { id })
    }

    fn service_of_tenant(&self, tenant: TenantId, text: &str) -> Option<u64> {
        service_names(text).find_map(|text| self.directory.other(Key::Service { tenant, text }))
    }

    fn service_of_token<'r>(&self, token: &'r str, service_id: &'r str) -> Result<u64, Refusal<'r>> {
        service_names(service_id)
            .find_map(|service| self.directory.other(Key::ServiceToken { token, service }))
            .ok_or(Refusal::ServiceTokenInvalid { token, service_id })
    }

    /// An application by its public id.
    pub(super) fn by_app_id<'r>(
        &self,
        service: &Service,
        app_id: Option<&'r str>,
    ) -> Result<Subject, Refusal<'r>> {
        let text = app_id.ok_or(Refusal::ApplicationNotFound { id: None })?;
        let key = Key::AppId { service: service.id, text };
        self.directory.application(key).ok_or(Refusal::ApplicationNotFound { id: app_id })
    }

    /// An application by a key that stands for it.
    pub(super) fn by_user_key<'r>(
        &self,
        service: &Service,
        user_key: Option<&'r str>,
    ) -> Result<Subject, Refusal<'r>> {
        let text = user_key.ok_or(Refusal::UserKeyInvalid { key: None })?;
        let key = Key::UserKey { service: service.id, text };
        self.directory.application(key).ok_or(Refusal::UserKeyInvalid { key: user_key })
    }
}

/// What a service id may mean: in `x-y-10`, what follows the last `-` comes first, then the whole.
fn service_names(text: &str) -> impl Iterator<Item = &str> {
    text.rsplit_once('-').map(|(_, last)| last).into_iter().chain([text])
}

/// Checks that the named metrics exist (step 11), without looking at the values.
pub(super) fn check_metrics<'r>(usage: &Usage<'r>, tree: &MetricTree) -> Result<(), Refusal<'r>> {
    let check = |name: &'r str| tree.find(name.trim()).map(drop).ok_or(Refusal::MetricInvalid { name });
    match usage {
        Usage::Texts(usage) => usage.iter().try_for_each(|(name, _)| check(name)),
        Usage::Amounts(usage) => usage.iter().try_for_each(|(name, _)| check(name)),
    }
}

/// What the usage of a request does to the metrics it names: value, then metric, in the order of the request.
pub(super) fn named_effects<'r>(
    effects: &mut Effects,
    usage: &Usage<'r>,
    tree: &MetricTree,
) -> Result<(), Refusal<'r>> {
    let mut push = |name: &'r str, effect: Effect| {
        let found = tree.find(name.trim()).ok_or(Refusal::MetricInvalid { name })?;
        push_effect(effects, found.slot, effect);
        Ok(())
    };
    match usage {
        Usage::Texts(usage) => {
            usage.iter().try_for_each(|(name, value)| push(name, effect_of(name, *value)?))
        }
        Usage::Amounts(usage) => usage.iter().try_for_each(|(name, effect)| push(name, *effect)),
    }
}

fn effect_of<'r>(metric: &'r str, value: Option<&'r str>) -> Result<Effect, Refusal<'r>> {
    let text = value.filter(|text| !text.trim().is_empty());
    let text = text.ok_or(Refusal::UsageValueInvalid { metric, value: None })?;
    parse_value(text).ok_or(Refusal::UsageValueInvalid { metric, value: Some(text) })
}
