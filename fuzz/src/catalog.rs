//! Catalog changes, as a command or a checkpoint holds them.

use tollgate::journal::catalog::{decode, encode};
use tollgate::model::catalog::{Catalog, Change};

/// Applies all changes that can be read; whether that was all.
fn apply(bytes: &[u8]) -> (Catalog, bool) {
    let mut catalog = Catalog::new();
    let whole = decode(bytes, |change, next_id| {
        catalog.apply(&change);
        // Who looks for a record's keys does so with changes from the same bytes.
        catalog.keys_of(&change, |_, _| {});
        catalog.next_id = catalog.next_id.max(next_id);
    });
    (catalog, whole.is_ok())
}

/// One input.
pub fn run(bytes: &[u8]) {
    let (catalog, _) = apply(bytes);
    let changes: Vec<Change> = catalog.changes().collect();
    let mut encoded = Vec::new();
    encode(&changes, catalog.next_id, &mut encoded);
    let (again, whole) = apply(&encoded);
    assert!(whole, "what was written can be read");
    assert_eq!(again.changes().collect::<Vec<_>>(), changes);
    if !changes.is_empty() {
        assert_eq!(again.next_id, catalog.next_id);
    }
}
