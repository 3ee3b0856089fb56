//! `tollgate verify`: whether what a data directory holds is whole.

use std::path::PathBuf;

use clap::Args;

use super::table::table;
use super::{Exit, configuration, say, show, show_json};
use crate::config::Settings;
use crate::listener::system_clock;
use crate::node::verify::{Verdict, Verification, VerifyError, verify};

pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 whole, 9 a torn tail and nothing else (normal after a crash: the next start cuts it), 7 damaged, \
5 nodes start or stop there all the time, 6 not a data directory, or not readable.

Of a running node, only its journal up to where it writes and its finished checkpoints are verified.";

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Place,

    /// JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Which data directory is meant.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Where everything is kept [default: as configured]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file that says where that is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// The directory.
    pub(super) fn data_dir(self) -> Result<PathBuf, Exit> {
        let Place { data_dir, config } = self;
        configuration(Settings { data_dir, config, ..Settings::default() }).map(|(config, _)| config.data_dir)
    }
}

pub(super) fn run(arguments: Verify) -> Exit {
    let data_dir = match arguments.place.data_dir() {
        Ok(data_dir) => data_dir,
        Err(exit) => return exit,
    };
    match verify(&data_dir, &system_clock()) {
        Ok(found) => {
            if arguments.json {
                show_json(&found);
            } else {
                show(&text(&found));
            }
            exit_of_verdict(found.verdict)
        }
        Err(error) => {
            say(&error.to_string());
            exit_of(&error)
        }
    }
}

fn exit_of_verdict(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Whole => Exit::Done,
        Verdict::Torn => Exit::Torn,
        Verdict::Damaged => Exit::Data,
    }
}

pub(super) fn exit_of(error: &VerifyError) -> Exit {
    match error {
        VerifyError::DataDir(error) => super::serve::exit_of_data_dir(error),
        VerifyError::Changing(_) => Exit::Locked,
        VerifyError::NotANode(_) | VerifyError::System { .. } => Exit::DataDir,
    }
}

/// What was found, for a terminal.
pub(super) fn text(found: &Verification) -> String {
    let mut text = journal(found) + &checkpoints(found) + &shelves(found) + &state(found);
    for note in &found.notes {
        text += &format!("Note: {note}.\n");
    }
    for problem in &found.problems {
        let at = problem.offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
        let file = if problem.file.is_empty() { String::new() } else { format!("{}{at}: ", problem.file) };
        text += &format!("DAMAGED: {file}{}\n", problem.reason);
        text += &problem.remedy.as_ref().map_or_else(String::new, |remedy| format!("  -> {remedy}\n"));
    }
    let verdict = match found.verdict {
        Verdict::Whole => "Everything that was verified is whole.",
        Verdict::Torn => "Everything is whole but a torn tail, which the next start cuts.",
        Verdict::Damaged => "There is damage.",
    };
    text + verdict + "\n"
}

fn journal(found: &Verification) -> String {
    let running = if found.running { "a node runs on it" } else { "no node runs on it" };
    let mut text = format!("{}: {running}\n\n", found.data_dir.display());
    let number = |it: Option<u64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let rows: Vec<_> = found
        .segments
        .iter()
        .map(|it| {
            [
                it.file.clone(),
                it.term.to_string(),
                it.first.to_string(),
                if it.entries == 0 { "-".to_owned() } else { it.last.to_string() },
                it.groups.to_string(),
                number(it.from_ms),
                number(it.to_ms),
                it.state.clone(),
            ]
        })
        .collect();
    text += &table(["SEGMENT", "TERM", "FIRST", "LAST", "GROUPS", "FROM (MS)", "TO (MS)", "STATE"], &rows);
    text
}

fn checkpoints(found: &Verification) -> String {
    let rows: Vec<_> = found
        .checkpoints
        .iter()
        .map(|it| {
            let current = if it.current { "yes" } else { "-" };
            let begin = it.begin.map_or_else(|| "-".to_owned(), |begin| begin.to_string());
            [it.generation.to_string(), current.to_owned(), begin, it.state.clone()]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(["CHECKPOINT", "CURRENT", "REPLAY AFTER", "STATE"], &rows))
}

fn shelves(found: &Verification) -> String {
    let row = |it: &crate::node::verify::ShelfRow| {
        let position = if it.position == 0 { "-".to_owned() } else { it.position.to_string() };
        [it.name.clone(), position, it.rows.to_string(), "whole".to_owned()]
    };
    let rows: Vec<_> = found.shelves.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(["SHELF", "DERIVED TO", "ROWS", "STATE"], &rows))
}

fn state(found: &Verification) -> String {
    let Some(state) = &found.state else { return "\n".to_owned() };
    let from = state.checkpoint.map_or_else(
        || "from the journal alone".to_owned(),
        |generation| format!("from checkpoint {generation}"),
    );
    format!(
        "\nThe state can be put together {from}: {} entries replayed, up to sequence {}; catalog version {}, {} \
         services, {} applications, {} open reservations. The next start begins term {}.\n",
        state.entries,
        state.last,
        state.catalog_version,
        state.services,
        state.applications,
        state.open_reservations,
        state.next_term
    )
}
