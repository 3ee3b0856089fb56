//! Inspecting whatever is there: the running node, or what a stopped one left.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::control::{Answer, Request, client};
use super::super::scratch::Scratch;
use super::super::{data_dir, recovery};
use super::{InspectError, Query, Report};
use crate::journal::ReadOnlyDirectory;
use crate::listener::Clock;
use crate::store::open_latest_in;

/// How often it is tried while a node starts or ends.
const TRIES: u32 = 50;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows what `query` asks for of the node on `data_dir`, running or stopped. Changes nothing there.
///
/// # Errors
/// [`InspectError`]; damaged data are refused.
pub fn inspect(data_dir: &Path, query: &Query, clock: &Clock) -> Result<Report, InspectError> {
    let looked = |source| InspectError::System { what: "look at the data directory", source };
    if !data_dir::check_format(data_dir)? {
        return Err(InspectError::NotANode(data_dir.to_owned()));
    }
    for _ in 0..TRIES {
        if let Some(report) = ask(data_dir, query)? {
            return Ok(report);
        }
        if !data_dir::is_held(data_dir).map_err(looked)? {
            let before = names(data_dir).map_err(looked)?;
            let read = read(data_dir, query, clock);
            // If a node has started meanwhile, what was read may be of two times.
            if names(data_dir).map_err(looked)? == before && !data_dir::is_held(data_dir).map_err(looked)? {
                return read;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Err(InspectError::Silent(data_dir.to_owned()))
}

/// Asks the running node; `None` if none runs.
fn ask(data_dir: &Path, query: &Query) -> Result<Option<Report>, InspectError> {
    match client::ask(data_dir, &Request::Inspect(query.clone())) {
        Ok(None) => Ok(None),
        Ok(Some(Answer::Ok(report))) => Ok(Some(report)),
        Ok(Some(Answer::Error(reason))) => Err(InspectError::Refused(reason)),
        Err(source) => Err(InspectError::System { what: "ask the running node", source }),
    }
}

/// What a start would change: it begins a journal segment, and may remove some, and checkpoints.
pub(in crate::node) fn names(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for dir in [data_dir::journal(data_dir), data_dir::checkpoints(data_dir)] {
        let entries = match std::fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            names.push(entry?.path());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads the directory as a start would.
fn read(data_dir: &Path, query: &Query, clock: &Clock) -> Result<Report, InspectError> {
    let wall = clock();
    let scratch = Scratch::new();
    let scratch =
        scratch.map_err(|source| InspectError::System { what: "make a temporary directory", source })?;
    let checkpoint = open_latest_in(&data_dir::checkpoints(data_dir), &scratch.join("checkpoint"))
        .map_err(recovery::RecoveryError::from)?;
    let disk = Box::new(ReadOnlyDirectory::new(&data_dir::journal(data_dir)));
    let replayed = recovery::replay(checkpoint, disk, wall)?;
    let notes = replayed.notes();
    let engine = replayed.finish()?;
    Ok(Report { notes, ..Report::of(&engine, wall, query, false)? })
}
