//! What a cut of the journal does to the rows of plugins' shelves.
//!
//! A command has two halves: the catalog's, which goes with the journal, and a plugin's part, whose rows lie on a shelf. For
//! each row that the commands which go have changed, and that still is as one of them left it:
//!
//! - If the kept journal says what it was, it becomes that again.
//! - Otherwise, if it is of a record that is *new*, it is deleted. A record is new if its id, by which records are known and
//!   which is never given twice, was first given by a command that goes; or if the kept journal has every entry since the
//!   first, so that nothing was there of which it says nothing.
//! - Otherwise what it was is only known to a part of the journal that was pruned: it stays, and is named.
//!
//! Ids are in keys, as 8 bytes each and one after the other, or, of a row that leads from a text to a record, in the value.
//! Rows of commands that cannot be read are not known; how many commands those are, or that there may be some, is said.

use std::path::Path;

use serde::Serialize;

use super::{RepairError, system};
use crate::journal::rows::Rows;
use crate::journal::{CutRow, CutRows, RowValue};
use crate::store::{Shelf, ShelfError};

/// What becomes of a row that commands which go have changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Becomes {
    /// What an earlier command said of it.
    Restored,
    /// Nothing: there was no such row.
    Deleted,
    /// It stays as a command that goes left it, or stays deleted; what it was is not known.
    Kept,
}

/// A row of a shelf that commands which go have changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RowPlan {
    /// Whose shelf.
    pub shelf: String,
    /// The table's name.
    pub table: String,
    /// The ids of its key, with `/` between them; or how long the key is, which may be a secret's.
    pub row: String,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// What is written on a shelf.
pub(super) struct ShelfRows {
    pub(super) shelf: String,
    pub(super) rows: Rows,
}

/// The ids that commands which go have given: from the first to before the last.
#[derive(Clone, Copy)]
pub(super) struct NewIds {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl NewIds {
    fn have(self, bytes: &[u8]) -> bool {
        let ids = ids_of(bytes).unwrap_or_default();
        ids.into_iter().any(|id| (self.from..self.to).contains(&id))
    }
}

/// The ids that a key or a value is made of; `None` if it is not.
fn ids_of(bytes: &[u8]) -> Option<Vec<u64>> {
    let (ids, rest) = bytes.as_chunks();
    (!ids.is_empty() && rest.is_empty()).then(|| ids.iter().copied().map(u64::from_be_bytes).collect())
}

fn row_text(key: &[u8]) -> String {
    match ids_of(key) {
        // Longer keys are no ids, but hashes or texts.
        Some(ids) if ids.len() <= 3 => ids.iter().map(u64::to_string).collect::<Vec<_>>().join("/"),
        _ => format!("(a key of {} bytes)", key.len()),
    }
}

/// What becomes of a row that is `now` on the shelf, and the value it gets; `None` if nothing does.
fn decide(
    now: &RowValue,
    key: &[u8],
    row: &CutRow,
    has_all: bool,
    new: NewIds,
) -> Option<(Becomes, Option<RowValue>)> {
    if !row.gone.contains(now) {
        // It was never applied, or is set back already.
        return None;
    }
    let said = row.gone.iter().flatten();
    let is_new = has_all || new.have(key) || said.clone().any(|value| value.len() == 8 && new.have(value));
    match &row.stays {
        Some(stays) if stays == now => None,
        Some(None) => Some((Becomes::Deleted, Some(None))),
        Some(stays) => Some((Becomes::Restored, Some(stays.clone()))),
        None if is_new => now.is_some().then_some((Becomes::Deleted, Some(None))),
        None => Some((Becomes::Kept, None)),
    }
}

/// Looks at the rows of the shelf `name` in a copy of it at `copy`, and adds what becomes of them to `plans`. Returns what is
/// to be written.
pub(super) fn plan(
    name: &str,
    copy: &Path,
    cut: &CutRows,
    ids_from: u64,
    plans: &mut Vec<RowPlan>,
) -> Result<Option<ShelfRows>, RepairError> {
    let Some(changed) = cut.plugins.get(name) else { return Ok(None) };
    let new = NewIds { from: ids_from, to: cut.next_id };
    let shelf = Shelf::open(copy).map_err(unreadable)?;
    let reading = shelf.reading().map_err(unreadable)?;
    let mut rows = Rows::default();
    for ((table, key), row) in changed {
        let now = reading.get_in(table, key).map_err(unreadable)?;
        let Some((becomes, value)) = decide(&now, key, row, cut.has_all, new) else { continue };
        if let Some(value) = value {
            rows.set(table, key, value);
        }
        let (shelf, table) = (name.to_owned(), table.clone());
        plans.push(RowPlan { shelf, table, row: row_text(key), becomes });
    }
    Ok((!rows.is_empty()).then(|| ShelfRows { shelf: name.to_owned(), rows }))
}

fn unreadable(error: ShelfError) -> RepairError {
    system("look at a shelf")(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::records::id_key;

    fn value(text: &str) -> RowValue {
        Some(text.as_bytes().to_vec())
    }

    fn row(gone: &[RowValue], stays: Option<RowValue>) -> CutRow {
        CutRow { gone: gone.iter().cloned().collect(), stays }
    }

    fn key(ids: &[u64]) -> Vec<u8> {
        ids.iter().flat_map(|id| id_key(*id)).collect()
    }

    /// With ids 50 to 59 given by what goes.
    fn becomes(
        now: &RowValue,
        key: &[u8],
        row: &CutRow,
        has_all: bool,
    ) -> Option<(Becomes, Option<RowValue>)> {
        decide(now, key, row, has_all, NewIds { from: 50, to: 60 })
    }

    #[test]
    fn a_row_becomes_what_it_was_or_goes_with_its_record_or_stays_where_nothing_is_known() {
        let (a, b, c) = (value("a"), value("b"), value("c"));
        let old = key(&[49]);
        // What it was is known.
        let changed = row(&[b.clone(), c.clone()], Some(a.clone()));
        for now in [&b, &c] {
            assert_eq!(becomes(now, &old, &changed, false), Some((Becomes::Restored, Some(a.clone()))));
        }
        // Not applied, or set back already, as after a repair that was interrupted.
        assert_eq!(becomes(&a, &old, &changed, false), None);
        let again = row(&[a.clone(), b.clone()], Some(a.clone()));
        assert_eq!(becomes(&a, &old, &again, true), None);
        // It was deleted before, and made again.
        let anew = row(std::slice::from_ref(&b), Some(None));
        assert_eq!(becomes(&b, &old, &anew, false), Some((Becomes::Deleted, Some(None))));
        // It was deleted by what goes.
        let deleted = row(&[None], Some(a.clone()));
        assert_eq!(becomes(&None, &old, &deleted, false), Some((Becomes::Restored, Some(a.clone()))));
        assert_eq!(becomes(&None, &old, &row(&[None], None), false), Some((Becomes::Kept, None)));
        assert_eq!(becomes(&None, &old, &row(&[None], None), true), None);
    }

    #[test]
    fn a_record_is_new_if_its_id_was_given_by_what_goes_and_not_one_before_or_after() {
        let put = row(&[value("b")], None);
        let of = |key: &[u8], has_all| becomes(&value("b"), key, &put, has_all).map(|(becomes, _)| becomes);
        for (ids, expected) in [
            (&[49][..], Becomes::Kept),
            (&[50], Becomes::Deleted),
            (&[59], Becomes::Deleted),
            (&[60], Becomes::Kept),
            (&[1, 55], Becomes::Deleted),
            (&[55, 1], Becomes::Deleted),
            (&[1, 2], Becomes::Kept),
        ] {
            assert_eq!(of(&key(ids), false), Some(expected), "{ids:?}");
            assert_eq!(of(&key(ids), true), Some(Becomes::Deleted), "{ids:?}");
        }
        // A text that leads to a record.
        let leads = |id: u64| {
            let to = Some(id_key(id).to_vec());
            becomes(&to, b"a name", &row(std::slice::from_ref(&to), None), false).map(|(becomes, _)| becomes)
        };
        assert_eq!((leads(49), leads(50)), (Some(Becomes::Kept), Some(Becomes::Deleted)));
        assert_eq!(of(b"a name", false), Some(Becomes::Kept));
        // A long text is not looked through.
        let long = Some([&id_key(55)[..], b"12345678"].concat());
        let text = becomes(&long, b"a name", &row(std::slice::from_ref(&long), None), false);
        assert_eq!(text, Some((Becomes::Kept, None)));
    }

    #[test]
    fn a_row_is_called_by_its_ids_and_never_by_what_may_be_a_secret() {
        assert_eq!(row_text(&key(&[17])), "17");
        assert_eq!(row_text(&key(&[17, 4])), "17/4");
        assert_eq!(row_text(b"sha-of-something"[..15].as_ref()), "(a key of 15 bytes)");
        assert_eq!(row_text(&[7; 32]), "(a key of 32 bytes)");
        assert_eq!(row_text(b""), "(a key of 0 bytes)");
    }
}
