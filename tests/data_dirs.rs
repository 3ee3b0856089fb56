//! Data directories as earlier releases left them: each is opened, and must hold what it held.
//!
//! `tests/data-dirs/NAME/` has the directory's files, zipped and without the zeros at their ends; `LENGTHS` has the length
//! of each; `EXPECTED.json` what the release that left it said it held, at that time: catalog, counters, reservations, and
//! the requests with ids that it knew.
//!
//! | Name | What was new |
//! |---|---|
//! | `journal-1` | FORMAT 1, segments of version 1, catalog, usage, shelves; with a checkpoint, with a torn tail |
//! | `journal-2` | segments of version 2: what one flush takes is one batch |
//! | `ids-1` | ids of requests in the journal; with a checkpoint, some in a slice, too |
//!
//! Whenever a format on disk changes (`src/journal`, `src/store`, FORMAT), the state before the change is kept: with the
//! release that still writes it,
//!
//! ```text
//! TOLLGATE_MAKE_DATA_DIR=NAME cargo test --test data_dirs -- --ignored
//! ```
//!
//! It makes NAME, NAME-checkpoint and NAME-torn. What is there is never made again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::Client;
use support::data::reserve;
use tollgate::journal::Sequence;
use tollgate::listener::Clock;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::inspect::{Query, Which, inspect};
use tollgate::node::verify::{Verdict, verify};
use tollgate::node::{self, Node, counters};

const TOKEN: &str = "token-of-the-service";

/// 2026-11-18 12:34:56 UTC, a Wednesday: no two windows begin together.
const NOW_MS: u64 = 1_795_005_296_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data-dirs")
}

fn clock(now_ms: u64) -> Clock {
    Arc::new(move || UnixMillis(now_ms))
}

// === What a directory holds

/// Catalog, counters and reservations, as values that no format is part of.
fn holds(data: &Path, now_ms: u64) -> Value {
    let clock = clock(now_ms);
    let report = |query: &Query| serde_json::to_value(inspect(data, query, &clock).unwrap()).unwrap();
    let mut catalog = report(&Query::default())["catalog"].take();
    // The journal goes on with each start.
    catalog.as_object_mut().unwrap().remove("journal");
    let services: Vec<Value> = catalog["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let query = Query { service: Some(row["id"].to_string()), application: None };
            report(&query)["service"].take()
        })
        .collect();
    let mut lines = Vec::new();
    counters::export(data, &counters::Wanted { service: None }, &clock, &mut lines).unwrap();
    let lines: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let applications: Vec<Value> = lines
        .iter()
        .map(|line| {
            let id = line["application"]["id"].as_u64().unwrap();
            report(&Query { service: None, application: Some(Which::Id(id)) })["application"].take()
        })
        .collect();
    json!({ "now_ms": now_ms, "catalog": catalog, "services": services, "applications": applications, "counters": lines })
}

#[test]
fn every_state_that_was_ever_left_opens_and_holds_what_it_held() {
    let mut names: Vec<_> = std::fs::read_dir(root()).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 3, "data directories are missing: {names:?}");
    for kept in names {
        let name = kept.file_name().unwrap().to_str().unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        unpack(&kept, &data);
        let expected = std::fs::read(kept.join("EXPECTED.json")).unwrap();
        let mut expected: Value = serde_json::from_slice(&expected).unwrap();
        let requests = expected.as_object_mut().unwrap().remove("requests");
        let now_ms = expected["now_ms"].as_u64().unwrap();
        let clock = clock(now_ms);
        let found = verify(&data, &clock).unwrap();
        let verdict = if name.ends_with("torn") { Verdict::Torn } else { Verdict::Whole };
        assert_eq!(found.verdict, verdict, "{name}: {:?}", found.problems);
        compare(&name, &holds(&data, now_ms), &expected);
        // A start writes in the format of today; what it holds stays.
        let config = support::config(&data);
        let runtime = node::runtime().unwrap();
        let node = runtime.block_on(Node::start(&config, Arc::clone(&clock))).unwrap();
        assert_eq!(Client::connect(node.http).get("/healthz").status, 200, "{name}");
        for request in requests.iter().flat_map(|requests| requests.as_array().unwrap()) {
            assert!(is_repeated(&node, request), "{name}: {request} was counted twice");
        }
        runtime.block_on(node.stop()).unwrap();
        assert_eq!(verify(&data, &clock).unwrap().verdict, Verdict::Whole, "{name}");
        compare(&name, &holds(&data, now_ms), &expected);
    }
}

/// Everything that was held must be held; what later releases show besides is theirs.
fn compare(name: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, value) in expected {
                let at = format!("{name}.{key}");
                compare(&at, found.get(key).unwrap_or_else(|| panic!("{at} is gone")), value);
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{name}");
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(&format!("{name}[{at}]"), found, expected);
            }
        }
        _ => assert_eq!(found, expected, "{name}"),
    }
}

// === Requests with ids

/// Requests with ids: of a call, a report and its transactions, before a checkpoint and after it.
fn requests() -> Vec<Value> {
    let authrep = |app_id, id| {
        let target = format!("/transactions/authrep.xml?{}&usage%5Bsearch%5D=2", call(app_id));
        json!({ "method": "GET", "target": target, "key": id, "body": "" })
    };
    let report = |key: &str, ids: [&str; 2]| {
        let service = format!("service_token={TOKEN}&service_id=kept");
        let transaction = |(number, id): (usize, &str)| {
            let id = if id.is_empty() { String::new() } else { format!("&transactions[{number}][id]={id}") };
            format!("{id}&transactions[{number}][app_id]=a&transactions[{number}][usage][hits]=4")
        };
        let transactions = ids.into_iter().enumerate().map(transaction).collect::<String>();
        json!({ "method": "POST", "target": "/transactions.xml", "key": key, "body": service + &transactions })
    };
    vec![
        authrep("a", "call-1"),
        report("", ["transaction-1", "transaction-2"]),
        authrep("b", "call-2"),
        report("report-1", ["", "transaction-3"]),
    ]
}

/// Sends a request; whether it was a repetition.
fn is_repeated(node: &Node, request: &Value) -> bool {
    let text = |name: &str| request[name].as_str().unwrap();
    let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
    headers.extend(Some(("Idempotency-Key", text("key"))).filter(|(_, key)| !key.is_empty()));
    let answer = Client::connect(node.http).request(text("method"), text("target"), &headers, text("body"));
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    answer.header("idempotency-replayed") == Some("true")
}

fn call(app_id: &str) -> String {
    format!("service_token={TOKEN}&service_id=kept&app_id={app_id}")
}

// === Keeping one

#[test]
#[ignore = "makes a data directory to be kept; see the head of this file"]
fn make_a_data_directory() {
    let name = std::env::var("TOLLGATE_MAKE_DATA_DIR").expect("TOLLGATE_MAKE_DATA_DIR says how it is called");
    for (state, checkpoint, reserve, torn) in
        [("", false, false, false), ("-checkpoint", true, true, false), ("-torn", false, true, true)]
    {
        let kept = root().join(format!("{name}{state}"));
        assert!(!kept.exists(), "{} is kept as it is", kept.display());
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        leave(&data, checkpoint, reserve);
        let mut expected = holds(&data, NOW_MS);
        expected["requests"] = requests().into();
        let expected = serde_json::to_vec_pretty(&expected).unwrap();
        if torn {
            tear(&data);
        }
        pack(&data, &kept);
        std::fs::write(kept.join("EXPECTED.json"), expected).unwrap();
    }
}

fn build(draft: &mut Draft<'_>) -> Result<(), CommandError> {
    let tenant = draft.create_tenant("tenant", "provider-key")?;
    let backend_version = BackendVersion::AppId;
    let new = NewService { tenant, external_id: Some("kept"), name: "Kept", backend_version };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| it.tokens.push(Secret::new(TOKEN)))?;
    let hits = draft.create_metric(service, "hits", None)?;
    let search = draft.create_metric(service, "search", Some(hits))?;
    let plan = draft.create_plan(service, None, "Plan")?;
    draft.set_limit(plan, hits, Period::Month, 1_000_000)?;
    draft.set_limit(plan, search, Period::Eternity, 500_000)?;
    for app_id in ["a", "b"] {
        let new = NewApplication { service, account: None, app_id, name: app_id, plan };
        draft.create_application(&new)?;
    }
    Ok(())
}

/// Leaves a directory with usage of now and of earlier, sets, response codes, ids, perhaps reservations and a checkpoint.
fn leave(data: &Path, checkpoint: bool, reserved: bool) {
    let bytes = if checkpoint { 1 << 10 } else { u64::MAX };
    let config = tollgate::config::Config { checkpoint_bytes: bytes, ..support::config(data) };
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config, clock(NOW_MS))).unwrap();
    let ((), ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    let mut client = Client::connect(node.http);
    let mut get = |target: &str| {
        let answer = client.get(target);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    get(&format!("/transactions/authrep.xml?{}&usage%5Bsearch%5D=3&log%5Bcode%5D=404", call("a")));
    get(&format!("/transactions/authrep.xml?{}&usage%5Bhits%5D=%2377", call("b")));
    if reserved {
        reserve(&node, "provider-key", "kept", Some("a"), None, UnixMillis(NOW_MS));
    }
    let (before, after) = (&requests()[..2], &requests()[2..]);
    assert!(before.iter().all(|request| !is_repeated(&node, request)));
    let (began, mut number) = (Instant::now(), 0);
    while checkpoint && !data.join("checkpoints/CURRENT").exists() {
        number += 1;
        let name = number.to_string();
        let ((), ticket) = node.engine().change(|draft| draft.create_tenant(&name, &name).map(drop)).unwrap();
        node.engine().durable_blocking(ticket).unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(50));
    }
    // After the checkpoint, in the journal alone.
    get(&format!("/transactions/authrep.xml?{}&usage%5Bhits%5D=9", call("b")));
    let report = format!(
        "service_token={TOKEN}&service_id=kept&transactions[0][app_id]=a&transactions[0][usage][hits]=5\
         &transactions[0][timestamp]={}",
        NOW_MS / 1000 - 7200
    );
    let answer = Client::connect(node.http).try_post("/transactions.xml", &report).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(after.iter().all(|request| !is_repeated(&node, request)));
    assert_eq!(checkpoint, node.engine().ids_sealed_through() > Sequence(0));
    runtime.block_on(node.stop()).unwrap();
}

/// A write that was not finished, after the last group of the last segment.
fn tear(data: &Path) {
    let files = files(&data.join("journal"));
    let (path, bytes) = files.last_key_value().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut torn = bytes.clone();
    torn[end.next_multiple_of(8)..][..24].copy_from_slice(b"TGgp and then no further");
    std::fs::write(data.join("journal").join(path), torn).unwrap();
}

// === Without zeros

/// Every file below `dir`, by its path within.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn zipped(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}

fn pack(data: &Path, kept: &Path) {
    let mut lengths = String::new();
    for (path, mut bytes) in files(data) {
        // What a running node has, and nobody reads.
        if path == Path::new("lock") {
            continue;
        }
        lengths += &format!("{} {}\n", bytes.len(), path.display());
        let last = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(last);
        let target = zipped(&kept.join(&path));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut encoder = GzEncoder::new(std::fs::File::create(target).unwrap(), Compression::best());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap();
    }
    std::fs::write(kept.join("LENGTHS"), lengths).unwrap();
}

fn unpack(kept: &Path, data: &Path) {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let lengths = std::fs::read_to_string(kept.join("LENGTHS")).unwrap();
    for line in lengths.lines() {
        let (len, path) = line.split_once(' ').unwrap();
        let target = data.join(path);
        let mut folders = std::fs::DirBuilder::new();
        folders.recursive(true).mode(0o700).create(target.parent().unwrap()).unwrap();
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&target).unwrap();
        let mut source = GzDecoder::new(std::fs::File::open(zipped(&kept.join(path))).unwrap());
        std::io::copy(&mut source, &mut file).unwrap();
        file.set_len(len.parse().unwrap()).unwrap();
    }
}
