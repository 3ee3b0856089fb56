//! What was written, before it is made sense of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Password;

/// Every key, by flag, variable or file; absent where nothing was written.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize, Serialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Configuration file (TOML) with the same keys as these flags, `-` written `_`
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where everything is kept [default: ./tollgate-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address of the Service Management API [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,

    /// Address for telemetry and administration [default: served on --http]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,

    /// Address of the binary protocol, or `off` [default: 127.0.0.1:3001]
    #[arg(long, value_name = "ADDR")]
    pub tcp: Option<String>,

    /// Unix socket of the binary protocol [default: none]
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,

    /// Users (by number) whose processes may use --unix besides the node's own and root, separated by commas: `UID` for
    /// all services, `UID=SERVICE` for one [default: none; the socket then has mode 0600, else 0666]
    #[arg(long, value_name = "UIDS")]
    pub unix_uids: Option<String>,

    /// What answers by --http promise unless request or service say otherwise: `durable` (on disk) or `interval` (within
    /// 50 ms) [default: reports are durable, authreps interval]
    #[arg(long, value_name = "PROMISE")]
    pub http_promise: Option<String>,

    /// The same of --tcp [default: reports and commits are durable, all else interval]
    #[arg(long, value_name = "PROMISE")]
    pub tcp_promise: Option<String>,

    /// The same of --unix [default: as with --tcp]
    #[arg(long, value_name = "PROMISE")]
    pub unix_promise: Option<String>,

    /// TLS certificate chain (PEM) of --http; clients then need https
    #[arg(long, value_name = "FILE")]
    pub http_tls_cert: Option<PathBuf>,

    /// Its private key (PEM), readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub http_tls_key: Option<PathBuf>,

    /// Authorities (PEM) of client certificates, which all clients of --http then need
    #[arg(long, value_name = "FILE")]
    pub http_tls_client_ca: Option<PathBuf>,

    /// TLS certificate chain (PEM) of --admin
    #[arg(long, value_name = "FILE")]
    pub admin_tls_cert: Option<PathBuf>,

    /// Its private key (PEM), readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub admin_tls_key: Option<PathBuf>,

    /// Authorities (PEM) of client certificates, which all clients of --admin then need
    #[arg(long, value_name = "FILE")]
    pub admin_tls_client_ca: Option<PathBuf>,

    /// TLS certificate chain (PEM) of --tcp
    #[arg(long, value_name = "FILE")]
    pub tcp_tls_cert: Option<PathBuf>,

    /// Its private key (PEM), readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub tcp_tls_key: Option<PathBuf>,

    /// Authorities (PEM) of client certificates, which all clients of --tcp then need
    #[arg(long, value_name = "FILE")]
    pub tcp_tls_client_ca: Option<PathBuf>,

    /// Allow addresses that other machines can reach although there is no TLS
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub insecure: Option<bool>,

    /// The most connections a listener keeps [default: 1024]
    #[arg(long, value_name = "N")]
    pub connections_max: Option<usize>,

    /// The most connections of one address, loopback excepted [default: half of connections_max]
    #[arg(long, value_name = "N")]
    pub connections_per_peer_max: Option<usize>,

    /// Seconds that a TLS handshake or the head of a request may take [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub head_timeout_s: Option<u64>,

    /// Seconds that the body of a request may take [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub body_timeout_s: Option<u64>,

    /// Seconds that a connection may rest between requests [default: 75]
    #[arg(long, value_name = "SECONDS")]
    pub idle_timeout_s: Option<u64>,

    /// Seconds that a stop may take to finish what is open [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub drain_s: Option<u64>,

    /// Journal size after which a checkpoint is made [default: 64]
    #[arg(long, value_name = "MIB")]
    pub checkpoint_mib: Option<u64>,

    /// Free disk below which plugins put off their writes, or a tenth of the disk if that is less; 0: never [default: 2048]
    #[arg(long, value_name = "MIB")]
    pub disk_low_mib: Option<u64>,

    /// Free disk below which durable requests are refused while decisions go on, or a twentieth of the disk if that is less;
    /// 0: only when it is full [default: 512]
    #[arg(long, value_name = "MIB")]
    pub disk_critical_mib: Option<u64>,

    /// The most ids of requests that are remembered, each for 24 hours; new ones beyond are refused [default: 50000000]
    #[arg(long, value_name = "N")]
    pub idempotency_ids_max: Option<u64>,

    /// Start although the clock is more than an hour behind the data (one that is ahead is taken as it is: the node may have
    /// been switched off for so long)
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub accept_clock: Option<bool>,

    /// URL at which gateways call this node for decisions, as their configurations tell them [default: the address at which the
    /// admin API was called for the configuration]
    #[arg(long, value_name = "URL")]
    pub backend_endpoint: Option<String>,

    /// Domain under which tenants have names: NAME-admin.DOMAIN and NAME.DOMAIN are the tenant NAME's, master.DOMAIN the master's
    /// [default: none; tenants are told apart by their tokens, or by /tenants/N at the beginning of a path]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,

    /// The master's access token, for a node that has no master yet: with it tenants are made. Not a flag.
    #[arg(skip)]
    pub master_token: Option<Password>,

    /// What webhooks may reach although it is on this machine or link, or is a listener of this node; separated by commas: hosts as
    /// URLs name them, addresses, networks such as 10.0.0.0/8 [default: none]
    #[arg(long, value_name = "LIST")]
    pub outgoing_allow: Option<String>,

    /// Host and ports of the test gateway (`tollgate gateway`), such as http://127.0.0.1:9000-9199: each service gets two of
    /// them, as its sandbox_endpoint and endpoint [default: none]
    #[arg(long, value_name = "URL")]
    pub gateway_endpoint: Option<String>,

    /// The first administrator's access token, for a node that has no administrator yet. Not a flag: flags can be read by
    /// everybody on the machine.
    #[arg(skip)]
    pub admin_token: Option<Password>,

    /// User of 3scale's internal API, which is off without it. The password is given as
    /// TOLLGATE_INTERNAL_API_PASSWORD or in the file: flags can be read by everybody on the machine
    #[arg(long, value_name = "USER")]
    pub internal_api_user: Option<String>,

    /// Its password. Not a flag.
    #[arg(skip)]
    pub internal_api_password: Option<Password>,

    /// A second user, valid beside the first while a password is being changed
    #[arg(long, value_name = "USER")]
    pub internal_api_user_2: Option<String>,

    /// Its password. Not a flag.
    #[arg(skip)]
    pub internal_api_password_2: Option<Password>,

    /// What is logged on standard error: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,

    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Settings {
    /// These settings, and what they leave open from `other`.
    #[must_use]
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            config: self.config.or(other.config),
            data_dir: self.data_dir.or(other.data_dir),
            http: self.http.or(other.http),
            admin: self.admin.or(other.admin),
            tcp: self.tcp.or(other.tcp),
            unix: self.unix.or(other.unix),
            unix_uids: self.unix_uids.or(other.unix_uids),
            http_promise: self.http_promise.or(other.http_promise),
            tcp_promise: self.tcp_promise.or(other.tcp_promise),
            unix_promise: self.unix_promise.or(other.unix_promise),
            http_tls_cert: self.http_tls_cert.or(other.http_tls_cert),
            http_tls_key: self.http_tls_key.or(other.http_tls_key),
            http_tls_client_ca: self.http_tls_client_ca.or(other.http_tls_client_ca),
            admin_tls_cert: self.admin_tls_cert.or(other.admin_tls_cert),
            admin_tls_key: self.admin_tls_key.or(other.admin_tls_key),
            admin_tls_client_ca: self.admin_tls_client_ca.or(other.admin_tls_client_ca),
            tcp_tls_cert: self.tcp_tls_cert.or(other.tcp_tls_cert),
            tcp_tls_key: self.tcp_tls_key.or(other.tcp_tls_key),
            tcp_tls_client_ca: self.tcp_tls_client_ca.or(other.tcp_tls_client_ca),
            insecure: self.insecure.or(other.insecure),
            connections_max: self.connections_max.or(other.connections_max),
            connections_per_peer_max: self.connections_per_peer_max.or(other.connections_per_peer_max),
            head_timeout_s: self.head_timeout_s.or(other.head_timeout_s),
            body_timeout_s: self.body_timeout_s.or(other.body_timeout_s),
            idle_timeout_s: self.idle_timeout_s.or(other.idle_timeout_s),
            drain_s: self.drain_s.or(other.drain_s),
            checkpoint_mib: self.checkpoint_mib.or(other.checkpoint_mib),
            disk_low_mib: self.disk_low_mib.or(other.disk_low_mib),
            disk_critical_mib: self.disk_critical_mib.or(other.disk_critical_mib),
            idempotency_ids_max: self.idempotency_ids_max.or(other.idempotency_ids_max),
            accept_clock: self.accept_clock.or(other.accept_clock),
            backend_endpoint: self.backend_endpoint.or(other.backend_endpoint),
            domain: self.domain.or(other.domain),
            master_token: self.master_token.or(other.master_token),
            outgoing_allow: self.outgoing_allow.or(other.outgoing_allow),
            gateway_endpoint: self.gateway_endpoint.or(other.gateway_endpoint),
            admin_token: self.admin_token.or(other.admin_token),
            internal_api_user: self.internal_api_user.or(other.internal_api_user),
            internal_api_password: self.internal_api_password.or(other.internal_api_password),
            internal_api_user_2: self.internal_api_user_2.or(other.internal_api_user_2),
            internal_api_password_2: self.internal_api_password_2.or(other.internal_api_password_2),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
        }
    }
}

/// Settings from `TOLLGATE_*` variables; what cannot be read is added to `problems`.
pub(super) fn from_variables(
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<String>,
) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in variables {
        let Some(key) = name.strip_prefix("TOLLGATE_") else { continue };
        match key {
            "CONFIG" => settings.config = Some(value.into()),
            "DATA_DIR" => settings.data_dir = Some(value.into()),
            "HTTP" => settings.http = Some(value),
            "ADMIN" => settings.admin = Some(value),
            "TCP" => settings.tcp = Some(value),
            "UNIX" => settings.unix = Some(value.into()),
            "UNIX_UIDS" => settings.unix_uids = Some(value),
            "HTTP_PROMISE" => settings.http_promise = Some(value),
            "TCP_PROMISE" => settings.tcp_promise = Some(value),
            "UNIX_PROMISE" => settings.unix_promise = Some(value),
            "HTTP_TLS_CERT" => settings.http_tls_cert = Some(value.into()),
            "HTTP_TLS_KEY" => settings.http_tls_key = Some(value.into()),
            "HTTP_TLS_CLIENT_CA" => settings.http_tls_client_ca = Some(value.into()),
            "ADMIN_TLS_CERT" => settings.admin_tls_cert = Some(value.into()),
            "ADMIN_TLS_KEY" => settings.admin_tls_key = Some(value.into()),
            "ADMIN_TLS_CLIENT_CA" => settings.admin_tls_client_ca = Some(value.into()),
            "TCP_TLS_CERT" => settings.tcp_tls_cert = Some(value.into()),
            "TCP_TLS_KEY" => settings.tcp_tls_key = Some(value.into()),
            "TCP_TLS_CLIENT_CA" => settings.tcp_tls_client_ca = Some(value.into()),
            "BACKEND_ENDPOINT" => settings.backend_endpoint = Some(value),
            "DOMAIN" => settings.domain = Some(value),
            "MASTER_TOKEN" => settings.master_token = Some(Password::new(&value)),
            "OUTGOING_ALLOW" => settings.outgoing_allow = Some(value),
            "GATEWAY_ENDPOINT" => settings.gateway_endpoint = Some(value),
            "ADMIN_TOKEN" => settings.admin_token = Some(Password::new(&value)),
            "INTERNAL_API_USER" => settings.internal_api_user = Some(value),
            "INTERNAL_API_PASSWORD" => settings.internal_api_password = Some(Password::new(&value)),
            "INTERNAL_API_USER_2" => settings.internal_api_user_2 = Some(value),
            "INTERNAL_API_PASSWORD_2" => settings.internal_api_password_2 = Some(Password::new(&value)),
            "LOG" => settings.log = Some(value),
            "LOG_FORMAT" => settings.log_format = Some(value),
            "INSECURE" => settings.insecure = switch(&name, &value, problems),
            "ACCEPT_CLOCK" => settings.accept_clock = switch(&name, &value, problems),
            "CONNECTIONS_MAX" => settings.connections_max = number(&name, &value, problems),
            "CONNECTIONS_PER_PEER_MAX" => settings.connections_per_peer_max = number(&name, &value, problems),
            "HEAD_TIMEOUT_S" => settings.head_timeout_s = number(&name, &value, problems),
            "BODY_TIMEOUT_S" => settings.body_timeout_s = number(&name, &value, problems),
            "IDLE_TIMEOUT_S" => settings.idle_timeout_s = number(&name, &value, problems),
            "DRAIN_S" => settings.drain_s = number(&name, &value, problems),
            "IDEMPOTENCY_IDS_MAX" => settings.idempotency_ids_max = number(&name, &value, problems),
            "DISK_LOW_MIB" => settings.disk_low_mib = number(&name, &value, problems),
            "DISK_CRITICAL_MIB" => settings.disk_critical_mib = number(&name, &value, problems),
            "CHECKPOINT_MIB" => settings.checkpoint_mib = number(&name, &value, problems),
            // Of the load generator and `tollgate admin`, which may well be started from the same shell.
            "LOAD_TOKEN" | "URL" => {}
            _ => {
                problems.push(format!("{name}: there is no such variable; see tollgate --help for the keys"))
            }
        }
    }
    settings
}

fn switch(name: &str, value: &str, problems: &mut Vec<String>) -> Option<bool> {
    match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => {
            problems.push(format!("{name}: \"{value}\" is neither true (1) nor false (0)"));
            None
        }
    }
}

fn number<N: std::str::FromStr>(name: &str, value: &str, problems: &mut Vec<String>) -> Option<N> {
    let number = value.parse().ok();
    if number.is_none() {
        problems.push(format!("{name}: \"{value}\" is not a number"));
    }
    number
}
