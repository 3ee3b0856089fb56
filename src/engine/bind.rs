//! Binding: credentials and names of metrics are looked up once, for many calls.

use super::handle::Handle;
use super::moment::Moment;
use super::request::Credentials;
use super::resolve::Unresolved;
use super::validate::check_key;
use crate::counter::Met;
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};

/// Who will call, and what the calls will use.
#[derive(Clone, Copy, Debug)]
pub struct BindRequest<'a> {
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// Public id of the application; blank is absent.
    pub app_id: Option<&'a str>,
    /// Key that stands for the application (backend version 1); blank is absent.
    pub user_key: Option<&'a str>,
    /// The application's secret; empty means present but empty.
    pub app_key: Option<&'a str>,
    /// System names of metrics.
    pub metrics: &'a [&'a str],
}

/// What was bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Stands for the application from now on.
    pub handle: Handle,
    /// The application.
    pub application: ApplicationId,
    /// Its service.
    pub service: ServiceId,
    /// Stand for the metrics, in the order in which they were named, as long as the handle lives.
    pub slots: Vec<MetricSlot>,
}

impl Moment<'_> {
    /// Binds an application, whatever its state and that of its service. A wrong application key binds nothing and is
    /// the denial that its calls would get; referrers are looked at with each call.
    ///
    /// # Errors
    /// Something in the request is missing or unknown.
    pub fn bind<'r>(&mut self, request: &BindRequest<'r>) -> Result<Result<Bound, Denial<'r>>, Refusal<'r>> {
        loop {
            let unresolved = match self.bind_under(self.catalog(), request) {
                Ok(bound) => return Ok(bound),
                Err(unresolved) => unresolved,
            };
            self.start_again(unresolved)?;
        }
    }

    fn bind_under<'r>(
        &self,
        catalog: &Catalog,
        request: &BindRequest<'r>,
    ) -> Result<Result<Bound, Denial<'r>>, Unresolved<Refusal<'r>>> {
        let engine = self.engine;
        let service = engine.service(catalog, &request.credentials)?;
        let found = engine.subject(service, request.app_id, request.user_key)?;
        let Met { facts, pass, .. } = self.meet(found.index)?.ok_or(Unresolved::Stale)?;
        let id = facts.application;
        let application = catalog.applications.get(id.0).ok_or(Unresolved::Stale)?;
        if let Some(denial) = check_key(request.app_key, service.backend_version, application) {
            return Ok(Err(denial));
        }
        let slot = |name: &&'r str| match service.metrics.find(name) {
            Some(metric) => Ok(metric.slot),
            None => Err(Refusal::MetricInvalid { name }),
        };
        let slots = request.metrics.iter().map(slot).collect::<Result<_, _>>()?;
        let handle = Handle::new(found.index, pass, service);
        Ok(Ok(Bound { handle, application: id, service: service.id, slots }))
    }
}
