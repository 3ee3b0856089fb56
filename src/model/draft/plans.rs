//! Drafting plans.

use super::{CommandError, Draft};
use crate::model::catalog::Change;
use crate::model::id::{PlanId, ServiceId};
use crate::model::record::Plan;

impl Draft<'_> {
    /// Creates a plan without limits.
    ///
    /// # Errors
    /// The service is unknown, a text is bad, or the external id is taken.
    pub fn create_plan(
        &mut self,
        service: ServiceId,
        external_id: Option<&str>,
        name: &str,
    ) -> Result<PlanId, CommandError> {
        self.service(service)?;
        let id = PlanId(self.next_id());
        let external_id = external_id.map(str::to_owned);
        self.stage(Change::PutPlan(Plan {
            id,
            service,
            external_id,
            name: name.into(),
            limits: Vec::new(),
        }))?;
        Ok(id)
    }

    /// Changes what a plan is; its limits have calls of their own, and it stays its service's.
    ///
    /// # Errors
    /// It is unknown, or what it would be is not valid.
    pub fn edit_plan(&mut self, id: PlanId, edit: impl FnOnce(&mut Plan)) -> Result<(), CommandError> {
        let before = self.plan(id)?;
        let mut plan = Plan::clone(before);
        let (service, limits) = (plan.service, before.limits.clone());
        edit(&mut plan);
        (plan.id, plan.service, plan.limits) = (id, service, limits);
        self.stage(Change::PutPlan(plan))
    }

    /// Renames a plan.
    ///
    /// # Errors
    /// It is unknown, or the name is a bad text.
    pub fn rename_plan(&mut self, id: PlanId, name: &str) -> Result<(), CommandError> {
        self.edit_plan(id, |plan| plan.name = name.into())
    }

    /// Deletes a plan with its limits.
    ///
    /// # Errors
    /// It is unknown, or applications are on it.
    pub fn delete_plan(&mut self, id: PlanId) -> Result<(), CommandError> {
        self.plan(id)?;
        let applications = self.catalog.applications_of(id.0).len();
        if applications > 0 {
            return Err(CommandError::InUse { what: "plan", id: id.0, by: applications });
        }
        self.stage(Change::DeletePlan(id))
    }
}
