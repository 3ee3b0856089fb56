//! `tollgate repair`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::once::{TOGETHER, report, send_until_sealed, slices};
use crate::support::Client;
use crate::support::data::{contents, flip_a_bit};
use crate::support::process::Process;
use crate::world::{call, group_edges, hits, prepare, run, run_json, segments, serve};
use tollgate::journal::entry::Entry;
use tollgate::journal::{Sequence, read_segment};

fn verify(data: &Path) -> (i32, serde_json::Value) {
    run_json(&["verify", "--json", "--data-dir", data.to_str().unwrap()])
}

fn repair(data: &Path, more: &[&str]) -> (i32, String, String) {
    run(&[&["repair", "--data-dir", data.to_str().unwrap()], more].concat())
}

/// Damages the `nth` group of the segment with the most of them; its file, and where the group begins.
fn damage(data: &Path, nth: usize) -> (PathBuf, usize) {
    let (path, mut bytes) =
        segments(data).into_iter().max_by_key(|(_, bytes)| group_edges(bytes).len()).unwrap();
    let hole = group_edges(&bytes)[nth];
    bytes[hole + 60..hole + 70].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    (path, hole)
}

#[test]
fn a_damaged_journal_is_ended_before_the_damage_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 0);
    // Another start, so that a later segment goes as a whole.
    let node = Process::start(serve(&data));
    let target = format!("/transactions/authrep.xml?{}", call("c", "usage%5Bhits%5D=1"));
    assert_eq!(Client::connect(node.address).get(&target).status, 200);
    assert_eq!(node.terminate(), 0);
    let (path, hole) = damage(&data, group_edges(&segments(&data)[0].1).len() - 4);
    let name = path.file_name().unwrap().to_str().unwrap();
    let place = format!("{name}:{hole}");
    let (_, found) = verify(&data);
    assert_eq!(found["problems"][0]["offset"].as_u64(), Some(hole as u64), "{found}");
    let term =
        found["segments"].as_array().unwrap().iter().map(|it| it["term"].as_u64().unwrap()).max().unwrap();

    // Shown, not done.
    let before = contents(&data);
    let (code, text, err) = repair(&data, &["--truncate-at", &place]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "would end before sequence",
        "goes as a whole",
        "may have been acknowledged",
        "cannot be read",
        "Nothing was changed",
    ] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
    assert_eq!(contents(&data), before);

    let arguments =
        ["repair", "--json", "--apply", "--truncate-at", &place, "--data-dir", data.to_str().unwrap()];
    let (code, plan) = run_json(&arguments);
    assert_eq!(code, 0, "{plan}");
    assert!(plan["journal"]["kinds"].as_array().unwrap().iter().any(|it| it[0] == "usage"), "{plan}");
    let aside = PathBuf::from(plan["moved_to"].as_str().unwrap());
    let journal = plan["journal"].as_object().unwrap();
    let gone = journal["files"].as_array().unwrap().iter();
    let shortened = journal["shortened"].as_array().unwrap().iter().map(|it| &it[0]);
    let gone: Vec<_> = gone.chain(shortened).map(|it| it.as_str().unwrap()).collect();
    assert!(gone.len() >= 2, "{plan}");
    for name in gone {
        // Every byte of it as it was, damage included.
        let was = &before[&data.join("journal").join(name)].1;
        assert!(std::fs::read(aside.join(name)).unwrap() == *was, "{name}");
    }
    let (code, found) = verify(&data);
    assert_eq!((code, &found["verdict"]), (0, &"whole".into()), "{found}");
    assert!(found["state"]["next_term"].as_u64().unwrap() > term, "{found}");
    assert_eq!((hits(&data, "a"), hits(&data, "c")), (6, 0));
    let node = Process::start(serve(&data));
    assert_eq!(Client::connect(node.address).get(&target).status, 200);
    assert_eq!(node.terminate(), 0);
    assert_eq!((verify(&data).0, hits(&data, "c")), (0, 1));
}

#[test]
fn what_a_checkpoint_has_beyond_the_cut_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 2);
    let (_, found) = verify(&data);
    let begin = found["checkpoints"][0]["begin"].as_u64().unwrap();
    let first = found["state"]["first"].as_u64().unwrap();
    let last = found["state"]["last"].as_u64().unwrap();
    // After everything the newest has: it stays.
    let (code, plan) = run_json(&[
        "repair",
        "--json",
        "--truncate-at",
        &last.to_string(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert_eq!((code, &plan["checkpoints"]), (0, &serde_json::json!([])), "{plan}");
    // Where it begins: it goes, and the one before it serves.
    let (code, plan) = run_json(&[
        "repair",
        "--json",
        "--truncate-at",
        &begin.to_string(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert_eq!(
        (code, &plan["checkpoints"], &plan["after"]["checkpoint"]),
        (0, &serde_json::json!([2]), &1.into()),
        "{plan}"
    );
    // Before everything that the journal still has, with checkpoints that are ahead of it: nothing is left.
    if first > 1 {
        let before = contents(&data);
        let (code, _, err) = repair(&data, &["--truncate-at", &first.to_string(), "--apply"]);
        assert!(code == 7 && err.contains("nothing was changed"), "{code} {err}");
        let folders = |it: &std::collections::BTreeMap<PathBuf, _>| it.keys().cloned().collect::<Vec<_>>();
        assert_eq!(folders(&contents(&data)), folders(&before));
    }
    let (code, plan) = run_json(&[
        "repair",
        "--json",
        "--apply",
        "--truncate-at",
        &begin.to_string(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{plan}");
    assert_eq!(plan["shelves"], serde_json::json!(["admin", "alerts", "analytics"]), "{plan}");
    let (code, found) = verify(&data);
    assert_eq!((code, found["checkpoints"].as_array().unwrap().len()), (0, 1), "{found}");
    assert_eq!(hits(&data, "a"), 6);
    assert_eq!(Process::start(serve(&data)).terminate(), 0);
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn a_damaged_checkpoint_is_dropped_if_the_journal_reaches_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 2);
    flip_a_bit(&data.join("checkpoints/00000002/sled/db"));
    let (code, text, _) = repair(&data, &["--drop-checkpoint", "2"]);
    assert!(
        code == 0 && text.contains("Checkpoint 2 would go") && text.contains("from checkpoint 1"),
        "{text}"
    );
    assert_eq!(verify(&data).0, 7);
    let (code, text, err) = repair(&data, &["--drop-checkpoint", "2", "--apply"]);
    assert!(code == 0 && text.contains("Done"), "{text} {err}");
    let (code, found) = verify(&data);
    assert_eq!((code, &found["state"]["checkpoint"]), (0, &1.into()), "{found}");
    assert_eq!((hits(&data, "a"), hits(&data, "b")), (6, 5));
    assert_eq!(Process::start(serve(&data)).terminate(), 0);
    // The last one can only go if the journal has everything since the beginning.
    let (_, found) = verify(&data);
    let (code, _, err) = repair(&data, &["--drop-checkpoint", "1", "--apply"]);
    assert_eq!(code, if found["state"]["first"] == 1 { 0 } else { 7 }, "{err}");
}

#[test]
fn what_cannot_be_repaired_is_said_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let place = ["--truncate-at", "1"];
    assert_eq!(repair(&dir.path().join("none"), &place).0, 6);
    prepare(&data, 0);
    let (code, _, err) = repair(&data, &["--truncate-at", "99999999"]);
    assert!(code == 2 && err.contains("99999999"), "{err}");
    let (code, _, err) = repair(&data, &["--truncate-at", "none.journal:64"]);
    assert!(code == 2 && err.contains("no segment none.journal"), "{err}");
    let (code, _, err) = repair(&data, &["--drop-checkpoint", "3"]);
    assert!(code == 2 && err.contains("no checkpoint 3"), "{err}");
    assert_eq!(repair(&data, &[]).0, 2);
    assert_eq!(repair(&data, &["--drop-checkpoint", "3", "--truncate-at", "1"]).0, 2);
    // A cut after the hole keeps the hole: what is left is as damaged as before.
    let (path, hole) = damage(&data, 2);
    let later = segments(&data).into_iter().map(|(path, _)| path).find(|it| *it > path);
    if let Some(later) = later {
        let place = format!("{}:64", later.file_name().unwrap().to_str().unwrap());
        let (code, _, err) = repair(&data, &["--truncate-at", &place, "--apply"]);
        assert!(code == 7 && err.contains(&format!("offset {hole}")), "{code} {err}");
    }
    assert!(!data.join("repaired").exists());
    let node_dir = dir.path().join("other");
    let node = Process::start(serve(&node_dir));
    for more in [&["--truncate-at", "1"][..], &["--truncate-at", "1", "--apply"]] {
        let (code, _, err) = repair(&node_dir, more);
        assert!(code == 5 && err.contains("in use by another node"), "{code} {err}");
    }
    assert_eq!(node.terminate(), 0);
}

/// Sends all reports again: those that are repetitions are the first, and their usage is what is counted. How many they are.
fn send_again(data: &Path, reports: u64) -> u64 {
    let left = hits(data, "c");
    let node = Process::start(serve(data));
    let mut client = Client::connect(node.address);
    let repeated: Vec<_> = (0..reports).map(|number| report(&mut client, number)).collect();
    let stayed = repeated.iter().take_while(|repeated| **repeated).count() as u64;
    assert!(repeated[stayed as usize..].iter().all(|repeated| !repeated), "{repeated:?}");
    assert_eq!(left, stayed * TOGETHER, "usage stays whose ids stay, and no other");
    assert!((0..reports).all(|number| report(&mut client, number)));
    assert_eq!(node.terminate(), 0);
    assert_eq!((verify(data).0, hits(data, "c")), (0, reports * TOGETHER));
    stayed
}

#[test]
fn ids_go_with_their_usage_when_the_journal_is_ended_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 0);
    let reports = send_until_sealed(&data, 2, Duration::ZERO);
    let (from, to) = *slices(&data).last().unwrap();
    let name = format!("{from:020}-{to:020}.slice");
    let cut = (from + (to - from) / 2).to_string();
    let before = contents(&data);
    let (code, text, err) = repair(&data, &["--truncate-at", &cut]);
    assert!(code == 0 && text.contains(&format!("{name} would be written anew")), "{text} {err}");
    assert_eq!(contents(&data), before);
    let arguments =
        ["repair", "--json", "--apply", "--truncate-at", &cut, "--data-dir", data.to_str().unwrap()];
    let (code, plan) = run_json(&arguments);
    assert_eq!(code, 0, "{plan}");
    let ids = &plan["ids"];
    assert_eq!((&ids["rewritten"], &ids["go_by_time"]), (&name.as_str().into(), &0.into()), "{plan}");
    assert!(ids["stay"].as_u64() > Some(0) && ids["go"].as_u64() > Some(0), "{plan}");
    let aside = PathBuf::from(plan["moved_to"].as_str().unwrap());
    assert_eq!(std::fs::read(aside.join(&name)).unwrap(), before[&data.join("ids").join(&name)].1);
    let cut = plan["journal"]["from"].as_u64().unwrap();
    assert_eq!(slices(&data).last(), Some(&(from, cut - 1)));
    let stayed = send_again(&data, reports);
    assert!(0 < stayed && stayed < reports, "{stayed} of {reports}");
}

/// Where the batch of a report begins whose ids the last slice has, about in the middle of it.
fn place_of_ids(data: &Path) -> (PathBuf, usize) {
    let (from, to) = *slices(data).last().unwrap();
    let middle = from + (to - from) / 2;
    for (path, bytes) in segments(data) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut with_ids = Vec::new();
        let visit = |sequence: Sequence, _, entry| {
            if matches!(entry, Entry::Ids(_)) {
                with_ids.push(sequence.0);
            }
        };
        read_segment(&name, &bytes, visit).unwrap();
        let wanted = with_ids.into_iter().find(|sequence| (middle..=to).contains(sequence));
        let first = |at: usize| u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap());
        let edges = group_edges(&bytes);
        let groups = edges[..edges.len() - 1].iter().rev();
        if let Some(place) = wanted.and_then(|wanted| groups.copied().find(|at| first(*at) <= wanted)) {
            return (path, place);
        }
    }
    panic!("no ids between {middle} and {to}");
}

#[test]
fn ids_that_cannot_be_read_in_the_journal_go_by_their_time_if_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 0);
    // Two reports are not counted in one millisecond, so that the times tell.
    let reports = send_until_sealed(&data, 2, Duration::from_millis(5));
    let (path, hole) = place_of_ids(&data);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[hole + 60..hole + 70].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let place = format!("{name}:{hole}");
    let (_, found) = verify(&data);
    assert_eq!(found["problems"][0]["offset"].as_u64(), Some(hole as u64), "{found}");
    let (code, text, err) = repair(&data, &["--truncate-at", &place]);
    let says = format!("{TOGETHER} more would go because they were counted after");
    assert!(code == 0 && text.contains(&says) && text.contains("--ids-by-time"), "{text} {err}");
    let before = contents(&data);
    let (code, _, err) = repair(&data, &["--truncate-at", &place, "--apply"]);
    assert!(
        code == 7 && err.contains("nothing was changed") && err.contains("--ids-by-time"),
        "{code} {err}"
    );
    let names = |it: &std::collections::BTreeMap<PathBuf, _>| it.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&contents(&data)), names(&before));
    let (code, text, err) = repair(&data, &["--truncate-at", &place, "--apply", "--ids-by-time"]);
    assert!(code == 0 && text.contains("Done"), "{text} {err}");
    let stayed = send_again(&data, reports);
    assert!(0 < stayed && stayed < reports, "{stayed} of {reports}");
}

const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A node with an administrator, and what it says of `path` in its admin API.
fn administrate(data: &Path) -> Process {
    let mut command = serve(data);
    command.env("TOLLGATE_ADMIN_TOKEN", ADMIN_TOKEN);
    Process::start(command)
}

fn admin(node: &Process, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let target = format!("/admin/api/{path}.json?access_token={ADMIN_TOKEN}");
    let headers = [("Content-Type", "application/json")];
    let answer = Client::connect(node.address).request(method, &target, &headers, body);
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(serde_json::Value::Null))
}

fn make_service(node: &Process, name: &str, description: &str) -> u64 {
    let body = format!(r#"{{"name": "{name}", "description": "{description}"}}"#);
    let (status, made) = admin(node, "POST", "services", &body);
    assert_eq!(status, 201, "{made}");
    made["service"]["id"].as_u64().unwrap()
}

#[test]
fn what_commands_that_go_put_on_a_shelf_becomes_what_it_was_and_new_records_go() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = administrate(&data);
    let service = make_service(&node, "Kept", "before");
    let gone = make_service(&node, "Deleted by what goes", "");
    assert_eq!(node.terminate(), 0);
    let last = verify(&data).1["state"]["last"].as_u64().unwrap();
    let node = administrate(&data);
    let before = admin(&node, "GET", "services", "");
    let path = format!("services/{service}");
    let (status, said) = admin(&node, "PUT", &path, r#"{"name": "Changed", "description": "after"}"#);
    assert_eq!((status, &said["service"]["description"]), (200, &"after".into()), "{said}");
    assert_eq!(admin(&node, "DELETE", &format!("services/{gone}"), "").0, 200);
    let new = make_service(&node, "New", "a description of a service that goes");
    assert_eq!(node.terminate(), 0);

    // Of the cut and not before it.
    let cut = (last + 1).to_string();
    let untouched = contents(&data);
    let (code, text, err) = repair(&data, &["--truncate-at", &cut]);
    assert_eq!(code, 0, "{err}");
    assert!(contents(&data) == untouched);
    for part in ["would become what an earlier command says", "would be deleted, as they are new"] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
    let arguments =
        ["repair", "--json", "--apply", "--truncate-at", &cut, "--data-dir", data.to_str().unwrap()];
    let (code, plan) = run_json(&arguments);
    assert_eq!(code, 0, "{plan}");
    let becomes = |table: &str, row: u64| {
        let row = row.to_string();
        let rows = plan["rows"].as_array().unwrap().iter();
        let mut of = rows.filter(|it| it["shelf"] == "admin" && it["table"] == table);
        of.find(|it| it["row"].as_str() == Some(&row)).map(|it| it["becomes"].clone())
    };
    assert_eq!(becomes("services", service), Some("restored".into()), "{plan}");
    assert_eq!(becomes("services", gone), Some("restored".into()), "{plan}");
    assert_eq!(becomes("services", new), Some("deleted".into()), "{plan}");
    // The journal has everything since the beginning.
    assert!(plan["rows"].as_array().unwrap().iter().all(|it| it["becomes"] != "kept"), "{plan}");
    assert_eq!(plan["rows_unknown"], 0);
    let aside = PathBuf::from(plan["moved_to"].as_str().unwrap());
    let shelf = data.join("shelves/admin");
    assert!(std::fs::read(aside.join("shelf-admin")).unwrap() == untouched[&shelf].1);
    assert_eq!(verify(&data).0, 0);

    let node = administrate(&data);
    assert_eq!(admin(&node, "GET", "services", ""), before);
    // Its id is given to another, which has nothing of it.
    let again = make_service(&node, "Another", "");
    assert!(again <= new);
    let (_, others) = admin(&node, "GET", "services", "");
    assert!(!others.to_string().contains("a description of a service that goes"), "{others}");
    assert_eq!(node.terminate(), 0);
}
