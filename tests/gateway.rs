//! The test gateway as its user runs it: a node and a gateway, each a process of its own, and calls that go through.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::process::{Process, tollgate};
use support::{Answer, Client};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Of the gateway of a test: two for each of its services.
const PORTS: u16 = 8;

/// Ports next to each other on which nobody listens. Below those that the system gives to whoever asks for any.
fn free_ports() -> u16 {
    let start = std::process::id() % 1000 * 20;
    let firsts = (0..1000).map(|at| 10_000 + u16::try_from((start + at * PORTS as u32) % 20_000).unwrap());
    let is_free =
        |first: &u16| (*first..first + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    firsts.into_iter().find(is_free).expect("there are free ports")
}

/// One test has ports at a time, so that none finds those free that another is about to take.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct World {
    node: Process,
    first: u16,
    gateway: Option<Child>,
    _dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn gateway(node: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = tollgate();
    command.env_remove("TOLLGATE_TCP").env("TOLLGATE_ADMIN_TOKEN", TOKEN);
    command.args(["gateway", "--url", &format!("http://{node}")]).args(arguments);
    command
}

impl World {
    /// A node, and a gateway with these arguments.
    fn start(arguments: &[&str]) -> World {
        let (alone, first, dir) = (alone(), free_ports(), tempfile::tempdir().unwrap());
        let mut command = tollgate();
        let endpoint = format!("http://127.0.0.1:{first}-{}", first + PORTS - 1);
        command.env("TOLLGATE_ADMIN_TOKEN", TOKEN).args(["serve", "--log", "error", "--http", "127.0.0.1:0"]);
        command.args(["--gateway-endpoint", &endpoint, "--data-dir"]).arg(dir.path());
        let node = Process::start(command);
        let mut world = World { node, first, gateway: None, _dir: dir, _alone: alone };
        world.run(arguments);
        world
    }

    fn run(&mut self, arguments: &[&str]) {
        let mut child = gateway(self.node.address, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("Stop with")), "the gateway says that it serves");
        self.gateway = Some(child);
    }

    fn stop(&mut self) {
        let Some(mut child) = self.gateway.take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let status = child.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}");
    }

    fn admin(&self, method: &str, path: &str, fields: Value) -> Value {
        let target = format!("/admin/api/{path}.json?access_token={TOKEN}");
        let headers = [("Content-Type", "application/json")];
        let answer =
            Client::connect(self.node.address).request(method, &target, &headers, &fields.to_string());
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        body.as_object().and_then(|wrapped| wrapped.values().next()).cloned().unwrap_or(Value::Null)
    }

    /// A service with a plan, and an account's application on it.
    fn service(&self, name: &str, fields: &Value) -> Service<'_> {
        let mut all = fields.clone();
        all["name"] = json!(name);
        let id = self.admin("POST", "services", all)["id"].as_u64().unwrap();
        let plan = self.admin("POST", &format!("services/{id}/application_plans"), json!({"name": "Basic"}))
            ["id"]
            .clone();
        let account = self.admin("POST", "signup", json!({"org_name": name, "username": name}))["id"].clone();
        let fields = json!({"plan_id": plan, "name": name, "description": name});
        let application = self.admin("POST", &format!("accounts/{account}/applications"), fields);
        Service { world: self, id, plan, account, application }
    }
}

struct Service<'w> {
    world: &'w World,
    id: u64,
    plan: Value,
    account: Value,
    application: Value,
}

impl Service<'_> {
    fn admin(&self, method: &str, path: &str, fields: Value) -> Value {
        self.world.admin(method, &format!("services/{}/{path}", self.id), fields)
    }

    /// Changes the proxy, which deploys it.
    fn set(&self, fields: Value) {
        self.admin("PUT", "proxy", fields);
    }

    fn key(&self) -> &str {
        self.application["user_key"].as_str().unwrap()
    }

    fn metric(&self, name: &str) -> Value {
        let fields = json!({"friendly_name": name, "system_name": name, "unit": "call"});
        self.admin("POST", "metrics", fields)["id"].clone()
    }

    fn rule(&self, pattern: &str, metric: &Value, last: bool, position: u64) {
        let fields = json!({"http_method": "GET", "pattern": pattern, "delta": 1, "metric_id": metric, "last": last, "position": position});
        self.admin("POST", "proxy/mapping_rules", fields);
    }

    fn limit(&self, metric: &Value, value: u64) {
        let path = format!("application_plans/{}/metrics/{metric}/limits", self.plan);
        self.world.admin("POST", &path, json!({"period": "eternity", "value": value}));
    }

    /// Where the sandbox is, or production.
    fn at(&self, endpoint: &str) -> SocketAddr {
        let proxy = self.admin("GET", "proxy", json!({}));
        proxy[endpoint].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Client::connect(self.at("sandbox_endpoint")).request(method, target, headers, body)
    }

    fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "")
    }

    fn status(&self, target: &str, headers: &[(&str, &str)]) -> u16 {
        self.send("GET", target, headers, "").status
    }
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

#[test]
fn calls_are_let_through_by_credentials_rules_and_limits() {
    let world = World::start(&["--upstream", "echo"]);
    let service = world.service("one", &json!({}));
    let key = service.key().to_owned();
    let nothing = service.get("/");
    assert_eq!((nothing.status, nothing.text().contains("deploy")), (404, true), "{}", nothing.text());
    service.set(json!({}));
    let metric = service.metric("posted");
    let rule = json!({"http_method": "POST", "pattern": "/a/{n}?x={y}", "delta": 3, "metric_id": metric});
    service.admin("POST", "proxy/mapping_rules", rule);
    service.set(json!({}));
    let echo =
        json_of(&service.send("POST", &format!("/a//b?user_key={key}&x=1"), &[("X-Mine", "m")], "four"));
    assert_eq!(
        (&echo["method"], &echo["path"], &echo["args"]["x"]),
        (&json!("POST"), &json!("/a/b"), &json!("1"))
    );
    assert_eq!((&echo["headers"]["x-mine"], &echo["body_bytes"]), (&json!("m"), &json!(4)));
    assert_eq!((&echo["usage"], &echo["rules"]), (&json!({"posted": 3}), &json!(["/a/{n}?x={y}"])));

    // A change of the configuration binds the next call of the sandbox; that of production was promoted, or is none.
    for (location, target, header) in [
        ("headers", "/", Some(("user-key", key.clone()))),
        ("authorization", "/", Some(("Authorization", format!("Basic {}", base64(&format!("{key}:")))))),
        ("query", &*format!("/?user_key={key}"), None),
    ] {
        service.set(json!({"credentials_location": location}));
        let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(service.status(target, header.as_slice()), 200, "{location}");
        assert_eq!(service.status("/", &[]), 403, "{location}");
    }
    service.set(json!({"auth_user_key": "ukey"}));
    let statuses = ["ukey", "user_key"].map(|name| service.status(&format!("/?{name}={key}"), &[]));
    assert_eq!(statuses, [200, 403]);
    let production = || Client::connect(service.at("endpoint")).get(&format!("/?ukey={key}"));
    assert!(production().text().contains("promote"), "{}", production().text());
    let latest = service.admin("GET", "proxy/configs/sandbox/latest", json!({}))["version"].clone();
    service.admin("POST", &format!("proxy/configs/sandbox/{latest}/promote"), json!({"to": "production"}));
    assert_eq!(json_of(&production())["environment"], "production");
    service.set(json!({"auth_user_key": "other"}));
    assert_eq!((service.status(&format!("/?ukey={key}"), &[]), production().status), (403, 200));

    // What is promoted binds production's calls as soon as it is asked for again.
    let latest = service.admin("GET", "proxy/configs/sandbox/latest", json!({}))["version"].clone();
    service.admin("POST", &format!("proxy/configs/sandbox/{latest}/promote"), json!({"to": "production"}));
    let began = Instant::now();
    while production().status == 200 {
        assert!(began.elapsed() < 4 * tollgate::gateway::PRODUCTION_KEPT, "production is taken anew");
        std::thread::sleep(Duration::from_millis(100));
    }

    refusals(&service, &key);
    limits(&service, &key);
    with_keys(&world);
    connections(&world);
    assert_eq!(Client::connect(([127, 0, 0, 1], world.first + PORTS - 1).into()).get("/").status, 404);
}

/// All ports together keep so many connections; one more is told so.
fn connections(world: &World) {
    let connect = |at: usize| {
        let port = world.first + u16::try_from(at % 2).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()
    };
    let max = tollgate::gateway::CONNECTIONS_MAX;
    let is_refused = |stream: &mut std::net::TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).is_ok_and(|()| &answer == b"HTTP/1.1 503")
    };
    let began = Instant::now();
    let kept = loop {
        let mut kept: Vec<_> = (0..max).map(connect).collect();
        if !kept.last_mut().is_some_and(is_refused) {
            break kept;
        }
        // Those of earlier calls may not all have gone yet.
        assert!(began.elapsed() < Duration::from_secs(20), "the last that there may be is kept");
    };
    let last = world.first + 2;
    let mut more = std::net::TcpStream::connect(("127.0.0.1", last)).unwrap();
    assert!(is_refused(&mut more), "one more is refused, on whatever port");
    drop(kept);
    let began = Instant::now();
    let again = || Client::try_connect(([127, 0, 0, 1], last).into()).ok()?.try_get("/").ok();
    while again().is_none_or(|answer| answer.status == 503) {
        assert!(began.elapsed() < Duration::from_secs(20), "those that have gone make room");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What is refused, is as the proxy says.
fn refusals(service: &Service<'_>, key: &str) {
    service.set(json!({
        "auth_user_key": "user_key",
        "error_status_auth_missing": 401, "error_auth_missing": "Who?", "error_headers_auth_missing": "text/who",
        "error_status_auth_failed": 402, "error_auth_failed": "Not you", "error_headers_auth_failed": "text/you",
        "error_status_no_match": 410, "error_no_match": "Nothing", "error_headers_no_match": "text/nothing",
    }));
    for (method, target, status, content_type, body) in [
        ("GET", "/".to_owned(), 401, "text/who", "Who?"),
        ("GET", "/?user_key=wrong".to_owned(), 402, "text/you", "Not you"),
        ("DELETE", format!("/?user_key={key}"), 410, "text/nothing", "Nothing"),
        ("DELETE", "/".to_owned(), 401, "text/who", "Who?"),
    ] {
        let answer = service.send(method, &target, &[], "");
        assert_eq!((answer.status, answer.header("content-type")), (status, Some(content_type)));
        assert_eq!(answer.text(), body);
    }
    assert_eq!(service.status(&format!("/../x?user_key={key}"), &[]), 400);
    let long = "x".repeat(tollgate::gateway::BODY_BYTES_MAX);
    let sizes = [long.clone(), long + "x"]
        .map(|body| service.send("POST", "/a/b?x=1&user_key=no", &[], &body).status);
    assert_eq!(sizes, [402, 413]);
}

/// A limit of nothing is a failure, any other is exceeded when it is; a rule that is the last keeps others from counting.
fn limits(service: &Service<'_>, key: &str) {
    let [off, few, never] = ["off", "few", "never"].map(|name| service.metric(name));
    service.limit(&off, 0);
    service.limit(&few, 2);
    service.limit(&never, 0);
    service.rule("/off", &off, false, 1);
    service.rule("/few", &few, true, 1);
    service.rule("/few", &never, false, 9);
    service.set(json!({"error_limits_exceeded": "Enough"}));
    let get = |path: &str| service.get(&format!("{path}?user_key={key}"));
    assert_eq!(get("/off").status, 402);
    assert_eq!([0; 3].map(|_| get("/few").status), [200, 200, 429]);
    assert_eq!(get("/few").text(), "Enough");
    assert_eq!(get("/few").header("retry-after"), None, "a limit for all time is not lifted by waiting");
    let hourly = service.metric("hourly");
    let path = format!("application_plans/{}/metrics/{hourly}/limits", service.plan);
    service.world.admin("POST", &path, json!({"period": "year", "value": 1}));
    service.rule("/hourly", &hourly, false, 1);
    service.set(json!({}));
    get("/hourly");
    let exceeded = get("/hourly");
    let seconds = exceeded.header("retry-after").and_then(|it| it.parse::<u64>().ok());
    assert_eq!((exceeded.status, seconds.is_some_and(|it| it <= 366 * 24 * 3600)), (429, true));
}

/// A service whose applications have an id and keys.
fn with_keys(world: &World) {
    let service = world.service("two", &json!({"backend_version": "2"}));
    service.set(json!({"auth_app_id": "aid"}));
    let id = service.application["application_id"].as_str().unwrap();
    let path = format!("accounts/{}/applications/{}/keys", service.account, service.application["id"]);
    world.admin("POST", &path, json!({"key": "a-key&1"}));
    assert_eq!(service.status(&format!("/?aid={id}&app_key=a-key%261"), &[]), 200);
    assert_eq!(service.status(&format!("/?aid={id}&app_key=other"), &[]), 403);
    assert_eq!(service.status(&format!("/?aid={id}"), &[]), 403);
    service.set(json!({"credentials_location": "headers"}));
    assert_eq!(service.status("/", &[("Aid", id), ("App-Key", "a-key&1")]), 200);
    service.set(json!({"credentials_location": "authorization"}));
    let basic = format!("Basic {}", base64(&format!("{id}:a-key&1")));
    assert_eq!(service.status("/", &[("Authorization", &basic)]), 200);
    world.admin("PUT", &format!("services/{}", service.id), json!({"backend_version": "oidc"}));
    service.set(json!({}));
    let refused = service.get("/");
    assert_eq!((refused.status, refused.text().contains("OpenID")), (501, true));
}

/// A private API that answers each call with a word, and tells of it.
fn private(word: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut call, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).unwrap() > 2 {
                call += &std::mem::take(&mut line).to_ascii_lowercase();
            }
            let length = call.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            told.send(call + "\r\n" + &String::from_utf8(body).unwrap()).unwrap();
            let answer = format!(
                "HTTP/1.1 203 Fine\r\nX-Word: {}\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\
                 Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: {}\r\n\r\n{word}",
                &word[..4],
                word.len()
            );
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, calls)
}

#[test]
fn calls_go_on_to_the_private_api_of_the_longest_path() {
    let mut world = World::start(&[]);
    let ((root, of_root), (deep, of_deep)) = (private("root"), private("deep"));
    let id = world.service("one", &json!({})).id;
    for (name, address, path) in [("root", root, "/"), ("deep", deep, "/deep")] {
        let fields = json!({"name": name, "private_endpoint": format!("http://{address}/base")});
        let backend = world.admin("POST", "backend_apis", fields)["id"].clone();
        let usage = json!({"backend_api_id": backend, "path": path});
        world.admin("POST", &format!("services/{id}/backend_usages"), usage);
    }
    let key = world.admin("GET", "applications", json!({}));
    let key = key.as_array().unwrap().iter().map(|it| &it["application"]);
    let key =
        key.filter(|it| it["service_id"] == id).map(|it| it["user_key"].as_str().unwrap()).next().unwrap();
    let proxy = format!("services/{id}/proxy");
    world.admin(
        "POST",
        &format!("{proxy}/mapping_rules"),
        json!({
            "http_method": "POST", "pattern": "/", "delta": 1,
            "metric_id": world.admin("GET", &format!("services/{id}/metrics"), json!({}))[0]["metric"]["id"],
        }),
    );
    world.admin("PUT", &proxy, json!({"secret_token": "the-secret"}));
    let sandbox = SocketAddr::from(([127, 0, 0, 1], world.first));
    let refused = Client::connect(sandbox).get(&format!("/?user_key={key}"));
    assert_eq!(
        (refused.status, refused.text().contains("is this machine")),
        (502, true),
        "{}",
        refused.text()
    );

    world.stop();
    world.run(&["--allow", "127.0.0.1"]);
    let headers = [
        ("X-Mine", "m"),
        ("Connection", "x-drop"),
        ("X-Drop", "1"),
        ("X-3scale-proxy-secret-token", "forged"),
    ];
    let target = format!("/deep/./a%20b?user_key={key}&x=%2F");
    let answer = Client::connect(sandbox).request("POST", &target, &headers, "body");
    assert_eq!((answer.status, answer.text(), answer.header("x-word")), (203, "deep", Some("deep")));
    assert_eq!(
        (answer.header("x-hop"), answer.headers.iter().filter(|(it, _)| it == "set-cookie").count()),
        (None, 2)
    );
    let call = of_deep.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(call.starts_with(&format!("post /base/a%20b?user_key={key}&x=%2f http/1.1\r\n")), "{call}");
    assert!(call.contains(&format!("host: {deep}\r\n")) && call.ends_with("\r\nbody"), "{call}");
    assert!(call.contains("x-mine: m\r\n") && !call.contains("x-drop") && !call.contains("forged"), "{call}");
    assert!(call.contains("x-3scale-proxy-secret-token: the-secret\r\n"), "{call}");

    world.admin("PUT", &proxy, json!({"hostname_rewrite": "inner.example"}));
    let head = Client::connect(sandbox).request("GET", &format!("/deeper?user_key={key}"), &[], "");
    assert_eq!((head.status, head.text()), (203, "root"));
    let call = of_root.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(call.starts_with("get /base/deeper?") && call.contains("host: inner.example\r\n"), "{call}");

    // An answer is taken up to its bound.
    let bound = tollgate::gateway::BODY_BYTES_MAX;
    for (length, status) in [(bound, 203), (bound + 1, 502)] {
        let (large, _calls) = private("x".repeat(length).leak());
        let fields = json!({"name": "large", "private_endpoint": format!("http://{large}")});
        let backend = world.admin("POST", "backend_apis", fields)["id"].clone();
        let usage = json!({"backend_api_id": backend, "path": format!("/large{length}")});
        world.admin("POST", &format!("services/{id}/backend_usages"), usage);
        world.admin("POST", &format!("{proxy}/deploy"), json!({}));
        let answer = Client::connect(sandbox).get(&format!("/large{length}?user_key={key}"));
        assert_eq!((answer.status, answer.body.len() == length), (status, status == 203));
    }
    let began = Instant::now();
    world.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "it stops soon");
}

#[test]
fn what_cannot_run_says_why() {
    let alone = alone();
    let (dir, first) = (tempfile::tempdir().unwrap(), free_ports());
    let mut command = tollgate();
    command.env("TOLLGATE_ADMIN_TOKEN", TOKEN).args(["serve", "--log", "error", "--http", "127.0.0.1:0"]);
    let node = Process::start({
        command.arg("--data-dir").arg(dir.path());
        command
    });
    let ends = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ends(&mut gateway(node.address, &[]));
    assert!(code == 1 && said.contains("--gateway-endpoint"), "{code} {said}");
    let (code, said) = ends(gateway(node.address, &[]).env("TOLLGATE_ADMIN_TOKEN", "wrong"));
    assert!(code == 1 && said.contains("token"), "{code} {said}");
    let (code, said) = ends(gateway(node.address, &[]).env_remove("TOLLGATE_ADMIN_TOKEN"));
    assert!(code == 3 && said.contains("--token-file"), "{code} {said}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said) = ends(&mut gateway(nobody, &[]));
    assert!(code == 1 && said.contains("does not answer"), "{code} {said}");
    drop(node);
    let mut command = tollgate();
    command.env("TOLLGATE_ADMIN_TOKEN", TOKEN).args(["serve", "--log", "error", "--http", "127.0.0.1:0"]);
    command
        .args(["--gateway-endpoint", &format!("http://127.0.0.1:{first}-{}", first + 1), "--data-dir"])
        .arg(dir.path());
    let node = Process::start(command);
    let (code, said) = ends(&mut gateway(node.address, &["--bind", "0.0.0.0"]));
    assert!(code == 3 && said.contains("--insecure"), "{code} {said}");
    let _taken = TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
    let (code, said) = ends(&mut gateway(node.address, &[]));
    assert!(code == 4 && said.contains(&format!("127.0.0.1:{}", first + 1)), "{code} {said}");
    drop(alone);
}
