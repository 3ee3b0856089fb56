//! Counters as the run of a piece has them, before it is pressed: version 3.
//!
//! ```text
//! run        varint stamp, varint base minute, then subjects to the end
//! subject    varint application, varint head, then what the head says is there:
//!            bit 0 of it: what follows goes on the same subject; bit 1: amounts wait; bit 2: there are reservations;
//!            from bit 3 on: how many cells
//! cell       zigzag slot - slot of the cell before (the first: - 0), zigzag minute - base,
//!            then for each period, eternity first, zigzag count - count of the period before (the first: - 0), modulo 2^64
//! waiting    varint number, then each: varint 2 * slot + (0 adds, 1 sets), zigzag dated - base,
//!            zigzag counted - base, varint amount
//! holds      varint number, then each: varint id, varint number of amounts, each: varint slot, varint amount
//! ```
//!
//! Varints are the journal's. Counts of neighbouring periods are often equal, and most are small: a cell takes a dozen
//! bytes where memory has 64. A subject of more than [`PART_ITEMS_MAX`] cells, amounts that wait and amounts held lies in
//! several parts, so that each part fits a piece whatever the numbers are; the next part of a subject is what follows, be it
//! in the next piece. Of a reservation that is cut in two both halves name the id.

use super::packed::join_holds;
use super::piece::{Piece, PieceError};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::journal::entry::DecodeError;
use crate::journal::varint::{Reader, put, put_signed};
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::{Minute, Period};

/// The most cells, amounts that wait and amounts held that a part has, together. Each takes at most 80 bytes.
pub(super) const PART_ITEMS_MAX: usize = 48;

const GOES_ON: u64 = 1;
const WAITS: u64 = 1 << 1;
const HOLDS: u64 = 1 << 2;
const CELLS: u32 = 3;

/// What each takes at least.
const CELL_LEN_MIN: usize = 2 + Period::COUNT;
const WAITING_LEN_MIN: usize = 4;
const HOLD_LEN_MIN: usize = 2;

/// What comes before the subjects of a run.
pub(super) fn begin(out: &mut Vec<u8>, stamp: Sequence, base: Minute) {
    put(out, stamp.0);
    put(out, base.0.into());
}

/// What of a subject is in a part, or still to come.
struct Rest<'a> {
    cells: &'a [CellImage],
    waiting: &'a [WaitingImage],
    holds: &'a [HoldImage],
    /// How many amounts of the first of `holds` are in an earlier part.
    held: usize,
}

/// Appends the parts of a subject, and where each ends to `ends`.
pub(super) fn encode(out: &mut Vec<u8>, base: Minute, image: &SubjectImage, ends: &mut Vec<usize>) {
    let SubjectImage { application, cells, waiting, holds } = image;
    let mut rest = Rest { cells, waiting, holds, held: 0 };
    loop {
        let mut room = PART_ITEMS_MAX;
        // Each sort begins only after the last of the one before.
        let cells = take(&mut rest.cells, &mut room);
        let waiting = take(&mut rest.waiting, &mut room);
        let mut held = Vec::new();
        while let Some((hold, more)) = rest.holds.split_first().filter(|_| room > 0) {
            let mut amounts = &hold.amounts[rest.held..];
            // One that holds nothing takes room as well.
            let some = take(&mut amounts, &mut room);
            room -= usize::from(some.is_empty());
            held.push((hold.id, some));
            if amounts.is_empty() {
                (rest.holds, rest.held) = (more, 0);
            } else {
                rest.held += some.len();
            }
        }
        let goes_on = !rest.cells.is_empty() || !rest.waiting.is_empty() || !rest.holds.is_empty();
        put(out, application.0);
        let head = if goes_on { GOES_ON } else { 0 }
            | if waiting.is_empty() { 0 } else { WAITS }
            | if held.is_empty() { 0 } else { HOLDS };
        put(out, head | (cells.len() as u64) << CELLS);
        put_cells(out, base, cells);
        put_waiting(out, base, waiting);
        put_holds(out, &held);
        ends.push(out.len());
        if !goes_on {
            return;
        }
    }
}

/// Takes as many as there is room for.
fn take<'a, T>(all: &mut &'a [T], room: &mut usize) -> &'a [T] {
    let (now, later) = all.split_at(all.len().min(*room));
    *room -= now.len();
    *all = later;
    now
}

fn put_cells(out: &mut Vec<u8>, base: Minute, cells: &[CellImage]) {
    let mut slot = 0;
    for cell in cells {
        put_signed(out, i64::from(cell.slot.0) - i64::from(slot));
        put_signed(out, i64::from(cell.minute.0) - i64::from(base.0));
        slot = cell.slot.0;
        let mut before = 0;
        for count in cell.counts {
            put_signed(out, count.wrapping_sub(before).cast_signed());
            before = count;
        }
    }
}

fn put_waiting(out: &mut Vec<u8>, base: Minute, waiting: &[WaitingImage]) {
    if waiting.is_empty() {
        return;
    }
    put(out, waiting.len() as u64);
    for item in waiting {
        let sets = matches!(item.effect, Effect::Set(_));
        put(out, u64::from(item.slot.0) << 1 | u64::from(sets));
        put_signed(out, i64::from(item.dated.0) - i64::from(base.0));
        put_signed(out, i64::from(item.counted.0) - i64::from(base.0));
        put(out, item.effect.amount());
    }
}

fn put_holds(out: &mut Vec<u8>, holds: &[(ReservationId, &[(MetricSlot, u64)])]) {
    if holds.is_empty() {
        return;
    }
    put(out, holds.len() as u64);
    for (id, amounts) in holds {
        put(out, id.0);
        put(out, amounts.len() as u64);
        for (slot, amount) in *amounts {
            put(out, slot.0.into());
            put(out, *amount);
        }
    }
}

/// Decodes a run.
pub(super) fn decode(run: &[u8]) -> Result<Piece, PieceError> {
    let mut reader = Reader::new(run);
    let stamp = Sequence(reader.varint()?);
    let base = reader.narrow()?;
    let mut subjects: Vec<SubjectImage> = Vec::new();
    let mut goes_on = false;
    while reader.left() > 0 {
        let (image, more) = decode_part(&mut reader, base)?;
        match subjects.last_mut().filter(|_| goes_on) {
            Some(begun) => join(begun, image)?,
            None => subjects.push(image),
        }
        goes_on = more;
    }
    Ok(Piece::Counters { stamp, subjects, goes_on })
}

/// Puts the next part of a subject to what there is of it.
pub(super) fn join(begun: &mut SubjectImage, mut part: SubjectImage) -> Result<(), PieceError> {
    if begun.application != part.application {
        return Err(PieceError::Spread);
    }
    begun.cells.append(&mut part.cells);
    begun.waiting.append(&mut part.waiting);
    join_holds(&mut begun.holds, part.holds);
    Ok(())
}

fn decode_part(reader: &mut Reader<'_>, base: u32) -> Result<(SubjectImage, bool), PieceError> {
    let application = ApplicationId(reader.varint()?);
    let head = reader.varint()?;
    let cells = usize::try_from(head >> CELLS).map_err(|_| PieceError::Content)?;
    if cells > reader.left() / CELL_LEN_MIN {
        return Err(PieceError::Content);
    }
    let mut image = SubjectImage::empty(application);
    image.cells = decode_cells(reader, base, cells)?;
    if head & WAITS != 0 {
        let number = reader.count(WAITING_LEN_MIN)?;
        image.waiting = (0..number).map(|_| decode_waiting(reader, base)).collect::<Result<_, _>>()?;
    }
    if head & HOLDS != 0 {
        let number = reader.count(HOLD_LEN_MIN)?;
        image.holds = (0..number).map(|_| decode_hold(reader)).collect::<Result<_, _>>()?;
    }
    Ok((image, head & GOES_ON != 0))
}

fn decode_cells(reader: &mut Reader<'_>, base: u32, number: usize) -> Result<Vec<CellImage>, DecodeError> {
    let mut cells = Vec::with_capacity(number);
    let mut slot = 0;
    for _ in 0..number {
        slot = reader.relative(slot)?;
        let minute = Minute(reader.relative(base)?);
        let mut counts = [0; Period::COUNT];
        let mut before = 0_u64;
        for count in &mut counts {
            before = before.wrapping_add(reader.signed()?.cast_unsigned());
            *count = before;
        }
        cells.push(CellImage { slot: MetricSlot(slot), minute, counts });
    }
    Ok(cells)
}

fn decode_waiting(reader: &mut Reader<'_>, base: u32) -> Result<WaitingImage, PieceError> {
    let code = reader.varint()?;
    let slot = MetricSlot(u32::try_from(code >> 1).map_err(|_| PieceError::Content)?);
    let (dated, counted) = (Minute(reader.relative(base)?), Minute(reader.relative(base)?));
    let amount = reader.varint()?;
    let effect = if code & 1 == 0 { Effect::Add(amount) } else { Effect::Set(amount) };
    Ok(WaitingImage { slot, dated, counted, effect })
}

fn decode_hold(reader: &mut Reader<'_>) -> Result<HoldImage, DecodeError> {
    let id = ReservationId(reader.varint()?);
    let number = reader.count(HOLD_LEN_MIN)?;
    let amount = |_| Ok::<_, DecodeError>((MetricSlot(reader.narrow()?), reader.varint()?));
    Ok(HoldImage { id, amounts: (0..number).map(amount).collect::<Result<_, _>>()? })
}

impl From<DecodeError> for PieceError {
    /// Where in the run it goes wrong is of no use to anybody: the sum of the piece holds, so it was written so.
    fn from(_: DecodeError) -> Self {
        PieceError::Content
    }
}
