//! `tollgate counters`: what was counted, out of one node and into another.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::verify::Place;
use super::{Exit, say, show};
use crate::listener::system_clock;
use crate::node::counters::{CountersError, Imported, Wanted, export, import};

pub(super) const AFTER_HELP: &str = "\
A line is one application: tenant, service, app id, and the count of each open window by metric. An import finds \
services by external id (or by decimal id, if they have none), applications by app id, metrics by name; it sets what \
a line names and leaves out windows that are not open any more.

Exit codes: 0 done, 1 lines were refused or another failure, 6 not a data directory, 7 the data is damaged.";

#[derive(Args, Debug)]
pub(super) struct Counters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Write a JSON line for each application of a running or stopped node
    Export(Export),
    /// Set the counters of a running node to what lines say; without --apply it is only tried
    Import(Import),
}

#[derive(Args, Debug)]
struct Export {
    #[command(flatten)]
    place: Place,

    /// Of this service only, by decimal or external id
    #[arg(long, value_name = "ID")]
    service: Option<String>,
}

#[derive(Args, Debug)]
struct Import {
    /// The file with the lines, or - for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,

    #[command(flatten)]
    place: Place,

    /// Do it
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(counters: Counters) -> Exit {
    let done = match counters.action {
        Action::Export(Export { place, service }) => place.data_dir().map(|data_dir| {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let written = export(&data_dir, &Wanted { service }, &system_clock(), &mut out);
            let flushed =
                out.flush().map_err(|source| CountersError::System { what: "write the lines", source });
            written.and(flushed).map(|()| Exit::Done)
        }),
        Action::Import(it) => it.place.data_dir().map(|data_dir| run_import(&data_dir, &it.from, it.apply)),
    };
    match done {
        Ok(Ok(exit)) | Err(exit) => exit,
        Ok(Err(error)) => {
            say(&error.to_string());
            exit_of(&error)
        }
    }
}

fn run_import(data_dir: &Path, from: &Path, apply: bool) -> Result<Exit, CountersError> {
    let imported = if from == Path::new("-") {
        import(data_dir, apply, &mut std::io::stdin().lock())?
    } else {
        let file =
            File::open(from).map_err(|source| CountersError::System { what: "open the file", source })?;
        import(data_dir, apply, &mut BufReader::new(file))?
    };
    let Imported { applications, changed, same, not_open, refused } = imported;
    for (number, reason) in &refused {
        say(&format!("line {number}: {reason}"));
    }
    let (verb, end) = if apply { ("were", "on disk") } else { ("would be", "--apply does it") };
    show(&format!(
        "{applications} applications: {changed} counts {verb} changed, {same} are so already, {not_open} are of \
         windows that are not open and are left out; {} lines refused. {end}\n",
        refused.len()
    ));
    Ok(if refused.is_empty() { Exit::Done } else { Exit::Failed })
}

fn exit_of(error: &CountersError) -> Exit {
    match error {
        CountersError::DataDir(error) => super::serve::exit_of_data_dir(error),
        CountersError::NotANode(_) => Exit::DataDir,
        CountersError::Silent(_) => Exit::Locked,
        CountersError::State(error) if error.is_io() => Exit::DataDir,
        CountersError::State(_) => Exit::Data,
        CountersError::NotRunning(_) | CountersError::Refused(_) | CountersError::System { .. } => {
            Exit::Failed
        }
    }
}
