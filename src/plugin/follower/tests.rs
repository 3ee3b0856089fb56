//! Following: nothing is missed or doubled, whatever the plugin does.

use super::*;
use crate::engine::Recovery;
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::journal::entry::Command;
use crate::journal::{Journal, Options};
use crate::store::Table;

const SEEN: Table = Table("seen");

/// Counts commands on the shelf; fails as it is told to.
#[derive(Default)]
struct Count {
    taken: u64,
    panics_when_taking: u32,
    panics_when_writing: u32,
    gate: Arc<Mutex<()>>,
    /// The most that was taken and not written.
    most: Arc<AtomicU64>,
    /// How often it was asked whether there is anything to write: once or twice each time that it is tried.
    tries: Arc<AtomicU64>,
}

impl Derive for Count {
    fn wants(_: Kind) -> bool {
        true
    }

    fn entry(&mut self, _: UnixMillis, entry: Entry) {
        drop(self.gate.lock());
        if self.panics_when_taking > 0 {
            self.panics_when_taking -= 1;
            panic!("told to, when taking in");
        }
        self.taken += u64::from(matches!(entry, Entry::Command(_)));
        self.most.fetch_max(self.taken, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.tries.fetch_add(1, Ordering::Relaxed);
        self.taken == 0
    }

    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        let before = writing.get(SEEN, &[])?.map_or(0, |bytes| u64::from(bytes[0]));
        writing.put(SEEN, &[], &[u8::try_from(before + self.taken).unwrap()])?;
        if self.panics_when_writing > 0 {
            self.panics_when_writing -= 1;
            panic!("told to, when writing");
        }
        Ok(())
    }

    fn written(&mut self) {
        self.taken = 0;
    }

    fn forget(&mut self) {
        self.taken = 0;
    }
}

struct World {
    engine: Arc<Engine>,
    shelf: Arc<Shelf>,
    flusher: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World::with(Options::default())
    }

    fn with(options: Options) -> World {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        World::over(options, dir, shelf)
    }

    fn over(options: Options, dir: tempfile::TempDir, shelf: Shelf) -> World {
        let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
        let journal = dir.path().join("journal");
        let (journal, _) = Journal::open(&journal, options, Sequence(0), nothing).unwrap();
        let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
        let flusher = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || drop(engine.run_flusher(|| UnixMillis(1), |_| {})))
        };
        let shelf = Arc::new(shelf);
        World { engine, shelf, flusher: Some(flusher), _dir: dir }
    }

    fn follow(&self, derive: Count) -> (Arc<Following>, JoinHandle<()>) {
        Following::start("test", Arc::clone(&self.engine), Arc::clone(&self.shelf), derive).unwrap()
    }

    /// Puts so many mebibytes of commands into the journal, each synced by itself.
    fn append(&self, mib: u64) {
        for _ in 0..mib {
            let command = Command { version: 1, core: vec![0; 1 << 20], parts: Vec::new() };
            self.engine.journal().append(Kind::Command, |out| command.encode(out)).unwrap();
            self.engine.durable_blocking(self.engine.ticket()).unwrap();
        }
    }

    fn change(&self, name: &str) {
        self.engine.change(|draft| draft.create_tenant(name, name)).unwrap();
    }

    fn seen(&self) -> u8 {
        self.shelf.read(|reading| reading.get(SEEN, &[])).unwrap().map_or(0, |bytes| bytes[0])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.engine.stop_flusher();
        self.flusher.take().unwrap().join().unwrap();
    }
}

#[test]
fn what_was_changed_before_is_taken_in_once_also_by_the_next_who_follows() {
    let world = World::new();
    let (following, thread) = world.follow(Count::default());
    for number in 1..=3 {
        world.change(&format!("t{number}"));
        following.catch_up().unwrap();
        assert_eq!((world.seen(), following.lag()), (number, 0));
    }
    following.stop();
    thread.join().unwrap();
    world.change("t4");
    let (following, thread) = world.follow(Count::default());
    following.catch_up().unwrap();
    assert_eq!(world.seen(), 4);
    assert_eq!(following.needs(), world.engine.journal().synced().next());
    following.stop();
    thread.join().unwrap();
}

#[test]
fn while_the_disk_has_little_room_nothing_is_taken_in_and_afterwards_all_of_it_once() {
    let world = World::new();
    let (following, thread) = world.follow(Count::default());
    world.change("t1");
    following.catch_up().unwrap();
    world.engine.set_space(Space::Low);
    // What was taken in before can be read.
    assert_eq!(following.catch_up(), Ok(()));
    world.change("t2");
    assert_eq!(following.catch_up(), Err(Behind::PutOff { entries: 1 }));
    std::thread::sleep(3 * INTERVAL);
    assert_eq!((world.seen(), following.lag(), following.needs()), (1, 1, Sequence(2)));
    world.engine.set_space(Space::Enough);
    following.catch_up().unwrap();
    assert_eq!((world.seen(), following.lag()), (2, 0));
    // A stop does not wait for room; whoever follows next has the rest.
    world.engine.set_space(Space::Low);
    world.change("t3");
    world.engine.durable_blocking(world.engine.ticket()).unwrap();
    following.stop();
    thread.join().unwrap();
    assert_eq!(world.seen(), 2);
    world.engine.set_space(Space::Enough);
    let (following, thread) = world.follow(Count::default());
    following.catch_up().unwrap();
    assert_eq!(world.seen(), 3);
    following.stop();
    thread.join().unwrap();
}

/// As [`Count`], but keeps what nobody can derive again, and gathers it until it is told to write.
#[derive(Default)]
struct Held {
    count: Count,
    is_due: Arc<std::sync::atomic::AtomicBool>,
}

impl Derive for Held {
    const HOLDS: bool = true;

    fn wants(_: Kind) -> bool {
        true
    }

    fn entry(&mut self, time: UnixMillis, entry: Entry) {
        self.count.entry(time, entry);
    }

    fn is_empty(&self) -> bool {
        self.count.is_empty()
    }

    fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Relaxed)
    }

    fn journal_bytes(&self) -> u64 {
        4 << 20
    }

    fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), ShelfError> {
        self.count.write(writing)
    }

    fn written(&mut self) {
        self.count.written();
    }

    fn forget(&mut self) {
        self.count.forget();
    }
}

#[test]
fn who_holds_the_journal_is_not_put_off_and_writes_when_it_says_so_or_much_lies_between() {
    let world = World::new();
    let is_due = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let follow = || {
        let derive = Held { is_due: Arc::clone(&is_due), ..Held::default() };
        Following::start("test", Arc::clone(&world.engine), Arc::clone(&world.shelf), derive).unwrap()
    };
    let (following, thread) = follow();
    world.engine.set_space(Space::Low);
    world.change("t1");
    following.catch_up().unwrap();
    assert_eq!((world.seen(), following.needs()), (0, Sequence(1)));
    is_due.store(true, Ordering::Relaxed);
    let until_seen = |count| {
        let since = Instant::now();
        while world.seen() != count {
            assert!(since.elapsed() < Duration::from_secs(10), "{} of {count}", world.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until_seen(1);
    assert_eq!(following.needs(), Sequence(2));
    // Much journal is written whatever it says, and a stop writes all.
    is_due.store(false, Ordering::Relaxed);
    world.engine.set_space(Space::Enough);
    world.append(3);
    following.catch_up().unwrap();
    assert_eq!(world.seen(), 1);
    world.append(2);
    until_seen(6);
    world.change("t2");
    following.catch_up().unwrap();
    assert_eq!(world.seen(), 6);
    following.stop();
    thread.join().unwrap();
    assert_eq!(world.seen(), 7);
    assert!(!following.is_far_behind());
}

#[test]
fn what_was_gathered_is_forgotten_by_a_panic_and_read_again() {
    let world = World::new();
    let is_due = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let count = Count { panics_when_taking: 0, panics_when_writing: 2, ..Count::default() };
    let derive = Held { count, is_due: Arc::clone(&is_due) };
    let (following, thread) =
        Following::start("test", Arc::clone(&world.engine), Arc::clone(&world.shelf), derive).unwrap();
    world.change("t1");
    world.change("t2");
    following.catch_up().unwrap();
    is_due.store(true, Ordering::Relaxed);
    world.change("t3");
    following.catch_up().unwrap();
    following.stop();
    thread.join().unwrap();
    assert_eq!(world.seen(), 3);
}

/// Wants nothing of the journal.
struct Idle;

impl Derive for Idle {
    fn wants(_: Kind) -> bool {
        false
    }

    fn entry(&mut self, _: UnixMillis, _: Entry) {}

    fn is_empty(&self) -> bool {
        true
    }

    fn write(&mut self, _: &mut Writing<'_>) -> Result<(), ShelfError> {
        Ok(())
    }

    fn written(&mut self) {}

    fn forget(&mut self) {}
}

#[test]
fn who_derives_nothing_keeps_no_more_of_the_journal_than_so_many_bytes() {
    let world = World::new();
    let (engine, shelf) = (Arc::clone(&world.engine), Arc::clone(&world.shelf));
    let (following, thread) = Following::start("idle", engine, shelf, Idle).unwrap();
    let append = |mib: u64| {
        world.append(mib);
        following.catch_up().unwrap();
    };
    append(POSITION_BYTES >> 21);
    assert_eq!(following.needs(), Sequence(1), "a position is put down for little");
    append(POSITION_BYTES >> 20);
    let since = Instant::now();
    while following.needs() == Sequence(1) {
        assert!(since.elapsed() < POSITION_INTERVAL / 2, "as much is kept as there is");
        std::thread::sleep(Duration::from_millis(5));
    }
    following.stop();
    thread.join().unwrap();
}

#[test]
fn a_plugin_that_panics_goes_on_and_misses_and_doubles_nothing() {
    for (panics_when_taking, panics_when_writing) in [(2, 0), (0, 2), (1, 1)] {
        let world = World::new();
        let derive = Count { panics_when_taking, panics_when_writing, ..Count::default() };
        let (following, thread) = world.follow(derive);
        world.change("a");
        world.change("b");
        following.catch_up().unwrap();
        assert_eq!(world.seen(), 2);
        following.stop();
        thread.join().unwrap();
    }
}

#[test]
fn while_the_shelf_fails_no_more_is_in_memory_than_is_read_at_once_and_afterwards_all_comes_once() {
    let disk = MemoryDisk::default();
    let shelf = Shelf::open_on(disk.clone(), "shelf").unwrap();
    let world = World::over(Options::default(), tempfile::tempdir().unwrap(), shelf);
    let at_once = BYTES_AT_ONCE >> 20;
    world.append(3 * at_once);
    let disk = disk.with_fault(Some(Fault::Freeze(0)));
    let (most, tries) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let count = Count { most: Arc::clone(&most), tries: Arc::clone(&tries), ..Count::default() };
    let (following, thread) = world.follow(count);
    // As many times as would have taken in all of it, and more.
    while tries.load(Ordering::Relaxed) < 12 {
        std::thread::sleep(RETRY_INTERVAL);
    }
    assert!(disk.has_failed());
    assert_eq!((following.lag(), most.load(Ordering::Relaxed)), (3 * at_once, at_once));
    let _ = disk.with_fault(None);
    following.catch_up().unwrap();
    assert_eq!((u64::from(world.seen()), most.load(Ordering::Relaxed)), (3 * at_once, at_once));
    following.stop();
    thread.join().unwrap();
}

#[test]
fn who_waits_for_a_plugin_that_hangs_is_told_how_far_it_is_behind() {
    let world = World::new();
    let gate = Arc::new(Mutex::new(()));
    let (following, thread) = world.follow(Count { gate: Arc::clone(&gate), ..Count::default() });
    let held = gate.lock();
    world.change("a");
    assert_eq!(following.catch_up(), Err(Behind::Lagging { entries: 1 }));
    drop(held);
    following.catch_up().unwrap();
    following.stop();
    thread.join().unwrap();
}

#[test]
fn as_much_journal_is_kept_for_a_follower_as_may_be_and_with_a_byte_more_none() {
    let world = World::new();
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock();
    let (following, thread) = world.follow(Count { gate: Arc::clone(&gate), ..Count::default() });
    world.change("a");
    world.engine.durable_blocking(world.engine.ticket()).unwrap();
    let bytes = world.engine.journal().bytes_since(Sequence(0));
    assert!(bytes > 0);
    assert_eq!(following.needs_up_to(bytes), Sequence(1));
    assert_eq!(following.needs_up_to(bytes - 1), Sequence(u64::MAX));
    assert_eq!(following.needs(), Sequence(1), "a command is far from {LAG_BYTES_MAX} bytes");
    drop(held);
    following.stop();
    thread.join().unwrap();
}

#[test]
fn who_is_detached_goes_on_where_the_journal_begins() {
    let world = World::with(Options { segment_bytes: 4096, group_bytes_max: 1024, ..Options::default() });
    for number in 1..=60 {
        world.change(&format!("{number}-{}", "x".repeat(100)));
        world.engine.flush(UnixMillis(1)).unwrap();
    }
    assert!(world.engine.journal().prune(Sequence(40)).unwrap() > 0);
    let (following, thread) = world.follow(Count::default());
    following.catch_up().unwrap();
    let seen = world.seen();
    assert!((21..60).contains(&seen), "{seen} of 60 commands, of which those from 40 on were kept");
    assert_eq!(following.lag(), 0);
    world.change("after");
    following.catch_up().unwrap();
    assert_eq!(world.seen(), seen + 1);
    following.stop();
    thread.join().unwrap();
}
