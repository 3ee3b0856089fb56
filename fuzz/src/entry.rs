//! Payloads of journal entries. The first two bytes are kind and version.

use tollgate::journal::entry::{Entry, Kind, decode, encode_reached};

/// One input.
pub fn run(bytes: &[u8]) {
    let [kind, version, payload @ ..] = bytes else { return };
    let Ok(entry) = decode(*kind, *version, payload) else { return };
    let mut encoded = Vec::new();
    let its_kind = match &entry {
        Entry::Usage(usage) => {
            usage.encode(&mut encoded);
            Kind::Usage
        }
        Entry::Set(set) => {
            set.encode(&mut encoded);
            Kind::Set
        }
        Entry::Command(command) => {
            command.encode(&mut encoded);
            Kind::Command
        }
        Entry::Reached(reached) => {
            encode_reached(reached.iter(), &mut encoded);
            Kind::Reached
        }
    };
    assert_eq!(Some(its_kind), Kind::from_number(*kind));
    assert_eq!(encoded, payload, "{entry:?}");
}
