//! Configuration: from defaults, a TOML file, `TOLLGATE_*` variables and flags, the later winning.
//!
//! Two stages: [`Settings`] is what was written, any part of which may be absent; [`Config`] is what it means,
//! checked. All problems are reported at once, each with where it stands.

mod file;
mod gateway;
mod listeners;
mod log;
mod login;
mod origin;
mod reach;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use gateway::{GATEWAY_PORTS_MAX, GatewayEndpoint, NoGatewayEndpoint};
pub use listeners::{Listeners, Places, Promise, Tls, UnixUser};
pub use log::Log;
pub use login::{Login, Password};
use origin::Origins;
pub use origin::{Effective, Origin};
pub use settings::Settings;

use crate::outgoing::Allowed;

/// What a node runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Listener for the Service Management API and health.
    pub http: SocketAddr,
    /// Listener for telemetry and administration; `None` serves them on `http`, which is then on loopback.
    pub admin: Option<SocketAddr>,
    /// Listener for the binary protocol.
    pub tcp: Option<SocketAddr>,
    /// The same protocol on a Unix socket.
    pub unix: Option<PathBuf>,
    /// The most connections a listener keeps; more are refused.
    pub connections_max: usize,
    /// What protects the listeners, and their other limits.
    pub listeners: Listeners,
    /// How long a stop may take before what is still open is closed.
    pub drain_deadline: Duration,
    /// Journal bytes after which a checkpoint is made: bounds what a restart has to replay.
    pub checkpoint_bytes: u64,
    /// Free bytes of the disk below which plugins put off their writes, unless a tenth of the disk is less.
    pub disk_low_bytes: u64,
    /// Free bytes of the disk below which durable requests are refused, unless a twentieth of the disk is less.
    pub disk_critical_bytes: u64,
    /// The most idempotency ids that are remembered; they take about 2 bytes of memory and 45 of disk each.
    pub idempotency_ids_max: u64,
    /// Go on although the clock is behind the data by more than an hour.
    pub accept_clock: bool,
    /// Where gateways call this node for decisions: an URL of `http` or `https`. If there is none, where the admin API is called.
    pub backend_endpoint: Option<String>,
    /// Under which tenants have names: in lower case, without a port. Without one they are told apart otherwise.
    pub domain: Option<String>,
    /// The master's access token, for a node that has no master yet.
    pub master_token: Option<Password>,
    /// What webhooks may reach although it is on this machine or link, or is a listener of this node.
    pub outgoing_allow: Vec<Allowed>,
    /// Where the test gateway stands before services. If there is none, no service has a port of it.
    pub gateway_endpoint: Option<GatewayEndpoint>,
    /// The access token of the first administrator, for a node that has none yet.
    pub admin_token: Option<Password>,
    /// Who may use the internal API: any of these. None turns it off.
    pub internal_api: Vec<Login>,
    /// What is logged.
    pub log: Log,
}

/// A day of 500 requests a second and more.
const IDEMPOTENCY_IDS_MAX_DEFAULT: u64 = 50_000_000;

/// Room for what a few checkpoints leave lying, and time to do something about it.
const DISK_LOW_MIB_DEFAULT: u64 = 2048;
/// Room for the journal of decisions, and for a checkpoint of a million applications.
const DISK_CRITICAL_MIB_DEFAULT: u64 = 512;
/// More is a misprint: the least of this and a part of the disk counts.
const DISK_MIB_MAX: u64 = 1 << 20;

/// All that is wrong with a configuration, a line each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

/// Default address of `http`.
pub const HTTP_DEFAULT: &str = "127.0.0.1:3000";
/// Default address of `tcp`.
pub const TCP_DEFAULT: &str = "127.0.0.1:3001";
/// What turns `tcp` off.
pub const OFF: &str = "off";
/// Default data directory.
pub const DATA_DIR_DEFAULT: &str = "./tollgate-data";

impl Config {
    /// Makes sense of flags, variables and the file they name.
    ///
    /// `variables` are the process's environment; only names that begin with `TOLLGATE_` are looked at, and one
    /// of those that is not known is a problem, since it is most likely a misspelt one.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        flags: Settings,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        Config::load_explained(flags, variables).map(|(config, _)| config)
    }

    /// As [`Config::load`], and tells what each key is and where that comes from.
    ///
    /// # Errors
    /// As there.
    pub fn load_explained(
        flags: Settings,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Config, Vec<Effective>), ConfigErrors> {
        let mut problems = Vec::new();
        let mut origins = Origins::default();
        let written = settings::from_variables(variables, &mut problems);
        origins.note(&flags, |key| Some(Origin::Flag(format!("--{}", key.replace('_', "-")))));
        origins.note(&written, |key| Some(Origin::Variable(format!("TOLLGATE_{}", key.to_uppercase()))));
        let mut settings = flags.or(written);
        if let Some(path) = settings.config.clone() {
            let from_file = file::read(&path, &mut problems);
            let line = |key: &str| from_file.lines.get(key).copied();
            origins.note(&from_file.settings, |key| Some(Origin::File(path.clone(), line(key)?)));
            settings = settings.or(from_file.settings);
        }
        let mut senseless = Vec::new();
        let config = settings.clone().resolve(&mut senseless);
        problems.extend(senseless.iter().map(|problem| origins.locate(problem)));
        if !problems.is_empty() {
            return Err(ConfigErrors(problems));
        }
        let effective = origins.effective(&settings.or(config.defaults()));
        Ok((config, effective))
    }

    /// What stands for keys that nobody wrote; absent where that is nothing.
    fn defaults(&self) -> Settings {
        Settings {
            config: None,
            data_dir: Some(self.data_dir.clone()),
            http: Some(self.http.to_string()),
            admin: self.admin.map(|address| address.to_string()),
            tcp: Some(self.tcp.map_or_else(|| OFF.to_owned(), |address| address.to_string())),
            unix: None,
            unix_uids: None,
            http_promise: None,
            tcp_promise: None,
            unix_promise: None,
            http_tls_cert: None,
            http_tls_key: None,
            http_tls_client_ca: None,
            admin_tls_cert: None,
            admin_tls_key: None,
            admin_tls_client_ca: None,
            tcp_tls_cert: None,
            tcp_tls_key: None,
            tcp_tls_client_ca: None,
            insecure: Some(false),
            connections_max: Some(self.connections_max),
            connections_per_peer_max: Some(self.listeners.connections_per_peer_max),
            head_timeout_s: Some(self.listeners.head_timeout.as_secs()),
            body_timeout_s: Some(self.listeners.body_timeout.as_secs()),
            idle_timeout_s: Some(self.listeners.idle_timeout.as_secs()),
            drain_s: Some(self.drain_deadline.as_secs()),
            checkpoint_mib: Some(self.checkpoint_bytes >> 20),
            disk_low_mib: Some(self.disk_low_bytes >> 20),
            disk_critical_mib: Some(self.disk_critical_bytes >> 20),
            idempotency_ids_max: Some(self.idempotency_ids_max),
            accept_clock: Some(self.accept_clock),
            log: Some(self.log.level.clone()),
            log_format: Some(if self.log.json { "json" } else { "text" }.to_owned()),
            backend_endpoint: self.backend_endpoint.clone(),
            domain: self.domain.clone(),
            master_token: None,
            outgoing_allow: reach::written(&self.outgoing_allow),
            gateway_endpoint: self.gateway_endpoint.as_ref().map(GatewayEndpoint::to_string),
            admin_token: None,
            internal_api_user: None,
            internal_api_password: None,
            internal_api_user_2: None,
            internal_api_password_2: None,
        }
    }
}

impl Settings {
    /// The bytes of free disk below which plugins' writes are put off, and durable requests refused.
    fn disk(&self, problems: &mut Vec<String>) -> (u64, u64) {
        let low_mib = self.disk_low_mib.unwrap_or(DISK_LOW_MIB_DEFAULT);
        let critical_mib = self.disk_critical_mib.unwrap_or(DISK_CRITICAL_MIB_DEFAULT.min(low_mib));
        if low_mib > DISK_MIB_MAX {
            problems.push(format!("disk_low_mib: {low_mib} is more than {DISK_MIB_MAX}"));
        }
        if critical_mib > low_mib {
            problems.push(format!("disk_critical_mib: {critical_mib} is more than disk_low_mib, {low_mib}"));
        }
        (low_mib.saturating_mul(1 << 20), critical_mib.saturating_mul(1 << 20))
    }

    fn resolve(mut self, problems: &mut Vec<String>) -> Config {
        let connections_max = self.connections_max.unwrap_or(1024);
        if !(1..=1_000_000).contains(&connections_max) {
            problems.push(format!("connections_max: {connections_max} is not between 1 and 1000000"));
        }
        let (Places { http, admin, tcp, unix }, listeners) =
            listeners::resolve(&mut self, connections_max, problems);
        let drain_s = self.drain_s.unwrap_or(10);
        if !(1..=600).contains(&drain_s) {
            problems.push(format!("drain_s: {drain_s} is not between 1 and 600"));
        }
        let checkpoint_mib = self.checkpoint_mib.unwrap_or(64);
        if !(1..=65_536).contains(&checkpoint_mib) {
            problems.push(format!("checkpoint_mib: {checkpoint_mib} is not between 1 and 65536"));
        }
        let (disk_low_bytes, disk_critical_bytes) = self.disk(problems);
        let idempotency_ids_max = self.idempotency_ids_max.unwrap_or(IDEMPOTENCY_IDS_MAX_DEFAULT);
        if !(1_000..=1_000_000_000).contains(&idempotency_ids_max) {
            problems.push(format!(
                "idempotency_ids_max: {idempotency_ids_max} is not between 1000 and 1000000000"
            ));
        }
        let backend_endpoint = self.backend_endpoint.filter(|url| !url.is_empty());
        if let Some(url) = backend_endpoint.as_deref().filter(|url| !is_endpoint(url)) {
            problems.push(format!("backend_endpoint: \"{url}\" is no URL such as https://node.example:3000"));
        }
        let domain =
            self.domain.filter(|domain| !domain.is_empty()).map(|domain| domain.to_ascii_lowercase());
        if let Some(domain) = domain.as_deref().filter(|domain| !is_domain(domain)) {
            problems.push(format!("domain: \"{domain}\" is no domain such as api.example.com"));
        }
        let outgoing_allow = reach::read(self.outgoing_allow.as_deref(), problems);
        let gateway_endpoint = gateway::read(self.gateway_endpoint, problems);
        if let (Some(admin), Some(master)) = (&self.admin_token, &self.master_token)
            && admin.expose() == master.expose()
            && !admin.expose().is_empty()
        {
            problems.push("master_token: is the administrator's, too; each must be its own".to_owned());
        }
        let internal_api = [
            Login::of(
                ("internal_api_user", self.internal_api_user),
                ("internal_api_password", self.internal_api_password),
                problems,
            ),
            Login::of(
                ("internal_api_user_2", self.internal_api_user_2),
                ("internal_api_password_2", self.internal_api_password_2),
                problems,
            ),
        ];
        let log = log::read(self.log.as_deref(), self.log_format.as_deref(), problems);
        Config {
            data_dir: self.data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into()),
            http,
            admin,
            tcp,
            unix,
            connections_max,
            listeners,
            drain_deadline: Duration::from_secs(drain_s),
            checkpoint_bytes: checkpoint_mib << 20,
            disk_low_bytes,
            disk_critical_bytes,
            idempotency_ids_max,
            accept_clock: self.accept_clock.unwrap_or(false),
            backend_endpoint,
            domain,
            master_token: self.master_token.filter(|token| !token.expose().is_empty()),
            outgoing_allow,
            gateway_endpoint,
            admin_token: self.admin_token.filter(|token| !token.expose().is_empty()),
            internal_api: internal_api.into_iter().flatten().collect(),
            log,
        }
    }
}

/// Whether it is the URL of a server: a scheme and an authority, without user, path or more.
fn is_endpoint(url: &str) -> bool {
    let Ok(url) = url.parse::<hyper::Uri>() else { return false };
    let is_server = matches!(url.scheme_str(), Some("http" | "https"))
        && url.authority().is_some_and(|it| !it.as_str().contains('@'));
    is_server && matches!(url.path_and_query().map(hyper::http::uri::PathAndQuery::as_str), None | Some("/"))
}

/// Whether it is the name of a domain: labels of letters, digits and dashes.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    text.len() <= 190 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_without_a_port() {
        let load = |domain: &str| load(Settings { domain: Some(domain.into()), ..Settings::default() }, &[]);
        for (good, kept) in
            [("API.Example.com", Some("api.example.com")), ("localhost", Some("localhost")), ("", None)]
        {
            assert_eq!(load(good).unwrap().domain.as_deref(), kept);
        }
        for bad in ["a..b", ".a", "a.", "a:80", "http://a", "-a.b", "a_b"] {
            assert_eq!(
                load(bad).unwrap_err(),
                [format!("domain: \"{bad}\" is no domain such as api.example.com")]
            );
        }
    }

    fn load(flags: Settings, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(flags, variables).map_err(|errors| errors.0)
    }

    #[test]
    fn nothing_written_gives_the_embedded_default() {
        let config = load(Settings::default(), &[("PATH", "/bin")]).unwrap();
        assert_eq!(config.http, SocketAddr::from(([127, 0, 0, 1], 3000)));
        assert_eq!((config.admin, config.data_dir), (None, PathBuf::from("./tollgate-data")));
        assert_eq!((config.tcp, config.unix), (Some(([127, 0, 0, 1], 3001).into()), None));
    }

    #[test]
    fn gateways_are_told_the_url_of_a_server_or_none() {
        let of = |url: &str| {
            load(Settings { backend_endpoint: Some(url.into()), ..Settings::default() }, &[])
                .map(|config| config.backend_endpoint)
        };
        for url in ["http://node:3000", "https://node.example", "https://[::1]:1/"] {
            assert_eq!(of(url), Ok(Some(url.to_owned())));
        }
        for url in
            ["node:3000", "ftp://node", "http://", "http://a:b@node", "http://node/path", "http://node?x"]
        {
            let problem = format!("backend_endpoint: \"{url}\" is no URL such as https://node.example:3000");
            assert_eq!(of(url), Err(vec![problem]));
        }
        assert_eq!(of(""), Ok(None));
    }

    #[test]
    fn the_gateway_stands_on_a_range_of_ports_or_nowhere() {
        let of = |url: &str| {
            let variables = [("TOLLGATE_GATEWAY_ENDPOINT", url)];
            load(Settings::default(), &variables).map(|config| config.defaults().gateway_endpoint)
        };
        assert_eq!(of("http://127.0.0.1:9000-9199/"), Ok(Some("http://127.0.0.1:9000-9199".to_owned())));
        assert_eq!(of(""), Ok(None));
        let problem =
            "\"http://127.0.0.1:9000\" is no URL with at most 4096 ports such as http://127.0.0.1:9000-9199";
        assert!(of("http://127.0.0.1:9000").unwrap_err()[0].ends_with(problem));
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "http = '127.0.0.1:1'\ndrain_s = 3\ndata_dir = '/f'\n").unwrap();
        let flags = Settings { config: Some(path), http: Some("[::1]:9".into()), ..Settings::default() };
        let variables = [("TOLLGATE_HTTP", "127.0.0.1:2"), ("TOLLGATE_DATA_DIR", "/v")];
        let config = load(flags, &variables).unwrap();
        assert_eq!(config.http.to_string(), "[::1]:9");
        assert_eq!((config.data_dir, config.drain_deadline), (PathBuf::from("/v"), Duration::from_secs(3)));
    }

    #[test]
    fn all_problems_come_at_once_and_say_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "drain_s = 3\n\nhttpp = 'x'\n").unwrap();
        let flags = Settings {
            config: Some(path),
            http: Some("nowhere".into()),
            log_format: Some("xml".into()),
            ..Settings::default()
        };
        let problems = load(flags, &[("TOLLGATE_HTPP", "x"), ("TOLLGATE_DRAIN_S", "soon")]).unwrap_err();
        let text = problems.join("\n");
        for part in
            ["TOLLGATE_HTPP", "TOLLGATE_DRAIN_S", "line 3", "httpp", "\"nowhere\"", "log_format: \"xml\""]
        {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }

    #[test]
    fn durable_requests_are_not_refused_before_plugins_are_put_off() {
        let bytes = |low: Option<u64>, critical: Option<u64>| {
            let flags = Settings { disk_low_mib: low, disk_critical_mib: critical, ..Settings::default() };
            load(flags, &[]).map(|config| (config.disk_low_bytes >> 20, config.disk_critical_bytes >> 20))
        };
        assert_eq!(bytes(None, None), Ok((2048, 512)));
        assert_eq!(bytes(Some(0), None), Ok((0, 0)));
        assert_eq!(bytes(Some(100), None), Ok((100, 100)));
        assert_eq!(bytes(Some(100), Some(100)), Ok((100, 100)));
        let problem = "disk_critical_mib: 101 is more than disk_low_mib, 100".to_owned();
        assert_eq!(bytes(Some(100), Some(101)), Err(vec![problem]));
        assert!(bytes(Some(1 << 20), None).is_ok() && bytes(Some((1 << 20) + 1), None).is_err());
    }

    #[test]
    fn the_internal_api_takes_no_one_or_two_logins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "internal_api_user_2 = 'new'\ninternal_api_password_2 = 'hush2'\n").unwrap();
        let flags = || Settings { config: Some(path.clone()), ..Settings::default() };
        let first = [("TOLLGATE_INTERNAL_API_USER", "old"), ("TOLLGATE_INTERNAL_API_PASSWORD", "hush1")];
        assert_eq!(load(Settings::default(), &[]).unwrap().internal_api, []);
        let blank = [("TOLLGATE_INTERNAL_API_USER", ""), ("TOLLGATE_INTERNAL_API_PASSWORD", "")];
        assert_eq!(load(Settings::default(), &blank).unwrap().internal_api, []);

        let config = load(flags(), &first).unwrap();
        let login = |user: &str, password| Login { user: user.into(), password: Password::new(password) };
        assert_eq!(config.internal_api, [login("old", "hush1"), login("new", "hush2")]);
        assert_eq!(load(flags(), &[]).unwrap().internal_api, [login("new", "hush2")]);
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn half_a_login_is_a_problem_and_no_password_is_shown() {
        for (name, value, problem) in [
            ("USER", "u", "internal_api_password: missing, although internal_api_user is set"),
            ("PASSWORD", "hush", "internal_api_user: missing, although internal_api_password is set"),
            ("USER_2", "u", "internal_api_password_2: missing, although internal_api_user_2 is set"),
            ("USER", "u:v", "internal_api_user: HTTP basic authentication allows no colon in a user name"),
        ] {
            let name = format!("TOLLGATE_INTERNAL_API_{name}");
            let problems = load(Settings::default(), &[(&name, value)]).unwrap_err();
            assert!(problems.len() == 1 && problems[0].ends_with(problem), "{problems:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "internal_api_user = 'u'\ninternal_api_password = 271828\n").unwrap();
        let problems = load(Settings { config: Some(path), ..Settings::default() }, &[]).unwrap_err();
        assert!(
            problems[0].ends_with("line 2: internal_api_password: a password must be a text in quotes"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_file_tells_all_its_problems_with_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        let text = "drain_s = 'soon'\nhttpp = 1\n\nhttp = 'nowhere'\nconnections_max = 0\n";
        std::fs::write(&path, text).unwrap();
        let file = || Settings { config: Some(path.clone()), ..Settings::default() };
        let problems = load(file(), &[("TOLLGATE_LOG_FORMAT", "xml")]).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        for (line, key) in [(1, "drain_s"), (2, "httpp"), (4, "http"), (5, "connections_max")] {
            let place = format!("t.toml: line {line}: {key}: ");
            assert!(problems.iter().any(|problem| problem.contains(&place)), "{place} not in {problems:#?}");
        }
        assert!(problems.iter().any(|problem| problem.starts_with("TOLLGATE_LOG_FORMAT: log_format: ")));
        // Broken lines are all told, and nothing else of the file.
        std::fs::write(&path, "http = \n[\nhttpp = 1\n").unwrap();
        let problems = load(file(), &[]).unwrap_err();
        assert!(
            problems.len() >= 2 && problems.iter().all(|it| it.contains("t.toml: line ")),
            "{problems:#?}"
        );
    }

    #[test]
    fn each_setting_knows_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "\ndrain_s = 3\nhttp = '127.0.0.1:1'\n").unwrap();
        let flags =
            Settings { config: Some(path.clone()), data_dir: Some("/d".into()), ..Settings::default() };
        let variables = [("TOLLGATE_HTTP".to_owned(), "127.0.0.1:2".to_owned())];
        let (_, effective) = Config::load_explained(flags, variables).unwrap();
        let of = |key: &str| effective.iter().find(|it| it.key == key).unwrap();
        assert_eq!(
            (of("http").value.as_str(), of("http").origin.to_string()),
            ("\"127.0.0.1:2\"", "TOLLGATE_HTTP".into())
        );
        assert_eq!((of("drain_s").value.as_str(), &of("drain_s").origin), ("3", &Origin::File(path, 2)));
        assert_eq!(of("data_dir").origin.to_string(), "--data-dir");
        assert_eq!(of("connections_max").origin, Origin::Default);
    }
}
