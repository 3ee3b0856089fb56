//! The threads that write: the flusher, and the checkpointer.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::NodeError;
use super::checkpointer::{Checkpointer, Followed, Last};
use super::data_dir::DataDir;
use crate::config::Config;
use crate::engine::Engine;
use crate::journal::JournalError;
use crate::listener::Clock;
use crate::store::ids::Slices;

pub(super) struct Writers {
    engine: Arc<Engine>,
    flusher: JoinHandle<Result<(), JournalError>>,
    checkpointer: Checkpointer,
}

impl Writers {
    /// Starts both. `last` is the checkpoint that was read or made last.
    pub(super) fn start(
        engine: &Arc<Engine>,
        data_dir: &DataDir,
        (last, ids): (Last, Arc<Slices>),
        config: &Config,
        clock: &Clock,
        followed: Followed,
    ) -> Result<Writers, NodeError> {
        let checkpointer = Checkpointer::start(engine, data_dir, (last, ids), config, clock, followed)
            .map_err(|source| NodeError::system("the checkpointer", source))?;
        match spawn_flusher(engine, clock) {
            Ok(flusher) => Ok(Writers { engine: Arc::clone(engine), flusher, checkpointer }),
            Err(source) => {
                checkpointer.stop();
                Err(NodeError::system("the flusher", source))
            }
        }
    }

    /// Ends them; everything counted is on disk then. Waits for the disk.
    pub(super) fn stop(self) -> Result<(), NodeError> {
        self.checkpointer.stop();
        self.engine.stop_flusher();
        self.flusher.join().map_err(|_| panicked())?.map_err(NodeError::LastFlush)
    }
}

/// What is said of a thread that should have flushed.
pub(super) fn panicked() -> NodeError {
    NodeError::system("the last flush", std::io::Error::other("the flusher panicked"))
}

fn spawn_flusher(
    engine: &Arc<Engine>,
    clock: &Clock,
) -> std::io::Result<JoinHandle<Result<(), JournalError>>> {
    let (engine, clock) = (Arc::clone(engine), clock.clone());
    let errors = metrics::counter!("tollgate_flush_errors_total");
    let run = move || {
        engine.run_flusher(
            || clock(),
            |error| {
                errors.increment(1);
                tracing::error!(%error, "usage cannot be written, will try again");
            },
        )
    };
    std::thread::Builder::new().name("flusher".into()).spawn(run)
}
