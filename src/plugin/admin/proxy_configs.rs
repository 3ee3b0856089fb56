//! Configurations: what a gateway boots from. `/services/{id}/proxy/configs/...`, `/account/proxy_configs/{environment}`.
//!
//! Each version is the [content](super::proxy_content) of a service as it was when the version was made, and is never changed.
//! Changing a proxy or deploying it makes the next version of the sandbox; promoting copies a version to production under its number.
//! Three things are not of a version, and are put in when it is shown: the token with which the gateway calls, where it
//! calls, and both may so be changed without a version.
//!
//! Kept are the versions of a service and environment with a head (id, hosts, time) and the content apart, so that lists read little.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{CONFIGS_BYTES_MAX, Entity, Errors, Outcome, Page, Refusal, Reply};
use super::auth::{Access, Caller, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::proxy_content;
use super::routes::{Formats, GET, POST, Route};
use super::xml::Element;
use super::{service_tokens, services};
use crate::document::endpoint;
use crate::model::id::TenantId;
use crate::model::record::Service;
use crate::plugin::records::{Records, id_key, id_of};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "services/{service_id}/proxy/configs/{environment}", ACCESS, list)
        .in_formats(Formats::JsonOnly),
    Route::new(GET, "services/{service_id}/proxy/configs/{environment}/latest", ACCESS, show_latest)
        .in_formats(Formats::JsonOnly),
    Route::new(GET, "services/{service_id}/proxy/configs/{environment}/{version}", ACCESS, show)
        .in_formats(Formats::JsonOnly),
    Route::new(POST, "services/{service_id}/proxy/configs/{environment}/{version}/promote", ACCESS, promote)
        .in_formats(Formats::JsonOnly),
    Route::new(GET, "services/proxy/configs/{environment}", ACCESS, list_by_host)
        .in_formats(Formats::JsonOnly),
    Route::new(GET, "account/proxy_configs/{environment}", ACCESS, list_all).in_formats(Formats::JsonOnly),
];

/// The versions that are kept of a service and environment; the oldest go.
pub(super) const VERSIONS_MAX: usize = 200;
/// The bytes of their contents, whatever the newest has: they are shown in one list. The oldest go.
pub(super) const KEPT_BYTES_MAX: u64 = 16 << 20;
/// The longest content, in bytes: the original's.
pub(super) const CONTENT_LEN_MAX: usize = 2 * 1024 * 1024;

const HEADS: Table = Table("proxy_configs");
const CONTENTS: Table = Table("proxy_config_contents");

/// Which gateways a configuration is for. The number is part of keys on the shelf: never changed, never given to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub(super) enum Environment {
    Sandbox = 1,
    Production = 2,
}

impl Environment {
    const ALL: [Environment; 2] = [Environment::Sandbox, Environment::Production];

    fn parse(name: &str) -> Option<Environment> {
        match name {
            "sandbox" | "staging" => Some(Environment::Sandbox),
            "production" => Some(Environment::Production),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Environment::Sandbox => "sandbox",
            Environment::Production => "production",
        }
    }
}

/// What is known of a version beside its content.
#[derive(Clone, Serialize, Deserialize, Debug)]
struct Head {
    id: u64,
    hosts: Vec<String>,
    /// In milliseconds since 1970 UTC.
    created_at: u64,
    /// How many its content has.
    #[serde(default)]
    bytes: u64,
}

/// A version, found. Lists begin with all of a tenant's, so it has no more than is needed to find and order it.
struct Version {
    service: u64,
    environment: Environment,
    number: u64,
    id: u64,
}

/// The key of all versions of a service in an environment.
fn prefix(service: u64, environment: Environment) -> Vec<u8> {
    let mut key = id_key(service).to_vec();
    key.push(environment as u8);
    key
}

fn key(service: u64, environment: Environment, number: u64) -> Vec<u8> {
    let mut key = prefix(service, environment);
    key.extend(id_key(number));
    key
}

/// Versions of a service in an environment: the newest alone, or all, oldest first. Of these those that are for a host, if one is given.
fn versions(
    records: &Records<'_>,
    service: u64,
    environment: Environment,
    newest_alone: bool,
    host: Option<&str>,
) -> Result<Vec<Version>, Refusal> {
    let prefix = prefix(service, environment);
    let rows_max = if newest_alone { 1 } else { usize::MAX };
    let rows = records.rows(HEADS, &Scan { prefix: &prefix, skip: 0, rows_max, backwards: newest_alone })?;
    let mut found = Vec::new();
    for (key, bytes) in rows {
        let head: Head = read(&bytes)?;
        if head.is_for(host) {
            found.push(Version { service, environment, number: id_of(&key).unwrap_or(0), id: head.id });
        }
    }
    Ok(found)
}

impl Head {
    fn is_for(&self, host: Option<&str>) -> bool {
        host.is_none_or(|host| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
    }
}

fn newest(records: &Records<'_>, service: u64, environment: Environment) -> Result<Option<Version>, Refusal> {
    Ok(versions(records, service, environment, true, None)?.pop())
}

/// What lies on the shelf was put there by [`write`], so that it cannot be read is a defect.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        tracing::error!(%error, "a configuration of a proxy cannot be read");
        Refusal::Failed
    })
}

fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|_| Refusal::Failed)
}

/// Makes the next version of the sandbox, unless the newest has the same content; whether it did.
pub(super) fn add_to_sandbox(edit: &mut Edit<'_, '_, '_>, id: u64) -> Result<bool, Refusal> {
    let seen = edit.seen();
    let content = proxy_content::of(seen, seen.service(id)?)?;
    let bytes = write(&content)?;
    if bytes.len() > CONTENT_LEN_MAX {
        let error = format!("The configuration is too long (maximum is {CONTENT_LEN_MAX} bytes)");
        return Err(Errors::of("base", error).into());
    }
    let newest = newest(edit.records, id, Environment::Sandbox)?;
    let number = newest.map_or(0, |version| version.number);
    let known = edit.records.get(CONTENTS, &key(id, Environment::Sandbox, number))?;
    if known.is_some_and(|known| known == bytes) {
        return Ok(false);
    }
    let hosts = content["proxy"]["hosts"].as_array().into_iter().flatten();
    let hosts = hosts.filter_map(|host| host.as_str().map(str::to_owned)).collect();
    add(edit, (id, Environment::Sandbox, number + 1), hosts, bytes)?;
    Ok(true)
}

fn add(
    edit: &mut Edit<'_, '_, '_>,
    (service, environment, number): (u64, Environment, u64),
    hosts: Vec<String>,
    content: Vec<u8>,
) -> Result<Version, Refusal> {
    let id = edit.draft.take_id();
    let head = Head { id, hosts, created_at: edit.now, bytes: content.len() as u64 };
    let new = key(service, environment, number);
    edit.records.put(HEADS, &new, write(&head)?);
    edit.records.put(CONTENTS, &new, content);
    let mut bytes = 0;
    let all = edit.records.all_rows(HEADS, &prefix(service, environment))?;
    for (at, (key, head)) in all.iter().rev().enumerate() {
        bytes += read::<Head>(head)?.bytes;
        // What is promoted may be older than what is there; it was asked for now.
        if (at >= VERSIONS_MAX || bytes > KEPT_BYTES_MAX) && *key != new {
            edit.records.delete(HEADS, key);
            edit.records.delete(CONTENTS, key);
        }
    }
    Ok(Version { service, environment, number, id })
}

/// Takes away all versions of a service.
pub(super) fn delete_all_of(service: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
    for environment in Environment::ALL {
        for (key, _) in records.all_rows(HEADS, &prefix(service, environment))? {
            records.delete(HEADS, &key);
            records.delete(CONTENTS, &key);
        }
    }
    Ok(())
}

fn environment(context: &Context<'_>, at: usize) -> Result<Environment, Refusal> {
    Environment::parse(context.text(at)).ok_or_else(|| Refusal::Bad("invalid environment".to_owned()))
}

/// The service and environment that the path names. The service first: whoever is not shown it learns nothing.
fn place(context: &Context<'_>, seen: Seen<'_>) -> Result<(u64, Environment), Refusal> {
    let service = seen.service(context.id(0)?)?;
    Ok((service.id.0, environment(context, 1)?))
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (service, environment) = place(context, seen)?;
    let found = versions(seen.records, service, environment, false, None)?;
    reply(context, seen, found)
}

fn reply(context: &Context<'_>, seen: Seen<'_>, found: Vec<Version>) -> Outcome {
    let page = context.page_if_asked(found.len());
    page_of(context, seen, found, page)
}

fn page_of(context: &Context<'_>, seen: Seen<'_>, found: Vec<Version>, page: Page) -> Outcome {
    let shown = page.cut(found).into_iter().map(|version| entity(context, seen, &version));
    Reply::page_of(context.format, "proxy_configs", shown, page, CONFIGS_BYTES_MAX)
}

fn show_latest(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (service, environment) = place(context, seen)?;
    let version = newest(seen.records, service, environment)?.ok_or(Refusal::NotFound)?;
    Ok(Reply::one(entity(context, seen, &version)?))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let (service, environment) = place(context, seen)?;
    let version = find(seen.records, service, environment, context.id(2)?)?;
    Ok(Reply::one(entity(context, seen, &version)?))
}

fn find(
    records: &Records<'_>,
    service: u64,
    environment: Environment,
    number: u64,
) -> Result<Version, Refusal> {
    let id = head_of(records, service, environment, number)?.id;
    Ok(Version { service, environment, number, id })
}

fn head_of(
    records: &Records<'_>,
    service: u64,
    environment: Environment,
    number: u64,
) -> Result<Head, Refusal> {
    read(&records.get(HEADS, &key(service, environment, number))?.ok_or(Refusal::NotFound)?)
}

fn promote(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (service, from) = place(context, edit.seen())?;
        let to = context.request.parameters().needed("to")?;
        let number = context.id(2)?;
        let head = head_of(edit.records, service, from, number)?;
        let Some(to) = Environment::parse(&to) else {
            return Err(Errors::of("environment", check::NOT_LISTED).into());
        };
        if edit.records.get(HEADS, &key(service, to, number))?.is_some() {
            return Err(Errors::of("version", check::TAKEN).into());
        }
        let content = edit.records.get(CONTENTS, &key(service, from, number))?.ok_or(Refusal::Failed)?;
        let made = add(edit, (service, to, number), head.hosts, content)?;
        Ok(Reply::created(entity(context, edit.seen(), &made)?))
    })
}

/// The newest versions of all services whose gateways are called by a host.
fn list_by_host(context: &Context<'_>) -> Outcome {
    let environment = environment(context, 0)?;
    let host = context.request.parameters().needed("host")?;
    let moment = context.look()?;
    let seen = moment.seen();
    let found = of_all(seen, environment, &Wanted { host: Some(host), version: Choice::Newest })?;
    reply(context, seen, found)
}

/// `GET /master/api/proxy/configs/{environment}?host=`: the same of all tenants whose calls are taken, for a gateway that stands before all.
pub(super) fn of_host_of_any_tenant(context: &Context<'_>) -> Outcome {
    let environment = environment(context, 0)?;
    let wanted = Wanted { host: Some(context.request.parameters().needed("host")?), version: Choice::Newest };
    let moment = context.look()?;
    let mut found = Vec::new();
    for (id, _) in moment.seen().catalog.tenants.iter() {
        let owner = Caller::owner(TenantId(id));
        let seen = Seen { caller: &owner, ..moment.seen() };
        if !seen.catalog.is_suspended(owner.tenant) {
            found.extend(of_all(seen, environment, &wanted)?.into_iter().map(|it| (owner.tenant, it)));
        }
    }
    let page = context.page_if_asked(found.len());
    let shown = page.cut(found).into_iter().map(|(tenant, version)| {
        let owner = Caller::owner(tenant);
        entity(context, Seen { caller: &owner, ..moment.seen() }, &version)
    });
    Reply::page_of(context.format, "proxy_configs", shown, page, CONFIGS_BYTES_MAX)
}

/// Which versions are asked for.
struct Wanted {
    host: Option<String>,
    version: Choice,
}

enum Choice {
    All,
    Newest,
    Number(u64),
}

fn list_all(context: &Context<'_>) -> Outcome {
    let environment = environment(context, 0)?;
    let parameters = context.request.parameters();
    let version = match parameters.filled("version").as_deref() {
        None => Choice::All,
        Some("latest") => Choice::Newest,
        // What is no number is the number of no version.
        Some(text) => Choice::Number(text.parse().unwrap_or(0)),
    };
    let moment = context.look()?;
    let seen = moment.seen();
    let found = of_all(seen, environment, &Wanted { host: parameters.filled("host"), version })?;
    let page = context.page(found.len());
    page_of(context, seen, found, page)
}

/// Versions of all services that the caller is shown, by ascending id.
fn of_all(seen: Seen<'_>, environment: Environment, wanted: &Wanted) -> Result<Vec<Version>, Refusal> {
    let (mut found, host) = (Vec::new(), wanted.host.as_deref());
    for service in services::of_tenant(seen.catalog, seen.caller.tenant) {
        let id = service.id.0;
        if !seen.caller.may_see(service.id) {
            continue;
        }
        match wanted.version {
            Choice::All => found.extend(versions(seen.records, id, environment, false, host)?),
            Choice::Newest => found.extend(versions(seen.records, id, environment, true, host)?),
            Choice::Number(number) => match head_of(seen.records, id, environment, number) {
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Err(refusal),
                Ok(head) if head.is_for(host) => {
                    found.push(Version { service: id, environment, number, id: head.id });
                }
                Ok(_) => {}
            },
        }
    }
    found.sort_by_key(|version| version.id);
    Ok(found)
}

/// The version as answers show it, with what is not of a version.
fn entity(context: &Context<'_>, seen: Seen<'_>, version: &Version) -> Result<Entity, Refusal> {
    let Version { service, environment, number, id } = version;
    let bytes = seen.records.get(CONTENTS, &key(*service, *environment, *number))?;
    let mut content: Value = read(&bytes.ok_or(Refusal::Failed)?)?;
    fill_in(context, seen.service(*service)?, &mut content);
    let json = json!({
        "id": id,
        "version": number,
        "environment": environment.name(),
        "content": content,
    });
    Ok(Entity { wrapper: "proxy_config", json, xml: Element::new("proxy_config") })
}

/// The newest version of a service in an environment, as answers show it; null if there is none.
pub(super) fn newest_shown(
    context: &Context<'_>,
    seen: Seen<'_>,
    service: u64,
    environment: Environment,
) -> Result<Value, Refusal> {
    let newest = newest(seen.records, service, environment)?;
    newest.map_or(Ok(Value::Null), |version| Ok(entity(context, seen, &version)?.json))
}

/// Puts in the service's newest token, and where this node answers gateways.
fn fill_in(context: &Context<'_>, service: &Service, content: &mut Value) {
    let token = service_tokens::newest(service).map(|token| token.expose());
    content["backend_authentication_value"] = Value::from(token);
    let endpoint = context.gateway_endpoint();
    let host = endpoint::host_of(&endpoint).unwrap_or_default().to_owned();
    content["proxy"]["backend"] = json!({"endpoint": endpoint, "host": host});
}
