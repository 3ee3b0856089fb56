//! Counters into a running node.
//!
//! On the control socket: the request; the answer `{"ok":null}`; then line by line, each answered by what came of it.
//! When the client has sent its last, what was carried over is flushed, and a last answer says that it is on disk.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Client;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::control::{Answer, Request, SocketPath, client};
use super::super::data_dir;
use super::place::Places;
use super::{CountersError, HowToImport, LINE_BYTES_MAX, Line, system};
use crate::engine::Engine;
use crate::listener::Clock;

/// How long the node may take for a line, and for the last flush.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take for a line.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// What came of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Taken {
    changed: u64,
    same: u64,
    not_open: u64,
}

/// What came of an import.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Imported {
    /// Applications whose lines have a place.
    pub applications: u64,
    /// Windows whose counts were changed, or would be.
    pub changed: u64,
    /// Windows that had the count already.
    pub same: u64,
    /// Windows that are not open on the importing node: they were left out.
    pub not_open: u64,
    /// The lines that were refused, by number from 1, and why.
    pub refused: Vec<(u64, String)>,
}

/// Carries the lines that `from` gives over to the node that runs on `data_dir`; with `apply` false only tries.
///
/// # Errors
/// [`CountersError`]. Lines before it may have been carried over; to carry them over once more changes nothing.
pub fn import(data_dir: &Path, apply: bool, from: &mut impl BufRead) -> Result<Imported, CountersError> {
    if !data_dir::check_format(data_dir)? {
        return Err(CountersError::NotANode(data_dir.to_owned()));
    }
    let unreachable = || system("ask the running node");
    let path = SocketPath::of(data_dir).map_err(unreachable())?;
    let connected = client::none_if_nobody(Client::connect(&path)).map_err(unreachable())?;
    let stream = connected.ok_or_else(|| CountersError::NotRunning(data_dir.to_owned()))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(unreachable())?;
    let mut node = BufReader::new(stream);
    let request = Request::ImportCounters(HowToImport { apply });
    let mut request = serde_json::to_vec(&request).map_err(io::Error::other).map_err(unreachable())?;
    request.push(b'\n');
    if let Answer::Error(reason) = say::<()>(&mut node, &request).map_err(unreachable())? {
        return Err(CountersError::Refused(reason));
    }
    let mut imported = Imported::default();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        // One byte more than there may be, to tell a line of the greatest length from a longer one.
        let read = (&mut *from).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(system("read the lines"))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if line.len() > LINE_BYTES_MAX {
            let reason = format!("line {number} is longer than {LINE_BYTES_MAX} bytes");
            return Err(system("read the lines")(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        imported.note(number, say(&mut node, &line).map_err(unreachable())?);
    }
    node.get_ref().shutdown(Shutdown::Write).map_err(unreachable())?;
    match say::<()>(&mut node, b"").map_err(unreachable())? {
        Answer::Ok(()) => Ok(imported),
        Answer::Error(reason) => Err(CountersError::Refused(reason)),
    }
}

fn say<T: serde::de::DeserializeOwned>(node: &mut BufReader<Client>, bytes: &[u8]) -> io::Result<Answer<T>> {
    node.get_mut().write_all(bytes)?;
    let mut answer = Vec::new();
    node.read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

impl Imported {
    fn note(&mut self, number: u64, answer: Answer<Taken>) {
        match answer {
            Answer::Ok(taken) => {
                self.applications += 1;
                self.changed += taken.changed;
                self.same += taken.same;
                self.not_open += taken.not_open;
            }
            Answer::Error(reason) => self.refused.push((number, reason)),
        }
    }
}

/// The node's side.
pub(in crate::node) async fn receive_lines(
    engine: &Arc<Engine>,
    clock: &Clock,
    how: HowToImport,
    stream: &mut UnixStream,
) -> io::Result<()> {
    stream.write_all(&Answer::Ok(()).line()).await?;
    let (read, mut write) = stream.split();
    let mut read = tokio::io::BufReader::new(read);
    let mut places = Places::of(engine.catalog());
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut read).take(LINE_BYTES_MAX as u64 + 1);
        let len = tokio::time::timeout(LINE_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
        if len == 0 {
            break;
        }
        let catalog = engine.catalog();
        if !places.is_of(&catalog) {
            places = Places::of(catalog);
        }
        let answer = match take(engine, clock, how, &places, &line) {
            Ok(taken) => Answer::Ok(taken),
            Err(reason) => Answer::Error(reason),
        };
        write.write_all(&answer.line()).await?;
    }
    let durable = if how.apply { engine.durable(engine.ticket()).await } else { Ok(()) };
    let answer = match durable {
        Ok(()) => Answer::Ok(()),
        Err(error) => Answer::Error(error.to_string()),
    };
    write.write_all(&answer.line()).await
}

fn take(
    engine: &Engine,
    clock: &Clock,
    how: HowToImport,
    places: &Places,
    line: &[u8],
) -> Result<Taken, String> {
    let line = Line::parse(line)?;
    let (application, counters) = places.find(engine, &line)?;
    let carried = engine.carry(application, &counters, clock(), how.apply);
    let carried = carried.map_err(|error| error.to_string())?;
    Ok(Taken { changed: carried.changed, same: carried.same, not_open: carried.not_open })
}
