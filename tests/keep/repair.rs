//! `tollgate repair`.

use std::path::{Path, PathBuf};

use crate::support::Client;
use crate::support::data::{contents, flip_a_bit};
use crate::support::process::Process;
use crate::world::{call, group_edges, hits, prepare, run, run_json, segments, serve};

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
    assert_eq!(plan["shelves"], serde_json::json!(["alerts"]), "{plan}");
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
