//! Levels, and a node on a disk that fills and empties.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use crate::config::Settings;
use crate::engine::{ChangeError, Recovery};
use crate::journal::{Journal, Options, Sequence};
use crate::listener::system_clock;
use crate::node::{Node, Sample};
use crate::plugin::alerts::AlertsError;
use crate::plugin::follower::Behind;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// As the defaults are.
const BOUNDS: Bounds = Bounds { low: 2 * GIB, critical: 512 * MIB };

fn levels(bounds: Bounds, total: u64, frees: &[u64]) -> Vec<Space> {
    let mut level = Space::Enough;
    let mut next = |free| {
        level = bounds.level(Room { free, total }, level);
        level
    };
    frees.iter().map(|free| next(*free)).collect()
}

#[test]
fn a_level_begins_below_its_bound_and_ends_a_quarter_above_it() {
    use Space::{Critical, Enough, Low};
    let frees = [2 * GIB, 2 * GIB - 1, 2 * GIB + 512 * MIB - 1, 2 * GIB + 512 * MIB, 2 * GIB];
    assert_eq!(levels(BOUNDS, TIB, &frees), [Enough, Low, Low, Enough, Enough]);
    let frees = [512 * MIB, 512 * MIB - 1, 640 * MIB - 1, 640 * MIB, 512 * MIB, 0, 3 * GIB];
    assert_eq!(levels(BOUNDS, TIB, &frees), [Low, Critical, Critical, Low, Low, Critical, Enough]);
}

#[test]
fn the_lesser_of_bytes_and_part_of_the_disk_counts_and_no_size_is_room_enough() {
    use Space::{Critical, Enough, Low};
    // A tenth of 10 GiB, and a twentieth.
    assert_eq!(
        levels(BOUNDS, 10 * GIB, &[GIB, GIB - 1, 512 * MIB, 512 * MIB - 1]),
        [Enough, Low, Low, Critical]
    );
    // A small disk is not short as long as it is as good as empty.
    assert_eq!(levels(BOUNDS, 32 * MIB, &[30 * MIB, 4 * MIB, 3 * MIB, MIB]), [Enough, Enough, Low, Critical]);
    assert_eq!(levels(BOUNDS, 0, &[0]), [Enough]);
    assert_eq!(levels(Bounds { low: 0, critical: 0 }, TIB, &[0]), [Enough]);
    assert_eq!(levels(Bounds { low: 2 * GIB, critical: 0 }, TIB, &[0]), [Low]);
}

#[test]
fn a_file_system_that_does_not_answer_leaves_the_level_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
    let (journal, _) = Journal::open(dir.path(), Options::default(), Sequence(0), nothing).unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let free = Arc::new(AtomicU64::new(GIB));
    let look: Look = {
        let free = Arc::clone(&free);
        Arc::new(move || match free.load(Ordering::Relaxed) {
            u64::MAX => Err(io::ErrorKind::NotFound.into()),
            free => Ok(Room { free, total: TIB }),
        })
    };
    let config = Config::load(Settings::default(), []).unwrap();
    let disk = metrics::with_local_recorder(&recorder, || Disk::new(&engine, look, &config));
    let seen = |next| {
        free.store(next, Ordering::Relaxed);
        disk.look();
        (engine.space(), disk.note().is_some(), disk.reason())
    };
    let reason = |left| Some(format!("the disk is nearly full{left}: reports are refused, decisions go on"));
    assert_eq!((engine.space(), disk.reason()), (Space::Low, None));
    assert_eq!(
        disk.note().unwrap(),
        "the disk has little room (1024 MiB free): events and errors are written later"
    );
    assert_eq!(seen(u64::MAX), (Space::Low, true, None));
    assert_eq!(seen(7 * MIB), (Space::Critical, false, reason(" (7 MiB free)")));
    assert_eq!(seen(u64::MAX), (Space::Critical, false, reason("")));
    let shown = recorder.handle().render();
    assert!(shown.contains("tollgate_disk_free_bytes 7340032\n"), "{shown}");
    assert!(shown.contains("tollgate_disk_level 2\n"), "{shown}");
    assert_eq!(seen(TIB), (Space::Enough, false, None));
}

#[test]
fn the_disk_of_a_directory_says_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let room = look_at(dir.path())().unwrap();
    assert!(room.free <= room.total && room.total > 0, "{room:?}");
    assert!(look_at(&dir.path().join("gone"))().is_err());
}

/// A request on a connection of its own; all of the answer.
fn ask(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let len = body.len();
    let form = "content-type: application/x-www-form-urlencoded";
    let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{form}\r\n{headers}");
    write!(stream, "{head}content-length: {len}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A node on a disk of a tebibyte, and how much of it is free.
struct World {
    node: Option<Node>,
    sample: Sample,
    free: Arc<AtomicU64>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl World {
    fn start(free: u64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            http: Some("127.0.0.1:0".into()),
            tcp: Some("off".into()),
            ..Settings::default()
        };
        let config = Config::load(settings, []).unwrap();
        let free = Arc::new(AtomicU64::new(free));
        let look: Look = {
            let free = Arc::clone(&free);
            Arc::new(move || Ok(Room { free: free.load(Ordering::Relaxed), total: TIB }))
        };
        let runtime = crate::node::runtime().unwrap();
        let mut node = runtime.block_on(Node::start_on(&config, system_clock(), look)).unwrap();
        let sample = node.sample.take().unwrap();
        World { node: Some(node), sample, free, runtime, _dir: dir }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Waits until the node has noticed that so much is free.
    fn becomes(&self, free: u64, level: Space) {
        self.free.store(free, Ordering::Relaxed);
        let began = Instant::now();
        while self.node().engine().space() != level {
            assert!(began.elapsed() < Duration::from_secs(20), "{level:?} does not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn credentials(&self) -> String {
        format!("service_id={}&service_token={}", self.sample.service_id, self.sample.service_token)
    }

    fn report(&self) -> String {
        let (key, credentials) = (&self.sample.user_key, self.credentials());
        let body = format!("{credentials}&transactions[0][user_key]={key}&transactions[0][usage][hits]=1");
        ask(self.node().http, "POST", "/transactions.xml", "", &body)
    }

    fn authrep(&self, headers: &str) -> String {
        let (key, credentials) = (&self.sample.user_key, self.credentials());
        let target = format!("/transactions/authrep.xml?{credentials}&user_key={key}&usage[hits]=1");
        ask(self.node().http, "GET", &target, headers, "")
    }

    fn ready(&self) -> String {
        ask(self.node().http, "GET", "/readyz", "", "")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let stopped = self.node.take().map(|node| self.runtime.block_on(node.stop()));
        assert!(std::thread::panicking() || matches!(stopped, Some(Ok(()))), "{stopped:?}");
    }
}

fn is(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

#[test]
fn plugins_are_put_off_first_then_durable_requests_are_refused_and_decisions_go_on() {
    // A start knows how it is.
    let world = World::start(GIB);
    assert_eq!(world.node().engine().space(), Space::Low);
    is(&world.report(), 202);
    let events = world.node().alerts().events();
    assert!(matches!(events, Err(AlertsError::Behind(Behind::PutOff { .. }))), "{events:?}");
    let ready = world.ready();
    is(&ready, 200);
    assert!(ready.ends_with(
        "\r\n\r\nready\nthe disk has little room (1024 MiB free): events and errors are written later\n"
    ));

    world.becomes(100 * MIB, Space::Critical);
    let refused = world.report();
    is(&refused, 503);
    assert!(refused.contains("storage_unavailable") && refused.contains("\r\nretry-after: "), "{refused}");
    is(&world.authrep("3scale-options: durable=1\r\n"), 503);
    is(&world.authrep(""), 200);
    let change = world.node().engine().change(|draft| draft.create_tenant("more", "more"));
    assert!(matches!(change, Err(ChangeError::NotDurable(_))), "{change:?}");
    is(&world.ready(), 503);

    world.becomes(GIB, Space::Low);
    is(&world.report(), 202);
    assert!(world.node().alerts().events().is_err());
    world.becomes(3 * GIB, Space::Enough);
    // With what was counted while they were put off.
    let events = world.node().alerts().events().unwrap();
    assert!(!events.is_empty());
    assert!(world.ready().ends_with("\r\n\r\nready\n"));
    // Two reports and an authrep were counted, of ten that the plan has; no more than that.
    let counted = world.authrep("");
    assert!(counted.contains("<current_value>4</current_value>"), "{counted}");
}
