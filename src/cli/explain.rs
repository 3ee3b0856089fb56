//! `tollgate explain`: how the running node would decide a call.

use clap::Args;

use super::{Exit, say, show, variables};
use crate::config::{Config, Settings};
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
    let config = match Config::load(arguments.settings, variables()) {
        Ok(config) => config,
        Err(errors) => {
            errors.0.iter().for_each(|problem| say(problem));
            return Exit::Config;
        }
    };
    let question = Question { call: arguments.call, options: arguments.options };
    let explanation = match explain(&config.data_dir, question) {
        Ok(explanation) => explanation,
        Err(error) => {
            say(&error.to_string());
            return match error {
                ExplainError::TooLong(_) => Exit::Usage,
                _ => Exit::Failed,
            };
        }
    };
    if arguments.json {
        match serde_json::to_string_pretty(&explanation) {
            Ok(json) => show(&format!("{json}\n")),
            Err(error) => {
                say(&error.to_string());
                return Exit::Failed;
            }
        }
    } else {
        show(&explanation.to_string());
    }
    Exit::Done
}
