//! The pieces that a checkpoint is cut into: an envelope of our own around bytes or rkyv-packed counters.
//!
//! ```text
//! key       the kind's letter ('a' catalog, 'c' counters), then the index as 8 hex digits: keys sort as written
//! envelope  0  version u8        1  kind u8 (1 catalog, 2 counters)    2  zero u16
//!           4  index u32         8  crc32 u32 over the generation (u64), bytes 0 to 8 and the body
//!          12  body
//! catalog   version 1: any part of the catalog's byte stream
//! counters  version 2: rkyv archive (little-endian, unaligned, 32-bit pointers) of `packed::CounterPiece`;
//!           version 1, which knew no reservations, is read: of `packed::CounterPieceV1`
//! ```
//!
//! A piece, envelope included, has at most [`PIECE_BYTES_MAX`] bytes, so that none of sled's nodes grows beyond
//! what it keeps in its log. A subject whose counters do not fit goes on in the next piece. The generation is part
//! of the sum, so that a piece of another checkpoint does not pass.

use super::packed::{self, CELL_LEN, CounterPiece, HOLD_LEN, PIECE_LEN, PackedCell, PackedSubject};
use super::packed::{PackedWaiting, SUBJECT_LEN, WAITING_LEN, join_holds, rows_of};
use crate::counter::snapshot::SubjectImage;
use crate::journal::Sequence;
use rkyv::rancor;

/// The most bytes a piece has, envelope included.
pub const PIECE_BYTES_MAX: usize = 4096;

/// The version in which each kind is written, and the greatest that is read.
const CATALOG_VERSION: u8 = 1;
const COUNTERS_VERSION: u8 = 2;
const ENVELOPE_LEN: usize = 12;
const CRC: usize = 8;
const CATALOG: u8 = 1;
const COUNTERS: u8 = 2;

/// The most bytes of catalog in a piece.
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
        (CATALOG_VERSION, CATALOG, 0, 0) => Ok(Piece::Catalog(body.to_vec())),
        (COUNTERS_VERSION, COUNTERS, 0, 0) => packed::unpack(body),
        (1, COUNTERS, 0, 0) => packed::unpack_v1(body),
        _ => Err(PieceError::Unknown),
    }
}

/// Packs subjects into the bodies of as few pieces as follow their order.
pub(super) struct Packer {
    piece: CounterPiece,
    len: usize,
}

impl Packer {
    pub(super) fn new(stamp: Sequence) -> Packer {
        Packer { piece: CounterPiece { stamp: stamp.0, subjects: Vec::new() }, len: PIECE_LEN }
    }

    /// Adds a subject; hands each body that is full to `emit`.
    pub(super) fn push<E>(
        &mut self,
        image: &SubjectImage,
        mut emit: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<PieceError>,
    {
        let rows = rows_of(&image.holds);
        let (mut cells, mut waiting) = (image.cells.as_slice(), image.waiting.as_slice());
        let mut holds = rows.as_slice();
        let whole =
            SUBJECT_LEN + cells.len() * CELL_LEN + waiting.len() * WAITING_LEN + holds.len() * HOLD_LEN;
        // A subject that fits one piece is not spread over two.
        if self.len + whole > BODY_BYTES_MAX && !self.piece.subjects.is_empty() {
            self.flush(&mut emit)?;
        }
        loop {
            let mut room = BODY_BYTES_MAX - self.len - SUBJECT_LEN;
            // Each sort begins only after the last of the one before.
            let (now, later) = split(cells, CELL_LEN, &mut room);
            let (now_waiting, later_waiting) = split(waiting, WAITING_LEN, &mut room);
            let (now_held, later_held) = split(holds, HOLD_LEN, &mut room);
            let goes_on = !later.is_empty() || !later_waiting.is_empty() || !later_held.is_empty();
            self.len = BODY_BYTES_MAX - room;
            self.piece.subjects.push(PackedSubject {
                application: image.application.0,
                goes_on: u8::from(goes_on),
                cells: now.iter().map(PackedCell::from).collect(),
                waiting: now_waiting.iter().map(PackedWaiting::from).collect(),
                holds: now_held.to_vec(),
            });
            if !goes_on {
                return Ok(());
            }
            (cells, waiting, holds) = (later, later_waiting, later_held);
            self.flush(&mut emit)?;
        }
    }

    /// Hands what is left to `emit`.
    pub(super) fn flush<E>(&mut self, mut emit: impl FnMut(Vec<u8>) -> Result<(), E>) -> Result<(), E>
    where
        E: From<PieceError>,
    {
        if self.piece.subjects.is_empty() {
            return Ok(());
        }
        let body = rkyv::to_bytes::<rancor::Failure>(&self.piece).map_err(|_| PieceError::Content)?;
        self.piece.subjects.clear();
        self.len = PIECE_LEN;
        emit(body.to_vec())
    }
}

/// What fits the room, in order, and what does not; once something does not, nothing does.
fn split<'a, T>(all: &'a [T], len: usize, room: &mut usize) -> (&'a [T], &'a [T]) {
    let (now, later) = all.split_at(all.len().min(*room / len));
    *room = if later.is_empty() { *room - now.len() * len } else { 0 };
    (now, later)
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
            if begun_stamp != stamp || begun.application != part.application {
                return Err(PieceError::Spread);
            }
            begun.cells.append(&mut part.cells);
            begun.waiting.append(&mut part.waiting);
            join_holds(&mut begun.holds, std::mem::take(&mut part.holds));
            *part = begun;
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
