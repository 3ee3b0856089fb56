//! What tenants begin with.

use serde_json::{Map, Value, json};

use super::super::answer::{Errors, Format, Refusal};
use super::super::auth::{self, Caller, Permission, Scope, Token};
use super::super::context::Edit;
use super::super::names::{self, Kind};
use super::super::owned::Owned;
use super::super::people::{Role, User, UserState};
use super::super::request::Fields;
use super::super::{
    account_plans, applications, backend_usages, backends, fields_definitions, logins, plans, services,
    signup,
};
use crate::model::draft::Draft;
use crate::model::id::TenantId;
use crate::plugin::records::Records;
use crate::store::ShelfError;

/// What a new tenant's first service is called, and the private API behind it: one that answers with what it was asked.
const SERVICE: &str = "API";
const ECHO: &str = "https://echo-api.3scale.net:443";

/// An administrator, with a token of this value for everything.
pub(in crate::plugin::admin) fn administrator(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    tenant: TenantId,
    (username, value): (&str, &str),
    now: u64,
) -> Result<(), ShelfError> {
    let user = draft.take_id();
    let admin = User {
        tenant: tenant.0,
        account: None,
        username: username.to_owned(),
        email: format!("{username}@localhost"),
        role: Role::Admin,
        state: UserState::Active,
        sections: Vec::new(),
        services: None,
        password_hash: None,
        extra: Map::new(),
        created_at: now,
        updated_at: now,
    };
    admin.put(user, records)?;
    names::claim(records, Kind::Username, tenant.0, &admin.username, user)?;
    names::claim(records, Kind::Email, tenant.0, &admin.email, user)?;
    token(draft, records, (tenant, user), value).map(drop)
}

/// A token for everything; its id.
fn token(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    (tenant, user): (TenantId, u64),
    value: &str,
) -> Result<(u64, Token), ShelfError> {
    let id = draft.take_id();
    let token = Token {
        tenant: tenant.0,
        user,
        name: "Administration".to_owned(),
        scopes: Scope::ALL.to_vec(),
        permission: Permission::Write,
        expires_at: None,
        hash: auth::hash_of(value),
    };
    token.put(id, records)?;
    Ok((id, token))
}

/// What the tenant itself has, and what it is to begin with: who administers it, by the fields of the call, with a token of this value.
pub(super) fn begin(
    edit: &mut Edit<'_, '_, '_>,
    tenant: TenantId,
    fields: &Fields,
    (password_hash, value): (Option<String>, &str),
    mut errors: Errors,
) -> Result<(u64, Token), Refusal> {
    let owner = Caller::owner(tenant);
    let mut own = Edit {
        draft: edit.draft,
        records: edit.records,
        caller: &owner,
        format: Format::Json,
        gateway: edit.gateway,
        now: edit.now,
        traffic: edit.traffic,
    };
    let own = &mut own;
    let role = (Role::Admin, UserState::Active);
    let user = logins::add(own, None, fields, role, password_hash, &mut errors)?;
    errors.check()?;
    fields_definitions::begin(own.draft, own.records, tenant.0, own.now)?;
    account_plans::create_default(own.draft, own.records, tenant, own.now)?;
    sample(own)?;
    Ok(token(own.draft, own.records, (tenant, user), value)?)
}

/// A service before an echoing backend, with a plan, and a developer who has an application on it.
fn sample(own: &mut Edit<'_, '_, '_>) -> Result<(), Refusal> {
    let service = services::add(own, &like(&json!({"name": SERVICE, "system_name": "api"})))?;
    let backend = backends::add(own, &like(&json!({"name": "API Backend", "private_endpoint": ECHO})))?;
    backend_usages::add(own, service.0, &like(&json!({"backend_api_id": backend, "path": "/"})))?;
    let plan = plans::add(own, service.0, &like(&json!({"name": "Basic"})))?;
    let developer =
        like(&json!({"org_name": "Developer", "username": "john", "email": "john@localhost.localdomain"}));
    let account = signup::add(own, &developer, None, Errors::default())?;
    let application = like(&json!({"name": "Developer's App", "description": "The sample application"}));
    applications::add(own, account, plan, &application)?;
    Ok(())
}

/// Fields as a client would send them.
fn like(fields: &Value) -> Fields {
    Fields::from(fields.as_object().cloned().unwrap_or_default())
}
