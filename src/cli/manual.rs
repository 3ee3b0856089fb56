//! `tollgate manual`: man pages of the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Exit, say, show};

pub(super) const AFTER_HELP: &str = "\
  tollgate manual | man -l -
  tollgate manual --dir /usr/local/share/man/man1";

#[derive(Args, Debug)]
pub(super) struct Manual {
    /// Directory for all pages, one for each command [default: the first page, on standard output]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(manual: &Manual, command: Command) -> Exit {
    let result = match &manual.dir {
        None => page(&command).map(|page| show(&page)),
        Some(dir) => write_all(command, dir)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()))),
    };
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            say(&error.to_string());
            Exit::Failed
        }
    }
}

fn page(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// A page for each command: `tollgate-admin-app-create.1` for `tollgate admin app create`.
fn write_all(command: Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)
}
