//! What is agreed with a plan: prices, trial, approval. The same for plans of applications, services and accounts.
//!
//! An application plan is a record of the catalog, with limits; its name is there. Plans of services and of accounts are known here alone.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Refusal, links};
use super::check;
use super::context::Edit;
use super::features;
use super::money;
use super::names::{self, Kind};
use super::owned::Owned;
use super::request::Fields;
use super::services::DESCRIPTION_LEN_MAX;
use super::times;
use super::xml::Element;
use crate::document::system_name;
use crate::model::draft::Draft;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum PlanKind {
    /// Applications of a service, which owns it.
    #[default]
    Application,
    /// Subscriptions to a service, which owns it.
    Service,
    /// Accounts of a tenant, which owns it.
    Account,
}

impl PlanKind {
    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            PlanKind::Application => "application_plan",
            PlanKind::Service => "service_plan",
            PlanKind::Account => "account_plan",
        }
    }
}

/// What is agreed with a plan.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct Terms {
    pub(super) kind: PlanKind,
    pub(super) owner: u64,
    /// Of a plan of services or accounts.
    pub(super) name: String,
    pub(super) system_name: String,
    pub(super) description: String,
    pub(super) is_published: bool,
    pub(super) setup_fee: Decimal,
    pub(super) cost_per_month: Decimal,
    pub(super) trial_period_days: u32,
    pub(super) cancellation_period: u32,
    pub(super) approval_required: bool,
    /// The plan of which this one is made for one application.
    pub(super) original: Option<u64>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for Terms {
    const TABLE: Table = Table("plans");
}

impl Owned for Terms {
    const BY_OWNER: Table = Table("plans_by_owner");

    /// Those of applications are listed by the catalog.
    fn owners(&self) -> Vec<u64> {
        if self.kind == PlanKind::Application { Vec::new() } else { vec![self.owner] }
    }
}

/// The most service plans of a service, and account plans of a tenant: a list has all.
pub(super) const PLANS_MAX: usize = 1000;

/// The longest trial, in days: a hundred years.
const TRIAL_DAYS_MAX: i64 = 36_500;

impl Terms {
    /// Takes over what was sent, except for names.
    pub(super) fn apply(&mut self, fields: &Fields, errors: &mut Errors) {
        for (field, amount) in
            [("setup_fee", &mut self.setup_fee), ("cost_per_month", &mut self.cost_per_month)]
        {
            if let Some(sent) = fields.filled(field) {
                *amount = money::amount(errors, field, &sent).unwrap_or(*amount);
            }
        }
        for (field, days) in [
            ("trial_period_days", &mut self.trial_period_days),
            ("cancellation_period", &mut self.cancellation_period),
        ] {
            match fields.integer(field) {
                None => {}
                Some(Some(number @ 0..=TRIAL_DAYS_MAX)) => *days = u32::try_from(number).unwrap_or(0),
                Some(Some(number)) if number < 0 => errors.add(field, "must be greater than or equal to 0"),
                Some(Some(_)) => errors.add(field, format!("must be less than or equal to {TRIAL_DAYS_MAX}")),
                Some(None) => errors.add(field, check::NOT_A_NUMBER),
            }
        }
        if let Some(description) = fields.text("description") {
            check::long(errors, "description", &description, DESCRIPTION_LEN_MAX);
            self.description = description;
        }
        self.approval_required = fields.flag("approval_required").unwrap_or(self.approval_required);
        match fields.filled("state_event").as_deref() {
            Some("publish") => self.is_published = true,
            Some("hide") => self.is_published = false,
            Some(_) => errors.add("state_event", check::INVALID),
            None => {}
        }
    }

    /// Changes what was sent of a plan of services or accounts.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn change(
        &mut self,
        edit: &mut Edit<'_, '_, '_>,
        id: u64,
        fields: &Fields,
    ) -> Result<(), Refusal> {
        let mut errors = Errors::default();
        if let Some(name) = changed_name(fields, &mut errors) {
            self.name = name;
        }
        self.apply(fields, &mut errors);
        errors.check()?;
        self.updated_at = edit.now;
        Ok(self.put(id, edit.records)?)
    }

    /// Makes a hidden plan of services or accounts like this one, whose id is `from`: with what is agreed, and its features.
    ///
    /// # Errors
    /// The names that were sent cannot be the new plan's.
    pub(super) fn copy(
        &self,
        edit: &mut Edit<'_, '_, '_>,
        from: u64,
        fields: &Fields,
    ) -> Result<u64, Refusal> {
        let name = name_of_copy(fields, &self.name)?;
        let id = edit.draft.take_id();
        let copy = Terms { name: name.clone(), is_published: false, ..self.clone() };
        copy.create(edit, id, &name, fields.filled("system_name"))?;
        features::copy(edit.records, from, id)?;
        Ok(id)
    }

    /// Gives an owner of plans the one that it begins with: `Default`.
    pub(super) fn create_default(
        draft: &mut Draft<'_>,
        records: &mut Records<'_>,
        (kind, owner): (PlanKind, u64),
        now: u64,
    ) -> Result<u64, ShelfError> {
        let id = draft.take_id();
        let (name, system_name) = ("Default".to_owned(), "default".to_owned());
        let mut terms = Terms { kind, owner, name, system_name, is_published: true, ..Terms::default() };
        if !terms.place(records, id, now)? {
            terms.system_name = format!("default_{id}");
            terms.place(records, id, now)?;
        }
        Ok(id)
    }

    /// Whether anything is to be paid for the plan as such.
    pub(super) fn has_fees(&self) -> bool {
        !self.setup_fee.is_zero() || !self.cost_per_month.is_zero()
    }

    /// Takes a system name and puts the terms on the shelf: the wanted name, or else one like it that is free.
    ///
    /// # Errors
    /// It had to be that name, and another has it; or it cannot be a name; or the owner has too many plans.
    pub(super) fn create(
        mut self,
        edit: &mut Edit<'_, '_, '_>,
        id: u64,
        name: &str,
        given: Option<String>,
    ) -> Result<(), Refusal> {
        if given.as_deref().is_some_and(|given| !system_name::is_one(given)) {
            return Err(Errors::of("system_name", check::INVALID).into());
        }
        match self.kind {
            PlanKind::Application => {}
            PlanKind::Service => {
                check::room(self.count_alike(edit)?, PLANS_MAX, "service plans of a service")?
            }
            PlanKind::Account => {
                check::room(self.count_alike(edit)?, PLANS_MAX, "account plans of a tenant")?
            }
        }
        let is_exact = given.is_some();
        self.system_name = given.unwrap_or_else(|| system_name::of(name));
        if self.system_name.is_empty() {
            "plan".clone_into(&mut self.system_name);
        }
        // One letter is none: with it the plan could not be named again.
        if !system_name::is_one(&self.system_name) {
            self.system_name = format!("{}_{id}", self.system_name);
        }
        if self.place(edit.records, id, edit.now)? {
            return Ok(());
        }
        self.system_name = format!("{}_{id}", self.system_name);
        if !is_exact && self.place(edit.records, id, edit.now)? {
            return Ok(());
        }
        Err(Errors::of("system_name", check::TAKEN).into())
    }

    fn count_alike(&self, edit: &Edit<'_, '_, '_>) -> Result<usize, ShelfError> {
        Terms::count(self.owner, edit.records)
    }

    /// Puts new terms on the shelf, if their system name is free; whether it is.
    pub(super) fn place(&mut self, records: &mut Records<'_>, id: u64, now: u64) -> Result<bool, ShelfError> {
        if !names::claim(records, Kind::Plan, self.owner, &self.claimed_name(), id)? {
            return Ok(false);
        }
        (self.created_at, self.updated_at) = (now, now);
        self.put(id, records)?;
        Ok(true)
    }

    /// Plans of different kinds may have the same system name.
    fn claimed_name(&self) -> String {
        format!("{}/{}", self.kind.name(), self.system_name)
    }

    /// Takes the terms of a plan away, and frees their name.
    pub(super) fn take_away(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        names::release(records, Kind::Plan, self.owner, &self.claimed_name(), id)?;
        self.delete(id, records);
        Ok(())
    }

    /// A plan of services or accounts.
    pub(super) fn other(kind: PlanKind, id: u64, records: &Records<'_>) -> Result<Option<Terms>, ShelfError> {
        Ok(records.find::<Terms>(id)?.filter(|terms| terms.kind == kind))
    }

    /// The plan as answers show it.
    pub(super) fn entity(&self, id: u64, name: &str, is_default: bool) -> Entity {
        let state = if self.is_published { "published" } else { "hidden" };
        let (created_at, updated_at) = (times::text(self.created_at), times::text(self.updated_at));
        let mut json = json!({
            "id": id,
            "name": name,
            "state": state,
            "setup_fee": money::float(self.setup_fee),
            "cost_per_month": money::float(self.cost_per_month),
            "trial_period_days": self.trial_period_days,
            "cancellation_period": self.cancellation_period,
            "approval_required": self.approval_required,
            "default": is_default,
            "created_at": created_at,
            "updated_at": updated_at,
        });
        let is_custom = self.original.is_some();
        let service = format!("/admin/api/services/{}", self.owner);
        match self.kind {
            PlanKind::Application => {
                json["custom"] = is_custom.into();
                json["system_name"] = self.system_name.as_str().into();
                let own = format!("{service}/application_plans/{id}");
                json["links"] = links([("service", service), ("self", own)]);
            }
            PlanKind::Service => {
                let own = format!("{service}/service_plans/{id}");
                json["links"] = links([("service", service), ("self", own)]);
            }
            PlanKind::Account => json["links"] = links([("self", format!("/admin/api/account_plans/{id}"))]),
        }
        let mut xml = Element::new("plan")
            .attribute("custom", is_custom)
            .attribute("default", is_default)
            .field("id", id)
            .field("name", name)
            .field("type", self.kind.name())
            .field("state", state)
            .field("approval_required", self.approval_required)
            .field("setup_fee", money::text(self.setup_fee))
            .field("cost_per_month", money::text(self.cost_per_month))
            .field("trial_period_days", self.trial_period_days)
            .field("cancellation_period", self.cancellation_period);
        if self.kind != PlanKind::Account {
            xml = xml.field("service_id", self.owner);
        }
        Entity { wrapper: self.kind.name(), json, xml }
    }
}

/// The name that was sent for a new plan.
pub(super) fn new_name(fields: &Fields, errors: &mut Errors) -> String {
    let name = fields.text("name").unwrap_or_default().trim().to_owned();
    check::present(errors, "name", Some(&name));
    name
}

/// The name of a copy of a plan: the one that was sent, else one that says what it is.
///
/// # Errors
/// It is none.
pub(super) fn name_of_copy(fields: &Fields, original: &str) -> Result<String, Refusal> {
    let name = fields.filled("name").unwrap_or_else(|| format!("{original} (copy)")).trim().to_owned();
    let mut errors = Errors::default();
    check::present(&mut errors, "name", Some(&name));
    errors.check()?;
    Ok(name)
}

/// The name that was sent for a plan that there is, if one was.
pub(super) fn changed_name(fields: &Fields, errors: &mut Errors) -> Option<String> {
    let name = fields.text("name")?.trim().to_owned();
    check::present(errors, "name", Some(&name));
    Some(name)
}
