//! `tollgate backup` and `tollgate restore`.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::once::{TOGETHER, report, send_until_sealed, slices};
use crate::support::Client;
use crate::support::data::contents;
use crate::support::process::{Process, tollgate};
use crate::world::{call, group_edges, hits, prepare, run, run_json, segments, serve};

fn backup(data: &Path, to: &Path) -> (i32, String, String) {
    run(&["backup", to.to_str().unwrap(), "--data-dir", data.to_str().unwrap()])
}

fn restore(from: &Path, data: &Path) -> (i32, String, String) {
    run(&["restore", from.to_str().unwrap(), "--data-dir", data.to_str().unwrap()])
}

fn verify(data: &Path) -> (i32, serde_json::Value) {
    run_json(&["verify", "--json", "--data-dir", data.to_str().unwrap()])
}

/// The node id in every segment's header.
fn node_ids(data: &Path) -> Vec<Vec<u8>> {
    let mut ids: Vec<_> = segments(data).into_iter().map(|(_, bytes)| bytes[16..32].to_vec()).collect();
    ids.dedup();
    ids
}

#[test]
fn a_node_under_load_is_backed_up_and_what_it_had_answered_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 1);
    let mut command = serve(&data);
    // Checkpoints all the time: a backup keeps them away.
    command.args(["--checkpoint-mib", "1"]);
    let node = Process::start(command);
    let (sent, answered, slowest) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    let base = hits(&data, "a");
    let mut copies = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(node.address);
                let target = format!("/transactions/authrep.xml?{}", call("a", "usage%5Bhits%5D=1"));
                while !done.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    sent.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(client.get(&target).status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                    let took = u64::try_from(began.elapsed().as_millis()).unwrap();
                    slowest.fetch_max(took, Ordering::SeqCst);
                }
            });
        }
        for name in ["one", "two.tar"] {
            std::thread::sleep(Duration::from_millis(200));
            let to = dir.path().join(name);
            let least = base + answered.load(Ordering::SeqCst);
            let made = backup(&data, &to);
            let most = base + sent.load(Ordering::SeqCst);
            copies.push((to, least, made, most));
        }
        done.store(true, Ordering::SeqCst);
    });
    node.kill();
    assert!(slowest.load(Ordering::SeqCst) < 10_000, "decisions went on");
    assert!(!data.join("backup").exists());
    let original = node_ids(&data);
    for (to, least, (code, out, err), most) in copies {
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("read back and put together"), "{out}");
        let restored = dir.path().join(format!("{}-restored", to.file_name().unwrap().to_str().unwrap()));
        let (code, out, err) = restore(&to, &restored);
        assert!(code == 0 && out.contains("Restored to"), "{out} {err}");
        let (code, found) = verify(&restored);
        assert_eq!((code, &found["problems"]), (0, &serde_json::json!([])), "{found}");
        let count = hits(&restored, "a");
        assert!(least <= count && count <= most, "{least} <= {count} <= {most}");
        assert_eq!(hits(&restored, "b"), 5);
        assert_eq!(found["state"]["open_reservations"], 1);
        // Another node than the original, in every segment, and a term of its own.
        assert!(node_ids(&restored).len() == 1 && node_ids(&restored) != original);
        let term = found["state"]["next_term"].as_u64().unwrap();
        let node = Process::start(serve(&restored));
        let target = format!("/transactions/authrep.xml?{}", call("a", "usage%5Bhits%5D=1"));
        assert_eq!(Client::connect(node.address).get(&target).status, 200);
        assert_eq!(node.terminate(), 0);
        assert_eq!(hits(&restored, "a"), count + 1);
        let (_, found) = verify(&restored);
        assert_eq!(found["state"]["next_term"].as_u64().unwrap(), term + 1);
    }
}

#[test]
fn a_stopped_node_is_backed_up_for_its_owner_only_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, to) = (dir.path().join("data"), dir.path().join("copy"));
    prepare(&data, 2);
    // A torn tail stays behind.
    let (path, mut bytes) = segments(&data).pop().unwrap();
    let end = *group_edges(&bytes).last().unwrap();
    bytes[end..end + 40].fill(0xAA);
    std::fs::write(&path, &bytes).unwrap();
    let before = contents(&data);
    let (code, _, err) = backup(&data, &to);
    assert_eq!(code, 0, "{err}");
    assert_eq!(contents(&data), before);
    for (path, _) in contents(&to) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    // A backup is no data directory: no node starts on it.
    let output = serve(&to).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let (code, _, err) = backup(&data, &to);
    assert!(code == 6 && err.contains("is there already"), "{err}");

    let restored = dir.path().join("restored");
    assert_eq!(restore(&to, &restored).0, 0);
    for (path, _) in contents(&restored) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    assert_eq!(verify(&restored).0, 0);
    assert_eq!((hits(&restored, "a"), hits(&restored, "b")), (6, 5));
    assert_eq!(
        std::fs::read(restored.join("node-secret")).unwrap(),
        std::fs::read(data.join("node-secret")).unwrap()
    );
    let (code, _, err) = restore(&to, &restored);
    assert!(code == 6 && err.contains("is not empty"), "{err}");
}

#[test]
fn what_is_not_a_whole_backup_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (data, to) = (dir.path().join("data"), dir.path().join("copy.tar"));
    prepare(&data, 1);
    assert_eq!(backup(&data, &to).0, 0);
    let target = dir.path().join("target");
    let refused = |from: &Path, part: &str| {
        let (code, _, err) = restore(from, &target);
        assert!(code == 7 && err.contains(part), "{part}: {code} {err}");
        assert!(!target.join("FORMAT").exists());
        let _ = std::fs::remove_dir_all(&target);
    };
    let bytes = std::fs::read(&to).unwrap();
    let cut = dir.path().join("cut.tar");
    for len in [0, 100, bytes.len() / 2, bytes.len() - 2048] {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        refused(&cut, "is not a whole backup");
    }
    let mut damaged = bytes.clone();
    let at = bytes.windows(8).position(|it| it == b"TGSEGMNT").unwrap();
    damaged[at + 100] ^= 1;
    std::fs::write(&cut, &damaged).unwrap();
    refused(&cut, "checksum differs");
    refused(&data, "has no BACKUP");

    // Interrupted: what is left is not restored, and in the way of the next one until it is removed.
    let node = Process::start(serve(&data));
    let to = dir.path().join("interrupted");
    let partial = dir.path().join("interrupted.partial");
    let mut child = tollgate().arg("backup").arg(&to).arg("--data-dir").arg(&data).spawn().unwrap();
    let began = Instant::now();
    while !partial.exists() && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if partial.exists() && !partial.join("BACKUP").exists() {
        refused(&partial, "has no BACKUP");
        let (code, _, err) = backup(&data, &to);
        assert!(code == 6 && err.contains("interrupted"), "{err}");
        std::fs::remove_dir_all(&partial).unwrap();
    }
    // The node has let go, and the next backup goes through.
    let _ = std::fs::remove_dir_all(&partial);
    let _ = std::fs::remove_dir_all(&to);
    let (code, _, err) = backup(&data, &to);
    assert_eq!(code, 0, "{err}");
    let mut format = String::new();
    std::fs::File::open(data.join("FORMAT")).unwrap().read_to_string(&mut format).unwrap();
    assert_eq!(format, "1\n");
    assert_eq!(node.terminate(), 0);
}

/// A backup of a running node that is sent reports with ids.
struct Taken {
    path: PathBuf,
    /// The reports that were answered before it began.
    before: Vec<u64>,
    /// The first report that was sent after it ended.
    after: u64,
}

/// Backs up a node, to a directory and to a file, while reports with ids come in. All that were ever sent, too.
fn take_while_reports_come(dir: &Path, data: &Path, first: u64) -> (Vec<Taken>, u64) {
    let node = Process::start(serve(data));
    let (next, done) = (AtomicU64::new(first), AtomicBool::new(false));
    let answered = Mutex::new((0..first).collect::<Vec<_>>());
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::connect(node.address);
                while !done.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    assert!(!report(&mut client, number));
                    answered.lock().unwrap().push(number);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        for name in ["one", "two.tar"] {
            std::thread::sleep(Duration::from_millis(200));
            let (path, before) = (dir.join(name), answered.lock().unwrap().clone());
            let (code, _, err) = backup(data, &path);
            assert_eq!(code, 0, "{err}");
            taken.push(Taken { path, before, after: next.load(Ordering::SeqCst) });
        }
        std::thread::sleep(Duration::from_millis(100));
        done.store(true, Ordering::SeqCst);
    });
    // Nothing that comes after a backup is part of it.
    node.kill();
    (taken, next.into_inner())
}

#[test]
fn ids_are_backed_up_in_memory_and_in_slices_and_their_repetitions_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, 0);
    let sealed = send_until_sealed(&data, 1, Duration::ZERO);
    let (taken, sent) = take_while_reports_come(dir.path(), &data, sealed);
    for Taken { path, before, after } in taken {
        let restored = dir.path().join(format!("{}-restored", path.file_name().unwrap().to_str().unwrap()));
        let (code, _, err) = restore(&path, &restored);
        assert_eq!(code, 0, "{err}");
        let (code, found) = verify(&restored);
        assert_eq!((code, &found["problems"]), (0, &serde_json::json!([])), "{found}");
        // Some are in slices, and some in the journal alone.
        let (_, covered) = *slices(&restored).last().unwrap();
        assert!(covered < found["state"]["last"].as_u64().unwrap(), "{found}");
        let in_it = hits(&restored, "c");
        assert!((before.len() as u64 * TOGETHER..=after * TOGETHER).contains(&in_it), "{in_it}");
        assert!(after < sent);
        let node = Process::start(serve(&restored));
        let mut client = Client::connect(node.address);
        for number in before {
            assert!(report(&mut client, number), "report {number} was counted twice");
        }
        let others = (sealed..sent).filter(|number| report(&mut client, *number)).count() as u64;
        assert_eq!((sealed + others) * TOGETHER, in_it, "what is in it is known, and nothing else");
        assert!((0..sent).all(|number| report(&mut client, number)));
        assert_eq!(node.terminate(), 0);
        assert_eq!(hits(&restored, "c"), sent * TOGETHER);
    }
}
