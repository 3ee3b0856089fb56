//! `tollgate check`: the configuration, without starting anything.

use clap::Args;

use super::table::table;
use super::{Exit, say, show, variables};
use crate::config::{Config, Settings};

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// Says what is wrong, or what a node would run with.
pub(super) fn run(check: Check) -> Exit {
    match Config::load_explained(check.settings, variables()) {
        Ok((_, effective)) => {
            let rows: Vec<_> =
                effective.into_iter().map(|it| [it.key, it.value, it.origin.to_string()]).collect();
            show(&table(["KEY", "VALUE", "FROM"], &rows));
            Exit::Done
        }
        Err(errors) => {
            errors.0.iter().for_each(|problem| say(problem));
            Exit::Config
        }
    }
}
