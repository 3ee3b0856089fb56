//! What can go wrong with checkpoints.

use super::piece::PieceError;
use std::io;
use std::path::Path;

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("checkpoint: cannot {verb} {file}: {source}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        file: String,
        /// What came of it.
        source: io::Error,
    },
    /// sled refused, or panicked and was contained.
    #[error("checkpoint: sled cannot {verb} {file}: {reason}")]
    Sled {
        /// What was tried.
        verb: &'static str,
        /// On which database.
        file: String,
        /// What it said.
        reason: String,
    },
    /// A file is not what was written.
    #[error("checkpoint: {file} is damaged: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A piece inside a database is not what was written.
    #[error("checkpoint: piece {key} in {file} is damaged: {source}")]
    Piece {
        /// The database.
        file: String,
        /// The key of the piece.
        key: String,
        /// What is wrong with it.
        source: PieceError,
    },
    /// Counters could not be packed.
    #[error("checkpoint: counters cannot be packed into a piece: {0}")]
    Pack(#[from] PieceError),
    /// A newer release wrote it.
    #[error("checkpoint: {file} has format {version}, which this release does not know")]
    Format {
        /// The file.
        file: String,
        /// The version it claims.
        version: u16,
    },
    /// There are generations, but none can be read.
    #[error("checkpoint: no generation in {directory} is whole; the newest: {newest}")]
    NoneWhole {
        /// Where they are.
        directory: String,
        /// What is wrong with the first that was tried.
        newest: Box<StoreError>,
    },
    /// A piece came out longer than it was planned.
    #[error("checkpoint: a piece of {len} bytes exceeds the most that one may have, {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit, [`super::PIECE_BYTES_MAX`].
        max: usize,
    },
}

impl StoreError {
    /// Whether it is about one generation, so that an older one may serve; as opposed to a system that refuses, and to
    /// what a newer release wrote: to fall back would lose what that knew.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            // What cannot be read is damaged; this is the copy that cannot be written, whatever it is a copy of.
            StoreError::Io { .. } => false,
            // The sum holds, so somebody knew that version.
            StoreError::Format { .. } | StoreError::Piece { source: PieceError::Unknown, .. } => false,
            _ => true,
        }
    }

    pub(super) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let file = file.display().to_string();
        move |source| StoreError::Io { verb, file, source }
    }

    pub(super) fn damaged(file: &Path, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { file: file.display().to_string(), reason: reason.into() }
    }
}
