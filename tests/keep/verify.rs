//! `tollgate verify`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Client;
use crate::support::data::{contents, flip_a_bit};
use crate::support::process::{Process, tollgate};
use crate::world::{call, group_edges, prepare, run, run_json, segments, serve};

fn verify(data: &Path) -> (i32, serde_json::Value) {
    run_json(&["verify", "--json", "--data-dir", data.to_str().unwrap()])
}

#[test]
fn a_whole_directory_is_shown_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (data, scratch) = (dir.path().join("data"), dir.path().join("tmp"));
    std::fs::create_dir(&scratch).unwrap();
    prepare(&data, 1);
    let before = contents(&data);
    let mut command = tollgate();
    let output = command.args(["verify", "--data-dir"]).arg(&data).env("TMPDIR", &scratch).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in
        ["no node runs on it", "SEGMENT", "alerts", "can be put together from checkpoint 1", "is whole"]
    {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "no copy is left behind");
    let (code, found) = verify(&data);
    assert_eq!((code, &found["verdict"], &found["running"]), (0, &"whole".into(), &false.into()));
    // One of them is the sample's.
    assert_eq!(found["state"]["applications"], 4);
    assert_eq!(found["state"]["open_reservations"], 1);
    // Of the admin API, alerts, analytics and integration errors.
    assert_eq!(found["shelves"].as_array().unwrap().len(), 4);
    assert_eq!(found["problems"].as_array().unwrap().len(), 0);
    // The next start begins the term that was foretold.
    let term = found["state"]["next_term"].as_u64().unwrap();
    assert_eq!(contents(&data), before, "nothing may change");
    assert_eq!(Process::start(serve(&data)).terminate(), 0);
    let (_, found) = verify(&data);
    assert_eq!(found["state"]["next_term"].as_u64().unwrap(), term + 1);
}

#[test]
fn a_torn_tail_is_normal_and_has_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 0);
    let (path, bytes) = segments(&data).pop().unwrap();
    let end = *group_edges(&bytes).last().unwrap();
    let mut torn = bytes.clone();
    torn[end..end + 40].fill(0xAA);
    std::fs::write(&path, &torn).unwrap();
    let (code, found) = verify(&data);
    assert_eq!((code, &found["verdict"]), (9, &"torn".into()));
    let note = found["notes"][0].as_str().unwrap();
    assert!(note.contains(&format!("40 bytes from {end} on")), "{note}");
    assert_eq!(std::fs::read(&path).unwrap(), torn);
    assert_eq!(Process::start(serve(&data)).terminate(), 0);
    assert_eq!(verify(&data).0, 0, "the start has cut it");
}

#[test]
fn damage_is_named_with_file_offset_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 1);
    let (path, bytes) =
        segments(&data).into_iter().max_by_key(|(_, bytes)| group_edges(bytes).len()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let edges = group_edges(&bytes);
    let hole = edges[edges.len() / 2];
    let mut damaged = bytes.clone();
    damaged[hole + 60..hole + 70].fill(0xAA);
    std::fs::write(&path, &damaged).unwrap();
    let shelf = data.join("shelves/alerts");
    let whole_shelf = std::fs::read(&shelf).unwrap();
    std::fs::write(&shelf, vec![0xAA; whole_shelf.len()]).unwrap();
    let secret = data.join("node-secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();

    let (code, found) = verify(&data);
    assert_eq!((code, &found["verdict"]), (7, &"damaged".into()), "{found}");
    let problems = found["problems"].as_array().unwrap();
    let files: Vec<_> = problems.iter().map(|it| it["file"].as_str().unwrap()).collect();
    assert_eq!(files, [&format!("journal/{name}"), "node-secret", "shelves/alerts"]);
    assert_eq!(problems[0]["offset"].as_u64(), Some(hole as u64));
    let remedy = format!("repair --truncate-at {name}:{hole}");
    assert!(problems[0]["remedy"].as_str().unwrap().contains(&remedy), "{problems:?}");
    assert!(found["state"].is_null());
    let (code, text, _) = run(&["verify", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, 7);
    assert!(
        text.contains(&format!("DAMAGED: journal/{name} at offset {hole}")) && text.contains(&remedy),
        "{text}"
    );

    // One thing repaired, the others are still there.
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, found) = verify(&data);
    assert_eq!((code, found["problems"].as_array().unwrap().len()), (7, 1), "{found}");
    assert!(!found["state"].is_null());
    std::fs::write(&shelf, &whole_shelf).unwrap();
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_state_comes_from_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 2);
    flip_a_bit(&data.join("checkpoints/00000002/sled/db"));
    let (code, found) = verify(&data);
    assert_eq!((code, found["problems"].as_array().unwrap().len()), (7, 1), "{found}");
    assert_eq!(found["problems"][0]["file"], "checkpoints/00000002");
    assert!(found["problems"][0]["remedy"].as_str().unwrap().contains("--drop-checkpoint 2"));
    assert_eq!(found["checkpoints"][0]["state"], "damaged");
    assert_eq!(found["state"]["checkpoint"], 1);
}

#[test]
fn what_is_no_data_directory_or_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (code, _, err) = run(&["verify", "--data-dir", path]);
    assert!(code == 6 && err.contains("no FORMAT file"), "{code} {err}");
    std::fs::write(dir.path().join("FORMAT"), "2\n").unwrap();
    let (code, _, err) = run(&["verify", "--data-dir", path]);
    assert!(code == 7 && err.contains("newer tollgate"), "{code} {err}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_running_node_under_load_has_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 1);
    let node = Process::start(serve(&data));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(node.address);
                let target = format!("/transactions/authrep.xml?{}", call("a", "usage%5Bhits%5D=1"));
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.get(&target).status, 200);
                }
            });
        }
        let looks: Vec<_> = (0..5).map(|_| verify(&data)).collect();
        // Before anything is asserted: a thread that is waited for must end.
        done.store(true, Ordering::Relaxed);
        for (code, found) in looks {
            assert_eq!(
                (code, &found["running"], &found["verdict"]),
                (0, &true.into(), &"whole".into()),
                "{found}"
            );
        }
    });
    assert_eq!(node.terminate(), 0);
}
