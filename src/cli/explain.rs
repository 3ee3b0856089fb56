//! `tollgate explain`: how the running node would decide a call.

use clap::Args;

use super::{Exit, configuration, say, show, show_json};
use crate::config::Settings;
use crate::node::explain::{ExplainError, Question, explain};

#[derive(Args, Debug)]
pub(super) struct Explain {
    #[command(flatten)]
    settings: Settings,

    /// The call: its URL, its path and query, or its query alone (that of an authrep), as curl would send it
    #[arg(value_name = "CALL")]
    call: String,

    /// The value of the call's 3scale-options header
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    options: String,

    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Explain) -> Exit {
    let config = match configuration(arguments.settings) {
        Ok((config, _)) => config,
        Err(exit) => return exit,
    };
    let question = Question { call: arguments.call, options: arguments.options };
    match explain(&config.data_dir, question) {
        Ok(explanation) if arguments.json => show_json(&explanation),
        Ok(explanation) => {
            show(&explanation.to_string());
            Exit::Done
        }
        Err(error) => {
            say(&error.to_string());
            match error {
                ExplainError::TooLong(_) => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}
