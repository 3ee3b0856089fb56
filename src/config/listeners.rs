//! Listeners: where they are, what protects them, and their limits.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{HTTP_DEFAULT, OFF, Settings, TCP_DEFAULT};

/// Where the listeners are.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Places {
    pub http: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
    pub unix: Option<PathBuf>,
}

/// A user whose processes may use the Unix socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixUser {
    /// The user's number.
    pub uid: u32,
    /// The service that it may call; `None` for all.
    pub service: Option<String>,
}

/// What answers promise of what their calls count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// It is on disk.
    Durable,
    /// It is on disk within 50 ms.
    Interval,
}

/// What protects the listeners, and their limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listeners {
    /// Certificate of the listener for the Service Management API; without one it speaks plain HTTP.
    pub http_tls: Option<Tls>,
    /// Certificate of the listener for telemetry and administration.
    pub admin_tls: Option<Tls>,
    /// Certificate of the listener for the binary protocol.
    pub tcp_tls: Option<Tls>,
    /// What answers of the Service Management API promise unless request or service say otherwise.
    pub http_promise: Option<Promise>,
    /// The same of the binary protocol by TCP.
    pub tcp_promise: Option<Promise>,
    /// The same of the binary protocol by the Unix socket.
    pub unix_promise: Option<Promise>,
    /// Who may use the Unix socket besides the node's own user and root.
    pub unix_users: Vec<UnixUser>,
    /// The most connections of one address (of one /64 network by IPv6); loopback is not bounded by it.
    pub connections_per_peer_max: usize,
    /// For a TLS handshake, and for the head of a request.
    pub head_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners {
            http_tls: None,
            admin_tls: None,
            tcp_tls: None,
            http_promise: None,
            tcp_promise: None,
            unix_promise: None,
            unix_users: Vec::new(),
            connections_per_peer_max: 512,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

/// Files of a certificate, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The certificate and those between it and an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of the clients, which then all need certificates.
    pub client_ca: Option<PathBuf>,
}

/// How long anything may be waited for, in seconds.
const TIMEOUT_S: RangeInclusive<u64> = 1..=3600;

/// The most bytes that the path of a Unix socket has, less the zero at its end.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The most users that a Unix socket is for: a machine has a few gateways.
const UNIX_USERS_MAX: usize = 64;

/// What is written about listeners, made sense of: where they are, and the rest.
pub(super) fn resolve(
    settings: &mut Settings,
    connections_max: usize,
    problems: &mut Vec<String>,
) -> (Places, Listeners) {
    let http_tls = tls(
        "http",
        [settings.http_tls_cert.take(), settings.http_tls_key.take(), settings.http_tls_client_ca.take()],
        problems,
    );
    let admin_tls = tls(
        "admin",
        [settings.admin_tls_cert.take(), settings.admin_tls_key.take(), settings.admin_tls_client_ca.take()],
        problems,
    );
    let tcp_tls = tls(
        "tcp",
        [settings.tcp_tls_cert.take(), settings.tcp_tls_key.take(), settings.tcp_tls_client_ca.take()],
        problems,
    );
    let insecure = settings.insecure.unwrap_or(false);
    let http = settings.http.take().unwrap_or_else(|| HTTP_DEFAULT.into());
    let http = address("http", &http, insecure || http_tls.is_some(), problems);
    let admin = settings.admin.take();
    let admin = admin.map(|text| address("admin", &text, insecure || admin_tls.is_some(), problems));
    if admin.is_none() && !is_loopback(http) {
        problems.push(format!(
            "http: {http} is not a loopback address, so telemetry needs a listener of its own: set admin"
        ));
    }
    if admin.is_none() && admin_tls.is_some() {
        problems.push("admin_tls_cert: there is no listener to show it: set admin".into());
    }
    if admin == Some(http) && http.port() != 0 {
        problems.push(format!("admin: {http} is the address of http already"));
    }
    let tcp = settings.tcp.take().unwrap_or_else(|| TCP_DEFAULT.into());
    let tcp = (tcp != OFF).then(|| address("tcp", &tcp, insecure || tcp_tls.is_some(), problems));
    if tcp.is_none() && tcp_tls.is_some() {
        problems.push("tcp_tls_cert: there is no listener to show it: set tcp".into());
    }
    for (other, taken) in [("http", Some(http)), ("admin", admin)] {
        if let (Some(tcp), Some(taken)) = (tcp, taken)
            && overlap(tcp, taken)
        {
            problems.push(format!("tcp: {tcp} meets the address of {other}, {taken}: give another, or off"));
        }
    }
    let unix = settings.unix.take();
    if let Some(path) = &unix
        && path.as_os_str().len() > UNIX_PATH_BYTES_MAX
    {
        problems.push(format!("unix: a socket's path has at most {UNIX_PATH_BYTES_MAX} bytes"));
    }
    let uids = settings.unix_uids.take();
    if unix.is_none() && uids.is_some() {
        problems.push("unix_uids: there is no socket for them: set unix".into());
    }
    let unix_users = unix_users(uids.as_deref().unwrap_or_default(), problems);
    // A default of a number that is out of bounds is no problem of its own.
    let half = connections_max.div_ceil(2).clamp(1, 1_000_000);
    let per_peer = settings.connections_per_peer_max.unwrap_or(half);
    if !(1..=1_000_000).contains(&per_peer) {
        problems.push(format!("connections_per_peer_max: {per_peer} is not between 1 and 1000000"));
    }
    let http_promise = promise("http_promise", settings.http_promise.take(), problems);
    let tcp_promise = promise("tcp_promise", settings.tcp_promise.take(), problems);
    let unix_promise = promise("unix_promise", settings.unix_promise.take(), problems);
    let default = Listeners::default();
    let mut timeout = |key: &str, written: Option<u64>, default: Duration| {
        let seconds = written.unwrap_or(default.as_secs());
        if !TIMEOUT_S.contains(&seconds) {
            problems.push(format!(
                "{key}: {seconds} is not between {} and {}",
                TIMEOUT_S.start(),
                TIMEOUT_S.end()
            ));
        }
        Duration::from_secs(seconds)
    };
    let listeners = Listeners {
        http_tls,
        admin_tls,
        tcp_tls,
        http_promise,
        tcp_promise,
        unix_promise,
        unix_users,
        connections_per_peer_max: per_peer,
        head_timeout: timeout("head_timeout_s", settings.head_timeout_s, default.head_timeout),
        body_timeout: timeout("body_timeout_s", settings.body_timeout_s, default.body_timeout),
        idle_timeout: timeout("idle_timeout_s", settings.idle_timeout_s, default.idle_timeout),
    };
    (Places { http, admin, tcp, unix }, listeners)
}

fn promise(key: &str, text: Option<String>, problems: &mut Vec<String>) -> Option<Promise> {
    match text?.as_str() {
        "durable" => Some(Promise::Durable),
        "interval" => Some(Promise::Interval),
        other => {
            problems.push(format!("{key}: \"{other}\" is neither \"durable\" nor \"interval\""));
            None
        }
    }
}

/// Whether two sockets cannot both be had: the same port of the same address, or of all addresses.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (all || a.ip() == b.ip())
}

/// Reads `UID,UID=SERVICE,...`.
fn unix_users(text: &str, problems: &mut Vec<String>) -> Vec<UnixUser> {
    let mut users: Vec<UnixUser> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (uid, service) = part.split_once('=').map_or((part, None), |(uid, it)| (uid, Some(it)));
        match uid.trim().parse() {
            Ok(uid) if service.is_none_or(|it| !it.is_empty()) => {
                if users.iter().any(|user| user.uid == uid) {
                    problems.push(format!("unix_uids: {uid} is there twice"));
                }
                users.push(UnixUser { uid, service: service.map(str::to_owned) });
            }
            _ => problems.push(format!("unix_uids: \"{part}\" is neither a user's number nor UID=SERVICE")),
        }
    }
    if users.len() > UNIX_USERS_MAX {
        problems.push(format!("unix_uids: {} users; {UNIX_USERS_MAX} is the most", users.len()));
    }
    users
}

/// Certificate and key, or neither.
fn tls(listener: &str, files: [Option<PathBuf>; 3], problems: &mut Vec<String>) -> Option<Tls> {
    match files {
        [Some(cert), Some(key), client_ca] => Some(Tls { cert, key, client_ca }),
        [None, None, None] => None,
        [None, None, Some(_)] => {
            problems.push(format!(
                "{listener}_tls_client_ca: clients can show certificates by TLS only: set {listener}_tls_cert"
            ));
            None
        }
        [Some(_), None, _] => {
            problems
                .push(format!("{listener}_tls_cert: a certificate needs its key: set {listener}_tls_key"));
            None
        }
        [None, Some(_), _] => {
            problems
                .push(format!("{listener}_tls_key: a key needs its certificate: set {listener}_tls_cert"));
            None
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// Reads a listener's address. What is neither loopback nor protected must be asked for.
fn address(key: &str, text: &str, is_protected: bool, problems: &mut Vec<String>) -> SocketAddr {
    let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
    match text.parse::<SocketAddr>() {
        Ok(address) if is_loopback(address) || is_protected => address,
        Ok(address) => {
            problems.push(format!(
                "{key}: {address} can be reached from other machines and has no TLS: set {key}_tls_cert and {key}_tls_key, give a loopback address, or --insecure if something in front protects it"
            ));
            fallback
        }
        Err(_) => {
            problems.push(format!("{key}: \"{text}\" is not an address like {HTTP_DEFAULT} or [::1]:3000"));
            fallback
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(flags: Settings) -> Result<Config, String> {
        Config::load(flags, []).map_err(|errors| errors.0.join("\n"))
    }

    /// Both listeners where others can reach them.
    fn open(insecure: Option<bool>) -> Settings {
        let [http, admin] = ["0.0.0.0:3000", "0.0.0.0:3002"].map(|text| Some(text.to_owned()));
        Settings { http, admin, insecure, ..Settings::default() }
    }

    fn certificate() -> (Option<PathBuf>, Option<PathBuf>) {
        (Some("c.pem".into()), Some("k.pem".into()))
    }

    #[test]
    fn other_machines_are_let_in_by_tls_or_on_request() {
        let problems = load(open(None)).unwrap_err();
        for part in
            ["http: 0.0.0.0:3000", "admin: 0.0.0.0:3002", "--insecure", "http_tls_cert", "admin_tls_key"]
        {
            assert!(problems.contains(part), "{part} not in:\n{problems}");
        }
        assert!(load(open(Some(true))).is_ok());
        let (http_tls_cert, http_tls_key) = certificate();
        let http_only = Settings { http_tls_cert, http_tls_key, ..open(None) };
        let problems = load(http_only.clone()).unwrap_err();
        assert!(problems.starts_with("admin: ") && problems.lines().count() == 1, "{problems}");
        let (admin_tls_cert, admin_tls_key) = certificate();
        let both = load(Settings { admin_tls_cert, admin_tls_key, ..http_only }).unwrap();
        assert!(both.listeners.http_tls.is_some() && both.listeners.admin_tls.is_some());
    }

    #[test]
    fn telemetry_is_never_where_others_can_reach_it_unasked() {
        let (http_tls_cert, http_tls_key) = certificate();
        for insecure in [None, Some(true)] {
            let (http_tls_cert, http_tls_key) = (http_tls_cert.clone(), http_tls_key.clone());
            let without_admin = Settings { admin: None, http_tls_cert, http_tls_key, ..open(insecure) };
            assert!(load(without_admin).unwrap_err().contains("set admin"));
        }
        let (admin_tls_cert, admin_tls_key) = certificate();
        let nowhere = Settings { admin_tls_cert, admin_tls_key, ..Settings::default() };
        assert!(load(nowhere).unwrap_err().contains("no listener"));
    }

    #[test]
    fn half_a_certificate_is_a_problem() {
        let half = |cert: bool, key: bool, ca: bool| {
            let some = |given: bool| given.then(|| PathBuf::from("x.pem"));
            load(Settings {
                http_tls_cert: some(cert),
                http_tls_key: some(key),
                http_tls_client_ca: some(ca),
                ..Settings::default()
            })
        };
        assert!(half(true, false, false).unwrap_err().contains("http_tls_cert: "));
        assert!(half(false, true, true).unwrap_err().contains("http_tls_key: "));
        assert!(half(false, false, true).unwrap_err().contains("http_tls_client_ca: "));
        let whole = half(true, true, true).unwrap().listeners.http_tls.unwrap();
        assert_eq!(whole.client_ca, Some("x.pem".into()));
    }

    #[test]
    fn the_binary_protocol_can_be_turned_off_moved_and_protected() {
        let tcp = |text: &str| Settings { tcp: Some(text.to_owned()), ..Settings::default() };
        assert_eq!(load(tcp("off")).unwrap().tcp, None);
        assert_eq!(load(tcp("[::1]:9")).unwrap().tcp, Some("[::1]:9".parse().unwrap()));
        let problems = load(tcp("0.0.0.0:9")).unwrap_err();
        assert!(problems.starts_with("tcp: 0.0.0.0:9") && problems.contains("tcp_tls_cert"), "{problems}");
        let (tcp_tls_cert, tcp_tls_key) = certificate();
        let protected = |text: &str| Settings {
            tcp_tls_cert: tcp_tls_cert.clone(),
            tcp_tls_key: tcp_tls_key.clone(),
            ..tcp(text)
        };
        assert!(load(protected("0.0.0.0:9")).unwrap().listeners.tcp_tls.is_some());
        assert!(load(protected("off")).unwrap_err().contains("no listener"));
        assert!(load(Settings { insecure: Some(true), ..tcp("0.0.0.0:9") }).is_ok());
    }

    #[test]
    fn addresses_that_meet_are_a_problem_before_the_system_says_so() {
        let both = |tcp: &str, http: &str| {
            load(Settings { tcp: Some(tcp.to_owned()), http: Some(http.to_owned()), ..Settings::default() })
        };
        assert!(both("127.0.0.1:0", "127.0.0.1:0").is_ok());
        assert!(both("127.0.0.1:7", "127.0.0.2:7").is_ok());
        assert!(both("127.0.0.1:7", "127.0.0.1:7").unwrap_err().contains("tcp: 127.0.0.1:7 meets"));
        let admin =
            Settings { admin: Some("0.0.0.0:3001".into()), insecure: Some(true), ..Settings::default() };
        assert!(load(admin).unwrap_err().contains("meets the address of admin"));
    }

    #[test]
    fn users_of_the_unix_socket_are_numbers_some_with_a_service() {
        let uids = |text: &str| {
            let unix = Some("/run/t.sock".into());
            load(Settings { unix, unix_uids: Some(text.to_owned()), ..Settings::default() })
        };
        let user = |uid, service: Option<&str>| UnixUser { uid, service: service.map(str::to_owned) };
        let users = uids("33=7001, 1000,").unwrap().listeners.unix_users;
        assert_eq!(users, [user(33, Some("7001")), user(1000, None)]);
        for wrong in ["www-data", "-1", "4294967296", "1=", "=3"] {
            assert!(uids(wrong).unwrap_err().starts_with("unix_uids: "), "{wrong}");
        }
        assert!(uids("1,2,1=3").unwrap_err().contains("twice"));
        for (count, good) in [(UNIX_USERS_MAX, true), (UNIX_USERS_MAX + 1, false)] {
            let all: Vec<_> = (0..count).map(|uid| uid.to_string()).collect();
            assert_eq!(uids(&all.join(",")).is_ok(), good, "{count}");
        }
        let homeless = Settings { unix_uids: Some("1".into()), ..Settings::default() };
        assert!(load(homeless).unwrap_err().contains("set unix"));
        for (len, good) in [(UNIX_PATH_BYTES_MAX, true), (UNIX_PATH_BYTES_MAX + 1, false)] {
            let unix = Some(PathBuf::from("u".repeat(len)));
            assert_eq!(load(Settings { unix, ..Settings::default() }).is_ok(), good, "{len}");
        }
    }

    #[test]
    fn a_listener_promises_what_it_is_set_to() {
        let all = |text: &str| {
            let promise = Some(text.to_owned());
            load(Settings {
                http_promise: promise.clone(),
                tcp_promise: promise.clone(),
                unix_promise: promise,
                ..Settings::default()
            })
        };
        for (text, promise) in [("durable", Promise::Durable), ("interval", Promise::Interval)] {
            let set = all(text).unwrap().listeners;
            assert_eq!([set.http_promise, set.tcp_promise, set.unix_promise], [Some(promise); 3]);
        }
        let problems = all("yes").unwrap_err();
        for key in ["http_promise: \"yes\"", "tcp_promise: ", "unix_promise: "] {
            assert!(problems.contains(key), "{problems}");
        }
    }

    #[test]
    fn limits_have_bounds_and_defaults() {
        let config = load(Settings::default()).unwrap();
        assert_eq!(config.listeners, Listeners::default());
        let half = load(Settings { connections_max: Some(101), ..Settings::default() }).unwrap();
        assert_eq!(half.listeners.connections_per_peer_max, 51);
        for (seconds, good) in [(0, false), (1, true), (3600, true), (3601, false)] {
            let all = Some(seconds);
            let settings = Settings {
                head_timeout_s: all,
                body_timeout_s: all,
                idle_timeout_s: all,
                ..Settings::default()
            };
            let loaded = load(settings);
            assert_eq!(loaded.is_ok(), good, "{seconds}");
            if let Err(problems) = loaded {
                assert_eq!(problems.lines().count(), 3, "{problems}");
            }
        }
        for (count, good) in [(0, false), (1, true), (1_000_000, true), (1_000_001, false)] {
            let settings = Settings { connections_per_peer_max: Some(count), ..Settings::default() };
            assert_eq!(load(settings).is_ok(), good, "{count}");
        }
    }
}
