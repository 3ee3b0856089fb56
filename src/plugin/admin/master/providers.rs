//! Tenants, as the master makes and ends them: `/master/api/providers`.

use serde_json::{Value, json};

use super::super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::super::auth::{Access, Token};
use super::super::context::{Context, Edit, Seen};
use super::super::provider::{self, ProviderDetails};
use super::super::request::Fields;
use super::super::routes::{DELETE, Formats, GET, POST, PUT, Route};
use super::super::tokens::{self, random_value};
use super::super::xml::Element;
use super::super::{check, credentials, logins, places, proxy_configs};
use super::standing::{Event, Standing};
use super::{plans, start};
use crate::model::id::TenantId;

pub(in crate::plugin::admin) const ROUTES: &[Route] = &[
    Route::new(GET, "providers", Access::ADMINS, list),
    Route::new(POST, "providers", Access::ADMINS, create),
    Route::new(GET, "providers/{id}", Access::ADMINS, show),
    Route::new(PUT, "providers/{id}", Access::ADMINS, update),
    Route::new(DELETE, "providers/{id}", Access::ADMINS, delete),
    Route::new(PUT, "providers/{id}/plan_upgrade", Access::ADMINS, upgrade_plan),
    Route::new(GET, "proxy/configs/{environment}", Access::ADMINS, proxy_configs::of_host_of_any_tenant)
        .in_formats(Formats::JsonOnly),
];

/// How long a tenant that is to go can still come back: as the original.
pub(super) const GRACE_MS: u64 = 15 * 24 * 60 * 60 * 1000;

/// The tenant that a path is about.
///
/// # Errors
/// There is none.
fn find(context: &Context<'_>, seen: Seen<'_>) -> Result<(TenantId, ProviderDetails), Refusal> {
    let tenant = TenantId(context.id(0)?);
    seen.catalog.tenants.get(tenant.0).ok_or(Refusal::NotFound)?;
    let details = ProviderDetails::of(tenant, seen.records)?;
    // What it owns is being taken away.
    if details.is_over(context.now.0) {
        return Err(Refusal::NotFound);
    }
    Ok((tenant, details))
}

/// The original has no such list.
fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let page = context.page(seen.catalog.tenants.iter().count());
    let mut shown = Vec::new();
    for (id, _) in seen.catalog.tenants.iter().skip(page.skip()).take(page.per_page) {
        let details = ProviderDetails::of(TenantId(id), seen.records)?;
        let Entity { json, xml, .. } = provider::entity(context, seen.catalog, TenantId(id), &details);
        shown.push(Entity {
            wrapper: "signup",
            json: json!({"account": json}),
            xml: Element::new("signup").with(xml),
        });
    }
    Ok(Reply::list("providers", shown, Some(page)))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (tenant, details) = find(context, seen)?;
    Ok(shown(provider::entity(context, seen.catalog, tenant, &details)))
}

fn shown(Entity { json, xml, .. }: Entity) -> Reply {
    Reply::written(json!({"signup": {"account": json}}), Element::new("signup").with(xml))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    let mut errors = Errors::default();
    for field in ["org_name", "username", "email", "password"] {
        check::present(&mut errors, field, fields.text(field).as_deref());
    }
    let hash = logins::password(&fields, &mut errors)?;
    let (value, key) = (random_value()?, credentials::random::<16>()?);
    context.change(|edit| {
        // Without a name there is no tenant that the rest could be checked with.
        let name = fields.filled("org_name").unwrap_or_else(|| "unnamed".to_owned());
        let tenant = edit.draft.create_tenant(name.trim(), &key)?;
        let asked = fields.filled("subdomain");
        let subdomain = places::claim(edit.records, tenant, asked.as_deref(), &name)?;
        if subdomain.is_none() {
            errors.add(
                "subdomain",
                if asked.is_some() { "has already been taken, or is invalid" } else { check::TAKEN },
            );
        }
        let plan = plans::default_of(edit.records)?;
        let mut details = ProviderDetails::new(subdomain, plan, edit.now);
        details.apply(&fields, &mut errors);
        edit.records.save(tenant.0, &details)?;
        let token = start::begin(edit, tenant, &fields, (hash, &value), errors)?;
        Ok(made(context, edit, (tenant, &details), (&token, &value)))
    })
}

fn made(
    context: &Context<'_>,
    edit: &Edit<'_, '_, '_>,
    (tenant, details): (TenantId, &ProviderDetails),
    ((id, token), value): (&(u64, Token), &str),
) -> Reply {
    let account = provider::entity(context, edit.draft.catalog(), tenant, details);
    let token_json = tokens::entity(*id, token, Some(value)).json;
    let token_xml = Element::new("access_token")
        .field("id", id)
        .field("name", &token.name)
        .field("permission", "rw")
        .field("value", value);
    let json = json!({"signup": {"account": account.json, "access_token": token_json}});
    let xml = Element::new("signup").with(account.xml).with(token_xml);
    Reply::made(json, xml).at(format!("/master/api/providers/{tenant}"))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    context.change(|edit| {
        let (tenant, mut details) = find(context, edit.seen())?;
        let mut errors = Errors::default();
        // Of one that is to go, only how it stands can be changed.
        if details.standing != Standing::ScheduledForDeletion {
            details.apply(&fields, &mut errors);
            rename(edit, tenant, &fields, &mut errors)?;
        }
        errors.check()?;
        if let Some(name) = fields.filled("state_event") {
            let event =
                Event::parse(name.trim()).ok_or_else(|| Errors::of("state_event", check::NOT_LISTED))?;
            let from = details.standing;
            let after =
                from.after(event).ok_or_else(|| impossible(context, edit, tenant, &details, event))?;
            stand(edit, tenant, &mut details, after)?;
        }
        details.updated_at = edit.now;
        edit.records.save(tenant.0, &details)?;
        Ok(shown(provider::entity(context, edit.draft.catalog(), tenant, &details)))
    })
}

fn rename(
    edit: &mut Edit<'_, '_, '_>,
    tenant: TenantId,
    fields: &Fields,
    errors: &mut Errors,
) -> Result<(), Refusal> {
    if !fields.has("org_name") {
        return Ok(());
    }
    let name = fields.text("org_name");
    check::present(errors, "org_name", name.as_deref());
    if errors.is_empty() {
        edit.draft.edit_tenant(tenant, |it| it.name = name.unwrap_or_default().trim().to_owned())?;
    }
    Ok(())
}

/// Has a tenant stand otherwise, for its next call.
fn stand(
    edit: &mut Edit<'_, '_, '_>,
    tenant: TenantId,
    details: &mut ProviderDetails,
    standing: Standing,
) -> Result<(), Refusal> {
    details.standing = standing;
    details.deletion_at =
        (standing == Standing::ScheduledForDeletion).then_some(edit.now.saturating_add(GRACE_MS));
    edit.draft.edit_tenant(tenant, |it| it.state = standing.state())?;
    Ok(())
}

fn impossible(
    context: &Context<'_>,
    edit: &Edit<'_, '_, '_>,
    tenant: TenantId,
    details: &ProviderDetails,
    event: Event,
) -> Refusal {
    let (from, event) = (details.standing.name(), event.name());
    let error = format!("Cannot transition state via :{event} from :{from}");
    let account = provider::entity(context, edit.draft.catalog(), tenant, details).json;
    let object: Box<Value> = Box::new(json!({"account": account}));
    Refusal::Transition { from: from.to_owned(), event, error, object }
}

/// It stays for a while, and can come back until then.
fn delete(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (tenant, mut details) = find(context, edit.seen())?;
        if details.standing == Standing::ScheduledForDeletion {
            return Err(Refusal::NotFound);
        }
        stand(edit, tenant, &mut details, Standing::ScheduledForDeletion)?;
        details.updated_at = edit.now;
        edit.records.save(tenant.0, &details)?;
        Ok(Reply::gone())
    })
}

fn upgrade_plan(context: &Context<'_>) -> Outcome {
    let id = context.request.parameters().needed("plan_id")?;
    let id: u64 = id.trim().parse().map_err(|_| Refusal::NotFound)?;
    context.change(|edit| {
        let (tenant, mut details) = find(context, edit.seen())?;
        plans::find(edit.seen(), id)?;
        (details.plan, details.updated_at) = (Some(id), edit.now);
        edit.records.save(tenant.0, &details)?;
        Ok(shown(provider::entity(context, edit.draft.catalog(), tenant, &details)))
    })
}
