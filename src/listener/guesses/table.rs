//! A table of budgets of a fixed size: rows of a few entries, each row behind a lock of its own.

use parking_lot::Mutex;

/// Entries of a row. Few are looked through quickly; many make it rare that a row is full before the table is.
const ROW: usize = 8;

/// How many wrong credentials of an entry are known again.
const RECENT: usize = 32;

/// How much may be spent.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    /// At once.
    pub(super) burst: u32,
    /// After this, one more.
    pub(super) interval_ms: u64,
}

/// What is left of an entry's budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// 0 if something is left.
    pub(super) wait_ms: u64,
    /// Nothing was spent lately.
    pub(super) is_full: bool,
}

#[derive(Clone)]
struct Entry {
    /// Whose it is; 0 is nobody's.
    print: u64,
    /// When all of the budget is there again. Later is more spent, so one number says all.
    full_at_ms: u64,
    recent: [u64; RECENT],
    next: usize,
}

const NOBODY: Entry = Entry { print: 0, full_at_ms: 0, recent: [0; RECENT], next: 0 };

pub(super) struct Table {
    bucket: Bucket,
    rows: Box<[Mutex<[Entry; ROW]>]>,
}

impl Table {
    pub(super) fn new(entries: usize, bucket: Bucket) -> Table {
        Table { bucket, rows: (0..entries.div_ceil(ROW)).map(|_| Mutex::new([NOBODY; ROW])).collect() }
    }

    /// What is left to an entry; `None` if it has never spent or was forgotten.
    pub(super) fn look(&self, print: u64, now_ms: u64) -> Option<Left> {
        let row = self.row(print).lock();
        row.iter().find(|entry| entry.print == print).map(|entry| self.left(entry.full_at_ms, now_ms))
    }

    /// Spends one for a wrong credential and says what is left; `None` if this one was known already. If nothing is
    /// left, nothing more is owed: whoever goes on must not wait longer than one interval.
    pub(super) fn spend(&self, print: u64, wrong: u64, now_ms: u64) -> Option<Left> {
        let mut row = self.row(print).lock();
        let place = row.iter().position(|entry| entry.print == print);
        // The one with most left goes: single failures must not push out whoever has spent all.
        let place = place.or_else(|| (0..ROW).min_by_key(|at| row[*at].full_at_ms))?;
        let entry = &mut row[place];
        if entry.print != print {
            *entry = Entry { print, ..NOBODY };
        }
        if entry.recent.contains(&wrong) {
            return None;
        }
        entry.recent[entry.next % RECENT] = wrong;
        entry.next = (entry.next + 1) % RECENT;
        let most = now_ms + u64::from(self.bucket.burst) * self.bucket.interval_ms;
        entry.full_at_ms = (entry.full_at_ms.max(now_ms) + self.bucket.interval_ms).min(most);
        Some(self.left(entry.full_at_ms, now_ms))
    }

    fn left(&self, full_at_ms: u64, now_ms: u64) -> Left {
        let spent_ms = full_at_ms.saturating_sub(now_ms);
        let room_ms = (u64::from(self.bucket.burst) - 1) * self.bucket.interval_ms;
        Left { wait_ms: spent_ms.saturating_sub(room_ms), is_full: spent_ms == 0 }
    }

    fn row(&self, print: u64) -> &Mutex<[Entry; ROW]> {
        &self.rows[(print >> 32) as usize % self.rows.len()]
    }
}
