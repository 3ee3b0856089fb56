//! The command line.

mod admin;
mod backup;
mod check;
mod complete;
mod counters;
mod explain;
mod export;
mod gateway;
mod import;
mod inspect;
pub mod load;
mod manual;
mod remote;
mod repair;
mod secret;
mod serve;
mod service;
mod table;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Effective, Settings};

/// What the process ends with. Scripts and service managers tell failures apart by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Stopped as asked.
    Done = 0,
    /// Something went wrong that has no code of its own.
    Failed = 1,
    /// An unknown flag or argument (also clap's own code for it).
    Usage = 2,
    /// The configuration is bad.
    Config = 3,
    /// An address cannot be listened on.
    Address = 4,
    /// Another node has the data directory, and does not hand it over.
    Locked = 5,
    /// The data directory cannot be used: missing rights, not a directory, no space.
    DataDir = 6,
    /// The data is damaged, or of a newer version.
    Data = 7,
    /// The clock is more than an hour behind the data.
    Clock = 8,
    /// `verify` found a torn tail, which is normal after a crash, and nothing else.
    Torn = 9,
    /// `import --exit-code`: something would change.
    Differs = 10,
    /// A document is wrong, or the node refuses something in it.
    Document = 11,
    /// What an import was planned with was changed meanwhile.
    Stale = 12,
    /// No node answers where one was called.
    Unreachable = 13,
    /// A token is refused.
    Denied = 14,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

const AFTER_HELP: &str = "\
Every flag can be given as a variable (--data-dir is TOLLGATE_DATA_DIR) or as a key of the file that --config \
names (data_dir); flags win over variables, those over the file. Secrets are no flags: TOLLGATE_ADMIN_TOKEN (admin_token) is the \
access token of the first administrator of the admin API, where there is none yet; else the first start shows one, once.

Exit codes: 0 stopped as asked, 1 other failure, 2 unknown flag, 3 bad configuration, 4 address not usable, \
5 data directory in use by another node that does not hand it over, 6 data directory not usable, 7 data damaged or of a newer version, \
8 clock behind the data, 9 torn tail, which is normal after a crash (verify only), 10 to 12: see import --help and check --help, \
13 and 14: see admin --help.";

/// Answers \"may this application make this call?\" and counts it: a rate-limit, counter and metering daemon.
#[derive(Parser, Debug)]
#[command(name = "tollgate", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a node (the default)
    #[command(after_help = AFTER_HELP)]
    Serve(Serve),
    /// Check the configuration and its certificates, and show what a node would run with; or with FILE a document of a
    /// catalog. Nothing is started or touched
    #[command(after_help = AFTER_HELP)]
    Check(check::Check),
    /// Show the catalog, a service, or an application's counters, of a running or stopped node
    Inspect(inspect::Inspect),
    /// Show how the running node would decide a call now, and why, without counting it
    Explain(explain::Explain),
    /// Read everything in a data directory, and say what is damaged; nothing is changed
    #[command(after_help = verify::AFTER_HELP)]
    Verify(verify::Verify),
    /// End a damaged journal before the damage, or go without a damaged checkpoint: shows what would be lost, and does
    /// it with --apply
    #[command(after_help = repair::AFTER_HELP)]
    Repair(repair::Repair),
    /// Copy everything a node holds, running or stopped, as of one moment
    #[command(after_help = backup::BACKUP_HELP)]
    Backup(backup::Backup),
    /// Make a data directory of a backup
    #[command(after_help = backup::RESTORE_HELP)]
    Restore(backup::Restore),
    /// Write what was counted as JSON lines, or set counters to it
    #[command(after_help = counters::AFTER_HELP)]
    Counters(counters::Counters),
    /// Write all that a tenant has set up in a running node as one YAML document
    #[command(after_help = export::AFTER_HELP)]
    Export(export::Export),
    /// Show what a document changes in a tenant of a running node, and do it with --apply
    #[command(after_help = import::AFTER_HELP)]
    Import(import::Import),
    /// Measure how fast a node answers: one of its own, or one that runs
    Load(load::Load),
    /// Run the test gateway: it takes API calls, asks the node, and sends them on or shows them
    #[command(after_help = gateway::AFTER_HELP)]
    Gateway(gateway::Gateway),
    /// Change the secret by which clients of the binary protocol may call for all services
    Secret(secret::Secret),
    /// Administer a running node: tenants, services, plans, limits, accounts, applications, keys, tokens
    #[command(after_help = admin::AFTER_HELP)]
    Admin(admin::Admin),
    /// Write what a shell completes
    #[command(after_help = complete::AFTER_HELP)]
    Completions(complete::Completions),
    /// Write the man pages
    #[command(after_help = manual::AFTER_HELP)]
    Manual(manual::Manual),
}

#[derive(Args, Debug)]
struct Serve {
    #[command(flatten)]
    settings: Settings,

    /// Take the listening sockets and the data directory over from the node that runs there, without a failed
    /// request; if none runs, just start
    #[arg(long)]
    take_over: bool,
}

/// Runs what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors; clap prints either where it belongs.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let exit = match arguments.command {
        Some(Command::Serve(serve)) => serve::run(serve),
        Some(Command::Check(check)) => check::run(check),
        Some(Command::Inspect(inspect)) => inspect::run(inspect),
        Some(Command::Explain(explain)) => explain::run(explain),
        Some(Command::Verify(verify)) => verify::run(verify),
        Some(Command::Repair(repair)) => repair::run(repair),
        Some(Command::Backup(it)) => backup::run_backup(it),
        Some(Command::Restore(it)) => backup::run_restore(it),
        Some(Command::Counters(it)) => counters::run(it),
        Some(Command::Export(it)) => export::run(&it),
        Some(Command::Import(it)) => import::run(&it),
        Some(Command::Load(load)) => load::run(load),
        Some(Command::Gateway(gateway)) => gateway::run(gateway),
        Some(Command::Secret(secret)) => secret::run(secret),
        Some(Command::Admin(admin)) => admin::run(&admin),
        Some(Command::Completions(it)) => complete::run(&it, Arguments::command()),
        Some(Command::Manual(manual)) => manual::run(&manual, Arguments::command()),
        None => serve::run(arguments.serve),
    };
    exit.into()
}

/// One line on standard error, for whoever started the process.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "tollgate: {text}");
}

/// Text on standard output.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The environment, as far as it is text by name.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// The configuration, and where each part of it comes from. What is wrong with it is said, line by line.
fn configuration(settings: Settings) -> Result<(Config, Vec<Effective>), Exit> {
    Config::load_explained(settings, variables()).map_err(|errors| {
        errors.0.iter().for_each(|problem| say(problem));
        Exit::Config
    })
}

/// A value as JSON on standard output.
fn show_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(json) => {
            show(&format!("{json}\n"));
            Exit::Done
        }
        Err(error) => {
            say(&error.to_string());
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        let bare = Arguments::try_parse_from(["tollgate", "--http", "[::1]:1"]).unwrap();
        assert_eq!(bare.serve.settings.http.as_deref(), Some("[::1]:1"));
        let named = Arguments::try_parse_from(["tollgate", "serve", "--insecure"]).unwrap();
        let Some(Command::Serve(serve)) = named.command else { panic!() };
        assert_eq!(serve.settings.insecure, Some(true));
        assert!(Arguments::try_parse_from(["tollgate", "--htpp", "x"]).is_err());
    }
}
