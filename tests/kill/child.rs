//! The victim: a node on a directory, and the catalog that it is called with.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use tollgate::config::{Config, Login, Password};
use tollgate::listener::system_clock;
use tollgate::model::catalog::Key;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{ApplicationId, PlanId, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::node::{self, Node};

use crate::again::{self, SENDERS};
use crate::{CALLED, support};

/// Who uses the internal API.
pub(crate) const LOGIN: (&str, &str) = ("killer", "password");

/// Small, so that checkpoints, pruning and new segments happen all the time.
pub(crate) fn config(dir: &Path) -> Config {
    let (user, password) = LOGIN;
    let login = Login { user: user.to_owned(), password: Password::new(password) };
    Config {
        checkpoint_bytes: 64 * 1024,
        tcp: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        internal_api: vec![login],
        // 200 kills send more than a million.
        idempotency_ids_max: 50_000_000,
        // Parts of the small disk; of any other one nothing.
        disk_low_bytes: 4 << 20,
        disk_critical_bytes: 2 << 20,
        ..support::config(dir)
    }
}

/// Runs a node until it is killed; says where it serves, or why it does not.
pub(crate) fn run(dir: &Path) {
    let runtime = node::runtime().unwrap();
    let mut out = std::io::stdout();
    match runtime.block_on(Node::start(&config(dir), system_clock())) {
        Ok(node) => {
            prepare(&node);
            writeln!(out, "serving {} {}", node.http, node.tcp.unwrap()).unwrap();
            out.flush().unwrap();
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            writeln!(out, "{error}").unwrap();
            out.flush().unwrap();
        }
    }
}

pub(crate) fn find_service(node: &Node) -> Option<ServiceId> {
    node.engine().find(Key::ServiceToken { token: "tok", service: "kill" }).map(ServiceId)
}

pub(crate) fn find_application(node: &Node, name: &str) -> Option<ApplicationId> {
    let service = find_service(node)?;
    node.engine().find(Key::AppId { service, text: name }).map(ApplicationId)
}

/// How many of the applications `new0`, `new1` ... there are.
pub(crate) fn created(node: &Node) -> u64 {
    (0..).find(|number| find_application(node, &format!("new{number}")).is_none()).unwrap()
}

fn prepare(node: &Node) {
    if find_service(node).is_some() {
        return;
    }
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("tenant", "provider")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("kill"), name: "kill", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new("tok")))?;
        let hits = draft.create_metric(service, "hits", None)?;
        draft.create_metric(service, "search", Some(hits))?;
        let plan = draft.create_plan(service, Some("plan"), "Plan")?;
        for number in 0..CALLED {
            application(draft, service, plan, &format!("called{number}"))?;
        }
        for number in 0..SENDERS {
            application(draft, service, plan, &again::application(number))?;
        }
        application(draft, service, plan, "held")
    };
    let ((), ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
}

fn application(
    draft: &mut Draft<'_>,
    service: ServiceId,
    plan: PlanId,
    name: &str,
) -> Result<(), CommandError> {
    let new = NewApplication { service, account: None, app_id: name, name, plan };
    let id = draft.create_application(&new)?;
    draft.edit_application(id, |it| it.user_keys.push(Secret::new(name)))
}
