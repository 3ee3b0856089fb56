//! The pieces that a checkpoint is cut into: an envelope of our own around a pressed run.
//!
//! ```text
//! key       the kind's letter ('a' catalog, 'c' counters), then the index as 8 hex digits: keys sort as written
//! envelope  0  version u8        1  kind u8 (1 catalog, 2 counters)    2  zero u16
//!           4  index u32         8  crc32 u32 over the generation (u64), bytes 0 to 8 and the body
//!          12  body
//! catalog   version 2: a run (`pressed`) of any part of the catalog's byte stream;
//!           version 1 is read: the bytes themselves
//! counters  version 3: a run of `compact` subjects;
//!           versions 2 and 1 are read: rkyv archives (little-endian, unaligned, 32-bit pointers) of
//!           `packed::CounterPiece` and, before there were reservations, `packed::CounterPieceV1`
//! ```
//!
//! A piece, envelope included, has at most [`PIECE_BYTES_MAX`] bytes, so that none of sled's nodes grows beyond
//! what it keeps in its log; what is pressed into it has at most [`RUN_BYTES_MAX`]. A subject whose counters do not fit
//! goes on in the next piece. The generation is part of the sum, so that a piece of another checkpoint does not pass.

use super::compact;
use super::error::StoreError;
use super::packed;
use super::pressed::{Press, Pressed, expand};
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use crate::model::time::Minute;

pub use super::pressed::RUN_BYTES_MAX;

/// The most bytes a piece has, envelope included.
pub const PIECE_BYTES_MAX: usize = 4096;

/// The version in which each kind is written, and the greatest that is read.
const CATALOG_VERSION: u8 = 2;
const COUNTERS_VERSION: u8 = 3;
const ENVELOPE_LEN: usize = 12;
const CRC: usize = 8;
const CATALOG: u8 = 1;
const COUNTERS: u8 = 2;

/// The most bytes of a piece's body.
pub(super) const BODY_BYTES_MAX: usize = PIECE_BYTES_MAX - ENVELOPE_LEN;

/// Why a piece is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// It is too short or too long.
    #[error("its length is impossible")]
    Length,
    /// The checksum differs, or it belongs to another place.
    #[error("its checksum does not match its place and content")]
    Checksum,
    /// A newer release wrote it.
    #[error("its version or kind is not known to this release")]
    Unknown,
    /// The envelope is whole, but the archive in it is not.
    #[error("its content is not a valid archive")]
    Content,
    /// It is not there, or one too many is.
    #[error("it is missing, or not one of those that were written")]
    Missing,
    /// A subject that should go on in it does not, or ends nowhere.
    #[error("a subject that is spread over pieces does not fit together")]
    Spread,
}

/// A piece, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A part of the catalog's byte stream.
    Catalog(Vec<u8>),
    /// Counters that include the effects of the journal up to `stamp`.
    Counters {
        /// The last sequence whose effects they include.
        stamp: Sequence,
        /// The subjects, or parts of them.
        subjects: Vec<SubjectImage>,
        /// Whether the last subject goes on in the next piece.
        goes_on: bool,
    },
}

impl Piece {
    /// The stream that it belongs to.
    pub(super) fn stream(&self) -> Stream {
        match self {
            Piece::Catalog(_) => Stream::Catalog,
            Piece::Counters { .. } => Stream::Counters,
        }
    }
}

/// Which of the two streams of pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Catalog,
    Counters,
}

impl Stream {
    /// Version and kind of its pieces.
    fn marks(self) -> [u8; 2] {
        match self {
            Stream::Catalog => [CATALOG_VERSION, CATALOG],
            Stream::Counters => [COUNTERS_VERSION, COUNTERS],
        }
    }

    /// The key of the piece with that index.
    pub(super) fn key(self, index: u32) -> String {
        let letter = if self == Stream::Catalog { 'a' } else { 'c' };
        format!("{letter}{index:08x}")
    }
}

fn crc(generation: u64, index: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(index);
    hasher.update(body);
    hasher.finalize()
}

/// Puts `body` into an envelope.
pub(super) fn seal(generation: u64, stream: Stream, index: u32, body: &[u8]) -> Vec<u8> {
    seal_as(generation, stream.marks(), index, body)
}

pub(super) fn seal_as(generation: u64, [version, kind]: [u8; 2], index: u32, body: &[u8]) -> Vec<u8> {
    let mut piece = Vec::with_capacity(ENVELOPE_LEN + body.len());
    piece.extend([version, kind, 0, 0]);
    piece.extend(index.to_le_bytes());
    piece.extend(crc(generation, &piece, body).to_le_bytes());
    piece.extend_from_slice(body);
    piece
}

/// Decodes the piece that lies under that index in a checkpoint of that generation.
///
/// # Errors
/// Says what is wrong. No content makes it panic.
pub fn decode_piece(generation: u64, index: u32, piece: &[u8]) -> Result<Piece, PieceError> {
    let envelope: &[u8; ENVELOPE_LEN] = piece.first_chunk().ok_or(PieceError::Length)?;
    let body = &piece[ENVELOPE_LEN..];
    if body.len() > BODY_BYTES_MAX {
        return Err(PieceError::Length);
    }
    let [version, kind, z0, z1, i0, i1, i2, i3, c0, c1, c2, c3] = *envelope;
    let matches = crc(generation, &envelope[..CRC], body) == u32::from_le_bytes([c0, c1, c2, c3]);
    if !matches || u32::from_le_bytes([i0, i1, i2, i3]) != index {
        return Err(PieceError::Checksum);
    }
    match (version, kind, z0, z1) {
        (CATALOG_VERSION, CATALOG, 0, 0) => expand(body).map(Piece::Catalog),
        (COUNTERS_VERSION, COUNTERS, 0, 0) => compact::decode(&expand(body)?),
        (1, CATALOG, 0, 0) => Ok(Piece::Catalog(body.to_vec())),
        (2, COUNTERS, 0, 0) => packed::unpack(body),
        (1, COUNTERS, 0, 0) => packed::unpack_v1(body),
        _ => Err(PieceError::Unknown),
    }
}

/// Packs subjects into the bodies of as few pieces as follow their order.
pub(super) struct Packer<'p> {
    press: &'p mut Press,
    base: Minute,
    /// What every run begins with.
    head: usize,
    /// A run in the making: its beginning, then parts of subjects.
    run: Vec<u8>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Packer<'_> {
    /// Begins pieces of counters that include the journal up to `stamp`; minutes are told from `base`, so it should be
    /// near to them.
    pub(super) fn new(press: &mut Press, stamp: Sequence, base: Minute) -> Packer<'_> {
        let mut run = Vec::new();
        compact::begin(&mut run, stamp, base);
        Packer { press, base, head: run.len(), run, ends: Vec::new() }
    }

    /// Adds a subject; hands each body that is full to `emit`.
    pub(super) fn push<E: From<StoreError>>(
        &mut self,
        image: &SubjectImage,
        mut emit: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        compact::encode(&mut self.run, self.base, image, &mut self.ends);
        while self.run.len() >= self.press.goal() {
            emit(self.press()?)?;
        }
        Ok(())
    }

    /// Hands what is left to `emit`.
    pub(super) fn flush<E: From<StoreError>>(
        mut self,
        mut emit: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.ends.is_empty() {
            emit(self.press()?)?;
        }
        Ok(())
    }

    fn press(&mut self) -> Result<Vec<u8>, StoreError> {
        let ends = &self.ends;
        let cut = |at| ends[ends.partition_point(|end| *end <= at).saturating_sub(1)];
        let Pressed { body, taken } = self.press.press(&self.run, cut)?;
        self.run.drain(self.head..taken);
        self.ends.retain(|end| *end > taken);
        self.ends.iter_mut().for_each(|end| *end -= taken - self.head);
        Ok(body)
    }
}

/// Puts subjects that were spread over pieces together again.
#[derive(Default)]
pub(super) struct Joiner {
    begun: Option<(Sequence, SubjectImage)>,
}

impl Joiner {
    /// Takes the next piece and returns the subjects that are complete with it.
    pub(super) fn take(
        &mut self,
        stamp: Sequence,
        mut subjects: Vec<SubjectImage>,
        goes_on: bool,
    ) -> Result<Vec<SubjectImage>, PieceError> {
        if let Some((begun_stamp, mut begun)) = self.begun.take() {
            let part = subjects.first_mut().ok_or(PieceError::Spread)?;
            if begun_stamp != stamp {
                return Err(PieceError::Spread);
            }
            // The whole takes the place of its last part.
            std::mem::swap(part, &mut begun);
            compact::join(part, begun)?;
        }
        if goes_on {
            let last = subjects.pop().ok_or(PieceError::Spread)?;
            self.begun = Some((stamp, last));
        }
        Ok(subjects)
    }

    /// Whether a subject still waits for its end.
    pub(super) fn finish(&self) -> Result<(), PieceError> {
        if self.begun.is_none() { Ok(()) } else { Err(PieceError::Spread) }
    }
}
