//! The same on a small disk that fills and empties: a tmpfs.
//!
//! While it is full, what asks to be durable is refused with 503 and Retry-After (or STORAGE_UNAVAILABLE), decisions go
//! on, and no start succeeds. When space returns the node goes on by itself, and after a kill everything acknowledged is
//! there, once.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::support::Client;
use crate::{Victim, start};

/// A tmpfs of this size holds the node's files several times.
const SIZE_MIB: u64 = 32;

/// How long the node may take to notice; a slow machine takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted tmpfs, which goes when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `path`, or says why that cannot be.
    fn mount(path: &Path) -> Result<SmallDisk, String> {
        std::fs::create_dir(path).map_err(|error| error.to_string())?;
        let options = format!("size={SIZE_MIB}m,mode=0700");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        let output = mount.map_err(|error| format!("mount cannot be run: {error}"))?;
        if output.status.success() {
            Ok(SmallDisk(path.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Fills it to the last byte, or fills up what has become free since.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.0.join("ballast")).unwrap();
        let chunk = vec![1; 64 << 10];
        while ballast.write_all(&chunk).is_ok() {}
        while ballast.write_all(&[1]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn run(rounds: u64, seed: u64) {
    let parent = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&parent.path().join("small")) {
        Ok(disk) => disk,
        Err(why) => return println!("left out: a disk that fills, as no tmpfs can be mounted: {why}"),
    };
    let dir = disk.0.join("data");
    let mut ledger = Ledger::default();
    let mut refused = 0;
    for number in 0..rounds {
        refused += round(&disk, &dir, &mut ledger, seed.wrapping_add(number), number % 2 == 0);
        ledger.check(&dir, number, number % 2 == 1 || number + 1 == rounds);
    }
    println!("on a disk that was full {rounds} times, {refused} refusals: {ledger}");
    drop(disk);
}

/// One filling: killed while the disk is full, or after it was emptied. How often callers were refused.
fn round(disk: &SmallDisk, dir: &Path, ledger: &mut Ledger, seed: u64, recovers: bool) -> u64 {
    let victim = Victim::start(dir, ledger, seed);
    let address = victim.http;
    until(address, 202);
    disk.fill();
    until(address, 503);
    if !recovers {
        let refused = victim.kill(ledger);
        // With its process went what it had removed but still open.
        disk.fill();
        // A start needs room for a segment. It says what is missing, and leaves all as it was.
        let (why, mut child) = start(dir);
        assert!(!why.starts_with("serving") && why.contains("No space left"), "{why}");
        child.wait().unwrap();
        disk.empty();
        return refused;
    }
    // Decisions go on: every caller checks that. Time enough for a checkpoint to be due, and for all to meet it.
    std::thread::sleep(Duration::from_millis(700));
    disk.empty();
    until(address, 202);
    std::thread::sleep(Duration::from_millis(200));
    victim.kill(ledger)
}

/// Sends reports that count nothing of what is compared until one is answered so.
fn until(address: std::net::SocketAddr, status: u16) {
    let mut client = Client::connect(address);
    let began = Instant::now();
    loop {
        let body = "transactions[0][user_key]=held&transactions[0][usage][search]=0";
        let answer = client.try_post("/transactions.xml?service_token=tok&service_id=kill", body).unwrap();
        if answer.status == status {
            assert_eq!(answer.header("retry-after").is_some(), status == 503, "{answer:?}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{status} does not come: {answer:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
