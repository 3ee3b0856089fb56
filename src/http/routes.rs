//! Which path of a listener belongs to whom.
//!
//! A listener is a [`Routes`]: health, and for data the 3scale dialect. Plugins add an [`Extension`]; the
//! dialect owns every path that nobody else does, so that its 404 is the one that gateways know.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, StatusCode};

use super::answer::{self, Response};
use super::dialect::Dialect;
use super::health::Health;

/// A future that borrows what answers.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Routes that a plugin adds to a listener.
pub trait Extension: Send + Sync {
    /// Whether a path, as it was sent (not decoded), is this extension's.
    fn owns(&self, path: &str) -> bool;

    /// Answers a request for a path it owns.
    fn answer(&self, request: Request<hyper::body::Incoming>) -> Answering<'_>;
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

    /// The same with the paths of a plugin.
    #[must_use]
    pub fn with(mut self, extension: Box<dyn Extension>) -> Routes {
        self.extensions.push(extension);
        self
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response {
        let path = request.uri().path();
        if !path.starts_with("/transactions") {
            if let Some(response) = self.health.answer(request.method(), path) {
                return response;
            }
            if let Some(extension) = self.extensions.iter().find(|extension| extension.owns(path)) {
                return extension.answer(request).await;
            }
        }
        self.otherwise(request).await
    }

    async fn otherwise<B>(&self, request: Request<B>) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        match &self.dialect {
            Some(dialect) => dialect.answer(request).await,
            None => answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}
