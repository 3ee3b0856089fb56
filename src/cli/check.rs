//! `tollgate check`: the configuration and the certificates it names, without starting anything; or a document of a catalog.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::serve::exit_of;
use super::table::table;
use super::{Exit, configuration, say, show, show_json};
use crate::config::Settings;
use crate::document::read::read;

#[derive(Args, Debug)]
pub(super) struct Check {
    /// A document of a catalog, as export writes it and import takes it: all that is wrong with it is said, a line each, as
    /// FILE:LINE:COLUMN: WHERE: WHAT; ends with 11 if something is
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of a document: JSON instead of text
    #[arg(long, requires = "file")]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Says what is wrong, or what a node would run with.
pub(super) fn run(check: Check) -> Exit {
    if let Some(file) = &check.file {
        return check_document(file, check.json);
    }
    let (config, effective) = match configuration(check.settings) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    if let Err(error) = crate::node::check(&config) {
        say(&error.to_string());
        return exit_of(&error);
    }
    let rows: Vec<_> = effective.into_iter().map(|it| [it.key, it.value, it.origin.to_string()]).collect();
    show(&table(["KEY", "VALUE", "FROM"], &rows));
    Exit::Done
}

fn check_document(file: &Path, as_json: bool) -> Exit {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            say(&format!("{}: {error}", file.display()));
            return Exit::Failed;
        }
    };
    let problems = read(&text).err().unwrap_or_default();
    if as_json {
        show_json(&json!({"problems": problems}));
    } else {
        let lines = problems.iter().map(|it| format!("{}:{it}\n", file.display()));
        show(&lines.collect::<String>());
    }
    if problems.is_empty() { Exit::Done } else { Exit::Document }
}
