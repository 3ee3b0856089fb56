//! What is kept beside the journal: checkpoints, so that opening does not replay from the beginning.
//!
//! Only this module names sled.

pub mod checkpoint;
mod error;
mod files;
mod generation;
mod manifest;
mod piece;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointWriter, Finished, PassedOver, open_latest, open_latest_in};
pub use error::StoreError;
pub use manifest::Meta;
pub use piece::{PIECE_BYTES_MAX, Piece, PieceError, decode_piece};
