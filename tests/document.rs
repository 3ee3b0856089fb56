//! Catalog as code from outside: the commands export, import and check against real nodes, and a kill in the middle of an import.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![cfg(feature = "admin")]

mod support;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use support::Client;
use support::process::{Process, tollgate};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct World {
    dir: tempfile::TempDir,
    node: Process,
}

fn start(dir: &Path) -> Process {
    let mut command = tollgate();
    command.env("TOLLGATE_ADMIN_TOKEN", TOKEN);
    command.args(["serve", "--log", "error", "--http", "127.0.0.1:0", "--data-dir"]).arg(dir);
    Process::start(command)
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let node = start(&dir.path().join("data"));
        fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        World { dir, node }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command of the command line against the node.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let url = format!("http://{}", self.node.address);
        let mut command = tollgate();
        command.args([words[0], "--url", &url, "--token-file"]).arg(self.path("token")).args(&words[1..]);
        ended(&command.output().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A document with so many applications of one account.
fn crowd(count: usize) -> String {
    let mut text = String::from(
        "version: 1\nservices:\n- system_name: shop\n  application_plans: [{system_name: basic}]\naccounts:\n- org_name: Crowd\n  applications:\n",
    );
    for at in 0..count {
        let _ = writeln!(text, "  - {{service: shop, application_id: app-{at}, plan: basic}}");
    }
    text
}

#[test]
fn a_catalog_goes_from_node_to_node_and_stays_the_same_bytes() {
    let (one, two) = (World::new(), World::new());
    let (code, _, said) = one.run(&["import", "--apply", &one.put("more.yaml", &crowd(20))]);
    assert_eq!((code, said.as_str()), (0, ""));
    let files = ["document.yaml", "secrets.yaml"].map(|name| one.path(name).to_str().unwrap().to_owned());
    let [document, secrets] = &files;
    assert_eq!(one.run(&["export", "-o", document, "--secrets", secrets]).0, 0);
    assert_eq!(fs::metadata(secrets).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(one.run(&["export"]).1, fs::read_to_string(document).unwrap());

    let plan = ["import", document, "--secrets", secrets, "--prune"];
    let (code, shown, _) = two.run(&plan);
    assert_eq!(code, 0);
    assert!(
        shown.contains("+ service shop\n") && shown.contains("+ account Crowd / application shop/app-7\n"),
        "{shown}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&two.run(&[&plan[..], &["--json"]].concat()).1).unwrap();
    let [made, changed, gone] = ["added", "changed", "removed"].map(|count| json[count].as_u64().unwrap());
    assert!(made > 20, "{json}");
    let sum = format!("{made} to make, {changed} to change, {gone} to take away.\n");
    assert!(shown.ends_with(&sum), "{sum} {shown}");
    let before = two.run(&["export"]).1;
    assert_eq!(two.run(&[&plan[..], &["--exit-code"]].concat()).0, 10);
    assert_eq!(two.run(&["export"]).1, before, "nothing was changed");
    let (code, shown, _) = two.run(&[&plan[..], &["--apply"]].concat());
    assert!(code == 0 && shown.contains("\nDone: "), "{shown}");
    let again = two.path("again.yaml").to_str().unwrap().to_owned();
    let exported = two.run(&["export", "--secrets", &again]).1;
    assert_eq!(exported, fs::read_to_string(document).unwrap());
    assert_eq!(fs::read_to_string(again).unwrap(), fs::read_to_string(secrets).unwrap());
    assert_eq!(two.run(&[&plan[..], &["--exit-code"]].concat()).0, 0, "nothing is left to do");
    let (_, json, _) = two.run(&[&plan[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["changes"], &json["applied"]), (&serde_json::json!([]), &serde_json::json!(false)));
}

#[test]
fn commands_end_with_codes_that_say_why() {
    let world = World::new();
    let wrong = world.put("wrong.yaml", "version: 1\nservices:\n- system_name: shop\n  nmae: x\n");
    let (code, _, said) = world.run(&["import", &wrong]);
    assert_eq!(code, 11);
    assert!(said.contains("wrong.yaml:4:3: services[0].nmae: a service has no key 'nmae'"), "{said}");
    let refused = world.put("refused.yaml", "version: 1\naccounts: [{org_name: A, applications: [{service: none, application_id: abcd, plan: x}]}]\n");
    let (code, _, said) = world.run(&["import", &refused, "--apply"]);
    assert!(
        code == 11 && said.contains("account A / application none/abcd: there is no service 'none'"),
        "{code} {said}"
    );
    let good = world.put("good.yaml", "version: 1\n");
    fs::write(world.path("token"), "wrong\n").unwrap();
    let (code, _, said) = world.run(&["import", &good]);
    assert!(code == 1 && said.contains("the node answers 403: Access denied"), "{code} {said}");
    assert_eq!(world.run(&["export"]).0, 1);
    fs::write(world.path("token"), "\n").unwrap();
    assert!(world.run(&["export"]).2.contains("no access token"));
}

#[test]
fn an_openapi_description_becomes_methods_and_rules() {
    let world = World::new();
    let text = "openapi: 3.0.0\nservers: [{url: 'https://a.example/v1'}]\npaths:\n  /items/{id}: {get: {operationId: item}, delete: {}}\n";
    let file = world.put("api.yaml", text);
    let (code, shown, said) = world.run(&["import", "--openapi", &file, "--service", "shop", "--apply"]);
    assert_eq!((code, said.as_str()), (0, ""), "{shown}");
    let exported = world.run(&["export"]).1;
    let rules = "  mapping_rules:\n  - http_method: GET\n    pattern: \"/v1/items/{id}$\"\n    metric: item\n    delta: 1\n    last: true\n  - http_method: DELETE\n";
    assert!(
        exported.contains(rules) && exported.contains("    - system_name: delete_v1_items__id\n"),
        "{exported}"
    );
    assert!(world.run(&["import", "--openapi", &file, "--service", "shop", "--exit-code"]).0 == 0);
    let remote = world.put("remote.yaml", "openapi: 3.0.0\npaths: {/a: {$ref: 'https://a.example/'}}\n");
    assert_eq!(world.run(&["import", "--openapi", &remote, "--service", "shop"]).0, 11);
}

#[test]
fn check_tells_all_problems_of_a_file_without_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.yaml");
    let check = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        ended(&tollgate().arg("check").arg(&file).args(more).output().unwrap())
    };
    assert_eq!(check(&crowd(3), &[]), (0, String::new(), String::new()));
    let (code, shown, _) = check("version: 1\nservices:\n- name: x\n- system_name: '-'\n", &[]);
    assert_eq!((code, shown.lines().count()), (11, 2));
    assert!(
        shown.contains("catalog.yaml:3:3: services[0]: a service must have the key 'system_name'\n"),
        "{shown}"
    );
    let (code, shown, _) = check("a: [", &["--json"]);
    assert_eq!(code, 11);
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(json["problems"][0]["line"].is_u64(), "{shown}");
    // Without a file it is the configuration that is checked.
    let (code, shown, _) = ended(&tollgate().args(["check", "--insecure"]).output().unwrap());
    assert!(code == 0 && shown.starts_with("KEY"), "{shown}");
}

#[test]
fn imports_may_be_longer_than_other_calls_and_are_bounded() {
    const BYTES_MAX: usize = 32 << 20;
    let world = World::new();
    let send = |path: &str, len: usize| {
        let (start, end) = (r#"{"document": "version: 1", "note": ""#, r#""}"#);
        let body = format!("{start}{}{end}", "x".repeat(len - start.len() - end.len()));
        let mut client = Client::connect(world.node.address);
        let target = format!("/admin/api/{path}.json?access_token={TOKEN}");
        client
            .try_request("POST", &target, &[("Content-Type", "application/json")], &body)
            .map(|it| it.status)
    };
    assert_eq!(send("catalog/import", BYTES_MAX).unwrap(), 200);
    // Whoever sends more may be hung up on before all of it is sent.
    assert!(send("catalog/import", BYTES_MAX + 1).map_or(true, |status| status == 413));
    assert_eq!(send("services", 4 << 20).unwrap(), 422, "a service has a name");
    assert!(send("services", (4 << 20) + 1).map_or(true, |status| status == 413));
}

#[test]
fn an_import_that_is_killed_is_there_whole_or_not_at_all() {
    const COUNT: usize = 600;
    let mut world = World::new();
    let (mut whole, mut nothing) = (0, 0);
    let mut wait = Duration::from_millis(30);
    for round in 0..24 {
        if round >= 8 && nothing > 0 && whole > 0 {
            break;
        }
        let file = world.put("crowd.yaml", &crowd(COUNT));
        let (url, token) = (format!("http://{}", world.node.address), world.path("token"));
        let importing = std::thread::spawn(move || {
            let mut command = tollgate();
            command.args(["import", "--url", &url, "--apply", &file, "--token-file"]).arg(token);
            command.output().unwrap().status.code()
        });
        std::thread::sleep(wait);
        let World { dir, node } = world;
        node.kill();
        let code = importing.join().unwrap();
        let node = start(&dir.path().join("data"));
        world = World { dir, node };
        let exported = world.run(&["export"]).1;
        let count = exported.matches("    application_id: app-").count();
        assert!(count == 0 || count == COUNT, "{count} of {COUNT} applications");
        assert!(count == COUNT || code != Some(0), "it was answered, and is gone");
        if count == 0 {
            nothing += 1;
            // Kills come nearer to the end of it, wherever that is on this machine.
            wait = wait * 3 / 2;
        } else {
            whole += 1;
            wait = wait * 2 / 3;
            let file =
                world.put("empty.yaml", "version: 1\nservices: [{system_name: sample_api}]\naccounts: []\n");
            assert_eq!(world.run(&["import", &file, "--prune", "--apply"]).0, 0);
        }
    }
    assert!(
        nothing > 0 && whole > 0,
        "kills came before the end {nothing} times, and after it {whole} times"
    );
}
