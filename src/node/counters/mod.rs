//! Counters as JSON lines: out of one node, and into another.
//!
//! A line is one application, by tenant, service and app id, with the windows that are open, each with its first second
//! and its count. Lines come by ascending application id. Metrics that were deleted, reservations and future-dated usage
//! stay behind.
//!
//! An import finds the service by its external id, or, if it has none, by its decimal id; the application by its app id;
//! metrics by name. It sets what it names and nothing else; a window that is not open on the importing node is left out
//! and counted. A line is carried over as a whole or refused with its number and the reason.

mod export;
mod import;
mod place;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use export::export;
pub(super) use export::send_lines;
pub(super) use import::receive_lines;
pub use import::{Imported, import};

use super::RecoveryError;
use super::data_dir::DataDirError;
use crate::model::time::{Minute, Period, UnixMillis};

/// The most bytes of a line: a service's metrics, at about 400 bytes each.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// One application and what it has counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The tenant's id.
    pub tenant: u64,
    /// Its service.
    pub service: ServiceName,
    /// The application.
    pub application: ApplicationName,
    /// The counts by metric.
    pub counters: BTreeMap<String, WindowCounts>,
    /// The counts by response code (`404`) or group of them (`4XX`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_codes: BTreeMap<String, WindowCounts>,
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ServiceName {
    pub id: u64,
    pub external_id: Option<String>,
}

/// An application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ApplicationName {
    pub id: u64,
    pub app_id: String,
}

/// The open windows of one counter, shortest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct WindowCounts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<WindowCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eternity: Option<WindowCount>,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is none, in a sentence.
    pub fn parse(text: &[u8]) -> Result<Line, String> {
        // What it quotes of the line may have anything in it.
        let reason = |error: serde_json::Error| {
            format!("it is not such a line: {error}").replace(char::is_control, " ")
        };
        serde_json::from_slice(text).map_err(reason)
    }
}

impl WindowCounts {
    /// The minute at which each window begins, and its count, by period.
    ///
    /// # Errors
    /// A first second that no window begins with, in a sentence.
    pub fn windows(&self) -> Result<[Option<(Minute, u64)>; Period::COUNT], String> {
        let mut windows = [None; Period::COUNT];
        for (period, count) in [
            (Period::Minute, self.minute),
            (Period::Hour, self.hour),
            (Period::Day, self.day),
            (Period::Week, self.week),
            (Period::Month, self.month),
            (Period::Year, self.year),
            (Period::Eternity, self.eternity),
        ] {
            let Some(WindowCount { start_s, value }) = count else { continue };
            let start = UnixMillis::from_secs(start_s).minute();
            if start.secs() != start_s {
                return Err(format!("{start_s} is not the beginning of a {}", period.name()));
            }
            windows[period as usize] = Some((start, value));
        }
        Ok(windows)
    }
}

/// One window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowCount {
    /// Its first second, since 1970.
    pub start_s: u64,
    /// The count.
    pub value: u64,
}

/// What an export asks for.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Of this service only, by decimal or external id.
    pub service: Option<String>,
}

/// What an import asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HowToImport {
    /// Whether to change anything.
    pub apply: bool,
}

/// Why nothing, or not everything, was exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no node's data.
    #[error("{0} is not a tollgate data directory (it has no FORMAT file)")]
    NotANode(PathBuf),
    /// Only a running node takes counters in.
    #[error("no node runs on {0}: start it, then import")]
    NotRunning(PathBuf),
    /// A node has the directory but cannot be asked.
    #[error("a node has {0} but does not answer there: it is starting or ending, or has no control socket")]
    Silent(PathBuf),
    /// The node said no.
    #[error("the running node says: {0}")]
    Refused(String),
    /// The data is damaged.
    #[error(transparent)]
    State(#[from] RecoveryError),
    /// Lines cannot be read or written, or the node not be reached.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> CountersError {
    move |source| CountersError::System { what, source }
}
