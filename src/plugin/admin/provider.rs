//! The tenant's own account: `/provider`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Reply, links};
use super::auth::{Access, Section};
use super::check;
use super::context::Context;
use super::master::standing::Standing;
use super::places::ADMIN_SUFFIX;
use super::request::Fields;
use super::routes::{GET, PUT, Route};
use super::times;
use super::xml::Element;
use crate::document::values;
use crate::model::catalog::{Catalog, Change};
use crate::model::id::TenantId;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "provider", Access::ANYBODY, show),
    Route::new(PUT, "provider", Access::section(Section::Settings), update),
];

/// What is known of a tenant beside the catalog, by its id.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(super) struct ProviderDetails {
    from_email: String,
    support_email: String,
    finance_support_email: String,
    site_access_code: String,
    annotations: Map<String, Value>,
    /// How the master has it stand.
    pub(super) standing: Standing,
    /// By what it is called under the node's domain.
    pub(super) subdomain: Option<String>,
    /// The plan of tenants that it is on.
    pub(super) plan: Option<u64>,
    /// When what it owns begins to go, if it is to go. In milliseconds since 1970 UTC.
    pub(super) deletion_at: Option<u64>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for ProviderDetails {
    const TABLE: Table = Table("providers");
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (seen, tenant) = (moment.seen(), context.caller.tenant);
    Ok(Reply::one(entity(context, seen.catalog, tenant, &ProviderDetails::of(tenant, seen.records)?)))
}

impl ProviderDetails {
    /// What is known of a new tenant.
    pub(super) fn new(subdomain: Option<String>, plan: Option<u64>, now: u64) -> ProviderDetails {
        ProviderDetails { subdomain, plan, created_at: now, updated_at: now, ..ProviderDetails::default() }
    }

    /// What is known of a tenant; of one that came otherwise nothing.
    pub(super) fn of(tenant: TenantId, records: &Records<'_>) -> Result<ProviderDetails, ShelfError> {
        Ok(records.find(tenant.0)?.unwrap_or_default())
    }

    /// Takes over what was sent.
    pub(super) fn apply(&mut self, fields: &Fields, errors: &mut Errors) {
        for (field, text) in [
            ("from_email", &mut self.from_email),
            ("support_email", &mut self.support_email),
            ("finance_support_email", &mut self.finance_support_email),
        ] {
            if let Some(sent) = fields.text(field) {
                sent.trim().clone_into(text);
                if !text.is_empty() && !values::is_email(text) {
                    errors.add(field, check::INVALID);
                }
            }
        }
        if let Some(code) = fields.text("site_access_code") {
            check::fitting(errors, "site_access_code", &code, SITE_ACCESS_CODE_LEN_MAX);
            self.site_access_code = code;
        }
        check::annotations(errors, fields, &mut self.annotations);
    }
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    context.change(|edit| {
        let tenant = edit.tenant();
        let mut details = ProviderDetails::of(tenant, edit.records)?;
        let mut errors = Errors::default();
        details.apply(&fields, &mut errors);
        errors.check()?;
        details.updated_at = edit.now;
        edit.records.save(tenant.0, &details)?;
        Ok(Reply::one(entity(context, edit.draft.catalog(), tenant, &details)))
    })
}

/// The longest code, in bytes.
const SITE_ACCESS_CODE_LEN_MAX: usize = 255;

/// Where a tenant is called: by its own names under the node's domain; else as this call was made, by its number if that is how tenants are
/// told apart.
struct Addresses {
    admin_domain: String,
    domain: String,
    admin_base_url: String,
    base_url: String,
}

impl Addresses {
    fn of(context: &Context<'_>, tenant: TenantId, details: &ProviderDetails) -> Addresses {
        let call = context.request.call;
        let host = call.host.as_deref().unwrap_or("localhost");
        let port = host.rfind(':').filter(|_| !host.ends_with(']')).map_or("", |at| &host[at..]);
        let scheme = call.scheme;
        if let (Some(under), Some(name)) = (context.domain, &details.subdomain) {
            let (domain, admin_domain) = (format!("{name}.{under}"), format!("{name}{ADMIN_SUFFIX}.{under}"));
            let [base_url, admin_base_url] =
                [&domain, &admin_domain].map(|domain| format!("{scheme}://{domain}{port}"));
            return Addresses { admin_domain, domain, admin_base_url, base_url };
        }
        let is_by_number = context.caller.is_master() || call.tenant.is_some();
        let path = if is_by_number { format!("/tenants/{tenant}") } else { String::new() };
        let base_url = format!("{scheme}://{host}{path}");
        let domain = host.to_owned();
        Addresses { admin_domain: domain.clone(), domain, admin_base_url: base_url.clone(), base_url }
    }
}

/// A tenant as answers show it.
pub(super) fn entity(
    context: &Context<'_>,
    catalog: &Catalog,
    tenant: TenantId,
    details: &ProviderDetails,
) -> Entity {
    let name = catalog.tenants.get(tenant.0).map(|it| it.name.clone()).unwrap_or_default();
    let Addresses { admin_domain, domain, admin_base_url, base_url } =
        Addresses::of(context, tenant, details);
    let state = details.standing.name();
    let mut json = json!({
        "id": tenant.0,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "admin_domain": admin_domain,
        "domain": domain,
        "admin_base_url": admin_base_url,
        "base_url": base_url,
        "from_email": details.from_email,
        "support_email": details.support_email,
        "finance_support_email": details.finance_support_email,
        "site_access_code": details.site_access_code,
        "credit_card_stored": false,
        "monthly_billing_enabled": true,
        "monthly_charging_enabled": true,
        "state": state,
        "annotations": details.annotations,
        "org_name": name,
    });
    let mut xml = Element::new("account")
        .field("id", tenant)
        .field("created_at", times::text(details.created_at))
        .field("updated_at", times::text(details.updated_at))
        .field("admin_domain", &admin_domain)
        .field("domain", &domain)
        .field("admin_base_url", &admin_base_url)
        .field("base_url", &base_url)
        .field("from_email", &details.from_email)
        .field("support_email", &details.support_email)
        .field("finance_support_email", &details.finance_support_email)
        .field("site_access_code", &details.site_access_code)
        .field("state", state);
    if let Some(at) = details.deletion_at {
        json["deletion_date"] = times::text(at).into();
        xml = xml.field("deletion_date", times::text(at));
    }
    json["links"] =
        links([("self", "/admin/api/provider".to_owned()), ("users", "/admin/api/users".to_owned())]);
    Entity { wrapper: "account", json, xml: xml.field("org_name", &name) }
}

/// A tenant that somebody made is dated; one that is gone loses what was known of it.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    now: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        match change {
            Change::PutTenant(tenant) if accompanied.before.tenants.get(tenant.id.0).is_none() => {
                if records.find::<ProviderDetails>(tenant.id.0)?.is_some() {
                    continue;
                }
                let (created_at, updated_at) = (now, now);
                records.save(
                    tenant.id.0,
                    &ProviderDetails { created_at, updated_at, ..ProviderDetails::default() },
                )?;
            }
            Change::DeleteTenant(id) => records.remove::<ProviderDetails>(id.0),
            _ => {}
        }
    }
    Ok(())
}
