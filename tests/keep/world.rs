//! A data directory with something of everything in it, and what is done to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::data::{contents, reserve};
use crate::support::process::tollgate;
use crate::support::{self, Client};
use tollgate::listener::system_clock;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;
use tollgate::node::{self, Node};

pub(crate) const TOKEN: &str = "service-token";
pub(crate) const PROVIDER_KEY: &str = "provider-key";
pub(crate) const SERVICE: &str = "the-service";

/// Runs to its end: exit code, standard output, standard error.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = tollgate().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As [`run`], and what it says as JSON.
pub(crate) fn run_json(arguments: &[&str]) -> (i32, serde_json::Value) {
    let (code, out, err) = run(arguments);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}")))
}

/// A node's command line.
pub(crate) fn serve(data: &Path) -> Command {
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(data);
    command
}

/// A call for an application of [`SERVICE`].
pub(crate) fn call(app_id: &str, usage: &str) -> String {
    format!("service_token={TOKEN}&service_id={SERVICE}&app_id={app_id}&{usage}")
}

fn build(draft: &mut Draft<'_>) -> Result<(), tollgate::model::draft::CommandError> {
    let tenant = draft.create_tenant("tenant", PROVIDER_KEY)?;
    let backend_version = BackendVersion::AppId;
    let new = NewService { tenant, external_id: Some(SERVICE), name: "The service", backend_version };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| it.tokens.push(Secret::new(TOKEN)))?;
    let hits = draft.create_metric(service, "hits", None)?;
    draft.create_metric(service, "search", Some(hits))?;
    let plan = draft.create_plan(service, None, "Plan")?;
    draft.set_limit(plan, hits, Period::Eternity, 1_000_000_000)?;
    for app_id in ["a", "b", "c"] {
        let new = NewApplication { service, account: None, app_id, name: app_id, plan };
        draft.create_application(&new)?;
    }
    Ok(())
}

/// Makes a data directory: the catalog, usage and a reservation of application `a`, and `checkpoints` checkpoints.
pub(crate) fn prepare(dir: &Path, checkpoints: u64) {
    let config = tollgate::config::Config { checkpoint_bytes: 64 * 1024, ..support::config(dir) };
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    change(&node, build);
    let mut client = Client::connect(node.http);
    for _ in 0..3 {
        let answer = client.get(&format!("/transactions/authrep.xml?{}", call("a", "usage%5Bsearch%5D=2")));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    reserve(&node, PROVIDER_KEY, SERVICE, Some("a"), None, system_clock()());
    let mut number = 0;
    // A group each.
    while number < 6 {
        number += 1;
        change(&node, |draft| draft.create_tenant(&number.to_string(), &number.to_string()).map(drop));
    }
    let began = Instant::now();
    while newest_checkpoint(dir) < checkpoints {
        number += 1;
        change(&node, |draft| {
            let name = format!("{number}-{}", "x".repeat(200));
            draft.create_tenant(&name, &name).map(drop)
        });
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
    }
    let answer = client.get(&format!("/transactions/authrep.xml?{}", call("b", "usage%5Bhits%5D=5")));
    assert_eq!(answer.status, 200, "{answer:?}");
    runtime.block_on(node.stop()).unwrap();
}

pub(crate) fn change(
    node: &Node,
    build: impl FnOnce(&mut Draft<'_>) -> Result<(), tollgate::model::draft::CommandError>,
) {
    let ((), ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
}

pub(crate) fn newest_checkpoint(dir: &Path) -> u64 {
    let text = std::fs::read_to_string(dir.join("checkpoints/CURRENT")).unwrap_or_default();
    text.split(' ').nth(2).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What application `app_id` has ever counted of hits, as an operator sees it.
pub(crate) fn hits(data: &Path, app_id: &str) -> u64 {
    let arguments =
        ["inspect", "--data-dir", data.to_str().unwrap(), "--json", "--service", SERVICE, "--app-id", app_id];
    let (code, report) = run_json(&arguments);
    assert_eq!(code, 0);
    let counters = report["application"]["counters"].as_array().unwrap();
    let row = counters.iter().find(|row| row["metric"] == "hits");
    row.map_or(0, |row| row["eternity"].as_u64().unwrap())
}

/// The segments of a directory, oldest first, with their bytes.
pub(crate) fn segments(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let journal = contents(&data.join("journal")).into_iter();
    let files = journal.filter(|(path, _)| path.extension().is_some_and(|it| it == "journal"));
    files.map(|(path, (_, bytes))| (path, bytes)).collect()
}

/// Where the groups of a segment begin, and where the last one ends.
pub(crate) fn group_edges(bytes: &[u8]) -> Vec<usize> {
    let mut edges = vec![64];
    loop {
        let at = edges[edges.len() - 1];
        match bytes.get(at..at + 16) {
            Some(header) if header.starts_with(b"TGgp") => {
                let body = u32::from_le_bytes(header[12..16].try_into().unwrap());
                edges.push(at + 56 + body as usize);
            }
            _ => return edges,
        }
    }
}
