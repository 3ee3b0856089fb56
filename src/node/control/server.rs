//! The node's side of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Answer, PEERS_MAX, REQUEST_BYTES_MAX, REQUEST_TIMEOUT, Request, SocketPath};
use crate::engine::Engine;
use crate::listener::Clock;
use crate::node::backup::hold::Holder;
use crate::node::counters;
use crate::node::data_dir::DataDir;
use crate::node::explain::Question;
use crate::node::hand_over::Successor;
use crate::node::inspect::{Query, Report};

/// What the control socket answers from.
#[derive(Clone)]
pub(in crate::node) struct Control {
    pub(in crate::node) engine: Arc<Engine>,
    pub(in crate::node) clock: Clock,
    pub(in crate::node) backups: Holder,
    /// Where those go that ask for the listening sockets.
    pub(in crate::node) successors: mpsc::Sender<Successor>,
}

/// Puts the socket into the data directory. The caller holds the directory, so one that lies there is left over.
pub(in crate::node) fn bind(dir: &DataDir) -> io::Result<UnixListener> {
    let path = SocketPath::of(dir.path())?;
    remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes the socket away, while the directory is still held.
pub(in crate::node) fn unbind(dir: &DataDir) {
    let removed = SocketPath::of(dir.path()).and_then(|path| remove(&path));
    if let Err(error) = removed {
        tracing::warn!(%error, "the control socket was left behind");
    }
}

fn remove(path: &SocketPath) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Control {
    /// Serves the socket until `shutdown`.
    pub(in crate::node) async fn serve(self, listener: UnixListener, shutdown: CancellationToken) {
        let room = Arc::new(Semaphore::new(PEERS_MAX));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (control, stop) = (self.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        tokio::select! {
                            () = stop.cancelled() => {}
                            _ = control.converse(stream) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// One peer. An error is the peer's end of it: nobody is left to tell.
    async fn converse(self, mut stream: UnixStream) -> io::Result<()> {
        let (peer, own) = (stream.peer_cred()?, rustix::process::geteuid().as_raw());
        if peer.uid() != own && peer.uid() != 0 {
            return refuse(&mut stream, "the control socket is for the node's own user").await;
        }
        let request = match tokio::time::timeout(REQUEST_TIMEOUT, read(&mut stream)).await {
            Ok(Ok(line)) => serde_json::from_slice::<Request>(&line).map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no request came in time".to_owned()),
        };
        match request {
            Ok(Request::Inspect(query)) => {
                let answer = self.inspect(query).await;
                stream.write_all(&answer.line()).await
            }
            Ok(Request::ExportCounters(wanted)) => {
                counters::send_lines(&self.engine, (self.clock)(), wanted, &mut stream).await
            }
            Ok(Request::ImportCounters(how)) => {
                counters::receive_lines(&self.engine, &self.clock, how, &mut stream).await
            }
            Ok(Request::Backup(_)) => self.backups.serve(&self.engine, stream).await,
            // What another user's process wrote into the directory, root's included, this one's next start could not
            // read.
            Ok(Request::TakeOver(_)) if peer.uid() != own => {
                refuse(&mut stream, "only a process of the node's own user can take over").await
            }
            Ok(Request::Explain(question)) => {
                let Question { call, options } = question;
                let explanation = crate::http::explain(&self.engine, &call, &options, (self.clock)());
                stream.write_all(&Answer::Ok(explanation).line()).await
            }
            Ok(Request::TakeOver(asked)) => match Successor::new(stream, asked, peer.pid()) {
                Ok(successor) => self.introduce(successor).await,
                Err((mut stream, reason)) => refuse(&mut stream, &reason).await,
            },
            Err(reason) => refuse(&mut stream, &format!("not a request: {reason}")).await,
        }
    }

    async fn inspect(&self, query: Query) -> Answer<Report> {
        let (engine, clock) = (Arc::clone(&self.engine), self.clock.clone());
        // A catalog may have a million applications to count.
        let reported = tokio::task::spawn_blocking(move || Report::of(&engine, clock(), &query, true)).await;
        match reported {
            Ok(Ok(report)) => Answer::Ok(report),
            Ok(Err(error)) => Answer::Error(error.to_string()),
            Err(_) => Answer::Error("the report could not be made".to_owned()),
        }
    }

    /// Leads a successor to whoever runs the node; one at a time.
    async fn introduce(&self, successor: Successor) -> io::Result<()> {
        match self.successors.try_send(successor) {
            Ok(()) => Ok(()),
            Err(
                mpsc::error::TrySendError::Full(successor) | mpsc::error::TrySendError::Closed(successor),
            ) => refuse(&mut successor.into_stream(), "the node is being handed over or is stopping").await,
        }
    }
}

/// Reads one line. Nothing may follow it before it was answered, so nothing that follows is lost.
async fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX as u64)).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") {
        return Ok(line);
    }
    let reason = format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

async fn refuse(stream: &mut UnixStream, reason: &str) -> io::Result<()> {
    stream.write_all(&Answer::<()>::Error(reason.to_owned()).line()).await
}
