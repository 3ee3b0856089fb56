//! What is kept beside the journal: checkpoints, so that opening does not replay from the beginning, and shelves, on
//! which plugins keep records of their own.
//!
//! Only this module names sled and redb.

pub mod checkpoint;
mod error;
mod files;
mod generation;
pub mod ids;
mod manifest;
mod packed;
mod piece;
pub mod shelf;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
pub(crate) mod tree_memory;

pub use checkpoint::{Checkpoint, CheckpointWriter, Finished, PassedOver, open_latest, open_latest_in};
pub use error::StoreError;
pub use manifest::Meta;
pub use piece::{PIECE_BYTES_MAX, Piece, PieceError, decode_piece};
pub use shelf::{Shelf, ShelfError, Table};
