//! Listeners from their configuration: certificates and limits. Their sockets are in [`front`](super::front).

use std::sync::Arc;

use super::{NodeError, telemetry};
use crate::config::{self, Config, Listeners, Tls};
use crate::http;
use crate::listener::tls::{Certificates, TlsFiles};
use crate::listener::{Departure, Limits};
use crate::model::promise::Promise;
use crate::tcp::{self, Opens, UnixUser};

/// What is spoken by TLS on the HTTP listeners.
const ALPN_HTTP: &[u8] = b"http/1.1";
/// And on the binary protocol's.
const ALPN_BINARY: &[u8] = b"tollgate/1";

/// The certificates that the listeners show, where they have one.
pub(super) struct Shown {
    pub(super) http: Option<Arc<Certificates>>,
    pub(super) admin: Option<Arc<Certificates>>,
    pub(super) tcp: Option<Arc<Certificates>>,
}

impl Shown {
    /// Reads the files that `listeners` name.
    pub(super) fn load(listeners: &Listeners) -> Result<Shown, NodeError> {
        let load = |tls: &Option<Tls>, protocol| {
            let Some(Tls { cert, key, client_ca }) = tls.clone() else { return Ok(None) };
            Certificates::load(TlsFiles { chain: cert, key, client_ca }, protocol)
                .map(|it| Some(Arc::new(it)))
        };
        Ok(Shown {
            http: load(&listeners.http_tls, ALPN_HTTP)?,
            admin: load(&listeners.admin_tls, ALPN_HTTP)?,
            tcp: load(&listeners.tcp_tls, ALPN_BINARY)?,
        })
    }

    /// All of them.
    pub(super) fn all(self) -> Vec<Arc<Certificates>> {
        self.http.into_iter().chain(self.admin).chain(self.tcp).collect()
    }
}

/// The limits of a listener, from which `departure` sends clients away.
pub(super) fn limits(config: &Config, tls: Option<Arc<Certificates>>, departure: Departure) -> Limits {
    Limits {
        connections_max: config.connections_max,
        connections_per_peer_max: config.listeners.connections_per_peer_max,
        handshake_timeout: config.listeners.head_timeout,
        drain_timeout: config.drain_deadline,
        tls,
        departure,
        ..Limits::default()
    }
}

/// Those of an HTTP listener.
pub(super) fn http_limits(config: &Config, limits: Limits) -> http::Config {
    http::Config {
        limits,
        head_timeout: config.listeners.head_timeout,
        idle_timeout: config.listeners.idle_timeout,
        ..http::Config::default()
    }
}

/// Those of the binary protocol, beyond what every listener has.
pub(super) fn tcp_limits(config: &Config) -> tcp::Config {
    let own = own_users().map(|uid| UnixUser { uid, opens: Opens::AllServices });
    let others = config.listeners.unix_users.iter().map(|user| UnixUser {
        uid: user.uid,
        opens: user.service.clone().map_or(Opens::AllServices, Opens::Service),
    });
    tcp::Config {
        greeting_timeout: config.listeners.head_timeout,
        idle_timeout: config.listeners.idle_timeout,
        behind_after: telemetry::UNFLUSHED_AGE_MAX,
        tcp_promise: promise(config.listeners.tcp_promise),
        unix_promise: promise(config.listeners.unix_promise),
        unix_users: own.into_iter().chain(others).collect(),
    }
}

/// What a listener is set to.
pub(super) fn promise(set: Option<config::Promise>) -> Option<Promise> {
    set.map(|it| match it {
        config::Promise::Durable => Promise::Durable,
        config::Promise::Interval => Promise::Interval,
    })
}

/// The users who can read the data directory, node secret and all: the node's own, and root.
pub(super) fn own_users() -> [u32; 2] {
    [rustix::process::geteuid().as_raw(), 0]
}
