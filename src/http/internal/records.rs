//! From what the other system calls things to our records.
//!
//! A service, metric or plan that was pushed is found by the id it was pushed with, and by nothing else. One that was
//! made otherwise is found by its own id, in decimal, unless something pushed is called that.

use std::sync::Arc;

use serde_json::Value;

use super::answer::Refusal;
use crate::engine::Engine;
use crate::model::catalog::{Catalog, Key};
use crate::model::draft::Draft;
use crate::model::id::{PlanId, ServiceId};
use crate::model::metric::{Metric, canonical_number};
use crate::model::record::{Application, Plan, Secret, Service, ServiceState};

/// The catalog and its keys, as they are or as a command is making them.
pub(super) trait Records {
    fn catalog(&self) -> &Catalog;
    fn find(&self, key: Key<'_>) -> Option<u64>;

    /// The service that the other system calls `text`.
    fn service(&self, text: &str) -> Result<&Service, Refusal> {
        self.service_if_any(text).ok_or(Refusal::NotFound("service"))
    }

    fn service_if_any(&self, text: &str) -> Option<&Service> {
        let services = &self.catalog().services;
        match self.find(Key::ExternalService(text)) {
            Some(id) => services.get(id).map(|it| &**it),
            None => {
                let service = services.get(canonical_number(text)?)?;
                let is_shown = service.external_id.is_none() && service.state != ServiceState::Retired;
                is_shown.then_some(&**service)
            }
        }
    }

    /// The application of that public id.
    fn application(&self, service: ServiceId, text: &str) -> Result<&Application, Refusal> {
        let found = self.find(Key::AppId { service, text });
        let application = found.and_then(|id| self.catalog().applications.get(id));
        application.map(|it| &**it).ok_or(Refusal::NotFound("application"))
    }

    /// The plan that the other system calls `text`.
    fn plan(&self, service: ServiceId, text: &str) -> Option<&Plan> {
        let plans = &self.catalog().plans;
        match self.find(Key::Plan { service, text }) {
            Some(id) => plans.get(id).map(|it| &**it),
            None => {
                let plan = plans.get(canonical_number(text)?)?;
                (plan.service == service && plan.external_id.is_none()).then_some(&**plan)
            }
        }
    }

    /// The plan of an application, which a catalog always has.
    fn plan_of(&self, id: PlanId) -> Result<&Plan, Refusal> {
        self.catalog().plans.get(id.0).map(|it| &**it).ok_or(Refusal::NotFound("plan"))
    }

    /// The first provider key of a service's tenant.
    fn provider_key(&self, service: &Service) -> &str {
        let tenant = self.catalog().tenants.get(service.tenant.0);
        tenant.and_then(|tenant| tenant.provider_keys.first()).map_or("", Secret::expose)
    }
}

impl Records for Draft<'_> {
    fn catalog(&self) -> &Catalog {
        Draft::catalog(self)
    }

    fn find(&self, key: Key<'_>) -> Option<u64> {
        Draft::find(self, key)
    }
}

/// The records as they are now.
pub(super) struct Snapshot<'e> {
    catalog: Arc<Catalog>,
    engine: &'e Engine,
}

impl<'e> Snapshot<'e> {
    pub(super) fn of(engine: &'e Engine) -> Self {
        Snapshot { catalog: engine.catalog(), engine }
    }
}

impl Records for Snapshot<'_> {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// A key may lead to a record that a command is adding just now: the catalog at hand does not have it yet, and
    /// the caller is told what was true when it asked.
    fn find(&self, key: Key<'_>) -> Option<u64> {
        self.engine.find(key)
    }
}

/// Shows an extension of ours in an answer, only where it is in use: answers are the original's to the byte otherwise.
pub(super) fn show_flag(shown: &mut Value, name: &str, flag: bool) {
    if let (true, Value::Object(values)) = (flag, shown) {
        values.insert(name.to_owned(), flag.into());
    }
}

/// What the other system calls a metric.
pub(super) fn metric_text(metric: &Metric) -> String {
    metric.external_id.clone().unwrap_or_else(|| metric.id.to_string())
}
