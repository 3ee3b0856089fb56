//! `tollgate check`: the configuration, without starting anything.

use clap::Args;

use super::table::table;
use super::{Exit, configuration, show};
use crate::config::Settings;

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// Says what is wrong, or what a node would run with.
pub(super) fn run(check: Check) -> Exit {
    let effective = match configuration(check.settings) {
        Ok((_, effective)) => effective,
        Err(exit) => return exit,
    };
    let rows: Vec<_> = effective.into_iter().map(|it| [it.key, it.value, it.origin.to_string()]).collect();
    show(&table(["KEY", "VALUE", "FROM"], &rows));
    Exit::Done
}
