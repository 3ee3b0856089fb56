//! What an empty data directory begins with: enough to make a first call, and to see a limit bind.

use crate::engine::Engine;
use crate::model::draft::{CommandError, Draft, NewApplication, NewService};
use crate::model::record::{BackendVersion, Secret};
use crate::model::time::{Period, UnixMillis};

use super::NodeError;
use super::plugins::Plugins;

/// The credentials of the sample. Shown once, on standard output; never logged.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sample {
    pub provider_key: String,
    pub service_id: String,
    pub service_token: String,
    pub user_key: String,
    /// Of the first administrator; none if it was preset, or there is no admin API.
    pub admin_token: Option<String>,
}

/// The sample's plan Basic: so many hits per minute, and per day.
const BASIC_PER_MINUTE: u64 = 10;
const BASIC_PER_DAY: u64 = 1000;

/// Creates the sample if the node has no record at all. What it returns is on disk. Before the flusher runs.
pub(super) fn create_if_empty(
    engine: &Engine,
    plugins: &Plugins,
    admin_token: Option<&str>,
    wall: UnixMillis,
) -> Result<Option<Sample>, NodeError> {
    if engine.catalog().version != 0 {
        // The token was for whoever administered the node first: it opens nobody else who comes later.
        if plugins.is_administered()? {
            return Ok(None);
        }
        begin(engine, plugins, admin_token, wall)?;
        return Ok(None);
    }
    let [provider_key, service_token, user_key] = [random_key()?, random_key()?, random_key()?];
    let (service, _) = engine
        .change(|draft| create(draft, &provider_key, &service_token, &user_key))
        .map_err(not_created)?;
    let made_up = random_key()? + &random_key()?;
    let is_new = begin(engine, plugins, Some(admin_token.unwrap_or(&made_up)), wall)?;
    engine.flush(wall).map_err(not_created)?;
    let admin_token = (is_new && admin_token.is_none()).then_some(made_up);
    let service_id = service.to_string();
    Ok(Some(Sample { provider_key, service_id, service_token, user_key, admin_token }))
}

/// Gives the first tenant an administrator with this token, if nobody administers it yet; whether it was so.
fn begin(
    engine: &Engine,
    plugins: &Plugins,
    token: Option<&str>,
    wall: UnixMillis,
) -> Result<bool, NodeError> {
    let first = engine.catalog().tenants.iter().next().map(|(_, tenant)| tenant.id);
    let (Some(tenant), Some(token)) = (first, token) else { return Ok(false) };
    let is_new = plugins.begin(tenant, token)?.is_some();
    if is_new {
        engine.flush(wall).map_err(not_created)?;
    }
    Ok(is_new)
}

fn create(
    draft: &mut Draft<'_>,
    provider_key: &str,
    service_token: &str,
    user_key: &str,
) -> Result<u64, CommandError> {
    let tenant = draft.create_tenant("Sample provider", provider_key)?;
    let account = draft.create_account(tenant, "Sample developer")?;
    let new = NewService {
        tenant,
        external_id: None,
        name: "Sample API",
        backend_version: BackendVersion::UserKey,
    };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| it.tokens.push(Secret::new(service_token)))?;
    let hits = draft.create_metric(service, "hits", None)?;
    draft.create_metric(service, "search", Some(hits))?;
    let basic = draft.create_plan(service, None, "Basic")?;
    draft.set_limit(basic, hits, Period::Minute, BASIC_PER_MINUTE)?;
    draft.set_limit(basic, hits, Period::Day, BASIC_PER_DAY)?;
    draft.create_plan(service, None, "Unlimited")?;
    let (app_id, name) = ("sample", "Sample application");
    let new = NewApplication { service, account: Some(account), app_id, name, plan: basic };
    let application = draft.create_application(&new)?;
    draft.edit_application(application, |it| it.user_keys.push(Secret::new(user_key)))?;
    Ok(service.0)
}

/// 128 random bits in hex: 3scale's own form of a key.
fn random_key() -> Result<String, NodeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::System {
        what: "the random source",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn not_created(error: impl std::fmt::Display) -> NodeError {
    NodeError::System { what: "the sample", source: std::io::Error::other(error.to_string()) }
}
