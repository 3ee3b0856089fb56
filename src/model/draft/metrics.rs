//! Drafting metrics, and the limits on them.

use super::rules::check_text;
use super::{CommandError, Draft};
use crate::model::catalog::Change;
use crate::model::id::{LimitId, MetricId, MetricSlot, PlanId, ServiceId};
use crate::model::metric::Metric;
use crate::model::record::{Limit, Plan, Service};
use crate::model::time::Period;

impl Draft<'_> {
    /// Adds a metric, below `parent` if given (3scale then calls it a method).
    ///
    /// # Errors
    /// The service or parent is unknown, the name is bad or taken, or no slot is left.
    pub fn create_metric(
        &mut self,
        service: ServiceId,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<MetricId, CommandError> {
        self.add_metric(service, None, name, parent)
    }

    /// Adds a metric that another system knows by `external_id`, below `parent` if given.
    ///
    /// # Errors
    /// As [`Draft::create_metric`]; or the external id is bad or taken.
    pub fn create_external_metric(
        &mut self,
        service: ServiceId,
        external_id: &str,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<MetricId, CommandError> {
        check_text("metric id", external_id)?;
        self.add_metric(service, Some(external_id), name, parent)
    }

    fn add_metric(
        &mut self,
        service: ServiceId,
        external_id: Option<&str>,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<MetricId, CommandError> {
        check_text("metric name", name)?;
        let mut record = Service::clone(self.service(service)?);
        let parent = parent.map(|id| slot_of(&record, id)).transpose()?;
        let id = MetricId(self.next_id());
        let slot = MetricSlot(record.metrics.slots());
        let external_id = external_id.map(str::to_owned);
        record.metrics.put(Metric { id, external_id, slot, name: name.into(), parent })?;
        self.stage(Change::PutService(record))?;
        Ok(id)
    }

    /// Renames a metric or moves it below another; its counts stay.
    ///
    /// # Errors
    /// Something is unknown, the name is bad or taken, or the parent lies below the metric.
    pub fn edit_metric(
        &mut self,
        service: ServiceId,
        id: MetricId,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<(), CommandError> {
        check_text("metric name", name)?;
        let mut record = Service::clone(self.service(service)?);
        let parent = parent.map(|id| slot_of(&record, id)).transpose()?;
        let unknown = CommandError::Unknown { what: "metric", id: id.0 };
        let metric = record.metrics.by_id(id).cloned().ok_or(unknown)?;
        record.metrics.put(Metric { name: name.into(), parent, ..metric })?;
        self.stage(Change::PutService(record))
    }

    /// Deletes a metric, and its limits in all plans.
    ///
    /// # Errors
    /// Something is unknown, or the metric has others below it.
    pub fn delete_metric(&mut self, service: ServiceId, id: MetricId) -> Result<(), CommandError> {
        let mut record = Service::clone(self.service(service)?);
        let slot = slot_of(&record, id)?;
        record.metrics.remove(slot)?;
        self.stage(Change::PutService(record))?;
        for plan in self.plans_of(service) {
            let mut plan = Plan::clone(self.plan(plan)?);
            let before = plan.limits.len();
            plan.limits.retain(|limit| limit.metric != id);
            if plan.limits.len() != before {
                self.stage(Change::PutPlan(plan))?;
            }
        }
        Ok(())
    }

    /// Sets the limit of a metric over a period; an existing one keeps its identity and its count.
    ///
    /// # Errors
    /// Something is unknown, or the plan has too many limits.
    pub fn set_limit(
        &mut self,
        plan: PlanId,
        metric: MetricId,
        period: Period,
        max: u64,
    ) -> Result<LimitId, CommandError> {
        let mut record = Plan::clone(self.plan(plan)?);
        let service = self.service(record.service)?;
        let slot = slot_of(service, metric)?;
        let known = record.limits.iter_mut().find(|limit| (limit.metric, limit.period) == (metric, period));
        let id = match known {
            Some(limit) => {
                limit.max = max;
                limit.id
            }
            None => {
                let id = LimitId(self.next_id());
                record.limits.push(Limit { id, metric, slot, period, max });
                let order =
                    |limit: &Limit| (service.metrics.get(limit.slot).map(Metric::order), limit.period);
                record.limits.sort_by(|one, other| order(one).cmp(&order(other)));
                id
            }
        };
        self.stage(Change::PutPlan(record))?;
        Ok(id)
    }

    /// Removes the limit of a metric over a period; without one, changes nothing.
    ///
    /// # Errors
    /// The plan is unknown.
    pub fn delete_limit(
        &mut self,
        plan: PlanId,
        metric: MetricId,
        period: Period,
    ) -> Result<(), CommandError> {
        let mut record = Plan::clone(self.plan(plan)?);
        record.limits.retain(|limit| (limit.metric, limit.period) != (metric, period));
        self.stage(Change::PutPlan(record))
    }
}

fn slot_of(service: &Service, id: MetricId) -> Result<MetricSlot, CommandError> {
    let found = service.metrics.by_id(id).map(|metric| metric.slot);
    found.ok_or(CommandError::Unknown { what: "metric", id: id.0 })
}
