//! What is kept beside the journal: checkpoints, so that opening does not replay from the beginning; slices of
//! idempotency ids; and shelves, on which plugins keep records of their own.
//!
//! Only this module names sled and redb.

mod adopt;
pub mod checkpoint;
mod compact;
#[cfg(test)]
mod crash_tests;
mod error;
mod files;
mod generation;
pub mod ids;
mod manifest;
pub mod open;
mod packed;
mod piece;
#[cfg(test)]
mod piece_tests;
mod pressed;
pub mod shelf;
#[cfg(test)]
mod shelf_memory;
mod survey;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
pub(crate) mod tree_memory;

pub use adopt::adopt_checkpoints;
pub use checkpoint::{CheckpointWriter, Finished};
pub use error::StoreError;
pub use generation::path_of as generation_path;
pub use manifest::Meta;
pub use open::{Checkpoint, Part, PassedOver, open_latest, open_latest_in, open_latest_without};
pub use piece::{PIECE_BYTES_MAX, Piece, PieceError, RUN_BYTES_MAX, decode_piece};
pub use shelf::{Shelf, ShelfError, Table};
pub use survey::{
    CheckpointSurvey, GenerationState, GenerationSurvey, ShelfSurvey, survey_checkpoints, survey_shelf,
};
