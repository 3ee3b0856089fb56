//! The tenant's own account: `/provider`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Seen};
use super::routes::{GET, PUT, Route};
use super::times;
use super::xml::Element;
use crate::model::catalog::Change;
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
    /// In milliseconds since 1970 UTC.
    created_at: u64,
    updated_at: u64,
}

impl Record for ProviderDetails {
    const TABLE: Table = Table("providers");
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let details = details_of(moment.seen())?;
    Ok(Reply::one(entity(context, moment.seen(), &details)))
}

fn details_of(seen: Seen<'_>) -> Result<ProviderDetails, Refusal> {
    Ok(seen.records.find(seen.caller.tenant.0)?.unwrap_or_default())
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    context.change(|edit| {
        let mut details = details_of(edit.seen())?;
        let mut errors = Errors::default();
        for (field, text) in [
            ("from_email", &mut details.from_email),
            ("support_email", &mut details.support_email),
            ("finance_support_email", &mut details.finance_support_email),
        ] {
            if let Some(sent) = fields.text(field) {
                sent.trim().clone_into(text);
                if !text.is_empty() && !check::is_email(text) {
                    errors.add(field, check::INVALID);
                }
            }
        }
        if let Some(code) = fields.text("site_access_code") {
            check::fitting(&mut errors, "site_access_code", &code, SITE_ACCESS_CODE_LEN_MAX);
            details.site_access_code = code;
        }
        errors.check()?;
        if let Some(Value::Object(annotations)) = fields.value("annotations") {
            details.annotations.clone_from(annotations);
        }
        details.updated_at = edit.now;
        edit.records.save(edit.caller.tenant.0, &details)?;
        Ok(Reply::one(entity(context, edit.seen(), &details)))
    })
}

/// The longest code, in bytes.
const SITE_ACCESS_CODE_LEN_MAX: usize = 255;

/// The tenant as answers show it, under the address by which it was called.
fn entity(context: &Context<'_>, seen: Seen<'_>, details: &ProviderDetails) -> Entity {
    let tenant = seen.caller.tenant;
    let name = seen.catalog.tenants.get(tenant.0).map(|it| it.name.clone()).unwrap_or_default();
    let domain = context.request.call.host.clone().unwrap_or_else(|| "localhost".to_owned());
    let base_url = format!("{}://{domain}", context.request.call.scheme);
    let json = json!({
        "id": tenant.0,
        "created_at": times::text(details.created_at),
        "updated_at": times::text(details.updated_at),
        "admin_domain": domain,
        "domain": domain,
        "admin_base_url": base_url,
        "base_url": base_url,
        "from_email": details.from_email,
        "support_email": details.support_email,
        "finance_support_email": details.finance_support_email,
        "site_access_code": details.site_access_code,
        "credit_card_stored": false,
        "monthly_billing_enabled": true,
        "monthly_charging_enabled": true,
        "state": "approved",
        "annotations": details.annotations,
        "org_name": name,
        "links": links([("self", "/admin/api/provider".to_owned()), ("users", "/admin/api/users".to_owned())]),
    });
    let xml = Element::new("account")
        .field("id", tenant)
        .field("created_at", times::text(details.created_at))
        .field("updated_at", times::text(details.updated_at))
        .field("admin_domain", &domain)
        .field("domain", &domain)
        .field("admin_base_url", &base_url)
        .field("base_url", &base_url)
        .field("from_email", &details.from_email)
        .field("support_email", &details.support_email)
        .field("finance_support_email", &details.finance_support_email)
        .field("site_access_code", &details.site_access_code)
        .field("state", "approved")
        .field("org_name", &name);
    Entity { wrapper: "account", json, xml }
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
