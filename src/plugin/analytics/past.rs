//! What past hours were, told by a command: history that comes from elsewhere.
//!
//! The command's part for this plugin has a row for each application, slot and day:
//!
//! ```text
//! past  application u64, slot u32, day u32, big-endian: u24 little-endian (a bit per hour that is told), per bit, ascending: zigzag amount
//! ```
//!
//! It says what the hours were, not what is added, so to tell it twice changes nothing.

use super::row::HOURS;
use crate::journal::rows::Rows;
use crate::journal::varint::{self, Reader};
use crate::model::id::{ApplicationId, MetricSlot};

/// The name of the plugin, by which its part is found.
pub const PLUGIN: &str = "analytics";

const PAST: &str = "past";

/// Tells what an application used of a slot on a UTC day (days since 1970-01-01), in each hour that there is something to say of.
pub fn set(
    rows: &mut Rows,
    application: ApplicationId,
    slot: MetricSlot,
    day: u32,
    hours: &[Option<i64>; HOURS as usize],
) {
    let key = [&application.0.to_be_bytes()[..], &slot.0.to_be_bytes(), &day.to_be_bytes()].concat();
    let told = || (0..HOURS).zip(hours).filter_map(|(hour, amount)| Some((hour, (*amount)?)));
    let mask = told().fold(0_u32, |mask, (hour, _)| mask | 1 << hour);
    let mut value = mask.to_le_bytes()[..3].to_vec();
    told().for_each(|(_, amount)| varint::put_signed(&mut value, amount));
    rows.set(PAST, &key, Some(value));
}

/// Shows `visit` what a part tells: an application, a slot, an hour since 1970, and what was used in it. What cannot be read is passed over; how
/// many rows that was.
pub(super) fn each(part: &[u8], mut visit: impl FnMut(ApplicationId, MetricSlot, u32, i64)) -> u64 {
    let Ok(rows) = Rows::decode(part) else { return 1 };
    let mut unread = 0;
    for (table, key, value) in rows.iter() {
        let read = value.filter(|_| table == PAST).and_then(|value| read(key, value, &mut visit));
        unread += u64::from(read.is_none());
    }
    unread
}

fn read(key: &[u8], value: &[u8], visit: &mut impl FnMut(ApplicationId, MetricSlot, u32, i64)) -> Option<()> {
    let (application, rest) = key.split_first_chunk()?;
    let (slot, rest) = rest.split_first_chunk()?;
    let day = u32::from_be_bytes(rest.try_into().ok()?).checked_mul(HOURS)?;
    let (application, slot) =
        (ApplicationId(u64::from_be_bytes(*application)), MetricSlot(u32::from_be_bytes(*slot)));
    let mut reader = Reader::new(value);
    let [low, middle, high] = reader.array().ok()?;
    let mask = u32::from_le_bytes([low, middle, high, 0]);
    let amounts: Vec<_> = (0..HOURS)
        .filter(|hour| mask >> hour & 1 == 1)
        .map(|hour| Some((day.checked_add(hour)?, reader.signed().ok()?)))
        .collect::<Option<_>>()?;
    reader.finish().ok()?;
    amounts.into_iter().for_each(|(hour, amount)| visit(application, slot, hour, amount));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_and_what_is_not_told_is_not() {
        let mut rows = Rows::default();
        let mut hours = [None; HOURS as usize];
        (hours[0], hours[1], hours[23]) = (Some(0), Some(-4), Some(1 << 40));
        set(&mut rows, ApplicationId(7), MetricSlot(3), 20_000, &hours);
        rows.set("other", b"key", Some(vec![1]));
        rows.set(PAST, b"short", Some(vec![0, 0, 0]));
        rows.set(PAST, &[0; 16], Some(vec![1, 0, 0]));
        rows.set(PAST, &[0; 16], Some(vec![1, 0, 0, 2, 2]));
        let mut seen = Vec::new();
        let unread = each(&rows.encode(), |application, slot, hour, amount| {
            seen.push((application.0, slot.0, hour, amount));
        });
        assert_eq!(seen, [(7, 3, 480_000, 0), (7, 3, 480_001, -4), (7, 3, 480_023, 1 << 40)]);
        assert_eq!((unread, each(&[0xFF], |_, _, _, _| {})), (3, 1));
    }
}
