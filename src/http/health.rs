//! Health for orchestrators and telemetry for Prometheus.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;

use super::answer::{self, Response};

/// Says why the node should not get traffic.
pub trait Readiness: Send + Sync {
    /// One line per reason; none if the node is ready.
    fn reasons(&self) -> Vec<String>;
}

impl<F: Fn() -> Vec<String> + Send + Sync> Readiness for F {
    fn reasons(&self) -> Vec<String> {
        self()
    }
}

/// `/healthz` (the process answers), `/readyz` (it should get traffic) and, where given, `/metrics`.
#[derive(Clone)]
pub struct Health {
    readiness: Arc<dyn Readiness>,
    metrics: Option<PrometheusHandle>,
}

impl Health {
    /// Health without `/metrics`.
    #[must_use]
    pub fn new(readiness: Arc<dyn Readiness>) -> Health {
        Health { readiness, metrics: None }
    }

    /// The same with `/metrics`, whose numbers tell about traffic: not for a listener that anyone may reach.
    #[must_use]
    pub fn with_metrics(self, handle: PrometheusHandle) -> Health {
        Health { metrics: Some(handle), ..self }
    }

    /// The answer, if the path is one of health's.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response> {
        if *method != Method::GET && *method != Method::HEAD {
            return None;
        }
        match (path, &self.metrics) {
            ("/healthz", _) => Some(answer::text(StatusCode::OK, "ok\n")),
            ("/readyz", _) => Some(self.ready()),
            ("/metrics", Some(handle)) => Some(rendered(handle)),
            _ => None,
        }
    }

    fn ready(&self) -> Response {
        let reasons = self.readiness.reasons();
        if reasons.is_empty() {
            return answer::text(StatusCode::OK, "ready\n");
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n")))
    }
}

fn rendered(handle: &PrometheusHandle) -> Response {
    // Folds what histograms have collected into their buckets; without it they would grow for ever.
    handle.run_upkeep();
    let mut response = answer::text(StatusCode::OK, handle.render());
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
