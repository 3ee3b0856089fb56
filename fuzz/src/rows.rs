//! Parts of plugins, as a command holds them.

use tollgate::journal::rows::Rows;

/// One input.
pub fn run(bytes: &[u8]) {
    let Ok(rows) = Rows::decode(bytes) else { return };
    let again = Rows::decode(&rows.encode()).expect("what was written can be read");
    assert_eq!(again, rows);
    for (table, key, value) in rows.iter() {
        assert_eq!(rows.get(table, key), Some(value));
    }
}
