//! A plugin's part of a command: rows put and deleted on its shelf.
//!
//! A part states each row as it is afterwards, so applying it twice, or in a replay, gives the same shelf. To the
//! journal it is opaque bytes; this is what they are:
//!
//! ```text
//! part = *( row ), each a length-delimited protobuf message
//! row  = 1: table (text), 2: key (bytes), 3: value (bytes, absent: the row is deleted)
//! ```

use std::collections::BTreeMap;

use prost::{DecodeError, Message};

/// Rows by table and key; `None` deletes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rows(BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>);

#[derive(Clone, PartialEq, Message)]
struct RowRecord {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "3")]
    value: Option<Vec<u8>>,
}

impl Rows {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a value under a key, or deletes the row.
    pub fn set(&mut self, table: &str, key: &[u8], value: Option<Vec<u8>>) {
        if !self.0.contains_key(table) {
            self.0.insert(table.to_owned(), BTreeMap::new());
        }
        if let Some(rows) = self.0.get_mut(table) {
            rows.insert(key.to_vec(), value);
        }
    }

    /// What is said of a row; the outer `None` is nothing.
    #[must_use]
    pub fn get(&self, table: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        self.0.get(table)?.get(key).map(Option::as_deref)
    }

    /// What is said of a table, by key.
    #[must_use]
    pub fn table(&self, table: &str) -> Option<&BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        self.0.get(table)
    }

    /// All rows, by table and key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8], Option<&[u8]>)> {
        self.0.iter().flat_map(|(table, rows)| {
            rows.iter().map(|(key, value)| (table.as_str(), key.as_slice(), value.as_deref()))
        })
    }

    /// Takes `later` in: where both say something, it holds.
    pub fn extend(&mut self, later: Rows) {
        for (table, rows) in later.0 {
            self.0.entry(table).or_default().extend(rows);
        }
    }

    /// The part's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (table, key, value) in self.iter() {
            let (table, value) = (table.to_owned(), value.map(<[u8]>::to_vec));
            // Only a full buffer can fail, and a vector grows.
            let _ = RowRecord { table, key: key.to_vec(), value }.encode_length_delimited(&mut out);
        }
        out
    }

    /// Reads a part.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(mut bytes: &[u8]) -> Result<Rows, DecodeError> {
        let mut rows = Rows::default();
        while !bytes.is_empty() {
            let RowRecord { table, key, value } = RowRecord::decode_length_delimited(&mut bytes)?;
            rows.set(&table, &key, value);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_is_read_as_it_was_written(
            all in proptest::collection::vec(("[a-c]", proptest::collection::vec(0u8.., 0..4), proptest::option::of(proptest::collection::vec(0u8.., 0..9))), 0..20)
        ) {
            let mut rows = Rows::default();
            for (table, key, value) in all {
                rows.set(&table, &key, value);
            }
            prop_assert_eq!(Rows::decode(&rows.encode()).unwrap(), rows);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0u8.., 0..60)) {
            let _ = Rows::decode(&bytes);
        }
    }
}
