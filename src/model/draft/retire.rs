//! Deleting a service that may own a great deal: it is gone for everybody at once, and what it owns goes bit by bit.
//!
//! One command that deletes a hundred thousand applications takes seconds, for which nothing else is written down.

use super::{CommandError, Draft};
use crate::model::catalog::Change;
use crate::model::id::{ApplicationId, PlanId, ServiceId};
use crate::model::record::{Service, ServiceState};

impl Draft<'_> {
    /// Deletes a service for all who call it or name it; its ids and tokens can be given to another. What it owns
    /// stays, out of reach, for [`Draft::purge`] to take away.
    ///
    /// # Errors
    /// It is unknown.
    pub fn retire_service(&mut self, id: ServiceId) -> Result<(), CommandError> {
        let service = Service::clone(self.service(id)?);
        let tenant = service.tenant;
        if self.tenant(tenant)?.default_service == Some(id) {
            self.edit_tenant(tenant, |tenant| tenant.default_service = None)?;
        }
        let state = ServiceState::Retired;
        let (external_id, tokens, alert_limits) = (None, Vec::new(), Vec::new());
        self.stage(Change::PutService(Service {
            state,
            external_id,
            tokens,
            alert_limits,
            stats_erasure: None,
            ..service
        }))
    }

    /// Takes away applications and plans, as far as they are still there and their service is retired. Applications
    /// go before the plans they are on.
    ///
    /// # Errors
    /// None that a caller could do anything about.
    pub fn purge(&mut self, applications: &[ApplicationId], plans: &[PlanId]) -> Result<(), CommandError> {
        for id in applications {
            let service = self.catalog.applications.get(id.0).map(|it| it.service);
            if service.is_some_and(|service| self.is_retired(service)) {
                self.stage(Change::DeleteApplication(*id))?;
            }
        }
        for id in plans {
            let service = self.catalog.plans.get(id.0).map(|it| it.service);
            if service.is_some_and(|service| self.is_retired(service)) {
                self.stage(Change::DeletePlan(*id))?;
            }
        }
        Ok(())
    }

    /// Takes away a retired service that owns nothing any more.
    ///
    /// # Errors
    /// None that a caller could do anything about.
    pub fn purge_service(&mut self, id: ServiceId) -> Result<(), CommandError> {
        if self.is_retired(id) { self.stage(Change::DeleteService(id)) } else { Ok(()) }
    }

    fn is_retired(&self, id: ServiceId) -> bool {
        self.catalog.services.get(id.0).is_some_and(|it| it.state == ServiceState::Retired)
    }
}
