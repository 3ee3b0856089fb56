//! When applications were called: the first time, and the first time of the last day on which they were.
//!
//! ```text
//! traffic          application: version 1, tenant u64, day u32, at u64, first u64; numbers little-endian, times in seconds since 1970 UTC,
//!                  day in days; first 0: not known
//! traffic          application: day u32            as it was before times were kept: the day is all that is known
//! traffic_by_time  tenant u64, at u64, application u64, big-endian: nothing
//! ```
//!
//! The second table is what lists are made from: who was called since a time is a range of it. Rows of the older form are made new ones, with
//! the beginning of their day as the time, when the plugin starts.

use super::{META, TRAFFIC};
use crate::model::catalog::Catalog;
use crate::model::id::ApplicationId;
use crate::store::shelf::{Reading, Scan, Shelf, ShelfError, Table, Writing};

/// Applications by tenant and time, as keys.
const BY_TIME: Table = Table("traffic_by_time");

/// In [`META`]: no rows of the older form are left.
const IS_CURRENT: &[u8] = b"traffic has times";

const VERSION: u8 = 1;
const ROW_LEN: usize = 1 + 8 + 4 + 8 + 8;

const DAY_S: u64 = 86_400;

/// When an application was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Called {
    /// The first time, in seconds since 1970 UTC, if that is known.
    pub first_at_s: Option<u64>,
    /// The first time of the last day on which it was.
    pub at_s: u64,
    /// That day: in days since 1970 UTC, and as the calls' usage is dated.
    pub day: u32,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    /// 0: not known.
    tenant: u64,
    day: u32,
    at_s: u64,
    /// 0: not known.
    first_at_s: u64,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tenant.to_le_bytes());
        out.extend_from_slice(&self.day.to_le_bytes());
        out.extend_from_slice(&self.at_s.to_le_bytes());
        out.extend_from_slice(&self.first_at_s.to_le_bytes());
        out
    }

    /// The row of these bytes; none if a newer version wrote something else there.
    fn decode(bytes: &[u8]) -> Option<Row> {
        if let Ok(day) = bytes.try_into() {
            let day = u32::from_le_bytes(day);
            return Some(Row { tenant: 0, day, at_s: u64::from(day) * DAY_S, first_at_s: 0 });
        }
        if bytes.len() != ROW_LEN || bytes[0] != VERSION {
            return None;
        }
        let number = |at: usize| bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        let day = bytes[9..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        Some(Row { tenant: number(1), day, at_s: number(13), first_at_s: number(21) })
    }

    fn time_key(&self, application: &[u8]) -> Vec<u8> {
        [&self.tenant.to_be_bytes()[..], &self.at_s.to_be_bytes(), application].concat()
    }

    /// Puts it in place of `before`.
    fn put(
        &self,
        writing: &mut Writing<'_>,
        application: &[u8],
        before: Option<&Row>,
    ) -> Result<(), ShelfError> {
        if let Some(before) = before {
            writing.delete(BY_TIME, &before.time_key(application))?;
        }
        writing.put(BY_TIME, &self.time_key(application), &[])?;
        writing.put(TRAFFIC, application, &self.encode())
    }
}

/// What a day of traffic is to an application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// It is known, or one after it.
    Nothing,
    /// It is the first.
    First,
    /// There were others before.
    Another,
}

/// A time in a day: what is journalled just after midnight, or reported later, was counted before.
pub(super) fn within(day: u32, at_s: u64) -> u64 {
    let begin = u64::from(day) * DAY_S;
    at_s.clamp(begin, begin + DAY_S - 1)
}

/// Notes traffic of an application of `tenant` on a day, at a time.
pub(super) fn note(
    writing: &mut Writing<'_>,
    application: ApplicationId,
    tenant: u64,
    (day, at_s): (u32, u64),
) -> Result<News, ShelfError> {
    let key = application.0.to_be_bytes();
    let last = writing.get(TRAFFIC, &key)?.and_then(|bytes| Row::decode(&bytes));
    if last.is_some_and(|last| day <= last.day) {
        return Ok(News::Nothing);
    }
    let first_at_s = last.map_or(at_s, |last| last.first_at_s);
    Row { tenant, day, at_s, first_at_s }.put(writing, &key, last.as_ref())?;
    Ok(if last.is_none() { News::First } else { News::Another })
}

/// Forgets an application.
pub(super) fn forget(writing: &mut Writing<'_>, application: ApplicationId) -> Result<(), ShelfError> {
    let key = application.0.to_be_bytes();
    if let Some(row) = writing.get(TRAFFIC, &key)?.and_then(|bytes| Row::decode(&bytes)) {
        writing.delete(BY_TIME, &row.time_key(&key))?;
    }
    writing.delete(TRAFFIC, &key)?;
    Ok(())
}

/// Makes rows of the older form new ones, once.
pub(super) fn renew(shelf: &Shelf, catalog: &Catalog) -> Result<(), ShelfError> {
    if shelf.read(|reading| reading.get(META, IS_CURRENT))?.is_some() {
        return Ok(());
    }
    shelf.write(|writing| {
        for (key, bytes) in writing.rows(TRAFFIC, &Scan::first(&[], usize::MAX))? {
            let Some(row) = Row::decode(&bytes).filter(|_| bytes.len() != ROW_LEN) else { continue };
            let id = key.as_slice().try_into().map_or(0, u64::from_be_bytes);
            let tenant = tenant_of(catalog, ApplicationId(id)).unwrap_or(0);
            Row { tenant, ..row }.put(writing, &key, None)?;
        }
        writing.put(META, IS_CURRENT, &[])
    })
}

/// The tenant of an application that there is.
pub(super) fn tenant_of(catalog: &Catalog, application: ApplicationId) -> Option<u64> {
    let service = catalog.applications.get(application.0)?.service;
    Some(catalog.services.get(service.0)?.tenant.0)
}

/// When applications were called, as one moment has it.
pub struct Calls<'s>(pub(super) Reading<'s>);

impl Calls<'_> {
    /// When an application was called.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn of(&self, application: ApplicationId) -> Result<Option<Called>, ShelfError> {
        let row = self.0.get(TRAFFIC, &application.0.to_be_bytes())?.and_then(|bytes| Row::decode(&bytes));
        Ok(row.map(|row| Called {
            first_at_s: Some(row.first_at_s).filter(|at| *at > 0),
            at_s: row.at_s,
            day: row.day,
        }))
    }
}

/// Shows `visit` the applications of a tenant whose last day of traffic began at that time or later.
pub(super) fn each_called_since(
    reading: &Reading<'_>,
    tenant: u64,
    since_s: u64,
    mut visit: impl FnMut(u64),
) -> Result<(), ShelfError> {
    let tenant = tenant.to_be_bytes();
    let from = [&tenant[..], &since_s.to_be_bytes()].concat();
    let application = |key: &[u8]| key.last_chunk().copied().map(u64::from_be_bytes);
    reading.each_key(BY_TIME, &tenant, &from, |key| application(key).into_iter().for_each(&mut visit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_as_they_were_written_and_those_of_before_by_their_day() {
        let row = Row { tenant: 1, day: 20_000, at_s: 3, first_at_s: u64::MAX };
        assert_eq!(Row::decode(&row.encode()), Some(row));
        assert_eq!(row.encode().len(), ROW_LEN);
        let before = Row { tenant: 0, day: 2, at_s: 172_800, first_at_s: 0 };
        assert_eq!(Row::decode(&2_u32.to_le_bytes()), Some(before));
        let mut newer = row.encode();
        newer[0] = 2;
        assert_eq!(
            (Row::decode(&newer), Row::decode(&row.encode()[1..]), Row::decode(&[])),
            (None, None, None)
        );
    }

    #[test]
    fn the_time_of_a_day_is_in_it() {
        assert_eq!(
            [0, 172_799, 172_800, 259_199, 259_200].map(|at_s| within(2, at_s)),
            [172_800, 172_800, 172_800, 259_199, 259_199]
        );
    }

    #[test]
    fn who_was_called_since_a_time_is_found_by_tenant_and_forgotten_with_the_application() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        let noted = |application, tenant, day, at_s| {
            shelf.write(|writing| note(writing, ApplicationId(application), tenant, (day, at_s))).unwrap()
        };
        assert_eq!(noted(7, 1, 10, 1000), News::First);
        assert_eq!((noted(7, 1, 10, 1001), noted(7, 1, 9, 1002)), (News::Nothing, News::Nothing));
        assert_eq!((noted(8, 2, 10, 1500), noted(9, 1, 10, 3000)), (News::First, News::First));
        assert_eq!(noted(7, 1, 11, 2000), News::Another);
        let since = |tenant, since_s| {
            let mut found = Vec::new();
            let read =
                |reading: &Reading<'_>| each_called_since(reading, tenant, since_s, |id| found.push(id));
            shelf.read(read).unwrap();
            found
        };
        assert_eq!((since(1, 0), since(1, 2000), since(1, 2001)), (vec![7, 9], vec![7, 9], vec![9]));
        assert_eq!((since(2, 1500), since(2, 1501), since(3, 0)), (vec![8], vec![], vec![]));
        let of = |application| Calls(shelf.reading().unwrap()).of(ApplicationId(application)).unwrap();
        assert_eq!(of(7), Some(Called { first_at_s: Some(1000), at_s: 2000, day: 11 }));
        shelf.write(|writing| forget(writing, ApplicationId(7))).unwrap();
        assert_eq!((of(7), since(1, 0)), (None, vec![9]));
    }

    #[test]
    fn rows_of_before_times_were_kept_are_renewed_once() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        let old = |application: u64, day: u32| {
            shelf.write(|it| it.put(TRAFFIC, &application.to_be_bytes(), &day.to_le_bytes())).unwrap();
        };
        let of = |application| Calls(shelf.reading().unwrap()).of(ApplicationId(application)).unwrap();
        old(7, 3);
        let expected = Some(Called { first_at_s: None, at_s: 3 * DAY_S, day: 3 });
        assert_eq!(of(7), expected);
        renew(&shelf, &Catalog::default()).unwrap();
        assert_eq!(of(7), expected);
        let listed = |since_s| {
            let mut count = 0;
            shelf.read(|reading| each_called_since(reading, 0, since_s, |_| count += 1)).unwrap();
            count
        };
        assert_eq!((listed(3 * DAY_S), listed(3 * DAY_S + 1)), (1, 0));
        // The next day's traffic knows the tenant, and what was listed before is listed no more.
        let noted = shelf.write(|writing| note(writing, ApplicationId(7), 5, (4, 400_000))).unwrap();
        assert_eq!((noted, listed(0)), (News::Another, 0));
        assert_eq!(of(7), Some(Called { first_at_s: None, at_s: 400_000, day: 4 }));
        old(8, 3);
        renew(&shelf, &Catalog::default()).unwrap();
        assert_eq!(listed(0), 0, "it is done once");
    }
}
