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
        let id = MetricId(self.next_id());
        self.place_metric(service, id, external_id, name, parent)?;
        Ok(id)
    }

    fn place_metric(
        &mut self,
        service: ServiceId,
        id: MetricId,
        external_id: Option<&str>,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<(), CommandError> {
        check_text("metric name", name)?;
        let mut record = Service::clone(self.service(service)?);
        let parent = parent.map(|id| slot_of(&record, id)).transpose()?;
        let slot = MetricSlot(record.metrics.slots());
        let external_id = external_id.map(str::to_owned);
        record.metrics.put(Metric { id, external_id, slot, name: name.into(), parent })?;
        self.stage(Change::PutService(record))
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

    /// Puts a metric under an id that was given out before: one that several services have, each at a slot of its own. A
    /// service that has it already has it renamed, or moved below another metric; its counts stay.
    ///
    /// # Errors
    /// The service, the parent or the id is unknown, the name is bad or taken, the parent lies below the metric, or no slot
    /// is left.
    pub fn put_metric(
        &mut self,
        service: ServiceId,
        id: MetricId,
        name: &str,
        parent: Option<MetricId>,
    ) -> Result<(), CommandError> {
        if self.service(service)?.metrics.by_id(id).is_some() {
            return self.edit_metric(service, id, name, parent);
        }
        if !(1..self.catalog.next_id).contains(&id.0) {
            return Err(CommandError::Unknown { what: "metric", id: id.0 });
        }
        self.place_metric(service, id, None, name, parent)
    }

    /// Deletes a metric from a service, and its limits in all plans of the service.
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
                record.limits.push(Limit { id, metric, slot, period, max, shadow: false });
                let order =
                    |limit: &Limit| (service.metrics.get(limit.slot).map(Metric::order), limit.period);
                record.limits.sort_by(|one, other| order(one).cmp(&order(other)));
                id
            }
        };
        self.stage(Change::PutPlan(record))?;
        Ok(id)
    }

    /// Puts a limit into shadow, or takes it out.
    ///
    /// # Errors
    /// The plan is unknown, or has no such limit.
    pub fn set_limit_shadow(
        &mut self,
        plan: PlanId,
        limit: LimitId,
        shadow: bool,
    ) -> Result<(), CommandError> {
        let mut record = Plan::clone(self.plan(plan)?);
        let unknown = CommandError::Unknown { what: "limit", id: limit.0 };
        record.limits.iter_mut().find(|it| it.id == limit).ok_or(unknown)?.shadow = shadow;
        self.stage(Change::PutPlan(record))
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

    /// Changes a limit; it keeps its identity.
    ///
    /// # Errors
    /// The plan is unknown or has no such limit, or has another on the same metric over that period.
    pub fn edit_limit(
        &mut self,
        plan: PlanId,
        limit: LimitId,
        period: Period,
        max: u64,
    ) -> Result<(), CommandError> {
        let mut record = Plan::clone(self.plan(plan)?);
        let found = record.limit(limit).copied();
        let found = found.ok_or(CommandError::Unknown { what: "limit", id: limit.0 })?;
        let is_other = |it: &&Limit| (it.metric, it.period) == (found.metric, period) && it.id != limit;
        if let Some(other) = record.limits.iter().find(is_other) {
            return Err(CommandError::Taken { what: "the period", by: other.id.0 });
        }
        for it in record.limits.iter_mut().filter(|it| it.id == limit) {
            (it.period, it.max) = (period, max);
        }
        self.sort_limits(&mut record)?;
        self.stage(Change::PutPlan(record))
    }

    /// Gives a plan the limits of another of the same service, in place of its own.
    ///
    /// # Errors
    /// A plan is unknown, or they are of two services.
    pub fn copy_limits(&mut self, from: PlanId, to: PlanId) -> Result<(), CommandError> {
        let (mut limits, mut record) = (self.plan(from)?.limits.clone(), Plan::clone(self.plan(to)?));
        if self.plan(from)?.service != record.service {
            return Err(CommandError::Unknown { what: "plan", id: from.0 });
        }
        for limit in &mut limits {
            limit.id = LimitId(self.take_id());
        }
        record.limits = limits;
        self.stage(Change::PutPlan(record))
    }

    fn sort_limits(&self, plan: &mut Plan) -> Result<(), CommandError> {
        let metrics = &self.service(plan.service)?.metrics;
        let order = |limit: &Limit| (metrics.get(limit.slot).map(Metric::order), limit.period);
        plan.limits.sort_by(|one, other| order(one).cmp(&order(other)));
        Ok(())
    }

    /// Removes a limit.
    ///
    /// # Errors
    /// The plan is unknown, or has no such limit.
    pub fn delete_limit_by_id(&mut self, plan: PlanId, limit: LimitId) -> Result<(), CommandError> {
        let mut record = Plan::clone(self.plan(plan)?);
        record.limit(limit).ok_or(CommandError::Unknown { what: "limit", id: limit.0 })?;
        record.limits.retain(|it| it.id != limit);
        self.stage(Change::PutPlan(record))
    }
}

fn slot_of(service: &Service, id: MetricId) -> Result<MetricSlot, CommandError> {
    let found = service.metrics.by_id(id).map(|metric| metric.slot);
    found.ok_or(CommandError::Unknown { what: "metric", id: id.0 })
}
