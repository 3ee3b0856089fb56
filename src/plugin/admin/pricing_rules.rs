//! Prices of usage: `/application_plans/{id}/pricing_rules`, `/application_plans/{id}/metrics/{id}/pricing_rules`.
//!
//! A rule prices the units from its `min` to its `max` (without one, all above) of a metric. Rules of one metric in one plan do not overlap.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::limits::plan_and_metric;
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, Route};
use super::xml::Element;
use super::{money, times};
use crate::model::catalog::Change;
use crate::model::id::{MetricId, PlanId};
use crate::model::record::Service;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "application_plans/{plan_id}/pricing_rules", ACCESS, list_of_plan),
    Route::new(GET, "application_plans/{plan_id}/metrics/{metric_id}/pricing_rules", ACCESS, list),
    Route::new(POST, "application_plans/{plan_id}/metrics/{metric_id}/pricing_rules", ACCESS, create),
    Route::new(DELETE, "application_plans/{plan_id}/metrics/{metric_id}/pricing_rules/{id}", ACCESS, delete),
];

/// The most rules of one plan: its invoices are made by going through all of them.
pub(super) const RULES_MAX: usize = 1000;

/// What units of a metric cost in a plan.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct PricingRule {
    pub(super) plan: u64,
    pub(super) metric: u64,
    pub(super) cost_per_unit: Decimal,
    /// The first unit that it prices, from 1.
    pub(super) min: u64,
    /// The last; without one it prices all above.
    pub(super) max: Option<u64>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for PricingRule {
    const TABLE: Table = Table("pricing_rules");
}

impl Owned for PricingRule {
    const BY_OWNER: Table = Table("pricing_rules_by_plan");

    fn owners(&self) -> Vec<u64> {
        vec![self.plan]
    }
}

impl PricingRule {
    /// Whether a unit has a price by both.
    fn overlaps(&self, other: &PricingRule) -> bool {
        let ends_before = |one: &PricingRule, two: &PricingRule| one.max.is_some_and(|max| max < two.min);
        !ends_before(self, other) && !ends_before(other, self)
    }
}

fn list_of_plan(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let plan = seen.plan(context.id(0)?)?;
    Ok(shown(PricingRule::of(plan.id.0, seen.records)?))
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (plan, metric) = plan_and_metric(seen, context.id(0)?, context.id(1)?)?;
    Ok(shown(of_metric(seen, plan.id, metric)?))
}

fn of_metric(seen: Seen<'_>, plan: PlanId, metric: MetricId) -> Result<Vec<(u64, PricingRule)>, Refusal> {
    let mut rules = PricingRule::of(plan.0, seen.records)?;
    rules.retain(|(_, rule)| rule.metric == metric.0);
    Ok(rules)
}

fn shown(rules: Vec<(u64, PricingRule)>) -> Reply {
    Reply::list("pricing_rules", rules.iter().map(|(id, rule)| entity(*id, rule)).collect(), None)
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("pricing_rule")?;
    let (plan, metric) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let (plan, metric) = plan_and_metric(edit.seen(), plan, metric)?;
        let mut errors = Errors::default();
        let rule = read(&fields, (plan.id, metric), edit.now, &mut errors);
        errors.clone().check()?;
        let all = PricingRule::of(plan.id.0, edit.records)?;
        if all.len() >= RULES_MAX {
            errors.add("base", format!("a plan has at most {RULES_MAX} pricing rules"));
        }
        if all.iter().any(|(_, other)| other.metric == metric.0 && rule.overlaps(other)) {
            let why = "The 'From' value must be greater than the 'To' values of other existing rules";
            errors.add("min", why);
        }
        errors.check()?;
        let id = edit.draft.take_id();
        rule.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &rule)))
    })
}

/// The rule that was sent.
fn read(fields: &Fields, (plan, metric): (PlanId, MetricId), now: u64, errors: &mut Errors) -> PricingRule {
    let cost = match fields.filled("cost_per_unit") {
        Some(text) => money::amount(errors, "cost_per_unit", &text),
        None => {
            errors.add("cost_per_unit", check::NOT_A_NUMBER);
            None
        }
    };
    let min = unit(fields, "min", errors).unwrap_or(1);
    let max = unit(fields, "max", errors);
    if max.is_some_and(|max| max < min) {
        errors.add("max", "'To' value cannot be less than your 'From' value");
    }
    PricingRule {
        plan: plan.0,
        metric: metric.0,
        cost_per_unit: cost.unwrap_or_default(),
        min,
        max,
        created_at: now,
        updated_at: now,
    }
}

/// The number of a unit: from 1.
fn unit(fields: &Fields, field: &str, errors: &mut Errors) -> Option<u64> {
    match fields.integer(field)? {
        Some(number) if number >= 1 => return u64::try_from(number).ok(),
        Some(_) => errors.add(field, "must be greater than 0"),
        None => errors.add(field, check::NOT_A_NUMBER),
    }
    None
}

fn delete(context: &Context<'_>) -> Outcome {
    let (plan, metric, id) = (context.id(0)?, context.id(1)?, context.id(2)?);
    context.change(|edit| {
        let (plan, metric) = plan_and_metric(edit.seen(), plan, metric)?;
        let rule = edit.records.find::<PricingRule>(id)?;
        let rule = rule.filter(|rule| (rule.plan, rule.metric) == (plan.id.0, metric.0));
        rule.ok_or(Refusal::NotFound)?.delete(id, edit.records);
        Ok(Reply::gone())
    })
}

fn entity(id: u64, rule: &PricingRule) -> Entity {
    let cost_per_unit = money::text(rule.cost_per_unit);
    let json = json!({
        "id": id,
        "metric_id": rule.metric,
        "cost_per_unit": cost_per_unit,
        "min": rule.min,
        "max": rule.max,
        "created_at": times::text(rule.created_at),
        "updated_at": times::text(rule.updated_at),
    });
    let xml = Element::new("pricing_rule")
        .field("id", id)
        .field("metric_id", rule.metric)
        .field("plan_id", rule.plan)
        .field("cost_per_unit", cost_per_unit)
        .field("min", rule.min)
        .optional("max", rule.max);
    Entity { wrapper: "pricing_rule", json, xml }
}

/// Gives a plan the rules of another.
pub(super) fn copy(edit: &mut Edit<'_, '_, '_>, from: PlanId, to: PlanId) -> Result<(), Refusal> {
    for (_, rule) in PricingRule::of(from.0, edit.records)? {
        let id = edit.draft.take_id();
        PricingRule { plan: to.0, created_at: edit.now, updated_at: edit.now, ..rule }
            .put(id, edit.records)?;
    }
    Ok(())
}

/// Prices go with their plan, and with their metric.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::DeletePlan(id) => PricingRule::delete_all_of(id.0, records)?,
            Change::PutService(service) => without_metrics(accompanied, service, records)?,
            _ => {}
        }
    }
    Ok(())
}

/// Takes the prices of metrics away that a service has no more.
fn without_metrics(
    accompanied: &Accompanied<'_>,
    service: &Service,
    records: &mut Records<'_>,
) -> Result<(), ShelfError> {
    let Some(before) = accompanied.before.services.get(service.id.0) else { return Ok(()) };
    let gone = before.metrics.iter().filter(|metric| service.metrics.by_id(metric.id).is_none());
    let gone: Vec<_> = gone.map(|metric| metric.id.0).collect();
    if gone.is_empty() {
        return Ok(());
    }
    for plan in accompanied.before.plans_of(service.id).iter() {
        for (id, rule) in PricingRule::of(plan, records)? {
            if gone.contains(&rule.metric) {
                rule.delete(id, records);
            }
        }
    }
    Ok(())
}
