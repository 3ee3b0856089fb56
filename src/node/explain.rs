//! Asking the running node how it would decide a call.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::control::{Answer, Request, client};
use crate::engine::Explanation;

/// The most bytes of call and options together: with their escapes they fit a request of the control socket.
pub const QUESTION_BYTES_MAX: usize = 4000;

/// A call as a client would send it; see [`crate::http::explain`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// URL, path and query, or query.
    pub call: String,
    /// The value of `3scale-options`.
    pub options: String,
}

/// The call has credentials in it, which nobody may print.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The question does not fit.
    #[error("the call and its options have {0} bytes, at most {QUESTION_BYTES_MAX}")]
    TooLong(usize),
    /// Only a running node can explain.
    #[error("no node runs on {0}")]
    NotRunning(PathBuf),
    /// The node said no.
    #[error("the running node says: {0}")]
    Refused(String),
    /// It cannot be reached.
    #[error("cannot ask the running node: {0}")]
    Unreachable(#[from] io::Error),
}

/// Asks the node that runs on `data_dir`.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(data_dir: &Path, question: Question) -> Result<Explanation, ExplainError> {
    let bytes = question.call.len() + question.options.len();
    if bytes > QUESTION_BYTES_MAX {
        return Err(ExplainError::TooLong(bytes));
    }
    match client::ask(data_dir, &Request::Explain(question))? {
        Some(Answer::Ok(explanation)) => Ok(explanation),
        Some(Answer::Error(reason)) => Err(ExplainError::Refused(reason)),
        None => Err(ExplainError::NotRunning(data_dir.to_owned())),
    }
}
