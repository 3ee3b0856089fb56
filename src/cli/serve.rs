//! `tollgate serve`: the life of a node, from its configuration to its exit code.
//!
//! Signals: TERM and INT stop it, USR2 starts the program that is now in this one's place to take over from it, HUP has
//! it read its certificates and the node secret again.

use std::io::IsTerminal;
use std::process::Command;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::service::ServiceManager;
use super::{Exit, Serve, configuration, say, show};
use crate::config::{Config, Log, Tls};
use crate::listener::system_clock;
use crate::node::{DataDirError, HandOver, Node, NodeError, RecoveryError, Sample, Successor};

/// What a stop may take beyond the drain deadline: the last flush on a slow disk.
const LAST_FLUSH: Duration = Duration::from_secs(10);

pub(super) fn run(serve: Serve) -> Exit {
    let config = match configuration(serve.settings) {
        Ok((config, _)) => config,
        Err(exit) => return exit,
    };
    start_logging(&config.log);
    let runtime = match crate::node::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start threads: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(live(&config, serve.take_over));
    // A thread that hangs on a dead disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}

struct Signals {
    term: Signal,
    int: Signal,
    usr2: Signal,
    hup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            usr2: signal(SignalKind::user_defined2())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        either(&mut self.term, &mut self.int).await;
    }
}

async fn live(config: &Config, take_over: bool) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("cannot listen for signals: {error}"));
            return Exit::Failed;
        }
    };
    let started = if take_over {
        Node::take_over(config, system_clock()).await
    } else {
        Node::start(config, system_clock()).await
    };
    let node = match started {
        Ok(node) => node,
        Err(error) => {
            say(&error.to_string());
            return exit_of(&error);
        }
    };
    announce(&node, config);
    let manager = ServiceManager::from_environment();
    manager.ready();
    tokio::select! {
        exit = serve(node, config, &mut signals, &manager) => exit,
        () = manager.reassure() => Exit::Failed,
    }
}

/// Serves until a signal, or another process, ends it.
async fn serve(mut node: Node, config: &Config, signals: &mut Signals, manager: &ServiceManager) -> Exit {
    loop {
        let successor = tokio::select! {
            () = either(&mut signals.term, &mut signals.int) => {
                manager.stopping();
                return stop(node, config, signals).await;
            }
            _ = signals.usr2.recv() => {
                start_successor();
                continue;
            }
            _ = signals.hup.recv() => {
                tracing::info!("reading certificates and the node secret again");
                node.reload();
                continue;
            }
            successor = node.successor() => successor,
        };
        match hand_over(node, successor, manager).await {
            Ok(stays) => node = *stays,
            Err(exit) => return exit,
        }
    }
}

async fn stop(node: Node, config: &Config, signals: &mut Signals) -> Exit {
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        stopped = tokio::time::timeout(config.drain_deadline + LAST_FLUSH, node.stop()) => match stopped {
            Ok(Ok(())) => {
                tracing::info!("stopped");
                Exit::Done
            }
            Ok(Err(error)) => {
                say(&error.to_string());
                Exit::Failed
            }
            Err(_) => {
                say("could not stop in time: usage of the last moments may be lost");
                Exit::Failed
            }
        },
        () = signals.stop() => {
            say("ended at once: usage of the last 50 ms may be lost");
            Exit::Failed
        }
    }
}

/// Hands over to `successor`. The node, if it goes on after all; else what the process ends with.
async fn hand_over(node: Node, successor: Successor, manager: &ServiceManager) -> Result<Box<Node>, Exit> {
    tracing::info!(pid = ?successor.pid(), version = successor.version(), "handing over to a new process");
    manager.reloading();
    match tokio::time::timeout(node.hand_over_within(), node.hand_over(successor)).await {
        Ok(Ok(HandOver::Done(successor))) => {
            // Before the successor says that it is ready: until then nobody listens to it.
            successor.pid().into_iter().for_each(|pid| manager.main_is(pid));
            successor.release().await;
            tracing::info!("handed over");
            Err(Exit::Done)
        }
        Ok(Ok(HandOver::Stays(node, reason))) => {
            tracing::error!(reason, "not handed over, going on");
            manager.ready();
            Ok(node)
        }
        Ok(Err(error)) => {
            say(&error.to_string());
            Err(Exit::Failed)
        }
        Err(_) => {
            say("could not hand over in time: usage of the last moments may be lost");
            Err(Exit::Failed)
        }
    }
}

/// Starts the program that now lies where this one was started from, with the same arguments, to take over.
fn start_successor() {
    let mut arguments = std::env::args_os();
    let Some(program) = arguments.next() else { return };
    let arguments = arguments.filter(|argument| argument != "--take-over");
    let mut command = Command::new(program);
    // The watchdog is then for whoever is the service.
    command.args(arguments).arg("--take-over").env_remove("WATCHDOG_PID");
    match command.spawn() {
        Ok(mut child) => {
            tracing::info!(pid = child.id(), "started a new process to take over");
            // It is waited for as long as this process is there to do so.
            std::thread::spawn(move || {
                if let Ok(status) = child.wait() {
                    tracing::error!(%status, "the new process ended");
                }
            });
        }
        Err(error) => tracing::error!(%error, "no new process can be started"),
    }
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

pub(super) fn exit_of(error: &NodeError) -> Exit {
    match error {
        NodeError::DataDir(error) => exit_of_data_dir(error),
        NodeError::HandOver(_) => Exit::Locked,
        NodeError::Tls(_) => Exit::Config,
        NodeError::Secret(_) => Exit::DataDir,
        NodeError::Address { .. } | NodeError::Socket { .. } => Exit::Address,
        NodeError::Recovery(RecoveryError::ClockBehind { .. }) => Exit::Clock,
        NodeError::Recovery(error) if error.is_io() => Exit::DataDir,
        NodeError::Recovery(_) | NodeError::Shelf(_) | NodeError::Keep(_) => Exit::Data,
        NodeError::System { .. } | NodeError::LastFlush(_) => Exit::Failed,
    }
}

pub(super) fn exit_of_data_dir(error: &DataDirError) -> Exit {
    match error {
        DataDirError::Locked { .. } => Exit::Locked,
        DataDirError::Unusable { .. } | DataDirError::Foreign { .. } | DataDirError::Owner { .. } => {
            Exit::DataDir
        }
        DataDirError::Format { .. } => Exit::Data,
    }
}

fn start_logging(log: &Log) {
    // The level was checked with the configuration.
    let filter = EnvFilter::try_new(&log.level).unwrap_or_default();
    let ansi = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    if log.json { builder.json().init() } else { builder.init() }
}

/// Says where the node is, and once how to make a first call. The credentials go to standard output only.
fn announce(node: &Node, config: &Config) {
    tracing::info!(http = %node.http, admin = ?node.admin, tcp = ?node.tcp, unix = ?node.unix, data_dir = %config.data_dir.display(), "serving");
    let scheme = |tls: &Option<Tls>| if tls.is_some() { "https" } else { "http" };
    let http = format!("{}://{}", scheme(&config.listeners.http_tls), node.http);
    let telemetry = node.admin.map(|admin| format!("{}://{admin}", scheme(&config.listeners.admin_tls)));
    let telemetry = telemetry.as_ref().unwrap_or(&http);
    let mut text = format!("Tollgate serves the Service Management API on {http}\n");
    text += &format!("Telemetry: {telemetry}/metrics  Health: {http}/readyz\n");
    let tcp = node
        .tcp
        .map(|tcp| format!("{}://{tcp}", if config.listeners.tcp_tls.is_some() { "tcp+tls" } else { "tcp" }));
    let unix = node.unix.as_ref().map(|path| format!("unix:{}", path.display()));
    let binary: Vec<_> = tcp.into_iter().chain(unix).collect();
    if !binary.is_empty() {
        text += &format!("Binary protocol: {}\n", binary.join("  "));
    }
    if let Some(sample) = &node.sample {
        text += &describe(sample, &http, telemetry);
    }
    text += &format!("Stop with Ctrl-C; everything is kept in {}\n", config.data_dir.display());
    show(&text);
}

fn describe(sample: &Sample, http: &str, admin: &str) -> String {
    let Sample { provider_key, service_id, service_token, user_key, admin_token } = sample;
    let administration = admin_token.as_ref().map_or_else(String::new, |token| {
        format!(
            "Set up your own with the admin API:
  curl '{admin}/admin/api/services.json?access_token={token}'

"
        )
    });
    format!(
        "
The data directory was empty, so a sample was created. Its credentials are shown this once:
  provider key   {provider_key}
  service id     {service_id}
  service token  {service_token}
  user key       {user_key}   (application \"Sample application\" on plan Basic: 10 hits a minute)

Make a first call:
  curl -g '{http}/transactions/authrep.xml?service_id={service_id}&service_token={service_token}&user_key={user_key}&usage[hits]=1'

{administration}"
    )
}
