//! Counters as earlier releases wrote them, packed by rkyv: versions 1 and 2. They are read, and no longer written.
//! Names do not reach the disk; order and types do.

use super::piece::{Piece, PieceError};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::{Minute, Period};
use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

/// The slot of no counter: none has so high a one.
const NO_SLOT: u32 = u32::MAX;

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct CounterPiece {
    pub(super) stamp: u64,
    pub(super) subjects: Vec<PackedSubject>,
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PackedSubject {
    pub(super) application: u64,
    /// 1 if the subject goes on in the next piece, else 0.
    pub(super) goes_on: u8,
    pub(super) cells: Vec<PackedCell>,
    pub(super) waiting: Vec<PackedWaiting>,
    pub(super) holds: Vec<PackedHold>,
}

/// One amount that a reservation holds; rows of the same reservation follow each other. One that holds nothing has one
/// row, of [`NO_SLOT`].
#[derive(Archive, Serialize, Deserialize, Clone)]
pub(super) struct PackedHold {
    id: u64,
    slot: u32,
    amount: u64,
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct CounterPieceV1 {
    pub(super) stamp: u64,
    subjects: Vec<PackedSubjectV1>,
}

/// Before there were reservations.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PackedSubjectV1 {
    pub(super) application: u64,
    pub(super) goes_on: u8,
    pub(super) cells: Vec<PackedCell>,
    pub(super) waiting: Vec<PackedWaiting>,
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PackedCell {
    slot: u32,
    minute: u32,
    counts: [u64; Period::COUNT],
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PackedWaiting {
    slot: u32,
    dated: u32,
    counted: u32,
    /// 0 adds, 1 sets.
    effect: u8,
    amount: u64,
}

impl From<PackedCell> for CellImage {
    fn from(cell: PackedCell) -> Self {
        CellImage { slot: MetricSlot(cell.slot), minute: Minute(cell.minute), counts: cell.counts }
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

impl From<PackedSubjectV1> for PackedSubject {
    fn from(subject: PackedSubjectV1) -> Self {
        let PackedSubjectV1 { application, goes_on, cells, waiting } = subject;
        PackedSubject { application, goes_on, cells, waiting, holds: Vec::new() }
    }
}

/// Appends reservations, of which the first may be the rest of the last there is.
pub(super) fn join_holds(holds: &mut Vec<HoldImage>, more: Vec<HoldImage>) {
    for mut hold in more {
        match holds.last_mut().filter(|last| last.id == hold.id) {
            Some(last) => last.amounts.append(&mut hold.amounts),
            None => holds.push(hold),
        }
    }
}

fn holds_of(rows: Vec<PackedHold>) -> Vec<HoldImage> {
    let mut holds = Vec::new();
    for PackedHold { id, slot, amount } in rows {
        let amounts = if slot == NO_SLOT { Vec::new() } else { vec![(MetricSlot(slot), amount)] };
        join_holds(&mut holds, vec![HoldImage { id: ReservationId(id), amounts }]);
    }
    holds
}

/// Unpacks a body of the version that is written.
pub(super) fn unpack(body: &[u8]) -> Result<Piece, PieceError> {
    let packed = rkyv::from_bytes::<CounterPiece, rancor::Failure>(body).map_err(|_| PieceError::Content)?;
    piece_of(packed.stamp, packed.subjects)
}

/// Unpacks a body of version 1.
pub(super) fn unpack_v1(body: &[u8]) -> Result<Piece, PieceError> {
    let packed =
        rkyv::from_bytes::<CounterPieceV1, rancor::Failure>(body).map_err(|_| PieceError::Content)?;
    piece_of(packed.stamp, packed.subjects.into_iter().map(PackedSubject::from).collect())
}

fn piece_of(stamp: u64, packed: Vec<PackedSubject>) -> Result<Piece, PieceError> {
    let last = packed.len();
    let mut goes_on = false;
    let mut subjects = Vec::with_capacity(last);
    for (at, subject) in packed.into_iter().enumerate() {
        goes_on = match subject.goes_on {
            0 => false,
            1 if at + 1 == last => true,
            _ => return Err(PieceError::Content),
        };
        subjects.push(SubjectImage {
            application: ApplicationId(subject.application),
            cells: subject.cells.into_iter().map(CellImage::from).collect(),
            waiting: subject.waiting.into_iter().map(WaitingImage::try_from).collect::<Result<_, _>>()?,
            holds: holds_of(subject.holds),
        });
    }
    Ok(Piece::Counters { stamp: Sequence(stamp), subjects, goes_on })
}

/// As earlier releases wrote it, for tests that it stays readable.
#[cfg(test)]
pub(super) mod pack {
    use super::*;

    impl From<&CellImage> for PackedCell {
        fn from(cell: &CellImage) -> Self {
            PackedCell { slot: cell.slot.0, minute: cell.minute.0, counts: cell.counts }
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

    /// The rows that reservations are packed into.
    fn rows_of(holds: &[HoldImage]) -> Vec<PackedHold> {
        let mut rows = Vec::new();
        for hold in holds {
            let id = hold.id.0;
            let row = |(slot, amount): &(MetricSlot, u64)| PackedHold { id, slot: slot.0, amount: *amount };
            rows.extend(hold.amounts.iter().map(row));
            if hold.amounts.is_empty() {
                rows.push(PackedHold { id, slot: NO_SLOT, amount: 0 });
            }
        }
        rows
    }

    pub(in crate::store) fn v1(stamp: u64, subjects: &[SubjectImage]) -> Vec<u8> {
        let pack = |image: &SubjectImage| PackedSubjectV1 {
            application: image.application.0,
            goes_on: 0,
            cells: image.cells.iter().map(PackedCell::from).collect(),
            waiting: image.waiting.iter().map(PackedWaiting::from).collect(),
        };
        let piece = CounterPieceV1 { stamp, subjects: subjects.iter().map(pack).collect() };
        rkyv::to_bytes::<rancor::Failure>(&piece).unwrap().to_vec()
    }

    pub(in crate::store) fn v2(stamp: u64, subjects: &[SubjectImage]) -> Vec<u8> {
        let pack = |image: &SubjectImage| PackedSubject {
            application: image.application.0,
            goes_on: 0,
            cells: image.cells.iter().map(PackedCell::from).collect(),
            waiting: image.waiting.iter().map(PackedWaiting::from).collect(),
            holds: rows_of(&image.holds),
        };
        let piece = CounterPiece { stamp, subjects: subjects.iter().map(pack).collect() };
        rkyv::to_bytes::<rancor::Failure>(&piece).unwrap().to_vec()
    }
}
