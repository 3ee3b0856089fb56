//! The test gateway: a gateway of a process of its own, to send real API calls through. For trying things out and for tests; it
//! is no gateway for production, where APIcast or a proxy of one's own calls the node.
//!
//! # What it does with a call
//! 1. The port says the service and the environment. Its newest configuration is what the node's admin API says: for the sandbox as of
//!    this very call (`If-None-Match`), for production as of at most [`PRODUCTION_KEPT`] ago (`configs`).
//! 2. The credentials are taken from where the proxy says: query (or a form), headers, or `Authorization` (`credentials`). Without
//!    them the call is refused as the proxy says. OpenID Connect is not done: 501.
//! 3. Method, path and query are mapped to metrics by [`crate::rules`]; a call that matches nothing is refused.
//! 4. The node decides and counts: `authrep`, in 3scale's dialect, where the configuration says (`decision`). A denial by a limit of 0
//!    is a failed authentication, by any other limit an exceeded one, with `Retry-After`, as with APIcast.
//! 5. The call goes on to the private API of the backend whose path is the longest that fits, without that path (`upstream`); or it is
//!    echoed as JSON. What is sent on is the path as it was compared, so that no private API sees another than was counted.
//!
//! # How it is made
//! One thread reads connections with hyper; whatever a call takes after its body was read, the calls to the node and to
//! the private API included, is done by [`outgoing`](crate::outgoing), which blocks, on a thread of its own. So there are as many
//! threads as calls in flight, at most [`CALLS_MAX`]. The runtime is this process's: the only one that the node does not start.
//!
//! # Bounds
//! Connections ([`CONNECTIONS_MAX`]) and calls in flight of all ports together, bodies both ways ([`BODY_BYTES_MAX`]), the time of a
//! head, a body, a call to the node and one to a private API. Private APIs on this machine and its link are not called
//! unless they are listed.

mod answer;
mod configs;
mod content;
mod credentials;
mod decision;
mod passage;
mod server;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::outgoing::{Allowed, Http, Options as Outgoing, OutgoingError, Reach, Request, Response, Roots};

pub use server::{CALLS_MAX, CONNECTIONS_MAX, Serving};
pub use upstream::Upstream;

/// For how long a configuration of production is taken as it was.
pub const PRODUCTION_KEPT: Duration = Duration::from_secs(5);
/// The most bytes of a body, of calls and of answers.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest that the node may take.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a private API may take.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// What the gateway runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's admin API: a URL without a path.
    pub node: String,
    /// An access token of the tenant whose services are served, or its provider key.
    pub token: String,
    /// Whose certificates are believed of the node.
    pub roots: Roots,
    /// Where to listen; else the address in the node's `gateway_endpoint`, or, if that is a name, loopback.
    pub bind: Option<IpAddr>,
    /// Also addresses that other machines can reach, although there is no TLS.
    pub insecure: bool,
    /// What is done with calls that are let through.
    pub upstream: Upstream,
    /// What private APIs may be called although they are on this machine or its link.
    pub allowed: Vec<Allowed>,
}

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The node does not answer.
    #[error("the node at {node} does not answer: {source}")]
    Node {
        /// Its URL.
        node: String,
        /// Why.
        source: OutgoingError,
    },
    /// The node answers something else than it should.
    #[error("the node at {node} {problem}")]
    Answer {
        /// Its URL.
        node: String,
        /// What it does.
        problem: String,
    },
    /// The authorities cannot be read.
    #[error(transparent)]
    Roots(#[from] OutgoingError),
    /// Other machines could reach it.
    #[error("{0} can be reached by other machines, and there is no TLS: --insecure allows it")]
    Open(IpAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Threads or signals are not to be had.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// The node, as the gateway calls it.
#[derive(Debug)]
struct Node {
    http: Http,
    url: String,
    authorization: String,
}

impl Node {
    fn new(options: &Options) -> Result<Node, OutgoingError> {
        let http = Http::new(Outgoing {
            reach: Reach::anywhere(),
            timeout: NODE_TIMEOUT,
            body_bytes_max: BODY_BYTES_MAX,
            roots: options.roots.clone(),
        })?;
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:", options.token)));
        Ok(Node { http, url: options.node.trim_end_matches('/').to_owned(), authorization })
    }

    /// Asks the admin API for what is at a path; for nothing, if that is what `etag` names.
    fn ask(&self, path: &str, etag: Option<&str>) -> Result<Response, OutgoingError> {
        let mut headers = vec![("authorization", self.authorization.as_str())];
        headers.extend(etag.map(|etag| ("if-none-match", etag)));
        let url = format!("{}/admin/api/{path}.json", self.url);
        self.http.call(&Request { method: "GET", url: &url, headers: &headers, body: &[] })
    }
}
