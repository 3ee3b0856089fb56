//! Holding still for a backup: the node's side of it, and the client's.
//!
//! # Protocol
//! On the control socket: the request `{"backup":{}}`; the answer, a line, is a [`Held`]. From then on the node makes no
//! checkpoint. The client copies, then sends one byte; the node lets go and answers `{"ok":null}`, which says that it
//! has held all the time. Whatever else happens to the connection, the node lets go.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::super::control::{Answer, Request, SocketPath, client};
use super::super::plugins::CopyShelves;
use crate::engine::Engine;

/// How long a backup may take: the journal grows meanwhile, as nothing is pruned.
const HOLD_MAX: Duration = Duration::from_secs(3600);

/// How long is waited for a checkpoint in the making, or another backup.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long the node may take to hold still, and to let go: a checkpoint of a million applications, and a flush.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// Held while a checkpoint is made, and while a backup is.
pub(in crate::node) type StandStill = Arc<Mutex<()>>;

/// Where a running node puts the copies of its shelves; removed when it starts, and when a backup is over.
pub(in crate::node) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("backup")
}

/// What a backup asks for; there is nothing to say yet.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Wish {}

/// What the node holds still at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::node) struct Held {
    /// The last sequence that belongs to the backup.
    pub(in crate::node) sequence: u64,
    /// Milliseconds since 1970 by the engine's clock.
    pub(in crate::node) now_ms: u64,
}

/// The node's side.
#[derive(Clone)]
pub(in crate::node) struct Holder {
    pub(in crate::node) data_dir: Arc<Path>,
    pub(in crate::node) still: StandStill,
    pub(in crate::node) copy_shelves: CopyShelves,
}

/// The node holds still as long as this is there.
struct Holding {
    folder: PathBuf,
    _still: OwnedMutexGuard<()>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        // The next backup, or start, tries again.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Holder {
    /// One backup over one connection.
    pub(in crate::node) async fn serve(
        &self,
        engine: &Arc<Engine>,
        mut stream: UnixStream,
    ) -> io::Result<()> {
        let (holding, held) = match self.begin(engine).await {
            Ok(begun) => begun,
            Err(reason) => return stream.write_all(&Answer::<Held>::Error(reason).line()).await,
        };
        tracing::info!(sequence = held.sequence, "a backup is being made: no checkpoint meanwhile");
        stream.write_all(&Answer::Ok(held).line()).await?;
        let mut byte = [0];
        let done = tokio::time::timeout(HOLD_MAX, stream.read(&mut byte)).await;
        let over = tokio::task::spawn_blocking(move || drop(holding)).await;
        let answer = match (done, over) {
            (Ok(Ok(1)), Ok(())) => Answer::Ok(()),
            (Err(_), _) => Answer::Error("the backup takes longer than an hour".to_owned()),
            _ => Answer::Error("the backup was broken off".to_owned()),
        };
        tracing::info!(is_done = matches!(answer, Answer::Ok(())), "the backup is over");
        stream.write_all(&answer.line()).await
    }

    async fn begin(&self, engine: &Arc<Engine>) -> Result<(Holding, Held), String> {
        let still = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.still).lock_owned()).await;
        let still = still.map_err(|_| "a checkpoint or another backup is being made".to_owned())?;
        let holding = Holding { folder: folder(&self.data_dir), _still: still };
        let copy = Arc::clone(&self.copy_shelves);
        // Before the flush: a shelf must not be ahead of the journal's copy.
        let holding = tokio::task::spawn_blocking(move || copy_shelves(holding, &copy)).await;
        let holding = holding.map_err(|_| "the shelves could not be copied".to_owned())??;
        engine.durable(engine.ticket()).await.map_err(|error| error.to_string())?;
        let now = engine.now(crate::model::time::UnixMillis(0));
        Ok((holding, Held { sequence: engine.journal().synced().0, now_ms: now.0 }))
    }
}

fn copy_shelves(holding: Holding, copy: &CopyShelves) -> Result<Holding, String> {
    let made = match std::fs::remove_dir_all(&holding.folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::DirBuilder::new().mode(0o700).create(&holding.folder),
    };
    made.map_err(|error| format!("the folder for copies of shelves cannot be made: {error}"))?;
    copy(&holding.folder).map_err(|error| error.to_string())?;
    Ok(holding)
}

/// The client's side: a running node that holds still.
pub(super) struct Hold {
    stream: BufReader<Client>,
    pub(super) held: Held,
}

impl Hold {
    /// Asks the node that runs on `data_dir`; `None` if none runs there.
    pub(super) fn ask(data_dir: &Path) -> io::Result<Option<Result<Hold, String>>> {
        let path = SocketPath::of(data_dir)?;
        let Some(mut stream) = client::none_if_nobody(Client::connect(&path))? else { return Ok(None) };
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut line = serde_json::to_vec(&Request::Backup(Wish {}))?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut stream = BufReader::new(stream);
        Ok(Some(match answer::<Held>(&mut stream)? {
            Answer::Ok(held) => Ok(Hold { stream, held }),
            Answer::Error(reason) => Err(reason),
        }))
    }

    /// Lets it go on. An error says that it has let go before.
    pub(super) fn end(mut self) -> Result<(), String> {
        let said = self.stream.get_mut().write_all(b"\n").and_then(|()| answer::<()>(&mut self.stream));
        match said {
            Ok(Answer::Ok(())) => Ok(()),
            Ok(Answer::Error(reason)) => Err(reason),
            Err(error) => Err(format!("it has ended meanwhile: {error}")),
        }
    }
}

fn answer<T: serde::de::DeserializeOwned>(stream: &mut BufReader<Client>) -> io::Result<Answer<T>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}
