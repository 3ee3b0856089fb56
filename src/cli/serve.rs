//! `tollgate serve`: the life of a node, from its configuration to its exit code.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Exit;
use crate::config::{Config, Log, Settings, Tls};
use crate::http::system_clock;
use crate::node::{DataDirError, Node, NodeError, RecoveryError, Sample};

/// What a stop may take beyond the drain deadline: the last flush on a slow disk.
const LAST_FLUSH: Duration = Duration::from_secs(10);

pub(super) fn run(flags: Settings) -> Exit {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    let config = match Config::load(flags, variables) {
        Ok(config) => config,
        Err(errors) => {
            for problem in errors.0 {
                say(&problem);
            }
            return Exit::Config;
        }
    };
    start_logging(&config.log);
    let runtime = match crate::node::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start threads: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(serve(&config));
    // A thread that hangs on a dead disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}

async fn serve(config: &Config) -> Exit {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let (mut term, mut int, hangup) = match all_of(signals) {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("cannot listen for signals: {error}"));
            return Exit::Failed;
        }
    };
    let node = match Node::start(config, system_clock()).await {
        Ok(node) => node,
        Err(error) => {
            say(&error.to_string());
            return exit_of(&error);
        }
    };
    announce(&node, config);
    tokio::select! {
        () = either(&mut term, &mut int) => {}
        () = reload(&node, hangup) => {}
    }
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
        () = either(&mut term, &mut int) => {
            say("ended at once: usage of the last 50 ms may be lost");
            Exit::Failed
        }
    }
}

fn all_of(signals: [std::io::Result<Signal>; 3]) -> std::io::Result<(Signal, Signal, Signal)> {
    let [term, int, hangup] = signals;
    Ok((term?, int?, hangup?))
}

/// Has certificates read again with each hang-up, for as long as the node runs.
async fn reload(node: &Node, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("reading certificates again");
        node.reload();
    }
    std::future::pending().await
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn exit_of(error: &NodeError) -> Exit {
    match error {
        NodeError::DataDir(DataDirError::Locked { .. }) => Exit::Locked,
        NodeError::DataDir(DataDirError::Unusable { .. } | DataDirError::Foreign { .. }) => Exit::DataDir,
        NodeError::DataDir(DataDirError::Format { .. }) => Exit::Data,
        NodeError::Tls(_) => Exit::Config,
        NodeError::Address { .. } => Exit::Address,
        NodeError::Recovery(RecoveryError::ClockBehind { .. }) => Exit::Clock,
        NodeError::Recovery(error) if error.is_io() => Exit::DataDir,
        NodeError::Recovery(_) => Exit::Data,
        NodeError::System { .. } | NodeError::LastFlush(_) => Exit::Failed,
    }
}

/// One line on standard error, for whoever started the process.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "tollgate: {text}");
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
    tracing::info!(http = %node.http, admin = ?node.admin, data_dir = %config.data_dir.display(), "serving");
    let scheme = |tls: &Option<Tls>| if tls.is_some() { "https" } else { "http" };
    let http = format!("{}://{}", scheme(&config.listeners.http_tls), node.http);
    let telemetry = node.admin.map(|admin| format!("{}://{admin}", scheme(&config.listeners.admin_tls)));
    let telemetry = telemetry.as_ref().unwrap_or(&http);
    let mut text = format!("Tollgate serves the Service Management API on {http}\n");
    text += &format!("Telemetry: {telemetry}/metrics  Health: {http}/readyz\n");
    if let Some(sample) = &node.sample {
        text += &describe(sample, &http);
    }
    text += &format!("Stop with Ctrl-C; everything is kept in {}\n", config.data_dir.display());
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn describe(sample: &Sample, http: &str) -> String {
    let Sample { provider_key, service_id, service_token, user_key } = sample;
    format!(
        "
The data directory was empty, so a sample was created. Its credentials are shown this once:
  provider key   {provider_key}
  service id     {service_id}
  service token  {service_token}
  user key       {user_key}   (application \"Sample application\" on plan Basic: 10 hits a minute)

Make a first call:
  curl -g '{http}/transactions/authrep.xml?service_id={service_id}&service_token={service_token}&user_key={user_key}&usage[hits]=1'

"
    )
}
