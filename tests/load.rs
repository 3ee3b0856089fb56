//! `tollgate load` as its users run it: against a node of its own, against one that runs, and against nobody.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::process::{Process, tollgate};

fn load(words: &str) -> Output {
    load_with(words, None)
}

fn load_with(words: &str, token: Option<&str>) -> Output {
    let mut command = tollgate();
    command.arg("load").args(words.split_whitespace());
    if let Some(token) = token {
        command.env("TOLLGATE_LOAD_TOKEN", token);
    }
    command.output().unwrap()
}

/// A short load of a node of its own, which must have counted what it said yes to.
fn report(words: &str) -> Value {
    let output = load(&format!("--duration 0.4 --warm-up 0.1 --json {words}"));
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["errors"], 0, "{report}");
    assert!(report["counted"].as_u64().unwrap() >= report["yes"].as_u64().unwrap(), "{report}");
    report
}

fn of(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap()
}

#[test]
fn a_node_of_its_own_is_loaded_and_checked_over_http() {
    let report = report("--protocol http --applications 50 --connections 3");
    assert!(of(&report, "yes") > 50, "{report}");
    assert_eq!((of(&report, "no"), of(&report, "decisions")), (0, of(&report, "yes")));
    let latency = &report["latency_us"];
    let quantiles = ["p50", "p90", "p99", "p99_9", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(quantiles[0] > 1.0 && quantiles.is_sorted(), "{report}");
    let cpu = report["server_cpu"]["us_per_decision"].as_f64().unwrap();
    assert!(cpu > 1.0 && cpu < 10_000.0, "{report}");
}

#[test]
fn a_node_of_its_own_is_loaded_and_checked_over_the_binary_protocol() {
    for words in
        ["", "--by key --keys zipf", "--batch 16 --depth 4", "--batch 300 --depth 1 --by key", "--shape wide"]
    {
        let report = report(&format!("--applications 200 --connections 4 {words}"));
        assert!(of(&report, "yes") > 1000, "{report}");
    }
}

#[test]
fn limits_deny_and_nothing_is_counted_beyond_them() {
    for words in ["--protocol http", "--protocol binary"] {
        let report = report(&format!("--applications 3 --limit 5 --connections 2 {words}"));
        assert!(of(&report, "no") > 0, "{report}");
        // A minute may have passed in between.
        assert!([15, 30].contains(&of(&report, "counted")), "{report}");
    }
}

#[test]
fn a_fixed_rate_is_kept_and_its_latencies_begin_when_requests_are_due() {
    let report = report("--protocol http --applications 10 --connections 2 --rate 200");
    // 80 are due in 0.4 seconds, and all are answered.
    assert!((75..=85).contains(&of(&report, "decisions")), "{report}");
    assert!(report["sent_late_p99_us"].as_f64().unwrap() >= 0.0);
    assert_eq!(of(&report, "unsent"), 0, "{report}");
}

#[test]
fn nothing_is_left_behind_not_even_after_an_interrupt() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = tollgate();
    command.args(["load", "--protocol", "http", "--applications", "5", "--duration", "600"]);
    let child = command
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_empty = || std::fs::read_dir(temporary.path()).unwrap().next().is_none();
    let begin = Instant::now();
    while is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no node was started");
        std::thread::sleep(Duration::from_millis(5));
    }
    // By now it may still be getting ready, or be under load.
    std::thread::sleep(Duration::from_millis(700));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let measured = output.status.success() && out.contains("exact        the node counted");
    assert!(measured || error.contains("stopped before anything"), "{out}\n{error}");
    assert!(begin.elapsed() < Duration::from_secs(60) && is_empty());
}

/// The id, token and user key of the sample that a node with an empty directory begins with.
fn sample(node: &Process) -> [String; 3] {
    ["service id", "service token", "user key"].map(|name| {
        let line = node.printed.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.trim_start()[name.len()..].split_whitespace().next().unwrap().to_owned()
    })
}

#[test]
fn a_running_node_is_loaded_with_the_credentials_that_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tollgate();
    command
        .args(["serve", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data"));
    let node = Process::start(command);
    let [service, token, user_key] = sample(&node);
    let words = format!(
        "http://{} --service {service} --user-key {user_key} --duration 0.2 --warm-up 0 --pid {}",
        node.address,
        node.id()
    );
    let output = load_with(&words, Some(&token));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" us per decision") && !text.contains("exact"), "{text}");
    assert!(!text.contains(&token));
    // The sample's plan has ten calls a minute.
    assert!(text.contains("answers      10 yes, ") || text.contains("answers      20 yes, "), "{text}");

    let output = load_with(&words, Some("wrong"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("status 403: ") && text.contains("answers      0 yes, 0 no, "), "{text}");

    let (_, tcp) = node.printed.split_once("tcp://").unwrap();
    let tcp = tcp.split_whitespace().next().unwrap();
    let words = words.replace(&format!("http://{}", node.address), &format!("tcp://{tcp}"));
    let output = load_with(&words, Some(&token));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 application by handle"), "{text}");

    let output = load_with(&words, Some("wrong"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with("tollgate: the node refuses our credentials: "), "{error}");
}

#[test]
fn what_keeps_a_load_from_beginning_is_told_in_a_sentence() {
    // Bound and closed again, so that nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["tcp", "http"] {
        let output = load_with(&format!("{scheme}://{address} --service s --user-key k"), Some("t"));
        let error = String::from_utf8(output.stderr).unwrap();
        let wanted = format!("tollgate: cannot connect to {scheme}://{address}: ");
        assert!(output.status.code() == Some(1) && error.starts_with(&wanted), "{error}");
    }
    let output = load("unix:/nowhere/node.sock --user-key k");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect to unix:/nowhere/node.sock"));
    let output = load("tcp://127.0.0.1:1 --user-key k");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a token is missing"));
}

#[test]
fn who_speaks_something_else_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tollgate();
    command
        .args(["serve", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data"));
    let node = Process::start(command);
    let output = load_with(&format!("tcp://{} --service s --user-key k", node.address), Some("t"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("does not speak the binary protocol"), "{error}");
}
