//! What an entry says: its kinds, and the payload of each.
//!
//! Payloads are made of the varints, zigzags and bytes of the `varint` module. Kinds and versions are explicit
//! numbers that are never reused; each payload below is version 1 of its kind.
//!
//! ```text
//! 1 usage       see the `usage` module
//! 2 set         varint contract, varint application, varint minute, zigzag counted - minute,
//!               varint number of values, then per value: varint slot, varint value
//! 3 command     varint catalog version, bytes core, varint number of parts,
//!               then per part: bytes plugin name (UTF-8), bytes content
//! 12 replace    as set: values that counters are given though no request set them
//! 6 reservation see the `reservation` module
//! 8 reached     varint number of alert levels that counts reached, then per level: varint contract,
//!               varint application, varint slot, varint period (0 eternity .. 6 minute), varint first minute of
//!               the window, varint level (percent), varint count, varint max, varint the engine's minute
//! 9 traffic     varint number of applications that were used on a new day, then per application: varint contract,
//!               varint application, varint day since 1970-01-01
//! 10 ids        see the `ids` module
//! 11 producers  see the `producers` module
//! 4 meter event, 5 correction, 7 follower position    reserved
//! ```
//!
//! A kind or version that is not known was written by a newer release: reading stops with a clear error instead
//! of skipping what may matter.

use super::ids::{Ids, encode_ids};
use super::producers::{Producers, encode_producers};
use super::reservation::Reservations;
use super::usage::Usage;
use super::varint::{self, Reader};
use crate::model::alert::{Reached, Traffic};
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::time::{Minute, Period};

/// What sort of change an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Amounts added to counters.
    Usage = 1,
    /// Counters replaced by values.
    Set = 2,
    /// A change of the catalog.
    Command = 3,
    /// Reservations made and taken out.
    Reservation = 6,
    /// Counts that reached an alert level.
    Reached = 8,
    /// Applications that were used on a new day.
    Traffic = 9,
    /// Idempotency ids of requests that were counted.
    Ids = 10,
    /// Numbers of producers' requests that were counted.
    Producers = 11,
    /// Counters given values that no request set.
    Replace = 12,
}

impl Kind {
    /// The kind of that number, unless it is reserved or unknown.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        const ALL: [Kind; 9] = [
            Kind::Usage,
            Kind::Set,
            Kind::Command,
            Kind::Reservation,
            Kind::Reached,
            Kind::Traffic,
            Kind::Ids,
            Kind::Producers,
            Kind::Replace,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The payload version that this release writes, and the highest that it reads.
    #[must_use]
    pub fn version(self) -> u8 {
        1
    }
}

/// One change, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Amounts added to counters.
    Usage(Usage),
    /// Counters replaced by values, as a request said.
    Set(Set),
    /// Counters given values by an operator: carried over from elsewhere, or back to zero. Nothing was used by that.
    Replace(Set),
    /// A change of the catalog.
    Command(Command),
    /// Reservations made and taken out.
    Reservation(Reservations),
    /// Counts that reached an alert level. They follow from usage and catalog, and are written down because the
    /// moment is gone when the usage is read again.
    Reached(Vec<Reached>),
    /// Applications that were used on a new day. It follows from usage, and is written down so that who wants to know
    /// need not read all usage.
    Traffic(Vec<Traffic>),
    /// Idempotency ids of requests that were counted.
    Ids(Ids),
    /// Numbers of producers' requests that were counted.
    Producers(Producers),
}

impl Entry {
    /// Appends the payload to `out`; of which kind it is.
    pub fn encode(&self, out: &mut Vec<u8>) -> Kind {
        match self {
            Entry::Usage(usage) => {
                usage.encode(out);
                Kind::Usage
            }
            Entry::Set(set) => {
                set.encode(out);
                Kind::Set
            }
            Entry::Replace(set) => {
                set.encode(out);
                Kind::Replace
            }
            Entry::Command(command) => {
                command.encode(out);
                Kind::Command
            }
            Entry::Reservation(reservations) => {
                reservations.encode(out);
                Kind::Reservation
            }
            Entry::Reached(reached) => {
                encode_reached(reached.iter(), out);
                Kind::Reached
            }
            Entry::Traffic(traffic) => {
                encode_traffic(traffic.iter(), out);
                Kind::Traffic
            }
            Entry::Ids(Ids { base, ids }) => {
                encode_ids(*base, ids.iter(), out);
                Kind::Ids
            }
            Entry::Producers(Producers { base, windows }) => {
                encode_producers(*base, windows.iter(), out);
                Kind::Producers
            }
        }
    }
}

/// Counters of one application replaced by values (`usage[hits]=#5`), or given them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// The catalog version in force.
    pub contract: u64,
    /// Whose counters.
    pub application: ApplicationId,
    /// The minute it is dated.
    pub minute: Minute,
    /// The engine's minute when it was counted.
    pub counted: Minute,
    /// The new value per metric.
    pub values: Vec<(MetricSlot, u64)>,
}

/// A change of the catalog, with one part for each plugin that keeps something beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The catalog version after it.
    pub version: u64,
    /// The change itself; opaque here.
    pub core: Vec<u8>,
    /// Plugin names and what each wants to find again; opaque here.
    pub parts: Vec<(String, Vec<u8>)>,
}

/// Why a payload cannot be read. Places are byte offsets within the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DecodeError {
    #[error("entry kind {kind} is not known to this release; a newer one must have written it")]
    UnknownKind { kind: u8 },
    #[error(
        "version {version} of entry kind {kind} is not known to this release; a newer one must have written it"
    )]
    UnknownVersion { kind: u8, version: u8 },
    #[error("the payload ends in the middle of what byte {at} begins")]
    Truncated { at: usize },
    #[error("the number at byte {at} of the payload is longer than it need be, or than 64 bits")]
    Overlong { at: usize },
    #[error("the number at byte {at} of the payload is out of range")]
    OutOfRange { at: usize },
    #[error("the name at byte {at} of the payload is not UTF-8")]
    NotText { at: usize },
    #[error("the payload goes on at byte {at}, after its end")]
    Trailing { at: usize },
}

/// Decodes the payload of an entry of that kind and version.
///
/// # Errors
/// Says what is unknown, or where the payload is not as its kind prescribes. No content makes it panic, or
/// allocate more than a fixed multiple of the payload.
pub fn decode(kind: u8, version: u8, payload: &[u8]) -> Result<Entry, DecodeError> {
    let known = Kind::from_number(kind).ok_or(DecodeError::UnknownKind { kind })?;
    if version == 0 || version > known.version() {
        return Err(DecodeError::UnknownVersion { kind, version });
    }
    let mut reader = Reader::new(payload);
    let entry = match known {
        Kind::Usage => Entry::Usage(Usage::read(&mut reader)?),
        Kind::Set => Entry::Set(Set::read(&mut reader)?),
        Kind::Replace => Entry::Replace(Set::read(&mut reader)?),
        Kind::Command => Entry::Command(Command::read(&mut reader)?),
        Kind::Reservation => Entry::Reservation(Reservations::read(&mut reader)?),
        Kind::Reached => Entry::Reached(read_reached(&mut reader)?),
        Kind::Traffic => Entry::Traffic(read_traffic(&mut reader)?),
        Kind::Ids => Entry::Ids(Ids::read(&mut reader)?),
        Kind::Producers => Entry::Producers(Producers::read(&mut reader)?),
    };
    reader.finish().map(|()| entry)
}

impl Set {
    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.contract);
        varint::put(out, self.application.0);
        varint::put(out, u64::from(self.minute.0));
        varint::put_signed(out, i64::from(self.counted.0) - i64::from(self.minute.0));
        varint::put(out, self.values.len() as u64);
        for (slot, value) in &self.values {
            varint::put(out, u64::from(slot.0));
            varint::put(out, *value);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Set, DecodeError> {
        let contract = reader.varint()?;
        let application = ApplicationId(reader.varint()?);
        let minute = reader.narrow()?;
        let counted = Minute(reader.relative(minute)?);
        let count = reader.count(2)?;
        let values = (0..count)
            .map(|_| Ok((MetricSlot(reader.narrow()?), reader.varint()?)))
            .collect::<Result<_, DecodeError>>()?;
        Ok(Set { contract, application, minute: Minute(minute), counted, values })
    }
}

/// Appends the payload of [`Entry::Reached`] to `out`.
pub fn encode_reached<'a>(reached: impl Iterator<Item = &'a Reached> + Clone, out: &mut Vec<u8>) {
    varint::put(out, reached.clone().count() as u64);
    for it in reached {
        varint::put(out, it.contract);
        varint::put(out, it.application.0);
        varint::put(out, u64::from(it.slot.0));
        varint::put(out, it.period as u64);
        varint::put(out, u64::from(it.window.0));
        varint::put(out, u64::from(it.level));
        varint::put(out, it.count);
        varint::put(out, it.max);
        varint::put(out, u64::from(it.counted.0));
    }
}

fn read_reached(reader: &mut Reader<'_>) -> Result<Vec<Reached>, DecodeError> {
    let mut all = Vec::new();
    // Each takes nine varints.
    for _ in 0..reader.count(9)? {
        let contract = reader.varint()?;
        let application = ApplicationId(reader.varint()?);
        let slot = MetricSlot(reader.narrow()?);
        let at = reader.position();
        let period = u8::try_from(reader.varint()?).ok().and_then(Period::from_number);
        let period = period.ok_or(DecodeError::OutOfRange { at })?;
        let window = Minute(reader.narrow()?);
        let at = reader.position();
        let level = u16::try_from(reader.varint()?).map_err(|_| DecodeError::OutOfRange { at })?;
        let (count, max) = (reader.varint()?, reader.varint()?);
        let counted = Minute(reader.narrow()?);
        all.push(Reached { application, contract, slot, period, window, level, count, max, counted });
    }
    Ok(all)
}

/// Appends the payload of [`Entry::Traffic`] to `out`.
pub fn encode_traffic<'a>(traffic: impl Iterator<Item = &'a Traffic> + Clone, out: &mut Vec<u8>) {
    varint::put(out, traffic.clone().count() as u64);
    for it in traffic {
        varint::put(out, it.contract);
        varint::put(out, it.application.0);
        varint::put(out, u64::from(it.day));
    }
}

fn read_traffic(reader: &mut Reader<'_>) -> Result<Vec<Traffic>, DecodeError> {
    let mut all = Vec::new();
    // Each takes three varints.
    for _ in 0..reader.count(3)? {
        let (contract, application) = (reader.varint()?, ApplicationId(reader.varint()?));
        all.push(Traffic { application, contract, day: reader.narrow()? });
    }
    Ok(all)
}

impl Command {
    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.version);
        varint::put_bytes(out, &self.core);
        varint::put(out, self.parts.len() as u64);
        for (plugin, content) in &self.parts {
            varint::put_bytes(out, plugin.as_bytes());
            varint::put_bytes(out, content);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
        let version = reader.varint()?;
        let core = reader.bytes()?.to_vec();
        let count = reader.count(2)?;
        let mut parts = Vec::new();
        for _ in 0..count {
            let at = reader.position();
            let name = str::from_utf8(reader.bytes()?).map_err(|_| DecodeError::NotText { at })?;
            parts.push((name.to_owned(), reader.bytes()?.to_vec()));
        }
        Ok(Command { version, core, parts })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::journal::ids::tests::ids;
    use crate::journal::producers::tests::producers;
    use crate::journal::reservation::tests::reservations;
    use crate::journal::usage::tests::usages;
    use proptest::prelude::*;

    pub(crate) fn encode(entry: &Entry) -> (Kind, Vec<u8>) {
        let mut out = Vec::new();
        (entry.encode(&mut out), out)
    }

    pub(crate) fn entries() -> impl Strategy<Value = Entry> {
        let values = prop::collection::vec((any::<u32>(), any::<u64>()), 0..4);
        let sets = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), values).prop_map(
            |(contract, application, minute, counted, values)| Set {
                contract,
                application: ApplicationId(application),
                minute: Minute(minute),
                counted: Minute(counted),
                values: values.into_iter().map(|(slot, value)| (MetricSlot(slot), value)).collect(),
            },
        );
        let replaced = sets.clone().prop_map(Entry::Replace);
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let parts = prop::collection::vec(("[a-z]{0,8}", bytes()), 0..3);
        let commands = (any::<u64>(), bytes(), parts).prop_map(|(version, core, parts)| Command {
            version,
            core,
            parts,
        });
        let counts = (any::<u64>(), any::<u64>(), any::<u16>());
        let places = (any::<u64>(), any::<u64>(), any::<u32>(), prop::sample::select(&Period::ALL[..]));
        let reached = (places, any::<u32>(), counts, any::<u32>()).prop_map(
            |((contract, application, slot, period), window, (count, max, level), counted)| Reached {
                application: ApplicationId(application),
                contract,
                slot: MetricSlot(slot),
                period,
                window: Minute(window),
                level,
                count,
                max,
                counted: Minute(counted),
            },
        );
        let traffic = (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(contract, application, day)| {
            Traffic { application: ApplicationId(application), contract, day }
        });
        prop_oneof![
            usages().prop_map(Entry::Usage),
            sets.prop_map(Entry::Set),
            replaced,
            commands.prop_map(Entry::Command),
            reservations().prop_map(Entry::Reservation),
            prop::collection::vec(reached, 0..3).prop_map(Entry::Reached),
            prop::collection::vec(traffic, 0..3).prop_map(Entry::Traffic),
            ids().prop_map(Entry::Ids),
            producers().prop_map(Entry::Producers),
        ]
    }

    proptest! {
        #[test]
        fn entries_round_trip_and_no_prefix_or_extension_passes(entry in entries()) {
            let (kind, bytes) = encode(&entry);
            prop_assert_eq!(decode(kind as u8, 1, &bytes), Ok(entry));
            for cut in 0..bytes.len() {
                prop_assert!(decode(kind as u8, 1, &bytes[..cut]).is_err());
            }
            let mut longer = bytes;
            longer.push(0);
            prop_assert!(decode(kind as u8, 1, &longer).is_err());
        }

        #[test]
        fn any_bytes_decode_or_fail_but_never_panic_and_have_one_encoding(
            kind in 0..12u8, version in 0..3u8, bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(entry) = decode(kind, version, &bytes) {
                prop_assert_eq!(encode(&entry).1, bytes);
            }
        }

        #[test]
        fn mutated_entries_decode_or_fail_but_never_panic(
            entry in entries(), at in any::<prop::sample::Index>(), byte: u8,
        ) {
            let (kind, mut bytes) = encode(&entry);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(entry) = decode(kind as u8, 1, &bytes) {
                prop_assert_eq!(encode(&entry).1, bytes);
            }
        }
    }

    #[test]
    fn what_a_newer_release_wrote_is_named() {
        assert_eq!(decode(4, 1, &[]), Err(DecodeError::UnknownKind { kind: 4 }));
        assert_eq!(decode(1, 2, &[]), Err(DecodeError::UnknownVersion { kind: 1, version: 2 }));
        assert_eq!(decode(1, 0, &[]), Err(DecodeError::UnknownVersion { kind: 1, version: 0 }));
    }

    #[test]
    fn golden_payloads_of_version_1_stay_readable() {
        let set = [7, 42, 100, 1, 1, 3, 5];
        let command = [9, 2, 0xAA, 0xBB, 1, 1, b'x', 1, 0xCC];
        let traffic = Traffic { application: ApplicationId(42), contract: 7, day: 100 };
        assert_eq!(decode(9, 1, &[1, 7, 42, 100]), Ok(Entry::Traffic(vec![traffic])));
        let reached = [1, 7, 42, 3, 6, 100, 80, 8, 10, 99];
        assert_eq!(
            decode(8, 1, &reached),
            Ok(Entry::Reached(vec![Reached {
                application: ApplicationId(42),
                contract: 7,
                slot: MetricSlot(3),
                period: Period::Minute,
                window: Minute(100),
                level: 80,
                count: 8,
                max: 10,
                counted: Minute(99),
            }]))
        );
        let values = Set {
            contract: 7,
            application: ApplicationId(42),
            minute: Minute(100),
            counted: Minute(99),
            values: vec![(MetricSlot(3), 5)],
        };
        assert_eq!(decode(2, 1, &set), Ok(Entry::Set(values.clone())));
        assert_eq!(decode(12, 1, &set), Ok(Entry::Replace(values)));
        assert_eq!(
            decode(3, 1, &command),
            Ok(Entry::Command(Command {
                version: 9,
                core: vec![0xAA, 0xBB],
                parts: vec![("x".into(), vec![0xCC])]
            }))
        );
    }
}
