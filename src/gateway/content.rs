//! A configuration, read: what of its content the gateway goes by.

use serde::Deserialize;
use serde_json::Value;

use super::answer::Answer;
use crate::rules::{self, Path, Pattern, Rule, Rules};

/// The content of a configuration.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) service: u64,
    pub(super) environment: String,
    pub(super) version: u64,
    /// The service's token, with which the node is asked.
    pub(super) token: String,
    pub(super) proxy: Proxy,
    pub(super) rules: Rules,
    /// Whose places are those of `rules`.
    pub(super) counted: Vec<Counted>,
    /// Private APIs below their paths.
    pub(super) backends: Vec<Backend>,
}

/// What a rule counts.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) metric: String,
    pub(super) delta: u64,
    pub(super) pattern: String,
    /// The backend API whose rule it is.
    pub(super) backend: Option<u64>,
}

/// A private API, and the path that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) path: Path,
    pub(super) id: Option<u64>,
    pub(super) url: String,
}

/// The fields of the proxy that are taken as they are.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Proxy {
    pub(super) authentication_method: String,
    pub(super) credentials_location: String,
    pub(super) auth_user_key: String,
    pub(super) auth_app_id: String,
    pub(super) auth_app_key: String,
    error_auth_failed: String,
    error_auth_missing: String,
    error_no_match: String,
    error_limits_exceeded: String,
    error_headers_auth_failed: String,
    error_headers_auth_missing: String,
    error_headers_no_match: String,
    error_headers_limits_exceeded: String,
    error_status_auth_failed: u16,
    error_status_auth_missing: u16,
    error_status_no_match: u16,
    error_status_limits_exceeded: u16,
    #[serde(default)]
    pub(super) secret_token: Option<String>,
    #[serde(default)]
    pub(super) hostname_rewrite: Option<String>,
    #[serde(default)]
    api_backend: Option<String>,
    pub(super) backend: Decider,
}

/// Where the node decides.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Decider {
    pub(super) endpoint: String,
}

/// Why a call is refused; what is answered then, the proxy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Missing,
    NoMatch,
    Failed,
    /// With the seconds until the limit's window ends, if it does.
    Exceeded(Option<u64>),
}

#[derive(Deserialize)]
struct Shown {
    environment: String,
    version: u64,
    content: Value,
}

#[derive(Deserialize)]
struct ShownRule {
    http_method: String,
    pattern: String,
    metric_system_name: String,
    delta: u64,
    #[serde(default)]
    last: bool,
    #[serde(default)]
    owner_id: Option<u64>,
    #[serde(default)]
    owner_type: Option<String>,
}

impl Content {
    /// Reads a configuration as the admin API shows it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(config: Value) -> Result<Content, String> {
        let Shown { environment, version, content } = of(config)?;
        let proxy: Proxy = of(content["proxy"].clone())?;
        let shown: Vec<ShownRule> = of(content["proxy"]["proxy_rules"].clone())?;
        let mut counted = Vec::with_capacity(shown.len());
        let mut rules = Vec::with_capacity(shown.len());
        for rule in shown {
            // Backslashes are there for gateways that make regular expressions of patterns; patterns have none.
            let text = rule.pattern.replace('\\', "");
            let Ok(pattern) = Pattern::parse(&text) else {
                tracing::warn!(pattern = text, "a mapping rule cannot be read, and matches nothing");
                continue;
            };
            let is_backends = rule.owner_type.as_deref() == Some("BackendApi");
            counted.push(Counted {
                metric: rule.metric_system_name,
                delta: rule.delta,
                pattern: text,
                backend: rule.owner_id.filter(|_| is_backends),
            });
            rules.push(Rule { method: rule.http_method, pattern, last: rule.last });
        }
        Ok(Content {
            service: content["id"].as_u64().ok_or("it names no service")?,
            environment,
            version,
            token: content["backend_authentication_value"].as_str().unwrap_or_default().to_owned(),
            backends: backends(&content["proxy"]["policy_chain"], proxy.api_backend.as_deref()),
            proxy,
            rules: Rules::compile(rules).map_err(|error| error.to_string())?,
            counted,
        })
    }

    /// The private API for a path, with what of the path is for it.
    pub(super) fn backend(&self, path: &Path) -> Option<(&Backend, Path)> {
        rules::innermost(self.backends.iter().map(|it| (&it.path, it)), path)
    }

    /// The rules that a call matches, if those count where the call goes.
    pub(super) fn matched(&self, method: &str, path: &Path, parameters: &rules::Parameters) -> Vec<&Counted> {
        let backend = self.backend(path).and_then(|(backend, _)| backend.id);
        let found = self.rules.find(method, path, parameters).into_iter().map(|at| &self.counted[at]);
        found.filter(|rule| rules::counts_at(rule.backend, backend)).collect()
    }

    /// What a refused call is answered.
    pub(super) fn refusal(&self, refused: Refused) -> Answer {
        let proxy = &self.proxy;
        let (status, content_type, body) = match refused {
            Refused::Missing => (
                proxy.error_status_auth_missing,
                &proxy.error_headers_auth_missing,
                &proxy.error_auth_missing,
            ),
            Refused::NoMatch => {
                (proxy.error_status_no_match, &proxy.error_headers_no_match, &proxy.error_no_match)
            }
            Refused::Failed => {
                (proxy.error_status_auth_failed, &proxy.error_headers_auth_failed, &proxy.error_auth_failed)
            }
            Refused::Exceeded(_) => (
                proxy.error_status_limits_exceeded,
                &proxy.error_headers_limits_exceeded,
                &proxy.error_limits_exceeded,
            ),
        };
        let headers = vec![("content-type".to_owned(), content_type.clone())];
        let answer = Answer { status, headers, body: body.clone().into_bytes() };
        match refused {
            Refused::Exceeded(Some(seconds)) => answer.with("retry-after", seconds.to_string()),
            _ => answer,
        }
    }
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The private APIs that the policy `routing` leads to, and the proxy's own at the root if that leads nowhere.
fn backends(policies: &Value, api_backend: Option<&str>) -> Vec<Backend> {
    let mut backends = Vec::new();
    let is_routing = |policy: &&Value| policy["name"] == "routing" && policy["enabled"] != false;
    for policy in policies.as_array().into_iter().flatten().filter(is_routing) {
        let rules = policy["configuration"]["rules"].as_array();
        backends.extend(rules.into_iter().flatten().filter_map(routed));
    }
    if let (Some(url), Ok(path)) = (api_backend, Path::parse(b"/"))
        && !backends.iter().any(|backend| backend.path == path)
    {
        backends.push(Backend { path, id: None, url: url.to_owned() });
    }
    backends
}

/// Reads a rule of the policy as the node writes them: `/path/.*|/path/?`, or `/.*`.
fn routed(rule: &Value) -> Option<Backend> {
    let condition = rule["condition"]["operations"][0]["value"].as_str()?;
    let path = match condition.rsplit_once('|') {
        Some((_, path)) => path.strip_suffix("/?")?,
        None => condition.strip_suffix(".*")?,
    };
    let id = rule["owner_id"].as_u64().filter(|_| rule["owner_type"] == "BackendApi");
    let path = Path::parse(path.as_bytes()).ok()?;
    Some(Backend { path, id, url: rule["url"].as_str()?.to_owned() })
}
