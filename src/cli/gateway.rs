//! `tollgate gateway`: the test gateway, a process of its own.

use std::io::IsTerminal;
use std::net::IpAddr;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::remote::Node;
use super::{Exit, say, show};
use crate::gateway::{GatewayError, Options, Serving, Upstream};
use crate::outgoing::Allowed;

pub(super) const AFTER_HELP: &str = "\
For trying things out and for tests, not for production. The node says where to listen: it must run with --gateway-endpoint, such as \
http://127.0.0.1:9000-9199. Each service then has a port for its sandbox and one for production, which its proxy shows as \
sandbox_endpoint and endpoint. TOLLGATE_ADMIN_TOKEN, or the file that --token-file names, has an access token (or the provider key) of \
the tenant whose services are served.

Exit codes: 0 stopped as asked, 1 other failure, 2 unknown flag, 3 no token, 4 address not usable.";

#[derive(Args, Debug)]
pub(super) struct Gateway {
    #[command(flatten)]
    node: Node,

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
    let token = match gateway.node.token() {
        Ok(token) => token,
        Err(problem) => {
            say(&problem.to_string());
            return Exit::Config;
        }
    };
    start_logging();
    let options = Options {
        node: gateway.node.url(),
        token,
        roots: gateway.node.roots(),
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
