//! The servers, each a process of its own: an engine with both listeners, on a disk that is counted, or that drops what it
//! is given, or without anybody who writes.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tollgate::engine::{Engine, Recovery};
use tollgate::http::{self, Dialect, Health, Routes};
use tollgate::journal::{Directory, Disk, DiskFile, Journal, Options, Sequence};
use tollgate::listener::guesses::Guesses;
use tollgate::listener::{Limits, system_clock};
use tollgate::node;
use tollgate::tcp::{self, Secrets};

use super::catalog::create;

/// Where the journal goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To a directory, as in a node.
    Journal,
    /// All is done but the writing.
    Dropped,
    /// Nobody cuts, encodes or writes.
    None,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Journal => "journal",
            Kind::Dropped => "dropped",
            Kind::None => "none",
        }
    }
}

/// Writes and syncs so far, and the time they took.
#[derive(Default, Debug)]
struct Counts {
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Counted<T: ?Sized> {
    counts: Arc<Counts>,
    drops: bool,
    inner: Box<T>,
}

impl Disk for Counted<dyn Disk> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let (counts, drops, inner) = (Arc::clone(&self.counts), self.drops, self.inner.create(name, len)?);
        Ok(Box::new(Counted { counts, drops, inner }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

impl DiskFile for Counted<dyn DiskFile> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counts.bytes.fetch_add(bytes.len() as u64, Relaxed);
        if self.drops { Ok(()) } else { self.inner.write_at(offset, bytes) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        if !self.drops {
            self.inner.sync_data()?;
        }
        self.counts.syncs.fetch_add(1, Relaxed);
        self.counts.sync_ns.fetch_add(began.elapsed().as_nanos() as u64, Relaxed);
        Ok(())
    }
}

/// Serves until standard input ends. Says where it listens, then, for each line it is given, syncs, the nanoseconds they
/// took, and bytes written.
pub(super) fn serve(kind: Kind, applications: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let counts = Arc::new(Counts::default());
    let inner: Box<dyn Disk> = Box::new(Directory::open(dir.path()).unwrap());
    let disk = Counted { counts: Arc::clone(&counts), drops: kind == Kind::Dropped, inner };
    let options = Options { now: system_clock()(), ..Options::default() };
    let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
    let (journal, _) = Journal::open_on(Box::new(disk), options, Sequence(0), nothing).unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [7; 16]));
    let clock = system_clock();
    let flusher = (kind != Kind::None).then(|| {
        let (engine, clock) = (Arc::clone(&engine), clock.clone());
        std::thread::spawn(move || engine.run_flusher(|| clock(), |error| panic!("{error}")))
    });
    let (_, ticket) = engine.change(|draft| create(draft, applications)).unwrap();
    if kind == Kind::None {
        engine.flush(clock()).unwrap();
    }
    engine.durable_blocking(ticket).unwrap();
    let runtime = node::runtime().unwrap();
    runtime.block_on(listen(&engine));
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let [syncs, ns, bytes] =
            [&counts.syncs, &counts.sync_ns, &counts.bytes].map(|count| count.load(Relaxed));
        println!("{syncs} {ns} {bytes}");
        io::stdout().flush().unwrap();
    }
    engine.stop_flusher();
    if let Some(flusher) = flusher {
        flusher.join().unwrap().unwrap();
    }
    drop(dir);
    std::process::exit(0);
}

async fn listen(engine: &Arc<Engine>) {
    let telemetry = Arc::new(http::Telemetry::default());
    let dialect =
        Dialect::new(Arc::clone(engine), system_clock(), Arc::clone(&telemetry), Duration::from_secs(10));
    let routes = Arc::new(Routes::data(dialect, Health::new(Arc::new(Vec::new))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let forever = CancellationToken::new();
    tokio::spawn(http::serve(listener, routes, telemetry, http::Config::default(), forever.clone()));
    let server = tcp::Server::new(
        Arc::clone(engine),
        system_clock(),
        Arc::new(Guesses::new(false)),
        Secrets::parse("a-secret-that-nobody-here-uses-for-anything").unwrap(),
        Arc::default(),
        tcp::Config::default(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = listener.local_addr().unwrap();
    tokio::spawn(tcp::serve(listener.into(), Arc::new(server), Limits::default(), forever));
    println!("{http} {tcp}");
    io::stdout().flush().unwrap();
}
