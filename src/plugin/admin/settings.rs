//! Settings of the tenant's portal: `/settings`.
//!
//! `account_approval_required` is the default account plan's `approval_required`, as in the original: whichever is changed, both are.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account_plans;
use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Seen};
use super::routes::{Formats, GET, PUT, Route};
use super::xml::Element;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Settings);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "settings", ACCESS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, "settings", ACCESS, update).in_formats(Formats::JsonOnly),
];

/// The settings of a tenant, by its id. One that never changed any has none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct Settings {
    useraccountarea_enabled: bool,
    hide_service: bool,
    signups_enabled: bool,
    /// As the plan says that accounts are on if they ask for none; of records it is never read.
    account_approval_required: bool,
    public_search: bool,
    account_plans_ui_visible: bool,
    change_account_plan_permission: PlanChange,
    service_plans_ui_visible: bool,
    change_service_plan_permission: PlanChange,
    enforce_sso: bool,
}

/// How a developer comes to another plan.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum PlanChange {
    Request,
    Direct,
    CreditCard,
    RequestCreditCard,
    None,
}

impl PlanChange {
    pub(super) fn parse(name: &str) -> Option<PlanChange> {
        serde_json::from_value(Value::from(name)).ok()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            useraccountarea_enabled: true,
            hide_service: false,
            signups_enabled: true,
            account_approval_required: false,
            public_search: false,
            account_plans_ui_visible: false,
            change_account_plan_permission: PlanChange::Request,
            service_plans_ui_visible: false,
            change_service_plan_permission: PlanChange::Request,
            enforce_sso: false,
        }
    }
}

impl Record for Settings {
    const TABLE: Table = Table("settings");
}

fn of(seen: Seen<'_>) -> Result<Settings, Refusal> {
    let tenant = seen.caller.tenant.0;
    let account_approval_required = account_plans::asks_for_approval(tenant, seen.records)?;
    let kept = seen.records.find::<Settings>(tenant)?.unwrap_or_default();
    Ok(Settings { account_approval_required, ..kept })
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    Ok(Reply::one(entity(&of(moment.seen())?)))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("settings")?;
    context.change(|edit| {
        let mut settings = of(edit.seen())?;
        for (field, flag) in [
            ("useraccountarea_enabled", &mut settings.useraccountarea_enabled),
            ("hide_service", &mut settings.hide_service),
            ("signups_enabled", &mut settings.signups_enabled),
            ("account_approval_required", &mut settings.account_approval_required),
            ("public_search", &mut settings.public_search),
            ("account_plans_ui_visible", &mut settings.account_plans_ui_visible),
            ("service_plans_ui_visible", &mut settings.service_plans_ui_visible),
            ("enforce_sso", &mut settings.enforce_sso),
        ] {
            *flag = fields.flag(field).unwrap_or(*flag);
        }
        let mut errors = Errors::default();
        for (field, permission) in [
            ("change_account_plan_permission", &mut settings.change_account_plan_permission),
            ("change_service_plan_permission", &mut settings.change_service_plan_permission),
        ] {
            let Some(text) = fields.text(field) else { continue };
            match PlanChange::parse(&text) {
                Some(known) => *permission = known,
                None => errors.add(field, check::NOT_LISTED),
            }
        }
        errors.check()?;
        edit.records.save(edit.caller.tenant.0, &settings)?;
        account_plans::ask_for_approval(edit, settings.account_approval_required)?;
        Ok(Reply::one(entity(&settings)))
    })
}

fn entity(settings: &Settings) -> Entity {
    Entity { wrapper: "settings", json: json!(settings), xml: Element::new("settings") }
}

/// They go with their tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(id) = change {
            records.remove::<Settings>(id.0);
        }
    }
    Ok(())
}
