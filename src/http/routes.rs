//! Which path of a listener belongs to whom.
//!
//! A listener is a [`Routes`]: health, and for data the 3scale dialect. Plugins add an [`Extension`]; the
//! dialect owns every path that nobody else does, so that its 404 is the one that gateways know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Version};

use super::answer::{self, Response};
use super::dialect::{Begun, Dialect};
use super::health::Health;
use crate::listener::Peer;
use crate::plugin::errors::IntegrationErrors;

/// A future that borrows what answers.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Routes that a plugin adds to a listener.
pub trait Extension: Send + Sync {
    /// Whether a path, as it was sent (not decoded), is this extension's.
    fn owns(&self, path: &str) -> bool;

    /// Answers a request of `peer` for a path it owns.
    fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answering<'_>;
}

/// What one listener answers.
pub struct Routes {
    dialect: Option<Dialect>,
    health: Health,
    extensions: Vec<Box<dyn Extension>>,
}

impl Routes {
    /// The data listener: the 3scale dialect and health.
    #[must_use]
    pub fn data(dialect: Dialect, health: Health) -> Routes {
        Routes { dialect: Some(dialect), health, extensions: Vec::new() }
    }

    /// The admin listener: health, and what plugins add.
    #[must_use]
    pub fn admin(health: Health) -> Routes {
        Routes { dialect: None, health, extensions: Vec::new() }
    }

    /// The same, keeping in `errors` what goes wrong with calls of known services.
    #[must_use]
    pub fn noting(mut self, errors: Arc<IntegrationErrors>) -> Routes {
        if let Some(dialect) = &mut self.dialect {
            dialect.note_errors(errors);
        }
        self
    }

    /// The same with the paths of a plugin.
    #[must_use]
    pub fn with(mut self, extension: Box<dyn Extension>) -> Routes {
        self.extend(extension);
        self
    }

    /// Adds the paths of a plugin.
    pub fn extend(&mut self, extension: Box<dyn Extension>) {
        self.extensions.push(extension);
    }

    /// Answers one request, at once if it can be.
    pub(super) fn answer(self: &Arc<Self>, request: Request<Incoming>, peer: Peer) -> Reply {
        if !names_one_host(&request) {
            return Reply::now(answer::text(StatusCode::BAD_REQUEST, "a request has one Host header\n"));
        }
        let path = request.uri().path();
        let mut extension = None;
        if !path.starts_with("/transactions") {
            if let Some(response) = self.health.answer(request.method(), path) {
                return Reply::now(response);
            }
            extension = self.extensions.iter().position(|extension| extension.owns(path));
        }
        if extension.is_none() {
            let begun = match &self.dialect {
                Some(dialect) => dialect.begin(&request, peer),
                None => Begun::Done(answer::text(StatusCode::NOT_FOUND, "not found\n")),
            };
            match begun {
                Begun::Done(response) => return Reply::now(response),
                Begun::Held(held) => return Reply::Later(Box::pin(held.settle())),
                Begun::Report => {}
            }
        }
        let routes = Arc::clone(self);
        Reply::Later(Box::pin(async move {
            match (extension.and_then(|at| routes.extensions.get(at)), &routes.dialect) {
                (Some(extension), _) => extension.answer(request, peer).await,
                (None, Some(dialect)) => dialect.answer_report(request, peer).await,
                (None, None) => answer::text(StatusCode::NOT_FOUND, "not found\n"),
            }
        }))
    }
}

/// RFC 9112, 3.2: HTTP/1.1 has one `Host`, HTTP/1.0 need not have any. Two mean that somebody between us and the
/// client may have read the other one.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    second.is_none() && (first.is_some() || request.version() == Version::HTTP_10)
}

/// An answer that is there or will be.
pub(super) enum Reply {
    Now(Option<Response>),
    Later(Answering<'static>),
}

impl Reply {
    fn now(response: Response) -> Reply {
        Reply::Now(Some(response))
    }

    /// The answer, if it is there.
    pub(super) fn is_now(&self) -> bool {
        matches!(self, Reply::Now(_))
    }
}

impl Future for Reply {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.get_mut() {
            // Polled once more after its end, which nobody does, it never ends.
            Reply::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Reply::Later(answering) => answering.as_mut().poll(cx),
        }
    }
}
