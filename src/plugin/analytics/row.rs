//! A row of history: what an application, or a service as a whole, used in the hours of one day.
//!
//! ```text
//! row   = version 1, then per slot, ascending: varint slot, u24 little-endian (a bit per hour that is not 0), per bit, ascending: zigzag amount
//! ```

use std::collections::BTreeMap;

use crate::journal::varint::{self, Reader};

/// How many hours a day has: days are UTC's.
pub(super) const HOURS: u32 = 24;

const VERSION: u8 = 1;

/// Amounts by slot and hour.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Row(BTreeMap<u32, [i64; HOURS as usize]>);

impl Row {
    /// What was used of a slot, by hour.
    #[cfg(test)]
    pub(super) fn hours(&self, slot: u32) -> Option<&[i64; HOURS as usize]> {
        self.0.get(&slot)
    }

    /// The amount of a slot and hour, which is less than [`HOURS`].
    pub(super) fn cell(&mut self, slot: u32, hour: u32) -> &mut i64 {
        &mut self.0.entry(slot).or_default()[(hour % HOURS) as usize]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for (slot, hours) in self.0.iter().filter(|(_, hours)| hours.iter().any(|it| *it != 0)) {
            varint::put(&mut out, u64::from(*slot));
            let used = (0..HOURS).zip(hours).filter(|(_, amount)| **amount != 0);
            let mask = used.clone().fold(0_u32, |mask, (hour, _)| mask | 1 << hour);
            out.extend_from_slice(&mask.to_le_bytes()[..3]);
            used.for_each(|(_, amount)| varint::put_signed(&mut out, *amount));
        }
        out
    }

    /// The row of these bytes.
    ///
    /// # Errors
    /// They are none, or of a newer version; says why.
    pub(super) fn decode(bytes: &[u8]) -> Result<Row, NoRow> {
        let mut row = Row::default();
        read(bytes, |slot, hour, amount| *row.cell(slot, hour) = amount)?;
        Ok(row)
    }

    /// Shows `visit` the hours of one slot in a row's bytes, without making anything of the others.
    ///
    /// # Errors
    /// As [`Row::decode`].
    pub(super) fn each_of(bytes: &[u8], slot: u32, mut visit: impl FnMut(u32, i64)) -> Result<(), NoRow> {
        read(bytes, |of, hour, amount| {
            if of == slot {
                visit(hour, amount);
            }
        })
    }
}

/// The bytes are no row that this release knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoRow {
    #[error("version {0} is not known to this release; a newer one must have written it")]
    Version(u8),
    #[error("it ends too soon")]
    Empty,
    #[error(transparent)]
    Cut(#[from] crate::journal::entry::DecodeError),
}

fn read(bytes: &[u8], mut visit: impl FnMut(u32, u32, i64)) -> Result<(), NoRow> {
    let (version, rest) = bytes.split_first().ok_or(NoRow::Empty)?;
    if *version != VERSION {
        return Err(NoRow::Version(*version));
    }
    let mut reader = Reader::new(rest);
    while reader.left() > 0 {
        let slot = reader.narrow()?;
        let [low, middle, high] = reader.array()?;
        let mask = u32::from_le_bytes([low, middle, high, 0]);
        for hour in (0..HOURS).filter(|hour| mask >> hour & 1 == 1) {
            visit(slot, hour, reader.signed()?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_row_of_version_1_stays_readable() {
        let mut row = Row::default();
        *row.cell(3, 0) = 1;
        *row.cell(3, 23) = -2;
        *row.cell(200, 8) = 300;
        *row.cell(7, 1) = 0;
        let bytes = [1, 3, 1, 0, 0x80, 2, 3, 0xC8, 1, 0, 1, 0, 0xD8, 4];
        assert_eq!(row.encode(), bytes);
        let read = Row::decode(&bytes).unwrap();
        assert_eq!((read.hours(3).unwrap()[23], read.hours(7)), (-2, None));
        assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn what_is_no_row_is_told() {
        assert_eq!(Row::decode(&[]), Err(NoRow::Empty));
        assert_eq!(Row::decode(&[2]), Err(NoRow::Version(2)));
        assert!(matches!(Row::decode(&[1, 3, 1, 0]), Err(NoRow::Cut(_))));
        assert!(matches!(Row::decode(&[1, 3, 1, 0, 0]), Err(NoRow::Cut(_))));
        assert_eq!(Row::decode(&[1]), Ok(Row::default()));
    }

    proptest! {
        #[test]
        fn rows_read_as_they_were_written(cells in prop::collection::vec((any::<u32>(), 0..HOURS, any::<i64>()), 0..40)) {
            let mut row = Row::default();
            for (slot, hour, amount) in &cells {
                *row.cell(*slot, *hour) = *amount;
            }
            let bytes = row.encode();
            let mut read = Row::decode(&bytes).unwrap();
            for (slot, hour, _) in &cells {
                let amount = *row.cell(*slot, *hour);
                prop_assert_eq!(*read.cell(*slot, *hour), amount);
                let mut seen = 0;
                Row::each_of(&bytes, *slot, |at, amount| if at == *hour { seen = amount }).unwrap();
                prop_assert_eq!(seen, amount);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Row::decode(&bytes);
        }
    }
}
