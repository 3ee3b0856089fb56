//! What makes a generation whole: its manifest, and `CURRENT`, which names it. Everything is little-endian.
//!
//! ```text
//! MANIFEST   0  magic "TGCHKPNT"      8  format version u16   10  zero u16
//!           12  crc32 u32 over all other bytes
//!           16  generation u64       24  node id, 16 bytes    40  term u64
//!           48  begin sequence u64   56  catalog sequence u64  64  engine time ms u64
//!           72  next id u64          80  catalog version u64
//!           88  catalog pieces u32   92  counter pieces u32   96  number of files u32
//!          then per file: name length u16, name, length u64, crc32 u32
//! CURRENT   text: "tollgate-checkpoint 1 ", the generation in 8 digits or more, " ", the crc32 of MANIFEST in
//!           8 hex digits, newline
//! ```
//!
//! The manifest sums every file of the database, so that a damaged one is found before sled sees it: sled panics,
//! or worse, on some.

use super::error::StoreError;
use crate::journal::{NodeId, Sequence};
use crate::model::time::UnixMillis;
use std::path::Path;

const MAGIC: [u8; 8] = *b"TGCHKPNT";
const FORMAT_VERSION: u16 = 1;
const CRC: std::ops::Range<usize> = 12..16;
const CURRENT_PREFIX: &str = "tollgate-checkpoint 1 ";

/// What a checkpoint is of. The store keeps it and gives it back; the node decides what it means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Whose journal continues it.
    pub node_id: NodeId,
    /// The journal's term when it was made.
    pub term: u64,
    /// Replay starts after this sequence: the lowest stamp of any counters in it.
    pub begin: Sequence,
    /// The last sequence whose effects the catalog includes.
    pub catalog: Sequence,
    /// The engine's clock.
    pub engine_time: UnixMillis,
    /// The next id that the node gives out.
    pub next_id: u64,
    /// The version of the catalog.
    pub catalog_version: u64,
}

/// One file of a generation's database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileSum {
    /// Its path within the database's directory.
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) crc: u32,
}

/// Everything that is written last, when all else is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Manifest {
    pub(super) generation: u64,
    pub(super) meta: Meta,
    pub(super) catalog_pieces: u32,
    pub(super) counter_pieces: u32,
    pub(super) files: Vec<FileSum>,
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Meta { node_id, term, begin, catalog, engine_time, next_id, catalog_version } = self.meta;
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend([0; 6]);
        out.extend(self.generation.to_le_bytes());
        out.extend(node_id);
        for number in [term, begin.0, catalog.0, engine_time.0, next_id, catalog_version] {
            out.extend(number.to_le_bytes());
        }
        let files = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        for number in [self.catalog_pieces, self.counter_pieces, files] {
            out.extend(number.to_le_bytes());
        }
        for file in &self.files {
            out.extend(u16::try_from(file.name.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend(file.name.as_bytes());
            out.extend(file.len.to_le_bytes());
            out.extend(file.crc.to_le_bytes());
        }
        let crc = crc_of(&out);
        out[CRC].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the manifest of `generation` that `file` holds.
    pub(super) fn decode(file: &Path, generation: u64, bytes: &[u8]) -> Result<Manifest, StoreError> {
        let damaged = || StoreError::damaged(file, "it is not a whole manifest of its generation");
        if bytes.len() < 100 || !bytes.starts_with(&MAGIC) {
            return Err(damaged());
        }
        let mut fields = Fields(&bytes[8..]);
        let version = fields.take().map(u16::from_le_bytes).ok_or_else(damaged)?;
        fields.take::<2>().ok_or_else(damaged)?;
        if fields.u32() != Some(crc_of(bytes)) {
            return Err(damaged());
        }
        if version != FORMAT_VERSION {
            return Err(StoreError::Format { file: file.display().to_string(), version });
        }
        let manifest = fields.manifest().ok_or_else(damaged)?;
        if manifest.generation == generation { Ok(manifest) } else { Err(damaged()) }
    }
}

fn crc_of(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CRC.start]);
    hasher.update(&bytes[CRC.end..]);
    hasher.finalize()
}

/// Reads numbers one after the other; `None` at the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn manifest(mut self) -> Option<Manifest> {
        let generation = self.u64()?;
        let meta = Meta {
            node_id: self.take()?,
            term: self.u64()?,
            begin: Sequence(self.u64()?),
            catalog: Sequence(self.u64()?),
            engine_time: UnixMillis(self.u64()?),
            next_id: self.u64()?,
            catalog_version: self.u64()?,
        };
        let (catalog_pieces, counter_pieces, count) = (self.u32()?, self.u32()?, self.u32()?);
        let mut files = Vec::new();
        for _ in 0..count {
            let len = usize::from(u16::from_le_bytes(self.take()?));
            let name = str::from_utf8(self.0.get(..len)?).ok()?.to_owned();
            self.0 = &self.0[len..];
            files.push(FileSum { name, len: self.u64()?, crc: self.u32()? });
        }
        self.0.is_empty().then_some(Manifest { generation, meta, catalog_pieces, counter_pieces, files })
    }
}

/// The text of `CURRENT`.
pub(super) fn render_current(generation: u64, manifest: &[u8]) -> String {
    format!("{CURRENT_PREFIX}{generation:08} {:08x}\n", crc32fast::hash(manifest))
}

/// The generation that `CURRENT` names and the sum of its manifest.
pub(super) fn parse_current(text: &[u8]) -> Option<(u64, u32)> {
    let (generation, crc) =
        str::from_utf8(text).ok()?.strip_prefix(CURRENT_PREFIX)?.strip_suffix('\n')?.split_once(' ')?;
    Some((generation.parse().ok()?, u32::from_str_radix(crc, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let meta = Meta { node_id: [3; 16], begin: Sequence(5), next_id: 9, ..Meta::default() };
        let files = vec![
            FileSum { name: "db".into(), len: 7, crc: 8 },
            FileSum { name: "blobs/1".into(), len: 0, crc: 0 },
        ];
        Manifest { generation: 4, meta, catalog_pieces: 2, counter_pieces: 3, files }
    }

    #[test]
    fn a_manifest_round_trips_and_no_flipped_bit_passes() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(Path::new("m"), 4, &bytes).unwrap(), manifest());
        assert!(Manifest::decode(Path::new("m"), 5, &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(Path::new("m"), 4, &flipped).is_err());
        }
    }

    #[test]
    fn current_round_trips() {
        assert_eq!(render_current(12, b"x"), "tollgate-checkpoint 1 00000012 8cdc1683\n");
        assert_eq!(parse_current(render_current(12, b"x").as_bytes()), Some((12, 0x8cdc_1683)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_current(&bytes);
            let mut whole = [&MAGIC[..], &FORMAT_VERSION.to_le_bytes(), &[0; 6], &bytes].concat();
            let crc = crc_of(&whole);
            whole[CRC].copy_from_slice(&crc.to_le_bytes());
            let _ = Manifest::decode(Path::new("m"), 4, &whole);
        }
    }
}
