//! The pieces that a checkpoint is cut into: an envelope of our own around bytes or rkyv-packed counters.
//!
//! ```text
//! key       the kind's letter ('a' catalog, 'c' counters), then the index as 8 hex digits: keys sort as written
//! envelope  0  version u8 (1)    1  kind u8 (1 catalog, 2 counters)    2  zero u16
//!           4  index u32         8  crc32 u32 over the generation (u64), bytes 0 to 8 and the body
//!          12  body
//! catalog   any part of the catalog's byte stream
//! counters  rkyv archive (little-endian, unaligned, 32-bit pointers) of `CounterPiece`
//! ```
//!
//! A piece, envelope included, has at most [`PIECE_BYTES_MAX`] bytes, so that none of sled's nodes grows beyond
//! what it keeps in its log. A subject whose counters do not fit goes on in the next piece. The generation is part
//! of the sum, so that a piece of another checkpoint does not pass.

use crate::counter::snapshot::{CellImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::{Minute, Period};
use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

/// The most bytes a piece has, envelope included.
pub const PIECE_BYTES_MAX: usize = 4096;

const VERSION: u8 = 1;
const ENVELOPE_LEN: usize = 12;
const CRC: usize = 8;
const CATALOG: u8 = 1;
const COUNTERS: u8 = 2;

/// The most bytes of catalog in a piece.
pub(super) const BODY_BYTES_MAX: usize = PIECE_BYTES_MAX - ENVELOPE_LEN;

/// What the parts of a counter piece add to its length; the archive is unaligned, so they are exact.
const PIECE_LEN: usize = 8 + 8;
const SUBJECT_LEN: usize = 8 + 1 + 8 + 8;
const CELL_LEN: usize = 4 + 4 + 8 * Period::COUNT;
const WAITING_LEN: usize = 4 + 4 + 4 + 1 + 8;

#[derive(Archive, Serialize, Deserialize)]
struct CounterPiece {
    stamp: u64,
    subjects: Vec<PackedSubject>,
}

#[derive(Archive, Serialize, Deserialize)]
struct PackedSubject {
    application: u64,
    /// 1 if the subject goes on in the next piece, else 0.
    goes_on: u8,
    cells: Vec<PackedCell>,
    waiting: Vec<PackedWaiting>,
}

#[derive(Archive, Serialize, Deserialize)]
struct PackedCell {
    slot: u32,
    minute: u32,
    counts: [u64; Period::COUNT],
}

#[derive(Archive, Serialize, Deserialize)]
struct PackedWaiting {
    slot: u32,
    dated: u32,
    counted: u32,
    /// 0 adds, 1 sets.
    effect: u8,
    amount: u64,
}

impl From<&CellImage> for PackedCell {
    fn from(cell: &CellImage) -> Self {
        PackedCell { slot: cell.slot.0, minute: cell.minute.0, counts: cell.counts }
    }
}

impl From<PackedCell> for CellImage {
    fn from(cell: PackedCell) -> Self {
        CellImage { slot: MetricSlot(cell.slot), minute: Minute(cell.minute), counts: cell.counts }
    }
}

impl From<&WaitingImage> for PackedWaiting {
    fn from(waiting: &WaitingImage) -> Self {
        let effect = u8::from(matches!(waiting.effect, Effect::Set(_)));
        let amount = waiting.effect.amount();
        let (slot, dated, counted) = (waiting.slot.0, waiting.dated.0, waiting.counted.0);
        PackedWaiting { slot, dated, counted, effect, amount }
    }
}

impl TryFrom<PackedWaiting> for WaitingImage {
    type Error = PieceError;

    fn try_from(waiting: PackedWaiting) -> Result<Self, PieceError> {
        let effect = match waiting.effect {
            0 => Effect::Add(waiting.amount),
            1 => Effect::Set(waiting.amount),
            _ => return Err(PieceError::Content),
        };
        let (slot, dated) = (MetricSlot(waiting.slot), Minute(waiting.dated));
        Ok(WaitingImage { slot, dated, counted: Minute(waiting.counted), effect })
    }
}

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
    fn number(self) -> u8 {
        match self {
            Stream::Catalog => CATALOG,
            Stream::Counters => COUNTERS,
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
    let mut piece = Vec::with_capacity(ENVELOPE_LEN + body.len());
    piece.extend([VERSION, stream.number(), 0, 0]);
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
        (VERSION, CATALOG, 0, 0) => Ok(Piece::Catalog(body.to_vec())),
        (VERSION, COUNTERS, 0, 0) => unpack(body),
        _ => Err(PieceError::Unknown),
    }
}

fn unpack(body: &[u8]) -> Result<Piece, PieceError> {
    let packed: CounterPiece =
        rkyv::from_bytes::<CounterPiece, rancor::Failure>(body).map_err(|_| PieceError::Content)?;
    let last = packed.subjects.len();
    let mut goes_on = false;
    let mut subjects = Vec::with_capacity(last);
    for (at, subject) in packed.subjects.into_iter().enumerate() {
        goes_on = match subject.goes_on {
            0 => false,
            1 if at + 1 == last => true,
            _ => return Err(PieceError::Content),
        };
        subjects.push(SubjectImage {
            application: ApplicationId(subject.application),
            cells: subject.cells.into_iter().map(CellImage::from).collect(),
            waiting: subject.waiting.into_iter().map(WaitingImage::try_from).collect::<Result<_, _>>()?,
            holds: Vec::new(),
        });
    }
    Ok(Piece::Counters { stamp: Sequence(packed.stamp), subjects, goes_on })
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
        let (mut cells, mut waiting) = (image.cells.as_slice(), image.waiting.as_slice());
        let whole = SUBJECT_LEN + cells.len() * CELL_LEN + waiting.len() * WAITING_LEN;
        // A subject that fits one piece is not spread over two.
        if self.len + whole > BODY_BYTES_MAX && !self.piece.subjects.is_empty() {
            self.flush(&mut emit)?;
        }
        loop {
            let mut room = BODY_BYTES_MAX - self.len - SUBJECT_LEN;
            let (now, later) = cells.split_at(cells.len().min(room / CELL_LEN));
            room -= now.len() * CELL_LEN;
            // Waiting usage keeps its order, and begins only after the last cell.
            let fits = if later.is_empty() { waiting.len().min(room / WAITING_LEN) } else { 0 };
            let (now_waiting, later_waiting) = waiting.split_at(fits);
            let goes_on = !later.is_empty() || !later_waiting.is_empty();
            self.len += SUBJECT_LEN + now.len() * CELL_LEN + now_waiting.len() * WAITING_LEN;
            self.piece.subjects.push(PackedSubject {
                application: image.application.0,
                goes_on: u8::from(goes_on),
                cells: now.iter().map(PackedCell::from).collect(),
                waiting: now_waiting.iter().map(PackedWaiting::from).collect(),
            });
            if !goes_on {
                return Ok(());
            }
            (cells, waiting) = (later, later_waiting);
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
