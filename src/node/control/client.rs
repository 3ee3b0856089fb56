//! The other side of the control socket, for questions with one answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Request, SocketPath};

/// The most bytes of an answer: a report lists a bounded number of things.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How long an answer may take: a node under load, with a million applications.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the node that runs on `data_dir`; `None` if none runs there.
///
/// # Errors
/// The connection's; what the node says is in the answer.
pub(in crate::node) fn ask<T: DeserializeOwned>(
    data_dir: &Path,
    request: &Request,
) -> io::Result<Option<Answer<T>>> {
    let Some(mut stream) = connect(data_dir)? else { return Ok(None) };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(Some(serde_json::from_slice(&answer)?))
}

fn connect(data_dir: &Path) -> io::Result<Option<UnixStream>> {
    none_if_nobody(SocketPath::of(data_dir).and_then(UnixStream::connect))
}

/// Tells a node that does not run from one that cannot be reached.
pub(in crate::node) fn none_if_nobody<T>(connected: io::Result<T>) -> io::Result<Option<T>> {
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
