//! The process as its operator sees it: first start, exit codes, signals, what is remembered.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::Client;
use tollgate::listener::system_clock;

fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TOLLGATE_") {
            command.env_remove(name);
        }
    }
    // Any free port: a test is not alone on its machine.
    command.env("TOLLGATE_TCP", "127.0.0.1:0");
    command
}

struct Running {
    child: Child,
    address: SocketAddr,
    printed: String,
}

/// Starts a node on any port and reads what it prints until it serves.
fn start(dir: &Path) -> Running {
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--data-dir"]).arg(dir);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    let mut address = None;
    for line in lines {
        let line = line.unwrap();
        printed += &format!("{line}\n");
        if let Some((_, rest)) = line.split_once("on http://") {
            address = Some(rest.trim().parse().unwrap());
        }
        if line.starts_with("Stop with") {
            break;
        }
    }
    let address = address.expect("the node says where it serves");
    Running { child, address, printed }
}

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn terminate(mut self) -> i32 {
        self.signal("-TERM");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the node does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The request that the printed curl line makes.
    fn target(&self) -> String {
        let line = self.printed.lines().find(|line| line.contains("curl")).unwrap();
        let url = line.split('\'').nth(1).unwrap();
        let target = url.strip_prefix(&format!("http://{}", self.address)).unwrap();
        target.replace('[', "%5B").replace(']', "%5D")
    }
}

fn current_value(body: &str, period: &str) -> u64 {
    let report =
        body.split("<usage_report ").find(|part| part.contains(&format!("period=\"{period}\""))).unwrap();
    report.split("<current_value>").nth(1).unwrap().split('<').next().unwrap().parse().unwrap()
}

#[test]
fn the_first_start_prints_a_call_that_is_authorized_and_counted_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = start(&data);
    let target = node.target();
    let answer = Client::connect(node.address).get(&target);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("<authorized>true</authorized>"), "{}", answer.text());
    assert_eq!(current_value(answer.text(), "day"), 1);
    let printed = node.printed.clone();
    assert_eq!(node.terminate(), 0);

    let node = start(&data);
    assert!(!node.printed.contains("curl"), "credentials are shown once");
    let answer = Client::connect(node.address).get(&target);
    // Midnight may pass between the two; then the day has one call again.
    assert!((1..=2).contains(&current_value(answer.text(), "day")));
    let (status, stderr) = output_of(node);
    assert_eq!(status, 0);
    for secret in
        printed.lines().filter(|line| line.starts_with("  ")).flat_map(|line| line.split_whitespace())
    {
        let is_key = secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(!is_key || !stderr.contains(secret), "a credential was logged");
    }
}

fn output_of(mut node: Running) -> (i32, String) {
    let mut stderr = node.child.stderr.take().unwrap();
    let status = node.terminate();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
    (status, text)
}

#[test]
fn the_sample_plan_binds_after_ten_calls() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir.path().join("data"));
    let target = node.target();
    let mut client = Client::connect(node.address);
    let minute = || system_clock()().0 / 60_000;
    let began = minute();
    let statuses: Vec<_> = (0..25).map(|_| client.get(&target).status).collect();
    // A minute's end may fall into them, which gives as many again.
    let most = if minute() == began { 10 } else { 20 };
    let authorized = statuses.iter().filter(|status| **status == 200).count();
    assert!((10..=most).contains(&authorized), "{statuses:?}");
    assert_eq!(node.terminate(), 0);
}

/// Runs to its end and gives exit code and standard error.
fn fails(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output: Output =
        tollgate().args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn each_failure_has_a_clear_line_and_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data_text = data.to_str().unwrap();

    let (code, text) = fails(&["--htpp", "x"], &[]);
    assert_eq!(code, 2);
    assert!(text.contains("--htpp"), "{text}");

    let (code, text) = fails(&["--data-dir", data_text], &[("TOLLGATE_HTPP", "x")]);
    assert_eq!(code, 3);
    assert!(text.contains("TOLLGATE_HTPP"), "{text}");

    let file = dir.path().join("bad.toml");
    std::fs::write(&file, "\nhttp = 5\n").unwrap();
    let (code, text) = fails(&["--config", file.to_str().unwrap(), "--data-dir", data_text], &[]);
    assert_eq!(code, 3);
    assert!(text.contains("line 2"), "{text}");

    let nowhere = ["--http-tls-cert", "/nowhere/c.pem", "--http-tls-key", "/nowhere/k.pem"];
    let (code, text) = fails(&[&["--data-dir", data_text], nowhere.as_slice()].concat(), &[]);
    assert_eq!((code, data.exists()), (3, false), "{text}");
    assert!(text.contains("/nowhere/c.pem"), "{text}");

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let (code, text) = fails(&["--http", &address, "--data-dir", data_text], &[]);
    assert_eq!(code, 4);
    assert!(text.contains(&address), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");

    let node = start(&data);
    let (code, text) = fails(&["--http", "127.0.0.1:0", "--data-dir", data_text], &[]);
    assert_eq!(code, 5);
    assert!(text.contains("in use"), "{text}");
    node.terminate();

    let below_a_file = file.join("data");
    let (code, text) = fails(&["--http", "127.0.0.1:0", "--data-dir", below_a_file.to_str().unwrap()], &[]);
    assert_eq!(code, 6);
    assert!(text.contains("bad.toml"), "{text}");

    std::fs::write(data.join("FORMAT"), "999\n").unwrap();
    let (code, text) = fails(&["--http", "127.0.0.1:0", "--data-dir", data_text], &[]);
    assert_eq!(code, 7);
    assert!(text.contains("999"), "{text}");
}

#[test]
fn a_clock_behind_the_data_is_refused_unless_accepted() {
    use tollgate::node::Node;
    let dir = tempfile::tempdir().unwrap();
    let runtime = tollgate::node::runtime().unwrap();
    let start_at = |ms: u64, accept_clock: bool| {
        let mut config = support::config(dir.path());
        config.accept_clock = accept_clock;
        let clock = std::sync::Arc::new(move || tollgate::model::time::UnixMillis(ms));
        runtime.block_on(Node::start(&config, clock))
    };
    const HOUR: u64 = 3_600_000;
    let later = 1_795_355_130_000;
    runtime.block_on(start_at(later, false).unwrap().stop()).unwrap();
    // A little behind is waited out: time stands still until the clock has caught up.
    let node = start_at(later - HOUR / 2, false).unwrap();
    assert_eq!(node.engine().now(tollgate::model::time::UnixMillis(0)).0, later);
    runtime.block_on(node.stop()).unwrap();
    let error = start_at(later - 2 * HOUR, false).map(drop).unwrap_err();
    assert!(error.to_string().contains("--accept-clock"), "{error}");
    let node = start_at(later - 2 * HOUR, true).unwrap();
    assert_eq!(node.engine().now(tollgate::model::time::UnixMillis(0)).0, later - 2 * HOUR);
    runtime.block_on(node.stop()).unwrap();
    // What was accepted stays accepted.
    runtime.block_on(start_at(later - 2 * HOUR, false).unwrap().stop()).unwrap();
}
