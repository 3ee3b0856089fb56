//! A node's engine on a disk that works, hangs or fails as it is told, behind listeners of each promise.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollgate::engine::{Engine, Recovery};
use tollgate::http::{self, Dialect, Health, Routes};
use tollgate::journal::entry::Entry;
use tollgate::journal::{Directory, Disk, DiskFile, Journal, Options, Sequence};
use tollgate::listener::guesses::Guesses;
use tollgate::listener::{Limits, system_clock};
use tollgate::model::catalog::Key;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{ServiceId, TenantId};
use tollgate::model::promise::Promise;
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::tcp::{self, Secrets};

/// What nobody, and then each, says.
pub(crate) const SAID: [Option<Promise>; 3] = [None, Some(Promise::Durable), Some(Promise::Interval)];

/// How a disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Works,
    /// Syncs neither end nor fail.
    Hangs,
    /// Whatever would write fails.
    Fails,
}

/// What holds a disk in its state.
#[derive(Clone, Debug)]
pub(crate) struct Switch(Arc<(Mutex<State>, Condvar)>);

impl Switch {
    fn new() -> Switch {
        Switch(Arc::new((Mutex::new(State::Works), Condvar::new())))
    }

    fn turn(&self, state: State) {
        *self.0.0.lock() = state;
        self.0.1.notify_all();
    }

    pub(crate) fn hang(&self) {
        self.turn(State::Hangs);
    }

    pub(crate) fn fail(&self) {
        self.turn(State::Fails);
    }

    pub(crate) fn work(&self) {
        self.turn(State::Works);
    }

    fn write(&self) -> io::Result<()> {
        if *self.0.0.lock() == State::Fails { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.0.lock();
        self.0.1.wait_while(&mut state, |state| *state == State::Hangs);
        if *state == State::Fails { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Switched<T: ?Sized> {
    switch: Switch,
    inner: Box<T>,
}

impl Disk for Switched<dyn Disk> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.switch.write()?;
        Ok(Box::new(Switched { switch: self.switch.clone(), inner: self.inner.create(name, len)? }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.switch.write()?;
        self.inner.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.switch.sync()?;
        self.inner.sync_dir()
    }
}

impl DiskFile for Switched<dyn DiskFile> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.switch.write()?;
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.switch.sync()?;
        self.inner.sync_data()
    }
}

/// The services are called `s0` to `s2` and say what is in [`SAID`]; so do the listeners. The application of each has the
/// user key `uk`, and the token is `tok`.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) disk: Switch,
    pub(crate) http: [SocketAddr; 3],
    pub(crate) tcp: [SocketAddr; 3],
    dir: tempfile::TempDir,
    flusher: Option<JoinHandle<()>>,
    shutdown: CancellationToken,
    _runtime: Runtime,
}

fn recover(disk: Box<dyn Disk>) -> Engine {
    let mut recovery = Recovery::default();
    let options = Options { segment_bytes: 1 << 20, now: UnixMillis(0), ..Options::default() };
    let opened = Journal::open_on(disk, options, Sequence(0), |sequence, time, entry: Entry| {
        recovery.entry(sequence, time, &entry)
    });
    recovery.finish(opened.unwrap().0, [7; 16])
}

fn disk(dir: &Path) -> Box<dyn Disk> {
    Box::new(Directory::open(&dir.join("journal")).unwrap())
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let switch = Switch::new();
        let inner = disk(dir.path());
        let engine = Arc::new(recover(Box::new(Switched { switch: switch.clone(), inner })));
        let flushing = Arc::clone(&engine);
        let flusher = std::thread::spawn(move || {
            let clock = system_clock();
            let _ = flushing.run_flusher(|| clock(), |_| {});
        });
        engine.change(create).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let http = SAID.map(|promise| runtime.block_on(serve_http(&engine, promise, &shutdown)));
        let tcp = SAID.map(|promise| runtime.block_on(serve_tcp(&engine, promise, &shutdown)));
        World { engine, disk: switch, http, tcp, dir, flusher: Some(flusher), shutdown, _runtime: runtime }
    }

    /// What is counted for the application of a service.
    pub(crate) fn count(&self, service: usize) -> u64 {
        count(&self.engine, service)
    }

    /// Ends, and opens what the disk has; what is counted there, service by service.
    pub(crate) fn reopen(mut self) -> [u64; 3] {
        self.stop();
        let engine = recover(disk(self.dir.path()));
        [0, 1, 2].map(|service| count(&engine, service))
    }

    fn stop(&mut self) {
        self.shutdown.cancel();
        self.disk.work();
        self.engine.stop_flusher();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn count(engine: &Engine, service: usize) -> u64 {
    let service = ServiceId(engine.find(Key::ExternalService(&format!("s{service}"))).unwrap());
    let application = engine.find(Key::UserKey { service, text: "uk" }).unwrap();
    let image = engine.counters_of(tollgate::model::id::ApplicationId(application), UnixMillis(0)).unwrap();
    image.cells.first().map_or(0, |cell| cell.counts[Period::Eternity as usize])
}

fn create(draft: &mut Draft<'_>) -> Result<(), CommandError> {
    let tenant = draft.create_tenant("t", "p")?;
    for (number, promise) in SAID.into_iter().enumerate() {
        create_service(draft, tenant, &format!("s{number}"), promise)?;
    }
    Ok(())
}

fn create_service(
    draft: &mut Draft<'_>,
    tenant: TenantId,
    name: &str,
    promise: Option<Promise>,
) -> Result<(), CommandError> {
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some(name), name, backend_version };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| {
        it.tokens.push(Secret::new("tok"));
        it.promise = promise;
    })?;
    draft.create_metric(service, "hits", None)?;
    let plan = draft.create_plan(service, None, "p")?;
    let new = NewApplication { service, account: None, app_id: "a", name: "a", plan };
    let application = draft.create_application(&new)?;
    draft.edit_application(application, |it| it.user_keys.push(Secret::new("uk")))
}

async fn serve_http(
    engine: &Arc<Engine>,
    promise: Option<Promise>,
    shutdown: &CancellationToken,
) -> SocketAddr {
    let telemetry = Arc::new(http::Telemetry::default());
    let body_timeout = Duration::from_secs(10);
    let dialect = Dialect::new(Arc::clone(engine), system_clock(), Arc::clone(&telemetry), body_timeout);
    let routes = Routes::data(dialect.promising(promise), Health::new(Arc::new(Vec::new)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(
        listener,
        Arc::new(routes),
        telemetry,
        http::Config::default(),
        shutdown.clone(),
    ));
    address
}

async fn serve_tcp(
    engine: &Arc<Engine>,
    tcp_promise: Option<Promise>,
    shutdown: &CancellationToken,
) -> SocketAddr {
    let server = tcp::Server::new(
        Arc::clone(engine),
        system_clock(),
        Arc::new(Guesses::new(false)),
        Secrets::parse("the-secret-of-this-node-for-tests-only").unwrap(),
        Arc::default(),
        tcp::Config { tcp_promise, ..tcp::Config::default() },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(tcp::serve(listener.into(), Arc::new(server), Limits::default(), shutdown.clone()));
    address
}

/// Waits for what must come.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
