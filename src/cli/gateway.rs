//! `tollgate gateway`: the test gateway, a process of its own.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, say, show};
use crate::gateway::{GatewayError, Options, Serving, Upstream};
use crate::outgoing::{Allowed, Roots};

pub(super) const AFTER_HELP: &str = "\
For trying things out and for tests, not for production. The node says where to listen: it must run with --gateway-endpoint, such as \
http://127.0.0.1:9000-9199. Each service then has a port for its sandbox and one for production, which its proxy shows as \
sandbox_endpoint and endpoint. TOLLGATE_ADMIN_TOKEN, or the file that --token-file names, has an access token (or the provider key) of \
the tenant whose services are served.

Exit codes: 0 stopped as asked, 1 other failure, 2 unknown flag, 3 no token, 4 address not usable.";

#[derive(Args, Debug)]
pub(super) struct Gateway {
    /// The node: where its admin API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    node: String,

    /// File with the access token [default: TOLLGATE_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Authorities (PEM) of the node's certificate [default: Mozilla's]
    #[arg(long, value_name = "FILE")]
    node_ca: Option<PathBuf>,

    /// Address to listen on [default: the host in the node's --gateway-endpoint if it is an address, else 127.0.0.1]
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,

    /// Allow an address that other machines can reach although there is no TLS
    #[arg(long)]
    insecure: bool,

    /// What becomes of calls that are let through
    #[arg(long, value_enum, default_value_t = Through::Proxy)]
    upstream: Through,

    /// Private APIs that may be called although they are on this machine or its link, separated by commas: a host, an address, or a
    /// network such as 10.0.0.0/8
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    allow: Vec<Allowed>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Through {
    /// They are sent on to the private API
    Proxy,
    /// They are shown to who made them, as JSON
    Echo,
}

pub(super) fn run(gateway: Gateway) -> Exit {
    let token = match token(&gateway) {
        Ok(token) => token,
        Err(problem) => {
            say(&problem);
            return Exit::Config;
        }
    };
    start_logging();
    let options = Options {
        node: gateway.node,
        token,
        roots: gateway.node_ca.map_or(Roots::Web, Roots::File),
        bind: gateway.bind,
        insecure: gateway.insecure,
        upstream: match gateway.upstream {
            Through::Proxy => Upstream::Proxy,
            Through::Echo => Upstream::Echo,
        },
        allowed: gateway.allow,
    };
    match live(&options) {
        Ok(()) => Exit::Done,
        Err(error) => {
            say(&error.to_string());
            match error {
                GatewayError::Address { .. } => Exit::Address,
                GatewayError::Open(_) => Exit::Config,
                _ => Exit::Failed,
            }
        }
    }
}

fn token(gateway: &Gateway) -> Result<String, String> {
    let text = match &gateway.token_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => std::env::var("TOLLGATE_ADMIN_TOKEN").unwrap_or_default(),
    };
    match text.trim() {
        "" => Err("there is no access token: give it as TOLLGATE_ADMIN_TOKEN or by --token-file".to_owned()),
        token => Ok(token.to_owned()),
    }
}

fn live(options: &Options) -> Result<(), GatewayError> {
    let serving = Serving::open(options)?;
    let (first, last) = (serving.first, serving.last);
    show(&format!(
        "Test gateway of the node at {} on http://{first} to port {last}\nStop with Ctrl-C\n",
        options.node
    ));
    serving.run(async {
        let stopped = async |kind| match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = stopped(SignalKind::terminate()) => {}
            () = stopped(SignalKind::interrupt()) => {}
        }
    })
}

fn start_logging() {
    let ansi = std::io::stderr().is_terminal();
    let filter = EnvFilter::new("info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}
