//! Calls that go out: webhooks of tenants, and what the command line asks of nodes and of other systems.
//!
//! Whoever names a URL to a node makes the node call it, from where the node stands. So [`Reach`] says which addresses may
//! be called; it is applied to the address that is connected to, after names are resolved, so that no name that leads elsewhere passes
//! it. No redirect is followed, no proxy of the environment used: each would lead past it.
//!
//! Calls block: they are made on threads that may, each with one deadline for all of it.

mod reach;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Request as Built, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

pub use reach::{Allowed, NotAllowed, Reach};

/// Who is believed to be who they say, over https.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// Mozilla's list, as it was when this was built.
    Web,
    /// The authorities in a file, in PEM form, and nobody else.
    File(PathBuf),
}

/// What calls are made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// What may be called.
    pub reach: Reach,
    /// The longest that a call takes, from the name's resolution to the answer's last byte.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub body_bytes_max: usize,
    /// Whose certificates are believed.
    pub roots: Roots,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// HTTP's name of the method.
    pub method: &'r str,
    /// Where to: `http://` or `https://`.
    pub url: &'r str,
    /// Names and values. `Host`, `Content-Length` and `User-Agent` are set without being named.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body; empty if there is none.
    pub body: &'r [u8],
}

/// What is answered, whatever the status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names, in lower case, and values; those that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of a name, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How long the other side asks to wait, where it says so in seconds. Dates are not read: they need its clock.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why a call was not answered, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The URL, a header or the method cannot be sent.
    #[error("not a call that can be made: {0}")]
    Call(String),
    /// Nothing was sent.
    #[error(transparent)]
    NotAllowed(NotAllowed),
    /// The host has no address.
    #[error("there is no such host")]
    NoHost,
    /// What took too long is in the text.
    #[error("no answer in time: {0}")]
    Slow(String),
    /// The answer's body is longer than is taken.
    #[error("the answer is longer than {0} bytes")]
    Long(usize),
    /// The authorities cannot be read.
    #[error("{}: {problem}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Connecting, TLS, or HTTP failed.
    #[error("{0}")]
    Failed(String),
}

/// What makes calls. Connections are kept for a while and used again.
#[derive(Clone)]
pub struct Http {
    agent: Agent,
    body_bytes_max: usize,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("body_bytes_max", &self.body_bytes_max).finish_non_exhaustive()
    }
}

/// Finds addresses, and leaves out those that may not be called.
#[derive(Debug)]
struct Guarded {
    reach: Reach,
    resolver: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let found = self.resolver.resolve(uri, config, timeout)?;
        let mut reachable = self.empty();
        let mut refused = None;
        for address in found.iter() {
            match self.reach.check(host, *address) {
                Ok(()) => reachable.push(*address),
                Err(not_allowed) => refused = Some(not_allowed),
            }
        }
        match refused {
            Some(not_allowed) if reachable.is_empty() => Err(Error::Other(Box::new(not_allowed))),
            _ => Ok(reachable),
        }
    }
}

impl Http {
    /// What makes calls in this way.
    ///
    /// # Errors
    /// [`OutgoingError::Roots`].
    pub fn new(options: Options) -> Result<Http, OutgoingError> {
        let Options { reach, timeout, body_bytes_max, roots } = options;
        let tls = TlsConfig::builder().root_certs(root_certificates(&roots)?).build();
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let resolver = Guarded { reach, resolver: DefaultResolver::default() };
        Ok(Http { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), body_bytes_max })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// [`OutgoingError`]. Whether the other side got the call is not known then, unless it is `Call`, `NotAllowed` or `NoHost`.
    pub fn call(&self, request: &Request<'_>) -> Result<Response, OutgoingError> {
        let (head, body) = self.answered(request)?.into_parts();
        let headers = head.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Ok(Response { status: head.status.as_u16(), headers: headers.collect(), body: self.read(body)? })
    }

    /// Makes a call of whose answer only the status matters: nothing else of it is read.
    ///
    /// # Errors
    /// As [`Http::call`].
    pub fn status(&self, request: &Request<'_>) -> Result<u16, OutgoingError> {
        self.answered(request).map(|answer| answer.status().as_u16())
    }

    fn answered(&self, request: &Request<'_>) -> Result<ureq::http::Response<ureq::Body>, OutgoingError> {
        let mut built = Built::builder().method(request.method).uri(request.url);
        for (name, value) in request.headers {
            built = built.header(*name, *value);
        }
        let scheme = request.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(OutgoingError::Call("the URL begins with neither http:// nor https://".to_owned()));
        }
        let answered = if request.body.is_empty() && !matches!(request.method, "POST" | "PUT" | "PATCH") {
            let built = built.body(()).map_err(|error| OutgoingError::Call(error.to_string()))?;
            self.agent.run(self.agent.configure_request(built).allow_non_standard_methods(true).build())
        } else {
            let built = built.body(request.body).map_err(|error| OutgoingError::Call(error.to_string()))?;
            self.agent.run(self.agent.configure_request(built).allow_non_standard_methods(true).build())
        };
        answered.map_err(failure)
    }

    fn read(&self, body: ureq::Body) -> Result<Vec<u8>, OutgoingError> {
        let mut read = Vec::new();
        // One byte more than is taken tells that there is more.
        let mut reader = body.into_reader().take(self.body_bytes_max as u64 + 1);
        reader.read_to_end(&mut read).map_err(|error| failure(Error::from(error)))?;
        if read.len() > self.body_bytes_max {
            return Err(OutgoingError::Long(self.body_bytes_max));
        }
        Ok(read)
    }
}

fn root_certificates(roots: &Roots) -> Result<RootCerts, OutgoingError> {
    match roots {
        Roots::Web => Ok(RootCerts::WebPki),
        Roots::File(path) => certificates_in(path).map(|found| RootCerts::new_with_certs(&found)),
    }
}

fn certificates_in(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, OutgoingError> {
    let wrong = |problem: String| OutgoingError::Roots { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if found.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn failure(error: Error) -> OutgoingError {
    match error {
        Error::Other(inner) => match inner.downcast::<NotAllowed>() {
            Ok(not_allowed) => OutgoingError::NotAllowed(*not_allowed),
            Err(other) => OutgoingError::Failed(other.to_string()),
        },
        Error::HostNotFound => OutgoingError::NoHost,
        Error::Timeout(what) => OutgoingError::Slow(what.to_string()),
        Error::BadUri(problem) => OutgoingError::Call(problem),
        other => OutgoingError::Failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
