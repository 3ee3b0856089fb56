//! The other processes: a node with its applications, and one that burns processor time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tollgate::config::{Config, Settings};
use tollgate::listener::system_clock;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::TenantId;
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;

pub(super) const APPLICATIONS: usize = 100_000;
pub(super) const METRIC: &str = "hits";
pub(super) const SERVICE_TOKEN: &str = "token of the service";
pub(super) const ADMIN_TOKEN: &str = "token of the administrator";
/// Applications that are made with one command.
const AT_ONCE: usize = 2000;
/// More than is called.
const NO_LIMIT: u64 = 1 << 40;

pub(super) fn user_key(number: usize) -> String {
    format!("key{number}")
}

/// A node in a process of its own, killed when it is dropped.
pub(super) struct Node {
    child: Child,
    dir: std::path::PathBuf,
    pub(super) pid: u32,
    pub(super) http: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) service: String,
    pub(super) plan: String,
    pub(super) account: String,
}

impl Node {
    pub(super) fn start() -> Node {
        let dir = std::env::temp_dir().join(format!("tollgate-beside-{}", std::process::id()));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .env("TOLLGATE_DATA_DIR", &dir)
            .env("TOLLGATE_ADMIN_TOKEN", ADMIN_TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let [http, tcp, service, plan, account] = words[..] else { panic!("the node did not start") };
        Node {
            pid: child.id(),
            http: http.parse().unwrap(),
            tcp: tcp.parse().unwrap(),
            service: service.to_owned(),
            plan: plan.to_owned(),
            account: account.to_owned(),
            child,
            dir,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The node's process.
pub(super) fn serve() {
    let local = || Some("127.0.0.1:0".to_owned());
    let flags = Settings { http: local(), tcp: local(), log: Some("warn".into()), ..Settings::default() };
    let config = Config::load(flags, std::env::vars()).unwrap();
    let runtime = tollgate::node::runtime().unwrap();
    let node = runtime.block_on(tollgate::node::Node::start(&config, system_clock())).unwrap();
    let engine = node.engine();
    // The first tenant has the administrator.
    let tenant = engine.catalog().tenants.iter().next().map(|(_, tenant)| tenant.id).unwrap();
    let ((service, plan, account), _) = engine.change(|draft| begin(draft, tenant)).unwrap();
    for first in (0..APPLICATIONS).step_by(AT_ONCE) {
        let more = |draft: &mut Draft<'_>| {
            (first..first + AT_ONCE).try_for_each(|number| {
                let name = format!("application {number}");
                let account = draft.create_account(tenant, &name)?;
                let app_id = format!("app{number}");
                let new =
                    NewApplication { service, account: Some(account), app_id: &app_id, name: &name, plan };
                let id = draft.create_application(&new)?;
                draft.edit_application(id, |it| it.user_keys.push(Secret::new(&user_key(number))))
            })
        };
        engine.change(more).unwrap();
    }
    engine.durable_blocking(engine.ticket()).unwrap();
    println!("{} {} {} {} {}", node.http, node.tcp.unwrap(), service.0, plan.0, account.0);
    loop {
        std::thread::park();
    }
}

type Begun = (tollgate::model::id::ServiceId, tollgate::model::id::PlanId, tollgate::model::id::AccountId);

fn begin(draft: &mut Draft<'_>, tenant: TenantId) -> Result<Begun, CommandError> {
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: None, name: "Measured", backend_version };
    let service = draft.create_service(&new)?;
    draft.edit_service(service, |it| it.tokens.push(Secret::new(SERVICE_TOKEN)))?;
    let hits = draft.create_metric(service, METRIC, None)?;
    let plan = draft.create_plan(service, None, "Basic")?;
    for period in [Period::Minute, Period::Day, Period::Eternity] {
        draft.set_limit(plan, hits, period, NO_LIMIT)?;
    }
    Ok((service, plan, draft.create_account(tenant, "The administrator's")?))
}

/// A process that burns processor time when it is told to.
pub(super) struct Burner {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
}

impl Burner {
    pub(super) fn start() -> Burner {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--burn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Burner { to: child.stdin.take(), from: child.stdout.take().unwrap(), child }
    }

    pub(super) fn burn(&mut self, slice: Duration) {
        let nanos = u64::try_from(slice.as_nanos()).unwrap();
        self.to.as_mut().unwrap().write_all(&nanos.to_le_bytes()).unwrap();
        self.from.read_exact(&mut [0]).unwrap();
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// The burning process.
pub(super) fn burn() {
    let (mut from, mut to) = (std::io::stdin(), std::io::stdout());
    let mut nanos = [0; 8];
    while from.read_exact(&mut nanos).is_ok() {
        let slice = Duration::from_nanos(u64::from_le_bytes(nanos));
        let began = Instant::now();
        while began.elapsed() < slice {
            std::hint::spin_loop();
        }
        to.write_all(&[0]).unwrap();
        to.flush().unwrap();
    }
}
