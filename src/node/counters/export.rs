//! Counters out of a node, running or stopped.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as Client;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::super::control::{Answer, Request, SocketPath, client};
use super::super::inspect::find_service;
use super::super::scratch::Scratch;
use super::super::{data_dir, recovery};
use super::{ApplicationName, CountersError, Line, ServiceName, Wanted, WindowCount, WindowCounts, system};
use crate::counter::snapshot::{CellImage, SubjectImage};
use crate::engine::Engine;
use crate::journal::ReadOnlyDirectory;
use crate::listener::Clock;
use crate::model::catalog::Catalog;
use crate::model::id::ServiceId;
use crate::model::record::{Application, Service};
use crate::model::time::{Period, UnixMillis, Windows};
use crate::model::usage::response_code_name;
use crate::store::open_latest_in;

/// About how many bytes of lines go to the socket at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How long the node may take between two lines.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The last line of an export over the control socket: what was sent is all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Exported {
    /// How many lines there were.
    lines: u64,
}

/// Writes a line for each application of the node on `data_dir`, running or stopped; how many there were.
///
/// # Errors
/// [`CountersError`]; what was written may then not be all.
pub fn export(
    data_dir: &Path,
    wanted: &Wanted,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<u64, CountersError> {
    if !data_dir::check_format(data_dir)? {
        return Err(CountersError::NotANode(data_dir.to_owned()));
    }
    let path = SocketPath::of(data_dir).map_err(system("ask the running node"))?;
    let connected = client::none_if_nobody(Client::connect(&path)).map_err(system("ask the running node"))?;
    if let Some(stream) = connected {
        return ask(stream, wanted, out);
    }
    if data_dir::is_held(data_dir).map_err(system("look at the data directory"))? {
        return Err(CountersError::Silent(data_dir.to_owned()));
    }
    let scratch = Scratch::new().map_err(system("make a temporary directory"))?;
    let checkpoint = open_latest_in(&data_dir::checkpoints(data_dir), &scratch.join("checkpoint"))
        .map_err(recovery::RecoveryError::from)?;
    let disk = Box::new(ReadOnlyDirectory::new(&data_dir::journal(data_dir)));
    let engine = recovery::replay(checkpoint, disk, clock())?.finish()?;
    let mut lines = 0;
    let write = |line: &Line| {
        lines += 1;
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    };
    match each_line(&engine, wanted, clock(), write) {
        Ok(()) => Ok(lines),
        Err(Failed::Wanted(reason)) => Err(CountersError::Refused(reason)),
        Err(Failed::Io(error)) => Err(system("write the lines")(error)),
    }
}

fn ask(mut stream: Client, wanted: &Wanted, out: &mut impl Write) -> Result<u64, CountersError> {
    let unreachable = || system("ask the running node");
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(unreachable())?;
    let request = serde_json::to_vec(&Request::ExportCounters(wanted.clone())).map_err(io::Error::other);
    let mut request = request.map_err(unreachable())?;
    request.push(b'\n');
    stream.write_all(&request).map_err(unreachable())?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut lines) = (Vec::new(), 0);
    loop {
        line.clear();
        stream.read_until(b'\n', &mut line).map_err(unreachable())?;
        if line.starts_with(b"{\"tenant\"") && line.ends_with(b"\n") {
            lines += 1;
            out.write_all(&line).map_err(system("write the lines"))?;
            continue;
        }
        return match serde_json::from_slice::<Answer<Exported>>(&line) {
            Ok(Answer::Ok(exported)) if exported.lines == lines => Ok(lines),
            Ok(Answer::Ok(_)) => Err(CountersError::Refused("lines are missing".to_owned())),
            Ok(Answer::Error(reason)) => Err(CountersError::Refused(reason)),
            Err(_) => Err(CountersError::Refused("it ended before it had sent everything".to_owned())),
        };
    }
}

/// The node's side: sends a line for each application, then how many there were.
pub(in crate::node) async fn send_lines(
    engine: &Arc<Engine>,
    now: UnixMillis,
    wanted: Wanted,
    stream: &mut UnixStream,
) -> io::Result<()> {
    let (chunks, mut to_send) = mpsc::channel::<Vec<u8>>(4);
    let engine = Arc::clone(engine);
    let made = tokio::task::spawn_blocking(move || {
        let (mut chunk, mut lines) = (Vec::new(), 0);
        let written = each_line(&engine, &wanted, now, |line| {
            lines += 1;
            serde_json::to_writer(&mut chunk, line)?;
            chunk.push(b'\n');
            if chunk.len() < CHUNK_BYTES {
                return Ok(());
            }
            // Nobody listens any more.
            chunks.blocking_send(std::mem::take(&mut chunk)).map_err(io::Error::other)
        });
        let answer = match written {
            Ok(()) => Answer::Ok(Exported { lines }),
            Err(Failed::Wanted(reason)) => Answer::Error(reason),
            Err(Failed::Io(error)) => Answer::Error(error.to_string()),
        };
        chunk.extend(answer.line());
        // Nobody listens any more, or this is the end.
        let _ = chunks.blocking_send(chunk);
    });
    while let Some(chunk) = to_send.recv().await {
        stream.write_all(&chunk).await?;
    }
    made.await.map_err(io::Error::other)
}

enum Failed {
    Wanted(String),
    Io(io::Error),
}

fn each_line(
    engine: &Engine,
    wanted: &Wanted,
    wall: UnixMillis,
    mut visit: impl FnMut(&Line) -> io::Result<()>,
) -> Result<(), Failed> {
    let catalog = engine.catalog();
    let service = wanted.service.as_deref().map(|text| find_service(&catalog, text)).transpose();
    let service = service.map_err(|error| Failed::Wanted(error.to_string()))?;
    for (_, application) in catalog.applications.iter() {
        if service.is_some_and(|service| service != application.service) {
            continue;
        }
        // One that was deleted meanwhile has no counters.
        let Some(image) = engine.counters_of(application.id, wall) else { continue };
        let Some(line) = line(&catalog, application, &image, engine.now(wall)) else { continue };
        visit(&line).map_err(Failed::Io)?;
    }
    Ok(())
}

fn line(catalog: &Catalog, application: &Application, image: &SubjectImage, now: UnixMillis) -> Option<Line> {
    let ServiceId(id) = application.service;
    let service: &Service = catalog.services.get(id)?;
    let windows = Windows::at(now.minute());
    let (mut counters, mut response_codes) = (BTreeMap::new(), BTreeMap::new());
    for cell in &image.cells {
        let counts = counts_of(cell, &windows);
        if let Some(metric) = service.metrics.get(cell.slot) {
            counters.insert(metric.name.clone(), counts);
        } else if let Some(code) = response_code_name(cell.slot) {
            response_codes.insert(code.to_owned(), counts);
        }
    }
    Some(Line {
        tenant: service.tenant.0,
        service: ServiceName { id, external_id: service.external_id.clone() },
        application: ApplicationName { id: application.id.0, app_id: application.app_id.to_string() },
        counters,
        response_codes,
    })
}

fn counts_of(cell: &CellImage, windows: &Windows) -> WindowCounts {
    let count = |period: Period| {
        Some(WindowCount { start_s: windows.start(period).secs(), value: cell.count(period, windows) })
    };
    WindowCounts {
        minute: count(Period::Minute),
        hour: count(Period::Hour),
        day: count(Period::Day),
        week: count(Period::Week),
        month: count(Period::Month),
        year: count(Period::Year),
        eternity: count(Period::Eternity),
    }
}
