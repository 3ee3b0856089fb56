//! The past: ids that are not in memory any more. The engine asks; who keeps them is not its business.

use crate::model::idempotency::{IdKey, Remembered};

/// Ids that were sealed, wherever they are kept.
pub trait Past: Send + Sync {
    /// What is remembered of an id. May read one block of a file. What it finds may be older than the horizon.
    ///
    /// # Errors
    /// It cannot be read: then it is not known whether the id was used.
    fn find(&self, key: &IdKey) -> Result<Option<Remembered>, PastError>;

    /// How many ids it holds.
    fn len(&self) -> u64;

    /// Whether it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that changes whenever ids come or go.
    fn epoch(&self) -> u64;
}

/// Sealed ids cannot be read. What was asked is in the log of whoever keeps them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("ids on disk cannot be read: {0}")]
pub struct PastError(pub String);

/// A past without ids.
pub(super) struct Nothing;

impl Past for Nothing {
    fn find(&self, _: &IdKey) -> Result<Option<Remembered>, PastError> {
        Ok(None)
    }

    fn len(&self) -> u64 {
        0
    }

    fn epoch(&self) -> u64 {
        0
    }
}
