//! What operators do besides starting and stopping: check a configuration, look into a node, be told by it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use support::Client;
use support::data::{contents, reserve};
use support::process::{Process, tollgate};
use tollgate::listener::system_clock;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;
use tollgate::node::{self, Node};

/// Runs to its end: exit code, standard output, standard error.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let output = tollgate().args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

// === check

#[test]
fn check_tells_all_problems_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, "drain_s = 'soon'\n\nhttp = 'nowhere'\n").unwrap();
    let data = dir.path().join("data");
    let arguments = ["check", "--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let (code, out, err) = run(&arguments, &[("TOLLGATE_LOG_FORMAT", "xml")]);
    assert_eq!((code, out.as_str()), (3, ""));
    for part in ["bad.toml: line 1: drain_s", "bad.toml: line 3: http: \"nowhere\"", "TOLLGATE_LOG_FORMAT: "]
    {
        assert!(err.contains(part), "{part} not in:\n{err}");
    }
    assert_eq!(err.lines().count(), 3, "{err}");

    std::fs::write(&file, "drain_s = 7\n").unwrap();
    let (code, out, err) = run(&arguments, &[("TOLLGATE_LOG_FORMAT", "json")]);
    assert_eq!((code, err.as_str()), (0, ""));
    let line = |key: &str| out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("drain_s").contains('7') && line("drain_s").ends_with("bad.toml line 1"), "{out}");
    assert!(line("log_format").contains("\"json\"") && line("log_format").ends_with("TOLLGATE_LOG_FORMAT"));
    assert!(line("http").contains("127.0.0.1:3000") && line("http").ends_with("default"));
    assert!(!data.exists(), "checking starts nothing");

    let missing = ["--http-tls-cert", "/nowhere/c.pem", "--http-tls-key", "/nowhere/k.pem"];
    let (code, out, err) = run(&[&arguments[..], &missing].concat(), &[]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("/nowhere/c.pem") && err.lines().count() == 1, "{err}");
    assert!(!data.exists(), "checking starts nothing");
}

// === inspect

const SECRETS: [&str; 4] = ["provider-key-of-it", "service-token-of-it", "user-key-of-it", "app-key-of-it"];

/// Makes a node whose checkpoint holds the most of it, and its journal the rest.
fn prepare(dir: &Path) {
    let config = tollgate::config::Config { checkpoint_bytes: 64 * 1024, ..support::config(dir) };
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    let [provider_key, token, user_key, app_key] = SECRETS;
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("tenant", provider_key)?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("looked-at"), name: "Looked at", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new(token)))?;
        let hits = draft.create_metric(service, "hits", None)?;
        draft.create_metric(service, "search", Some(hits))?;
        let plan = draft.create_plan(service, None, "Plan")?;
        draft.set_limit(plan, hits, Period::Eternity, 1000)?;
        let (app_id, name) = ("the-app", "The application");
        let new = NewApplication { service, account: None, app_id, name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| {
            it.user_keys.push(Secret::new(user_key));
            it.app_keys.push(Secret::new(app_key));
        })
    };
    let (_, ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    // Enough for a checkpoint.
    for number in 0..600 {
        let rename = |draft: &mut Draft<'_>| {
            let new = format!("{number}-{}", "x".repeat(100));
            draft.create_tenant(&new, &new)
        };
        let (_, ticket) = node.engine().change(rename).unwrap();
        node.engine().durable_blocking(ticket).unwrap();
    }
    let began = SystemTime::now();
    while !dir.join("checkpoints/CURRENT").exists() {
        assert!(began.elapsed().unwrap() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    let call = format!("service_token={token}&service_id=looked-at&user_key={user_key}&usage%5Bsearch%5D=3");
    let answer = Client::connect(node.http).get(&format!("/transactions/authrep.xml?{call}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    reserve(&node, provider_key, "looked-at", None, Some(user_key), system_clock()());
    runtime.block_on(node.stop()).unwrap();
}

/// Every file below `dir` with its bytes, and when it and its folder were last changed.
fn without_secrets(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in:\n{text}");
    }
}

#[test]
fn inspecting_a_stopped_node_shows_it_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, scratch) = (dir.path().join("data"), dir.path().join("tmp"));
    std::fs::create_dir(&scratch).unwrap();
    prepare(&data);
    let before = contents(&data);
    let temporary = [("TMPDIR", scratch.to_str().unwrap())];
    let inspect = |more: &[&str]| {
        let (code, out, err) =
            run(&[&["inspect", "--data-dir", data.to_str().unwrap()], more].concat(), &temporary);
        assert_eq!((code, err.as_str()), (0, ""));
        without_secrets(&out);
        out
    };
    let out = inspect(&[]);
    assert!(out.contains("is stopped") && out.contains("602 tenants") && out.contains("looked-at"), "{out}");
    let out = inspect(&["--service", "looked-at"]);
    assert!(out.contains("search") && out.contains("1000 hits a eternity"), "{out}");
    let out = inspect(&["--service", "looked-at", "--app-id", "the-app"]);
    assert!(out.contains("3/1000") && out.contains("7 search, 7 hits"), "{out}");
    let json: serde_json::Value =
        serde_json::from_str(&inspect(&["--json", "--service", "looked-at", "--app-id", "the-app"])).unwrap();
    let application = &json["application"];
    assert_eq!(
        (&json["running"], &application["user_keys"], &application["app_keys"]),
        (&false.into(), &1.into(), &1.into())
    );
    let id = application["id"].to_string();
    let by_id: serde_json::Value = serde_json::from_str(&inspect(&["--json", "--application", &id])).unwrap();
    assert_eq!(by_id["application"], *application);
    assert_eq!(application["counters"][0]["metric"], "hits");
    assert_eq!(application["counters"][0]["eternity"], 3);
    assert_eq!(application["counters"][0]["reserved"], 7);
    assert_eq!(application["reservations"][0]["held"][0]["metric"], "search");
    assert_eq!(application["reservations"].as_array().unwrap().len(), 1);
    assert_eq!(contents(&data), before, "nothing may change");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "no copy is left behind");
}

#[test]
fn inspect_says_what_it_cannot_show() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let path = data.to_str().unwrap();
    let inspect = |more: &[&str]| run(&[&["inspect", "--data-dir", path], more].concat(), &[]);
    let (code, _, err) = inspect(&[]);
    assert_eq!(code, 6, "{err}");
    assert!(err.contains("not a tollgate data directory") && !data.exists(), "{err}");
    prepare(&data);
    let (code, _, err) = inspect(&["--service", "none"]);
    assert!(code == 1 && err.contains("no service with the id \"none\""), "{err}");
    let (code, _, err) = inspect(&["--service", "looked-at", "--app-id", "none"]);
    assert!(code == 1 && err.contains("no such application"), "{err}");
    let (code, _, err) = inspect(&["--app-id", "the-app"]);
    assert!(code == 2 && err.contains("--service"), "{err}");

    // A record in the middle of the journal that was synced: damage, not a torn tail.
    let segments =
        contents(&data).into_iter().filter(|(path, _)| path.parent().unwrap().ends_with("journal"));
    let (segment, (_, bytes)) =
        segments.max_by_key(|(_, (_, bytes))| bytes.iter().filter(|it| **it != 0).count()).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = bytes.clone();
    damaged[end / 2..end / 2 + 64].fill(0xAA);
    std::fs::write(&segment, &damaged).unwrap();
    let (code, out, err) = inspect(&[]);
    assert!(code == 7 && out.is_empty(), "{code} {out} {err}");
    assert!(err.contains(segment.file_name().unwrap().to_str().unwrap()), "{err}");
    assert_eq!(std::fs::read(&segment).unwrap(), damaged);
    std::fs::write(&segment, &bytes).unwrap();

    std::fs::write(data.join("FORMAT"), "2\n").unwrap();
    let (code, _, err) = inspect(&[]);
    assert!(code == 7 && err.contains("newer tollgate"), "{err}");
}

#[test]
fn a_directory_that_is_held_is_not_read_behind_its_nodes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let lock = std::fs::File::open(data.join("lock")).unwrap();
    lock.lock().unwrap();
    let (code, out, err) = run(&["inspect", "--data-dir", data.to_str().unwrap()], &[]);
    assert!(code == 5 && out.is_empty() && err.contains("does not answer"), "{code} {err}");
    // Looking takes the lock for an instant only, for which a start waits.
    let held = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        lock.unlock().unwrap();
    });
    assert_eq!(Process::start(serve(&data)).terminate(), 0);
    held.join().unwrap();
}

fn serve(data: &Path) -> std::process::Command {
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(data);
    command
}

#[test]
fn a_running_node_is_asked_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let arguments = [
        "inspect",
        "--data-dir",
        data.to_str().unwrap(),
        "--json",
        "--service",
        "looked-at",
        "--app-id",
        "the-app",
    ];
    let json = || serde_json::from_str::<serde_json::Value>(&run(&arguments, &[]).1).unwrap();
    let mut stopped = json();
    let node = Process::start(serve(&data));
    let mut running = json();
    assert_eq!((&stopped["running"], &running["running"]), (&false.into(), &true.into()));
    for report in [&mut stopped, &mut running] {
        report.as_object_mut().unwrap().retain(|key, _| key != "running" && key != "engine_time_ms");
        // The minute may have gone by.
        report["application"]["counters"] = report["application"]["counters"][0]["eternity"].clone();
    }
    assert_eq!(stopped, running);
    let (code, _, err) = run(&["inspect", "--data-dir", data.to_str().unwrap(), "--application", "1"], &[]);
    assert!(code == 1 && err.contains("no such application"), "{err}");
    assert_eq!(node.terminate(), 0);
}

#[test]
fn the_control_socket_is_the_owners_and_survives_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Process::start(serve(&data));
    let socket = data.join("control.sock");
    let meta = std::fs::metadata(&socket).unwrap();
    assert_eq!(
        (meta.permissions().mode() & 0o777, meta.uid()),
        (0o600, std::fs::metadata(&data).unwrap().uid())
    );
    let ask = |request: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // A node that has heard enough may hang up before all is sent.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    for nonsense in [&b"\n"[..], b"{}\n", b"{\"inspect\":{}", b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 100]] {
        assert!(ask(nonsense).starts_with("{\"error\":\"not a request"), "{nonsense:?}");
    }
    // The longest request there may be, and one byte more.
    let padded = |len: usize| {
        let request = "{\"inspect\":{}}";
        format!("{request}{}\n", " ".repeat(len - request.len() - 1))
    };
    assert!(ask(padded(8192).as_bytes()).starts_with("{\"ok\""));
    assert!(ask(padded(8193).as_bytes()).contains("at most 8192 bytes"));
    // More silent peers than are spoken with at once do not keep the node from serving or stopping.
    let _silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert_eq!(Client::connect(node.address).get("/healthz").status, 200);
    assert_eq!(node.terminate(), 0);
    assert!(!socket.exists());
}

// === the service manager

/// A service manager's socket. Messages are taken at once: the system keeps about ten, and a node waits for nobody.
struct Told(mpsc::Receiver<String>);

impl Told {
    fn over(socket: UnixDatagram) -> Told {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok(len) = socket.recv(&mut message) {
                let text = std::str::from_utf8(&message[..len]).unwrap();
                if sender.send(text.to_owned()).is_err() {
                    return;
                }
            }
        });
        Told(receiver)
    }

    fn any(&self) -> String {
        self.0.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// The next message that is no watchdog's.
    fn news(&self) -> String {
        std::iter::repeat_with(|| self.any()).find(|text| text != "WATCHDOG=1").unwrap()
    }
}

#[test]
fn the_service_manager_is_told_of_start_hand_over_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let name = format!("tollgate-operate-{}", std::process::id());
    let path = dir.path().join("notify");
    let by_path = Told::over(UnixDatagram::bind(&path).unwrap());
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    let by_name = Told::over(UnixDatagram::bind_addr(&by_name).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let start = |more: &[&str], notify: &str| {
        let mut command = tollgate();
        command.args(["serve", "--http", &address, "--data-dir"]).arg(&data).args(more);
        Process::start({
            command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "100000");
            command
        })
    };
    let mut first = start(&[], path.to_str().unwrap());
    assert!(by_path.news().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(by_path.any(), "WATCHDOG=1");
    }
    let second = start(&["--take-over"], &format!("@{name}"));
    assert!(by_path.news().starts_with("RELOADING=1\n"));
    assert_eq!(by_path.news(), format!("MAINPID={}", second.id()));
    assert_eq!(first.wait(), 0);
    assert!(by_name.news().starts_with("READY=1\n"));
    assert_eq!(second.terminate(), 0);
    assert!(by_name.news().starts_with("STOPPING=1\n"));
}

#[test]
fn a_running_node_explains_how_it_would_decide_and_counts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let [_, token, user_key, _] = SECRETS;
    let explain = |usage: &str, more: &[&str]| {
        let call = format!("service_token={token}&service_id=looked-at&user_key={user_key}&{usage}");
        run(&[&["explain", "--data-dir", data.to_str().unwrap(), &call], more].concat(), &[])
    };
    let (code, _, err) = explain("usage[search]=1", &[]);
    assert!(code == 1 && err.contains("no node runs on"), "{err}");

    let node = Process::start(serve(&data));
    let (code, fits, _) = explain("usage[search]=990", &[]);
    let (denied_code, denied, _) = explain("usage[search]=991", &[]);
    assert_eq!((code, denied_code), (0, 0));
    for part in ["Looked at", "the-app", "search", "hits", "eternity", "1000"] {
        assert!(fits.contains(part), "{part} is not in:\n{fits}");
    }
    assert!(denied.contains("limits_exceeded") && !fits.contains("limits_exceeded"), "{fits}\n{denied}");
    let (_, json, _) = explain("usage[search]=991", &["--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
    for secret in SECRETS {
        assert!(![&fits, &denied, &json].iter().any(|text| text.contains(secret)), "{secret} is shown");
    }
    // The longest call there may be, of what JSON escapes, and one byte more.
    let short = format!("service_token={token}&service_id=looked-at&user_key={user_key}&").len();
    let (code, _, err) = explain(&"\"".repeat(4000 - short), &[]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = explain(&"\"".repeat(4001 - short), &[]);
    assert!(code == 2 && err.contains("4001 bytes, at most 4000"), "{code} {err}");
    assert_eq!(node.terminate(), 0);
}

// === webhooks

/// Calls the admin API in JSON; what is answered.
fn administer(client: &mut Client, method: &str, path: &str, body: &str) -> serde_json::Value {
    let target = format!("/admin/api/{path}.json?access_token=the-token");
    let answer = client.request(method, &target, &[("Content-Type", "application/json")], body);
    assert!(answer.status < 300, "{path}: {answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn webhooks_call_nothing_on_this_machine_unless_it_is_allowed() {
    for allowed in [None, Some("127.0.0.1")] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = tollgate();
        command.env("TOLLGATE_ADMIN_TOKEN", "the-token");
        command.args(["serve", "--log", "error", "--http", "127.0.0.1:0", "--tcp", "off", "--data-dir"]);
        command.arg(dir.path()).args(allowed.map(|it| format!("--outgoing-allow={it}")));
        let mut process = Process::start(command);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(process.address);
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let wanted = r#""active": true, "provider_actions": true, "account_created_on": true"#;
        administer(&mut client, "PUT", "webhooks", &format!(r#"{{"url": "{url}", {wanted}}}"#));
        administer(&mut client, "POST", "signup", r#"{"org_name": "Acme", "username": "acme"}"#);
        if allowed.is_some() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = String::new();
            while !got.ends_with("</event>\n") {
                let mut more = [0; 4096];
                let read = stream.read(&mut more).unwrap();
                assert_ne!(read, 0, "{got}");
                got.push_str(std::str::from_utf8(&more[..read]).unwrap());
            }
            assert!(
                got.starts_with("POST /hook HTTP/1.1") && got.contains("<org_name>Acme</org_name>"),
                "{got}"
            );
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        } else {
            let failed = (0..400).find_map(|_| {
                std::thread::sleep(Duration::from_millis(25));
                let failures = administer(&mut client, "GET", "webhooks/failures", "");
                Some(failures["webhooks-failures"][0]["webhooks-failure"]["error"].as_str()?.to_owned())
            });
            let failed = failed.unwrap();
            assert!(failed.contains("is this machine (--outgoing-allow"), "{failed}");
        }
        process.signal("-TERM");
        assert_eq!(process.wait(), 0);
    }
}
