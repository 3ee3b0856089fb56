//! What can go wrong with a journal.

use super::Sequence;
use super::entry::DecodeError;
use std::io;

/// Why a journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused.
    #[error("journal: cannot {verb} {file}: {source}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        file: String,
        /// What came of it.
        source: io::Error,
    },
    /// What was once synced is not there any more.
    #[error("journal: {file} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// An entry is whole but says nothing that this release understands.
    #[error("journal: entry {sequence} in {file} at offset {offset}: {source}")]
    Entry {
        /// The file.
        file: String,
        /// Where the entry begins.
        offset: u64,
        /// Which entry.
        sequence: Sequence,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The segment was written by a release with another format.
    #[error("journal: {file} has format {version}, which this release does not know")]
    Format {
        /// The file.
        file: String,
        /// The version it claims.
        version: u16,
    },
    /// The segment was written by another node.
    #[error("journal: {file} was written by another node")]
    OtherNode {
        /// The file.
        file: String,
    },
    /// The journal does not have the entries that a checkpoint is to be brought forward with.
    #[error("journal: holds sequences {first} to {last}, but what follows {after} is needed")]
    NotConnected {
        /// The first sequence there is, or would be next.
        first: Sequence,
        /// The last sequence there is.
        last: Sequence,
        /// What the caller has already.
        after: Sequence,
    },
    /// An entry is longer than a journal takes.
    #[error("journal: an entry of {len} bytes exceeds the most that one may have, {max}")]
    TooLong {
        /// Its payload.
        len: usize,
        /// The limit, [`super::ENTRY_BYTES_MAX`].
        max: usize,
    },
}

impl JournalError {
    pub(super) fn io(verb: &'static str, file: impl Into<String>) -> impl FnOnce(io::Error) -> JournalError {
        let file = file.into();
        move |source| JournalError::Io { verb, file, source }
    }

    pub(super) fn damaged(file: &str, offset: u64, reason: impl Into<String>) -> JournalError {
        JournalError::Damaged { file: file.to_owned(), offset, reason: reason.into() }
    }
}

/// Why opening failed: the journal itself, or whoever was shown its entries.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The journal could not be read or continued.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The visitor refused an entry.
    #[error("entry {sequence} of the journal cannot be applied: {error}")]
    Visit {
        /// Which entry.
        sequence: Sequence,
        /// The visitor's reason.
        error: E,
    },
}
