//! What is known of an account beside the catalog: its state, plan, card and fields.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::{Errors, Page};
use super::check;
use super::context::Seen;
use super::extra::{self, Target};
use super::money;
use super::request::Fields;
use super::terms::Terms;
use crate::plugin::records::{Record, Records, id_key, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

/// What was decided on an account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum AccountState {
    Created,
    Pending,
    /// Also what stands for an account that came otherwise.
    #[default]
    Approved,
    Rejected,
}

impl AccountState {
    pub(super) fn name(self) -> &'static str {
        match self {
            AccountState::Created => "created",
            AccountState::Pending => "pending",
            AccountState::Approved => "approved",
            AccountState::Rejected => "rejected",
        }
    }

    pub(super) fn parse(name: &str) -> Option<AccountState> {
        use AccountState::{Approved, Created, Pending, Rejected};
        [Created, Pending, Approved, Rejected].into_iter().find(|state| state.name() == name)
    }

    /// Its number in keys on the shelf, of those that are there: never changed, never given to another.
    fn number(self) -> Option<u8> {
        match self {
            AccountState::Created => Some(1),
            AccountState::Pending => Some(2),
            AccountState::Approved => None,
            AccountState::Rejected => Some(3),
        }
    }
}

fn state_key(tenant: u64, number: u8, id: &[u8]) -> Vec<u8> {
    [&id_key(tenant)[..], &[number], id].concat()
}

/// A card that is charged for an account: what a payment gateway calls it, and what may be shown of it.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct CreditCard {
    /// What the gateway calls card or customer; the node hands it on to the gateway and shows it to nobody.
    pub(super) token: String,
    /// What it calls the way of paying, where that is another.
    #[serde(default)]
    pub(super) payment_profile_token: Option<String>,
    #[serde(default)]
    pub(super) payment_method_id: Option<String>,
    /// The last digits, four at most.
    #[serde(default)]
    pub(super) partial_number: Option<String>,
    pub(super) expires_year: u16,
    /// From 1.
    pub(super) expires_month: u8,
    pub(super) billing_address: Map<String, Value>,
}

impl CreditCard {
    /// The first day of the month in which it expires, as the original has it.
    pub(super) fn expires_on(&self) -> String {
        format!("{:04}-{:02}-01", self.expires_year, self.expires_month)
    }
}

/// What is known of an account beside the catalog.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct AccountDetails {
    pub(super) state: AccountState,
    /// Its account plan; none for an account that came otherwise.
    pub(super) plan: Option<u64>,
    /// What is still to be paid once; as the plan said when it began.
    pub(super) setup_fee: Decimal,
    /// In milliseconds since 1970 UTC, as all times here.
    pub(super) trial_expires_at: Option<u64>,
    pub(super) monthly_billing_enabled: bool,
    pub(super) monthly_charging_enabled: bool,
    /// In percent.
    pub(super) vat_rate: Option<Decimal>,
    pub(super) credit_card: Option<CreditCard>,
    /// Fields that the tenant has defined.
    pub(super) extra: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Default for AccountDetails {
    fn default() -> Self {
        AccountDetails {
            state: AccountState::default(),
            plan: None,
            setup_fee: Decimal::ZERO,
            trial_expires_at: None,
            monthly_billing_enabled: true,
            monthly_charging_enabled: true,
            vat_rate: None,
            credit_card: None,
            extra: Map::new(),
            annotations: Map::new(),
            created_at: 0,
            updated_at: 0,
        }
    }
}

impl Record for AccountDetails {
    const TABLE: Table = Table("accounts");
}

/// Ids of accounts by account plan, as keys.
const BY_PLAN: Table = Table("accounts_by_plan");

/// Ids of accounts by tenant and the number of their state, as keys. Those that are approved are not there: that is what stands for an
/// account without a record, and what most are.
const BY_STATE: Table = Table("accounts_by_state");

impl AccountDetails {
    /// What an account of a tenant is listed by: tables and keys there.
    fn listed_by(&self, id: u64, tenant: u64) -> [Option<(Table, Vec<u8>)>; 2] {
        let by_plan = self.plan.map(|plan| (BY_PLAN, pair_key(plan, id).to_vec()));
        let by_state = self.state.number().map(|number| (BY_STATE, state_key(tenant, number, &id_key(id))));
        [by_plan, by_state]
    }

    /// Puts the details of an account on the shelf, with what it is listed by.
    pub(super) fn put(&self, id: u64, tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        Self::unlist(id, tenant, records)?;
        for (table, key) in self.listed_by(id, tenant).into_iter().flatten() {
            records.put(table, &key, Vec::new());
        }
        records.save(id, self)
    }

    /// Takes the details of an account away.
    pub(super) fn delete(id: u64, tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        Self::unlist(id, tenant, records)?;
        records.remove::<AccountDetails>(id);
        Ok(())
    }

    fn unlist(id: u64, tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        let before = records.find::<AccountDetails>(id)?;
        for (table, key) in before.iter().flat_map(|it| it.listed_by(id, tenant)).flatten() {
            records.delete(table, &key);
        }
        Ok(())
    }

    /// Takes over what was sent.
    pub(super) fn apply(
        &mut self,
        records: &Records<'_>,
        tenant: u64,
        fields: &Fields,
        errors: &mut Errors,
    ) -> Result<(), ShelfError> {
        self.monthly_billing_enabled =
            fields.flag("monthly_billing_enabled").unwrap_or(self.monthly_billing_enabled);
        self.monthly_charging_enabled =
            fields.flag("monthly_charging_enabled").unwrap_or(self.monthly_charging_enabled);
        if let Some(rate) = fields.filled("vat_rate") {
            self.vat_rate = money::amount(errors, "vat_rate", &rate);
        }
        check::annotations(errors, fields, &mut self.annotations);
        extra::apply(&mut self.extra, records, (tenant, Target::Account), fields, errors)
    }
}

/// Whether an account plan has accounts.
pub(super) fn are_on(records: &Records<'_>, plan: u64) -> Result<bool, ShelfError> {
    Ok(!records.rows(BY_PLAN, &Scan::first(&id_key(plan), 1))?.is_empty())
}

/// Whether an account's plan wants its accounts looked at by somebody.
pub(super) fn needs_approval(records: &Records<'_>, details: &AccountDetails) -> Result<bool, ShelfError> {
    let terms = details.plan.map(|plan| records.find::<Terms>(plan)).transpose()?.flatten();
    Ok(terms.is_some_and(|terms| terms.approval_required))
}

/// The accounts of a tenant that are in a state: how many, and those of a page.
///
/// # Errors
/// The shelf cannot be read.
pub(super) fn in_state(
    seen: Seen<'_>,
    state: AccountState,
    page: impl FnOnce(usize) -> Page,
) -> Result<(Vec<u64>, Page), ShelfError> {
    let tenant = seen.caller.tenant;
    let listed = |prefix: &[u8]| seen.records.ids(BY_STATE, prefix, prefix);
    let Some(number) = state.number() else {
        let mut others = listed(&id_key(tenant.0))?;
        others.sort_unstable();
        let all = seen.catalog.accounts_of(tenant);
        let page = page(all.len().saturating_sub(others.len()));
        let approved = all.iter().filter(|id| others.binary_search(id).is_err());
        return Ok((approved.skip(page.skip()).take(page.per_page).collect(), page));
    };
    let ids = listed(&state_key(tenant.0, number, &[]))?;
    let page = page(ids.len());
    Ok((page.cut(ids), page))
}
