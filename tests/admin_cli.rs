//! The everyday command line, `tollgate admin`, against a node of its own: from a tenant to a denied call; what is refused and how it is
//! said; help, completion and man pages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![cfg(feature = "admin")]

#[path = "admin_cli/pages.rs"]
mod pages;
mod support;
#[path = "admin_cli/usage.rs"]
mod usage;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::Client;
use support::process::{Process, tollgate};

const MASTER: &str = "the-masters-token";
const ADMIN: &str = "the-first-administrators-token";

/// A node, and what is needed to administer it.
struct World {
    node: Process,
    url: String,
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

impl World {
    fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut command = tollgate();
        command.args(["serve", "--http", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("data"));
        command.env("TOLLGATE_MASTER_TOKEN", MASTER).env("TOLLGATE_ADMIN_TOKEN", ADMIN);
        let node = Process::start(command);
        let url = format!("http://{}", node.address);
        World { node, url, dir }
    }

    /// A command with the tokens that the node began with.
    fn admin(&self, arguments: &[&str]) -> Ended {
        let mut command = tollgate();
        command.env("TOLLGATE_URL", &self.url);
        command.env("TOLLGATE_MASTER_TOKEN", MASTER).env("TOLLGATE_ADMIN_TOKEN", ADMIN);
        run(command.arg("admin").args(arguments))
    }

    /// What a command that must be carried out says in tables.
    fn text(&self, arguments: &[&str]) -> String {
        let ended = self.admin(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// What a command that must be carried out says in JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.admin(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        assert_eq!(ended.err, "", "{arguments:?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// What a command that must not be carried out ends with and says.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.admin(arguments);
        assert_eq!(ended.out, "", "{arguments:?}: {ended:?}");
        (ended.code, ended.err)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Calls as a gateway does: status and answer.
    fn call(&self, query: &str) -> (u16, String) {
        let target = format!("/transactions/authrep.xml?{query}");
        let answer = Client::connect(self.node.address).get(&target);
        (answer.status, answer.text().to_owned())
    }
}

/// The cells of a table's row that begins with a text.
fn row<'t>(table: &'t str, beginning: &str) -> Vec<&'t str> {
    let line = table.lines().find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("no row {beginning} in:\n{table}")).split_whitespace().collect()
}

fn id(record: &Value) -> String {
    record["id"].as_u64().unwrap_or_else(|| panic!("{record}")).to_string()
}

// === the everyday story

#[test]
fn from_a_tenant_to_a_denied_call() {
    let world = World::start();
    let (tenant, token) = make_tenant(&world);
    // All that follows is the tenant's, with its token and nobody else's.
    let as_tenant = ["--tenant", tenant.as_str(), "--token-file", token.as_str()];
    let json = |arguments: &[&str]| world.json(&[&as_tenant, arguments].concat());
    let text = |arguments: &[&str]| world.text(&[&as_tenant, arguments].concat());

    let service = json(&["service", "create", "Weather", "--description", "Tells it"]);
    assert_eq!((&service["system_name"], &service["backend_version"]), (&json!("weather"), &json!("1")));
    let service_id = id(&service);
    assert_eq!(json(&["service", "update", "weather", "--name", "Weather 2"])["name"], "Weather 2");
    assert_eq!(json(&["service", "show", &service_id])["description"], "Tells it");
    assert!(row(&text(&["service", "list"]), &service_id).contains(&"weather"));

    json(&["metric", "create", "weather", "Megabytes", "--unit", "MB", "--system-name", "mb"]);
    json(&["method", "create", "weather", "Forecast"]);
    let methods = json(&["method", "list", "weather"]);
    assert_eq!((methods.as_array().unwrap().len(), &methods[0]["system_name"]), (1, &json!("forecast")));
    assert_eq!(json(&["metric", "list", "weather"]).as_array().unwrap().len(), 3);

    let plan = json(&["plan", "create", "weather", "Bronze", "--cost-per-month", "12.5"]);
    assert_eq!((&plan["state"], &plan["cost_per_month"]), (&json!("hidden"), &json!(12.5)));
    assert_eq!(json(&["plan", "publish", "bronze"])["state"], "published");
    assert_eq!(json(&["plan", "default", "bronze"])["default"], true);
    json(&["limit", "set", "bronze", "hits", "eternity", "7"]);
    let limit = json(&["limit", "set", "bronze", "hits", "eternity", "2"]);
    json(&["limit", "set", "bronze", "mb", "day", "1"]);
    let limits = text(&["limit", "list", "bronze"]);
    assert_eq!(row(&limits, "id"), ["id", "metric", "period", "value"]);
    assert_eq!(row(&limits, &id(&limit)), [&id(&limit), "hits", "eternity", "2"]);
    assert_eq!(limits.lines().count(), 3, "set again, it is the same limit:\n{limits}");

    let account = json(&[
        "account",
        "create",
        "Umbrella Corp",
        "--username",
        "bob",
        "--email",
        "bob@example.com",
        "--plan",
        "bronze",
    ]);
    let apps = json(&["app", "list", "--account", "Umbrella Corp"]);
    let app = &apps[0];
    assert_eq!((apps.as_array().unwrap().len(), &app["plan_name"]), (1, &json!("Bronze")));
    assert_eq!(json(&["account", "show", "bob"])["id"], account["id"]);
    assert_eq!(json(&["account", "approve", &id(&account)])["state"], "approved");

    // The calls.
    let service_token = json(&["service", "tokens", "weather"])[0]["value"].as_str().unwrap().to_owned();
    let key = app["user_key"].as_str().unwrap();
    let call = |key: &str| {
        world.call(&format!(
            "service_id={service_id}&service_token={service_token}&user_key={key}&usage[forecast]=1"
        ))
    };
    assert_eq!((call(key).0, call(key).0), (200, 200));
    let (status, answer) = call(key);
    assert!(status == 409 && answer.contains("usage limits are exceeded"), "{status} {answer}");
    let usage = text(&["usage", key]);
    assert_eq!(row(&usage, "metric")[..4], ["metric", "period", "current_value", "max_value"]);
    assert_eq!(row(&usage, "hits"), ["hits", "eternity", "2", "2", "-"]);
    assert_eq!(row(&usage, "mb")[..4], ["mb", "day", "0", "1"]);
    assert_eq!(json(&["usage", key])[0]["current_value"], 2);

    assert_eq!(json(&["app", "suspend", key])["state"], "suspended");
    assert!(call(key).1.contains("application is not active"));
    let ended = world.admin(&[&as_tenant[..], &["usage", key]].concat());
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (0, "tollgate: calls are denied now: application is not active\n")
    );
    assert_eq!(row(&ended.out, "hits")[2], "2", "what was counted is still shown");
    assert_eq!(json(&["app", "resume", key])["state"], "live");
    let rotated = json(&["key", "rotate", &id(app)]);
    assert_eq!(call(key).0, 403, "the old key is none");
    assert_eq!(call(rotated["user_key"].as_str().unwrap()).0, 409, "the counts are still the application's");
    json(&["limit", "set", "bronze", "hits", "eternity", "3"]);
    assert_eq!(call(rotated["user_key"].as_str().unwrap()).0, 200, "a new limit binds the next call");

    end_all(&world, &as_tenant, &service_id, app);
}

/// Makes a tenant: its id, and a file with its token.
fn make_tenant(world: &World) -> (String, String) {
    let person = ["--username", "ann", "--email", "ann@example.com"];
    let made = world.json(&[&["tenant", "create", "Acme"][..], &person].concat());
    let tenant = id(&made["account"]);
    let token = world.file("token", &format!("{}\n", made["access_token"]["value"].as_str().unwrap()));
    assert_eq!(
        row(&world.text(&["tenant", "list"]), &format!("{tenant} "))[..3],
        [&tenant, "Acme", "approved"]
    );
    assert_eq!(world.json(&["tenant", "show", "Acme"])["id"].to_string(), tenant);

    let as_tenant = ["service", "list", "--token-file", &token];
    assert_eq!(world.json(&["tenant", "suspend", &tenant])["state"], "suspended");
    let (code, said) = world.refused(&as_tenant);
    assert!(code == 1 && said.contains("(403)") && said.contains("suspended"), "{said}");
    assert_eq!(world.json(&["tenant", "resume", &tenant])["state"], "approved");
    let plan = id(&world.json(&["tenant", "create-plan", "Small", "--services-max", "3"]));
    assert_eq!(world.json(&["tenant", "change-plan", "Acme", &plan])["id"].to_string(), tenant);
    assert_eq!(
        row(&world.text(&["tenant", "plans"]), &format!("{plan} "))[..4],
        [&plan, "Small", "false", "3"]
    );
    assert_eq!(world.json(&as_tenant).as_array().unwrap().len(), 1, "a tenant begins with a service");

    let password = world.file("password", "secret123\n");
    let other = [&["tenant", "create", "Other", "--password-file", &password][..], &person].concat();
    let shown = world.admin(&other);
    assert_eq!((shown.code, shown.err.as_str()), (0, "tollgate: the access token is shown this once only\n"));
    assert!(row(&shown.out, "access_token")[1].len() == 96, "{}", shown.out);
    let gone = world.text(&["tenant", "delete", "Other"]);
    assert!(gone.contains("scheduled_for_deletion") && gone.contains("deletion_date"), "{gone}");
    (tenant, token)
}

/// The other verbs, and the end of all that was made.
fn end_all(world: &World, as_tenant: &[&str], service_id: &str, app: &Value) {
    let json = |arguments: &[&str]| world.json(&[as_tenant, arguments].concat());
    let text = |arguments: &[&str]| world.text(&[as_tenant, arguments].concat());
    let app = id(app);
    json(&["plan", "create", "weather", "Silver", "--approval-required"]);
    assert_eq!(json(&["app", "change-plan", &app, "silver"])["plan_name"], "Silver");
    let waiting = json(&["app", "create", "Umbrella Corp", "silver", "Waiting one"]);
    assert_eq!(waiting["state"], "pending");
    assert_eq!(json(&["app", "accept", &id(&waiting)])["state"], "live");
    assert_eq!(json(&["app", "show", &id(&waiting)])["name"], "Waiting one");
    let found = json(&["app", "find", "waiting"]);
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &waiting["id"]));
    let listed = |of: &[&str]| json(&[&["app", "list"], of].concat()).as_array().unwrap().len();
    assert_eq!((listed(&["--plan", "silver"]), listed(&["--service", "weather"])), (2, 2));
    assert_eq!(json(&["plan", "hide", "bronze"])["state"], "hidden");
    assert_eq!(json(&["plan", "show", "bronze", "--service", "weather"])["name"], "Bronze");
    assert!(json(&["plan", "list", "--service", "weather"]).as_array().unwrap().len() == 2);
    assert!(
        json(&["plan", "list"]).as_array().unwrap().len() > 2,
        "with those of the service that tenants begin with"
    );
    assert!(text(&["account", "list", "--state", "approved"]).contains("Umbrella Corp"));

    // What is deleted is named.
    assert_eq!(
        text(&["app", "delete", &id(&waiting)]),
        format!("deleted app {} (Waiting one)\n", id(&waiting))
    );
    assert!(text(&["limit", "delete", "bronze", "hits", "eternity"]).starts_with("deleted limit "));
    assert!(text(&["plan", "delete", "bronze"]).ends_with(" (bronze)\n"));
    assert!(text(&["method", "delete", "weather", "forecast"]).starts_with("deleted method "));
    assert!(text(&["metric", "delete", "weather", "mb"]).ends_with(" (mb)\n"));
    assert!(text(&["account", "delete", "Umbrella Corp"]).ends_with(" (Umbrella Corp)\n"));
    let deleted = json(&["service", "delete", "weather"]);
    assert_eq!((id(&deleted).as_str(), &deleted["name"]), (service_id, &json!("Weather 2")), "as it was");

    let audit = json(&["audit", "list", "--type", "service"]);
    assert_eq!((&audit[0]["method"], &audit[0]["user"]["name"]), (&json!("DELETE"), &json!("ann")));
    assert!(row(&text(&["audit", "list", "--user", "ann"]), "id").contains(&"access_token"));
}

#[test]
fn keys_of_app_ids_and_access_tokens() {
    let world = World::start();
    let json = |arguments: &[&str]| world.json(arguments);
    json(&["service", "create", "Keyed", "--backend-version", "2"]);
    json(&["plan", "create", "keyed", "Gold"]);
    json(&["limit", "set", "gold", "hits", "day", "5"]);
    json(&["account", "create", "Org", "--username", "org", "--email", "org@example.com"]);
    let app = json(&["app", "create", "Org", "gold", "Keyed one"]);
    let app_id = app["application_id"].as_str().unwrap();
    assert_eq!(json(&["key", "list", app_id]).as_array().unwrap().len(), 1);
    let made = json(&["key", "create", app_id])["value"].as_str().unwrap().to_owned();
    json(&["key", "create", app_id, "--key-file", &world.file("key", "a/key%of.my+own\n")]);
    assert_eq!(json(&["usage", app_id])[0]["max_value"], 5, "it is asked with one of the keys");
    assert_eq!(
        world.text(&["key", "delete", app_id, "a/k"]),
        "deleted key a/key%of.my+own\n",
        "its beginning will do"
    );
    assert_eq!(world.text(&["key", "delete", app_id, &made]), format!("deleted key {made}\n"));
    assert_eq!(json(&["key", "list", app_id]).as_array().unwrap().len(), 1);
    assert!(world.refused(&["key", "rotate", app_id]).1.contains("key create"));
    assert_eq!(world.refused(&["key", "delete", app_id, "nonsense"]).0, 1);

    let scopes = ["--scope", "account_management", "--scope", "stats", "--permission", "ro"];
    let token = json(&[&["token", "create", "Reader"][..], &scopes].concat());
    assert_eq!(token["scopes"], json!(["account_management", "stats"]));
    let file = world.file("reader", token["value"].as_str().unwrap());
    let reading = ["service", "list", "--token-file", &file];
    assert!(json(&reading).is_array());
    let (code, said) = world.refused(&["service", "create", "No", "--token-file", &file]);
    assert!(code == 1 && said.contains("does not have the correct permissions"), "{said}");
    let listed = world.text(&["token", "list"]);
    assert!(row(&listed, &id(&token)).contains(&"account_management,stats"), "{listed}");
    assert!(!listed.contains(token["value"].as_str().unwrap()));
    assert!(world.text(&["token", "delete", "Reader"]).ends_with(" (Reader)\n"));
    assert_eq!(world.refused(&reading).0, 14, "it is refused at once");
    let shown = world.admin(&[&["token", "create", "Shown"][..], &scopes].concat());
    assert!(shown.out.contains("value ") && shown.err.contains("this once only"), "{shown:?}");
}

// === what is refused

#[test]
fn what_is_wrong_is_said_on_standard_error_and_by_exit_codes() {
    let world = World::start();
    let (code, said) = world.refused(&["account", "create", " ", "--username", "a", "--email", "none"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "tollgate: the node refuses it (422):");
    for part in ["org_name: can't be blank", "username: ", "email: "] {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("tollgate: {part}"))),
            "{part} not in:\n{said}"
        );
    }
    assert_eq!(
        world.refused(&["service", "show", "nowhere"]),
        (1, "tollgate: there is no service \"nowhere\"\n".to_owned())
    );
    assert_eq!(world.refused(&["app", "show", "987654321"]).0, 1);

    // Two plans of one name, of different services.
    for service in ["One", "Two"] {
        world.json(&["service", "create", service]);
        world.json(&["plan", "create", &service.to_lowercase(), "Same"]);
    }
    let (code, said) = world.refused(&["plan", "delete", "same"]);
    assert!(code == 1 && said.contains("more than one plan") && said.contains("--service"), "{said}");
    assert!(world.text(&["plan", "delete", "same", "--service", "two"]).contains("(same)"));
    // A name that is another's id.
    let one = id(&world.json(&["service", "show", "one"]));
    world.json(&["service", "create", "Third", "--system-name", &one]);
    let (code, said) = world.refused(&["service", "delete", &one]);
    assert!(code == 1 && said.contains("more than one service"), "{said}");

    // Tokens.
    let wrong = world.file("wrong", "not-a-token\n");
    for arguments in [["service", "list"], ["tenant", "list"]] {
        let (code, said) = world.refused(&[&arguments[..], &["--token-file", &wrong]].concat());
        assert!(
            code == 14 && said.contains("the token is refused") && !said.contains("not-a-token"),
            "{said}"
        );
    }
    assert_eq!(world.refused(&["service", "list", "--tenant", "999"]).0, 14, "another tenant's");
    let admin = |arguments: &[&str]| run(tollgate().arg("admin").args(arguments));
    for (arguments, variable) in
        [(["tenant", "list"], "TOLLGATE_MASTER_TOKEN"), (["app", "list"], "TOLLGATE_ADMIN_TOKEN")]
    {
        let ended = admin(&arguments);
        assert!(ended.code == 2 && ended.err.contains(variable) && ended.out.is_empty(), "{ended:?}");
    }
    assert_eq!(world.refused(&["service", "list", "--token-file", "/nowhere/token"]).0, 2);

    // Nobody there, or somebody else.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said) = world.refused(&["service", "list", "--url", &format!("http://{free}")]);
    assert!(code == 13 && said.contains(&free.to_string()) && !said.contains(ADMIN), "{said}");
    let (code, said) = world.refused(&["service", "list", "--url", &format!("{}/elsewhere", world.url)]);
    assert!(code == 1 && said.contains("is not the admin API"), "{said}");
}

#[test]
fn secrets_are_no_flags() {
    let admin =
        |arguments: &[&str]| run(tollgate().arg("admin").args(arguments).env("TOLLGATE_ADMIN_TOKEN", ADMIN));
    for arguments in [
        &["service", "list", "--token", "x"][..],
        &["service", "list", "--url", "http://token@127.0.0.1:1"],
        &["tenant", "create", "x", "--username", "a", "--email", "b", "--password", "c"],
        &["limit", "set", "plan", "hits", "fortnight", "1"],
        &["service"],
        &["app", "list", "--account", "x", "--service", "y"],
    ] {
        let ended = admin(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}: {ended:?}");
    }
    let check = run(tollgate().arg("check").env("TOLLGATE_URL", "http://127.0.0.1:1"));
    assert_eq!((check.code, check.err.as_str()), (0, ""), "a node may be started from the same shell");
}

// === whole lists

#[test]
fn lists_are_whole_however_many_pages_they_have() {
    let world = World::start();
    let count = || world.json(&["account", "list"]).as_array().unwrap().len();
    let before = count();
    let mut client = Client::connect(world.node.address);
    let mut sign_up = |number: usize| {
        let body = json!({"org_name": format!("Org {number}"), "username": format!("user{number}"), "email": format!("user{number}@example.com")});
        let target = format!("/admin/api/signup.json?access_token={ADMIN}");
        let answer =
            client.request("POST", &target, &[("Content-Type", "application/json")], &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    (before..500).for_each(&mut sign_up);
    assert_eq!(count(), 500, "one page");
    sign_up(500);
    let all = world.json(&["account", "list"]);
    let ids: std::collections::BTreeSet<_> = all.as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids.len(), 501, "and one on the second");
    assert_eq!(world.text(&["account", "list"]).lines().count(), 502);
    assert_eq!(world.json(&["account", "show", "Org 500"])["org_name"], "Org 500");
}
