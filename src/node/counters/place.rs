//! Finding the place of a line in a node's catalog.

use std::collections::HashMap;
use std::sync::Arc;

use super::Line;
use crate::engine::{CarriedCounter, Engine};
use crate::model::catalog::{Catalog, Key};
use crate::model::id::{ApplicationId, ServiceId};
use crate::model::usage::response_code_slot;

/// The services of a catalog by what lines call them.
pub(super) struct Places {
    catalog: Arc<Catalog>,
    by_external_id: HashMap<String, Vec<ServiceId>>,
}

impl Places {
    pub(super) fn of(catalog: Arc<Catalog>) -> Places {
        let mut by_external_id = HashMap::<String, Vec<ServiceId>>::new();
        for (_, service) in catalog.services.iter() {
            if let Some(external_id) = &service.external_id {
                by_external_id.entry(external_id.clone()).or_default().push(service.id);
            }
        }
        Places { catalog, by_external_id }
    }

    /// Of this catalog, or another one?
    pub(super) fn is_of(&self, catalog: &Arc<Catalog>) -> bool {
        Arc::ptr_eq(&self.catalog, catalog)
    }

    /// The application that a line is about, and what its counters are to be; or why there is no place for it.
    pub(super) fn find(
        &self,
        engine: &Engine,
        line: &Line,
    ) -> Result<(ApplicationId, Vec<CarriedCounter>), String> {
        let id = self.service(line)?;
        let service = self.catalog.services.get(id.0).ok_or("its service is gone")?;
        let key = Key::AppId { service: id, text: &line.application.app_id };
        let application = engine.find(key).map(ApplicationId).ok_or_else(|| {
            format!("service {id} has no application with the app id {:?}", line.application.app_id)
        })?;
        let mut counters = Vec::new();
        for (name, counts) in &line.counters {
            let metric = service.metrics.find(name);
            let slot = metric.ok_or_else(|| format!("service {id} has no metric {name:?}"))?.slot;
            counters.push(CarriedCounter { slot, windows: counts.windows()? });
        }
        for (code, counts) in &line.response_codes {
            let slot = response_code_slot(code);
            let slot = slot.ok_or_else(|| format!("{code:?} is no response code that is counted"))?;
            counters.push(CarriedCounter { slot, windows: counts.windows()? });
        }
        Ok((application, counters))
    }

    fn service(&self, line: &Line) -> Result<ServiceId, String> {
        let Some(external_id) = &line.service.external_id else {
            let found = self.catalog.services.get(line.service.id);
            let found = found.filter(|service| service.external_id.is_none());
            return found
                .map(|service| service.id)
                .ok_or_else(|| format!("there is no service {} without an external id", line.service.id));
        };
        match self.by_external_id.get(external_id).map(Vec::as_slice) {
            None | Some([]) => Err(format!("there is no service with the external id {external_id:?}")),
            Some([service]) => Ok(*service),
            // Two tenants may use the same words: then it is the tenant's of that id, and nobody else's.
            Some(several) => {
                let of_tenant = |id: &&ServiceId| {
                    let service = self.catalog.services.get(id.0);
                    service.is_some_and(|service| service.tenant.0 == line.tenant)
                };
                let mut own = several.iter().filter(of_tenant);
                own.next().copied().ok_or_else(|| {
                    format!(
                        "several services have the external id {external_id:?}, none of them tenant {}'s",
                        line.tenant
                    )
                })
            }
        }
    }
}
