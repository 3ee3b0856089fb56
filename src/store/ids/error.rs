//! What can go wrong with slices of ids.

use std::io;

use crate::journal::Sequence;

/// Why slices could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdsError {
    /// The operating system refused.
    #[error("ids: cannot {verb} {file}: {source}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        file: String,
        /// What came of it.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("ids: {file} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A release with another format wrote it.
    #[error("ids: {file} has format {version}, which this release does not know")]
    Format {
        /// The file.
        file: String,
        /// The version it claims.
        version: u16,
    },
    /// Another node wrote it.
    #[error("ids: {file} was written by another node")]
    OtherNode {
        /// The file.
        file: String,
    },
    /// Slices are missing whose ids are still to be known.
    #[error(
        "ids: no slice has what follows {after} and comes before {file}, where ids are still within the horizon"
    )]
    Gap {
        /// The last sequence that is covered before the gap.
        after: Sequence,
        /// The first slice after it.
        file: String,
    },
    /// Two slices cover the same sequences, and neither is part of the other.
    #[error("ids: {file} and {other} overlap")]
    Overlap {
        /// The one that begins first.
        file: String,
        /// The other.
        other: String,
    },
    /// A slice was to be added that does not follow what is covered.
    #[error("ids: a slice up to {to} cannot follow what is covered, {covered}")]
    NotAfter {
        /// What the slices cover.
        covered: Sequence,
        /// Where the slice was to end.
        to: Sequence,
    },
    /// A merge was told to stop.
    #[error("ids: a merge was given up")]
    Stopped,
    /// Ids were to be written out of order. The writer's caller sorts them, so this is a defect.
    #[error("ids: {file} was given ids that are not in ascending order")]
    Order {
        /// The slice.
        file: String,
    },
}

impl IdsError {
    pub(super) fn io(verb: &'static str, file: &str) -> impl FnOnce(io::Error) -> IdsError {
        let file = file.to_owned();
        move |source| IdsError::Io { verb, file, source }
    }

    pub(super) fn damaged(file: &str, offset: u64, reason: &'static str) -> IdsError {
        IdsError::Damaged { file: file.to_owned(), offset, reason }
    }
}
