//! `tollgate check`: the configuration and the certificates it names, without starting anything.

use clap::Args;

use super::serve::exit_of;
use super::table::table;
use super::{Exit, configuration, say, show};
use crate::config::Settings;

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// Says what is wrong, or what a node would run with.
pub(super) fn run(check: Check) -> Exit {
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
