//! The command line.

mod serve;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Settings;

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
    /// Another node has the data directory.
    Locked = 5,
    /// The data directory cannot be used: missing rights, not a directory, no space.
    DataDir = 6,
    /// The data is damaged, or of a newer version.
    Data = 7,
    /// The clock is more than an hour behind the data.
    Clock = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

const AFTER_HELP: &str = "\
Every flag can be given as a variable (--data-dir is TOLLGATE_DATA_DIR) or as a key of the file that --config \
names (data_dir); flags win over variables, those over the file.

Exit codes: 0 stopped as asked, 1 other failure, 2 unknown flag, 3 bad configuration, 4 address not usable, \
5 data directory in use by another node, 6 data directory not usable, 7 data damaged or of a newer version, \
8 clock behind the data.";

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
}

#[derive(Args, Debug)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
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
    let serve = match arguments.command {
        Some(Command::Serve(serve)) => serve,
        None => arguments.serve,
    };
    serve::run(serve.settings).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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
