//! Reading a backup, and making a node of it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::super::data_dir;
use super::copy::{create, pour, sync_tree};
use super::{
    BACKUP, BackupError, FileRow, Manifest, Restored, hex, ids_error, put_together, slices, system, tar,
};
use crate::journal::{NodeId, as_written_by};
use crate::listener::Clock;
use crate::model::time::UnixMillis;
use crate::store::adopt_checkpoints;

/// The most bytes that a description of a backup has: hundreds of thousands of files.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Makes a data directory at `data_dir`, which must be empty or not there yet, from the backup at `from`.
///
/// # Errors
/// [`BackupError`]: nothing can be started in `data_dir` then; what was written there already can be removed.
pub fn restore(from: &Path, data_dir: &Path, clock: &Clock) -> Result<Restored, BackupError> {
    let source = Source::open(from)?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(system("make", data_dir))?;
    let mut entries = std::fs::read_dir(data_dir).map_err(system("list", data_dir))?;
    if entries.next().is_some() {
        return Err(BackupError::NotEmpty(data_dir.to_owned()));
    }
    let node_id = random_node_id().map_err(system("draw a node id for", data_dir))?;
    for row in &source.manifest.files {
        source.put(row, data_dir, node_id)?;
    }
    adopt_checkpoints(&data_dir::checkpoints(data_dir), node_id)?;
    adopt_ids(&source, data_dir, node_id)?;
    let (state, _) = put_together(data_dir, clock)?;
    if state.last.0 != source.manifest.sequence {
        return Err(source.not_whole(format!("it ends with sequence {}", state.last)));
    }
    sync_tree(data_dir).map_err(system("sync", data_dir))?;
    // Without it no node starts here: what is interrupted before this point is no data directory.
    data_dir::write_format(data_dir).map_err(system("write FORMAT in", data_dir))?;
    Ok(Restored {
        sequence: state.last.0,
        next_term: state.term,
        node_id: hex(node_id),
        created_ms: source.manifest.created_ms,
    })
}

/// Writes the slices of ids as the new node's.
fn adopt_ids(source: &Source, data_dir: &Path, node_id: NodeId) -> Result<(), BackupError> {
    let (ids, old) = (data_dir::ids(data_dir), data_dir.join("ids.old"));
    if !ids.exists() {
        return Ok(());
    }
    std::fs::rename(&ids, &old).map_err(system("rename", &ids))?;
    let whose = unhex(&source.manifest.node_id);
    let whose = whose.ok_or_else(|| source.not_whole("its node id is not one".to_owned()))?;
    if let Some(slices) = slices(&old, whose, UnixMillis(source.manifest.created_ms))? {
        slices.copy_as(&ids, node_id).map_err(|error| ids_error(&old, &error))?;
    }
    std::fs::remove_dir_all(&old).map_err(system("remove", &old))
}

fn unhex(text: &str) -> Option<NodeId> {
    let mut node_id = NodeId::default();
    for (at, byte) in node_id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (text.len() == 2 * node_id.len()).then_some(node_id)
}

fn random_node_id() -> io::Result<NodeId> {
    let mut node_id = NodeId::default();
    getrandom::fill(&mut node_id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(node_id)
}

/// A backup that is read.
pub(super) struct Source {
    path: PathBuf,
    /// Where its files lie, if it is a tar file.
    tar: Option<BTreeMap<String, (u64, u64)>>,
    pub(super) manifest: Manifest,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source, BackupError> {
        let is_dir = std::fs::metadata(path).map_err(system("read", path))?.is_dir();
        let not_whole = |reason: String| BackupError::NotWhole { path: path.to_owned(), reason };
        let tar = if is_dir {
            None
        } else {
            let mut file = File::open(path).map_err(system("read", path))?;
            Some(tar::index(&mut file).map_err(|error| not_whole(error.to_string()))?)
        };
        let manifest = Manifest {
            backup: 0,
            release: String::new(),
            format: 0,
            created_ms: 0,
            running: false,
            node_id: String::new(),
            sequence: 0,
            files: Vec::new(),
        };
        let mut source = Source { path: path.to_owned(), tar, manifest };
        let text = source.reader(BACKUP, MANIFEST_BYTES_MAX).and_then(|mut reader| {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        let text = text.map_err(|_| {
            not_whole(format!("it has no {BACKUP}: it was interrupted, or is something else"))
        })?;
        let manifest = Manifest::parse(&text).map_err(not_whole)?;
        source.manifest = manifest;
        Ok(source)
    }

    pub(super) fn not_whole(&self, reason: String) -> BackupError {
        BackupError::NotWhole { path: self.path.clone(), reason }
    }

    /// Reads all of it and compares each file's sum.
    pub(super) fn check_all(&self) -> Result<(), BackupError> {
        self.manifest.files.iter().try_for_each(|row| self.pour(row, &mut io::sink()))
    }

    /// A file's bytes, at most `max` of them.
    fn reader(&self, path: &str, max: u64) -> io::Result<Box<dyn Read>> {
        match &self.tar {
            None => Ok(Box::new(File::open(self.path.join(path))?.take(max))),
            Some(index) => {
                let (at, size) = index.get(path).ok_or(io::ErrorKind::NotFound)?;
                let mut file = File::open(&self.path)?;
                file.seek(SeekFrom::Start(*at))?;
                Ok(Box::new(file.take((*size).min(max))))
            }
        }
    }

    /// Copies what is kept of a file, if it is what was backed up.
    fn pour(&self, row: &FileRow, to: &mut impl Write) -> Result<(), BackupError> {
        let mut reader = self
            .reader(&row.path, row.kept)
            .map_err(|error| self.not_whole(format!("{}: {error}", row.path)))?;
        let (kept, crc) = pour(&mut reader, to).map_err(system("copy", &self.path.join(&row.path)))?;
        if (kept, crc) == (row.kept, row.crc) {
            return Ok(());
        }
        let reason = if kept == row.kept { "its checksum differs" } else { "it is too short" };
        Err(self.not_whole(format!("{}: {reason}", row.path)))
    }

    /// Puts a file into the new data directory; a segment as its node would have written it.
    fn put(&self, row: &FileRow, data_dir: &Path, node_id: NodeId) -> Result<(), BackupError> {
        let target = data_dir.join(&row.path);
        if let Some(folder) = target.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(system("make", folder))?;
        }
        if let Some(name) = row.path.strip_prefix("journal/") {
            let mut bytes = Vec::new();
            self.pour(row, &mut bytes)?;
            let len = usize::try_from(row.len).map_err(|_| self.not_whole(format!("{name} is too long")))?;
            bytes.resize(len, 0);
            let Some(bytes) = as_written_by(node_id, name, &bytes)? else { return Ok(()) };
            return create(&target)
                .and_then(|mut file| file.write_all(&bytes))
                .map_err(system("write", &target));
        }
        let mut file = create(&target).map_err(system("write", &target))?;
        self.pour(row, &mut file)?;
        file.set_len(row.len).map_err(system("write", &target))
    }
}
