//! Plans of all kinds: what is agreed, features, limits and prices.

use serde_json::{Map, Value, json};

use super::super::account_plans;
use super::super::answer::Refusal;
use super::super::features;
use super::super::money;
use super::super::owned::Owned;
use super::super::pricing_rules::PricingRule;
use super::super::terms::Terms;
use super::apply::{Applying, Step, refusal};
use super::places::Place;
use crate::model::id::{LimitId, PlanId};
use crate::plugin::call::Method;

impl Applying<'_, '_, '_, '_, '_> {
    /// Of the tenant: the plan of accounts that ask for none.
    pub(super) fn tenant_plan(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let Some(name) = step.text("default_account_plan") else { return Ok(()) };
        if name.is_empty() {
            return self.edit(|edit| {
                account_plans::forget_default(edit.tenant().0, edit.records);
                Ok(())
            });
        }
        let id = self.id(&Place::default().below("plan", name), "account plan", name)?;
        self.call(Method::Put, &format!("account_plans/{id}/default"), Map::new()).map(drop)
    }

    fn collection_of_plans(&self, step: &Step<'_>) -> Result<String, Refusal> {
        Ok(match (step.kind, step.owner_kind()) {
            ("plan", "") => "account_plans".to_owned(),
            ("plan", _) => format!("services/{}/service_plans", self.owner_id(step)?),
            _ => format!("services/{}/application_plans", self.owner_id(step)?),
        })
    }

    /// What is agreed with a plan.
    pub(super) fn plan(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let except = ["published", "features", "limits", "pricing_rules", "custom_of"];
        let mut fields = step.fields(&except, Some("name"))?;
        if let Some(published) = step.flag("published") {
            let event = if published { "publish" } else { "hide" };
            fields.insert("state_event".to_owned(), Value::from(event));
        }
        let collection = self.collection_of_plans(step)?;
        self.put(step, &collection, fields).map(drop)
    }

    /// Gives a plan these features and no others.
    pub(super) fn plan_features(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let Some(wanted) = step.texts("features") else { return Ok(()) };
        let plan = self.id(&step.place(), step.kind, step.name)?;
        let owner = step.owner();
        let mut ids = Vec::new();
        for name in wanted {
            ids.push(self.id(&owner.below("feature", name), "feature", name)?);
        }
        let known = self.edit(|edit| Ok(features::of_plan(plan, edit.records)?))?;
        let known: Vec<_> = known.into_iter().map(|(id, _)| id).collect();
        let collection = match (step.kind, step.owner_kind()) {
            ("plan", "") => format!("account_plans/{plan}/features"),
            ("plan", _) => format!("service_plans/{plan}/features"),
            _ => format!("application_plans/{plan}/features"),
        };
        for id in known.iter().filter(|id| !ids.contains(id)) {
            self.call(Method::Delete, &format!("{collection}/{id}"), Map::new())?;
        }
        for id in ids.iter().filter(|id| !known.contains(id)) {
            let fields = Map::from_iter([("feature_id".to_owned(), Value::from(*id))]);
            self.call(Method::Post, &collection, fields)?;
        }
        Ok(())
    }

    pub(super) fn connect_application_plan(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        self.plan_features(step)?;
        let owner = step.owner();
        let plan = self.id(&step.place(), step.kind, step.name)?;
        if let Some(name) = step.text("custom_of") {
            let original = self.id(&owner.below("application plan", name), "application plan", name)?;
            self.edit(|edit| {
                let terms = edit.records.find::<Terms>(plan)?.unwrap_or_default();
                Ok(edit.records.save(plan, &Terms { original: Some(original), ..terms })?)
            })?;
        }
        if let Some(limits) = step.list("limits") {
            self.limits(&owner, plan, limits)?;
        }
        if let Some(rules) = step.list("pricing_rules") {
            self.prices(&owner, plan, rules)?;
        }
        Ok(())
    }

    /// The metric that a limit or price of a service's plan names.
    fn metric_of(&self, service: &Place, record: &Value) -> Result<u64, Refusal> {
        let name = record["metric"].as_str().unwrap_or_default();
        let (owner, whose) = match record["backend"].as_str() {
            Some(backend) => {
                (Place::default().below("backend", backend), format!(" of the backend '{backend}'"))
            }
            None => (service.clone(), String::new()),
        };
        self.places.metric(&owner, name).ok_or_else(|| refusal(format!("there is no metric '{name}'{whose}")))
    }

    /// Gives a plan these limits and no others. One whose value alone is another stays the same limit.
    fn limits(&mut self, service: &Place, plan: u64, wanted: &[Value]) -> Result<(), Refusal> {
        let mut known = self.edit(|edit| {
            let plan = edit.seen().plan(plan)?;
            Ok(plan
                .limits
                .iter()
                .map(|it| (it.id, it.metric.0, it.period.name(), it.max))
                .collect::<Vec<_>>())
        })?;
        let mut ahead = Vec::new();
        for limit in wanted {
            let metric = self.metric_of(service, limit)?;
            let period = limit["period"].as_str().unwrap_or_default();
            let place = known.iter().position(|it| (it.1, it.2) == (metric, period));
            ahead.push((metric, period, limit["value"].clone(), place.map(|place| known.remove(place))));
        }
        self.edit(|edit| {
            for (id, ..) in known {
                edit.draft.delete_limit_by_id(PlanId(plan), LimitId(id.0))?;
            }
            Ok(())
        })?;
        for (metric, period, value, known) in ahead {
            let collection = format!("application_plans/{plan}/metrics/{metric}/limits");
            let fields = json!({"period": period, "value": value});
            let fields = fields.as_object().cloned().unwrap_or_default();
            match known {
                Some((_, _, _, max)) if value == max => {}
                Some((id, ..)) => drop(self.call(Method::Put, &format!("{collection}/{id}"), fields)?),
                None => drop(self.call(Method::Post, &collection, fields)?),
            }
        }
        Ok(())
    }

    /// Gives a plan these prices and no others.
    fn prices(&mut self, service: &Place, plan: u64, wanted: &[Value]) -> Result<(), Refusal> {
        let mut known = self.edit(|edit| Ok(PricingRule::of(plan, edit.records)?))?;
        let mut new = Vec::new();
        for rule in wanted {
            let metric = self.metric_of(service, rule)?;
            let is_it = |it: &PricingRule| {
                it.metric == metric
                    && rule["min"] == it.min
                    && rule["max"].as_u64() == it.max
                    && rule["cost_per_unit"].as_str() == Some(&money::text(it.cost_per_unit))
            };
            match known.iter().position(|(_, it)| is_it(it)) {
                Some(place) => drop(known.remove(place)),
                None => new.push((metric, rule)),
            }
        }
        self.edit(|edit| {
            known.iter().for_each(|(id, rule)| rule.delete(*id, edit.records));
            Ok(())
        })?;
        for (metric, rule) in new {
            let mut fields = rule.as_object().cloned().unwrap_or_default();
            fields.remove("metric");
            fields.remove("backend");
            self.call(
                Method::Post,
                &format!("application_plans/{plan}/metrics/{metric}/pricing_rules"),
                fields,
            )?;
        }
        Ok(())
    }
}
