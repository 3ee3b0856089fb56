//! `tollgate completions`: what shells complete of the command line.

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Exit, show};

pub(super) const AFTER_HELP: &str = "\
  bash: tollgate completions bash > /etc/bash_completion.d/tollgate
  zsh:  tollgate completions zsh > \"${fpath[1]}/_tollgate\"
  fish: tollgate completions fish > ~/.config/fish/completions/tollgate.fish";

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(completions: &Completions, mut command: clap::Command) -> Exit {
    let shell = match completions.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, "tollgate", &mut script);
    show(&String::from_utf8_lossy(&script));
    Exit::Done
}
