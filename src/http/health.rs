//! Health for orchestrators and telemetry for Prometheus.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;

use super::answer::{self, Response};
use super::telemetry::Telemetry;

/// Says why the node should not get traffic.
pub trait Readiness: Send + Sync {
    /// One line per reason; none if the node is ready.
    fn reasons(&self) -> Vec<String>;

    /// What should be known although it is no reason against traffic, one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
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
    metrics: Option<(PrometheusHandle, Arc<Telemetry>)>,
}

impl Health {
    /// Health without `/metrics`.
    #[must_use]
    pub fn new(readiness: Arc<dyn Readiness>) -> Health {
        Health { readiness, metrics: None }
    }

    /// The same with `/metrics`, whose numbers tell about traffic: not for a listener that anyone may reach.
    #[must_use]
    pub fn with_metrics(self, handle: PrometheusHandle, telemetry: Arc<Telemetry>) -> Health {
        Health { metrics: Some((handle, telemetry)), ..self }
    }

    /// The answer, if the path is one of health's.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response> {
        if *method != Method::GET && *method != Method::HEAD {
            return None;
        }
        match (path, &self.metrics) {
            ("/healthz", _) => Some(answer::text(StatusCode::OK, "ok\n")),
            ("/readyz", _) => Some(self.ready()),
            ("/metrics", Some((handle, telemetry))) => {
                telemetry.publish();
                Some(rendered(handle, &telemetry.ranked()))
            }
            _ => None,
        }
    }

    fn ready(&self) -> Response {
        let reasons = self.readiness.reasons();
        if reasons.is_empty() {
            let lines = [vec!["ready".to_owned()], self.readiness.notes()].concat();
            return answer::text(StatusCode::OK, format!("{}\n", lines.join("\n")));
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n")))
    }
}

fn rendered(handle: &PrometheusHandle, more: &str) -> Response {
    // Folds what histograms have collected into their buckets; without it they would grow for ever.
    handle.run_upkeep();
    let mut response = answer::text(StatusCode::OK, handle.render() + more);
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn text(response: Response) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn get(health: &Health, path: &str) -> Option<(u16, String)> {
        health.answer(&Method::GET, path).map(|response| (response.status().as_u16(), text(response)))
    }

    #[test]
    fn readiness_tells_its_reasons() {
        let ready = Health::new(Arc::new(Vec::new));
        assert_eq!(get(&ready, "/readyz"), Some((200, "ready\n".into())));
        let unready = Health::new(Arc::new(|| vec!["disk is full".to_owned(), "clock is behind".to_owned()]));
        assert_eq!(get(&unready, "/readyz"), Some((503, "disk is full\nclock is behind\n".into())));
        assert_eq!(get(&unready, "/healthz"), Some((200, "ok\n".into())));
    }

    #[test]
    fn a_note_is_told_and_does_not_make_it_unready() {
        struct Noting;
        impl Readiness for Noting {
            fn reasons(&self) -> Vec<String> {
                Vec::new()
            }
            fn notes(&self) -> Vec<String> {
                vec!["full of ids".to_owned()]
            }
        }
        let health = Health::new(Arc::new(Noting));
        assert_eq!(get(&health, "/readyz"), Some((200, "ready\nfull of ids\n".into())));
    }

    #[test]
    fn metrics_are_shown_only_where_they_were_given() {
        let health = Health::new(Arc::new(Vec::new));
        assert!(get(&health, "/metrics").is_none());
        let recorder = PrometheusBuilder::new().build_recorder();
        let telemetry = metrics::with_local_recorder(&recorder, || Arc::new(Telemetry::default()));
        let health = health.with_metrics(recorder.handle(), Arc::clone(&telemetry));
        telemetry.decided(super::super::telemetry::Call::Authrep, "authorized");
        let (status, body) = get(&health, "/metrics").unwrap();
        assert_eq!(status, 200);
        assert!(
            body.contains("tollgate_decisions_total{call=\"authrep\",result=\"authorized\"} 1"),
            "{body}"
        );
        assert!(body.contains("\n# TYPE tollgate_top_denied_calls gauge\n"), "{body}");
    }

    #[test]
    fn other_methods_and_paths_are_not_healths() {
        let health = Health::new(Arc::new(Vec::new));
        assert!(health.answer(&Method::POST, "/healthz").is_none());
        assert!(get(&health, "/healthz/").is_none());
    }
}
