//! Listeners from their configuration: certificates and limits. Their sockets are in [`front`](super::front).

use std::sync::Arc;

use super::NodeError;
use crate::config::{Config, Listeners, Tls};
use crate::http;
use crate::listener::tls::{Certificates, TlsFiles};
use crate::listener::{Departure, Limits};

/// The certificates that the listeners show, where they have one.
pub(super) struct Shown {
    pub(super) http: Option<Arc<Certificates>>,
    pub(super) admin: Option<Arc<Certificates>>,
}

impl Shown {
    /// Reads the files that `listeners` name.
    pub(super) fn load(listeners: &Listeners) -> Result<Shown, NodeError> {
        let load = |tls: &Option<Tls>| {
            let Some(Tls { cert, key, client_ca }) = tls.clone() else { return Ok(None) };
            Certificates::load(TlsFiles { chain: cert, key, client_ca }).map(|it| Some(Arc::new(it)))
        };
        Ok(Shown { http: load(&listeners.http_tls)?, admin: load(&listeners.admin_tls)? })
    }

    /// All of them.
    pub(super) fn all(self) -> Vec<Arc<Certificates>> {
        self.http.into_iter().chain(self.admin).collect()
    }
}

/// The limits of a listener, from which `departure` sends clients away.
pub(super) fn limits(config: &Config, tls: Option<Arc<Certificates>>, departure: Departure) -> http::Config {
    http::Config {
        limits: Limits {
            connections_max: config.connections_max,
            connections_per_peer_max: config.listeners.connections_per_peer_max,
            handshake_timeout: config.listeners.head_timeout,
            drain_timeout: config.drain_deadline,
            tls,
            departure,
            ..Limits::default()
        },
        head_timeout: config.listeners.head_timeout,
        idle_timeout: config.listeners.idle_timeout,
        ..http::Config::default()
    }
}
