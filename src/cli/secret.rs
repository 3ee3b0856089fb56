//! `tollgate secret`: the secret by which clients of the binary protocol may call for all services.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, configuration, say, show};
use crate::config::Settings;
use crate::node::secret::{SecretError, rotate};

#[derive(Args, Debug)]
pub(super) struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a new node secret; the one before it stays valid until the next time.
    ///
    /// The secret is the first line of `node-secret` in the data directory; give it to the clients, then rotate once more to
    /// end the old one. A running node takes a new file up within ten seconds, or at once on SIGHUP.
    Rotate(Rotate),
}

#[derive(Args, Debug)]
struct Rotate {
    /// Where everything is kept [default: as configured]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file that says where that is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(secret: Secret) -> Exit {
    let Secret { action: Action::Rotate(Rotate { data_dir, config }) } = secret;
    let settings = Settings { data_dir, config, ..Settings::default() };
    let config = match configuration(settings) {
        Ok((config, _)) => config,
        Err(exit) => return exit,
    };
    match rotate(&config.data_dir) {
        Ok(()) => {
            show("A new node secret is the first line of node-secret; the one before it is still valid.\n");
            Exit::Done
        }
        Err(error) => {
            say(&error.to_string());
            match error {
                SecretError::Content(_) => Exit::Data,
                _ => Exit::DataDir,
            }
        }
    }
}
