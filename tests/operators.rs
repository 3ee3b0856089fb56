//! What operators are shown of decisions: the top applications of the last minute, and explanations.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/setup.rs"]
mod setup;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use common::{NOON, Node, runtime};
use setup::Setup;
use tollgate::engine::Verdict;
use tollgate::http::{Config, explain};
use tollgate::model::time::UnixMillis;

const CATALOG: [&str; 9] = [
    "tenant pk",
    "service 1001 version=2 token=tok",
    "metric hits",
    "metric search hits",
    "plan Basic",
    "limit hits day 10",
    "limit search day 2 shadow=on",
    "application busy key=k1",
    "application calm",
];

/// What the process's recorder has; installed before the first node counts.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

fn start(runtime: &tokio::runtime::Runtime) -> (Node, Setup) {
    recorder();
    let node = Node::start(runtime, Config::default(), Duration::from_secs(10));
    let mut setup = Setup::default();
    CATALOG.iter().for_each(|line| setup.run(&node.engine, line));
    (node, setup)
}

fn ranked(node: &Node) -> Vec<String> {
    node.telemetry.rank(&node.engine.catalog());
    let text = node.telemetry.ranked();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_top_tells_of_denials_shadow_and_near_limits_of_the_last_minute_only() {
    let runtime = runtime();
    let (node, _) = start(&runtime);
    let mut client = node.connect();
    let mut authrep = |app: &str, usage: &str| {
        client.get(&format!("/transactions/authrep.xml?provider_key=pk&app_id={app}&{usage}")).status
    };
    assert_eq!(authrep("calm", "usage[hits]=8"), 200);
    assert_eq!(ranked(&node), [""; 0], "eight of ten are not near");
    assert_eq!(authrep("calm", "usage[hits]=1"), 200);
    assert_eq!(authrep("calm", "usage[hits]=2"), 409);
    assert_eq!(authrep("busy", "app_key=wrong"), 409);
    assert_eq!(authrep("busy", "app_key=wrong"), 409);
    assert_eq!(authrep("busy", "app_key=k1&usage[search]=3"), 200);
    assert_eq!(authrep("nobody", ""), 404);
    assert_eq!(
        ranked(&node),
        [
            r#"tollgate_top_denied_calls{service="1001",application="busy"} 2"#,
            r#"tollgate_top_denied_calls{service="1001",application="calm"} 1"#,
            r#"tollgate_top_would_deny_calls{service="1001",application="busy"} 1"#,
            r#"tollgate_top_near_limit_ratio{service="1001",application="busy"} 1.500"#,
            r#"tollgate_top_near_limit_ratio{service="1001",application="calm"} 0.900"#,
        ]
    );
    assert_eq!(ranked(&node), [""; 0], "a minute later nobody is at the top");
    let counted = recorder().render();
    let would_deny =
        |reason: &str| format!("tollgate_would_deny_total{{call=\"authrep\",reason=\"{reason}\"}} ");
    assert!(counted.contains(&(would_deny("limits_exceeded") + "1\n")), "{counted}");
    assert!(counted.contains(&(would_deny("application_key_invalid") + "0\n")), "{counted}");
    assert!(!counted.contains(&would_deny("metric_invalid")), "a refusal is never set aside");
}

#[test]
fn a_call_is_explained_however_it_is_written() {
    let runtime = runtime();
    let (node, _) = start(&runtime);
    let wall = UnixMillis(NOON);
    let query = "service_id=1001&service_token=tok&app_id=calm&usage[search]=1&usage%5Bhits%5D=11";
    for call in [
        query.to_owned(),
        format!("/transactions/authorize.xml?{query}"),
        format!("http://localhost:3000/transactions/authrep.xml?{query}"),
        format!("{query}&referrer=http://example.org/?a=b"),
    ] {
        let explanation = explain(&node.engine, &call, "", wall);
        assert!(matches!(&explanation.verdict, Verdict::Denied(_)), "{call}: {explanation}");
        assert_eq!(explanation.decided_by, "limit hits/day: 0 counted, 12 with this call, at most 10");
        assert_eq!(explanation.service.unwrap().known_by, "service_token");
    }
    let flat = explain(&node.engine, query, "flat_usage=1", wall);
    assert_eq!(flat.decided_by, "limit hits/day: 0 counted, 11 with this call, at most 10");
    let oauth = explain(&node.engine, &format!("oauth_authrep.xml?{query}"), "", wall);
    assert_eq!(oauth.decided_by, "the service's backend version");
}

#[test]
fn a_call_that_cannot_be_read_is_explained_as_such() {
    let runtime = runtime();
    let (node, _) = start(&runtime);
    for (call, code) in [
        ("/transactions.xml?service_id=1001", "not_found"),
        ("app_id=%zz", "bad_request"),
        ("app_id=%ff", "not_valid_data"),
        ("provider_key=pk&app_id=calm&usage=1", "usage_not_a_hash"),
        ("provider_key=pk&app_id=calm&user_id=1", "end_users_no_longer_supported"),
        ("", "provider_key_or_service_token_required"),
    ] {
        let explanation = explain(&node.engine, call, "", UnixMillis(NOON));
        assert!(
            matches!(&explanation.verdict, Verdict::Refused(reason) if reason.code == code),
            "{explanation}"
        );
        assert!(explanation.service.is_none() && explanation.limits.is_empty());
    }
}
