//! What a node says and does when its data directory is not as it should be: read-only, not permitted, another user's;
//! and when the clock is far from the data.
//!
//! Some of it takes rights that only root has (to mount, to be somebody else). Where they are missing, a line says what is
//! left out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::process::{Process, tollgate};
use tollgate::listener::Clock;
use tollgate::model::time::UnixMillis;
use tollgate::node::Node;

/// What a node exits with that cannot use its directory, and when the system refuses a file in it.
const DATA_DIR: i32 = 6;

/// A user without rights.
const NOBODY: u32 = 65_534;

fn is_root(dir: &Path) -> bool {
    std::fs::metadata(dir).unwrap().uid() == 0
}

fn serve(dir: &Path) -> Command {
    let mut command = tollgate();
    command.args(["serve", "--http", "127.0.0.1:0", "--data-dir"]).arg(dir);
    command
}

/// Runs to its end, and gives exit code and standard error.
fn fails(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A node that has run in that directory.
fn has_run(dir: &Path) {
    assert_eq!(Process::start(serve(dir)).terminate(), 0);
}

/// Every file below, with its bytes.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if path.is_file() {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// A file system of its own at a path; it goes when this is dropped.
struct Mounted<'p>(&'p Path);

impl<'p> Mounted<'p> {
    fn new(path: &'p Path) -> Result<Mounted<'p>, String> {
        std::fs::create_dir(path).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=64m", "tmpfs"], path).map(|()| Mounted(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<(), String> {
    let output =
        Command::new("mount").args(arguments).arg(path).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}

#[test]
fn a_read_only_directory_is_named_and_left_as_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("read-only");
    let mounted = match Mounted::new(&place) {
        Ok(mounted) => mounted,
        Err(why) => return println!("left out: a read-only file system cannot be mounted: {why}"),
    };
    let dir = place.join("data");
    has_run(&dir);
    let before = content(&dir);
    mount(&["-o", "remount,ro"], &place).unwrap();
    let (code, text) = fails(&mut serve(&dir));
    assert_eq!(code, DATA_DIR, "{text}");
    assert!(text.contains("Read-only file system") && text.contains(dir.to_str().unwrap()), "{text}");
    assert!(content(&dir) == before);
    mount(&["-o", "remount,rw"], &place).unwrap();
    has_run(&dir);
    drop(mounted);
}

#[test]
fn a_directory_without_rights_and_one_of_another_user_are_named_and_left_as_they_are() {
    let parent = tempfile::tempdir().unwrap();
    if !is_root(parent.path()) {
        return println!("left out: another user's directory: only root can give one away");
    }
    std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dir = parent.path().join("data");
    has_run(&dir);
    let before = content(&dir);

    // Another user cannot enter it. The program lies where only its builder may look, perhaps: a copy does not.
    let program = parent.path().join("tollgate");
    std::fs::copy(tollgate().get_program(), &program).unwrap();
    let user = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&program);
    command.args(["serve", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--data-dir"]).arg(&dir);
    let (code, text) = fails(command.current_dir("/"));
    assert_eq!(code, DATA_DIR, "{text}");
    assert!(text.contains("Permission denied") && text.contains(dir.to_str().unwrap()), "{text}");

    // Root could, but would leave files there that its owner cannot open.
    for (path, _) in &before {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let (code, text) = fails(&mut serve(&dir));
    assert_eq!(code, DATA_DIR, "{text}");
    assert!(text.contains("belongs to user 65534") && text.contains("chown"), "{text}");
    assert!(content(&dir) == before);
}

#[test]
fn a_journal_directory_that_is_a_file_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    has_run(&dir);
    std::fs::rename(dir.join("journal"), parent.path().join("aside")).unwrap();
    std::fs::write(dir.join("journal"), "").unwrap();
    let (code, text) = fails(&mut serve(&dir));
    assert_ne!(code, 0);
    assert!(text.contains(dir.join("journal").to_str().unwrap()), "{text}");
    std::fs::remove_file(dir.join("journal")).unwrap();
    std::fs::rename(parent.path().join("aside"), dir.join("journal")).unwrap();
    has_run(&dir);
}

#[test]
fn the_clock_may_jump_while_a_node_runs_and_be_far_ahead_when_it_starts() {
    const HOUR: u64 = 3_600_000;
    const BEGIN: u64 = 1_795_355_130_000;
    let dir = tempfile::tempdir().unwrap();
    let runtime = tollgate::node::runtime().unwrap();
    let wall = Arc::new(AtomicU64::new(BEGIN));
    let clock: Clock = {
        let wall = Arc::clone(&wall);
        Arc::new(move || UnixMillis(wall.load(Ordering::Relaxed)))
    };
    let start = || runtime.block_on(Node::start(&support::config(dir.path()), Arc::clone(&clock)));
    let now = |node: &Node| node.engine().now(clock()).0;

    let node = start().unwrap();
    assert_eq!(now(&node), BEGIN);
    // Back: time stands still. Ahead: it goes along, and does not come back.
    wall.store(BEGIN - 5 * HOUR, Ordering::Relaxed);
    assert_eq!(now(&node), BEGIN);
    wall.store(BEGIN + HOUR, Ordering::Relaxed);
    assert_eq!(now(&node), BEGIN + HOUR);
    wall.store(BEGIN, Ordering::Relaxed);
    assert_eq!(now(&node), BEGIN + HOUR);
    runtime.block_on(node.stop()).unwrap();
    // A node may have been off for long: that is reported, and no reason to stay off. From then on the clock counts.
    wall.store(BEGIN + 24 * 400 * HOUR, Ordering::Relaxed);
    let node = start().unwrap();
    assert_eq!(now(&node), BEGIN + 24 * 400 * HOUR);
    let create = |draft: &mut tollgate::model::draft::Draft<'_>| draft.create_tenant("later", "later");
    let (_, ticket) = node.engine().change(create).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    runtime.block_on(node.stop()).unwrap();
    wall.store(BEGIN + HOUR, Ordering::Relaxed);
    let error = start().map(drop).unwrap_err().to_string();
    assert!(error.contains("--accept-clock"), "{error}");
}
