//! Listeners from their configuration: sockets, certificates, limits.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};

use super::NodeError;
use crate::config::{Config, Tls};
use crate::http;
use crate::http::tls::{Certificates, TlsFiles};

/// Listens on an address; with port 0 on any that is free, which is the one returned.
pub(super) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port whose last connections are still in TIME_WAIT is free all the same.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(4096)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| NodeError::Address { address, source })
}

/// The certificate of a listener, if it has one.
pub(super) fn certificates(tls: Option<&Tls>) -> Result<Option<Arc<Certificates>>, NodeError> {
    let Some(Tls { cert, key, client_ca }) = tls.cloned() else { return Ok(None) };
    Ok(Some(Arc::new(Certificates::load(TlsFiles { chain: cert, key, client_ca })?)))
}

/// The limits of a listener.
pub(super) fn limits(config: &Config, tls: Option<Arc<Certificates>>) -> http::Config {
    http::Config {
        connections_max: config.connections_max,
        connections_per_peer_max: config.listeners.connections_per_peer_max,
        head_timeout: config.listeners.head_timeout,
        handshake_timeout: config.listeners.head_timeout,
        idle_timeout: config.listeners.idle_timeout,
        drain_timeout: config.drain_deadline,
        tls,
        ..http::Config::default()
    }
}
