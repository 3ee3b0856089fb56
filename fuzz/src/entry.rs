//! Payloads of journal entries. The first two bytes are kind and version.

use tollgate::journal::entry::{Kind, decode};

/// One input.
pub fn run(bytes: &[u8]) {
    let [kind, version, payload @ ..] = bytes else { return };
    let Ok(entry) = decode(*kind, *version, payload) else { return };
    let mut encoded = Vec::new();
    let its_kind = entry.encode(&mut encoded);
    assert_eq!(Some(its_kind), Kind::from_number(*kind));
    assert_eq!(encoded, payload, "{entry:?}");
}
