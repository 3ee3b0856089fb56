//! The flags of `tollgate load`, and what they mean together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::keys::Distribution;
use super::shape::Shape;
use super::speech::By;
use super::subjects::Access;
use super::{LoadError, Target};

/// The variable with the service token.
const TOKEN_VARIABLE: &str = "TOLLGATE_LOAD_TOKEN";

/// More connections than this cost more time to watch than they say.
const CONNECTIONS_MAX: usize = 4096;
const DEPTH_MAX: usize = 65_536;
/// What one node with its defaults is made for.
const APPLICATIONS_MAX: usize = 1_000_000;

const AFTER_HELP: &str = "\
Without a target a throw-away node is started, filled, loaded, checked and removed; what it counted must be what it said \
yes to. With one, a node that runs is loaded with the credentials that are given:

  tollgate load
  tollgate load --applications 100000 --keys zipf --depth 1
  TOLLGATE_LOAD_TOKEN=... tollgate load tcp://127.0.0.1:3001 --service ID --user-key KEY --rate 5000

A fixed rate measures latency from when each request was due, whenever it could be sent.

Exit codes: 0 measured, 1 no measurement, or some calls failed, or the counts are wrong, 2 flags that do not fit.";

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Load {
    /// Node to load: tcp://HOST:PORT, unix:PATH or http://HOST:PORT [default: a throw-away node]
    #[arg(value_name = "TARGET", value_parser = Target::parse)]
    target: Option<Target>,

    /// Service whose applications are called
    #[arg(long, value_name = "ID", requires = "target")]
    service: Option<String>,

    /// File with a token of the service [default: the variable TOLLGATE_LOAD_TOKEN]
    #[arg(long, value_name = "FILE", requires = "target")]
    token_file: Option<PathBuf>,

    /// File with the node's secret, node-secret in its data directory, instead of a token
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "token_file")]
    secret_file: Option<PathBuf>,

    /// User key of an application; can be given more than once
    #[arg(long, value_name = "KEY", requires = "target")]
    user_key: Vec<String>,

    /// File with user keys, one on each line
    #[arg(long, value_name = "FILE", requires = "target")]
    user_keys: Option<PathBuf>,

    /// Metric that each call uses one of; can be given more than once [default: hits]
    #[arg(long, value_name = "NAME", requires = "target")]
    metric: Vec<String>,

    /// Process of the node, to tell its processor time
    #[arg(long, value_name = "PID", requires = "target")]
    pid: Option<u32>,

    /// Applications of the throw-away node [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "target")]
    applications: Option<usize>,

    /// What each of them may call in a minute [default: more than any load reaches]
    #[arg(long, value_name = "N", conflicts_with = "target")]
    limit: Option<u64>,

    /// Their metrics: `chain` (three, one below the other, three limits each) or `wide` (200, of which a call uses five,
    /// four limits each) [default: chain]
    #[arg(long, value_name = "SHAPE", conflicts_with = "target")]
    shape: Option<Shape>,

    /// Connections
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: usize,

    /// Requests that each connection keeps unanswered [default: 64; over HTTP 1]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,

    /// Calls in a BATCH; 0 for a request each
    #[arg(long, value_name = "N", default_value_t = 0)]
    batch: usize,

    /// How often each application is called: uniform, zipf or zipf:EXPONENT
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    keys: Distribution,

    /// How applications are named: handle or key [default: handle; over HTTP key]
    #[arg(long, value_name = "HOW", value_parser = parse_by)]
    by: Option<By>,

    /// What the throw-away node is spoken to in: binary or http [default: binary]
    #[arg(long, value_name = "PROTOCOL", value_parser = parse_protocol, conflicts_with = "target")]
    protocol: Option<Protocol>,

    /// Calls per second, sent when they are due [default: as many as are answered]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,

    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    duration: Duration,

    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    warm_up: Duration,

    /// Threads that make the load [default: a thread for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Binary,
    Http,
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "binary" => Ok(Protocol::Binary),
        "http" => Ok(Protocol::Http),
        _ => Err("neither binary nor http".to_owned()),
    }
}

fn parse_by(text: &str) -> Result<By, String> {
    match text {
        "handle" => Ok(By::Handle),
        "key" => Ok(By::Key),
        _ => Err("neither handle nor key".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    let seconds: f64 = seconds.ok_or("not a number of seconds between 0 and 86400")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Whom the load is for.
pub(super) enum Whom {
    /// A node of our own.
    Own { shape: Shape, applications: usize, over_http: bool },
    /// One that runs.
    Running {
        target: Target,
        access: Access,
        service: Option<String>,
        user_keys: Vec<String>,
        metrics: Vec<String>,
        pid: Option<u32>,
    },
}

/// What the flags mean.
pub(super) struct Plan {
    pub(super) whom: Whom,
    pub(super) setup: super::Setup,
    pub(super) keys: Distribution,
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) json: bool,
}

/// Why there is no plan.
pub(super) enum PlanError {
    /// Flags that do not fit together.
    Usage(String),
    /// A file.
    Load(LoadError),
}

impl From<LoadError> for PlanError {
    fn from(error: LoadError) -> PlanError {
        PlanError::Load(error)
    }
}

impl Load {
    /// Makes sense of the flags; reads the files that they name, and `variable` from the environment.
    pub(super) fn plan(self, variable: impl Fn(&str) -> Option<String>) -> Result<Plan, PlanError> {
        let is_binary = match &self.target {
            Some(target) => target.is_binary(),
            None => self.protocol != Some(Protocol::Http),
        };
        let depth = self.depth.unwrap_or(if is_binary { 64 } else { 1 });
        let by = self.by.unwrap_or(if is_binary { By::Handle } else { By::Key });
        if !is_binary && (by == By::Handle || self.batch > 0) {
            return Err(PlanError::Usage("HTTP has neither handles nor batches".to_owned()));
        }
        within("--connections", self.connections, 1, CONNECTIONS_MAX)?;
        within("--depth", depth, 1, DEPTH_MAX)?;
        within("--batch", self.batch, 0, usize::from(u16::MAX))?;
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
            return Err(PlanError::Usage("--rate: not between 0 and 1000000000".to_owned()));
        }
        if self.duration.is_zero() {
            return Err(PlanError::Usage("--duration: nothing can be measured in no time".to_owned()));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or(cores);
        within("--threads", threads, 1, 1024)?;
        let setup = super::Setup { connections: self.connections, depth, batch: self.batch, by, threads };
        let (keys, rate, json) = (self.keys, self.rate, self.json);
        let (duration, warm_up) = (self.duration, self.warm_up);
        let whom = self.whom(is_binary, variable)?;
        Ok(Plan { whom, setup, keys, rate, duration, warm_up, json })
    }

    fn whom(self, is_binary: bool, variable: impl Fn(&str) -> Option<String>) -> Result<Whom, PlanError> {
        let Some(target) = self.target else {
            let applications = self.applications.unwrap_or(1000);
            within("--applications", applications, 1, APPLICATIONS_MAX)?;
            let shape = self.shape.unwrap_or_else(Shape::chain);
            let shape = self.limit.into_iter().fold(shape, Shape::with_limit);
            return Ok(Whom::Own { shape, applications, over_http: !is_binary });
        };
        let usage = |text: &str| Err(PlanError::Usage(text.to_owned()));
        let token = match &self.token_file {
            Some(file) => Some(line_of(file)?),
            None => variable(TOKEN_VARIABLE).filter(|token| !token.is_empty()),
        };
        let access = match (&self.secret_file, token) {
            (Some(_), _) if !is_binary => return usage("--secret-file is for the binary protocol"),
            (Some(file), _) => Access::NodeSecret(line_of(file)?),
            (None, Some(token)) => Access::ServiceToken(token),
            (None, None) if matches!(target, Target::Unix(_)) => Access::None,
            (None, None) => {
                return usage("a token is missing: --token-file, TOLLGATE_LOAD_TOKEN or --secret-file");
            }
        };
        if self.service.is_none() && !matches!(access, Access::None) {
            return usage("--service is missing");
        }
        let mut user_keys = self.user_key;
        if let Some(file) = &self.user_keys {
            let text = read(file)?;
            user_keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        if user_keys.is_empty() {
            return usage("whom to call is missing: --user-key or --user-keys");
        }
        within("user keys", user_keys.len(), 1, APPLICATIONS_MAX)?;
        let metrics = if self.metric.is_empty() { vec!["hits".to_owned()] } else { self.metric };
        within("--metric", metrics.len(), 1, crate::wire::USAGE_MAX)?;
        Ok(Whom::Running { target, access, service: self.service, user_keys, metrics, pid: self.pid })
    }
}

fn within(what: &str, found: usize, least: usize, most: usize) -> Result<(), PlanError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(PlanError::Usage(format!("{what}: {found} is not between {least} and {most}")))
}

fn read(file: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(file)
        .map_err(|error| LoadError::File { file: file.display().to_string(), why: error.to_string() })
}

/// The first line of a file with a secret.
fn line_of(file: &Path) -> Result<String, LoadError> {
    let text = read(file)?;
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    let empty =
        || LoadError::File { file: file.display().to_string(), why: "its first line is empty".to_owned() };
    line.map(str::to_owned).ok_or_else(empty)
}

#[cfg(test)]
mod tests;
